"""The rebound waterfall as text and as data."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import floor, log10
from typing import Any

from jevons.answer import Window
from jevons.attribution import ENGINEERING, VIEWS, WINDOWS, Split, View, Waterfall
from jevons.channels import CHANNELS_ENGINE
from jevons.report.data import SCHEMA_VERSION, estimate_data, without_gaps
from jevons.report.numbers import COUNTS, number, scale_of
from jevons.report.text import COLUMNS, paragraph
from jevons.report.words import RESOURCES, clean
from jevons.results import Estimate

HEADINGS: Mapping[Window, str] = {"horizon": "At the horizon", "cumulated": "Everything since the shock"}
VIEW_NAMES: Mapping[View, str] = {"stated": "stated", "shapley": "Shapley", "alone": "alone", "last": "last"}
#: Widths of the columns.
LABEL, VALUE, AMOUNT = 20, 9, 20
#: A channel of which the first and the last to come credit points that differ by less does not depend on the order.
SMALLEST_DIFFERENCE = 1.0

CSV_COLUMNS = (
    "scenario", "window", "channel", "unit", *VIEWS, *(f"{view}_points" for view in VIEWS),
    "shapley_points_median", "low", "high", "confidence", "draws",
)  # fmt: skip


def title(waterfall: Waterfall) -> str:
    """What was solved."""
    scenario = waterfall.scenario
    assert scenario.shock is not None, "a scenario of kind market has a shock"
    return f"{clean(scenario.title or scenario.name)} · {clean(scenario.shock.title)}"


def setting(waterfall: Waterfall) -> str:
    """When it is looked at, and with what."""
    months = waterfall.months_since_shock
    since = "1 month" if months == 1 else f"{months} months"
    count = len(waterfall.replications["horizon"])
    mean = "1 replication" if count == 1 else f"mean of {count} replications"
    return (
        f"{waterfall.horizon:%B %Y}, {since} since the shock · {mean}, inputs at their centres, closed form · "
        f"seed {waterfall.scenario.run.seed}"
    )


def saving_words(split: Split) -> str:
    """What the points are hundredths of."""
    return "potential saving" if split.baseline > split.frozen else "extra need"


def waterfall_table(waterfall: Waterfall) -> str:
    """The waterfall: a block for the horizon and one for everything since the shock, and what depends on the order."""
    lines = [*textwrap.wrap(title(waterfall), COLUMNS), *textwrap.wrap(setting(waterfall), COLUMNS)]
    for window in WINDOWS:
        lines += ["", *_block(waterfall, window)]
    lines += [
        "",
        *paragraph("Views", [_views(waterfall)]),
        *paragraph("Order", [order_sentence(waterfall.centre["horizon"])]),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _block(waterfall: Waterfall, window: Window) -> Iterator[str]:
    split, consumed = waterfall.centre[window], RESOURCES[waterfall.scenario.run.resource]
    if split.rebound is None:
        yield f"{HEADINGS[window]}: not defined, with usage held the shock saves no {consumed}."
        return
    unit, factor = unit_of(waterfall, window)
    drawn = waterfall.drawn_points(window, "shapley")
    saving = abs(split.baseline - split.frozen) / factor
    decimals = max(0, 3 - floor(log10(saving)))
    yield f"{HEADINGS[window]}: {consumed} in points of the {saving_words(split)}, {number(saving)} {unit}"
    yield _line("", VIEW_NAMES.values(), unit, _drawn_heading(waterfall, window))
    points, parts = {view: split.points(view) for view in VIEWS}, split.parts("shapley")
    for name in parts:
        cells = [tenths(points[view][name]) for view in VIEWS]
        yield _line(
            name,
            cells,
            _amount(parts[name] / factor, decimals),
            "" if name == ENGINEERING else _interval(drawn.get(name)),
        )
    total = tenths(100.0 * (split.rebound - 1.0))
    yield _line("sum: rebound - 100", [total, total, "", ""], _amount(split.total / factor, decimals), "")


def unit_of(waterfall: Waterfall, window: Window) -> tuple[str, float]:
    """Unit with a prefix that suits the potential saving, and its size in the model's unit."""
    split = waterfall.centre[window]
    prefix, factor = scale_of([split.baseline - split.frozen], COUNTS)
    return f"{prefix}{waterfall.unit}{'/day' if window == 'horizon' else ''}", factor


def _line(label: str, cells: Iterable[str], amount: str, drawn: str) -> str:
    return f"{label:<{LABEL}}" + "".join(f"{cell:>{VALUE}}" for cell in cells) + f"{amount:>{AMOUNT}}  {drawn}"


