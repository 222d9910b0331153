"""Prefill: first come, first served lanes, interactive requests first; `disaggregated.Prefill` on arrays."""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled.counting import lose
from jevons.serving.compiled.jit import inner, kernel
from jevons.serving.compiled.line import append, clear, head, is_empty, pop
from jevons.serving.compiled.state import (
    DEADLINE,
    ENTERED,
    LANES_AREA,
    LANES_AT,
    LANES_BUCKET,
    LANES_BUSY,
    LANES_BUSY_S,
    LANES_DUE,
    LANES_EXPECTED,
    LANES_INSIDE,
    LANES_LATER,
    LANES_LINES,
    LANES_NODES,
    LANES_ON,
    LANES_PER_S,
    LANES_SLOWNESS,
    LANES_TIME,
    NOBODY,
    PREFILL,
    PREFILL_START,
    PROMPT,
    STAGE,
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
    cold = slots.cold
    if np.isnan(cold[slot, PREFILL_START]):
        cold[slot, PREFILL_START] = now
    end = now + cold[slot, PREFILL] * law.lane_s_per_token * floats[LANES_SLOWNESS]
    slots.part[slot] = end
    slots.whole[slot] = int(end * floats[LANES_PER_S])
    ints[LANES_DUE], ints[LANES_BUCKET], ints[LANES_LATER] = put(
        slots, lanes.buckets, WHOLE_IS_BUCKET, ints[LANES_DUE], ints[LANES_BUCKET], ints[LANES_LATER], slot
    )


@inner
def fill(slots, law, lanes, tallies):  # type: ignore[no-untyped-def]
    """Let those who wait into the lanes that are free."""
    ints, lines = lanes.ints, lanes.ints[LANES_LINES:]
    while ints[LANES_BUSY] < ints[LANES_ON]:
        now = lanes.floats[LANES_AT]
        slot = head(slots, lines, now)
        while slot != NOBODY and slots.cold[slot, DEADLINE] <= now:
            pop(slots, lines, slot)
            lost(slots, lanes, tallies, slot)
            slot = head(slots, lines, now)
        if slot == NOBODY:
            break
        pop(slots, lines, slot)
        start(slots, law, lanes, slot)


@inner
def lost(slots, lanes, tallies, slot):  # type: ignore[no-untyped-def]
    """Count out a request that gave up, at its deadline: the area since then was not its."""
    floats, now = lanes.floats, lanes.floats[LANES_AT]
    at = max(slots.cold[slot, DEADLINE], slots.hot[slot, ENTERED])
    lanes.ints[LANES_INSIDE] -= 1
    floats[LANES_AREA] -= now - at
    floats[LANES_TIME] += at - slots.hot[slot, ENTERED]
    lose(slots, tallies, slot)


@kernel
def advance(slots, law, lanes, tallies, until, came_s, came, n, done_s, done):  # type: ignore[no-untyped-def]
    """Take requests in and let prompts end, until a time.

    Parameters
    ----------
    slots, law, lanes, tallies
        See `state`.
    until : float, s
        What happens at that time or later is left.
    came_s, came : ndarray
        Times and slots of `n` requests that come before, in order.
    done_s, done : ndarray
        Overwritten with the times and slots of those whose prompts end.

    Returns
    -------
    int
        Number of those.
    """
    floats, ints, hot = lanes.floats, lanes.ints, slots.hot
    lines = ints[LANES_LINES:]
    i, ended = 0, 0
    while True:
        due = ints[LANES_DUE]
        end = slots.part[due] if due != NOBODY else np.inf
        arrival = came_s[i] if i < n else np.inf
        if end <= arrival:
            if end >= until:
                break
            settle(lanes, law.lanes_share, end)
            ints[LANES_BUSY] -= 1
            ints[LANES_INSIDE] -= 1
            floats[LANES_TIME] += end - hot[due, ENTERED]
            ints[LANES_DUE], ints[LANES_BUCKET], ints[LANES_LATER] = take(
                slots, lanes.buckets, WHOLE_IS_BUCKET, due, ints[LANES_BUCKET], ints[LANES_LATER]
            )
            done_s[ended], done[ended] = end, due
            ended += 1
            if not is_empty(lines):
                fill(slots, law, lanes, tallies)
        else:
            slot = came[i]
            i += 1
            settle(lanes, law.lanes_share, arrival)
            hot[slot, ENTERED] = floats[LANES_AT]
            slots.where[slot, STAGE] = PROMPT
            ints[LANES_INSIDE] += 1
            if ints[LANES_BUSY] < ints[LANES_ON] and is_empty(lines):
                start(slots, law, lanes, slot)
            else:
                append(slots, law, lines, slot)
                fill(slots, law, lanes, tallies)
    return ended


@kernel
def switch(slots, law, lanes, tallies, now, nodes, on, slowness, expected):  # type: ignore[no-untyped-def]
    """Work on so many true nodes, as so many lanes of the cell, from now on."""
    settle(lanes, law.lanes_share, now)
    lanes.floats[LANES_NODES], lanes.floats[LANES_EXPECTED] = nodes, expected
    lanes.floats[LANES_SLOWNESS] = slowness
    lanes.ints[LANES_ON] = on
    fill(slots, law, lanes, tallies)


@kernel
def close(slots, law, lanes, tallies, now):  # type: ignore[no-untyped-def]
    """Lose those whose deadline is past, wherever they stand."""
    settle(lanes, law.lanes_share, now)
    lines = lanes.ints[LANES_LINES:]
    gone = clear(slots, lines, now)
    while gone != NOBODY:
        following = slots.after[gone]
        lost(slots, lanes, tallies, gone)
        gone = following
