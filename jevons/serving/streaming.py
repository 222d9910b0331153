"""What engines share that serve all requests between two events of the control plane in one go.

SimPy is the control plane and says what happens: failures and repairs, and through them the nodes there are.  A data
plane serves the requests, along the schedule of the autoscaler.  Its memory does not grow with their number, unless
single ones are to be kept: it counts by hour and stream, and latencies in histograms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import simpy

from jevons.randomness import Draws, Floats
from jevons.serving import sizing
from jevons.serving.compiled.state import (
    ARRIVED,
    CACHED_TOKENS,
    INPUT_TOKENS,
    LOST,
    OUTPUT_TOKENS,
    SERVED_REQUESTS,
    SUM_DECODE,
    SUM_LATENCY,
    SUM_TOKENS,
    SUM_TPOT,
    SUM_TTFT,
    bin_edges_s,
)
from jevons.serving.control import ControlPlane, schedule_of
from jevons.serving.forecast import actual_rates_per_s, number_expected, plan_of
from jevons.serving.interface import Day, Flow, Latencies, Records, ServedDay, StreamLatencies
from jevons.serving.measurement import Counts, check, counts_of, measured_day
from jevons.serving.timers import Order, at_times
from jevons.stacks import ratio
from jevons.workload import Requests, enough_for, joined

#: Requests drawn at a time.
BLOCK = 8192
#: A day of so few requests keeps them all, and has exact percentiles.
EXACT_UP_TO = 100_000
Histograms = npt.NDArray[np.int32]


class StreamedDay(ABC):
    """One day: its control plane on the clock, and between the events of that all requests in one go."""

    def __init__(self, env: simpy.Environment, day: Day, draws: Draws) -> None:
        self.env = env
        self.day = day
        self.draws = draws
        self.over: simpy.Event = env.event()
        self.rates_per_s = actual_rates_per_s(day, draws)
        self.number = number_expected(day, self.rates_per_s)
        #: The requests, where all of them are kept, as those of a trace are; else they are drawn block by block.
        is_kept = day.played is not None or day.keep_records or self.number <= EXACT_UP_TO
        self.requests = self._all_requests() if is_kept else None
        self.plan = plan_of(day, self.rates_per_s, self.blocks())
        self.load = sizing.expected_load(day, self.rates_per_s, sizing.stream_moments(day))
        self.schedule = schedule_of(day, self.plan, self.load, 0.0)
        self.totals = np.zeros((day.hours + 1, 4))
        self.control = ControlPlane(env, self, self.schedule)
        failures = day.serving.failures
        self.failures_h = np.empty(0)
        if failures is not None:
            self.failures_h = self.control.fail_as(self.plan, failures, day.seconds_per_hour, draws)
        at_times(env, [day.duration_s], self._close, Order.NOTE)

    @classmethod
    def served_day(cls, day: Day, draws: Draws) -> ServedDay:
        """What comes of a day, on a clock of its own."""
        env = simpy.Environment()
        simulation = cls(env, day, draws)
        env.run(until=simulation.over)
        return simulation.served()

    # Requests.

    def blocks(self) -> Iterable[Requests]:
        """All requests of the day, in order, some at a time."""
        return self._drawn_blocks(BLOCK) if self.requests is None else [self.requests]

    def _all_requests(self) -> Requests:
        if self.day.played is not None:
            return self.day.played
        return joined(self._drawn_blocks(enough_for(self.number)))

    @abstractmethod
    def _drawn_blocks(self, size: int) -> Iterator[Requests]:
        """The requests of a day that plays no trace, so many at a time."""

    # The control plane's view.

    @abstractmethod
    def advance(self) -> None:
        """Serve until now."""

    @abstractmethod
    def under_repair(self, down: int) -> None:
        """Serve with what is left of the schedule's nodes when so many are under repair."""

    @abstractmethod
    def decoding(self) -> list[int]:
        """Requests that decode."""

    @abstractmethod
    def interrupt(self, hit: set[int]) -> None:
        """Start those requests again: their node failed."""

    # The close.

    def _close(self, _: int) -> None:
        self.advance()
        self.control.closed = True
        self._lose_who_gave_up()
        self.over.succeed()

    @abstractmethod
    def _lose_who_gave_up(self) -> None:
        """Lose those whose deadline is past, wherever they stand."""

    def served(self) -> ServedDay:
        """What came of the day."""
        flow = self._flow()
        check(flow)
        if self.requests is None:
            counts, records = counts_of_histograms(self.day, self._cells(), *self._histograms()), None
        else:
            records = records_of_rows(self.day, self.requests, self._record_rows()[: flow.arrived])
            counts = counts_of(self.day, self.requests, records)
        return measured_day(self.day, self.plan, counts, self.totals, self.failures_h, flow, records)

    @abstractmethod
    def _flow(self) -> Flow:
        """The account of the simulated requests."""

    @abstractmethod
    def _cells(self) -> Floats:
        """What was counted, shape (warm-up + h, s, columns); columns as told in `compiled.state`."""

    @abstractmethod
    def _histograms(self) -> tuple[Histograms, Histograms]:
        """Times to first token and for each token, shape (warm-up + h, s, bins)."""

    @abstractmethod
    def _record_rows(self) -> Floats:
        """Begin of prefill, first token and departure on the clock, s, and whether it was lost, shape (n, 4)."""


