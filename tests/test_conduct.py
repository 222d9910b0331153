"""Prices that providers set against each other."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.choice import own_elasticities, own_elasticity_slopes, shares
from jevons.conduct import LARGEST_LERNER_INDEX, lerner_index, lerner_log_prices, limited_log_prices, log_markup


def constant(elasticity):
    """Demand of constant elasticities."""
    return lambda log_prices: (np.array(elasticity), np.zeros_like(log_prices))


def test_the_mark_up_by_hand():
    """Bertrand-Nash at elasticity 4: a quarter of the price, 4/3 of the cost; at half the conduct an eighth."""
    assert lerner_index(np.array([4.0, 4.0]), np.array([1.0, 0.5])) == pytest.approx([0.25, 0.125])
    assert log_markup(np.array([4.0]), np.array([1.0])) == pytest.approx([log(4 / 3)])


def test_inelastic_demand_would_bear_any_price_and_is_capped():
    assert lerner_index(np.array([0.7]), np.array([1.0])) == pytest.approx([LARGEST_LERNER_INDEX])


def test_prices_at_constant_elasticity_by_hand():
    """Costs 1 and 3, elasticities 2 and 5: 1 x 2, and at conduct 0.5 3/(1 - 0.1)."""
    prices = lerner_log_prices(np.log([1.0, 3.0]), np.array([1.0, 0.5]), constant([2.0, 5.0]))

    assert np.exp(prices) == pytest.approx([2.0, 3.0 / 0.9])


def test_who_prices_at_cost_stays_there():
    assert lerner_log_prices(np.array([0.4]), np.array([0.0]), constant([1.3])) == pytest.approx([0.4])


def logit_of(tastes, nests, alpha, nu):
    """Own elasticities of a nested logit."""

    def own(log_prices):
        chosen = shares(tastes - alpha * log_prices, nests, nu)
        return -own_elasticities(chosen, alpha, nu), own_elasticity_slopes(chosen, alpha, nu)

    return own


@given(
    st.lists(st.floats(-2, 2), min_size=3, max_size=3),
    st.lists(st.floats(-0.7, 0.7), min_size=3, max_size=3),
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
    st.floats(1.2, 4),
    st.floats(0, 0.6),
)
def test_every_price_is_the_best_answer_to_the_others(tastes, log_costs, conduct, alpha, nu):
    """At the fixed point Lerner's rule holds for all at once, or at its cap."""
    own = logit_of(np.array(tastes), [0, 0, 1], alpha, nu)
    prices = lerner_log_prices(np.array(log_costs), np.array(conduct), own)

    assert prices - log_costs == pytest.approx(log_markup(own(prices)[0], np.array(conduct)), abs=1e-4)


def test_a_month_goes_on_from_the_prices_before_to_the_same_fixed_point():
    own = logit_of(np.array([0.5, -0.3, 0.1]), [0, 0, 1], 2.0, 0.4)
    cold = lerner_log_prices(np.zeros(3), np.ones(3), own)
    warm = lerner_log_prices(np.zeros(3), np.ones(3), own, cold + 0.2)

    assert warm == pytest.approx(cold, abs=1e-5)
    assert cold == pytest.approx(log_markup(own(cold)[0], np.ones(3)), abs=1e-9)


def test_a_duopoly_of_the_plain_logit_by_hand():
    """Alike, alpha = 3: (1 - c/P) 3 (1 - s) = 1 with 1/s = 2 + P^3 / e^taste; solved by bisection."""

    def missing(price: float) -> float:
        s = 1 / (2 + price**3 / np.exp(0.8))
        return (1 - 1 / price) * 3 * (1 - s) - 1

    low, high = 1.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if missing(middle) < 0 else (low, middle)
    own = logit_of(np.array([0.8, 0.8]), [0, 1], 3.0, 0.0)

    assert np.exp(lerner_log_prices(np.zeros(2), np.ones(2), own)) == pytest.approx([low, low])


def test_a_limit_price_keeps_below_the_fringe():
    """A fifth above the fringe's 2 is 2.4: the 5 comes down, the 1 stays, and who has no limit does too."""
    limited = limited_log_prices(
        np.log([5.0, 1.0, 5.0]), np.array([True, True, False]), np.array(log(2.0)), np.log([1.2, 1.2, 1.2])
    )

    assert np.exp(limited) == pytest.approx([2.4, 1.0, 5.0])


def test_without_a_fringe_there_is_no_limit():
    assert limited_log_prices(np.array([3.0]), np.array([True]), np.array(np.inf), np.array([0.1])) == pytest.approx(
        [3]
    )
