"""Batched decoding in virtual time, on one pool or on replicas; `disaggregated.Decode` and `colocated.Replicas` on arrays.

Each replica has a clock of tokens, a wheel of the sequences by the token at which they leave and, in the co-located
layout, a second clock with a heap of prompts.  A tournament finds the replica whose next event comes first.  As an event
is mostly put off by who joins, a replica stands in the tournament with a time that may be too early; when it wins with
such a time it is entered again with the true one.
"""

from __future__ import annotations

from math import floor

import numpy as np

from jevons.serving.compiled import crowd
from jevons.serving.compiled.counting import lose, serve
from jevons.serving.compiled.jit import inner, kernel
from jevons.serving.compiled.line import append, clear, head, is_empty, pop
from jevons.serving.compiled.state import (
    ARMED,
    AT,
    BASE_S,
    BUCKET,
    BUSY_S,
    DEADLINE,
    DECODE_AREA,
    DECODE_TIME,
    DECODING,
    DUE,
    ENTERED,
    EXPECTED_PROMPTS,
    FELT_NUMBER,
    FINENESS,
    FIRST_TOKEN,
    INSIDE,
    LATER,
    LEFT,
    LINES,
    NOBODY,
    NODES,
    NUMBER,
    ON,
    PART,
    PLACE_1,
    PLACE_2,
    PREFILL,
    PREFILL_START,
    PREFILLED,
    PROMPT,
    PROMPT_AREA,
    PROMPT_DUE,
    PROMPT_MASS,
    PROMPT_PART,
    PROMPT_SLOTS,
    PROMPT_SPEED,
    PROMPT_TIME,
    PROMPT_WHOLE,
    PROMPTING,
    PROMPTS,
    QUEUED,
    REPLICA,
    STAGE,
    STEP_S,
    STREAM,
    TOKEN_DUE,
    TOKEN_SPEED,
    TURN,
    WAIT,
    WHOLE,
)
from jevons.serving.compiled.wheel import put, take

# --- Time -------------------------------------------------------------------------------------------------------------


@inner
def advanced(whole, part, tokens):  # type: ignore[no-untyped-def]
    """A clock after so many tokens more: `VirtualClock.advance`."""
    part = part + tokens
    carry = int(floor(part))
    return whole + carry, part - carry


@inner
def after(whole, part, tokens):  # type: ignore[no-untyped-def]
    """The time so many tokens from a time: `VirtualClock.after`."""
    tokens_whole = int(floor(tokens))
    part = part + (tokens - tokens_whole)
    carry = int(floor(part))
    return whole + tokens_whole + carry, part - carry


@inner
def pass_time(law, replicas, r, now, prompt_tokens, tokens):  # type: ignore[no-untyped-def]
    """Carry the areas on to now, in which time prompts and sequences have got so many tokens each."""
    floats, ints = replicas.floats, replicas.ints
    span = now - floats[r, AT]
    inside = float(ints[r, INSIDE])
    floats[r, DECODE_AREA] += inside * span
    busy = floats[r, FELT_NUMBER]
    if law.colocated:
        prompts = ints[r, PROMPTS]
        floats[r, PROMPT_AREA] += ints[r, PROMPTING] * span
        floats[r, PREFILLED] += prompt_tokens * prompts / law.share
        busy += prompts / law.share
    floats[r, BUSY_S] += min(busy, floats[r, NODES]) * span
    crowd.pass_time(law, floats, ints, r, span, tokens)
    floats[r, AT] = now


@inner
def prompt_tokens_in(replicas, r, span):  # type: ignore[no-untyped-def]
    """Let the clock of prompts run, and say how far."""
    floats, ints = replicas.floats, replicas.ints
    tokens = span * floats[r, PROMPT_SPEED] if ints[r, PROMPTS] > 0 else 0.0
    ints[r, PROMPT_WHOLE], floats[r, PROMPT_PART] = advanced(ints[r, PROMPT_WHOLE], floats[r, PROMPT_PART], tokens)
    return tokens


@inner
def tokens_in(law, replicas, r, span):  # type: ignore[no-untyped-def]
    """Let the clock of tokens run, and say how far."""
    floats, ints = replicas.floats, replicas.ints
    tokens = 0.0
    if ints[r, NUMBER] > 0:
        tokens = span * floats[r, TOKEN_SPEED] if law.colocated else span / floats[r, STEP_S]
    ints[r, WHOLE], floats[r, PART] = advanced(ints[r, WHOLE], floats[r, PART], tokens)
    return tokens


