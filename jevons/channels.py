"""The channels through which a shock moves consumption, each of them switched on or off in a world of its own.

Section 8 of the model.  With every channel off the arm `shock` is the arm `frozen`, with every channel on it is
itself, both to the last bit; what lies between is told channel by channel.  A channel that is off holds what it
stands for where the users of the baseline have it, month by month:

=================  ==================================================================================================
channel            on: what users, or the work, meet is that of the world's own path
=================  ==================================================================================================
price              cost of a token at the rental price of the baseline, which moves prices, quotas, and what a budget
                   buys: tasks answer it, and users who can switch gain more by it; and how competing providers set
                   their prices, a price war too
tokens per task    tokens of a task answer the price of tokens, of competing providers by the shares there are
substitution       shares of the providers that compete, and who of them enters with the shock
capability         the share chi of the gain is spent on capability, rivals answer in research, and usage answers
                   capability; off, all of the gain is saved
latency            waiting in the full price that users pay
compute price      rental price of compute in the cost of a token
supply limit       the GPUs that there are, and what a shortage adds to the price; off, supply is as short as in
                   `frozen`: the GPUs grow in proportion to the work
=================  ==================================================================================================

The rental price and the fleet themselves go their own way in every world: what scarcity makes of them is seen or not
seen by users, and a resource counted in dollars is paid for at the rental price that it leads to.

A further channel is one more line in `CHANNELS`, in the place where it belongs in the stated order, and the held
value in the method of `ChannelRun` that meets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
import simpy

from jevons.efficiency import Progress
from jevons.market import Conditions, SegmentMarket, Standing
from jevons.model import ArmRun, Place, State, World, clock_at, shock_month
from jevons.months import Month, SegmentMonth
from jevons.offers import Offers
from jevons.providers import ProviderMarket
from jevons.randomness import Floats
from jevons.region import Capacity
from jevons.scenario import Arm, Scenario
from jevons.stacks import PerWorld, every, exp, ratio, where

#: Engine of the channels: worlds that differ in them alone must not differ in the noise of single requests.
CHANNELS_ENGINE = "closed_form"
#: Whether a channel is on, in each world; the same in all where a scenario does not have it.
Switch: TypeAlias = bool | npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A way in which a shock moves consumption."""

    name: str
    #: Whether a scenario has it: without it no figure could move.
    is_in: Callable[[Scenario], bool]


def _prices_tokens(scenario: Scenario) -> bool:
    return any(not every(s.tokens_per_task_elasticity == 0.0) for s in scenario.segments.values())


def _competes(scenario: Scenario) -> bool:
    return any(segment.offers for segment in scenario.segments.values())


def _improves(scenario: Scenario) -> bool:
    if scenario.shock is None:
        return False
    answers = any(not every(provider.research_response == 1.0) for provider in scenario.providers.values())
    return answers or not every(scenario.shock.capability_share == 0.0)


def _waits(scenario: Scenario) -> bool:
    metered = [s for s in scenario.segments.values() if s.tariff == "metered"]
    return scenario.serving is not None and any(not every(s.value_of_time_usd_per_hour == 0.0) for s in metered)


def _has_scarcity(scenario: Scenario) -> bool:
    regions = scenario.regions.values()
    return any(r.fleet is not None and not every(r.rental.scarcity_speed_per_month == 0.0) for r in regions)


def _has_fleet(scenario: Scenario) -> bool:
    return any(region.fleet is not None for region in scenario.regions.values())


#: In the stated order, after the engineering itself.
CHANNELS = (
    Channel(name="price", is_in=lambda _: True),
    Channel(name="tokens per task", is_in=_prices_tokens),
    Channel(name="substitution", is_in=_competes),
    Channel(name="capability", is_in=_improves),
    Channel(name="latency", is_in=_waits),
    Channel(name="compute price", is_in=_has_scarcity),
    Channel(name="supply limit", is_in=_has_fleet),
)


def channels_of(scenario: Scenario) -> tuple[str, ...]:
    """The channels that a scenario has, in the stated order."""
    return tuple(channel.name for channel in CHANNELS if channel.is_in(scenario))


