"""Prefill: first come, first served lanes, interactive requests first; `disaggregated.Prefill` on arrays."""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled.counting import lose
from jevons.serving.compiled.jit import apart, inner
from jevons.serving.compiled.line import append, clear, head, is_empty, pop
from jevons.serving.compiled.state import (
    AFTER,
    DEADLINE,
    ENTERED,
    LANES_AREA,
    LANES_AT,
    LANES_BUCKET,
    LANES_BUSY,
    LANES_BUSY_S,
    LANES_DUE,
    LANES_EXPECTED,
    LANES_HEADER,
    LANES_INSIDE,
    LANES_LATER,
    LANES_LINES,
    LANES_NODES,
    LANES_ON,
    LANES_PER_S,
    LANES_SLOWNESS,
    LANES_TIME,
    NOBODY,
    PART,
    PREFILL,
    PREFILL_START,
    PROMPT,
    STAGE,
    WHOLE,
)
from jevons.serving.compiled.wheel import WHOLE_IS_BUCKET, put, take


@inner
def settle(lanes, share, now):  # type: ignore[no-untyped-def]
    """Carry the areas on to now."""
    floats, ints = lanes.floats, lanes.ints
    span = now - floats[LANES_AT]
    if span > 0:
        floats[LANES_AREA] += ints[LANES_INSIDE] * span
        busy = float(ints[LANES_BUSY]) if share == 1 else floats[LANES_EXPECTED]
        floats[LANES_BUSY_S] += min(busy, floats[LANES_NODES]) * span
        floats[LANES_AT] = now


@inner
def start(slots, law, lanes, slot):  # type: ignore[no-untyped-def]
    """Begin a prompt."""
    floats, ints = lanes.floats, lanes.ints
    now = floats[LANES_AT]
    ints[LANES_BUSY] += 1
    if np.isnan(slots.floats[slot, PREFILL_START]):
        slots.floats[slot, PREFILL_START] = now
    end = now + slots.floats[slot, PREFILL] * law.lane_s_per_token * floats[LANES_SLOWNESS]
    slots.floats[slot, PART] = end
    slots.floats[slot, WHOLE] = np.floor(end * floats[LANES_PER_S])
    ints[LANES_DUE], floats[LANES_BUCKET], ints[LANES_LATER] = put(
        slots, ints, LANES_HEADER, WHOLE_IS_BUCKET, ints[LANES_DUE], int(floats[LANES_BUCKET]), ints[LANES_LATER], slot
    )


@apart
def fill(slots, law, lanes, tallies):  # type: ignore[no-untyped-def]
    """Let those who wait into the lanes that are free."""
    ints = lanes.ints
    while ints[LANES_BUSY] < ints[LANES_ON]:
        now = lanes.floats[LANES_AT]
        slot = head(ints, LANES_LINES)
        while slot != NOBODY and slots.floats[slot, DEADLINE] <= now:
            pop(slots, ints, LANES_LINES, slot)
            lost(slots, law, lanes, tallies, slot)
            slot = head(ints, LANES_LINES)
        if slot == NOBODY:
            break
        pop(slots, ints, LANES_LINES, slot)
        start(slots, law, lanes, slot)


@apart
def lost(slots, law, lanes, tallies, slot):  # type: ignore[no-untyped-def]
    """Count out a request that gave up, at its deadline: the area since then was not its."""
    floats, now = lanes.floats, lanes.floats[LANES_AT]
    at = max(slots.floats[slot, DEADLINE], slots.floats[slot, ENTERED])
    lanes.ints[LANES_INSIDE] -= 1
    floats[LANES_AREA] -= now - at
    floats[LANES_TIME] += at - slots.floats[slot, ENTERED]
    lose(slots, law, tallies, slot)


@inner
def advance(slots, law, lanes, tallies, until, queue, n):  # type: ignore[no-untyped-def]
    """Take requests in and let prompts end, until a time.

    Parameters
    ----------
    slots, law, lanes, tallies
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
    floats, ints = lanes.floats, lanes.ints
    i, ended = 0, 0
    while True:
        due = ints[LANES_DUE]
        end = slots.floats[due, PART] if due != NOBODY else np.inf
        arrival = queue[0, i, 0] if i < n else np.inf
        if end <= arrival:
            if end >= until:
                break
            settle(lanes, law.lanes_share, end)
            ints[LANES_BUSY] -= 1
            ints[LANES_INSIDE] -= 1
            floats[LANES_TIME] += end - slots.floats[due, ENTERED]
            ints[LANES_DUE], floats[LANES_BUCKET], ints[LANES_LATER] = take(
                slots, ints, LANES_HEADER, WHOLE_IS_BUCKET, due, int(floats[LANES_BUCKET]), ints[LANES_LATER]
            )
            queue[1, ended, 0], queue[1, ended, 1] = end, due
            ended += 1
            if not is_empty(ints, LANES_LINES):
                fill(slots, law, lanes, tallies)
        else:
            slot = int(queue[0, i, 1])
            i += 1
            settle(lanes, law.lanes_share, arrival)
            slots.floats[slot, ENTERED] = floats[LANES_AT]
            slots.ints[slot, STAGE] = PROMPT
            ints[LANES_INSIDE] += 1
            if ints[LANES_BUSY] < ints[LANES_ON] and is_empty(ints, LANES_LINES):
                start(slots, law, lanes, slot)
            else:
                append(slots, law, ints, LANES_LINES, slot)
                fill(slots, law, lanes, tallies)
    return ended


@apart
def switch(slots, law, lanes, tallies, now, nodes, on, slowness, expected):  # type: ignore[no-untyped-def]
    """Work on so many true nodes, as so many lanes of the cell, from now on."""
    settle(lanes, law.lanes_share, now)
    lanes.floats[LANES_NODES], lanes.floats[LANES_EXPECTED] = nodes, expected
    lanes.floats[LANES_SLOWNESS] = slowness
    lanes.ints[LANES_ON] = on
    fill(slots, law, lanes, tallies)


@apart
def close(slots, law, lanes, tallies, now):  # type: ignore[no-untyped-def]
    """Lose those whose deadline is past, wherever they stand."""
    settle(lanes, law.lanes_share, now)
    gone = clear(slots, lanes.ints, LANES_LINES, now)
    while gone != NOBODY:
        following = slots.ints[gone, AFTER]
        lost(slots, law, lanes, tallies, gone)
        gone = following
