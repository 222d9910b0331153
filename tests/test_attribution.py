"""The rebound waterfall: the axioms of Shapley's value, and parts that sum to the rebound."""

from __future__ import annotations

import datetime as dt
import math
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import fleet, orders, region, segment, world

import jevons
from jevons.attribution import (
    ENGINEERING,
    VIEWS,
    WINDOWS,
    Split,
    alone_parts,
    last_parts,
    shapley_parts,
    stated_parts,
    waterfall,
)
from jevons.channels import channels_of
from jevons.errors import UsageError
from jevons.randomness import Floats
from jevons.scenario import Scenario

ROOT = Path(__file__).parents[1]
MARKET = ROOT / "tests" / "golden" / "market.toml"

#: Values of every set of up to five players; whole numbers, so that sums of them are exact.
set_functions = st.integers(0, 5).flatmap(
    lambda n: st.lists(st.integers(-(10**6), 10**6), min_size=2**n, max_size=2**n).map(np.array)
)


def players(v: Floats) -> int:
    return int(math.log2(len(v)))


# The parts of a set function.


def test_two_factors_by_hand():
    """From 2: the one trebles, the other doubles; 2, 6, 4, 12 (the sets none, first, second, both)."""
    v = [2.0, 6.0, 4.0, 12.0]

    assert stated_parts(v).tolist() == [4.0, 6.0]
    assert shapley_parts(v).tolist() == [6.0, 4.0]
    assert alone_parts(v).tolist() == [4.0, 2.0]
    assert last_parts(v).tolist() == [8.0, 6.0]


def test_three_factors_by_hand():
    """From 1: times 2, 3 and 5.  The first adds 1, and 2 to 3, 5 to 5, 15 to 15: a third, two sixths, a third."""
    v = [2.0**a * 3.0**b * 5.0**c for c, b, a in product((0, 1), repeat=3)]

    assert stated_parts(v).tolist() == [1.0, 4.0, 24.0]
    assert shapley_parts(v).tolist() == pytest.approx(
        [1 / 3 + (3 + 5) / 6 + 15 / 3, 2 / 3 + (4 + 10) / 6 + 20 / 3, 4 / 3 + (8 + 12) / 6 + 24 / 3], rel=1e-14
    )


def test_the_glove_game():
    """One left glove, two right ones: 2/3, 1/6, 1/6."""
    v = [1.0 if (m & 1) and m >> 1 else 0.0 for m in range(8)]

    assert shapley_parts(v).tolist() == pytest.approx([2 / 3, 1 / 6, 1 / 6], rel=1e-14)


@given(set_functions)
def test_shapley_is_the_mean_over_all_orders(v):
    n = players(v)
    orders = list(permutations(range(n)))
    total = np.zeros(n)
    for order in orders:
        m = 0
        for player in order:
            total[player] += v[m | 1 << player] - v[m]
            m |= 1 << player

    assert shapley_parts(v) == pytest.approx(total / len(orders), rel=1e-12, abs=1e-8)


@given(set_functions)
def test_parts_sum_to_what_all_add_to_none(v):
    """Efficiency."""
    for parts in (stated_parts(v), shapley_parts(v)):
        assert math.fsum(parts) == pytest.approx(v[-1] - v[0], rel=1e-12, abs=1e-8)


@given(set_functions, st.data())
def test_who_adds_nothing_gets_nothing(v, data):
    """Dummy: the values of the sets with the player are put to those without."""
    n = players(v)
    if n == 0:
        return
    player = data.draw(st.integers(0, n - 1))
    dull = np.array([v[m & ~(1 << player)] for m in range(len(v))])

    assert {parts(dull)[player] for parts in (stated_parts, shapley_parts, alone_parts, last_parts)} == {0.0}


@given(set_functions, st.data())
def test_who_add_the_same_get_the_same(v, data):
    """Symmetry: the value depends on how many of two players there are, not on which."""
    n = players(v)
    if n < 2:
        return
    one, other = sorted(data.draw(st.permutations(range(n)))[:2])

    def swapped(m: int) -> int:
        a, b = m >> one & 1, m >> other & 1
        return m & ~(1 << one | 1 << other) | b << one | a << other

    fair = np.array([v[m] + v[swapped(m)] for m in range(len(v))])
    parts = shapley_parts(fair)

    assert parts[one] == pytest.approx(parts[other], rel=1e-12, abs=1e-8)


@given(set_functions, st.integers(-5, 5), st.randoms())
def test_parts_of_a_sum_are_the_sums_of_the_parts(v, factor, random):
    """Additivity."""
    other = np.array([random.randint(-1000, 1000) for _ in v])
    for parts in (stated_parts, shapley_parts, alone_parts, last_parts):
        assert parts(v + factor * other) == pytest.approx(parts(v) + factor * parts(other), rel=1e-12, abs=1e-7)


