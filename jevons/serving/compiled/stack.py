"""A stack of small days, one after the other in one call: what a month of many worlds asks for.

Each day is drawn, served as in `day` and measured before the next one takes its place in the same memory.
"""

from __future__ import annotations

from math import log, sqrt

import numpy as np

from jevons.randomness import (
    CENTRE_DENOMINATOR,
    CENTRE_NUMERATOR,
    SHOULDER_DENOMINATOR,
    SHOULDER_NUMERATOR,
    TAIL_DENOMINATOR,
    TAIL_NUMERATOR,
)
from jevons.serving.compiled.day import advance, control
from jevons.serving.compiled.draws import philox, ratio, to_unit
from jevons.serving.compiled.jit import apart, inner, kernel
from jevons.serving.compiled.state import (
    AFTER,
    BLOCK_ARRIVAL,
    BLOCK_OUTPUT,
    BLOCK_STREAM,
    CELL_ROW,
    CELLS,
    DECODE_AREA,
    DECODE_TIME,
    DECODING,
    ENTERED,
    FIRST_TOKEN,
    FREE,
    HOUR_S,
    HOURS,
    IN_BLOCK,
    LANES,
    LANES_AREA,
    LANES_TIME,
    LINK,
    N_REPLICAS,
    N_STREAMS,
    NO_MORE,
    NOBODY,
    ORIGIN_S,
    PROMPT,
    PROMPT_AREA,
    PROMPT_TIME,
    RECORD_ROW,
    RECORDS,
    REPLICA_ROW,
    REPLICAS,
    SLOT,
    STAGE,
    TAG,
    WARM_UP,
)
from jevons.workload import GAMMA_TRIALS

#: Rows of a stream's keys of over-dispersion: the normal number and the uniform one of a trial, and that of small
#: shapes.
GAMMA, GAMMA_TRIAL, GAMMA_SHAPE = range(3)
#: Columns of a day's account, see `interface.Flow`; the last says whether its requests were all that it had room for.
(
    FLOW_INSIDE, FLOW_PREFILL_AREA, FLOW_PREFILL_TIME, FLOW_DECODE_AREA, FLOW_DECODE_TIME, IS_FULL,
) = range(6)  # fmt: skip
FLOW_COLUMNS = 6
#: Quantiles of the latencies of an hour.
QUANTILES = (0.5, 0.95, 0.99)


