"""Policy: each instrument by hand, laws for any input, and what it does to a market."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from math import exp, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import (
    GPU,
    START,
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

from jevons.errors import ScenarioError
from jevons.fleet import Fleet, Order, Power
from jevons.model import World, run_arms, run_stack
from jevons.months import Month
from jevons.policy import (
    energy_usd_per_gpu_hour,
    holds,
    induced_gain,
    largest_fleet_h100e,
    let_through,
    rush,
    subsidised_share,
    without_cancelled,
)
from jevons.scenario import ARMS, Distribution, Gpu, Policy, Region, Scenario
from jevons.stacks import of_world
from jevons.theory import capped_price_ratio
from jevons.units import HOURS_PER_DAY

CUT_DOWN = Gpu(h100e=0.5, power_kw=0.8, idle_power_kw=0.2, price_usd=11_000.0, life_months=600.0)
GPUS = {"gpu": GPU, "cut": CUT_DOWN}
ORDER = Order(type="gpu", gpus=60.0, due_month=7.0)


def control(**changes: Any) -> Policy:
    """Orders of `gpu` refused in `here` from the first of April 2025 on, month 3."""
    fields = {"kind": "export_control", "region": "here", "type": "gpu", "since": dt.date(2025, 4, 1)}
    return Policy(**{**fields, **changes})


def with_policies(scenario: Scenario, *policies: Policy) -> Scenario:
    """A scenario with policies, and a cut-down type of GPU."""
    named = {f"policy{number}": policy for number, policy in enumerate(policies)}
    return scenario.model_copy(update={"policies": named, "gpus": GPUS})


def need_of(**changes: Any) -> float:
    """GPUs that the one segment needs at the start, H100e."""
    return compute(arms_of(world(segment(**changes))), "baseline", 0) / HOURS_PER_DAY


def growing(*policies: Policy, months: int = 14, **changes: Any) -> Scenario:
    """A market that grows threefold a year with a fleet that follows it."""
    plan = orders(2.0, headroom=1.25, **changes)
    here = region(fleet(need_of() / 0.8 / 1.5, growth_before_per_year=3.0, orders=plan), scarcity_speed_per_month=0.2)
    chat = segment(usage_growth_per_year=3.0)
    return with_policies(world(chat, months=months, gain=1.5, regions={"here": here}), *policies)


def baseline(scenario: Scenario) -> list[Month]:
    """Months of the baseline."""
    return list(arms_of(scenario)["baseline"])


def figure(months: list[Month], name: str) -> list[float]:
    """A figure of the one region, month by month."""
    return [getattr(month.regions[0], name) for month in months]


def last_fleet(scenario: Scenario) -> Fleet:
    """The fleet of the one region at the end of the baseline."""
    one = World(scenario.central(), [0], "closed_form", {}, {}, False, 1)
    _, state = one.run("baseline", 0, scenario.run.months, one.opening())
    fleet = state.regions["here"].fleet
    assert fleet is not None
    return of_world(fleet, 0)


def of_type(fleet: Fleet, name: str) -> np.ndarray:
    """Which batches are of a type, shape (batches,)."""
    return np.array([kind == name for kind in fleet.types])


# When a policy holds.


@pytest.mark.parametrize(
    ("since", "until", "months"),
    [
        (None, None, [0, 1, 2, 3]),
        (dt.date(2025, 3, 1), None, [2, 3]),
        (dt.date(2025, 2, 2), None, [2, 3]),
        (None, dt.date(2025, 3, 1), [0, 1]),
        (dt.date(2025, 2, 1), dt.date(2025, 2, 20), [1]),
        (dt.date(2025, 2, 2), dt.date(2025, 2, 20), []),
    ],
)
def test_a_policy_holds_in_the_months_that_begin_while_it_does(since, until, months):
    policy = control(since=since, until=until)

    assert [month for month in range(4) if holds(world(), policy, month)] == months


# Export controls.


def through(*policies: Policy, month: int = 3) -> list[tuple[str, float, float]]:
    """Type, GPUs and price factor of what becomes of 60 GPUs of 1.5 H100e."""
    scenario = with_policies(world(), *policies)
    parts = let_through(scenario, "here", month, ORDER, GPUS)
    assert {part.due_month for part in parts} == {7.0}
    return [(part.type, pytest.approx(part.gpus), pytest.approx(part.price_factor)) for part in parts]


def test_before_the_control_all_comes_and_after_it_nothing():
    assert through(control(), month=2) == [("gpu", 60.0, 1.0)]
    assert through(control(), month=3) == [("gpu", 0.0, 1.0)]
    assert through(control(until=dt.date(2025, 6, 1)), month=5) == [("gpu", 60.0, 1.0)]


def test_a_control_binds_its_region_and_its_type():
    assert through(control(type="cut")) == [("gpu", 60.0, 1.0)]
    elsewhere = {"here": region(fleet(1.0)), "there": region(fleet(2.0))}
    scenario = with_policies(world(segment(region_share={"here": 1.0}), regions=elsewhere), control(region="there"))

    assert let_through(scenario, "here", 3, ORDER, GPUS) == (ORDER,)


def test_licence_and_leakage_by_hand():
    """A quarter licensed, a fifth of the rest leaks at thrice the price: 15 + 9 of 60, at (15 + 27)/24 of it."""
    assert through(control(licensed_share=0.25, leakage=0.2, leakage_price_factor=3.0)) == [("gpu", 24.0, 1.75)]


def test_a_substitute_makes_up_for_the_performance_that_does_not_come():
    """36 of 1.5 H100e do not: 54 H100e, of which four fifths are ordered in GPUs of a half."""
    policy = control(licensed_share=0.4, substitute="cut", substitute_share=0.8)

    assert through(policy) == [("gpu", 24.0, 1.0), ("cut", 86.4, 1.0)]


def test_a_substitute_can_be_controlled_in_its_turn():
    """60 of 1.5 are 180 of a half, of which a tenth is licensed."""
    assert through(control(substitute="cut"), control(type="cut", licensed_share=0.1)) == [
        ("gpu", 0.0, 1.0),
        ("cut", 18.0, 1.0),
    ]


def test_two_types_that_stand_in_for_each_other_end_somewhere():
    assert through(control(substitute="cut"), control(type="cut", substitute="gpu")) == [
        ("gpu", 0.0, 1.0),
        ("cut", 0.0, 1.0),
        ("gpu", 60.0, 1.0),
    ]


def test_what_was_ordered_before_a_control_arrives_unless_there_is_no_grace():
    """Of 40 big ones on order and 30 there, a quarter of the order is licensed."""
    mixed = Fleet(
        types=("gpu", "gpu", "cut"),
        gpus=np.array([30.0, 40.0, 50.0]),
        due_month=np.array([0.0, 5.0, 5.0]),
        retires_month=np.full(3, 99.0),
        is_installed=np.array([True, False, False]),
    )

    def left(month: int, **changes: Any) -> list[float]:
        scenario = with_policies(world(), control(licensed_share=0.25, **changes))
        return without_cancelled(scenario, "here", month, mixed).gpus.tolist()

    assert left(3) == [30.0, 40.0, 50.0]
    assert left(3, grace=False) == [30.0, 10.0, 50.0]
    # Only once.
    assert left(2, grace=False) == left(4, grace=False) == [30.0, 40.0, 50.0]
    assert left(0, grace=False, since=None) == [30.0, 10.0, 50.0]


def test_a_control_stops_deliveries_a_lead_time_later():
    """Two months: what was ordered in month 2 serves in month 4, and nothing comes after it."""
    stock = figure(baseline(growing(control())), "installed_h100e")

    assert all(later > earlier for earlier, later in pairwise(stock[:5]))
    assert stock[5:] == pytest.approx([stock[4]] * 9)


def test_without_grace_they_stop_at_once():
    stock = figure(baseline(growing(control(grace=False))), "installed_h100e")

    assert stock[3] > stock[2]
    assert stock[4:] == pytest.approx([stock[3]] * 10)


def test_orders_that_are_refused_are_neither_placed_nor_paid():
    months = baseline(growing(control(until=dt.date(2025, 10, 1))))
    ordered = figure(months, "ordered_h100e")

    assert [count > 0 for count in ordered[:10]] == [month < 3 or month == 9 for month in range(10)]
    assert figure(months, "ordered_usd")[3:9] == [0.0] * 6


def test_what_leaks_is_paid_at_its_price():
    months = baseline(growing(control(leakage=0.5, leakage_price_factor=4.0)))
    usd, h100e = figure(months, "ordered_usd"), figure(months, "ordered_h100e")

    assert usd[2] / h100e[2] == pytest.approx(GPU.price_usd / 1.5)
    assert usd[3] / h100e[3] == pytest.approx(4.0 * GPU.price_usd / 1.5)


def test_a_region_goes_on_with_the_substitute():
    """Its fleet in H100-equivalents is the same, its GPUs and its power are not."""
    free, bound = growing(), growing(control(substitute="cut"))
    fleets = last_fleet(free), last_fleet(bound)

    assert figure(baseline(bound), "installed_h100e") == pytest.approx(figure(baseline(free), "installed_h100e"))
    assert set(fleets[0].types) == {"gpu"}
    assert fleets[1].gpus[of_type(fleets[1], "cut")].sum() > 0.0
    assert baseline(bound)[-1].regions[0].power.loaded_kw > baseline(free)[-1].regions[0].power.loaded_kw


def test_buyers_look_further_ahead_between_announcement_and_control():
    stock = control(announced=dt.date(2025, 2, 1), stockpile_months=6.0)
    scenario = with_policies(world(), stock)
    ahead = [rush(scenario, "here", month, "gpu").months_further for month in range(5)]

    assert ahead == [0.0, 6.0, 6.0, 0.0, 0.0]
    assert rush(scenario, "here", 1, "cut").months_further == 0.0


def test_a_type_that_stands_in_is_stockpiled_too():
    soon = control(type="cut", since=dt.date(2025, 9, 1), announced=dt.date(2025, 6, 1), stockpile_months=5.0)
    scenario = with_policies(world(), control(substitute="cut"), soon)

    assert rush(scenario, "here", 6, "gpu").months_further == 5.0
    assert rush(with_policies(world(), soon), "here", 6, "gpu").months_further == 0.0


def test_stockpiling_by_hand():
    """A need that stands still, covered: looking S months ahead orders what retires in them, at once.

    20 vintages of GPUs that live 20 months retire one a month; what retires first is on order at the start.
    """
    need = need_of()
    gpu = Gpu(h100e=1.5, power_kw=1.4, idle_power_kw=0.35, price_usd=27_000.0, life_months=20.0)
    here = region(fleet(need / 1.5, orders=orders(1.0, headroom=1.0)))
    still = world(months=8, gain=1.0, regions={"here": here}, gpu=gpu)
    soon = control(since=dt.date(2025, 5, 1), announced=dt.date(2025, 3, 1), stockpile_months=4.0)
    ordered = figure(baseline(still.model_copy(update={"policies": {"soon": soon}})), "ordered_h100e")

    assert ordered == pytest.approx([0.0, need / 20, need / 20 * 5, need / 20] + [0.0] * 4)


def test_stockpiling_pulls_orders_forward():
    soon = {"since": dt.date(2025, 8, 1), "announced": dt.date(2025, 4, 1)}
    surprised = figure(baseline(growing(control(**soon))), "ordered_h100e")
    warned = figure(baseline(growing(control(**soon, stockpile_months=6.0))), "ordered_h100e")

    assert warned[:3] == surprised[:3]
    assert warned[3] > 1.5 * surprised[3]
    assert sum(warned) > 1.2 * sum(surprised)
    assert warned[7:] == [0.0] * 7


def test_stockpiling_goes_as_far_as_the_allocation_allows():
    soon = control(since=dt.date(2025, 8, 1), announced=dt.date(2025, 4, 1), stockpile_months=6.0)
    ordered = figure(baseline(growing(soon, allocation_per_month=2.0)), "ordered_h100e")

    assert max(ordered) == pytest.approx(2.0)


def test_a_vendor_can_serve_the_rush_first():
    """Thrice the allocation of 2 H100e a month, from April until August."""
    soon = control(
        since=dt.date(2025, 8, 1),
        announced=dt.date(2025, 4, 1),
        stockpile_months=60.0,
        stockpile_allocation_factor=3.0,
    )
    ordered = figure(baseline(growing(soon, allocation_per_month=2.0)), "ordered_h100e")

    assert ordered[3:8] == pytest.approx([6.0, 6.0, 6.0, 6.0, 0.0])
    assert max(ordered[:3]) <= 2.0


# Laws.

EVERY = (
    control(leakage=1.0),
    control(licensed_share=1.0, substitute="cut", grace=False),
    control(since=dt.date(2030, 1, 1), announced=dt.date(2029, 1, 1), stockpile_months=3.0),
    control(announced=dt.date(2025, 2, 1), leakage=1.0),
    Policy(kind="cap", region="here", fleet_h100e=1e9),
    Policy(kind="energy_price", usd_per_mwh=0.0),
    Policy(kind="carbon_tax", usd_per_tonne=0.0, tonnes_per_mwh=0.5),
    Policy(kind="subsidy", share=0.0),
    Policy(kind="subsidy", share=0.0, of="rental"),
    Policy(kind="subsidy", share=0.5, until=dt.date(2025, 1, 1)),
    Policy(kind="directed_innovation", region="here", omega=0.0),
)


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: f"{policy.kind}-{EVERY.index(policy)}")
def test_a_policy_that_does_nothing_leaves_no_trace(policy):
    """Equal to the last bit, in all arms."""
    assert identical(arms_of(growing(policy)), arms_of(growing()))


def test_no_world_of_a_stack_notices_those_beside_it():
    """Every instrument with inputs of each world's own, to the last bit."""
    unknown = Distribution(dist="uniform", low=0.0, high=0.9)
    ban = control(
        licensed_share=unknown, leakage=unknown, announced=dt.date(2025, 2, 1), stockpile_months=unknown,
        substitute="cut", grace=False,
    )  # fmt: skip
    others = (
        Policy(kind="cap", region="here", fleet_h100e=Distribution(dist="uniform", low=5.0, high=50.0)),
        Policy(kind="energy_price", usd_per_mwh=unknown),
        Policy(kind="carbon_tax", usd_per_tonne=unknown, tonnes_per_mwh=0.4),
        Policy(kind="subsidy", share=unknown),
        Policy(kind="subsidy", share=unknown, of="rental", since=dt.date(2025, 2, 1)),
        Policy(kind="directed_innovation", region="here", omega=unknown),
    )
    scenario = growing(ban, *others)
    columns = {key: np.array([one.quantile(p) for p in (0.2, 0.7)]) for key, one in scenario.uncertain.items()}
    both = run_stack(scenario.at(columns), [0, 0], "closed_form")
    alone = [
        run_arms(scenario.at({key: float(two[n]) for key, two in columns.items()}), 0, "closed_form") for n in (0, 1)
    ]

    assert len(columns) == 9
    assert [identical(both.world(number), alone[number]) for number in (0, 1)] == [True, True]
    assert not identical(alone[0], alone[1])


