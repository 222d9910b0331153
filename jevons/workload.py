"""Requests: when they come and how many tokens they have, from profiles and token laws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import pairwise, product
from math import erfc, exp, sqrt

import numpy as np
import numpy.typing as npt

from jevons.randomness import Draws, Floats, normal_quantile
from jevons.scenario import Tokens, Workload
from jevons.units import HOURS_PER_DAY, SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Requests in order of arrival; every array has shape (n,)."""

    #: From the first second of the day, s.
    arrival_s: Floats
    #: Index of the stream each belongs to.
    stream: npt.NDArray[np.int64]
    #: Prompt tokens, cached ones included.
    input_tokens: Floats
    #: Prompt tokens found in the cache.
    cached_tokens: Floats
    #: At least 1.
    output_tokens: Floats

    def __len__(self) -> int:
        return len(self.arrival_s)

    def first(self, n: int) -> Requests:
        """The first n requests."""
        return Requests(
            arrival_s=self.arrival_s[:n],
            stream=self.stream[:n],
            input_tokens=self.input_tokens[:n],
            cached_tokens=self.cached_tokens[:n],
            output_tokens=self.output_tokens[:n],
        )


# --- Token laws ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TokenLaw:
    """A mixture of lognormals or, where there are edges, a histogram; hashable, so its moments are kept."""

    mean: tuple[float, ...]
    sigma: tuple[float, ...]
    weight: tuple[float, ...]
    edges: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()

    @classmethod
    def of(cls, tokens: Tokens) -> TokenLaw:
        """The law that a scenario describes."""
        return cls(
            tuple(tokens.mean), tuple(tokens.sigma), tuple(tokens.weight), tuple(tokens.edges), tuple(tokens.counts)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What sizing needs to know of the requests of a workload."""

    #: Mean tokens of the prompt, cached ones included, and without them.
    input_tokens: float
    uncached_tokens: float
    output_tokens: float
    #: E[O (I + O/2)]: each output token times the context it reads, token^2.
    context_tokens2: float
    #: Squared coefficient of variation of the prompt's uncached tokens.
    input_scv: float


#: Points of the quasi-random sample that stands for an integral without closed form.
QUASI_RANDOM_POINTS = 2000


def moments(workload: Workload) -> Moments:
    """Moments of the requests of a workload, before rounding to whole tokens."""
    if workload.input_tokens is None or workload.output_tokens is None:
        raise ValueError("the workload must give input_tokens and output_tokens")
    return _moments(
        TokenLaw.of(workload.input_tokens),
        TokenLaw.of(workload.output_tokens),
        workload.correlation,
        workload.cached_share,
    )


@lru_cache(maxsize=1024)
def _moments(inputs: TokenLaw, outputs: TokenLaw, correlation: float, cached_share: float) -> Moments:
    mean_input, square_input = _mean(inputs), _mean_square(inputs)
    return Moments(
        input_tokens=mean_input,
        uncached_tokens=mean_input * (1 - cached_share),
        output_tokens=_mean(outputs),
        context_tokens2=_mean_product(inputs, outputs, correlation) + _mean_square(outputs) / 2,
        input_scv=square_input / mean_input**2 - 1,
    )


def trace_moments(requests: Requests, stream: int) -> Moments:
    """Moments of the requests of one stream of a trace; zero if it has none."""
    own = requests.stream == stream
    if not own.any():
        return Moments(input_tokens=0.0, uncached_tokens=0.0, output_tokens=0.0, context_tokens2=0.0, input_scv=0.0)
    inputs, cached, outputs = requests.input_tokens[own], requests.cached_tokens[own], requests.output_tokens[own]
    uncached = inputs - cached
    mean = float(uncached.mean())
    return Moments(
        input_tokens=float(inputs.mean()),
        uncached_tokens=mean,
        output_tokens=float(outputs.mean()),
        context_tokens2=float((outputs * (inputs + outputs / 2)).mean()),
        input_scv=float(uncached.var()) / mean**2 if mean > 0 else 0.0,
    )


def mean_tokens(tokens: Tokens) -> float:
    """Mean of a token law before rounding, token."""
    return _mean(TokenLaw.of(tokens))


def mean_context_tokens(workload: Workload) -> float:
    """Context that an output token reads on average, E[O (I + O/2)] / E[O], token."""
    known = moments(workload)
    return known.context_tokens2 / known.output_tokens


def _mean(law: TokenLaw) -> float:
    if law.edges:
        return sum(share * (low + high) / 2 for share, low, high in _bins(law))
    return sum(w * m for w, m in zip(law.weight, law.mean, strict=True))


def _mean_square(law: TokenLaw) -> float:
    if law.edges:
        return sum(share * (low * low + low * high + high * high) / 3 for share, low, high in _bins(law))
    return sum(w * m * m * exp(s * s) for w, m, s in zip(law.weight, law.mean, law.sigma, strict=True))


def _mean_product(inputs: TokenLaw, outputs: TokenLaw, correlation: float) -> float:
    if correlation == 0:
        return _mean(inputs) * _mean(outputs)
    if inputs.edges or outputs.edges:
        return _quasi_random_mean_product(inputs, outputs, correlation)
    # Lognormals with correlated logarithms: E[XY] = E[X] E[Y] exp(cov).
    return sum(
        w * v * m * n * exp(correlation * s * t)
        for (w, m, s), (v, n, t) in product(_components(inputs), _components(outputs))
    )


def _quasi_random_mean_product(inputs: TokenLaw, outputs: TokenLaw, correlation: float) -> float:
    # The four-dimensional R sequence of Roberts: powers of the root of x^5 = x + 1.
    step = 1.1673039782614187 ** -np.arange(1.0, 5.0)
    points = (0.5 + np.arange(1.0, QUASI_RANDOM_POINTS + 1)[:, None] * step) % 1.0
    first, second = normal_quantile(points[:, 0]), normal_quantile(points[:, 1])
    x = _tokens_at(inputs, first, points[:, 2])
    y = _tokens_at(outputs, _correlated(first, second, correlation), points[:, 3])
    return float(np.mean(x * y))


def _bins(law: TokenLaw) -> Iterator[tuple[float, float, float]]:
    total = sum(law.counts)
    for count, (low, high) in zip(law.counts, pairwise(law.edges), strict=True):
        yield count / total, low, high


def _components(law: TokenLaw) -> list[tuple[float, float, float]]:
    return list(zip(law.weight, law.mean, law.sigma, strict=True))


def _correlated(first: Floats, second: Floats, correlation: float) -> Floats:
    return first if correlation == 1 else correlation * first + sqrt(1 - correlation**2) * second


def _tokens_at(law: TokenLaw, z: Floats, component: Floats) -> Floats:
    """Tokens, not yet whole, at standard normal places `z` within the components that uniform numbers choose."""
    if law.edges:
        below = np.concatenate([[0.0], np.cumsum(law.counts)]) / sum(law.counts)
        return np.asarray(np.interp(_normal_cdf(z), below, law.edges))
    chosen = np.searchsorted(np.cumsum(law.weight)[:-1], component, side="right")
    sigma = np.asarray(law.sigma)[chosen]
    # exp(sigma^2 / 2) is the mean of a lognormal over its median.
    return np.asarray(np.asarray(law.mean)[chosen] * np.exp(sigma * (z - sigma / 2)))


def _normal_cdf(z: Floats) -> Floats:
    return np.array([0.5 * erfc(-value / sqrt(2)) for value in z.tolist()])


def _whole(tokens: Floats) -> Floats:
    return np.maximum(1.0, np.rint(tokens))


def hourly_requests_per_s(workload: Workload, requests_per_day: float, hours: npt.NDArray[np.int64]) -> Floats:
    """Rate of the requests in each hour of the day (from midnight, wrapping), 1/s, shape of `hours`."""
    profile = np.asarray(workload.hourly_profile)
    return np.asarray(profile[hours % HOURS_PER_DAY] * (requests_per_day / (profile.sum() * SECONDS_PER_HOUR)))


# --- Drawn requests --------------------------------------------------------------------------------------------------


def overdispersed(workloads: Mapping[str, Workload], expected_requests: Floats, draws: Draws) -> Floats:
    """Expected requests of each span and stream times the gamma multipliers of the stream, shape (t, s)."""
    multipliers = [
        gamma_numbers(workload.overdispersion, len(expected_requests), draws.at(name))
        for name, workload in workloads.items()
    ]
    return expected_requests * np.stack(multipliers, axis=1)


def poisson_requests(
    workloads: Mapping[str, Workload],
    expected_requests: Floats,
    *,
    span_s: float,
    first_s: float,
    draws: Draws,
) -> Requests:
    r"""Requests of several streams as one non-homogeneous Poisson process.

    The i-th request comes when the expected number so far, :math:`\Lambda(t)`, reaches the sum of i unit
    exponentials.  Its stream and its tokens are draw i of their own purposes.  So two arms that expect the
    same numbers get the same times and the same places in their token laws.

    Parameters
    ----------
    workloads : mapping of names to workloads
        The streams, in order.
    expected_requests : ndarray, shape (t, s), request
        Requests expected of each stream in each of t spans of time.
    span_s : float, s
        Length of a span.
    first_s : float, s
        Time at which the first span begins.
    draws : Draws
        Random numbers of this day.

    Returns
    -------
    Requests, shape (n,)
    """
    size = enough_for(float(expected_requests.sum()))
    return joined(poisson_blocks(workloads, expected_requests, span_s=span_s, first_s=first_s, draws=draws, size=size))


def poisson_blocks(
    workloads: Mapping[str, Workload],
    expected_requests: Floats,
    *,
    span_s: float,
    first_s: float,
    draws: Draws,
    size: int,
) -> Iterator[Requests]:
    """The same requests, at most so many at a time: the last block is not full, and may be empty."""
    number = 0
    for span, spans in _poisson_times(expected_requests.sum(axis=1), draws, "arrival", size):
        stream = _streams(expected_requests, span, draws, number)
        inputs, cached, outputs = _request_tokens(list(workloads.values()), stream, draws, number)
        number += len(span)
        yield Requests(
            arrival_s=first_s + span_s * spans,
            stream=stream,
            input_tokens=inputs,
            cached_tokens=cached,
            output_tokens=outputs,
        )


def joined(blocks: Iterable[Requests]) -> Requests:
    """Requests given block by block, at least one, as a whole."""
    blocks = list(blocks)
    return Requests(
        **{one.name: np.concatenate([getattr(block, one.name) for block in blocks]) for one in fields(Requests)}
    )


def poisson_times(expected: Floats, draws: Draws, purpose: str) -> tuple[npt.NDArray[np.int64], Floats]:
    """Poisson events with so many expected in each of t equal spans: the span of each, and its time in spans."""
    span, spans = zip(*_poisson_times(expected, draws, purpose, enough_for(float(expected.sum()))), strict=True)
    return np.concatenate(span), np.concatenate(spans)


def enough_for(expected: float) -> int:
    """A number that so many expected events hardly ever exceed."""
    return int(expected + 6 * sqrt(expected)) + 20


def _poisson_times(
    expected: Floats, draws: Draws, purpose: str, size: int
) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
    """The events of `poisson_times`, at most so many at a time."""
    reached = np.concatenate([[0.0], np.cumsum(expected)])
    for sums in _exponential_sums(float(reached[-1]), draws, purpose, size):
        span = np.searchsorted(reached, sums, side="right") - 1
        yield span, span + (sums - reached[span]) / expected[span]


def _exponential_sums(end: float, draws: Draws, purpose: str, size: int) -> Iterator[Floats]:
    """Sums of unit exponentials, each of one more, that stay below the end; at most so many at a time."""
    last, number, count = 0.0, 0, size
    while count == size:
        sums = np.cumsum(np.concatenate([[last], draws.exponential(purpose, size, first=number)]))[1:]
        count = int(np.searchsorted(sums, end))
        last, number = float(sums[-1]), number + size
        yield sums[:count]


def _streams(expected: Floats, span: npt.NDArray[np.int64], draws: Draws, first: int = 0) -> npt.NDArray[np.int64]:
    if expected.shape[1] == 1:
        return np.zeros(len(span), dtype=np.int64)
    below = np.cumsum(expected, axis=1)
    place = draws.uniform("stream", len(span), first) * below[span, -1]
    return np.asarray((place[:, None] >= below[span, :-1]).sum(axis=1), dtype=np.int64)


def _request_tokens(
    workloads: list[Workload], stream: npt.NDArray[np.int64], draws: Draws, number: int = 0
) -> tuple[Floats, Floats, Floats]:
    """Prompt, cached and answer tokens of each request, each of shape (n,)."""
    n = len(stream)
    first, second = draws.normal("input", n, number), draws.normal("output", n, number)
    in_component, out_component = draws.uniform("input kind", n, number), draws.uniform("output kind", n, number)
    inputs, cached, outputs = np.empty_like(first), np.empty_like(first), np.empty_like(first)
    for index, workload in enumerate(workloads):
        if workload.input_tokens is None or workload.output_tokens is None:
            raise ValueError("a workload must give input_tokens and output_tokens, or be played from a trace")
        own = stream == index
        answer = _correlated(first[own], second[own], workload.correlation)
        inputs[own] = _whole(_tokens_at(TokenLaw.of(workload.input_tokens), first[own], in_component[own]))
        outputs[own] = _whole(_tokens_at(TokenLaw.of(workload.output_tokens), answer, out_component[own]))
        cached[own] = workload.cached_share * inputs[own]
    return inputs, cached, outputs


#: Trials of the gamma generator for each number; that all of them fail has a probability below 1e-20.
GAMMA_TRIALS = 16


def gamma_numbers(cv: float, n: int, draws: Draws) -> Floats:
    """Gamma numbers of mean 1 and a coefficient of variation, shape (n,): number i from draws of its own.

    References
    ----------
    .. [1] G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables", ACM Transactions on
       Mathematical Software 26 (2000), 363-372; shapes below 1 by the remark in its section 6.
    """
    if cv == 0:
        return np.ones(n)
    shape = cv**-2
    d = shape + (1 if shape < 1 else 0) - 1 / 3
    x = draws.normal("gamma", n * GAMMA_TRIALS).reshape(n, GAMMA_TRIALS)
    u = draws.uniform("gamma trial", n * GAMMA_TRIALS).reshape(n, GAMMA_TRIALS)
    v = np.maximum(1 + x / sqrt(9 * d), 1e-100) ** 3
    accepted = np.log(u) < x * x / 2 + d * (1 - v + np.log(v))
    numbers = d * v[np.arange(n), accepted.argmax(axis=1)]
    if shape < 1:
        numbers = numbers * draws.uniform("gamma shape", n) ** (1 / shape)
    return np.asarray(numbers / shape)
