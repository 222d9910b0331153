"""The plain way, that of nearly all requests: true nodes that only decode, and nobody waits.

What `replicas` does for replicas of all kinds is done here in a single loop, in which what an event reads of a replica
is read once.  Whoever finds no room ends the loop, and the general way goes on.
"""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled.counting import serve, stage, stream_of
from jevons.serving.compiled.jit import apart, inner, prefetch
from jevons.serving.compiled.line import is_empty
from jevons.serving.compiled.state import (
    AT,
    BASE_S,
    BUCKET,
    BUSY_S,
    CONTEXT_SUM,
    DEADLINE,
    DECODE_AREA,
    DECODE_TIME,
    DECODING,
    DUE,
    ENTERED,
    FELT_CONTEXT,
    FELT_MASS,
    FELT_NUMBER,
    FINENESS,
    FIRST_TOKEN,
    INPUT,
    INSIDE,
    LATER,
    LEFT,
    LINE,
    LINES,
    LINK,
    MASS,
    MAX_BATCH,
    MOST,
    NOBODY,
    NODES,
    NUMBER,
    OUTPUT,
    OUTPUT_WEIGHT,
    PART,
    PER_KV_TOKEN_S,
    PER_SEQUENCE_S,
    POWER_OF_TWO,
    PREFILL,
    PREFILLED,
    REPLICA,
    ROUTING,
    SERVED,
    SERVED_CONTEXT,
    SLOT,
    STEP_S,
    STREAM_ROW,
    STREAMS,
    TOKEN_DUE,
    TOKEN_PART,
    TOKEN_WHOLE,
    TURN,
    WHEEL_BUCKETS,
    WHOLE,
)
from jevons.serving.compiled.tournament import chosen, enter_tournament, entered_with, row_of, two_of, winner
from jevons.serving.compiled.wheel import AHEAD_OF_MANY, bucket_of, put, take
from jevons.serving.crowd import ROUNDING

#: Requests between one that comes and the one whose bucket is asked for.
SOON = 4


