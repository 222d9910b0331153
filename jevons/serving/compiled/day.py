"""A day of requests through lanes and replicas, along a schedule of switches and notes, in one call.

What is known beforehand of the control plane, the autoscaler's switches and the ends of the hours, is a table of rows;
whatever is not, a failure or a repair, ends the call, and the next one goes on from there.
"""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled import lanes as prefill
from jevons.serving.compiled import replicas as decode
from jevons.serving.compiled.draws import draw_block, draw_places
from jevons.serving.compiled.jit import inner, kernel
from jevons.serving.compiled.state import (
    ARRIVAL,
    ARRIVED,
    BEFORE,
    BUSY_S,
    CACHED,
    CELL,
    CONTEXT,
    DEADLINE,
    FIRST_TOKEN,
    IN_BLOCK,
    INPUT,
    LANES_BUSY_S,
    LEFT,
    NEXT,
    NEXT_ROW,
    NO_MORE,
    NODES,
    NOTES,
    ON,
    OUTPUT,
    PENDING,
    PLACE_1,
    PLACE_2,
    PREFILL,
    PREFILL_START,
    PREFILLED,
    ROW_CONTEXT_PER_S,
    ROW_EXPECTED_LANES,
    ROW_IS_NOTE,
    ROW_LANES,
    ROW_LANES_NODES,
    ROW_NODES,
    ROW_PROMPT_SLOTS,
    ROW_PROMPTS_PER_S,
    ROW_REPLICAS,
    ROW_SLOWNESS,
    ROW_STEP,
    ROW_TIME,
    ROW_TOKENS_PER_S,
    SERVED,
    SERVED_CONTEXT,
    STREAM,
    WAIT,
)


@kernel
def advance(slots, law, lanes, replicas, tallies, clock, rows, source, block, run, until):  # type: ignore[no-untyped-def]
    """Serve on until a time, and take the rows of the schedule on the way.

    Returns
    -------
    bool
        False if there must be more slots before the same call goes on.
    """
    progress = run.progress
    while progress[NEXT_ROW] < len(rows) and rows[progress[NEXT_ROW], ROW_TIME] <= until:
        row = rows[progress[NEXT_ROW]]
        if not serve_until(slots, law, lanes, replicas, tallies, clock, source, block, run, row[ROW_TIME]):
            return False
        if row[ROW_IS_NOTE] > 0:
            note(law, lanes, replicas, run, row[ROW_TIME])
        else:
            switch(slots, law, lanes, replicas, tallies, row, row[ROW_TIME])
        progress[NEXT_ROW] += 1
    return serve_until(slots, law, lanes, replicas, tallies, clock, source, block, run, until)


@kernel
def serve_until(slots, law, lanes, replicas, tallies, clock, source, block, run, until):  # type: ignore[no-untyped-def]
    """Serve on until a time between two rows."""
    progress = run.progress
    while True:
        if progress[NEXT] == progress[IN_BLOCK] and progress[NO_MORE] == 0:
            next_block(law, source, block, run)
        last = progress[NEXT]
        while last < progress[IN_BLOCK] and block.arrival_s[last] + clock.origin_s < until:
            last += 1
        if last - progress[NEXT] > slots.n_free[0]:
            return False
        # Past the last request of a block that more will follow, nothing is known yet.
        horizon = until
        if last == progress[IN_BLOCK] and progress[NO_MORE] == 0:
            horizon = np.nextafter(block.arrival_s[last - 1] + clock.origin_s, np.inf)
        came = enter(slots, law, tallies, clock, block, run, last)
        if law.colocated:
            decode.advance(
                slots, law, replicas, tallies, horizon, run.came_s, run.came, came,
                clock.origin_s, clock.hour_s, clock.warm_up, clock.hours,
            )  # fmt: skip
        else:
            done = prefill.advance(
                slots, law, lanes, tallies, horizon, run.came_s, run.came, came, run.done_s, run.done
            )
            decode.advance(
                slots, law, replicas, tallies, horizon, run.done_s, run.done, done,
                clock.origin_s, clock.hour_s, clock.warm_up, clock.hours,
            )  # fmt: skip
        if horizon == until:
            return True


@kernel
def next_block(law, source, block, run):  # type: ignore[no-untyped-def]
    """Draw the next requests."""
    progress = run.progress
    progress[BEFORE] += progress[IN_BLOCK]
    n = draw_block(source, block, progress[BEFORE], run.place, run.scratch)
    if law.routing == 2:
        draw_places(source, block, progress[BEFORE], n, run.scratch)
    progress[NEXT], progress[IN_BLOCK] = 0, n
    progress[NO_MORE] = 1 if n < len(block.arrival_s) else 0


