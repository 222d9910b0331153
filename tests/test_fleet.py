"""Stock, orders, deliveries and power of a fleet: by hand, and the delay law."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.fleet import (
    Fleet,
    Order,
    allocation_h100e_per_month,
    forecast_growth_per_month,
    lead_time_months,
    on_order_h100e,
    opening_fleet,
    order_gap_h100e,
    order_of_month,
    power_of,
    powered_share,
    site_power_kw,
    stock_h100e,
)
from jevons.randomness import Draws
from jevons.scenario import Gpu, LeadTime, Orders, RegionFleet

GPUS = {
    "big": Gpu(h100e=2.0, power_kw=1.6, idle_power_kw=0.4, price_usd=40_000.0, life_months=50.0),
    "small": Gpu(h100e=0.25, power_kw=0.9, idle_power_kw=0.3, price_usd=13_000.0, life_months=36.0),
}
DRAWS = Draws(seed=3, replication=0)
#: 100 big ones until month 7, 30 small ones until month 12: 200 and 7.5 H100e.
MIXED = Fleet(
    types=("big", "small"),
    gpus=np.array([100.0, 30.0]),
    due_month=np.zeros(2),
    retires_month=np.array([7.0, 12.0]),
    is_installed=np.array([True, True]),
)
NOTHING = Fleet(
    types=(), gpus=np.empty(0), due_month=np.empty(0), retires_month=np.empty(0), is_installed=np.empty(0, dtype=bool)
)


def orders(**changes) -> Orders:
    """Orders of big ones that take five months."""
    return Orders(**{"type": "big", "lead_time": LeadTime(mean_months=5.0), **changes})


def plan(**changes) -> RegionFleet:
    """A region with a hundred big ones."""
    return RegionFleet(**{"stock": {"big": 100.0}, "pue": 1.25, **changes})


# Stock.


def test_stock_and_retirement_by_hand():
    """A vintage is there until the month in which it retires, and not in it."""
    assert [stock_h100e(MIXED, GPUS, month) for month in (0, 6.5, 7, 11.5, 12)] == [207.5, 207.5, 7.5, 7.5, 0.0]


def test_a_delivery_joins_the_stock_and_leaves_the_order_book():
    order = Order(type="small", gpus=8.0, due_month=4.0)
    other = Order(type="big", gpus=3.0, due_month=6.0)
    after = MIXED.with_order(order, GPUS).with_order(other, GPUS).with_delivery(2, 4.0)

    assert after.is_installed.tolist() == [True, True, True, False]
    assert (after.types[2], after.gpus[2], after.retires_month[2]) == ("small", 8.0, 40.0)
    assert on_order_h100e(after, GPUS) == 6.0
    assert stock_h100e(after, GPUS, 0) == 207.5 + 2.0


def test_of_two_orders_alike_one_delivery_takes_one():
    order = Order(type="big", gpus=3.0, due_month=6.0)
    after = NOTHING.with_order(order, GPUS).with_order(order, GPUS).with_delivery(0, 6.0)

    assert after.is_installed.tolist() == [True, False]


def test_each_world_has_its_own_orders_and_gets_them_when_they_are_due():
    """10 and 20 big ones due in months 4 and 5, and a third world that orders none."""
    order = Order(type="big", gpus=np.array([10.0, 20.0, 0.0]), due_month=np.array([4.0, 5.0, 6.0]))
    ordered = MIXED.with_order(order, GPUS)
    delivered = ordered.with_delivery(2, 4.0)

    assert ordered.awaited(2) == [4.0, 5.0]
    assert delivered.awaited(2) == [5.0]
    assert stock_h100e(delivered, GPUS, 4).tolist() == [227.5, 207.5, 207.5]
    assert on_order_h100e(delivered, GPUS).tolist() == [0.0, 40.0, 0.0]


@given(st.floats(0.2, 20.0), st.floats(0.0, 1e6))
def test_the_opening_stock_is_what_is_given_however_it_grew(growth, count):
    fleet = opening_fleet(plan(stock={"small": count}, growth_before_per_year=growth), GPUS)

    assert stock_h100e(fleet, GPUS, 0) == pytest.approx(0.25 * count)


def test_a_stock_that_did_not_grow_retires_evenly_over_its_life():
    """Twenty vintages of 50 months: half of it is gone after 25."""
    fleet = opening_fleet(plan(), GPUS)

    assert [stock_h100e(fleet, GPUS, month) for month in (1.25, 25.0, 48.75)] == pytest.approx([190.0, 100.0, 0.0])


def test_the_older_vintages_of_a_growing_stock_are_smaller():
    """At 3-fold a year, each vintage of 2.5 months is 3^(2.5/12) of the one before it."""
    fleet = opening_fleet(plan(growth_before_per_year=3.0), GPUS)
    counts = fleet.gpus[np.argsort(fleet.retires_month)].tolist()

    assert [newer / older for older, newer in pairwise(counts)] == pytest.approx([3.0 ** (2.5 / 12.0)] * 19)


@given(growth=st.floats(1.0, 6.0), lead=st.integers(1, 12))
def test_the_opening_orders_keep_the_growth_through_the_lead_time(growth, lead):
    """Retirements are replaced too."""
    ordered = plan(growth_before_per_year=growth, orders=orders(lead_time=LeadTime(mean_months=float(lead))))
    fleet = opening_fleet(ordered, GPUS)
    stocks = []
    for month in range(lead + 1):
        # Deliveries fall half-way between two months.
        for batch in range(20, fleet.batches):
            fleet = fleet.with_delivery(batch, month - 0.5)
        stocks.append(stock_h100e(fleet, GPUS, month))

    assert stocks == pytest.approx([200.0 * growth ** (month / 12.0) for month in range(lead + 1)])
    assert fleet.is_installed.all()


def test_without_orders_nothing_is_on_order():
    assert opening_fleet(plan(growth_before_per_year=3.0), GPUS).is_installed.all()


# Power.


def test_power_of_a_mixed_stock_by_hand():
    """100 x 1.6 + 30 x 0.9 = 187 kW and 100 x 0.4 + 30 x 0.3 = 49 kW, times 1.25, over 207.5 H100e."""
    power = power_of(MIXED, plan(), GPUS, 0)

    assert site_power_kw(MIXED, plan(), GPUS, 0) == pytest.approx(187.0 * 1.25)
    assert power.loaded_kw == pytest.approx(187.0 * 1.25 / 207.5)
    assert power.idle_kw == pytest.approx(49.0 * 1.25 / 207.5)
    assert power.energy_mwh(busy_gpu_hours=2075.0, idle_gpu_hours=415.0) == pytest.approx((1870.0 + 98.0) * 1.25 / 1e3)


def test_power_counts_what_has_not_retired():
    assert power_of(MIXED, plan(), GPUS, 8).loaded_kw == pytest.approx(1.25 * 0.9 / 0.25)
    assert power_of(MIXED, plan(), GPUS, 20).loaded_kw == 0.0


def test_a_power_cap_switches_off_the_rest():
    """0.1 MW of 233.75 kW."""
    assert powered_share(MIXED, plan(power_cap_mw=0.1), GPUS, 0) == pytest.approx(100.0 / 233.75)
    assert powered_share(MIXED, plan(power_cap_mw=1.1), GPUS, 0) == 1.0
    assert powered_share(MIXED, plan(), GPUS, 0) == 1.0
    assert powered_share(MIXED, plan(power_cap_mw=0.1), GPUS, 20) == 1.0


# Forecast.


def test_the_forecast_carries_on_the_growth_that_was_measured():
    """From 10 to 14 over two months."""
    growth = forecast_growth_per_month([3.0, 10.0, 11.0, 14.0], orders(forecast_months=2), 1.0)

    assert growth == pytest.approx(log(14.0 / 10.0) / 2.0)


def test_before_there_is_enough_to_measure_the_past_growth_stands_in():
    """One month of ln(12/10), and three of those before at 2.5-fold a year, over four."""
    growth = forecast_growth_per_month([10.0, 12.0], orders(forecast_months=4), 2.5)

    assert growth == pytest.approx((log(1.2) + 3.0 * log(2.5) / 12.0) / 4.0)


def test_no_forecast_grows_faster_than_the_limit():
    limited = orders(forecast_months=1, largest_growth_per_year=5.0)

    assert forecast_growth_per_month([1.0, 100.0], limited, 1.0) == pytest.approx(log(5.0) / 12.0)


def test_a_need_of_nothing_is_forecast_to_stay():
    assert forecast_growth_per_month([0.0, 5.0], orders(forecast_months=1), 3.0) == 0.0
    assert forecast_growth_per_month([5.0, 0.0], orders(forecast_months=1), 3.0) == 0.0


# Orders.


def order(fleet: Fleet = MIXED, needs: tuple[float, ...] = (300.0,), month: float = 1.0, **changes) -> Order | None:
    """What is ordered in a month."""
    buyer = plan(orders=orders(**changes))
    return order_of_month(fleet, buyer, GPUS, month=month, peak_needs=needs, luck=0.5)


def test_an_order_by_hand():
    """In month 1 for month 6: 1.2 x 300 - 207.5 - 0.7 x 20 = 138.5 H100e, 40 % of it, in GPUs of 2."""
    fleet = MIXED.with_order(Order(type="big", gpus=10.0, due_month=2.0), GPUS)
    placed = order(fleet, headroom=1.2, supply_line_weight=0.7, adjustment_per_month=0.4)

    assert placed is not None
    assert (placed.type, placed.due_month) == ("big", 6.0)
    assert placed.gpus == pytest.approx(0.4 * 138.5 / 2.0)


def test_an_order_answers_the_rental_price():
    """Rental 1.5 times its trend at a response of 2: the target of 360 becomes 2.25 x 360 = 810, less 207.5."""
    buyer = plan(orders=orders(headroom=1.2, rental_response=2.0))
    placed = order_of_month(MIXED, buyer, GPUS, month=1.0, peak_needs=(300.0,), relative_rental=1.5, luck=0.5)

    assert placed is not None
    assert placed.gpus == pytest.approx((810.0 - 207.5) / 2.0)


def test_an_order_foresees_what_retires_until_it_comes():
    """In month 2 for month 7, when only 7.5 H100e are left."""
    placed = order(month=2.0, headroom=1.2)

    assert placed is not None
    assert placed.gpus == pytest.approx((360.0 - 7.5) / 2.0)


def test_an_order_foresees_the_growth_until_it_comes():
    """A need that rises 4 % a month, five months on."""
    placed = order(needs=(300.0, 312.0), headroom=1.2, forecast_months=1)

    assert placed is not None
    assert placed.gpus == pytest.approx((1.2 * 312.0 * 1.04**5 - 207.5) / 2.0)


def test_whoever_has_enough_orders_nothing():
    placed = order(needs=(150.0,))

    assert placed is not None
    assert placed.gpus == 0.0


def test_a_region_without_orders_never_orders():
    assert order_of_month(MIXED, plan(), GPUS, month=1.0, peak_needs=(1e6,), luck=0.5) is None


def test_an_allocation_of_nothing_is_an_export_ban():
    placed = order(allocation_per_month=0.0)

    assert placed is not None
    assert placed.gpus == 0.0


def test_the_allocation_grows_by_the_year():
    """30 H100e, twice as many a year: in month 6 30 x 2^0.5."""
    limited = orders(allocation_per_month=30.0, allocation_growth_per_year=2.0)

    assert allocation_h100e_per_month(limited, 6.0) == pytest.approx(30.0 * sqrt(2.0))
    assert allocation_h100e_per_month(orders(), 6.0) == float("inf")
    placed = order(allocation_per_month=30.0, allocation_growth_per_year=2.0)
    assert placed is not None
    assert placed.gpus == pytest.approx(30.0 * 2.0 ** (1.0 / 12.0) / 2.0)


# Lead time.


def test_a_lead_time_without_spread_is_its_mean():
    assert lead_time_months(LeadTime(mean_months=7.5), 0.3) == 7.5


@pytest.mark.parametrize("cv", [0.3, 0.6, 1.0])
def test_lead_times_have_the_mean_and_spread_they_are_given(cv):
    """4,000 draws: the mean within 3.9 standard errors and 0.2 % of the approximation, the spread within 8 %."""
    n = 4000
    months = lead_time_months(LeadTime(mean_months=6.0, cv=cv), DRAWS.uniform("lead time", n))
    mean = months.mean()
    spread = months.std(ddof=1) / mean

    assert mean == pytest.approx(6.0, abs=6.0 * (3.9 * cv / sqrt(n) + 0.002))
    assert spread == pytest.approx(cv, rel=0.08)
    assert months.min() >= 0.0


# The delay law.

STEPS_PER_MONTH = 200


def gap_path(kappa: float, lead_months: float, months: int, remembered: float = 0.0) -> list[float]:
    """Stock that starts at nought and is ordered up to 1, negative orders allowed, in fine steps."""
    delay = round(lead_months * STEPS_PER_MONTH)
    path, pipeline = [0.0], [0.0] * delay
    for _ in range(months * STEPS_PER_MONTH):
        placed = (
            order_gap_h100e(
                target=1.0,
                stock=path[-1],
                on_order=sum(pipeline) if remembered else 0.0,
                supply_line_weight=remembered,
                adjustment_per_month=kappa,
            )
            / STEPS_PER_MONTH
        )
        pipeline.append(placed)
        path.append(path[-1] + pipeline.pop(0))
    return path


def swings(path: list[float]) -> list[float]:
    """Largest distances from 1 between the times at which the path crosses it."""
    found, largest = [], 0.0
    for now, then in pairwise(path):
        largest = max(largest, abs(now - 1.0))
        if (now - 1.0) * (then - 1.0) < 0:
            found.append(largest)
            largest = 0.0
    return found


def test_below_one_over_e_the_stock_closes_in_from_one_side():
    """kappa L = 0.3 (model, section 6)."""
    path = gap_path(0.3, 1.0, 40)

    assert all(now <= then for now, then in pairwise(path))
    assert path[-1] == pytest.approx(1.0, abs=1e-3)
    assert path[-1] < 1.0


def test_above_one_over_e_it_overshoots_and_settles():
    """kappa L = 0.4: just enough to see."""
    path = gap_path(0.4, 1.0, 60)

    assert 1e-4 < max(path) - 1.0 < 0.05
    assert path[-1] == pytest.approx(1.0, abs=1e-4)


def test_above_half_of_pi_every_swing_is_larger_than_the_one_before():
    """kappa L = 1.7 diverges, 1.4 does not; only their product counts."""
    for kappa, lead in ((1.7, 1.0), (0.85, 2.0)):
        found = swings(gap_path(kappa, lead, 60))
        assert len(found) > 5
        assert all(later > earlier for earlier, later in pairwise(found[1:]))
    calm = swings(gap_path(1.4, 1.0, 60))
    assert pi / 2 > 1.4
    assert all(later < earlier for earlier, later in pairwise(calm[1:]))


def test_who_remembers_the_supply_line_never_overshoots():
    """With s = 1 stock and orders together close in on the target, whatever the delay: 1 - e^(-kappa (t - L))."""
    path = gap_path(1.0, 2.0, 9, remembered=1.0)

    assert max(path) <= 1.0 + 1e-12
    assert path[5 * STEPS_PER_MONTH] == pytest.approx(1.0 - exp(-3.0), abs=0.01)
