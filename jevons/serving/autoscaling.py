"""Nodes over the day: what the autoscaler wants at each decision, and what is switched on after the delay.

Whatever signal it answers, its decisions follow from the requests alone and not from how they fare; so the
plan of a day is known before the day is served.

A leading shape (...) is that of a stack of days, whose loads differ and whose rule is the same; () is one day.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import ceil, inf

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats
from jevons.scenario import Autoscaler, Serving
from jevons.serving.sizing import Load, nodes_needed
from jevons.stacks import PerWorld
from jevons.units import SECONDS_PER_HOUR, SECONDS_PER_MINUTE

#: Hours closer than this are the same time; decisions are minutes apart.
SAME_TIME_H = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """Decisions of the autoscaler at equal intervals over a span of hours, warm-up included.

    A node that a decision wants serves after the delay; one that it does not want stops at once.  So the nodes
    on at a time are the fewest that any decision in force during the delay before that time wanted.
    """

    hours: int
    interval_h: float
    delay_h: float
    #: Nodes wanted, without and with the limit of available nodes, shape (..., decisions).
    desired: Floats
    limited: Floats

    def nodes_at(self, times_h: Floats) -> Floats:
        """Nodes on at some times, shape (..., times)."""
        oldest, newest = self.decisions_at(times_h - self.delay_h), self.decisions_at(times_h)
        in_force = range(int((newest - oldest).max(initial=0)) + 1)
        return reduce(np.minimum, (self.limited[..., np.minimum(oldest + later, newest)] for later in in_force))

    def decisions_at(self, times_h: Floats) -> npt.NDArray[np.intp]:
        """Numbers of the decisions in force at some times; the first was in force before the day."""
        numbers = np.floor((times_h + SAME_TIME_H) / self.interval_h).astype(np.intp)
        return np.asarray(np.clip(numbers, 0, self.limited.shape[-1] - 1))

    def times_h(self) -> Floats:
        """Times at which the number of nodes may change, the first of them 0, rising."""
        starts = self._starts_h
        times = np.unique(np.concatenate([starts, starts + self.delay_h])) if self.delay_h else starts
        return np.asarray(times[times < self.hours])

    @property
    def _starts_h(self) -> Floats:
        return self.interval_h * np.arange(float(self.limited.shape[-1]))

    def hourly_desired(self) -> Floats:
        """Nodes wanted, averaged over each hour, shape (..., hours)."""
        return self._hourly(self.desired)

    def hourly_nodes(self) -> Floats:
        """Nodes on, averaged over each hour, shape (..., hours)."""
        if not self.delay_h:
            return self._hourly(self.limited)
        times = self.times_h()
        return hourly_means(times, self.nodes_at(times), self.hours)

    def _hourly(self, decided: Floats) -> Floats:
        per_hour = _whole_decisions_per_hour(self.interval_h)
        if per_hour is None:
            return hourly_means(self._starts_h, decided, self.hours)
        return np.asarray(decided.reshape(*decided.shape[:-1], self.hours, per_hour).mean(axis=-1))


def plan_of_load(serving: Serving, hourly_load: Load, available_nodes: PerWorld) -> NodePlan:
    """Plan for a load that is known hour by hour, as a forecast or because it is what will be measured."""
    coming = interval_means(serving.autoscaler, nodes_needed(serving, hourly_load))
    signal = coming if serving.autoscaler.signal == "forecast" else _one_interval_later(coming)
    return _plan(serving, signal, hourly_load.decode_tokens_per_s.shape[-1], available_nodes)


def plan_of_measurements(serving: Serving, interval_load: Load, hours: int, available_nodes: PerWorld) -> NodePlan:
    """Plan that answers, at each decision, the load that came in the interval before it."""
    return _plan(serving, _one_interval_later(nodes_needed(serving, interval_load)), hours, available_nodes)


def _one_interval_later(coming: Floats) -> Floats:
    # A measurement looks back over one interval; before the first there is none, and its own must do.
    return np.concatenate([coming[..., :1], coming[..., :-1]], axis=-1)


def _plan(serving: Serving, signal: Floats, hours: int, available_nodes: PerWorld) -> NodePlan:
    desired = nodes_wanted(serving.autoscaler, signal)
    return NodePlan(
        hours=hours,
        interval_h=interval_h(serving.autoscaler),
        delay_h=serving.autoscaler.delay_minutes * SECONDS_PER_MINUTE / SECONDS_PER_HOUR,
        desired=desired,
        limited=np.minimum(desired, np.asarray(available_nodes)[..., None]),
    )


def nodes_wanted(autoscaler: Autoscaler, needed: Floats) -> Floats:
    """Nodes wanted: the need with headroom, in steps from the floor, up to the ceiling, shape (..., t)."""
    wanted = np.maximum(needed * autoscaler.headroom, autoscaler.floor_nodes)
    if autoscaler.step_nodes > 0:
        # One part in 1e9 of slack, or rounding would switch on a whole step for nothing.
        steps = np.ceil((wanted - autoscaler.floor_nodes) / autoscaler.step_nodes - 1e-9)
        wanted = autoscaler.floor_nodes + autoscaler.step_nodes * steps
    return np.asarray(np.minimum(wanted, inf if autoscaler.ceiling_nodes is None else autoscaler.ceiling_nodes))


def interval_h(autoscaler: Autoscaler) -> float:
    """Time between two decisions, h."""
    return autoscaler.interval_minutes * SECONDS_PER_MINUTE / SECONDS_PER_HOUR


def decisions_in(autoscaler: Autoscaler, hours: int) -> int:
    """Decisions that fall in a number of hours, the first at their start."""
    return ceil((hours - SAME_TIME_H) / interval_h(autoscaler))


def interval_means(autoscaler: Autoscaler, hourly: Floats) -> Floats:
    """Mean over each interval of what is given by the hour, shape (..., decisions)."""
    per_hour = _whole_decisions_per_hour(interval_h(autoscaler))
    if per_hour is not None:
        return np.repeat(hourly, per_hour, axis=-1)
    hours = hourly.shape[-1]
    edges = np.minimum(interval_h(autoscaler) * np.arange(decisions_in(autoscaler, hours) + 1), hours)
    return _means_between(edges, np.arange(float(hours)), hourly)


def hourly_means(starts_h: Floats, values: Floats, hours: int) -> Floats:
    """Mean over each hour of what holds from each start to the next, shape (..., hours)."""
    return _means_between(np.arange(hours + 1.0), starts_h, values)


def _means_between(edges: Floats, starts: Floats, values: Floats) -> Floats:
    """Mean between each edge and the next of what holds from each start to the next, shape (..., edges - 1)."""
    cuts = np.union1d(edges, starts[(starts > edges[0]) & (starts < edges[-1])])
    held = values[..., np.searchsorted(starts, cuts[:-1], side="right") - 1]
    sums = np.add.reduceat(held * np.diff(cuts), np.searchsorted(cuts, edges[:-1]), axis=-1)
    return np.asarray(sums / np.diff(edges))


def _whole_decisions_per_hour(interval: float) -> int | None:
    per_hour = round(1 / interval)
    return per_hour if abs(per_hour * interval - 1) < SAME_TIME_H else None
