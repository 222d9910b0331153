"""How things are measured: processor time by turns, ratios within a round, memory in a process of its own, growth.

A busy machine makes single times worthless, wall time most of all.  Two engines that take turns, A B A B, meet the same
neighbours, so the ratio within a round holds where neither of its times does.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
#: A turn lasts at least so long: a short run is repeated.
LEAST_TURN_S = 0.05


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    def __str__(self) -> str:
        return f"{figure(self.median)} ({figure(min(self.values))}..{figure(max(self.values))})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Processor time of two runs that took turns, each s a call, and how many times that of the first the second is."""

    first_s: Spread
    second_s: Spread
    ratio: Spread


def turn_s(run: Callable[[], object]) -> float:
    """Processor time of a call, s: the mean of as many as fill a turn."""
    calls, start = 0, time.process_time()
    while True:
        run()
        calls += 1
        spent_s = time.process_time() - start
        if spent_s >= LEAST_TURN_S:
            return spent_s / calls


def by_turns(first: Callable[[], object], second: Callable[[], object], rounds: int, scale: float = 1.0) -> Comparison:
    """Let two runs take turns; `scale` turns the ratio of their times into that of equal amounts of work."""
    pairs = [(turn_s(first), turn_s(second)) for _ in range(rounds)]
    firsts, seconds = zip(*pairs, strict=True)
    return Comparison(Spread(firsts), Spread(seconds), Spread(tuple(scale * b / a for a, b in pairs)))


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Exponent of the power law that fits costs best: the slope of their logarithms.

    >>> round(exponent([1, 10, 100], [3, 30, 300]), 12)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def peak_rise_mb(module: str, *arguments: str) -> float:
    """By how much a module, run in a process of its own, says that its memory rose, MB."""
    command = [sys.executable, "-m", module, *arguments]
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(result.stdout)


def figure(value: float) -> str:
    """Three significant digits, without an exponent.

    >>> figure(0.012345), figure(1.5), figure(98765.4)
    ('0.0123', '1.50', '98,800')
    """
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    digits = 2 - int(np.floor(np.log10(abs(float(f"{value:.3g}")))))
    return f"{round(value, digits):,.{max(digits, 0)}f}"
