"""The closed forms of rebound, with every vector of sections 3 to 5 of the model."""

from __future__ import annotations

from math import exp, inf, log

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jevons.dates import approach
from jevons.theory import (
    capability_threshold,
    capped_price_ratio,
    compute_pull,
    compute_ratio_isoelastic,
    compute_ratio_with_wedge,
    equilibrium_compute_ratio,
    equilibrium_price_ratio,
    marginal_threshold,
    months_until_backfire,
    peak_gain,
    rebound_isoelastic,
    steps_until_backfire,
)

gains = st.floats(1.01, 1e3)
magnitudes = st.floats(0.05, 4.0)


@pytest.mark.parametrize(
    ("a", "gain", "rebound"),
    [(0.5, 2.0, 0.414), (0.8, 5.0, 0.656), (1.0, 10.0, 1.0), (1.11, 10.0, 1.320), (1.5, 27.4, 5.395)],
)
def test_isoelastic_rebound_of_a_finite_shock(a, gain, rebound):
    """(g^a - 1)/(g - 1), rounded to three decimals."""
    assert rebound_isoelastic(gain, a) == pytest.approx(rebound, abs=6e-4)


@pytest.mark.parametrize(("a", "ratio"), [(0.5, 0.316), (0.8, 0.631), (1.0, 1.0), (1.11, 1.288), (1.5, 3.162)])
def test_isoelastic_compute_at_a_gain_of_ten(a, ratio):
    assert compute_ratio_isoelastic(10.0, a) == pytest.approx(ratio, abs=5e-4)


@given(gains, magnitudes)
def test_isoelastic_rebound_is_the_saving_taken_back(gain, a):
    """R = (E_shock - E_frozen)/(E_baseline - E_frozen) with E_frozen = 1/g."""
    ratio = compute_ratio_isoelastic(gain, a)

    assert rebound_isoelastic(gain, a) == pytest.approx((ratio - 1 / gain) / (1 - 1 / gain), rel=1e-9)


@given(gains)
def test_at_unit_elasticity_rebound_is_one_whatever_the_gain(gain):
    assert rebound_isoelastic(gain, 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("gain", [1.0, 1.0 + 1e-9])
def test_rebound_of_a_small_gain_is_the_elasticity(gain):
    assert rebound_isoelastic(gain, 1.3) == pytest.approx(1.3, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "w", "gain", "ratio"),
    [
        (2.0, 0.8, 4.0, 1.5625),
        (2.0, 0.8, 16.0, 1.0),
        (2.0, 0.8, 100.0, 0.2311),
        (1.5, 0.8, 2.0, 1.0758),
        (1.5, 0.8, 10.0, 0.6749),
    ],
)
def test_compute_behind_a_wedge(a, w, gain, ratio):
    assert compute_ratio_with_wedge(gain, a, w) == pytest.approx(ratio, abs=5e-5)


def test_the_log_linear_rule_says_the_opposite():
    """g^(a w - 1) = 10^0.2 = 1.585 where the wedge leaves 0.675."""
    assert compute_ratio_isoelastic(10.0, 1.5 * 0.8) == pytest.approx(1.585, abs=5e-4)


def test_compute_behind_a_wedge_peaks_where_it_is_said_to():
    """w (a - 1)/(1 - w) = 0.8/0.2 = 4."""
    peak = peak_gain(2.0, 0.8)

    assert peak == pytest.approx(4.0)
    assert compute_ratio_with_wedge(peak, 2.0, 0.8) > compute_ratio_with_wedge(peak * 1.01, 2.0, 0.8)
    assert compute_ratio_with_wedge(peak, 2.0, 0.8) > compute_ratio_with_wedge(peak / 1.01, 2.0, 0.8)


@given(gains, magnitudes)
def test_without_a_wedge_it_is_isoelastic_and_has_no_peak(gain, a):
    assert compute_ratio_with_wedge(gain, a, 1.0) == pytest.approx(compute_ratio_isoelastic(gain, a), rel=1e-9)
    assert peak_gain(a, 1.0) == (inf if a > 1 else 0.0)


@given(magnitudes, st.floats(0.05, 0.95))
def test_the_marginal_threshold_is_where_a_small_gain_turns(a, w):
    """Behind a wedge w the threshold is 1/w, and the peak lies above a gain of 1 beyond it."""
    assume(abs(a * w - 1) > 0.01)
    assert (compute_ratio_with_wedge(1.0001, a, w) > 1) == (a > marginal_threshold(w, 1.0, 1.0))
    assert (peak_gain(a, w) > 1) == (a > marginal_threshold(w, 1.0, 1.0))


def test_the_marginal_threshold_by_hand():
    """1/(0.5 x 0.8 x 0.625) = 4; nothing passed on, no threshold."""
    assert marginal_threshold(0.5, 0.8, 0.625) == pytest.approx(4.0)
    assert marginal_threshold(0.5, 0.8, 0.0) == inf


@pytest.mark.parametrize(("a", "steps"), [(1.5, 4.923), (1.11, 10.36)])
def test_steps_of_a_koyck_lag_until_backfire(a, steps):
    assert steps_until_backfire(a, 0.8) == pytest.approx(steps, abs=5e-3)


