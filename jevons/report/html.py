"""The answer for a notebook: the same table and sentences as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from jevons.answer import Result
from jevons.report import words
from jevons.report.finance_words import finance_sentences, tail_sentence
from jevons.report.numbers import number
from jevons.report.rows import rows
from jevons.report.text import change_of

RIGHT = ' style="text-align:right"'


def summary_html(result: Result) -> str:
    """The answer as a fragment of HTML, every text of the scenario escaped."""
    return "\n".join(
        [
            f"<h4>{escape(words.title(result))}</h4>",
            f"<p>{escape(words.setting(result))}</p>",
            *_table(result),
            *_paragraphs(result),
        ]
    )


def _table(result: Result) -> Iterator[str]:
    heads = ("", "", "before", "without", "with", f"change by the shock {words.width(result)}")
    yield "<table><tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"
    for row in rows(result):
        unit, *values = row.scaled()
        cells = "".join(f"<td{RIGHT}>{number(value)}</td>" for value in values)
        yield f"<tr><td>{escape(row.label)}</td><td>{escape(unit)}</td>{cells}<td>{escape(change_of(row))}</td></tr>"
    yield "</table>"


def _paragraphs(result: Result) -> Iterator[str]:
    told = {
        "Rebound": " ".join(words.rebound_sentences(result)),
        "Verdict": " ".join(words.verdict_sentences(result)),
        "Cumulated": " ".join(words.cumulated_sentences(result)),
        "Through": words.channels_sentence(result),
        "By segment": words.segments_sentence(result),
        "Hinges on": words.hinges_sentence(result),
        "Vendor": " ".join(finance_sentences(result)),
        "Tail": tail_sentence(result),
        "Assumed": words.assumptions_sentence(result),
    }
    for label, text in told.items():
        if text:
            yield f"<p><b>{label}:</b> {escape(text)}</p>"