def subsets(channels: int) -> npt.NDArray[np.bool_]:
    """Every set of so many channels, shape (2**channels, channels): in set m are the channels of its binary digits.

    Examples
    --------
    >>> subsets(2).astype(int).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    sets = np.arange(2**channels)[:, None]
    return np.asarray((sets >> np.arange(channels)) & 1, dtype=np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """The months since the shock, under every set of channels: stacks of shape (sets * worlds,).

    World w under set m of `subsets` is number m * worlds + w of the stacks.
    """

    channels: tuple[str, ...]
    worlds: int
    baseline: Sequence[Month]
    frozen: Sequence[Month]
    shock: Sequence[Month]


def run_channels(
    scenario: Scenario,
    inputs: Mapping[str, Floats] | None = None,
    replications: Sequence[int] = (0,),
    *,
    channels: Sequence[str] | None = None,
) -> Switched:
    """Run the shock of a scenario under every set of its channels, in closed form, as one stack of worlds.

    Parameters
    ----------
    scenario : Scenario
        Of kind market.
    inputs : mapping of str to ndarray, shape (worlds,), optional
        Values of uncertain inputs; the others are at their centres.
    replications : sequence of int, shape (worlds,)
        Number of the replication whose noise of months and lead times each world has.
    channels : sequence of str, optional
        Channels to switch, in the stated order; the others are on.  All that the scenario has, if not given.
    """
    given = inputs or {}
    names = channels_of(scenario.at(given)) if channels is None else tuple(channels)
    sets = subsets(len(names))
    repeated = scenario.at({key: np.tile(values, len(sets)) for key, values in given.items()})
    world = World(repeated, [*replications] * len(sets), CHANNELS_ENGINE, {}, {}, keeps_days=False, threads=1)
    first, end = shock_month(scenario), scenario.run.months
    _, state = world.run("baseline", 0, first, world.opening())
    noted = NotedRun(world, "baseline", state.copy(), clock_at(first))
    baseline = noted.through(first, end)
    frozen, _ = world.run("frozen", first, end, state.copy(), held=baseline)
    on = {name: np.repeat(sets[:, number], len(replications)) for number, name in enumerate(names)}
    run = ChannelRun(world, state.copy(), clock_at(first), baseline=noted, frozen=frozen, on=on)
    return Switched(
        channels=names, worlds=len(replications), baseline=baseline, frozen=frozen, shock=run.through(first, end)
    )  # fmt: skip


class NotedRun(ArmRun):
    """An arm that notes what each segment meets in each month, and where those that begin in it open."""

    def __init__(self, world: World, arm: Arm, state: State, clock: simpy.Environment) -> None:
        super().__init__(world, arm, state, clock, {})
        self.met: dict[tuple[int, Place], Conditions] = {}
        self.opened: dict[Place, Standing] = {}

    def _met(self, month: int, place: Place, market: SegmentMarket) -> Conditions:
        met = self.met[month, place] = super()._met(month, place, market)
        return met

    def _demand(self, month: int, place: Place, market: SegmentMarket) -> SegmentMonth:
        demand = super()._demand(month, place, market)
        self.opened.setdefault(place, self.state.standings[place])
        return demand


class ChannelRun(ArmRun):
    """The shock with some of its channels on, a set of them in each world."""

    def __init__(
        self,
        world: World,
        state: State,
        clock: simpy.Environment,
        *,
        baseline: NotedRun,
        frozen: Sequence[Month],
        on: Mapping[str, Switch],
    ) -> None:
        super().__init__(world, "shock", state, clock, {})
        self.baseline, self.on = baseline, on
        self.baseline_months = {month.month: month for month in baseline.record}
        self.frozen_months = {month.month: month for month in frozen}
        #: Where each segment would stand at the cost that tasks answer to.
        self.answering = dict(state.standings)

    def _either(self, channel: str, on: PerWorld, off: PerWorld) -> PerWorld:
        """One figure in the worlds in which a channel is on, another in the rest."""
        return where(self.on.get(channel, True), on, off)

    def _off(self, channel: str) -> Switch:
        """The worlds in which a channel is off."""
        return cast(Switch, np.logical_not(self.on.get(channel, True))[()])

    def _progress(self, month: int, place: Place, market: SegmentMarket) -> Progress:
        spent, saved, before = (market.progress(arm, month) for arm in ("shock", "frozen", "baseline"))
        is_off = self._off("capability")
        mixed = spent.with_compute_of(saved, is_off).with_capability_of(before, is_off)
        return mixed.advanced(self._induced(month, place[1]))

    def _induced(self, month: int, region: str) -> PerWorld:
        """What scarcity induces is an answer to the price of compute."""
        return self._either("compute price", super()._induced(month, region), self._induced_before(month, region))

    def _induced_before(self, month: int, region: str) -> PerWorld:
        return self.baseline_months[month].region(region).log_induced_gain

    def _met(self, month: int, place: Place, market: SegmentMarket) -> Conditions:
        own, off = super()._met(month, place, market), self.baseline.met[month, place]
        return replace(
            own,
            latency_s=self._either("latency", own.latency_s, off.latency_s),
            rental_usd_per_gpu_hour=self._either(
                "compute price", own.rental_usd_per_gpu_hour, off.rental_usd_per_gpu_hour
            ),
            log_shortage=self._either("supply limit", own.log_shortage, off.log_shortage),
            rentals={name: self._either("compute price", one, off.rentals[name]) for name, one in own.rentals.items()},
        )

    def _demand(self, month: int, place: Place, market: SegmentMarket) -> SegmentMonth:
        paid = super()._demand(month, place, market)
        answered = self.answering[place] = self._answered(month, place, market)
        off = self.baseline_months[month].segment(*place)
        return replace(
            paid,
            price_response=exp(answered.response.price),
            # Where providers differ in capability, what usage makes of it answers their prices too.
            capability_response=exp(answered.response.capability),
            tokens_per_task=self._either("tokens per task", self._lengthened(market, paid, off), off.tokens_per_task),
            offers=self._shared(paid.offers, off.offers),
        )

    def _lengthened(self, market: SegmentMarket, paid: SegmentMonth, off: SegmentMonth) -> PerWorld:
        """Tokens of a task at the world's own prices, with the baseline's shares where substitution is off."""
        if paid.offers is None or off.offers is None or not isinstance(market, ProviderMarket):
            return paid.tokens_per_task
        held = market.tokens_per_task_of(paid.offers.with_shares_of(off.offers))
        return self._either("substitution", paid.tokens_per_task, held)

    def _shared(self, own: Offers | None, off: Offers | None) -> Offers | None:
        """Offers with the shares of the baseline where substitution is off."""
        return own if own is None or off is None else own.with_shares_where(self._off("substitution"), off)

    def _answered(self, month: int, place: Place, market: SegmentMarket) -> Standing:
        """The standing at the cost that tasks answer to: the baseline's where the channel of the price is off."""
        before, own = self.answering.get(place), self._progress(month, place, market)
        unshocked = market.progress("baseline", month).advanced(self._induced_before(month, place[1]))
        seen = own.with_compute_of(unshocked, self._off("price")).with_entry_of(unshocked, self._off("substitution"))
        if before is None:
            return self._opening(place, market.opening(seen))
        met, off = self._met(month, place, market), self.baseline.met[month, place]
        return market.standing(
            before, replace(met, progress=seen, packing=self._either("price", met.packing, off.packing))
        )

    def _opening(self, place: Place, free: Standing) -> Standing:
        """The standing in the first month of a segment that begins after the shock."""
        # Held to the baseline's own: it opened before its start was known, which moves the last bit.
        off = self.baseline.opened[place]
        response = replace(free.response, price=self._either("price", free.response.price, off.response.price))
        # Usage answers capability at prices and among providers: the baseline's where none of these is on.
        held = off.response.capability
        known = channels_of(self.world.scenario)
        for channel in ("price", "substitution", "capability"):
            if channel in known:
                held = self._either(channel, free.response.capability, held)
        response = replace(response, capability=held)
        offers = self._shared(free.offers, off.offers)
        if offers is not None and off.offers is not None:
            offers = offers.with_prices_where(self._off("price"), off.offers)
        log_price = self._either("price", free.log_price, off.log_price)
        return replace(free, log_price=log_price, response=response, offers=offers)

    def _offered(
        self, month: int, demands: Mapping[Place, SegmentMonth], has: Mapping[str, Capacity], /
    ) -> Mapping[str, Capacity]:
        return {region: self._offered_in(month, region, demands.values(), capacity) for region, capacity in has.items()}

    def _offered_in(self, month: int, region: str, demands: Iterable[SegmentMonth], has: Capacity) -> Capacity:
        """Where the supply limit is off, the frozen arm's GPUs, grown as the work is."""
        frozen = self.frozen_months[month]
        (powered,) = (one.powered_h100e for one in frozen.regions if one.region == region)
        if powered is None:
            return has
        grown = ratio(work_in(region, demands), work_in(region, frozen.segments), otherwise=1.0)
        return replace(has, powered_h100e=self._either("supply limit", has.powered_h100e, powered * grown))


def work_in(region: str, segments: Iterable[SegmentMonth]) -> PerWorld:
    """GPU-hours a day that the work of a region takes if perfectly packed, H100e."""
    return sum(one.packed_gpu_hours_per_day for one in segments if one.region == region)
