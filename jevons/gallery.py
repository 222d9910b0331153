"""Scenarios that each teach one thing, and whether their figures say what their text says: `gallery`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jevons.answer import Result
from jevons.comparison import Side, paired_difference, side, unpaired_difference, why_unpaired
from jevons.display import Shown
from jevons.errors import UsageError
from jevons.randomness import Floats
from jevons.results import Estimate
from jevons.scenario import Lesson, Scenario
from jevons.scenario.wording import suggestion

#: A figure is the same in two scenarios if it differs by no more than this share.
SAME = 0.01

#: What simulates a scenario.
Simulate = Callable[[Scenario], Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A figure by which a lesson shows."""

    figure: str
    #: `higher`, `lower` or `same`.
    expected: str
    first: float
    other: float
    #: The scenario's less that of the one it is compared with; its width is that of the replications.
    difference: Estimate

    @property
    def found(self) -> str:
        """Which way the figure lies; empty where the replications do not tell."""
        if abs(self.difference.mean) <= SAME * abs(self.first):
            return "same"
        if self.difference.low is None or self.difference.covers(0.0):
            return ""
        return "higher" if self.difference.mean > 0 else "lower"

    @property
    def is_so(self) -> bool:
        """Whether it lies as expected."""
        return self.found == self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A scenario of the gallery, and what came of it."""

    result: Result
    #: None of one that others are compared with.
    lesson: Lesson | None
    findings: tuple[Finding, ...]

    @property
    def is_so(self) -> bool:
        """Whether all figures lie as its text says."""
        return all(finding.is_so for finding in self.findings)


@dataclass(frozen=True, kw_only=True, repr=False)
class Gallery(Shown):
    """Scenarios, those that others are compared with first."""

    exhibits: tuple[Exhibit, ...]

    @property
    def contradicted(self) -> tuple[Exhibit, ...]:
        """Those whose figures do not say what their text says."""
        return tuple(exhibit for exhibit in self.exhibits if not exhibit.is_so)


def gallery(scenarios: Mapping[Path, Scenario], load: Callable[[Path], Scenario], simulate: Simulate) -> Gallery:
    """Simulate scenarios and those they are compared with, and look whether their lessons hold.

    Parameters
    ----------
    scenarios : mapping of Path to Scenario
        By the files they are from; those without a lesson stand for themselves.
    load : callable
        Reads a scenario that another one is compared with.
    simulate : callable
        Simulates one.

    Raises
    ------
    UsageError
        If a scenario is one of a day, or a lesson names a figure that there is not.
    """
    shown = {path.resolve(): scenario for path, scenario in scenarios.items()}
    for path, scenario in shown.items():
        if scenario.kind != "market":
            raise UsageError(f"{path}: a served day teaches nothing about the market")
    bases = {path: base_of(path, scenario.lesson) for path, scenario in shown.items() if scenario.lesson is not None}
    all_of_them = {**{base: shown.get(base) or load(base) for base in bases.values()}, **shown}
    results = {path: simulate(scenario) for path, scenario in all_of_them.items()}
    first = [path for path in results if path not in bases]
    return Gallery(exhibits=tuple(_exhibit(path, bases.get(path), results) for path in [*first, *bases]))


def _exhibit(path: Path, base: Path | None, results: Mapping[Path, Result]) -> Exhibit:
    lesson = None if base is None else results[path].scenario.lesson
    if base is None or lesson is None:
        return Exhibit(result=results[path], lesson=None, findings=())
    found = findings(side(results[base]), side(results[path]), lesson)
    return Exhibit(result=results[path], lesson=lesson, findings=tuple(found))


def base_of(path: Path, lesson: Lesson) -> Path:
    """The file of the scenario that one is compared with."""
    return (path.parent / lesson.than).resolve()


def findings(first: Side, other: Side, lesson: Lesson) -> Iterator[Finding]:
    """What the figures of a lesson come to on both sides.

    Raises
    ------
    UsageError
        If a figure does not exist.
    """
    sides = [figures(one) for one in (first, other)]
    combine = unpaired_difference if why_unpaired(first, other) else paired_difference
    for name, expected in lesson.claims.items():
        known = [name for name in sides[0] if name in sides[1]]
        if name not in known:
            raise UsageError(
                f"{other.scenario.name}: lesson.expected: there is no figure {name!r}{suggestion(name, known)}"
            )
        one, two = (figures_of_side[name] for figures_of_side in sides)
        yield Finding(
            figure=name, expected=expected, first=float(one.mean()), other=float(two.mean()),
            difference=combine(one, two, first.scenario.run.confidence),
        )  # fmt: skip


def figures(one: Side) -> dict[str, Floats]:
    """Figures of a side at the horizon with the shock, and what the shock changes, shape (replications,)."""
    found = {name: values for (name, moment), (_, values) in one.figures.items() if moment in ("with", "horizon")}
    resource = {"gpu_hours": "gpu_hours", "energy_mwh": "energy", "usd": "spend"}[one.scenario.run.resource]
    if (resource, "without") in one.figures and resource in found:
        found["change"] = found[resource] / one.figures[resource, "without"][1] - 1.0
    return found
