"""The pool of `colocated` in one loop over lists: all requests between two events of the control plane.

As in `plain_stages`, no event stands for a request, what can be summed up afterwards is left to numpy, and state is
taken from the pool and given back to it.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import exp, inf, nan, nextafter

import numpy as np

from jevons.randomness import Floats
from jevons.serving.book import Tally
from jevons.serving.colocated import Replicas
from jevons.serving.crowd import ROOM_FOR_NOISE, ROUNDING
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
    WAIT,
    WEIGHT,
    Numbers,
    OpenLedger,
)
from jevons.serving.plain_stages import Indices, set_first_time


def serve_colocated(
    stage: Replicas, clock: PlainClock, ledger: OpenLedger, first: int, coming: Floats, until: float
) -> None:
    """Serve until a time those who are inside and those who come before it; see `plain_stages.serve_pooled`."""
    stage.settle()
    numbers, inside = ledger.taken()
    came = len(numbers)
    table = np.concatenate([inside, coming], axis=1)
    table[ENTERED, came:] = table[ARRIVAL, came:]
    numbers = np.concatenate([numbers, np.arange(first, first + coming.shape[1])])
    ledger.arrived += coming.shape[1]
    place = {number: index for index, number in enumerate(numbers[:came].tolist())}
    clock.cleared()
    pool = Pool(stage, place)
    pool.advance(table, came, until)
    clock.now = until
    pool.account(table, came, until)
    ledger.leave(numbers, table, pool.departed, pool.lost)
    pool.give_back(numbers, until)
    ledger.stay(numbers, table, stage.prefill_tally, pool.prompting())
    ledger.stay(numbers, table, stage.decode_tally, [index for _, index in pool.active])


class Pool:
    """The nodes of a pool, those whose prompts and sequences are there, and the line before it."""

    def __init__(self, stage: Replicas, place: dict[int, int]) -> None:
        self.stage = stage
        self.start_s = stage.at
        #: Virtual times are single numbers here, counted from the present whole tokens.
        self.start = stage.prompt_clock.whole, stage.token_clock.whole
        self.prompt_v, self.token_v = stage.prompt_clock.part, stage.token_clock.part
        self.prompts = [(whole - self.start[0] + part, place[number]) for (whole, part), number in stage.prompts]
        self.active = [(whole - self.start[1] + part, place[number]) for (whole, part), number in stage.active]
        self.interactive = deque(place[number] for number in stage.line.interactive)
        self.batch = deque(place[number] for number in stage.line.batch)
        self.before = self.prompting(), [index for _, index in self.active]
        self.left_before = self._tokens_left()
        #: When each column began its prompt, ended it and left in this time; NaN where it did not.
        self.begun = self.ended = self.departed = np.empty(0)
        self.lost: Indices = []

    def prompting(self) -> Indices:
        """Columns of those who wait or whose prompts are in work."""
        return [*(index for _, index in self.prompts), *self.interactive, *self.batch]

    def _tokens_left(self) -> Floats:
        return np.array([end - self.token_v for end, _ in self.active])

    def advance(self, table: Floats, came: int, until: float) -> None:
        """Let requests in from column `came` on, and prompts and sequences end before a time."""
        stage, crowd, prompts, active = self.stage, self.stage.crowd, self.prompts, self.active
        interactive, batch = self.interactive, self.batch
        law, chunk, nodes, share, is_whole = stage.law, stage.chunk, stage.nodes, crowd.share, not crowd.thinned
        deadline, goes_first = table[DEADLINE].tolist(), table[INTERACTIVE].tolist()
        weights, contexts = table[WEIGHT].tolist(), table[CONTEXT].tolist()
        lefts, prefills = table[LEFT].tolist(), table[PREFILL].tolist()
        waits, has_first = table[WAIT].tolist(), (~np.isnan(table[FIRST_TOKEN])).tolist()
        begun, ended, departed = [nan] * len(lefts), [nan] * len(lefts), [nan] * len(lefts)
        slots, prompt_slots = stage.serving.max_batch * nodes, stage.prompt_slots
        room, own_slots = slots * ROUNDING, share * slots
        long_extra_s = law.per_prefill_token_s * chunk
        n, n_prompts, waiting = len(active), len(prompts), len(interactive) + len(batch)
        mass, context, prompt_mass = crowd.mass, crowd.context, stage.prompt_mass
        felt_n, felt_mass, felt_context = crowd.felt_number, crowd.felt_mass, crowd.felt_context
        pv, v, at, base_s = self.prompt_v, self.token_v, self.start_s, stage.base_s
        prompt_speed, token_speed, prompt_due, token_due = (
            stage.prompt_speed, stage.token_speed, stage.prompt_due, stage.token_due,
        )  # fmt: skip
        busy_s = prefilled = 0.0
        # After the last arrival comes the end, before which all is that is still to come.
        arrivals = [*table[ARRIVAL, came:].tolist(), nextafter(until, -inf)]
        index, time = came, arrivals[0]
        while True:
            due = token_due if token_due < prompt_due else prompt_due
            is_ringing = due <= time
            now = due if is_ringing else time
            span = now - at
            at = now
            prompt_end = end = nan
            tokens = 0.0
            if prompt_due <= now:
                prompt_end = prompts[0][0]
                tokens = prompt_end - pv
                pv = prompt_end
            elif n_prompts:
                tokens = span * prompt_speed
                pv += tokens
            if token_due <= now:
                end = v = active[0][0]
            elif n:
                v += span * token_speed
            prefilled += tokens * n_prompts
            busy = (n if is_whole else felt_n) + n_prompts / share
            busy_s += (busy if busy < nodes else nodes) * span
            if not is_whole:
                keep = exp(-span / crowd.averaging_s)
                new = (1 - keep) / share
                felt_n = keep * felt_n + new * n
                felt_mass = keep * felt_mass + new * mass
                felt_context = keep * felt_context + new * context
            if is_ringing:
                while n_prompts and prompts[0][0] == prompt_end:
                    other = heappop(prompts)[1]
                    n_prompts -= 1
                    ended[other] = at
                    if n and not has_first[other]:
                        waits[other] = base_s / 2
                    weight = weights[other]
                    prompt_mass -= weight
                    n += 1
                    mass += weight
                    context += contexts[other]
                    heappush(active, (v + lefts[other], other))
                while n and active[0][0] == end:
                    other = heappop(active)[1]
                    n -= 1
                    departed[other] = at
                    mass -= weights[other]
                    context -= contexts[other]
                if not n_prompts:
                    prompt_mass = 0.0
                if not n:
                    mass = context = 0.0
            else:
                if index == len(lefts):
                    break
                (interactive if goes_first[index] else batch).append(index)
                waiting += 1
                index += 1
                time = arrivals[index - came]
            while waiting:
                line = interactive or batch
                other = line[0]
                if deadline[other] <= at:
                    self.lost.append(line.popleft())
                    waiting -= 1
                    continue
                wanted = prompt_mass + weights[other]
                if n_prompts >= prompt_slots:
                    break
                if is_whole:
                    if mass + wanted > room and (n or slots <= 0):
                        break
                else:
                    left = 1 - felt_mass / slots if slots > 0 else 0.0
                    if mass + wanted > own_slots + ROOM_FOR_NOISE * (own_slots + wanted) * left:
                        break
                line.popleft()
                waiting -= 1
                begun[other] = at
                prompt_mass = wanted
                n_prompts += 1
                heappush(prompts, (pv + prefills[other], other))
            prompt_due = token_due = inf
            if nodes <= 0:
                prompt_speed = token_speed = 0.0
                continue
            if not n_prompts and not n:
                continue
            if is_whole:
                base_s = law.base_s + (law.per_sequence_s * mass + law.per_kv_token_s * context) / nodes
            else:
                base_s = law.base_s + (law.per_sequence_s * felt_mass + law.per_kv_token_s * felt_context) / nodes
            long_s = base_s + long_extra_s
            prompt_speed = chunk / long_s if long_s else inf
            if is_whole:
                in_prefill = n_prompts / nodes
                if in_prefill > 1.0:
                    prompt_speed /= in_prefill
            else:
                in_prefill = stage.expected_tokens_per_s * long_s / chunk
            if n_prompts:
                prompt_due = at + (prompts[0][0] - pv) / prompt_speed
            if n:
                if in_prefill > 1.0:
                    in_prefill = 1.0
                token_speed = (1 - in_prefill) / base_s + in_prefill / long_s
                token_due = at + (active[0][0] - v) / token_speed
        self.begun, self.ended, self.departed = np.array(begun), np.array(ended), np.array(departed)
        table[WAIT] = waits
        self.prompt_v, self.token_v = pv, v
        crowd.number, crowd.mass, crowd.context = n, mass, context
        if is_whole:
            felt_n, felt_mass, felt_context = n, mass, context
        crowd.felt_number, crowd.felt_mass, crowd.felt_context = felt_n, felt_mass, felt_context
        stage.prompt_mass, stage.busy_node_s = prompt_mass, stage.busy_node_s + busy_s
        stage.prefilled_tokens += prefilled / share

    def account(self, table: Floats, came: int, until: float) -> None:
        """Write down what happened, and add up time, area and work done here."""
        stage, crowd, lost = self.stage, self.stage.crowd, np.array(self.lost, dtype=np.int64)
        ended, departed = (np.flatnonzero(~np.isnan(times)) for times in (self.ended, self.departed))
        coming = np.arange(came, table.shape[1])
        gave_up = np.maximum(table[DEADLINE, lost], table[ENTERED, lost])
        left = np.where(np.isnan(self.ended), until, self.ended)
        left[lost] = gave_up
        self._spend(stage.prefill_tally, table[ENTERED], left, (self.before[0], coming), (ended, lost))
        table[ENTERED, ended] = self.ended[ended]
        left = np.where(np.isnan(self.departed), until, self.departed)
        self._spend(stage.decode_tally, table[ENTERED], left, (self.before[1], ended), (departed,))
        set_first_time(table[PREFILL_START], self.begun)
        set_first_time(table[FIRST_TOKEN], self.ended)
        table[DEADLINE, ~np.isnan(self.begun)] = inf
        who = np.concatenate([np.array(self.before[1], dtype=np.int64), ended, [index for _, index in self.active]])
        who = who.astype(np.int64)
        tokens = np.concatenate([self.left_before, table[LEFT, ended], -self._tokens_left()]) / crowd.share
        crowd.served_tokens += float((table[WEIGHT, who] * tokens).sum())
        crowd.served_context_tokens2 += float((table[CONTEXT, who] * tokens).sum())

    def _spend(
        self,
        tally: Tally,
        entered: Floats,
        left: Floats,
        here: tuple[Indices | Numbers, Numbers],
        gone: tuple[Numbers, ...],
    ) -> None:
        """Add up area and time of those who were in a stage, of whom some have left it."""
        who, out = np.concatenate([np.array(part, dtype=np.int64) for part in here]), np.concatenate(gone)
        tally.area_s += float((left[who] - np.maximum(entered[who], self.start_s)).sum())
        tally.time_s += float((left[out] - entered[out]).sum())

    def give_back(self, numbers: Numbers, now: float) -> None:
        """Let the pool go on from here."""
        stage = self.stage
        stage.at = now
        stage.prefill_tally.inside, stage.decode_tally.inside = len(self.prompting()), len(self.active)
        for clock, start, v in (
            (stage.prompt_clock, self.start[0], self.prompt_v),
            (stage.token_clock, self.start[1], self.token_v),
        ):
            clock.whole, clock.part = start + int(v // 1.0), v % 1.0
        stage.prompts, stage.active = (
            [((start + int(end // 1.0), end % 1.0), int(numbers[index])) for end, index in heap]
            for heap, start in ((self.prompts, self.start[0]), (self.active, self.start[1]))
        )
        stage.line.interactive = deque(numbers[list(self.interactive)].tolist())
        stage.line.batch = deque(numbers[list(self.batch)].tolist())
        stage.alarm.forget()
        stage.retime()
