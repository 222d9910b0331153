"""The supply side of a region: its fleet, what of it is powered, its rental market, its orders.

Sections 5 and 6 of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from jevons.finance.monthly import USUAL_TERMS, Terms
from jevons.fleet import (
    Fleet,
    Order,
    Power,
    on_order_h100e,
    opening_fleet,
    order_of_month,
    power_of,
    powered_share,
    stock_h100e,
)
from jevons.months import RegionMonth
from jevons.policy import (
    energy_usd_per_gpu_hour,
    induced_gain,
    largest_fleet_h100e,
    let_through,
    rush,
    subsidised_share,
    without_cancelled,
)
from jevons.pricing import LARGEST_RENTAL, next_rental_usd_per_gpu_hour, rental_trend
from jevons.scenario import Scenario
from jevons.stacks import PerWorld, every, larger, log, ratio, smaller
from jevons.units import HOURS_PER_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionState:
    """What a region carries from month to month."""

    rental_usd_per_gpu_hour: PerWorld
    #: None for a fleet without limit.
    fleet: Fleet | None
    #: Share of the GPU-hours switched on that perfectly packed work would need.
    packing: PerWorld = 1.0
    #: GPU-hours wanted over those allocated, in logs.
    log_shortage: PerWorld = 0.0
    peak_needs_h100e: tuple[PerWorld, ...] = ()
    #: What it meets when it orders, as vendor and lenders left it in the month before.
    terms: Terms = USUAL_TERMS
    #: Efficiency that scarcity has induced so far, in logs.
    log_induced_gain: PerWorld = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a region has for a month, from its first day: deliveries of the month serve from the next."""

    #: H100-equivalents; inf is a fleet without limit.
    installed_h100e: PerWorld
    powered_h100e: PerWorld
    power: Power
    rental_usd_per_gpu_hour: PerWorld

    @property
    def is_limited(self) -> bool:
        """Whether there is a fleet that can be short."""
        return every(self.powered_h100e < inf)