@kernel
def enter(slots, law, tallies, clock, block, run, last):  # type: ignore[no-untyped-def]
    """Give the requests of a block up to one of them their slots; how many come, with those that were pending."""
    progress = run.progress
    hot, cold, where = slots.hot, slots.cold, slots.where
    streams, free = len(law.input_weight), slots.n_free[0]
    n = progress[PENDING]
    for i in range(progress[NEXT], last):
        free -= 1
        slot = slots.free[free]
        stream, arrival = block.stream[i], block.arrival_s[i]
        inputs, cached, output = block.input_tokens[i], block.cached_tokens[i], block.output_tokens[i]
        hot[slot, ARRIVAL] = arrival + clock.origin_s
        hot[slot, FIRST_TOKEN] = np.nan
        hot[slot, OUTPUT], hot[slot, INPUT], hot[slot, CACHED] = output, inputs, cached
        hot[slot, CONTEXT] = (inputs + output / 2) * law.output_weight[stream]
        hot[slot, WAIT] = 0.0
        cold[slot, LEFT] = output
        cold[slot, PREFILL] = (inputs - cached) * law.input_weight[stream]
        cold[slot, DEADLINE] = arrival + clock.origin_s + law.patience_s[stream]
        cold[slot, PREFILL_START] = np.nan
        if law.routing == 2:
            cold[slot, PLACE_1], cold[slot, PLACE_2] = block.places[i, 0], block.places[i, 1]
        hour = min(max(int(np.floor(arrival / clock.hour_s)) + clock.warm_up, 0), clock.hours - 1)
        cell = hour * streams + stream
        where[slot, STREAM], where[slot, CELL] = stream, cell
        slots.request[slot] = progress[BEFORE] + i
        tallies.arrivals[0, cell] += 1
        run.came_s[n], run.came[n] = arrival + clock.origin_s, slot
        n += 1
    slots.n_free[0] = free
    tallies.flow[ARRIVED] += last - progress[NEXT]
    progress[NEXT], progress[PENDING] = last, 0
    return n


@kernel
def switch(slots, law, lanes, replicas, tallies, row, now):  # type: ignore[no-untyped-def]
    """Serve with the nodes of a row from now on."""
    if not law.colocated:
        prefill.switch(
            slots, law, lanes, tallies, now,
            row[ROW_LANES_NODES], int(row[ROW_LANES]), row[ROW_SLOWNESS], row[ROW_EXPECTED_LANES],
        )  # fmt: skip
    if law.routing == 0:
        switch_replica(slots, law, replicas, tallies, 0, now, row[ROW_NODES], row)
        return
    on = int(row[ROW_REPLICAS])
    replicas.ints_of_all[ON] = on
    # Who is off gets no more requests and finishes those it has; if all are, the first stops.
    for r in range(on):
        if replicas.floats[r, NODES] == 0:
            switch_replica(slots, law, replicas, tallies, r, now, 1.0, row)
    if on == 0:
        switch_replica(slots, law, replicas, tallies, 0, now, 0.0, row)


@inner
def switch_replica(slots, law, replicas, tallies, r, now, nodes, row):  # type: ignore[no-untyped-def]
    """Serve with so many nodes of a replica."""
    decode.switch(
        slots, law, replicas, tallies, r, now, nodes, int(row[ROW_PROMPT_SLOTS]),
        row[ROW_PROMPTS_PER_S], row[ROW_TOKENS_PER_S], row[ROW_CONTEXT_PER_S], row[ROW_STEP],
    )  # fmt: skip


@kernel
def note(law, lanes, replicas, run, now):  # type: ignore[no-untyped-def]
    """Take down what the true fleet has done until now."""
    settle(law, lanes, replicas, now)
    total = run.totals[run.progress[NOTES]]
    for r in range(len(replicas.floats)):
        done = replicas.floats[r]
        total[0] += done[PREFILLED]
        total[1] += done[SERVED]
        total[2] += done[SERVED_CONTEXT]
        total[3] += done[BUSY_S]
    if law.routing != 0:
        total /= law.lanes_share
    if not law.colocated:
        total[3] += lanes.floats[LANES_BUSY_S]
    run.progress[NOTES] += 1


@kernel
def settle(law, lanes, replicas, now):  # type: ignore[no-untyped-def]
    """Carry all areas on to now."""
    if not law.colocated:
        prefill.settle(lanes, law.lanes_share, now)
    decode.settle_all(law, replicas, now)


@kernel
def close(slots, law, lanes, replicas, tallies, now):  # type: ignore[no-untyped-def]
    """Lose those whose deadline is past, wherever they stand."""
    if not law.colocated:
        prefill.close(slots, law, lanes, tallies, now)
    decode.close(slots, law, replicas, tallies, now)
