"""Requests drawn block by block: the numbers of `randomness` and the laws of `workload`, one request after the other.

A number is a function of its key and its item, so a block needs none but its own, and memory does not grow.
"""

from __future__ import annotations

from math import erfc, exp, log, sqrt
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from jevons.randomness import (
    CENTRE_DENOMINATOR,
    CENTRE_NUMERATOR,
    SHOULDER_DENOMINATOR,
    SHOULDER_NUMERATOR,
    TAIL_DENOMINATOR,
    TAIL_NUMERATOR,
)
from jevons.serving.compiled.jit import apart, inner, kernel
from jevons.serving.compiled.state import BLOCK_ARRIVAL, BLOCK_CACHED, BLOCK_INPUT, BLOCK_OUTPUT, BLOCK_STREAM, MOST

#: Rows of the table of keys, in the order of the purposes.
PURPOSES = ("arrival", "stream", "input", "output", "input kind", "output kind")
ARRIVAL, STREAM, INPUT, OUTPUT, INPUT_KIND, OUTPUT_KIND = range(len(PURPOSES))

MULTIPLIER_0, MULTIPLIER_1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
WEYL_0, WEYL_1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
ROUNDS = 10
CELL = 2.0**-53
DISCARDED_BITS = np.uint64(11)


class Source(NamedTuple):
    """What requests are drawn from; in shapes, s streams and t spans of time, warm-up first."""

    #: Philox keys of the purposes.
    keys: Any  # uint64 (6, 2)
    #: Of each span the begin and length of the first, s, the requests expected of all streams, and of all spans before;
    #: then their sums stream by stream.
    spans: Any  # (t + 1, 4 + s)
    #: Token laws of input and output: rows of mean, sigma and summed weights of a mixture, or of edges and summed
    #: shares of a histogram; and a fourth, `LAW_SIZE` and what follows it.
    laws: Any  # (s, 2, 4, k), k at least 3


#: Places of the number of components of a law (or of the edges of a histogram, negative), of the correlation of input
#: and output, of the cached share.
LAW_SIZE, LAW_CORRELATION, LAW_CACHED = range(3)
FIRST_S, SPAN_S, EXPECTED, REACHED, BELOW = range(5)


