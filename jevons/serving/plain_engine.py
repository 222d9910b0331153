"""The engine in plain Python, for where nothing can be compiled: every request, at the same times as in the reference.

The rules are those of the reference, whose stages and fleets serve here too, on a clock without SimPy's events; where
prefill and decode are on nodes of their own and those are pooled, `plain_stages` serves many requests at a time.
Memory does not grow with the number of requests, unless single ones are to be kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import simpy

from jevons.randomness import Draws, Floats
from jevons.serving.compiled.state import CELL_ROW
from jevons.serving.disaggregated import Decode
from jevons.serving.forecast import blocks_of
from jevons.serving.interface import Day, Flow
from jevons.serving.layouts import Disaggregated, Pooled, fleet_of
from jevons.serving.measurement import flow_of
from jevons.serving.plain_clock import PlainClock
from jevons.serving.plain_ledger import ARRIVAL, Counted, OpenLedger, table_of
from jevons.serving.plain_stages import serve_pooled
from jevons.serving.streaming import Histograms, StreamedDay
from jevons.workload import Requests

#: Requests before the next event of the schedule that pay serving them many at a time.
MANY = 32
#: Requests that are written down at a time where they are served one by one.
HELPING = 512


def serve(env: simpy.Environment, day: Day, draws: Draws) -> simpy.Event:
    """Serve a day from now on; the event succeeds with the `ServedDay` when the day is over on the clock."""
    return env.timeout(day.duration_s, PlainDay.served_day(day, draws))


class PlainDay(StreamedDay):
    """One day, and between the events of its control plane the requests on a clock of their own."""

    def __init__(self, env: simpy.Environment, day: Day, draws: Draws) -> None:
        super().__init__(env, day, draws)
        self.clock = PlainClock()
        self.counted = Counted(day, None if self.requests is None else len(self.requests))
        self.ledger = OpenLedger(self.counted)
        self.fleet = fleet_of(self.clock, self.ledger, day, self.load, self.number, draws)
        self.nodes = self.schedule.nodes(0)
        self.rows = self._rows()
        self.coming = Coming(day, iter(self.blocks()))

    def _rows(self) -> list[tuple[float, int, int]]:
        """Time, whether it is a switch (or a note, which comes first) and number of each event of the schedule;
        falling.
        """
        day = self.day
        notes = [((day.warm_up_hours + hour) * day.seconds_per_hour, 0, hour) for hour in range(day.hours + 1)]
        switches = [(time_s, 1, row) for row, time_s in enumerate(self.schedule.times_s.tolist())]
        return sorted(notes + switches, reverse=True)

    def _drawn_blocks(self, size: int) -> Iterator[Requests]:
        return blocks_of(self.day, self.rates_per_s, self.draws, size)

    # The control plane's view.

    def advance(self) -> None:
        """Serve until now."""
        while self.rows and self.rows[-1][0] <= self.env.now:
            time_s, is_switch, number = self.rows.pop()
            self._serve_until(time_s)
            if is_switch:
                self._switch(number)
            else:
                self.totals[number] = self.fleet.totals()
        self._serve_until(self.env.now)

    def _switch(self, row: int) -> None:
        self.fleet.switch(float(self.nodes[row]), self.schedule.load.at(row))

    def under_repair(self, down: int) -> None:
        """Serve with what is left of the schedule's nodes when so many are under repair."""
        self.advance()
        self.nodes = self.schedule.nodes(down)
        self._switch(self.schedule.row_at(self.env.now))

    def decoding(self) -> list[int]:
        """Requests that decode."""
        self.advance()
        return self.fleet.decoding()

    def interrupt(self, hit: set[int]) -> None:
        """Start those requests again: their node failed."""
        self.fleet.interrupt(hit)

    # The data plane.

    def _serve_until(self, until: float) -> None:
        while self.clock.now < until:
            first, table, horizon = self.coming.before(until)
            self.counted.arrive(table)
            fleet = self.fleet
            if (
                isinstance(fleet, Disaggregated)
                and isinstance(fleet.pool, Pooled)
                and isinstance(decode := fleet.pool.parts[0], Decode)
                and table.shape[1] >= MANY
            ):
                serve_pooled(fleet.prefill, decode, self.clock, self.ledger, first, table, horizon)
            else:
                self._serve_singly(first, table, horizon)

    def _serve_singly(self, first: int, table: Floats, until: float) -> None:
        """Serve one event at a time."""
        for start in range(0, table.shape[1], HELPING):
            helping = table[:, start : start + HELPING]
            self._serve_helping(first + start, helping)
            if self.ledger.has_many_gone:
                self.ledger.settle()
        clock = self.clock
        while clock.next_at < until:
            clock.ring()
        clock.now = until

    def _serve_helping(self, first: int, table: Floats) -> None:
        clock, ledger, arrive = self.clock, self.ledger, self.fleet.arrive
        ledger.put(np.arange(first, first + table.shape[1]), table)
        for number, now in enumerate(table[ARRIVAL].tolist(), first):
            while clock.next_at <= now:
                clock.ring()
            clock.now = now
            ledger.arrived += 1
            arrive(number)

    # The close.

    def _lose_who_gave_up(self) -> None:
        first, second = self.fleet.close()
        self.ledger.settle()
        self.flow = flow_of(self.ledger, first, second, self.env.now)
        numbers = sorted(self.ledger.known())
        self.counted.stay(np.array(numbers, dtype=np.int64), self.ledger.table(numbers))

    def _flow(self) -> Flow:
        return self.flow

    def _cells(self) -> Floats:
        return self.counted.cells.reshape(self.counted.hours, -1, CELL_ROW)

    def _histograms(self) -> tuple[Histograms, Histograms]:
        ttft, tpot = self.counted.bins.reshape(2, self.counted.hours, len(self.day.streams), -1)
        return ttft, tpot

    def _record_rows(self) -> Floats:
        assert self.counted.records is not None, "records are asked for only where they are kept"
        return self.counted.records


class Coming:
    """The requests that are still to come, from one block to the next."""

    def __init__(self, day: Day, blocks: Iterator[Requests]) -> None:
        self.day = day
        self.blocks = blocks
        self.first = 0
        self.table = table_of(day, next(blocks))
        self.following = self._next_block()

    def _next_block(self) -> Floats | None:
        block = next(self.blocks, None)
        return None if block is None or not len(block) else table_of(self.day, block)

    def before(self, until: float) -> tuple[int, Floats, float]:
        """Number of the first and table of those who come before a time, and how far nothing else comes."""
        first = self.first
        n = int(np.searchsorted(self.table[ARRIVAL], until))
        coming, horizon = self.table[:, :n], until
        self.first, self.table = first + n, self.table[:, n:]
        if not self.table.shape[1] and self.following is not None:
            horizon = min(until, float(self.following[ARRIVAL, 0]))
            self.table, self.following = self.following, self._next_block()
        return first, coming, horizon
