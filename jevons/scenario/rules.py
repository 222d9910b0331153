"""Rules between the fields of a scenario, which no field alone can break."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Iterator
from math import log
from pathlib import Path

from jevons.scenario.classes import Anchor, Region, ScenarioTables, Segment, Serving, Tokens, Workload
from jevons.scenario.fields import TAIL, Distribution
from jevons.scenario.finance_rules import finance_rules
from jevons.scenario.keys import KeyPath
from jevons.scenario.lesson_rules import lesson_rules
from jevons.scenario.policy_rules import policy_rules
from jevons.scenario.provider_rules import provider_rules
from jevons.scenario.training_rules import RULES as TRAINING_RULES
from jevons.scenario.wording import Finding, shown, suggestion
from jevons.units import HOURS_PER_DAY, MONTHS_PER_YEAR

#: Shares must add up to 1 within this.
SHARE_TOLERANCE = 1e-6
#: Nothing may grow or shrink by more in the whole run: what does would overflow somewhere inside.
LARGEST_GROWTH = 1e15
#: Usage, with all that acts on it, may not grow by more in the whole run.
LARGEST_USAGE_GROWTH = 1e30

#: The name of a scenario becomes part of names of files.
NAME_RULE = "must be made of letters, digits, '-', '_' and '.', starting with a letter or digit"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_name(name: str) -> bool:
    """Whether a scenario can have this name."""
    return _NAME.fullmatch(name) is not None


def broken_rules(scenario: ScenarioTables) -> Iterator[Finding]:
    """Every rule between fields that a scenario breaks, in no particular order."""
    for rule in RULES:
        yield from rule(scenario)


def _name(scenario: ScenarioTables) -> Iterator[Finding]:
    if not is_name(scenario.name):
        yield _finding("name", NAME_RULE, scenario.name)


def _not_empty(scenario: ScenarioTables) -> Iterator[Finding]:
    for room in ("segments", "regions"):
        if not getattr(scenario, room):
            yield _finding(room, "must hold at least one table")


def _market(scenario: ScenarioTables) -> Iterator[Finding]:
    if scenario.kind != "market":
        return
    if scenario.shock is None:
        yield _finding("shock", "is needed for kind 'market'")
    if scenario.run.start.day != 1:
        yield _finding("run.start", "must be the first day of a month for kind 'market'", scenario.run.start)
    if scenario.observed is not None and scenario.observed.hourly_nodes:
        yield _finding("observed.hourly_nodes", "is for kind 'day' only")
    for name, workload in scenario.workloads.items():
        if workload.trace is not None:
            yield _finding(("workloads", name, "trace"), "is for kind 'day' only")


def _day(scenario: ScenarioTables) -> Iterator[Finding]:
    if scenario.kind != "day":
        return
    if scenario.serving is None:
        yield _finding("serving", "is needed for kind 'day'")
    if len(scenario.regions) > 1:
        yield _finding("regions", f"must hold exactly one region for kind 'day', not {len(scenario.regions)}")


def _shock_date(scenario: ScenarioTables) -> Iterator[Finding]:
    if scenario.shock is None or scenario.kind != "market":
        return
    first, end = _month_after(scenario.run.start, 1), _month_after(scenario.run.start, scenario.run.months)
    if not first <= scenario.shock.date < end:
        rule = f"must leave a full month of the run before it: from {first} on, and before the end of the run, {end}"
        yield _finding("shock.date", rule, scenario.shock.date)


def _names_of_the_shock(scenario: ScenarioTables) -> Iterator[Finding]:
    if scenario.shock is not None:
        yield from _unknown_names(("shock", "segment_reach"), scenario.shock.segment_reach, scenario.segments)
        yield from _unknown_names(("shock", "region_reach"), scenario.shock.region_reach, scenario.regions)


def _each_segment(scenario: ScenarioTables) -> Iterator[Finding]:
    for name, segment in scenario.segments.items():
        path = ("segments", name)
        yield from _usage(path, segment, scenario)
        yield from _budget(path, segment)
        yield from _region_shares(path, segment, scenario)
        yield from _usage_stays_finite(path, segment, scenario)


def _usage(path: KeyPath, segment: Segment, scenario: ScenarioTables) -> Iterator[Finding]:
    workload = scenario.workloads.get(segment.workload) if segment.workload is not None else None
    is_recorded = workload is not None and workload.trace is not None
    if segment.workload is not None and workload is None:
        yield _unknown_name((*path, "workload"), segment.workload, scenario.workloads)
    if segment.workload is None and segment.is_served and scenario.serving is not None:
        yield _finding((*path, "workload"), "is needed, since [serving] is given: a table in [workloads]")
    if segment.tokens_per_day is None and segment.is_served and not is_recorded:
        yield _finding((*path, "tokens_per_day"), "is needed: only budgets and recorded traces go without")
    end = _month_after(scenario.run.start, scenario.run.months)
    if segment.since is not None and segment.since >= end:
        yield _finding((*path, "since"), f"must be before the end of the run, {end}", segment.since)


def _budget(path: KeyPath, segment: Segment) -> Iterator[Finding]:
    if segment.tariff == "budget" and segment.budget_usd_per_day is None:
        yield _finding((*path, "budget_usd_per_day"), "is needed for tariff 'budget'")
    if (segment.tariff == "budget") != (segment.form == "budget"):
        rule = "must be 'budget' exactly if tariff is"
        yield _finding((*path, "form"), f"{rule} ({shown(segment.tariff)})", segment.form)


def _region_shares(path: KeyPath, segment: Segment, scenario: ScenarioTables) -> Iterator[Finding]:
    shares, path = segment.region_share, (*path, "region_share")
    yield from _unknown_names(path, shares, scenario.regions)
    if not shares and len(scenario.regions) > 1:
        yield _finding(path, "is needed with more than one region")
    if shares and abs(sum(shares.values()) - 1) > SHARE_TOLERANCE:
        yield _finding(path, f"must add up to 1, not {sum(shares.values()):.6g}")


def _usage_stays_finite(path: KeyPath, segment: Segment, scenario: ScenarioTables) -> Iterator[Finding]:
    years = scenario.run.months / MONTHS_PER_YEAR
    gain = _largest_log(scenario.shock.efficiency_gain) if scenario.shock is not None else 0.0
    trends = (scenario.trend.algorithmic_gain_per_year, scenario.trend.hardware_gain_per_year)
    own_trend = [] if segment.price_change_per_year is None else [segment.price_change_per_year]
    price = gain + years * sum(map(_largest_log, [*trends, *own_trend]))
    capability = years * _largest_log(scenario.trend.capability_gain_per_year)
    if scenario.shock is not None:
        capability += gain * _highest(scenario.shock.capability_share) * _highest(scenario.shock.capability_yield)
    growth = {
        "usage_growth_per_year": years * _largest_log(segment.usage_growth_per_year),
        "price_elasticity": -_lowest(segment.price_elasticity) * price,
        "capability_elasticity": _highest(segment.capability_elasticity) * capability,
    }
    if sum(growth.values()) > log(LARGEST_USAGE_GROWTH):
        key = max(growth, key=growth.__getitem__)
        rule = (
            f"must keep the growth of usage over the run, price and capability included, below {LARGEST_USAGE_GROWTH:g}"
        )
        yield _finding((*path, key), rule, getattr(segment, key))


def _growth(scenario: ScenarioTables) -> Iterator[Finding]:
    years = scenario.run.months / MONTHS_PER_YEAR
    for path, factor in _growth_factors(scenario):
        if factor is not None and years * _largest_log(factor) > log(LARGEST_GROWTH):
            rule = f"must not move anything by more than {LARGEST_GROWTH:g} over the run of {years:.3g} years"
            yield _finding(path, rule, factor)


def _growth_factors(scenario: ScenarioTables) -> Iterator[tuple[KeyPath, float | None]]:
    for key in ("algorithmic_gain_per_year", "hardware_gain_per_year", "capability_gain_per_year"):
        yield ("trend", key), getattr(scenario.trend, key)
    for name, segment in scenario.segments.items():
        for key in ("usage_growth_per_year", "price_change_per_year"):
            yield ("segments", name, key), getattr(segment, key)
    for name, region in scenario.regions.items():
        if region.fleet is not None and region.fleet.orders is not None:
            for key in ("allocation_growth_per_year", "supply_growth_per_year"):
                yield ("regions", name, "fleet", "orders", key), getattr(region.fleet.orders, key)


def _each_workload(scenario: ScenarioTables) -> Iterator[Finding]:
    for name, workload in scenario.workloads.items():
        path = ("workloads", name)
        yield from _requests(path, workload)
        yield from _profile(path, workload)
        for key, tokens in (("input_tokens", workload.input_tokens), ("output_tokens", workload.output_tokens)):
            if tokens is not None:
                yield from _tokens((*path, key), tokens)


def _requests(path: KeyPath, workload: Workload) -> Iterator[Finding]:
    if workload.trace is None:
        for key in ("input_tokens", "output_tokens"):
            if getattr(workload, key) is None:
                yield _finding((*path, key), "is needed without a trace")
    elif not Path(workload.trace).is_file():
        yield _finding((*path, "trace"), "must be a file", workload.trace)


def _profile(path: KeyPath, workload: Workload) -> Iterator[Finding]:
    profile, path = workload.hourly_profile, (*path, "hourly_profile")
    if len(profile) != HOURS_PER_DAY:
        yield _finding(path, f"must hold {HOURS_PER_DAY} numbers, not {len(profile)}")
    elif not any(profile):
        yield _finding(path, "must not be all zero")


def _tokens(path: KeyPath, tokens: Tokens) -> Iterator[Finding]:
    if bool(tokens.mean) == bool(tokens.edges):
        yield _finding(path, "must give either mean and sigma, or edges and counts")
    elif tokens.mean:
        yield from _mixture(path, tokens)
    else:
        yield from _histogram(path, tokens)


def _mixture(path: KeyPath, tokens: Tokens) -> Iterator[Finding]:
    for key in ("sigma", "weight"):
        given = getattr(tokens, key)
        if len(given) != len(tokens.mean):
            yield _finding((*path, key), f"must hold as many numbers as mean, {len(tokens.mean)}, not {len(given)}")
    if tokens.counts:
        yield _finding((*path, "counts"), "is for a histogram only, with edges")
    if abs(sum(tokens.weight) - 1) > SHARE_TOLERANCE:
        yield _finding((*path, "weight"), f"must add up to 1, not {sum(tokens.weight):.6g}")


def _histogram(path: KeyPath, tokens: Tokens) -> Iterator[Finding]:
    if len(tokens.counts) != len(tokens.edges) - 1:
        rule = f"must hold one number less than edges, {len(tokens.edges) - 1}, not {len(tokens.counts)}"
        yield _finding((*path, "counts"), rule)
    elif not any(tokens.counts):
        yield _finding((*path, "counts"), "must not be all zero")
    if any(low >= high for low, high in zip(tokens.edges, tokens.edges[1:], strict=False)):
        yield _finding((*path, "edges"), "must rise", tokens.edges)
    if tokens.sigma:
        yield _finding((*path, "sigma"), "is for lognormal components only, with mean")


def _gpus(scenario: ScenarioTables) -> Iterator[Finding]:
    for name, gpu in scenario.gpus.items():
        if gpu.idle_power_kw > gpu.power_kw:
            rule = f"must be at most power_kw, {gpu.power_kw:g}"
            yield _finding(("gpus", name, "idle_power_kw"), rule, gpu.idle_power_kw)


def _each_region(scenario: ScenarioTables) -> Iterator[Finding]:
    for name, region in scenario.regions.items():
        path = ("regions", name)
        yield from _rental(path, region)
        if region.fleet is not None:
            yield from _unknown_names((*path, "fleet", "stock"), region.fleet.stock, scenario.gpus)
            orders = region.fleet.orders
            if orders is not None and orders.type not in scenario.gpus:
                yield _unknown_name((*path, "fleet", "orders", "type"), orders.type, scenario.gpus)


def _rental(path: KeyPath, region: Region) -> Iterator[Finding]:
    rental, path = region.rental, (*path, "rental")
    if _highest(rental.scarcity_speed_per_month) > 0 and region.fleet is None:
        rule = "must be 0 without a fleet, which alone can be scarce"
        yield _finding((*path, "scarcity_speed_per_month"), rule, rental.scarcity_speed_per_month)
    if _central(rental.floor_usd_per_gpu_hour) > _central(rental.price_usd_per_gpu_hour):
        rule = f"must be at most price_usd_per_gpu_hour, {_central(rental.price_usd_per_gpu_hour):g}"
        yield _finding((*path, "floor_usd_per_gpu_hour"), rule, rental.floor_usd_per_gpu_hour)


def _serving(scenario: ScenarioTables) -> Iterator[Finding]:
    serving = scenario.serving
    if serving is None:
        return
    if serving.layout == "disaggregated" and serving.prefill_tokens_per_s is None:
        yield _finding("serving.prefill_tokens_per_s", "is needed for layout 'disaggregated'")
    if serving.target_batch > serving.max_batch:
        rule = f"must be at most max_batch, {serving.max_batch:g}"
        yield _finding("serving.target_batch", rule, serving.target_batch)
    if serving.step.base_s + serving.step.per_sequence_s <= 0:
        yield _finding("serving.step.base_s", "must be above 0 if per_sequence_s is not", serving.step.base_s)
    yield from _autoscaler(serving)


def _autoscaler(serving: Serving) -> Iterator[Finding]:
    floor, ceiling = serving.autoscaler.floor_nodes, serving.autoscaler.ceiling_nodes
    if ceiling is not None and floor > ceiling:
        yield _finding("serving.autoscaler.floor_nodes", f"must be at most ceiling_nodes, {ceiling:g}", floor)


def _observed(scenario: ScenarioTables) -> Iterator[Finding]:
    observed = scenario.observed
    if observed is None:
        return
    hours = len(observed.hourly_nodes)
    for hour in observed.fitted_hours:
        if hour >= hours:
            yield _finding(
                "observed.fitted_hours", f"must be positions in hourly_nodes, of which there are {hours}", hour
            )
            return
    low, high = observed.speed_low_tokens_per_s, observed.speed_high_tokens_per_s
    if low is not None and high is not None and low > high:
        yield _finding("observed.speed_low_tokens_per_s", f"must be at most speed_high_tokens_per_s, {high:g}", low)


def _each_anchor(scenario: ScenarioTables) -> Iterator[Finding]:
    for name, anchor in scenario.anchors.items():
        path = ("anchors", name)
        yield from _anchor_period(path, anchor, scenario)
        if anchor.segment is not None and anchor.segment not in scenario.segments:
            yield _unknown_name((*path, "segment"), anchor.segment, scenario.segments)
        if anchor.region is not None and anchor.region not in scenario.regions:
            yield _unknown_name((*path, "region"), anchor.region, scenario.regions)


def _anchor_period(path: KeyPath, anchor: Anchor, scenario: ScenarioTables) -> Iterator[Finding]:
    start, end = scenario.run.start, _month_after(scenario.run.start, scenario.run.months)
    for key in ("start", "end"):
        date = getattr(anchor, key)
        if not start <= date <= end:
            yield _finding((*path, key), f"must be inside the run, {start} to {end}", date)
    if anchor.start >= anchor.end:
        yield _finding((*path, "end"), f"must be after start, {anchor.start}", anchor.end)


RULES: tuple[Callable[[ScenarioTables], Iterator[Finding]], ...] = (
    _name,
    _not_empty,
    _market,
    _day,
    _shock_date,
    _names_of_the_shock,
    _each_segment,
    _growth,
    _each_workload,
    _gpus,
    _each_region,
    _serving,
    _observed,
    _each_anchor,
    *TRAINING_RULES,
    finance_rules,
    provider_rules,
    policy_rules,
    lesson_rules,
)


def _finding(key: str | KeyPath, rule: str, value: object = None) -> Finding:
    path = tuple(key.split(".")) if isinstance(key, str) else key
    return Finding(path=path, message=rule if value is None else f"{rule}, not {shown(value)}")


def _unknown_names(path: KeyPath, names: Collection[str], known: Collection[str]) -> Iterator[Finding]:
    for name in names:
        if name not in known:
            message = f"there is no {shown(name)} in [{_room(path)}]{suggestion(name, known)}"
            yield Finding(path=(*path, name), message=message, is_key=True)


def _unknown_name(path: KeyPath, name: str, known: Collection[str]) -> Finding:
    return _finding(path, f"there is no {shown(name)} in [{_room(path)}]{suggestion(name, known)}")


def _room(path: KeyPath) -> str:
    """Table in which the names that a key refers to are declared."""
    key = str(path[-1])
    rooms = {
        "workload": "workloads",
        "type": "gpus",
        "stock": "gpus",
        "segment_reach": "segments",
        "segment": "segments",
    }
    return rooms.get(key, "regions")


def _month_after(start: dt.date, months: int) -> dt.date:
    """The first day of the month that is this many months after that of `start`."""
    years, month = divmod(start.month - 1 + months, MONTHS_PER_YEAR)
    return dt.date(start.year + years, month + 1, 1)


def _largest_log(factor: float) -> float:
    return max(abs(log(_lowest(factor))), abs(log(_highest(factor))))


def _lowest(value: float) -> float:
    return value.quantile(TAIL) if isinstance(value, Distribution) else value


def _highest(value: float) -> float:
    return value.quantile(1 - TAIL) if isinstance(value, Distribution) else value


def _central(value: float) -> float:
    return value.central if isinstance(value, Distribution) else value
