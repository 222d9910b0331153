"""Timers on the SimPy clock whose order at equal times is a rule, not the order in which they were set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from math import inf
from typing import Any, Protocol

import simpy


class Order(IntEnum):
    """What comes first of what happens at one time, as a priority of SimPy's."""

    NOTE = 0
    CONTROL = 1
    DEPARTURE = 2
    PREFILLED = 3
    ARRIVAL = 4


class _Timer(simpy.Event):
    """A `simpy.Timeout` with a priority."""

    def __init__(self, env: simpy.Environment, delay_s: float, value: Any, order: Order) -> None:
        self.env = env
        self.callbacks = []
        self._value = value
        self._ok = True
        env.schedule(self, order, delay_s)  # type: ignore[arg-type]


def ring_after(
    env: simpy.Environment, delay_s: float, number: int, happen: Callable[[int], None], order: Order
) -> None:
    """Call with a number after a delay."""
    _Timer(env, delay_s, number, order).callbacks.append(lambda timer: happen(timer.value))


def at_times(
    env: simpy.Environment, times_s: Sequence[float], happen: Callable[[int], None], order: Order = Order.CONTROL
) -> None:
    """Call with 0, 1, 2 ... when the clock reads each of the rising times, none of them past."""
    last = len(times_s) - 1

    def ring(timer: simpy.Event) -> None:
        number: int = timer.value  # type: ignore[assignment]
        if number < last:
            _wait(number + 1)
        happen(number)

    def _wait(number: int) -> None:
        _Timer(env, max(0.0, times_s[number] - env.now), number, order).callbacks.append(ring)

    if times_s:
        _wait(0)


class Clock(Protocol):
    """A time that passes, and on which one can be rung: SimPy's, or any that keeps its rules."""

    @property
    def now(self) -> float:
        """Time, s."""

    def ring_after(self, delay_s: float, number: int, happen: Callable[[int], None], order: Order) -> None:
        """Call with a number after a delay; what is set first comes first at the same time and order."""


class SimpyClock:
    """The clock of a SimPy environment."""

    __slots__ = ("_env",)

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env

    @property
    def now(self) -> float:
        """Time, s."""
        return self._env.now

    def ring_after(self, delay_s: float, number: int, happen: Callable[[int], None], order: Order) -> None:
        """Call with a number after a delay."""
        ring_after(self._env, delay_s, number, happen, order)


class Alarm:
    """Rings once at the time it was last set to.

    A clock cannot take a timer back, and a pool that fills puts its next departure off with every request that joins.
    So a timer that goes off too early is set again then, and one that has been overtaken is ignored.
    """

    __slots__ = ("_clock", "_happen", "_number", "_order", "_pending", "due")

    def __init__(self, clock: Clock, happen: Callable[[float], None], order: Order) -> None:
        self._clock = clock
        self._happen = happen
        self._order = order
        self._number = 0
        #: When the timer that counts goes off.
        self._pending = inf
        self.due = inf

    def set(self, due: float) -> None:
        """Ring at a time of the clock; whatever was set before is forgotten."""
        self.due = due
        if due < self._pending:
            self._start()

    def stop(self) -> None:
        """Do not ring."""
        self.due = inf

    def forget(self) -> None:
        """Do not ring, and ignore what is still pending: whoever owns the clock has cleared it."""
        self.due = self._pending = inf
        self._number += 1

    def _start(self) -> None:
        self._pending = self.due
        self._number += 1
        self._clock.ring_after(max(0.0, self.due - self._clock.now), self._number, self._ring, self._order)

    def _ring(self, number: int) -> None:
        if number != self._number:
            return
        self._pending = inf
        due = self.due
        if due <= self._clock.now:
            self.due = inf
            self._happen(due)
        elif due < inf:
            self._start()
