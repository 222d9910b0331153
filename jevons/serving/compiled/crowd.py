"""The sequences that decode on a replica: their mass, the batch they feel, the room left; `crowd.Crowd` on arrays."""

from __future__ import annotations

from math import exp

import numpy as np

from jevons.serving.compiled.jit import inner
from jevons.serving.compiled.state import (
    AVERAGING_S,
    CONTEXT,
    CONTEXT_SUM,
    EXPECTED_TOKENS,
    FELT_CONTEXT,
    FELT_MASS,
    FELT_NUMBER,
    MASS,
    NUMBER,
    OUTPUT_WEIGHT,
    SERVED,
    SERVED_CONTEXT,
    STREAM,
)
from jevons.serving.crowd import REQUESTS_AVERAGED, ROOM_FOR_NOISE, ROUNDING


@inner
def feel(floats, ints, r):  # type: ignore[no-untyped-def]
    """Feel the batch that there is."""
    floats[r, FELT_NUMBER] = ints[r, NUMBER]
    floats[r, FELT_MASS], floats[r, FELT_CONTEXT] = floats[r, MASS], floats[r, CONTEXT_SUM]


@inner
def pass_time(law, floats, ints, r, span_s, tokens):  # type: ignore[no-untyped-def]
    """Let time pass in which each sequence has got so many tokens."""
    floats[r, SERVED] += floats[r, MASS] * tokens / law.share
    floats[r, SERVED_CONTEXT] += floats[r, CONTEXT_SUM] * tokens / law.share
    if law.share < 1:
        keep = exp(-span_s / floats[r, AVERAGING_S])
        new = (1 - keep) / law.share
        floats[r, FELT_NUMBER] = keep * floats[r, FELT_NUMBER] + new * ints[r, NUMBER]
        floats[r, FELT_MASS] = keep * floats[r, FELT_MASS] + new * floats[r, MASS]
        floats[r, FELT_CONTEXT] = keep * floats[r, FELT_CONTEXT] + new * floats[r, CONTEXT_SUM]


@inner
def add(slots, law, floats, ints, r, slot):  # type: ignore[no-untyped-def]
    """Count a sequence in."""
    ints[r, NUMBER] += 1
    floats[r, MASS] += law.streams[slots.ints[slot, STREAM], OUTPUT_WEIGHT]
    floats[r, CONTEXT_SUM] += slots.floats[slot, CONTEXT]
    if law.share == 1:
        feel(floats, ints, r)


@inner
def remove(slots, law, floats, ints, r, slot):  # type: ignore[no-untyped-def]
    """Count a sequence out."""
    ints[r, NUMBER] -= 1
    floats[r, MASS] -= law.streams[slots.ints[slot, STREAM], OUTPUT_WEIGHT]
    floats[r, CONTEXT_SUM] -= slots.floats[slot, CONTEXT]
    if ints[r, NUMBER] == 0:
        # With nobody there the sums are known exactly.
        floats[r, MASS] = 0.0
        floats[r, CONTEXT_SUM] = 0.0
    if law.share == 1:
        feel(floats, ints, r)


@inner
def step_s(law, floats, r, nodes):  # type: ignore[no-untyped-def]
    """Time of a step on so many true nodes, s."""
    work = law.per_sequence_s * floats[r, FELT_MASS] + law.per_kv_token_s * floats[r, FELT_CONTEXT]
    return law.base_s + work / nodes


@inner
def has_room(law, floats, ints, r, weight, slots):  # type: ignore[no-untyped-def]
    """Whether so much more mass in the cell fits in the true pool's slots."""
    if law.share == 1:
        room = floats[r, MASS] + weight <= slots * ROUNDING or (ints[r, NUMBER] == 0 and slots > 0)
    else:
        left = 1 - floats[r, FELT_MASS] / slots if slots > 0 else 0.0
        own = law.share * slots
        room = floats[r, MASS] + weight <= own + ROOM_FOR_NOISE * (own + weight) * left
    return room


@inner
def expect(law, floats, r, nodes, tokens_per_s, context_per_s, balanced_s):  # type: ignore[no-untyped-def]
    """Move what is felt with the expected load of the true pool, at first to the balance of the sizing formula."""
    if law.share < 1:
        before = floats[r, EXPECTED_TOKENS]
        floats[r, EXPECTED_TOKENS] = tokens_per_s
        requests_per_s = tokens_per_s * law.requests_per_token
        floats[r, AVERAGING_S] = REQUESTS_AVERAGED / requests_per_s if requests_per_s > 0 else np.inf
        if before > 0:
            felt = floats[r, FELT_MASS]
            # A pool that is full does not get fuller when more is wanted of it.
            room = max(1.0, law.max_batch * nodes / felt) if felt > 0 else 1.0
            factor = min(tokens_per_s / before, room)
            floats[r, FELT_NUMBER] *= factor
            floats[r, FELT_MASS] *= factor
            floats[r, FELT_CONTEXT] *= factor
        elif tokens_per_s > 0:
            floats[r, FELT_MASS] = tokens_per_s * balanced_s
            floats[r, FELT_NUMBER] = tokens_per_s * balanced_s
            floats[r, FELT_CONTEXT] = context_per_s * balanced_s
