"""Requests have the rates and the tokens that their workload says."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.randomness import Draws
from jevons.scenario import Tokens, Workload
from jevons.workload import (
    gamma_numbers,
    mean_context_tokens,
    mean_tokens,
    moments,
    overdispersed,
    poisson_requests,
    poisson_times,
    trace_moments,
)

DRAWS = Draws(seed=7, replication=0)
INPUT = Tokens(mean=[300.0, 2000.0], sigma=[0.5, 0.9], weight=[0.7, 0.3])
OUTPUT = Tokens(mean=[150.0], sigma=[0.8])
CHAT = Workload(input_tokens=INPUT, output_tokens=OUTPUT, correlation=0.4, cached_share=0.25)
HISTOGRAM = Tokens(mean=[], sigma=[], weight=[], edges=[10.0, 20.0, 60.0], counts=[3.0, 1.0])


def requests_of(workload, expected, span_s=60.0, first_s=0.0, draws=DRAWS):
    return poisson_requests(
        {"only": workload}, np.array(expected)[:, None], span_s=span_s, first_s=first_s, draws=draws
    )


# --- Token laws ---


def test_the_mean_of_a_mixture_weighs_its_components():
    """0.7 x 300 + 0.3 x 2000 = 810."""
    assert mean_tokens(INPUT) == pytest.approx(810.0)


def test_the_mean_of_a_histogram_is_that_of_its_bins():
    """3/4 x 15 + 1/4 x 40 = 21.25."""
    assert mean_tokens(HISTOGRAM) == pytest.approx(21.25)


def test_moments_of_one_lognormal_are_those_of_the_textbook():
    """E[X^2] = m^2 exp(s^2), E[XY] = m n exp(rho s t); here I: 400, .5; O: 90, .7; rho .3."""
    workload = Workload(
        input_tokens=Tokens(mean=[400.0], sigma=[0.5]),
        output_tokens=Tokens(mean=[90.0], sigma=[0.7]),
        correlation=0.3,
        cached_share=0.2,
    )
    known = moments(workload)

    assert known.uncached_tokens == pytest.approx(320.0)
    assert known.input_scv == pytest.approx(exp(0.25) - 1)
    assert known.context_tokens2 == pytest.approx(400 * 90 * exp(0.3 * 0.5 * 0.7) + 90**2 * exp(0.49) / 2)
    assert mean_context_tokens(workload) == pytest.approx(known.context_tokens2 / 90)


@pytest.mark.parametrize(
    "workload",
    [
        CHAT,
        Workload(input_tokens=HISTOGRAM, output_tokens=OUTPUT, correlation=0.6),
        Workload(input_tokens=INPUT, output_tokens=HISTOGRAM),
    ],
    ids=["mixture", "correlated histogram", "histogram"],
)
def test_moments_agree_with_drawn_requests(workload):
    """400,000 requests; tokens are rounded, and the tail of a lognormal converges slowly: hence 2 %."""
    drawn = trace_moments(requests_of(workload, [400_000.0]), 0)
    known = moments(workload)

    assert drawn.input_tokens == pytest.approx(known.input_tokens, rel=0.01)
    assert drawn.uncached_tokens == pytest.approx(known.uncached_tokens, rel=0.01)
    assert drawn.output_tokens == pytest.approx(known.output_tokens, rel=0.01)
    assert drawn.context_tokens2 == pytest.approx(known.context_tokens2, rel=0.02)
    assert drawn.input_scv == pytest.approx(known.input_scv, rel=0.05)


def test_the_correlation_of_the_logarithms_is_that_of_the_copula():
    workload = Workload(
        input_tokens=Tokens(mean=[3e5], sigma=[0.5]), output_tokens=Tokens(mean=[2e5], sigma=[0.9]), correlation=-0.6
    )
    requests = requests_of(workload, [40_000.0])
    found = np.corrcoef(np.log(requests.input_tokens), np.log(requests.output_tokens))[0, 1]

    assert abs(found - -0.6) < 4 * (1 - 0.36) / sqrt(40_000)


def test_tokens_are_whole_and_at_least_one():
    requests = requests_of(
        Workload(input_tokens=Tokens(mean=[1.2], sigma=[1.5]), output_tokens=Tokens(mean=[1.1], sigma=[2.0])), [3000.0]
    )

    for tokens in (requests.input_tokens, requests.output_tokens):
        assert tokens.min() == 1
        assert np.array_equal(tokens, np.rint(tokens))


def test_a_sigma_of_zero_is_a_constant():
    constant = Workload(input_tokens=Tokens(mean=[37.0], sigma=[0.0]), output_tokens=Tokens(mean=[5.0], sigma=[0.0]))
    requests = requests_of(constant, [100.0])

    assert set(requests.input_tokens) == {37.0}
    assert set(requests.output_tokens) == {5.0}


# --- Arrivals ---


def test_counts_of_each_hour_are_poisson_around_their_rate():
    """Mean and variance of the count over 2000 replications: 30, 0 and 90; 99.99 % bounds."""
    expected = np.array([30.0, 0.0, 90.0])
    counts = np.array(
        [
            np.bincount(poisson_times(expected, Draws(seed=5, replication=r), "arrival")[0], minlength=3)
            for r in range(2000)
        ]
    )

    assert np.all(np.abs(counts.mean(axis=0) - expected) <= 3.9 * np.sqrt(expected / 2000))
    assert counts[:, 1].max() == 0
    assert np.all(np.abs(counts.var(axis=0) - expected)[[0, 2]] < 3.9 * expected[[0, 2]] * sqrt(2 / 2000) * 1.1)
    assert abs(np.corrcoef(counts[:, 0], counts[:, 2])[0, 1]) < 3.9 / sqrt(2000)


def test_times_within_an_hour_are_uniform():
    _, times = poisson_times(np.array([50_000.0]), DRAWS, "arrival")

    assert abs(times.mean() - 0.5) < 4 * sqrt(1 / 12 / len(times))
    assert abs(times.var() - 1 / 12) < 4 * sqrt(1 / 180 / len(times))


def test_arms_that_expect_the_same_numbers_get_the_same_requests():
    """Another mean of the answers moves their tokens and nothing else."""
    longer = CHAT.model_copy(update={"output_tokens": Tokens(mean=[450.0], sigma=[0.8])})
    one, other = requests_of(CHAT, [40.0, 80.0]), requests_of(longer, [40.0, 80.0])

    assert np.array_equal(one.arrival_s, other.arrival_s)
    assert np.array_equal(one.input_tokens, other.input_tokens)
    assert np.all(np.abs(other.output_tokens / one.output_tokens - 3) <= 3 / one.output_tokens)


@given(st.lists(st.floats(0, 40), min_size=1, max_size=6), st.floats(-500, 500))
def test_requests_come_in_order_within_their_time(expected, first_s):
    requests = requests_of(CHAT, expected, span_s=60.0, first_s=first_s)

    assert np.all(np.diff(requests.arrival_s) >= 0)
    assert np.all(requests.arrival_s >= first_s)
    assert np.all(requests.arrival_s <= first_s + 60.0 * len(expected))
    assert np.all(requests.cached_tokens == 0.25 * requests.input_tokens)


def test_streams_share_the_requests_as_their_rates_do():
    """Rates 10 and 30 in the first hour, 60 and 20 in the second."""
    expected = 500 * np.array([[10.0, 30.0], [60.0, 20.0]])
    requests = poisson_requests({"a": CHAT, "b": CHAT}, expected, span_s=1.0, first_s=0.0, draws=DRAWS)
    hour = requests.arrival_s.astype(int)
    counts = np.array([[np.sum((hour == h) & (requests.stream == s)) for s in (0, 1)] for h in (0, 1)])

    assert np.all(np.abs(counts - expected) < 4 * np.sqrt(expected))


@pytest.mark.parametrize("cv", [0.3, 1.0, 1.7])
def test_gamma_multipliers_have_mean_one_and_the_wanted_variation(cv):
    """The variance of a sample variance is sigma^4 (kurtosis - 1)/n, and the kurtosis 3 + 6 cv^2."""
    n = 100_000
    numbers = gamma_numbers(cv, n, DRAWS)

    assert abs(numbers.mean() - 1) < 4 * cv / sqrt(n)
    assert abs(numbers.var() - cv**2) < 4 * cv**2 * sqrt((2 + 6 * cv**2) / n)


def test_over_dispersion_multiplies_whole_hours_and_each_stream_by_its_own():
    wild = CHAT.model_copy(update={"overdispersion": 0.5})
    expected = np.full((4, 3), 20.0)
    found = overdispersed({"a": wild, "b": CHAT, "c": wild}, expected, DRAWS)

    assert np.array_equal(found[:, 1], expected[:, 1])
    assert np.all(found[:, 0] != expected[:, 0])
    assert np.all(found[:, 0] != found[:, 2])
