"""The vendor inside the months: off it leaves no trace, on it moves prices, orders and funding as it should."""

from __future__ import annotations

import dataclasses
from math import exp, log
from typing import Any

import numpy as np
import pytest
from worlds import SHOCK_MONTH, Arms, arms_of, fleet, identical, orders, region, segment, stack_of, world

from jevons.errors import ScenarioError
from jevons.finance.monthly import BOOK_MONTHS, VENDOR_UNITS, delivered_usd
from jevons.fleet import Order, opening_fleet
from jevons.model import run_arms, run_stack
from jevons.report.data import summary_json
from jevons.report.finance_words import finance_sentences, tail_sentence
from jevons.report.text import summary_table
from jevons.scenario import ARMS, Gpu, Investors, Scenario, Vendor

MONTHS = 30
GPU_PRICE_USD = 27_000.0


def boom(**changes: Any) -> Scenario:
    """A market that doubles each year, its fleet ordered four months ahead, and a gain that usage answers by less."""
    plan = fleet(
        6.0, growth_before_per_year=2.0, orders=orders(lead_months=4.0, adjustment_per_month=0.4, rental_response=0.6)
    )
    scenario = world(
        segment(usage_growth_per_year=2.0, adjustment_months=2.0, price_elasticity=-0.7),
        gain=2.0,
        months=MONTHS,
        regions={"here": region(plan, scarcity_speed_per_month=0.3, normal_utilisation=0.7)},
    )
    return scenario.replace(changes) if changes else scenario


def path(arms: Arms, arm: Any, name: str) -> np.ndarray[Any, Any]:
    return np.array([getattr(month.vendor, name) for month in arms[arm]], dtype=float)


def without_vendor(arms: Arms) -> Any:
    return {arm: [dataclasses.replace(month, vendor=None) for month in arms[arm]] for arm in ARMS}


# Off.


def test_without_a_vendor_a_month_has_none():
    arms = arms_of(boom())

    assert all(month.vendor is None for arm in ARMS for month in arms[arm])


def test_a_vendor_whose_margin_rests_leaves_everything_else_as_it_is_to_the_last_bit():
    watched = arms_of(boom(**{"vendor.margin": 0.7}))

    assert identical(without_vendor(watched), without_vendor(arms_of(boom())))


def test_investors_who_ask_for_nothing_leave_everything_else_as_it_is_to_the_last_bit():
    watched = arms_of(
        boom(**{"vendor.margin": 0.7, "investors.funding_response": 0.0, "vendor.announcement_fall": 0.4})
    )

    assert identical(without_vendor(watched), without_vendor(arms_of(boom())))


# On.


def test_revenue_is_what_was_delivered_at_its_price():
    """Over the run: deliveries of every batch due in it, and none twice."""
    arms = arms_of(boom(**{"vendor.margin": 0.7}))
    ordered = np.array([sum(r.ordered_usd for r in month.regions) for month in arms["baseline"]])
    revenue = path(arms, "baseline", "gpu_revenue_usd")

    # Orders of month m come four months later.
    assert revenue[4:] == pytest.approx(ordered[:-4])


def test_deliveries_are_counted_in_the_month_in_which_they_are_due():
    gpus = {"gpu": Gpu(h100e=2.0, power_kw=1.0, idle_power_kw=0.5, price_usd=7.0)}
    book = opening_fleet(fleet(0.0), gpus)
    for gpus_ordered, due in ((3.0, 4.0), (5.0, 4.99), (11.0, 5.0)):
        book = book.with_order(Order(type="gpu", gpus=gpus_ordered, due_month=due), gpus)

    assert [delivered_usd(book, gpus, month) for month in (3, 4, 5)] == [0.0, 56.0, 77.0]
    assert delivered_usd(book, {}, 4) == 0.0