@inner
def settle(law, replicas, r, now):  # type: ignore[no-untyped-def]
    """Carry clocks and areas on to now."""
    span = now - replicas.floats[r, AT]
    if span > 0:
        prompt_tokens = prompt_tokens_in(replicas, r, span) if law.colocated else 0.0
        pass_time(law, replicas, r, now, prompt_tokens, tokens_in(law, replicas, r, span))


@inner
def retime(slots, law, replicas, r):  # type: ignore[no-untyped-def]
    """Set the speeds to the batch, and from them when the next prompt and the next sequence end."""
    floats, ints = replicas.floats, replicas.ints
    floats[r, PROMPT_DUE], floats[r, TOKEN_DUE] = np.inf, np.inf
    nodes, due = floats[r, NODES], ints[r, DUE]
    if law.colocated:
        prompts = ints[r, PROMPTS]
        if nodes <= 0:
            if prompts > 0 or due != NOBODY:
                floats[r, PROMPT_SPEED], floats[r, TOKEN_SPEED] = 0.0, 0.0
        elif prompts > 0 or due != NOBODY:
            set_speeds(law, replicas, r)
            if prompts > 0:
                ahead = (replicas.prompt_whole[r, 0] - ints[r, PROMPT_WHOLE]) + (
                    replicas.prompt_part[r, 0] - floats[r, PROMPT_PART]
                )
                floats[r, PROMPT_DUE] = floats[r, AT] + ahead / floats[r, PROMPT_SPEED]
            if due != NOBODY:
                ahead = (slots.whole[due] - ints[r, WHOLE]) + (slots.part[due] - floats[r, PART])
                floats[r, TOKEN_DUE] = floats[r, AT] + ahead / floats[r, TOKEN_SPEED]
    elif due != NOBODY:
        if nodes > 0:
            step = crowd.step_s(law, floats, r, nodes)
            ahead = (slots.whole[due] - ints[r, WHOLE]) + (slots.part[due] - floats[r, PART])
            floats[r, STEP_S] = step
            floats[r, TOKEN_DUE] = floats[r, AT] + ahead * step
        else:
            floats[r, STEP_S] = np.inf


@inner
def set_speeds(law, replicas, r):  # type: ignore[no-untyped-def]
    """Speeds of prompts and of sequences where both are on the same nodes."""
    floats, ints = replicas.floats, replicas.ints
    nodes = floats[r, NODES]
    base = crowd.step_s(law, floats, r, nodes)
    floats[r, BASE_S] = base
    long_s = base + law.per_prefill_token_s * law.chunk
    speed = law.chunk / long_s if long_s != 0 else np.inf
    if law.share < 1:
        in_prefill = floats[r, EXPECTED_PROMPTS] * long_s / law.chunk
    else:
        in_prefill = ints[r, PROMPTS] / nodes
        # A part of a node gets on with a prompt in a part of its time.
        speed /= max(1.0, in_prefill)
    floats[r, PROMPT_SPEED] = speed
    in_prefill = min(1.0, in_prefill)
    if ints[r, NUMBER] > 0:
        floats[r, TOKEN_SPEED] = (1 - in_prefill) / base + in_prefill / long_s


# --- Requests ---------------------------------------------------------------------------------------------------------


@inner
def decode(slots, law, replicas, r, slot):  # type: ignore[no-untyped-def]
    """Let a sequence into the batch."""
    floats, ints = replicas.floats, replicas.ints
    crowd.add(slots, law, floats, ints, r, slot)
    slots.where[slot, STAGE] = DECODING
    slots.whole[slot], slots.part[slot] = after(ints[r, WHOLE], floats[r, PART], slots.cold[slot, LEFT])
    ints[r, DUE], ints[r, BUCKET], ints[r, LATER] = put(
        slots, replicas.buckets[r], replicas.ints_of_all[FINENESS], ints[r, DUE], ints[r, BUCKET], ints[r, LATER], slot
    )


@inner
def admit(slots, law, replicas, r, slot):  # type: ignore[no-untyped-def]
    """Let a request whose prompt is done decode."""
    floats = replicas.floats
    if np.isnan(slots.hot[slot, FIRST_TOKEN]):
        slots.hot[slot, FIRST_TOKEN] = floats[r, AT]
    # The first token has been streamed; whoever restarts may run out of no more patience.
    slots.cold[slot, DEADLINE] = np.inf
    floats[r, PREFILLED] += slots.cold[slot, PREFILL] / law.share
    decode(slots, law, replicas, r, slot)


