"""`simulate_day`: one served day of a fleet, without a market, against what was measured on it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, isnan
from typing import TYPE_CHECKING, TextIO, cast

import numpy as np
import simpy

from jevons.display import Shown
from jevons.errors import UsageError
from jevons.fleet import Power
from jevons.hours import Hours, hours_of_day
from jevons.market import SegmentMarket
from jevons.randomness import Draws, Floats
from jevons.region import RegionSupply
from jevons.results import Estimate
from jevons.scenario import Observed, Scenario, Serving
from jevons.service import requests_of, workload_of
from jevons.serving import DEFAULT_ENGINE, Day, ServedDay, Stream, reference_gpu_seconds_per_mtok
from jevons.serving import engine as engine_named
from jevons.traces import read_trace
from jevons.units import SECONDS_PER_HOUR, SECONDS_PER_MINUTE
from jevons.workers import Progress, Workers
from jevons.workload import Requests

if TYPE_CHECKING:
    import pandas as pd

#: Headrooms that a fit tries.
HEADROOMS = np.round(np.arange(0.70, 1.501, 0.005), 3)
#: Engine of the fit: the autoscaler's rule on the expected load.
FIT_ENGINE = "closed_form"


@dataclass(frozen=True, kw_only=True, repr=False)
class DayResult(Shown):
    """What a scenario of kind day came to."""

    #: As it was run: with the fitted headroom, if one was fitted.
    scenario: Scenario
    engine: str
    #: The day in each replication.
    days: tuple[ServedDay, ...]
    #: Whether the autoscaler's headroom was fitted on some of the observed hours.
    is_fitted: bool
    power: Power

    @property
    def observed(self) -> Observed:
        """What was measured on the day; empty where nothing was."""
        return self.scenario.observed or Observed()

    @property
    def rental_usd_per_gpu_hour(self) -> float:
        """What a GPU-hour costs."""
        (region,) = self.scenario.regions.values()
        return region.rental.price_usd_per_gpu_hour

    @property
    def gpus_per_node(self) -> int:
        """GPUs of a node."""
        return serving_of(self.scenario).gpus_per_node

    @cached_property
    def hourly_nodes(self) -> Floats:
        """Nodes switched on in each hour, mean of the replications, shape (hours,)."""
        return np.asarray(np.mean([day.provisioned_node_hours for day in self.days], axis=0))

    @cached_property
    def mean_nodes(self) -> Estimate:
        """Nodes switched on, mean over the day."""
        return self._estimate([float(day.provisioned_node_hours.mean()) for day in self.days])

    @cached_property
    def cost_usd(self) -> Estimate:
        """Cost of the nodes switched on."""
        gpu_hour = self.gpus_per_node * self.rental_usd_per_gpu_hour
        return self._estimate([gpu_hour * float(day.provisioned_node_hours.sum()) for day in self.days])

    @cached_property
    def user_speed_tokens_per_s(self) -> Estimate | None:
        """Output speed that a user sees, None where nothing was served."""
        return self._defined([day.user_speed_tokens_per_s for day in self.days])

    def latency_s(self, name: str, statistic: str) -> Estimate | None:
        """A latency of the day, `ttft` or `tpot`: hours averaged by their requests; None where there is none."""
        return self._defined([hourly_average(day, getattr(getattr(day, f"{name}_s"), statistic)) for day in self.days])

    @cached_property
    def tokens_per_day(self) -> tuple[Estimate, Estimate, Estimate]:
        """Input, cached input and output tokens of the requests that were finished on the day."""
        names = ("input_tokens", "cached_tokens", "output_tokens")
        tokens = [[float(getattr(day, name).sum()) for day in self.days] for name in names]
        return self._estimate(tokens[0]), self._estimate(tokens[1]), self._estimate(tokens[2])

    def total(self, name: str) -> Estimate:
        """A figure of the served day, summed over its hours (and streams)."""
        return self._estimate([float(getattr(day, name).sum()) for day in self.days])

    @cached_property
    def busy_share(self) -> Estimate:
        """Share of the node-hours in use in which the node had at least one request."""
        return self._share_of_nodes("busy_node_hours")

    @cached_property
    def capacity_share(self) -> Estimate:
        """Share of what the nodes in use could do at their largest batch."""
        return self._share_of_nodes("least_node_hours")

    def _share_of_nodes(self, name: str) -> Estimate:
        return self._estimate(
            [float(getattr(day, name).sum() / max(day.provisioned_node_hours.sum(), 1e-300)) for day in self.days]
        )

    def write_requests(self, stream: TextIO) -> None:
        """Write what happened to each request of the first replication, one a line, where it was kept."""
        records = self.days[0].records
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("arrival_s", "prefill_start_s", "first_token_s", "departure_s", "lost"))
        if records is not None:
            times = (records.arrival_s, records.prefill_start_s, records.first_token_s, records.departure_s)
            for lost, *row in zip(records.lost.tolist(), *(array.tolist() for array in times), strict=True):
                writer.writerow([*("" if isnan(time) else time for time in row), int(lost)])

    @property
    def fitted_error(self) -> float | None:
        """Mean absolute error of the nodes over the hours used for the fit, as a share of the mean observed."""
        return self._error(self.observed.fitted_hours)

    @property
    def held_out_error(self) -> float | None:
        """The same over the hours not used for the fit."""
        fitted = set(self.observed.fitted_hours)
        return self._error([hour for hour in range(len(self.observed.hourly_nodes)) if hour not in fitted])

    def _error(self, hours: Sequence[int]) -> float | None:
        observed = np.array(self.observed.hourly_nodes)
        if not len(hours):
            return None
        return float(np.abs(self.hourly_nodes[hours] - observed[hours]).mean() / observed.mean())

    @property
    def hours(self) -> pd.DataFrame:
        """The day, hour by hour, in each replication: a tidy data frame."""
        return self.hourly.to_pandas()

    @cached_property
    def hourly(self) -> Hours:
        """What `hours` is made of, without pandas."""
        start, (region,) = self.scenario.run.start.isoformat(), self.scenario.regions
        days, count = len(self.days), len(self.hourly_nodes)
        rows = days * count
        return Hours(
            keys=(
                [""] * rows,
                [replication for replication in range(days) for _ in range(count)],
                [start] * rows,
                [region] * rows,
                ["day"] * rows,
                [*range(count)] * days,
            ),
            figures=np.concatenate([hours_of_day(day, self.gpus_per_node, self.power) for day in self.days], axis=-1),
        )

    def _defined(self, values: Sequence[float]) -> Estimate | None:
        return self._estimate(values) if np.isfinite(values).all() else None

    def _estimate(self, values: Sequence[float]) -> Estimate:
        return Estimate.from_replications(values, self.scenario.run.confidence)


def simulate_day(
    scenario: Scenario, *, engine: str = DEFAULT_ENGINE, workers: int = 1, progress: Progress | None = None
) -> DayResult:
    """Serve one day of a scenario of kind day: drawn requests, or a recorded trace.

    Where hours are named for it, the autoscaler's headroom is fitted first: the one whose node count, from the
    expected load, is nearest to the observed in those hours.

    Parameters
    ----------
    scenario : Scenario
    engine : {"compiled", "simpy", "closed_form"}
    workers : int
        Processes to use; the result does not depend on them.
    progress : callable, optional
        Called with what is being done, how many are done, and how many there are.

    Raises
    ------
    UsageError
        If the scenario is not of kind day, or plays a trace on an engine without single requests.
    """
    if scenario.kind != "day":
        raise UsageError("a scenario of kind market has no single day: use simulate")
    central = scenario.central()
    fitted = bool(central.observed and central.observed.fitted_hours)
    if fitted:
        central = central.replace({"serving.autoscaler.headroom": fitted_headroom(central)})
    day = day_of(central)
    # A trace plays the same in every replication, unless nodes fail.
    repeats = day.trace is None or day.serving.failures is not None
    count = central.run.replications if repeats else 1
    jobs = [(central, day, number, engine) for number in range(count)]
    tell = progress or (lambda *_: None)
    chosen = engine_named(engine)
    with Workers(min(workers, count), in_threads=chosen.runs_in_threads) as pool:
        days = pool.map(served, jobs, lambda done: tell("replications", done, count))
    supply = RegionSupply(central, next(iter(central.regions)))
    return DayResult(
        scenario=central, engine=engine, days=tuple(days), is_fitted=fitted, power=supply.power(supply.opening(), 0)
    )


def served(job: tuple[Scenario, Day, int, str]) -> ServedDay:
    """One replication of a day."""
    scenario, day, number, engine_name = job
    clock = simpy.Environment()
    draws = Draws(seed=scenario.run.seed, replication=number, place=("day",))
    return cast("ServedDay", clock.run(until=engine_named(engine_name).serve(clock, day, draws)))


def fitted_headroom(scenario: Scenario) -> float:
    """Headroom of the autoscaler whose nodes are nearest to those observed in the hours named for the fit.

    Of several as good as each other, the one in the middle.
    """
    assert scenario.observed is not None, "a fit has hours to fit: the caller has looked"
    hours = scenario.observed.fitted_hours
    observed = np.array(scenario.observed.hourly_nodes)[hours]
    errors = []
    for headroom in HEADROOMS:
        trial = scenario.replace({"serving.autoscaler.headroom": float(headroom)})
        nodes = served((trial, day_of(trial), 0, FIT_ENGINE)).provisioned_node_hours
        errors.append(float(np.abs(nodes[hours] - observed).mean()))
    best = np.flatnonzero(np.isclose(errors, min(errors), rtol=1e-9, atol=1e-12))
    return float(HEADROOMS[best[len(best) // 2]])


def day_of(scenario: Scenario) -> Day:
    """The day that a scenario of kind day serves."""
    serving = serving_of(scenario)
    (region,) = scenario.regions
    supply = RegionSupply(scenario, region)
    trace = trace_of(scenario)
    return Day(
        streams=tuple(stream_of(scenario, name, region) for name in scenario.segments),
        serving=serving,
        available_nodes=supply.available_h100e(supply.opening(), 0) / serving.gpus_per_node,
        hours=24 if trace is None else max(1, ceil(float(trace.arrival_s[-1]) / SECONDS_PER_HOUR)),
        seconds_per_hour=SECONDS_PER_HOUR
        if trace is not None
        else SECONDS_PER_MINUTE * scenario.run.sampled_minutes_per_hour,
        requests_simulated=scenario.run.resolution,
        trace=trace,
        keep_records=trace is not None,
    )


def trace_of(scenario: Scenario) -> Requests | None:
    """The recorded requests that a scenario plays, None where they are drawn."""
    for segment in scenario.segments.values():
        workload = workload_of(scenario, segment)
        if workload is not None and workload.trace is not None:
            return read_trace(workload.trace, workload.trace_speed, workload.cached_share)
    return None


def stream_of(scenario: Scenario, name: str, region: str) -> Stream:
    """The requests of a segment on the day."""
    segment = scenario.segments[name]
    assert segment.workload is not None, "a segment of a day has a workload: the scenario is checked"
    market = SegmentMarket(scenario, name, region, requests_of(scenario, segment))
    reference_input, reference_output = reference_gpu_seconds_per_mtok(serving_of(scenario))
    return Stream(
        name=name,
        requests_per_day=market.start_tokens_per_day / market.requests.tokens,
        workload=scenario.workloads[segment.workload],
        input_weight=segment.gpu_seconds_per_mtok_input / reference_input,
        output_weight=segment.gpu_seconds_per_mtok_output / reference_output,
        interactive=segment.priority == "interactive",
        patience_s=segment.patience_s,
    )


def serving_of(scenario: Scenario) -> Serving:
    """How nodes serve, which a scenario of kind day tells."""
    assert scenario.serving is not None, "a day is served: the scenario is checked"
    return scenario.serving


def hourly_average(day: ServedDay, hourly: Floats) -> float:
    """Average of an hourly latency, each hour by its requests; NaN where no hour has one."""
    weights = np.where(np.isnan(hourly), 0.0, day.requests.sum(axis=1))
    return float(np.nansum(weights * hourly) / weights.sum()) if weights.sum() > 0 else float("nan")
