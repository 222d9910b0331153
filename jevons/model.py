"""The months of a scenario on one SimPy clock, in three arms: `run_stack`.

In short, each month:

1. Progress sets how much compute the same service needs.
2. Cost becomes price; price, waiting and capability become usage.
3. The requests of a weekday and of a day of the weekend are served on the month's fleet.
4. Budgets (training) buy GPU-hours of what the serving leaves, or gangs of GPUs for their jobs.
5. Scarcity moves the rental price.
6. The fleet orders against its forecast peak, as far as policy lets it; deliveries come in when they are due.

The arm `baseline` never has the shock; `frozen` has it, all of it taken as saving, with usage held on the
baseline's path; `shock` has it and responds.  All three use the same random numbers.

Many worlds go through the months together, as a stack: replications of a scenario, or draws of its inputs.  A
figure is then an array of shape (worlds,), and nothing of a world depends on those beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import simpy

from jevons.budget_race import spend_off_trend
from jevons.efficiency import Progress, month_of
from jevons.finance.monthly import Finance, FinanceState, VendorMonth
from jevons.fleet import Order
from jevons.market import Conditions, SegmentMarket, Standing
from jevons.months import Month, RegionMonth, SegmentMonth, Stack, TrainingMonth
from jevons.placement import placed
from jevons.policy import subsidised_share
from jevons.providers import market_of
from jevons.randomness import Draws, Floats
from jevons.region import Capacity, RegionState, RegionSupply, rents_over_trend
from jevons.scenario import Arm, Scenario, Segment
from jevons.service import Served, computed_month, days_to_serve, requests_of, served_month, single_days
from jevons.serving import Day, ServedDay, engine
from jevons.stacks import PerWorld, exp, of_world, ratio, stacked, where
from jevons.training import Backlogs, RegionTraining, Trained, granted, lent_always, lent_in_week
from jevons.units import HOURS_PER_DAY, SECONDS_PER_MONTH

#: Paths of a caller's own, by segment and arm: one value for each month of the run.
Paths = Mapping[str, Mapping[str, Sequence[float]]]
#: A segment in a region.
Place = tuple[str, str]
#: The served weekday and day of the weekend of a region; figures of shape (worlds, ...).
ServedDays = tuple[ServedDay, ServedDay]


def run_arms(
    scenario: Scenario,
    replication: int,
    engine_name: str,
    *,
    prices: Paths | None = None,
    usage: Paths | None = None,
) -> dict[Arm, list[Month]]:
    """One replication of a scenario: the stack of one world of `run_stack`, its figures plain numbers."""
    return run_stack(scenario, [replication], engine_name, prices=prices, usage=usage).world(0)


def run_stack(
    scenario: Scenario,
    replications: Sequence[int],
    engine_name: str,
    *,
    prices: Paths | None = None,
    usage: Paths | None = None,
    keeps_days: bool = True,
    threads: int = 1,
) -> Stack:
    """A stack of worlds: the months of their three arms, in each world on the same random numbers.

    Parameters
    ----------
    scenario : Scenario
        Of kind market, its distributions resolved: the same numbers in all worlds, or arrays of shape (worlds,).
    replications : sequence of int, shape (worlds,)
        Number of the replication, from 0, whose random numbers each world has.
    engine_name : str
        Engine that serves the requests: see `serving.ENGINES`.
    prices, usage : mapping of segment to mapping of arm to sequence of float, optional
        Paths to take instead of the model's, in USD/Mtok and tokens/day, one value for each month.  Before the
        shock all arms take the baseline's.
    keeps_days : bool
        Whether the months keep the days that were served, which are most of what they hold.
    threads : int
        Threads that serve the days of a month, with an engine that can; the result does not depend on them.
    """
    world = World(scenario, replications, engine_name, prices or {}, usage or {}, keeps_days, threads)
    shock, end = shock_month(scenario), scenario.run.months
    # Until the shock the arms are one and the same, so they share their past.
    before, state = world.run("baseline", 0, shock, world.opening())
    baseline, _ = world.run("baseline", shock, end, state.copy())
    frozen, _ = world.run("frozen", shock, end, state.copy(), held=baseline)
    shocked, _ = world.run("shock", shock, end, state.copy())
    arms: dict[Arm, list[Month]] = {"baseline": before + baseline, "frozen": before + frozen, "shock": before + shocked}
    return Stack(worlds=len(replications), arms=arms)


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
    latency_s: dict[Place, PerWorld] = field(default_factory=dict)
    #: Jobs that training carries on, by region, and spend of racing budgets over its trend, in logs.
    backlogs: dict[str, Backlogs] = field(default_factory=dict)
    spend: dict[str, PerWorld] = field(default_factory=dict)

    finance: FinanceState | None = None

    def copy(self) -> State:
        """A state that may go another way."""
        return State(
            dict(self.regions),
            dict(self.standings),
            dict(self.latency_s),
            dict(self.backlogs),
            dict(self.spend),
            self.finance,
        )


class World:
    """A stack of worlds made ready to run: their markets, their regions, their engine, their random numbers."""

    def __init__(
        self,
        scenario: Scenario,
        replications: Sequence[int],
        engine_name: str,
        prices: Paths,
        usage: Paths,
        keeps_days: bool,
        threads: int,
    ) -> None:
        self.scenario = scenario
        self.replications = tuple(replications)
        self.engine = engine(engine_name)
        self.threads = threads
        self.prices, self.usage = prices, usage
        self.keeps_days = keeps_days
        self.supplies = {name: RegionSupply(scenario, name) for name in scenario.regions}
        self.markets = {
            (name, region): market_of(scenario, name, region, requests_of(scenario, segment))
            for name, segment in scenario.segments.items()
            for region in scenario.regions
            if region_share(scenario, segment, region) > 0
        }
        jobs = {
            region: [name for name, where in self.markets if where == region and scenario.segments[name].jobs]
            for region in scenario.regions
        }
        self.training = {
            region: RegionTraining(scenario, region, names, self.replications)
            for region, names in jobs.items()
            if names
        }
        self.races = {name: segment.race for name, segment in scenario.segments.items() if segment.race}
        vendor = scenario.vendor
        self.finance = None if vendor is None else Finance(scenario, vendor, shock_month(scenario))
        self._luck: dict[tuple[str | int, ...], Floats] = {}

    def opening(self) -> State:
        """The state before the first month."""
        finance = None if self.finance is None else self.finance.opening()
        return State({name: supply.opening() for name, supply in self.supplies.items()}, finance=finance)

    def noise(self, segment: str, month: int) -> Floats:
        """What a month's usage of a segment is off the model, in logs; the same in all arms and regions."""
        sd = self.scenario.segments[segment].usage_noise
        if sd == 0:
            return np.zeros(len(self.replications))
        return sd * self._drawn(lambda draws: draws.normal("noise", 1, first=month), "usage", segment, at=month)

    def lead_time_luck(self, region: str, month: int) -> Floats:
        """Uniform numbers that decide the lead time of a month's order; the same in all arms."""
        return self._drawn(lambda draws: draws.uniform("lead time", 1), "order", region, month)

    def _drawn(self, draw: Callable[[Draws], Floats], *place: str | int, at: int = 0) -> Floats:
        """One random number of each world, shape (worlds,), at a place of its replication."""
        key = (*place, at)
        if key not in self._luck:
            numbers = {one: float(draw(self.draws_at(one, *place))[0]) for one in set(self.replications)}
            self._luck[key] = np.array([numbers[one] for one in self.replications])
        return self._luck[key]

    def draws_at(self, replication: int, *place: str | int) -> Draws:
        """Random numbers of a replication at a place of the model."""
        return Draws(seed=self.scenario.run.seed, replication=replication, place=place)

    def run(
        self, arm: Arm, first: int, last: int, state: State, *, held: Sequence[Month] = ()
    ) -> tuple[list[Month], State]:
        """The months `first` to `last - 1` of an arm from a state; `held` are months whose usage is kept."""
        run = ArmRun(self, arm, state, clock_at(first), {month.month: month for month in held})
        return run.through(first, last), state


