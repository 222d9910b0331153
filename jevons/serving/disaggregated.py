"""Prefill and decode on nodes of their own: two stages, driven by callbacks on the SimPy clock.

A prefill node works at a request with a known speed, so a cell thinned to the share f of requests and nodes must not
be left with less than a few lanes: requests would wait there that never wait in the true pool.  It keeps at least
`FEWEST_LANES`, and then shows the waits of an uncongested pool; overload shows in decode, as the split of the nodes
keeps both stages in balance.  What a thinned cell does about the batch of decode is told in `crowd`.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf, isnan, ulp

import simpy
from simpy.events import Timeout

from jevons.scenario import Serving
from jevons.serving.book import Book, Line, Tally
from jevons.serving.crowd import Crowd
from jevons.serving.sizing import Load, prefill_node_seconds

#: A thinned cell has at least as many lanes for prefill.
FEWEST_LANES = 16
#: Departures closer than this are one event, s.
SAME_TIME_S = 1e-9


class Prefill:
    """First come, first served lanes; interactive requests first; a prefill that has begun is not interrupted."""

    def __init__(self, env: simpy.Environment, book: Book, serving: Serving, crowd: Crowd) -> None:
        self.env = env
        self.book = book
        self.tally = Tally(book)
        self.line = Line(book, self._lose)
        self.share = crowd.share
        self.lanes_per_node = serving.prefill_lanes
        self.lane_s_per_token = prefill_node_seconds(serving) * serving.prefill_lanes
        self.done: Callable[[int], None] = lambda _: None
        self.lanes = 0
        self.slowness = 1.0
        self.nodes = 0.0
        self.busy = 0
        self.expected_busy = 0.0
        self.at = env.now
        self.busy_node_s = 0.0

    def settle(self) -> None:
        """Carry the areas on to now."""
        now = self.env.now
        span = now - self.at
        if span:
            self.tally.area_s += self.tally.inside * span
            # Lanes are filled evenly over the nodes; a thinned cell holds too few requests to count them by.
            busy = self.busy if self.share == 1 else self.expected_busy
            self.busy_node_s += min(busy, self.nodes) * span
            self.at = now

    def switch(self, nodes: float, load: Load) -> None:
        """Work on so many true nodes from now on; lanes that are switched off finish what they have begun."""
        self.settle()
        self.nodes = nodes
        self.expected_busy = float(load.prefill_tokens_per_s[0]) * self.lane_s_per_token
        lanes = self.share * nodes * self.lanes_per_node
        self.lanes = max(round(lanes), FEWEST_LANES if self.share < 1 else 1) if nodes > 0 else 0
        # Lanes are whole; at full size they are together as fast as the nodes.
        self.slowness = self.lanes / lanes if self.share == 1 and lanes > 0 else 1.0
        self._fill()

    def arrive(self, request: int) -> None:
        """Take a request in."""
        self.settle()
        self.tally.enter(request, self.at)
        if self.busy < self.lanes and not self.line:
            self._start(request)
        else:
            self.line.append(request)
            self._fill()

    def _fill(self) -> None:
        while self.busy < self.lanes and (request := self.line.head(self.at)) is not None:
            self.line.take()
            self._start(request)

    def _start(self, request: int) -> None:
        self.busy += 1
        if isnan(self.book.prefill_start[request]):
            self.book.prefill_start[request] = self.at
        end = Timeout(self.env, self.book.prefill_tokens[request] * self.lane_s_per_token * self.slowness, request)
        end.callbacks.append(self._end)

    def _end(self, end: simpy.Event) -> None:
        self.settle()
        self.busy -= 1
        request: int = end.value  # type: ignore[assignment]
        self.tally.leave(request, self.at)
        if self.line:
            self._fill()
        self.done(request)

    def _lose(self, request: int) -> None:
        self.tally.lose(request, self.at)


class Decode:
    """Processor sharing in virtual time: V grows at the speed of a sequence; one that joins leaves at V + tokens."""

    def __init__(self, env: simpy.Environment, book: Book, serving: Serving, crowd: Crowd, end_s: float) -> None:
        self.env = env
        self.book = book
        self.tally = Tally(book)
        self.line = Line(book, self._lose)
        self.crowd = crowd
        self.max_batch = serving.max_batch
        self.nodes = 0.0
        #: (V at the end, request) of those that decode.
        self.active: list[tuple[float, int]] = []
        self.virtual = 0.0
        self.step_s = inf
        self.at = env.now
        #: Time of the timer that counts, and its number; a timer with another number is stale.
        self.armed = inf
        self.timer = 0
        self.tolerance_s = SAME_TIME_S + 8 * ulp(end_s)
        self.prefilled_tokens = 0.0
        self.busy_node_s = 0.0

    def settle(self) -> None:
        """Carry virtual time and the areas on to now."""
        now = self.env.now
        span = now - self.at
        if span:
            self.tally.area_s += self.tally.inside * span
            self.busy_node_s += min(self.crowd.felt_number, self.nodes) * span
            tokens = span / self.step_s if self.active else 0.0
            self.virtual += tokens
            self.crowd.settle(span, tokens)
            self.at = now

    def switch(self, nodes: float, load: Load) -> None:
        """Decode on so many true nodes from now on, under an expected load; the batch spreads over them."""
        self.settle()
        self.nodes = nodes
        self.crowd.expect(load, nodes)
        self._admit_waiting()
        self._retime()

    def join(self, request: int) -> None:
        """Take a request in whose prompt is done; nobody gives up who need not wait any more."""
        self.settle()
        self.tally.enter(request, self.at)
        if not self.line and self._has_room(request):
            self._admit(request)
            self._retime()
        elif self.book.deadline[request] <= self.at:
            self._lose(request)
        else:
            self.line.append(request)
            self._admit_waiting()
            self._retime()

    def _has_room(self, request: int) -> bool:
        return self.crowd.has_room(self.book.weight[request], self.max_batch * self.nodes)

    def _admit_waiting(self) -> None:
        while (request := self.line.head(self.at)) is not None and self._has_room(request):
            self.line.take()
            self._admit(request)

    def _admit(self, request: int) -> None:
        book = self.book
        if isnan(book.first_token[request]):
            book.first_token[request] = self.at
        # The first token has been streamed; whoever restarts may run out of no more patience.
        book.deadline[request] = inf
        # Prompts count as served with their first token: one that is lost before it was prefilled for nothing.
        self.prefilled_tokens += book.prefill_tokens[request] / self.crowd.share
        self.crowd.add(book.weight[request], book.context_tokens[request])
        heappush(self.active, (self.virtual + book.output_tokens[request], request))

    def _retime(self) -> None:
        """Set the speed to the batch, and the timer to the next departure unless one goes off before it."""
        active = self.active
        if not active:
            return
        self.step_s = self.crowd.step_s(self.nodes) if self.nodes > 0 else inf
        due = self.at + (active[0][0] - self.virtual) * self.step_s
        if due < self.armed:
            self.armed = due
            self.timer += 1
            timer = Timeout(self.env, max(0.0, due - self.at), self.timer)
            timer.callbacks.append(self._ring)

    def _ring(self, timer: simpy.Event) -> None:
        if timer.value != self.timer:
            return
        self.armed = inf
        self.settle()
        active, step_s = self.active, self.step_s
        while active and (active[0][0] - self.virtual) * step_s <= self.tolerance_s:
            self._depart(heappop(active)[1])
        if not active:
            self.virtual = 0.0
        if self.line:
            self._admit_waiting()
        self._retime()

    def _depart(self, request: int) -> None:
        self.book.departure[request] = self.at
        self._remove(request)

    def _remove(self, request: int) -> None:
        self.crowd.remove(self.book.weight[request], self.book.context_tokens[request])
        self.tally.leave(request, self.at)

    def interrupt(self, hit: set[int]) -> None:
        """Take requests out whose node failed: what they have generated must be prefilled with the prompt again."""
        self.settle()
        for end, request in self.active:
            if request in hit:
                self.book.restart(request, max(end - self.virtual, 0.0))
                self._remove(request)
        self.active = [entry for entry in self.active if entry[1] not in hit]
        heapify(self.active)
        if not self.active:
            self.virtual = 0.0
        self._admit_waiting()
        self._retime()

    def _lose(self, request: int) -> None:
        self.tally.lose(request, self.at)
