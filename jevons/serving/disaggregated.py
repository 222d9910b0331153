"""Prefill and decode on nodes of their own: two stages, driven by callbacks on a clock.

A prefill node works at a request with a known speed, so a cell thinned to the share f of requests and nodes must not
be left with less than a few lanes: requests would wait there that never wait in the true pool.  It keeps at least
`FEWEST_LANES`, and then shows the waits of an uncongested pool; overload shows in decode, as the split of the nodes
keeps both stages in balance.  What a thinned cell does about the batch of decode is told in `crowd`.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf, isnan
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats
from jevons.scenario import Serving
from jevons.serving.book import Ledger, Line, Tally
from jevons.serving.crowd import Crowd
from jevons.serving.sizing import Load, prefill_node_seconds
from jevons.serving.timers import Alarm, Clock, Order
from jevons.serving.virtual_time import VirtualClock, VirtualTime

#: A thinned cell has at least as many lanes for prefill.
FEWEST_LANES = 16


class Prefill:
    """First come, first served lanes; interactive requests first; a prefill that has begun is not interrupted."""

    def __init__(self, time: Clock, book: Ledger, serving: Serving, crowd: Crowd) -> None:
        self.time = time
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
        self.at = time.now
        self.busy_node_s = 0.0

    def settle(self) -> None:
        """Carry the areas on to now."""
        now = self.time.now
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
        (self.lanes,), (self.slowness,) = (
            numbers.tolist() for numbers in lanes_of_cell(np.array([nodes]), self.lanes_per_node, self.share)
        )
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
        service_s = self.book.prefill_tokens[request] * self.lane_s_per_token * self.slowness
        self.time.ring_after(service_s, request, self.end, Order.PREFILLED)

    def end(self, request: int) -> None:
        """Pass a request on whose prompt is done."""
        self.settle()
        self.busy -= 1
        self.tally.leave(request, self.at)
        if self.line:
            self._fill()
        self.done(request)

    def _lose(self, request: int) -> None:
        self.tally.lose(request, self.at)


def lanes_of_cell(nodes: Floats, lanes_per_node: int, share: float | Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Lanes that stand for those of so many true nodes, and the time a prompt takes over that on a true lane."""
    true_lanes = share * nodes * lanes_per_node
    fewest = np.where(np.less(share, 1), FEWEST_LANES, 1)
    lanes = np.where(nodes > 0, np.maximum(np.rint(true_lanes), fewest), 0.0)
    # Lanes are whole; at full size they are together as fast as the nodes.
    slowness = np.divide(lanes, true_lanes, out=np.ones_like(lanes), where=(true_lanes > 0) & np.equal(share, 1))
    return lanes.astype(np.int64), slowness


class Decode:
    """Processor sharing in virtual time: V grows at the speed of a sequence; one that joins leaves at V + tokens."""

    def __init__(self, time: Clock, book: Ledger, serving: Serving, crowd: Crowd) -> None:
        self.time = time
        self.book = book
        self.tally = Tally(book)
        self.line = Line(book, self._lose)
        self.crowd = crowd
        self.max_batch = serving.max_batch
        self.nodes = 0.0
        #: (V at the end, request) of those that decode.
        self.active: list[tuple[VirtualTime, int]] = []
        self.clock = VirtualClock()
        self.step_s = inf
        self.at = time.now
        self.alarm = Alarm(time, self._ring, Order.DEPARTURE)
        self.prefilled_tokens = 0.0
        self.busy_node_s = 0.0

    @property
    def inside(self) -> int:
        """Requests here, waiting or decoding."""
        return self.tally.inside

    def settle(self) -> None:
        """Carry virtual time and the areas on to now."""
        span = self.time.now - self.at
        if span > 0:
            tokens = span / self.step_s if self.active else 0.0
            self.clock.advance(tokens)
            self._pass(self.time.now, tokens)

    def _pass(self, now: float, tokens: float) -> None:
        span = now - self.at
        self.tally.area_s += self.tally.inside * span
        self.busy_node_s += min(self.crowd.felt_number, self.nodes) * span
        self.crowd.settle(span, tokens)
        self.at = now

    def switch(self, nodes: float, load: Load) -> None:
        """Decode on so many true nodes from now on, under an expected load; the batch spreads over them."""
        self.settle()
        self.nodes = nodes
        self.crowd.expect(load, nodes)
        self._admit_waiting()
        self.retime()

    def arrive(self, request: int) -> None:
        """Take a request in whose prompt is done; nobody gives up who need not wait any more."""
        self.settle()
        self.tally.enter(request, self.at)
        if not self.line and self._has_room(request):
            self._admit(request)
            self.retime()
        elif self.book.deadline[request] <= self.at:
            self._lose(request)
        else:
            self.line.append(request)
            self._admit_waiting()
            self.retime()

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
        heappush(self.active, (self.clock.after(book.output_tokens[request]), request))

    def retime(self) -> None:
        """Set the speed to the batch, and the alarm to the next departure."""
        if not self.active:
            self.alarm.stop()
        elif self.nodes > 0:
            self.step_s = self.crowd.step_s(self.nodes)
            self.alarm.set(self.at + self.clock.until(self.active[0][0]) * self.step_s)
        else:
            self.step_s = inf
            self.alarm.stop()

    def _ring(self, due: float) -> None:
        end = self.active[0][0]
        tokens = self.clock.until(end)
        self.clock.jump(end)
        self._pass(due, tokens)
        while self.active and self.active[0][0] == end:
            self._depart(heappop(self.active)[1])
        if not self.active:
            self.clock.reset()
        if self.line:
            self._admit_waiting()
        self.retime()

    def _depart(self, request: int) -> None:
        self.book.depart(request, self.at)
        self._remove(request)

    def _remove(self, request: int) -> None:
        self.crowd.remove(self.book.weight[request], self.book.context_tokens[request])
        self.tally.leave(request, self.at)

    def interrupt(self, hit: set[int]) -> None:
        """Take requests out whose node failed: what they have generated must be prefilled with the prompt again."""
        self.settle()
        for end, request in sorted(self.active, key=itemgetter(1)):
            if request in hit:
                self.book.restart(request, max(self.clock.until(end), 0.0))
                self._remove(request)
        self.active = [entry for entry in self.active if entry[1] not in hit]
        heapify(self.active)
        if not self.active:
            self.clock.reset()
        self._admit_waiting()
        self.retime()

    def _lose(self, request: int) -> None:
        self.tally.lose(request, self.at)
