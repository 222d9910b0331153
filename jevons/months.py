"""What is known of a month: each segment in each region, each region, and what they consume."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jevons.fleet import Power
from jevons.scenario import Resource
from jevons.serving import ServedDay
from jevons.units import SECONDS_PER_HOUR, TOKENS_PER_MTOK


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentMonth:
    """A segment in a region in a month; `factors` multiply to its GPU-hours."""

    segment: str
    region: str
    #: Whether its requests are served one by one, rather than bought as GPU time by a budget.
    is_served: bool
    price_usd_per_mtok: float
    full_price_usd_per_mtok: float
    unit_cost_usd_per_mtok: float
    #: Usage without any response to price or capability, in tokens at the start's tokens per task.
    exogenous_tokens_per_day: float
    price_response: float
    capability_response: float
    tokens_per_task: float
    #: Compute intensity, H100e GPU-s/Mtok.
    gpu_seconds_per_mtok: float
    #: GPU-hours allocated over those of perfectly packed work; falls when work goes unserved.
    overhead: float = 1.0
    #: From request to last token.
    latency_s: float = 0.0

    @property
    def tokens_per_day(self) -> float:
        """Usage."""
        response = self.price_response * self.capability_response
        return self.exogenous_tokens_per_day * response * self.tokens_per_task

    @property
    def packed_gpu_hours_per_day(self) -> float:
        """GPU-hours that its tokens take if perfectly packed, H100e."""
        return self.tokens_per_day * self.gpu_seconds_per_mtok / TOKENS_PER_MTOK / SECONDS_PER_HOUR

    @property
    def gpu_hours_per_day(self) -> float:
        """GPU-hours allocated to it, H100e."""
        return self.packed_gpu_hours_per_day * self.overhead

    @property
    def factors(self) -> dict[str, float]:
        """What multiplies to its GPU-hours."""
        return {
            "growth": self.exogenous_tokens_per_day,
            "price": self.price_response,
            "capability": self.capability_response,
            "tokens per task": self.tokens_per_task,
            "intensity": self.gpu_seconds_per_mtok / TOKENS_PER_MTOK / SECONDS_PER_HOUR,
            "density and supply": self.overhead,
        }

    def with_usage(self, tokens_per_day: float) -> SegmentMonth:
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
        )

    def allocated(self, gpu_hours_per_day: float, latency_s: float) -> SegmentMonth:
        """The month with the GPU-hours it got and the waiting it met."""
        packed = self.packed_gpu_hours_per_day
        return replace(self, overhead=gpu_hours_per_day / packed if packed > 0 else 1.0, latency_s=latency_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionMonth:
    """A region in a month; GPUs and GPU-hours are H100-equivalents."""

    region: str
    rental_usd_per_gpu_hour: float
    #: None for a fleet without limit.
    installed_h100e: float | None
    powered_h100e: float | None
    on_order_h100e: float
    ordered_h100e: float
    #: What the month's order costs at the purchase price.
    ordered_usd: float
    serving_gpu_hours_per_day: float
    budget_gpu_hours_per_day: float
    wanted_gpu_hours_per_day: float
    peak_h100e: float
    #: Need over what can be switched on; above 1 when work is turned away.
    utilisation: float | None
    power: Power
    #: GPU-hours under load: those of nodes with at least one request, and those of the budgets.
    busy_gpu_hours_per_day: float
    lost_share: float
    #: The weekday and the day of the weekend that were served; none without a serving table.
    days: tuple[ServedDay, ...]

    @property
    def gpu_hours_per_day(self) -> float:
        """GPU-hours allocated to the work, busy or not."""
        return self.serving_gpu_hours_per_day + self.budget_gpu_hours_per_day

    @property
    def energy_mwh_per_day(self) -> float:
        """Energy of the GPU-hours allocated, under load or idle, cooling included."""
        idle = self.gpu_hours_per_day - self.busy_gpu_hours_per_day
        return self.power.energy_mwh(busy_gpu_hours=self.busy_gpu_hours_per_day, idle_gpu_hours=idle)

    @property
    def usd_per_day(self) -> float:
        """What the GPU-hours cost at the rental price."""
        return self.gpu_hours_per_day * self.rental_usd_per_gpu_hour

    def consumption_per_day(self, resource: Resource) -> float:
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

    def segment(self, name: str, region: str) -> SegmentMonth:
        """One of its segments in a region."""
        return next(s for s in self.segments if s.segment == name and s.region == region)

    def consumption_per_day(self, resource: Resource) -> float:
        """Consumption of a resource each day, all regions together."""
        return sum(region.consumption_per_day(resource) for region in self.regions)