def test_months_until_backfire():
    assert months_until_backfire(1.5, 0.5, 12.0) == pytest.approx(8.318, abs=5e-4)


def test_a_market_that_is_inelastic_in_the_end_never_backfires():
    assert steps_until_backfire(1.0, 0.8) == inf
    assert months_until_backfire(0.9, 0.5, 12.0) == inf


def test_a_market_that_is_elastic_at_once_backfires_at_once():
    assert months_until_backfire(1.5, 1.2, 12.0) == 0.0
    assert months_until_backfire(1.5, 1.7, 12.0) == 0.0
    assert months_until_backfire(0.9, 1.2, 12.0) == 0.0


@given(st.floats(1.05, 3), st.floats(0, 0.99), st.floats(0.5, 40))
def test_at_that_time_the_adjusting_elasticity_is_one(a_long, a_short, time_constant):
    months = months_until_backfire(a_long, a_short, time_constant)

    assert approach(a_short, a_long, time_constant, months) == pytest.approx(1.0)


@given(st.floats(1.05, 3), st.floats(0.05, 0.95))
def test_steps_and_months_agree_when_the_short_run_is_nothing(a_long, lag):
    """lambda = exp(-1/tau)."""
    months = months_until_backfire(a_long, 0.0, -1 / log(lag))

    assert steps_until_backfire(a_long, lag) == pytest.approx(months)


def test_capability_lets_inelastic_demand_backfire():
    """psi 1.2, zeta 0.5, chi 0.4: 1 - 0.24/0.6 = 0.6."""
    assert capability_threshold(1.2, 0.5, 0.4) == pytest.approx(0.6)


@given(st.floats(0, 3), st.floats(0, 2), st.floats(0, 0.9))
def test_at_the_capability_threshold_the_pull_is_nought(psi, zeta, chi):
    a = capability_threshold(psi, zeta, chi)

    assert compute_pull(a, chi=chi, psi=psi, zeta=zeta) == pytest.approx(0.0, abs=1e-9)


def test_the_pull_by_hand():
    """(1.3 - 1)(1 - 0.4) + 1.2 x 0.5 x 0.4 + 0.07 = 0.49."""
    assert compute_pull(1.3, chi=0.4, psi=1.2, zeta=0.5, income=0.07) == pytest.approx(0.49)


@pytest.mark.parametrize(
    ("a", "supply", "compute", "price"),
    [(1.3, 0.5, 1.2115, 1.4678), (1.3, 2.0, 1.5199, 1.2328), (0.7, 0.5, 0.7499, 0.5623)],
)
def test_equilibrium_of_the_compute_market_at_a_gain_of_ten(a, supply, compute, price):
    B = compute_pull(a)

    assert equilibrium_compute_ratio(10.0, a, B, supply) == pytest.approx(compute, abs=5e-5)
    assert equilibrium_price_ratio(10.0, a, B, supply) == pytest.approx(price, abs=5e-5)


@given(gains, magnitudes, st.floats(0, 5))
def test_equilibrium_clears_the_market(gain, a, supply):
    """Demand g^(a-1) p^-a equals supply p^sigma."""
    price = equilibrium_price_ratio(gain, a, compute_pull(a), supply)
    compute = equilibrium_compute_ratio(gain, a, compute_pull(a), supply)

    assert compute == pytest.approx(price**supply, rel=1e-9)
    assert compute == pytest.approx(gain ** (a - 1) * price**-a, rel=1e-9)


@given(gains, magnitudes, st.floats(0, 0.9), st.floats(0, 2), st.floats(0.01, 5))
def test_supply_changes_the_size_of_the_answer_and_never_its_sign(gain, a, chi, psi, supply):
    B = compute_pull(a, chi=chi, psi=psi, zeta=0.5)
    assume(abs(B) > 1e-6)

    assert (equilibrium_compute_ratio(gain, a, B, supply) > 1) == (B > 0)


@given(gains, magnitudes)
def test_with_endless_supply_the_price_of_compute_stands_still(gain, a):
    assert equilibrium_price_ratio(gain, a, compute_pull(a), inf) == 1.0
    assert equilibrium_compute_ratio(gain, a, compute_pull(a), inf) == pytest.approx(compute_ratio_isoelastic(gain, a))


@pytest.mark.parametrize(("a", "price"), [(0.5, 0.1), (1.0, 1.0), (1.5, 2.154)])
def test_under_a_cap_the_shock_shows_in_the_price(a, price):
    assert capped_price_ratio(10.0, a) == pytest.approx(price, abs=5e-4)


@given(gains, magnitudes)
def test_a_cap_is_supply_without_elasticity(gain, a):
    """Compute stands still, and the price g^(B/A) with B = a - 1 is g^((a-1)/a) = exp((1 - 1/a) ln g)."""
    assert equilibrium_compute_ratio(gain, a, compute_pull(a), 0.0) == 1.0
    assert equilibrium_price_ratio(gain, a, compute_pull(a), 0.0) == pytest.approx(capped_price_ratio(gain, a))
    assert capped_price_ratio(gain, a) == pytest.approx(exp((1 - 1 / a) * log(gain)))
