"""The reference engine: every simulated request on the SimPy clock, by callbacks.

No request is a process and no pool a `Resource`: a request costs three timers, whatever the size of the pool.
"""

from __future__ import annotations

import numpy as np
import simpy

from jevons.randomness import Draws, Floats
from jevons.serving import sizing
from jevons.serving.autoscaling import NodePlan, decisions_in, interval_h, plan_of_load, plan_of_measurements
from jevons.serving.book import Book
from jevons.serving.control import ControlPlane, at_times
from jevons.serving.interface import Day, ServedDay
from jevons.serving.layouts import Totals, fleet_of
from jevons.serving.measurement import flow_of, measured_day, records_of
from jevons.workload import Requests, overdispersed, poisson_requests


def serve(env: simpy.Environment, day: Day, draws: Draws) -> simpy.Event:
    """Serve a day from now on; the event succeeds with the `ServedDay` when the day is over on the clock."""
    return Simulation(env, day, draws).over


class Simulation:
    """One day on the clock: requests come, the control plane switches nodes, hours are noted, the day closes."""

    def __init__(self, env: simpy.Environment, day: Day, draws: Draws) -> None:
        self.env = env
        self.day = day
        self.over: simpy.Event = env.event()
        self.start_s = env.now
        self.origin_s = env.now + day.warm_up_hours * day.seconds_per_hour
        end_s = env.now + day.duration_s
        rates_per_s = actual_rates_per_s(day, draws)
        self.requests = requests_of(day, rates_per_s, draws)
        self.plan = plan_of(day, rates_per_s, self.requests)
        self.book = Book(day, self.requests, self.origin_s)
        load = sizing.expected_load(day, rates_per_s, sizing.stream_moments(day))
        self.fleet = fleet_of(env, self.book, day, load, draws)
        self.control = ControlPlane(env, self.fleet, self.plan, load, self.start_s, day.seconds_per_hour)
        failures = day.serving.failures
        self.failures_h = self.control.fail_as(failures, draws) if failures is not None else np.empty(0)
        self.totals: list[Totals] = []
        at_times(env, self.book.arrival, self._arrive)
        hours = [self.origin_s + hour * day.seconds_per_hour for hour in range(day.hours)]
        at_times(env, [*hours, end_s], self._note_hour)

    def _arrive(self, request: int) -> None:
        if not self.control.closed:
            self.book.arrived += 1
            self.fleet.arrive(request)

    def _note_hour(self, hour: int) -> None:
        self.totals.append(self.fleet.totals())
        if hour == self.day.hours:
            self.over.succeed(self._closed())

    def _closed(self) -> ServedDay:
        self.control.closed = True
        first, second = self.fleet.close()
        flow = flow_of(self.book, first, second, self.env.now)
        records = records_of(self.book, self.requests, self.origin_s)
        return measured_day(self.day, self.plan, self.requests, records, self.totals, self.failures_h, flow)


def actual_rates_per_s(day: Day, draws: Draws) -> Floats:
    """Rate of each stream in each hour, warm-up first, with what the day has of over-dispersion, 1/s."""
    rates_per_s = sizing.request_rates_per_s(day)
    if day.trace is not None:
        return rates_per_s
    return overdispersed({stream.name: stream.workload for stream in day.streams}, rates_per_s, draws)


def requests_of(day: Day, rates_per_s: Floats, draws: Draws) -> Requests:
    """The requests that are simulated: drawn, or those of the trace."""
    if day.played is not None:
        return day.played
    return poisson_requests(
        {stream.name: stream.workload for stream in day.streams},
        rates_per_s * (day.seconds_per_hour * day.share_simulated),
        span_s=day.seconds_per_hour,
        first_s=-day.warm_up_hours * day.seconds_per_hour,
        draws=draws,
    )


def plan_of(day: Day, rates_per_s: Floats, requests: Requests) -> NodePlan:
    """Nodes over the day.

    A forecast knows the expected load; it does not know the over-dispersion.  A measurement sees the
    requests that came; in a thinned cell, whose few requests are noisier than those of the true pool, it sees
    the rates at which they came.
    """
    serving, known = day.serving, sizing.stream_moments(day)
    if serving.autoscaler.signal == "forecast":
        load = sizing.expected_load(day, sizing.request_rates_per_s(day), known)
        return plan_of_load(serving, load, day.available_nodes)
    if day.share_simulated < 1:
        return plan_of_load(serving, sizing.expected_load(day, rates_per_s, known), day.available_nodes)
    hours = day.warm_up_hours + day.hours
    interval_s = interval_h(serving.autoscaler) * day.seconds_per_hour
    load = sizing.load_of_requests(
        day,
        requests,
        interval_s,
        decisions_in(serving.autoscaler, hours),
        first_s=-day.warm_up_hours * day.seconds_per_hour,
    )
    return plan_of_measurements(serving, load, hours, day.available_nodes)