def test_book_to_bill_is_orders_over_deliveries_of_half_a_year():
    arms = arms_of(boom(**{"vendor.margin": 0.7}))
    ordered = np.array([sum(r.ordered_usd for r in month.regions) for month in arms["shock"]])
    revenue = path(arms, "shock", "gpu_revenue_usd")
    expected = [sum(ordered[m - BOOK_MONTHS + 1 : m + 1]) / sum(revenue[m - BOOK_MONTHS + 1 : m + 1]) for m in (20, 29)]

    assert path(arms, "shock", "book_to_bill")[[20, 29]] == pytest.approx(expected)


def test_rivals_take_the_margin_along_the_odds():
    """Odds of 7/3 fall by e^-0.3 a year, whatever is ordered; price follows at constant cost."""
    arms = arms_of(boom(**{"vendor.margin": 0.7, "vendor.rival_pressure_per_year": 0.3, "vendor.margin_floor": 0.1}))
    for month in (0, 11, 29):
        odds = 7 / 3 * exp(-0.3 * (month + 1) / 12)
        margin = odds / (1 + odds)

        assert arms["baseline"][month].vendor.relative_gpu_price == pytest.approx(0.3 / (1 - margin))
    assert path(arms, "baseline", "margin")[0] == 0.7


def test_a_lower_price_of_gpus_draws_orders():
    """The fleet aimed at answers the rental price over that of a GPU."""
    plain, cheap = (
        arms_of(boom(**{"vendor.margin": 0.7, "vendor.cost_change_per_year": change})) for change in (1.0, 0.3)
    )

    assert cheap["baseline"][-1].regions[0].installed_h100e > 1.05 * plain["baseline"][-1].regions[0].installed_h100e
    assert cheap["baseline"][12].vendor.relative_gpu_price == pytest.approx(0.3 ** (13 / 12))


def test_what_is_ordered_costs_the_price_of_the_month():
    arms = arms_of(boom(**{"vendor.margin": 0.7, "vendor.cost_change_per_year": 0.5}))
    month = arms["baseline"][6]

    expected = month.regions[0].ordered_h100e / 1.5 * GPU_PRICE_USD * 0.5 ** (6 / 12)
    assert month.regions[0].ordered_usd == pytest.approx(expected)


def test_gpus_of_others_keep_their_price():
    others = Gpu(h100e=1.5, power_kw=1.4, idle_power_kw=0.35, price_usd=1.0)
    scenario = boom().model_copy(
        update={"gpus": {**boom().gpus, "other": others}, "vendor": Vendor(types=["other"], cost_change_per_year=0.5)}
    )
    arms = arms_of(scenario)

    assert path(arms, "shock", "gpu_revenue_usd").tolist() == [0.0] * MONTHS
    assert identical(without_vendor(arms)["shock"], arms_of(boom())["shock"])


def test_slack_lowers_the_margin_more_with_the_shock_than_without():
    """The shock lowers need, so orders fall behind deliveries."""
    arms = arms_of(boom(**{"vendor.margin": 0.7, "vendor.margin_response": 0.6}))
    trough = slice(SHOCK_MONTH + 3, SHOCK_MONTH + 9)

    assert path(arms, "shock", "margin")[trough].mean() < path(arms, "baseline", "margin")[trough].mean() - 0.02


def test_the_announcement_takes_its_share_and_comes_back():
    calm, news = (
        arms_of(boom(**{"vendor.margin": 0.7, "vendor.announcement_fall": fall,
                        "vendor.announcement_half_life_months": 4.0}))
        for fall in (0.0, 0.17)
    )  # fmt: skip
    ratio = path(news, "shock", "value_usd") / path(calm, "shock", "value_usd")

    assert ratio[SHOCK_MONTH - 1] == 1.0
    assert ratio[SHOCK_MONTH] == pytest.approx(0.83)
    assert ratio[SHOCK_MONTH + 4] == pytest.approx(exp(0.5 * log(0.83)))
    assert path(news, "baseline", "value_usd") == pytest.approx(path(calm, "baseline", "value_usd"))
    assert news["shock"][-1].vendor.value_at_shock_usd == news["shock"][SHOCK_MONTH].vendor.value_usd


