"""Every figure of a result, from months that are known."""

from __future__ import annotations

import datetime as dt
from math import prod
from typing import Any

import numpy as np
import pytest
from worlds import SERVING, arms_of, budget, compute, fleet, orders, rebound_of, region, segment, stack_of, world

from jevons.answer import DrawnWorlds, Result
from jevons.ensemble import simulate
from jevons.month_figures import factors_of, headlines
from jevons.scenario import ARMS, Anchor, Pricing, Scenario, Trend
from jevons.units import DAYS_PER_MONTH


def result_of(scenario: Scenario, replications: int = 1, **fields: Any) -> Result:
    """The result of a scenario whose replications are all alike."""
    return Result(scenario=scenario, engine="closed_form", stacks=(stack_of(scenario, replications),), **fields)


def mixed(resource: str = "gpu_hours", **changes: Any) -> Scenario:
    """A world in which every factor moves."""
    fields = {
        "months": 7,
        "shock": {"capability_share": 0.25, "capability_yield": 0.5},
        "trend": Trend(algorithmic_gain_per_year=2.5, hardware_gain_per_year=1.4, capability_gain_per_year=1.3),
        "pricing": Pricing(pass_through=0.8, adjustment_months=1.5, shortage_markup=0.5),
        "regions": {
            "here": region(
                fleet(4.0, growth_before_per_year=2.0, orders=orders(2.0, 0.3, headroom=1.3)),
                scarcity_speed_per_month=0.4,
            ),
            "there": region(price_usd_per_gpu_hour=1.8),
        },
        "serving": SERVING,
        "run": {"resource": resource},
    }
    share = {"here": 0.6, "there": 0.4}
    chat = segment(
        workload="talk", capability_elasticity=0.7, tokens_per_task_elasticity=-0.2, region_share=share, patience_s=40.0
    )
    code = segment(workload="talk", form="hill", tokens_per_day=2e9, since=dt.date(2025, 2, 1), region_share=share)
    return world(chat, code, budget(region_share=share), **{**fields, **changes})


# Rebound and verdicts.


def test_rebound_and_verdicts_are_those_of_the_arms():
    result = result_of(world())

    assert result.rebound.value is not None
    assert result.rebound.value.mean == pytest.approx((7.0**1.3 - 1) / 6)
    assert result.rebound.log_value is not None
    assert result.rebound.log_value.mean == pytest.approx(1.3)
    assert result.rebound.causal.change is not None
    assert result.rebound.causal.change.mean == pytest.approx(7.0**0.3 - 1)


def test_gross_compares_with_the_month_before_the_shock():
    """Usage doubles each year: two months after the last one before, 2^(2/12) without any shock."""
    result = result_of(world(segment(price_elasticity=-0.8, usage_growth_per_year=2.0), gain=3.0))

    assert result.rebound.gross.change is not None
    assert result.rebound.gross.change.mean == pytest.approx(2.0 ** (2 / 12) * 3.0**-0.2 - 1)
    assert (result.rebound.gross.direction, result.rebound.causal.direction) == ("down", "down")


def test_up_in_time_and_down_by_the_shock_are_told_apart():
    """As US cars of 1975 to 1995: growth hides what efficiency saved."""
    result = result_of(world(segment(price_elasticity=-0.8, usage_growth_per_year=30.0), gain=1.3))

    assert (result.rebound.gross.direction, result.rebound.causal.direction) == ("up", "down")


def test_cumulated_is_the_sum_over_the_months_since_the_shock():
    """A market that lags: its rebound grows, so the cumulated one lags behind that at the horizon."""
    scenario = world(segment(adjustment_months=3.0), months=8)
    arms, result = arms_of(scenario), result_of(scenario)
    sums = {arm: sum(compute(arms, arm, month) for month in range(2, 8)) for arm in ARMS}
    expected = (sums["shock"] - sums["frozen"]) / (sums["baseline"] - sums["frozen"])

    assert result.rebound_cumulated.value is not None
    assert result.rebound_cumulated.value.mean == pytest.approx(expected)
    assert expected < rebound_of(arms)


def test_the_gross_change_cumulated_is_against_as_many_months_before():
    result = result_of(world(months=8))
    before = DAYS_PER_MONTH * 6 * compute(result.replications[0], "baseline", 1)
    since = DAYS_PER_MONTH * sum(compute(result.replications[0], "shock", month) for month in range(2, 8))

    assert result.rebound_cumulated.gross.change is not None
    assert result.rebound_cumulated.gross.change.mean == pytest.approx(since / before - 1)


def test_without_a_gain_no_rebound_is_reported():
    result = result_of(world(gain=1.0))

    assert result.rebound.value is None
    assert result.channels == {}
    assert str(result.rebound).startswith("Rebound not defined")


# Decomposition.


@pytest.mark.parametrize("resource", ["gpu_hours", "energy_mwh", "usd"])
@pytest.mark.parametrize("ends", [("frozen", "shock"), ("baseline", "shock"), ("baseline", "frozen")])
def test_the_decomposition_leaves_nothing_over(resource, ends):
    parts = result_of(mixed(resource)).decomposition(*ends)

    assert abs(parts.residual) < 1e-9 * max(sum(parts.start), sum(parts.end))


