"""Requests drawn block by block: the numbers of `randomness` and the laws of `workload`, one request after the other.

A number is a function of its key and its item, so a block needs none but its own, and memory does not grow.
"""

from __future__ import annotations

from math import erfc, log, sqrt
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
HALF, LOWER_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)
#: Upper and lower halves of the multipliers.
HALVES_0, HALVES_1 = (
    (np.uint64(int(multiplier) >> 32), np.uint64(int(multiplier) & 0xFFFFFFFF))
    for multiplier in (MULTIPLIER_0, MULTIPLIER_1)
)

#: Doubles as bits: those of the fraction, the exponent of 1, 1 itself, the root of 1/2; and a number to which another
#: is added to round it to a whole one, which then are its last bits.
FRACTION, BIAS, ONE, ROOT_OF_HALF = 52, 1023, 0x3FF0000000000000, 0x3FE6A09E00000000
WHOLE, WHOLE_BITS = 1.5 * 2.0**52, 0x4338000000000000
#: The logarithm of 2 in two parts, the upper one short; its inverse.
LN2_UPPER, LN2_LOWER, PER_LN2 = 6.93147180369123816490e-1, 1.90821492927058770002e-10, 1.44269504088896338700
#: Polynomials of fdlibm.
LOG = (6.666666666666735130e-1, 3.999999999940941908e-1, 2.857142874366239149e-1, 2.222219843214978396e-1, 1.818357216161805012e-1, 1.531383769920937332e-1, 1.479819860511658591e-1)  # fmt: skip  # noqa: E501
EXP = (1.66666666666666019037e-1, -2.77777777770155933842e-3, 6.61375632143793436117e-5, -1.65339022054652515390e-6, 4.13813679705723846039e-8)  # fmt: skip  # noqa: E501
MOST_EXPONENT = 700.0


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


