"""What the trend and the shock make of compute intensity and capability."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.efficiency import adopted_share, bass_share, gain_of_mix, logistic_share, month_of, progress, trend_progress
from jevons.scenario import ARMS, Diffusion, Region, Rental, Run, Scenario, Segment, Shock, Trend

#: 2 months and 15 of 31 days after the start.
SHOCK_MONTH = 2 + 15 / 31
SHOCK = Shock(
    date=dt.date(2025, 1, 16),
    efficiency_gain=9.0,
    capability_share=0.25,
    capability_yield=0.4,
    catch_up_months=7.0,
    segment_reach={"chat": 0.6},
    region_reach={"china": 0.5},
)
TREND = Trend(algorithmic_gain_per_year=3.0, hardware_gain_per_year=1.4, capability_gain_per_year=1.7)


def scenario(shock: Shock | None = SHOCK, trend: Trend = TREND) -> Scenario:
    """A scenario of one market."""
    return Scenario(
        name="test",
        run=Run(start=dt.date(2024, 11, 1), months=24),
        shock=shock,
        trend=trend,
        segments={"chat": Segment(tokens_per_day=1e9)},
        regions={"world": Region(rental=Rental(price_usd_per_gpu_hour=2.0))},
    )


STILL = Trend()


def test_the_trend_compounds():
    """Half a year at 3x a year: intensity 3^-0.5, capability 1.7^0.5."""
    after = trend_progress(scenario(), 6.0)

    assert after.compute_factor == pytest.approx(3.0**-0.5)
    assert after.log_capability == pytest.approx(0.5 * log(1.7))


def test_the_shock_falls_on_its_day():
    assert month_of(scenario(), SHOCK.date) == SHOCK_MONTH


def test_intensity_and_capability_after_the_shock_by_hand():
    """Share 0.6 x 0.5 = 0.3; of ln 9 three quarters are saved, 9^0.75 = 5.196, and a quarter yields 0.4 of it.

    Intensity 0.7 + 0.3/5.196, capability 0.3 x 0.4 x 0.25 ln 9, each times its trend over 8 months.
    """
    after = progress(scenario(), "shock", "chat", "china", 8.0)

    assert after.compute_factor == pytest.approx(3.0 ** (-8 / 12) * (0.7 + 0.3 / 9.0**0.75))
    assert after.log_capability == pytest.approx(8 / 12 * log(1.7) + 0.03 * log(9.0))


def test_the_frozen_arm_takes_the_whole_gain_as_saving():
    after = progress(scenario(trend=STILL), "frozen", "chat", "china", 8.0)

    assert after.compute_factor == pytest.approx(0.7 + 0.3 / 9.0)
    assert after.log_capability == 0.0


def test_what_reach_does_not_name_is_reached_wholly():
    after = progress(scenario(trend=STILL), "frozen", "coding", "world", 8.0)

    assert after.compute_factor == pytest.approx(1 / 9.0)


@pytest.mark.parametrize("arm", ARMS)
def test_before_the_shock_the_arms_are_the_trend(arm):
    assert progress(scenario(), arm, "chat", "china", SHOCK_MONTH - 0.01) == trend_progress(
        scenario(), SHOCK_MONTH - 0.01
    )


@pytest.mark.parametrize("arm", ARMS)
def test_without_a_shock_the_arms_are_the_trend(arm):
    assert progress(scenario(shock=None), arm, "chat", "china", 9.0) == trend_progress(scenario(), 9.0)


def test_a_level_shock_never_comes_in_the_baseline():
    assert progress(scenario(), "baseline", "chat", "china", 1e4) == trend_progress(scenario(), 1e4)


PULLED = SHOCK.model_copy(
    update={
        "kind": "pull_forward",
        "diffusion": Diffusion(form="bass", innovation_per_month=0.1, imitation_per_month=0.3),
    }
)


@given(st.floats(0, 40))
def test_in_a_pull_forward_the_baseline_is_the_shock_arm_later(month):
    """By 7 months, capability included; nothing comes after that."""
    world = scenario(PULLED, STILL)
    late = progress(world, "baseline", "chat", "china", month + 7.0)
    early = progress(world, "shock", "chat", "china", month)

    assert late.compute_factor == pytest.approx(early.compute_factor)
    assert late.log_capability == pytest.approx(early.log_capability)


@given(st.floats(1e-3, 1e6), st.floats(0, 1), st.floats(0, 10), st.floats(0, 200), st.sampled_from(ARMS))
def test_progress_stays_finite_and_positive(gain, chi, zeta, month, arm):
    """Also for a loss of efficiency, gain below 1."""
    shock = SHOCK.model_copy(update={"efficiency_gain": gain, "capability_share": chi, "capability_yield": zeta})
    after = progress(scenario(shock), arm, "chat", "china", month)

    assert 0 < after.compute_factor < 1e9
    assert abs(after.log_capability) < 1e3


def test_a_gain_of_one_changes_nothing():
    shock = SHOCK.model_copy(update={"efficiency_gain": 1.0})

    assert progress(scenario(shock), "shock", "chat", "china", 9.0) == trend_progress(scenario(), 9.0)


def test_efficiencies_mix_harmonically():
    """Half at 10x and half at 1x take 0.5 + 0.05 of the compute: 1.818, where the arithmetic mean says 5.5."""
    assert gain_of_mix(0.5, 10.0) == pytest.approx(1 / 0.55)


@given(st.floats(0, 1), st.floats(1, 1e6))
def test_a_mix_lies_between_its_parts(share, gain):
    assert 1 - 1e-12 <= gain_of_mix(share, gain) <= gain * (1 + 1e-9)


DIFFUSIONS = [
    Diffusion(form="immediate"),
    Diffusion(form="logistic", months_to_half=5.0, steepness_per_month=0.9),
    Diffusion(form="bass", innovation_per_month=0.04, imitation_per_month=0.6),
]


@pytest.mark.parametrize("diffusion", DIFFUSIONS, ids=lambda diffusion: diffusion.form)
def test_every_diffusion_is_nothing_before_and_everything_in_the_end(diffusion):
    assert adopted_share(diffusion, -0.001) == 0.0
    assert adopted_share(diffusion, 1e4) == pytest.approx(1.0)


@pytest.mark.parametrize("diffusion", DIFFUSIONS[1:], ids=lambda diffusion: diffusion.form)
def test_a_gradual_diffusion_begins_at_nought_and_grows(diffusion):
    shares = [adopted_share(diffusion, month / 4) for month in range(200)]

    assert shares[0] == 0.0
    assert all(after > before for before, after in pairwise(shares[:60]))
    assert all(0.0 <= share <= 1.0 for share in shares)


def test_an_immediate_diffusion_is_complete_on_its_day():
    assert adopted_share(DIFFUSIONS[0], 0.0) == 1.0


def test_the_logistic_is_near_a_half_at_its_half():
    """Below by L(0)/(2 (1 - L(0))) = e^-(s h)/2, here with s h = 4.5."""
    assert logistic_share(5.0, 5.0, 0.9) == pytest.approx(0.5 - 0.5 * exp(-4.5))


@given(st.floats(0.1, 60), st.floats(0.1, 60), st.floats(0.05, 3))
def test_the_logistic_multiplies_the_odds_of_its_raw_share(months, half, steepness):
    """Stretched back, F (1 - L0) + L0 has odds e^(s (t - h)), the definition of a logistic."""
    at_start = 1 / (1 + exp(steepness * half))
    raw = logistic_share(months, half, steepness) * (1 - at_start) + at_start

    assert raw == pytest.approx(1 / (1 + exp(-steepness * (months - half))), rel=1e-9)


@given(st.floats(0.5, 30), st.floats(0.001, 1), st.floats(0, 1))
def test_bass_solves_its_equation(months, p, q):
    """F' = (p + q F)(1 - F), Bass (1969), by central difference."""
    h = 1e-4
    slope = (bass_share(months + h, p, q) - bass_share(months - h, p, q)) / (2 * h)
    share = bass_share(months, p, q)

    assert slope == pytest.approx((p + q * share) * (1 - share), abs=1e-7)


def test_bass_peaks_where_bass_says():
    """Sales peak at t* = ln(q/p)/(p + q), where F = 1/2 - p/(2q); Bass (1969), eq. 10-11."""
    p, q = 0.03, 0.38
    peak = log(q / p) / (p + q)

    assert bass_share(peak, p, q) == pytest.approx(0.5 - p / (2 * q))
