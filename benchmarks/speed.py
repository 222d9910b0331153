"""The table of engines: the same customers in each of them, measured by turns with ours.

    python -m benchmarks.speed [--rounds N] [--customers N] [--cases NAME ...]

Prints, and writes benchmarks/results/speed.txt.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks import reference
from benchmarks.cases import CASES, Case
from benchmarks.engines import Engine, Run
from benchmarks.entrants import ENTRANTS
from benchmarks.measure import Spread, by_turns, peak_rise_mb
from benchmarks.printing import columns, heading, publish
from jevons.randomness import Floats

HEAD = ("", "customers", "µs CPU each", "a CPU-second", "times ours", "MB", "off by, s")
NOTES = (
    "customers    slow engines are given fewer of the same kind; cost is compared by the customer",
    "µs CPU each  processor time of the run, inputs ready in memory: median (least..most) of the rounds",
    "times ours   median (least..most) of the ratios within a round to the first engine, which takes turns with each",
    "MB           rise of the peak of a process's memory over the run, results included",
    "off by       largest difference of any departure from a reference worked out by other means",
)


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of an engine on a case."""

    name: str
    customers: int
    each_us: Spread
    ratio: Spread | None
    memory_mb: float
    difference_s: float

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        return (
            self.name,
            f"{self.customers:,}",
            str(self.each_us),
            f"{1e6 / self.each_us.median:,.0f}",
            "1" if self.ratio is None else str(self.ratio),
            f"{self.memory_mb:.1f}",
            f"{self.difference_s:.0e}" if self.difference_s else "0",
        )


def main(arguments: Sequence[str]) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args(arguments)
    rows: list[tuple[str, ...]] = []
    for name in options.cases:
        rows += [("",), (CASES[name](1).title,), *rows_of(name, options.customers, options.rounds)]
    command = " ".join(["python -m benchmarks.speed", *arguments])
    publish("speed", [*heading(command), *columns(HEAD, rows), "", f"{options.rounds} rounds", *NOTES])


def rows_of(case: str, wanted: int, rounds: int) -> list[tuple[str, ...]]:
    """A row for each engine that can serve the case, ours first; the others take turns with ours."""
    ours, *others = (engine for engine in ENTRANTS if case in engine.cases)
    n = ours.customers(case, wanted)
    run = ours.prepare(path(case, n))
    difference_s = off_by(run, case, n)
    times: list[float] = []
    rows = []
    for engine in others:
        if engine.absent:
            rows.append((engine.name, *[""] * (len(HEAD) - 2), engine.absent))
            continue
        row, ours_s = compared(engine, run, n, case, wanted, rounds)
        times += ours_s.values
        rows.append(row.cells())
    first = Row(ours.name, n, each_us(Spread(tuple(times)), n), None, memory_mb(ours, case, n), difference_s)
    return [first.cells(), *rows]


def compared(engine: Engine, ours: Run, n_ours: int, case: str, wanted: int, rounds: int) -> tuple[Row, Spread]:
    """The row of an engine that takes turns with ours, and the times of ours, s."""
    n = engine.customers(case, wanted)
    run = engine.prepare(path(case, n))
    difference_s = off_by(run, case, n)
    turns = by_turns(ours, run, rounds, scale=n_ours / n)
    row = Row(engine.name, n, each_us(turns.second_s, n), turns.ratio, memory_mb(engine, case, n), difference_s)
    return row, turns.first_s


@cache
def path(case: str, n: int) -> Case:
    """The sample path of a case, made once."""
    return CASES[case](n)


@cache
def departures(case: str, n: int) -> Floats:
    """What is right, worked out once."""
    return reference.departures(path(case, n))


def off_by(run: Run, case: str, n: int) -> float:
    """Largest difference of a departure from the reference, s; a first run, that nothing is measured cold."""
    return float(np.abs(np.asarray(run()) - departures(case, n)).max())


def each_us(spread: Spread, n: int) -> Spread:
    """Times of runs as those of a customer, µs."""
    return Spread(tuple(1e6 * seconds / n for seconds in spread.values))


def memory_mb(engine: Engine, case: str, n: int) -> float:
    """Rise of the peak of a process that runs it once, MB."""
    return peak_rise_mb("benchmarks.memory", engine.name, case, str(n))


if __name__ == "__main__":
    main(sys.argv[1:])
