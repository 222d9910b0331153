"""The months of the three arms: the simulation driven into each limit that has a closed form, and compared."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from math import exp, log, sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from worlds import (
    SERVING,
    SHOCK_MONTH,
    arms_of,
    budget,
    compute,
    compute_ratio,
    fleet,
    identical,
    orders,
    rebound_of,
    region,
    segment,
    world,
)

from jevons.demand import curve
from jevons.model import shock_month
from jevons.region import RegionSupply
from jevons.scenario import ARMS, Failures, Pricing, Scenario, Segment, Trend
from jevons.theory import (
    capability_threshold,
    capped_price_ratio,
    compute_ratio_isoelastic,
    compute_ratio_with_wedge,
    months_until_backfire,
    peak_gain,
    rebound_isoelastic,
    steps_until_backfire,
)
from jevons.units import HOURS_PER_DAY, SECONDS_PER_MONTH

magnitudes = st.floats(0.1, 3.0)
gains = st.one_of(st.floats(1.001, 300.0), st.floats(0.02, 0.95))

#: A segment that has all that moves usage, and a fleet that has all that moves supply.
RICH = segment(
    form="hill",
    penetration=0.3,
    capability_elasticity=0.6,
    tokens_per_task_elasticity=-0.15,
    adjustment_months=2.5,
    usage_growth_per_year=4.0,
    usage_noise=0.05,
    value_of_time_usd_per_hour=0.9,
    human_cost_usd_per_mtok=1.7,
    other_cost_share=0.12,
    workload="talk",
    patience_s=45.0,
)
RICH_FLEET = fleet(
    60.0,
    growth_before_per_year=2.0,
    power_cap_mw=0.2,
    orders=orders(2.0, 0.4, headroom=1.3, allocation_per_month=14.0),
)


def rich_world(**changes: Any) -> Scenario:
    """Everything at once: two segments and a budget, noise, queues, shortage, orders."""
    fields = {
        "months": 6,
        "shock": {"capability_share": 0.2, "capability_yield": 0.5},
        "trend": Trend(algorithmic_gain_per_year=2.9, hardware_gain_per_year=1.4, capability_gain_per_year=1.2),
        "pricing": Pricing(pass_through=0.85, adjustment_months=1.5, shortage_markup=0.4),
        "regions": {"here": region(RICH_FLEET, scarcity_speed_per_month=0.3, floor_usd_per_gpu_hour=0.2)},
        "serving": SERVING,
        "run": {"resolution": 300, "sampled_minutes_per_hour": 6.0},
    }
    code = segment(tokens_per_day=2e9, price_usd_per_mtok=5.0, workload="talk", usage_noise=0.03, priority="batch")
    return world(RICH, code, budget(), **{**fields, **changes})


# The calendar.


def test_a_shock_on_a_day_inside_a_month_shows_in_the_next():
    """20 January 2025 is month 12 and 19/31 from 1 January 2024: first in month 13, February 2025."""
    day = world(months=15, run={"start": dt.date(2024, 1, 1)}, shock={"date": dt.date(2025, 1, 20)}, trend=Trend())
    arms = arms_of(day)

    assert shock_month(day) == 13
    assert [compute_ratio(arms, month) == 1.0 for month in range(15)] == [True] * 13 + [False] * 2


def test_a_shock_on_the_first_day_of_a_month_shows_in_it():
    arms = arms_of(world())

    assert shock_month(world()) == SHOCK_MONTH
    assert [compute_ratio(arms, month) == 1.0 for month in range(4)] == [True, True, False, False]


# Nothing happens.


@pytest.mark.parametrize("engine", ["closed_form", pytest.param("simpy", marks=pytest.mark.slow)])
def test_without_a_gain_the_arms_are_the_same_to_the_last_bit(engine):
    """Months, fleets, and every figure of every served day, noise and failures included."""
    serving = SERVING.model_copy(update={"failures": Failures(mtbf_days=20.0, repair_hours=5.0)})
    arms = arms_of(rich_world(gain=1.0, serving=serving), engine)

    assert identical(list(arms["baseline"]), list(arms["frozen"]))
    assert identical(list(arms["baseline"]), list(arms["shock"]))


def test_without_a_gain_no_arm_of_a_pull_forward_differs():
    arms = arms_of(rich_world(gain=1.0, shock={"kind": "pull_forward", "catch_up_months": 2.0}))

    assert identical(list(arms["baseline"]), list(arms["shock"]))


# Constant elasticity.


@given(a=magnitudes, gain=gains)
def test_constant_elasticity_gives_the_closed_form(a, gain):
    """Without queues or caps compute moves by g^(a-1), and R = (g^a - 1)/(g - 1) (model, section 4)."""
    arms = arms_of(world(segment(price_elasticity=-a), gain=gain))

    assert compute_ratio(arms) == pytest.approx(compute_ratio_isoelastic(gain, a), rel=1e-9)
    assert rebound_of(arms) == pytest.approx(rebound_isoelastic(gain, a), rel=1e-9)


@settings(max_examples=25)
@given(a=magnitudes, gain=gains)
def test_constant_elasticity_gives_the_closed_form_through_served_days(a, gain):
    """Nodes without steps or floor are proportional to the load."""
    arms = arms_of(world(segment(price_elasticity=-a, workload="talk"), gain=gain, months=3, serving=SERVING))

    assert compute_ratio(arms) == pytest.approx(compute_ratio_isoelastic(gain, a), rel=1e-9)
    assert rebound_of(arms) == pytest.approx(rebound_isoelastic(gain, a), rel=1e-9)


@pytest.mark.slow
def test_constant_elasticity_gives_the_closed_form_through_single_requests():
    """The forecast of the autoscaler knows the expected load, so the nodes follow it in simulation too."""
    chat = segment(price_elasticity=-1.4, workload="talk")
    arms = arms_of(world(chat, gain=5.0, months=3, serving=SERVING, run={"resolution": 400}), "simpy")

    assert compute_ratio(arms) == pytest.approx(5.0**0.4, rel=1e-4)


@given(a=magnitudes, gain=gains, pass_through=st.floats(0.05, 1.5))
def test_an_incomplete_pass_through_scales_the_elasticity(a, gain, pass_through):
    """C1/C0 = g^(rho a - 1): backfire beyond a = 1/rho (model, section 3)."""
    arms = arms_of(world(segment(price_elasticity=-a), gain=gain, pricing=Pricing(pass_through=pass_through)))

    assert compute_ratio(arms) == pytest.approx(gain ** (pass_through * a - 1.0), rel=1e-9)


def test_the_pass_through_of_a_segment_comes_before_that_of_all():
    chat = segment(price_elasticity=-2.0, pass_through=0.3)
    arms = arms_of(world(chat, pricing=Pricing(pass_through=0.9)))

    assert compute_ratio(arms) == pytest.approx(7.0 ** (0.3 * 2.0 - 1.0), rel=1e-9)


@given(reach=st.floats(0.05, 1.0), region_reach=st.floats(0.05, 1.0))
def test_only_what_the_shock_reaches_gets_cheaper(reach, region_reach):
    """Efficiency mixes harmonically: 1/G = 1 - F + F/g, and then as a shock of G."""
    shock = {"segment_reach": {"chat": reach}, "region_reach": {"here": region_reach}}
    arms = arms_of(world(gain=9.0, shock=shock))
    gain = 1.0 / (1.0 - reach * region_reach * (1.0 - 1.0 / 9.0))

    assert compute_ratio(arms) == pytest.approx(gain**0.3, rel=1e-9)


def test_the_frozen_arm_keeps_usage_and_takes_the_whole_gain_as_saving():
    """Usage of the baseline to the last bit; compute over 7, capability share or not."""
    arms = arms_of(world(shock={"capability_share": 0.4, "capability_yield": 0.7}))
    baseline, frozen = (arms[arm][-1].segment("chat", "here") for arm in ("baseline", "frozen"))

    assert frozen.tokens_per_day == baseline.tokens_per_day
    assert frozen.gpu_hours_per_day == pytest.approx(baseline.gpu_hours_per_day / 7.0, rel=1e-12)


# Wedges.


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
def test_a_human_cost_beside_the_money_gives_the_vectors_of_the_wedge(a, w, gain, ratio):
    """Vectors of section 3 of the model; 8 USD of money are 80 % of a full price of 10."""
    chat = segment(price_elasticity=-a, price_usd_per_mtok=8.0, human_cost_usd_per_mtok=8.0 * (1.0 - w) / w)
    arms = arms_of(world(chat, gain=gain))

    assert compute_ratio(arms) == pytest.approx(ratio, abs=5e-5)
    assert compute_ratio(arms) == pytest.approx(compute_ratio_with_wedge(gain, a, w), rel=1e-9)


@given(a=magnitudes, gain=gains, theta=st.floats(0.3, 1.0), money=st.floats(0.3, 1.0))
def test_a_cost_that_is_not_compute_is_a_wedge_like_the_others(a, gain, theta, money):
    """w = s_P theta: the money share of the full price times the share of compute in cost."""
    chat = segment(
        price_elasticity=-a,
        price_usd_per_mtok=3.0,
        human_cost_usd_per_mtok=3.0 * (1.0 - money) / money,
        other_cost_share=1.0 - theta,
    )
    arms = arms_of(world(chat, gain=gain))

    assert compute_ratio(arms) == pytest.approx(compute_ratio_with_wedge(gain, a, money * theta), rel=1e-8)


def test_compute_peaks_at_the_gain_of_the_closed_form():
    """Behind a wedge of 0.7 at a = 2.5 the peak is at 0.7 x 1.5/0.3 = 3.5; either side of it is lower."""
    chat = segment(price_elasticity=-2.5, price_usd_per_mtok=7.0, human_cost_usd_per_mtok=3.0)
    below, peak, above = (compute_ratio(arms_of(world(chat, gain=gain))) for gain in (3.4, 3.5, 3.6))

    assert peak_gain(2.5, 0.7) == pytest.approx(3.5)
    assert peak > max(below, above)


def test_waiting_is_part_of_the_full_price():
    """A wait whose worth equals 30 % of the full price is a wedge of 0.7; it is that of the served days."""

    def chat(value: float) -> Segment:
        return segment(workload="talk", value_of_time_usd_per_hour=value, price_elasticity=-2.0)

    once = arms_of(world(chat(1.0), months=3, serving=SERVING))["baseline"][1].segment("chat", "here")
    waiting = once.full_price_usd_per_mtok - once.price_usd_per_mtok
    value = 8.0 * 0.3 / 0.7 / waiting
    arms = arms_of(world(chat(value), months=3, serving=SERVING))

    # An answer of 300 tokens in a request of 1200, at the latency reported.
    assert waiting == pytest.approx(once.latency_s / 3600.0 * 1e6 / 1200.0, rel=1e-3)
    assert compute_ratio(arms) == pytest.approx(compute_ratio_with_wedge(7.0, 2.0, 0.7), rel=1e-3)


# Where the sign of the change flips.


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ("hill", {"price_elasticity": -0.9, "penetration": 0.45}),
        ("hill", {"price_elasticity": -1.3, "penetration": 0.2}),
        ("lognormal", {"price_elasticity": -0.8, "penetration": 0.35}),
        ("lognormal", {"price_elasticity": -1.4, "penetration": 0.15}),
        ("linear", {"price_elasticity": -0.6}),
        ("linear", {"price_elasticity": -2.2}),
        ("exponential", {"price_elasticity": -0.7}),
        ("exponential", {"price_elasticity": -1.9}),
        ("derived", {"cost_share": 0.3, "substitution": 0.4, "product_elasticity": -1.8}),
        ("derived", {"cost_share": 0.2, "substitution": 1.6, "product_elasticity": -0.5}),
    ],
)
def test_the_change_flips_its_sign_at_the_threshold_of_the_form(form, shape):
    """The price at the shock at which a gain of 1 % leaves compute alone, found through the model.

    The gain moves the price from x to x/g, and its middle x/sqrt(g) is where the marginal threshold must be.
    """
    threshold, gain = curve(segment(form=form, **shape)).backfires_above, 1.01

    def log_change(relative_price: float) -> float:
        # A price that moves by this factor a year is there at the shock, twelve months on.
        chat = segment(form=form, price_change_per_year=relative_price, **shape)
        at_shock = world(chat, gain=gain, months=13, shock={"date": dt.date(2026, 1, 1)})
        return log(compute_ratio(arms_of(at_shock)))

    flip = brentq(log_change, threshold / 1.5, threshold * 1.5, xtol=1e-9)

    assert flip / sqrt(gain) == pytest.approx(threshold, rel=1e-4)
    assert log_change(threshold * 1.4) * log_change(threshold / 1.4) < 0


def test_constant_elasticity_flips_at_one():
    def log_change(a: float) -> float:
        return log(compute_ratio(arms_of(world(segment(price_elasticity=-a)))))

    assert brentq(log_change, 0.5, 2.0, xtol=1e-12) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("price", "ratio"), [(5.0, 1.485), (0.5, 0.128)])
def test_where_a_market_stands_on_its_curve_decides(price, ratio):
    """Hill with b = 1.8 and P0 = 1 (model, section 4): penetration 1/(1 + P^b), elasticity b (1 - s)."""
    s = 1.0 / (1.0 + price**1.8)
    chat = segment(form="hill", price_usd_per_mtok=price, penetration=s, price_elasticity=-1.8 * (1.0 - s))

    assert compute_ratio(arms_of(world(chat, gain=10.0))) == pytest.approx(ratio, abs=5e-4)


# Time.


@pytest.mark.parametrize(("a", "steps"), [(1.5, 4.923), (1.11, 10.36)])
def test_a_lagging_market_backfires_when_koyck_says(a, steps):
    """Vectors of section 4: a lag of 0.8 a month; after n months the elasticity is a (1 - 0.8^n)."""
    chat = segment(price_elasticity=-a, adjustment_months=-1.0 / log(0.8))
    arms = arms_of(world(chat, months=SHOCK_MONTH + 12))
    elasticities = [1.0 + log(compute_ratio(arms, SHOCK_MONTH + n - 1)) / log(7.0) for n in range(1, 13)]

    assert elasticities == pytest.approx([a * (1.0 - 0.8**n) for n in range(1, 13)], rel=1e-9)
    assert steps_until_backfire(a, 0.8) == pytest.approx(steps, abs=5e-3)
    assert [value > 1.0 for value in elasticities] == [n > steps for n in range(1, 13)]


def test_a_market_with_a_quick_and_a_slow_answer_backfires_when_the_closed_form_says():
    """Tokens per task answer at once (0.5), usage with 12 months (1.0 more): after 8.318 months."""
    chat = segment(price_elasticity=-1.0, tokens_per_task_elasticity=-0.5, adjustment_months=12.0)
    arms = arms_of(world(chat, months=SHOCK_MONTH + 12))
    threshold = months_until_backfire(1.5, 0.5, 12.0)

    assert threshold == pytest.approx(8.318, abs=5e-4)
    assert [compute_ratio(arms, SHOCK_MONTH + n - 1) > 1.0 for n in range(1, 13)] == [
        n > threshold for n in range(1, 13)
    ]


def test_prices_that_adjust_slowly_delay_the_answer():
    """After n months the price has gone 1 - e^(-n/4) of its way, in logs."""
    arms = arms_of(world(months=7, pricing=Pricing(adjustment_months=4.0)))
    way = [log(8.0 / m.segment("chat", "here").price_usd_per_mtok) / log(7.0) for m in arms["shock"][SHOCK_MONTH:]]

    assert way == pytest.approx([1.0 - exp(-n / 4.0) for n in range(1, 6)], rel=1e-9)


def test_after_a_pull_forward_the_baseline_catches_up_and_the_arms_meet():
    """The same gain five months later: apart in months 2 to 6, and from month 7 on the same."""
    arms = arms_of(world(months=10, shock={"kind": "pull_forward", "catch_up_months": 5.0}))
    apart = [compute_ratio(arms, month) for month in range(10)]

    assert apart[2:7] == pytest.approx([7.0**0.3] * 5, rel=1e-9)
    assert apart[:2] + apart[7:] == pytest.approx([1.0] * 5, rel=1e-9)
    assert compute(arms, "frozen", 6) == pytest.approx(compute(arms, "baseline", 6) / 7.0, rel=1e-9)
    assert compute(arms, "frozen", 7) == pytest.approx(compute(arms, "baseline", 7), rel=1e-9)


# Capability, budgets, tariffs.


@given(a=magnitudes, chi=st.floats(0.0, 0.9), gain=gains)
def test_a_share_spent_on_capability_gives_the_closed_form(a, chi, gain):
    """C1/C0 = g^B, B = (a - 1)(1 - chi) + psi zeta chi (model, section 5)."""
    psi, zeta = 1.7, 0.6
    chat = segment(price_elasticity=-a, capability_elasticity=psi)
    arms = arms_of(world(chat, gain=gain, shock={"capability_share": chi, "capability_yield": zeta}))

    assert compute_ratio(arms) == pytest.approx(gain ** ((a - 1.0) * (1.0 - chi) + psi * zeta * chi), rel=1e-9)


def test_capability_lets_an_inelastic_market_backfire_beyond_the_threshold():
    """psi zeta chi/(1 - chi) = 1.4 x 0.5 x 0.3/0.7 = 0.3: backfire from a = 0.7 on."""
    threshold = capability_threshold(1.4, 0.5, 0.3)

    def log_change(a: float) -> float:
        chat = segment(price_elasticity=-a, capability_elasticity=1.4)
        return log(compute_ratio(arms_of(world(chat, shock={"capability_share": 0.3, "capability_yield": 0.5}))))

    assert threshold == pytest.approx(0.7)
    assert brentq(log_change, 0.3, 1.0, xtol=1e-12) == pytest.approx(threshold, abs=1e-9)


@given(gains)
def test_a_budget_takes_back_exactly_what_is_saved(gain):
    arms = arms_of(world(budget(), gain=gain))

    assert rebound_of(arms) == pytest.approx(1.0, rel=1e-9)
    assert compute_ratio(arms) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("serving", [None, SERVING])
def test_a_budget_spends_what_it_has(serving):
    """700 USD a day, growing threefold a year while compute gets cheaper; by its own hours, not those of serving."""
    chat = segment(workload="talk")
    growing = budget(usage_growth_per_year=3.0)
    progress = Trend(algorithmic_gain_per_year=2.0, hardware_gain_per_year=1.5)
    arms = arms_of(world(chat, growing, months=5, trend=progress, serving=serving))
    spent = [m.regions[0].budget_gpu_hours_per_day * m.regions[0].rental_usd_per_gpu_hour for m in arms["baseline"]]

    assert spent == pytest.approx([700.0 * 3.0 ** (month / 12.0) for month in range(5)], rel=1e-9)


def test_usage_at_a_flat_price_does_not_move_with_the_shock():
    """R = 0: without quota the marginal price is zero before and after."""
    arms = arms_of(world(segment(tariff="flat", price_elasticity=-2.0)))

    assert rebound_of(arms) == pytest.approx(0.0, abs=1e-12)
    assert arms["shock"][-1].segment("chat", "here").price_usd_per_mtok == pytest.approx(8.0 / 7.0)


@pytest.mark.parametrize("tariff", ["flat", "free"])
@given(quota=st.floats(0.0, 2.0))
def test_a_quota_passes_cost_on_as_an_elasticity_would(tariff, quota):
    arms = arms_of(world(segment(tariff=tariff, quota_pass_through=quota)))

    assert compute_ratio(arms) == pytest.approx(7.0 ** (quota - 1.0), rel=1e-9)


def test_cheaper_tokens_lengthen_tasks():
    """Elasticities add: 7^(0.6 + 0.25 - 1)."""
    arms = arms_of(world(segment(price_elasticity=-0.6, tokens_per_task_elasticity=-0.25)))

    assert compute_ratio(arms) == pytest.approx(7.0 ** (0.6 + 0.25 - 1.0), rel=1e-9)
    assert arms["shock"][-1].segment("chat", "here").tokens_per_task == pytest.approx(7.0**0.25, rel=1e-9)


# The market for compute.


def capped_world(a: float, gain: float, speed: float = 0.3, months: int = 260) -> Scenario:
    """A fleet that cannot grow, at rest when the shock comes."""
    probe = world(segment(price_elasticity=-a), gain=gain)
    need = compute(arms_of(probe), "baseline", 0) / HOURS_PER_DAY
    full = fleet(need / 0.8 / 1.5)
    # Without the floor the frozen arm, whose usage is held, lets the rental price fall without end.
    here = region(full, scarcity_speed_per_month=speed, normal_utilisation=0.8, floor_usd_per_gpu_hour=1e-5)
    return world(segment(price_elasticity=-a), gain=gain, months=months, regions={"here": here})


@pytest.mark.parametrize("gain", [4.0, 10.0])
@pytest.mark.parametrize("a", [0.5, 1.0, 1.5])
def test_under_a_hard_cap_compute_stands_still_and_its_price_moves(a, gain):
    """C fixed, R = 1, w1/w0 = g^((a-1)/a): 0.1, 1 and 2.154 at g = 10 (model, section 5).

    The gap to that rest shrinks by kappa a u* = 0.12 a month or faster, so 250 months leave rounding.
    """
    arms = arms_of(capped_world(a, gain))
    rental = {arm: arms[arm][-1].regions[0].rental_usd_per_gpu_hour for arm in ARMS}

    assert compute_ratio(arms) == pytest.approx(1.0, rel=1e-9)
    assert rebound_of(arms) == pytest.approx(1.0, rel=1e-9)
    assert rental["shock"] / rental["baseline"] == pytest.approx(capped_price_ratio(gain, a), rel=1e-9)


def test_the_rental_prices_under_a_cap_are_those_of_the_model_page():
    rental = {}
    for a in (0.5, 1.0, 1.5):
        arms = arms_of(capped_world(a, 10.0))
        shock, baseline = (arms[arm][-1].regions[0].rental_usd_per_gpu_hour for arm in ("shock", "baseline"))
        rental[a] = shock / baseline

    assert rental == pytest.approx({0.5: 0.1, 1.0: 1.0, 1.5: 2.154}, abs=5e-4)


@pytest.mark.parametrize("a", [0.6, 0.9, 1.1, 1.5])
@pytest.mark.parametrize(
    ("lead", "allocation", "speed"), [(1.0, None, 0.1), (6.0, None, 0.05), (3.0, 2.0, 0.1), (2.0, 0.5, 0.2)]
)
def test_compute_rises_if_and_only_if_demand_is_elastic_whatever_supply_does(a, lead, allocation, speed):
    """The sign is that of B = a - 1 (model, section 5); supply decides how far (a mean over the last year).

    As long as the fleet is quicker than the rental price: orders answer need and not price, so a price that
    has fallen in a glut stays low, as if under the hard cap.
    """
    need = compute(arms_of(world(segment(price_elasticity=-a))), "baseline", 0) / HOURS_PER_DAY
    ordered = orders(lead, headroom=1.25, adjustment_per_month=0.3, allocation_per_month=allocation)
    plan = fleet(need / 0.8 / 1.5, growth_before_per_year=1.5, orders=ordered)
    here = region(plan, scarcity_speed_per_month=speed, floor_usd_per_gpu_hour=1e-4)
    chat = segment(price_elasticity=-a, usage_growth_per_year=1.5)
    arms = arms_of(world(chat, gain=3.0, months=72, regions={"here": here}))
    shock, baseline = (sum(compute(arms, arm, month) for month in range(60, 72)) for arm in ("shock", "baseline"))

    assert (shock > baseline) == (a > 1.0)


@pytest.mark.parametrize("a", [0.6, 0.9, 1.1, 1.5])
def test_a_fleet_that_answers_the_rental_price_is_elastic_in_the_long_run(a):
    """Supply without limit: C1/C0 = g^(a-1), and the rental price back on its trend in both arms (model, section 5)."""
    need = compute(arms_of(world(segment(price_elasticity=-a))), "baseline", 0) / HOURS_PER_DAY
    ordered = orders(2.0, headroom=1.25, adjustment_per_month=0.3, rental_response=1.0)
    plan = fleet(need / 0.8 / 1.5, growth_before_per_year=1.5, orders=ordered)
    here = region(plan, scarcity_speed_per_month=0.2, floor_usd_per_gpu_hour=1e-4)
    chat = segment(price_elasticity=-a, usage_growth_per_year=1.5)
    arms = arms_of(world(chat, gain=3.0, months=72, regions={"here": here}))
    rental = {arm: arms[arm][-1].regions[0].rental_usd_per_gpu_hour for arm in ("baseline", "shock")}

    assert compute_ratio(arms) == pytest.approx(compute_ratio_isoelastic(3.0, a), rel=1e-3)
    assert rental["shock"] == pytest.approx(rental["baseline"], rel=1e-3)


def test_supply_without_limit_leaves_the_rental_price_on_its_trend():
    arms = arms_of(world(months=7, trend=Trend(hardware_gain_per_year=1.6)))
    rental = [m.regions[0].rental_usd_per_gpu_hour for m in arms["shock"]]

    assert rental == pytest.approx([2.5 * 1.6 ** (-month / 12.0) for month in range(7)], rel=1e-12)


def test_a_shortage_marks_up_the_price():
    """Need 1.7 times the fleet: the month after, the price is up by 1.7^0.6."""
    need = compute(arms_of(world()), "baseline", 0) / HOURS_PER_DAY
    short = {"here": region(fleet(need / 1.7 / 1.5))}
    arms = arms_of(world(regions=short, pricing=Pricing(shortage_markup=0.6)))
    month = arms["baseline"][1]

    assert arms["baseline"][0].regions[0].lost_share == pytest.approx(1.0 - 1.0 / 1.7)
    assert month.segment("chat", "here").price_usd_per_mtok == pytest.approx(8.0 * 1.7**0.6)
    assert month.regions[0].gpu_hours_per_day == pytest.approx(HOURS_PER_DAY * need / 1.7)


def test_what_serving_leaves_is_what_a_budget_gets():
    """A fleet of 1.2 times the serving: the budget asks for more than the fifth that is left."""
    need = compute(arms_of(world()), "baseline", 0) / HOURS_PER_DAY
    rich = budget(budget_usd_per_day=2.5 * 24.0 * need)
    arms = arms_of(world(segment(), rich, regions={"here": region(fleet(1.2 * need / 1.5))}))
    month = arms["baseline"][0].regions[0]

    assert month.serving_gpu_hours_per_day == pytest.approx(24.0 * need)
    assert month.budget_gpu_hours_per_day == pytest.approx(0.2 * 24.0 * need)
    assert month.wanted_gpu_hours_per_day == pytest.approx(2.0 * 24.0 * need)
    assert month.utilisation == pytest.approx(2.0 / 1.2)


# Fleet and clock.


def installed(scenario: Scenario) -> list[float]:
    """Installed GPUs of the baseline, month by month, H100e."""
    return [month.regions[0].installed_h100e for month in arms_of(scenario)["baseline"]]


@pytest.mark.parametrize(("lead", "arrives"), [(2.0, 2), (2.5, 3), (0.0, 1)])
def test_a_delivery_serves_from_the_first_month_that_begins_when_it_is_due_or_later(lead, arrives):
    here = region(fleet(0.0, orders=orders(lead, headroom=1.3)))
    stock = installed(world(months=5, regions={"here": here}))

    assert [count > 0 for count in stock] == [month >= arrives for month in range(5)]


def test_opening_orders_carry_the_growth_on_until_the_first_own_ones_come():
    """Stock 3.4-fold a year through the lead time of five months, to the last bit of rounding."""
    here = region(fleet(400.0, growth_before_per_year=3.4, orders=orders(5.0)))
    stock = installed(world(months=6, regions={"here": here}))

    assert stock == pytest.approx([600.0 * 3.4 ** (month / 12.0) for month in range(6)], rel=1e-9)


@pytest.mark.parametrize(("remembered", "overshoots"), [(0.0, True), (1.0, False)])
def test_a_buyer_who_forgets_what_is_on_order_buys_too_much(remembered, overshoots):
    """A need that stands still, half covered at the start; lead time 6 months, half of the gap ordered a month."""
    need = compute(arms_of(world()), "baseline", 0) / HOURS_PER_DAY
    ordered = orders(6.0, headroom=1.25, supply_line_weight=remembered, adjustment_per_month=0.5)
    still = world(months=40, gain=1.0, regions={"here": region(fleet(0.5 * need / 1.5, orders=ordered))})
    stock = installed(still)

    assert (max(stock) > 1.25 * need * (1.0 + 1e-9)) == overshoots
    assert overshoots or stock[-1] == pytest.approx(1.25 * need, rel=1e-3)


def test_the_vendor_allocates_no_more_than_he_has():
    """A growing need and 3 H100e a month, twice as many a year on."""
    ordered = orders(1.0, allocation_per_month=3.0, allocation_growth_per_year=2.0, headroom=2.0)
    here = region(fleet(1.0, orders=ordered))
    months = arms_of(world(segment(tokens_per_day=3e11), months=13, regions={"here": here}))["baseline"]

    assert [m.regions[0].ordered_h100e for m in months] == pytest.approx([3.0 * 2.0 ** (n / 12.0) for n in range(13)])


def test_power_bounds_what_a_fleet_can_serve():
    """100 GPUs of 1.4 kW at a PUE of 1.25 are 0.175 MW; 0.07 MW run 40 % of their 150 H100e."""
    here = region(fleet(100.0, power_cap_mw=0.07))
    month = arms_of(world(segment(tokens_per_day=1e12), regions={"here": here}))["baseline"][0].regions[0]

    assert (month.installed_h100e, month.powered_h100e) == pytest.approx((150.0, 60.0))
    assert month.gpu_hours_per_day == pytest.approx(60.0 * 24.0)
    # Each H100e is 2/3 of a GPU.
    assert month.energy_mwh_per_day == pytest.approx(24.0 * 0.07)


def test_a_delivery_in_the_days_that_are_served_counts_from_the_next_month():
    """It is due 12 hours into month 1; what month 1 reports is what it served with."""
    half_a_day = 0.5 * 86400.0 / SECONDS_PER_MONTH
    here = region(fleet(20.0, orders=orders(1.0 + half_a_day, headroom=3.0)))
    months = arms_of(world(segment(workload="talk"), serving=SERVING, regions={"here": here}))["baseline"]

    assert months[0].regions[0].ordered_h100e > 0
    assert months[1].regions[0].installed_h100e == pytest.approx(30.0)
    assert months[2].regions[0].installed_h100e > 30.0


# The baseline's anchors.


@given(
    a=magnitudes,
    psi=st.floats(0.0, 2.0),
    tracks=st.floats(0.0, 1.0),
    form=st.sampled_from(["hill", "lognormal", "isoelastic"]),
)
@settings(max_examples=40)
def test_observed_growth_is_met_whatever_the_elasticity(a, psi, tracks, form):
    chat = segment(
        form=form,
        price_elasticity=-a,
        capability_elasticity=psi,
        willingness_tracks_price=tracks,
        tokens_per_task_elasticity=-0.2,
        adjustment_months=3.0,
        usage_growth_per_year=9.0,
        usage_growth_is="observed",
        price_change_per_year=0.25,
    )
    progress = Trend(algorithmic_gain_per_year=3.0, hardware_gain_per_year=1.3, capability_gain_per_year=1.4)
    months = arms_of(world(chat, months=13, trend=progress))["baseline"]
    tokens = [m.segment("chat", "here").tokens_per_day for m in months]
    prices = [m.segment("chat", "here").price_usd_per_mtok for m in months]

    assert tokens == pytest.approx([3e9 * 9.0 ** (n / 12.0) for n in range(13)], rel=1e-9)
    assert prices == pytest.approx([8.0 * 0.25 ** (n / 12.0) for n in range(13)], rel=1e-9)


def test_exogenous_growth_comes_on_top_of_the_answer_to_price():
    """Cost falls to a quarter in a year: usage 2-fold by itself and 4^1.3 through the price."""
    chat = segment(usage_growth_per_year=2.0)
    months = arms_of(world(chat, months=13, trend=Trend(algorithmic_gain_per_year=4.0)))["baseline"]

    assert months[12].segment("chat", "here").tokens_per_day == pytest.approx(3e9 * 2.0 * 4.0**1.3, rel=1e-9)


def test_the_response_to_the_shock_depends_on_the_elasticity_though_the_baseline_does_not():
    growth = {"usage_growth_per_year": 9.0, "usage_growth_is": "observed", "price_change_per_year": 0.25}
    weak, strong = (arms_of(world(segment(price_elasticity=-a, **growth))) for a in (0.4, 1.6))

    assert compute(weak, "baseline") == pytest.approx(compute(strong, "baseline"), rel=1e-9)
    assert compute_ratio(weak) == pytest.approx(7.0**-0.6, rel=1e-9)
    assert compute_ratio(strong) == pytest.approx(7.0**0.6, rel=1e-9)


# Segments that begin later.


def test_a_segment_begins_at_its_list_price_in_the_month_that_follows_its_first_day():
    late = segment(since=dt.date(2025, 2, 10), price_usd_per_mtok=6.0, tokens_per_day=5e9)
    arms = arms_of(world(segment(), late, months=5, trend=Trend(algorithmic_gain_per_year=3.0)))
    first = arms["baseline"][2].segment("code", "here")

    assert [len(month.segments) for month in arms["baseline"]] == [1, 1, 2, 2, 2]
    assert (first.price_usd_per_mtok, first.tokens_per_day) == pytest.approx((6.0, 5e9))


@pytest.mark.parametrize("serving", [None, SERVING])
def test_a_segment_that_begins_after_the_shock_begins_with_it(serving):
    """Begun in month 3, its usage at the baseline's list price is given, so the shock's is 7^1.3 of it from there."""
    late = segment(since=dt.date(2025, 4, 1), tokens_per_day=5e9, workload="talk")
    arms = arms_of(world(segment(workload="talk"), late, months=5, serving=serving))
    ratios = [
        [arms[arm][n].segment("code", "here").tokens_per_day / 5e9 for n in (3, 4)] for arm in ("baseline", "shock")
    ]
    intensities = [arms[arm][3].segment("code", "here").gpu_seconds_per_mtok for arm in ARMS]

    assert ratios[0] == pytest.approx([1.0, 1.0], rel=1e-6)
    assert ratios[1] == pytest.approx([7.0**1.3] * 2, rel=1e-6)
    assert intensities[1:] == pytest.approx([intensities[0] / 7.0] * 2)


# Paths of the caller's own.


def test_a_price_of_the_callers_own_replaces_the_models_in_its_arm():
    """Prices of 4 against 8 from the first month on: usage 2^1.3 of the baseline's."""
    prices = {"chat": {"baseline": [8.0] * 4, "shock": [9.0, 9.0, 4.0, 2.0]}}
    arms = arms_of(world(gain=1.0), prices=prices)
    paid = [m.segment("chat", "here").price_usd_per_mtok for m in arms["shock"]]

    assert paid == pytest.approx([8.0, 8.0, 4.0, 2.0])
    assert [compute_ratio(arms, month) for month in (2, 3)] == pytest.approx([2.0**1.3, 4.0**1.3])


