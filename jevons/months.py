"""What is known of a month: each segment in each region, each region, and what they consume.

Figures are those of one world, or of a stack of worlds: then arrays of shape (worlds,), of the days served with a
leading axis (worlds, ...).  `stacks.of_world` takes a world out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jevons.finance.monthly import VendorMonth
from jevons.fleet import Power
from jevons.offers import Offers
from jevons.randomness import Floats
from jevons.scenario import Arm, Resource
from jevons.serving import ServedDay
from jevons.stacks import PerWorld, of_world, ratio
from jevons.units import SECONDS_PER_HOUR, TOKENS_PER_MTOK


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentMonth:
    """A segment in a region in a month; `factors` multiply to its GPU-hours."""

    segment: str
    region: str
    #: Whether its requests are served one by one, rather than bought as GPU time by a budget.
    is_served: bool
    price_usd_per_mtok: PerWorld
    full_price_usd_per_mtok: PerWorld
    unit_cost_usd_per_mtok: PerWorld
    #: Usage without any response to price or capability, in tokens at the start's tokens per task.
    exogenous_tokens_per_day: PerWorld
    price_response: PerWorld
    capability_response: PerWorld
    tokens_per_task: PerWorld
    #: Compute intensity, H100e GPU-s/Mtok.
    gpu_seconds_per_mtok: PerWorld
    #: GPU-hours allocated over those of perfectly packed work; falls when work goes unserved.
    overhead: PerWorld = 1.0
    #: From request to last token.
    latency_s: PerWorld = 0.0
    #: Providers that compete for it; None where one stands for all.
    offers: Offers | None = None
    #: With providers: tokens that its region's fleet serves over those used there, and compute of a token served over
    #: that of the mix of the start.
    placement: PerWorld = 1.0
    mix: PerWorld = 1.0

    @property
    def tokens_per_day(self) -> PerWorld:
        """Usage."""
        response = self.price_response * self.capability_response
        return self.exogenous_tokens_per_day * response * self.tokens_per_task

    @property
    def served_tokens_per_day(self) -> PerWorld:
        """Tokens that the region's fleet serves, whoever uses them."""
        return self.tokens_per_day * self.placement

    @property
    def packed_gpu_hours_per_day(self) -> PerWorld:
        """GPU-hours that the tokens its fleet serves take if perfectly packed, H100e."""
        return self.served_tokens_per_day * self.gpu_seconds_per_mtok / TOKENS_PER_MTOK / SECONDS_PER_HOUR

    @property
    def gpu_hours_per_day(self) -> PerWorld:
        """GPU-hours allocated to it, H100e."""
        return self.packed_gpu_hours_per_day * self.overhead

    @property
    def factors(self) -> dict[str, PerWorld]:
        """What multiplies to its GPU-hours."""
        providers = {} if self.offers is None else {"providers": self.placement * self.mix}
        return {
            "growth": self.exogenous_tokens_per_day,
            "price": self.price_response,
            "capability": self.capability_response,
            "tokens per task": self.tokens_per_task,
            **providers,
            "intensity": self.gpu_seconds_per_mtok / self.mix / TOKENS_PER_MTOK / SECONDS_PER_HOUR,
            "density and supply": self.overhead,
        }

    def with_usage(self, tokens_per_day: PerWorld) -> SegmentMonth:
        """The month with another usage, its responses kept."""
        factor = tokens_per_day / self.tokens_per_day
        return replace(self, exogenous_tokens_per_day=self.exogenous_tokens_per_day * factor)

    def with_usage_of(self, other: SegmentMonth) -> SegmentMonth:
        """The month with the usage of another arm, factor by factor."""
        return replace(
            self,
            exogenous_tokens_per_day=other.exogenous_tokens_per_day,
            price_response=other.price_response,
            capability_response=other.capability_response,
            tokens_per_task=other.tokens_per_task,
            offers=None if self.offers is None or other.offers is None else self.offers.with_shares_of(other.offers),
        )

    def allocated(self, gpu_hours_per_day: PerWorld, latency_s: PerWorld) -> SegmentMonth:
        """The month with the GPU-hours it got and the waiting it met."""
        packed = self.packed_gpu_hours_per_day
        return replace(self, overhead=ratio(gpu_hours_per_day, packed, otherwise=1.0), latency_s=latency_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMonth:
    """The jobs of a region's budgets in a month; GPUs and GPU-hours are H100-equivalents.

    What only single jobs can tell is NaN where none were simulated.
    """

    #: Time from arrival to first start of the jobs that started in the month: mean, and of one in twenty longer.
    waiting_h: PerWorld
    p95_waiting_h: PerWorld
    jobs_finished: PerWorld
    jobs_given_up: PerWorld
    #: Neither finished nor running at the month's end.
    jobs_waiting: PerWorld
    #: Computed again after a checkpoint, or spent on starting again.
    lost_gpu_hours_per_day: PerWorld
    #: Idle while a job waited that all nodes together could hold.
    unusable_gpu_hours_per_day: PerWorld
    #: Share in use of training's own nodes, and of those that serving leaves; NaN where there are none.
    own_utilisation: PerWorld
    lent_utilisation: PerWorld


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionMonth:
    """A region in a month; GPUs and GPU-hours are H100-equivalents."""

    region: str
    rental_usd_per_gpu_hour: PerWorld
    #: None for a fleet without limit.
    installed_h100e: PerWorld | None
    powered_h100e: PerWorld | None
    on_order_h100e: PerWorld
    ordered_h100e: PerWorld
    #: What the month's order costs at the purchase price.
    ordered_usd: PerWorld
    serving_gpu_hours_per_day: PerWorld
    budget_gpu_hours_per_day: PerWorld
    wanted_gpu_hours_per_day: PerWorld
    peak_h100e: PerWorld
    #: Need over what can be switched on; above 1 when work is turned away.
    utilisation: PerWorld | None
    power: Power
    #: GPU-hours under load: those of nodes with at least one request, and those of the budgets.
    busy_gpu_hours_per_day: PerWorld
    lost_share: PerWorld
    #: The weekday and the day of the weekend that were served; none without a serving table, or if not kept.
    days: tuple[ServedDay, ...]
    #: None where no budget buys jobs.
    training: TrainingMonth | None = None
    #: Efficiency that scarcity has induced, in logs.
    log_induced_gain: PerWorld = 0.0

    @property
    def gpu_hours_per_day(self) -> PerWorld:
        """GPU-hours allocated to the work, busy or not."""
        return self.serving_gpu_hours_per_day + self.budget_gpu_hours_per_day

    @property
    def energy_mwh_per_day(self) -> PerWorld:
        """Energy of the GPU-hours allocated, under load or idle, cooling included."""
        idle = self.gpu_hours_per_day - self.busy_gpu_hours_per_day
        return self.power.energy_mwh(busy_gpu_hours=self.busy_gpu_hours_per_day, idle_gpu_hours=idle)

    @property
    def usd_per_day(self) -> PerWorld:
        """What the GPU-hours cost at the rental price."""
        return self.gpu_hours_per_day * self.rental_usd_per_gpu_hour

    def consumption_per_day(self, resource: Resource) -> PerWorld:
        """Consumption of a resource each day."""
        match resource:
            case "gpu_hours":
                return self.gpu_hours_per_day
            case "energy_mwh":
                return self.energy_mwh_per_day
            case "usd":
                return self.usd_per_day


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """Everything that is known of a month of an arm."""

    month: int
    segments: tuple[SegmentMonth, ...]
    regions: tuple[RegionMonth, ...]
    #: None where no vendor is looked at.
    vendor: VendorMonth | None = None

    def segment(self, name: str, region: str) -> SegmentMonth:
        """One of its segments in a region."""
        return next(s for s in self.segments if s.segment == name and s.region == region)

    def region(self, name: str) -> RegionMonth:
        """One of its regions."""
        return next(r for r in self.regions if r.region == name)

    def consumption_per_day(self, resource: Resource) -> PerWorld:
        """Consumption of a resource each day, all regions together."""
        return sum(region.consumption_per_day(resource) for region in self.regions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The months of the three arms of a stack of worlds."""

    worlds: int
    arms: Mapping[Arm, Sequence[Month]]

    def column(self, figure: PerWorld) -> Floats:
        """A figure of each world, shape (worlds,)."""
        return np.broadcast_to(np.asarray(figure, dtype=np.float64), (self.worlds,))

    def paths(self, arm: Arm, figure: Callable[[Month], PerWorld]) -> Floats:
        """A figure of every month of an arm, shape (worlds, months)."""
        return np.stack([self.column(figure(month)) for month in self.arms[arm]], axis=1)

    def each(self, figures: Mapping[str, Sequence[PerWorld]]) -> list[dict[str, list[float]]]:
        """Rows of figures, by name, in each of the worlds."""
        columns = [np.stack([self.column(figure) for figure in row], axis=1).tolist() for row in figures.values()]
        return [dict(zip(figures, rows, strict=True)) for rows in zip(*columns, strict=True)]

    def world(self, number: int) -> dict[Arm, list[Month]]:
        """The months of one world; those before the shock are the same objects in all arms."""
        known = {id(month): month for path in self.arms.values() for month in path}
        months = {key: of_world(month, number) for key, month in known.items()}
        return {arm: [months[id(month)] for month in path] for arm, path in self.arms.items()}
