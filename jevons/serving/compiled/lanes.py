"""Prefill: first come, first served lanes, interactive requests first; `disaggregated.Prefill` on arrays."""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled.counting import lose, stage
from jevons.serving.compiled.jit import apart, inner
from jevons.serving.compiled.line import append, clear, head, is_empty, pop
from jevons.serving.compiled.state import (
    AFTER,
    DEADLINE,
    ENTERED,
    LANE_BUCKETS,
    LANE_BUCKETS_PER_S,
    LANE_COUNTS,
    LANE_S_PER_TOKEN,
    LANE_WHEEL,
    LANES,
    LANES_AREA,
    LANES_AT,
    LANES_BUCKET,
    LANES_BUSY,
    LANES_BUSY_S,
    LANES_DUE,
    LANES_EXPECTED,
    LANES_INSIDE,
    LANES_LATER,
    LANES_LINE,
    LANES_NODES,
    LANES_ON,
    LANES_SHARE,
    LANES_TIME,
    LINK,
    MOST,
    NOBODY,
    PART,
    PREFILL,
    PREFILL_START,
    PROMPT,
    SLOT,
    SLOWNESS,
    WHOLE,
)
from jevons.serving.compiled.wheel import AHEAD, WHOLE_IS_BUCKET, put, take


@inner
def settle(state, counts, now):
    """Carry the areas on to now."""
    lanes, numbers = counts[LANES] & MOST, counts[LANE_COUNTS] & MOST
    span = now - state[lanes + LANES_AT]
    if span > 0:
        state[lanes + LANES_AREA] += counts[numbers + LANES_INSIDE] * span
        busy = float(counts[numbers + LANES_BUSY]) if state[LANES_SHARE] == 1 else state[lanes + LANES_EXPECTED]
        state[lanes + LANES_BUSY_S] += min(busy, state[lanes + LANES_NODES]) * span
        state[lanes + LANES_AT] = now


@inner
def begin(slots, now, slot, s_per_token, slowness, buckets_per_s):
    """Write down when a prompt that begins now ends."""
    own = (slot & MOST) * SLOT
    if np.isnan(slots[own + PREFILL_START]):
        slots[own + PREFILL_START] = now
    end = now + slots[own + PREFILL] * s_per_token * slowness
    slots[own + PART], slots[own + WHOLE] = end, np.floor(end * buckets_per_s)


@inner
def given_up(slots, now, slot):
    """How long ago a request gave up whose turn it is now, and how long it had waited until then, s."""
    entered = slots[(slot & MOST) * SLOT + ENTERED]
    at = max(slots[(slot & MOST) * SLOT + DEADLINE], entered)
    return now - at, at - entered


@inner
def lost(slots, links, state, counts, slot):
    """Count out a request that gave up, at its deadline: the area since then was not its."""
    lanes = counts[LANES]
    overdue_s, waited_s = given_up(slots, state[lanes + LANES_AT], slot)
    counts[counts[LANE_COUNTS] + LANES_INSIDE] -= 1
    state[lanes + LANES_AREA] -= overdue_s
    state[lanes + LANES_TIME] += waited_s
    lose(slots, links, state, counts, slot)


@apart
def fill(slots, links, state, counts):
    """Let those who wait into the lanes that are free."""
    lanes, numbers = counts[LANES], counts[LANE_COUNTS]
    line, now = numbers + LANES_LINE, state[lanes + LANES_AT]
    while counts[numbers + LANES_BUSY] < counts[numbers + LANES_ON] and not is_empty(counts, line):
        slot = head(counts, line)
        pop(links, counts, line, slot)
        if slots[(slot & MOST) * SLOT + DEADLINE] <= now:
            lost(slots, links, state, counts, slot)
            continue
        counts[numbers + LANES_BUSY] += 1
        begin(slots, now, slot, state[LANE_S_PER_TOKEN], state[lanes + SLOWNESS], state[LANE_BUCKETS_PER_S])
        counts[numbers + LANES_DUE], state[lanes + LANES_BUCKET], counts[numbers + LANES_LATER] = put(
            slots, links, counts, counts[LANE_WHEEL], counts[LANE_BUCKETS], WHOLE_IS_BUCKET,
            int(counts[numbers + LANES_DUE]), int(state[lanes + LANES_BUCKET]), int(counts[numbers + LANES_LATER]),
            slot,
        )  # fmt: skip


