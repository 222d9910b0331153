"""What happens to the nodes of a day, on the clock: the autoscaler's switching, failures and repairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import simpy

from jevons.randomness import Draws, Floats
from jevons.scenario import Failures
from jevons.serving.autoscaling import SAME_TIME_H, NodePlan
from jevons.serving.interface import Day
from jevons.serving.sizing import Load
from jevons.serving.timers import Order, at_times, ring_after
from jevons.units import HOURS_PER_DAY
from jevons.workload import poisson_times


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Times at which the nodes or their load may change, the first of them at the beginning; shape (k,).

    A leading shape (...) is that of a stack of days.
    """

    times_s: Floats
    #: Nodes on as planned, whether or not some are under repair; shape (..., k), as the load.
    planned_nodes: Floats
    #: Expected load from each time to the next.
    load: Load

    def nodes(self, down: int) -> Floats:
        """Nodes that serve from each time on when so many are under repair."""
        return np.maximum(0.0, self.planned_nodes - down)

    def row_at(self, time_s: float) -> int:
        """The row in force at a time."""
        return int(np.searchsorted(self.times_s, time_s, side="right")) - 1


def schedule_of(day: Day, plan: NodePlan, hourly_load: Load, start_s: float) -> Schedule:
    """Schedule of a day that begins, warm-up first, at a time of the clock."""
    # The load changes by the hour, and with it the split of the nodes.
    times_h = np.unique(np.concatenate([plan.times_h(), np.arange(float(plan.hours))]))
    hours = np.minimum((times_h + SAME_TIME_H).astype(np.int64), hourly_load.decode_tokens_per_s.shape[-1] - 1)
    return Schedule(
        times_s=start_s + times_h * day.seconds_per_hour,
        planned_nodes=plan.nodes_at(times_h),
        load=Load(
            prefill_tokens_per_s=hourly_load.prefill_tokens_per_s[..., hours],
            decode_tokens_per_s=hourly_load.decode_tokens_per_s[..., hours],
            context_tokens2_per_s=hourly_load.context_tokens2_per_s[..., hours],
        ),
    )


class Controlled(Protocol):
    """A fleet as its control plane sees it."""

    def decoding(self) -> list[int]:
        """Requests that decode."""

    def interrupt(self, hit: set[int]) -> None:
        """Start those requests again: their node failed."""

    def under_repair(self, down: int) -> None:
        """Serve with what is left of the schedule's nodes when so many are under repair."""


class ControlPlane:
    """Lets nodes fail, and be repaired."""

    def __init__(self, env: simpy.Environment, fleet: Controlled, schedule: Schedule) -> None:
        self.env = env
        self.fleet = fleet
        self.schedule = schedule
        self.down = 0
        self.closed = False

    @property
    def nodes_on(self) -> float:
        """Nodes that are on and not under repair; below 0 when more fail than are on."""
        return float(self.schedule.planned_nodes[self.schedule.row_at(self.env.now)]) - self.down

    def fail_as(self, plan: NodePlan, failures: Failures, seconds_per_hour: float, draws: Draws) -> Floats:
        """Let nodes fail; the times of all failures of the day, h.

        Nodes that are on fail at the rate 1/MTBF each.  A failed node takes its share of the sequences with it:
        each is hit with the probability 1 / (nodes on).  It is missing until its repair, which takes an
        exponential time.
        """
        _, hours = poisson_times(plan.hourly_nodes() / (failures.mtbf_days * HOURS_PER_DAY), draws, "failure")
        repairs_s = failures.repair_hours * draws.exponential("repair", len(hours)) * seconds_per_hour

        def fail(number: int) -> None:
            if not self.closed:
                self._fail(draws.at("failure", number))
                ring_after(self.env, float(repairs_s[number]), number, self._repair, Order.CONTROL)

        at_times(self.env, (self.schedule.times_s[0] + hours * seconds_per_hour).tolist(), fail)
        return hours

    def _fail(self, draws: Draws) -> None:
        hit = self._hit(draws)
        self.down += 1
        self.fleet.under_repair(self.down)
        self.fleet.interrupt(hit)

    def _hit(self, draws: Draws) -> set[int]:
        decoding = np.array(sorted(self.fleet.decoding()), dtype=np.int64)
        if not len(decoding):
            return set()
        # One number for each request, whoever else decodes, so that the arms stay paired.
        first, last = int(decoding[0]), int(decoding[-1])
        luck = draws.uniform("hit", last - first + 1, first=first)[decoding - first]
        hit: list[int] = decoding[luck * max(self.nodes_on, 1.0) < 1.0].tolist()
        return set(hit)

    def _repair(self, _: int) -> None:
        self.down -= 1
        if not self.closed:
            self.fleet.under_repair(self.down)