def test_a_price_of_the_callers_own_holds_from_the_first_month():
    arms = arms_of(world(), prices={"chat": {"baseline": [4.0, 5.0, 6.0, 7.0]}})
    months = [m.segment("chat", "here") for m in arms["baseline"]]

    assert [m.price_usd_per_mtok for m in months] == pytest.approx([4.0, 5.0, 6.0, 7.0])
    assert [m.tokens_per_day / 3e9 for m in months] == pytest.approx([(8.0 / p) ** 1.3 for p in (4.0, 5.0, 6.0, 7.0)])


def test_a_usage_of_the_callers_own_replaces_the_models_and_is_held_when_frozen():
    usage = {"chat": {"baseline": [1e9, 2e9, 3e9, 4e9], "shock": [0.5e9, 0.6e9, 7e9, 8e9]}}
    arms = arms_of(world(), usage=usage)
    used = {arm: [m.segment("chat", "here").tokens_per_day for m in arms[arm]] for arm in ARMS}

    assert used["baseline"] == pytest.approx([1e9, 2e9, 3e9, 4e9])
    assert used["frozen"] == used["baseline"]
    assert used["shock"] == pytest.approx([1e9, 2e9, 7e9, 8e9])
    assert compute(arms, "shock") == pytest.approx(2.0 / 7.0 * compute(arms, "baseline"))