@pytest.mark.parametrize("resource", ["gpu_hours", "energy_mwh", "usd"])
def test_the_factors_of_a_segment_multiply_to_what_it_consumes(resource):
    month = arms_of(mixed())["shock"][-1]
    factors = factors_of(month, resource)
    products = [prod(row) for row in zip(*factors.values(), strict=True)]

    assert sum(products) == pytest.approx(month.consumption_per_day(resource), rel=1e-9)


@pytest.mark.parametrize("resource", ["gpu_hours", "energy_mwh", "usd"])
def test_the_channels_sum_to_the_rebound_less_one(resource):
    result = result_of(mixed(resource), replications=3)

    assert result.rebound.value is not None
    assert sum(result.channels.values()) == pytest.approx(100 * (result.rebound.value.mean - 1), rel=1e-9)


def test_a_response_to_price_alone_is_one_channel():
    result = result_of(world())

    assert result.channels == pytest.approx({"engineering": -100.0, "price": 100 * rebound_of(arms_of(world()))})


def test_the_rebound_of_each_segment_is_that_of_its_own_hours():
    """A budget takes back all, flat use nothing, elasticity 1.3 its closed form."""
    result = result_of(world(segment(), segment(tariff="flat"), budget()))
    expected = {"chat": (7.0**1.3 - 1) / 6, "code": 0.0, "batch": 1.0}

    assert result.segment_rebounds == pytest.approx(expected, abs=1e-12)


# Headlines and series.


def test_headlines_add_up_regions_and_segments():
    month = arms_of(mixed())["shock"][-1]
    figures = headlines(month)

    assert figures["gpu_hours"] == pytest.approx(sum(s.gpu_hours_per_day for s in month.segments))
    assert figures["gpu_hours"] == pytest.approx(figures["serving"] + figures["budgets"])
    assert figures["usage"] == pytest.approx(figures["usage chat"] + figures["usage code"])
    assert figures["spend"] == pytest.approx(figures["rental"] * figures["gpu_hours"])
    assert figures["installed"] == pytest.approx(month.regions[0].installed_h100e)
    assert figures["energy"] == pytest.approx(sum(r.energy_mwh_per_day for r in month.regions))


def test_a_price_of_several_regions_is_weighted_by_usage():
    """Two thirds pass-through of unlike rents: the prices differ once the shock reaches one region only."""
    regions = {"here": region(), "there": region()}
    chat = segment(region_share={"here": 0.6, "there": 0.4}, price_elasticity=-0.5)
    month = arms_of(world(chat, regions=regions, shock={"region_reach": {"there": 0.0}}))["shock"][-1]
    usage = {"here": 0.6 * 7.0**0.5, "there": 0.4}
    expected = (usage["here"] * 8.0 / 7.0 + usage["there"] * 8.0) / sum(usage.values())

    assert headlines(month)["price chat"] == pytest.approx(expected)


def test_a_headlines_change_is_that_between_the_arms_at_the_horizon():
    noise, drawn = result_of(world(), replications=2).headline_change("gpu_hours")

    assert noise is not None
    assert noise.mean == pytest.approx(7.0**0.3 - 1)
    assert drawn is None


def test_a_headline_that_is_nothing_has_no_change():
    assert result_of(world()).headline_change("budgets") == (None, None)


def test_the_series_hold_every_month_of_every_arm():
    result = result_of(world(months=5), replications=2)
    usage = result.monthly.select(arm="shock", metric="tokens_per_day", replication=1)

    assert usage.month.tolist() == ["2025-01-01", "2025-02-01", "2025-03-01", "2025-04-01", "2025-05-01"]
    assert usage.value == pytest.approx([3e9] * 2 + [3e9 * 7.0**1.3] * 3)


def test_figures_that_a_region_does_not_have_are_left_out_of_the_series():
    assert len(result_of(world()).monthly.select(metric="installed_h100e")) == 0
    assert len(result_of(world(regions={"here": region(fleet(9.0))})).monthly.select(metric="installed_h100e")) == 12


# Anchors.


def anchor(what: str, start: dt.date, end: dt.date, **fields: Any) -> Anchor:
    """An observation."""
    return Anchor(what=what, start=start, end=end, factor=2.0, **fields)


def anchored_factor(scenario: Scenario, one: Anchor) -> float:
    """What the baseline makes of an observation."""
    (fit,) = result_of(scenario.model_copy(update={"anchors": {"one": one}})).anchors
    return fit.model_factor


def test_an_anchor_by_hand():
    """Usage 5-fold a year: from 16 February (half of its 28 days are 14; here 15/28) to 1 April."""
    growing = world(segment(usage_growth_per_year=5.0), months=6)
    factor = anchored_factor(growing, anchor("tokens_per_day", dt.date(2025, 2, 16), dt.date(2025, 4, 1)))

    assert factor == pytest.approx(5.0 ** ((3 - 1 - 15 / 28) / 12))


