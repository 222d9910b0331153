"""Batched decoding in virtual time, on one pool or on replicas: `Decode` and `Replicas` of the reference, on arrays.

Each replica has a clock of tokens, a wheel of the sequences by the token at which they leave and, in the co-located
layout, a second clock with a heap of prompts.  A tournament finds the replica whose next event comes first.

A replica is named by the place of its row in `state` (`r`) and in `counts` (`q`).
"""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled import crowd, fast_pool, fast_replicas
from jevons.serving.compiled.counting import lose, serve, stage, stream_of
from jevons.serving.compiled.jit import apart, inner
from jevons.serving.compiled.line import append, clear, head, is_empty, pop
from jevons.serving.compiled.prompts import heap_of, pop_prompt, push_prompt
from jevons.serving.compiled.state import (
    AFTER,
    AT,
    BUCKET,
    BUSY_S,
    CHUNK,
    COLOCATED,
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
    IN_WORK,
    INPUT,
    INPUT_WEIGHT,
    INSIDE,
    LATER,
    LEFT,
    LINE,
    LINES,
    LINK,
    MAX_BATCH,
    MOST,
    N_REPLICAS,
    NOBODY,
    NODES,
    NUMBER,
    OUTPUT,
    OUTPUT_WEIGHT,
    PART,
    PER_PREFILL_TOKEN_S,
    PLAIN_STEP_S,
    POOLED,
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
    QUEUED,
    REPLICA,
    ROUTING,
    ROW_CONTEXT_PER_S,
    ROW_PROMPT_SLOTS,
    ROW_PROMPTS_PER_S,
    ROW_STEP,
    ROW_TOKENS_PER_S,
    SHARE,
    SLOT,
    STEP_S,
    STREAM_ROW,
    STREAMS,
    TOKEN_DUE,
    TOKEN_PART,
    TOKEN_SPEED,
    TOKEN_WHOLE,
    TURN,
    WAIT,
    WHEEL_BUCKETS,
    WHOLE,
)
from jevons.serving.compiled.tournament import chosen, draw_choices, enter_tournament, entered_with, row_of, winner
from jevons.serving.compiled.wheel import AHEAD_OF_MANY, put, take


@inner
def weight_of(links, state, slot, column):
    """A weight of a request's stream."""
    return state[STREAMS + stream_of(links, slot) * STREAM_ROW + column]


@inner
def load_of(slots, links, state, slot):
    """The slots of a sequence, and its mean context, weighted with them."""
    own, weight = (slot & MOST) * SLOT, weight_of(links, state, slot, OUTPUT_WEIGHT)
    return weight, (slots[own + INPUT] + slots[own + OUTPUT] / 2) * weight


# --- Time -------------------------------------------------------------------------------------------------------------


@inner
def advanced(whole, part, tokens):
    """A clock after so many tokens more: `VirtualClock.advance`."""
    part = part + tokens
    carry = np.floor(part)
    return whole + carry, part - carry


@inner
def after(whole, part, tokens):
    """The time so many tokens from a time: `VirtualClock.after`."""
    tokens_whole = np.floor(tokens)
    part = part + (tokens - tokens_whole)
    carry = np.floor(part)
    return whole + tokens_whole + carry, part - carry


@inner
def pass_time(state, counts, r, q, now, prompt_tokens, tokens):
    """Carry the areas on to now, in which time prompts and sequences have got so many tokens each."""
    span = now - state[r + AT]
    state[r + DECODE_AREA] += counts[q + INSIDE] * span
    busy = state[r + FELT_NUMBER]
    if counts[COLOCATED] != 0:
        prompts = counts[q + IN_WORK]
        state[r + PROMPT_AREA] += counts[q + PROMPTING] * span
        state[r + PREFILLED] += prompt_tokens * prompts / state[SHARE]
        busy += prompts / state[SHARE]
    state[r + BUSY_S] += min(busy, state[r + NODES]) * span
    crowd.pass_time(state, counts, r, q, span, tokens)
    state[r + AT] = now