@apart
def advance(slots, links, state, counts, until, queue, n):
    """Take requests in and let prompts end, until a time: one loop whose numbers stand in registers.

    Parameters
    ----------
    slots, links, state, counts
        See `state`.
    until : float, s
        What happens at that time or later is left.
    queue : ndarray, shape (2, m, 2)
        Times and slots of `n` requests that come before, in order; and, overwritten, of those whose prompts end.

    Returns
    -------
    int
        Number of those.
    """
    lanes, numbers = counts[LANES] & MOST, counts[LANE_COUNTS] & MOST
    at, area = state[lanes + LANES_AT], state[lanes + LANES_AREA]
    time, busy_s = state[lanes + LANES_TIME], state[lanes + LANES_BUSY_S]
    on, busy, inside = counts[numbers + LANES_ON], counts[numbers + LANES_BUSY], counts[numbers + LANES_INSIDE]
    due, later = int(counts[numbers + LANES_DUE]), int(counts[numbers + LANES_LATER])
    bucket, line = int(state[lanes + LANES_BUCKET]), numbers + LANES_LINE
    first, size, per_s = counts[LANE_WHEEL] & MOST, int(counts[LANE_BUCKETS]), state[LANE_BUCKETS_PER_S]
    nodes, expected, is_whole = state[lanes + LANES_NODES], state[lanes + LANES_EXPECTED], state[LANES_SHARE] == 1
    s_per_token, slowness = state[LANE_S_PER_TOKEN], state[lanes + SLOWNESS]
    end = slots[(due & MOST) * SLOT + PART] if due != NOBODY else np.inf
    i, ended = 0, 0
    while True:
        arrival = queue[0, i, 0] if i < n else np.inf
        now = min(end, arrival)
        if now >= until:
            break
        span = now - at
        if span > 0:
            area += inside * span
            busy_s += min(float(busy) if is_whole else expected, nodes) * span
            at = now
        starts = NOBODY
        if end <= arrival:
            time += end - slots[(due & MOST) * SLOT + ENTERED]
            queue[1, ended, 0], queue[1, ended, 1] = end, due
            ended += 1
            busy -= 1
            inside -= 1
            due, bucket, later = take(slots, links, counts, first, size, WHOLE_IS_BUCKET, due, bucket, later, AHEAD)
            while busy < on and starts == NOBODY and not is_empty(counts, line):
                slot = head(counts, line)
                pop(links, counts, line, slot)
                if slots[(slot & MOST) * SLOT + DEADLINE] > at:
                    starts = slot
                else:
                    overdue_s, waited_s = given_up(slots, at, slot)
                    inside -= 1
                    area -= overdue_s
                    time += waited_s
                    lose(slots, links, state, counts, slot)
        else:
            slot = int(queue[0, i, 1])
            i += 1
            inside += 1
            stage(links, slot, PROMPT)
            slots[(slot & MOST) * SLOT + ENTERED] = at
            # While anybody waits no lane is free.
            if busy < on:
                starts = slot
            else:
                append(links, state, counts, line, slot)
        if starts != NOBODY:
            busy += 1
            begin(slots, at, starts, s_per_token, slowness, per_s)
            due, bucket, later = put(slots, links, counts, first, size, WHOLE_IS_BUCKET, due, bucket, later, starts)
        end = slots[(due & MOST) * SLOT + PART] if due != NOBODY else np.inf
    state[lanes + LANES_AT], state[lanes + LANES_AREA] = at, area
    state[lanes + LANES_TIME], state[lanes + LANES_BUSY_S] = time, busy_s
    counts[numbers + LANES_BUSY], counts[numbers + LANES_INSIDE] = busy, inside
    counts[numbers + LANES_DUE], state[lanes + LANES_BUCKET], counts[numbers + LANES_LATER] = due, bucket, later
    return ended


@apart
def switch(slots, links, state, counts, now, nodes, on, slowness, expected):
    """Work on so many true nodes, as so many lanes of the cell, from now on."""
    settle(state, counts, now)
    lanes = counts[LANES]
    state[lanes + LANES_NODES], state[lanes + LANES_EXPECTED], state[lanes + SLOWNESS] = nodes, expected, slowness
    counts[counts[LANE_COUNTS] + LANES_ON] = on
    fill(slots, links, state, counts)


@apart
def close(slots, links, state, counts, now):
    """Lose those whose deadline is past, wherever they stand."""
    settle(state, counts, now)
    gone = clear(slots, links, counts, counts[LANE_COUNTS] + LANES_LINE, now)
    while gone != NOBODY:
        following = int(links[(gone & MOST) * LINK + AFTER])
        lost(slots, links, state, counts, gone)
        gone = following