def test_an_anchor_sees_the_baseline_and_not_the_shock():
    still = world(months=6)
    factor = anchored_factor(still, anchor("gpu_hours_per_day", dt.date(2025, 2, 1), dt.date(2025, 6, 1)))

    assert factor == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("what", "fields", "factor"),
    [
        ("price", {"segment": "code"}, 0.25),
        ("tokens_per_day", {"segment": "chat"}, 3.0),
        ("tokens_per_day", {}, (3e9 * 3.0 + 6e9) / 9e9),
        ("installed_h100e", {"region": "here"}, 1.0),
    ],
)
def test_an_anchor_has_the_series_it_names(what, fields, factor):
    """A year: chat grows 3-fold at its price, code stands still while its price falls to a quarter."""
    chat = segment(usage_growth_per_year=3.0)
    code = segment(tokens_per_day=6e9, price_change_per_year=0.25, usage_growth_is="observed")
    year = world(chat, code, months=13, regions={"here": region(fleet(50.0))})

    found = anchored_factor(year, anchor(what, dt.date(2025, 1, 1), dt.date(2026, 1, 1), **fields))
    assert found == pytest.approx(factor)


def test_an_anchor_that_begins_before_its_segment_begins_with_it():
    """In use from March on, 5-fold a year."""
    late = segment(since=dt.date(2025, 3, 1), usage_growth_per_year=5.0)
    january, february = dt.date(2025, 1, 1), dt.date(2025, 2, 1)
    year = world(segment(), late, months=9)
    one = anchor("tokens_per_day", january, dt.date(2025, 9, 1), segment="code")
    none = anchor("price", january, february, segment="code")

    assert anchored_factor(year, one) == pytest.approx(5.0 ** (6 / 12))
    assert anchored_factor(year, none) == 1.0


# Draws.


def drawn_worlds(shock: list[float], centre: float = 7.0**0.3) -> DrawnWorlds:
    """Draws of two months, one before the shock and one after; a frozen arm of a fifth."""
    ones = np.ones((len(shock), 3))
    consumption = {"baseline": 5.0 * ones, "frozen": 5.0 * ones, "shock": 5.0 * ones}
    consumption["frozen"] = np.array([[5.0, 5.0, 1.0]] * len(shock))
    consumption["shock"] = np.array([[5.0, 5.0, value] for value in shock])
    return DrawnWorlds(
        inputs={},
        consumption=consumption,
        headlines={("shock", "gpu_hours"): np.array(shock), ("baseline", "gpu_hours"): np.full(len(shock), 5.0)},
        centre={"baseline": 1.0, "frozen": 1.0 / 7.0, "shock": centre},
    )


def test_draws_give_the_median_and_the_share_that_backfires():
    """R = (x - 1)/4: 0.5, 0.75, 1.25, 1.5, 2.0."""
    result = result_of(world(months=3), draws=drawn_worlds([3.0, 4.0, 6.0, 7.0, 9.0]))

    assert result.drawn is not None
    assert result.drawn.value is not None
    assert result.drawn.value.mean == pytest.approx(1.25)
    assert result.drawn.backfire is not None
    assert result.drawn.backfire.mean == pytest.approx(0.6)
    path = result.drawn_path_of_rebound()
    assert path is not None
    assert path[0] == pytest.approx([1.25])


def test_the_gap_of_the_closed_form_is_that_between_its_centre_and_the_replications():
    assert result_of(world(months=3), draws=drawn_worlds([6.0])).closed_form_gap == pytest.approx(0.0, abs=1e-12)
    off = result_of(world(months=3), draws=drawn_worlds([6.0], centre=1.02 * 7.0**0.3))
    assert off.closed_form_gap == pytest.approx(0.02)


def test_a_change_over_draws_stands_beside_that_over_replications():
    result = result_of(world(months=3), replications=2, draws=drawn_worlds([4.0, 6.0, 8.0]))
    _, drawn = result.headline_change("gpu_hours")

    assert drawn is not None
    assert drawn.mean == pytest.approx(0.2)


def test_without_draws_nothing_is_said_of_them():
    result = result_of(world())

    assert (result.drawn, result.drawn_cumulated, result.closed_form_gap) == (None, None, None)
    assert result.drawn_path_of_rebound() is None


def test_the_frames_hold_what_the_files_hold():
    """Rows and columns of series.csv and hours.csv, months as dates."""
    result = result_of(world())

    assert len(result.series) == len(result.monthly)
    assert result.series["value"].tolist() == result.monthly.value.tolist()
    assert len(result.hours) == len(result.hourly.rows)
    assert "idle_gpu_hours" in result.hours.columns


def test_a_rebound_has_a_mean_and_an_interval():
    fleeting = world(regions={"here": region(fleet(9.0, orders=orders(3.0, 0.5)))}, months=12)
    result = simulate(fleeting, engine="closed_form")

    assert result.rebound.mean == result.rebound.value.mean
    assert result.rebound.interval == (result.rebound.value.low, result.rebound.value.high)
    assert result_of(world()).rebound.interval is None
    assert result.probability_of_backfire is None