@inner
def uniform_number(key_0, key_1, item):
    """A single item."""
    first, second = uniform_pair(key_0, key_1, item // 2)
    return first if item % 2 == 0 else second


@inner
def product(a, upper, lower):
    """Upper and lower 64 bits of a product, by products of 32 bits: of those a processor makes several at once."""
    a_upper, a_lower = a >> HALF, a & LOWER_HALF
    low, high = a_lower * lower, a_upper * lower
    middle = (low >> HALF) + (high & LOWER_HALF) + a_lower * upper
    return a_upper * upper + (high >> HALF) + (middle >> HALF), (middle << HALF) | (low & LOWER_HALF)


@inner
def four_numbers(key_0, key_1, step):
    """The four numbers of a step of the counter: `philox`, so written that many steps are done at once."""
    a, b, c, d = np.uint64(step), np.uint64(0), np.uint64(0), np.uint64(0)
    for _ in range(ROUNDS):
        high_a, low_a = product(a, *HALVES_0)
        high_c, low_c = product(c, *HALVES_1)
        a, b, c, d = high_c ^ b ^ key_0, low_c, high_a ^ d ^ key_1, low_a
        key_0 += WEYL_0
        key_1 += WEYL_1
    return to_unit(a), to_unit(b), to_unit(c), to_unit(d)


@apart
def whole_steps(key_0, key_1, first, n, numbers):
    """The `n` uniform numbers of whole steps of the counter from one on."""
    for i in range(n // 4):
        a, b, c, d = four_numbers(key_0, key_1, first + i)
        numbers[4 * i], numbers[4 * i + 1], numbers[4 * i + 2], numbers[4 * i + 3] = a, b, c, d


@kernel
def uniform_numbers(key_0, key_1, first, n, numbers):
    """Uniform numbers in (0, 1) of the items `first` to `first + n - 1`: `Draws.uniform`, bit for bit."""
    begin = min(-first % 4, n)
    end = n - (n - begin) % 4
    # numpy counts before it draws.
    whole_steps(key_0, key_1, (first + begin) // 4 + 1, end - begin, numbers[begin:])
    for item in range(begin):
        numbers[item] = uniform_number(key_0, key_1, first + item)
    for item in range(end, n):
        numbers[item] = uniform_number(key_0, key_1, first + item)


@inner
def log_of(x):
    """Natural logarithm of a normal number above 0, to a unit in the last place: `log`, of many numbers at once.

    As in fdlibm: 2^k (1 + f) with 1 + f between the square roots of 1/2 and 2, and a polynomial in f / (2 + f).
    """
    bits = np.float64(x).view(np.int64) + (ONE - ROOT_OF_HALF)
    power = np.int64((bits >> FRACTION) - BIAS + WHOLE_BITS).view(np.float64) - WHOLE
    f = np.int64((bits & ((1 << FRACTION) - 1)) + ROOT_OF_HALF).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (LOG[1] + w * (LOG[3] + w * LOG[5]))
    odd = z * (LOG[0] + w * (LOG[2] + w * (LOG[4] + w * LOG[6])))
    half = 0.5 * f * f
    return power * LN2_UPPER - ((half - (s * (half + (even + odd)) + power * LN2_LOWER)) - f)


@inner
def exp_of(x):
    """Exponential, to a unit in the last place and within 10^304 and its inverse: `exp`, of many numbers at once."""
    shifted = min(max(x, -MOST_EXPONENT), MOST_EXPONENT) * PER_LN2 + WHOLE
    power = shifted - WHOLE
    upper, lower = min(max(x, -MOST_EXPONENT), MOST_EXPONENT) - power * LN2_UPPER, power * LN2_LOWER
    r = upper - lower
    t = r * r
    c = r - t * (EXP[0] + t * (EXP[1] + t * (EXP[2] + t * (EXP[3] + t * EXP[4]))))
    fraction = 1.0 - ((lower - (r * c) / (2.0 - c)) - upper)
    return np.int64(np.float64(fraction).view(np.int64) + (np.float64(shifted).view(np.int64) << FRACTION)).view(
        np.float64
    )


@inner
def ratio(numerator, denominator, x):
    """Ratio of two polynomials of degree 7."""
    above, below = numerator[7], denominator[7]
    for power in range(6, -1, -1):
        above = above * x + numerator[power]
        below = below * x + denominator[power]
    return above / below


@inner
def far_normal(p):
    """Quantile of the standard normal distribution at a probability outside the middle."""
    r = sqrt(-log_of(min(p, 1.0 - p)))
    shoulder = ratio(SHOULDER_NUMERATOR, SHOULDER_DENOMINATOR, r - 1.6)
    tail = ratio(TAIL_NUMERATOR, TAIL_DENOMINATOR, r - 5.0)
    return np.copysign(tail if r > 5.0 else shoulder, p - 0.5)


@kernel
def normal_numbers(uniform, n, normal, places, far):
    """Uniform numbers made standard normal: `randomness.normal_quantile`, operation for operation.

    The middle, six in seven, first and for all, and then the others, gathered in `far` from their `places`: each step
    in a loop of its own without branches, as a branch that nobody can foresee costs more than the arithmetic.
    """
    outer = 0
    for i in range(n):
        q = uniform[i] - 0.5
        normal[i] = q * ratio(CENTRE_NUMERATOR, CENTRE_DENOMINATOR, 0.180625 - q * q)
    for i in range(n):
        places[outer], far[outer] = i, uniform[i]
        outer += abs(uniform[i] - 0.5) > 0.425
    for k in range(outer):
        far[k] = far_normal(far[k])
    for k in range(outer):
        normal[int(places[k]) & MOST] = far[k]


@inner
def tokens_at(law, z, kind):
    """Tokens at a standard normal place within the component that a uniform number chooses: a factor, and an exponent
    of e.
    """
    size = int(law[3, LAW_SIZE])
    if size < 0:
        return interpolated(law, -size, 0.5 * erfc(-z / sqrt(2.0))), 0.0
    component = 0
    while component < size - 1 and kind >= law[2, component]:
        component += 1
    sigma = law[1, component]
    return law[0, component], sigma * (z - sigma / 2)


@apart
def whole_tokens(tokens, exponents, n):
    """Factors made whole tokens, by exponents of e."""
    for i in range(n):
        tokens[i] = max(1.0, np.rint(tokens[i] * exp_of(exponents[i])))


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
    first_s, span_s = spans[0, FIRST_S], spans[0, SPAN_S]
    begin, expected, end = 0.0, 1.0, -np.inf
    uniform_numbers(keys[ARRIVAL, 0], keys[ARRIVAL, 1], number, size, scratch[0])
    n = 0
    while n < size:
        total += -log(scratch[0, n])
        if total >= end:
            while span < last and total >= spans[span + 1, REACHED]:
                span += 1
            if span == last:
                break
            begin, expected, end = spans[span, REACHED], spans[span, EXPECTED], spans[span + 1, REACHED]
        scratch[1, n] = span
        block[BLOCK_ARRIVAL, n] = first_s + span_s * (span + (total - begin) / expected)
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
        normal_numbers(scratch[0], n, scratch[3 + which], scratch[1 + which], block[BLOCK_CACHED])
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
        block[BLOCK_INPUT, i], scratch[3, i] = tokens_at(law[0], first, scratch[1, i])
        block[BLOCK_OUTPUT, i], scratch[4, i] = tokens_at(law[1], answer, scratch[2, i])
    whole_tokens(block[BLOCK_INPUT], scratch[3], n)
    whole_tokens(block[BLOCK_OUTPUT], scratch[4], n)
    for i in range(n):
        block[BLOCK_CACHED, i] = laws[int(block[BLOCK_STREAM, i]), 0, 3, LAW_CACHED] * block[BLOCK_INPUT, i]


@kernel
def draw_block(keys, spans, laws, block, number, place, scratch):
    """Draw the next requests of a source into a block; `place` holds the sum and the span so far, and is carried on."""
    n, place[0], place[1] = next_requests(keys, spans, laws, block, number, place[0], int(place[1]), scratch)
    return n
