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
from jevons.serving.compiled.jit import inner, kernel

#: Rows of the table of keys, in the order of the purposes.
PURPOSES = ("arrival", "stream", "input", "output", "input kind", "output kind", "routing")
ARRIVAL, STREAM, INPUT, OUTPUT, INPUT_KIND, OUTPUT_KIND, ROUTING = range(len(PURPOSES))

MULTIPLIER_0, MULTIPLIER_1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
WEYL_0, WEYL_1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
ROUNDS = 10
CELL = 2.0**-53
DISCARDED_BITS = np.uint64(11)


class Source(NamedTuple):
    """What requests are drawn from; in shapes, s streams and t spans of time, warm-up first."""

    #: Philox keys of the purposes, shape (7, 2).
    keys: Any
    #: Requests expected of each span, and their sums with a zero before, shapes (t,) and (t + 1,).
    expected: Any
    reached: Any
    #: Sums of the expected requests of the streams within each span, shape (t, s).
    below: Any
    #: Begin of the first span and length of a span, s, shape (2,).
    spans: Any
    #: Correlation and cached share of each stream, shape (s, 2).
    shares: Any
    #: Token laws, shape (s, 2, 3, k), of input and output: rows of mean, sigma and summed weights of a mixture, or of
    #: edges and summed shares of a histogram.
    laws: Any
    #: Components of each law; of a histogram, the edges, negative.  Shape (s, 2).
    sizes: Any


class Block(NamedTuple):
    """Requests in order of arrival, each of shape (n,); see `workload.Requests`."""

    arrival_s: Any
    stream: Any
    input_tokens: Any
    cached_tokens: Any
    output_tokens: Any
    #: Two uniform numbers that choose a replica, shape (n, 2); of one request where none are drawn.
    places: Any