@inner
def uniform_number(key, item):
    """One item of `Draws.uniform`."""
    words = philox(key[0], key[1], item // 4 + 1)
    which = item % 4
    word = words[0]
    if which == 1:
        word = words[1]
    elif which == 2:
        word = words[2]
    elif which == 3:
        word = words[3]
    return to_unit(word)


@inner
def normal_number(p):
    """Quantile of the standard normal distribution: `randomness.normal_quantile` of one number."""
    q = p - 0.5
    if abs(q) <= 0.425:
        return q * ratio(CENTRE_NUMERATOR, CENTRE_DENOMINATOR, 0.180625 - q * q)
    r = sqrt(-log(min(p, 1.0 - p)))
    if r <= 5.0:
        z = ratio(SHOULDER_NUMERATOR, SHOULDER_DENOMINATOR, r - 1.6)
    else:
        z = ratio(TAIL_NUMERATOR, TAIL_DENOMINATOR, r - 5.0)
    return z if q > 0 else -z


@kernel
def gamma_multipliers(keys, cvs, multipliers):
    """Multipliers of over-dispersion of each day, span and stream: `workload.gamma_numbers` on arrays.

    Parameters
    ----------
    keys : ndarray, shape (days, streams, 3, 2)
    cvs : ndarray, shape (streams,)
        Coefficients of variation; 0 is none.
    multipliers : ndarray, shape (days, spans, streams)
        Overwritten.
    """
    days, spans, streams = multipliers.shape
    for day in range(days):
        for stream in range(streams):
            for span in range(spans):
                multipliers[day, span, stream] = gamma_number(keys[day, stream], cvs[stream], span)


@apart
def gamma_number(keys, cv, item):
    """Gamma number of mean 1 from draws of its own; the method is told in `workload.gamma_numbers`."""
    if cv == 0:
        return 1.0
    shape = cv**-2.0
    d = shape + (1 if shape < 1 else 0) - 1 / 3
    number = 0.0
    for trial in range(GAMMA_TRIALS):
        x = normal_number(uniform_number(keys[GAMMA], item * GAMMA_TRIALS + trial))
        u = uniform_number(keys[GAMMA_TRIAL], item * GAMMA_TRIALS + trial)
        root = max(1 + x / sqrt(9 * d), 1e-100)
        v = root * root * root
        if trial == 0:
            number = d * v
        if log(u) < x * x / 2 + d * (1 - v + log(v)):
            number = d * v
            break
    if shape < 1:
        number *= uniform_number(keys[GAMMA_SHAPE], item) ** (1 / shape)
    return number / shape


@kernel
def serve_days(
    slots, links, state, counts,
    first_state, first_counts, laws_of_days,
    keys, spans, laws, rows, until,
    progress, block, queue, scratch, no_row, no_slots, nobody_again,
    totals, cells, ttft, tpot, stream_ttft, flow,
):  # fmt: skip
    """Serve some days, each from the same beginning.

    Parameters
    ----------
    slots, links, state, counts
        See `state`; working space.
    first_state, first_counts : ndarray
        What a day begins with, except
    laws_of_days : ndarray, shape (days, numbers)
        the first numbers of its `state`.
    keys, spans, rows : ndarray, shape (days, ...)
        See `draws` and `state`.
    laws : ndarray
        Token laws, the same for all.
    until : float, s
        End of a day.
    progress, block, queue, scratch : ndarray
        Working space; the block has room for all requests of a day.
    no_row, no_slots, nobody_again : ndarray
        What `day.control` is given at a close.
    totals, cells, ttft, tpot, stream_ttft, flow : ndarray, shape (days, ...)
        Overwritten: notes, cells, percentiles (3, hours) of the latencies of each hour, the 95th of each stream's time
        to first token, and the account.
    """
    for day in range(len(laws_of_days)):
        reset(links, state, counts, first_state, first_counts, laws_of_days[day], progress)
        advance(
            slots, links, state, counts, keys[day], spans[day], laws,
            progress, block, queue, totals[day], rows[day], scratch, until,
        )  # fmt: skip
        flow[day, IS_FULL] = 1.0 if progress[NO_MORE] == 0 else 0.0
        control(slots, links, state, counts, no_row, no_slots, nobody_again, True, until)
        take_account(slots, links, state, counts, until, flow[day])
        hours, streams = counts[HOURS], counts[N_STREAMS]
        for hour in range(hours):
            for stream in range(streams):
                cell = counts[CELLS] + (hour * streams + stream) * CELL_ROW
                for column in range(CELL_ROW):
                    cells[day, hour, stream, column] = state[cell + column]
        take_percentiles(state, counts, block, int(progress[IN_BLOCK]), scratch, ttft[day], tpot[day], stream_ttft[day])


@apart
def reset(links, state, counts, first_state, first_counts, law, progress):
    """Bring the memory to what a day begins with."""
    for i in range(len(state)):
        state[i] = first_state[i]
    for i in range(len(law)):
        state[i] = law[i]
    for i in range(len(counts)):
        counts[i] = first_counts[i]
    size = len(links) // LINK
    for slot in range(size):
        links[slot * LINK + TAG] = FREE
        links[slot * LINK + AFTER] = slot + 1 if slot + 1 < size else NOBODY
    for i in range(len(progress)):
        progress[i] = 0.0


@apart
def take_account(slots, links, state, counts, now, flow):
    """What was there when the day closed, and both sides of Little's law in both stages."""
    lanes = counts[LANES]
    flow[FLOW_INSIDE] = 0.0
    flow[FLOW_PREFILL_AREA], flow[FLOW_PREFILL_TIME] = state[lanes + LANES_AREA], state[lanes + LANES_TIME]
    flow[FLOW_DECODE_AREA], flow[FLOW_DECODE_TIME] = 0.0, 0.0
    for number in range(counts[N_REPLICAS]):
        r = counts[REPLICAS] + number * REPLICA_ROW
        flow[FLOW_PREFILL_AREA] += state[r + PROMPT_AREA]
        flow[FLOW_PREFILL_TIME] += state[r + PROMPT_TIME]
        flow[FLOW_DECODE_AREA] += state[r + DECODE_AREA]
        flow[FLOW_DECODE_TIME] += state[r + DECODE_TIME]
    for slot in range(len(links) // LINK):
        stage = links[slot * LINK + TAG] & STAGE
        if stage != FREE:
            flow[FLOW_INSIDE] += 1
            # Up to its first token, the time in decode has been counted when it came.
            spent_s = now - slots[slot * SLOT + (FIRST_TOKEN if stage == DECODING else ENTERED)]
            flow[FLOW_PREFILL_TIME if stage == PROMPT else FLOW_DECODE_TIME] += spent_s


@apart
def take_percentiles(state, counts, block, n, scratch, ttft, tpot, stream_ttft):
    """Percentiles of the requests of each hour, which stand together, and of each stream."""
    warm_up, hours, hour_s, origin_s = counts[WARM_UP], counts[HOURS], state[HOUR_S], state[ORIGIN_S]
    i = 0
    for hour in range(hours - warm_up):
        while i < n and block[BLOCK_ARRIVAL, i] < hour * hour_s:
            i += 1
        found = 0
        while i < n and (block[BLOCK_ARRIVAL, i] < (hour + 1) * hour_s or hour == hours - warm_up - 1):
            record = counts[RECORDS] + i * RECORD_ROW
            first, departure = state[record + 1], state[record + 2]
            if not np.isnan(departure):
                scratch[0, found] = first - origin_s - block[BLOCK_ARRIVAL, i]
                scratch[1, found] = (departure - first) / block[BLOCK_OUTPUT, i]
                found += 1
            i += 1
        sort(scratch[0], found)
        sort(scratch[1], found)
        for k in range(3):
            ttft[k, hour] = quantile(scratch[0], found, QUANTILES[k])
            tpot[k, hour] = quantile(scratch[1], found, QUANTILES[k])
    for stream in range(len(stream_ttft)):
        found = 0
        for i in range(n):
            record = counts[RECORDS] + i * RECORD_ROW
            if block[BLOCK_STREAM, i] == stream and block[BLOCK_ARRIVAL, i] >= 0 and not np.isnan(state[record + 2]):
                scratch[0, found] = state[record + 1] - origin_s - block[BLOCK_ARRIVAL, i]
                found += 1
        sort(scratch[0], found)
        stream_ttft[stream] = quantile(scratch[0], found, 0.95)


@apart
def sort(values, n):
    """Sort the first n values in place, by Shell's method with Ciura's gaps."""
    for gap in (701, 301, 132, 57, 23, 10, 4, 1):
        for i in range(gap, n):
            value, j = values[i], i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value


@inner
def quantile(rising, n, p):
    """Quantile of n values in rising order, linear between them: `measurement.quantile`; NaN of none."""
    if n == 0:
        return np.nan
    place = p * (n - 1)
    below = int(place)
    above = min(below + 1, n - 1)
    return rising[below] + (place - below) * (rising[above] - rising[below])
