"""The stages of `disaggregated`, pooled, in two loops over lists: all requests between two events of the control plane.

No event stands for a request here.  Prompts go before, as nothing comes back from decode to prefill until the control
plane sends it; then sequences join in the order in which their prompts ended.  What can be summed up afterwards is left
to numpy.  State is taken from the stages and given back to them, so that they can go on one event at a time.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush, heapreplace
from math import exp, inf, nan, nextafter

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
    ledger.leave(numbers, table, batch.departed, lanes.lost + batch.lost)
    lanes.give_back(numbers, clock)
    batch.give_back(numbers, until)
    ledger.stay(numbers, table, prefill.tally, lanes.who())
    ledger.stay(numbers, table, decode.tally, batch.who())


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
        return [*(index for _, _, index in self.busy), *self.interactive, *self.batch]

    def advance(self, table: Floats, came: int, until: float) -> None:
        """Let requests in from column `came` on, and prompts end before a time."""
        stage, busy, interactive, batch = self.stage, self.busy, self.interactive, self.batch
        service = (table[PREFILL] * stage.lane_s_per_token * stage.slowness).tolist()
        deadline, goes_first = table[DEADLINE].tolist(), table[INTERACTIVE].tolist()
        started, end = [nan] * len(service), self.ended.append
        lanes, n, turn, waiting = stage.lanes, len(busy), len(busy), len(interactive) + len(batch)
        # After the last arrival comes the end, before which all is that is still to come.
        for index, now in enumerate([*table[ARRIVAL, came:].tolist(), nextafter(until, -inf)], came):
            while n and busy[0][0] <= now:
                ending = busy[0]
                end(ending)
                due = ending[0]
                # Who waits does so because no lane is free: one of them takes this one, unless it is switched off.
                while waiting and n <= lanes:
                    other = interactive.popleft() if interactive else batch.popleft()
                    waiting -= 1
                    if deadline[other] > due:
                        started[other] = due
                        heapreplace(busy, (due + service[other], turn, other))
                        turn += 1
                        break
                    self.lost.append(other)
                else:
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
        set_first_time(table[PREFILL_START], self.started)
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
        #: Virtual time is one number here, counted from the present whole token, as it does not go far.
        self.start, self.v = stage.clock.whole, stage.clock.part
        #: (virtual time at the end, column) of sequences: a heap, as columns are in the order of numbers.
        self.active = [(whole - self.start + part, place[number]) for (whole, part), number in stage.active]
        self.interactive = deque(place[number] for number in stage.line.interactive)
        self.batch = deque(place[number] for number in stage.line.batch)
        self.before = self.who()
        #: When each column was let in, and left, in this time; NaN if it was not or did not.
        self.admitted = self.departed = np.empty(0)
        self.lost: Indices = []
        self.left_before = self._tokens_left()

    def who(self) -> Indices:
        """Columns of those who are here."""
        return [*(index for _, index in self.active), *self.interactive, *self.batch]

    def _tokens_left(self) -> tuple[Indices, Floats]:
        """Sequences, and the tokens that each has still to get."""
        return [index for _, index in self.active], np.array([end - self.v for end, _ in self.active])

    def advance(self, table: Floats, joined: list[Ending], until: float) -> None:
        """Let sequences join, and those leave that have got their last token before a time."""
        advance = self._advance_thinned if self.stage.crowd.thinned else self._advance_whole
        self.v = advance(table, joined, until)

    def _advance_whole(self, table: Floats, joined: list[Ending], until: float) -> float:
        """The same where sequences feel the batch that there is; virtual time at the end."""
        stage, crowd, interactive, batch = self.stage, self.stage.crowd, self.interactive, self.batch
        law, nodes, is_on, active = crowd.law, stage.nodes, stage.nodes > 0, self.active
        deadline, goes_first = table[DEADLINE].tolist(), table[INTERACTIVE].tolist()
        weights, lefts, costs = table[WEIGHT].tolist(), table[LEFT].tolist(), [0.0] * table.shape[1]
        admitted, departed = [nan] * len(lefts), [nan] * len(lefts)
        room, idle_s = stage.max_batch * nodes * ROUNDING, law.base_s if is_on else inf
        if is_on:
            costs = ((law.per_sequence_s * table[WEIGHT] + law.per_kv_token_s * table[CONTEXT]) / nodes).tolist()
        step = crowd.step_s(nodes) if is_on else inf
        v, at, mass, waiting = stage.clock.part, self.start_s, crowd.mass, len(interactive) + len(batch)
        due = at + (active[0][0] - v) * step if active and is_on else inf
        # After the last that joins comes the end, before which all is that is still to come.
        coming = iter(joined)
        end = (nextafter(until, -inf), 0, NOBODY)
        time, _, index = next(coming, end)
        while True:
            if due <= time:
                v, other = heappop(active)
                departed[other] = at = due
                if active:
                    mass -= weights[other]
                    step -= costs[other]
                else:
                    mass, step = 0.0, idle_s
            else:
                if active:
                    v += (time - at) / step
                at = time
                if index == NOBODY:
                    break
                if not waiting and (mass + weights[index] <= room or (is_on and not active)):
                    admitted[index] = at
                    mass += weights[index]
                    step += costs[index]
                    heappush(active, (v + lefts[index], index))
                elif deadline[index] <= at:
                    # Nothing has changed for the others.
                    self.lost.append(index)
                    time, _, index = next(coming, end)
                    continue
                else:
                    (interactive if goes_first[index] else batch).append(index)
                    waiting += 1
                time, _, index = next(coming, end)
            while waiting:
                line = interactive or batch
                other = line[0]
                if deadline[other] <= at:
                    self.lost.append(line.popleft())
                elif mass + weights[other] <= room or (is_on and not active):
                    line.popleft()
                    admitted[other] = at
                    mass += weights[other]
                    step += costs[other]
                    heappush(active, (v + lefts[other], other))
                else:
                    break
                waiting -= 1
            due = at + (active[0][0] - v) * step if active and is_on else inf
        self.admitted, self.departed = np.array(admitted), np.array(departed)
        here = [index for _, index in active]
        crowd.number, crowd.mass, crowd.context = len(here), mass, float(table[CONTEXT, here].sum())
        crowd.felt_number, crowd.felt_mass, crowd.felt_context = crowd.number, crowd.mass, crowd.context
        return v

    def _advance_thinned(self, table: Floats, joined: list[Ending], until: float) -> float:
        """The same where sequences feel an average, see `Crowd`; virtual time at the end."""
        stage, crowd, interactive, batch = self.stage, self.stage.crowd, self.interactive, self.batch
        nodes, share, active, is_on = stage.nodes, crowd.share, self.active, stage.nodes > 0
        deadline, goes_first = table[DEADLINE].tolist(), table[INTERACTIVE].tolist()
        weights, contexts, lefts = table[WEIGHT].tolist(), table[CONTEXT].tolist(), table[LEFT].tolist()
        admitted, departed = [nan] * len(lefts), [nan] * len(lefts)
        base_s, per_sequence_s, per_kv_token_s = crowd.law.base_s, crowd.law.per_sequence_s, crowd.law.per_kv_token_s
        slots = stage.max_batch * nodes
        own_slots, averaging_s = share * slots, crowd.averaging_s
        n, mass, context, waiting = len(active), crowd.mass, crowd.context, len(interactive) + len(batch)
        felt_n, felt_mass, felt_context = crowd.felt_number, crowd.felt_mass, crowd.felt_context
        v, at, step, busy_s = stage.clock.part, self.start_s, stage.step_s, 0.0
        due = at + (active[0][0] - v) * step if active and is_on else inf
        coming = iter(joined)
        end = (nextafter(until, -inf), 0, NOBODY)
        time, _, index = next(coming, end)
        while True:
            is_leaving = due <= time
            now = due if is_leaving else time
            span = now - at
            at = now
            busy_s += (felt_n if felt_n < nodes else nodes) * span
            keep = exp(-span / averaging_s)
            new = (1 - keep) / share
            felt_n = keep * felt_n + new * n
            felt_mass = keep * felt_mass + new * mass
            felt_context = keep * felt_context + new * context
            left = 1 - felt_mass / slots if slots > 0 else 0.0
            if is_leaving:
                v, other = heappop(active)
                departed[other] = at
                n -= 1
                mass -= weights[other]
                context -= contexts[other]
                if not n:
                    mass = context = 0.0
            else:
                if n:
                    v += span / step
                if index == NOBODY:
                    break
                weight = weights[index]
                if not waiting and mass + weight <= own_slots + ROOM_FOR_NOISE * (own_slots + weight) * left:
                    admitted[index] = at
                    n += 1
                    mass += weight
                    context += contexts[index]
                    heappush(active, (v + lefts[index], index))
                elif deadline[index] <= at:
                    # Nothing has changed for the others.
                    self.lost.append(index)
                    time, _, index = next(coming, end)
                    continue
                else:
                    (interactive if goes_first[index] else batch).append(index)
                    waiting += 1
                time, _, index = next(coming, end)
            while waiting:
                line = interactive or batch
                other = line[0]
                weight = weights[other]
                if deadline[other] <= at:
                    self.lost.append(line.popleft())
                elif mass + weight <= own_slots + ROOM_FOR_NOISE * (own_slots + weight) * left:
                    line.popleft()
                    admitted[other] = at
                    n += 1
                    mass += weight
                    context += contexts[other]
                    heappush(active, (v + lefts[other], other))
                else:
                    break
                waiting -= 1
            if n and is_on:
                step = base_s + (per_sequence_s * felt_mass + per_kv_token_s * felt_context) / nodes
                due = at + (active[0][0] - v) * step
            else:
                due = inf
        self.admitted, self.departed = np.array(admitted), np.array(departed)
        crowd.number, crowd.mass, crowd.context = n, mass, context
        crowd.felt_number, crowd.felt_mass, crowd.felt_context = felt_n, felt_mass, felt_context
        stage.busy_node_s += busy_s
        return v

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
        set_first_time(table[FIRST_TOKEN], self.admitted)
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

    def give_back(self, numbers: Numbers, now: float) -> None:
        """Let the stage go on from here."""
        stage, start = self.stage, self.start
        stage.at, stage.clock.whole, stage.clock.part = now, start + int(self.v // 1.0), self.v % 1.0
        stage.tally.inside = len(self.who())
        stage.active = [((start + int(end // 1.0), end % 1.0), int(numbers[index])) for end, index in self.active]
        stage.line.interactive = deque(numbers[list(self.interactive)].tolist())
        stage.line.batch = deque(numbers[list(self.batch)].tolist())
        stage.alarm.forget()
        stage.retime()


def busy_node_s(before: int, begun: Floats, ended: Floats, start: float, until: float, nodes: float) -> float:
    """Time of busy nodes: as many as there are in them, some of those from before, but never more than all."""
    times = np.concatenate([[start], begun, ended])
    change = np.concatenate([[before], np.ones(len(begun)), -np.ones(len(ended))])
    order = np.argsort(times, kind="stable")
    spans = np.diff(times[order], append=until)
    return float(np.minimum(np.cumsum(change[order]), nodes) @ spans)


def set_first_time(row: Floats, times: Floats) -> None:
    """Write times, where there are any, into a row where none stands yet."""
    row[:] = np.where(np.isnan(row), times, row)
