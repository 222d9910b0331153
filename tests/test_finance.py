"""Value, margin, investors, tails and the delay law: by hand, by their closed forms, by laws for any input."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from math import e, exp, inf, log, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.finance.boom_bust import Course, course, stock_path
from jevons.finance.investors import (
    COHORTS,
    InvestorsState,
    aims,
    funding,
    investors_after_month,
    is_hedge,
    is_ponzi,
    opening_investors,
    sale_to_limit,
)
from jevons.finance.tails import (
    compute_ratio_quantile,
    compute_tail_index,
    drawdowns,
    expected_shortfall,
    largest_drawdown,
    mean_compute_ratio,
    mean_exists,
    value_at_risk,
)
from jevons.finance.valuation import (
    adapted_growth,
    expected_value,
    extrapolated_growth,
    fading_log_growth,
    finite_value,
    path_value,
    perpetuity,
)
from jevons.finance.vendor import margin_aimed_at, margin_odds, relative_gpu_price
from jevons.randomness import Draws
from jevons.scenario import Distribution, Investors
from jevons.theory import compute_ratio_isoelastic

rates = st.floats(0.02, 0.4)
growths = st.floats(0.8, 1.3)

# Value.


def test_profit_that_neither_grows_nor_is_awaited_long_is_worth_its_sum():
    """24 months of 3 a month, discounted at nothing: 72."""
    assert finite_value(36.0, 1.0, 0.0, 24) == pytest.approx(72.0)


def test_a_perpetuity_by_hand():
    """12 % a year is (1.12)^(1/12) - 1 a month; 5 a month for ever are worth 5 over that."""
    assert perpetuity(60.0, 1.0, 0.12) == pytest.approx(5.0 / (1.12 ** (1 / 12) - 1.0))


@given(growths, rates)
def test_a_long_horizon_comes_to_the_perpetuity(growth, rate):
    if growth >= 1.0 + 0.5 * rate:
        return

    assert finite_value(7.0, growth, rate, 60_000) == pytest.approx(perpetuity(7.0, growth, rate), rel=1e-6)


@given(growths, rates, st.integers(1, 40))
def test_constant_growth_is_worth_its_closed_form(growth, rate, years):
    value = expected_value(
        5.0,
        expected_log_growth_per_year=log(growth),
        long_run_growth_per_year=growth,
        half_life_months=11.0,
        rate_per_year=rate,
        horizon_years=float(years),
    )

    assert value == pytest.approx(finite_value(5.0, growth, rate, 12 * years), rel=1e-9)


@given(st.floats(0.8, 1.015), rates)
def test_constant_growth_for_ever_is_worth_the_perpetuity(growth, rate):
    value = expected_value(
        5.0,
        expected_log_growth_per_year=log(growth),
        long_run_growth_per_year=growth,
        half_life_months=11.0,
        rate_per_year=rate,
        horizon_years=None,
    )

    assert value == pytest.approx(perpetuity(5.0, growth, rate), rel=1e-9)


def test_growth_is_half_way_to_the_long_run_after_its_half_life():
    """The slope of the path at T is the mean of the two rates."""
    near = fading_log_growth(np.array([29.99, 30.01]), 1.1, 0.1, 30.0)

    assert (near[1] - near[0]) / 0.02 * 12.0 == pytest.approx(0.6, rel=1e-5)


@given(st.floats(-0.9, 0.9), st.floats(-1.0, 1.5))
def test_a_gap_that_stays_moves_the_value_by_as_much(gap, growth):
    def value(off: float) -> float:
        return expected_value(
            3.0, expected_log_growth_per_year=growth, long_run_growth_per_year=1.02, half_life_months=17.0,
            rate_per_year=0.09, horizon_years=None, gap=off,
        )  # fmt: skip

    assert value(gap) / value(0.0) - 1.0 == pytest.approx(gap, abs=1e-9)


def test_a_gap_that_closes_moves_it_by_less_and_a_slow_one_by_nearly_as_much():
    def fall(half_life: float) -> float:
        values = [
            expected_value(
                3.0, expected_log_growth_per_year=0.5, long_run_growth_per_year=1.02, half_life_months=17.0,
                rate_per_year=0.09, horizon_years=None, gap=off, gap_half_life_months=half_life,
            )
            for off in (-0.4, 0.0)
        ]  # fmt: skip
        return 1.0 - values[0] / values[1]

    # For ever is reckoned month by month for thirty years only, and closed after.
    assert 0.0 < fall(3.0) < fall(30.0) < fall(300.0) < 0.4


def test_a_path_is_discounted_from_the_end_of_each_month():
    """1 after a year and 2 a month later, at 21 % a year."""
    assert path_value(np.array([0.0] * 11 + [1.0, 2.0]), 0.21) == pytest.approx(1 / 1.21 + 2 / 1.21 ** (13 / 12))


@given(st.floats(-1, 2), st.floats(-1, 2), st.floats(0, 1))
def test_adaptive_investors_learn_a_share_of_their_surprise(expected, observed, weight):
    later = adapted_growth(expected, observed, weight, months=12.0)

    assert later == pytest.approx(expected + weight * (observed - expected))
    assert adapted_growth(adapted_growth(expected, observed, weight, 5.0), observed, weight, 7.0) == pytest.approx(
        later
    )


def test_extrapolating_investors_weigh_what_they_saw_last():
    assert extrapolated_growth(0.8, 0.05, 0.6) == pytest.approx(0.5)
    assert extrapolated_growth(0.8, 0.05, 0.0) == 0.05


# The vendor.


def test_a_margin_by_hand():
    """Odds of 3 fall to a half by slack (0.5 ln 0.25) and by e^-0.1 to rivals: 3/2 e^-0.1 = 1.3573, margin 0.5758."""
    margin = margin_aimed_at(0.75, response=0.5, log_slack=log(0.25), rival_pressure=0.1, floor=0.1, ceiling=0.9)

    assert margin == pytest.approx(1.5 * exp(-0.1) / (1 + 1.5 * exp(-0.1)))


@given(
    st.floats(0.3, 0.9), st.floats(0, 5), st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 5)
)  # fmt: skip
def test_slack_and_rivals_lower_the_margin_within_its_bounds(margin, response, one, other, rivals):
    bounds = {"floor": 0.25, "ceiling": 0.92}
    fuller = margin_aimed_at(margin, response=response, log_slack=max(one, other), rival_pressure=0.0, **bounds)
    slacker = margin_aimed_at(margin, response=response, log_slack=min(one, other), rival_pressure=rivals, **bounds)

    assert 0.25 <= slacker <= fuller <= 0.92


def test_nothing_pushes_a_margin_off_where_it_rests():
    at_rest = margin_aimed_at(0.61, response=0.7, log_slack=0.0, rival_pressure=0.0, floor=0.2, ceiling=0.9)

    assert at_rest == pytest.approx(0.61)
    assert margin_odds(0.75) == 3.0


def test_a_price_is_cost_over_one_less_the_margin():
    """From 75 to 50 % at the same cost halves the price; dearer cost raises it."""
    assert relative_gpu_price(0.5, 0.75) == pytest.approx(0.5)
    assert relative_gpu_price(0.75, 0.75, 1.3) == pytest.approx(1.3)


# Investors.

PLAN = Investors(
    debt_share=0.25,
    leveraged_share=0.4,
    interest_per_year=0.12,
    maturity_months=50.0,
    cash_yield_per_year=0.3,
    releverage_per_month=0.2,
    loan_to_value_limit=0.6,
    price_impact=1.5,
    recovery_months=8.0,
)


def test_the_three_kinds_of_finance_by_hand():
    """Interest 3 and repayment 5: cash of 8 is hedge, 7 and 3 speculative, 2 Ponzi."""
    kinds = [(is_hedge(cash, 3.0, 5.0), is_ponzi(cash, 3.0)) for cash in (8.0, 7.0, 3.0, 2.0)]

    assert kinds == [(1.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 1.0)]


def test_leverage_makes_the_kinds():
    """12 % on a loan-to-value l is l/100 a month, repayment l/50: cash of 2.5 hundredths covers both to l = 5/6,
    that of 0.3 hundredths both to 0.1 and interest to 0.3."""
    _, rich = investors_after_month(opening_investors(PLAN), PLAN, log_return=0.0, relative_rents=1.0)
    _, poor = investors_after_month(opening_investors(PLAN), PLAN, log_return=0.0, relative_rents=0.12)

    assert (rich.hedge_share, rich.ponzi_share) == (1.0, 0.0)
    assert poor.hedge_share == pytest.approx(sum(aim <= 0.1 for aim in aims(PLAN)) / COHORTS)
    assert poor.ponzi_share == pytest.approx(sum(aim > 0.3 for aim in aims(PLAN)) / COHORTS)


@given(st.floats(0, 3), st.floats(0.1, 0.9))
def test_who_is_called_sells_to_the_limit(loan_to_value, limit):
    sold = sale_to_limit(loan_to_value, limit)

    assert 0.0 <= sold <= 1.0
    if loan_to_value <= limit:
        assert sold == 0.0
    elif loan_to_value < 1.0:
        assert (loan_to_value - sold) / (1.0 - sold) == pytest.approx(limit)


def test_one_forced_sale_by_hand():
    """One cohort at 0.7 called at 0.6 sells a quarter of its twelfth of 0.4 of the sector: 1/120, without impact."""
    plan = PLAN.model_copy(update={"price_impact": 0.0, "releverage_per_month": 0.0, "cash_yield_per_year": 0.0,
                                   "interest_per_year": 0.0})  # fmt: skip
    state = InvestorsState(loan_to_value=(0.7, *[0.1] * (COHORTS - 1)), assets=(1.0,) * COHORTS)
    after, month = investors_after_month(state, plan, log_return=0.0, relative_rents=1.0)

    assert month.forced_sales == pytest.approx(0.4 / COHORTS * 0.25)
    assert after.loan_to_value[0] == pytest.approx(0.6)
    assert after.assets[0] == pytest.approx(0.75)
    assert month.discount == 0.0


def test_sales_that_lower_the_price_call_others():
    """Impact makes a fall sell more than it would, and dip buyers make it sell less."""

    def after_a_fall(**changes: float) -> tuple[float, float]:
        plan = PLAN.model_copy(update=changes)
        _, month = investors_after_month(opening_investors(plan), plan, log_return=log(0.7), relative_rents=1.0)
        return float(month.forced_sales), float(month.discount)

    without, with_impact, buyers = (
        after_a_fall(price_impact=0.0), after_a_fall(price_impact=3.0), after_a_fall(price_impact=3.0, dip_buying=0.5),
    )  # fmt: skip
    assert 0.0 < without[0] < buyers[0] < with_impact[0]
    assert 0.0 == without[1] < buyers[1] < with_impact[1]


@given(
    st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(0, 3)), min_size=1, max_size=12),
    st.floats(0, 10),
    st.floats(0, 10),
)
def test_whatever_happens_shares_are_shares_and_sales_are_finite(months, impact, dip):
    plan = PLAN.model_copy(update={"price_impact": impact, "dip_buying": dip})
    state = opening_investors(plan)
    for log_return, rents in months:
        state, month = investors_after_month(state, plan, log_return=log_return, relative_rents=rents)
        kinds = (month.hedge_share, month.speculative_share, month.ponzi_share)

        assert sum(kinds) == pytest.approx(1.0)
        assert all(-1e-12 <= share <= 1.0 + 1e-12 for share in kinds)
        assert 0.0 <= month.forced_sales <= 20.0
        assert 0.0 <= month.discount <= 3.0
        assert all(0.0 <= held <= 1.0 for held in state.assets)


def test_worlds_that_stand_together_are_as_they_are_alone():
    rng = np.random.default_rng(3)
    returns, rents = rng.normal(0.0, 0.3, (9, 4)), rng.uniform(0.2, 1.5, (9, 4))

    def run(pick: slice | int) -> InvestorsState:
        state = opening_investors(PLAN)
        for one, other in zip(returns, rents, strict=True):
            state, _ = investors_after_month(state, PLAN, log_return=one[pick], relative_rents=other[pick])
        return state

    together = run(slice(None))
    for world in range(4):
        alone = run(world)
        assert [float(ltv[world]) for ltv in together.loan_to_value] == [float(ltv) for ltv in alone.loan_to_value]


def test_a_discount_goes_with_its_time_constant():
    state = dataclasses.replace(opening_investors(PLAN), discount=0.5)
    after, _ = investors_after_month(state, PLAN, log_return=0.0, relative_rents=1.0)

    assert after.discount == pytest.approx(0.5 * exp(-1 / 8))


def test_money_is_no_object_to_who_does_not_ask_for_it():
    assert funding(3.0, 9.0, response=0.0, debt_share=0.5, ponzi=0.8) == 1.0


def test_funding_by_hand():
    """A value at 0.64 of its peak with a response of a half gives 0.8; a quarter lent, of it 0.4 refused, 0.9 of it."""
    assert funding(64.0, 100.0, response=0.5, debt_share=0.25, ponzi=0.4) == pytest.approx(0.72)
    assert funding(120.0, 100.0, response=0.5, debt_share=0.25, ponzi=0.0) == 1.0


# Tails.


def test_the_mean_of_the_model_page():
    """Section 9: A_p = 3, a = 1.8 gives 1.3636; it exists only if a < 1 + A_p."""
    assert mean_compute_ratio(3.0, 1.8) == pytest.approx(1.3636, abs=5e-5)
    assert mean_compute_ratio(0.8, 1.8) is None
    assert mean_exists(0.81, 1.8)
    assert compute_tail_index(3.0, 1.8) == pytest.approx(3.75)
    assert compute_tail_index(3.0, 1.0) == inf


@given(st.floats(0.5, 6), st.floats(0.2, 3))
def test_a_mean_exists_exactly_where_the_tail_index_is_above_one(index, a):
    assert mean_exists(index, a) == (compute_tail_index(index, a) > 1.0)


def test_the_mean_of_many_jumps_is_the_closed_form():
    """Compute after Pareto jumps of index 3 at elasticity 1.8, 400,000 of them: their index is 3.75, so the mean has a
    variance and settles."""
    jump = Distribution(dist="pareto", low=1.0, index=3.0)
    shares = Draws(seed=5, replication=0).uniform("jumps", 400_000)
    gains = (1.0 - shares) ** (-1.0 / 3.0)

    assert jump.quantile(0.3) == pytest.approx(0.7 ** (-1 / 3))
    assert np.mean(gains**0.8) == pytest.approx(mean_compute_ratio(3.0, 1.8), rel=3e-3)


@given(st.floats(0.5, 6), st.floats(0.2, 3), st.floats(0.01, 0.99))
def test_a_quantile_of_compute_is_that_of_the_gain(index, a, p):
    gain = Distribution(dist="pareto", low=2.0, index=index).quantile(p if a >= 1 else 1.0 - p)

    assert compute_ratio_quantile(index, a, p, smallest=2.0) == pytest.approx(
        compute_ratio_isoelastic(gain, a), rel=1e-9
    )


def test_drawdowns_by_hand():
    assert drawdowns([2.0, 5.0, 4.0, 1.0, 6.0, 3.0]).tolist() == pytest.approx([0.0, 0.0, 0.2, 0.8, 0.0, 0.5])
    assert largest_drawdown([[2.0, 1.0, 4.0], [3.0, 6.0, 5.0]]).tolist() == pytest.approx([0.5, 1 / 6])


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30))
def test_a_drawdown_is_a_share_and_a_rising_path_has_none(path):
    found = drawdowns(path)

    assert ((found >= 0) & (found < 1)).all()
    assert largest_drawdown(sorted(path)) == 0.0


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50), st.floats(0.05, 0.95))
def test_expected_shortfall_is_no_smaller_than_value_at_risk(losses, level):
    at_risk, shortfall = value_at_risk(losses, level), expected_shortfall(losses, level)

    assert min(losses) <= at_risk <= shortfall + 1e-9
    assert shortfall <= max(losses) + 1e-9


def test_the_border_case_counts_by_the_part_that_belongs():
    """Of 1 to 5 the worst 30 % are one and a half cases: (5 + 4/2) / 1.5."""
    assert expected_shortfall([1.0, 5.0, 3.0, 2.0, 4.0], 0.7) == pytest.approx(7.0 / 1.5)
    assert value_at_risk([1.0, 5.0, 3.0, 2.0, 4.0], 0.7) == 4.0


@pytest.mark.parametrize(("losses", "level"), [([], 0.9), ([1.0], 1.0), ([1.0], 0.0), ([[1.0]], 0.5)])
def test_a_risk_of_nothing_is_refused(losses, level):
    with pytest.raises(ValueError, match="must be"):
        value_at_risk(losses, level)


# The delay law.


@pytest.mark.parametrize(
    ("product", "wanted"),
    [
        (0.3, Course.MONOTONE), (1 / e, Course.MONOTONE), (0.4, Course.OVERSHOOTING), (1.5, Course.OVERSHOOTING),
        (pi / 2 + 1e-9, Course.DIVERGING), (1.7, Course.DIVERGING),
    ],
)  # fmt: skip
@pytest.mark.parametrize("delay", [0.5, 7.0])
def test_the_course_depends_on_the_product_alone(product, wanted, delay):
    assert course(product / delay, delay) is wanted


@pytest.mark.parametrize("delay", [1.0, 4.0])
@pytest.mark.parametrize("product", [0.3, 0.4, 1.0, 1.5, 1.7])
def test_the_path_takes_its_course(product, delay):
    """Section 6: 0.3 monotone, 0.4 overshoots, 1.7 diverges; 1.0 by about half."""
    path = stock_path(product / delay, delay, 40.0 * delay)
    swings = [abs(now - 1.0) for before, now, after in zip(path, path[1:], path[2:], strict=False)
              if (now - before) * (after - now) < 0]  # fmt: skip
    match course(product / delay, delay):
        case Course.MONOTONE:
            assert all(now <= then for now, then in pairwise(path))
            assert path[-1] < 1.0
        case Course.OVERSHOOTING:
            assert path.max() > 1.0
            assert swings[-1] < swings[0]
        case Course.DIVERGING:
            assert swings[-1] > 2.0 * swings[0]


def test_at_a_product_of_one_the_overshoot_is_about_half():
    assert stock_path(1.0, 1.0, 20.0).max() == pytest.approx(1.5, abs=0.06)
