"""The months of a scenario on one SimPy clock, in three arms: `run_arms`.

In short, each month:

1. Progress sets how much compute the same service needs.
2. Cost becomes price; price, waiting and capability become usage.
3. The requests of a weekday and of a day of the weekend are served on the month's fleet.
4. Budgets (training) buy GPU-hours of what the serving leaves.
5. Scarcity moves the rental price.
6. The fleet orders against its forecast peak; deliveries come in when they are due.

The arm `baseline` never has the shock; `frozen` has it, all of it taken as saving, with usage held on the
baseline's path; `shock` has it and responds.  All three use the same random numbers.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from typing import Any

import simpy

from jevons.efficiency import Progress, month_of, progress
from jevons.fleet import Order
from jevons.market import Conditions, SegmentMarket, Standing
from jevons.months import Month, RegionMonth, SegmentMonth
from jevons.randomness import Draws
from jevons.region import Capacity, RegionState, RegionSupply
from jevons.scenario import Arm, Scenario, Segment
from jevons.service import Served, computed_month, days_to_serve, requests_of, served_month
from jevons.serving import engine
from jevons.units import HOURS_PER_DAY, SECONDS_PER_MONTH

#: Paths of a caller's own, by segment and arm: one value for each month of the run.
Paths = Mapping[str, Mapping[str, Sequence[float]]]
#: A segment in a region.
Place = tuple[str, str]


def run_arms(
    scenario: Scenario,
    replication: int,
    engine_name: str,
    *,
    prices: Paths | None = None,
    usage: Paths | None = None,
) -> dict[Arm, list[Month]]:
    """One replication of a scenario: the months of its three arms, on the same random numbers.

    Parameters
    ----------
    scenario : Scenario
        Of kind market, its distributions resolved.
    replication : int
        Number of the replication, from 0.
    engine_name : str
        Engine that serves the requests: `simpy` or `closed_form`.
    prices, usage : mapping of segment to mapping of arm to sequence of float, optional
        Paths to take instead of the model's, in USD/Mtok and tokens/day, one value for each month.  Before the
        shock all arms take the baseline's.
    """
    world = World(scenario, replication, engine_name, prices or {}, usage or {})
    shock, end = shock_month(scenario), scenario.run.months
    # Until the shock the arms are one and the same, so they share their past.
    before, state = world.run("baseline", 0, shock, world.opening())
    baseline, _ = world.run("baseline", shock, end, state.copy())
    frozen, _ = world.run("frozen", shock, end, state.copy(), held=baseline)
    shocked, _ = world.run("shock", shock, end, state.copy())
    return {"baseline": before + baseline, "frozen": before + frozen, "shock": before + shocked}


def shock_month(scenario: Scenario) -> int:
    """First month that begins on or after the day of the shock."""
    if scenario.shock is None:
        return scenario.run.months
    return max(0, -int(-month_of(scenario, scenario.shock.date) // 1))


@dataclass(slots=True)
class State:
    """What the model carries from month to month."""

    regions: dict[str, RegionState]
    standings: dict[Place, Standing] = field(default_factory=dict)
    latency_s: dict[Place, float] = field(default_factory=dict)

    def copy(self) -> State:
        """A state that may go another way."""
        return State(dict(self.regions), dict(self.standings), dict(self.latency_s))


class World:
    """A scenario made ready to run: its markets, its regions, its engine, its random numbers."""

    def __init__(self, scenario: Scenario, replication: int, engine_name: str, prices: Paths, usage: Paths) -> None:
        self.scenario = scenario
        self.draws = Draws(seed=scenario.run.seed, replication=replication)
        self.serve = engine(engine_name)
        self.prices, self.usage = prices, usage
        self.supplies = {name: RegionSupply(scenario, name) for name in scenario.regions}
        self.markets = {
            (name, region): SegmentMarket(scenario, name, region, requests_of(scenario, segment))
            for name, segment in scenario.segments.items()
            for region in scenario.regions
            if region_share(scenario, segment, region) > 0
        }

    def opening(self) -> State:
        """The state before the first month."""
        return State({name: supply.opening() for name, supply in self.supplies.items()})

    def noise(self, segment: str, month: int) -> float:
        """What a month's usage of a segment is off the model, in logs; the same in all arms and regions."""
        sd = self.scenario.segments[segment].usage_noise
        return sd * float(self.draws.at("usage", segment).normal("noise", 1, first=month)[0]) if sd > 0 else 0.0

    def run(
        self, arm: Arm, first: int, last: int, state: State, *, held: Sequence[Month] = ()
    ) -> tuple[list[Month], State]:
        """The months `first` to `last - 1` of an arm from a state; `held` are months whose usage is kept."""
        clock = simpy.Environment(initial_time=first * SECONDS_PER_MONTH)
        run = ArmRun(self, arm, state, clock, {month.month: month for month in held})
        # Until the months are over, and no longer: deliveries due later belong to whoever goes on from the state.
        clock.run(until=clock.process(run.months(first, last)))
        return run.record, state


