"""Rules of a lesson."""

from __future__ import annotations

from collections.abc import Iterator

from jevons.scenario.classes import ScenarioTables
from jevons.scenario.lesson_tables import WAYS
from jevons.scenario.wording import Finding, shown


def lesson_rules(scenario: ScenarioTables) -> Iterator[Finding]:
    """Each claim names a figure and which way it lies."""
    for claim in [] if scenario.lesson is None else scenario.lesson.expected:
        figure, _, way = claim.rpartition(" ")
        if not figure or way not in WAYS:
            rule = f'must each be a figure and one of {", ".join(WAYS)}, such as "rebound higher", not {shown(claim)}'
            yield Finding(path=("lesson", "expected"), message=rule)
