"""Choice between providers: the nested logit, its elasticities, and utilities from shares."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.choice import (
    elasticities,
    entrant_utility,
    market_elasticity,
    own_elasticities,
    own_elasticity_slopes,
    shares,
    utilities_of_shares,
    utility,
)

#: Utilities, nests, nest parameter and weight of the price of up to five offers.
MARKETS = st.integers(1, 5).flatmap(
    lambda count: st.tuples(
        st.lists(st.floats(-5, 5), min_size=count, max_size=count).map(np.array),
        st.lists(st.integers(0, 2), min_size=count, max_size=count),
        st.floats(0, 0.9),
        st.floats(0.2, 4),
    )
)


def test_utility_by_hand():
    """0.5 x 0.4 + 0.1 - 2 x 0.3 = -0.3."""
    terms = (np.array([0.4]), np.array([0.1]), np.array([0.3]))

    assert utility(*terms, capability_weight=0.5, price_weight=2.0) == pytest.approx([-0.3])


def test_without_nests_it_is_the_logit():
    chosen = shares(np.array([0.5, -1.0]), [0, 1], 0.0)
    total = 1.0 + exp(0.5) + exp(-1.0)

    assert chosen.of_all == pytest.approx([exp(0.5) / total, exp(-1.0) / total])
    assert chosen.outside == pytest.approx(1.0 / total)
    assert chosen.inclusive_value == pytest.approx(log(total))


def test_a_nest_by_hand():
    """nu = 0.5: two offers of utility 0 make D = 2, worth 2^0.5; one alone in its nest is worth 1, and so is none."""
    chosen = shares(np.array([0.0, 0.0, 0.0]), [0, 0, 1], 0.5)
    total = 2.0 + 2.0**0.5

    assert chosen.of_all == pytest.approx([2.0**0.5 / 2 / total, 2.0**0.5 / 2 / total, 1 / total])
    assert chosen.in_nest == pytest.approx([0.5, 0.5, 1.0])


@given(MARKETS)
def test_shares_add_up_to_one_and_nothing_is_negative(market):
    utilities, nests, nu, _ = market
    chosen = shares(utilities, nests, nu)

    assert chosen.inside + chosen.outside == pytest.approx(1.0)
    assert chosen.of_users.sum() == pytest.approx(1.0)
    assert (chosen.of_all >= 0).all()
    assert chosen.inclusive_value == pytest.approx(-np.log(chosen.outside))


@given(MARKETS)
def test_at_similarity_nought_nests_do_not_matter(market):
    utilities, nests, _, _ = market

    assert shares(utilities, nests, 0.0).of_all == pytest.approx(shares(utilities, [0] * len(nests), 0.0).of_all)


@given(MARKETS)
def test_utilities_of_shares_lead_back_to_the_shares(market):
    utilities, nests, nu, _ = market

    assert utilities_of_shares(shares(utilities, nests, nu).of_all, nests, nu) == pytest.approx(utilities, abs=1e-6)


@given(MARKETS)
def test_elasticities_are_the_slopes_of_the_shares(market):
    utilities, nests, nu, alpha = market
    matrix, h = elasticities(shares(utilities, nests, nu), nests, alpha, nu), 1e-5
    for k in range(len(nests)):
        dearer = np.where(np.arange(len(nests)) == k, h * alpha, 0.0)
        up, down = (np.log(shares(utilities + sign * dearer, nests, nu).of_all) for sign in (-1, 1))
        assert matrix[:, k] == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-6)


@given(MARKETS)
def test_own_elasticities_are_the_diagonal_and_their_slopes_those_of_it(market):
    utilities, nests, nu, alpha = market
    chosen, h = shares(utilities, nests, nu), 1e-5
    own, slopes = own_elasticities(chosen, alpha, nu), own_elasticity_slopes(chosen, alpha, nu)

    assert own == pytest.approx(np.diag(elasticities(chosen, nests, alpha, nu)))
    for j in range(len(nests)):
        dearer = np.where(np.arange(len(nests)) == j, h * alpha, 0.0)
        up, down = (own_elasticities(shares(utilities + s * dearer, nests, nu), alpha, nu)[j] for s in (-1, 1))
        assert slopes[j] == pytest.approx(-(up - down) / (2 * h), rel=1e-3, abs=1e-5)


@given(MARKETS)
def test_a_uniform_change_of_price_moves_the_market_by_alpha_times_the_outside_share(market):
    """Every row sum, and the slope of all use, is -alpha s_0: section 4 of the model."""
    utilities, nests, nu, alpha = market
    chosen, h = shares(utilities, nests, nu), 1e-5
    expected = market_elasticity(chosen.outside, alpha)
    up, down = (np.log(shares(utilities - s * h * alpha, nests, nu).inside) for s in (1, -1))

    assert elasticities(chosen, nests, alpha, nu).sum(axis=1) == pytest.approx(np.full(len(nests), expected))
    assert (up - down) / (2 * h) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@given(MARKETS, st.floats(-4, 4))
def test_a_shift_of_all_moves_the_outside_share_alone(market, shift):
    utilities, nests, nu, _ = market
    shifted, anew = shares(utilities, nests, nu).shifted(np.asarray(shift)), shares(utilities + shift, nests, nu)

    assert shifted.of_all == pytest.approx(anew.of_all)
    assert shifted.outside == pytest.approx(anew.outside)
    assert shifted.inclusive_value == pytest.approx(anew.inclusive_value, rel=1e-6, abs=1e-9)


def test_what_cannot_be_had_goes_to_the_others_and_to_nobody():
    """Nest 0 loses its one offer: the odds of the others, and of none, stay."""
    before = shares(np.array([1.0, 0.3, -0.2]), [0, 1, 1], 0.6)
    after = shares(np.array([-np.inf, 0.3, -0.2]), [0, 1, 1], 0.6)

    assert after.of_all[0] == 0.0
    assert after.of_all[1:] / after.outside == pytest.approx(before.of_all[1:] / before.outside)
    assert after.inside + after.outside == pytest.approx(1.0)


def test_if_nothing_can_be_had_nobody_uses_any():
    chosen = shares(np.full(2, -np.inf), [0, 1], 0.4)

    assert chosen.outside == 1.0
    assert chosen.of_users.tolist() == [0.0, 0.0]


@given(MARKETS, st.floats(0.001, 0.999), st.integers(0, 2))
def test_an_entrant_gets_the_share_it_is_given(market, share, nest):
    utilities, nests, nu, _ = market
    utilities, nests = np.append(utilities, 0.0), [*nests, nest]
    own = entrant_utility(share, len(nests) - 1, utilities, nests, nu)
    utilities[-1] = own

    assert shares(utilities, nests, nu).of_users[-1] == pytest.approx(share, rel=1e-6)


def test_the_worlds_of_a_stack_do_not_touch_each_other():
    rng = np.random.default_rng(5)
    utilities, nests, nu = rng.normal(0, 2, (7, 4)), [0, 1, 0, 2], rng.uniform(0, 0.9, 7)
    stack = shares(utilities, nests, nu)
    for world in range(7):
        alone = shares(utilities[world], nests, nu[world])
        assert alone.of_all.tolist() == stack.of_all[world].tolist()
        assert alone.inclusive_value == stack.inclusive_value[world]
