"""A day of requests through lanes and replicas, along a schedule of switches and notes, in one call.

What is known beforehand of the control plane, the autoscaler's switches and the ends of the hours, is a table of rows;
whatever is not, a failure or a repair, ends the call, and the next one goes on from there.
"""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled import lanes as prefill
from jevons.serving.compiled import replicas as decode
from jevons.serving.compiled.draws import next_requests
from jevons.serving.compiled.jit import apart, kernel
from jevons.serving.compiled.state import (
    AFTER,
    ARRIVAL,
    ARRIVED,
    BEFORE,
    BLOCK_ARRIVAL,
    BLOCK_CACHED,
    BLOCK_INPUT,
    BLOCK_OUTPUT,
    BLOCK_STREAM,
    BUSY_S,
    CACHED,
    CELL_ROW,
    CELLS,
    COLOCATED,
    DEADLINE,
    DRAWN_SPAN,
    DRAWN_SUM,
    FIRST_FREE,
    FIRST_TOKEN,
    HOUR_S,
    HOUR_SHIFT,
    HOURS,
    IN_BLOCK,
    INPUT,
    INPUT_WEIGHT,
    LANES,
    LANES_BUSY_S,
    LANES_SHARE,
    LEFT,
    LINK,
    MOST,
    N_FREE,
    N_REPLICAS,
    N_STREAMS,
    NEXT,
    NEXT_ROW,
    NO_MORE,
    NODES,
    NOTES,
    ON,
    ORIGIN_S,
    OUTPUT,
    PATIENCE_S,
    PENDING,
    POOLED,
    PREFILL,
    PREFILL_START,
    PREFILLED,
    REQUEST,
    ROUTING,
    ROW_EXPECTED_LANES,
    ROW_IS_NOTE,
    ROW_LANES,
    ROW_LANES_NODES,
    ROW_NODES,
    ROW_REPLICAS,
    ROW_SLOWNESS,
    ROW_TIME,
    SERVED,
    SERVED_CONTEXT,
    SLOT,
    STAGE_BITS,
    STREAM_ROW,
    STREAMS,
    TAG,
    WAIT,
    WARM_UP,
)
from jevons.serving.compiled.tournament import row_of

#: Requests that enter at a time at the most: so few that their slots stay in the cache.
HELPING = 128


@kernel
def advance(slots, links, state, counts, keys, spans, laws, progress, block, queue, totals, rows, scratch, until):
    """Serve on until a time, and take the rows of the schedule on the way.

    Parameters
    ----------
    slots, links, state, counts, progress, block, rows
        See `state`.
    keys, spans, laws
        See `draws`.
    queue : ndarray, shape (2, m, 2)
        Room for times and slots of those that come, and of those whose prompts are done.
    totals : ndarray, shape (notes, 4)
        Prompt tokens, output tokens and their context served, and busy node-seconds, taken down at each note.
    scratch : ndarray, shape (5, n)
    until : float, s

    Returns
    -------
    bool
        False if there must be more slots before the same call goes on.
    """
    while True:
        row = int(progress[NEXT_ROW])
        is_row = row < len(rows) and rows[row, ROW_TIME] <= until
        time = rows[row, ROW_TIME] if is_row else until
        if not serve_until(slots, links, state, counts, keys, spans, laws, progress, block, queue, scratch, time):
            return False
        if not is_row:
            return True
        if rows[row, ROW_IS_NOTE] > 0:
            note(state, counts, progress, totals, time)
        else:
            switch(slots, links, state, counts, rows[row], time)
        progress[NEXT_ROW] += 1


@apart
def serve_until(slots, links, state, counts, keys, spans, laws, progress, block, queue, scratch, until):
    """Serve on until a time between two rows; False if there must be more slots first."""
    while True:
        if progress[NEXT] == progress[IN_BLOCK] and progress[NO_MORE] == 0:
            progress[BEFORE] += progress[IN_BLOCK]
            progress[NEXT] = 0
            progress[IN_BLOCK], progress[DRAWN_SUM], progress[DRAWN_SPAN] = next_requests(
                keys, spans, laws, block, int(progress[BEFORE]),
                progress[DRAWN_SUM], int(progress[DRAWN_SPAN]), scratch,
            )  # fmt: skip
            progress[NO_MORE] = 1 if progress[IN_BLOCK] < block.shape[1] else 0
        first, end = int(progress[NEXT]), int(progress[IN_BLOCK])
        last, end = first, min(end, first + HELPING)
        while last < end and block[BLOCK_ARRIVAL, last] + state[ORIGIN_S] < until:
            last += 1
        if last - first > counts[N_FREE]:
            return False
        # Past the last request of a block that more will follow, nothing is known yet.
        horizon = until
        if last == end and (progress[NO_MORE] == 0 or last < progress[IN_BLOCK]):
            horizon = np.nextafter(block[BLOCK_ARRIVAL, last - 1] + state[ORIGIN_S], np.inf)
        n = enter(slots, links, state, counts, progress, block, queue, first, last)
        which = 0
        if counts[COLOCATED] == 0:
            n = prefill.advance(slots, links, state, counts, horizon, queue, n)
            which = 1
        decode.advance(slots, links, state, counts, horizon, queue, which, n)
        if horizon == until:
            return True


