"""From plain tables to a checked scenario, or to everything that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

from pydantic import ValidationError

from jevons.errors import Problem, ScenarioError
from jevons.scenario.classes import ScenarioTables
from jevons.scenario.contents import without
from jevons.scenario.keys import KeyPath
from jevons.scenario.rules import broken_rules
from jevons.scenario.wording import Finding, findings

Whole = TypeVar("Whole", bound=ScenarioTables)

#: Most problems that are listed; what more there are is only counted.
MOST_PROBLEMS = 100

#: Tells where a finding stands.
Locate: TypeAlias = Callable[[Finding], Problem]

#: Tables of which no rule asks more than what stands in the same table.
SELF_CONTAINED = {"shock", "trend", "pricing", "observed", "sources"}
NAMED_AND_SELF_CONTAINED = {"segments", "gpus", "regions", "anchors"}


def checked(scenario: type[Whole], tables: Mapping[str, Any], locate: Locate) -> Whole:
    """The scenario that tables describe.

    Raises
    ------
    ScenarioError
        With every field out of its range and every rule between fields that is broken.  When only
        some fields are wrong, the rules are tried with these left out, so that both are told at once.
    """
    try:
        found = scenario.model_validate(tables)
    except ValidationError as error:
        wrong = list(findings(error, scenario))
        raise scenario_error([*wrong, *_rules_broken_besides(scenario, tables, wrong)], locate) from None
    broken = list(broken_rules(found))
    if broken:
        raise scenario_error(broken, locate)
    return found


def scenario_error(wrong: Iterable[Finding], locate: Locate) -> ScenarioError:
    """The error that tells all findings, in the order of the files."""
    problems = [locate(finding) for finding in wrong]
    listed = sorted(problems, key=lambda problem: (problem.file, problem.line or 0, problem.column or 0))
    return ScenarioError(shortened(listed))


def shortened(problems: list[Problem]) -> list[Problem]:
    """The first problems of a long list, and how many more there are."""
    more = len(problems) - MOST_PROBLEMS
    if more <= 0:
        return problems
    rest = Problem(file=problems[MOST_PROBLEMS].file, key="", message=f"and {more} more problems")
    return [*problems[:MOST_PROBLEMS], rest]


def _rules_broken_besides(
    scenario: type[ScenarioTables], tables: Mapping[str, Any], wrong: list[Finding]
) -> list[Finding]:
    values = [finding.path for finding in wrong if not finding.is_key]
    if not all(map(_is_self_contained, values)):
        return []
    try:
        rest = scenario.model_validate(without(tables, {finding.path for finding in wrong}))
    except ValidationError:
        return []
    return [finding for finding in broken_rules(rest) if not any(finding.path[:2] == path[:2] for path in values)]


def _is_self_contained(path: KeyPath) -> bool:
    return path[0] in SELF_CONTAINED or (len(path) > 2 and path[0] in NAMED_AND_SELF_CONTAINED)
