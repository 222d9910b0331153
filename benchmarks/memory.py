"""Print by how much the peak of a process's memory rises while an engine serves a case, MB.

    python -m benchmarks.memory ENGINE CASE CUSTOMERS

Imports, compilation and inputs come before; the run and its results count.
"""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from ctypes import CDLL
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.entrants import entrant

#: What Linux knows of the process: writing 5 sets its peak back to what it holds.
RESET = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
WARM_UP = 500


def main(name: str, case: str, customers: int) -> None:
    """Measure and print."""
    engine, make = entrant(name), CASES[case]
    engine.prepare(make(WARM_UP))()
    print(f"{rise_mb(engine.prepare(make(customers))):.1f}")


def rise_mb(run: Callable[[], object]) -> float:
    """By how much the peak of this process's memory rises over a run, MB."""
    gc.collect()
    forget_peak()
    before_mb = peak_mb()
    run()
    return peak_mb() - before_mb


def forget_peak() -> None:
    """Begin a new peak, where that can be done; else a peak before the run hides as much of the run's.

    What the making of the inputs left over is given back first: a run that takes it again would seem to need nothing.
    """
    if RESET.exists():
        give_back = getattr(CDLL(None), "malloc_trim", None)
        if give_back is not None:
            give_back(0)
        RESET.write_text("5")


def peak_mb() -> float:
    """Most memory held by this process, MB.

    Linux counts what the parent held in `ru_maxrss` of a new process, so there the process's own account is read.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
