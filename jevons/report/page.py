"""What the page of pictures shows: prices, usage, compute, GPU-hours of the three arms, fleet, waiting, rebound.

Numbers and words alone, few enough to be handed to a process that draws them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import isfinite
from textwrap import fill
from typing import TypeAlias

import numpy as np

from jevons.answer import Result
from jevons.month_figures import installed_h100e, usage_mean
from jevons.months import Month
from jevons.randomness import Floats
from jevons.rebound import rebound
from jevons.report import words
from jevons.report.numbers import COUNTS, SI, number, scale_of
from jevons.report.rows import month_before
from jevons.scenario import ARMS, Arm
from jevons.stacks import PerWorld, ratio
from jevons.units import HOURS_PER_DAY

#: Paths over the months, by what they are of: values are NaN where there are none.
Path: TypeAlias = Sequence[float] | Floats
Style: TypeAlias = str | tuple[int, tuple[float, float]]

#: Okabe and Ito's colours, which readers with any kind of colour blindness tell apart.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
ARM_COLOURS: dict[Arm, str] = {"baseline": "#0072B2", "frozen": "#777777", "shock": "#D55E00"}
ARM_NAMES: dict[Arm, str] = {"baseline": "without the shock", "frozen": "shock, usage held", "shock": "with the shock"}
GAIN, LOSS, TOTAL = "#D55E00", "#0072B2", "#444444"
DASHED: Style = (0, (4.0, 2.0))
DOTTED: Style = (0, (1.0, 1.5))
ARM_STYLES: dict[Arm, Style] = {"baseline": DASHED, "shock": "-"}
STYLE_WORDS = "solid: with the shock; dashed: without"
#: No rebound outside these is drawn, %: it has left the page.
REBOUND_LIMITS = (-100.0, 300.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """A path over the months, or over the last of them."""

    path: Path
    colour: str
    style: Style = "-"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Band:
    """An area between two paths over the months, or over the last of them."""

    low: Path
    high: Path
    colour: str
    opacity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The name of a line, at its last value."""

    value: float
    name: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chart:
    """A panel of lines over the months."""

    title: str
    bands: tuple[Band, ...] = ()
    lines: tuple[Line, ...] = ()
    ends: tuple[End, ...] = ()
    note: str = ""
    is_logarithmic: bool = False
    #: Whether names take two lines.
    is_wordy: bool = False
    #: Share of the height that is left free above and below the lines; None for what is usual.
    margin: float | None = None
    #: A level to be marked, around which the axis reaches up to the limits.
    level: float | None = None
    limits: tuple[float, float] | None = None
    #: What is said where there is nothing to be drawn.
    empty: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar from where the one above it ends."""

    name: str
    start: float
    length: float
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A panel of bars, each from where the one above it ends."""

    title: str
    bars: tuple[Bar, ...] = ()
    #: What is said where there is nothing to be drawn.
    empty: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """A page of panels."""

    title: str
    setting: str
    #: First days of the months.
    months: Sequence[dt.date]
    shock: dt.date | None
    panels: tuple[Chart | Bars, ...]


def page_of(result: Result) -> Page:
    """The page of a result."""
    return Page(
        title=words.title(result),
        setting=words.setting(result),
        months=result.months,
        shock=None if result.scenario.shock is None else result.scenario.shock.date,
        panels=(
            _prices(result), _usage(result), _intensity(result), _consumption(result), _fleet(result),
            _waiting(result), _rebound_path(result), _channels(result),
        ),
    )  # fmt: skip


# The panels.


def _prices(result: Result) -> Chart:
    return _by_segment(result, "Price, USD/Mtok", _usage_mean, "price_usd_per_mtok")


def _usage(result: Result) -> Chart:
    paths = [_path(result, arm, _tokens, name) for name in _served(result) for arm in ARM_STYLES]
    prefix, factor = scale_of([_largest(paths)], SI)
    return _by_segment(result, f"Usage, {prefix}tok/day", _tokens, factor=factor)


def _intensity(result: Result) -> Chart:
    return _by_segment(result, "Compute intensity, H100e GPU-s/Mtok", _usage_mean, "gpu_seconds_per_mtok")


def _by_segment(
    result: Result, title: str, value: Callable[..., PerWorld], *arguments: str, factor: float = 1.0
) -> Chart:
    lines: list[Line] = []
    ends: list[End] = []
    for name, colour in zip(_served(result), cycle(COLOURS), strict=False):
        for arm, style in ARM_STYLES.items():
            path = _path(result, arm, value, name, *arguments) / factor
            lines.append(Line(path=path, colour=colour, style=style))
        short = name if len(name) <= 14 else f"{name[:13]}…"
        ends.append(End(value=_last(path), name=short, colour=colour))
    return Chart(title=title, lines=tuple(lines), ends=tuple(ends), note=STYLE_WORDS, is_logarithmic=True)


