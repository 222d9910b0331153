"""Random numbers are a function of their place and item, and of nothing else."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.randomness import Draws, normal_quantile

DRAWS = Draws(seed=11, replication=3)


@given(first=st.integers(0, 40), n=st.integers(1, 40))
def test_an_item_gets_the_same_number_wherever_the_asking_begins(first, n):
    whole = DRAWS.uniform("arrival", 80)

    assert np.array_equal(DRAWS.uniform("arrival", n, first=first), whole[first : first + n])


def test_order_of_asking_does_not_matter():
    before = DRAWS.normal("input", 5)
    DRAWS.uniform("output", 1000)

    assert np.array_equal(DRAWS.normal("input", 5), before)


@pytest.mark.parametrize(
    "other",
    [
        Draws(seed=12, replication=3),
        Draws(seed=11, replication=4),
        DRAWS.at("europe"),
        DRAWS.at(1),
    ],
)
def test_another_seed_replication_or_place_has_other_numbers(other):
    assert not np.any(other.uniform("arrival", 50) == DRAWS.uniform("arrival", 50))


def test_another_purpose_has_other_numbers():
    assert not np.any(DRAWS.uniform("arrival", 50) == DRAWS.uniform("input", 50))


def test_a_place_within_a_place_is_not_the_two_names_joined():
    assert DRAWS.at("a", "b").uniform("x", 1) == DRAWS.at("a").at("b").uniform("x", 1)
    assert DRAWS.at("ab").uniform("x", 1) != DRAWS.at("a", "b").uniform("x", 1)


def test_uniform_numbers_have_the_moments_of_the_uniform_law():
    """Mean 1/2, variance 1/12, no correlation from one to the next; bounds are 4 standard errors at n = 1e5."""
    n = 100_000
    numbers = DRAWS.uniform("moments", n)

    assert abs(numbers.mean() - 1 / 2) < 4 / sqrt(12 * n)
    assert abs(numbers.var() - 1 / 12) < 4 / sqrt(180 * n)
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 4 / sqrt(n)
    assert numbers.min() > 0
    assert numbers.max() < 1


def test_exponential_numbers_have_mean_and_variance_one():
    n = 100_000
    numbers = DRAWS.exponential("moments", n)

    assert abs(numbers.mean() - 1) < 4 / sqrt(n)
    assert abs(numbers.var() - 1) < 4 * sqrt(8 / n)


@given(st.floats(1e-15, 1 - 1e-15))
def test_normal_quantile_agrees_with_the_standard_library(p):
    expected = NormalDist().inv_cdf(p)

    assert float(normal_quantile(p)) == pytest.approx(expected, rel=1e-12, abs=1e-13)