shares = st.floats(0.0, 1.0)


@settings(max_examples=15)
@given(
    licensed=shares,
    leakage=shares,
    since=st.integers(1, 9),
    stockpile=st.floats(0.0, 12.0),
    grace=st.booleans(),
    substitute=st.sampled_from([None, "cut"]),
)
def test_whatever_the_control_no_batch_is_negative_and_no_more_passes_than_is_let(
    licensed, leakage, since, stockpile, grace, substitute
):
    date = dt.date(2025, 1 + since, 1)
    policy = control(
        since=date, announced=START, stockpile_months=stockpile, licensed_share=licensed, leakage=leakage,
        grace=grace, substitute=substitute,
    )  # fmt: skip
    bound = last_fleet(growing(policy, allocation_per_month=3.0, months=12))
    is_late = (bound.due_month >= since + 2.0) & of_type(bound, "gpu")
    share = licensed + (1.0 - licensed) * leakage

    assert (bound.gpus >= 0.0).all()
    assert (bound.gpus[is_late] * 1.5 <= 3.0 * share * (1.0 + 1e-9)).all()


@settings(max_examples=15)
@given(since=st.integers(0, 9), stockpile=st.floats(0.0, 12.0), substitute=st.sampled_from([None, "cut"]))
def test_a_ban_never_brings_more_of_the_banned_type_once_the_lead_time_is_over(since, stockpile, substitute):
    date = dt.date(2025, 1 + since, 1)
    policy = control(since=date, announced=START, stockpile_months=stockpile, substitute=substitute)
    bound = last_fleet(growing(policy, months=12))

    assert bound.gpus[(bound.due_month >= since + 2.0) & of_type(bound, "gpu")].sum() == 0.0