@inner
def begin(slots, law, replicas, r, slot):  # type: ignore[no-untyped-def]
    """Begin a prompt on a replica; a slot of the batch is its own from here on."""
    floats, ints = replicas.floats, replicas.ints
    if np.isnan(slots.cold[slot, PREFILL_START]):
        slots.cold[slot, PREFILL_START] = floats[r, AT]
    slots.cold[slot, DEADLINE] = np.inf
    floats[r, PROMPT_MASS] += law.output_weight[slots.where[slot, STREAM]]
    whole, part = after(ints[r, PROMPT_WHOLE], floats[r, PROMPT_PART], slots.cold[slot, PREFILL])
    push_prompt(slots, replicas, r, whole, part, slot)


@inner
def has_room(slots, law, replicas, r, slot):  # type: ignore[no-untyped-def]
    """Whether a request may leave the line."""
    floats, ints = replicas.floats, replicas.ints
    weight = law.output_weight[slots.where[slot, STREAM]]
    if law.colocated:
        weight = floats[r, PROMPT_MASS] + weight
    free = not law.colocated or ints[r, PROMPTS] < ints[r, PROMPT_SLOTS]
    return free and crowd.has_room(law, floats, ints, r, weight, law.max_batch * floats[r, NODES])


@inner
def let_in(slots, law, replicas, tallies, r):  # type: ignore[no-untyped-def]
    """Let those who wait in as far as there is room."""
    lines, now = replicas.ints[r, LINES:], replicas.floats[r, AT]
    while not is_empty(lines):
        slot = head(slots, lines, now)
        if slots.cold[slot, DEADLINE] <= now:
            pop(slots, lines, slot)
            lost(slots, law, replicas, tallies, r, slot)
        elif has_room(slots, law, replicas, r, slot):
            pop(slots, lines, slot)
            if law.colocated:
                begin(slots, law, replicas, r, slot)
            else:
                admit(slots, law, replicas, r, slot)
        else:
            break


@inner
def lost(slots, law, replicas, tallies, r, slot):  # type: ignore[no-untyped-def]
    """Count out a request that gave up, at its deadline: the area since then was not its."""
    floats, ints, now = replicas.floats, replicas.ints, replicas.floats[r, AT]
    entered = slots.hot[slot, ENTERED]
    at = max(slots.cold[slot, DEADLINE], entered)
    if law.colocated:
        ints[r, PROMPTING] -= 1
        floats[r, PROMPT_AREA] -= now - at
        floats[r, PROMPT_TIME] += at - entered
    else:
        ints[r, INSIDE] -= 1
        floats[r, DECODE_AREA] -= now - at
        floats[r, DECODE_TIME] += at - entered
    lose(slots, tallies, slot)


@inner
def join(slots, law, replicas, tallies, r, slot, now):  # type: ignore[no-untyped-def]
    """Take a request in: with its prompt, or when its prompt is done."""
    floats, ints = replicas.floats, replicas.ints
    settle(law, replicas, r, now)
    lines, now = ints[r, LINES:], floats[r, AT]
    slots.hot[slot, ENTERED] = now
    slots.where[slot, REPLICA] = r
    if law.colocated:
        slots.where[slot, STAGE] = PROMPT
        ints[r, PROMPTING] += 1
        append(slots, law, lines, slot)
        let_in(slots, law, replicas, tallies, r)
        retime(slots, law, replicas, r)
    else:
        slots.where[slot, STAGE] = QUEUED
        ints[r, INSIDE] += 1
        if is_empty(lines) and has_room(slots, law, replicas, r, slot):
            admit(slots, law, replicas, r, slot)
            retime(slots, law, replicas, r)
        elif slots.cold[slot, DEADLINE] <= now:
            lost(slots, law, replicas, tallies, r, slot)
        else:
            append(slots, law, lines, slot)
            let_in(slots, law, replicas, tallies, r)
            retime(slots, law, replicas, r)


@inner
def end_prompt(slots, law, replicas, r):  # type: ignore[no-untyped-def]
    """The first of the prompts is done: its sequence decodes on the same replica."""
    floats, ints, now = replicas.floats, replicas.ints, replicas.floats[r, AT]
    slot = replicas.prompt_slot[r, 0]
    pop_prompt(slots, replicas, r)
    ints[r, PROMPTING] -= 1
    floats[r, PROMPT_TIME] += now - slots.hot[slot, ENTERED]
    slots.hot[slot, ENTERED] = now
    ints[r, INSIDE] += 1
    if np.isnan(slots.hot[slot, FIRST_TOKEN]):
        slots.hot[slot, FIRST_TOKEN] = now
        if ints[r, NUMBER] > 0:
            slots.hot[slot, WAIT] = floats[r, BASE_S] / 2
    floats[r, PROMPT_MASS] -= law.output_weight[slots.where[slot, STREAM]]
    decode(slots, law, replicas, r, slot)


