"""A comparison as text and as data."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from jevons.comparison import Against, Comparison, Difference, Input, differing_inputs
from jevons.report.data import SCHEMA_VERSION, estimate_data, without_gaps
from jevons.report.numbers import COUNTS, PLAIN, SI, change, estimate, number, percents, scale_of
from jevons.report.text import COLUMNS, paragraph
from jevons.report.words import clean
from jevons.scenario import Scenario

MOMENTS = {
    "before": "Before the shock",
    "without": "At the horizon, without the shock",
    "with": "At the horizon, with the shock",
    "horizon": "Rebound at the horizon",
}
LABELS = {"gpu_hours": "GPU-hours", "installed": "installed GPUs", "spend": "spend on compute"}
LABEL, UNIT, VALUE = 24, 15, 11
#: Values longer than this are cut.
MOST_CHARACTERS = 34


def comparison_table(comparison: Comparison) -> str:
    """The comparison as text, a block for each side."""
    return "\n".join("\n".join(line.rstrip() for line in _block(comparison, one)) + "\n" for one in comparison.others)


def _block(comparison: Comparison, one: Against) -> Iterator[str]:
    yield from paragraph("A", [clean(comparison.first.name)])
    yield from paragraph("B", [clean(one.side.name)])
    yield ""
    share = f"{100 * comparison.first.scenario.run.confidence:g} %"
    paired = "paired replications" if one.is_paired else "unpaired replications"
    yield f"{'':<{LABEL + UNIT}}{'A':>{VALUE}}{'B':>{VALUE}}  B - A [{share}, {paired}]"
    for moment, heading in MOMENTS.items():
        rows = [row for row in one.differences if row.moment == moment]
        if rows:
            yield heading
            yield from map(_row, rows)
    yield ""
    if one.reason:
        yield from paragraph("Unpaired", [f"The random numbers are not shared: {one.reason}."])
    if all(row.first == row.other for row in one.differences):
        yield from paragraph("Outcome", ["No figure differs."])
    yield from inputs_lines(one.inputs)
    if one.idle_inputs:
        yield from paragraph(
            "No effect", [f"Changed, and changed no figure (closed form, one draw): {', '.join(one.idle_inputs)}"]
        )


def _row(row: Difference) -> str:
    if row.name == "rebound":
        first, other = percents([row.first, row.other])
        points = estimate(row.difference.mapped(lambda value: 100.0 * value))
        return f"  {'rebound':<{LABEL - 2}}{'%':<{UNIT}}{first:>{VALUE}}{other:>{VALUE}}  {points} points"
    factor = 1e6 if row.unit.startswith("MWh") else 1.0
    unit = row.unit.replace("MWh", "Wh")
    prefixes = SI if unit.startswith(("tok", "Wh")) else PLAIN if "/Mtok" in unit or "/GPU-h" in unit else COUNTS
    prefix, scale = scale_of([factor * row.first, factor * row.other], prefixes)
    values = "".join(f" {number(factor * value / scale):>{VALUE - 1}}" for value in (row.first, row.other))
    label = LABELS.get(row.name, row.name)[: LABEL - 3]
    told = "" if row.relative is None else change(row.relative)
    return f"  {label:<{LABEL - 2}}{prefix + unit:<{UNIT}}{values}  {told}"


def inputs_table(names: Sequence[str], scenarios: Sequence[Scenario]) -> str:
    """The inputs in which scenarios differ from the first of them."""
    first, *others = scenarios
    lines: list[str] = []
    for name, other in zip(names[1:], others, strict=True):
        lines += [*paragraph("A", [clean(names[0])]), *paragraph("B", [clean(name)]), ""]
        lines += inputs_lines(differing_inputs(first, other))
    return "\n".join(lines) + "\n"


def inputs_lines(inputs: Sequence[Input]) -> list[str]:
    """A line for each input that differs; how many sources do is enough."""
    told = [one for one in inputs if not one.key.startswith("sources.")]
    sources = len(inputs) - len(told)
    if not inputs:
        return ["No input differs."]
    lines = [f"{'Input':<{COLUMNS - 2 * (MOST_CHARACTERS + 2)}}{'A':<{MOST_CHARACTERS + 2}}B"]
    for one in told:
        key = f"  {one.key}"
        values = [f"{shown(one.first):<{MOST_CHARACTERS + 2}}", shown(one.other)]
        if len(key) >= len(lines[0]) - MOST_CHARACTERS - 3:
            lines.append(key)
            key = ""
        lines.append(f"{key:<{COLUMNS - 2 * (MOST_CHARACTERS + 2)}}{''.join(values)}")
    return [*lines, *([f"  {sources} of the sources"] if sources else [])]


def shown(value: object) -> str:
    """A value of a scenario on a short line."""
    if value is None:
        return "not given"
    if isinstance(value, dict) and "dist" in value:
        given = ", ".join(f"{key} {held:g}" for key, held in value.items() if isinstance(held, (int, float)))
        text = f"{value['dist']} ({given})"
    else:
        text = f"{value:g}" if isinstance(value, float) else clean(str(value))
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as data."""
    content: dict[str, Any] = without_gaps(
        {
            "schema_version": SCHEMA_VERSION,
            "first": comparison.first.name,
            "others": [
                {
                    "name": one.side.name,
                    "paired": one.is_paired,
                    "reason": one.reason,
                    "differences": list(map(_difference_data, one.differences)),
                    "inputs": [
                        {"key": i.key, "first": i.first, "other": i.other, "matters": i.matters} for i in one.inputs
                    ],
                }
                for one in comparison.others
            ],
        }
    )
    return content


def _difference_data(row: Difference) -> dict[str, Any]:
    return {
        "name": row.name,
        "moment": row.moment,
        "unit": row.unit,
        "first": row.first,
        "other": row.other,
        "difference": estimate_data(row.difference),
    }


def comparison_csv(comparison: Comparison) -> str:
    """The differences as comma-separated values."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("first", "other", "moment", "figure", "unit", "a", "b", "difference", "low", "high", "paired"))
    for one in comparison.others:
        for row in one.differences:
            ends = ["" if end is None else end for end in (row.difference.low, row.difference.high)]
            cells = (row.moment, row.name, row.unit, row.first, row.other, row.difference.mean, *ends)
            writer.writerow((comparison.first.name, one.side.name, *cells, str(one.is_paired).lower()))
    return stream.getvalue()
