"""Which replica is next: a tournament of their next events, and the choice of one for each request.

As an event is mostly put off by who joins, a replica stands in the tournament with a time that may be too early; when
it wins with such a time it is entered again with the true one.

A replica is named by its number, or by the place of its row in `state` (`r`) and in `counts` (`q`).
"""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled.draws import uniform_pair
from jevons.serving.compiled.jit import apart, inner
from jevons.serving.compiled.state import (
    INSIDE,
    LEAVES,
    MOST,
    ON,
    POOLED,
    POWER_OF_TWO,
    PROMPTING,
    REPLICA_COUNTS,
    REPLICA_COUNTS_ROW,
    REPLICA_ROW,
    REPLICAS,
    REQUEST,
    ROUND_ROBIN,
    ROUTING,
    ROUTING_KEY,
    SLOT,
    TREE,
    TREE_TIMES,
    TURN,
)


@inner
def row_of(counts, number):
    """Where the rows of a replica begin, in `state` and in `counts`."""
    r, q = counts[REPLICAS] + number * REPLICA_ROW, counts[REPLICA_COUNTS] + number * counts[REPLICA_COUNTS_ROW]
    return r & MOST, q & MOST


@inner
def winner(state, counts):
    """Number of the replica that is next, and the time with which it is entered."""
    return int(counts[(counts[TREE] & MOST) + 1]), state[(counts[TREE_TIMES] & MOST) + 1]


@inner
def entered_with(state, counts, number):
    """The time with which a replica is entered."""
    return state[(counts[TREE_TIMES] + counts[LEAVES] + number) & MOST]


@inner
def enter_tournament(state, counts, number, due):
    """Enter a replica with the time of its next event; of equals the lower number wins.

    Who wins is chosen without a branch, as it could not be foreseen.
    """
    times, tree, node = counts[TREE_TIMES] & MOST, counts[TREE] & MOST, (counts[LEAVES] + number) & MOST
    state[times + node] = due
    while node > 1:
        other = node ^ 1
        at, rival = state[times + other], int(counts[tree + other])
        wins = (at < due) | ((at == due) & (other < node))
        number = rival if wins else number
        due = at if wins else due
        node >>= 1
        state[times + node], counts[tree + node] = due, number


@apart
def draw_choices(slots, state, counts, queue, which, n):
    """The two numbers by which each of the queue chooses its replica, in the other half of the queue."""
    if counts[ROUTING] == POWER_OF_TWO:
        key_0 = np.uint64(state[ROUTING_KEY]) << np.uint64(32) | np.uint64(state[ROUTING_KEY + 1])
        key_1 = np.uint64(state[ROUTING_KEY + 2]) << np.uint64(32) | np.uint64(state[ROUTING_KEY + 3])
        for i in range(n):
            request = int(slots[(int(queue[which, i, 1]) & MOST) * SLOT + REQUEST])
            queue[1 - which, i, 0], queue[1 - which, i, 1] = uniform_pair(key_0, key_1, request)


@inner
def two_of(counts, queue, which, i):
    """The two replicas that the numbers of a request choose."""
    on = max(counts[ON], 1)
    return int(queue[1 - which, i, 0] * on), int(queue[1 - which, i, 1] * on)


@inner
def chosen(counts, queue, which, i):
    """Number of the replica that a request of the queue is sent to: of two, the one with fewer requests."""
    number = 0
    if counts[ROUTING] == ROUND_ROBIN:
        number = int(counts[TURN] + 1) % max(counts[ON], 1)
    elif counts[ROUTING] != POOLED:
        first, second = two_of(counts, queue, which, i)
        _, p = row_of(counts, first)
        _, q = row_of(counts, second)
        at_first, at_second = counts[p + INSIDE] + counts[p + PROMPTING], counts[q + INSIDE] + counts[q + PROMPTING]
        number = first if at_first <= at_second else second
    return number