@inner
def prompt_tokens_in(state, counts, r, q, span):
    """Let the clock of prompts run, and say how far."""
    tokens = span * state[r + PROMPT_SPEED] if counts[q + IN_WORK] > 0 else 0.0
    state[r + PROMPT_WHOLE], state[r + PROMPT_PART] = advanced(state[r + PROMPT_WHOLE], state[r + PROMPT_PART], tokens)
    return tokens


@inner
def tokens_in(state, counts, r, q, span):
    """Let the clock of tokens run, and say how far."""
    tokens = 0.0
    if counts[q + NUMBER] > 0:
        tokens = span * state[r + TOKEN_SPEED] if counts[COLOCATED] != 0 else span / state[r + STEP_S]
    state[r + TOKEN_WHOLE], state[r + TOKEN_PART] = advanced(state[r + TOKEN_WHOLE], state[r + TOKEN_PART], tokens)
    return tokens


@inner
def settle(state, counts, r, q, now):
    """Carry clocks and areas on to now."""
    span = now - state[r + AT]
    if span > 0:
        prompt_tokens = prompt_tokens_in(state, counts, r, q, span) if counts[COLOCATED] != 0 else 0.0
        pass_time(state, counts, r, q, now, prompt_tokens, tokens_in(state, counts, r, q, span))


@inner
def tokens_left(slots, state, r, slot):
    """Tokens from now to the end of a sequence."""
    return (slots[(slot & MOST) * SLOT + WHOLE] - state[r + TOKEN_WHOLE]) + (
        slots[(slot & MOST) * SLOT + PART] - state[r + TOKEN_PART]
    )


@inner
def retime(slots, state, counts, r, q):
    """Set the speeds to the batch, and from them when the next prompt and the next sequence end."""
    nodes, due = state[r + NODES], int(counts[q + DUE])
    if counts[COLOCATED] != 0:
        retime_both(slots, state, counts, r, q)
        return
    state[r + TOKEN_DUE] = np.inf
    if due != NOBODY:
        if nodes > 0:
            step = crowd.step_s(state, r, nodes)
            state[r + STEP_S] = step
            state[r + TOKEN_DUE] = state[r + AT] + tokens_left(slots, state, r, due) * step
        else:
            state[r + STEP_S] = np.inf


@apart
def retime_both(slots, state, counts, r, q):
    """The same where prompts and sequences are on the same nodes."""
    nodes, due, prompts = state[r + NODES], int(counts[q + DUE]), counts[q + IN_WORK]
    state[r + PROMPT_DUE], state[r + TOKEN_DUE] = np.inf, np.inf
    if prompts == 0 and due == NOBODY:
        return
    if nodes <= 0:
        state[r + PROMPT_SPEED], state[r + TOKEN_SPEED] = 0.0, 0.0
        return
    set_speeds(state, counts, r, q)
    if prompts > 0:
        heap = heap_of(counts, q)
        left = (state[heap] - state[r + PROMPT_WHOLE]) + (state[heap + 1] - state[r + PROMPT_PART])
        state[r + PROMPT_DUE] = state[r + AT] + left / state[r + PROMPT_SPEED]
    if due != NOBODY:
        state[r + TOKEN_DUE] = state[r + AT] + tokens_left(slots, state, r, due) / state[r + TOKEN_SPEED]


@inner
def set_speeds(state, counts, r, q):
    """Speeds of prompts and of sequences where both are on the same nodes."""
    nodes, chunk = state[r + NODES], state[CHUNK]
    plain = crowd.step_s(state, r, nodes)
    state[r + PLAIN_STEP_S] = plain
    long_s = plain + state[PER_PREFILL_TOKEN_S] * chunk
    speed = chunk / long_s if long_s != 0 else np.inf
    if state[SHARE] < 1:
        in_prefill = state[r + EXPECTED_PROMPTS] * long_s / chunk
    else:
        in_prefill = counts[q + IN_WORK] / nodes
        # A part of a node gets on with a prompt in a part of its time.
        speed /= max(1.0, in_prefill)
    state[r + PROMPT_SPEED] = speed
    in_prefill = min(1.0, in_prefill)
    if counts[q + NUMBER] > 0:
        state[r + TOKEN_SPEED] = (1 - in_prefill) / plain + in_prefill / long_s


