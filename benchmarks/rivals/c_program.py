"""C, compiled on the spot where there is a compiler: our kernels once more, and the least that the task takes.

The functions are called with the arrays that our kernels get, through `ctypes`, so no process or file is in the time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from ctypes import CDLL, Structure, byref, c_double, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from benchmarks.cases import CASES, Case, Servers
from benchmarks.engines import Engine, Run
from benchmarks.ours import decode_of, requests_of, wheels_of
from jevons.randomness import Floats
from jevons.serving.compiled_engine import FEWEST_SLOTS

#: Requests that enter at a time.
CHUNK = 8192

#: For this very processor, unless a simulated one must follow (see `instructions`).
FLAGS = ("-O3", "-march=" + os.environ.get("JEVONS_BENCH_MARCH", "native"))
#: No contraction of a product and a sum into one rounding: departures are compared to the last digits.
SAME_ROUNDING = "-ffp-contract=off"

Argument: TypeAlias = c_int64 | c_double | c_void_p


class Job(Structure):
    """What `serving.c` is given."""

    _fields_ = (
        ("n", c_int64),
        ("chunk", c_int64),
        ("arrival", c_void_p),
        ("input", c_void_p),
        ("output", c_void_p),
        ("lanes", c_int64),
        ("lane_s_per_token", c_double),
        ("lane_buckets_per_s", c_double),
        ("lane_buckets", c_int64),
        ("nodes", c_double),
        ("base_s", c_double),
        ("per_sequence_s", c_double),
        ("max_batch", c_double),
        ("buckets", c_int64),
        ("fineness", c_int64),
        ("slots", c_int64),
    )


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


def prepare_kernels(case: Case) -> Run:
    """The job of `serving.c`: requests, wheels and slots as our kernels get them."""
    requests, batch, wheels = requests_of(case), decode_of(case), wheels_of(case)
    job = Job(
        n=len(case),
        chunk=CHUNK,
        arrival=array(requests.arrival_s),
        input=array(requests.input_tokens),
        output=array(requests.output_tokens),
        lanes=case.first.count,
        lane_s_per_token=1.0,
        lane_buckets_per_s=wheels.lanes_per_s,
        lane_buckets=wheels.lane_buckets,
        nodes=batch.nodes,
        base_s=batch.base_s,
        per_sequence_s=batch.per_sequence_s,
        max_batch=batch.max_batch,
        buckets=wheels.buckets,
        fineness=wheels.fineness,
        slots=FEWEST_SLOTS,
    )
    serve = library("serving.c").serve_job

    def run() -> Floats:
        records = np.full((len(requests), 3), np.nan)
        serve(byref(job), array(records))
        departure: Floats = records[:, 2]
        return departure

    return run


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
