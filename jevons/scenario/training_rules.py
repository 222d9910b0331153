"""Rules between the fields of the training tables."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from jevons.scenario.classes import ScenarioTables, Segment
from jevons.scenario.fields import TAIL, Distribution
from jevons.scenario.keys import KeyPath
from jevons.scenario.training_tables import Jobs
from jevons.scenario.wording import Finding, shown, suggestion

#: Shares must add up to 1 within this.
SHARE_TOLERANCE = 1e-6


def jobs_rules(scenario: ScenarioTables) -> Iterator[Finding]:
    """Jobs belong to budgets, have as many of each figure as sizes, and leave serving some nodes."""
    with_jobs = {name: one.jobs for name, one in scenario.segments.items() if one.jobs is not None}
    for name, jobs in with_jobs.items():
        path = ("segments", name, "jobs")
        if scenario.segments[name].tariff != "budget":
            yield _finding(path, "is for tariff 'budget' only")
        yield from _sizes(path, jobs)
    yield from _own_nodes(scenario, with_jobs)
    yield from _one_scheduler(with_jobs)


def _sizes(path: KeyPath, jobs: Jobs) -> Iterator[Finding]:
    if not jobs.gpus:
        yield _finding((*path, "gpus"), "must hold at least one size")
    for key in ("hours", "weight"):
        given = getattr(jobs, key)
        if len(given) != len(jobs.gpus):
            yield _finding((*path, key), f"must hold as many numbers as gpus, {len(jobs.gpus)}, not {len(given)}")
    if abs(sum(jobs.weight) - 1) > SHARE_TOLERANCE:
        yield _finding((*path, "weight"), f"must add up to 1, not {sum(jobs.weight):.6g}")


def _own_nodes(scenario: ScenarioTables, with_jobs: dict[str, Jobs]) -> Iterator[Finding]:
    for region in scenario.regions:
        here = [name for name in with_jobs if _is_in(scenario.segments[name], region)]
        share = sum(_highest(with_jobs[name].own_share) for name in here)
        if share >= 1:
            rule = f"must leave serving some of the GPUs of {shown(region)}: together less than 1, not {share:.6g}"
            yield _finding(("segments", here[-1], "jobs", "own_share"), rule)


def _is_in(segment: Segment, region: str) -> bool:
    return not segment.region_share or segment.region_share.get(region, 0.0) > 0


def _one_scheduler(with_jobs: dict[str, Jobs]) -> Iterator[Finding]:
    for key in ("backfill", "jobs_simulated"):
        values = {name: getattr(jobs, key) for name, jobs in with_jobs.items()}
        first = next(iter(values), "")
        for name, value in values.items():
            if value != values[first]:
                rule = f"must be as in segments.{first}.jobs, {shown(values[first])}: one scheduler places all jobs"
                yield _finding(("segments", name, "jobs", key), rule, value)


def race_rules(scenario: ScenarioTables) -> Iterator[Finding]:
    """A race is run between budgets that exist, and its rounds die down."""
    racing = {name: one.race for name, one in scenario.segments.items() if one.race is not None}
    budgets = [name for name, one in scenario.segments.items() if one.tariff == "budget"]
    for name, race in racing.items():
        path = ("segments", name, "race")
        if name not in budgets:
            yield _finding(path, "is for tariff 'budget' only")
        if race.follows not in scenario.segments:
            known = f"there is no {shown(race.follows)} in [segments]{suggestion(race.follows, scenario.segments)}"
            yield _finding((*path, "follows"), known)
        elif race.follows == name or race.follows not in budgets:
            yield _finding((*path, "follows"), "must be another segment of tariff 'budget'", race.follows)
    for circle in _circles({name: race.follows for name, race in racing.items()}):
        product = prod(_highest(racing[name].response) for name in circle)
        if product >= 1:
            rule = (
                f"must keep the product of the responses around the circle {' -> '.join([*circle, circle[0]])} "
                f"below 1, or spend never comes to rest; it is {product:.6g}"
            )
            yield _finding(("segments", circle[0], "race", "response"), rule)


def _circles(follows: dict[str, str]) -> Iterator[list[str]]:
    """Circles of those who follow each other, each once, from the first of its names on."""
    done: set[str] = set()
    for start in follows:
        path: list[str] = []
        name = start
        while name in follows and name not in path and name not in done:
            path.append(name)
            name = follows[name]
        if name in path:
            yield path[path.index(name) :]
        done.update(path)


def _highest(value: float) -> float:
    return value.quantile(1 - TAIL) if isinstance(value, Distribution) else value


def _finding(path: KeyPath, rule: str, value: object = None) -> Finding:
    return Finding(path=path, message=rule if value is None else f"{rule}, not {shown(value)}")


RULES = (jobs_rules, race_rules)