# Caps.


def test_a_cap_grows_from_its_first_day_on():
    """90 H100e from March, twice as many a year on; the smaller of two counts."""
    cap = Policy(kind="cap", region="here", since=dt.date(2025, 3, 1), fleet_h100e=90.0, fleet_growth_per_year=2.0)
    other = Policy(kind="cap", region="here", since=dt.date(2025, 12, 1), fleet_h100e=100.0)
    most = [largest_fleet_h100e(with_policies(world(), cap, other), "here", month) for month in (1, 2, 8, 14)]

    assert most == pytest.approx([float("inf"), 90.0, 90.0 * 2.0**0.5, 100.0])


def test_what_is_beyond_a_cap_stands_idle_and_is_not_ordered():
    cap = Policy(kind="cap", region="here", since=dt.date(2025, 6, 1), fleet_h100e=12.0)
    months = baseline(growing(cap))

    assert figure(months, "powered_h100e")[5:] == pytest.approx([12.0] * 9)
    assert figure(months, "installed_h100e")[4] > 12.0
    assert figure(months, "ordered_h100e")[5:] == [0.0] * 9
    assert figure(months, "gpu_hours_per_day")[-1] == pytest.approx(12.0 * 24.0)


@pytest.mark.parametrize("a", [0.5, 1.5])
def test_under_a_cap_the_rebound_is_one_and_the_shock_shows_in_the_rental_price(a):
    """A fleet free to grow but for the cap at what it has: C fixed, R = 1, w1/w0 = g^((a-1)/a)."""
    need = need_of()
    chat = segment(price_elasticity=-a)
    plan = fleet(need / 0.8 / 1.5, orders=orders(1.0, headroom=3.0))
    here = region(plan, scarcity_speed_per_month=0.3, floor_usd_per_gpu_hour=1e-5)
    cap = Policy(kind="cap", region="here", fleet_h100e=need / 0.8)
    arms = arms_of(with_policies(world(chat, gain=10.0, months=260, regions={"here": here}), cap))
    rental = {arm: arms[arm][-1].regions[0].rental_usd_per_gpu_hour for arm in ARMS}

    assert compute_ratio(arms) == pytest.approx(1.0, rel=1e-6)
    assert rebound_of(arms) == pytest.approx(1.0, rel=1e-6)
    assert rental["shock"] / rental["baseline"] == pytest.approx(capped_price_ratio(10.0, a), rel=1e-6)