# --- Requests ---------------------------------------------------------------------------------------------------------


@inner
def decode(slots, links, state, counts, r, q, slot):
    """Let a sequence into the batch."""
    own = (slot & MOST) * SLOT
    crowd.add(state, counts, r, q, *load_of(slots, links, state, slot))
    stage(links, slot, DECODING)
    slots[own + WHOLE], slots[own + PART] = after(state[r + TOKEN_WHOLE], state[r + TOKEN_PART], slots[own + LEFT])
    counts[q + DUE], state[r + BUCKET], counts[q + LATER] = put(
        slots, links, counts, q + LINE + LINES, counts[WHEEL_BUCKETS], counts[FINENESS],
        int(counts[q + DUE]), int(state[r + BUCKET]), int(counts[q + LATER]), slot,
    )  # fmt: skip


@inner
def admit(slots, links, state, counts, r, q, slot):
    """Let a request whose prompt is done decode."""
    own = (slot & MOST) * SLOT
    if np.isnan(slots[own + FIRST_TOKEN]):
        slots[own + FIRST_TOKEN] = state[r + AT]
    # From here on its time in decode is counted from its first token.
    state[r + DECODE_TIME] += slots[own + FIRST_TOKEN] - slots[own + ENTERED]
    # The first token has been streamed; whoever restarts may run out of no more patience.
    slots[own + DEADLINE] = np.inf
    state[r + PREFILLED] += slots[own + PREFILL] / state[SHARE]
    decode(slots, links, state, counts, r, q, slot)


@inner
def begin(slots, links, state, counts, r, q, slot):
    """Begin a prompt on a replica; a slot of the batch is its own from here on."""
    own = (slot & MOST) * SLOT
    if np.isnan(slots[own + PREFILL_START]):
        slots[own + PREFILL_START] = state[r + AT]
    slots[own + DEADLINE] = np.inf
    state[r + PROMPT_MASS] += weight_of(links, state, slot, OUTPUT_WEIGHT)
    whole, part = after(state[r + PROMPT_WHOLE], state[r + PROMPT_PART], slots[own + PREFILL])
    push_prompt(slots, state, counts, q, whole, part, slot)


@inner
def has_room(links, state, counts, r, q, slot):
    """Whether a request may leave the line."""
    weight = weight_of(links, state, slot, OUTPUT_WEIGHT)
    if counts[COLOCATED] != 0:
        if counts[q + IN_WORK] >= counts[q + PROMPT_SLOTS]:
            return False
        weight = state[r + PROMPT_MASS] + weight
    return crowd.has_room(state, counts, r, q, weight, state[MAX_BATCH] * state[r + NODES])


@apart
def let_in(slots, links, state, counts, r, q):
    """Let those who wait in as far as there is room."""
    line, now = q + LINE, state[r + AT]
    while not is_empty(counts, line):
        slot = head(counts, line)
        if slots[(slot & MOST) * SLOT + DEADLINE] <= now:
            pop(links, counts, line, slot)
            lost(slots, links, state, counts, r, q, slot)
        elif has_room(links, state, counts, r, q, slot):
            pop(links, counts, line, slot)
            if counts[COLOCATED] != 0:
                begin(slots, links, state, counts, r, q, slot)
            else:
                admit(slots, links, state, counts, r, q, slot)
        else:
            break