@inner
def leave(slots, law, replicas, r, slot):  # type: ignore[no-untyped-def]
    """Count a sequence out of its replica."""
    floats, ints = replicas.floats, replicas.ints
    crowd.remove(slots, law, floats, ints, r, slot)
    ints[r, INSIDE] -= 1
    floats[r, DECODE_TIME] += floats[r, AT] - slots.hot[slot, ENTERED]


@inner
def rest_where_empty(law, replicas, r):  # type: ignore[no-untyped-def]
    """Clocks begin anew where nobody is left to keep time for."""
    floats, ints = replicas.floats, replicas.ints
    if law.colocated and ints[r, PROMPTS] == 0:
        ints[r, PROMPT_WHOLE] = 0
        floats[r, PROMPT_PART] = 0.0
        floats[r, PROMPT_MASS] = 0.0
    if ints[r, NUMBER] == 0:
        ints[r, WHOLE] = 0
        floats[r, PART] = 0.0


@inner
def ring(slots, law, replicas, tallies, r, origin_s, hour_s, warm_up, last_hour):  # type: ignore[no-untyped-def]
    """Whatever of a replica is due next: a prompt or a sequence ends, and others take its place.

    A clock whose end is due stands at that end exactly; the other one goes on by its speed.
    """
    floats, ints = replicas.floats, replicas.ints
    due = min(floats[r, PROMPT_DUE], floats[r, TOKEN_DUE])
    span = due - floats[r, AT]
    prompt_tokens, tokens, prompt_ends, ends = 0.0, 0.0, False, False
    prompt_whole, prompt_part = 0, 0.0
    if law.colocated:
        if floats[r, PROMPT_DUE] <= due:
            prompt_ends = True
            prompt_whole, prompt_part = replicas.prompt_whole[r, 0], replicas.prompt_part[r, 0]
            prompt_tokens = (prompt_whole - ints[r, PROMPT_WHOLE]) + (prompt_part - floats[r, PROMPT_PART])
            ints[r, PROMPT_WHOLE], floats[r, PROMPT_PART] = prompt_whole, prompt_part
        else:
            prompt_tokens = prompt_tokens_in(replicas, r, span)
    whole, part = ints[r, WHOLE], floats[r, PART]
    if floats[r, TOKEN_DUE] <= due:
        ends = True
        first = ints[r, DUE]
        whole, part = slots.whole[first], slots.part[first]
        tokens = (whole - ints[r, WHOLE]) + (part - floats[r, PART])
        ints[r, WHOLE], floats[r, PART] = whole, part
    else:
        tokens = tokens_in(law, replicas, r, span)
    pass_time(law, replicas, r, due, prompt_tokens, tokens)
    while (
        prompt_ends
        and ints[r, PROMPTS] > 0
        and replicas.prompt_whole[r, 0] == prompt_whole
        and replicas.prompt_part[r, 0] == prompt_part
    ):
        end_prompt(slots, law, replicas, r)
    while ends and ints[r, DUE] != NOBODY:
        slot = ints[r, DUE]
        if slots.whole[slot] != whole or slots.part[slot] != part:
            break
        ints[r, DUE], ints[r, BUCKET], ints[r, LATER] = take(
            slots, replicas.buckets[r], replicas.ints_of_all[FINENESS], slot, ints[r, BUCKET], ints[r, LATER]
        )
        leave(slots, law, replicas, r, slot)
        serve(slots, tallies, slot, floats[r, AT], origin_s, hour_s, warm_up, last_hour)
    rest_where_empty(law, replicas, r)
    if not is_empty(ints[r, LINES:]):
        let_in(slots, law, replicas, tallies, r)
    retime(slots, law, replicas, r)


# --- The heap of prompts ----------------------------------------------------------------------------------------------


@inner
def earlier(slots, replicas, r, whole, part, slot, place):  # type: ignore[no-untyped-def]
    """Whether a time and a request come before those at a place of the heap."""
    other = replicas.prompt_whole[r, place]
    at = replicas.prompt_part[r, place]
    tie = slots.request[slot] < slots.request[replicas.prompt_slot[r, place]]
    return whole < other or (whole == other and (part < at or (part == at and tie)))


