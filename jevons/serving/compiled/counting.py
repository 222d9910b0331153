"""What is counted of each request as it is lost or leaves."""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled.jit import inner, prefetch
from jevons.serving.compiled.state import (
    AFTER,
    ARRIVAL,
    BINS,
    BINS_PER_OCTAVE_LOG2,
    CACHED,
    CACHED_TOKENS,
    CELL_ROW,
    CELLS,
    COLOCATED,
    ENTERED,
    FIRST_FREE,
    FIRST_OCTAVE,
    FIRST_TOKEN,
    FREE,
    HOUR_S,
    HOUR_SHIFT,
    HOURS,
    INPUT,
    INPUT_TOKENS,
    KEEPS_RECORDS,
    LINK,
    LOST,
    MOST,
    N_FREE,
    N_STREAMS,
    ORIGIN_S,
    OUTPUT,
    OUTPUT_TOKENS,
    PREFILL_START,
    RECORD_ROW,
    RECORDS,
    REQUEST,
    SERVED_REQUESTS,
    SLOT,
    STAGE,
    STAGE_BITS,
    STREAM,
    SUM_DECODE,
    SUM_LATENCY,
    SUM_TOKENS,
    SUM_TPOT,
    SUM_TTFT,
    TAG,
    TPOT_BINS,
    TTFT_BINS,
    WAIT,
    WARM_UP,
)

#: Bits of the fraction of a double, and its exponent of 1.
FRACTION_BITS, EXPONENT_OF_1 = 52, 1023


@inner
def bin_of(seconds):
    """Bin of a latency, from the bits of its number: no logarithm is taken."""
    bits = np.float64(seconds).view(np.int64)
    place = (bits >> (FRACTION_BITS - BINS_PER_OCTAVE_LOG2)) - ((EXPONENT_OF_1 + FIRST_OCTAVE) << BINS_PER_OCTAVE_LOG2)
    return min(max(place, 0), BINS - 1)


@inner
def stage(links, slot, new):
    """Move a request into another stage."""
    links[(slot & MOST) * LINK + TAG] = (links[(slot & MOST) * LINK + TAG] & ~STAGE) | new


@inner
def stream_of(links, slot):
    """The stream of a request."""
    return (links[(slot & MOST) * LINK + TAG] >> STAGE_BITS) & STREAM


@inner
def cell_of(links, counts, slot):
    """The cell in which a request is counted."""
    hour = links[(slot & MOST) * LINK + TAG] >> HOUR_SHIFT
    return (hour * counts[N_STREAMS] + stream_of(links, slot)) & MOST


@inner
def release(slots, links, counts, slot):
    """Make a slot free: the next that is taken, while its row is in the cache, of which the rest is asked for."""
    prefetch(slots, (slot & MOST) * SLOT + ENTERED)
    links[(slot & MOST) * LINK + TAG] = FREE
    links[(slot & MOST) * LINK + AFTER] = counts[FIRST_FREE]
    counts[FIRST_FREE] = slot
    counts[N_FREE] += 1


@inner
def lose(slots, links, state, counts, slot):
    """Count a request that gave up."""
    state[(counts[CELLS] & MOST) + cell_of(links, counts, slot) * CELL_ROW + LOST] += 1
    if counts[KEEPS_RECORDS] != 0:
        record = counts[RECORDS] + int(slots[(slot & MOST) * SLOT + REQUEST]) * RECORD_ROW
        state[record] = slots[(slot & MOST) * SLOT + PREFILL_START]
        state[record + 3] = 1.0
    release(slots, links, counts, slot)


@inner
def serve(slots, links, state, counts, slot, now):
    """Count a request that has got its last token."""
    own, stream, index = (slot & MOST) * SLOT, stream_of(links, slot), cell_of(links, counts, slot)
    output, first, departure = slots[own + OUTPUT], slots[own + FIRST_TOKEN], now
    if counts[COLOCATED] != 0:
        first, departure = first + slots[own + WAIT], now + slots[own + WAIT]
    hour = int(np.floor((departure - state[ORIGIN_S]) / state[HOUR_S])) + counts[WARM_UP]
    if counts[WARM_UP] <= hour < counts[HOURS]:
        left = (counts[CELLS] & MOST) + ((hour * counts[N_STREAMS] + stream) & MOST) * CELL_ROW
        state[left + INPUT_TOKENS] += slots[own + INPUT]
        state[left + CACHED_TOKENS] += slots[own + CACHED]
        state[left + OUTPUT_TOKENS] += output
    ttft, decode = first - slots[own + ARRIVAL], departure - first
    tpot = decode / output
    cell = (counts[CELLS] & MOST) + index * CELL_ROW
    state[cell + SERVED_REQUESTS] += 1
    state[cell + SUM_TTFT] += ttft
    state[cell + SUM_TPOT] += tpot
    state[cell + SUM_LATENCY] += ttft + decode
    state[cell + SUM_DECODE] += decode
    state[cell + SUM_TOKENS] += output
    if counts[KEEPS_RECORDS] != 0:
        record = counts[RECORDS] + int(slots[own + REQUEST]) * RECORD_ROW
        state[record] = slots[own + PREFILL_START]
        state[record + 1], state[record + 2] = first, departure
    else:
        counts[(counts[TTFT_BINS] & MOST) + index * BINS + bin_of(ttft)] += 1
        counts[(counts[TPOT_BINS] & MOST) + index * BINS + bin_of(tpot)] += 1
    release(slots, links, counts, slot)
