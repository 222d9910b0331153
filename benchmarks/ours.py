"""The engines of jevons on the cases.

The first stage is prefill, with a lane for each server and tokens of a second.  The second is decode; as h = 0 and a
largest batch of 1 make a node a server, a pool of servers is decode too.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import simpy

from benchmarks.cases import CASES, Batch, Case, Servers
from benchmarks.engines import Engine, Run
from jevons.randomness import Draws, Floats
from jevons.scenario import Serving, StepLaw, Workload
from jevons.serving import Day, Stream, compiled_engine
from jevons.serving.book import Book
from jevons.serving.compiled import day as kernels
from jevons.serving.compiled import state
from jevons.serving.crowd import Crowd
from jevons.serving.disaggregated import Decode, Prefill
from jevons.serving.sizing import Load
from jevons.serving.timers import Order, SimpyClock, at_times
from jevons.workload import Requests

DRAWS = Draws(seed=1, replication=0)
#: More sequences than ever come.
MANY = 1_000_000
STREAM = Stream(name="only", requests_per_day=0.0, workload=Workload())
#: Expected by no stage at full size.
LOAD = Load(prefill_tokens_per_s=np.ones(1), decode_tokens_per_s=np.ones(1), context_tokens2_per_s=np.zeros(1))


def decode_of(case: Case) -> Batch:
    """The second stage as decode: a server is a node whose steps of 1 s advance one sequence at a time.

    Where there is no second stage, decode takes no time and holds any number.
    """
    if case.second is None:
        return Batch(1, 0.0, 0.0, MANY, np.ones(len(case)))
    if isinstance(case.second, Servers):
        return Batch(case.second.count, 1.0, 0.0, 1, case.second.service_s)
    return case.second


def requests_of(case: Case) -> Requests:
    """The customers of a case, in tokens."""
    n = len(case)
    return Requests(
        arrival_s=case.arrival_s,
        stream=np.zeros(n, dtype=np.int64),
        input_tokens=case.first.service_s,
        cached_tokens=np.zeros(n),
        output_tokens=decode_of(case).tokens,
    )


def serving_of(case: Case) -> Serving:
    """The node of a case: as many lanes as its first stage has servers, each a token a second."""
    batch = decode_of(case)
    return Serving(
        step=StepLaw(base_s=batch.base_s, per_sequence_s=batch.per_sequence_s),
        target_batch=float(batch.max_batch),
        max_batch=float(batch.max_batch),
        prefill_tokens_per_s=float(case.first.count),
        prefill_lanes=case.first.count,
    )


def day_of(case: Case) -> Day:
    """The customers of a case as the trace of an hour that ends soon after the last of them."""
    requests = requests_of(case)
    end_s = float(case.arrival_s[-1]) + 1.0
    return Day(streams=(STREAM,), serving=serving_of(case), trace=requests, hours=1, seconds_per_hour=end_s)


def row_of(case: Case) -> Floats:
    """The schedule of a case: its lanes and nodes from the beginning on."""
    batch = decode_of(case)
    row = np.zeros((1, state.ROW_COLUMNS))
    row[0, [state.ROW_LANES_NODES, state.ROW_SLOWNESS]] = 1.0
    row[0, state.ROW_LANES] = case.first.count
    row[0, state.ROW_NODES] = batch.nodes
    row[0, state.ROW_STEP] = batch.step_s(batch.slots)
    return row


def wheels_of(case: Case) -> compiled_engine.Wheels:
    """How fine the wheels are that the compiled engine takes for a case, and how large."""
    return compiled_engine.Wheels.of(day_of(case), row_of(case), len(case))


def law_of(case: Case) -> Floats:
    """The law by which the nodes of a case serve."""
    return compiled_engine.law_numbers(day_of(case), wheels_of(case), 0.0, np.zeros(4))


def block_of(case: Case) -> Floats:
    """The customers of a case as a block of requests."""
    requests = requests_of(case)
    return np.array([getattr(requests, name) for name in compiled_engine.REQUEST_FIELDS], dtype=np.float64)


def kernels_of(case: Case) -> Callable[[], state.Memory]:
    """The kernels of the compiled engine; the state that they change is made within the time that is measured."""
    day, rows, wheels, law, block = day_of(case), row_of(case), wheels_of(case), law_of(case), block_of(case)
    source = compiled_engine.source_of(day, np.zeros((1, 1)), DRAWS)

    def run() -> state.Memory:
        size = compiled_engine.size_of(day, rows, wheels, compiled_engine.FEWEST_SLOTS, len(case))
        memory = compiled_engine.opening_memory(day, size, wheels)
        memory.state[: len(law)] = law
        progress, queue = np.zeros(state.PROGRESS), np.empty((2, size.slots, 2))
        progress[[state.IN_BLOCK, state.NO_MORE]] = len(case), 1
        totals, scratch = np.zeros((1, 4)), np.empty((5, 1))
        while not kernels.advance(*memory, *source, progress, block, queue, totals, rows, scratch, inf):
            memory, queue = memory.grown(), np.concatenate([queue, np.empty_like(queue)], axis=1)
        return memory

    return run


def prepare_compiled(case: Case) -> Run:
    """The compiled engine on a case."""
    run = kernels_of(case)

    def departures() -> Floats:
        return run().part(state.RECORDS, len(case), state.RECORD_ROW)[:, 2]

    return departures


def prepare_simpy(case: Case) -> Run:
    """The stages of the SimPy engine; its book of requests is filled within the time that is measured."""
    requests, day = requests_of(case), day_of(case)
    serving = day.serving

    def run() -> list[float]:
        env = simpy.Environment()
        book = Book(day, requests, 0.0)
        clock = SimpyClock(env)
        prefill, decode = Prefill(clock, book, serving, Crowd(serving)), Decode(clock, book, serving, Crowd(serving))
        prefill.switch(1.0, LOAD)
        decode.switch(float(decode_of(case).nodes), LOAD)
        prefill.done = decode.arrive
        at_times(env, book.arrival, prefill.arrive, Order.ARRIVAL)
        env.run()
        return book.departure

    return run


COMPILED = Engine(name="jevons, compiled engine", prepare=prepare_compiled, cases=tuple(CASES), compiled=True)
SIMPY = Engine(name="jevons, SimPy engine", prepare=prepare_simpy, cases=tuple(CASES), at_most=40_000)
