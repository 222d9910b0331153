"""C, compiled on the spot where there is a compiler: our kernels once more, and the least that the task takes.

The functions are called with the arrays that our kernels get, through `ctypes`, so no process or file is in the time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from ctypes import CDLL, Structure, byref, c_double, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from benchmarks.cases import CASES, Case, Servers
from benchmarks.engines import Engine, Run
from benchmarks.ours import block_of, day_of, decode_of, law_of, wheels_of
from jevons.randomness import Floats
from jevons.serving.compiled import state
from jevons.serving.compiled_engine import FEWEST_SLOTS

#: For this very processor, unless a simulated one must follow (see `instructions`).
FLAGS = ("-O3", "-march=" + os.environ.get("JEVONS_BENCH_MARCH", "native"))
#: No contraction of a product and a sum into one rounding: departures are compared to the last digits.
SAME_ROUNDING = "-ffp-contract=off"

Argument: TypeAlias = c_int64 | c_double | c_void_p


class Job(Structure):
    """What `serving.c` is given."""

    _fields_ = (
        ("block", c_void_p),
        ("n", c_int64),
        ("law", c_void_p),
        ("warm_up", c_int64),
        ("hours", c_int64),
        ("streams", c_int64),
        ("lanes", c_int64),
        ("lane_buckets", c_int64),
        ("nodes", c_double),
        ("fineness", c_int64),
        ("buckets", c_int64),
        ("slots", c_int64),
    )


class Served(NamedTuple):
    """What `serving.c` finds: what the nodes did, and cells and records as in `state`."""

    #: Of the lanes area, time and busy node-seconds; of the pool the same, then tokens, their context, prompt tokens.
    account: Floats
    cells: Floats
    records: Floats


@cache
def library(source: str) -> CDLL:
    """The compiled functions of a source beside this one."""
    folder = Path(tempfile.mkdtemp(prefix="jevons-bench-"))
    target = folder / "library.so"
    path = Path(__file__).with_name(source)
    subprocess.run(["cc", *FLAGS, SAME_ROUNDING, "-shared", "-fPIC", "-o", target, path, "-lm"], check=True)
    loaded = CDLL(str(target))
    # Once loaded it needs no file.
    shutil.rmtree(folder)
    return loaded


def array(values: Floats) -> c_void_p:
    """Where an array of contiguous floats lies."""
    if values.dtype != np.float64 or not values.flags.c_contiguous:
        raise ValueError("values must be contiguous floats of 64 bits")
    return c_void_p(values.ctypes.data)


def prepare_bare(case: Case) -> Run:
    """The function of `bare.c` for a case."""
    inputs: list[Argument] = [c_int64(len(case)), array(case.arrival_s)]
    inputs += [c_int64(case.first.count), array(case.first.service_s)]
    second, functions = case.second, library("bare.c")
    if second is None:
        function = functions.one_stage
    elif isinstance(second, Servers):
        function = functions.two_stages
        inputs += [c_int64(second.count), array(second.service_s)]
    else:
        function = functions.serving
        per_sequence_s = second.per_sequence_s / second.nodes
        inputs += [c_double(second.base_s), c_double(per_sequence_s), c_int64(second.slots), array(second.tokens)]

    def run() -> Floats:
        departure = np.empty(len(case))
        function(*inputs, array(departure))
        return departure

    return run


def kernels_of(case: Case) -> Callable[[], Served]:
    """The job of `serving.c`: law, requests, wheels and slots as our kernels get them."""
    day, batch, wheels, law, block = day_of(case), decode_of(case), wheels_of(case), law_of(case), block_of(case)
    hours, streams, serve = day.warm_up_hours + day.hours, len(day.streams), library("serving.c").serve_job

    def run() -> Served:
        records = np.full((len(case), state.RECORD_ROW), np.nan)
        records[:, state.RECORD_ROW - 1] = 0.0
        found = Served(np.empty(9), np.zeros((hours * streams, state.CELL_ROW)), records)
        job = Job(
            block=array(block),
            n=len(case),
            law=array(law),
            warm_up=day.warm_up_hours,
            hours=hours,
            streams=streams,
            lanes=case.first.count,
            lane_buckets=wheels.lane_buckets,
            nodes=batch.nodes,
            fineness=wheels.fineness,
            buckets=wheels.buckets,
            slots=FEWEST_SLOTS,
        )
        serve(byref(job), array(found.cells), array(found.records), array(found.account))
        return found

    return run


def prepare_kernels(case: Case) -> Run:
    """The kernels of `serving.c` for a case."""
    run = kernels_of(case)

    def departures() -> Floats:
        return run().records[:, 2]

    return departures


NO_COMPILER = "" if shutil.which("cc") else "no C compiler"
KERNELS = Engine(
    name="C, our kernels (cc -O3)",
    prepare=prepare_kernels,
    cases=tuple(CASES),
    compiled=True,
    absent=NO_COMPILER,
)
BARE = Engine(
    name="C, departures only (cc -O3)",
    prepare=prepare_bare,
    cases=tuple(CASES),
    compiled=True,
    absent=NO_COMPILER,
)
