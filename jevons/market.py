"""A segment's market in a region, month by month: cost to price, price to usage.

Sections 2 to 4 of the model.  Here one representative provider serves a region; where several compete,
`providers.ProviderMarket` forms price and usage instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from jevons.dates import approach, months_between
from jevons.demand import (
    Curve,
    Response,
    curve,
    log_growth,
    log_usage_target,
    seen_relative_price,
    tokens_per_task,
)
from jevons.efficiency import Progress, progress, trend_progress
from jevons.offers import Offers
from jevons.pricing import full_price_usd_per_mtok, rental_trend, target_log_price, unit_cost_usd_per_mtok
from jevons.scenario import Arm, Scenario, Segment
from jevons.stacks import PerWorld, exp, log
from jevons.units import SECONDS_PER_HOUR, TOKENS_PER_MTOK, log_growth_per_month

#: Before a segment's first month.
NO_RESPONSE = Response(price=0.0, capability=0.0)
#: Packing and waiting, s, before they are known.
NOTHING_MET = (1.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What a request of a segment is made of, on average."""

    input_tokens: float
    output_tokens: float
    cached_share: float

    @property
    def tokens(self) -> float:
        """Tokens of a request, input and output."""
        return self.input_tokens + self.output_tokens

    def gpu_seconds_per_mtok(self, segment: Segment) -> PerWorld:
        """Compute of a million tokens of the segment at its start, input and output blended, H100e GPU-s."""
        computed_input = self.input_tokens * (1.0 - self.cached_share) * segment.gpu_seconds_per_mtok_input
        return (computed_input + self.output_tokens * segment.gpu_seconds_per_mtok_output) / self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a segment meets in a region in a month."""

    month: int
    #: Progress of this arm since the start of the run.
    progress: Progress
    rental_usd_per_gpu_hour: PerWorld
    #: Share of the GPU-hours switched on that perfectly packed work would need.
    packing: PerWorld
    #: Time from request to last token.
    latency_s: PerWorld
    #: Need over what could be switched on, in logs; 0 without a shortage.
    log_shortage: PerWorld
    #: Rental prices of all regions, for providers that serve from elsewhere.
    rentals: Mapping[str, PerWorld] = field(default_factory=dict)
    #: Share of the price that the public purse pays.
    subsidised_share: PerWorld = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a segment stands in a region in a month; logs are relative to its start."""

    log_price: PerWorld
    #: What usage has so far made of price (with waiting) and of capability.
    response: Response
    log_tokens_per_task: PerWorld
    log_exogenous: PerWorld
    full_price_usd_per_mtok: PerWorld
    unit_cost_usd_per_mtok: PerWorld
    gpu_seconds_per_mtok: PerWorld
    #: None where one provider stands for all.
    offers: Offers | None = None

    @property
    def price_usd_per_mtok(self) -> PerWorld:
        """Price of a million tokens."""
        return exp(self.log_price)

    @property
    def log_tasks(self) -> PerWorld:
        """Tasks over those of the start, in logs."""
        return self.log_exogenous + self.response.price + self.response.capability

    @property
    def log_tokens(self) -> PerWorld:
        """Tokens over those of the start, in logs."""
        return self.log_tasks + self.log_tokens_per_task


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What cost and full price of a segment in a region are counted from."""

    unit_cost_usd_per_mtok: PerWorld
    #: Of it what is not compute.
    other_cost_usd_per_mtok: PerWorld
    full_price_usd_per_mtok: PerWorld


class SegmentMarket:
    """A segment in a region: its curve, its start, and the trend path of its baseline that anchors it."""

    def __init__(self, scenario: Scenario, name: str, region: str, requests: Requests) -> None:
        self.scenario = scenario
        self.name = name
        self.region = region
        self.requests = requests
        self.segment = scenario.segments[name]
        self.first_month = first_month(scenario, self.segment)
        self.curve: Curve = curve(self.segment)
        own = self.segment.pass_through
        self.pass_through = scenario.pricing.pass_through if own is None else own
        #: Packing and waiting of the first month, from which cost and full price are counted.
        self.opening_met: tuple[PerWorld, PerWorld] | None = None
        self._trend_at_start = trend_progress(scenario, self.first_month)
        self._start_rental = rental_trend(scenario, region, self.first_month)
        self._start_gpu_seconds = requests.gpu_seconds_per_mtok(self.segment)
        self._start = self._start_at(*NOTHING_MET)

    def progress(self, arm: Arm, month: int) -> Progress:
        """Progress of an arm in a month, since the start of the run."""
        return progress(self.scenario, arm, self.name, self.region, month)

    def opening(self, progress: Progress, *, price: PerWorld | None = None) -> Standing:
        """Where the segment stands in its first month: at its list price, but for a shock that came before it.

        Parameters
        ----------
        progress : Progress
            That of the arm in the segment's first month.
        price : array_like, shape (...), optional, USD/Mtok
            Price to take instead of the model's.
        """
        met = replace(self._trend_conditions(self.first_month), progress=progress)
        cost, start = self._unit_cost(met), log(self.segment.price_usd_per_mtok)
        target = target_log_price(start, self.pass_through, log(self._relative_cost(cost)))
        moved = start + approach(0.0, target - start, self.scenario.pricing.adjustment_months)
        log_price = moved if price is None else log(price)
        return self._responded(NO_RESPONSE, met, cost, log_price, self._start.full_price_usd_per_mtok, 0.0)

    def open(self, *, packing: PerWorld, latency_s: PerWorld) -> None:
        """Note what the first month met, in the arm that comes to it first: the one counted from in all."""
        if self.opening_met is None:
            self.opening_met = packing, latency_s
            self._start = self._start_at(packing, latency_s)

    @property
    def start_tokens_per_day(self) -> PerWorld:
        """Usage at the segment's start, all regions together; of a budget, what it buys."""
        if self.segment.budget_usd_per_day is not None:
            cost = self._start_at(*NOTHING_MET).unit_cost_usd_per_mtok
            return self.segment.budget_usd_per_day / cost * TOKENS_PER_MTOK
        return 0.0 if self.segment.tokens_per_day is None else self.segment.tokens_per_day

    def compute_factor(self, gpu_seconds_per_mtok: PerWorld) -> PerWorld:
        """Compute intensity over that of the segment's start."""
        return gpu_seconds_per_mtok / self._start_gpu_seconds

    def standing(self, before: Standing, met: Conditions, *, price: PerWorld | None = None) -> Standing:
        """Where the segment stands in a month, from where it stood in the month before.

        Parameters
        ----------
        before : Standing
            That of the month before.
        met : Conditions
            Cost, waiting and progress of the month.
        price : array_like, shape (...), optional, USD/Mtok
            Price to take instead of the model's.
        """
        cost, trend = self._unit_cost(met), self.trend[met.month - self.first_month]
        log_price = self._log_price(before, met, cost, trend) if price is None else log(price)
        full_price = trend.full_price_usd_per_mtok
        return self._responded(before.response, met, cost, log_price, full_price, trend.log_exogenous)

    @cached_property
    def trend(self) -> list[Standing]:
        """The path of the baseline if only its trends were at work, from the first month on.

        Where the scenario gives usage as observed, what this path's response leaves unexplained is
        exogenous, so that draws of an elasticity leave the baseline where the data put it.  Where it
        gives the change of the price as observed, what cost does not explain is a drift of the margin.
        """
        path = [self.opening(self._trend_progress(self.first_month))]
        for month in range(self.first_month + 1, self.scenario.run.months):
            path.append(self._next_trend(path[-1], self._trend_conditions(month)))
        return path

    def _next_trend(self, before: Standing, met: Conditions) -> Standing:
        months = met.month - self.first_month
        cost = self._unit_cost(met)
        standing = self._responded(before.response, met, cost, self._trend_log_price(months, cost), None, 0.0)
        growth = log_growth(self.segment, months)
        observed = self.segment.usage_growth_is == "observed"
        return replace(standing, log_exogenous=growth - standing.log_tokens if observed else growth)

    def _trend_progress(self, month: int) -> Progress:
        return trend_progress(self.scenario, month)

    def _trend_conditions(self, month: int) -> Conditions:
        packing, latency_s = self.opening_met or NOTHING_MET
        return Conditions(
            month=month,
            progress=self._trend_progress(month),
            rental_usd_per_gpu_hour=rental_trend(self.scenario, self.region, month),
            packing=packing,
            latency_s=latency_s,
            log_shortage=0.0,
        )

    def _trend_log_price(self, months: int, unit_cost: PerWorld) -> PerWorld:
        start = log(self.segment.price_usd_per_mtok)
        if self.segment.price_change_per_year is not None:
            return start + log_growth_per_month(self.segment.price_change_per_year) * months
        return target_log_price(start, self.pass_through, log(self._relative_cost(unit_cost)))

    def _log_price(self, before: Standing, met: Conditions, unit_cost: PerWorld, trend: Standing) -> PerWorld:
        """The price of the month: what sets it off from its trend is passed on at a finite speed."""
        pricing = self.scenario.pricing
        target = target_log_price(
            trend.log_price,
            self.pass_through,
            log(unit_cost / trend.unit_cost_usd_per_mtok),
            shortage=pricing.shortage_markup * met.log_shortage,
        )
        off_trend = before.log_price - self.trend[met.month - 1 - self.first_month].log_price
        return trend.log_price + approach(off_trend, target - trend.log_price, pricing.adjustment_months)

    def _responded(
        self,
        before: Response,
        met: Conditions,
        unit_cost: PerWorld,
        log_price: PerWorld,
        trend_full_price: PerWorld | None,
        log_exogenous: PerWorld,
    ) -> Standing:
        """The standing at a price: usage has gone part of the way to what it settles at."""
        paid = exp(log_price) * (1.0 - met.subsidised_share)
        full = self._full_price(paid, met.latency_s)
        start = self._start.full_price_usd_per_mtok
        trend = full if trend_full_price is None else trend_full_price
        target = log_usage_target(
            self.segment,
            self.curve,
            relative_full_price=seen_relative_price(full / start, trend / start, self.segment.willingness_tracks_price),
            relative_cost=self._relative_cost(unit_cost),
            log_capability=met.progress.log_capability - self._trend_at_start.log_capability,
        )
        months = self.segment.adjustment_months
        return Standing(
            log_price=log_price,
            response=Response(
                price=approach(before.price, target.price, months),
                capability=approach(before.capability, target.capability, months),
            ),
            log_tokens_per_task=log(tokens_per_task(self.segment, paid / self.segment.price_usd_per_mtok)),
            log_exogenous=log_exogenous,
            full_price_usd_per_mtok=full,
            unit_cost_usd_per_mtok=unit_cost,
            gpu_seconds_per_mtok=self._gpu_seconds_per_mtok(met.progress),
        )

    def _gpu_seconds_per_mtok(self, progress: Progress) -> PerWorld:
        return self._start_gpu_seconds * progress.compute_factor / self._trend_at_start.compute_factor

    def _start_at(self, packing: PerWorld, latency_s: PerWorld) -> Start:
        compute = unit_cost_usd_per_mtok(self._start_gpu_seconds, self._start_rental, packing)
        cost = compute / (1.0 - self.segment.other_cost_share)
        return Start(
            unit_cost_usd_per_mtok=cost,
            other_cost_usd_per_mtok=cost - compute,
            full_price_usd_per_mtok=self._full_price(self.segment.price_usd_per_mtok, latency_s),
        )

    def _unit_cost(self, met: Conditions) -> PerWorld:
        other = self._start.other_cost_usd_per_mtok
        gpu_seconds = self._gpu_seconds_per_mtok(met.progress)
        return unit_cost_usd_per_mtok(gpu_seconds, met.rental_usd_per_gpu_hour, met.packing, other)

    def _relative_cost(self, unit_cost: PerWorld) -> PerWorld:
        return unit_cost / self._start.unit_cost_usd_per_mtok

    def _full_price(self, price_usd_per_mtok: PerWorld, latency_s: PerWorld) -> PerWorld:
        return full_price_usd_per_mtok(
            price_usd_per_mtok,
            self.segment.value_of_time_usd_per_hour / SECONDS_PER_HOUR,
            latency_s * TOKENS_PER_MTOK / self.requests.tokens,
            self.segment.human_cost_usd_per_mtok,
        )


def first_month(scenario: Scenario, segment: Segment) -> int:
    """First month in which a segment is in use."""
    if segment.since is None:
        return 0
    months = months_between(scenario.run.start, segment.since)
    return max(0, -int(-months // 1))
