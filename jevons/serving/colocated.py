"""Prefill and decode on the same nodes: prompts in chunks, between the steps of the sequences that decode.

A step of a node with n sequences lasts `base = A + h n + K (KV tokens)`, and with a chunk of a prompt in it
`base + Bp chunk`.  Of m nodes q are in prefill, each at one prompt, first come, first served.  Between events
rates are constant, so two virtual clocks serve the pool: every prompt advances by a chunk each long step, and every
sequence by (1 - q/m) / base + (q/m) / (base + Bp chunk) tokens a second, being on any node alike.  Balance gives
TPOT = A / (1 - rho), the sizing formula.

A pool of one node is exactly one replica.  Routing by turns or to the shorter of two keeps a pool for each
replica.  In a cell thinned to the share f, prompts are too rare to stand for the q of the true pool; there
sequences feel the expected q/m of the hour, by the law of large numbers over the other cells, and a batch as told in
`crowd`.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf, isnan
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats
from jevons.scenario import Serving
from jevons.serving.book import Ledger, Line, Tally
from jevons.serving.crowd import Crowd
from jevons.serving.disaggregated import FEWEST_LANES
from jevons.serving.sizing import Load
from jevons.serving.timers import Alarm, Clock, Order
from jevons.serving.virtual_time import VirtualClock, VirtualTime

#: Rounding of a number of nodes that must not cost one.
ROUNDING = 1e-9


def prompt_slots(nodes: Floats, share: float | Floats) -> npt.NDArray[np.int64]:
    """Prompts that may be in work at a time in a cell that stands for so many true nodes, shape of `nodes`."""
    fewest = np.where(np.less(share, 1), FEWEST_LANES, 1)
    return np.where(nodes > 0, np.maximum(np.floor(share * nodes + ROUNDING), fewest), 0.0).astype(np.int64)


class Replicas:
    """A pool of nodes that prefill and decode."""

    def __init__(self, time: Clock, book: Ledger, serving: Serving, crowd: Crowd) -> None:
        self.time = time
        self.book = book
        self.prefill_tally = Tally(book)
        self.decode_tally = Tally(book)
        self.line = Line(book, self._lose)
        self.crowd = crowd
        self.serving = serving
        self.law = serving.step
        self.chunk = serving.prefill_chunk_tokens
        self.nodes = 0.0
        self.prompt_slots = 0
        #: Uncached prompt tokens that a node is expected to get each second: what a thinned cell feels.
        self.expected_tokens_per_s = 0.0
        #: (virtual time at the end, request) of prompts and of sequences, with the clocks and their speeds.
        self.prompts: list[tuple[VirtualTime, int]] = []
        self.active: list[tuple[VirtualTime, int]] = []
        self.prompt_clock = VirtualClock()
        self.token_clock = VirtualClock()
        self.prompt_speed = 0.0
        self.token_speed = 0.0
        #: Slots of the batch that prompts have taken beforehand.
        self.prompt_mass = 0.0
        self.base_s = self.law.base_s
        self.at = time.now
        self.prompt_due = inf
        self.token_due = inf
        self.alarm = Alarm(time, self._ring, Order.DEPARTURE)
        self.prefilled_tokens = 0.0
        self.busy_node_s = 0.0

    @property
    def inside(self) -> int:
        """Requests here, at any stage."""
        return self.prefill_tally.inside + self.decode_tally.inside

    def settle(self) -> None:
        """Carry both clocks and the areas on to now."""
        span = self.time.now - self.at
        if span > 0:
            self._pass(self.time.now, self._prompt_tokens_in(span), self._tokens_in(span))

    def _prompt_tokens_in(self, span_s: float) -> float:
        tokens = span_s * self.prompt_speed if self.prompts else 0.0
        self.prompt_clock.advance(tokens)
        return tokens

    def _tokens_in(self, span_s: float) -> float:
        tokens = span_s * self.token_speed if self.active else 0.0
        self.token_clock.advance(tokens)
        return tokens

    def _pass(self, now: float, prompt_tokens: float, tokens: float) -> None:
        span = now - self.at
        self.prefill_tally.area_s += self.prefill_tally.inside * span
        self.decode_tally.area_s += self.decode_tally.inside * span
        self.prefilled_tokens += prompt_tokens * len(self.prompts) / self.crowd.share
        # Where a cell is one of many, the prompts in it say little of how many nodes are busy with prompts.
        self.busy_node_s += min(self.crowd.felt_number + len(self.prompts) / self.crowd.share, self.nodes) * span
        self.crowd.settle(span, tokens)
        self.at = now

    def switch(self, nodes: float, load: Load) -> None:
        """Serve on so many true nodes from now on, under an expected load."""
        self.settle()
        self.nodes = nodes
        self.crowd.expect(load, nodes)
        self.expected_tokens_per_s = float(load.prefill_tokens_per_s[0]) / nodes if nodes > 0 else 0.0
        self.prompt_slots = int(prompt_slots(np.array([nodes]), self.crowd.share)[0])
        self._begin_waiting()
        self.retime()

    def arrive(self, request: int) -> None:
        """Take a request in."""
        self.settle()
        self.prefill_tally.enter(request, self.at)
        self.line.append(request)
        self._begin_waiting()
        self.retime()

    def _has_room(self, request: int) -> bool:
        if len(self.prompts) >= self.prompt_slots:
            return False
        wanted = self.prompt_mass + self.book.weight[request]
        return self.crowd.has_room(wanted, self.serving.max_batch * self.nodes)

    def _begin_waiting(self) -> None:
        while (request := self.line.head(self.at)) is not None and self._has_room(request):
            self.line.take()
            self._begin(request)

    def _begin(self, request: int) -> None:
        book = self.book
        if isnan(book.prefill_start[request]):
            book.prefill_start[request] = self.at
        # Whoever is in prefill does not give up; a slot of the batch is its own from here on.
        book.deadline[request] = inf
        self.prompt_mass += book.weight[request]
        heappush(self.prompts, (self.prompt_clock.after(book.prefill_tokens[request]), request))

    def _end_prompt(self, request: int) -> None:
        book = self.book
        self.prefill_tally.leave(request, self.at)
        self.decode_tally.enter(request, self.at)
        if isnan(book.first_token[request]):
            book.first_token[request] = self.at
            if self.active:
                book.step_wait[request] = self.base_s / 2
        self.prompt_mass -= book.weight[request]
        self.crowd.add(book.weight[request], book.context_tokens[request])
        heappush(self.active, (self.token_clock.after(book.output_tokens[request]), request))

    def retime(self) -> None:
        """Set both speeds to the batch, and the alarm to the next end."""
        self.prompt_due = self.token_due = inf
        if not self.prompts and not self.active:
            self.alarm.stop()
            return
        if self.nodes <= 0:
            self.prompt_speed = self.token_speed = 0.0
            self.alarm.stop()
            return
        self._set_speeds()
        if self.prompts:
            self.prompt_due = self.at + self.prompt_clock.until(self.prompts[0][0]) / self.prompt_speed
        if self.active:
            self.token_due = self.at + self.token_clock.until(self.active[0][0]) / self.token_speed
        self.alarm.set(min(self.prompt_due, self.token_due))

    def _set_speeds(self) -> None:
        law = self.law
        self.base_s = self.crowd.step_s(self.nodes)
        long_s = self.base_s + law.per_prefill_token_s * self.chunk
        self.prompt_speed = self.chunk / long_s if long_s else inf
        if self.crowd.share < 1:
            in_prefill = self.expected_tokens_per_s * long_s / self.chunk
        else:
            in_prefill = len(self.prompts) / self.nodes
            # A part of a node gets on with a prompt in a part of its time.
            self.prompt_speed /= max(1.0, in_prefill)
        in_prefill = min(1.0, in_prefill)
        if self.active:
            self.token_speed = (1 - in_prefill) / self.base_s + in_prefill / long_s

    def _ring(self, due: float) -> None:
        # A clock whose end is due stands at that end exactly; the other one goes on by its speed.
        span, prompt_end, end = due - self.at, None, None
        if self.prompt_due <= due:
            prompt_end = self.prompts[0][0]
            prompt_tokens = self.prompt_clock.until(prompt_end)
            self.prompt_clock.jump(prompt_end)
        else:
            prompt_tokens = self._prompt_tokens_in(span)
        if self.token_due <= due:
            end = self.active[0][0]
            tokens = self.token_clock.until(end)
            self.token_clock.jump(end)
        else:
            tokens = self._tokens_in(span)
        self._pass(due, prompt_tokens, tokens)
        while self.prompts and self.prompts[0][0] == prompt_end:
            self._end_prompt(heappop(self.prompts)[1])
        while self.active and self.active[0][0] == end:
            self._depart(heappop(self.active)[1])
        self._rest_where_empty()
        self._begin_waiting()
        self.retime()

    def _depart(self, request: int) -> None:
        self.book.depart(request, self.at)
        self._remove(request)

    def _remove(self, request: int) -> None:
        self.crowd.remove(self.book.weight[request], self.book.context_tokens[request])
        self.decode_tally.leave(request, self.at)

    def _rest_where_empty(self) -> None:
        # Virtual clocks may begin anew where nobody is left, before they grow coarse.
        if not self.prompts:
            self.prompt_clock.reset()
            self.prompt_mass = 0.0
        if not self.active:
            self.token_clock.reset()

    def interrupt(self, hit: set[int]) -> None:
        """Take sequences out whose node failed: what they have generated must be prefilled with the prompt again."""
        self.settle()
        for end, request in sorted(self.active, key=itemgetter(1)):
            if request in hit:
                self.book.restart(request, max(self.token_clock.until(end), 0.0))
                self._remove(request)
        self.active = [entry for entry in self.active if entry[1] not in hit]
        heapify(self.active)
        self._rest_where_empty()
        self._begin_waiting()
        self.retime()

    def _lose(self, request: int) -> None:
        self.prefill_tally.lose(request, self.at)
