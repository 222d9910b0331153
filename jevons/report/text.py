"""The answer as text: what a reader takes in within ten seconds, at most a hundred columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from jevons.answer import AnchorFit, Result
from jevons.report import words
from jevons.report.finance_words import finance_sentences, tail_sentence
from jevons.report.numbers import change, change_of_means, number
from jevons.report.rows import Row, rows

COLUMNS = 100
#: Column in which the sentences begin.
INDENT = 13
#: Widths of the columns of the table, before the change.
LABEL, UNIT, VALUE = 22, 13, 9


def summary_table(result: Result) -> str:
    """The answer: table, rebound, verdicts, channels, hinges, model against data, assumptions.

    Every line ends in a line feed.
    """
    lines = [*_heading(result), "", *_table(result), "", *_sentences(result), *_anchors(result), *_assumptions(result)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _heading(result: Result) -> list[str]:
    return [*textwrap.wrap(words.title(result), COLUMNS), *textwrap.wrap(words.setting(result), COLUMNS)]


def _table(result: Result) -> Iterator[str]:
    yield _line("", "", ["", "", ""], "change by the shock")
    yield _line("", "", ["before", "without", "with"], words.width(result))
    for row in rows(result):
        unit, before, without, with_shock = row.scaled()
        yield _line(row.label, unit, [number(before), number(without), number(with_shock)], change_of(row))


def change_of(row: Row) -> str:
    """The change of a row with its width, or without one where it is not known; nothing where there is none."""
    if row.width is not None:
        return change(row.width)
    return "" if row.without <= 0 else change_of_means(row.with_shock / row.without - 1.0)


def _line(label: str, unit: str, values: Sequence[str], last: str) -> str:
    shown = label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"
    return f"{shown:<{LABEL}} {unit:<{UNIT}}" + "".join(f" {value:>{VALUE - 1}}" for value in values) + f"  {last}"


def _sentences(result: Result) -> Iterator[str]:
    yield from paragraph("Rebound", words.rebound_sentences(result))
    yield from paragraph("Verdict", words.verdict_sentences(result))
    yield from paragraph("Cumulated", words.cumulated_sentences(result))
    yield from paragraph("Through", [words.channels_sentence(result)])
    yield from paragraph("By segment", [words.segments_sentence(result)])
    yield from paragraph("Training", [words.training_sentence(result)])
    yield from paragraph("Race", [words.race_sentence(result)])
    yield from paragraph("Hinges on", [words.hinges_sentence(result)])
    yield from paragraph("Vendor", finance_sentences(result))
    yield from paragraph("Tail", [tail_sentence(result)])
    yield from paragraph("Accuracy", [words.closed_form_sentence(result)])


def paragraph(label: str, sentences: Sequence[str]) -> list[str]:
    """A label and its sentences, broken to the width of the page; nothing if there are no sentences."""
    text = " ".join(sentence for sentence in sentences if sentence)
    return textwrap.wrap(
        text, COLUMNS, initial_indent=f"{label:<{INDENT}}", subsequent_indent=" " * INDENT, break_on_hyphens=False
    )


def _anchors(result: Result) -> Iterator[str]:
    if result.anchors:
        yield ""
        yield f"{'Baseline against data':<{LABEL}}{'observed':>{VALUE}}{'model':>{VALUE}}"
    for fit in result.anchors:
        yield from _anchor(fit)


def _anchor(fit: AnchorFit) -> list[str]:
    name = words.clean(fit.name.replace("_", " "))[: LABEL - 3]
    figures = "".join(f"{'x' + number(factor):>{VALUE}}" for factor in (fit.anchor.factor, fit.model_factor))
    period = f"{fit.anchor.start:%b %Y} to {fit.anchor.end:%b %Y}"
    start = f"  {name:<{LABEL - 2}}{figures}  "
    text = f"{period}: {words.clean(fit.anchor.text)}" if fit.anchor.text else period
    return textwrap.wrap(text, COLUMNS, initial_indent=start, subsequent_indent=" " * len(start))


def _assumptions(result: Result) -> list[str]:
    told = paragraph("Assumed", [words.assumptions_sentence(result)])
    return ["", *told] if told else []
