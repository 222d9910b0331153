"""The whole scenario: its tables, checked together, with other values, or with numbers for what is uncertain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jevons.errors import Problem, ScenarioError, UsageError
from jevons.randomness import Floats
from jevons.scenario.classes import ScenarioTables
from jevons.scenario.contents import plain, resolved, without
from jevons.scenario.keys import path_of
from jevons.scenario.merging import check_names, merged, nested
from jevons.scenario.structure import known_keys
from jevons.scenario.validation import checked, scenario_error
from jevons.scenario.wording import Finding, suggestion

#: Stands for the file in messages on values set by `Scenario.replace`.
CHANGES = "replace"


class Scenario(ScenarioTables):
    """A whole scenario, checked."""

    def at(self, values: Mapping[str, float | Floats]) -> Scenario:
        """The scenario with these numbers for its uncertain inputs, and the medians of all others.

        With arrays of shape (worlds,) it is a stack of scenarios, alike in all else.  The numbers are not checked
        again: draws of a distribution are in the range of its field.

        Raises
        ------
        UsageError
            If a key is not that of an uncertain input.
        """
        remaining = dict(values)
        scenario = resolved(self, remaining)
        if remaining:
            key = next(iter(remaining))
            raise UsageError(f"{key}: is not an uncertain input{suggestion(key, self.uncertain)}")
        return scenario

    def central(self) -> Scenario:
        """The scenario with each uncertain input at its median."""
        return self.at({})

    def replace(self, changes: Mapping[str, object]) -> Scenario:
        """The scenario with other values, by dotted key; None takes away what was given.

        Raises
        ------
        ScenarioError
            If a key does not exist, a value is out of its range, or a rule between fields is broken.
        """
        tables = plain(self, given_only=True)
        for key, value in changes.items():
            tables = _changed(tables, key, value)
        return checked(Scenario, tables, _in_changes)


def _changed(tables: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    try:
        path = path_of(key)
        check_names(Scenario, path, tables)
    except ValueError as error:
        raise ScenarioError([Problem(file=CHANGES, key="", message=str(error))]) from None
    return merged(tables, nested(path, value)) if value is not None else _taken_away(tables, path)


def _taken_away(tables: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    parent = tables
    for key in path[:-1]:
        inner = parent.get(key)
        parent = inner if isinstance(inner, dict) else {}
    known = known_keys(Scenario, path[:-1]) or tuple(parent)
    if path[-1] not in known:
        unknown = Finding(path=path, message=f"unknown key{suggestion(path[-1], known)}", is_key=True)
        raise scenario_error([unknown], _in_changes)
    kept: dict[str, Any] = without(tables, {path})
    return kept


def _in_changes(finding: Finding) -> Problem:
    return Problem(file=CHANGES, key=finding.key, message=finding.message)
