"""The stages of `disaggregated`, pooled, in two loops over lists: all requests between two events of the control plane.

No event stands for a request here.  Prompts go before, as nothing comes back from decode to prefill until the control
plane sends it; then sequences join in the order in which their prompts ended.  What can be summed up afterwards is left
to numpy.  State is taken from the stages and given back to them, so that they can go on one event at a time.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush, heapreplace
from math import exp, inf, nan

import numpy as np

from jevons.randomness import Floats
from jevons.serving.crowd import ROOM_FOR_NOISE, ROUNDING
from jevons.serving.disaggregated import Decode, Prefill
from jevons.serving.plain_clock import PlainClock
from jevons.serving.plain_ledger import (
    ARRIVAL,
    CONTEXT,
    DEADLINE,
    ENTERED,
    FIRST_TOKEN,
    INTERACTIVE,
    LEFT,
    PREFILL,
    PREFILL_START,
    WEIGHT,
    Numbers,
    OpenLedger,
)
from jevons.serving.timers import Order

Indices = list[int]


#: When a prompt ends, the number of its start, and the column of its request.
Ending = tuple[float, int, int]
#: Column of no request.
NOBODY = -1
#: Weights below this are none.
LEAST_WEIGHT = 1e-9


def serve_pooled(
    prefill: Prefill, decode: Decode, clock: PlainClock, ledger: OpenLedger, first: int, coming: Floats, until: float
) -> None:
    """Serve until a time those who are inside and those who come before it.

    Parameters
    ----------
    prefill, decode : Prefill, Decode
        The stages; `clock` rings for nothing else.
    first : int
        Number of the first request that comes.
    coming : ndarray, shape (rows, n)
        Requests that come before `until`.
    """
    prefill.settle()
    decode.settle()
    numbers, inside = ledger.taken()
    came = len(numbers)
    table = np.concatenate([inside, coming], axis=1)
    table[ENTERED, came:] = table[ARRIVAL, came:]
    numbers = np.concatenate([numbers, np.arange(first, first + coming.shape[1])])
    ledger.arrived += coming.shape[1]
    place = {number: index for index, number in enumerate(numbers[:came].tolist())}
    lanes = Lanes(prefill, clock, place)
    batch = Batch(decode, place)
    lanes.advance(table, came, until)
    batch.advance(table, lanes.ended, until)
    clock.now = until
    lanes.account(table, came, until)
    batch.account(table, lanes.ended_who, lanes.ended_s, until)
    _count(ledger, numbers, table, lanes, batch)
    lanes.give_back(numbers, clock)
    batch.give_back(numbers)
    _write_down(ledger, numbers, table, lanes, batch)


def _count(ledger: OpenLedger, numbers: Numbers, table: Floats, lanes: Lanes, batch: Batch) -> None:
    """Count those who have left."""
    left = np.flatnonzero(~np.isnan(batch.departed))
    lost = np.array(lanes.lost + batch.lost, dtype=np.int64)
    ledger.served += len(left)
    ledger.gave_up += len(lost)
    ledger.counted.serve(numbers[left], table[:, left], batch.departed[left])
    if len(lost):
        ledger.counted.lose(numbers[lost], table[:, lost])


def _write_down(ledger: OpenLedger, numbers: Numbers, table: Floats, lanes: Lanes, batch: Batch) -> None:
    """Write down those who are still inside."""
    for stage, who in ((lanes.stage, lanes.who()), (batch.stage, batch.who())):
        ledger.put(numbers[who], table[:, who])
        ledger.stages.update(dict.fromkeys(numbers[who].tolist(), stage.tally))


class Lanes:
    """The lanes of prefill and the line before them."""

    def __init__(self, stage: Prefill, clock: PlainClock, place: dict[int, int]) -> None:
        self.stage = stage
        self.start_s = stage.at
        #: A heap, as it is in order.
        self.busy = [(timer.time, turn, place[timer.number]) for turn, timer in enumerate(sorted(clock.cleared()))]
        self.interactive = deque(place[number] for number in stage.line.interactive)
        self.batch = deque(place[number] for number in stage.line.batch)
        self.before = self.who()
        #: When the prompt of each column began in this time, NaN if it did not.
        self.started = np.empty(0)
        self.busy_before = len(self.busy)
        #: Prompts that ended, in order; and the same as arrays.
        self.ended: list[Ending] = []
        self.ended_who, self.ended_s = np.empty(0, dtype=np.int64), np.empty(0)
        self.lost: Indices = []

    def who(self) -> Indices:
        """Columns of those who are here."""
        return [*(index for *_, index in self.busy), *self.interactive, *self.batch]

    def advance(self, table: Floats, came: int, until: float) -> None:
        """Let requests in from column `came` on, and prompts end before a time."""
        stage, busy, interactive, batch = self.stage, self.busy, self.interactive, self.batch
        service = (table[PREFILL] * stage.lane_s_per_token * stage.slowness).tolist()
        deadline, goes_first = table[DEADLINE].tolist(), table[INTERACTIVE].tolist()
        started, end = [nan] * len(service), self.ended.append
        lanes, n, turn, waiting = stage.lanes, len(busy), len(busy), len(interactive) + len(batch)
        # After the last arrival comes the end.
        for index, now in enumerate([*table[ARRIVAL, came:].tolist(), until], came):
            while n and (due := busy[0][0]) <= now and due < until:
                end(busy[0])
                free, is_taken = lanes - n + 1, False
                while waiting and free > 0:
                    other = (interactive or batch).popleft()
                    waiting -= 1
                    if deadline[other] <= due:
                        self.lost.append(other)
                        continue
                    started[other] = due
                    free -= 1
                    if is_taken:
                        heappush(busy, (due + service[other], turn, other))
                        n += 1
                    else:
                        heapreplace(busy, (due + service[other], turn, other))
                        is_taken = True
                    turn += 1
                if not is_taken:
                    heappop(busy)
                    n -= 1
            if index == len(service):
                break
            if n < lanes and not waiting:
                started[index] = now
                heappush(busy, (now + service[index], turn, index))
                turn += 1
                n += 1
            else:
                (interactive if goes_first[index] else batch).append(index)
                waiting += 1
        self.started = np.array(started)
        if self.ended:
            times, _, who = zip(*self.ended, strict=True)
            self.ended_who, self.ended_s = np.array(who), np.array(times)

    def account(self, table: Floats, came: int, until: float) -> None:
        """Write down begins of prompts, and add up the time spent here and the area under the number."""
        _set_first_time(table[PREFILL_START], self.started)
        ended, lost = self.ended_who, np.array(self.lost, dtype=np.int64)
        entered, gave_up = table[ENTERED], np.maximum(table[DEADLINE, lost], table[ENTERED, lost])
        left = np.full(table.shape[1], until)
        left[ended], left[lost] = self.ended_s, gave_up
        tally = self.stage.tally
        here = np.concatenate([np.array(self.before, dtype=np.int64), np.arange(came, table.shape[1])])
        tally.area_s += float((left[here] - np.maximum(entered[here], self.start_s)).sum())
        tally.time_s += float((left[ended] - entered[ended]).sum() + (gave_up - entered[lost]).sum())
        self._account_nodes(until)

    def _account_nodes(self, until: float) -> None:
        stage, started = self.stage, self.started[~np.isnan(self.started)]
        if stage.share < 1:
            # A thinned cell holds too few requests to count busy lanes by.
            stage.busy_node_s += min(stage.expected_busy, stage.nodes) * (until - self.start_s)
        else:
            stage.busy_node_s += busy_node_s(self.busy_before, started, self.ended_s, self.start_s, until, stage.nodes)

    def give_back(self, numbers: Numbers, clock: PlainClock) -> None:
        """Let the stage go on from here."""
        stage = self.stage
        stage.at, stage.busy, stage.tally.inside = clock.now, len(self.busy), len(self.who())
        stage.line.interactive = deque(numbers[list(self.interactive)].tolist())
        stage.line.batch = deque(numbers[list(self.batch)].tolist())
        for due, _, index in sorted(self.busy):
            clock.ring_at(due, int(numbers[index]), stage.end, Order.PREFILLED)


class Batch:
    """The sequences that decode and the line before them."""

    def __init__(self, stage: Decode, place: dict[int, int]) -> None:
        self.stage = stage
        self.start_s = stage.at
        #: (whole and fraction of the end, column) of sequences: a heap, as columns are in the order of numbers.
        self.active = [(float(whole), part, place[number]) for (whole, part), number in stage.active]
        self.interactive = deque(place[number] for number in stage.line.interactive)
        self.batch = deque(place[number] for number in stage.line.batch)
        self.before = self.who()
        #: When each column was let in, and left, in this time; NaN if it was not or did not.
        self.admitted = self.departed = np.empty(0)
        self.lost: Indices = []
        self.left_before = self._tokens_left()

    def who(self) -> Indices:
        """Columns of those who are here."""
        return [*(index for *_, index in self.active), *self.interactive, *self.batch]

    def _tokens_left(self) -> tuple[Indices, Floats]:
        """Sequences, and the tokens that each has still to get."""
        clock = self.stage.clock
        left = [(whole - clock.whole) + (part - clock.part) for whole, part, _ in self.active]
        return [index for *_, index in self.active], np.array(left)

    def advance(self, table: Floats, joined: list[Ending], until: float) -> None:
        """Let sequences join, and those leave that have got their last token before a time."""
        self.admitted, self.departed = np.full(table.shape[1], np.nan), np.full(table.shape[1], np.nan)
        quick = 0
        if not self.stage.crowd.thinned and self.stage.nodes > 0 and not self.interactive and not self.batch:
            quick = self._advance_freely(table, joined, until)
        if quick < len(joined) or self.stage.at < until:
            self._advance_with_care(table, joined[quick:], until)

    def _advance_freely(self, table: Floats, joined: list[Ending], until: float) -> int:
        """The same as long as there is surely room; how many have joined.

        Virtual time is counted from its present whole token in one number, as it does not go far.
        """
        stage, crowd = self.stage, self.stage.crowd
        law, nodes, clock = crowd.law, stage.nodes, stage.clock
        costs = ((law.per_sequence_s * table[WEIGHT] + law.per_kv_token_s * table[CONTEXT]) / nodes).tolist()
        lefts, departed = table[LEFT].tolist(), [nan] * table.shape[1]
        most = int(stage.max_batch * nodes / max(float(table[WEIGHT].max(initial=0.0)), LEAST_WEIGHT))
        start, base_s, v, at = clock.whole, law.base_s, clock.part, self.start_s
        active = [(whole - start + part, index) for whole, part, index in self.active]
        step = crowd.step_s(nodes)
        due = at + (active[0][0] - v) * step if active else inf
        count = 0
        # After the last that joins comes the end.
        for now, _, index in [*joined, (until, 0, NOBODY)]:
            while due <= now and due < until:
                v, other = heappop(active)
                departed[other] = at = due
                if active:
                    step -= costs[other]
                    due += (active[0][0] - v) * step
                else:
                    v, step, due = 0.0, base_s, inf
            if len(active) >= most and index != NOBODY:
                break
            v += (now - at) / step
            at = now
            if index == NOBODY:
                break
            step += costs[index]
            heappush(active, (v + lefts[index], index))
            due = now + (active[0][0] - v) * step
            count += 1
        self.departed = np.array(departed)
        who = [index for _, _, index in joined[:count]]
        self.admitted[who] = [now for now, _, _ in joined[:count]]
        self.active = [(start + end // 1.0, end % 1.0, index) for end, index in active]
        clock.whole, clock.part = start + int(v // 1.0), v % 1.0
        stage.at, stage.step_s = at, step
        here = [index for _, index in active]
        crowd.number, crowd.mass = len(here), float(table[WEIGHT, here].sum())
        crowd.context = float(table[CONTEXT, here].sum())
        crowd.felt_number, crowd.felt_mass, crowd.felt_context = crowd.number, crowd.mass, crowd.context
        return count

    def _advance_with_care(self, table: Floats, joined: list[Ending], until: float) -> None:
        """The same where some may have to wait, and where what they feel is averaged."""
        stage, crowd, active = self.stage, self.stage.crowd, self.active
        interactive, batch = self.interactive, self.batch
        weights, contexts, lefts = table[WEIGHT].tolist(), table[CONTEXT].tolist(), table[LEFT].tolist()
        deadline, goes_first = table[DEADLINE].tolist(), table[INTERACTIVE].tolist()
        admitted, departed = self.admitted.tolist(), self.departed.tolist()
        law, nodes, share, is_whole = crowd.law, stage.nodes, crowd.share, not crowd.thinned
        base_s, per_sequence_s, per_kv_token_s = law.base_s, law.per_sequence_s, law.per_kv_token_s
        slots = stage.max_batch * nodes
        sure_room = slots * ROUNDING if is_whole else -inf
        n, mass, context, waiting = len(active), crowd.mass, crowd.context, len(interactive) + len(batch)
        felt_n, felt_mass, felt_context = crowd.felt_number, crowd.felt_mass, crowd.felt_context
        whole, part, at, step, busy_s = float(stage.clock.whole), stage.clock.part, stage.at, stage.step_s, 0.0
        due = at + ((active[0][0] - whole) + (active[0][1] - part)) * step if n and nodes > 0 else inf

        def has_room(weight: float, mass: float, n: int, felt_mass: float) -> bool:
            if is_whole:
                return not n and slots > 0
            left = 1 - felt_mass / slots if slots > 0 else 0.0
            return mass + weight <= share * slots + ROOM_FOR_NOISE * (share * slots + weight) * left

        coming = iter(joined)
        # After the last that joins comes the end.
        end = (until, 0, NOBODY)
        time, _, index = next(coming, end)
        while True:
            is_leaving = due <= time and due < until
            now = due if is_leaving else time
            span = now - at
            at = now
            if not is_whole:
                busy_s += (felt_n if felt_n < nodes else nodes) * span
                keep = exp(-span / crowd.averaging_s)
                new = (1 - keep) / share
                felt_n = keep * felt_n + new * n
                felt_mass = keep * felt_mass + new * mass
                felt_context = keep * felt_context + new * context
            if is_leaving:
                whole, part, other = heappop(active)
                departed[other] = now
                n -= 1
                mass -= weights[other]
                context -= contexts[other]
                while n and active[0][1] == part and active[0][0] == whole:
                    other = heappop(active)[2]
                    departed[other] = now
                    n -= 1
                    mass -= weights[other]
                    context -= contexts[other]
                if not n:
                    mass = context = whole = part = 0.0
            else:
                if n:
                    part += span / step
                    if part >= 1.0:
                        carry = part // 1.0
                        whole += carry
                        part -= carry
                if index == NOBODY:
                    break
                weight = weights[index]
                if not waiting and (mass + weight <= sure_room or has_room(weight, mass, n, felt_mass)):
                    admitted[index] = now
                    n += 1
                    mass += weight
                    context += contexts[index]
                    left = lefts[index]
                    tokens = left // 1.0
                    rest = part + (left - tokens)
                    if rest >= 1.0:
                        tokens += 1.0
                        rest -= 1.0
                    heappush(active, (whole + tokens, rest, index))
                elif deadline[index] <= now:
                    self.lost.append(index)
                else:
                    (interactive if goes_first[index] else batch).append(index)
                    waiting += 1
                time, _, index = next(coming, end)
            while waiting:
                line = interactive or batch
                other = line[0]
                weight = weights[other]
                if deadline[other] <= now:
                    self.lost.append(line.popleft())
                    waiting -= 1
                    continue
                if mass + weight > sure_room and not has_room(weight, mass, n, felt_mass):
                    break
                line.popleft()
                waiting -= 1
                admitted[other] = now
                n += 1
                mass += weight
                context += contexts[other]
                left = lefts[other]
                tokens = left // 1.0
                rest = part + (left - tokens)
                if rest >= 1.0:
                    tokens += 1.0
                    rest -= 1.0
                heappush(active, (whole + tokens, rest, other))
            if not n or nodes <= 0:
                due = inf
                continue
            if is_whole:
                step = base_s + (per_sequence_s * mass + per_kv_token_s * context) / nodes
            else:
                step = base_s + (per_sequence_s * felt_mass + per_kv_token_s * felt_context) / nodes
            top = active[0]
            due = now + ((top[0] - whole) + (top[1] - part)) * step
        self.admitted, self.departed = np.array(admitted), np.array(departed)
        stage.clock.whole, stage.clock.part = int(whole), part
        stage.at, stage.step_s, stage.busy_node_s = at, step, stage.busy_node_s + busy_s
        crowd.number, crowd.mass, crowd.context = n, mass, context
        if is_whole:
            felt_n, felt_mass, felt_context = n, mass, context
        crowd.felt_number, crowd.felt_mass, crowd.felt_context = felt_n, felt_mass, felt_context

    def account(self, table: Floats, came: Numbers, came_s: Floats, until: float) -> None:
        """Write down first tokens, and add up time, area and work done here."""
        tally, lost = self.stage.tally, np.array(self.lost, dtype=np.int64)
        departed = np.flatnonzero(~np.isnan(self.departed))
        table[ENTERED, came] = came_s
        entered, gave_up = table[ENTERED], np.maximum(table[DEADLINE, lost], table[ENTERED, lost])
        left = np.full(table.shape[1], until)
        left[departed], left[lost] = self.departed[departed], gave_up
        here = np.concatenate([np.array(self.before, dtype=np.int64), came])
        tally.area_s += float((left[here] - np.maximum(entered[here], self.start_s)).sum())
        tally.time_s += float((left[departed] - entered[departed]).sum() + (gave_up - entered[lost]).sum())
        self._account_work(table, until)

    def _account_work(self, table: Floats, until: float) -> None:
        admitted, crowd = np.flatnonzero(~np.isnan(self.admitted)), self.stage.crowd
        _set_first_time(table[FIRST_TOKEN], self.admitted)
        table[DEADLINE, admitted] = inf
        self.stage.prefilled_tokens += float(table[PREFILL, admitted].sum()) / crowd.share
        # Tokens got: those that were to be got before and by those who were let in, less those still to be got.
        before, after = self.left_before, self._tokens_left()
        who = np.concatenate([np.array(before[0], dtype=np.int64), admitted, np.array(after[0], dtype=np.int64)])
        tokens = np.concatenate([before[1], table[LEFT, admitted], -after[1]]) / crowd.share
        if not crowd.thinned:
            departed = self.departed[~np.isnan(self.departed)]
            self.stage.busy_node_s += busy_node_s(
                len(before[0]), self.admitted[admitted], departed, self.start_s, until, self.stage.nodes
            )
        crowd.served_tokens += float((table[WEIGHT, who] * tokens).sum())
        crowd.served_context_tokens2 += float((table[CONTEXT, who] * tokens).sum())

    def give_back(self, numbers: Numbers) -> None:
        """Let the stage go on from here."""
        stage = self.stage
        stage.tally.inside = len(self.who())
        stage.active = [((int(whole), part), int(numbers[index])) for whole, part, index in self.active]
        stage.line.interactive = deque(numbers[list(self.interactive)].tolist())
        stage.line.batch = deque(numbers[list(self.batch)].tolist())
        stage.alarm.forget()
        stage.retime()


def busy_node_s(before: int, begun: Floats, ended: Floats, start: float, until: float, nodes: float) -> float:
    """Time that nodes were busy: one for each of those there, of whom some were there before, but never more than all."""
    times = np.concatenate([[start], begun, ended])
    change = np.concatenate([[before], np.ones(len(begun)), -np.ones(len(ended))])
    order = np.argsort(times, kind="stable")
    spans = np.diff(times[order], append=until)
    return float(np.minimum(np.cumsum(change[order]), nodes) @ spans)


def _set_first_time(row: Floats, times: Floats) -> None:
    """Write times, where there are any, into a row where none stands yet."""
    row[:] = np.where(np.isnan(row), times, row)
