"""Rules between the fields on providers: names that exist, shares that add up, forms that can be shared out."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from jevons.dates import months_between
from jevons.scenario.classes import ScenarioTables, Segment
from jevons.scenario.fields import Distribution
from jevons.scenario.keys import KeyPath
from jevons.scenario.provider_tables import Offer, Provider
from jevons.scenario.wording import Finding, shown, suggestion

#: Shares must add up to 1 within this.
SHARE_TOLERANCE = 1e-6
LEADER = "leader"


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
    yield from _distillation(path, name, provider, scenario)


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
