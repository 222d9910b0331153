"""Rules between the fields on providers: names that exist, shares that add up, forms that can be shared out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import log

from jevons.dates import months_between
from jevons.scenario.classes import ScenarioTables, Segment
from jevons.scenario.fields import TAIL, Distribution
from jevons.scenario.keys import KeyPath
from jevons.scenario.provider_tables import Offer, Provider
from jevons.scenario.wording import Finding, shown, suggestion
from jevons.units import MONTHS_PER_YEAR

#: Shares must add up to 1 within this.
SHARE_TOLERANCE = 1e-6
LEADER = "leader"
#: Neither capability nor the usage that it draws may grow or shrink by more in the whole run.
LARGEST_GROWTH = 1e15


def is_entrant(scenario: ScenarioTables, segment: Segment, provider: Provider) -> bool:
    """Whether a provider comes to a segment after the segment's first day in the run."""
    if provider.enters_with_shock:
        return True
    opening = max(scenario.run.start, segment.since or scenario.run.start)
    return provider.since is not None and provider.since > opening


def share_in(offer: Offer, region: str) -> float:
    """Share of an offer in a region."""
    return offer.share_by_region.get(region, offer.share)


def provider_rules(scenario: ScenarioTables) -> Iterator[Finding]:
    """Every rule on providers that a scenario breaks."""
    if scenario.kind != "market" and scenario.providers:
        yield _finding(("providers",), "are for kind 'market' only")
    yield from _names_of_reach(scenario)
    for name, provider in scenario.providers.items():
        yield from _provider(("providers", name), name, provider, scenario)
    yield from _circles(scenario)
    for name, segment in scenario.segments.items():
        if segment.offers:
            yield from _segment(("segments", name), segment, scenario)
        elif segment.choice is not None:
            yield _finding(("segments", name, "choice"), "is for a segment with offers")


def _names_of_reach(scenario: ScenarioTables) -> Iterator[Finding]:
    if scenario.shock is not None:
        path = ("shock", "provider_reach")
        yield from _unknown_names(path, scenario.shock.provider_reach, scenario.providers, "providers")


def _provider(path: KeyPath, name: str, provider: Provider, scenario: ScenarioTables) -> Iterator[Finding]:
    for key in ("home", "serves_from"):
        region = getattr(provider, key)
        if region is not None and region not in scenario.regions:
            yield _unknown((*path, key), region, scenario.regions, "regions")
    yield from _unknown_names((*path, "trust"), provider.trust, scenario.regions, "regions")
    yield from _unknown_names((*path, "banned_in"), provider.banned_in, scenario.regions, "regions")
    if provider.enters_with_shock and provider.since is not None:
        yield _finding((*path, "since"), "must not be given with enters_with_shock", provider.since)
    if provider.enters_with_shock and scenario.shock is None:
        yield _finding((*path, "enters_with_shock"), "needs a [shock]")
    yield from _growth(path, provider, scenario)
    yield from _distillation(path, name, provider, scenario)


def _growth(path: KeyPath, provider: Provider, scenario: ScenarioTables) -> Iterator[Finding]:
    years = scenario.run.months / MONTHS_PER_YEAR
    per_year = max(abs(log(_end(provider.capability_gain_per_year, tail))) for tail in (TAIL, 1 - TAIL))
    grown = years * per_year * max(_end(provider.research_response, 1 - TAIL), 1.0)
    drawn = max(
        (_end(one.capability_elasticity, 1 - TAIL) for one in scenario.segments.values() if one.offers), default=1
    )
    if grown * max(drawn, 1.0) > log(LARGEST_GROWTH):
        rule = f"must not move capability, nor usage by it, by more than {LARGEST_GROWTH:g} over the run"
        yield _finding((*path, "capability_gain_per_year"), rule, provider.capability_gain_per_year)


def _distillation(path: KeyPath, name: str, provider: Provider, scenario: ScenarioTables) -> Iterator[Finding]:
    source = provider.distils_from
    if source is None:
        for key in ("distillation_per_month", "countermeasure_date"):
            if getattr(provider, key):
                yield _finding((*path, key), "needs distils_from: whom it distils from")
    elif source == name:
        yield _finding((*path, "distils_from"), "must be another provider", source)
    elif source == LEADER:
        if all(other.distils_from is not None for other in scenario.providers.values()):
            yield _finding((*path, "distils_from"), "needs a provider that distils from nobody, of which there is none")
    elif source not in scenario.providers:
        yield _unknown((*path, "distils_from"), source, [*scenario.providers, LEADER], "providers")