def _amount(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"


def _drawn_heading(waterfall: Waterfall, window: Window) -> str:
    drawn = len(waterfall.draws[window])
    return f"[{100 * waterfall.scenario.run.confidence:g} % of {drawn} draws]" if drawn else ""


def _interval(estimate: Estimate | None) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"[{tenths(estimate.low)}, {tenths(estimate.high)}]"


def tenths(points: float) -> str:
    """Points with their sign, to a tenth.

    Examples
    --------
    >>> [tenths(points) for points in (12.34, -5.0, -0.01)]
    ['+12.3', '-5.0', '0.0']
    """
    rounded = round(points, 1) + 0.0
    return f"{rounded:{'+' if rounded else ''},.1f}"


def _views(waterfall: Waterfall) -> str:
    drawn = " The interval is that of Shapley's points." if waterfall.draws["horizon"] else ""
    return (
        "Stated: each channel switched on after those above it. Shapley: its mean over all orders, and the amount. "
        f"Alone: with no other channel. Last: after all others.{drawn}"
    )


def order_sentence(split: Split) -> str:
    """Which channels are credited otherwise in another order."""
    if split.rebound is None:
        return ""
    alone, last = split.points("alone"), split.points("last")
    moved = {name: abs(alone[name] - last[name]) for name in split.channels}
    told = [name for name in sorted(moved, key=lambda name: -moved[name]) if moved[name] >= SMALLEST_DIFFERENCE]
    if not told:
        return "It hardly matters: the channels do not work on each other."
    ends = "; ".join(f"{name} {tenths(alone[name])} alone and {tenths(last[name])} last" for name in told[:3])
    return f"It matters most to {ends}."


def waterfall_json(waterfall: Waterfall) -> dict[str, Any]:
    """The waterfall as data, consumption under every set of channels included."""
    scenario = waterfall.scenario
    content: dict[str, Any] = without_gaps(
        {
            "schema_version": SCHEMA_VERSION,
            "kind": "waterfall",
            "name": scenario.name,
            "title": scenario.title,
            "digest": scenario.digest,
            "engine": CHANNELS_ENGINE,
            "seed": scenario.run.seed,
            "replications": len(waterfall.replications["horizon"]),
            "draws": len(waterfall.draws["horizon"]),
            "resource": scenario.run.resource,
            "start": scenario.run.start.isoformat(),
            "horizon": waterfall.horizon.isoformat(),
            "months_since_shock": waterfall.months_since_shock,
            "channels": list(waterfall.channels),
            "windows": {window: _window_data(waterfall, window) for window in WINDOWS},
        }
    )
    return content


def _window_data(waterfall: Waterfall, window: Window) -> dict[str, Any]:
    split = waterfall.centre[window]
    drawn = {view: waterfall.drawn_points(window, view) for view in VIEWS}
    parts, points = ({view: told(view) for view in VIEWS} for told in (split.parts, split.points))
    return {
        "unit": f"{waterfall.unit}{'/day' if window == 'horizon' else ''}",
        "baseline": split.baseline,
        "frozen": split.frozen,
        "shock": split.shock,
        "rebound": split.rebound,
        "parts": [
            {
                "channel": name,
                **{view: parts[view][name] for view in VIEWS},
                "points": {view: points[view][name] for view in VIEWS} if points["stated"] else None,
                "points_over_draws": {view: estimate_data(drawn[view][name]) for view in VIEWS}
                if drawn["stated"]
                else None,
            }
            for name in (ENGINEERING, *split.channels)
        ],
        "by_set": [
            {
                "on": [name for number_of, name in enumerate(split.channels) if number >> number_of & 1],
                "consumption": float(value),
            }
            for number, value in enumerate(split.values)
        ],
    }


def waterfall_csv(waterfalls: Sequence[Waterfall]) -> str:
    """The parts of several waterfalls as comma-separated values."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for one in waterfalls:
        for window in WINDOWS:
            writer.writerows(_csv_rows(one, window))
    return stream.getvalue()


def _csv_rows(waterfall: Waterfall, window: Window) -> Iterator[list[Any]]:
    split, drawn = waterfall.centre[window], waterfall.drawn_points(window, "shapley")
    unit = f"{waterfall.unit}{'/day' if window == 'horizon' else ''}"
    parts, points = ({view: told(view) for view in VIEWS} for told in (split.parts, split.points))
    for name in (ENGINEERING, *split.channels):
        width = drawn.get(name)
        ends = [""] * 5 if width is None else [width.mean, width.low, width.high, width.confidence, width.samples]
        yield [
            waterfall.scenario.name, window, name, unit, *(parts[view][name] for view in VIEWS),
            *(points[view].get(name, "") for view in VIEWS), *("" if end is None else end for end in ends),
        ]  # fmt: skip
