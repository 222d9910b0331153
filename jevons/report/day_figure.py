"""One page of figures of a served day: nodes, load, utilisation and waiting by the hour."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from jevons.day import DayResult
from jevons.report.words import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"


def figure_files(result: DayResult) -> dict[str, bytes]:
    """The page as PNG, the same bytes for the same result."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(11, 8.5), layout="constrained")
    nodes, load, share, waiting = page.subplots(2, 2).ravel()
    _nodes(nodes, result)
    _load(load, result)
    _shares(share, result)
    _waiting(waiting, result)
    for panel in (nodes, load, share, waiting):
        panel.set_xlabel("hour of the day")
        panel.grid(color="0.92")
        # Below the panel, where no line can run into it.
        panel.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.0, -0.14), ncols=2, fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    page.suptitle(clean(result.scenario.title or result.scenario.name))
    stream = io.BytesIO()
    page.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return {"figure.png": stream.getvalue()}


def _hours(result: DayResult) -> Any:
    return np.arange(len(result.hourly_nodes)) + 0.5


def _mean(result: DayResult, name: str) -> Any:
    return np.mean([getattr(day, name) for day in result.days], axis=0)


def _nodes(panel: Axes, result: DayResult) -> None:
    panel.set_title("Nodes in use")
    panel.step(_hours(result), result.hourly_nodes, where="mid", color=BLUE, label="simulated")
    observed = np.array(result.observed.hourly_nodes)
    if len(observed):
        fitted = np.isin(np.arange(len(observed)), result.observed.fitted_hours)
        hours = _hours(result)
        panel.plot(hours[fitted], observed[fitted], "o", color=GREY, fillstyle="none", label="measured, fitted")
        panel.plot(hours[~fitted], observed[~fitted], "o", color=ORANGE, label="measured, held out")
    panel.set_ylim(bottom=0)


def _load(panel: Axes, result: DayResult) -> None:
    panel.set_title("Tokens served, billion an hour")
    computed = _mean(result, "input_tokens") - _mean(result, "cached_tokens")
    for tokens, label, colour in (
        (computed, "input, computed", BLUE),
        (_mean(result, "cached_tokens"), "input, cached", GREEN),
        (_mean(result, "output_tokens"), "output", ORANGE),
    ):
        panel.step(_hours(result), tokens.sum(axis=1) / 1e9, where="mid", color=colour, label=label)
    panel.set_ylim(bottom=0)


def _shares(panel: Axes, result: DayResult) -> None:
    panel.set_title("Share of the nodes in use, %")
    panel.step(_hours(result), 100 * _mean(result, "utilisation"), where="mid", color=BLUE, label="busy")
    panel.step(_hours(result), 100 * _mean(result, "share_of_capacity"), where="mid", color=ORANGE, label="of capacity")
    panel.set_ylim(0, 105)


def _waiting(panel: Axes, result: DayResult) -> None:
    panel.set_title("Waiting, s")
    for name, words, colour in (("ttft_s", "to first token", BLUE), ("tpot_s", "for each output token", ORANGE)):
        for statistic, style in (("mean", "-"), ("p95", "--")):
            values = np.mean([getattr(getattr(day, name), statistic) for day in result.days], axis=0)
            if np.isfinite(values).any():
                panel.plot(_hours(result), values, style, color=colour, label=f"{words}, {statistic}")
    panel.set_yscale("log")