# Energy and carbon.

POWER = Power(loaded_kw=1.6, idle_kw=0.4)


def test_energy_and_carbon_add_up_by_hand():
    """70 USD/MWh more, and 50 USD/t at 0.4 t/MWh: 90 USD/MWh on 1.6 kW are 0.144 USD an hour."""
    dear = Policy(kind="energy_price", usd_per_mwh=70.0)
    tax = Policy(kind="carbon_tax", usd_per_tonne=50.0, tonnes_per_mwh=0.4, since=dt.date(2025, 2, 1))
    scenario = with_policies(world(), dear, tax)

    assert energy_usd_per_gpu_hour(scenario, "here", 1, POWER) == pytest.approx(0.144)
    assert energy_usd_per_gpu_hour(scenario, "here", 0, POWER) == pytest.approx(0.112)
    assert energy_usd_per_gpu_hour(with_policies(world()), "here", 1, POWER) == 0.0


def test_dear_energy_raises_cost_and_price_from_its_first_day():
    """1.4 kW for 1.5 H100e at a PUE of 1.25: at 300 USD/MWh 0.35 USD on a rental price of 2.5."""
    dear = Policy(kind="energy_price", usd_per_mwh=300.0, since=dt.date(2025, 2, 1))
    months = baseline(with_policies(world(regions={"here": region(fleet(40.0))}), dear))
    price = [month.segment("chat", "here").price_usd_per_mtok for month in months]

    assert figure(months, "rental_usd_per_gpu_hour") == pytest.approx([2.5, 2.85, 2.85, 2.85])
    assert price == pytest.approx([8.0, 8.0 * 1.14, 8.0 * 1.14, 8.0 * 1.14])


