"""A clock that rings without SimPy, by the same rules."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple

from jevons.serving.timers import Order


class Timer(NamedTuple):
    """When a timer goes off, and what is called then; timers are in order of time, `Order` and turn."""

    time: float
    order: Order
    turn: int
    number: int
    happen: Callable[[int], None]


class PlainClock:
    """A time that goes on from timer to timer."""

    __slots__ = ("_timers", "_turn", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._turn = 0
        self._timers: list[Timer] = []

    def ring_after(self, delay_s: float, number: int, happen: Callable[[int], None], order: Order) -> None:
        """Call with a number after a delay."""
        self.ring_at(self.now + delay_s, number, happen, order)

    def ring_at(self, time: float, number: int, happen: Callable[[int], None], order: Order) -> None:
        """Call with a number at a time."""
        self._turn += 1
        heappush(self._timers, Timer(time, order, self._turn, number, happen))

    @property
    def next_at(self) -> float:
        """When the next timer goes off."""
        return self._timers[0].time if self._timers else inf

    def ring(self) -> None:
        """Go on to the next timer, and let it ring."""
        self.now, _, _, number, happen = heappop(self._timers)
        happen(number)

    def cleared(self) -> list[Timer]:
        """The timers of prompts; none of any kind is left."""
        prompts = [timer for timer in self._timers if timer.order == Order.PREFILLED]
        self._timers = []
        return prompts
