"""A segment for which providers compete: their prices, who is chosen, what all of them together come to.

Sections 2 to 4 of the model.  The curve `hill` is the logit with an outside option: with one provider, or several
whose prices and capabilities keep their ratios, everything is as without them.  Arrays have the shape (..., j) with
providers on the last axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from jevons.capability_race import capability_paths
from jevons.choice import (
    Shares,
    each,
    entrant_utility,
    own_elasticities,
    own_elasticity_slopes,
    shares,
    total,
    utilities_of_shares,
    utility,
)
from jevons.conduct import lerner_log_prices, limited_log_prices, log_markup
from jevons.dates import approach, months_between
from jevons.demand import SMALLEST_USAGE, Response, log_growth, tokens_per_task
from jevons.efficiency import Progress, months_since_shock, progress, trend_progress
from jevons.market import NO_RESPONSE, NOTHING_MET, Conditions, Requests, SegmentMarket, Standing
from jevons.offers import Offers, columns, plain, row
from jevons.pricing import rental_trend, unit_cost_usd_per_mtok
from jevons.randomness import Floats
from jevons.scenario import Arm, Choice, Offer, Provider, Scenario
from jevons.stacks import PerWorld, exp, larger, log, where
from jevons.units import log_growth_per_month

Flags = npt.NDArray[np.bool_]

#: No share is counted from less.
SMALLEST_SHARE = 1e-9


def market_of(scenario: Scenario, name: str, region: str, requests: Requests) -> SegmentMarket:
    """The market of a segment in a region: of providers where it has offers, else of one who stands for all."""
    kind = ProviderMarket if scenario.segments[name].offers else SegmentMarket
    return kind(scenario, name, region, requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffersProgress(Progress):
    """What an arm's month says of each provider; of the segment, what would be without them."""

    compute_factors: Floats
    #: Over the unit common to the scenario's providers, trend and shock included.
    log_capabilities: Floats
    is_offered: Flags
    conduct: Floats

    def with_compute_of(self, other: OffersProgress, in_worlds: object) -> OffersProgress:
        """Progress with the compute of another, and with how its providers set prices."""
        worlds = np.asarray(in_worlds)[..., None]
        return replace(
            self,
            compute_factor=where(in_worlds, other.compute_factor, self.compute_factor),
            compute_factors=np.where(worlds, other.compute_factors, self.compute_factors),
            conduct=np.where(worlds, other.conduct, self.conduct),
        )

    def with_capability_of(self, other: OffersProgress, in_worlds: object) -> OffersProgress:
        """Progress with the capability of another, provider by provider."""
        worlds = np.asarray(in_worlds)[..., None]
        return replace(
            self,
            log_capability=where(in_worlds, other.log_capability, self.log_capability),
            log_capabilities=np.where(worlds, other.log_capabilities, self.log_capabilities),
        )

    def with_entry_of(self, other: OffersProgress, in_worlds: object) -> OffersProgress:
        """Progress with the providers of another: who has entered, who is banned."""
        is_offered = np.where(np.asarray(in_worlds)[..., None], other.is_offered, self.is_offered)
        return replace(self, is_offered=is_offered)

    def advanced(self, log_gain: PerWorld) -> OffersProgress:
        """Progress with an efficiency that is higher by a gain in logs, whoever serves."""
        return replace(
            self,
            compute_factor=self.compute_factor * exp(-log_gain),
            compute_factors=self.compute_factors * np.exp(-each(log_gain)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What each provider is counted from: its start or, for an entrant, its entry."""

    #: Brand and trust included.
    utilities: Floats
    #: Of the users.
    shares: Floats
    unit_costs: Floats
    full_prices: Floats
    #: Full price of the segment on its trend, over that of its start.
    trend_log_prices: Floats
    log_capabilities: Floats
    log_markups: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a month adds up to utility, prices apart."""

    #: Minus infinity for what cannot be had.
    taste: Floats
    #: What full prices are counted from, in logs.
    log_price_offset: Floats
    #: Since the reference.
    log_capability: Floats


class ProviderMarket(SegmentMarket):
    """A segment in a region for which providers compete."""

    def __init__(self, scenario: Scenario, name: str, region: str, requests: Requests) -> None:
        super().__init__(scenario, name, region, requests)
        self.choice = self.segment.choice or Choice()
        self.names = tuple(name for name in self.segment.offers if np.any(np.asarray(self._share(name)) > 0.0))
        self.offers = tuple(self.segment.offers[name] for name in self.names)
        self.providers = tuple(scenario.providers[name] for name in self.names)
        self.serves_from = tuple(provider.serves_from or region for provider in self.providers)
        self.entries = tuple(self._entry_month(provider) for provider in self.providers)
        self.is_incumbent = np.array([entry == self.first_month for entry in self.entries])
        self.nests = self._nests()
        self.price_weight: PerWorld = -self.segment.price_elasticity / (1.0 - self.segment.penetration)
        self.capability_weight: PerWorld = self.segment.capability_elasticity / (1.0 - self.segment.penetration)
        self.compute_factors = row([offer.compute_factor for offer in self.offers])
        self.free_shares = np.array([offer.free_share for offer in self.offers])
        own = [offer.price_usd_per_mtok for offer in self.offers]
        self.list_prices = row([self.segment.price_usd_per_mtok if price is None else price for price in own])
        self._races: dict[Arm | None, list[Floats]] = {}
        self._anchors: dict[int, tuple[Floats, Floats]] = {}

    def open(self, *, packing: PerWorld, latency_s: PerWorld) -> None:
        """Note what the first month met, as `SegmentMarket.open`; what was counted without it is counted anew."""
        if self.opening_met is None:
            self._anchors.clear()
            for name in ("reference", "reference_costs"):
                self.__dict__.pop(name, None)
        super().open(packing=packing, latency_s=latency_s)

    # What the scenario says of the providers.

    def _share(self, name: str) -> PerWorld:
        offer = self.segment.offers[name]
        return offer.share_by_region.get(self.region, offer.share)

    def _entry_month(self, provider: Provider) -> int:
        """Month that a provider is counted from: the segment's first, or that of its entry."""
        date = provider.since
        if provider.enters_with_shock and self.scenario.shock is not None:
            date = self.scenario.shock.date
        if date is None:
            return self.first_month
        return max(self.first_month, -int(-months_between(self.scenario.run.start, date) // 1))

    def _nests(self) -> tuple[int, ...]:
        by_origin = self.choice.nests_by == "origin"
        labels = [str(provider.home == self.region) if by_origin else provider.nest for provider in self.providers]
        return tuple(sorted(set(labels)).index(label) for label in labels)

    def _trust(self) -> Floats:
        return row([provider.trust.get(self.region, 0.0) for provider in self.providers])

    # What a month says of them.

    def progress(self, arm: Arm, month: int) -> OffersProgress:
        """Progress of an arm in a month, since the start of the run."""
        scenario = self.scenario
        own = super().progress(arm, month)
        each_one = [progress(scenario, arm, self.name, self.region, month, name) for name in self.names]
        since = None if scenario.shock is None else months_since_shock(scenario, scenario.shock, arm, month)
        return OffersProgress(
            compute_factor=own.compute_factor,
            log_capability=own.log_capability,
            compute_factors=row([one.compute_factor for one in each_one]),
            log_capabilities=row([one.log_capability for one in each_one]) + self._race(arm)[month],
            is_offered=row([self._is_offered(provider, month, since) for provider in self.providers]) > 0.0,
            conduct=row([self._conduct(offer, month, since) for offer in self.offers]),
        )

    def _trend_progress(self, month: int) -> OffersProgress:
        """Progress without the shock and without any dated event: nobody comes, is banned or hindered, no war."""
        trend = trend_progress(self.scenario, month)
        nobody_new = [trend.log_capability] * len(self.names)
        return OffersProgress(
            compute_factor=trend.compute_factor,
            log_capability=trend.log_capability,
            compute_factors=row([trend.compute_factor] * len(self.names)),
            log_capabilities=row(nobody_new) + self._race(None)[month],
            is_offered=self.is_incumbent,
            conduct=row([offer.conduct for offer in self.offers]),
        )

    def _race(self, arm: Arm | None) -> list[Floats]:
        """Capabilities by month in an arm; None stands for the trend that the baseline is anchored to."""
        if arm not in self._races:
            path = capability_paths(self.scenario, arm or "baseline", is_anchor=arm is None)
            self._races[arm] = [row([month[name] for name in self.names]) for month in path]
        return self._races[arm]

    def _is_offered(self, provider: Provider, month: int, since_shock: PerWorld | None) -> PerWorld:
        """1 where users can have it, 0 where it is banned or yet to come."""
        banned, start = provider.banned_in.get(self.region), self.scenario.run.start
        if banned is not None and month >= months_between(start, banned):
            return 0.0
        if provider.since is not None and month < months_between(start, provider.since):
            return 0.0
        if not provider.enters_with_shock:
            return 1.0
        return 0.0 if since_shock is None else where(since_shock >= 0.0, 1.0, 0.0)

    def _conduct(self, offer: Offer, month: int, since_shock: PerWorld | None) -> PerWorld:
        if offer.pricing != "war":
            return offer.conduct
        if offer.war_date is not None:
            is_war = month >= months_between(self.scenario.run.start, offer.war_date)
            return offer.war_conduct if is_war else offer.conduct
        return offer.conduct if since_shock is None else where(since_shock >= 0.0, offer.war_conduct, offer.conduct)

    # From month to month.

    def opening(self, progress: Progress, *, price: PerWorld | None = None) -> Standing:
        """Where the segment stands in its first month: each provider at its list price, but for a shock before."""
        met = replace(self._trend_conditions(self.first_month), progress=progress)
        return self._standing(None, met, self._log_prices(None, met), price, 0.0)

    def standing(self, before: Standing, met: Conditions, *, price: PerWorld | None = None) -> Standing:
        """Where the segment stands in a month; a price of the caller's is the mean, around which ratios are kept."""
        log_exogenous = self.trend[met.month - self.first_month].log_exogenous
        return self._standing(before, met, self._log_prices(before, met), price, log_exogenous)

    def _next_trend(self, before: Standing, met: Conditions) -> Standing:
        standing = self._standing(before, met, self._anchor(met.month)[0], None, 0.0)
        growth = log_growth(self.segment, met.month - self.first_month)
        observed = self.segment.usage_growth_is == "observed"
        return replace(standing, log_exogenous=growth - standing.log_tokens if observed else growth)

    def _trend_conditions(self, month: int) -> Conditions:
        rentals = {name: rental_trend(self.scenario, name, month) for name in self.scenario.regions}
        return replace(super()._trend_conditions(month), rentals=rentals)

    # Cost and price.

    def _intensities(self, met: Conditions) -> Floats:
        since_start = _of(met).compute_factors / each(self._trend_at_start.compute_factor)
        return each(self._start_gpu_seconds) * self.compute_factors * since_start

    def _costs(self, met: Conditions) -> Floats:
        """Unit cost of each provider, on the rental market of the region that it serves from."""
        local = met.rental_usd_per_gpu_hour
        rentals = [local if place == self.region else met.rentals[place] for place in self.serves_from]
        other = self._start.other_cost_usd_per_mtok
        return row(
            [
                unit_cost_usd_per_mtok(intensity, rental, met.packing, other)
                for intensity, rental in zip(columns(self._intensities(met)), rentals, strict=True)
            ]
        )

    @cached_property
    def reference_costs(self) -> Floats:
        """Unit cost of each provider at its start or entry, on the trend."""
        return row([self._costs(self._trend_conditions(entry))[..., j] for j, entry in enumerate(self.entries)])

    def _anchor(self, month: int) -> tuple[Floats, Floats]:
        """Price of each provider on its trend, in logs, and the unit cost that goes with it."""
        if month not in self._anchors:
            costs = self._costs(self._trend_conditions(month))
            start, change = np.log(self.list_prices), self.segment.price_change_per_year
            if change is None:
                moved = each(self.pass_through) * (np.log(costs) - np.log(self.reference_costs))
            else:
                moved = each(log_growth_per_month(change)) * (month - np.array(self.entries))
            self._anchors[month] = start + moved, costs
        return self._anchors[month]

    def _log_prices(self, before: Standing | None, met: Conditions) -> Floats:
        """Prices of the month: what sets each off from its trend is passed on at a finite speed."""
        anchor, costs = self._anchor(met.month)
        off = self._target_log_prices(before, met, anchor, np.log(self._costs(met)) - np.log(costs)) - anchor
        was_off = np.zeros_like(off)
        if before is not None and before.offers is not None:
            known = row(before.offers.log_price) - self._anchor(met.month - 1)[0]
            was_off = np.where(row(before.offers.is_offered) > 0.0, known, 0.0)
        return anchor + _approach(was_off, off, self.scenario.pricing.adjustment_months)

    def _target_log_prices(
        self, before: Standing | None, met: Conditions, anchor: Floats, log_cost_change: Floats
    ) -> Floats:
        """Prices that the providers move to, each by its own rule."""
        shortage = each(self.scenario.pricing.shortage_markup * met.log_shortage)
        prices = anchor + each(self.pass_through) * log_cost_change + shortage
        marks_up = self._prices_by("bertrand", "war")
        if marks_up.any():
            # The observed price sets the level; Lerner's rule moves it, with the mark-up over that of the start.
            base = anchor + log_cost_change + shortage - self.reference.log_markups
            prices = self._marked_up(before, met, base, prices, marks_up)
        is_limited = self._prices_by("limit")
        if is_limited.any():
            premium = row([log(1.0 + offer.limit_premium) for offer in self.offers])
            prices = limited_log_prices(prices, is_limited, self._fringe(prices, met), premium)
        return prices

    def _prices_by(self, *rules: str) -> Flags:
        return np.array([offer.pricing in rules for offer in self.offers])

    def _marked_up(
        self, before: Standing | None, met: Conditions, base: Floats, by_cost: Floats, marks_up: Flags
    ) -> Floats:
        beside_money, nu = self._beside_money(met.latency_s), self.choice.nest_similarity
        terms = self._terms(met, self.reference)

        def own_elasticity(log_prices: Floats) -> tuple[Floats, Floats]:
            money = np.exp(np.where(marks_up, log_prices, by_cost))
            chosen, _ = self._chosen(money + beside_money, terms)
            share = money / (money + beside_money)
            magnitude = -own_elasticities(chosen, self.price_weight, nu) * share
            slope = own_elasticity_slopes(chosen, self.price_weight, nu) * share * share
            return magnitude, slope + magnitude * (1.0 - share)

        conduct = np.where(marks_up, _of(met).conduct, 0.0)
        guess = None if before is None or before.offers is None else row(before.offers.log_price)
        return np.where(marks_up, lerner_log_prices(base, conduct, own_elasticity, guess), by_cost)

    def _fringe(self, log_prices: Floats, met: Conditions) -> Floats:
        """Cheapest price of open weights, in logs; infinite where there are none."""
        is_open = np.array([provider.open_weights for provider in self.providers])
        return np.asarray(np.where(is_open & _of(met).is_offered, log_prices, np.inf).min(axis=-1))

    def _full_prices(self, log_prices: Floats, met: Conditions) -> Floats:
        paid = np.exp(log_prices) * (1.0 - each(met.subsidised_share))
        return np.asarray(paid + self._beside_money(met.latency_s))

    def _beside_money(self, latency_s: PerWorld) -> Floats:
        """What waiting and the human part add to the price."""
        return each(self._full_price(0.0, latency_s))

    def _trend_log_full_price(self, month: int) -> PerWorld:
        """Full price of the segment on its trend, in logs over that of its start."""
        cost = self._unit_cost(self._trend_conditions(month))
        price, latency_s = exp(self._trend_log_price(month - self.first_month, cost)), self._opening_latency_s
        return log(self._full_price(price, latency_s) / self._full_price(self.segment.price_usd_per_mtok, latency_s))

    @property
    def _opening_latency_s(self) -> PerWorld:
        return (self.opening_met or NOTHING_MET)[1]

    # What is counted from.

    @cached_property
    def reference(self) -> Reference:
        """What each provider is counted from.

        Those of the start have the shares given, trust taken into account.  An entrant has the taste with which it
        would settle at its share if it came on its day to the trend, at its list price, beside no other entrant.
        """
        utilities = self._utilities_of_the_start()
        at_start = Reference(
            utilities=utilities,
            shares=shares(utilities, self.nests, self.choice.nest_similarity).of_users,
            unit_costs=self.reference_costs,
            full_prices=self.list_prices + self._beside_money(self._opening_latency_s),
            trend_log_prices=row([self._trend_log_full_price(entry) for entry in self.entries]),
            log_capabilities=row(
                [self._trend_progress(entry).log_capabilities[..., j] for j, entry in enumerate(self.entries)]
            ),
            log_markups=np.zeros(len(self.names)),
        )
        found = replace(at_start, log_markups=self._log_markups(utilities, at_start))
        for j in np.flatnonzero(~self.is_incumbent).tolist():
            found = self._with_entrant(j, found, at_start)
        return found

    def _utilities_of_the_start(self) -> Floats:
        """Utilities that give those of the start their shares, trust added, and together the segment's penetration."""
        known = np.flatnonzero(self.is_incumbent)
        nests, nu = [self.nests[j] for j in known], self.choice.nest_similarity
        given = row([larger(self._share(self.names[j]), SMALLEST_SHARE) for j in known])
        penetration = each(self.segment.penetration)
        neutral = utilities_of_shares(given / total(given)[..., None] * penetration, nests, nu)
        trusted = shares(neutral + self._trust()[..., known], nests, nu).of_users
        utilities = utilities_of_shares(trusted * penetration, nests, nu)
        found = np.full((*utilities.shape[:-1], len(self.names)), -np.inf)
        found[..., known] = utilities
        return found

    def _with_entrant(self, j: int, found: Reference, at_start: Reference) -> Reference:
        entry, nu = self.entries[j], self.choice.nest_similarity
        met = self._trend_conditions(entry)
        full = self._full_prices(self._anchor(entry)[0], met)
        terms = self._terms(met, at_start)
        _, average = self._chosen(full, terms)
        utilities = self._utilities(full, terms) - each(self.capability_weight * average)
        wanted = larger(self._share(self.names[j]), SMALLEST_SHARE)
        own = np.asarray(entrant_utility(wanted, j, utilities, self.nests, nu)) + self._trust()[..., j]
        entered = _with(utilities, j, own)
        return replace(
            found,
            utilities=_with(found.utilities, j, own),
            shares=_with(found.shares, j, shares(entered, self.nests, nu).of_users[..., j]),
            # Its capability counts from the others' mean, so that coming in is no loss of capability.
            log_capabilities=_with(found.log_capabilities, j, found.log_capabilities[..., j] - average),
            log_markups=_with(found.log_markups, j, self._log_markups(entered, at_start)[..., j]),
        )

    def _log_markups(self, utilities: Floats, reference: Reference) -> Floats:
        """Mark-ups by Lerner's rule at list prices, in logs."""
        nu = self.choice.nest_similarity
        own = -own_elasticities(shares(utilities, self.nests, nu), self.price_weight, nu)
        money = own * self.list_prices / reference.full_prices
        return log_markup(money, row([offer.conduct for offer in self.offers]))

    # Who is chosen.

    def _terms(self, met: Conditions, reference: Reference) -> Terms:
        tracked = each(self._trend_log_full_price(met.month)) - reference.trend_log_prices
        return Terms(
            taste=np.where(_of(met).is_offered, reference.utilities, -np.inf),
            log_price_offset=np.log(reference.full_prices) + each(self.segment.willingness_tracks_price) * tracked,
            log_capability=_of(met).log_capabilities - reference.log_capabilities,
        )

    def _chosen(self, full_prices: Floats, terms: Terms) -> tuple[Shares, Floats]:
        """Who is chosen at rest, and the capability gained in the users' mean.

        What all have gained in capability moves usage as in a segment without providers; what sets one off from
        the users' mean moves shares.
        """
        raw = shares(self._utilities(full_prices, terms), self.nests, self.choice.nest_similarity)
        average = total(raw.of_users * terms.log_capability)
        return raw.shifted(-self.capability_weight * average), average

    def _utilities(self, full_prices: Floats, terms: Terms) -> Floats:
        return utility(
            terms.log_capability,
            terms.taste,
            np.log(full_prices) - terms.log_price_offset,
            capability_weight=self.capability_weight,
            price_weight=self.price_weight,
        )

    def _wanted(self, full_prices: Floats, costs: Floats, met: Conditions) -> tuple[Response, Floats]:
        """What usage settles at, in logs over that of the start, and the shares of its providers."""
        terms = self._terms(met, self.reference)
        chosen, average = self._chosen(full_prices, terms)
        without_gain, _ = self._chosen(full_prices, replace(terms, log_capability=np.zeros(len(self.names))))
        use = self._use(chosen, costs, met)
        by_price = _log(total(self._use(without_gain, costs, met)))
        by_capability = each(self.segment.capability_elasticity)[..., 0] * average + _log(total(use)) - by_price
        return Response(price=plain(by_price), capability=plain(by_capability)), use / total(use)[..., None]

    def _use(self, chosen: Shares, costs: Floats, met: Conditions) -> Floats:
        r"""Use of each provider over that of all at the start: what is paid for by choice, what is free by quota.

        .. math:: (1 - \varphi_j)\, s_j / s + \varphi_j \sigma_j (c_j/c_{j0})^{-q}
        """
        paid = chosen.of_all / each(self.segment.penetration)
        if not self.free_shares.any():
            return paid
        log_cost = np.log(costs) - np.log(self.reference.unit_costs)
        quota = self.reference.shares * np.exp(-each(self.segment.quota_pass_through) * log_cost)
        free = np.where(_of(met).is_offered, quota, 0.0)
        return np.asarray((1.0 - self.free_shares) * paid + self.free_shares * free)

    def _switched(self, before: Standing | None, wanted: Floats, met: Conditions) -> Floats:
        """Shares of the month: users switch at a finite speed, but leave at once what can no longer be had."""
        if before is None or before.offers is None:
            return wanted
        moved = _approach(row(before.offers.shares), wanted, self.choice.switching_months)
        left = np.where(_of(met).is_offered, moved, 0.0)
        return left / total(left)[..., None]

    # All together.

    def _standing(
        self,
        before: Standing | None,
        met: Conditions,
        log_prices: Floats,
        price: PerWorld | None,
        log_exogenous: PerWorld,
    ) -> Standing:
        """The standing at some prices: usage and shares have gone part of the way to what they settle at."""
        if price is not None:
            log_prices = log_prices + each(log(price) - log(self._mean_price(before, log_prices)))
        full, costs = self._full_prices(log_prices, met), self._costs(met)
        target, wanted = self._wanted(full, costs, met)
        used = self._switched(before, wanted, met)
        mean_price = plain(total(used * np.exp(log_prices))) if price is None else price
        response = NO_RESPONSE if before is None else before.response
        months = self.segment.adjustment_months
        return Standing(
            log_price=log(mean_price),
            response=Response(
                price=approach(response.price, target.price, months),
                capability=approach(response.capability, target.capability, months),
            ),
            log_tokens_per_task=log(tokens_per_task(self.segment, mean_price / self._opening_price)),
            log_exogenous=log_exogenous,
            full_price_usd_per_mtok=plain(total(used * full)),
            unit_cost_usd_per_mtok=plain(total(used * costs)),
            gpu_seconds_per_mtok=plain(total(used * self._intensities(met))),
            offers=self._offers_of(met, used, log_prices),
        )

    def _offers_of(self, met: Conditions, used: Floats, log_prices: Floats) -> Offers:
        return Offers(
            names=self.names,
            serves_from=self.serves_from,
            is_offered=columns(_of(met).is_offered.astype(np.float64)),
            shares=columns(used),
            opening_shares=columns(self.reference.shares * self.is_incumbent),
            log_price=columns(log_prices),
            log_capability=columns(_of(met).log_capabilities),
            gpu_seconds_per_mtok=columns(self._intensities(met)),
        )

    def tokens_per_task_of(self, offers: Offers) -> PerWorld:
        """Tokens of a task over those of the start, at the mean price of some offers."""
        mean_price = plain(total(row(offers.shares) * np.exp(row(offers.log_price))))
        return tokens_per_task(self.segment, mean_price / self._opening_price)

    @property
    def _opening_price(self) -> PerWorld:
        return plain(total(self.reference.shares * self.is_incumbent * self.list_prices))

    def _mean_price(self, before: Standing | None, log_prices: Floats) -> PerWorld:
        known = None if before is None else before.offers
        used = self.reference.shares * self.is_incumbent if known is None else row(known.shares)
        return plain(total(used * np.exp(log_prices)))


def _of(met: Conditions) -> OffersProgress:
    """What a month says of each provider."""
    assert isinstance(met.progress, OffersProgress), "a market of providers makes its own progress"
    return met.progress


def _with(numbers: Floats, j: int, own: Floats) -> Floats:
    """An array of shape (..., j) with another figure of one provider."""
    shape = np.broadcast_shapes(numbers.shape[:-1], np.shape(own))
    changed = np.array(np.broadcast_to(numbers, (*shape, numbers.shape[-1])))
    changed[..., j] = own
    return changed


def _approach(previous: Floats, target: Floats, time_constant_months: PerWorld) -> Floats:
    """`approach` for each provider."""
    moved: Callable[[Floats, Floats, Floats], Floats] = approach  # type: ignore[assignment]
    return moved(previous, target, each(time_constant_months))


def _log(usage: Floats) -> Floats:
    return np.log(np.maximum(usage, SMALLEST_USAGE))
