"""A day of requests through lanes and replicas, along a schedule of switches and notes, in one call.

What is known beforehand of the control plane, the autoscaler's switches and the ends of the hours, is a table of rows;
whatever is not, a failure or a repair, ends the call, and the next one goes on from there.

Python calls the kernels at the end of this file; they take arrays and give them the names of `state`.
"""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled import lanes as prefill
from jevons.serving.compiled import replicas as decode
from jevons.serving.compiled.draws import Source, next_requests
from jevons.serving.compiled.jit import apart, borrowed, inner, kernel
from jevons.serving.compiled.state import (
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
    CELL,
    CONTEXT,
    DEADLINE,
    DRAWN_SPAN,
    DRAWN_SUM,
    FIRST_TOKEN,
    FREE_SLOT,
    IN_BLOCK,
    INPUT,
    INPUT_WEIGHT,
    LANES_BUSY_S,
    LEFT,
    NEXT,
    NEXT_ROW,
    NO_MORE,
    NODES,
    NOTES,
    ON,
    OUTPUT,
    OUTPUT_WEIGHT,
    PATIENCE_S,
    PENDING,
    PREFILL,
    PREFILL_START,
    PREFILLED,
    REQUEST,
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
    STREAM,
    WAIT,
    Lanes,
    Law,
    Replicas,
    Run,
    Slots,
    Tallies,
)


@inner
def law_of_numbers(numbers, streams, places_key):  # type: ignore[no-untyped-def]
    """The law that a table of numbers, in the order of its fields, stands for."""
    return Law(
        numbers[0] > 0, int(numbers[1]), numbers[2] > 0, int(numbers[3]), int(numbers[4]), int(numbers[5]),
        numbers[6], numbers[7], numbers[8], numbers[9], numbers[10], numbers[11], numbers[12], numbers[13],
        numbers[14], numbers[15], numbers[16], numbers[17], streams, places_key,
    )  # fmt: skip


@inner
def follow(slots, law, lanes, replicas, tallies, rows, source, run, scratch, until):  # type: ignore[no-untyped-def]
    """Serve on until a time, and take the rows of the schedule on the way; False if there must be more slots first."""
    progress = run.progress
    while True:
        row = int(progress[NEXT_ROW])
        is_row = row < len(rows) and rows[row, ROW_TIME] <= until
        if not serve_until(
            slots, law, lanes, replicas, tallies, source, run, scratch, rows[row, ROW_TIME] if is_row else until
        ):
            return False
        if not is_row:
            return True
        if rows[row, ROW_IS_NOTE] > 0:
            note(law, lanes, replicas, run, rows[row, ROW_TIME])
        else:
            switch(slots, law, lanes, replicas, tallies, rows[row], rows[row, ROW_TIME])
        progress[NEXT_ROW] += 1


@inner
def serve_until(slots, law, lanes, replicas, tallies, source, run, scratch, until):  # type: ignore[no-untyped-def]
    """Serve on until a time between two rows; False if there must be more slots first."""
    progress, block, queue = run.progress, run.block, run.queue
    while True:
        if progress[NEXT] == progress[IN_BLOCK] and progress[NO_MORE] == 0:
            progress[BEFORE] += progress[IN_BLOCK]
            n, total, span = next_requests(
                source, block, int(progress[BEFORE]), progress[DRAWN_SUM], int(progress[DRAWN_SPAN]), scratch
            )
            progress[DRAWN_SUM], progress[DRAWN_SPAN] = total, span
            progress[NEXT], progress[IN_BLOCK] = 0, n
            progress[NO_MORE] = 1 if n < block.shape[1] else 0
        first, end = int(progress[NEXT]), int(progress[IN_BLOCK])
        last = first
        while last < end and block[BLOCK_ARRIVAL, last] + law.origin_s < until:
            last += 1
        if last - first > slots.n_free[0]:
            return False
        # Past the last request of a block that more will follow, nothing is known yet.
        horizon = until
        if last == end and progress[NO_MORE] == 0:
            horizon = np.nextafter(block[BLOCK_ARRIVAL, last - 1] + law.origin_s, np.inf)
        n = enter(slots, law, tallies, run, first, last)
        if not law.colocated:
            n = prefill.advance(slots, law, lanes, tallies, horizon, queue, n)
        decode.advance(slots, law, replicas, tallies, horizon, queue[0 if law.colocated else 1], n)
        if horizon == until:
            return True


@apart
def enter(slots, law, tallies, run, first, last):  # type: ignore[no-untyped-def]
    """Give the requests of a block from one to another their slots; how many come, with those that come again."""
    block, progress, floats, ints = run.block, run.progress, slots.floats, slots.ints
    streams, free, n = len(law.streams), slots.n_free[0], int(progress[PENDING])
    before = progress[BEFORE]
    for i in range(first, last):
        free -= 1
        slot = ints[free, FREE_SLOT]
        stream, arrival = int(block[BLOCK_STREAM, i]), block[BLOCK_ARRIVAL, i]
        inputs, cached, output = block[BLOCK_INPUT, i], block[BLOCK_CACHED, i], block[BLOCK_OUTPUT, i]
        came_s = arrival + law.origin_s
        floats[slot, ARRIVAL] = came_s
        floats[slot, FIRST_TOKEN] = np.nan
        floats[slot, OUTPUT], floats[slot, INPUT], floats[slot, CACHED] = output, inputs, cached
        floats[slot, CONTEXT] = (inputs + output / 2) * law.streams[stream, OUTPUT_WEIGHT]
        floats[slot, WAIT] = 0.0
        floats[slot, LEFT] = output
        floats[slot, PREFILL] = (inputs - cached) * law.streams[stream, INPUT_WEIGHT]
        floats[slot, DEADLINE] = came_s + law.streams[stream, PATIENCE_S]
        floats[slot, PREFILL_START] = np.nan
        floats[slot, REQUEST] = before + i
        hour = min(max(int(np.floor(arrival / law.hour_s)) + law.warm_up, 0), law.hours - 1)
        ints[slot, STREAM], ints[slot, CELL] = stream, hour * streams + stream
        tallies.cells[hour * streams + stream, ARRIVED] += 1
        run.queue[0, n, 0], run.queue[0, n, 1] = came_s, slot
        n += 1
    slots.n_free[0] = free
    progress[NEXT], progress[PENDING] = last, 0
    return n


