"""Batched decoding in virtual time, on one pool or on replicas: `Decode` and `Replicas` of the reference, on arrays.

Each replica has a clock of tokens, a wheel of the sequences by the token at which they leave and, in the co-located
layout, a second clock with a heap of prompts.  A tournament finds the replica whose next event comes first.  As an
event is mostly put off by who joins, a replica stands in the tournament with a time that may be too early; when it wins
with such a time it is entered again with the true one.
"""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled import crowd
from jevons.serving.compiled.counting import lose, serve
from jevons.serving.compiled.draws import uniform_pair
from jevons.serving.compiled.jit import apart, inner
from jevons.serving.compiled.line import append, clear, head, is_empty, pop
from jevons.serving.compiled.state import (
    AFTER,
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
    FIRST_TOKEN,
    HEADER,
    INPUT_WEIGHT,
    INSIDE,
    LATER,
    LEFT,
    LINES,
    NOBODY,
    NODES,
    NUMBER,
    ON,
    OUTPUT_WEIGHT,
    PART,
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
    REQUEST,
    ROW_CONTEXT_PER_S,
    ROW_PROMPT_SLOTS,
    ROW_PROMPTS_PER_S,
    ROW_STEP,
    ROW_TOKENS_PER_S,
    STAGE,
    STEP_S,
    STREAM,
    TOKEN_DUE,
    TOKEN_PART,
    TOKEN_SPEED,
    TOKEN_WHOLE,
    TREE,
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
    carry = np.floor(part)
    return whole + carry, part - carry


@inner
def after(whole, part, tokens):  # type: ignore[no-untyped-def]
    """The time so many tokens from a time: `VirtualClock.after`."""
    tokens_whole = np.floor(tokens)
    part = part + (tokens - tokens_whole)
    carry = np.floor(part)
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
    floats[r, PROMPT_WHOLE], floats[r, PROMPT_PART] = advanced(floats[r, PROMPT_WHOLE], floats[r, PROMPT_PART], tokens)
    return tokens


@inner
def tokens_in(law, replicas, r, span):  # type: ignore[no-untyped-def]
    """Let the clock of tokens run, and say how far."""
    floats, ints = replicas.floats, replicas.ints
    tokens = 0.0
    if ints[r, NUMBER] > 0:
        tokens = span * floats[r, TOKEN_SPEED] if law.colocated else span / floats[r, STEP_S]
    floats[r, TOKEN_WHOLE], floats[r, TOKEN_PART] = advanced(floats[r, TOKEN_WHOLE], floats[r, TOKEN_PART], tokens)
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
                ahead = (replicas.prompts[r, 0, 0] - floats[r, PROMPT_WHOLE]) + (
                    replicas.prompts[r, 0, 1] - floats[r, PROMPT_PART]
                )
                floats[r, PROMPT_DUE] = floats[r, AT] + ahead / floats[r, PROMPT_SPEED]
            if due != NOBODY:
                ahead = (slots.floats[due, WHOLE] - floats[r, TOKEN_WHOLE]) + (
                    slots.floats[due, PART] - floats[r, TOKEN_PART]
                )
                floats[r, TOKEN_DUE] = floats[r, AT] + ahead / floats[r, TOKEN_SPEED]
    elif due != NOBODY:
        if nodes > 0:
            step = crowd.step_s(law, floats, r, nodes)
            ahead = (slots.floats[due, WHOLE] - floats[r, TOKEN_WHOLE]) + (
                slots.floats[due, PART] - floats[r, TOKEN_PART]
            )
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
    slots.ints[slot, STAGE] = DECODING
    slots.floats[slot, WHOLE], slots.floats[slot, PART] = after(
        floats[r, TOKEN_WHOLE], floats[r, TOKEN_PART], slots.floats[slot, LEFT]
    )
    ints[r, DUE], floats[r, BUCKET], ints[r, LATER] = put(
        slots, ints[r], HEADER, law.fineness, ints[r, DUE], int(floats[r, BUCKET]), ints[r, LATER], slot
    )


@inner
def admit(slots, law, replicas, r, slot):  # type: ignore[no-untyped-def]
    """Let a request whose prompt is done decode."""
    floats = replicas.floats
    if np.isnan(slots.floats[slot, FIRST_TOKEN]):
        slots.floats[slot, FIRST_TOKEN] = floats[r, AT]
    # The first token has been streamed; whoever restarts may run out of no more patience.
    slots.floats[slot, DEADLINE] = np.inf
    floats[r, PREFILLED] += slots.floats[slot, PREFILL] / law.share
    decode(slots, law, replicas, r, slot)


@inner
def begin(slots, law, replicas, r, slot):  # type: ignore[no-untyped-def]
    """Begin a prompt on a replica; a slot of the batch is its own from here on."""
    floats, ints = replicas.floats, replicas.ints
    if np.isnan(slots.floats[slot, PREFILL_START]):
        slots.floats[slot, PREFILL_START] = floats[r, AT]
    slots.floats[slot, DEADLINE] = np.inf
    floats[r, PROMPT_MASS] += law.streams[slots.ints[slot, STREAM], OUTPUT_WEIGHT]
    whole, part = after(floats[r, PROMPT_WHOLE], floats[r, PROMPT_PART], slots.floats[slot, PREFILL])
    push_prompt(slots, replicas, r, whole, part, slot)


@inner
def has_room(slots, law, replicas, r, slot):  # type: ignore[no-untyped-def]
    """Whether a request may leave the line."""
    floats, ints = replicas.floats, replicas.ints
    weight = law.streams[slots.ints[slot, STREAM], OUTPUT_WEIGHT]
    if law.colocated:
        weight = floats[r, PROMPT_MASS] + weight
    free = not law.colocated or ints[r, PROMPTS] < ints[r, PROMPT_SLOTS]
    return free and crowd.has_room(law, floats, ints, r, weight, law.max_batch * floats[r, NODES])


@apart
def let_in(slots, law, replicas, tallies, r):  # type: ignore[no-untyped-def]
    """Let those who wait in as far as there is room."""
    lines, now = replicas.ints[r], replicas.floats[r, AT]
    while not is_empty(lines, LINES):
        slot = head(lines, LINES)
        if slots.floats[slot, DEADLINE] <= now:
            pop(slots, lines, LINES, slot)
            lost(slots, law, replicas, tallies, r, slot)
        elif has_room(slots, law, replicas, r, slot):
            pop(slots, lines, LINES, slot)
            if law.colocated:
                begin(slots, law, replicas, r, slot)
            else:
                admit(slots, law, replicas, r, slot)
        else:
            break


@apart
def lost(slots, law, replicas, tallies, r, slot):  # type: ignore[no-untyped-def]
    """Count out a request that gave up, at its deadline: the area since then was not its."""
    floats, ints, now = replicas.floats, replicas.ints, replicas.floats[r, AT]
    entered = slots.floats[slot, ENTERED]
    at = max(slots.floats[slot, DEADLINE], entered)
    if law.colocated:
        ints[r, PROMPTING] -= 1
        floats[r, PROMPT_AREA] -= now - at
        floats[r, PROMPT_TIME] += at - entered
    else:
        ints[r, INSIDE] -= 1
        floats[r, DECODE_AREA] -= now - at
        floats[r, DECODE_TIME] += at - entered
    lose(slots, law, tallies, slot)


@inner
def join(slots, law, replicas, tallies, r, slot, now):  # type: ignore[no-untyped-def]
    """Take a request in: with its prompt, or when its prompt is done."""
    floats, ints = replicas.floats, replicas.ints
    settle(law, replicas, r, now)
    lines, now = ints[r], floats[r, AT]
    slots.floats[slot, ENTERED] = now
    slots.ints[slot, REPLICA] = r
    if law.colocated:
        slots.ints[slot, STAGE] = PROMPT
        ints[r, PROMPTING] += 1
        append(slots, law, lines, LINES, slot)
        let_in(slots, law, replicas, tallies, r)
        retime(slots, law, replicas, r)
    else:
        slots.ints[slot, STAGE] = QUEUED
        ints[r, INSIDE] += 1
        if is_empty(lines, LINES) and has_room(slots, law, replicas, r, slot):
            admit(slots, law, replicas, r, slot)
            retime(slots, law, replicas, r)
        elif slots.floats[slot, DEADLINE] <= now:
            lost(slots, law, replicas, tallies, r, slot)
        else:
            append(slots, law, lines, LINES, slot)
            let_in(slots, law, replicas, tallies, r)
            retime(slots, law, replicas, r)


@apart
def end_prompt(slots, law, replicas, r):  # type: ignore[no-untyped-def]
    """The first of the prompts is done: its sequence decodes on the same replica."""
    floats, ints, now = replicas.floats, replicas.ints, replicas.floats[r, AT]
    slot = int(replicas.prompts[r, 0, 2])
    pop_prompt(slots, replicas, r)
    ints[r, PROMPTING] -= 1
    floats[r, PROMPT_TIME] += now - slots.floats[slot, ENTERED]
    slots.floats[slot, ENTERED] = now
    ints[r, INSIDE] += 1
    if np.isnan(slots.floats[slot, FIRST_TOKEN]):
        slots.floats[slot, FIRST_TOKEN] = now
        if ints[r, NUMBER] > 0:
            slots.floats[slot, WAIT] = floats[r, BASE_S] / 2
    floats[r, PROMPT_MASS] -= law.streams[slots.ints[slot, STREAM], OUTPUT_WEIGHT]
    decode(slots, law, replicas, r, slot)


@inner
def leave(slots, law, replicas, r, slot):  # type: ignore[no-untyped-def]
    """Count a sequence out of its replica."""
    floats, ints = replicas.floats, replicas.ints
    crowd.remove(slots, law, floats, ints, r, slot)
    ints[r, INSIDE] -= 1
    floats[r, DECODE_TIME] += floats[r, AT] - slots.floats[slot, ENTERED]


@inner
def rest_where_empty(law, replicas, r):  # type: ignore[no-untyped-def]
    """Clocks begin anew where nobody is left to keep time for."""
    floats, ints = replicas.floats, replicas.ints
    if law.colocated and ints[r, PROMPTS] == 0:
        floats[r, PROMPT_WHOLE] = 0
        floats[r, PROMPT_PART] = 0.0
        floats[r, PROMPT_MASS] = 0.0
    if ints[r, NUMBER] == 0:
        floats[r, TOKEN_WHOLE] = 0
        floats[r, TOKEN_PART] = 0.0


@inner
def ring(slots, law, replicas, tallies, r):  # type: ignore[no-untyped-def]
    """Whatever of a replica is due next: a prompt or a sequence ends, and others take its place.

    A clock whose end is due stands at that end exactly; the other one goes on by its speed.
    """
    floats, ints = replicas.floats, replicas.ints
    due = min(floats[r, PROMPT_DUE], floats[r, TOKEN_DUE])
    span = due - floats[r, AT]
    prompt_tokens, tokens, prompt_ends, ends = 0.0, 0.0, False, False
    prompt_whole, prompt_part = 0.0, 0.0
    if law.colocated:
        if floats[r, PROMPT_DUE] <= due:
            prompt_ends = True
            prompt_whole, prompt_part = replicas.prompts[r, 0, 0], replicas.prompts[r, 0, 1]
            prompt_tokens = (prompt_whole - floats[r, PROMPT_WHOLE]) + (prompt_part - floats[r, PROMPT_PART])
            floats[r, PROMPT_WHOLE], floats[r, PROMPT_PART] = prompt_whole, prompt_part
        else:
            prompt_tokens = prompt_tokens_in(replicas, r, span)
    whole, part = floats[r, TOKEN_WHOLE], floats[r, TOKEN_PART]
    if floats[r, TOKEN_DUE] <= due:
        ends = True
        first = ints[r, DUE]
        whole, part = slots.floats[first, WHOLE], slots.floats[first, PART]
        tokens = (whole - floats[r, TOKEN_WHOLE]) + (part - floats[r, TOKEN_PART])
        floats[r, TOKEN_WHOLE], floats[r, TOKEN_PART] = whole, part
    else:
        tokens = tokens_in(law, replicas, r, span)
    pass_time(law, replicas, r, due, prompt_tokens, tokens)
    while (
        prompt_ends
        and ints[r, PROMPTS] > 0
        and replicas.prompts[r, 0, 0] == prompt_whole
        and replicas.prompts[r, 0, 1] == prompt_part
    ):
        end_prompt(slots, law, replicas, r)
    while ends and ints[r, DUE] != NOBODY:
        slot = ints[r, DUE]
        if slots.floats[slot, WHOLE] != whole or slots.floats[slot, PART] != part:
            break
        ints[r, DUE], floats[r, BUCKET], ints[r, LATER] = take(
            slots, ints[r], HEADER, law.fineness, slot, int(floats[r, BUCKET]), ints[r, LATER]
        )
        leave(slots, law, replicas, r, slot)
        serve(slots, law, tallies, slot, floats[r, AT])
    rest_where_empty(law, replicas, r)
    if not is_empty(ints[r], LINES):
        let_in(slots, law, replicas, tallies, r)
    retime(slots, law, replicas, r)


# --- The heap of prompts ----------------------------------------------------------------------------------------------


@inner
def is_earlier(slots, one, other):  # type: ignore[no-untyped-def]
    """Whether an entry of the heap comes before another: by its end, then by its request."""
    if one[0] != other[0]:
        return one[0] < other[0]
    if one[1] != other[1]:
        return one[1] < other[1]
    return slots.floats[int(one[2]), REQUEST] < slots.floats[int(other[2]), REQUEST]


@inner
def swap(heap, one, other):  # type: ignore[no-untyped-def]
    """Let two entries change places."""
    for column in range(3):
        heap[one, column], heap[other, column] = heap[other, column], heap[one, column]


@apart
def push_prompt(slots, replicas, r, whole, part, slot):  # type: ignore[no-untyped-def]
    """Put a prompt on the heap."""
    heap, place = replicas.prompts[r], replicas.ints[r, PROMPTS]
    replicas.ints[r, PROMPTS] += 1
    heap[place, 0], heap[place, 1], heap[place, 2] = whole, part, slot
    while place > 0 and is_earlier(slots, heap[place], heap[(place - 1) >> 1]):
        swap(heap, place, (place - 1) >> 1)
        place = (place - 1) >> 1


@apart
def pop_prompt(slots, replicas, r):  # type: ignore[no-untyped-def]
    """Take the first prompt from the heap."""
    heap = replicas.prompts[r]
    replicas.ints[r, PROMPTS] -= 1
    n = replicas.ints[r, PROMPTS]
    swap(heap, 0, n)
    place, child = 0, 1
    while child < n:
        if child + 1 < n and is_earlier(slots, heap[child + 1], heap[child]):
            child += 1
        if not is_earlier(slots, heap[child], heap[place]):
            break
        swap(heap, place, child)
        place, child = child, 2 * child + 1


# --- The tournament ---------------------------------------------------------------------------------------------------


@inner
def enter_tournament(replicas, r, due):  # type: ignore[no-untyped-def]
    """Enter a replica with the time of its next event."""
    floats, tree = replicas.floats, replicas.tree
    floats[r, ARMED] = due
    node = ((len(tree) - TREE) // 2 + r) >> 1
    while node > 0:
        left, right = tree[TREE + 2 * node], tree[TREE + 2 * node + 1]
        tree[TREE + node] = left if floats[left, ARMED] <= floats[right, ARMED] else right
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
    tree, ints = replicas.tree, replicas.ints
    on = max(tree[ON], 1)
    r = 0
    if law.routing == 1:
        tree[TURN] = (tree[TURN] + 1) % on
        r = tree[TURN]
    elif law.routing == 2:
        one, two = uniform_pair(law.places_key[0], law.places_key[1], int(slots.floats[slot, REQUEST]))
        r, other = int(one * on), int(two * on)
        if ints[other, INSIDE] + ints[other, PROMPTING] < ints[r, INSIDE] + ints[r, PROMPTING]:
            r = other
    return r


# --- What the day calls -----------------------------------------------------------------------------------------------


@inner
def advance(slots, law, replicas, tallies, until, came, n):  # type: ignore[no-untyped-def]
    """Take requests in and let prompts and sequences end, until a time.

    Parameters
    ----------
    slots, law, replicas, tallies
        See `state`.
    until : float, s
        What happens at that time or later is left.
    came : ndarray, shape (m, 2)
        Times and slots of `n` requests that come before, in order.
    """
    floats, tree = replicas.floats, replicas.tree
    i = 0
    while True:
        r = tree[TREE + 1]
        armed = floats[r, ARMED]
        arrival = came[i, 0] if i < n else np.inf
        if armed <= arrival:
            if armed >= until:
                break
            if min(floats[r, PROMPT_DUE], floats[r, TOKEN_DUE]) <= armed:
                ring(slots, law, replicas, tallies, r)
            enter_tournament(replicas, r, min(floats[r, PROMPT_DUE], floats[r, TOKEN_DUE]))
        else:
            slot = int(came[i, 1])
            i += 1
            r = chosen(slots, law, replicas, slot)
            join(slots, law, replicas, tallies, r, slot, arrival)
            enter_if_earlier(replicas, r)


@apart
def switch(slots, law, replicas, tallies, r, now, nodes, row):  # type: ignore[no-untyped-def]
    """Serve on so many true nodes from now on, under the expected load of a row of the schedule."""
    floats, ints = replicas.floats, replicas.ints
    settle(law, replicas, r, now)
    floats[r, NODES] = nodes
    crowd.expect(law, floats, r, nodes, row[ROW_TOKENS_PER_S], row[ROW_CONTEXT_PER_S], row[ROW_STEP])
    floats[r, EXPECTED_PROMPTS] = row[ROW_PROMPTS_PER_S]
    ints[r, PROMPT_SLOTS] = int(row[ROW_PROMPT_SLOTS])
    let_in(slots, law, replicas, tallies, r)
    retime(slots, law, replicas, r)
    enter_tournament(replicas, r, min(floats[r, PROMPT_DUE], floats[r, TOKEN_DUE]))


@apart
def settle_all(law, replicas, now):  # type: ignore[no-untyped-def]
    """Carry all replicas on to now."""
    for r in range(len(replicas.floats)):
        settle(law, replicas, r, now)


@apart
def close(slots, law, replicas, tallies, now):  # type: ignore[no-untyped-def]
    """Lose those whose deadline is past, wherever they stand."""
    for r in range(len(replicas.floats)):
        settle(law, replicas, r, now)
        gone = clear(slots, replicas.ints[r], LINES, now)
        while gone != NOBODY:
            following = slots.ints[gone, AFTER]
            lost(slots, law, replicas, tallies, r, gone)
            gone = following


@apart
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
        r = slots.ints[slot, REPLICA]
        left = max(
            (slots.floats[slot, WHOLE] - floats[r, TOKEN_WHOLE]) + (slots.floats[slot, PART] - floats[r, TOKEN_PART]),
            0.0,
        )
        weight = law.streams[slots.ints[slot, STREAM], INPUT_WEIGHT]
        slots.floats[slot, PREFILL] += (slots.floats[slot, LEFT] - left) * weight
        slots.floats[slot, LEFT] = left
        leave(slots, law, replicas, r, slot)
        slots.ints[slot, STAGE] = PROMPT
    for r in range(len(floats)):
        take_out(slots, law, replicas, r, again)
        rest_where_empty(law, replicas, r)
        let_in(slots, law, replicas, tallies, r)
        retime(slots, law, replicas, r)
        enter_tournament(replicas, r, min(floats[r, PROMPT_DUE], floats[r, TOKEN_DUE]))


@apart
def take_out(slots, law, replicas, r, again):  # type: ignore[no-untyped-def]
    """Empty the wheel of a replica and put back those who stay."""
    floats, ints = replicas.floats, replicas.ints
    wheel, stay = ints[r], NOBODY
    for place in range(HEADER - 1, len(wheel)):
        slot = ints[r, DUE] if place < HEADER else wheel[place]
        if place >= HEADER:
            wheel[place] = NOBODY
        while slot != NOBODY:
            following = slots.ints[slot, AFTER]
            if not again[slot]:
                slots.ints[slot, AFTER] = stay
                stay = slot
            slot = following
    due, bucket, later = NOBODY, 0, 0
    while stay != NOBODY:
        following = slots.ints[stay, AFTER]
        due, bucket, later = put(slots, wheel, HEADER, law.fineness, due, bucket, later, stay)
        stay = following
    ints[r, DUE], floats[r, BUCKET], ints[r, LATER] = due, bucket, later