def records_of_rows(day: Day, requests: Requests, rows: Floats) -> Records:
    """What happened to each of the first requests, in seconds of the day."""
    start_s, first_s, departure_s = rows[:, :3].T - day.warm_up_hours * day.seconds_per_hour
    return Records(
        arrival_s=requests.arrival_s[: len(rows)],
        prefill_start_s=start_s,
        first_token_s=first_s,
        departure_s=departure_s,
        lost=rows[:, 3] > 0,
        stream=requests.stream[: len(rows)],
    )


def counts_of_histograms(day: Day, cells: Floats, ttft: Histograms, tpot: Histograms) -> Counts:
    """What was counted, warm-up first, with percentiles from histograms: within 0.4 % of exact ones."""
    first, edges_s = day.warm_up_hours, bin_edges_s()
    ttft_s, tpot_s = (
        np.array([[quantile_of_bins(bins, p, edges_s) for bins in of_hours.sum(axis=1)] for p in (0.5, 0.95, 0.99)])
        for of_hours in (ttft[first:], tpot[first:])
    )
    streams_s = np.array([quantile_of_bins(bins, 0.95, edges_s) for bins in ttft[first:].sum(axis=0)])
    return counts_of_cells(cells[first:], ttft_s, tpot_s, streams_s)


def counts_of_cells(cells: Floats, ttft_s: Floats, tpot_s: Floats, stream_ttft_s: Floats) -> Counts:
    """What was counted on a day or on each of a stack of days.

    Parameters
    ----------
    cells : ndarray, shape (..., h, s, columns)
        Columns as told in `compiled.state`.
    ttft_s, tpot_s : ndarray, shape (3, ..., h), s
        The 50th, 95th and 99th percentile of the latencies of each hour.
    stream_ttft_s : ndarray, shape (..., s), s
        The 95th of each stream's time to first token.
    """
    by_hour, by_stream, of_day = cells.sum(axis=-2), cells.sum(axis=-3), cells.sum(axis=(-2, -3))

    def mean(sums: Any, what: int, number: int = SERVED_REQUESTS) -> Floats:
        return cast(Floats, ratio(sums[..., what], sums[..., number], otherwise=np.nan))

    def latencies(what: int, percentiles: Floats) -> Latencies:
        return Latencies(mean=mean(by_hour, what), p50=percentiles[0], p95=percentiles[1], p99=percentiles[2])

    return Counts(
        requests=cells[..., ARRIVED],
        lost=cells[..., LOST],
        input_tokens=cells[..., INPUT_TOKENS],
        cached_tokens=cells[..., CACHED_TOKENS],
        output_tokens=cells[..., OUTPUT_TOKENS],
        ttft_s=latencies(SUM_TTFT, ttft_s),
        tpot_s=latencies(SUM_TPOT, tpot_s),
        stream_latencies=StreamLatencies(
            mean_ttft_s=mean(by_stream, SUM_TTFT),
            p95_ttft_s=stream_ttft_s,
            mean_tpot_s=mean(by_stream, SUM_TPOT),
            mean_latency_s=mean(by_stream, SUM_LATENCY),
        ),
        user_speed_tokens_per_s=cast(float, mean(of_day, SUM_TOKENS, SUM_DECODE)),
    )


def quantile_of_bins(bins: npt.NDArray[np.int64], p: float, edges_s: Floats) -> float:
    """Quantile of a histogram of latencies, linear within a bin, s; NaN of an empty one."""
    total = int(bins.sum())
    if not total:
        return float("nan")
    below = np.concatenate([[0], np.cumsum(bins)])
    # Of n values in order the i-th stands for the share (i - 1/2) / n of them.
    place = p * (total - 1) + 0.5
    found = min(int(np.searchsorted(below, place, side="right")) - 1, len(bins) - 1)
    inside = (place - below[found]) / max(int(bins[found]), 1)
    return float(edges_s[found] + min(inside, 1.0) * (edges_s[found + 1] - edges_s[found]))