@apart
def lost(slots, links, state, counts, r, q, slot):
    """Count out a request that gave up, at its deadline: the area since then was not its."""
    now, entered = state[r + AT], slots[(slot & MOST) * SLOT + ENTERED]
    at = max(slots[(slot & MOST) * SLOT + DEADLINE], entered)
    if counts[COLOCATED] != 0:
        counts[q + PROMPTING] -= 1
        state[r + PROMPT_AREA] -= now - at
        state[r + PROMPT_TIME] += at - entered
    else:
        counts[q + INSIDE] -= 1
        state[r + DECODE_AREA] -= now - at
        state[r + DECODE_TIME] += at - entered
    lose(slots, links, state, counts, slot)


@inner
def join(slots, links, state, counts, r, q, slot, now):
    """Take a request in: with its prompt, or when its prompt is done."""
    settle(state, counts, r, q, now)
    own, line, now = (slot & MOST) * SLOT, q + LINE, state[r + AT]
    slots[own + ENTERED] = now
    if counts[COLOCATED] != 0:
        stage(links, slot, PROMPT)
        counts[q + PROMPTING] += 1
        append(links, state, counts, line, slot)
        let_in(slots, links, state, counts, r, q)
        retime(slots, state, counts, r, q)
        return
    stage(links, slot, QUEUED)
    counts[q + INSIDE] += 1
    if is_empty(counts, line) and has_room(links, state, counts, r, q, slot):
        admit(slots, links, state, counts, r, q, slot)
    elif slots[own + DEADLINE] <= now:
        lost(slots, links, state, counts, r, q, slot)
        return
    else:
        append(links, state, counts, line, slot)
        let_in(slots, links, state, counts, r, q)
    retime(slots, state, counts, r, q)


@apart
def end_prompt(slots, links, state, counts, r, q):
    """The first of the prompts is done: its sequence decodes on the same replica."""
    now, slot = state[r + AT], int(state[heap_of(counts, q) + 2])
    own = (slot & MOST) * SLOT
    pop_prompt(slots, state, counts, q)
    counts[q + PROMPTING] -= 1
    state[r + PROMPT_TIME] += now - slots[own + ENTERED]
    slots[own + ENTERED] = now
    counts[q + INSIDE] += 1
    if np.isnan(slots[own + FIRST_TOKEN]):
        slots[own + FIRST_TOKEN] = now
        if counts[q + NUMBER] > 0:
            slots[own + WAIT] = state[r + PLAIN_STEP_S] / 2
    state[r + DECODE_TIME] += slots[own + FIRST_TOKEN] - now
    state[r + PROMPT_MASS] -= weight_of(links, state, slot, OUTPUT_WEIGHT)
    decode(slots, links, state, counts, r, q, slot)


@inner
def leave(slots, links, state, counts, r, q, slot):
    """Count a sequence out of its replica."""
    own = (slot & MOST) * SLOT
    crowd.remove(state, counts, r, q, *load_of(slots, links, state, slot))
    counts[q + INSIDE] -= 1
    state[r + DECODE_TIME] += state[r + AT] - slots[own + FIRST_TOKEN]


@inner
def rest_where_empty(state, counts, r, q):
    """Clocks begin anew where nobody is left to keep time for."""
    if counts[COLOCATED] != 0 and counts[q + IN_WORK] == 0:
        state[r + PROMPT_WHOLE], state[r + PROMPT_PART], state[r + PROMPT_MASS] = 0.0, 0.0, 0.0
    if counts[q + NUMBER] == 0:
        state[r + TOKEN_WHOLE], state[r + TOKEN_PART] = 0.0, 0.0