def test_a_usage_of_the_callers_own_is_spread_over_the_regions():
    regions = {"here": region(), "there": region(price_usd_per_gpu_hour=3.5)}
    chat = segment(region_share={"here": 0.7, "there": 0.3})
    month = arms_of(world(chat, regions=regions), usage={"chat": {"baseline": [1e9] * 4}})["baseline"][3]

    assert [month.segment("chat", name).tokens_per_day for name in regions] == pytest.approx([0.7e9, 0.3e9])


# Random numbers.


def test_the_arms_share_the_noise_of_their_usage():
    arms = arms_of(world(segment(usage_noise=0.3), months=12))
    exogenous = [[m.segment("chat", "here").exogenous_tokens_per_day for m in arms[arm]] for arm in ARMS]

    assert exogenous[0] == exogenous[1] == exogenous[2]
    assert len(set(exogenous[0])) == 12
    assert [compute_ratio(arms, month) for month in range(2, 12)] == pytest.approx([7.0**0.3] * 10, rel=1e-9)


def test_each_segment_has_noise_of_its_own():
    months = arms_of(world(segment(usage_noise=0.3), segment(usage_noise=0.3), months=12))["baseline"]
    chat, code = ([m.segment(name, "here").tokens_per_day for m in months] for name in ("chat", "code"))

    assert not set(chat) & set(code)


