"""The prompts that a replica of the co-located layout has in work: a heap by the time of its clock at which they end.

A heap stands in `state`; its replica is named by the place of its row in `counts` (`q`).
"""

from __future__ import annotations

from jevons.serving.compiled.jit import apart, inner
from jevons.serving.compiled.state import (
    IN_WORK,
    MOST,
    PROMPT_ROOM,
    PROMPT_ROW,
    PROMPTS,
    REPLICA_COUNTS,
    REPLICA_COUNTS_ROW,
    REQUEST,
    SLOT,
)


@inner
def heap_of(counts, q):
    """Where the heap of a replica begins."""
    number = (q - counts[REPLICA_COUNTS]) // counts[REPLICA_COUNTS_ROW]
    return counts[PROMPTS] + number * counts[PROMPT_ROOM] * PROMPT_ROW


@inner
def is_earlier(slots, state, one, other):
    """Whether an entry of the heap comes before another: by its end, then by its request."""
    if state[one] != state[other]:
        return state[one] < state[other]
    if state[one + 1] != state[other + 1]:
        return state[one + 1] < state[other + 1]
    return slots[(int(state[one + 2]) & MOST) * SLOT + REQUEST] < slots[(int(state[other + 2]) & MOST) * SLOT + REQUEST]


@inner
def swap(state, one, other):
    """Let two entries change places."""
    for column in range(PROMPT_ROW):
        state[one + column], state[other + column] = state[other + column], state[one + column]


@apart
def push_prompt(slots, state, counts, q, whole, part, slot):
    """Put a prompt on the heap."""
    heap, place = heap_of(counts, q), int(counts[q + IN_WORK])
    counts[q + IN_WORK] += 1
    entry = heap + place * PROMPT_ROW
    state[entry], state[entry + 1], state[entry + 2] = whole, part, slot
    while place > 0:
        above = (place - 1) >> 1
        if not is_earlier(slots, state, heap + place * PROMPT_ROW, heap + above * PROMPT_ROW):
            break
        swap(state, heap + place * PROMPT_ROW, heap + above * PROMPT_ROW)
        place = above


@apart
def pop_prompt(slots, state, counts, q):
    """Take the first prompt from the heap."""
    heap = heap_of(counts, q)
    counts[q + IN_WORK] -= 1
    n = int(counts[q + IN_WORK])
    swap(state, heap, heap + n * PROMPT_ROW)
    place, child = 0, 1
    while child < n:
        if child + 1 < n and is_earlier(slots, state, heap + (child + 1) * PROMPT_ROW, heap + child * PROMPT_ROW):
            child += 1
        if not is_earlier(slots, state, heap + child * PROMPT_ROW, heap + place * PROMPT_ROW):
            break
        swap(state, heap + place * PROMPT_ROW, heap + child * PROMPT_ROW)
        place, child = child, 2 * child + 1
