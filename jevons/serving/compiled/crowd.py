"""The sequences that decode on a replica: their mass, the batch they feel, the room left; `crowd.Crowd` on arrays.

A replica is named by the place of its row in `state` (`r`) and in `counts` (`q`).
"""

from __future__ import annotations

from math import exp

import numpy as np

from jevons.serving.compiled.jit import apart, inner
from jevons.serving.compiled.state import (
    AVERAGING_S,
    BASE_S,
    CONTEXT_SUM,
    EXPECTED_TOKENS,
    FELT_CONTEXT,
    FELT_MASS,
    FELT_NUMBER,
    MASS,
    MAX_BATCH,
    NUMBER,
    PER_KV_TOKEN_S,
    PER_SEQUENCE_S,
    REQUESTS_PER_TOKEN,
    SERVED,
    SERVED_CONTEXT,
    SHARE,
)
from jevons.serving.crowd import REQUESTS_AVERAGED, ROOM_FOR_NOISE, ROUNDING


@inner
def feel(state, counts, r, q):
    """Feel the batch that there is."""
    state[r + FELT_NUMBER] = counts[q + NUMBER]
    state[r + FELT_MASS], state[r + FELT_CONTEXT] = state[r + MASS], state[r + CONTEXT_SUM]


@inner
def pass_time(state, counts, r, q, span_s, tokens):
    """Let time pass in which each sequence has got so many tokens."""
    share = state[SHARE]
    state[r + SERVED] += state[r + MASS] * tokens / share
    state[r + SERVED_CONTEXT] += state[r + CONTEXT_SUM] * tokens / share
    if share < 1:
        keep = exp(-span_s / state[r + AVERAGING_S])
        new = (1 - keep) / share
        state[r + FELT_NUMBER] = keep * state[r + FELT_NUMBER] + new * counts[q + NUMBER]
        state[r + FELT_MASS] = keep * state[r + FELT_MASS] + new * state[r + MASS]
        state[r + FELT_CONTEXT] = keep * state[r + FELT_CONTEXT] + new * state[r + CONTEXT_SUM]


@inner
def add(state, counts, r, q, weight, context):
    """Count a sequence in."""
    counts[q + NUMBER] += 1
    state[r + MASS] += weight
    state[r + CONTEXT_SUM] += context
    if state[SHARE] == 1:
        feel(state, counts, r, q)


@inner
def remove(state, counts, r, q, weight, context):
    """Count a sequence out."""
    counts[q + NUMBER] -= 1
    state[r + MASS] -= weight
    state[r + CONTEXT_SUM] -= context
    if counts[q + NUMBER] == 0:
        # With nobody there the sums are known exactly.
        state[r + MASS] = 0.0
        state[r + CONTEXT_SUM] = 0.0
    if state[SHARE] == 1:
        feel(state, counts, r, q)


@inner
def step_s(state, r, nodes):
    """Time of a step on so many true nodes, s."""
    work = state[PER_SEQUENCE_S] * state[r + FELT_MASS] + state[PER_KV_TOKEN_S] * state[r + FELT_CONTEXT]
    return state[BASE_S] + work / nodes


@inner
def has_room(state, counts, r, q, weight, slots):
    """Whether so much more mass in the cell fits in the true pool's slots."""
    share = state[SHARE]
    if share == 1:
        return state[r + MASS] + weight <= slots * ROUNDING or (counts[q + NUMBER] == 0 and slots > 0)
    left = 1 - state[r + FELT_MASS] / slots if slots > 0 else 0.0
    own = share * slots
    return state[r + MASS] + weight <= own + ROOM_FOR_NOISE * (own + weight) * left


@apart
def expect(state, r, nodes, tokens_per_s, context_per_s, balanced_s):
    """Move what is felt with the expected load of the true pool, at first to the balance of the sizing formula."""
    if state[SHARE] == 1:
        return
    before = state[r + EXPECTED_TOKENS]
    state[r + EXPECTED_TOKENS] = tokens_per_s
    requests_per_s = tokens_per_s * state[REQUESTS_PER_TOKEN]
    state[r + AVERAGING_S] = REQUESTS_AVERAGED / requests_per_s if requests_per_s > 0 else np.inf
    if before > 0:
        felt = state[r + FELT_MASS]
        # A pool that is full does not get fuller when more is wanted of it.
        room = max(1.0, state[MAX_BATCH] * nodes / felt) if felt > 0 else 1.0
        factor = min(tokens_per_s / before, room)
        state[r + FELT_NUMBER] *= factor
        state[r + FELT_MASS] *= factor
        state[r + FELT_CONTEXT] *= factor
    elif tokens_per_s > 0:
        state[r + FELT_MASS] = tokens_per_s * balanced_s
        state[r + FELT_NUMBER] = tokens_per_s * balanced_s
        state[r + FELT_CONTEXT] = context_per_s * balanced_s
