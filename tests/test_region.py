"""The supply side of a region, a month at a time."""

from __future__ import annotations

from math import exp, inf, log

import pytest
from worlds import GPU, fleet, orders, region, world

from jevons.fleet import Order
from jevons.region import RegionSupply
from jevons.scenario import Region, Trend


def supply(here: Region, hardware: float = 1.0) -> RegionSupply:
    """A region's supply."""
    return RegionSupply(world(regions={"here": here}, trend=Trend(hardware_gain_per_year=hardware)), "here")


def closed(one: RegionSupply, **changes):
    """The state after a first month in which nothing was short."""
    fields = {"packing": 0.9, "wanted": 110.0, "allocated": 110.0, "utilisation": 0.8, "peak": 6.0}
    return one.after_month(one.opening(), 0, **{**fields, **changes})


def test_a_region_without_a_fleet_has_no_limit_and_no_power():
    one = supply(region())
    has = one.capacity(one.opening(), 0)

    assert (has.installed_h100e, has.powered_h100e, has.is_limited) == (inf, inf, False)
    assert has.power.energy_mwh(busy_gpu_hours=5.0, idle_gpu_hours=7.0) == 0.0
    assert one.order(closed(one), 0, 0.5) is None
    assert one.on_order_h100e(one.opening()) == 0.0


def test_what_a_region_has_by_hand():
    """40 GPUs of 1.5 H100e, 1.4 kW at 1.25: 70 kW, of which 35 are connected."""
    one = supply(region(fleet(40.0, power_cap_mw=0.035)))
    has = one.capacity(one.opening(), 0)

    assert (has.installed_h100e, has.powered_h100e, has.is_limited) == (pytest.approx(60.0), pytest.approx(30.0), True)
    assert has.power.loaded_kw == pytest.approx(1.4 * 1.25 / 1.5)
    assert has.rental_usd_per_gpu_hour == 2.5


def test_the_rental_price_moves_with_hardware_and_scarcity():
    """A year's 1.6 by the month, and 0.3 x (0.95 - 0.7) in logs."""
    one = supply(region(fleet(40.0), scarcity_speed_per_month=0.3, normal_utilisation=0.7), hardware=1.6)
    rental = closed(one, utilisation=0.95).rental_usd_per_gpu_hour

    assert rental == pytest.approx(2.5 * 1.6 ** (-1 / 12) * exp(0.3 * 0.25))


def test_the_rental_price_does_not_fall_below_the_variable_cost():
    one = supply(region(fleet(40.0), scarcity_speed_per_month=5.0, floor_usd_per_gpu_hour=1.9))

    assert closed(one, utilisation=0.1).rental_usd_per_gpu_hour == 1.9


def test_a_shortage_is_need_over_what_was_given_and_a_surplus_is_none():
    one = supply(region(fleet(40.0)))

    assert closed(one, wanted=150.0, allocated=120.0).log_shortage == pytest.approx(log(1.25))
    assert closed(one, wanted=90.0, allocated=120.0).log_shortage == 0.0
    assert closed(one, wanted=90.0, allocated=0.0).log_shortage == 0.0


def test_the_state_remembers_packing_and_peaks():
    one = supply(region(fleet(40.0)))
    state = one.after_month(closed(one), 1, packing=0.6, wanted=1.0, allocated=1.0, utilisation=0.8, peak=7.0)

    assert (state.packing, state.peak_needs_h100e) == (0.6, (6.0, 7.0))


def test_an_order_is_on_its_way_until_it_is_delivered():
    """A peak of 90 at a headroom of 1.1 is 39 more than the 60 there are: 26 GPUs of 1.5."""
    one = supply(region(fleet(40.0, orders=orders(4.0))))
    state = closed(one, peak=90.0)
    order = one.order(state, 0, 0.5)

    assert order == Order(type="gpu", gpus=pytest.approx(26.0), due_month=4.0)
    assert one.order_h100e(order) == pytest.approx(39.0)
    assert one.order_usd(order) == pytest.approx(26.0 * GPU.price_usd)
    assert one.order_h100e(None) == 0.0
    waiting = one.with_order(state, order)
    assert one.on_order_h100e(waiting) == pytest.approx(39.0)
    assert waiting.fleet is not None
    there = one.with_delivery(waiting, waiting.fleet.batches - 1, 4.0)
    assert one.on_order_h100e(there) == 0.0
    assert one.capacity(there, 5).installed_h100e == pytest.approx(99.0, rel=0.05)
