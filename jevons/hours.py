"""The served days hour by hour, as a tidy table: one row an hour, one column a figure."""

from __future__ import annotations

import csv
import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from jevons.fleet import Power
from jevons.months import Month
from jevons.scenario import ARMS, Arm, Scenario
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Hours of served days, one a row; figures are those of the true fleet."""

    #: Values of `KEYS` and then of `FIGURES`, row by row.
    rows: Sequence[tuple[str | int | float, ...]]

    def to_csv(self, stream: TextIO) -> None:
        """Write a line for each hour; a figure that does not exist, like the wait of no request, is left empty."""
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((*KEYS, *FIGURES))
        writer.writerows(map(_with_gaps, self.rows))

    def to_pandas(self) -> pd.DataFrame:
        """The hours as a data frame."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=[*KEYS, *FIGURES])

    def column(self, name: str) -> list[str | int | float]:
        """The values of a column, row by row."""
        position = (*KEYS, *FIGURES).index(name)
        return [row[position] for row in self.rows]


def _with_gaps(row: tuple[str | int | float, ...]) -> Iterator[str | int | float]:
    return ("" if isinstance(value, float) and math.isnan(value) else value for value in row)


def hours_of_months(
    replications: Sequence[Mapping[Arm, Sequence[Month]]], scenario: Scenario, months: Sequence[dt.date]
) -> Hours:
    """The hours of every day that a run of months has served."""
    gpus = 0 if scenario.serving is None else scenario.serving.gpus_per_node
    return Hours(
        rows=[
            (arm, replication, months[month.month].isoformat(), region.region, kind, hour, *figures)
            for replication, arms in enumerate(replications)
            for arm in ARMS
            for month in arms[arm]
            for region in month.regions
            for kind, day in zip(("weekday", "weekend"), region.days, strict=False)
            for hour, figures in enumerate(hours_of_day(day, gpus, region.power))
        ]
    )


def hours_of_day(day: ServedDay, gpus_per_node: int, power: Power) -> Iterator[tuple[float, ...]]:
    """Values of `FIGURES` for each hour of a served day."""
    busy, provisioned = gpus_per_node * day.busy_node_hours, gpus_per_node * day.provisioned_node_hours
    columns = (
        day.requests.sum(axis=1),
        day.lost.sum(axis=1),
        day.input_tokens.sum(axis=1),
        day.cached_tokens.sum(axis=1),
        day.output_tokens.sum(axis=1),
        provisioned,
        busy,
        gpus_per_node * day.desired_node_hours,
        gpus_per_node * day.idle_node_hours,
        day.utilisation,
        day.share_of_capacity,
        day.failures,
        *(getattr(latencies, name) for latencies in (day.ttft_s, day.tpot_s) for name in PERCENTILES),
        [
            power.energy_mwh(busy_gpu_hours=float(b), idle_gpu_hours=float(p - b))
            for b, p in zip(busy, provisioned, strict=True)
        ],
    )
    yield from (tuple(map(float, hour)) for hour in zip(*columns, strict=True))