@apart
def advance(slots, links, state, counts, until, queue, which, i, n):
    """Take requests in and let sequences end where nobody waits, until a time.

    Parameters
    ----------
    i, n : int
        The next request of the queue, and their number; else as in `replicas.advance`.

    Returns
    -------
    int
        The next request of the queue.  What is next may be left to the general way: a request for whom there is no
        room, or whoever leaves a replica where others wait.
    """
    size, fineness = int(counts[WHEEL_BUCKETS]), int(counts[FINENESS])
    base_s, per_sequence_s, per_kv_token_s = state[BASE_S], state[PER_SEQUENCE_S], state[PER_KV_TOKEN_S]
    max_batch = state[MAX_BATCH]
    while True:
        number, armed = winner(state, counts)
        arrival = queue[which, i, 0] if i < n else np.inf
        if armed >= until and arrival >= until:
            break
        joins = arrival < armed
        if joins:
            number = chosen(counts, queue, which, i)
        r, q = row_of(counts, number)
        if not joins and state[r + TOKEN_DUE] > armed:
            enter_tournament(state, counts, number, state[r + TOKEN_DUE])
            continue
        if not is_empty(counts, q + LINE):
            break
        first, nodes, others, inside = q + LINE + LINES, state[r + NODES], counts[q + NUMBER], counts[q + INSIDE]
        mass, context, step = state[r + MASS], state[r + CONTEXT_SUM], state[r + STEP_S]
        whole, part = state[r + TOKEN_WHOLE], state[r + TOKEN_PART]
        due, bucket, later = int(counts[q + DUE]), int(state[r + BUCKET]), int(counts[q + LATER])
        if joins:
            slot = int(queue[which, i, 1])
            own = (slot & MOST) * SLOT
            weight = state[STREAMS + stream_of(links, slot) * STREAM_ROW + OUTPUT_WEIGHT]
            if mass + weight > max_batch * nodes * ROUNDING and (others > 0 or max_batch * nodes <= 0):
                break
            now = arrival
        else:
            now = state[r + TOKEN_DUE]
        at = state[r + AT]
        span = now - at
        tokens = 0.0
        if not joins:
            own = (due & MOST) * SLOT
            end_whole, end_part = slots[own + WHOLE], slots[own + PART]
            tokens = (end_whole - whole) + (end_part - part)
            whole, part = end_whole, end_part
        elif span > 0:
            tokens = span / step if others > 0 else 0.0
            ahead = part + tokens
            carry = np.floor(ahead)
            whole, part = whole + carry, ahead - carry
        if span > 0 or not joins:
            at = now
            state[r + AT] = at
            state[r + DECODE_AREA] += inside * span
            state[r + BUSY_S] += min(float(others), nodes) * span
            state[r + SERVED] += mass * tokens
            state[r + SERVED_CONTEXT] += context * tokens
        if joins:
            ask_ahead(slots, state, counts, queue, which, i, n)
            counts[TURN] = number
            i += 1
            links[(slot & MOST) * LINK + REPLICA] = number
            slots[own + ENTERED] = at
            if np.isnan(slots[own + FIRST_TOKEN]):
                slots[own + FIRST_TOKEN] = at
            else:
                state[r + DECODE_TIME] += slots[own + FIRST_TOKEN] - at
            slots[own + DEADLINE] = np.inf
            state[r + PREFILLED] += slots[own + PREFILL]
            others += 1
            inside += 1
            mass += weight
            context += (slots[own + INPUT] + slots[own + OUTPUT] / 2) * weight
            stage(links, slot, DECODING)
            left = slots[own + LEFT]
            left_whole = np.floor(left)
            ahead = part + (left - left_whole)
            carry = np.floor(ahead)
            slots[own + WHOLE], slots[own + PART] = whole + left_whole + carry, ahead - carry
            due, bucket, later = put(slots, links, counts, first, size, fineness, due, bucket, later, slot)
        else:
            while due != NOBODY:
                slot, own = due, (due & MOST) * SLOT
                if slots[own + WHOLE] != whole or slots[own + PART] != part:
                    break
                due, bucket, later = take(
                    slots, links, counts, first, size, fineness, due, bucket, later, AHEAD_OF_MANY
                )
                weight = state[STREAMS + stream_of(links, slot) * STREAM_ROW + OUTPUT_WEIGHT]
                others -= 1
                inside -= 1
                mass -= weight
                context -= (slots[own + INPUT] + slots[own + OUTPUT] / 2) * weight
                state[r + DECODE_TIME] += at - slots[own + FIRST_TOKEN]
                serve(slots, links, state, counts, slot, at)
            if others == 0:
                mass, context, whole, part = 0.0, 0.0, 0.0, 0.0
        token_due = np.inf
        if due != NOBODY:
            step = np.inf
            # A replica has a node or none.
            if nodes > 0:
                step = base_s + (per_sequence_s * mass + per_kv_token_s * context)
                left = (slots[(due & MOST) * SLOT + WHOLE] - whole) + (slots[(due & MOST) * SLOT + PART] - part)
                token_due = at + left * step
        counts[q + NUMBER], counts[q + INSIDE] = others, inside
        counts[q + DUE], state[r + BUCKET], counts[q + LATER] = due, bucket, later
        state[r + TOKEN_WHOLE], state[r + TOKEN_PART], state[r + STEP_S], state[r + TOKEN_DUE] = (
            whole,
            part,
            step,
            token_due,
        )
        state[r + MASS], state[r + CONTEXT_SUM] = mass, context
        state[r + FELT_NUMBER], state[r + FELT_MASS], state[r + FELT_CONTEXT] = others, mass, context
        if not joins or token_due < entered_with(state, counts, number):
            enter_tournament(state, counts, number, token_due)
    return i


@inner
def ask_ahead(slots, state, counts, queue, which, i, n):
    """Ask for what a request that comes soon will touch: its row, and its bucket on the replicas it may be sent to."""
    after_next = min(i + 2 * SOON, n - 1) & MOST
    row = (int(queue[which, after_next, 1]) & MOST) * SLOT
    prefetch(slots, row)
    prefetch(slots, row + LEFT)
    following = min(i + SOON, n - 1) & MOST
    left = slots[(int(queue[which, following, 1]) & MOST) * SLOT + LEFT]
    one, other = 0, 0
    if counts[ROUTING] == POWER_OF_TWO:
        one, other = two_of(counts, queue, which, following)
        ask_bucket(state, counts, other, left)
    ask_bucket(state, counts, one, left)


@inner
def ask_bucket(state, counts, number, left):
    """Ask for the bucket of a sequence of so many tokens on a replica."""
    r, q = row_of(counts, number)
    bucket = bucket_of(state[r + TOKEN_WHOLE] + left, state[r + TOKEN_PART], counts[FINENESS])
    prefetch(counts, q + LINE + LINES + (bucket & (counts[WHEEL_BUCKETS] - 1)))
