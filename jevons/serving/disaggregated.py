"""Prefill and decode on nodes of their own: two stages, driven by callbacks on the SimPy clock.

A cell thinned to the share f of the requests has the share f of the nodes.  Two things must not be thinned
with them, or the answer would move with the resolution:

* *Lanes.*  A prefill node works at a request with a known speed.  A cell of less than a few lanes would make
  requests wait that never wait in the true pool, so a cell keeps at least `FEWEST_LANES`.  It then shows the waits of
  an uncongested pool; overload shows in decode, as the split of the nodes keeps both stages in balance.
* *A sequence's own weight.*  With n sequences of total mass M in the cell, the batch is (M/f)/m on m true nodes.
  But a sequence is not 1/f sequences to itself.  By the arrival theorem the others are distributed as in the
  full system; so it must feel its own mass w once and the others' M - w scaled by 1/f:
  B = ((M - w)/f + w)/m, which with the mean w = M/n becomes M (1 - (1 - f)/n) / (f m), the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf, isnan, ulp

import simpy
from simpy.events import Timeout

from jevons.scenario import Serving, StepLaw
from jevons.serving.book import Book, Line, Tally
from jevons.serving.sizing import prefill_node_seconds

#: A thinned cell has at least as many lanes for prefill.
FEWEST_LANES = 16
#: Departures closer than this are one event, s.
SAME_TIME_S = 1e-9


def felt_share(sequences: int, share: float) -> float:
    """Nodes over mass, times the batch that a sequence feels: (1 - (1 - f)/n) / f, 1 in a full-size cell."""
    return (1 - (1 - share) / sequences) / share if sequences else 1.0


class Prefill:
    """First come, first served lanes; interactive requests first; a prefill that has begun is not interrupted."""

    def __init__(self, env: simpy.Environment, book: Book, serving: Serving, share: float) -> None:
        self.env = env
        self.book = book
        self.tally = Tally(book)
        self.line = Line(book, self._lose)
        self.share = share
        self.lanes_per_node = serving.prefill_lanes
        self.lane_s_per_token = prefill_node_seconds(serving) * serving.prefill_lanes
        self.done: Callable[[int], None] = lambda _: None
        self.lanes = 0
        self.nodes = 0.0
        self.busy = 0
        self.at = env.now
        self.busy_lane_s = 0.0
        self.busy_node_s = 0.0

    def settle(self) -> None:
        """Carry the areas on to now."""
        now = self.env.now
        span = now - self.at
        if span:
            self.tally.area_s += self.tally.inside * span
            if self.busy:
                self.busy_lane_s += self.busy * span
                self.busy_node_s += min(self.busy / self.share, self.nodes) * span
            self.at = now

    def switch(self, nodes: float) -> None:
        """Work on so many true nodes from now on; lanes that are switched off finish what they have begun."""
        self.settle()
        self.nodes = nodes
        lanes = round(self.share * nodes * self.lanes_per_node)
        self.lanes = max(lanes, FEWEST_LANES if self.share < 1 else 1) if nodes > 0 else 0
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
        end = Timeout(self.env, self.book.prefill_tokens[request] * self.lane_s_per_token, request)
        end.callbacks.append(self._end)

    def _end(self, end: simpy.Event) -> None:
        self.settle()
        self.busy -= 1
        request = end.value
        self.tally.leave(request, self.at)
        if self.line:
            self._fill()
        self.done(request)

    def _lose(self, request: int) -> None:
        self.tally.lose(request, self.at)

    @property
    def served_tokens(self) -> float:
        """Weighted prompt tokens worked off so far, of the true pool."""
        return self.busy_lane_s / self.lane_s_per_token / self.share if self.lane_s_per_token else 0.0


class Decode:
    """Processor sharing in virtual time: V grows at the speed of a sequence, and one that joins leaves at V + tokens."""

    def __init__(self, env: simpy.Environment, book: Book, serving: Serving, share: float, end_s: float) -> None:
        self.env = env
        self.book = book
        self.tally = Tally(book)
        self.line = Line(book, self._lose)
        self.share = share
        self.law: StepLaw = serving.step
        self.max_batch = serving.max_batch
        self.nodes = 0.0
        #: (V at the end, request) of those that decode; their mass and context.
        self.active: list[tuple[float, int]] = []
        self.mass = 0.0
        self.context = 0.0
        self.virtual = 0.0
        self.step_s = inf
        self.at = env.now
        #: Time of the timer that counts, and its number; a timer with another number is stale.
        self.armed = inf
        self.timer = 0
        self.tolerance_s = SAME_TIME_S + 8 * ulp(end_s)
        self.mass_tokens = 0.0
        self.served_context_tokens2 = 0.0
        self.busy_node_s = 0.0

    def settle(self) -> None:
        """Carry virtual time and the areas on to now."""
        now = self.env.now
        span = now - self.at
        if span:
            self.tally.area_s += self.tally.inside * span
            if self.active:
                tokens = span / self.step_s
                self.virtual += tokens
                self.mass_tokens += self.mass * tokens
                self.served_context_tokens2 += self.context * tokens
                self.busy_node_s += min(len(self.active) / self.share, self.nodes) * span
            self.at = now

    def switch(self, nodes: float) -> None:
        """Decode on so many true nodes from now on; the batch spreads over them."""
        self.settle()
        self.nodes = nodes
        self._admit_waiting()
        self._retime()

    def join(self, request: int) -> None:
        """Take a request in whose prompt is done."""
        self.settle()
        self.tally.enter(request, self.at)
        if self.book.deadline[request] <= self.at:
            self._lose(request)
        elif not self.line and self._has_room(request):
            self._admit(request)
            self._retime()
        else:
            self.line.append(request)
            self._admit_waiting()
            self._retime()

    def _has_room(self, request: int) -> bool:
        if not self.active:
            return self.nodes > 0
        slots = self.max_batch * self.share * self.nodes
        return self.mass + self.book.weight[request] <= slots * (1 + 1e-12)

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
        self.mass += book.weight[request]
        self.context += book.context_tokens[request]
        heappush(self.active, (self.virtual + book.output_tokens[request], request))

    def _retime(self) -> None:
        """Set the speed to the batch, and the timer to the next departure unless one goes off before it."""
        active = self.active
        if not active:
            return
        law, felt = self.law, felt_share(len(active), self.share)
        if self.nodes > 0:
            per_node = felt / self.nodes
            self.step_s = law.base_s + (law.per_sequence_s * self.mass + law.per_kv_token_s * self.context) * per_node
        else:
            self.step_s = inf
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
            self._rest()
        if self.line:
            self._admit_waiting()
        self._retime()

    def _depart(self, request: int) -> None:
        self.book.departure[request] = self.at
        self._remove(request)

    def _remove(self, request: int) -> None:
        self.mass -= self.book.weight[request]
        self.context -= self.book.context_tokens[request]
        self.tally.leave(request, self.at)

    def _rest(self) -> None:
        # With nobody there the sums are known exactly, and virtual time may begin anew.
        self.virtual = self.mass = self.context = 0.0

    def interrupt(self, hit: set[int]) -> None:
        """Take requests out whose node failed: what they have generated must be prefilled with the prompt again."""
        self.settle()
        book = self.book
        for end, request in self.active:
            if request in hit:
                left = max(end - self.virtual, 0.0)
                book.prefill_tokens[request] += (book.output_tokens[request] - left) * book.input_weight[request]
                book.output_tokens[request] = left
                self._remove(request)
        self.active = [entry for entry in self.active if entry[1] not in hit]
        heapify(self.active)
        if not self.active:
            self._rest()
        self._admit_waiting()
        self._retime()

    def _lose(self, request: int) -> None:
        self.tally.lose(request, self.at)

    @property
    def served_tokens(self) -> float:
        """Weighted output tokens so far, of the true pool."""
        return self.mass_tokens / self.share