@inner
def ring(slots, links, state, counts, r, q):
    """Whatever of a replica is due next: a prompt or a sequence ends, and others take its place.

    A clock whose end is due stands at that end exactly; the other one goes on by its speed.
    """
    due = min(state[r + PROMPT_DUE], state[r + TOKEN_DUE])
    span = due - state[r + AT]
    prompt_tokens, prompt_whole, prompt_part = 0.0, -1.0, 0.0
    if counts[COLOCATED] != 0:
        if state[r + PROMPT_DUE] <= due:
            heap = heap_of(counts, q)
            prompt_whole, prompt_part = state[heap], state[heap + 1]
            prompt_tokens = (prompt_whole - state[r + PROMPT_WHOLE]) + (prompt_part - state[r + PROMPT_PART])
            state[r + PROMPT_WHOLE], state[r + PROMPT_PART] = prompt_whole, prompt_part
        else:
            prompt_tokens = prompt_tokens_in(state, counts, r, q, span)
    whole, part = -1.0, 0.0
    if state[r + TOKEN_DUE] <= due:
        first = int(counts[q + DUE])
        tokens = tokens_left(slots, state, r, first)
        whole, part = slots[(first & MOST) * SLOT + WHOLE], slots[(first & MOST) * SLOT + PART]
        state[r + TOKEN_WHOLE], state[r + TOKEN_PART] = whole, part
    else:
        tokens = tokens_in(state, counts, r, q, span)
    pass_time(state, counts, r, q, due, prompt_tokens, tokens)
    if prompt_whole >= 0:
        end_prompts(slots, links, state, counts, r, q, prompt_whole, prompt_part)
    while counts[q + DUE] != NOBODY:
        slot = int(counts[q + DUE])
        if slots[(slot & MOST) * SLOT + WHOLE] != whole or slots[(slot & MOST) * SLOT + PART] != part:
            break
        counts[q + DUE], state[r + BUCKET], counts[q + LATER] = take(
            slots, links, counts, q + LINE + LINES, counts[WHEEL_BUCKETS], counts[FINENESS],
            slot, int(state[r + BUCKET]), int(counts[q + LATER]), AHEAD_OF_MANY,
        )  # fmt: skip
        leave(slots, links, state, counts, r, q, slot)
        serve(slots, links, state, counts, slot, state[r + AT])
    rest_where_empty(state, counts, r, q)
    if not is_empty(counts, q + LINE):
        let_in(slots, links, state, counts, r, q)
    retime(slots, state, counts, r, q)


@apart
def end_prompts(slots, links, state, counts, r, q, whole, part):
    """All prompts of a replica that end at a time."""
    heap = heap_of(counts, q)
    while counts[q + IN_WORK] > 0 and state[heap] == whole and state[heap + 1] == part:
        end_prompt(slots, links, state, counts, r, q)


@inner
def next_due(state, r):
    """When something of a replica is due next."""
    return min(state[r + PROMPT_DUE], state[r + TOKEN_DUE])


# --- What the day calls -----------------------------------------------------------------------------------------------


@inner
def advance(slots, links, state, counts, until, queue, which, n):
    """Take requests in and let prompts and sequences end, until a time.

    Parameters
    ----------
    slots, links, state, counts
        See `state`.
    until : float, s
        What happens at that time or later is left.
    queue : ndarray, shape (2, m, 2)
        At place `which` times and slots of `n` requests that come before, in order.
    """
    i = 0
    is_plain = counts[COLOCATED] == 0 and state[SHARE] == 1
    draw_choices(slots, state, counts, queue, which, n)
    while True:
        if is_plain and counts[ROUTING] == POOLED:
            r, q = row_of(counts, 0)
            if is_empty(counts, q + LINE):
                i = fast_pool.advance(slots, links, state, counts, r, q, until, queue, which, i, n)
        elif is_plain:
            i = fast_replicas.advance(slots, links, state, counts, until, queue, which, i, n)
        number, armed = winner(state, counts)
        arrival = queue[which, i, 0] if i < n else np.inf
        if armed <= arrival:
            if armed >= until:
                break
            r, q = row_of(counts, number)
            if next_due(state, r) <= armed:
                ring(slots, links, state, counts, r, q)
        else:
            slot = int(queue[which, i, 1])
            number = chosen(counts, queue, which, i)
            counts[TURN] = number
            i += 1
            links[(slot & MOST) * LINK + REPLICA] = number
            r, q = row_of(counts, number)
            join(slots, links, state, counts, r, q, slot, arrival)
            if next_due(state, r) >= entered_with(state, counts, number):
                continue
        enter_tournament(state, counts, number, next_due(state, r))


