"""The market for compute: the simulation in each limit of section 5 of the model, against its closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from worlds import GPU, arms_of, compute, fleet, orders, region, segment, world

from jevons.model import run_stack
from jevons.randomness import Floats
from jevons.scenario import ARMS, Distribution, Gpu, Scenario
from jevons.theory import (
    capability_threshold,
    capped_price_ratio,
    compute_pull,
    equilibrium_compute_ratio,
    equilibrium_price_ratio,
)
from jevons.units import HOURS_PER_DAY

#: GPUs that retire within the run, so that a fleet can shrink.
SHORT_LIVED = Gpu(h100e=1.5, power_kw=1.4, idle_power_kw=0.35, price_usd=27_000.0, life_months=20.0)
#: Months that leave nothing but rounding of the way to rest, at this speed of it.
TO_REST = 110
SPEED_PER_MONTH = 0.25
NORMAL = 0.8


@dataclass(frozen=True, kw_only=True)
class Case:
    """A market for compute: demand, what the gain is spent on, supply."""

    a: float
    chi: float = 0.0
    psi: float = 0.0
    zeta: float = 0.5
    #: Infinite is a fleet without limit.
    supply: float = inf

    @property
    def pull(self) -> float:
        """B of the model."""
        return compute_pull(self.a, chi=self.chi, psi=self.psi, zeta=self.zeta)

    def compute_ratio(self, gain: float) -> float:
        """Compute with the shock over that without, in closed form."""
        return equilibrium_compute_ratio(gain, self.a, self.pull, self.supply)

    def rental_ratio(self, gain: float) -> float:
        """Rental price with the shock over that without, in closed form."""
        return equilibrium_price_ratio(gain, self.a, self.pull, self.supply)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the simulation makes of some cases, each figure of shape (cases,)."""

    compute_ratio: Floats
    rental_ratio: Floats
    rebound: Floats


def simulated(cases: Sequence[Case], gain: float = 10.0, months: int = TO_REST) -> Outcome:
    """The cases, either all or none of them with a limited fleet, as one stack of worlds, months after the shock."""
    is_limited = cases[0].supply < inf
    stack = run_stack(scenario(is_limited, gain, months).at(inputs(cases, is_limited)), [0] * len(cases), "closed_form")
    last = {arm: stack.arms[arm][-1] for arm in ARMS}
    used = {arm: stack.column(last[arm].consumption_per_day("gpu_hours")) for arm in ARMS}
    rental = {arm: stack.column(last[arm].regions[0].rental_usd_per_gpu_hour) for arm in ARMS}
    return Outcome(
        compute_ratio=used["shock"] / used["baseline"],
        rental_ratio=rental["shock"] / rental["baseline"],
        rebound=(used["shock"] - used["frozen"]) / (used["baseline"] - used["frozen"]),
    )


def scenario(is_limited: bool, gain: float, months: int) -> Scenario:
    """A market at rest when the shock comes, with a distribution wherever a case says a number."""
    any_number = Distribution(dist="uniform", low=0.1, high=0.9)
    chat = segment(price_elasticity=Distribution(dist="uniform", low=-2.0, high=-0.1), capability_elasticity=any_number)
    need = compute(arms_of(world(segment())), "baseline", 0) / HOURS_PER_DAY
    plan = fleet(need / NORMAL / SHORT_LIVED.h100e, orders=orders(1.0, supply_elasticity=any_number))
    # Without the floor the frozen arm, whose usage is held, lets the rental price fall without end.
    limited = region(plan, scarcity_speed_per_month=any_number, normal_utilisation=NORMAL, floor_usd_per_gpu_hour=1e-5)
    shock = {"capability_share": any_number, "capability_yield": any_number}
    regions = {"here": limited if is_limited else region()}
    return world(chat, gain=gain, months=months, shock=shock, gpu=SHORT_LIVED, regions=regions)


def inputs(cases: Sequence[Case], is_limited: bool) -> dict[str, Floats]:
    """The numbers of the cases, by the scenario's keys; prices move so fast that all rest at the same speed."""
    columns = {
        "segments.chat.price_elasticity": [-case.a for case in cases],
        "segments.chat.capability_elasticity": [case.psi for case in cases],
        "shock.capability_share": [case.chi for case in cases],
        "shock.capability_yield": [case.zeta for case in cases],
    }
    if is_limited:
        columns["regions.here.fleet.orders.supply_elasticity"] = [case.supply for case in cases]
        speeds = [SPEED_PER_MONTH / NORMAL / (case.supply + case.a) for case in cases]
        columns["regions.here.rental.scarcity_speed_per_month"] = speeds
    return {key: np.array(column) for key, column in columns.items()}


# The equilibrium of demand and supply.