def clock_at(month: int) -> simpy.Environment:
    """A clock that stands at the start of a month."""
    return simpy.Environment(initial_time=month * SECONDS_PER_MONTH)


class ArmRun:
    """One arm on its clock."""

    def __init__(
        self, world: World, arm: Arm, state: State, clock: simpy.Environment, held: Mapping[int, Month]
    ) -> None:
        self.world, self.arm, self.state, self.clock, self.held = world, arm, state, clock, held
        self.record: list[Month] = []
        #: Types and cost of the month's orders.
        self.ordered_usd: list[tuple[str, PerWorld]] = []

    def through(self, first: int, last: int) -> list[Month]:
        """The record after the months `first` to `last - 1`."""
        # Until the months are over, and no longer: deliveries due later belong to whoever goes on from the state.
        self.clock.run(until=self.clock.process(self.months(first, last)))
        return self.record

    def months(self, first: int, last: int) -> Generator[Any, Any, None]:
        """The months, one after the other, and whatever is due between them on the clock."""
        for region, standing in self.state.regions.items():
            for batch in range(0 if standing.fleet is None else standing.fleet.batches):
                self._await_delivery(region, batch)
        for month in range(first, last):
            yield from self._month(month)
            yield self.clock.timeout((month + 1) * SECONDS_PER_MONTH - self.clock.now)

    def _month(self, month: int) -> Generator[Any, Any, None]:
        self._race(month)
        demands = placed({place: self._demand(month, place, market) for place, market in self._markets_in(month)})
        has = {name: supply.capacity(self.state.regions[name], month) for name, supply in self.world.supplies.items()}
        offered = self._offered(month, demands, has)
        days = yield from self._serve(month, demands, offered)
        regions = []
        for region, capacity in has.items():
            mine = {name: demand for (name, where), demand in demands.items() if where == region}
            served = self._served(region, mine, days.get(region), offered[region])
            wanted = {name: demand.packed_gpu_hours_per_day for name, demand in mine.items() if not demand.is_served}
            trained = self._trained(month, region, wanted, served, capacity)
            shares, got = granted(wanted, served.idle_gpu_hours, trained)
            demands |= self._allocated(region, mine, served, shares)
            training = None if trained is None else trained.month
            regions.append(self._settle(month, region, capacity, served, sum(wanted.values()), got, training))
        vendor = self._vendor_month(month, regions)
        self.ordered_usd = []
        self.record.append(Month(month=month, segments=tuple(demands.values()), regions=tuple(regions), vendor=vendor))

    def _markets_in(self, month: int) -> list[tuple[Place, SegmentMarket]]:
        return [(place, market) for place, market in self.world.markets.items() if month >= market.first_month]

    # From progress to usage.

    def _race(self, month: int) -> None:
        """What racing budgets spend over their trend, from what their rivals spent the month before."""
        world = self.world
        if not world.races:
            return
        rivals = {race.follows for race in world.races.values()}
        before = {name: self.state.spend.get(name, 0.0) + world.noise(name, month - 1) for name in rivals if month > 0}
        has_jumped = self.arm == "shock" and month >= shock_month(world.scenario)
        self.state.spend = spend_off_trend(world.races, cast(Any, before), has_jumped=has_jumped)

    def _demand(self, month: int, place: Place, market: SegmentMarket) -> SegmentMonth:
        price = self._own_path(self.world.prices, market.name, month)
        before = self.state.standings.get(place)
        if before is None:
            standing = market.opening(self._progress(month, place, market), price=price)
        else:
            standing = market.standing(before, self._met(month, place, market), price=price)
        self.state.standings[place] = standing
        demand = self._demanded(month, market, standing)
        own = self._own_path(self.world.usage, market.name, month)
        if own is not None:
            demand = demand.with_usage(own * region_share(self.world.scenario, market.segment, market.region))
        return demand.with_usage_of(self.held[month].segment(*place)) if month in self.held else demand

    def _progress(self, month: int, place: Place, market: SegmentMarket) -> Progress:
        return market.progress(self.arm, month).advanced(self._induced(month, place[1]))

    def _induced(self, month: int, region: str) -> PerWorld:
        """Efficiency that scarcity has induced, in logs; where usage is held, as there, since it is an answer too."""
        if month in self.held:
            return self.held[month].region(region).log_induced_gain
        return self.state.regions[region].log_induced_gain

    def _met(self, month: int, place: Place, market: SegmentMarket) -> Conditions:
        (segment, region), state = place, self.state.regions[place[1]]
        return Conditions(
            month=month,
            progress=self._progress(month, place, market),
            rental_usd_per_gpu_hour=self.world.supplies[region].paid_usd_per_gpu_hour(state, month, segment),
            subsidised_share=subsidised_share(self.world.scenario, "price", segment, region, month),
            packing=state.packing if market.segment.is_served else 1.0,
            latency_s=self.state.latency_s.get(place, 0.0),
            log_shortage=state.log_shortage,
            rentals=self._rentals(month, segment) if market.segment.offers else {},
        )

    def _rentals(self, month: int, segment: str) -> dict[str, PerWorld]:
        """What those who serve a segment pay for a GPU-hour in each region."""
        regions = self.state.regions
        return {
            name: supply.paid_usd_per_gpu_hour(regions[name], month, segment)
            for name, supply in self.world.supplies.items()
        }

    def _own_path(self, paths: Paths, segment: str, month: int) -> float | None:
        path = paths.get(segment, {}).get(self.arm)
        return None if path is None else float(path[month])

    def _demanded(self, month: int, market: SegmentMarket, standing: Standing) -> SegmentMonth:
        segment = market.segment
        share = region_share(self.world.scenario, segment, market.region)
        noise = self.world.noise(market.name, month)
        # An array, whatever is the same in all worlds: it is the noise that makes it one.
        off_trend = noise + self.state.spend.get(market.name, 0.0)
        exogenous = market.start_tokens_per_day * share * exp(cast(float, standing.log_exogenous + off_trend))
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
            offers=standing.offers,
        )

    # From usage to GPU-hours.

    def _offered(
        self, _month: int, _demands: Mapping[Place, SegmentMonth], has: Mapping[str, Capacity], /
    ) -> Mapping[str, Capacity]:
        """What the work of a month is served on: what the regions have."""
        return has

    def _serve(
        self, month: int, demands: Mapping[Place, SegmentMonth], has: Mapping[str, Capacity]
    ) -> Generator[Any, Any, dict[str, ServedDays]]:
        """Serve the two days of all regions, on the clock; regions in which nothing is served are left out."""
        wanted = {region: self._days_to_serve(region, demands, capacity) for region, capacity in has.items()}
        days = {region: day for region, day in wanted.items() if day is not None}
        if self.world.engine.serve_stack and all(self.world.engine.can_stack(day) for day in days.values()):
            return (yield from self._serve_stacks(month, days))
        return (yield from self._serve_one_by_one(month, days))

    def _days_to_serve(self, region: str, demands: Mapping[Place, SegmentMonth], has: Capacity) -> Day | None:
        served = [
            (self.world.markets[place], demand)
            for place, demand in demands.items()
            if place[1] == region and demand.is_served
        ]
        return days_to_serve(self.world.scenario, served, self._for_serving(region, has))

    def _for_serving(self, region: str, has: Capacity) -> PerWorld:
        """GPUs that serving may use: all but training's own."""
        training = self.world.training.get(region)
        return has.powered_h100e * (1.0 if training is None else 1.0 - training.own_share)

    def _serve_stacks(self, month: int, days: Mapping[str, Day]) -> Generator[Any, Any, dict[str, ServedDays]]:
        """All worlds' days of a region at once."""
        world, serve_stack = self.world, self.world.engine.serve_stack
        assert serve_stack is not None, "an engine that can stack days serves stacks"
        events = {
            region: serve_stack(self.clock, day, self._draws(month, region), world.threads)
            for region, day in days.items()
        }
        yield self.clock.all_of(events.values())
        served = {region: cast(ServedDay, event.value) for region, event in events.items()}
        return {region: (of_world(both, 0), of_world(both, 1)) for region, both in served.items()}

    def _serve_one_by_one(self, month: int, days: Mapping[str, Day]) -> Generator[Any, Any, dict[str, ServedDays]]:
        """Each day of each world by itself."""
        worlds = len(self.world.replications)
        events = {
            region: [
                self.world.engine.serve(self.clock, day, draws)
                for day, draws in zip(single_days(both, worlds), self._draws(month, region), strict=True)
            ]
            for region, both in days.items()
        }
        yield self.clock.all_of([event for of_region in events.values() for event in of_region])
        served = {region: [cast(ServedDay, event.value) for event in of_region] for region, of_region in events.items()}
        return {region: (stacked(days[:worlds]), stacked(days[worlds:])) for region, days in served.items()}

    def _draws(self, month: int, region: str) -> list[Draws]:
        """Random numbers of a region's days: the weekday of each world, then the weekend of each."""
        worlds = self.world.replications
        draws = {
            (kind, world): self.world.draws_at(world, "day", month, region, kind)
            for kind in ("weekday", "weekend")
            for world in set(worlds)
        }
        return [draws[kind, world] for kind in ("weekday", "weekend") for world in worlds]

    def _served(
        self, region: str, demands: Mapping[str, SegmentMonth], days: ServedDays | None, has: Capacity
    ) -> Served:
        serving = self.world.scenario.serving
        served = [demand for demand in demands.values() if demand.is_served]
        if serving is None or days is None:
            return computed_month(served, self._for_serving(region, has))
        markets = [self.world.markets[demand.segment, region] for demand in served]
        return served_month(days, markets, serving, self._for_serving(region, has))

    def _trained(
        self, month: int, region: str, wanted: Mapping[str, PerWorld], served: Served, has: Capacity
    ) -> Trained | None:
        """The month of the region's jobs, on its own nodes and on those that serving leaves; None without jobs."""
        training, serving = self.world.training.get(region), self.world.scenario.serving
        if training is None:
            return None
        by_the_hour = served.days and serving is not None and serving.lend_idle_nodes and has.is_limited
        trained = training.month(
            month,
            wanted,
            training.own_h100e(has.powered_h100e),
            lent_in_week(served.days, serving.gpus_per_node)
            if by_the_hour and serving is not None
            else lent_always(served.idle_gpu_hours),
            self.state.backlogs.get(region, ()),
            draws_singly=self.world.engine.draws_singly,
        )
        if trained is not None:
            self.state.backlogs[region] = trained.backlogs
        return trained

    def _allocated(
        self, region: str, demands: Mapping[str, SegmentMonth], served: Served, granted_shares: Mapping[str, PerWorld]
    ) -> dict[Place, SegmentMonth]:
        """The region's segments with their GPU-hours: by their share of the work, and as far as budgets are granted."""
        work: PerWorld = sum(demand.packed_gpu_hours_per_day for demand in demands.values() if demand.is_served)
        overhead = ratio(served.gpu_hours, work, otherwise=1.0)
        latency_s = self.state.latency_s
        for name, latency in served.latency_s.items():
            # Where nothing was served, the wait that was known last.
            latency_s[name, region] = where(np.isfinite(latency), latency, latency_s.get((name, region), 0.0))
        for name, demand in demands.items():
            self.world.markets[name, region].open(
                packing=served.packing if demand.is_served else 1.0, latency_s=latency_s.get((name, region), 0.0)
            )
        return {
            (name, region): demand.allocated(
                demand.packed_gpu_hours_per_day * (overhead if demand.is_served else granted_shares[name]),
                latency_s.get((name, region), 0.0),
            )
            for name, demand in demands.items()
        }

    # From GPU-hours to scarcity and orders.

    def _settle(
        self,
        month: int,
        region: str,
        has: Capacity,
        served: Served,
        wanted: PerWorld,
        granted: PerWorld,
        training: TrainingMonth | None,
    ) -> RegionMonth:
        """Close a region's month: report it, move the rental price, order."""
        supply, induced = self.world.supplies[region], self._induced(month, region)
        all_wanted, peak = served.wanted_gpu_hours + wanted, served.peak_h100e + wanted / HOURS_PER_DAY
        utilisation = ratio(all_wanted, HOURS_PER_DAY * has.powered_h100e, otherwise=1.0)
        moved = supply.after_month(
            self.state.regions[region],
            month,
            packing=served.packing,
            wanted=all_wanted,
            allocated=served.gpu_hours + granted,
            utilisation=utilisation if has.is_limited else supply.rental.normal_utilisation,
            peak=peak,
        )
        self.state.regions[region] = moved
        orders = self._order(month, region) if supply.orders_gpus else ()
        return RegionMonth(
            region=region,
            rental_usd_per_gpu_hour=has.rental_usd_per_gpu_hour,
            installed_h100e=has.installed_h100e if has.is_limited else None,
            powered_h100e=has.powered_h100e if has.is_limited else None,
            on_order_h100e=supply.on_order_h100e(self.state.regions[region]),
            ordered_h100e=sum((supply.order_h100e(order) for order in orders), start=0.0),
            ordered_usd=sum((supply.order_usd(order, self.state.regions[region].terms) for order in orders), start=0.0),
            serving_gpu_hours_per_day=served.gpu_hours,
            budget_gpu_hours_per_day=granted,
            wanted_gpu_hours_per_day=all_wanted,
            peak_h100e=peak,
            utilisation=utilisation if has.is_limited else None,
            power=has.power,
            busy_gpu_hours_per_day=served.busy_gpu_hours + granted,
            lost_share=served.lost_share,
            days=served.days if self.world.keeps_days else (),
            training=training,
            log_induced_gain=induced,
        )

    def _order(self, month: int, region: str) -> tuple[Order, ...]:
        """Order at the end of a region's month, as far as policy lets it."""
        supply, state = self.world.supplies[region], self.state.regions[region]
        wanted = supply.order(state, month, cast(float, self.world.lead_time_luck(region, month)))
        orders = supply.let_through(wanted, month)
        self.ordered_usd += [(order.type, supply.order_usd(order, state.terms)) for order in orders]
        for order in orders:
            self.state.regions[region] = supply.with_order(self.state.regions[region], order)
            self._await_delivery(region, -1)
        return orders

    def _vendor_month(self, month: int, regions: Sequence[RegionMonth]) -> VendorMonth | None:
        """Close the vendor's month; None where no vendor is looked at."""
        finance, state = self.world.finance, self.state.finance
        if finance is None or state is None:
            return None
        fleets = [one.fleet for one in self.state.regions.values() if one.fleet is not None]
        self.state.finance, closed = finance.after_month(
            state,
            month,
            ordered_usd=sum(usd for kind, usd in self.ordered_usd if kind in finance.sold),
            delivered_usd=finance.delivered_usd(fleets, month, state.terms),
            rents=rents_over_trend(self.world.scenario, regions, month),
            has_shock=self.arm != "baseline",
        )
        for name, supply in self.world.supplies.items():
            terms = finance.terms(self.state.finance, supply.type_ordered)
            self.state.regions[name] = replace(self.state.regions[name], terms=terms)
        return closed

    def _await_delivery(self, region: str, batch: int) -> None:
        """Put the deliveries of a batch on the clock, each in the worlds it is due in, but for those after the end."""
        fleet = self.state.regions[region].fleet
        assert fleet is not None, "only a region with a fleet orders"
        number = batch % fleet.batches
        for due_month in fleet.awaited(number):
            if due_month < self.world.scenario.run.months:
                delay = max(due_month * SECONDS_PER_MONTH - self.clock.now, 0.0)
                delivery = self.clock.timeout(delay, (region, number, due_month))
                delivery.callbacks.append(self._deliver)

    def _deliver(self, delivery: simpy.Event) -> None:
        region, batch, due_month = cast(tuple[str, int, float], delivery.value)
        supply = self.world.supplies[region]
        self.state.regions[region] = supply.with_delivery(self.state.regions[region], batch, due_month)


def region_share(scenario: Scenario, segment: Segment, region: str) -> float:
    """Share of a segment's usage that a region serves."""
    return segment.region_share.get(region, 0.0) if len(scenario.regions) > 1 else 1.0