def test_energy_that_is_paid_for_using_it_makes_compute_free_and_no_more():
    gift = Policy(kind="energy_price", usd_per_mwh=-9000.0, since=dt.date(2025, 2, 1))
    months = baseline(with_policies(world(budget(), regions={"here": region(fleet(40.0))}), gift))

    assert figure(months, "rental_usd_per_gpu_hour") == pytest.approx([2.5, 0.0, 0.0, 0.0], abs=1e-9)
    assert all(np.isfinite(figure(months, "gpu_hours_per_day")))


def test_demand_and_supply_share_an_energy_tax():
    """At rest K (w/w0)^sigma meets C ((w + tau)/w0)^-a, w being what the owners keep."""
    a, sigma, need = 1.3, 0.5, need_of()
    short_lived = Gpu(h100e=1.5, power_kw=1.4, idle_power_kw=0.35, price_usd=27_000.0, life_months=20.0)
    plan = fleet(need / 0.8 / 1.5, orders=orders(1.0, supply_elasticity=sigma))
    here = region(plan, scarcity_speed_per_month=0.2)
    dear = Policy(kind="energy_price", usd_per_mwh=900.0)
    taxed = world(gain=1.0, months=150, regions={"here": here}, gpu=short_lived)
    last = baseline(taxed.model_copy(update={"policies": {"dear": dear}}))[-1].regions[0]
    paid, kept = last.rental_usd_per_gpu_hour, last.rental_usd_per_gpu_hour - 0.9 * 1.4 * 1.25 / 1.5

    assert 2.5 < paid < 2.5 + 0.9 * 1.4 * 1.25 / 1.5
    assert (kept / 2.5) ** sigma == pytest.approx((paid / 2.5) ** -a, rel=1e-6)
    assert last.installed_h100e == pytest.approx(need / 0.8 * (kept / 2.5) ** sigma, rel=1e-6)