@intrinsic  # type: ignore[untyped-decorator]
def high_product(typing: Any, a: Any, b: Any) -> Any:  # noqa: ARG001 (the first argument of every intrinsic)
    """The upper 64 bits of a product of two 64-bit numbers: one instruction, which numpy's integers do not reach."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        from llvmlite import ir

        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), code


@kernel
def uniform_numbers(key_0, key_1, first, n, numbers):  # type: ignore[no-untyped-def]
    """Uniform numbers in (0, 1) of the items `first` to `first + n - 1`: `Draws.uniform`, bit for bit."""
    step = first // 4
    item = 4 * step - first
    while item < n:
        # numpy counts before it draws.
        step += 1
        a, b, c, d = np.uint64(step), np.uint64(0), np.uint64(0), np.uint64(0)
        k, m = key_0, key_1
        for _ in range(ROUNDS):
            high_a, low_a = high_product(MULTIPLIER_0, a), MULTIPLIER_0 * a
            high_c, low_c = high_product(MULTIPLIER_1, c), MULTIPLIER_1 * c
            a, b, c, d = high_c ^ b ^ k, low_c, high_a ^ d ^ m, low_a
            k += WEYL_0
            m += WEYL_1
        for word in (a, b, c, d):
            if 0 <= item < n:
                numbers[item] = (np.float64(word >> DISCARDED_BITS) + 0.5) * CELL
            item += 1


@inner
def ratio(numerator, denominator, x):  # type: ignore[no-untyped-def]
    """Ratio of two polynomials of degree 7."""
    above, below = numerator[7], denominator[7]
    for power in range(6, -1, -1):
        above = above * x + numerator[power]
        below = below * x + denominator[power]
    return above / below


@kernel
def normal_numbers(uniform, n, normal):  # type: ignore[no-untyped-def]
    """Uniform numbers made standard normal: `randomness.normal_quantile`, operation for operation.

    The middle, six in seven, first and for all, without branches; then the others.
    """
    for i in range(n):
        q = uniform[i] - 0.5
        normal[i] = q * ratio(CENTRE_NUMERATOR, CENTRE_DENOMINATOR, 0.180625 - q * q)
    for i in range(n):
        if abs(uniform[i] - 0.5) > 0.425:
            p = uniform[i]
            r = sqrt(-log(min(p, 1.0 - p)))
            if r <= 5.0:
                z = ratio(SHOULDER_NUMERATOR, SHOULDER_DENOMINATOR, r - 1.6)
            else:
                z = ratio(TAIL_NUMERATOR, TAIL_DENOMINATOR, r - 5.0)
            normal[i] = z if p > 0.5 else -z


@inner
def tokens_at(laws, sizes, z, kind):  # type: ignore[no-untyped-def]
    """Whole tokens at a standard normal place within the component that a uniform number chooses."""
    size = sizes
    if size < 0:
        tokens = interpolated(laws, -size, 0.5 * erfc(-z / sqrt(2.0)))
    else:
        component = 0
        while component < size - 1 and kind >= laws[2, component]:
            component += 1
        sigma = laws[1, component]
        tokens = laws[0, component] * exp(sigma * (z - sigma / 2))
    return max(1.0, np.rint(tokens))


@inner
def interpolated(laws, edges, share):  # type: ignore[no-untyped-def]
    """Place in a histogram below which lies a share of it, linear within a bin."""
    j = 0
    while j < edges - 2 and share >= laws[1, j + 1]:
        j += 1
    if laws[1, j + 1] == laws[1, j]:
        return laws[0, j]
    return laws[0, j] + (laws[0, j + 1] - laws[0, j]) / (laws[1, j + 1] - laws[1, j]) * (share - laws[1, j])


@kernel
def draw_block(source, block, number, place, scratch):  # type: ignore[no-untyped-def]
    """Draw the next requests into a block.

    Parameters
    ----------
    source : Source
    block : Block
        Of the size of the block, overwritten.
    number : int
        Requests drawn before.
    place : ndarray, shape (2,)
        Sum of the exponentials so far, and the span it has reached; carried on.
    scratch : ndarray, shape (5, size of the block)

    Returns
    -------
    int
        Requests drawn; fewer than the block holds when no more are to come.
    """
    size = len(block.arrival_s)
    keys, spans = source.keys, len(source.expected)
    uniform = scratch[0]
    uniform_numbers(keys[ARRIVAL, 0], keys[ARRIVAL, 1], number, size, uniform)
    total, span = place[0], int(place[1])
    n = 0
    while n < size:
        total += -log(uniform[n])
        while span < spans and total >= source.reached[span + 1]:
            span += 1
        if span == spans:
            break
        scratch[1, n] = span
        inside = (total - source.reached[span]) / source.expected[span]
        block.arrival_s[n] = source.spans[0] + source.spans[1] * (span + inside)
        n += 1
    place[0], place[1] = total, span
    _draw_streams(source, block, number, n, scratch)
    _draw_tokens(source, block, number, n, scratch)
    return n


@kernel
def _draw_streams(source, block, number, n, scratch):  # type: ignore[no-untyped-def]
    streams = source.below.shape[1]
    if streams == 1:
        block.stream[:n] = 0
        return
    uniform = scratch[0]
    uniform_numbers(source.keys[STREAM, 0], source.keys[STREAM, 1], number, n, uniform)
    for i in range(n):
        below = source.below[int(scratch[1, i])]
        at, stream = uniform[i] * below[streams - 1], 0
        while stream < streams - 1 and at >= below[stream]:
            stream += 1
        block.stream[i] = stream


@kernel
def _draw_tokens(source, block, number, n, scratch):  # type: ignore[no-untyped-def]
    keys, kinds = source.keys, scratch[1:3]
    for which in range(2):
        uniform_numbers(keys[INPUT + which, 0], keys[INPUT + which, 1], number, n, scratch[0])
        normal_numbers(scratch[0], n, scratch[3 + which])
        if source.sizes[:, which].max() > 1:
            uniform_numbers(keys[INPUT_KIND + which, 0], keys[INPUT_KIND + which, 1], number, n, kinds[which])
    for i in range(n):
        stream = block.stream[i]
        correlation, cached_share = source.shares[stream, 0], source.shares[stream, 1]
        first, second = scratch[3, i], scratch[4, i]
        answer = first if correlation == 1 else correlation * first + sqrt(1 - correlation * correlation) * second
        laws, sizes = source.laws[stream], source.sizes[stream]
        prompt = tokens_at(laws[0], sizes[0], first, kinds[0, i])
        block.input_tokens[i] = prompt
        block.cached_tokens[i] = cached_share * prompt
        block.output_tokens[i] = tokens_at(laws[1], sizes[1], answer, kinds[1, i])


@kernel
def draw_places(source, block, number, n, scratch):  # type: ignore[no-untyped-def]
    """Draw the two places among the replicas of each request of a block."""
    first = 0
    while first < n:
        count = min(n - first, len(scratch[0]) // 2)
        uniform_numbers(source.keys[ROUTING, 0], source.keys[ROUTING, 1], 2 * (number + first), 2 * count, scratch[0])
        for i in range(count):
            block.places[first + i, 0], block.places[first + i, 1] = scratch[0, 2 * i], scratch[0, 2 * i + 1]
        first += count
