"""The served days hour by hour, as a tidy table: one row an hour, one column a figure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, cast

import numpy as np

from jevons.fleet import Power
from jevons.months import Stack
from jevons.randomness import Floats
from jevons.results import csv_lines, csv_texts
from jevons.scenario import ARMS, Scenario
from jevons.serving import ServedDay

if TYPE_CHECKING:
    import pandas as pd

#: Columns that say which hour a row is of, and those that say what came of it (with their units in their names).
KEYS = ("arm", "replication", "month", "region", "day", "hour")
FIGURES = (
    "requests",
    "lost_requests",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "provisioned_gpu_hours",
    "busy_gpu_hours",
    "wanted_gpu_hours",
    "idle_gpu_hours",
    "utilisation",
    "share_of_capacity",
    "failures",
    "ttft_mean_s",
    "ttft_p50_s",
    "ttft_p95_s",
    "ttft_p99_s",
    "tpot_mean_s",
    "tpot_p50_s",
    "tpot_p95_s",
    "tpot_p99_s",
    "energy_mwh",
)
PERCENTILES = ("mean", "p50", "p95", "p99")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hours:
    """Hours of served days, one a row; figures are those of the true fleet."""

    #: Columns of `KEYS`, each of shape (rows,).
    keys: Sequence[Sequence[str | int]]
    #: Columns of `FIGURES`, shape (figures, rows); NaN for a figure that does not exist, like the wait of no request.
    figures: Floats

    @property
    def rows(self) -> list[tuple[str | int | float, ...]]:
        """Values of `KEYS` and then of `FIGURES`, row by row."""
        return list(zip(*self.keys, *self.figures.tolist(), strict=True))

    def to_csv(self, stream: TextIO) -> None:
        """Write a line for each hour; gaps are left empty."""
        stream.write(csv_lines((*KEYS, *FIGURES), [csv_texts(column) for column in (*self.keys, *self.figures)]))

    def to_pandas(self) -> pd.DataFrame:
        """The hours as a data frame."""
        import pandas as pd

        return pd.DataFrame(dict(zip((*KEYS, *FIGURES), (*self.keys, *self.figures), strict=True)))

    def column(self, name: str) -> list[str | int | float]:
        """The values of a column, row by row."""
        if name in KEYS:
            return list(self.keys[KEYS.index(name)])
        values: list[str | int | float] = self.figures[FIGURES.index(name)].tolist()
        return values


def hours_of_stacks(
    stacks: Sequence[Stack], scenario: Scenario, months: Sequence[dt.date], replications: int | None = None
) -> Hours:
    """The hours of every day that the replications have served, or the first so many of them, in their order."""
    gpus = 0 if scenario.serving is None else scenario.serving.gpus_per_node
    served = [(arm, month, region) for arm in ARMS for month in stacks[0].arms[arm] for region in month.regions]
    days = [
        (arm, months[month.month].isoformat(), region.region, kind, day.provisioned_node_hours.shape[-1])
        for arm, month, region in served
        for kind, day in zip(("weekday", "weekend"), region.days, strict=False)
    ]
    arm, month, region, kind, hour = (
        zip(*((*day[:4], hour) for day in days for hour in range(day[4])), strict=True) if days else [()] * 5
    )
    ends = np.cumsum([stack.worlds for stack in stacks])
    count = int(ends[-1]) if replications is None else min(replications, int(ends[-1]))
    wanted = [(stack, count - int(end) + stack.worlds) for stack, end in zip(stacks, ends, strict=True)]
    figures = np.concatenate([_figures_of(stack, gpus, worlds) for stack, worlds in wanted if worlds > 0], axis=1)
    replication = np.repeat(np.arange(count), len(hour)).tolist()
    return Hours(
        keys=(arm * count, replication, month * count, region * count, kind * count, hour * count),
        figures=figures.reshape(len(FIGURES), -1),
    )


def _figures_of(stack: Stack, gpus_per_node: int, most: int) -> Floats:
    """Figures of all hours of a stack, or of the first worlds in it, shape (figures, worlds, hours)."""
    days = [
        hours_of_day(day, gpus_per_node, region.power)[:, :most]
        for arm in ARMS
        for month in stack.arms[arm]
        for region in month.regions
        for day in region.days
    ]
    return np.concatenate([np.empty((len(FIGURES), min(most, stack.worlds), 0)), *days], axis=-1)


def hours_of_day(day: ServedDay, gpus_per_node: int, power: Power) -> Floats:
    """Values of `FIGURES` for each hour of a served day, shape (figures, ..., h)."""
    busy, provisioned = gpus_per_node * day.busy_node_hours, gpus_per_node * day.provisioned_node_hours
    each_hour = Power(
        loaded_kw=cast(float, np.asarray(power.loaded_kw)[..., None]),
        idle_kw=cast(float, np.asarray(power.idle_kw)[..., None]),
    )
    return np.stack(
        [
            day.requests.sum(axis=-1),
            day.lost.sum(axis=-1),
            day.input_tokens.sum(axis=-1),
            day.cached_tokens.sum(axis=-1),
            day.output_tokens.sum(axis=-1),
            provisioned,
            busy,
            gpus_per_node * day.desired_node_hours,
            gpus_per_node * day.idle_node_hours,
            day.utilisation,
            day.share_of_capacity,
            day.failures,
            *(getattr(latencies, name) for latencies in (day.ttft_s, day.tpot_s) for name in PERCENTILES),
            np.asarray(
                each_hour.energy_mwh(busy_gpu_hours=cast(float, busy), idle_gpu_hours=cast(float, provisioned - busy))
            ),
        ]
    )
