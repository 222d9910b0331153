"""The rebound waterfall drawn: down to nought by engineering, and back up channel by channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

from jevons.answer import Window
from jevons.attribution import WINDOWS, Split, View, Waterfall
from jevons.report.figures import drawn_files
from jevons.report.numbers import number
from jevons.report.page import GAIN, LOSS, TOTAL
from jevons.report.waterfall_text import HEADINGS, saving_words, setting, tenths, title
from jevons.report.words import RESOURCES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VIEW_TITLES: Mapping[View, str] = {"stated": "stated order", "shapley": "Shapley"}
SIZE_INCHES = (13.0, 10.0)
#: Stripes tell what takes from what gives back without any colour.
STRIPES = "////"
#: Half the height of a bar; they are 1 apart.
HALF = 0.31
#: Bars shorter than this, in percent of the potential saving, are hardly seen.
SHORTEST_BAR = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar, from where it starts to where it ends, in percent of the potential saving."""

    name: str
    start: float
    end: float
    label: str
    colour: str = TOTAL
    stripes: str = ""


def waterfall_files(waterfall: Waterfall) -> dict[str, bytes]:
    """The waterfall as PNG and as SVG, by name; the same bytes for the same waterfall."""
    return drawn_files("waterfall", lambda: waterfall_figure(waterfall))


def waterfall_figure(waterfall: Waterfall) -> Figure:
    """Two rows, at the horizon and since the shock; two columns, in the stated order and by Shapley."""
    from matplotlib.figure import Figure

    page = Figure(figsize=SIZE_INCHES)
    panels = page.subplots(len(WINDOWS), len(VIEW_TITLES), sharex="row")
    page.subplots_adjust(left=0.135, right=0.975, top=0.865, bottom=0.07, hspace=0.36, wspace=0.36)
    page.text(0.02, 0.962, title(waterfall), fontsize=15, fontweight="bold", va="center")
    page.text(0.02, 0.932, setting(waterfall), fontsize=10, color="#444444", va="center")
    for row, window in zip(panels, WINDOWS, strict=True):
        for panel, (view, name) in zip(row, VIEW_TITLES.items(), strict=True):
            panel.set_title(f"{HEADINGS[window]} · {name}")
            _draw(panel, waterfall, window, view)
    return page


def bars(split: Split, view: View) -> list[Bar]:
    """The bars from top to bottom; none where nothing is saved."""
    if split.rebound is None:
        return []
    found, level = [Bar(name="without the shock", start=0.0, end=100.0, label="100")], 100.0
    for name, change in split.points(view).items():
        colour, stripes = (GAIN, "") if change > 0 else (LOSS, STRIPES)
        found.append(
            Bar(name=name, start=level, end=level + change, label=tenths(change), colour=colour, stripes=stripes)
        )
        level = found[-1].end
    total = 100.0 * split.rebound
    return [*found, Bar(name="rebound", start=0.0, end=total, label=f"{number(total)} %")]


def _draw(panel: Axes, waterfall: Waterfall, window: Window, view: View) -> None:
    split = waterfall.centre[window]
    drawn = bars(split, view)
    if not drawn:
        consumed = RESOURCES[waterfall.scenario.run.resource]
        panel.text(
            0.5, 0.5, f"With usage held, the shock saves no {consumed}.", transform=panel.transAxes, ha="center",
            va="center", color="#666666",
        )  # fmt: skip
        panel.set_axis_off()
        return
    for place, bar in enumerate(drawn):
        panel.barh(
            place, bar.end - bar.start, left=bar.start, height=2 * HALF, color=bar.colour, hatch=bar.stripes,
            edgecolor="#FFFFFF", linewidth=0,
        )  # fmt: skip
        panel.annotate(
            bar.label, (max(bar.start, bar.end), place), xytext=(4, 0), textcoords="offset points", va="center",
            fontsize=9.5, bbox={"facecolor": "#FFFFFF", "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip
    _connect(panel, drawn)
    panel.axvline(0.0, color="#000000", linewidth=1.0)
    panel.axvline(100.0, color=GAIN, linewidth=1.2, linestyle=(0, (4.0, 2.0)), zorder=0)
    panel.set_yticks(range(len(drawn)), [fill(bar.name, 18) for bar in drawn])
    panel.tick_params(axis="y", length=0)
    panel.grid(visible=False, axis="y")
    panel.invert_yaxis()
    panel.set_xlabel(f"% of the {saving_words(split)}{_beyond(split)}")
    panel.set_xlim(*_limits(drawn))


def _beyond(split: Split) -> str:
    # None of the names of the rebound fits a loss of efficiency.
    return "; backfire beyond the dashed line" if split.baseline > split.frozen else ""


def _connect(panel: Axes, drawn: Sequence[Bar]) -> None:
    """Thin lines from where a bar ends to where the next begins, through those too short to be seen."""
    for place, bar in enumerate(drawn[:-1]):
        top = place - HALF if abs(bar.end - bar.start) < SHORTEST_BAR else place + HALF
        panel.plot([bar.end, bar.end], [top, place + 1.0 - HALF], color="#888888", linewidth=0.9)


def _limits(drawn: Sequence[Bar]) -> tuple[float, float]:
    ends = [end for bar in drawn for end in (bar.start, bar.end)]
    low, high = min(0.0, *ends), max(100.0, *ends)
    # The labels stand to the right of the bars.
    return low - 0.02 * (high - low), high + 0.14 * (high - low)