def test_regions_share_the_noise_of_a_segment():
    regions = {"here": region(), "there": region()}
    chat = segment(usage_noise=0.3, region_share={"here": 0.7, "there": 0.3})
    months = arms_of(world(chat, regions=regions, months=6))["baseline"]

    for month in months:
        assert month.segment("chat", "here").tokens_per_day / month.segment("chat", "there").tokens_per_day == (
            pytest.approx(7 / 3)
        )


def test_the_arms_share_the_lead_times_of_their_orders(monkeypatch):
    """An order of the same month takes as long in every arm, however large it is."""
    leads: dict[int, set[float]] = {}
    order = RegionSupply.order

    def noted(self, state, month, luck):
        placed = order(self, state, month, luck)
        leads.setdefault(month, set()).add(float(placed.due_month[0]) - month)
        return placed

    monkeypatch.setattr(RegionSupply, "order", noted)
    here = region(fleet(1.0, orders=orders(4.0, 0.5, allocation_per_month=1.0, supply_line_weight=0.0)))
    arms_of(world(segment(tokens_per_day=3e11), months=10, gain=2.0, regions={"here": here}))

    assert len(leads) == 10
    assert all(len(months) == 1 for months in leads.values())
    assert len(set.union(*leads.values())) == 10


def test_the_noise_has_the_spread_it_is_given():
    """600 months: the sample's standard deviation within 3.9 standard errors, 0.2 (1 +- 3.9/sqrt(1200))."""
    months = arms_of(world(segment(usage_noise=0.2), months=600))["baseline"]
    logs = [log(m.segment("chat", "here").tokens_per_day / 3e9) for m in months]
    mean = sum(logs) / 600

    assert mean == pytest.approx(0.0, abs=3.9 * 0.2 / sqrt(600))
    assert sqrt(sum((x - mean) ** 2 for x in logs) / 599) == pytest.approx(0.2, rel=3.9 / sqrt(1200))


