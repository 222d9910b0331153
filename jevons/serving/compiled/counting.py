"""What is counted of each request as it comes, is lost or leaves."""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled.jit import apart, inner
from jevons.serving.compiled.state import (
    ARRIVAL,
    BINS,
    BINS_PER_OCTAVE_LOG2,
    CACHED,
    CACHED_TOKENS,
    CELL,
    FIRST_OCTAVE,
    FIRST_TOKEN,
    FREE,
    FREE_SLOT,
    INPUT,
    INPUT_TOKENS,
    LOST,
    OUTPUT,
    OUTPUT_TOKENS,
    PREFILL_START,
    REQUEST,
    SERVED_REQUESTS,
    STAGE,
    STREAM,
    SUM_DECODE,
    SUM_LATENCY,
    SUM_TOKENS,
    SUM_TPOT,
    SUM_TTFT,
    WAIT,
)

#: Bits of the fraction of a double, and its exponent of 1.
FRACTION_BITS, EXPONENT_OF_1 = 52, 1023


@inner
def bin_of(seconds):  # type: ignore[no-untyped-def]
    """Bin of a latency, from the bits of its number: no logarithm is taken."""
    bits = np.float64(seconds).view(np.int64)
    place = (bits >> (FRACTION_BITS - BINS_PER_OCTAVE_LOG2)) - ((EXPONENT_OF_1 + FIRST_OCTAVE) << BINS_PER_OCTAVE_LOG2)
    return min(max(place, 0), BINS - 1)


@inner
def release(slots, slot):  # type: ignore[no-untyped-def]
    """Make a slot free."""
    slots.ints[slot, STAGE] = FREE
    slots.ints[slots.n_free[0], FREE_SLOT] = slot
    slots.n_free[0] += 1


@apart
def lose(slots, law, tallies, slot):  # type: ignore[no-untyped-def]
    """Count a request that gave up."""
    tallies.cells[slots.ints[slot, CELL], LOST] += 1
    if law.keeps_records:
        request = int(slots.floats[slot, REQUEST])
        tallies.records[request, 0] = slots.floats[slot, PREFILL_START]
        tallies.records[request, 3] = 1.0
    release(slots, slot)


@inner
def serve(slots, law, tallies, slot, now):  # type: ignore[no-untyped-def]
    """Count a request that has got its last token."""
    floats, cells = slots.floats, tallies.cells
    wait, output, cell = floats[slot, WAIT], floats[slot, OUTPUT], slots.ints[slot, CELL]
    first, departure = floats[slot, FIRST_TOKEN] + wait, now + wait
    hour = int(np.floor((departure - law.origin_s) / law.hour_s)) + law.warm_up
    if law.warm_up <= hour < law.hours:
        left = hour * len(law.streams) + slots.ints[slot, STREAM]
        cells[left, INPUT_TOKENS] += floats[slot, INPUT]
        cells[left, CACHED_TOKENS] += floats[slot, CACHED]
        cells[left, OUTPUT_TOKENS] += output
    ttft, decode = first - floats[slot, ARRIVAL], departure - first
    tpot = decode / output
    cells[cell, SERVED_REQUESTS] += 1
    cells[cell, SUM_TTFT] += ttft
    cells[cell, SUM_TPOT] += tpot
    cells[cell, SUM_LATENCY] += ttft + decode
    cells[cell, SUM_DECODE] += decode
    cells[cell, SUM_TOKENS] += output
    if law.keeps_records:
        record = int(floats[slot, REQUEST])
        tallies.records[record, 0] = floats[slot, PREFILL_START]
        tallies.records[record, 1], tallies.records[record, 2] = first, departure
    else:
        tallies.bins[0, cell, bin_of(ttft)] += 1
        tallies.bins[1, cell, bin_of(tpot)] += 1
    release(slots, slot)