@inner
def move_prompt(replicas, r, source, target):  # type: ignore[no-untyped-def]
    """Copy an entry of the heap."""
    replicas.prompt_whole[r, target] = replicas.prompt_whole[r, source]
    replicas.prompt_part[r, target] = replicas.prompt_part[r, source]
    replicas.prompt_slot[r, target] = replicas.prompt_slot[r, source]


@inner
def place_prompt(replicas, r, whole, part, slot, place):  # type: ignore[no-untyped-def]
    """Write an entry of the heap."""
    replicas.prompt_whole[r, place], replicas.prompt_part[r, place] = whole, part
    replicas.prompt_slot[r, place] = slot


@inner
def push_prompt(slots, replicas, r, whole, part, slot):  # type: ignore[no-untyped-def]
    """Put a prompt on the heap."""
    place = replicas.ints[r, PROMPTS]
    replicas.ints[r, PROMPTS] += 1
    while place > 0 and earlier(slots, replicas, r, whole, part, slot, (place - 1) >> 1):
        move_prompt(replicas, r, (place - 1) >> 1, place)
        place = (place - 1) >> 1
    place_prompt(replicas, r, whole, part, slot, place)


@inner
def pop_prompt(slots, replicas, r):  # type: ignore[no-untyped-def]
    """Take the first prompt from the heap."""
    replicas.ints[r, PROMPTS] -= 1
    n = replicas.ints[r, PROMPTS]
    whole, part, slot = replicas.prompt_whole[r, n], replicas.prompt_part[r, n], replicas.prompt_slot[r, n]
    place, child = 0, 1
    while child < n:
        if child + 1 < n and earlier(
            slots,
            replicas,
            r,
            replicas.prompt_whole[r, child + 1],
            replicas.prompt_part[r, child + 1],
            replicas.prompt_slot[r, child + 1],
            child,
        ):
            child += 1
        if earlier(slots, replicas, r, whole, part, slot, child):
            break
        move_prompt(replicas, r, child, place)
        place, child = child, 2 * child + 1
    place_prompt(replicas, r, whole, part, slot, place)


# --- The tournament ---------------------------------------------------------------------------------------------------


