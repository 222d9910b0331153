"""The way of nearly all requests: one pool of whole size that decodes, and nobody waits.

What `replicas` does for any replica is done here for one, in a single loop whose clock, sums and wheel stand in local
variables, that is in registers.  Whoever finds no room ends the loop, and the general way goes on.
"""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled.counting import serve, stage, stream_of
from jevons.serving.compiled.jit import apart, prefetch
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
    PREFILL,
    PREFILLED,
    SERVED,
    SERVED_CONTEXT,
    SLOT,
    STEP_S,
    STREAM_ROW,
    STREAMS,
    TOKEN_DUE,
    TOKEN_PART,
    TOKEN_WHOLE,
    WHEEL_BUCKETS,
    WHOLE,
)
from jevons.serving.compiled.tournament import enter_tournament
from jevons.serving.compiled.wheel import AHEAD, bucket_of, put, take
from jevons.serving.crowd import ROUNDING

#: Requests between one that comes and the one whose bucket is asked for.
SOON = 4


@apart
def advance(slots, links, state, counts, r, q, until, queue, which, i, n):
    """Take requests in and let sequences end while nobody waits, until a time.

    Parameters
    ----------
    r, q : int
        Where the rows of the pool begin.
    i, n : int
        The next request of the queue, and their number; else as in `replicas.advance`.

    Returns
    -------
    int
        The next request of the queue: one for whom there is no room, or `n`.
    """
    at, whole, part = state[r + AT], state[r + TOKEN_WHOLE], state[r + TOKEN_PART]
    step, token_due, nodes = state[r + STEP_S], state[r + TOKEN_DUE], state[r + NODES]
    mass, context = state[r + MASS], state[r + CONTEXT_SUM]
    area, time, busy_s = state[r + DECODE_AREA], state[r + DECODE_TIME], state[r + BUSY_S]
    served, served_context, prefilled = state[r + SERVED], state[r + SERVED_CONTEXT], state[r + PREFILLED]
    number, inside = counts[q + NUMBER], counts[q + INSIDE]
    due, bucket, later = int(counts[q + DUE]), int(state[r + BUCKET]), int(counts[q + LATER])
    first, size, fineness = q + LINE + LINES, int(counts[WHEEL_BUCKETS]), int(counts[FINENESS])
    base_s, per_sequence_s, per_kv_token_s = state[BASE_S], state[PER_SEQUENCE_S], state[PER_KV_TOKEN_S]
    room = state[MAX_BATCH] * nodes
    per_sequence_s, per_kv_token_s = per_sequence_s / nodes, per_kv_token_s / nodes
    coming = queue[which].reshape(-1)
    arrival = coming[2 * i & MOST] if i < n else np.inf
    while True:
        if token_due <= arrival:
            if token_due >= until:
                break
            own = (due & MOST) * SLOT
            end_whole, end_part = slots[own + WHOLE], slots[own + PART]
            tokens = (end_whole - whole) + (end_part - part)
            span, at, whole, part = token_due - at, token_due, end_whole, end_part
            area += inside * span
            busy_s += min(float(number), nodes) * span
            served += mass * tokens
            served_context += context * tokens
            while due != NOBODY:
                slot, own = due, (due & MOST) * SLOT
                if slots[own + WHOLE] != whole or slots[own + PART] != part:
                    break
                due, bucket, later = take(slots, links, counts, first, size, fineness, due, bucket, later, AHEAD)
                weight = state[STREAMS + stream_of(links, slot) * STREAM_ROW + OUTPUT_WEIGHT]
                number -= 1
                inside -= 1
                mass -= weight
                context -= (slots[own + INPUT] + slots[own + OUTPUT] / 2) * weight
                time += at - slots[own + FIRST_TOKEN]
                serve(slots, links, state, counts, slot, at)
            if number == 0:
                mass, context, whole, part = 0.0, 0.0, 0.0, 0.0
        else:
            # The bucket of a request that comes soon is on a line of the cache that nobody has read for long.
            later_on = (int(coming[(2 * min(i + 2 * SOON, n - 1) + 1) & MOST]) & MOST) * SLOT
            prefetch(slots, later_on)
            prefetch(slots, later_on + LEFT)
            soon = (int(coming[(2 * min(i + SOON, n - 1) + 1) & MOST]) & MOST) * SLOT
            prefetch(counts, first + (bucket_of(whole + slots[soon + LEFT], part, fineness) & (size - 1)))
            slot = int(coming[(2 * i + 1) & MOST])
            own = (slot & MOST) * SLOT
            weight = state[STREAMS + stream_of(links, slot) * STREAM_ROW + OUTPUT_WEIGHT]
            if mass + weight > room * ROUNDING and (number > 0 or room <= 0):
                break
            i += 1
            span = arrival - at
            if span > 0:
                tokens = span / step if number > 0 else 0.0
                area += inside * span
                busy_s += min(float(number), nodes) * span
                served += mass * tokens
                served_context += context * tokens
                ahead = part + tokens
                carry = np.floor(ahead)
                at, whole, part = arrival, whole + carry, ahead - carry
            slots[own + ENTERED] = at
            if np.isnan(slots[own + FIRST_TOKEN]):
                slots[own + FIRST_TOKEN] = at
            else:
                time += slots[own + FIRST_TOKEN] - at
            slots[own + DEADLINE] = np.inf
            prefilled += slots[own + PREFILL]
            number += 1
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
            arrival = coming[2 * i & MOST] if i < n else np.inf
        token_due = np.inf
        if due != NOBODY:
            if nodes > 0:
                step = base_s + per_sequence_s * mass + per_kv_token_s * context
                left = (slots[(due & MOST) * SLOT + WHOLE] - whole) + (slots[(due & MOST) * SLOT + PART] - part)
                token_due = at + left * step
            else:
                step = np.inf
    state[r + AT], state[r + TOKEN_WHOLE], state[r + TOKEN_PART] = at, whole, part
    state[r + STEP_S], state[r + TOKEN_DUE] = step, token_due
    enter_tournament(state, counts, 0, token_due)
    state[r + MASS], state[r + CONTEXT_SUM] = mass, context
    state[r + FELT_NUMBER], state[r + FELT_MASS], state[r + FELT_CONTEXT] = number, mass, context
    state[r + DECODE_AREA], state[r + DECODE_TIME], state[r + BUSY_S] = area, time, busy_s
    state[r + SERVED], state[r + SERVED_CONTEXT], state[r + PREFILLED] = served, served_context, prefilled
    counts[q + NUMBER], counts[q + INSIDE] = number, inside
    counts[q + DUE], state[r + BUCKET], counts[q + LATER] = due, bucket, later
    return i
