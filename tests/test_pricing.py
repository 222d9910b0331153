"""Cost to price, full price, and the rental price of compute."""

from __future__ import annotations

import datetime as dt
from math import exp, log

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jevons.pricing import (
    capital_recovery_factor,
    full_price_usd_per_mtok,
    money_share,
    next_rental_usd_per_gpu_hour,
    rental_trend,
    target_log_price,
    unit_cost_usd_per_mtok,
    user_cost_usd_per_gpu_hour,
    vendor_price_usd,
)
from jevons.scenario import Region, Rental, Run, Scenario, Segment, Trend


def test_unit_cost_by_hand():
    """900 GPU-s are a quarter of an hour at 2 USD, half of it idle: 1 USD, and 0.3 beside."""
    assert unit_cost_usd_per_mtok(900.0, 2.0, 0.5, 0.3) == pytest.approx(1.3)


def test_deepseek_day_costs_what_was_published():
    """226.75 nodes of 8 GPUs for 24 h at 2 USD make 776B tokens: 87,072 USD (DeepSeek, 1 March 2025)."""
    mtok = (608e9 + 168e9) / 1e6
    cost = unit_cost_usd_per_mtok(226.75 * 8 * 86400 / mtok, 2.0, 1.0)

    assert cost * mtok == pytest.approx(87_072.0)


def test_price_follows_cost_with_its_pass_through():
    """Cost down to a tenth at 0.7: 5 x 10^-0.7; the margin's drift and a shortage come on top."""
    target = target_log_price(log(5.0), 0.7, log(0.1), log(0.9), log(1.2))

    assert exp(target) == pytest.approx(5.0 * 10**-0.7 * 0.9 * 1.2)


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_full_pass_through_keeps_the_margin_and_none_keeps_the_price(log_start, log_cost_change):
    assert target_log_price(log_start, 1.0, log_cost_change) - log_start == pytest.approx(log_cost_change, abs=1e-12)
    assert target_log_price(log_start, 0.0, log_cost_change) == log_start


def test_the_full_price_adds_waiting_and_work():
    """2 USD, 50 s a Mtok at 0.03 USD/s, 4 USD of work: 7.5, of which money is 2/7.5."""
    full = full_price_usd_per_mtok(2.0, 0.03, 50.0, 4.0)

    assert full == pytest.approx(7.5)
    assert money_share(2.0, full) == pytest.approx(2.0 / 7.5)


@pytest.mark.parametrize(("interest", "years", "factor"), [(0.10, 10.0, 0.16275), (0.08, 5.0, 0.25046)])
def test_capital_recovery_agrees_with_the_tables(interest, years, factor):
    """The (A/P, i, n) factors of engineering-economy tables, five decimals."""
    assert capital_recovery_factor(interest, years) == pytest.approx(factor, abs=5e-6)


def test_without_interest_capital_is_recovered_evenly():
    assert capital_recovery_factor(0.0, 4.0) == 0.25
    assert capital_recovery_factor(1e-9, 4.0) == pytest.approx(0.25)


@given(st.floats(0.001, 1.0), st.floats(1.0, 30.0))
def test_the_payments_repay_the_capital(interest, years):
    """Their present value, (1 - (1+r)^-N)/r for each dollar a year, is 1."""
    assert capital_recovery_factor(interest, years) * (1 - (1 + interest) ** -years) / interest == pytest.approx(1.0)


def test_user_cost_by_hand():
    """30,000 USD over 4 years without interest, half as much for buildings, 1,000 USD a year to run: 12,250 USD a year.

    At 0.7 of 8,766 hours, 1.9964 USD.
    """
    cost = user_cost_usd_per_gpu_hour(
        30_000.0,
        interest_per_year=0.0,
        life_years=4.0,
        infrastructure_share=0.5,
        opex_usd_per_year=1_000.0,
        utilisation=0.7,
    )

    assert cost == pytest.approx(12_250 / (0.7 * 8766))


def test_a_vendor_with_three_quarters_margin_charges_four_times_its_cost():
    assert vendor_price_usd(7_000.0, 0.75) == 28_000.0


def test_hardware_progress_lowers_the_rental_price():
    """2.5 USD, 1.44x a year cheaper, half a year: 2.5/1.2."""
    world = Scenario(
        name="test",
        run=Run(start=dt.date(2024, 11, 1), months=24),
        trend=Trend(hardware_gain_per_year=1.44, algorithmic_gain_per_year=3.0),
        segments={"chat": Segment(tokens_per_day=1e9)},
        regions={
            "here": Region(rental=Rental(price_usd_per_gpu_hour=7.0)),
            "there": Region(rental=Rental(price_usd_per_gpu_hour=2.5)),
        },
    )

    assert rental_trend(world, "there", 6.0) == pytest.approx(2.5 / 1.2)


def test_scarcity_moves_the_rental_price():
    """Speed 2 a month, utilisation 0.1 above its norm, half a month: e^0.1."""
    assert next_rental_usd_per_gpu_hour(3.0, 2.0, 0.9, 0.8, 1.0, 0.5) == pytest.approx(3.0 * exp(0.1))


def test_slack_lowers_it_to_its_floor_and_no_further():
    assert next_rental_usd_per_gpu_hour(3.0, 2.0, 0.5, 0.8, 1.0) == pytest.approx(3.0 * exp(-0.6))
    assert next_rental_usd_per_gpu_hour(3.0, 2.0, 0.1, 0.8, 1.0) == 1.0


@given(st.floats(0.01, 100), st.floats(0, 20), st.floats(0.1, 1))
def test_at_its_norm_the_rental_price_rests(current, speed, normal):
    assert next_rental_usd_per_gpu_hour(current, speed, normal, normal, 0.0) == current


@given(st.floats(1e-6, 1e6), st.floats(0, 20), st.floats(0, 1e9), st.floats(0, 1e6))
@example(1.0, 20.0, 0.0, 0.0)
def test_no_shortage_or_glut_makes_it_infinite_or_nought(rental, speed, utilisation, floor):
    for _ in range(300):
        rental = next_rental_usd_per_gpu_hour(rental, speed, utilisation, 0.8, floor)

    assert floor <= rental <= 1e12
    assert rental > 0


@pytest.mark.parametrize(("gain", "a"), [(10.0, 0.5), (10.0, 1.0), (10.0, 1.5)])
def test_under_a_cap_scarcity_finds_the_price_of_the_closed_form(gain, a):
    """Need (1/g)(w/g)^-a = 1 at the fixed fleet: w = g^((a-1)/a), model.md section 5: 0.1, 1, 2.154."""
    rental = 1.0
    for _ in range(2000):
        need = 0.8 / gain * (rental / gain) ** -a
        rental = next_rental_usd_per_gpu_hour(rental, 0.5, need, 0.8, 0.0)

    assert rental == pytest.approx(gain ** ((a - 1) / a))
