"""What is counted of each request as it comes, is lost or leaves."""

from __future__ import annotations

import numpy as np

from jevons.serving.compiled.jit import inner
from jevons.serving.compiled.state import (
    ARRIVAL,
    BINS,
    BINS_PER_OCTAVE_LOG2,
    CACHED,
    CELL,
    FIRST_OCTAVE,
    FIRST_TOKEN,
    FREE,
    INPUT,
    LOST,
    OUTPUT,
    PREFILL_START,
    SERVED_REQUESTS,
    STAGE,
    STREAM,
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
    slots.where[slot, STAGE] = FREE
    slots.free[slots.n_free[0]] = slot
    slots.n_free[0] += 1


@inner
def lose(slots, tallies, slot):  # type: ignore[no-untyped-def]
    """Count a request that gave up."""
    tallies.flow[LOST] += 1
    tallies.arrivals[1, slots.where[slot, CELL]] += 1
    if len(tallies.lost) > 1:
        request = slots.request[slot]
        tallies.lost[request] = 1
        tallies.records[request, 0] = slots.cold[slot, PREFILL_START]
    release(slots, slot)


@inner
def serve(slots, tallies, slot, now, origin_s, hour_s, warm_up, last_hour):  # type: ignore[no-untyped-def]
    """Count a request that has got its last token."""
    hot, streams = slots.hot, tallies.by_stream.shape[1]
    wait = hot[slot, WAIT]
    arrival, first, departure = hot[slot, ARRIVAL], hot[slot, FIRST_TOKEN] + wait, now + wait
    output, stream, cell = hot[slot, OUTPUT], slots.where[slot, STREAM], slots.where[slot, CELL]
    tallies.flow[SERVED_REQUESTS] += 1
    hour = int(np.floor((departure - origin_s) / hour_s)) + warm_up
    if warm_up <= hour < last_hour:
        at = hour * streams + stream
        tallies.tokens[0, at] += hot[slot, INPUT]
        tallies.tokens[1, at] += hot[slot, CACHED]
        tallies.tokens[2, at] += output
    came = cell // streams
    if came >= warm_up:
        ttft, decode = first - arrival, departure - first
        tpot = decode / output
        latency, own = tallies.latency, tallies.by_stream
        latency[0, came] += 1
        latency[1, came] += ttft
        latency[2, came] += tpot
        own[0, stream] += 1
        own[1, stream] += ttft
        own[2, stream] += tpot
        own[3, stream] += ttft + decode
        own[4, stream] += decode
        own[5, stream] += output
        if tallies.ttft.shape[1] > 1:
            tallies.ttft[came, bin_of(ttft)] += 1
            tallies.stream_ttft[stream, bin_of(ttft)] += 1
            tallies.tpot[came, bin_of(tpot)] += 1
    if len(tallies.lost) > 1:
        record = tallies.records[slots.request[slot]]
        record[0], record[1], record[2] = slots.cold[slot, PREFILL_START], first, departure
    release(slots, slot)
