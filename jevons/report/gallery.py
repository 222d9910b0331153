"""The gallery as text, as a table of the README, and as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jevons.gallery import Exhibit, Finding, Gallery
from jevons.rebound import NOTHING_SAVED
from jevons.report import comparing
from jevons.report.data import SCHEMA_VERSION, estimate_data
from jevons.report.numbers import COUNTS, NO_NUMBER, change, number, percent, percents, scale_of
from jevons.report.text import paragraph
from jevons.report.words import clean

#: Figures that are shares.
SHARES = ("rebound", "change")
LABELS = {**comparing.LABELS, "change": "change by the shock"}
NAME, VALUE = 24, 25


def gallery_table(gallery: Gallery) -> str:
    """The gallery as text: a row for each scenario, and beneath it what it teaches and whether it is so."""
    lines = [f"{'':<{NAME}}{'change by the shock':<{VALUE}}{'rebound':<{VALUE}}backfire in draws"]
    for exhibit in gallery.exhibits:
        lines += ["", *_block(exhibit)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _block(exhibit: Exhibit) -> Iterator[str]:
    yield f"{exhibit.result.scenario.name[: NAME - 2]:<{NAME}}" + "".join(
        f"{text:<{VALUE}}" for text in (caused(exhibit), taken_back(exhibit), odds(exhibit))
    )
    if exhibit.lesson is not None:
        yield from paragraph("  Lesson", [clean(exhibit.lesson.teaches)])
    for finding in exhibit.findings:
        yield from paragraph("  Shown by" if finding.is_so else "  NOT SO", [finding_words(finding)])


def caused(exhibit: Exhibit) -> str:
    """What the shock makes of the resource, over draws where there are any."""
    result = exhibit.result
    verdict = (result.rebound if result.drawn is None else result.drawn).causal
    return NO_NUMBER if verdict.change is None else change(verdict.change)


def taken_back(exhibit: Exhibit) -> str:
    """The rebound, over draws where there are any."""
    result = exhibit.result
    value = (result.rebound if result.drawn is None else result.drawn).value
    return NOTHING_SAVED if value is None else percent(value)


def odds(exhibit: Exhibit) -> str:
    """Share of the draws that backfire."""
    found = exhibit.result.probability_of_backfire
    return NO_NUMBER if found is None else f"{percents([found.mean])[0]} %"


def finding_words(finding: Finding) -> str:
    """A figure of a lesson in words."""
    pair = [finding.first, finding.other]
    if finding.figure in SHARES:
        first, other = (f"{value} %" for value in percents(pair))
    else:
        prefix, scale = scale_of(pair, COUNTS)
        first, other = (f"{number(value / scale)} {prefix}".rstrip() for value in pair)
    told = "" if finding.is_so else f"; found: {finding.found or 'no difference beyond the noise'}"
    return f"{LABELS.get(finding.figure, clean(finding.figure))} {finding.expected}, {first} to {other}{told}"


def gallery_markdown(gallery: Gallery) -> str:
    """The gallery as a table of the README."""
    first = gallery.exhibits[0].result.scenario
    lines = [
        f"| scenario | what it teaches | change by the shock | rebound | backfire | against `{first.name}` |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_markdown_row, gallery.exhibits)]) + "\n"


def _markdown_row(exhibit: Exhibit) -> str:
    scenario = exhibit.result.scenario
    text = scenario.description if exhibit.lesson is None else exhibit.lesson.teaches
    shown = "; ".join(map(finding_words, exhibit.findings))
    cells = (f"`{scenario.name}`", clean(text), caused(exhibit), taken_back(exhibit), odds(exhibit), shown)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def gallery_data(gallery: Gallery) -> dict[str, Any]:
    """The gallery as data."""
    return {"schema_version": SCHEMA_VERSION, "scenarios": [_exhibit_data(one) for one in gallery.exhibits]}


def _exhibit_data(exhibit: Exhibit) -> dict[str, Any]:
    result = exhibit.result
    found = result.rebound if result.drawn is None else result.drawn
    backfire = result.probability_of_backfire
    return {
        "name": result.scenario.name,
        "title": result.scenario.title,
        "lesson": None if exhibit.lesson is None else exhibit.lesson.teaches,
        "change_by_the_shock": None if found.causal.change is None else estimate_data(found.causal.change),
        "rebound": None if found.value is None else estimate_data(found.value),
        "probability_of_backfire": None if backfire is None else estimate_data(backfire),
        "is_so": exhibit.is_so,
        "findings": [_finding_data(finding) for finding in exhibit.findings],
    }


def _finding_data(finding: Finding) -> dict[str, Any]:
    return {
        "figure": finding.figure,
        "expected": finding.expected,
        "found": finding.found or None,
        "first": finding.first,
        "other": finding.other,
        "difference": estimate_data(finding.difference),
    }