def test_the_equilibria_of_the_model_page_at_a_gain_of_ten():
    found = simulated([Case(a=1.3, supply=0.5), Case(a=1.3, supply=2.0), Case(a=0.7, supply=0.5)])

    assert found.compute_ratio.tolist() == pytest.approx([1.2115, 1.5199, 0.7499], abs=1e-4)
    assert found.rental_ratio.tolist() == pytest.approx([1.4678, 1.2328, 0.5623], abs=1e-4)


def test_supply_of_any_elasticity_settles_where_the_closed_form_says():
    """g^(sigma B/(sigma + a)) and g^(B/(sigma + a)) with B = a - 1."""
    cases = [Case(a=a, supply=supply) for a in (0.6, 1.0, 1.6) for supply in (0.25, 1.0, 4.0)]
    found = simulated(cases, gain=4.0)

    assert found.compute_ratio.tolist() == pytest.approx([case.compute_ratio(4.0) for case in cases], rel=1e-6)
    assert found.rental_ratio.tolist() == pytest.approx([case.rental_ratio(4.0) for case in cases], rel=1e-6)


def test_a_fleet_without_limit_is_supply_of_infinite_elasticity():
    cases = [Case(a=0.5), Case(a=1.3)]
    found = simulated(cases, months=4)

    assert found.compute_ratio.tolist() == pytest.approx([case.compute_ratio(10.0) for case in cases], rel=1e-12)
    assert found.rental_ratio.tolist() == [1.0, 1.0]


def test_supply_of_no_elasticity_is_a_binding_cap():
    """C fixed, R = 1, and the rental price moves by g^((a-1)/a)."""
    found = simulated([Case(a=a, supply=0.0) for a in (0.5, 1.0, 1.5)])

    assert found.compute_ratio.tolist() == pytest.approx([1.0] * 3, rel=1e-6)
    assert found.rebound.tolist() == pytest.approx([1.0] * 3, rel=1e-6)
    assert found.rental_ratio.tolist() == pytest.approx([0.1, 1.0, 2.154], abs=5e-4)
    assert found.rental_ratio.tolist() == pytest.approx([capped_price_ratio(10.0, a) for a in (0.5, 1.0, 1.5)])


# The sign.

supplies = st.one_of(st.just(0.0), st.floats(0.1, 4.0))
cases = st.builds(
    Case,
    a=st.floats(0.5, 1.8),
    chi=st.floats(0.0, 0.6),
    psi=st.floats(0.0, 2.0),
    zeta=st.floats(0.0, 1.0),
    supply=supplies,
).filter(lambda case: abs(case.pull) > 0.02)


@settings(max_examples=4)
@given(found_cases=st.lists(cases, min_size=12, max_size=12))
@example(found_cases=[Case(a=0.8, chi=0.4, psi=1.2, supply=0.3), Case(a=0.7, supply=0.3), Case(a=1.4, supply=0.0)])
def test_compute_backfires_if_and_only_if_its_pull_is_positive_whatever_supply_is(found_cases):
    """The sign of its rise, or under a cap that of the rental price's, is the sign of B; the size the closed form's."""
    found = simulated(found_cases, gain=3.0)

    assert found.compute_ratio.tolist() == pytest.approx([case.compute_ratio(3.0) for case in found_cases], rel=1e-5)
    assert found.rental_ratio.tolist() == pytest.approx([case.rental_ratio(3.0) for case in found_cases], rel=1e-5)
    is_raised = [case.pull > 0.0 and case.supply > 0.0 for case in found_cases]
    assert (found.compute_ratio > 1.0 + 1e-6).tolist() == is_raised
    assert (found.rental_ratio > 1.0).tolist() == [case.pull > 0.0 for case in found_cases]


@settings(max_examples=20)
@given(found_cases=st.lists(cases, min_size=4, max_size=4))
def test_the_same_sign_holds_without_a_limit_of_the_fleet(found_cases):
    unlimited = [Case(a=case.a, chi=case.chi, psi=case.psi, zeta=case.zeta) for case in found_cases]
    ratios = simulated(unlimited, gain=3.0, months=4).compute_ratio

    assert ratios.tolist() == pytest.approx([3.0**case.pull for case in unlimited], rel=1e-9)


def test_capability_lets_inelastic_demand_backfire_beyond_the_computed_elasticity():
    """psi 1.2, zeta 0.5, chi 0.4: the threshold is a = 0.6, and elasticities around it fall on either side."""
    threshold = capability_threshold(1.2, 0.5, 0.4)
    around = [
        Case(a=threshold + step, chi=0.4, psi=1.2, supply=supply) for supply in (0.5, 2.0) for step in (-0.01, 0.01)
    ]

    assert threshold == pytest.approx(0.6)
    assert (simulated(around).compute_ratio > 1.0).tolist() == [False, True, False, True]