# Subsidies.


def test_what_is_left_after_two_subsidies_is_subsidised_in_parts():
    """A fifth, and a quarter of the rest, for chat; for code the fifth alone."""
    broad = Policy(kind="subsidy", share=0.2)
    narrow = Policy(kind="subsidy", share=0.25, segment="chat")
    scenario = with_policies(world(segment(), segment()), broad, narrow)

    assert subsidised_share(scenario, "price", "chat", "here", 0) == pytest.approx(0.4)
    assert subsidised_share(scenario, "price", "code", "here", 0) == pytest.approx(0.2)
    assert subsidised_share(scenario, "rental", "chat", "here", 0) == 0.0


def test_a_subsidy_of_the_price_is_a_cheaper_price_to_users_and_not_to_providers():
    """A quarter off: usage up by 0.75^-1.3; the list price stays."""
    policy = Policy(kind="subsidy", share=0.25, since=dt.date(2025, 2, 1))
    first, later = (month.segment("chat", "here") for month in baseline(with_policies(world(), policy))[:2])

    assert later.price_usd_per_mtok == first.price_usd_per_mtok == pytest.approx(8.0)
    assert later.full_price_usd_per_mtok == pytest.approx(6.0)
    assert later.tokens_per_day / first.tokens_per_day == pytest.approx(0.75**-1.3)


def test_users_lengthen_tasks_by_the_price_they_pay():
    """A quarter off at an elasticity of -0.2: tasks 0.75^-0.2 as long."""
    policy = Policy(kind="subsidy", share=0.25, since=dt.date(2025, 2, 1))
    later = baseline(with_policies(world(segment(tokens_per_task_elasticity=-0.2)), policy))[1]

    assert later.segment("chat", "here").tokens_per_task == pytest.approx(0.75**-0.2)


