"""The reference engine: every simulated request on the SimPy clock, by callbacks.

No request is a process and no pool a `Resource`: a request costs three timers, whatever the size of the pool.
"""

from __future__ import annotations

import numpy as np
import simpy

from jevons.randomness import Draws
from jevons.serving import sizing
from jevons.serving.book import Book
from jevons.serving.control import ControlPlane, schedule_of
from jevons.serving.forecast import actual_rates_per_s, number_expected, plan_of, requests_of
from jevons.serving.interface import Day, ServedDay
from jevons.serving.layouts import Totals, fleet_of
from jevons.serving.measurement import counts_of, flow_of, measured_day, records_of
from jevons.serving.timers import Order, SimpyClock, at_times


def serve(env: simpy.Environment, day: Day, draws: Draws) -> simpy.Event:
    """Serve a day from now on; the event succeeds with the `ServedDay` when the day is over on the clock."""
    return Simulation(env, day, draws).over


class Simulation:
    """One day on the clock: requests come, the control plane switches nodes, hours are noted, the day closes."""

    def __init__(self, env: simpy.Environment, day: Day, draws: Draws) -> None:
        self.env = env
        self.day = day
        self.over: simpy.Event = env.event()
        self.origin_s = env.now + day.warm_up_hours * day.seconds_per_hour
        rates_per_s = actual_rates_per_s(day, draws)
        self.requests = requests_of(day, rates_per_s, draws)
        self.plan = plan_of(day, rates_per_s, [self.requests])
        self.book = Book(day, self.requests, self.origin_s)
        load = sizing.expected_load(day, rates_per_s, sizing.stream_moments(day))
        self.fleet = fleet_of(SimpyClock(env), self.book, day, load, number_expected(day, rates_per_s), draws)
        self.schedule = schedule_of(day, self.plan, load, env.now)
        self.control = ControlPlane(env, self, self.schedule)
        self.nodes = self.schedule.nodes(0)
        self._switch(0)
        at_times(env, self.schedule.times_s[1:].tolist(), lambda number: self._switch(number + 1))
        failures = day.serving.failures
        self.failures_h = np.empty(0)
        if failures is not None:
            self.failures_h = self.control.fail_as(self.plan, failures, day.seconds_per_hour, draws)
        self.totals: list[Totals] = []
        at_times(env, self.book.arrival, self._arrive, Order.ARRIVAL)
        notes_s = [self.origin_s + hour * day.seconds_per_hour for hour in range(day.hours + 1)]
        at_times(env, notes_s, self._note_hour, Order.NOTE)

    def _arrive(self, request: int) -> None:
        if not self.control.closed:
            self.book.arrived += 1
            self.fleet.arrive(request)

    def _switch(self, row: int) -> None:
        if not self.control.closed:
            self.fleet.switch(float(self.nodes[row]), self.schedule.load.at(row))

    def under_repair(self, down: int) -> None:
        """Serve with what is left of the schedule's nodes when so many are under repair."""
        self.nodes = self.schedule.nodes(down)
        self._switch(self.schedule.row_at(self.env.now))

    def decoding(self) -> list[int]:
        """Requests that decode."""
        return self.fleet.decoding()

    def interrupt(self, hit: set[int]) -> None:
        """Start those requests again: their node failed."""
        self.fleet.interrupt(hit)

    def _note_hour(self, hour: int) -> None:
        self.totals.append(self.fleet.totals())
        if hour == self.day.hours:
            self.over.succeed(self._closed())

    def _closed(self) -> ServedDay:
        self.control.closed = True
        first, second = self.fleet.close()
        flow = flow_of(self.book, first, second, self.env.now)
        records = records_of(self.book, self.requests, self.origin_s)
        counts = counts_of(self.day, self.requests, records)
        return measured_day(self.day, self.plan, counts, self.totals, self.failures_h, flow, records)
