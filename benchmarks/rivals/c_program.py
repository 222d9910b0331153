"""C, compiled on the spot where there is a compiler: what the machine can do at the most.

The functions are called with the arrays that our kernels get, through `ctypes`, so no process or file is in the time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from ctypes import CDLL, c_double, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from benchmarks.cases import CASES, Case, Servers
from benchmarks.engines import Engine, Run
from jevons.randomness import Floats

SOURCE = Path(__file__).with_name("bare.c")
#: For this very processor, unless a simulated one must follow (see `instructions`).
FLAGS = ("-O3", "-march=" + os.environ.get("JEVONS_BENCH_MARCH", "native"))
#: No contraction of a product and a sum into one rounding: departures are compared to the last digits.
SAME_ROUNDING = "-ffp-contract=off"

Argument: TypeAlias = c_int64 | c_double | c_void_p


@cache
def library(source: Path = SOURCE) -> CDLL:
    """The compiled functions of a source."""
    folder = Path(tempfile.mkdtemp(prefix="jevons-bench-"))
    target = folder / f"{source.stem}.so"
    subprocess.run(["cc", *FLAGS, SAME_ROUNDING, "-shared", "-fPIC", "-o", target, source, "-lm"], check=True)
    loaded = CDLL(str(target))
    # Once loaded it needs no file.
    shutil.rmtree(folder)
    return loaded


def array(values: Floats) -> c_void_p:
    """Where an array of contiguous floats lies."""
    if values.dtype != np.float64 or not values.flags.c_contiguous:
        raise ValueError("values must be contiguous floats of 64 bits")
    return c_void_p(values.ctypes.data)


def prepare(case: Case) -> Run:
    """The call for a case."""
    inputs: list[Argument] = [c_int64(len(case)), array(case.arrival_s)]
    inputs += [c_int64(case.first.count), array(case.first.service_s)]
    second = case.second
    if second is None:
        function = library().one_stage
    elif isinstance(second, Servers):
        function = library().two_stages
        inputs += [c_int64(second.count), array(second.service_s)]
    else:
        function = library().serving
        per_sequence_s = second.per_sequence_s / second.nodes
        inputs += [c_double(second.base_s), c_double(per_sequence_s), c_int64(second.slots), array(second.tokens)]

    def run() -> Floats:
        departure = np.empty(len(case))
        function(*inputs, array(departure))
        return departure

    return run


ENGINE = Engine(
    name="C, departures only (cc -O3)",
    prepare=prepare,
    cases=tuple(CASES),
    compiled=True,
    absent="" if shutil.which("cc") else "no C compiler",
)
