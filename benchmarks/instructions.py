"""Count the instructions that a customer costs, in our kernels and in C.

    python -m benchmarks.instructions [ENGINE ...]

Prints, and writes benchmarks/results/instructions.txt.  Unlike time it is the same on a busy machine.  A process that
serves a case five times is compared with one that serves it once: what differs is four runs, without start,
compilation and inputs.  Counted by the processor (`perf`) where it can, else by simulating it (`callgrind`), which
knows no AVX-512: there numba is told to compile for a lesser processor, and C is not told to use all of this one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

from benchmarks.cases import CASES
from benchmarks.engines import Engine
from benchmarks.entrants import ENTRANTS, entrant
from benchmarks.measure import ROOT, figure
from benchmarks.printing import columns, heading, publish

CUSTOMERS = 100_000
#: Runs of the two processes that are compared.
FEW, MANY = 1, 5
#: What callgrind can follow, and a start that is the same each time.
PLAIN = {
    "NUMBA_CPU_NAME": "x86-64-v3",
    "NUMBA_CPU_FEATURES": "",
    "JEVONS_BENCH_MARCH": "x86-64-v3",
    "PYTHONHASHSEED": "0",
}


def main(names: Sequence[str]) -> None:
    """Count, print and write."""
    engines = [entrant(name) for name in names] or [engine for engine in ENTRANTS if engine.compiled]
    lines = heading(" ".join(["python -m benchmarks.instructions", *names]))
    count, how = counter()
    if count is None:
        publish("instructions", [*lines, how])
        return
    rows = []
    for case in CASES:
        rows += [(CASES[case](1).title,)]
        for engine in engines:
            if case in engine.cases:
                rows.append((engine.name, engine.absent or each(count, engine, case)))
    publish("instructions", [*lines, how, "", *columns(("", "instructions a customer"), rows)])


def each(count: Callable[[Sequence[str]], float], engine: Engine, case: str) -> str:
    """Instructions of a customer."""
    few, many = (count(["-m", "benchmarks.instructions", "--serve", engine.name, case, str(n)]) for n in (FEW, MANY))
    return figure((many - few) / ((MANY - FEW) * CUSTOMERS))


def counter() -> tuple[Callable[[Sequence[str]], float] | None, str]:
    """How instructions can be counted here, and in words."""
    if shutil.which("perf"):
        try:
            with_perf(["-c", ""])
        except (subprocess.CalledProcessError, ValueError):
            pass
        else:
            return with_perf, "Counted by the processor: perf stat -e instructions:u."
    if shutil.which("valgrind"):
        return with_callgrind, "perf finds no counter here; counted by callgrind, compiled without AVX-512."
    return None, "Not available here: perf finds no counter, and there is no valgrind."


def with_perf(arguments: Sequence[str]) -> float:
    """Instructions of a Python process, from the processor's counter."""
    command = ["perf", "stat", "-x", ",", "-e", "instructions:u", sys.executable, *arguments]
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(result.stderr.splitlines()[-1].split(",")[0])


def with_callgrind(arguments: Sequence[str]) -> float:
    """Instructions of a Python process, followed one by one."""
    environment = os.environ | PLAIN
    # Kernels are compiled, and kept on disk, at full speed.
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, env=environment)
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", sys.executable, *arguments]
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=environment)
    return float(re.findall(r"Collected : (\d+)", result.stderr)[-1])


def serve(name: str, case: str, runs: int) -> None:
    """What the counted process does."""
    run = entrant(name).prepare(CASES[case](CUSTOMERS))
    for _ in range(runs):
        run()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(sys.argv[1:])