@intrinsic
def high_product(typing: Any, a: Any, b: Any) -> Any:  # noqa: ARG001 (the first argument of every intrinsic)
    """The upper 64 bits of a product of two 64-bit numbers: one instruction, which numpy's integers do not reach."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        from llvmlite import ir

        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), code


@inner
def philox(key_0, key_1, step):
    """The four words of a step of the counter: Philox4x64-10 as numpy has it."""
    a, b, c, d = np.uint64(step), np.uint64(0), np.uint64(0), np.uint64(0)
    for _ in range(ROUNDS):
        high_a, low_a = high_product(MULTIPLIER_0, a), MULTIPLIER_0 * a
        high_c, low_c = high_product(MULTIPLIER_1, c), MULTIPLIER_1 * c
        a, b, c, d = high_c ^ b ^ key_0, low_c, high_a ^ d ^ key_1, low_a
        key_0 += WEYL_0
        key_1 += WEYL_1
    return a, b, c, d


@inner
def to_unit(word):
    """A word as a number in (0, 1)."""
    return (np.float64(word >> DISCARDED_BITS) + 0.5) * CELL


@inner
def uniform_pair(key_0, key_1, pair):
    """The items 2 pair and 2 pair + 1."""
    # numpy counts before it draws, and a step makes two pairs.
    a, b, c, d = philox(key_0, key_1, pair // 2 + 1)
    first, second = (a, b) if pair % 2 == 0 else (c, d)
    return to_unit(first), to_unit(second)


@kernel
def uniform_numbers(key_0, key_1, first, n, numbers):
    """Uniform numbers in (0, 1) of the items `first` to `first + n - 1`: `Draws.uniform`, bit for bit."""
    step = first // 4
    item = 4 * step - first
    while item < n:
        step += 1
        a, b, c, d = philox(key_0, key_1, step)
        if item >= 0 and item + 4 <= n:
            numbers[item], numbers[item + 1] = to_unit(a), to_unit(b)
            numbers[item + 2], numbers[item + 3] = to_unit(c), to_unit(d)
        else:
            for place, word in enumerate((a, b, c, d)):
                if 0 <= item + place < n:
                    numbers[item + place] = to_unit(word)
        item += 4


@inner
def ratio(numerator, denominator, x):
    """Ratio of two polynomials of degree 7."""
    above, below = numerator[7], denominator[7]
    for power in range(6, -1, -1):
        above = above * x + numerator[power]
        below = below * x + denominator[power]
    return above / below


@kernel
def normal_numbers(uniform, n, normal, places):
    """Uniform numbers made standard normal: `randomness.normal_quantile`, operation for operation.

    The middle, six in seven, first and for all, and then the others, gathered in `places`: each step in a loop of its
    own without branches, as a branch that nobody can foresee costs more than the arithmetic.
    """
    outer = 0
    for i in range(n):
        q = uniform[i] - 0.5
        normal[i] = q * ratio(CENTRE_NUMERATOR, CENTRE_DENOMINATOR, 0.180625 - q * q)
    for i in range(n):
        places[outer] = i
        outer += abs(uniform[i] - 0.5) > 0.425
    for k in range(outer):
        i = int(places[k]) & MOST
        normal[i] = -log(min(uniform[i], 1.0 - uniform[i]))
    for k in range(outer):
        i = int(places[k]) & MOST
        r = sqrt(normal[i])
        z = ratio(SHOULDER_NUMERATOR, SHOULDER_DENOMINATOR, r - 1.6)
        if r > 5.0:
            z = ratio(TAIL_NUMERATOR, TAIL_DENOMINATOR, r - 5.0)
        normal[i] = np.copysign(z, uniform[i] - 0.5)


@inner
def tokens_at(law, z, kind):
    """Whole tokens at a standard normal place within the component that a uniform number chooses."""
    size = int(law[3, LAW_SIZE])
    if size < 0:
        tokens = interpolated(law, -size, 0.5 * erfc(-z / sqrt(2.0)))
    else:
        component = 0
        while component < size - 1 and kind >= law[2, component]:
            component += 1
        sigma = law[1, component]
        tokens = law[0, component] * exp(sigma * (z - sigma / 2))
    return max(1.0, np.rint(tokens))


@inner
def interpolated(law, edges, share):
    """Place in a histogram below which lies a share of it, linear within a bin."""
    j = 0
    while j < edges - 2 and share >= law[1, j + 1]:
        j += 1
    if law[1, j + 1] == law[1, j]:
        return law[0, j]
    return law[0, j] + (law[0, j + 1] - law[0, j]) / (law[1, j + 1] - law[1, j]) * (share - law[1, j])


@apart
def next_requests(keys, spans, laws, block, number, total, span, scratch):
    """Draw the next requests into a block.

    Parameters
    ----------
    keys, spans, laws
        See `Source`.
    block : ndarray, shape (5, n)
        Overwritten; rows as in `state`.
    number : int
        Requests drawn before.
    total, span : float, int
        Sum of the exponentials so far, and the span it has reached.
    scratch : ndarray, shape (5, n)

    Returns
    -------
    tuple
        Requests drawn, fewer than the block holds when no more are to come; and the sum and the span to go on from.
    """
    size, last = block.shape[1], len(spans) - 1
    uniform_numbers(keys[ARRIVAL, 0], keys[ARRIVAL, 1], number, size, scratch[0])
    n = 0
    while n < size:
        total += -log(scratch[0, n])
        while span < last and total >= spans[span + 1, REACHED]:
            span += 1
        if span == last:
            break
        scratch[1, n] = span
        inside = (total - spans[span, REACHED]) / spans[span, EXPECTED]
        block[BLOCK_ARRIVAL, n] = spans[0, FIRST_S] + spans[0, SPAN_S] * (span + inside)
        n += 1
    draw_streams(keys, spans, block, number, n, scratch)
    draw_tokens(keys, laws, block, number, n, scratch)
    return n, total, span


@apart
def draw_streams(keys, spans, block, number, n, scratch):
    """Draw the stream of each request by the streams' shares of its span."""
    streams = spans.shape[1] - BELOW
    if streams > 1:
        uniform_numbers(keys[STREAM, 0], keys[STREAM, 1], number, n, scratch[0])
    for i in range(n):
        stream = 0
        if streams > 1:
            below = spans[int(scratch[1, i])]
            at = scratch[0, i] * below[BELOW + streams - 1]
            while stream < streams - 1 and at >= below[BELOW + stream]:
                stream += 1
        block[BLOCK_STREAM, i] = stream


@apart
def draw_tokens(keys, laws, block, number, n, scratch):
    """Draw the tokens of each request, input and output correlated."""
    for which in range(2):
        uniform_numbers(keys[INPUT + which, 0], keys[INPUT + which, 1], number, n, scratch[0])
        normal_numbers(scratch[0], n, scratch[3 + which], scratch[1 + which])
        # Laws of one component want no number to choose it.
        components = 1.0
        for stream in range(len(laws)):
            components = max(components, laws[stream, which, 3, LAW_SIZE])
        if components > 1:
            uniform_numbers(keys[INPUT_KIND + which, 0], keys[INPUT_KIND + which, 1], number, n, scratch[1 + which])
    for i in range(n):
        law = laws[int(block[BLOCK_STREAM, i])]
        correlation = law[0, 3, LAW_CORRELATION]
        first, second = scratch[3, i], scratch[4, i]
        answer = first if correlation == 1 else correlation * first + sqrt(1 - correlation * correlation) * second
        prompt = tokens_at(law[0], first, scratch[1, i])
        block[BLOCK_INPUT, i] = prompt
        block[BLOCK_CACHED, i] = law[0, 3, LAW_CACHED] * prompt
        block[BLOCK_OUTPUT, i] = tokens_at(law[1], answer, scratch[2, i])


@kernel
def draw_block(keys, spans, laws, block, number, place, scratch):
    """Draw the next requests of a source into a block; `place` holds the sum and the span so far, and is carried on."""
    n, place[0], place[1] = next_requests(keys, spans, laws, block, number, place[0], int(place[1]), scratch)
    return n