def _circles(scenario: ScenarioTables) -> Iterator[Finding]:
    providers = scenario.providers
    for name in providers:
        seen, source = {name}, providers[name].distils_from
        while source in providers and source not in seen:
            seen.add(str(source))
            source = providers[str(source)].distils_from
        if source == name and len(seen) > 1:
            yield _finding(
                ("providers", name, "distils_from"), "must not lead back to itself", providers[name].distils_from
            )


def _segment(path: KeyPath, segment: Segment, scenario: ScenarioTables) -> Iterator[Finding]:
    yield from _unknown_names((*path, "offers"), segment.offers, scenario.providers, "providers")
    for key, wanted in (("form", "hill"), ("tariff", "metered")):
        if getattr(segment, key) != wanted:
            yield _finding(
                (*path, key), f"must be '{wanted}' with offers, among which users choose", getattr(segment, key)
            )
    known = {name: offer for name, offer in segment.offers.items() if name in scenario.providers}
    for name, offer in known.items():
        yield from _offer((*path, "offers", name), offer, scenario.providers[name], segment, scenario)
    if segment.choice is not None and segment.choice.nests_by == "origin":
        for name in known:
            if scenario.providers[name].home is None:
                yield _finding(("providers", name, "home"), "is needed where nests are by origin")
    for region in _regions(segment, scenario):
        yield from _sum_of_shares(path, region, known, segment, scenario)


def _regions(segment: Segment, scenario: ScenarioTables) -> list[str]:
    """Regions in which a segment is used."""
    if len(scenario.regions) == 1:
        return list(scenario.regions)
    return [region for region in scenario.regions if segment.region_share.get(region, 0.0) > 0]


def _offer(
    path: KeyPath, offer: Offer, provider: Provider, segment: Segment, scenario: ScenarioTables
) -> Iterator[Finding]:
    regions = _regions(segment, scenario)
    yield from _unknown_names((*path, "share_by_region"), offer.share_by_region, scenario.regions, "regions")
    if not any(_central(share_in(offer, region)) > 0 for region in regions):
        yield _finding((*path, "share"), "must be above 0 in some region")
    for region in offer.share_by_region:
        if region in provider.trust:
            rule = f"must not be given with trust.{region} of the provider, which shares observed there hold already"
            yield _finding((*path, "share_by_region", region), rule)
    if provider.serves_from in scenario.regions and provider.serves_from not in regions:
        rule = f"needs a region in which the segment is used, to serve [{'.'.join(map(str, path[:2]))}] from"
        yield _finding(("providers", str(path[-1]), "serves_from"), rule, provider.serves_from)
    if offer.war_date is not None and offer.pricing != "war":
        yield _finding((*path, "war_date"), f"is for pricing 'war' only, not {shown(offer.pricing)}")
    if offer.pricing == "war" and offer.war_date is None and scenario.shock is None:
        yield _finding((*path, "war_date"), "is needed without a [shock]")
    entry = provider.since
    if entry is not None and months_between(scenario.run.start, entry) > scenario.run.months - 1:
        yield _finding(("providers", str(path[-1]), "since"), "must leave a full month of the run after it", entry)


def _sum_of_shares(
    path: KeyPath, region: str, offers: dict[str, Offer], segment: Segment, scenario: ScenarioTables
) -> Iterator[Finding]:
    providers = scenario.providers
    incumbents = [name for name in offers if not is_entrant(scenario, segment, providers[name])]
    shares = {name: _central(share_in(offers[name], region)) for name in incumbents}
    if abs(sum(shares.values()) - 1) > SHARE_TOLERANCE:
        rule = f"shares in {region} of those there from the start must add up to 1, not {sum(shares.values()):.6g}"
        yield _finding((*path, "offers"), rule)
    elif all(region in providers[name].banned_in for name, share in shares.items() if share > 0):
        yield _finding((*path, "offers"), f"must leave {region} one of those there from the start that is never banned")
    for name in offers:
        share = _central(share_in(offers[name], region))
        if name not in incumbents and share >= 1:
            yield _finding((*path, "offers", name, "share"), "of an entrant must be below 1", share)


def _finding(path: KeyPath, rule: str, value: object = None) -> Finding:
    return Finding(path=path, message=rule if value is None else f"{rule}, not {shown(value)}")


def _unknown_names(path: KeyPath, names: Collection[str], known: Collection[str], room: str) -> Iterator[Finding]:
    for name in names:
        if name not in known:
            message = f"there is no {shown(name)} in [{room}]{suggestion(name, known)}"
            yield Finding(path=(*path, name), message=message, is_key=True)


def _unknown(path: KeyPath, name: str, known: Collection[str], room: str) -> Finding:
    return _finding(path, f"there is no {shown(name)} in [{room}]{suggestion(name, known)}")


def _central(value: float) -> float:
    return value.central if isinstance(value, Distribution) else value


def _end(value: float, tail: float) -> float:
    return value.quantile(tail) if isinstance(value, Distribution) else value