@inner
def enter_tournament(replicas, r, due):  # type: ignore[no-untyped-def]
    """Enter a replica with the time of its next event."""
    floats, tree = replicas.floats, replicas.tree
    floats[r, ARMED] = due
    node = (len(tree) // 2 + r) >> 1
    while node > 0:
        left, right = tree[2 * node], tree[2 * node + 1]
        tree[node] = left if floats[left, ARMED] <= floats[right, ARMED] else right
        node >>= 1


@inner
def enter_if_earlier(replicas, r):  # type: ignore[no-untyped-def]
    """Enter a replica anew only if its next event has come nearer."""
    due = min(replicas.floats[r, PROMPT_DUE], replicas.floats[r, TOKEN_DUE])
    if due < replicas.floats[r, ARMED]:
        enter_tournament(replicas, r, due)


@inner
def chosen(slots, law, replicas, slot):  # type: ignore[no-untyped-def]
    """The replica that a request is sent to."""
    of_all = replicas.ints_of_all
    r = 0
    if law.routing == 1:
        of_all[TURN] = (of_all[TURN] + 1) % max(of_all[ON], 1)
        r = of_all[TURN]
    elif law.routing == 2:
        on = max(of_all[ON], 1)
        r, other = int(slots.cold[slot, PLACE_1] * on), int(slots.cold[slot, PLACE_2] * on)
        ints = replicas.ints
        if ints[other, INSIDE] + ints[other, PROMPTING] < ints[r, INSIDE] + ints[r, PROMPTING]:
            r = other
    return r


# --- What the day calls -----------------------------------------------------------------------------------------------


@kernel
def advance(slots, law, replicas, tallies, until, came_s, came, n, origin_s, hour_s, warm_up, last_hour):  # type: ignore[no-untyped-def]
    """Take requests in and let prompts and sequences end, until a time.

    Parameters
    ----------
    slots, law, replicas, tallies
        See `state`.
    until : float, s
        What happens at that time or later is left.
    came_s, came : ndarray
        Times and slots of `n` requests that come before, in order.
    origin_s, hour_s : float, s
        First second of the day and length of an hour on the clock.
    warm_up, last_hour : int
        Hours before the day, and all hours.
    """
    floats, tree = replicas.floats, replicas.tree
    i = 0
    while True:
        r = tree[1]
        armed = floats[r, ARMED]
        arrival = came_s[i] if i < n else np.inf
        if armed <= arrival:
            if armed >= until:
                break
            if min(floats[r, PROMPT_DUE], floats[r, TOKEN_DUE]) <= armed:
                ring(slots, law, replicas, tallies, r, origin_s, hour_s, warm_up, last_hour)
            enter_tournament(replicas, r, min(floats[r, PROMPT_DUE], floats[r, TOKEN_DUE]))
        else:
            slot = came[i]
            i += 1
            r = chosen(slots, law, replicas, slot)
            join(slots, law, replicas, tallies, r, slot, arrival)
            enter_if_earlier(replicas, r)


@kernel
def switch(
    slots, law, replicas, tallies, r, now, nodes, prompt_slots, prompts_per_s, tokens_per_s, context_per_s, step_s
):  # type: ignore[no-untyped-def]
    """Serve on so many true nodes from now on, under an expected load, with a step of `step_s` in balance."""
    floats, ints = replicas.floats, replicas.ints
    settle(law, replicas, r, now)
    floats[r, NODES] = nodes
    crowd.expect(law, floats, r, nodes, tokens_per_s, context_per_s, step_s)
    floats[r, EXPECTED_PROMPTS] = prompts_per_s
    ints[r, PROMPT_SLOTS] = prompt_slots
    let_in(slots, law, replicas, tallies, r)
    retime(slots, law, replicas, r)
    enter_tournament(replicas, r, min(floats[r, PROMPT_DUE], floats[r, TOKEN_DUE]))


@kernel
def settle_all(law, replicas, now):  # type: ignore[no-untyped-def]
    """Carry all replicas on to now."""
    for r in range(len(replicas.floats)):
        settle(law, replicas, r, now)


@kernel
def close(slots, law, replicas, tallies, now):  # type: ignore[no-untyped-def]
    """Lose those whose deadline is past, wherever they stand."""
    for r in range(len(replicas.floats)):
        settle(law, replicas, r, now)
        gone = clear(slots, replicas.ints[r, LINES:], now)
        while gone != NOBODY:
            following = slots.after[gone]
            lost(slots, law, replicas, tallies, r, gone)
            gone = following


@kernel
def interrupt(slots, law, replicas, tallies, now, hit, again):  # type: ignore[no-untyped-def]
    """Take sequences out whose node failed: what they have generated must be prefilled with the prompt again.

    Parameters
    ----------
    hit : ndarray of slots
        In the order of their requests.
    again : ndarray of bool, shape (m,)
        True for those slots.
    """
    floats, ints = replicas.floats, replicas.ints
    for r in range(len(floats)):
        settle(law, replicas, r, now)
    for slot in hit:
        r = slots.where[slot, REPLICA]
        left = max((slots.whole[slot] - ints[r, WHOLE]) + (slots.part[slot] - floats[r, PART]), 0.0)
        weight = law.input_weight[slots.where[slot, STREAM]]
        slots.cold[slot, PREFILL] += (slots.cold[slot, LEFT] - left) * weight
        slots.cold[slot, LEFT] = left
        leave(slots, law, replicas, r, slot)
        slots.where[slot, STAGE] = PROMPT
    for r in range(len(floats)):
        take_out(slots, replicas, r, again)
        rest_where_empty(law, replicas, r)
        let_in(slots, law, replicas, tallies, r)
        retime(slots, law, replicas, r)
        enter_tournament(replicas, r, min(floats[r, PROMPT_DUE], floats[r, TOKEN_DUE]))


@inner
def take_out(slots, replicas, r, again):  # type: ignore[no-untyped-def]
    """Empty the wheel of a replica and put back those who stay."""
    ints, buckets = replicas.ints, replicas.buckets[r]
    fineness = replicas.ints_of_all[FINENESS]
    stay = NOBODY
    for place in range(-1, len(buckets)):
        slot = ints[r, DUE] if place < 0 else buckets[place]
        if place >= 0:
            buckets[place] = NOBODY
        while slot != NOBODY:
            following = slots.after[slot]
            if not again[slot]:
                slots.after[slot] = stay
                stay = slot
            slot = following
    due, bucket, later = NOBODY, 0, 0
    while stay != NOBODY:
        following = slots.after[stay]
        due, bucket, later = put(slots, buckets, fineness, due, bucket, later, stay)
        stay = following
    ints[r, DUE], ints[r, BUCKET], ints[r, LATER] = due, bucket, later