CREDIT = {
    "vendor.margin": 0.7, "investors.debt_share": 0.28, "investors.loan_to_value_limit": 0.57,
    "investors.leveraged_share": 0.5, "investors.price_impact": 2.0,
}  # fmt: skip


def test_a_fall_in_price_can_cut_the_fleet():
    """With the same shock, funding that follows the value leaves fewer GPUs for a time."""
    free, tied = (arms_of(boom(**CREDIT, **{"investors.funding_response": tie})) for tie in (0.0, 1.0))
    installed = [np.array([month.regions[0].installed_h100e for month in arms["shock"]]) for arms in (free, tied)]

    assert tied["shock"][-1].vendor.lowest_funding < 0.9
    assert (installed[1] / installed[0]).min() < 0.97


def test_funding_is_what_is_left_of_the_next_order():
    news = {"shock.efficiency_gain": 1.01, "vendor.announcement_fall": 0.3}
    tied, free = (arms_of(boom(**CREDIT, **news, **{"investors.funding_response": tie})) for tie in (1.0, 0.0))
    found = path(tied, "shock", "funding")
    ordered = [arms["shock"][SHOCK_MONTH + 1].regions[0].ordered_usd for arms in (tied, free)]

    assert found[SHOCK_MONTH] < 0.8
    assert ordered[0] / ordered[1] == pytest.approx(found[SHOCK_MONTH])


def test_worst_and_drawdown_are_those_of_the_path():
    arms = arms_of(boom(**CREDIT, **{"investors.funding_response": 0.7, "vendor.announcement_fall": 0.3}))
    since = path(arms, "shock", "value_usd")[SHOCK_MONTH - 1 :]
    last = arms["shock"][-1].vendor

    assert last.largest_drawdown == pytest.approx((1.0 - since / np.maximum.accumulate(since)).max())
    assert last.lowest_funding == path(arms, "shock", "funding")[SHOCK_MONTH - 1 :].min()
    assert last.sold_since_shock == pytest.approx(
        sum(month.vendor.investors.forced_sales for month in arms["shock"][SHOCK_MONTH - 1 :])
    )


def test_a_world_of_a_stack_is_what_it_is_alone():
    scenario = boom(
        **{
            "vendor.margin": {"dist": "uniform", "low": 0.5, "high": 0.8},
            "vendor.margin_response": {"dist": "uniform", "low": 0.0, "high": 0.8},
            "investors.funding_response": {"dist": "uniform", "low": 0.0, "high": 1.0},
            "investors.loan_to_value_limit": {"dist": "uniform", "low": 0.51, "high": 0.8},
        }
    )
    shares = [0.1, 0.5, 0.8]
    inputs = {key: np.array([one.quantile(p) for p in shares]) for key, one in scenario.uncertain.items()}
    together = run_stack(scenario.at(inputs), [0] * 3, "closed_form")
    for number in range(3):
        alone = run_arms(scenario.at({key: float(values[number]) for key, values in inputs.items()}), 0, "closed_form")
        world_of_stack = together.world(number)
        for arm in ARMS:
            for one, other in zip(world_of_stack[arm], alone[arm], strict=True):
                mine, theirs = ({k: float(v) for k, v in month.vendor.figures.items()} for month in (one, other))
                assert mine == theirs


def test_extrapolating_investors_see_a_larger_fall_than_adaptive_ones():
    falls = [
        arms_of(boom(**{"vendor.expectation": kind, "vendor.expectation_weight": 0.9}))["shock"][
            -1
        ].vendor.largest_drawdown
        for kind in ("adaptive", "extrapolative")
    ]

    assert falls[0] < falls[1]


# What is told.


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    import jevons

    run = {"run.draws": 12, "segments.chat.price_elasticity": {"dist": "uniform", "low": -1.6, "high": -0.4}}
    return {
        name: jevons.simulate(boom(**run, **changes), engine="closed_form")
        for name, changes in {"off": {}, "vendor": {"vendor.margin": 0.7}, "credit": CREDIT}.items()
    }