@given(st.lists(st.integers(-1000, 1000), max_size=5), st.integers(-1000, 1000))
def test_where_players_do_not_work_on_each_other_the_order_does_not_matter(adds, start):
    v = [start + sum(add for i, add in enumerate(adds) if m >> i & 1) for m in range(2 ** len(adds))]

    for parts in (stated_parts, shapley_parts, alone_parts, last_parts):
        assert parts(v) == pytest.approx(adds, rel=1e-12, abs=1e-9)


def test_columns_of_set_functions_are_told_together():
    v = np.array([[2.0, 0.0], [6.0, 1.0], [4.0, 2.0], [12.0, 7.0]])

    assert shapley_parts(v).tolist() == [[6.0, 3.0], [4.0, 4.0]]


@pytest.mark.parametrize("values", [[], [1.0, 2.0, 3.0], 5.0])
def test_values_must_be_of_all_sets(values):
    with pytest.raises(ValueError, match=r"values must be of 1, 2, 4, 8, \.\.\. sets"):
        shapley_parts(values)


# A split.


def split(baseline: float, *values: float) -> Split:
    names = ("price", "capability", "latency")[: int(math.log2(len(values)))]
    return Split(channels=names, baseline=baseline, values=np.array(values))


def test_points_are_hundredths_of_the_potential_saving():
    """Saving 8 of 10; of it 4 and 6 are given back: a rebound of 125 %."""
    told = split(10.0, 2.0, 6.0, 4.0, 12.0)

    assert (told.frozen, told.shock, told.total, told.rebound) == (2.0, 12.0, 2.0, 1.25)
    assert told.parts("stated") == {ENGINEERING: -8.0, "price": 4.0, "capability": 6.0}
    assert told.points("stated") == {ENGINEERING: -100.0, "price": 50.0, "capability": 75.0}
    assert told.points("shapley") == {ENGINEERING: -100.0, "price": 75.0, "capability": 50.0}


def test_where_nothing_is_saved_there_are_parts_and_no_points():
    told = split(2.0, 2.0, 3.0)

    assert told.rebound is None
    assert told.parts("shapley") == {ENGINEERING: 0.0, "price": 1.0}
    assert told.points("shapley") == {}


# Scenarios.