def test_a_subsidy_of_compute_is_a_lower_cost_to_those_who_get_it():
    """A fifth of the rental price of `code`: its unit cost and price fall by it, and `chat` does not notice."""
    policy = Policy(kind="subsidy", of="rental", share=0.2, segment="code", since=dt.date(2025, 2, 1))
    month = baseline(with_policies(world(segment(), segment()), policy))[1]

    assert month.segment("code", "here").price_usd_per_mtok == pytest.approx(6.4)
    assert month.segment("chat", "here").price_usd_per_mtok == pytest.approx(8.0)
    assert month.regions[0].rental_usd_per_gpu_hour == 2.5


def test_a_budget_with_half_its_compute_paid_buys_twice_as_much():
    policy = Policy(kind="subsidy", of="rental", share=0.5, segment="chat", since=dt.date(2025, 2, 1))
    first, later = baseline(with_policies(world(budget()), policy))[:2]

    assert later.regions[0].gpu_hours_per_day == pytest.approx(2.0 * first.regions[0].gpu_hours_per_day)


# Innovation under scarcity.


def induced(before: float, rental: float, shortage: float = 0.0, **changes: Any) -> float:
    """What is induced in a month."""
    policy = Policy(kind="directed_innovation", region="here", **{"omega": 0.5, "adjustment_months": 4.0, **changes})
    scenario = with_policies(world(), policy)
    return float(induced_gain(scenario, "here", 2, before, relative_rental=rental, log_shortage=shortage))


def test_innovation_goes_part_of_the_way_to_what_scarcity_asks_for():
    """Rental price twice its trend, need 1.5 times the fleet: 0.5 ln 3, of which 1 - e^(-1/4) in a month."""
    asked = 0.5 * log(3.0)

    assert induced(0.0, 2.0, log(1.5)) == pytest.approx(asked * (1.0 - exp(-0.25)))
    assert induced(0.1, 2.0, log(1.5)) == pytest.approx(asked + (0.1 - asked) * exp(-0.25))
    assert induced(0.0, 2.0, log(1.5), adjustment_months=0.0) == pytest.approx(asked)


def test_what_was_learnt_is_not_lost_and_a_glut_teaches_nothing():
    assert induced(0.3, 1.0) == 0.3
    assert induced(0.0, 0.5) == 0.0


def scarce(omega: float, months: int = 200, **changes: Any) -> Scenario:
    """A need of twice the norm of a fleet that cannot grow, and innovation that answers it at once."""
    half = fleet(0.5 * need_of() / 0.8 / 1.5, orders=orders(1.0, supply_elasticity=0.0))
    full = region(half, scarcity_speed_per_month=0.1, floor_usd_per_gpu_hour=1e-5)
    policy = Policy(kind="directed_innovation", region="here", omega=omega, adjustment_months=6.0)
    return with_policies(world(months=months, gain=1.0, regions={"here": full}, **changes), policy)


def test_scarcity_makes_its_own_remedy():
    """At rest a fall of k by lambda^omega and a rise of the rental price by lambda halve a need that grows twofold.

    C = 2 k^(1-a) w^-a: 2 lambda^(omega (a - 1) - a) = 1.
    """
    months = baseline(scarce(0.4))
    rise = 2.0 ** (1.0 / (1.3 - 0.4 * 0.3))

    assert figure(months, "rental_usd_per_gpu_hour")[-1] / 2.5 == pytest.approx(rise, rel=0.02)
    assert months[-1].segment("chat", "here").gpu_seconds_per_mtok == pytest.approx(245.0 * rise**-0.4, rel=0.02)


def test_the_frozen_arm_has_the_innovation_of_the_baseline_whose_usage_it_has():
    arms = arms_of(scarce(0.4, months=12).replace({"shock.efficiency_gain": 5.0}))
    gains = {arm: [month.regions[0].log_induced_gain for month in arms[arm]] for arm in ARMS}

    assert gains["frozen"] == gains["baseline"]
    assert gains["shock"][-1] > 1.1 * gains["baseline"][-1]
    assert [
        frozen.segment("chat", "here").gpu_seconds_per_mtok * 5.0 for frozen in arms["frozen"][2:]
    ] == pytest.approx([month.segment("chat", "here").gpu_seconds_per_mtok for month in arms["baseline"][2:]])


