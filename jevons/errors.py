"""What can go wrong, as one hierarchy; each class carries the exit code of the command line."""

from __future__ import annotations

from dataclasses import dataclass


class JevonsError(Exception):
    """Anything that jevons reports to its user instead of a traceback."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a scenario: where it stands, which rule it breaks, with what value."""

    #: File as the user named it, or `--set` for an override on the command line.
    file: str
    #: Dotted key, `segments.chat.price_elasticity`; empty when the whole file is at fault.
    key: str
    #: The rule that is broken, with the offending value and, for a misspelt key, a suggestion.
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ScenarioError(JevonsError):
    """A file (or an override) does not describe a scenario; all problems are reported at once."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([*map(str, problems), f"{count}; nothing was run."]))


class UsageError(JevonsError):
    """A command or a call asks for something that does not exist."""

    exit_code = 2


class UnstableQueueError(JevonsError):
    """The offered load reaches the capacity: no steady state exists."""

    def __init__(self, traffic_intensity: float) -> None:
        self.traffic_intensity = traffic_intensity
        super().__init__(f"the queue has no steady state: traffic intensity is {traffic_intensity:g}, not below 1")
