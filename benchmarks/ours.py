"""The engines of jevons on the cases.

A first stage is prefill, with a lane for each server and tokens of a second.  A second stage is decode; as h = 0
and a largest batch of 1 make a node a server, a pool of servers is decode too.
"""

from __future__ import annotations

import numpy as np
import simpy

from benchmarks.cases import CASES, Batch, Case, Servers
from benchmarks.engines import Engine, Run
from jevons.scenario import Serving, StepLaw, Workload
from jevons.serving import Day, Stream
from jevons.serving.book import Book
from jevons.serving.control import at_times
from jevons.serving.crowd import Crowd
from jevons.serving.disaggregated import Decode, Prefill
from jevons.serving.sizing import Load
from jevons.workload import Requests

STREAM = Stream(name="only", requests_per_day=0.0, workload=Workload())
#: Expected by no stage at full size.
LOAD = Load(prefill_tokens_per_s=np.ones(1), decode_tokens_per_s=np.ones(1), context_tokens2_per_s=np.zeros(1))


def batch_of(stage: Servers | Batch | None) -> Batch:
    """The second stage as decode: a server is a node whose steps of 1 s advance one sequence at a time."""
    if isinstance(stage, Batch):
        return stage
    if isinstance(stage, Servers):
        return Batch(stage.count, 1.0, 0.0, 1, stage.service_s)
    raise ValueError("stage must be Servers or Batch, not None")


def requests_of(case: Case) -> Requests:
    """The customers of a case, in tokens."""
    n = len(case)
    return Requests(
        arrival_s=case.arrival_s,
        stream=np.zeros(n, dtype=np.int64),
        input_tokens=case.first.service_s,
        cached_tokens=np.zeros(n),
        output_tokens=np.ones(n) if case.second is None else batch_of(case.second).tokens,
    )


def serving_of(case: Case) -> Serving:
    """The node of a case: as many lanes as its first stage has servers, each a token a second."""
    batch = batch_of(case.second or Servers(1, np.ones(0)))
    return Serving(
        step=StepLaw(base_s=batch.base_s, per_sequence_s=batch.per_sequence_s),
        target_batch=float(batch.max_batch),
        max_batch=float(batch.max_batch),
        prefill_tokens_per_s=float(case.first.count),
        prefill_lanes=case.first.count,
    )


def prepare_simpy(case: Case) -> Run:
    """The stages of the SimPy engine; its book of requests is filled within the time that is measured."""
    requests, serving, end_s = requests_of(case), serving_of(case), 2 * float(case.arrival_s[-1])
    day = Day(streams=(STREAM,), serving=serving, trace=requests, hours=1)

    def run() -> list[float]:
        env = simpy.Environment()
        book = Book(day, requests, 0.0)
        prefill = Prefill(env, book, serving, Crowd(serving))
        prefill.switch(1.0, LOAD)
        if case.second is None:

            def leave(request: int) -> None:
                book.departure[request] = env.now

            prefill.done = leave
        else:
            decode = Decode(env, book, serving, Crowd(serving), end_s)
            decode.switch(float(batch_of(case.second).nodes), LOAD)
            prefill.done = decode.join
        at_times(env, book.arrival, prefill.arrive)
        env.run()
        return book.departure

    return run


SIMPY = Engine(name="jevons, SimPy engine", prepare=prepare_simpy, cases=tuple(CASES), at_most=40_000)