def assert_parts_sum(scenario: Scenario) -> None:
    solved = waterfall(scenario, replications=1)
    for one in solved.centre.values():
        for view in ("stated", "shapley"):
            parts, points = one.parts(view), one.points(view)
            assert math.fsum(parts.values()) == pytest.approx(one.total, rel=1e-9, abs=1e-9 * one.baseline)
            if one.rebound is not None:
                assert points.pop(ENGINEERING) == pytest.approx(-100.0, rel=1e-12)
                assert math.fsum(points.values()) == pytest.approx(100.0 * one.rebound, rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("resource", ["gpu_hours", "energy_mwh", "usd"])
def test_the_parts_of_a_scenario_sum_to_its_rebound(resource):
    assert_parts_sum(jevons.load(MARKET).replace({"run.resource": resource}))


def test_the_parts_of_the_main_scenario_sum_to_its_rebound():
    assert_parts_sum(jevons.load(ROOT / "scenarios" / "deepseek.toml"))


@given(
    a=st.floats(0.2, 2.5), gain=st.floats(1.2, 20.0), chi=st.floats(0.0, 0.9), kappa=st.floats(0.0, 1.0),
    stock=st.floats(5.0, 400.0),
)  # fmt: skip
@settings(max_examples=10)
def test_the_parts_sum_to_the_rebound_whatever_the_inputs(a, gain, chi, kappa, stock):
    here = region(fleet(stock, orders=orders(1.0)), scarcity_speed_per_month=kappa)
    chat = segment(price_elasticity=-a, capability_elasticity=0.8, tokens_per_task_elasticity=-0.1)

    assert_parts_sum(world(chat, gain=gain, months=6, shock={"capability_share": chi}, regions={"here": here}))


def test_price_and_tokens_per_task_multiply():
    """Frozen 1/g of the baseline; times p = g^1.3 for price, times t = g^0.2 for tokens: Shapley ((p-1)(1+t)/2) / g."""
    g, p, t = 7.0, 7.0**1.3, 7.0**0.2
    one = waterfall(world(segment(tokens_per_task_elasticity=-0.2))).centre["horizon"]
    parts = {name: part / one.baseline for name, part in one.parts("shapley").items()}

    assert parts == pytest.approx(
        {ENGINEERING: 1 / g - 1, "price": (p - 1) * (1 + t) / 2 / g, "tokens per task": (t - 1) * (1 + p) / 2 / g},
        rel=1e-12,
    )


@pytest.mark.parametrize("a", [0.6, 1.4])
def test_the_only_channel_has_the_whole_rebound(a):
    """Isoelastic, no queues: (g^a - 1)/(g - 1)."""
    one = waterfall(world(segment(price_elasticity=-a))).centre["horizon"]

    assert {view: one.points(view)["price"] for view in VIEWS} == pytest.approx(
        dict.fromkeys(VIEWS, 100.0 * (7.0**a - 1.0) / 6.0), rel=1e-9
    )


def test_under_a_binding_cap_the_supply_limit_takes_what_price_gives_beyond_full_rebound():
    """Price (g^a - 1)/(g - 1) less the limit is 1, and no one part is negative but the limit's."""
    need = waterfall(world()).centre["horizon"].baseline
    capped = waterfall(world(regions={"here": region(fleet(need / 24.0 / 1.5))})).centre["horizon"]
    price = 100.0 * (7.0**1.3 - 1.0) / 6.0

    assert capped.rebound == pytest.approx(1.0, rel=1e-9)
    assert capped.points("stated") == pytest.approx(
        {ENGINEERING: -100.0, "price": price, "supply limit": 100.0 - price}, rel=1e-9
    )


def test_the_waterfall_ends_where_the_closed_form_of_the_simulation_does():
    scenario = jevons.load(MARKET).replace({"run.draws": 0})
    result = jevons.simulate(scenario, engine="closed_form")
    solved = jevons.waterfall(scenario)

    assert solved.channels == channels_of(scenario.central())
    for arm in ("baseline", "frozen", "shock"):
        ends = [getattr(one, arm) for one in solved.replications["horizon"]]
        assert ends == result.consumption[arm][:, -1].tolist()
        since = 365.25 / 12.0 * result.consumption[arm][:, result.shock_month :].sum(axis=1)
        assert getattr(solved.centre["cumulated"], arm) == pytest.approx(since.mean(), rel=1e-12)
    assert solved.centre["horizon"].rebound == pytest.approx(result.rebound.mean, rel=1e-12)


def test_the_mean_of_replications_has_the_mean_of_their_parts():
    solved = waterfall(jevons.load(MARKET), replications=3)
    each = [one.parts("shapley") for one in solved.replications["horizon"]]

    assert len({one["price"] for one in each}) == 3
    assert solved.centre["horizon"].parts("shapley") == pytest.approx(
        {name: sum(one[name] for one in each) / 3 for name in each[0]}, rel=1e-9, abs=1e-9
    )


def test_replications_are_the_scenarios_but_no_more_than_are_cheap():
    scenario = world(run={"replications": 40})

    assert len(waterfall(scenario).replications["horizon"]) == 8
    assert len(waterfall(scenario, replications=9).replications["horizon"]) == 9


def test_draws_are_those_of_the_simulation_and_leave_the_centre_where_it_is():
    scenario = jevons.load(MARKET).replace({"run.draws": 3})
    drawn = jevons.simulate(scenario, engine="closed_form").draws
    solved = waterfall(scenario, draws=3)
    without = waterfall(scenario)

    assert drawn is not None
    assert [one.shock for one in solved.draws["horizon"]] == drawn.consumption["shock"][:, -1].tolist()
    for window in WINDOWS:
        assert solved.centre[window].values.tolist() == without.centre[window].values.tolist()
        assert solved.drawn_points(window, "shapley")["price"].samples == 3
        assert without.drawn_points(window, "shapley") == {}


def test_draws_may_take_several_stacks(monkeypatch):
    scenario = jevons.load(MARKET)
    whole = waterfall(scenario, draws=3)
    monkeypatch.setattr("jevons.attribution.WORLDS_PER_STACK", 1)

    parted = waterfall(scenario, draws=3)
    assert [one.values.tolist() for one in parted.draws["horizon"]] == [
        one.values.tolist() for one in whole.draws["horizon"]
    ]


def test_a_scenario_in_which_nothing_is_uncertain_has_no_draws():
    assert waterfall(world(), draws=5).draws == {"horizon": [], "cumulated": []}


def test_what_cannot_be_told_is_refused():
    with pytest.raises(UsageError, match="of kind day has no shock"):
        waterfall(jevons.load(ROOT / "scenarios" / "deepseek_day.toml"))
    with pytest.raises(UsageError, match="draws must be at least 0, not -1"):
        waterfall(world(), draws=-1)
    with pytest.raises(UsageError, match="replications must be at least 1, not 0"):
        waterfall(world(), replications=0)
    with pytest.raises(UsageError, match="no month of the run begins after the shock"):
        waterfall(world(months=2, shock={"date": dt.date(2025, 2, 10)}))
