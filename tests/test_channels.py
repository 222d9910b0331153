"""The channels of a shock: off they hold, on they are free, and what lies between is worked out by hand."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import SERVING, SHOCK_MONTH, arms_of, budget, compute, fleet, orders, region, rivals, segment, world

from jevons.channels import channels_of, run_channels, subsets
from jevons.months import Month
from jevons.scenario import Pricing, Scenario, Trend, load
from jevons.units import HOURS_PER_DAY

ROOT = Path(__file__).parents[1]
RESOURCES = ("gpu_hours", "energy_mwh", "usd")
FIGURES = ("price_response", "capability_response", "tokens_per_task", "gpu_seconds_per_mtok", "overhead", "latency_s")


def need(scenario: Scenario) -> float:
    """GPUs that the baseline of a world needs in its first month, H100e."""
    return compute(arms_of(scenario), "baseline", 0) / HOURS_PER_DAY


def under(scenario: Scenario, *on: str, month: int = -1, channels: Sequence[str] | None = None) -> float:
    """GPU-hours each day in a month of the shock if only these channels are on."""
    switched = run_channels(scenario, channels=channels)
    number = sum(2**i for i, name in enumerate(switched.channels) if name in on)
    assert set(on) <= set(switched.channels)
    return float(switched.shock[month].consumption_per_day("gpu_hours")[number])


def everything(**changes: Any) -> Scenario:
    """A world of every channel: a fleet that orders, a budget, a baseline that catches up."""
    chat = segment(
        workload="talk", value_of_time_usd_per_hour=3.0, capability_elasticity=0.6, tokens_per_task_elasticity=-0.2,
        adjustment_months=2.0, form="hill", usage_growth_per_year=3.0, usage_growth_is="observed",
        **changes.pop("chat", {}),
    )  # fmt: skip
    code = segment(workload="talk", tariff="flat", quota_pass_through=0.5, tokens_per_day=2e9, patience_s=30.0)
    plan = fleet(changes.pop("stock", 60.0), orders=orders(2.0, cv=0.3), growth_before_per_year=1.5)
    return world(
        chat, code, budget(budget_usd_per_day=900.0),
        **{
            "months": 9,
            "shock": {"capability_share": 0.3, "kind": "pull_forward", "catch_up_months": 4.0},
            "regions": {"here": region(plan, scarcity_speed_per_month=0.3, normal_utilisation=0.7)},
            "trend": Trend(algorithmic_gain_per_year=2.0, hardware_gain_per_year=1.3),
            "pricing": Pricing(adjustment_months=1.5, shortage_markup=0.4),
            "serving": SERVING,
            **changes,
        },
    )  # fmt: skip


# The ends.


def assert_ends_are_the_arms(scenario: Scenario) -> None:
    switched, arms = run_channels(scenario), arms_of(scenario)
    first = len(arms["shock"]) - len(switched.shock)
    for number, arm in ((0, "frozen"), (-1, "shock")):
        for mine, theirs in zip(switched.shock, arms[arm][first:], strict=True):
            for resource in RESOURCES:
                assert of_world(mine.consumption_per_day(resource), number) == theirs.consumption_per_day(resource)
            for one, other in zip(mine.segments, theirs.segments, strict=True):
                for figure in FIGURES:
                    assert of_world(getattr(one, figure), number) == getattr(other, figure)
            for here, there in zip(mine.regions, theirs.regions, strict=True):
                assert of_world(here.rental_usd_per_gpu_hour, number) == there.rental_usd_per_gpu_hour
                assert of_world(here.ordered_h100e, number) == there.ordered_h100e


def of_world(figure: Any, number: int) -> float:
    """A figure of one world of a stack, which may be the same in all."""
    return float(figure if np.ndim(figure) == 0 else figure[number])


@pytest.mark.parametrize("stock", [15.0, 60.0, 600.0])
@pytest.mark.parametrize("kind", ["level", "pull_forward"])
def test_no_channel_on_is_the_frozen_arm_and_all_on_the_shock_to_the_last_bit(stock, kind):
    """Short of GPUs in all arms, in some, and in none."""
    shock = {"capability_share": 0.3, "kind": kind, "catch_up_months": 4.0}
    scenario = everything(stock=stock, shock=shock)

    assert len(channels_of(scenario)) == 6
    assert_ends_are_the_arms(scenario)


@pytest.mark.parametrize("month", [5, 6, 7])
@pytest.mark.parametrize("stock", [30.0, 60.0])
def test_the_ends_are_the_arms_in_a_segment_that_begins_after_the_shock(month, stock):
    """In its first month it opens at its list price, but for the shock; in month 6 the baseline begins to catch up."""
    assert_ends_are_the_arms(everything(stock=stock, months=12, chat={"since": dt.date(2025, month, 10)}))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "scenarios/deepseek.toml",
        "tests/golden/market.toml",
        "scenarios/capability-race.toml",
        "scenarios/price-war.toml",
        "scenarios/sputnik.toml",
    ],
)
def test_the_ends_are_the_arms_in_a_scenario(name):
    assert_ends_are_the_arms(load(ROOT / name))


TWO = {"a": {"share": 0.7}, "b": {"share": 0.3}}
ENTRANT = {**TWO, "c": {"share": 0.3, "compute_factor": 0.2, "price_usd_per_mtok": 2.0}}
WAR = {"a": {"share": 0.7, "pricing": "war", "war_conduct": 0.2}, "b": {"share": 0.3, "pricing": "bertrand"}}
#: Offers for the first segment, and their providers.
COMPETING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "two": (TWO, {}),
    "an entrant": (ENTRANT, {"c": {"enters_with_shock": True, "nest": "open"}}),
    "a price war": (WAR, {}),
    "research": (
        TWO,
        {
            "a": {"research_response": 1.5, "capability_gain_per_year": 1.4},
            "b": {"distils_from": "leader", "distillation_per_month": 0.1},
        },
    ),
    "a ban": (TWO, {"b": {"banned_in": {"here": dt.date(2025, 5, 1)}}}),
}


@pytest.mark.parametrize("chat", [{}, {"since": dt.date(2025, 6, 10)}], ids=["from the start", "later"])
@pytest.mark.parametrize("case", COMPETING)
def test_the_ends_are_the_arms_where_providers_compete(case, chat):
    offers, providers = COMPETING[case]
    choice = {"nest_similarity": 0.5, "switching_months": 2.0}
    scenario = rivals(everything(chat=chat), offers, choice=choice, **providers)

    assert "substitution" in channels_of(scenario)
    assert_ends_are_the_arms(scenario)


def test_without_substitution_tokens_per_task_answer_the_price_at_the_shares_of_the_baseline():
    """Only a gains, 7: at shares 0.7 and 0.3 the mean price falls to 0.7/7 + 0.3, and tokens answer by ^-0.25."""
    chat = segment(form="hill", penetration=0.25, price_elasticity=-0.9, tokens_per_task_elasticity=-0.25)
    scenario = rivals(world(chat, months=4, gain=7.0, shock={"provider_reach": {"b": 0.0}}), TWO)
    switched = run_channels(scenario)
    number = {name: 2**i for i, name in enumerate(switched.channels)}
    lengthened = switched.shock[-1].segments[0].tokens_per_task
    odds = 0.7 / 0.3 * 7.0**1.2
    own = odds / (1.0 + odds)

    assert of_world(lengthened, number["tokens per task"]) == pytest.approx((0.7 / 7 + 0.3) ** -0.25)
    both = number["tokens per task"] + number["substitution"]
    assert of_world(lengthened, both) == pytest.approx((own / 7 + 1 - own) ** -0.25)


@given(
    a=st.floats(0.2, 2.5),
    gain=st.floats(0.5, 20.0),
    chi=st.floats(0.0, 0.9),
    kappa=st.floats(0.0, 1.0),
    stock=st.floats(5.0, 400.0),
    share=st.floats(0.0, 1.0),
)
@settings(max_examples=15)
def test_the_ends_are_the_arms_whatever_the_inputs(a, gain, chi, kappa, stock, share):
    shock = {"capability_share": chi, "segment_reach": {"chat": share}}
    here = region(fleet(stock, orders=orders(1.0)), scarcity_speed_per_month=kappa)
    chat = segment(price_elasticity=-a, capability_elasticity=0.8, tokens_per_task_elasticity=-0.1)

    assert_ends_are_the_arms(world(chat, budget(), gain=gain, months=6, shock=shock, regions={"here": here}))


# Channel by channel, by hand: gain 7, elasticity -1.3, cost passed on in full and at once.


def test_price_alone_is_the_answer_of_tasks_to_cheaper_tokens():
    """Compute 1/7 for the engineering, times 7^1.3."""
    scenario = world()

    assert channels_of(scenario) == ("price",)
    assert under(scenario, "price") == pytest.approx(compute(arms_of(scenario), "frozen") * 7.0**1.3, rel=1e-12)


def test_tokens_per_task_alone_answer_the_price_that_tasks_do_not():
    """0.25 of the fall of the price: 7^0.25 tokens more; tasks 7^1.3 on top."""
    scenario = world(segment(tokens_per_task_elasticity=-0.25))
    frozen = under(scenario)

    assert under(scenario, "tokens per task") == pytest.approx(frozen * 7.0**0.25, rel=1e-12)
    assert under(scenario, "price") == pytest.approx(frozen * 7.0**1.3, rel=1e-12)
    assert under(scenario, "price", "tokens per task") == pytest.approx(frozen * 7.0**1.55, rel=1e-12)


def test_capability_takes_its_share_of_the_gain_and_draws_usage():
    """chi 0.4, zeta 0.5, psi 0.9: compute 7^0.4 of what the engineering leaves, usage 7^(0.9 0.5 0.4)."""
    shock = {"capability_share": 0.4, "capability_yield": 0.5}
    scenario = world(segment(capability_elasticity=0.9), shock=shock)
    frozen = under(scenario)

    assert frozen == pytest.approx(compute(arms_of(scenario), "baseline") / 7.0, rel=1e-12)
    assert under(scenario, "capability") == pytest.approx(frozen * 7.0 ** (0.4 + 0.18), rel=1e-12)
    # What is spent on capability does not make tokens cheaper.
    both = under(scenario, "price", "capability")
    assert both == pytest.approx(frozen * 7.0 ** (0.4 + 0.18 + 1.3 * 0.6), rel=1e-12)


def test_the_compute_price_alone_is_the_answer_to_the_rent_of_an_emptier_fleet():
    """A month after the shock rents are off by e^(kappa (u_frozen - u_baseline)), and u_frozen is a seventh."""
    plan = fleet(need(world()) / 0.7 / 1.5)
    scenario = world(
        regions={
            "here": region(plan, scarcity_speed_per_month=0.5, normal_utilisation=0.7, floor_usd_per_gpu_hour=1e-6)
        }
    )
    rent = math.exp(0.5 * 0.7 * (1.0 / 7.0 - 1.0))
    frozen = compute(arms_of(scenario), "frozen", SHOCK_MONTH + 1)

    assert channels_of(scenario) == ("price", "compute price", "supply limit")
    assert under(scenario, "compute price", month=0) == pytest.approx(frozen, rel=1e-12)
    assert under(scenario, "compute price", month=1) == pytest.approx(frozen * rent**-1.3, rel=1e-12)
    assert under(scenario, "price", month=1) == pytest.approx(frozen * 7.0**1.3, rel=1e-12)


def test_the_supply_limit_takes_what_the_fleet_does_not_have():
    """A fleet as large as the need: 7^0.3 of it is wanted, and all of it is had."""
    cap = need(world())
    scenario = world(regions={"here": region(fleet(cap / 1.5))})

    assert channels_of(scenario) == ("price", "supply limit")
    assert under(scenario, "price") == pytest.approx(24.0 * cap * 7.0**0.3, rel=1e-12)
    assert under(scenario, "price", "supply limit") == pytest.approx(24.0 * cap, rel=1e-12)
    assert under(scenario, "supply limit") == pytest.approx(24.0 * cap / 7.0, rel=1e-12)


def test_without_the_supply_limit_work_is_as_short_of_gpus_as_in_the_frozen_arm():
    """Of a need 3 times the fleet a gain of 2 leaves 1.5 times: two thirds are served, whatever is wanted."""
    cap = need(world()) / 3.0
    scenario = world(gain=2.0, regions={"here": region(fleet(cap / 1.5))})

    assert under(scenario) == pytest.approx(24.0 * cap, rel=1e-12)
    assert under(scenario, "price") == pytest.approx(24.0 * cap * 2.0**1.3, rel=1e-12)
    assert under(scenario, "price", "supply limit") == pytest.approx(24.0 * cap, rel=1e-12)


def test_latency_alone_is_the_answer_to_the_waiting_of_the_month_before():
    """Full price P + v W: P that of the baseline, W that of the world itself."""
    chat = segment(workload="talk", value_of_time_usd_per_hour=40.0)
    tight = region(fleet(0.9 * need(world(chat, serving=SERVING)) / 1.5))
    scenario = world(chat, serving=SERVING, regions={"here": tight}, months=5)
    switched = run_channels(scenario)
    number = 2 ** switched.channels.index("latency")

    def figure(months: Sequence[Month], month: int, name: str, world: int) -> float:
        return float(np.broadcast_to(getattr(months[month].segments[0], name), 8)[world])

    before, after = (figure(months, 0, "latency_s", number) for months in (switched.baseline, switched.shock))
    price = figure(switched.baseline, 1, "price_usd_per_mtok", 0)
    wait = 40.0 / 3600.0 * 1e6 / 1200.0
    told = figure(switched.shock, 1, "price_response", number) / figure(switched.baseline, 1, "price_response", 0)

    assert switched.channels == ("price", "latency", "supply limit")
    assert abs(after - before) > 0.01
    assert told == pytest.approx(((price + wait * after) / (price + wait * before)) ** -1.3, rel=1e-9)


def test_a_budget_answers_cost_through_price_and_rents_through_the_compute_price():
    """A fixed sum: 7 times the tokens at a seventh of the cost, the same compute; cheaper rents buy more."""
    rich = budget(budget_usd_per_day=700.0)
    plan = fleet(700.0 / 2.5 / 24.0 / 0.7 / 1.5)
    here = region(plan, scarcity_speed_per_month=0.5, normal_utilisation=0.7, floor_usd_per_gpu_hour=1e-6)
    scenario = world(rich, regions={"here": here})
    rent = math.exp(0.5 * 0.7 * (1.0 / 7.0 - 1.0))
    frozen = compute(arms_of(scenario), "frozen", SHOCK_MONTH + 1)

    assert under(scenario, "price", month=1) == pytest.approx(7.0 * frozen, rel=1e-12)
    assert under(scenario, "compute price", month=1) == pytest.approx(frozen / rent, rel=1e-12)


# What a scenario has.


def test_a_scenario_has_the_channels_that_its_inputs_open():
    full = everything()
    limited = full.regions["here"]
    without = {
        "tokens per task": {"segments.chat.tokens_per_task_elasticity": 0.0},
        "capability": {"shock.capability_share": 0.0},
        "latency": {"segments.chat.value_of_time_usd_per_hour": 0.0},
        "compute price": {"regions.here.rental.scarcity_speed_per_month": 0.0},
    }

    assert channels_of(full) == (
        "price", "tokens per task", "capability", "latency", "compute price", "supply limit",
    )  # fmt: skip
    for name, change in without.items():
        assert set(channels_of(full)) - set(channels_of(full.replace(change))) == {name}
    unlimited = limited.model_copy(update={"fleet": None})
    assert set(channels_of(full)) - set(channels_of(full.model_copy(update={"regions": {"here": unlimited}}))) == {
        "compute price", "supply limit",
    }  # fmt: skip


def test_a_channel_that_a_scenario_does_not_have_moves_nothing():
    """Switched all the same, by name."""
    names = ("price", "tokens per task", "capability", "latency", "compute price", "supply limit")
    switched = run_channels(world(months=6), channels=names)
    values = switched.shock[-1].consumption_per_day("gpu_hours")

    assert len(set(values[::2].tolist())) == len(set(values[1::2].tolist())) == 1


def test_without_substitution_the_shares_are_those_of_the_baseline():
    """An entrant that is a tenth as intensive: on, it takes its share and work falls by what it saves."""
    scenario = load(ROOT / "scenarios" / "distillation.toml").replace({"run.months": 20})
    run = run_channels(scenario, channels=["substitution"])
    off, on = (
        [[share[world] for share in np.broadcast_arrays(*month.segment("reasoning", "world").offers.shares)]
         for month in run.shock]
        for world in (0, 1)
    )  # fmt: skip
    before = [
        [np.ravel(share)[0] for share in month.segment("reasoning", "world").offers.shares] for month in run.baseline
    ]

    assert off == before
    entrant = list(run.shock[0].segment("reasoning", "world").offers.names).index("deepseek")
    assert all(shares[entrant] == 0.0 for shares in off)
    assert on[-1][entrant] > 0.02


def test_channels_that_are_not_switched_are_on():
    scenario = everything()

    assert under(scenario, "price", channels=("price",)) == compute(arms_of(scenario), "shock")


def test_the_sets_are_in_the_order_of_their_binary_digits():
    assert subsets(3).astype(int).tolist() == [[m & 1, m >> 1 & 1, m >> 2 & 1] for m in range(8)]
    assert subsets(0).shape == (1, 0)


def test_a_world_is_the_same_whatever_worlds_stand_beside_it():
    scenario = load(ROOT / "tests" / "golden" / "market.toml")
    gains = np.array([3.0, 5.0, 8.0])
    together = run_channels(scenario, {"shock.efficiency_gain": gains}, [0, 2, 1])
    for number, (gain, replication) in enumerate(zip(gains, (0, 2, 1), strict=True)):
        alone = run_channels(scenario, {"shock.efficiency_gain": np.array([gain])}, [replication])
        theirs = together.shock[-1].consumption_per_day("usd")[number::3]

        assert theirs.tolist() == alone.shock[-1].consumption_per_day("usd").tolist()