class ArmRun:
    """One arm on its clock."""

    def __init__(
        self, world: World, arm: Arm, state: State, clock: simpy.Environment, held: Mapping[int, Month]
    ) -> None:
        self.world, self.arm, self.state, self.clock, self.held = world, arm, state, clock, held
        self.record: list[Month] = []

    def months(self, first: int, last: int) -> Generator[Any, Any, None]:
        """The months, one after the other, and whatever is due between them on the clock."""
        for region, standing in self.state.regions.items():
            for order in standing.fleet.on_order if standing.fleet else ():
                self._await_delivery(region, order)
        for month in range(first, last):
            yield from self._month(month)
            yield self.clock.timeout((month + 1) * SECONDS_PER_MONTH - self.clock.now)

    def _month(self, month: int) -> Generator[Any, Any, None]:
        demands = {place: self._demand(month, place, market) for place, market in self._markets_in(month)}
        has = {name: supply.capacity(self.state.regions[name], month) for name, supply in self.world.supplies.items()}
        serving = {region: self._serve(month, region, demands, has[region]) for region in has}
        yield self.clock.all_of([event for events in serving.values() for event in events])
        regions = []
        for region, events in serving.items():
            mine = {name: demand for (name, where), demand in demands.items() if where == region}
            served = self._served(region, mine, [event.value for event in events], has[region])
            budgets = [demand for demand in mine.values() if not demand.is_served]
            wanted = sum(budget.packed_gpu_hours_per_day for budget in budgets)
            granted = min(wanted, served.idle_gpu_hours)
            demands |= self._allocated(region, mine, served, granted / wanted if wanted > 0 else 1.0)
            regions.append(self._settle(month, region, has[region], served, wanted, granted))
        self.record.append(Month(month=month, segments=tuple(demands.values()), regions=tuple(regions)))

    def _markets_in(self, month: int) -> list[tuple[Place, SegmentMarket]]:
        return [(place, market) for place, market in self.world.markets.items() if month >= market.first_month]

    # From progress to usage.

    def _demand(self, month: int, place: Place, market: SegmentMarket) -> SegmentMonth:
        price = self._own_path(self.world.prices, market.name, month)
        before = self.state.standings.get(place)
        if before is None:
            standing = market.opening(self._progress(month, place), price=price)
        else:
            standing = market.standing(before, self._met(month, place, market), price=price)
        self.state.standings[place] = standing
        demand = self._demanded(month, market, standing)
        own = self._own_path(self.world.usage, market.name, month)
        if own is not None:
            demand = demand.with_usage(own * region_share(self.world.scenario, market.segment, market.region))
        return demand.with_usage_of(self.held[month].segment(*place)) if month in self.held else demand

    def _progress(self, month: int, place: Place) -> Progress:
        return progress(self.world.scenario, self.arm, *place, month)

    def _met(self, month: int, place: Place, market: SegmentMarket) -> Conditions:
        state = self.state.regions[place[1]]
        return Conditions(
            month=month,
            progress=self._progress(month, place),
            rental_usd_per_gpu_hour=state.rental_usd_per_gpu_hour,
            packing=state.packing if market.segment.is_served else 1.0,
            latency_s=self.state.latency_s.get(place, 0.0),
            log_shortage=state.log_shortage,
        )

    def _own_path(self, paths: Paths, segment: str, month: int) -> float | None:
        path = paths.get(segment, {}).get(self.arm)
        return None if path is None else float(path[month])

    def _demanded(self, month: int, market: SegmentMarket, standing: Standing) -> SegmentMonth:
        segment = market.segment
        share = region_share(self.world.scenario, segment, market.region)
        noise = self.world.noise(market.name, month)
        exogenous = market.start_tokens_per_day * share * exp(standing.log_exogenous + noise)
        return SegmentMonth(
            segment=market.name,
            region=market.region,
            is_served=segment.is_served,
            price_usd_per_mtok=standing.price_usd_per_mtok,
            full_price_usd_per_mtok=standing.full_price_usd_per_mtok,
            unit_cost_usd_per_mtok=standing.unit_cost_usd_per_mtok,
            exogenous_tokens_per_day=exogenous,
            price_response=exp(standing.response.price),
            capability_response=exp(standing.response.capability),
            tokens_per_task=exp(standing.log_tokens_per_task),
            gpu_seconds_per_mtok=standing.gpu_seconds_per_mtok,
        )

    # From usage to GPU-hours.

    def _serve(
        self, month: int, region: str, demands: Mapping[Place, SegmentMonth], has: Capacity
    ) -> list[simpy.Event]:
        """Begin to serve the region's two days; events that bring them when they are over."""
        served = [
            (self.world.markets[place], demand)
            for place, demand in demands.items()
            if place[1] == region and demand.is_served
        ]
        return [
            self.world.serve(
                self.clock, day, self.world.draws.at("day", month, region, "weekend" if day.weekend else "weekday")
            )
            for day in days_to_serve(self.world.scenario, served, has.powered_h100e)
        ]

    def _served(self, region: str, demands: Mapping[str, SegmentMonth], days: list[Any], has: Capacity) -> Served:
        serving = self.world.scenario.serving
        served = [demand for demand in demands.values() if demand.is_served]
        if serving is None or not days:
            return computed_month(served, has.powered_h100e)
        markets = [self.world.markets[demand.segment, region] for demand in served]
        return served_month(tuple(days), markets, serving, has.powered_h100e)

    def _allocated(
        self, region: str, demands: Mapping[str, SegmentMonth], served: Served, granted_share: float
    ) -> dict[Place, SegmentMonth]:
        """The region's segments with their GPU-hours: by their share of the work, and as far as budgets are granted."""
        work = sum(demand.packed_gpu_hours_per_day for demand in demands.values() if demand.is_served)
        overhead = served.gpu_hours / work if work > 0 else 1.0
        latency_s = self.state.latency_s
        latency_s |= {(name, region): latency for name, latency in served.latency_s.items()}
        for name, demand in demands.items():
            self.world.markets[name, region].open(
                packing=served.packing if demand.is_served else 1.0, latency_s=latency_s.get((name, region), 0.0)
            )
        return {
            (name, region): demand.allocated(
                demand.packed_gpu_hours_per_day * (overhead if demand.is_served else granted_share),
                latency_s.get((name, region), 0.0),
            )
            for name, demand in demands.items()
        }

    # From GPU-hours to scarcity and orders.

    def _settle(
        self, month: int, region: str, has: Capacity, served: Served, wanted: float, granted: float
    ) -> RegionMonth:
        """Close a region's month: report it, move the rental price, order."""
        supply = self.world.supplies[region]
        all_wanted, peak = served.wanted_gpu_hours + wanted, served.peak_h100e + wanted / HOURS_PER_DAY
        utilisation = all_wanted / (HOURS_PER_DAY * has.powered_h100e) if has.powered_h100e > 0 else 1.0
        moved = supply.after_month(
            self.state.regions[region],
            month,
            packing=served.packing,
            wanted=all_wanted,
            allocated=served.gpu_hours + granted,
            utilisation=utilisation if has.is_limited else supply.rental.normal_utilisation,
            peak=peak,
        )
        order = supply.order(moved, month, self.world.draws.at("order", region, month))
        self.state.regions[region] = moved if order is None else supply.with_order(moved, order)
        if order is not None:
            self._await_delivery(region, order)
        return RegionMonth(
            region=region,
            rental_usd_per_gpu_hour=has.rental_usd_per_gpu_hour,
            installed_h100e=has.installed_h100e if has.is_limited else None,
            powered_h100e=has.powered_h100e if has.is_limited else None,
            on_order_h100e=supply.on_order_h100e(self.state.regions[region]),
            ordered_h100e=supply.order_h100e(order),
            ordered_usd=supply.order_usd(order),
            serving_gpu_hours_per_day=served.gpu_hours,
            budget_gpu_hours_per_day=granted,
            wanted_gpu_hours_per_day=all_wanted,
            peak_h100e=peak,
            utilisation=utilisation if has.is_limited else None,
            power=has.power,
            busy_gpu_hours_per_day=served.busy_gpu_hours + granted,
            lost_share=served.lost_share,
            days=served.days,
        )

    def _await_delivery(self, region: str, order: Order) -> None:
        """Put a delivery on the clock, unless it falls after the end."""
        if order.due_month < self.world.scenario.run.months:
            delay = max(order.due_month * SECONDS_PER_MONTH - self.clock.now, 0.0)
            self.clock.timeout(delay).callbacks.append(lambda _: self._deliver(region, order))

    def _deliver(self, region: str, order: Order) -> None:
        supply = self.world.supplies[region]
        self.state.regions[region] = supply.with_delivery(self.state.regions[region], order)


def region_share(scenario: Scenario, segment: Segment, region: str) -> float:
    """Share of a segment's usage that a region serves."""
    return segment.region_share.get(region, 0.0) if len(scenario.regions) > 1 else 1.0