def test_raising_the_capability_share_flips_a_partial_rebound_to_backfire_at_the_computed_threshold():
    """At a = 0.8 with psi zeta = 0.6: (a - 1)(1 - chi) + 0.6 chi = 0 at chi = 1/4; the rebound passes 1 there."""
    rebounds = simulated([Case(a=0.8, chi=chi, psi=1.2) for chi in (0.0, 0.24, 0.26, 0.5)], months=4).rebound.tolist()

    assert capability_threshold(1.2, 0.5, 0.25) == pytest.approx(0.8)
    assert rebounds == sorted(rebounds)
    assert rebounds[0] > 0.0
    assert rebounds[1] < 1.0 < rebounds[2]


# The supply curve.


def test_a_supply_curve_that_moves_out_keeps_pace_with_demand():
    """Both grow by half a year: the rental price stays on its trend, and the fleet grows with its curve."""
    chat = segment(usage_growth_per_year=1.5)
    need = compute(arms_of(world(chat)), "baseline", 0) / HOURS_PER_DAY
    plan = orders(1.0, supply_elasticity=0.5, supply_growth_per_year=1.5)
    here = region(fleet(need / 0.8 / 1.5, growth_before_per_year=1.5, orders=plan), scarcity_speed_per_month=0.2)
    months = arms_of(world(chat, gain=1.0, months=25, regions={"here": here}))["baseline"]

    assert months[-1].regions[0].installed_h100e == pytest.approx(need / 0.8 * 1.5**2, rel=1e-6)
    assert months[-1].regions[0].rental_usd_per_gpu_hour == pytest.approx(2.5, rel=1e-6)


def test_orders_follow_need_unless_a_supply_curve_is_given():
    """A need that grows fourfold moves no order at an elasticity of nought; without the curve the fleet follows."""
    chat = segment(usage_growth_per_year=4.0)
    need = compute(arms_of(world(chat)), "baseline", 0) / HOURS_PER_DAY

    def grown(**changes: float) -> float:
        plan = fleet(need / 0.8 / 1.5, orders=orders(1.0, headroom=1.25, **changes))
        months = arms_of(world(chat, gain=1.0, months=13, regions={"here": region(plan)}))["baseline"]
        return float(months[-1].regions[0].installed_h100e / months[0].regions[0].installed_h100e)

    assert GPU.life_months > 500
    assert grown(supply_elasticity=0.0) == pytest.approx(1.0)
    assert grown() > 3.0


# Supply that emerges from lead times, allocation and power.


def emergent(lead: float = 2.0, allocation: float | None = None, power_cap_mw: float | None = None) -> list[float]:
    """Compute and rental price with the shock over those without, ten months after it, of a fleet that follows need.

    Its buyers do not extrapolate the growth of need, so that it overshoots little.
    """
    chat = segment(price_elasticity=-1.6)
    need = compute(arms_of(world(chat)), "baseline", 0) / HOURS_PER_DAY
    plan = orders(
        lead, headroom=1.0 / NORMAL, rental_response=1.0, largest_growth_per_year=1.0, allocation_per_month=allocation
    )
    stock = fleet(need / NORMAL / 1.5, orders=plan, power_cap_mw=power_cap_mw)
    here = region(stock, scarcity_speed_per_month=0.3, normal_utilisation=NORMAL, floor_usd_per_gpu_hour=1e-4)
    arms = arms_of(world(chat, gain=3.0, months=13, regions={"here": here}))
    shock, baseline = (arms[arm][-1].regions[0] for arm in ("shock", "baseline"))
    return [
        shock.gpu_hours_per_day / baseline.gpu_hours_per_day,
        shock.rental_usd_per_gpu_hour / baseline.rental_usd_per_gpu_hour,
    ]


@pytest.mark.parametrize(
    "tighter",
    [
        [{"lead": 1.0}, {"lead": 5.0}, {"lead": 12.0}],
        [{"allocation": None}, {"allocation": 1.0}, {"allocation": 0.3}],
        [{"power_cap_mw": None}, {"power_cap_mw": 0.03}, {"power_cap_mw": 0.015}],
    ],
    ids=["lead time", "allocation", "power"],
)
def test_what_binds_supply_makes_it_less_elastic(tighter):
    """Of the same rise of demand less is served and more goes into the rental price."""
    served, rental = zip(*(emergent(**limits) for limits in tighter), strict=True)

    assert list(served) == sorted(served, reverse=True)
    assert list(rental) == sorted(rental)
    assert served[0] > 1.1 * served[-1]
    assert rental[-1] > 1.1 * rental[0]