@apart
def switch(slots, law, lanes, replicas, tallies, row, now):  # type: ignore[no-untyped-def]
    """Serve with the nodes of a row from now on."""
    if not law.colocated:
        prefill.switch(
            slots, law, lanes, tallies, now,
            row[ROW_LANES_NODES], int(row[ROW_LANES]), row[ROW_SLOWNESS], row[ROW_EXPECTED_LANES],
        )  # fmt: skip
    on = int(row[ROW_REPLICAS]) if law.routing != 0 else 0
    replicas.tree[ON] = on
    # Who is off gets no more requests and finishes those it has; if all are, the first stops.
    for r in range(max(on, 1)):
        nodes = row[ROW_NODES] if law.routing == 0 else min(float(on), 1.0)
        if law.routing == 0 or on == 0 or replicas.floats[r, NODES] == 0:
            decode.switch(slots, law, replicas, tallies, r, now, nodes, row)


@apart
def note(law, lanes, replicas, run, now):  # type: ignore[no-untyped-def]
    """Take down what the true fleet has done until now."""
    settle(law, lanes, replicas, now)
    notes = int(run.progress[NOTES])
    for r in range(len(replicas.floats)):
        for column, what in enumerate((PREFILLED, SERVED, SERVED_CONTEXT, BUSY_S)):
            run.totals[notes, column] += replicas.floats[r, what]
    for column in range(4):
        if law.routing != 0:
            run.totals[notes, column] /= law.lanes_share
    if not law.colocated:
        run.totals[notes, 3] += lanes.floats[LANES_BUSY_S]
    run.progress[NOTES] += 1


@apart
def settle(law, lanes, replicas, now):  # type: ignore[no-untyped-def]
    """Carry all areas on to now."""
    if not law.colocated:
        prefill.settle(lanes, law.lanes_share, now)
    decode.settle_all(law, replicas, now)


# --- What Python calls ------------------------------------------------------------------------------------------------


@kernel
def advance(  # type: ignore[no-untyped-def]
    numbers, streams, places_key,
    slot_floats, slot_ints, n_free,
    lane_floats, lane_ints,
    replica_floats, replica_ints, prompts, tree,
    cells, bins, records,
    keys, spans, laws, times,
    progress, block, queue, totals,
    rows, scratch, until,
):  # fmt: skip
    """Serve on until a time along the schedule; False if there must be more slots before the same call goes on."""
    return follow(
        Slots(borrowed(slot_floats), borrowed(slot_ints), borrowed(n_free)),
        law_of_numbers(numbers, borrowed(streams), borrowed(places_key)),
        Lanes(borrowed(lane_floats), borrowed(lane_ints)),
        Replicas(borrowed(replica_floats), borrowed(replica_ints), borrowed(prompts), borrowed(tree)),
        Tallies(borrowed(cells), borrowed(bins), borrowed(records)),
        borrowed(rows),
        Source(borrowed(keys), borrowed(spans), borrowed(laws), borrowed(times)),
        Run(borrowed(progress), borrowed(block), borrowed(queue), borrowed(totals)),
        borrowed(scratch),
        until,
    )


@kernel
def control(  # type: ignore[no-untyped-def]
    numbers, streams, places_key,
    slot_floats, slot_ints, n_free,
    lane_floats, lane_ints,
    replica_floats, replica_ints, prompts, tree,
    cells, bins, records,
    row, hit, again, is_last, now,
):  # fmt: skip
    """What ends an advance: other nodes from now on, sequences whose node failed, and at last the close.

    Parameters
    ----------
    row : ndarray, shape (columns,)
        The row that is in force; empty if the nodes stay as they are.
    hit : ndarray of slots
        Sequences to be started again, in the order of their requests.
    again : ndarray of bool, shape (m,)
        True for those slots.
    is_last : bool
        Whether those are lost whose deadline is past, wherever they stand.
    """
    slots = Slots(borrowed(slot_floats), borrowed(slot_ints), borrowed(n_free))
    law = law_of_numbers(numbers, borrowed(streams), borrowed(places_key))
    lanes, replicas = (
        Lanes(borrowed(lane_floats), borrowed(lane_ints)),
        Replicas(borrowed(replica_floats), borrowed(replica_ints), borrowed(prompts), borrowed(tree)),
    )
    tallies = Tallies(borrowed(cells), borrowed(bins), borrowed(records))
    if len(row) > 0:
        switch(slots, law, lanes, replicas, tallies, row, now)
    if len(hit) > 0:
        decode.interrupt(slots, law, replicas, tallies, now, hit, again)
    if is_last:
        if not law.colocated:
            prefill.close(slots, law, lanes, tallies, now)
        decode.close(slots, law, replicas, tallies, now)
