"""The stages of `disaggregated`, pooled, in two loops over lists: many requests between two events of the control
plane.

No event stands for a request here.  Prompts go before, as nothing comes back from decode to prefill until the control
plane sends it; then sequences join in the order in which their prompts ended.  What can be summed up afterwards is
left to numpy.  State is taken from the stages and given back to them, so that they can go on from there one event at a
time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import exp, inf

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


@dataclass(slots=True)
class Happened:
    """Columns of the table to whom something happened, and when."""

    who: Indices = field(default_factory=list)
    at: list[float] = field(default_factory=list)


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
    batch.account(table, lanes.ended, until)
    _count(ledger, numbers, table, lanes, batch)
    lanes.give_back(numbers, clock)
    batch.give_back(numbers)
    _write_down(ledger, numbers, table, lanes, batch)


def _count(ledger: OpenLedger, numbers: Numbers, table: Floats, lanes: Lanes, batch: Batch) -> None:
    """Count those who have left."""
    left = np.array(batch.departed.who, dtype=np.int64)
    lost = np.array(lanes.lost + batch.lost, dtype=np.int64)
    ledger.served += len(left)
    ledger.gave_up += len(lost)
    ledger.counted.serve(numbers[left], table[:, left], np.array(batch.departed.at))
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
        #: (end, number of its start, column) of those in the lanes.
        self.busy = [(timer.time, timer.turn, place[timer.number]) for timer in clock.cleared()]
        heapify(self.busy)
        self.interactive = deque(place[number] for number in stage.line.interactive)
        self.batch = deque(place[number] for number in stage.line.batch)
        self.before = self.who()
        self.started, self.ended = Happened(), Happened()
        self.lost: Indices = []

    def who(self) -> Indices:
        """Columns of those who are here."""
        return [*(index for *_, index in self.busy), *self.interactive, *self.batch]

    def advance(self, table: Floats, came: int, until: float) -> None:
        """Let requests in from column `came` on, and prompts end before a time."""
        stage, busy, interactive, batch = self.stage, self.busy, self.interactive, self.batch
        service = (table[PREFILL] * stage.lane_s_per_token * stage.slowness).tolist()
        deadline, goes_first = table[DEADLINE].tolist(), table[INTERACTIVE].tolist()
        start, start_at = self.started.who.append, self.started.at.append
        end, end_at = self.ended.who.append, self.ended.at.append
        lanes, nodes, at, busy_s, turn = stage.lanes, stage.nodes, self.start_s, 0.0, -len(service) - 1
        is_whole, n = stage.share == 1, len(busy)
        waiting = len(interactive) + len(batch)
        # After the last arrival comes one that never does.
        for index, now in enumerate([*table[ARRIVAL, came:].tolist(), inf], came):
            while n and (due := busy[0][0]) <= now and due < until:
                if is_whole:
                    busy_s += (n if n < nodes else nodes) * (due - at)
                    at = due
                other = heappop(busy)[2]
                end(other)
                end_at(due)
                n -= 1
                while waiting and n < lanes:
                    other = interactive.popleft() if interactive else batch.popleft()
                    waiting -= 1
                    if deadline[other] > due:
                        heappush(busy, (due + service[other], turn, other))
                        turn += 1
                        n += 1
                        start(other)
                        start_at(due)
                    else:
                        self.lost.append(other)
            if now == inf:
                break
            if is_whole:
                busy_s += (n if n < nodes else nodes) * (now - at)
                at = now
            if n < lanes and not waiting:
                heappush(busy, (now + service[index], turn, index))
                turn += 1
                n += 1
                start(index)
                start_at(now)
            else:
                (interactive if goes_first[index] else batch).append(index)
                waiting += 1
        if is_whole:
            stage.busy_node_s += busy_s + min(n, nodes) * (until - at)
        else:
            stage.busy_node_s += min(stage.expected_busy, nodes) * (until - self.start_s)

    def account(self, table: Floats, came: int, until: float) -> None:
        """Write down begins of prompts, and add up the time spent here and the area under the number."""
        _set_first_time(table[PREFILL_START], self.started)
        ended, lost = np.array(self.ended.who, dtype=np.int64), np.array(self.lost, dtype=np.int64)
        entered, gave_up = table[ENTERED], np.maximum(table[DEADLINE, lost], table[ENTERED, lost])
        left = np.full(table.shape[1], until)
        left[ended], left[lost] = self.ended.at, gave_up
        tally = self.stage.tally
        here = np.concatenate([np.array(self.before, dtype=np.int64), np.arange(came, table.shape[1])])
        tally.area_s += float((left[here] - np.maximum(entered[here], self.start_s)).sum())
        tally.time_s += float((left[ended] - entered[ended]).sum() + (gave_up - entered[lost]).sum())

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
        self.admitted, self.departed = Happened(), Happened()
        self.lost: Indices = []
        self.left_before = self._work_left()

    def who(self) -> Indices:
        """Columns of those who are here."""
        return [*(index for *_, index in self.active), *self.interactive, *self.batch]

    def _work_left(self) -> tuple[Indices, Floats]:
        """Sequences, and the tokens that each has still to get."""
        clock = self.stage.clock
        left = [(whole - clock.whole) + (part - clock.part) for whole, part, _ in self.active]
        return [index for *_, index in self.active], np.array(left)

    def advance(self, table: Floats, joined: Happened, until: float) -> None:
        """Let sequences join, and those leave that have got their last token before a time."""
        stage, crowd, active = self.stage, self.stage.crowd, self.active
        interactive, batch = self.interactive, self.batch
        weights, contexts, lefts = table[WEIGHT].tolist(), table[CONTEXT].tolist(), table[LEFT].tolist()
        deadline, goes_first = table[DEADLINE].tolist(), table[INTERACTIVE].tolist()
        admit, admit_at = self.admitted.who.append, self.admitted.at.append
        depart, depart_at = self.departed.who.append, self.departed.at.append
        law, nodes, share, is_whole = crowd.law, stage.nodes, crowd.share, not crowd.thinned
        base_s, per_sequence_s, per_kv_token_s = law.base_s, law.per_sequence_s, law.per_kv_token_s
        slots = stage.max_batch * nodes
        room, own_slots = slots * ROUNDING, share * slots
        whole, part, at, step = float(stage.clock.whole), stage.clock.part, self.start_s, stage.step_s
        n, mass, context, waiting = len(active), crowd.mass, crowd.context, len(interactive) + len(batch)
        felt_n, felt_mass, felt_context, averaging_s = (
            crowd.felt_number, crowd.felt_mass, crowd.felt_context, crowd.averaging_s,
        )  # fmt: skip
        busy_s = 0.0
        due = inf
        if n and nodes > 0:
            due = at + ((active[0][0] - whole) + (active[0][1] - part)) * step
        # After the last that joins comes the end.
        for now, index in zip([*joined.at, until], [*joined.who, -1], strict=True):
            while due <= now and due < until:
                # Pass time.
                span = due - at
                if is_whole:
                    busy_s += (n if n < nodes else nodes) * span
                else:
                    busy_s += (felt_n if felt_n < nodes else nodes) * span
                    keep = exp(-span / averaging_s)
                    new = (1 - keep) / share
                    felt_n = keep * felt_n + new * n
                    felt_mass = keep * felt_mass + new * mass
                    felt_context = keep * felt_context + new * context
                at = due
                # Who is due leaves.
                whole, part, other = heappop(active)
                while True:
                    depart(other)
                    depart_at(due)
                    n -= 1
                    mass -= weights[other]
                    context -= contexts[other]
                    if not n:
                        break
                    top = active[0]
                    if top[1] != part or top[0] != whole:
                        break
                    other = heappop(active)[2]
                if not n:
                    mass = context = whole = part = 0.0
                while waiting:
                    line = interactive or batch
                    other = line[0]
                    weight = weights[other]
                    if deadline[other] <= due:
                        self.lost.append(line.popleft())
                        waiting -= 1
                        continue
                    if not (
                        (mass + weight <= room or (not n and slots > 0))
                        if is_whole
                        else slots > 0
                        and mass + weight <= own_slots + ROOM_FOR_NOISE * (own_slots + weight) * (1 - felt_mass / slots)
                    ):
                        break
                    line.popleft()
                    waiting -= 1
                    admit(other)
                    admit_at(due)
                    n += 1
                    mass += weight
                    context += contexts[other]
                    left = lefts[other]
                    ends = left // 1.0
                    rest = part + (left - ends)
                    if rest >= 1.0:
                        heappush(active, (whole + ends + 1.0, rest - 1.0, other))
                    else:
                        heappush(active, (whole + ends, rest, other))
                # Retime.
                if n:
                    if is_whole:
                        step = base_s + (per_sequence_s * mass + per_kv_token_s * context) / nodes
                    else:
                        step = base_s + (per_sequence_s * felt_mass + per_kv_token_s * felt_context) / nodes
                    top = active[0]
                    due = at + ((top[0] - whole) + (top[1] - part)) * step
                else:
                    due = inf
            span = now - at
            if span > 0:
                if n:
                    part += span / step
                    if part >= 1.0:
                        carry = part // 1.0
                        whole += carry
                        part -= carry
                if is_whole:
                    busy_s += (n if n < nodes else nodes) * span
                else:
                    busy_s += (felt_n if felt_n < nodes else nodes) * span
                    keep = exp(-span / averaging_s)
                    new = (1 - keep) / share
                    felt_n = keep * felt_n + new * n
                    felt_mass = keep * felt_mass + new * mass
                    felt_context = keep * felt_context + new * context
                at = now
            if index < 0:
                break
            weight = weights[index]
            if waiting or not (
                (mass + weight <= room or (not n and slots > 0))
                if is_whole
                else slots > 0
                and mass + weight <= own_slots + ROOM_FOR_NOISE * (own_slots + weight) * (1 - felt_mass / slots)
            ):
                if deadline[index] <= now:
                    self.lost.append(index)
                    continue
                (interactive if goes_first[index] else batch).append(index)
                waiting += 1
                while waiting:
                    line = interactive or batch
                    other = line[0]
                    weight = weights[other]
                    if deadline[other] <= now:
                        self.lost.append(line.popleft())
                        waiting -= 1
                        continue
                    if not (
                        (mass + weight <= room or (not n and slots > 0))
                        if is_whole
                        else slots > 0
                        and mass + weight <= own_slots + ROOM_FOR_NOISE * (own_slots + weight) * (1 - felt_mass / slots)
                    ):
                        break
                    line.popleft()
                    waiting -= 1
                    admit(other)
                    admit_at(now)
                    n += 1
                    mass += weight
                    context += contexts[other]
                    left = lefts[other]
                    ends = left // 1.0
                    rest = part + (left - ends)
                    if rest >= 1.0:
                        heappush(active, (whole + ends + 1.0, rest - 1.0, other))
                    else:
                        heappush(active, (whole + ends, rest, other))
            else:
                admit(index)
                admit_at(now)
                n += 1
                mass += weight
                context += contexts[index]
                left = lefts[index]
                ends = left // 1.0
                rest = part + (left - ends)
                if rest >= 1.0:
                    heappush(active, (whole + ends + 1.0, rest - 1.0, index))
                else:
                    heappush(active, (whole + ends, rest, index))
            if n and nodes > 0:
                if is_whole:
                    step = base_s + (per_sequence_s * mass + per_kv_token_s * context) / nodes
                else:
                    step = base_s + (per_sequence_s * felt_mass + per_kv_token_s * felt_context) / nodes
                top = active[0]
                due = at + ((top[0] - whole) + (top[1] - part)) * step
        stage.clock.whole, stage.clock.part = int(whole), part
        stage.at, stage.step_s, stage.busy_node_s = at, step, stage.busy_node_s + busy_s
        crowd.number, crowd.mass, crowd.context = n, mass, context
        if is_whole:
            crowd.felt_number, crowd.felt_mass, crowd.felt_context = n, mass, context
        else:
            crowd.felt_number, crowd.felt_mass, crowd.felt_context = felt_n, felt_mass, felt_context

    def account(self, table: Floats, joined: Happened, until: float) -> None:
        """Write down first tokens, and add up time, area and work done here."""
        stage, tally, crowd = self.stage, self.stage.tally, self.stage.crowd
        came, admitted = np.array(joined.who, dtype=np.int64), np.array(self.admitted.who, dtype=np.int64)
        departed, lost = np.array(self.departed.who, dtype=np.int64), np.array(self.lost, dtype=np.int64)
        table[ENTERED, came] = joined.at
        entered, gave_up = table[ENTERED], np.maximum(table[DEADLINE, lost], table[ENTERED, lost])
        left = np.full(table.shape[1], until)
        left[departed], left[lost] = self.departed.at, gave_up
        here = np.concatenate([np.array(self.before, dtype=np.int64), came])
        tally.area_s += float((left[here] - np.maximum(entered[here], self.start_s)).sum())
        tally.time_s += float((left[departed] - entered[departed]).sum() + (gave_up - entered[lost]).sum())
        _set_first_time(table[FIRST_TOKEN], self.admitted)
        table[DEADLINE, admitted] = inf
        stage.prefilled_tokens += float(table[PREFILL, admitted].sum()) / crowd.share
        # Tokens got: those that were to be got before and by those who were let in, less those still to be got.
        for tokens, who, sign in (
            (self.left_before[1], self.left_before[0], 1.0),
            (table[LEFT, admitted], admitted, 1.0),
            (self._work_left()[1], self._work_left()[0], -1.0),
        ):
            crowd.served_tokens += sign * float((table[WEIGHT, who] * tokens).sum()) / crowd.share
            crowd.served_context_tokens2 += sign * float((table[CONTEXT, who] * tokens).sum()) / crowd.share

    def give_back(self, numbers: Numbers) -> None:
        """Let the stage go on from here."""
        stage = self.stage
        stage.tally.inside = len(self.who())
        stage.active = [((int(whole), part), int(numbers[index])) for whole, part, index in self.active]
        stage.line.interactive = deque(numbers[list(self.interactive)].tolist())
        stage.line.batch = deque(numbers[list(self.batch)].tolist())
        stage.alarm.forget()
        stage.retime()


def _set_first_time(row: Floats, happened: Happened) -> None:
    """Write times into a row where none stands yet."""
    who, at = np.array(happened.who, dtype=np.int64), np.array(happened.at)
    row[who] = np.where(np.isnan(row[who]), at, row[who])