def _consumption(result: Result) -> Chart:
    unit, prefixes = {
        "gpu_hours": ("H100e-h/day", COUNTS), "energy_mwh": ("MWh/day", COUNTS), "usd": ("USD/day", COUNTS),
    }[result.scenario.run.resource]  # fmt: skip
    # The bands may reach far beyond the lines: the lines set the scale.
    prefix, factor = scale_of([_largest(result.consumption[arm].mean(axis=0) for arm in ARMS)], prefixes)
    consumed = words.resource(result)
    bands: list[Band] = []
    lines: list[Line] = []
    ends: list[End] = []
    for arm in ARMS:
        colour, paths = ARM_COLOURS[arm], result.consumption[arm] / factor
        if result.draws is not None:
            low, high = _quantiles(result.draws.consumption[arm] / factor, result)
            bands.append(Band(low=low, high=high, colour=colour, opacity=0.12))
        bands.append(Band(low=paths.min(axis=0), high=paths.max(axis=0), colour=colour, opacity=0.35))
        lines.append(Line(path=paths.mean(axis=0), colour=colour, style=DASHED if arm == "frozen" else "-"))
        ends.append(End(value=float(paths[:, -1].mean()), name=ARM_NAMES[arm], colour=colour))
    return Chart(
        title=f"{consumed[0].upper()}{consumed[1:]} of the three arms, {prefix}{unit}",
        bands=tuple(bands),
        lines=tuple(lines),
        ends=tuple(ends),
        note=_band_words(result),
    )


def _band_words(result: Result) -> str:
    if result.draws is None:
        return "bands: range of the replications"
    return f"light bands: {100 * result.scenario.run.confidence:g} % of draws; dark: replications"


def _quantiles(paths: Floats, result: Result) -> tuple[Floats, Floats]:
    tail = (1.0 - result.scenario.run.confidence) / 2
    low, high = np.quantile(paths, [tail, 1.0 - tail], axis=0)
    return low, high


def _fleet(result: Result) -> Chart:
    of_what: list[tuple[str, Arm, Style, str, Callable[[Month], PerWorld]]] = [
        ("installed, without", "baseline", DASHED, ARM_COLOURS["baseline"], _installed),
        ("installed, with", "shock", "-", ARM_COLOURS["shock"], _installed),
        ("on order, with", "shock", DOTTED, "#777777", _on_order),
        ("need, mean, with", "shock", "-", "#009E73", _mean_need),
        ("need, mean, without", "baseline", DASHED, "#009E73", _mean_need),
    ]
    paths = {name: (_path(result, arm, value), colour, style) for name, arm, style, colour, value in of_what}
    shown = {name: held for name, held in paths.items() if _largest([held[0]]) > 0}
    prefix, factor = scale_of([_largest(held[0] for held in shown.values())], COUNTS)
    scaled = {name: (path / factor, colour, style) for name, (path, colour, style) in shown.items()}
    return Chart(
        title=f"Fleet and need, {prefix}H100e",
        lines=tuple(Line(path=path, colour=colour, style=style) for path, colour, style in scaled.values()),
        ends=tuple(End(value=float(path[-1]), name=name, colour=colour) for name, (path, colour, _) in scaled.items()),
        note=_utilisation_words(result),
    )


def _utilisation_words(result: Result) -> str:
    """Mean need over installed GPUs, before the shock and at the horizon; nothing for a fleet without limit."""

    def utilisation(arm: Arm, month: int) -> float:
        need, installed = (_path(result, arm, value)[month] for value in (_mean_need, _installed))
        return 100.0 * float(need / installed) if installed > 0 else 0.0

    if not _largest([_path(result, "baseline", _installed)]):
        return ""
    before = utilisation("baseline", month_before(result))
    ends = f"at the end {utilisation('baseline', -1):.0f} % without, {utilisation('shock', -1):.0f} % with"
    return f"utilisation: {before:.0f} % before the shock; {ends}"


def _waiting(result: Result) -> Chart:
    title = "Waiting on weekdays, s"
    lines: list[Line] = []
    ends: list[End] = []
    for stage, name, colour in (("ttft_s", "first token", "#0072B2"), ("tpot_s", "each output\ntoken", "#E69F00")):
        statistic = "p95" if _exists(_path(result, "shock", _latency_s, stage, "p95")) else "mean"
        for arm, style in ARM_STYLES.items():
            path = _path(result, arm, _latency_s, stage, statistic)
            if _exists(path):
                lines.append(Line(path=path, colour=colour, style=style))
        if _exists(path):
            ends.append(End(value=_last(path), name=f"{name}, {statistic}", colour=colour))
    if not ends:
        return Chart(title=title, empty="No request is served one by one\nin this scenario.")
    return Chart(
        title=title,
        lines=tuple(lines),
        ends=tuple(ends),
        note=STYLE_WORDS,
        is_logarithmic=True,
        is_wordy=True,
        margin=0.1,
    )


