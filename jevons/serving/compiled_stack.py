"""A stack of small days on the compiled engine: all worlds' days of a month in a few calls, on as many threads.

What a day knows before it is served is worked out for all days at once; then each thread takes a share of the days,
draws their requests and serves them.  A day is what it would be alone, whatever days stand beside it and on whatever
thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
import numpy.typing as npt

from jevons.randomness import Draws, Floats
from jevons.serving import sizing
from jevons.serving.autoscaling import NodePlan, plan_of_load
from jevons.serving.compiled import stack as kernels
from jevons.serving.compiled.draws import PURPOSES
from jevons.serving.compiled.state import (
    ARRIVED,
    BLOCK_ROWS,
    CELL_ROW,
    LOST,
    PROGRESS,
    SERVED_REQUESTS,
    Memory,
    zeros,
)
from jevons.serving.compiled_engine import (
    NO_ROW,
    NO_SLOTS,
    NOBODY_AGAIN,
    Wheels,
    law_numbers,
    opening_memory,
    routing_key,
    size_of,
    spans_of,
    token_laws,
)
from jevons.serving.control import schedule_of
from jevons.serving.interface import Day, Flow, ServedDay
from jevons.serving.layouts import requests_per_token
from jevons.serving.measurement import check, measured_day
from jevons.serving.rows import rows_of
from jevons.serving.streaming import EXACT_UP_TO, counts_of_cells
from jevons.units import SECONDS_PER_HOUR

#: Days to a call of a kernel at the least: fewer do not pay a thread.
DAYS_PER_CALL = 4
#: Standard deviations of its number above which a day has no room for requests: once in 10^20 days, and an error.
MARGIN = 12
#: Where no replica is chosen by random numbers.
NO_KEY = [0, 0, 0, 0]
#: Purposes of the numbers of over-dispersion, in the order of the kernel's rows.
GAMMA_PURPOSES = ("gamma", "gamma trial", "gamma shape")


def can_stack(days: Day) -> bool:
    """Whether a stack of days can be served at once: small ones, without failures, planned before they are drawn."""
    share = np.asarray(days.share_simulated)
    scaler = days.serving.autoscaler
    number = sum(np.asarray(stream.requests_per_day) for stream in days.streams) * share
    return (
        days.serving.failures is None
        and days.trace is None
        and not days.keep_records
        and (scaler.signal == "forecast" or bool((share < 1).all()))
        and float(np.max(number)) * days.seconds_per_hour <= EXACT_UP_TO * SECONDS_PER_HOUR
    )


def served_stack(days: Day, draws: Sequence[Draws], threads: int) -> ServedDay:
    """What comes of a stack of days, of as many days as there are draws; figures of its shape.

    Parameters
    ----------
    days : Day
        Whose numbers are arrays, of shape (..., worlds), or the same for all days.
    draws : sequence of Draws
        Of each day, the last axis running fastest.
    threads : int
        Threads to use; the result does not depend on them.
    """
    stack = PreparedStack.of(days, draws)
    results = stack.room()
    calls = [range(first, min(first + stack.days_per_call(threads), stack.number)) for first in stack.starts(threads)]
    if len(calls) == 1:
        stack.serve(calls[0], results)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda call: stack.serve(call, results), calls))
    return stack.measured(results)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What the kernels fill, of shape (days, ...)."""

    totals: Floats
    cells: Floats
    ttft: Floats
    tpot: Floats
    stream_ttft: Floats
    flow: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStack:
    """A stack of days made ready to be served: one axis of days, whatever the shape of the stack."""

    day: Day
    shape: tuple[int, ...]
    plan: NodePlan
    #: Requests that a day has room for.
    most: int
    #: What each day begins with, and the law of each.
    memory: Memory
    laws_of_days: Floats
    keys: npt.NDArray[np.uint64]
    spans: Floats
    laws: Floats
    rows: Floats

    @classmethod
    def of(cls, days: Day, draws: Sequence[Draws]) -> PreparedStack:
        """Work out what the days know before they are served."""
        known = sizing.stream_moments(days)
        forecast = sizing.request_rates_per_s(days)
        rates = np.broadcast_to(forecast, (*_shape_of(days, len(draws)), *forecast.shape[-2:]))
        shape, spans, streams = rates.shape[:-2], rates.shape[-2], rates.shape[-1]
        keys, gamma_keys = keys_of(draws, tuple(stream.name for stream in days.streams))
        cvs = np.array([stream.workload.overdispersion for stream in days.streams])
        if cvs.any():
            multipliers = np.empty((len(draws), spans, streams))
            kernels.gamma_multipliers(gamma_keys, cvs, multipliers)
            rates = rates * multipliers.reshape(*shape, spans, streams)
        load = sizing.expected_load(days, rates, known)
        is_forecast = days.serving.autoscaler.signal == "forecast"
        planned = sizing.expected_load(days, forecast, known) if is_forecast else load
        plan = plan_of_load(days.serving, planned, days.available_nodes)
        rows = rows_of(days, schedule_of(days, plan, load, 0.0), 0)
        rows = np.broadcast_to(rows, (*shape, *rows.shape[-2:])).reshape(len(draws), *rows.shape[-2:])
        share = np.asarray(days.share_simulated)
        expected = rates * (days.seconds_per_hour * share[..., None, None])
        number = expected.sum(axis=(-1, -2))
        most = int(number.max() + MARGIN * (sqrt(number.max()) + 1))
        wheels = Wheels.of(days, rows.reshape(-1, rows.shape[-1]), float(number.mean()))
        memory = opening_memory(days, size_of(days, rows.reshape(-1, rows.shape[-1]), wheels, most, most), wheels)
        is_routed = days.serving.routing == "power_of_two"
        routing = np.array([routing_key(one) if is_routed else NO_KEY for one in draws]).reshape(*shape, 4)
        law = law_numbers(days, wheels, requests_per_token(days, load, number), routing)
        return cls(
            day=days,
            shape=shape,
            plan=plan,
            most=most,
            memory=memory,
            laws_of_days=law.reshape(len(draws), -1),
            keys=keys,
            spans=spans_of(days, expected.reshape(len(draws), spans, streams)),
            laws=token_laws(days),
            rows=np.ascontiguousarray(rows),
        )

    @property
    def number(self) -> int:
        """Days of the stack."""
        return len(self.rows)

    def days_per_call(self, threads: int) -> int:
        """Days that a thread serves in one call."""
        return max(DAYS_PER_CALL, -(-self.number // threads))

    def starts(self, threads: int) -> range:
        """First day of each call."""
        return range(0, self.number, self.days_per_call(threads))

    def room(self) -> Results:
        """Room for what comes of the days."""
        days, hours, streams = self.number, self.day.hours, len(self.day.streams)
        return Results(
            totals=np.zeros((days, hours + 1, 4)),
            cells=np.zeros((days, self.day.warm_up_hours + hours, streams, CELL_ROW)),
            ttft=np.zeros((days, 3, hours)),
            tpot=np.zeros((days, 3, hours)),
            stream_ttft=np.zeros((days, streams)),
            flow=np.zeros((days, kernels.FLOW_COLUMNS)),
        )

    def serve(self, which: range, results: Results) -> None:
        """Serve some of the days, one after the other."""
        own = slice(which.start, which.stop)
        first, slots = self.memory, zeros(len(self.memory.slots))
        kernels.serve_days(
            slots, slots.view(np.int32), np.empty_like(first.state), np.empty_like(first.counts),
            first.state, first.counts, self.laws_of_days[own],
            self.keys[own], self.spans[own], self.laws, self.rows[own], self.day.duration_s,
            np.zeros(PROGRESS), np.zeros((BLOCK_ROWS, self.most)), np.empty((2, self.most, 2)),
            np.empty((5, self.most)), NO_ROW, NO_SLOTS, NOBODY_AGAIN,
            results.totals[own], results.cells[own], results.ttft[own], results.tpot[own], results.stream_ttft[own],
            results.flow[own],
        )  # fmt: skip

    def measured(self, results: Results) -> ServedDay:
        """What came of the days, scaled to the true fleet and true hours."""
        if results.flow[:, kernels.IS_FULL].any():
            raise AssertionError("a day has drawn more requests than it had room for")
        self._check(results)
        shape = self.shape

        def stacked(of_days: Floats) -> Floats:
            return of_days.reshape(*shape, *of_days.shape[1:])

        counts = counts_of_cells(
            stacked(results.cells[:, self.day.warm_up_hours :]),
            np.moveaxis(stacked(results.ttft), -2, 0),
            np.moveaxis(stacked(results.tpot), -2, 0),
            stacked(results.stream_ttft),
        )
        return measured_day(self.day, self.plan, counts, stacked(results.totals), np.empty(0), None)

    def _check(self, results: Results) -> None:
        """No request is lost on the way, and Little's law holds, on each day."""
        counted = results.cells.sum(axis=(1, 2))
        for cells, flow in zip(counted.tolist(), results.flow.tolist(), strict=True):
            check(
                Flow(
                    arrived=int(cells[ARRIVED]),
                    served=int(cells[SERVED_REQUESTS]),
                    lost=int(cells[LOST]),
                    inside=int(flow[kernels.FLOW_INSIDE]),
                    prefill_area_s=flow[kernels.FLOW_PREFILL_AREA],
                    prefill_time_s=flow[kernels.FLOW_PREFILL_TIME],
                    decode_area_s=flow[kernels.FLOW_DECODE_AREA],
                    decode_time_s=flow[kernels.FLOW_DECODE_TIME],
                )
            )


def _shape_of(days: Day, number: int) -> tuple[int, ...]:
    """Shape of a stack: that of its numbers, the last axis as long as the draws say."""
    numbers = [n for s in days.streams for n in (s.requests_per_day, s.input_weight, s.output_weight)]
    shape = np.broadcast_shapes(*map(np.shape, numbers), np.shape(days.available_nodes))
    if np.prod(shape, dtype=int) != number:
        raise ValueError(f"draws must be as many as the days of the stack, {shape}, not {number}")
    return shape


def keys_of(draws: Sequence[Draws], streams: tuple[str, ...]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Keys of the requests of each day, and of the over-dispersion of its streams."""
    of_requests, of_gamma = zip(*(_keys_of_day(one, streams) for one in draws), strict=True)
    return (
        np.frombuffer(b"".join(of_requests), dtype="<u8").reshape(len(draws), -1, 2).astype(np.uint64),
        np.frombuffer(b"".join(of_gamma), dtype="<u8").reshape(len(draws), len(streams), -1, 2).astype(np.uint64),
    )


@lru_cache(maxsize=16384)
def _keys_of_day(draws: Draws, streams: tuple[str, ...]) -> tuple[bytes, bytes]:
    # The arms of a comparison draw the same days.
    of_gamma = (digest for stream in streams for digest in draws.at(stream).digests(GAMMA_PURPOSES))
    return b"".join(draws.digests(PURPOSES)), b"".join(of_gamma)
