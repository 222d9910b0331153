"""What an engine is to the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from benchmarks.cases import Case
from jevons.randomness import Floats

#: Serves the customers it was made for, from the beginning at each call; gives when each leaves, s.
Run: TypeAlias = Callable[[], Floats | Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One way to serve a case."""

    name: str
    #: Brings the inputs into the form that the engine reads; that is not timed.  The run is.
    prepare: Callable[[Case], Run]
    #: Names of the cases it can serve.
    cases: tuple[str, ...]
    #: Customers that it can be asked to serve in the time there is, by case where they differ.
    at_most: int = 1_000_000
    at_most_in: dict[str, int] = field(default_factory=dict)
    #: Whether its loop is machine code, whose instructions can be counted.
    compiled: bool = False
    #: Why it cannot be run here, if it cannot.
    absent: str = ""

    def customers(self, case: str, wanted: int) -> int:
        """How many customers it serves where so many are wanted."""
        return min(wanted, self.at_most_in.get(case, self.at_most))
