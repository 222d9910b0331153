"""One page of pictures: prices, usage, compute, GPU-hours of the three arms, fleet, waiting, rebound."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from itertools import cycle
from math import isfinite, log10
from textwrap import fill
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from jevons.answer import Result, installed_h100e, usage_mean
from jevons.months import Month
from jevons.randomness import Floats
from jevons.rebound import rebound
from jevons.report import words
from jevons.report.numbers import COUNTS, SI, number, percents, scale_of
from jevons.report.rows import month_before
from jevons.scenario import ARMS, Arm
from jevons.stacks import PerWorld, ratio
from jevons.units import HOURS_PER_DAY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Paths over the months, by what they are of: values are NaN where there are none.
Path: TypeAlias = Sequence[float] | Floats

#: Okabe and Ito's colours, which readers with any kind of colour blindness tell apart.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
ARM_COLOURS: dict[Arm, str] = {"baseline": "#0072B2", "frozen": "#777777", "shock": "#D55E00"}
ARM_NAMES: dict[Arm, str] = {"baseline": "without the shock", "frozen": "shock, usage held", "shock": "with the shock"}
GAIN, LOSS, TOTAL = "#D55E00", "#0072B2", "#444444"
Style: TypeAlias = str | tuple[int, tuple[float, float]]
DASHED: Style = (0, (4.0, 2.0))
DOTTED: Style = (0, (1.0, 1.5))
SIZE_INCHES = (13.0, 16.5)
DOTS_PER_INCH = 110
#: Smallest distance of two labels at the end of lines, as a share of the height of the panel.
LABEL_DISTANCE = 0.065
#: No rebound outside these is drawn: it has left the page.
REBOUND_LIMITS = (-1.0, 3.0)

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "jevons",
    "text.parse_math": False,
    "axes.unicode_minus": False,
}


def figure_files(result: Result) -> dict[str, bytes]:
    """The page as PNG and as SVG, by name; the same bytes for the same result."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update(STYLE)
        page = figure(result)
        return {
            "figure.png": saved(page, "png", {"Software": None}),
            "figure.svg": saved(page, "svg", {"Date": None, "Creator": None}),
        }


def saved(page: Figure, form: str, metadata: Mapping[str, None]) -> bytes:
    """A page in a form, without what differs from day to day."""
    stream = io.BytesIO()
    page.savefig(stream, format=form, dpi=DOTS_PER_INCH, metadata=dict(metadata))
    return stream.getvalue()


def figure(result: Result) -> Figure:
    """The page."""
    from matplotlib.figure import Figure

    page = Figure(figsize=SIZE_INCHES)
    panels = page.subplots(4, 2)
    page.subplots_adjust(left=0.065, right=0.885, top=0.925, bottom=0.04, hspace=0.34, wspace=0.52)
    page.text(0.065, 0.972, words.title(result), fontsize=15, fontweight="bold", va="center")
    page.text(0.065, 0.953, words.setting(result), fontsize=10, color="#444444", va="center")
    draws: Sequence[Callable[[Axes, Result], None]] = (
        _prices, _usage, _intensity, _consumption, _fleet, _waiting, _rebound_path, _channels,
    )  # fmt: skip
    for panel, draw in zip(panels.flat, draws, strict=True):
        draw(panel, result)
    return page


# The panels.


def _prices(panel: Axes, result: Result) -> None:
    panel.set_title("Price, USD/Mtok")
    _by_segment(panel, result, _usage_mean, "price_usd_per_mtok")


def _usage(panel: Axes, result: Result) -> None:
    paths = [_path(result, arm, _tokens, name) for name in _served(result) for arm in _PAIR]
    prefix, factor = scale_of([_largest(paths)], SI)
    panel.set_title(f"Usage, {prefix}tok/day")
    _by_segment(panel, result, _tokens, factor=factor)


def _intensity(panel: Axes, result: Result) -> None:
    panel.set_title("Compute intensity, H100e GPU-s/Mtok")
    _by_segment(panel, result, _usage_mean, "gpu_seconds_per_mtok")