class RegionSupply:
    """The plans of a region, applied to its state."""

    def __init__(self, scenario: Scenario, name: str) -> None:
        self.scenario = scenario
        self.name = name
        self.gpus = scenario.gpus
        self.rental = scenario.regions[name].rental
        self.plan = scenario.regions[name].fleet

    @property
    def orders_gpus(self) -> bool:
        """Whether the region orders at all."""
        return self.plan is not None and self.plan.orders is not None

    @property
    def type_ordered(self) -> str:
        """Type of GPU that it orders, empty if it orders none."""
        return "" if self.plan is None or self.plan.orders is None else self.plan.orders.type

    def opening(self) -> RegionState:
        """The state before the first month."""
        fleet = None if self.plan is None else opening_fleet(self.plan, self.gpus)
        return RegionState(rental_usd_per_gpu_hour=rental_trend(self.scenario, self.name, 0), fleet=fleet)

    def capacity(self, state: RegionState, month: int) -> Capacity:
        """What the region has for a month."""
        return Capacity(
            installed_h100e=inf if state.fleet is None else stock_h100e(state.fleet, self.gpus, month),
            powered_h100e=self.available_h100e(state, month),
            power=self.power(state, month),
            rental_usd_per_gpu_hour=self.asked_usd_per_gpu_hour(state, month),
        )

    def asked_usd_per_gpu_hour(self, state: RegionState, month: int) -> PerWorld:
        """Rental price with what policy adds to the running cost, never below what a rental price may be."""
        if not self.scenario.policies:
            return state.rental_usd_per_gpu_hour
        added = energy_usd_per_gpu_hour(self.scenario, self.name, month, self.power(state, month))
        return larger(state.rental_usd_per_gpu_hour + added, 1.0 / LARGEST_RENTAL)

    def paid_usd_per_gpu_hour(self, state: RegionState, month: int, segment: str) -> PerWorld:
        """What those who serve a segment pay of it, the public purse the rest."""
        subsidised = subsidised_share(self.scenario, "rental", segment, self.name, month)
        return self.asked_usd_per_gpu_hour(state, month) * (1.0 - subsidised)

    def available_h100e(self, state: RegionState, month: int) -> PerWorld:
        """GPUs that are installed and powered, and may run; inf where the region has no fleet."""
        if state.fleet is None or self.plan is None:
            return inf
        powered = powered_share(state.fleet, self.plan, self.gpus, month)
        most = largest_fleet_h100e(self.scenario, self.name, month)
        return smaller(stock_h100e(state.fleet, self.gpus, month) * powered, most)

    def power(self, state: RegionState, month: int) -> Power:
        """Power for each H100-equivalent; none where no fleet says what a GPU draws."""
        if state.fleet is None or self.plan is None:
            return Power(loaded_kw=0.0, idle_kw=0.0)
        return power_of(state.fleet, self.plan, self.gpus, month)

    def on_order_h100e(self, state: RegionState) -> PerWorld:
        """GPUs on order."""
        return 0.0 if state.fleet is None else on_order_h100e(state.fleet, self.gpus)

    def after_month(
        self,
        state: RegionState,
        month: int,
        *,
        packing: PerWorld,
        wanted: PerWorld,
        allocated: PerWorld,
        utilisation: PerWorld,
        peak: PerWorld,
    ) -> RegionState:
        """The state that the next month finds: what was packed, what was short, where the rental price moves."""
        log_shortage = log(larger(ratio(wanted, allocated, otherwise=1.0), 1.0))
        rental = self._next_rental(state, month, utilisation)
        fleet = state.fleet
        return replace(
            state,
            packing=packing,
            log_shortage=log_shortage,
            peak_needs_h100e=(*state.peak_needs_h100e, peak),
            rental_usd_per_gpu_hour=rental,
            fleet=None if fleet is None else without_cancelled(self.scenario, self.name, month, fleet),
            log_induced_gain=induced_gain(
                self.scenario,
                self.name,
                month,
                state.log_induced_gain,
                relative_rental=rental / rental_trend(self.scenario, self.name, month + 1),
                log_shortage=log_shortage,
            ),
        )

    def _next_rental(self, state: RegionState, month: int, utilisation: PerWorld) -> PerWorld:
        trend = rental_trend(self.scenario, self.name, month + 1) / rental_trend(self.scenario, self.name, month)
        return next_rental_usd_per_gpu_hour(
            state.rental_usd_per_gpu_hour * trend,
            self.rental.scarcity_speed_per_month,
            utilisation,
            self.rental.normal_utilisation,
            self.rental.floor_usd_per_gpu_hour,
        )

    def order(self, state: RegionState, month: int, luck: PerWorld) -> Order | None:
        """What the region orders after a month, with its luck in the lead time; None where it never orders.

        What compute is worth building for is its rental price over what a GPU costs, and it is built as far as
        there is money: the state's terms.
        """
        if state.fleet is None or self.plan is None or self.plan.orders is None:
            return None
        # The state is that of the month's end, and its rental price already the next month's.
        relative_rental = state.rental_usd_per_gpu_hour / rental_trend(self.scenario, self.name, month + 1)
        ahead_of_ban = rush(self.scenario, self.name, month, self.plan.orders.type)
        order = order_of_month(
            state.fleet,
            self.plan,
            self.gpus,
            month=month,
            peak_needs=state.peak_needs_h100e,
            relative_rental=relative_rental / state.terms.relative_gpu_price,
            months_further=ahead_of_ban.months_further,
            allocation_factor=ahead_of_ban.allocation_factor,
            largest_h100e=largest_fleet_h100e(self.scenario, self.name, month),
            luck=luck,
        )
        return None if order is None else replace(order, gpus=order.gpus * state.terms.funding)

    def let_through(self, order: Order | None, month: int) -> tuple[Order, ...]:
        """What export controls leave of an order, and what is ordered instead."""
        return () if order is None else let_through(self.scenario, self.name, month, order, self.gpus)

    def with_order(self, state: RegionState, order: Order) -> RegionState:
        """The state with one order more on its way."""
        assert state.fleet is not None, "only a region with a fleet orders"
        return replace(state, fleet=state.fleet.with_order(order, self.gpus))

    def with_delivery(self, state: RegionState, batch: int, due_month: float) -> RegionState:
        """The state after a batch has come in, in the worlds in which it was due in that month."""
        assert state.fleet is not None, "only a region with a fleet orders"
        return replace(state, fleet=state.fleet.with_delivery(batch, due_month))

    def order_usd(self, order: Order | None, terms: Terms = USUAL_TERMS) -> PerWorld:
        """What an order costs at the purchase price."""
        if order is None:
            return 0.0
        price_usd = self.gpus[order.type].price_usd * terms.relative_gpu_price
        return order.gpus * price_usd * order.price_factor

    def order_h100e(self, order: Order | None) -> PerWorld:
        """Size of an order."""
        return 0.0 if order is None else order.gpus * self.gpus[order.type].h100e


def rents_over_trend(scenario: Scenario, regions: Sequence[RegionMonth], month: int) -> PerWorld:
    """What the GPUs of all fleets earned, over what they would if all were let at the trend of the rental price."""
    earned: PerWorld = sum(region.usd_per_day for region in regions if region.installed_h100e is not None)
    most: PerWorld = sum(
        HOURS_PER_DAY * region.installed_h100e * rental_trend(scenario, region.region, month)
        for region in regions
        if region.installed_h100e is not None
    )
    return ratio(earned, most, otherwise=1.0)
