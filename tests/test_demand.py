"""Demand curves, held to the same laws as a family; tariffs, tokens per task, growth."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import pairwise
from math import exp, inf, isinf, log
from statistics import NormalDist

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.optimize import brentq

from jevons.demand import (
    LOG_SMALLEST_USAGE,
    SMALLEST_USAGE,
    Budget,
    Curve,
    Derived,
    Exponential,
    Hill,
    Isoelastic,
    Linear,
    Lognormal,
    Response,
    compute_ratio,
    curve,
    log_growth,
    log_usage_target,
    seen_relative_price,
    tokens_per_task,
)
from jevons.scenario import Segment
from jevons.theory import compute_ratio_isoelastic

magnitudes = st.floats(0.1, 4.0)
penetrations = st.floats(0.02, 0.95)
#: Elasticities clearly on one side of 1, or 1 itself; what is almost 1 has an ill-determined threshold.
beside_one = st.one_of(st.floats(0.1, 0.9), st.just(1.0), st.floats(1.1, 4.0))
#: Where a limit of 1 is approached and never crossed, a root finder sees the sign of rounding.
off_one = st.one_of(st.floats(0.1, 0.9), st.floats(1.1, 4.0))
curves = st.one_of(
    st.builds(Isoelastic, a=beside_one),
    st.builds(Hill, a=magnitudes, penetration=penetrations),
    st.builds(Lognormal, a=magnitudes, penetration=penetrations),
    st.builds(Linear, a=magnitudes),
    st.builds(Exponential, a=magnitudes),
    st.builds(Derived, cost_share=st.floats(0.02, 0.9), substitution=off_one, product_a=off_one),
    st.just(Budget()),
)
prices = st.floats(-8, 8).map(exp)


@given(curves)
def test_every_curve_passes_through_its_reference(demand):
    assert demand.usage(1.0) == 1.0


@given(curves, prices, prices)
def test_usage_never_rises_with_price(demand, one, other):
    cheap, dear = sorted((one, other))

    assert demand.usage(dear) <= demand.usage(cheap) * (1 + 1e-12)


@given(curves, prices)
def test_the_elasticity_is_the_slope_in_logs(demand, price):
    elasticity = demand.elasticity(price)
    assume(demand.log_usage(price) > LOG_SMALLEST_USAGE + 0.1)
    assume(abs(elasticity) < 50)
    h = 1e-5
    slope = (demand.log_usage(price * exp(h)) - demand.log_usage(price * exp(-h))) / (2 * h)

    assert elasticity == pytest.approx(slope, rel=1e-6, abs=1e-7)


@given(curves, st.floats(-700, 700).map(exp))
def test_no_price_makes_usage_nothing_or_infinite(demand, price):
    """Logs are taken of it; down to the floor it is positive, and at any price it is a number."""
    assert SMALLEST_USAGE * 0.999 <= demand.usage(price) < inf
    assert -inf < demand.elasticity(price) <= 0.0


def compute_slope(demand: Curve, log_price: float) -> float:
    """d ln C / d ln eps by a small gain, passed on in full, around a relative price."""
    h = 1e-3
    return log(compute_ratio(demand, exp(log_price + h), exp(2 * h))) / (2 * h)


@given(curves)
@example(Lognormal(a=1.0, penetration=0.5))
def test_the_threshold_is_where_more_efficiency_turns_from_less_to_more_compute(demand):
    """Found with a root finder among gains of 0.2 % wherever anybody uses it; elsewhere the sign does not change."""
    grid = [-9 + 0.05 * i for i in range(361)]
    grid = [
        x for x in grid if demand.log_usage(exp(x)) > LOG_SMALLEST_USAGE + 1 and abs(demand.elasticity(exp(x))) < 30
    ]
    backfires = [compute_slope(demand, x) > 1e-7 for x in grid]
    turns = [(x, y) for (x, one), (y, other) in pairwise(zip(grid, backfires, strict=True)) if one != other]

    if turns:
        ((below, above),) = turns
        assert backfires[-1]
        # A point of the grid may be the threshold, but for rounding.
        is_root = compute_slope(demand, below) >= 0
        root = below if is_root else brentq(lambda x: compute_slope(demand, x), below, above)
        assert log(demand.backfires_above) == pytest.approx(root, abs=1e-4)
    elif backfires[0]:
        assert demand.backfires_above <= exp(grid[0] + 0.01)
    else:
        assert demand.backfires_above >= exp(grid[-1] - 0.01)


@given(curves, prices)
def test_demand_is_more_than_unit_elastic_exactly_above_the_threshold(demand, price):
    assume(demand.log_usage(price) > LOG_SMALLEST_USAGE)
    assume(isinf(demand.backfires_above) or abs(price - demand.backfires_above) > 1e-6 * price)

    # What is within rounding of unit elastic is on neither side.
    assert (demand.elasticity(price) < -1.0 - 1e-12) <= (price > demand.backfires_above)
    assert (price > demand.backfires_above) <= (demand.elasticity(price) < -1.0 + 1e-12)


def test_same_shock_same_parameters_opposite_sign():
    """Hill, b = 1.8, P0 = 1, g = 10: 1.485 from P = 5 and 0.128 from P = 0.5 (model.md, section 4)."""
    assert compute_ratio(hill_from(5.0), 1.0, 10.0) == pytest.approx(1.485, abs=5e-4)
    assert compute_ratio(hill_from(0.5), 1.0, 10.0) == pytest.approx(0.128, abs=5e-4)


def hill_from(price: float, b: float = 1.8) -> Hill:
    """The curve 1/(1 + P^b) seen from a price: penetration there, and elasticity b (1 - s)."""
    penetration = 1 / (1 + price**b)
    return Hill(a=b * (1 - penetration), penetration=penetration)


@given(st.floats(0.1, 10), st.floats(0.3, 4), prices)
def test_hill_is_the_curve_of_the_textbook(reference, b, price):
    """Sbar/(1 + (P/P0)^b) at the prices `reference` and `price` times it, P0 = 1."""
    expected = (1 + reference**b) / (1 + (reference * price) ** b)
    demand = hill_from(reference, b)
    assume(expected > 2 * SMALLEST_USAGE)

    assert demand.steepness == pytest.approx(b)
    assert demand.usage(price) == pytest.approx(expected, rel=1e-9)


@given(st.floats(1.05, 4), penetrations)
def test_hill_backfires_below_the_penetration_of_its_rule(b, penetration):
    """s < 1 - 1/b; at the threshold price penetration is just that."""
    demand = Hill(a=b * (1 - penetration), penetration=penetration)
    assume(demand.usage(demand.backfires_above) > 2 * SMALLEST_USAGE)

    assert penetration * demand.usage(demand.backfires_above) == pytest.approx(1 - 1 / b)


def test_a_hill_that_is_not_steep_never_backfires():
    assert Hill(a=0.5, penetration=0.4).backfires_above == inf


def test_lognormal_demand_is_the_share_that_is_willing():
    """Among 20,000 quantiles of willingness to pay, those above the price, over those above the reference."""
    demand = Lognormal(a=1.3, penetration=0.3)
    willing = [
        exp(-demand.quantile * demand.spread + demand.spread * NormalDist().inv_cdf((i + 0.5) / 20_000))
        for i in range(20_000)
    ]

    assert sum(w > 1.0 for w in willing) / 20_000 == pytest.approx(0.3)
    for price in (0.2, 0.7, 1.9):
        assert 0.3 * demand.usage(price) == pytest.approx(sum(w > price for w in willing) / 20_000, abs=2e-4)


def test_lognormal_by_hand_at_the_median():
    """Half penetrated: z = 0, spread phi(0)/(a/2) = 0.39894/0.65 = 0.61376."""
    demand = Lognormal(a=1.3, penetration=0.5)

    assert demand.quantile == pytest.approx(0.0, abs=1e-15)
    assert demand.spread == pytest.approx(0.61376, abs=5e-6)


def test_linear_by_hand():
    """a = 0.8: choke price 2.25, half of the users gone at 1.625, all of them from 2.25 on; backfire above 1.125."""
    demand = Linear(a=0.8)

    assert demand.choke == pytest.approx(2.25)
    assert demand.usage(1.625) == pytest.approx(0.5)
    assert demand.usage(0.0001) == pytest.approx(1.8, rel=1e-4)
    assert demand.usage(2.25) == demand.usage(9.0) == pytest.approx(SMALLEST_USAGE)
    assert demand.elasticity(9.0) == 0.0
    assert demand.backfires_above == pytest.approx(1.125)


def test_exponential_by_hand():
    """a = 0.8: e^-0.8 at twice the price, elasticity -1.6 there, backfire above 1.25."""
    demand = Exponential(a=0.8)

    assert demand.usage(2.0) == pytest.approx(exp(-0.8))
    assert demand.elasticity(2.0) == pytest.approx(-1.6)
    assert demand.backfires_above == pytest.approx(1.25)


@given(st.floats(0.1, 4), st.floats(0.02, 0.95), st.floats(0.1, 4), st.floats(0.1, 4))
def test_derived_demand_at_the_reference_is_that_of_hicks_and_marshall(a, cost_share, substitution, product_a):
    """(1 - s) sigma + s d; the own-price elasticity of the segment plays no part."""
    segment = Segment(
        form="derived",
        price_elasticity=-a,
        cost_share=cost_share,
        substitution=substitution,
        product_elasticity=-product_a,
    )

    assert -curve(segment).elasticity(1.0) == pytest.approx((1 - cost_share) * substitution + cost_share * product_a)


@given(st.floats(0.02, 0.9), beside_one, st.floats(0.1, 4), st.floats(-3, 3).map(exp))
def test_derived_demand_is_spending_over_price(cost_share, substitution, product_a, price):
    """Of spending c^(1-d) the share s(x) goes to the service, at price x; c is the unit cost of CES."""
    demand = Derived(cost_share=cost_share, substitution=substitution, product_a=product_a)
    weight = cost_share * price ** (1 - substitution)
    share = weight / (weight + 1 - cost_share)
    root = 1 - substitution
    cost = price**cost_share if root == 0 else (weight + 1 - cost_share) ** (1 / root)
    spending = cost ** (1 - product_a)

    assert demand.usage(price) == pytest.approx(share * spending / (cost_share * price), rel=1e-9)


@pytest.mark.parametrize("price", [0.05, 0.6, 30.0])
def test_derived_demand_is_continuous_through_unit_substitution(price):
    usages = [
        Derived(cost_share=0.3, substitution=sigma, product_a=0.6).usage(price) for sigma in (1 - 1e-9, 1.0, 1 + 1e-9)
    ]

    assert usages[0] == pytest.approx(usages[1], rel=1e-7)
    assert usages[2] == pytest.approx(usages[1], rel=1e-7)


@given(beside_one, prices)
def test_derived_demand_with_one_elasticity_throughout_is_isoelastic(a, price):
    derived = Derived(cost_share=0.3, substitution=a, product_a=a)

    assert derived.log_usage(price) == pytest.approx(Isoelastic(a=a).log_usage(price), abs=1e-9)
    assert derived.backfires_above == Isoelastic(a=a).backfires_above


@given(magnitudes, st.floats(1.01, 1e3))
def test_isoelastic_compute_is_the_closed_form(a, gain):
    """g^(a - 1), to 1e-9."""
    assert compute_ratio(Isoelastic(a=a), 1.0, gain) == pytest.approx(compute_ratio_isoelastic(gain, a), rel=1e-9)


@given(prices, st.floats(1.01, 1e2))
def test_a_budget_buys_the_same_compute_at_any_efficiency(price, gain):
    """C1/C0 = 1, so R = (1 - 1/g)/(1 - 1/g) = 1."""
    assert compute_ratio(Budget(), price, gain) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("isoelastic", Isoelastic),
        ("hill", Hill),
        ("lognormal", Lognormal),
        ("linear", Linear),
        ("exponential", Exponential),
    ],
)
def test_a_segment_has_the_curve_of_its_form_with_its_elasticity(form, kind):
    demand = curve(Segment(form=form, price_elasticity=-1.3, penetration=0.15))

    assert type(demand) is kind
    assert demand.elasticity(1.0) == pytest.approx(-1.3)
    assert getattr(demand, "penetration", 0.15) == 0.15


def test_a_budget_segment_has_the_curve_of_a_budget():
    assert curve(Segment(form="budget", tariff="budget", budget_usd_per_day=9.0)) == Budget()


def test_curves_are_frozen():
    with pytest.raises(FrozenInstanceError):
        Isoelastic(a=1.3).a = 1.4  # type: ignore[misc]


def test_a_price_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"must be above 0, not 0\.0"):
        Isoelastic(a=1.3).usage(0.0)


CHAT = Segment(
    form="isoelastic",
    price_elasticity=-1.3,
    capability_elasticity=0.7,
    quota_pass_through=0.4,
    tokens_per_task_elasticity=-0.2,
    usage_growth_per_year=3.0,
)
MET = {"relative_full_price": 0.5, "relative_cost": 0.2, "log_capability": 0.3}


def response(tariff: str) -> Response:
    """What each tariff makes of the same price, cost and capability."""
    segment = CHAT.model_copy(update={"tariff": tariff})
    return log_usage_target(segment, curve(segment), **MET)


def test_a_metered_user_answers_price_and_capability():
    """1.3 ln 2 and 0.7 x 0.3."""
    assert response("metered").price == pytest.approx(1.3 * log(2))
    assert response("metered").capability == pytest.approx(0.21)
    assert response("metered").total == pytest.approx(1.3 * log(2) + 0.21)


@pytest.mark.parametrize("tariff", ["flat", "free"])
def test_without_a_marginal_price_usage_moves_with_quota_and_capability(tariff):
    """0.4 ln 5, whatever the price."""
    assert response(tariff).price == pytest.approx(0.4 * log(5))
    assert response(tariff).capability == pytest.approx(0.21)


def test_a_flat_rate_without_quota_does_not_answer_cost():
    segment = CHAT.model_copy(update={"tariff": "flat", "quota_pass_through": 0.0})

    assert log_usage_target(segment, curve(segment), **MET).price == 0.0


def test_a_budget_buys_more_in_the_measure_of_lower_cost():
    """Money over cost: 5x, and no more for better models."""
    assert response("budget") == Response(price=pytest.approx(log(5)), capability=0.0)


def test_cheaper_tokens_are_used_more_freely():
    """A quarter of the price at -0.2: 4^0.2."""
    assert tokens_per_task(CHAT, 0.25) == pytest.approx(4**0.2)


def test_willingness_that_tracks_the_trend_sees_only_what_leaves_it():
    """A tenth of the price on a trend of a fifth: a half; tracked by half, 0.1/sqrt(0.2)."""
    assert seen_relative_price(0.1, 0.2, 1.0) == pytest.approx(0.5)
    assert seen_relative_price(0.1, 0.2, 0.5) == pytest.approx(0.1 / 0.2**0.5)
    assert seen_relative_price(0.1, 0.2, 0.0) == 0.1


def test_growth_compounds():
    """3x a year over 8 months."""
    assert log_growth(CHAT, 8.0) == pytest.approx(8 / 12 * log(3.0))


def test_growth_that_halves_every_half_life_has_a_limit():
    """ln 3/12 a month with a half-life of 10 months: after 10, half of ln 3/12 x 10/ln 2; in the end all of it."""
    fading = CHAT.model_copy(update={"growth_half_life_months": 10.0})
    limit = log(3.0) / 12 * 10 / log(2)

    assert log_growth(fading, 10.0) == pytest.approx(limit / 2)
    assert log_growth(fading, 1e4) == pytest.approx(limit)


@given(st.floats(0, 100), st.floats(0.5, 200))
def test_the_rate_of_growth_halves_with_its_half_life(months, half_life):
    fading = CHAT.model_copy(update={"growth_half_life_months": half_life})
    h = 1e-4
    rate = (log_growth(fading, months + h) - log_growth(fading, months - h)) / (2 * h)

    assert rate == pytest.approx(log(3.0) / 12 * 2 ** (-months / half_life), abs=1e-8)