def _consumption(panel: Axes, result: Result) -> None:
    unit, prefixes = {
        "gpu_hours": ("H100e-h/day", COUNTS), "energy_mwh": ("MWh/day", COUNTS), "usd": ("USD/day", COUNTS),
    }[result.scenario.run.resource]  # fmt: skip
    # The bands may reach far beyond the lines: the lines set the scale.
    prefix, factor = scale_of([_largest(result.consumption[arm].mean(axis=0) for arm in ARMS)], prefixes)
    consumed = words.resource(result)
    panel.set_title(f"{consumed[0].upper()}{consumed[1:]} of the three arms, {prefix}{unit}")
    ends: list[_End] = []
    for arm in ARMS:
        paths = result.consumption[arm] / factor
        if result.draws is not None:
            _band(panel, result, _quantiles(result.draws.consumption[arm] / factor, result), ARM_COLOURS[arm], 0.12)
        _band(panel, result, (paths.min(axis=0), paths.max(axis=0)), ARM_COLOURS[arm], 0.35)
        style = DASHED if arm == "frozen" else "-"
        panel.plot(_days(result), paths.mean(axis=0), color=ARM_COLOURS[arm], linestyle=style)
        ends.append((float(paths[:, -1].mean()), ARM_NAMES[arm], ARM_COLOURS[arm]))
    _note(panel, _band_words(result))
    _finish(panel, result, ends, logarithmic=False)


def _fleet(panel: Axes, result: Result) -> None:
    lines: list[tuple[str, Arm, Style, str, Callable[[Month], PerWorld]]] = [
        ("installed, without", "baseline", DASHED, ARM_COLOURS["baseline"], _installed),
        ("installed, with", "shock", "-", ARM_COLOURS["shock"], _installed),
        ("on order, with", "shock", DOTTED, "#777777", _on_order),
        ("need, mean, with", "shock", "-", "#009E73", _mean_need),
        ("need, mean, without", "baseline", DASHED, "#009E73", _mean_need),
    ]
    paths = {name: (_path(result, arm, value), colour, style) for name, arm, style, colour, value in lines}
    shown = {name: held for name, held in paths.items() if _largest([held[0]]) > 0}
    prefix, factor = scale_of([_largest(held[0] for held in shown.values())], COUNTS)
    panel.set_title(f"Fleet and need, {prefix}H100e")
    ends: list[_End] = []
    for name, (path, colour, style) in shown.items():
        scaled = path / factor
        panel.plot(_days(result), scaled, color=colour, linestyle=style)
        ends.append((float(scaled[-1]), name, colour))
    _note(panel, _utilisation_words(result))
    _finish(panel, result, ends, logarithmic=False)


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


def _waiting(panel: Axes, result: Result) -> None:
    panel.set_title("Waiting on weekdays, s")
    ends: list[_End] = []
    for stage, name, colour in (("ttft_s", "first token", "#0072B2"), ("tpot_s", "each output\ntoken", "#E69F00")):
        statistic = "p95" if _exists(_path(result, "shock", _latency_s, stage, "p95")) else "mean"
        for arm, style in zip(_PAIR, (DASHED, "-"), strict=True):
            path = _path(result, arm, _latency_s, stage, statistic)
            if _exists(path):
                panel.plot(_days(result), path, color=colour, linestyle=style)
        if _exists(path):
            ends.append((_last(path), f"{name}, {statistic}", colour))
    if ends:
        _note(panel, "solid: with the shock; dashed: without")
        panel.margins(y=0.1)
        _finish(panel, result, ends, logarithmic=True, distance=2 * LABEL_DISTANCE)
    else:
        _empty(panel, "No request is served one by one\nin this scenario.")


def _rebound_path(panel: Axes, result: Result) -> None:
    panel.set_title(f"Rebound of {words.resource(result)}, %")
    days, low, high = _days(result)[result.shock_month :], *REBOUND_LIMITS
    centre = _clipped(_path_at_centre(result))
    drawn = result.drawn_path_of_rebound()
    ends: list[_End] = []
    if drawn is not None:
        median, *band = (_clipped(path) for path in drawn)
        panel.fill_between(days, 100 * band[0], 100 * band[1], color="#009E73", alpha=0.18, linewidth=0)
        panel.plot(days, 100 * median, color="#009E73", linestyle=DASHED)
        ends.append((100 * _last(median), "median\nof draws", "#009E73"))
        _note(panel, f"band: {100 * result.scenario.run.confidence:g} % of draws")
    panel.plot(days, 100 * centre, color="#000000")
    ends.append((100 * _last(centre), "inputs at\ncentre", "#000000"))
    panel.axhline(100.0, color=GAIN, linewidth=1.2)
    ends.append((100.0, "backfire\nabove", GAIN))
    _finish(panel, result, [end for end in ends if isfinite(end[0])], logarithmic=False, distance=2 * LABEL_DISTANCE)
    bottom, top = panel.get_ylim()
    panel.set_ylim(max(min(bottom, 0.0), 100 * low), min(max(top, 120.0), 100 * high))
    _label_ends(panel, [end for end in ends if isfinite(end[0])], 2 * LABEL_DISTANCE)


