"""Rules between the fields of a policy, and between policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import log

from jevons.scenario.classes import ScenarioTables
from jevons.scenario.fields import TAIL, Distribution
from jevons.scenario.keys import KeyPath
from jevons.scenario.policy_tables import Policy
from jevons.scenario.wording import Finding, shown, suggestion
from jevons.units import MONTHS_PER_YEAR

#: Fields of every kind.
COMMON = {"kind", "title", "region", "since", "until"}
#: Fields that a kind may have besides, and whether it needs them.
FIELDS: Mapping[str, Mapping[str, bool]] = {
    "export_control": {
        "region": True,
        "type": True,
        "announced": False,
        "stockpile_months": False,
        "stockpile_allocation_factor": False,
        "licensed_share": False,
        "leakage": False,
        "leakage_price_factor": False,
        "substitute": False,
        "substitute_share": False,
        "grace": False,
    },
    "cap": {"region": True, "fleet_h100e": True, "fleet_growth_per_year": False},
    "energy_price": {"usd_per_mwh": True},
    "carbon_tax": {"usd_per_tonne": True, "tonnes_per_mwh": True},
    "subsidy": {"share": True, "of": False, "segment": False},
    "directed_innovation": {"region": True, "omega": True, "adjustment_months": False},
}
#: Kinds that change what a GPU-hour costs by its power, which only a fleet tells.
ENERGY = {"energy_price", "carbon_tax"}
#: Caps may not move by more over the run: what does would overflow somewhere inside.
LARGEST_GROWTH = 1e15


def policy_rules(scenario: ScenarioTables) -> Iterator[Finding]:
    """Every rule of its policies that a scenario breaks."""
    for name, policy in scenario.policies.items():
        path = ("policies", name)
        yield from _fields(path, policy)
        yield from _names(path, policy, scenario)
        yield from _dates(path, policy)
        yield from _fleet(path, policy, scenario)
        yield from _subsidy(path, policy, scenario)
        yield from _growth(path, policy, scenario)
    yield from _controls_at_once(scenario)
    yield from _two_of_a_kind(scenario)
    if scenario.policies and scenario.kind == "day":
        yield Finding(path=("policies",), message="is for kind 'market' only")


def _fields(path: KeyPath, policy: Policy) -> Iterator[Finding]:
    known = FIELDS[policy.kind]
    for key in sorted(policy.model_fields_set - COMMON - known.keys()):
        yield Finding(path=(*path, key), message=f"is not a field of kind {shown(policy.kind)}", is_key=True)
    for key, is_needed in known.items():
        if is_needed and getattr(policy, key) is None:
            yield Finding(path=(*path, key), message=f"is needed for kind {shown(policy.kind)}")


def _names(path: KeyPath, policy: Policy, scenario: ScenarioTables) -> Iterator[Finding]:
    rooms = {"region": "regions", "type": "gpus", "substitute": "gpus", "segment": "segments"}
    for key, room in rooms.items():
        name, known = getattr(policy, key), getattr(scenario, room)
        if name is not None and name not in known:
            message = f"there is no {shown(name)} in [{room}]{suggestion(name, known)}"
            yield Finding(path=(*path, key), message=message)


def _dates(path: KeyPath, policy: Policy) -> Iterator[Finding]:
    if policy.since is not None and policy.until is not None and policy.until <= policy.since:
        yield Finding(path=(*path, "until"), message=f"must be after since, {policy.since}, not {policy.until}")
    if policy.announced is not None and (policy.since is None or policy.announced > policy.since):
        since = "which is not given" if policy.since is None else f"{policy.since}"
        yield Finding(path=(*path, "announced"), message=f"must be at most since, {since}, not {policy.announced}")
    if _highest(policy.stockpile_months) > 0 and policy.announced is None:
        yield Finding(path=(*path, "announced"), message="is needed with stockpile_months")
    if policy.substitute is not None and policy.substitute == policy.type:
        yield Finding(path=(*path, "substitute"), message=f"must be another type, not {shown(policy.type)}")


def _fleet(path: KeyPath, policy: Policy, scenario: ScenarioTables) -> Iterator[Finding]:
    """Controls and caps bind fleets, and only a fleet has a known power."""
    regions = scenario.regions if policy.region is None else {policy.region: scenario.regions.get(policy.region)}
    if policy.kind in ENERGY | {"export_control", "cap"}:
        for name, region in regions.items():
            if region is not None and region.fleet is None:
                message = f"must be a region with a fleet, not {shown(name)}"
                yield Finding(path=(*path, "region"), message=message)


def _subsidy(path: KeyPath, policy: Policy, scenario: ScenarioTables) -> Iterator[Finding]:
    segment = scenario.segments.get(policy.segment) if policy.segment is not None else None
    if policy.kind == "subsidy" and policy.of == "price" and segment is not None and segment.tariff != "metered":
        message = f"must be metered for a subsidy of the price, not {shown(segment.tariff)}"
        yield Finding(path=(*path, "segment"), message=message)


def _growth(path: KeyPath, policy: Policy, scenario: ScenarioTables) -> Iterator[Finding]:
    years, factor = scenario.run.months / MONTHS_PER_YEAR, policy.fleet_growth_per_year
    if years * max(abs(log(_lowest(factor))), abs(log(_highest(factor)))) > log(LARGEST_GROWTH):
        message = f"must not move the cap by more than {LARGEST_GROWTH:g} over the run, not {shown(factor)}"
        yield Finding(path=(*path, "fleet_growth_per_year"), message=message)


def _controls_at_once(scenario: ScenarioTables) -> Iterator[Finding]:
    """No two controls of a type in a region hold at the same time: which share is licensed would not be told."""
    controls = [(name, policy) for name, policy in scenario.policies.items() if policy.kind == "export_control"]
    for (name, one), (other_name, other) in combinations(controls, 2):
        if (one.region, one.type) == (other.region, other.type) and _overlap(one, other):
            message = f"must begin when {shown(name)}, which controls the same type, is lifted"
            yield Finding(path=("policies", other_name, "since"), message=message)


def _two_of_a_kind(scenario: ScenarioTables) -> Iterator[Finding]:
    """Efficiency has one elasticity at a time."""
    kinds = [(n, p) for n, p in scenario.policies.items() if p.kind == "directed_innovation"]
    for (name, one), (other_name, other) in combinations(kinds, 2):
        if one.region == other.region:
            message = f"must be a region without directed innovation, which {shown(name)} gives {shown(one.region)}"
            yield Finding(path=("policies", other_name, "region"), message=message)


def _overlap(one: Policy, other: Policy) -> bool:
    def before(first: Policy, second: Policy) -> bool:
        return first.until is not None and second.since is not None and first.until <= second.since

    return not before(one, other) and not before(other, one)


def _lowest(value: float) -> float:
    return value.quantile(TAIL) if isinstance(value, Distribution) else value


def _highest(value: float) -> float:
    return value.quantile(1 - TAIL) if isinstance(value, Distribution) else value
