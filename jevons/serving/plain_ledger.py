"""What the plain engine knows of the requests that are inside, and what it counts of those that have left.

A request is a column of a table where many are handled at once, and an entry in each of some dictionaries where they
are handled one by one; whoever has left is counted and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import cast

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats
from jevons.serving.book import Ledger, Tally
from jevons.serving.compiled.state import (
    ARRIVED,
    BINS,
    BINS_PER_OCTAVE_LOG2,
    CACHED_TOKENS,
    CELL_ROW,
    FIRST_OCTAVE,
    INPUT_TOKENS,
    LOST,
    OUTPUT_TOKENS,
    SERVED_REQUESTS,
    SUM_DECODE,
    SUM_LATENCY,
    SUM_TOKENS,
    SUM_TPOT,
    SUM_TTFT,
)
from jevons.serving.interface import Day
from jevons.serving.sizing import work_of
from jevons.workload import Requests

Numbers = npt.NDArray[np.int64]

#: Rows of a table of requests: what `Ledger` has of each, then its stream, the hour and stream it is counted in, and
#: its tokens as they came.
(
    ARRIVAL, PREFILL, LEFT, WEIGHT, CONTEXT, INPUT_WEIGHT, INTERACTIVE, DEADLINE, PREFILL_START, FIRST_TOKEN, WAIT,
    ENTERED, STREAM, CELL, INPUT, CACHED, OUTPUT,
) = range(17)  # fmt: skip
ROWS = 17
#: Bits of the fraction of a double, and its exponent of 1.
FRACTION_BITS, EXPONENT_OF_1 = 52, 1023
#: Requests that may have left and not be counted yet.
MOST_GONE = 4096


def table_of(day: Day, requests: Requests) -> Floats:
    """Requests before they come, shape (rows, n)."""
    work, stream = work_of(day, requests), requests.stream
    table = np.full((ROWS, len(requests)), np.nan)
    table[ARRIVAL] = requests.arrival_s + day.warm_up_hours * day.seconds_per_hour
    table[PREFILL], table[LEFT], table[CONTEXT] = work.prefill_tokens, requests.output_tokens, work.context_tokens
    table[WEIGHT] = np.array([one.output_weight for one in day.streams])[stream]
    table[INPUT_WEIGHT] = np.array([one.input_weight for one in day.streams])[stream]
    table[INTERACTIVE] = np.array([one.interactive for one in day.streams])[stream]
    patience_s = np.array([inf if one.patience_s is None else one.patience_s for one in day.streams])
    table[DEADLINE] = table[ARRIVAL] + patience_s[stream]
    table[WAIT], table[STREAM] = 0.0, stream
    hour = np.floor(requests.arrival_s / day.seconds_per_hour) + day.warm_up_hours
    table[CELL] = np.clip(hour, 0, day.warm_up_hours + day.hours - 1) * len(day.streams) + stream
    table[INPUT], table[CACHED], table[OUTPUT] = requests.input_tokens, requests.cached_tokens, requests.output_tokens
    return table


class Counted:
    """What is counted by hour and stream of requests that came and left, and their records or histograms."""

    def __init__(self, day: Day, records: int | None) -> None:
        self.hours, self.streams, self.warm_up = day.warm_up_hours + day.hours, len(day.streams), day.warm_up_hours
        self.origin_s, self.hour_s = day.warm_up_hours * day.seconds_per_hour, day.seconds_per_hour
        cells = self.hours * self.streams
        self.cells = np.zeros((cells, CELL_ROW))
        #: Begin of prefill, first token, departure, and whether it was lost, of each request; None if not kept.
        self.records: Floats | None = None
        if records is not None:
            self.records = np.full((records, 4), np.nan)
            self.records[:, 3] = 0.0
        bins = (2, cells, BINS) if records is None else (2, 0, BINS)
        #: Histograms of the times to first token and for each token.
        self.bins = np.zeros(bins, dtype=np.int32)

    def arrive(self, table: Floats) -> None:
        """Count requests that came."""
        self._add(ARRIVED, table[CELL].astype(np.int64))

    def lose(self, numbers: Numbers, table: Floats) -> None:
        """Count requests that gave up."""
        self._add(LOST, table[CELL].astype(np.int64))
        if self.records is not None:
            self.records[numbers, 0], self.records[numbers, 3] = table[PREFILL_START], 1.0

    def serve(self, numbers: Numbers, table: Floats, departure: Floats) -> None:
        """Count requests that have got their last token."""
        departure, first = departure + table[WAIT], table[FIRST_TOKEN] + table[WAIT]
        if self.records is not None:
            self.records[numbers, :3] = np.stack([table[PREFILL_START], first, departure], axis=1)
            return
        self._add_tokens(table, np.floor((departure - self.origin_s) / self.hour_s) + self.warm_up)
        cell, ttft, decode = table[CELL].astype(np.int64), first - table[ARRIVAL], departure - first
        tpot = decode / table[OUTPUT]
        self._add(SERVED_REQUESTS, cell)
        for column, amounts in (
            (SUM_TTFT, ttft),
            (SUM_TPOT, tpot),
            (SUM_LATENCY, ttft + decode),
            (SUM_DECODE, decode),
            (SUM_TOKENS, table[OUTPUT]),
        ):
            self._add(column, cell, amounts)
        np.add.at(self.bins[0], (cell, bin_of(ttft)), 1)
        np.add.at(self.bins[1], (cell, bin_of(tpot)), 1)

    def stay(self, numbers: Numbers, table: Floats) -> None:
        """Write down what has happened to requests that are still inside at the close."""
        if self.records is not None:
            self.records[numbers, 0] = table[PREFILL_START]
            self.records[numbers, 1] = table[FIRST_TOKEN] + table[WAIT]

    def _add_tokens(self, table: Floats, hour: Floats) -> None:
        of_day = (hour >= self.warm_up) & (hour < self.hours)
        table = table[:, of_day]
        cell = (hour[of_day] * self.streams + table[STREAM]).astype(np.int64)
        for column, row in ((INPUT_TOKENS, INPUT), (CACHED_TOKENS, CACHED), (OUTPUT_TOKENS, OUTPUT)):
            self._add(column, cell, table[row])

    def _add(self, column: int, cell: Numbers, amounts: Floats | None = None) -> None:
        self.cells[:, column] += np.bincount(cell, amounts, len(self.cells))


def bin_of(seconds: Floats) -> Numbers:
    """Bins of latencies, from the bits of their numbers: no logarithm is taken."""
    bits = np.ascontiguousarray(seconds).view(np.int64)
    place = (bits >> (FRACTION_BITS - BINS_PER_OCTAVE_LOG2)) - ((EXPONENT_OF_1 + FIRST_OCTAVE) << BINS_PER_OCTAVE_LOG2)
    return np.asarray(np.clip(place, 0, BINS - 1))


class OpenLedger(Ledger):
    """The requests that are inside, by number, and no others."""

    def __init__(self, counted: Counted) -> None:
        super().__init__()
        self.counted = counted
        #: The rows of a table as dictionaries.
        self.rows: list[dict[int, float]] = [{} for _ in range(ROWS)]
        (
            self.arrival, self.prefill_tokens, self.output_tokens, self.weight, self.context_tokens, self.input_weight,
            _, self.deadline, self.prefill_start, self.first_token, self.step_wait, self.entered,
        ) = self.rows[: ENTERED + 1]  # fmt: skip
        # A row of numbers that are 0 or 1.
        self.interactive = cast(dict[int, bool], self.rows[INTERACTIVE])
        self.stages: dict[int, Tally | None] = {}
        self.stage = self.stages
        self._served: list[int] = []
        self._departures: list[float] = []
        self._lost: list[int] = []

    def known(self) -> Iterable[int]:
        """Requests that are inside."""
        return self.stages

    def put(self, numbers: Numbers, table: Floats) -> None:
        """Write requests down."""
        keys = numbers.tolist()
        for row, values in zip(self.rows, table.tolist(), strict=True):
            row.update(zip(keys, values, strict=True))

    def table(self, numbers: list[int]) -> Floats:
        """Requests that are written down, as a table."""
        return np.array([[row[number] for number in numbers] for row in self.rows]).reshape(ROWS, len(numbers))

    def depart(self, request: int, now: float) -> None:
        """Write down that a request has got its last token."""
        super().depart(request, now)
        self._served.append(request)
        self._departures.append(now)

    def give_up(self, request: int) -> None:
        """Write down that a request has run out of patience."""
        super().give_up(request)
        self._lost.append(request)

    @property
    def has_many_gone(self) -> bool:
        """Whether it is time to settle."""
        return len(self._served) + len(self._lost) > MOST_GONE

    def settle(self) -> None:
        """Count those who have left, and forget them."""
        if self._served:
            numbers = np.array(self._served, dtype=np.int64)
            self.counted.serve(numbers, self.table(self._served), np.array(self._departures))
        if self._lost:
            self.counted.lose(np.array(self._lost, dtype=np.int64), self.table(self._lost))
        for number in (*self._served, *self._lost):
            del self.stages[number]
            for row in self.rows:
                del row[number]
        self._served, self._departures, self._lost = [], [], []

    def taken(self) -> tuple[Numbers, Floats]:
        """All who are inside, in order, taken out."""
        self.settle()
        numbers = sorted(self.stages)
        table = self.table(numbers)
        for row in self.rows:
            row.clear()
        self.stages.clear()
        return np.array(numbers, dtype=np.int64), table