def _channels(panel: Axes, result: Result) -> None:
    panel.set_title("What becomes of the potential saving, points")
    shown = {n: p for n, p in result.channels.items() if abs(p) >= words.SMALLEST_POINTS}
    if not shown:
        _empty(panel, f"With usage held, the shock saves no {words.resource(result)}.")
        return
    total = sum(result.channels.values())
    starts = np.concatenate([[0.0], np.cumsum(list(shown.values()))[:-1]])
    bars = [
        (fill(words.CHANNELS.get(name, name), 16), float(start), points)
        for (name, points), start in zip(shown.items(), starts, strict=True)
    ]
    bars.append((f"sum: rebound\n{number(100 + total)} %", 0.0, total))
    for place, (_, start, points) in enumerate(bars):
        last = place == len(bars) - 1
        colour = TOTAL if last else GAIN if points > 0 else LOSS
        panel.barh(place, points, left=start, color=colour, height=0.62)
        panel.annotate(
            percents([points / 100.0], signed=True)[0], (max(start, start + points), place),
            xytext=(4, 0), textcoords="offset points", va="center",
        )  # fmt: skip
    panel.axvline(0.0, color="#000000", linewidth=1.0)
    panel.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    panel.yaxis.tick_right()
    panel.tick_params(axis="y", length=0)
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")
    panel.spines["left"].set_visible(False)
    left, right = panel.get_xlim()
    panel.set_xlim(left, right + 0.12 * (right - left))


# Lines over the months.

#: A line's last value, its label and its colour.
_End: TypeAlias = tuple[float, str, str]
_PAIR: tuple[Arm, Arm] = ("baseline", "shock")


def _by_segment(
    panel: Axes, result: Result, value: Callable[..., PerWorld], *arguments: str, factor: float = 1.0
) -> None:
    ends: list[_End] = []
    for name, colour in zip(_served(result), cycle(COLOURS), strict=False):
        for arm, style in zip(_PAIR, (DASHED, "-"), strict=True):
            path = _path(result, arm, value, name, *arguments) / factor
            panel.plot(_days(result), path, color=colour, linestyle=style)
        ends.append((_last(path), name if len(name) <= 14 else f"{name[:13]}…", colour))
    _note(panel, "solid: with the shock; dashed: without")
    _finish(panel, result, ends, logarithmic=True)


def _served(result: Result) -> list[str]:
    served = {s.segment for s in result.stacks[0].arms["shock"][-1].segments if s.is_served}
    return [name for name in result.scenario.segments if name in served]


def _days(result: Result) -> Floats:
    """First days of the months, as the axis counts them."""
    return np.asarray(_calendar().date2num(result.months), dtype=np.float64)


def _calendar() -> Any:
    # Its functions are not typed.
    return import_module("matplotlib.dates")


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


def _path_at_centre(result: Result) -> Floats:
    arms = [result.consumption[arm][:, result.shock_month :].mean(axis=0).tolist() for arm in ARMS]
    values = [rebound(*month) for month in zip(*arms, strict=True)]
    return np.array([np.nan if value is None else value for value in values])


def _quantiles(paths: Floats, result: Result) -> tuple[Floats, Floats]:
    tail = (1.0 - result.scenario.run.confidence) / 2
    low, high = np.quantile(paths, [tail, 1.0 - tail], axis=0)
    return low, high


def _band(panel: Axes, result: Result, ends: tuple[Floats, Floats], colour: str, opacity: float) -> None:
    panel.fill_between(_days(result), *ends, color=colour, alpha=opacity, linewidth=0)


def _band_words(result: Result) -> str:
    if result.draws is None:
        return "bands: range of the replications"
    return f"light bands: {100 * result.scenario.run.confidence:g} % of draws; dark: replications"