@apart
def switch(slots, links, state, counts, number, now, nodes, row):
    """Serve on so many true nodes from now on, under the expected load of a row of the schedule."""
    r, q = row_of(counts, number)
    settle(state, counts, r, q, now)
    state[r + NODES] = nodes
    crowd.expect(state, r, nodes, row[ROW_TOKENS_PER_S], row[ROW_CONTEXT_PER_S], row[ROW_STEP])
    state[r + EXPECTED_PROMPTS] = row[ROW_PROMPTS_PER_S]
    counts[q + PROMPT_SLOTS] = int(row[ROW_PROMPT_SLOTS])
    let_in(slots, links, state, counts, r, q)
    retime(slots, state, counts, r, q)
    enter_tournament(state, counts, number, next_due(state, r))


@apart
def settle_all(state, counts, now):
    """Carry all replicas on to now."""
    for number in range(counts[N_REPLICAS]):
        r, q = row_of(counts, number)
        settle(state, counts, r, q, now)


@apart
def close(slots, links, state, counts, now):
    """Lose those whose deadline is past, wherever they stand."""
    settle_all(state, counts, now)
    for number in range(counts[N_REPLICAS]):
        r, q = row_of(counts, number)
        gone = clear(slots, links, counts, q + LINE, now)
        while gone != NOBODY:
            following = int(links[(gone & MOST) * LINK + AFTER])
            lost(slots, links, state, counts, r, q, gone)
            gone = following


@apart
def interrupt(slots, links, state, counts, now, hit, again):
    """Take sequences out whose node failed: what they have generated must be prefilled with the prompt again.

    Parameters
    ----------
    hit : ndarray of slots
        In the order of their requests.
    again : ndarray of bool, shape (m,)
        True for those slots.
    """
    settle_all(state, counts, now)
    for slot in hit:
        r, q = row_of(counts, links[(slot & MOST) * LINK + REPLICA])
        left = max(tokens_left(slots, state, r, slot), 0.0)
        slots[(slot & MOST) * SLOT + PREFILL] += (slots[(slot & MOST) * SLOT + LEFT] - left) * weight_of(
            links, state, slot, INPUT_WEIGHT
        )
        slots[(slot & MOST) * SLOT + LEFT] = left
        leave(slots, links, state, counts, r, q, slot)
        stage(links, slot, PROMPT)
    for number in range(counts[N_REPLICAS]):
        r, q = row_of(counts, number)
        take_out(slots, links, state, counts, r, q, again)
        rest_where_empty(state, counts, r, q)
        let_in(slots, links, state, counts, r, q)
        retime(slots, state, counts, r, q)
        enter_tournament(state, counts, number, next_due(state, r))


@inner
def take_out(slots, links, state, counts, r, q, again):
    """Empty the wheel of a replica and put back those who stay."""
    first, size, stay = q + LINE + LINES, counts[WHEEL_BUCKETS], NOBODY
    for place in range(first - 1, first + size):
        slot = int(counts[q + DUE]) if place < first else int(counts[place])
        if place >= first:
            counts[place] = NOBODY
        while slot != NOBODY:
            following = int(links[(slot & MOST) * LINK + AFTER])
            if not again[slot]:
                links[(slot & MOST) * LINK + AFTER] = stay
                stay = slot
            slot = following
    due, bucket, later = NOBODY, 0, 0
    while stay != NOBODY:
        following = int(links[(stay & MOST) * LINK + AFTER])
        due, bucket, later = put(slots, links, counts, first, size, counts[FINENESS], due, bucket, later, stay)
        stay = following
    counts[q + DUE], state[r + BUCKET], counts[q + LATER] = due, bucket, later