# Accounts.


@pytest.mark.parametrize("engine", ["closed_form", pytest.param("simpy", marks=pytest.mark.slow)])
def test_the_segments_add_up_to_their_region(engine):
    for month in (m for arm in arms_of(rich_world(), engine).values() for m in arm):
        (here,) = month.regions
        served = sum(s.gpu_hours_per_day for s in month.segments if s.is_served)
        budgets = sum(s.gpu_hours_per_day for s in month.segments if not s.is_served)

        assert served == pytest.approx(here.serving_gpu_hours_per_day, rel=1e-9)
        assert budgets == pytest.approx(here.budget_gpu_hours_per_day, rel=1e-9, abs=1e-9)
        assert here.usd_per_day == pytest.approx(here.rental_usd_per_gpu_hour * (served + budgets), rel=1e-9)
        assert here.gpu_hours_per_day <= HOURS_PER_DAY * here.powered_h100e * (1 + 1e-9)
        assert 0 <= here.busy_gpu_hours_per_day <= here.gpu_hours_per_day * (1 + 1e-9)


def test_energy_is_that_of_busy_and_of_idle_hours():
    """1.4 and 0.35 kW for 1.5 H100e, times a PUE of 1.25, kWh over 1000."""
    for month in arms_of(rich_world())["shock"]:
        (here,) = month.regions
        idle = here.gpu_hours_per_day - here.busy_gpu_hours_per_day
        energy = 1.25 * (1.4 * here.busy_gpu_hours_per_day + 0.35 * idle) / 1.5 / 1000.0

        assert here.energy_mwh_per_day == pytest.approx(energy, rel=1e-9)