def _clipped(path: Floats) -> Floats:
    low, high = REBOUND_LIMITS
    return np.clip(path, low, high)


def _largest(paths: Iterable[Path]) -> float:
    values = [float(value) for path in paths for value in path if isfinite(value)]
    return max(values, default=0.0)


def _exists(path: Path) -> bool:
    return any(isfinite(value) for value in path)


def _last(path: Path) -> float:
    return next((float(value) for value in reversed(list(path)) if isfinite(value)), float("nan"))


# Axes and labels.


def _finish(
    panel: Axes, result: Result, ends: Sequence[_End], *, logarithmic: bool, distance: float = LABEL_DISTANCE
) -> None:
    """Set the axes of a panel over time, mark the shock, name the lines."""
    calendar = _calendar()
    if result.scenario.shock is not None:
        panel.axvline(
            float(calendar.date2num(result.scenario.shock.date)), color="#999999", linewidth=1.0, linestyle=(0, (2, 2))
        )
    locator = calendar.AutoDateLocator(minticks=5, maxticks=9)
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(calendar.ConciseDateFormatter(locator, show_offset=False))
    panel.margins(x=0.01)
    if logarithmic:
        _logarithmic(panel)
    else:
        panel.set_ylim(bottom=min(0.0, panel.dataLim.y0))
    if not panel.get_title(loc="left").startswith("Rebound"):
        _label_ends(panel, ends, distance)


def _logarithmic(panel: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    panel.set_yscale("log")
    bottom, top = panel.get_ylim()
    decades = log10(top / bottom)
    subdivisions = (1.0,) if decades > 3 else (1.0, 2.0, 5.0) if decades > 1 else tuple(map(float, range(1, 10)))
    panel.yaxis.set_major_locator(MaxNLocator(5) if decades < 0.5 else LogLocator(subs=subdivisions, numticks=12))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    panel.yaxis.set_minor_formatter(NullFormatter())


def _tick(value: float) -> str:
    return f"{value:,.10g}" if 1e-4 <= abs(value) < 1e7 else f"{value:.0e}"


def _label_ends(panel: Axes, ends: Sequence[_End], distance: float) -> None:
    """Names beside the ends of the lines, pushed apart where they would overlap."""
    for old in [text for text in panel.texts if text.get_gid() == "end"]:
        old.remove()
    wanted = [(float(_height(panel, value)), name, colour) for value, name, colour in ends]
    wanted.sort()
    for height, (_, name, colour) in zip(spread([height for height, _, _ in wanted], distance), wanted, strict=True):
        panel.text(
            1.015, height, name, transform=panel.transAxes, color=colour, va="center", fontsize=9, gid="end",
            linespacing=0.95,
        )  # fmt: skip


def _height(panel: Axes, value: float) -> float:
    """Height of a value in the panel, 0 at its bottom and 1 at its top."""
    x = panel.get_xlim()[1]
    (_, height) = panel.transAxes.inverted().transform(panel.transData.transform((x, value)))
    return min(max(float(height), 0.0), 1.0)


def spread(heights: Sequence[float], distance: float) -> list[float]:
    """Rising heights pushed apart to at least a distance, each group kept near where it was.

    Examples
    --------
    >>> [round(height, 6) for height in spread([0.5, 0.5, 0.9], 0.1)]
    [0.45, 0.55, 0.9]
    """
    groups: list[tuple[float, int]] = []
    for height in heights:
        groups.append((height, 1))
        # A group is as many labels around the mean of what they wanted; groups that touch become one.
        while len(groups) > 1 and _touch(groups[-2], groups[-1], distance):
            (first, n), (second, m) = groups[-2:]
            groups[-2:] = [((n * first + m * second) / (n + m), n + m)]
    return [centre + (place - (n - 1) / 2) * distance for centre, n in groups for place in range(n)]


def _touch(below: tuple[float, int], above: tuple[float, int], distance: float) -> bool:
    return above[0] - below[0] < distance * (below[1] + above[1]) / 2


def _note(panel: Axes, text: str) -> None:
    panel.text(0.0, -0.115, text, transform=panel.transAxes, color="#666666", fontsize=8.5, va="top")


def _empty(panel: Axes, text: str) -> None:
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", color="#666666")
    panel.set_axis_off()