def _rebound_path(result: Result) -> Chart:
    bands: list[Band] = []
    lines: list[Line] = []
    ends: list[End] = []
    note, drawn = "", result.drawn_path_of_rebound()
    if drawn is not None:
        median, low, high = (_clipped(path) for path in drawn)
        bands.append(Band(low=low, high=high, colour="#009E73", opacity=0.18))
        lines.append(Line(path=median, colour="#009E73", style=DASHED))
        ends.append(End(value=_last(median), name="median\nof draws", colour="#009E73"))
        note = f"band: {100 * result.scenario.run.confidence:g} % of draws"
    centre = _clipped(_path_at_centre(result))
    lines.append(Line(path=centre, colour="#000000"))
    ends.append(End(value=_last(centre), name="inputs at\ncentre", colour="#000000"))
    ends.append(End(value=100.0, name="backfire\nabove", colour=GAIN))
    return Chart(
        title=f"Rebound of {words.resource(result)}, %",
        bands=tuple(bands),
        lines=tuple(lines),
        ends=tuple(end for end in ends if isfinite(end.value)),
        note=note,
        is_wordy=True,
        level=100.0,
        limits=REBOUND_LIMITS,
    )


def _path_at_centre(result: Result) -> Floats:
    arms = [result.consumption[arm][:, result.shock_month :].mean(axis=0).tolist() for arm in ARMS]
    values = [rebound(*month) for month in zip(*arms, strict=True)]
    return np.array([np.nan if value is None else value for value in values])


def _clipped(path: Floats) -> Floats:
    """A rebound in per cent, within what is drawn."""
    low, high = REBOUND_LIMITS
    return np.clip(100.0 * path, low, high)


def _channels(result: Result) -> Bars:
    title = "What becomes of the potential saving, points"
    shown = {n: p for n, p in result.channels.items() if abs(p) >= words.SMALLEST_POINTS}
    if not shown:
        return Bars(title=title, empty=f"With usage held, the shock saves no {words.resource(result)}.")
    total = sum(result.channels.values())
    starts = np.concatenate([[0.0], np.cumsum(list(shown.values()))[:-1]]).tolist()
    bars = [
        Bar(name=fill(words.CHANNELS.get(n, n), 18), start=start, length=points, colour=GAIN if points > 0 else LOSS)
        for (n, points), start in zip(shown.items(), starts, strict=True)
    ]
    bars.append(Bar(name=f"sum: rebound\n{number(100 + total)} %", start=0.0, length=total, colour=TOTAL))
    return Bars(title=title, bars=tuple(bars))


# Paths over the months.


def _served(result: Result) -> list[str]:
    served = {s.segment for s in result.stacks[0].arms["shock"][-1].segments if s.is_served}
    return [name for name in result.scenario.segments if name in served]


def _path(result: Result, arm: Arm, value: Callable[..., PerWorld], *arguments: str) -> Floats:
    """Mean over the replications of a figure in each month, shape (months,)."""
    paths = [stack.paths(arm, lambda month: value(month, *arguments)) for stack in result.stacks]
    return np.asarray(np.concatenate(paths).mean(axis=0))


def _installed(month: Month) -> PerWorld:
    return installed_h100e(month.regions)


def _on_order(month: Month) -> PerWorld:
    return sum(region.on_order_h100e for region in month.regions)


def _mean_need(month: Month) -> PerWorld:
    return sum(region.wanted_gpu_hours_per_day for region in month.regions) / HOURS_PER_DAY


def _usage_mean(month: Month, segment: str, name: str) -> PerWorld:
    parts = [s for s in month.segments if s.segment == segment]
    return usage_mean(parts, name) if parts else float("nan")


def _tokens(month: Month, segment: str) -> PerWorld:
    parts = [s.tokens_per_day for s in month.segments if s.segment == segment]
    return sum(parts) if parts else float("nan")


def _latency_s(month: Month, stage: str, statistic: str) -> PerWorld:
    """Mean of the hours of the weekdays, by their requests; NaN where none is known."""
    days = [region.days[0] for region in month.regions if region.days]
    if not days:
        return float("nan")
    hourly = np.concatenate([getattr(getattr(day, stage), statistic) for day in days], axis=-1)
    requests = np.concatenate([day.requests.sum(axis=-1) for day in days], axis=-1) * np.isfinite(hourly)
    return ratio((requests * np.nan_to_num(hourly)).sum(axis=-1), requests.sum(axis=-1), otherwise=float("nan"))


def _largest(paths: Iterable[Path]) -> float:
    values = [float(value) for path in paths for value in path if isfinite(value)]
    return max(values, default=0.0)


def _exists(path: Path) -> bool:
    return any(isfinite(value) for value in path)


def _last(path: Path) -> float:
    return next((float(value) for value in reversed(list(path)) if isfinite(value)), float("nan"))
