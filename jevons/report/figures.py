"""The page of pictures, drawn."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from math import log10
from typing import TYPE_CHECKING, Any

import numpy as np

from jevons.report.numbers import percents
from jevons.report.page import GAIN, Bars, Chart, End, Page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (13.0, 16.5)
DOTS_PER_INCH = 110
#: Smallest distance of two labels at the end of lines, as a share of the height of the panel.
LABEL_DISTANCE = 0.065

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


def figure_files(page: Page) -> dict[str, bytes]:
    """The page as PNG and as SVG, by name; the same bytes for the same page."""
    return drawn_files("figure", lambda: figure(page))


def drawn_files(name: str, draw: Callable[[], Figure]) -> dict[str, bytes]:
    """What is drawn in our style as PNG and as SVG, by file name, without what differs from day to day."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update(STYLE)
        drawn = draw()
        return {
            f"{name}.png": _saved(drawn, "png", {"Software": None}),
            f"{name}.svg": _saved(drawn, "svg", {"Date": None, "Creator": None}),
        }


def _saved(drawn: Figure, form: str, metadata: Mapping[str, None]) -> bytes:
    stream = io.BytesIO()
    drawn.savefig(stream, format=form, dpi=DOTS_PER_INCH, metadata=dict(metadata))
    return stream.getvalue()


def figure(page: Page) -> Figure:
    """The page, its panels in two columns."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=SIZE_INCHES)
    panels = drawn.subplots(len(page.panels) // 2, 2)
    drawn.subplots_adjust(left=0.065, right=0.885, top=0.925, bottom=0.04, hspace=0.34, wspace=0.52)
    drawn.text(0.065, 0.972, page.title, fontsize=15, fontweight="bold", va="center")
    drawn.text(0.065, 0.953, page.setting, fontsize=10, color="#444444", va="center")
    for panel, shown in zip(panels.flat, page.panels, strict=True):
        panel.set_title(shown.title)
        if shown.empty:
            _say(panel, shown.empty)
        elif isinstance(shown, Bars):
            _draw_bars(panel, shown)
        else:
            _draw_chart(panel, shown, page)
    return drawn


def _say(panel: Axes, text: str) -> None:
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", color="#666666")
    panel.set_axis_off()


def _draw_bars(panel: Axes, shown: Bars) -> None:
    for place, bar in enumerate(shown.bars):
        panel.barh(place, bar.length, left=bar.start, color=bar.colour, height=0.62)
        panel.annotate(
            percents([bar.length / 100.0], signed=True)[0], (max(bar.start, bar.start + bar.length), place),
            xytext=(4, 0), textcoords="offset points", va="center",
        )  # fmt: skip
    panel.axvline(0.0, color="#000000", linewidth=1.0)
    panel.set_yticks(range(len(shown.bars)), [bar.name for bar in shown.bars])
    panel.yaxis.tick_right()
    panel.tick_params(axis="y", length=0)
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")
    panel.spines["left"].set_visible(False)
    left, right = panel.get_xlim()
    panel.set_xlim(left, right + 0.12 * (right - left))


def _draw_chart(panel: Axes, shown: Chart, page: Page) -> None:
    days = np.asarray(_calendar().date2num(page.months), dtype=np.float64)
    for band in shown.bands:
        ends = (band.low, band.high)
        panel.fill_between(days[-len(band.low) :], *ends, color=band.colour, alpha=band.opacity, linewidth=0)
    for line in shown.lines:
        panel.plot(days[-len(line.path) :], line.path, color=line.colour, linestyle=line.style)
    if shown.level is not None:
        panel.axhline(shown.level, color=GAIN, linewidth=1.2)
    if shown.note:
        panel.text(0.0, -0.115, shown.note, transform=panel.transAxes, color="#666666", fontsize=8.5, va="top")
    if shown.margin is not None:
        panel.margins(y=shown.margin)
    _set_axes(panel, shown, page)
    _label_ends(panel, shown.ends, 2 * LABEL_DISTANCE if shown.is_wordy else LABEL_DISTANCE)


def _calendar() -> Any:
    # Its functions are not typed.
    return import_module("matplotlib.dates")


# Axes and labels.


def _set_axes(panel: Axes, shown: Chart, page: Page) -> None:
    """Set the axes of a panel over time, and mark the shock."""
    calendar = _calendar()
    if page.shock is not None:
        panel.axvline(float(calendar.date2num(page.shock)), color="#999999", linewidth=1.0, linestyle=(0, (2, 2)))
    locator = calendar.AutoDateLocator(minticks=5, maxticks=9)
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(calendar.ConciseDateFormatter(locator, show_offset=False))
    panel.margins(x=0.01)
    if shown.is_logarithmic:
        _logarithmic(panel)
    else:
        panel.set_ylim(bottom=min(0.0, panel.dataLim.y0))
    if shown.limits is not None and shown.level is not None:
        (bottom, top), (lowest, highest) = panel.get_ylim(), shown.limits
        panel.set_ylim(max(min(bottom, 0.0), lowest), min(max(top, 1.2 * shown.level), highest))


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


def _label_ends(panel: Axes, ends: Sequence[End], distance: float) -> None:
    """Names beside the ends of the lines, pushed apart where they would overlap."""
    wanted = sorted((_height(panel, end.value), end.name, end.colour) for end in ends)
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