# What a policy may say.


@pytest.mark.parametrize(
    ("changes", "key", "rule"),
    [
        ({"kind": "cap", "region": "here"}, "fleet_h100e", "is needed for kind 'cap'"),
        ({"kind": "cap", "region": "here", "fleet_h100e": 3.0, "share": 0.1}, "share", "is not a field of kind 'cap'"),
        ({"kind": "cap", "fleet_h100e": 3.0}, "region", "is needed for kind 'cap'"),
        ({"kind": "export_control", "region": "hree", "type": "gpu"}, "region", "there is no 'hree' in [regions]"),
        ({"kind": "export_control", "region": "here", "type": "gpx"}, "type", "there is no 'gpx' in [gpus]"),
        (
            {"kind": "export_control", "region": "here", "type": "gpu", "substitute": "gpu"},
            "substitute",
            "must be another type",
        ),
        (
            {"kind": "export_control", "region": "here", "type": "gpu", "stockpile_months": 3.0},
            "announced",
            "is needed with stockpile_months",
        ),
        (
            {"kind": "export_control", "region": "here", "type": "gpu", "announced": START},
            "announced",
            "must be at most since",
        ),
        ({"kind": "subsidy", "share": 0.1, "since": START, "until": START}, "until", "must be after since"),
        ({"kind": "subsidy", "share": 0.1, "segment": "chat"}, "segment", "must be metered"),
        ({"kind": "subsidy", "share": 0.1, "segment": "chta"}, "segment", "there is no 'chta' in [segments]"),
        ({"kind": "energy_price", "usd_per_mwh": 9.0, "region": "free"}, "region", "must be a region with a fleet"),
        ({"kind": "energy_price", "usd_per_mwh": 9.0}, "region", "must be a region with a fleet"),
        (
            {"kind": "cap", "region": "here", "fleet_h100e": 3.0, "fleet_growth_per_year": 1e-3},
            "fleet_growth_per_year",
            "must not move the cap by more",
        ),
        ({"kind": "subsidy", "share": 1.0}, "share", "below 1"),
        ({"kind": "tariff"}, "kind", "must be"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(changes, key, rule):
    with pytest.raises(ScenarioError) as refused:
        two_regions().replace({"policies.one": changes})

    assert f"policies.one.{key}" in str(refused.value)
    assert rule in str(refused.value)


def two_regions() -> Scenario:
    """A flat segment in a region with a fleet and one without, for eight years."""
    chat = segment(tariff="flat", region_share={"here": 0.5, "free": 0.5})
    regions: dict[str, Region] = {"here": region(fleet(5.0)), "free": region()}
    return world(chat, months=96, regions=regions)


def test_two_controls_of_a_type_follow_each_other():
    first = {"kind": "export_control", "region": "here", "type": "gpu", "since": dt.date(2025, 2, 1)}
    ended = {**first, "until": dt.date(2025, 6, 1)}
    then = {**first, "since": dt.date(2025, 6, 1), "licensed_share": 0.5}

    assert len(two_regions().replace({"policies": {"one": ended, "two": then}}).policies) == 2
    with pytest.raises(ScenarioError, match=r"policies\.two\.since.*must begin when 'one'"):
        two_regions().replace({"policies": {"one": first, "two": then}})


def test_a_region_has_one_elasticity_of_innovation():
    one = {"kind": "directed_innovation", "region": "here", "omega": 0.3}

    with pytest.raises(ScenarioError, match=r"policies\.two\.region.*which 'one' gives 'here'"):
        two_regions().replace({"policies": {"one": one, "two": one}})


def test_the_inputs_of_a_policy_may_be_uncertain():
    leakage = {"dist": "uniform", "low": 0.1, "high": 0.5}
    policy = {"kind": "export_control", "region": "here", "type": "gpu", "leakage": leakage}
    scenario = two_regions().replace({"policies.ban": policy})

    assert list(scenario.uncertain) == ["policies.ban.leakage"]
    assert scenario.central().policies["ban"].leakage == pytest.approx(0.3)