def test_a_region_serves_its_share_and_the_shares_make_the_whole():
    """Unlike prices of compute, the same relative fall: each region answers as one alone would."""
    regions = {"here": region(), "there": region(price_usd_per_gpu_hour=3.5)}
    chat = segment(region_share={"here": 0.7, "there": 0.3})
    both, alone = arms_of(world(chat, regions=regions)), arms_of(world(segment()))

    assert compute(both, "shock") == pytest.approx(compute(alone, "shock"), rel=1e-12)
    assert [r.gpu_hours_per_day / compute(both, "shock") for r in both["shock"][-1].regions] == pytest.approx(
        [0.7, 0.3]
    )


def test_a_share_of_nothing_makes_no_market():
    regions = {"here": region(), "there": region()}
    chat = segment(region_share={"here": 1.0, "there": 0.0})
    month = arms_of(world(chat, regions=regions))["shock"][-1]

    assert [part.region for part in month.segments] == ["here"]
    assert month.regions[1].gpu_hours_per_day == 0.0


def test_a_larger_gain_saves_more_when_frozen():
    saved = [compute(arms_of(rich_world(gain=gain)), "frozen") for gain in (1.0, 2.0, 5.0, 20.0)]

    assert all(more < less for less, more in pairwise(saved))


def test_months_are_numbered_from_the_start_in_every_arm():
    for months in arms_of(world(months=7)).values():
        assert [month.month for month in months] == list(range(7))
