"""Stacks of worlds: each world comes to what it would come to alone, to the last bit."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import SERVING, WORKLOAD, budget, fleet, identical, orders, region, segment, world

from jevons import ensemble
from jevons.draws import inputs_of_draws
from jevons.ensemble import simulate
from jevons.hinges import ENDS, PARTS, excess_rebounds, hinges_of, turn
from jevons.model import run_arms, run_stack
from jevons.months import Stack
from jevons.randomness import Draws
from jevons.scenario import (
    Autoscaler,
    Choice,
    Diffusion,
    Distribution,
    Failures,
    Investors,
    Jobs,
    LeadTime,
    Offer,
    Policy,
    Pricing,
    Provider,
    Race,
    Scenario,
    Trend,
    Vendor,
    field_table,
)
from jevons.serving import Day, ServedDay, Stream
from jevons.serving.closed_form import served_day
from jevons.stacks import erfc, every, of_world, ratio, stacked, where


def around(value: float, width: float = 0.1) -> Any:
    """A value that is not known to a tenth of it."""
    low, high = sorted((value * (1 - width), value * (1 + width)))
    return Distribution(dist="uniform", low=low, high=high)


def unknown_segment(**changes: Any) -> Any:
    """A segment of which nothing that may be uncertain is known."""
    fields = {
        "workload": "talk",
        "patience_s": 40.0,
        "usage_noise": 0.04,
        "tokens_per_day": around(3e9),
        "usage_growth_per_year": around(3.0),
        "growth_half_life_months": around(20.0),
        "price_usd_per_mtok": around(8.0),
        "pass_through": around(0.8),
        "price_elasticity": around(-1.2),
        "penetration": around(0.3),
        "willingness_tracks_price": around(0.5),
        "capability_elasticity": around(0.6),
        "tokens_per_task_elasticity": around(-0.1),
        "adjustment_months": Distribution(dist="uniform", low=0.0, high=3.0),
        "quota_pass_through": around(0.4),
        "value_of_time_usd_per_hour": around(0.5),
        "human_cost_usd_per_mtok": around(1.5),
        "gpu_seconds_per_mtok_input": around(110.0),
        "gpu_seconds_per_mtok_output": around(560.0),
    }
    return segment(**{**fields, **changes})


UNKNOWN_VENDOR = Vendor(
    margin=around(0.7),
    margin_response=around(0.4),
    normal_book_to_bill=around(1.2),
    rival_pressure_per_year=around(0.3),
    margin_adjustment_months=Distribution(dist="uniform", low=0.0, high=3.0),
    margin_floor=around(0.3),
    margin_ceiling=around(0.85),
    cost_change_per_year=around(0.8),
    operating_cost_share=around(0.1),
    other_revenue_share=around(0.2),
    other_growth_per_year=around(1.1),
    expectation_weight=around(0.5),
    trailing_months=3,
    growth_half_life_months=around(15.0),
    long_run_growth_per_year=around(1.02, 0.01),
    discount_rate_per_year=around(0.12),
    announcement_fall=around(0.17),
    announcement_half_life_months=around(3.0),
    gap_half_life_months=around(12.0),
)
UNKNOWN_INVESTORS = Investors(
    debt_share=around(0.25),
    leveraged_share=around(0.4),
    interest_per_year=around(0.1),
    maturity_months=around(40.0),
    cash_yield_per_year=around(0.2),
    releverage_per_month=around(0.5),
    loan_to_value_limit=around(0.65),
    price_impact=around(1.5),
    dip_buying=around(0.2),
    recovery_months=around(5.0),
    funding_response=around(0.6),
)


def unknown_world(*segments: Any, diffusion: Diffusion, kind: str = "level", **changes: Any) -> Scenario:
    """A world of which nothing that may be uncertain is known, in two regions."""
    lead = LeadTime(mean_months=around(2.5, 0.3), cv=0.4)
    bought = orders(
        lead_time=lead,
        headroom=around(1.3),
        supply_line_weight=around(0.7),
        adjustment_per_month=around(0.6),
        largest_growth_per_year=around(6.0),
        rental_response=around(0.5),
        allocation_per_month=around(14.0),
        allocation_growth_per_year=around(2.0),
    )
    rental = {
        "price_usd_per_gpu_hour": around(2.5),
        "scarcity_speed_per_month": around(0.3),
        "normal_utilisation": around(0.7),
        "floor_usd_per_gpu_hour": around(0.3),
    }
    here = region(fleet(6.0, growth_before_per_year=around(2.0), power_cap_mw=0.02, orders=bought), **rental)
    there = region(fleet(9.0, growth_before_per_year=around(1.5)))
    fields = {
        "months": 7,
        "gain": around(6.0),
        "shock": {
            "kind": kind,
            "catch_up_months": Distribution(dist="uniform", low=1.0, high=6.0),
            "capability_share": around(0.2),
            "capability_yield": around(0.5),
            "diffusion": diffusion,
            "segment_reach": {"chat": around(0.8)},
            "region_reach": {"here": around(0.9)},
        },
        "trend": Trend(
            algorithmic_gain_per_year=around(2.9),
            hardware_gain_per_year=around(1.4),
            capability_gain_per_year=around(1.2),
        ),
        "pricing": Pricing(pass_through=around(0.9), adjustment_months=around(2.0), shortage_markup=around(0.5)),
        "regions": {"here": here, "there": there},
        "serving": SERVING,
        "vendor": UNKNOWN_VENDOR,
        "investors": UNKNOWN_INVESTORS,
    }
    shares = {"region_share": {"here": 0.6, "there": 0.4}}
    placed = [one.model_copy(update=shares) for one in segments]
    return world(*placed, **{**fields, **changes})


LOGISTIC = Diffusion(form="logistic", months_to_half=around(3.0), steepness_per_month=around(0.9))
BASS = Diffusion(form="bass", innovation_per_month=around(0.06), imitation_per_month=around(0.5))
AT_ONCE = Diffusion(form="immediate")
DELAYED = SERVING.model_copy(
    update={
        "autoscaler": Autoscaler(
            interval_minutes=40.0, delay_minutes=10.0, step_nodes=2.0, floor_nodes=1.0, signal="measured"
        ),
        "failures": Failures(mtbf_days=20.0, repair_hours=5.0),
        "lend_idle_nodes": True,
    }
)
COLOCATED = SERVING.model_copy(
    update={
        "layout": "colocated",
        "step": SERVING.step.model_copy(update={"per_prefill_token_s": 3e-5, "per_kv_token_s": 1e-10}),
    }
)

UNKNOWN = {
    "hill and flat, logistic": unknown_world(
        unknown_segment(form="hill", pass_through=None, price_change_per_year=around(0.6)),
        unknown_segment(tariff="flat", price_change_per_year=around(0.5), usage_growth_is="observed"),
        budget(budget_usd_per_day=around(700.0)),
        diffusion=LOGISTIC,
        kind="pull_forward",
    ),
    "lognormal and linear, bass": unknown_world(
        unknown_segment(form="lognormal"), unknown_segment(form="linear"), diffusion=BASS, serving=DELAYED
    ),
    "exponential and derived, without patience": unknown_world(
        unknown_segment(form="exponential", patience_s=None),
        unknown_segment(form="derived", patience_s=None),
        diffusion=AT_ONCE,
        serving=COLOCATED,
    ),
    "budgets that race and buy jobs": unknown_world(
        budget(
            jobs=Jobs(gpus=[2.0], hours=[30.0], own_share=around(0.2)),
            race=Race(follows="code", response=around(0.5), jump_with_shock=around(1.4)),
        ),
        budget(race=Race(follows="chat", response=0.7)),
        unknown_segment(),
        diffusion=LOGISTIC,
        serving=DELAYED,
    ),
    "isoelastic and free, without queues": unknown_world(
        unknown_segment(), unknown_segment(tariff="free"), diffusion=LOGISTIC, serving=None
    ),
}

OFFERS = {
    "lab": Offer(
        share=around(0.4),
        share_by_region={"there": around(0.4)},
        price_usd_per_mtok=around(6.0),
        compute_factor=around(0.7),
        pricing="war",
        conduct=around(0.8),
        war_conduct=around(0.2),
    ),
    "old": Offer(share=around(0.6), pricing="limit", limit_premium=around(0.3), free_share=0.2),
    "new": Offer(share=around(0.3), price_usd_per_mtok=around(3.0), pricing="bertrand"),
}
PROVIDERS = {
    "lab": Provider(
        nest="open weights",
        open_weights=True,
        serves_from="there",
        capability=around(0.6),
        capability_gain_per_year=around(1.5),
        distils_from="leader",
        distillation_per_month=around(0.2),
        countermeasure_date=dt.date(2025, 3, 10),
        countermeasure_factor=around(0.4),
        research_response=around(2.0),
        trust={"here": around(-0.5)},
    ),
    "old": Provider(capability_gain_per_year=around(1.3)),
    "new": Provider(enters_with_shock=True, banned_in={"there": dt.date(2025, 6, 1)}),
}
RIVALS = unknown_world(
    unknown_segment(
        form="hill",
        price_change_per_year=around(0.6),
        usage_growth_is="observed",
        offers=OFFERS,
        choice=Choice(nest_similarity=around(0.5), switching_months=around(2.0)),
    ),
    unknown_segment(),
    diffusion=LOGISTIC,
    kind="pull_forward",
)
UNKNOWN["providers"] = RIVALS.model_copy(
    update={
        "providers": PROVIDERS,
        "shock": RIVALS.shock.model_copy(update={"provider_reach": {"lab": around(0.8)}}),
    }
)
BAN = Policy(
    kind="export_control",
    region="here",
    type="gpu",
    announced=dt.date(2025, 2, 1),
    since=dt.date(2025, 4, 1),
    stockpile_months=around(4.0),
    stockpile_allocation_factor=around(2.0),
    licensed_share=around(0.3),
    leakage=around(0.2),
    leakage_price_factor=around(1.5),
    substitute="cut",
    substitute_share=around(0.8),
    grace=False,
)
POLICIES = {
    "ban": BAN,
    "cap": Policy(kind="cap", region="there", fleet_h100e=around(9.0), fleet_growth_per_year=around(1.5)),
    "energy": Policy(kind="energy_price", usd_per_mwh=around(120.0)),
    "carbon": Policy(kind="carbon_tax", usd_per_tonne=around(90.0), tonnes_per_mwh=around(0.4)),
    "help": Policy(kind="subsidy", share=around(0.2), of="rental"),
    "own_way": Policy(kind="directed_innovation", region="here", omega=around(0.4), adjustment_months=around(5.0)),
}
CURVE = orders(supply_elasticity=around(0.7), supply_growth_per_year=around(1.8))
GOVERNED = unknown_world(
    unknown_segment(),
    unknown_segment(),
    diffusion=LOGISTIC,
    regions={
        "here": region(fleet(6.0, growth_before_per_year=around(2.0), orders=CURVE), scarcity_speed_per_month=0.3),
        "there": region(fleet(9.0, growth_before_per_year=around(1.5))),
    },
)
UNKNOWN["policies and a supply curve"] = GOVERNED.model_copy(
    update={
        "policies": POLICIES,
        "gpus": {**GOVERNED.gpus, "cut": GOVERNED.gpus["gpu"].model_copy(update={"h100e": 0.4})},
    }
)


def of_draw(inputs: Mapping[str, Any], draw: int) -> dict[str, float]:
    return {key: float(values[draw]) for key, values in inputs.items()}


@pytest.mark.parametrize("scenario", UNKNOWN.values(), ids=UNKNOWN)
def test_a_stack_of_draws_is_its_draws_one_by_one(scenario):
    """All forms, tariffs, diffusions and layouts; whatever may be uncertain is."""
    inputs = inputs_of_draws(scenario, range(4))
    stack = run_stack(scenario.at(inputs), [0] * 4, "closed_form")

    assert len(inputs) > 35
    for draw in range(4):
        assert identical(stack.world(draw), run_arms(scenario.at(of_draw(inputs, draw)), 0, "closed_form"))


def test_the_unknown_worlds_leave_out_no_uncertain_input():
    """Every field that may be a distribution is one in some of them."""
    names = re.compile(r"\.(chat|here|there|lab|old)\b")
    keys = {names.sub(".*", key) for one in UNKNOWN.values() for key in one.uncertain}
    unknown = {re.sub(r"^policies\.\w+", "policies.*", key) for key in keys}
    may_be = {row.key for row in field_table() if row.is_uncertain}

    assert may_be - unknown == {"segments.*.budget_usd_per_day"}
    assert "segments.batch.budget_usd_per_day" in UNKNOWN["hill and flat, logistic"].uncertain


@settings(max_examples=15, deadline=None)
@given(numbers=st.lists(st.integers(0, 1000), min_size=1, max_size=5, unique=True))
def test_a_stack_of_replications_is_its_replications_one_by_one(numbers):
    """Noise and lead times of their own, in whatever company."""
    central = UNKNOWN["hill and flat, logistic"].central()
    stack = run_stack(central, numbers, "closed_form")

    assert identical(stack.world(len(numbers) - 1), run_arms(central, numbers[-1], "closed_form"))


@pytest.mark.slow
def test_a_stack_of_replications_of_single_requests_is_its_replications_one_by_one():
    served = world(
        segment(workload="talk", usage_noise=0.1),
        serving=SERVING,
        months=4,
        run={"resolution": 100, "sampled_minutes_per_hour": 3.0},
    ).central()
    stack = run_stack(served, [3, 8], "simpy")

    assert identical(stack.world(0), run_arms(served, 3, "simpy"))
    assert identical(stack.world(1), run_arms(served, 8, "simpy"))


def test_the_size_of_the_stacks_does_not_matter(monkeypatch):
    scenario = UNKNOWN["hill and flat, logistic"].model_copy(deep=True)
    scenario = scenario.model_copy(update={"run": scenario.run.model_copy(update={"replications": 5, "draws": 6})})
    whole = simulate(scenario, engine="closed_form")
    monkeypatch.setattr(ensemble, "WORLDS_PER_STACK", 2)
    parts = simulate(scenario, engine="closed_form")

    assert [stack.worlds for stack in parts.stacks] == [2, 2, 1]
    assert identical(parts.replications, whole.replications)
    assert identical(parts.draws, whole.draws)
    assert identical(parts.hinges, whole.hinges)
    assert list(parts.monthly.rows()) == list(whole.monthly.rows())
    assert identical(parts.hourly.rows, whole.hourly.rows)


@pytest.mark.slow
def test_many_stacks_on_several_workers_are_those_on_one(monkeypatch):
    scenario = UNKNOWN["isoelastic and free, without queues"]
    scenario = scenario.model_copy(update={"run": scenario.run.model_copy(update={"replications": 9, "draws": 8})})
    monkeypatch.setattr(ensemble, "WORLDS_PER_STACK", 1)
    one, two = (simulate(scenario, engine="closed_form", workers=workers) for workers in (1, 2))

    assert identical(one.replications, two.replications)
    assert identical(one.draws, two.draws)


def test_the_figures_of_a_stack_are_those_of_its_worlds():
    scenario = UNKNOWN["hill and flat, logistic"]
    scenario = scenario.model_copy(update={"run": scenario.run.model_copy(update={"replications": 3})})
    result = simulate(scenario, engine="closed_form")
    alone = [Stack(worlds=1, arms=world) for world in result.replications]
    consumed = [stack.paths("shock", lambda month: month.consumption_per_day("gpu_hours")) for stack in alone]

    assert result.replication_count == 3
    assert identical(result.consumption["shock"], np.concatenate(consumed))


# Days.

positive = st.floats(1e-2, 1e2)


@settings(max_examples=40, deadline=None)
@given(
    loads=st.lists(st.tuples(positive, positive, st.just(0.0) | st.floats(0.01, 60.0)), min_size=1, max_size=4),
    patience=st.sampled_from([None, 20.0]),
    serving=st.sampled_from([SERVING, DELAYED, COLOCATED]),
)
def test_a_stack_of_days_in_closed_form_is_its_days_one_by_one(loads, patience, serving):
    """Fleets that suffice and such that do not, and one of no nodes at all."""
    requests, weights, nodes = (np.array(column) for column in zip(*loads, strict=True))

    def day(requests: Any, weights: Any, nodes: Any) -> Day:
        chat = Stream(
            name="chat", requests_per_day=1e6 * requests, workload=WORKLOAD, input_weight=weights, patience_s=patience
        )
        code = Stream(name="code", requests_per_day=4e5 * requests, workload=WORKLOAD, output_weight=weights)
        return Day(streams=(chat, code), serving=serving, available_nodes=nodes)

    stack = served_day(day(requests, weights, nodes))

    for number, load in enumerate(loads):
        assert identical(comparable(of_world(stack, number)), comparable(served_day(day(*load))))


def comparable(day: ServedDay) -> ServedDay:
    """A day with its speed as a plain number."""
    return of_world(stacked([day]), 0)


# Break-evens.


@settings(max_examples=10, deadline=None)
@given(low=st.floats(-2.0, -1.4), high=st.floats(-1.1, -0.5), rho=st.floats(0.75, 1.0))
def test_the_search_for_a_break_even_finds_what_bisection_does(low, high, rho):
    elasticity = Distribution(dist="uniform", low=low, high=high)
    scenario = world(segment(price_elasticity=elasticity), pricing=Pricing(pass_through=rho))
    keys = ("segments.chat.price_elasticity",)
    (found,) = hinges_of(scenario, {keys: 0.5})

    def excess(share: float) -> float:
        return float(excess_rebounds(scenario, [(keys, np.array([share]))])[0][0])

    left, right = ENDS
    at_left = excess(left)
    if at_left * excess(right) > 0:
        assert found.break_even is None
        return
    for _ in range(round(math.log2(PARTS**2))):
        middle = (left + right) / 2
        left, right = (middle, right) if excess(middle) * at_left > 0 else (left, middle)

    assert found.break_even == pytest.approx(elasticity.quantile((left + right) / 2), rel=1e-12)


@pytest.mark.parametrize(
    ("excess", "ends"),
    [
        ([0.2, 0.1, -0.1, -0.3], (0.4, 0.6)),
        ([-0.2, 0.1, -0.1, 0.3], (0.2, 0.4)),
        ([0.2, math.nan, -0.1, -0.3], (0.2, 0.4)),
        ([0.0, 0.1, 0.1, 0.3], (0.2, 0.4)),
    ],
)
def test_the_verdict_turns_where_it_first_leaves_the_sign_of_the_low_end(excess, ends):
    """Or is not defined any more."""
    assert turn(np.array([0.2, 0.4, 0.6, 0.8]), np.array(excess)) == ends


def test_several_inputs_are_searched_as_each_alone():
    scenario = UNKNOWN["isoelastic and free, without queues"]
    groups = [("shock.efficiency_gain",), ("pricing.shortage_markup",), ("segments.chat.price_elasticity",)]
    together = hinges_of(scenario, dict.fromkeys(groups, 0.1))

    assert identical(together, tuple(hinges_of(scenario, {keys: 0.1})[0] for keys in groups))


# Numbers.


def test_a_world_comes_back_out_of_a_stack():
    draws = [Draws(seed=4, replication=n, place=("day", n)) for n in range(3)]
    arrays = [(np.array([n, 2.0 * n]), float(n), "the same", None) for n in range(3)]

    assert [of_world(stacked(draws), n).replication for n in range(3)] == [0, 1, 2]
    assert [identical(of_world(stacked(arrays), n), arrays[n]) for n in range(3)] == [True] * 3


def test_choices_are_made_world_by_world():
    x = np.array([-1.0, 0.0, 4.0])

    assert where(x > 0, 2.0, x).tolist() == [-1.0, 0.0, 2.0]
    assert where(True, 2.0, 3.0) == 2.0
    assert ratio(8.0, x, otherwise=math.inf).tolist() == [math.inf, math.inf, 2.0]
    assert ratio(1.0, 4.0, otherwise=7.0) == 0.25
    assert (every(x < 5), every(x < 4), every(True)) == (True, False, True)
    assert erfc(x).tolist() == [math.erfc(-1.0), 1.0, math.erfc(4.0)]
