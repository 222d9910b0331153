"""What happens to the nodes of a day, on the clock: the autoscaler's switching, failures and repairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import simpy
from simpy.events import Timeout

from jevons.randomness import Draws, Floats
from jevons.scenario import Failures
from jevons.serving.autoscaling import NodePlan
from jevons.serving.layouts import ServingFleet
from jevons.serving.sizing import Load
from jevons.units import HOURS_PER_DAY
from jevons.workload import poisson_times


def at_times(env: simpy.Environment, times_s: Sequence[float], happen: Callable[[int], None]) -> None:
    """Call with 0, 1, 2 ... when the clock reads each of the rising times, none of them past."""
    last = len(times_s) - 1

    def ring(timer: simpy.Event) -> None:
        number: int = timer.value  # type: ignore[assignment]
        if number < last:
            _wait(number + 1)
        happen(number)

    def _wait(number: int) -> None:
        Timeout(env, max(0.0, times_s[number] - env.now), number).callbacks.append(ring)

    if times_s:
        _wait(0)


class ControlPlane:
    """Switches nodes on and off as planned, less those under repair."""

    def __init__(
        self,
        env: simpy.Environment,
        fleet: ServingFleet,
        plan: NodePlan,
        hourly_load: Load,
        start_s: float,
        seconds_per_hour: float,
    ) -> None:
        self.env = env
        self.fleet = fleet
        self.plan = plan
        self.hourly_load = hourly_load
        self.start_s = start_s
        self.seconds_per_hour = seconds_per_hour
        self.down = 0
        self.closed = False
        self.switch()
        # The load changes by the hour, and with it the split of the nodes.
        changes_h = sorted({*plan.times_h().tolist(), *map(float, range(plan.hours))} - {0.0})
        at_times(env, [start_s + hour * seconds_per_hour for hour in changes_h], lambda _: self.switch())

    @property
    def hour(self) -> float:
        """Time since the beginning, warm-up included, h."""
        return (self.env.now - self.start_s) / self.seconds_per_hour

    @property
    def nodes_on(self) -> float:
        """Nodes that are on and not under repair; below 0 when more fail than are on."""
        return float(self.plan.nodes_at(np.array([self.hour]))[0]) - self.down

    def switch(self) -> None:
        """Let the nodes serve that are on now and not under repair."""
        if not self.closed:
            nodes = max(0.0, self.nodes_on)
            self.fleet.switch(nodes, self.hourly_load.at(int(self.hour + 1e-9)))

    def fail_as(self, failures: Failures, draws: Draws) -> Floats:
        """Let nodes fail; the times of all failures of the day, h.

        Nodes that are on fail at the rate 1/MTBF each.  A failed node takes its share of the sequences with it:
        each is hit with the probability 1 / (nodes on).  It is missing until its repair, which takes an
        exponential time.
        """
        _, hours = poisson_times(self.plan.hourly_nodes() / (failures.mtbf_days * HOURS_PER_DAY), draws, "failure")
        repairs_h = failures.repair_hours * draws.exponential("repair", len(hours))

        def fail(number: int) -> None:
            if not self.closed:
                self._fail(draws.at("failure", number))
                repair = Timeout(self.env, float(repairs_h[number]) * self.seconds_per_hour)
                repair.callbacks.append(self._repair)

        at_times(self.env, (self.start_s + hours * self.seconds_per_hour).tolist(), fail)
        return hours

    def _fail(self, draws: Draws) -> None:
        hit = self._hit(draws)
        self.down += 1
        self.switch()
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

    def _repair(self, _: simpy.Event) -> None:
        self.down -= 1
        self.switch()
