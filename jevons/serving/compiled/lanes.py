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
def start(slots, links, state, counts, slot):
    """Begin a prompt."""
    lanes, numbers, own = counts[LANES], counts[LANE_COUNTS], (slot & MOST) * SLOT
    now = state[lanes + LANES_AT]
    counts[numbers + LANES_BUSY] += 1
    if np.isnan(slots[own + PREFILL_START]):
        slots[own + PREFILL_START] = now
    end = now + slots[own + PREFILL] * state[LANE_S_PER_TOKEN] * state[lanes + SLOWNESS]
    slots[own + PART], slots[own + WHOLE] = end, np.floor(end * state[LANE_BUCKETS_PER_S])
    counts[numbers + LANES_DUE], state[lanes + LANES_BUCKET], counts[numbers + LANES_LATER] = put(
        slots, links, counts, counts[LANE_WHEEL], counts[LANE_BUCKETS], WHOLE_IS_BUCKET,
        int(counts[numbers + LANES_DUE]), int(state[lanes + LANES_BUCKET]), int(counts[numbers + LANES_LATER]), slot,
    )  # fmt: skip


@apart
def fill(slots, links, state, counts):
    """Let those who wait into the lanes that are free."""
    numbers, now = counts[LANE_COUNTS], state[counts[LANES] + LANES_AT]
    line = numbers + LANES_LINE
    while counts[numbers + LANES_BUSY] < counts[numbers + LANES_ON] and not is_empty(counts, line):
        slot = head(counts, line)
        pop(links, counts, line, slot)
        if slots[(slot & MOST) * SLOT + DEADLINE] <= now:
            lost(slots, links, state, counts, slot)
        else:
            start(slots, links, state, counts, slot)


@inner
def lost(slots, links, state, counts, slot):
    """Count out a request that gave up, at its deadline: the area since then was not its."""
    lanes, entered = counts[LANES], slots[(slot & MOST) * SLOT + ENTERED]
    at = max(slots[(slot & MOST) * SLOT + DEADLINE], entered)
    counts[counts[LANE_COUNTS] + LANES_INSIDE] -= 1
    state[lanes + LANES_AREA] -= state[lanes + LANES_AT] - at
    state[lanes + LANES_TIME] += at - entered
    lose(slots, links, state, counts, slot)


@apart
def serve_at_once(slots, links, state, counts, until, queue, i, n, ended):
    """`advance` from the request `i` on while nobody waits, in one loop whose numbers stand in registers.

    Returns
    -------
    tuple
        The next request: one for whom no lane is free, or `n`; and the number of prompts that have ended.
    """
    lanes, numbers = counts[LANES] & MOST, counts[LANE_COUNTS] & MOST
    at, area = state[lanes + LANES_AT], state[lanes + LANES_AREA]
    time, busy_s = state[lanes + LANES_TIME], state[lanes + LANES_BUSY_S]
    on, busy, inside = counts[numbers + LANES_ON], counts[numbers + LANES_BUSY], counts[numbers + LANES_INSIDE]
    due, later = int(counts[numbers + LANES_DUE]), int(counts[numbers + LANES_LATER])
    bucket = int(state[lanes + LANES_BUCKET])
    first, size, per_s = counts[LANE_WHEEL] & MOST, int(counts[LANE_BUCKETS]), state[LANE_BUCKETS_PER_S]
    nodes, expected, is_whole = state[lanes + LANES_NODES], state[lanes + LANES_EXPECTED], state[LANES_SHARE] == 1
    s_per_token, slowness = state[LANE_S_PER_TOKEN], state[lanes + SLOWNESS]
    end = slots[(due & MOST) * SLOT + PART] if due != NOBODY else np.inf
    while True:
        arrival = queue[0, i, 0] if i < n else np.inf
        now = min(end, arrival)
        if now >= until or (arrival < end and busy >= on):
            break
        span = now - at
        if span > 0:
            area += inside * span
            busy_s += min(float(busy) if is_whole else expected, nodes) * span
            at = now
        if end <= arrival:
            time += end - slots[(due & MOST) * SLOT + ENTERED]
            queue[1, ended, 0], queue[1, ended, 1] = end, due
            ended += 1
            busy -= 1
            inside -= 1
            due, bucket, later = take(slots, links, counts, first, size, WHOLE_IS_BUCKET, due, bucket, later, AHEAD)
        else:
            slot = int(queue[0, i, 1])
            own = (slot & MOST) * SLOT
            i += 1
            busy += 1
            inside += 1
            stage(links, slot, PROMPT)
            slots[own + ENTERED] = at
            if np.isnan(slots[own + PREFILL_START]):
                slots[own + PREFILL_START] = at
            done = at + slots[own + PREFILL] * s_per_token * slowness
            slots[own + PART], slots[own + WHOLE] = done, np.floor(done * per_s)
            due, bucket, later = put(slots, links, counts, first, size, WHOLE_IS_BUCKET, due, bucket, later, slot)
        end = slots[(due & MOST) * SLOT + PART] if due != NOBODY else np.inf
    state[lanes + LANES_AT], state[lanes + LANES_AREA] = at, area
    state[lanes + LANES_TIME], state[lanes + LANES_BUSY_S] = time, busy_s
    counts[numbers + LANES_BUSY], counts[numbers + LANES_INSIDE] = busy, inside
    counts[numbers + LANES_DUE], state[lanes + LANES_BUCKET], counts[numbers + LANES_LATER] = due, bucket, later
    return i, ended


@inner
def advance(slots, links, state, counts, until, queue, n):
    """Take requests in and let prompts end, until a time.

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
    line, i, ended = numbers + LANES_LINE, 0, 0
    while True:
        if is_empty(counts, line):
            i, ended = serve_at_once(slots, links, state, counts, until, queue, i, n, ended)
        due = int(counts[numbers + LANES_DUE])
        end = slots[(due & MOST) * SLOT + PART] if due != NOBODY else np.inf
        arrival = queue[0, i, 0] if i < n else np.inf
        if end <= arrival:
            if end >= until:
                break
            settle(state, counts, end)
            counts[numbers + LANES_BUSY] -= 1
            counts[numbers + LANES_INSIDE] -= 1
            state[lanes + LANES_TIME] += end - slots[(due & MOST) * SLOT + ENTERED]
            counts[numbers + LANES_DUE], state[lanes + LANES_BUCKET], counts[numbers + LANES_LATER] = take(
                slots, links, counts, counts[LANE_WHEEL], counts[LANE_BUCKETS], WHOLE_IS_BUCKET,
                due, int(state[lanes + LANES_BUCKET]), int(counts[numbers + LANES_LATER]), AHEAD,
            )  # fmt: skip
            queue[1, ended, 0], queue[1, ended, 1] = end, due
            ended += 1
            if not is_empty(counts, line):
                fill(slots, links, state, counts)
        else:
            slot = int(queue[0, i, 1])
            i += 1
            settle(state, counts, arrival)
            slots[(slot & MOST) * SLOT + ENTERED] = state[lanes + LANES_AT]
            stage(links, slot, PROMPT)
            counts[numbers + LANES_INSIDE] += 1
            if counts[numbers + LANES_BUSY] < counts[numbers + LANES_ON] and is_empty(counts, line):
                start(slots, links, state, counts, slot)
            else:
                append(links, state, counts, line, slot)
                fill(slots, links, state, counts)
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