@apart
def enter(slots, links, state, counts, progress, block, queue, first, last):
    """Give the requests of a block from one to another their slots; how many come, with those that come again."""
    following, n, streams = int(counts[FIRST_FREE]), int(progress[PENDING]), int(counts[N_STREAMS])
    origin_s, hour_s, before = state[ORIGIN_S], state[HOUR_S], int(progress[BEFORE])
    warm_up, last_hour, cells = int(counts[WARM_UP]), int(counts[HOURS]) - 1, int(counts[CELLS])
    for i in range(first, last):
        slot = following
        following = int(links[(slot & MOST) * LINK + AFTER])
        own, stream = (slot & MOST) * SLOT, int(block[BLOCK_STREAM, i])
        inputs, cached, output = block[BLOCK_INPUT, i], block[BLOCK_CACHED, i], block[BLOCK_OUTPUT, i]
        arrival, law = block[BLOCK_ARRIVAL, i], STREAMS + stream * STREAM_ROW
        came_s = arrival + origin_s
        slots[own + ARRIVAL], slots[own + FIRST_TOKEN] = came_s, np.nan
        slots[own + OUTPUT], slots[own + INPUT], slots[own + CACHED] = output, inputs, cached
        slots[own + WAIT], slots[own + LEFT] = 0.0, output
        slots[own + PREFILL] = (inputs - cached) * state[law + INPUT_WEIGHT]
        slots[own + DEADLINE] = came_s + state[law + PATIENCE_S]
        slots[own + PREFILL_START], slots[own + REQUEST] = np.nan, before + i
        hour = min(max(int(np.floor(arrival / hour_s)) + warm_up, 0), last_hour)
        links[(slot & MOST) * LINK + TAG] = (hour << HOUR_SHIFT) | (stream << STAGE_BITS)
        state[(cells + (hour * streams + stream) * CELL_ROW + ARRIVED) & MOST] += 1
        queue[0, n, 0], queue[0, n, 1] = came_s, slot
        n += 1
    counts[FIRST_FREE] = following
    counts[N_FREE] -= last - first
    progress[NEXT], progress[PENDING] = last, 0
    return n


@apart
def switch(slots, links, state, counts, row, now):
    """Serve with the nodes of a row from now on."""
    if counts[COLOCATED] == 0:
        prefill.switch(
            slots, links, state, counts, now,
            row[ROW_LANES_NODES], int(row[ROW_LANES]), row[ROW_SLOWNESS], row[ROW_EXPECTED_LANES],
        )  # fmt: skip
    if counts[ROUTING] == POOLED:
        decode.switch(slots, links, state, counts, 0, now, row[ROW_NODES], row)
        return
    on = int(row[ROW_REPLICAS])
    counts[ON] = on
    # Who is off gets no more requests and finishes those it has; if all are, the first stops.
    for number in range(max(on, 1)):
        r, _ = row_of(counts, number)
        if on == 0 or state[r + NODES] == 0:
            decode.switch(slots, links, state, counts, number, now, min(float(on), 1.0), row)


@apart
def note(state, counts, progress, totals, now):
    """Take down what the true fleet has done until now."""
    decode.settle_all(state, counts, now)
    notes = int(progress[NOTES])
    # Routed replicas are whole ones: a thinned cell has a share of them.
    share = 1.0 if counts[ROUTING] == POOLED else state[LANES_SHARE]
    for number in range(counts[N_REPLICAS]):
        r, _ = row_of(counts, number)
        totals[notes, 0] += state[r + PREFILLED]
        totals[notes, 1] += state[r + SERVED]
        totals[notes, 2] += state[r + SERVED_CONTEXT]
        totals[notes, 3] += state[r + BUSY_S]
    for column in range(4):
        totals[notes, column] /= share
    if counts[COLOCATED] == 0:
        prefill.settle(state, counts, now)
        totals[notes, 3] += state[counts[LANES] + LANES_BUSY_S]
    progress[NOTES] += 1


@kernel
def control(slots, links, state, counts, row, hit, again, is_last, now):
    """What ends an advance: other nodes from now on, sequences whose node failed, and at last the close.

    Parameters
    ----------
    slots, links, state, counts
        See `state`.
    row : ndarray, shape (columns,)
        The row of the schedule that is in force; empty if the nodes stay as they are.
    hit : ndarray of slots
        Sequences to be started again, in the order of their requests.
    again : ndarray of bool, shape (m,)
        True for those slots.
    is_last : bool
        Whether those are lost whose deadline is past, wherever they stand.
    now : float, s
    """
    if len(row) > 0:
        switch(slots, links, state, counts, row, now)
    if len(hit) > 0:
        decode.interrupt(slots, links, state, counts, now, hit, again)
    if is_last:
        if counts[COLOCATED] == 0:
            prefill.close(slots, links, state, counts, now)
        decode.close(slots, links, state, counts, now)