def test_switched_off_nothing_is_told(results):
    off = results["off"]

    assert off.finance is None
    assert "finance" not in summary_json(off)
    assert "endor" not in summary_table(off)
    assert not set(off.monthly.metric.texts) & set(VENDOR_UNITS)


def test_the_figures_without_a_vendor_are_those_with_one(results):
    off, on = (summary_json(results[name]) for name in ("off", "vendor"))

    assert off["rebound"] == on["rebound"]
    assert off["figures"] == [
        row for row in on["figures"] if "vendor" not in row["name"] and "gpu_price" not in row["name"]
    ]


def test_the_vendor_is_told(results):
    told = results["vendor"].finance
    text = summary_table(results["vendor"])

    assert told is not None
    assert told.lowest_funding is None
    assert told.drawdown.kind == "draws"
    assert told.value_at_risk <= told.expected_shortfall
    assert "vendor value" in text
    assert "Largest fall" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "hedge" not in " ".join(finance_sentences(results["vendor"]))


def test_investors_are_told(results):
    told = results["credit"].finance

    assert told is not None
    assert told.lowest_funding is not None
    assert "hedge finance" in " ".join(finance_sentences(results["credit"]))
    assert set(VENDOR_UNITS) <= set(results["credit"].monthly.metric.texts)


@pytest.mark.parametrize(
    ("gain", "elasticity", "words"),
    [
        ({"dist": "lognormal", "median": 8.0, "sigma": 0.3}, -1.3, ""),
        ({"dist": "pareto", "low": 2.0, "index": 1.5}, -1.3, "it has a mean; quantiles"),
        ({"dist": "pareto", "low": 2.0, "index": 1.5}, -2.7, "has none in chat"),
        ({"dist": "pareto", "low": 2.0, "index": 1.5, "max": 90.0}, -2.7, "cut off at 90"),
    ],
)
def test_the_mean_of_a_fat_tail_is_told_only_where_it_exists(gain, elasticity, words):
    from jevons.answer import Result

    scenario = world().replace({"shock.efficiency_gain": gain, "segments.chat.price_elasticity": elasticity})
    told = tail_sentence(Result(scenario=scenario, engine="closed_form", stacks=(stack_of(scenario),)))

    assert words in told
    assert bool(told) == bool(words)


# Rules.


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"vendor.types": ["gpv"]}, "vendor.types", "there is no 'gpv' in [gpus]; did you mean 'gpu'?"),
        ({"vendor.margin": 0.15}, "vendor.margin_floor", "must be at most margin, 0.15, not 0.2"),
        ({"vendor.margin": 0.97}, "vendor.margin_ceiling", "must be at least margin, 0.97, not 0.95"),
        (
            {"vendor.operating_cost_share": 0.3},
            "vendor.operating_cost_share",
            "must be below margin_floor, 0.2, not 0.3",
        ),
        (
            {"vendor.long_run_growth_per_year": 1.12},
            "vendor.discount_rate_per_year",
            "must be above the growth of the long run, 0.12, without horizon_years, not 0.1",
        ),
        ({"investors.debt_share": 0.2}, "vendor", "is needed with [investors], whose collateral it is"),
        (
            {"vendor.margin": 0.7, "investors.debt_share": 0.4},
            "investors.loan_to_value_limit",
            "must be at least twice debt_share, 0.8, or lenders call at once, not 0.6",
        ),
    ],
)
def test_a_rule_of_finance_that_is_broken_is_named(changes, key, message):
    with pytest.raises(ScenarioError) as error:
        boom(**changes)

    assert [(one.key, one.message) for one in error.value.problems] == [(key, message)]


def test_a_vendor_needs_somebody_who_orders():
    with pytest.raises(ScenarioError, match="needs a region that orders"):
        world().replace({"vendor.margin": 0.7})


def test_a_finite_horizon_needs_no_discount_beyond_growth():
    assert boom(**{"vendor.long_run_growth_per_year": 1.12, "vendor.horizon_years": 10.0}).vendor is not None


def test_investors_stand_as_they_are_declared():
    assert Investors().debt_share * 2 <= Investors().loan_to_value_limit
