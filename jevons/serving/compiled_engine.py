"""The compiled engine: every request of a fleet's day, at the same times as in the reference.

SimPy is the control plane and says what happens: failures and repairs, and through them the nodes there are.  Between
two of its events the kernels of `compiled` serve all requests in one call, along the schedule of the autoscaler.  The
draws and the relations are those of `simpy_engine`; memory does not grow with the number of requests, unless single
ones are to be kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from math import ceil, fsum, inf, log2
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simpy

from jevons.randomness import Draws, Floats
from jevons.scenario import Tokens, Workload
from jevons.serving import sizing
from jevons.serving.compiled import day as kernels
from jevons.serving.compiled.draws import (
    BELOW,
    EXPECTED,
    FIRST_S,
    LAW_CACHED,
    LAW_CORRELATION,
    LAW_SIZE,
    PURPOSES,
    REACHED,
    SPAN_S,
    Source,
    draw_block,
)
from jevons.serving.compiled.state import (
    ARRIVED,
    BASE_S,
    BINS,
    BLOCK_ROWS,
    CELL_ROW,
    CELLS,
    CHUNK,
    COLOCATED,
    DECODE_AREA,
    DECODE_TIME,
    DECODING,
    ENTERED,
    FINENESS,
    FIRST_TOKEN,
    FREE,
    HOUR_S,
    HOURS,
    IN_BLOCK,
    INPUT_WEIGHT,
    INTERACTIVE,
    LANE_BUCKETS_PER_S,
    LANE_S_PER_TOKEN,
    LANES,
    LANES_AREA,
    LANES_ROW,
    LANES_SHARE,
    LANES_TIME,
    LOST,
    MAX_BATCH,
    N_REPLICAS,
    NO_MORE,
    ORIGIN_S,
    OUTPUT_WEIGHT,
    PATIENCE_S,
    PENDING,
    PER_KV_TOKEN_S,
    PER_PREFILL_TOKEN_S,
    PER_SEQUENCE_S,
    POOLED,
    POWER_OF_TWO,
    PREFILL_START,
    PROGRESS,
    PROMPT,
    PROMPT_AREA,
    PROMPT_TIME,
    RECORD_ROW,
    RECORDS,
    REPLICA_ROW,
    REPLICAS,
    REQUEST,
    REQUESTS_PER_TOKEN,
    ROUND_ROBIN,
    ROUTING,
    ROUTING_KEY,
    ROW_IS_NOTE,
    ROW_PROMPT_SLOTS,
    ROW_REPLICAS,
    ROW_STEP,
    SERVED_REQUESTS,
    SHARE,
    STREAM_ROW,
    STREAMS,
    TPOT_BINS,
    TTFT_BINS,
    WAIT,
    WARM_UP,
    Memory,
    Size,
    memory_of,
)
from jevons.serving.forecast import expected_requests
from jevons.serving.interface import Day, Flow
from jevons.serving.layouts import requests_per_token
from jevons.serving.rows import rows_of
from jevons.serving.streaming import BLOCK, Histograms, StreamedDay
from jevons.stacks import PerWorld
from jevons.workload import Requests

#: Slots at first; they double when there are not enough.
FEWEST_SLOTS = 2 * BLOCK
#: Requests that a bucket should hold, and buckets at the least and at the most, in all.
IN_A_BUCKET = 4.0
FEWEST_BUCKETS, MOST_BUCKETS = 64, 1 << 18
ROUTINGS = {"pooled": POOLED, "round_robin": ROUND_ROBIN, "power_of_two": POWER_OF_TWO}


def serve(env: simpy.Environment, day: Day, draws: Draws) -> simpy.Event:
    """Serve a day from now on; the event succeeds with the `ServedDay` when the day is over on the clock."""
    return env.timeout(day.duration_s, CompiledDay.served_day(day, draws))


class CompiledDay(StreamedDay):
    """One day, and between the events of its control plane all requests in one call."""

    def __init__(self, env: simpy.Environment, day: Day, draws: Draws) -> None:
        super().__init__(env, day, draws)
        self.rows = rows_of(day, self.schedule, 0)
        self.progress = np.zeros(PROGRESS)
        self.block = self._opening_block()
        slots = min(max(2 * self.block.shape[1], 1), FEWEST_SLOTS)
        wheels = Wheels.of(day, self.rows, self.number)
        size = size_of(day, self.rows, wheels, slots, None if self.requests is None else len(self.requests))
        self.memory = opening_memory(day, size, wheels)
        law = law_numbers(day, wheels, requests_per_token(day, self.load, self.number), routing_key(draws))
        self.memory.state[: len(law)] = law
        self.queue = np.empty((2, slots, 2))

    @cached_property
    def source(self) -> Source:
        """What the requests are drawn from."""
        return source_of(self.day, expected_requests(self.day, self.rates_per_s), self.draws)

    def _drawn_blocks(self, size: int) -> Iterator[Requests]:
        return drawn_blocks(self.source, size)

    def _opening_block(self) -> Floats:
        if self.requests is None:
            return np.zeros((BLOCK_ROWS, BLOCK))
        self.progress[IN_BLOCK], self.progress[NO_MORE] = len(self.requests), 1
        return np.array([getattr(self.requests, name) for name in REQUEST_FIELDS], dtype=np.float64)

    # The control plane's view.

    def advance(self) -> None:
        """Serve until now."""
        scratch = np.empty((5, self.block.shape[1] if self.requests is None else 1))
        while not kernels.advance(
            *self.memory, *self.source, self.progress, self.block, self.queue, self.totals, self.rows, scratch,
            self.env.now,
        ):  # fmt: skip
            self.memory = self.memory.grown()
            queue = np.empty((2, 2 * self.queue.shape[1], 2))
            queue[:, : self.queue.shape[1]] = self.queue
            self.queue = queue

    def under_repair(self, down: int) -> None:
        """Serve with what is left of the schedule's nodes when so many are under repair."""
        self.advance()
        self.rows = rows_of(self.day, self.schedule, down)
        row = self.rows[self.rows[:, ROW_IS_NOTE] == 0][self.schedule.row_at(self.env.now)]
        kernels.control(*self.memory, row, NO_SLOTS, NOBODY_AGAIN, False, self.env.now)

    def decoding(self) -> list[int]:
        """Requests that decode."""
        self.advance()
        decoding = self.memory.stages == DECODING
        found: list[int] = self.memory.slot_rows[decoding, REQUEST].astype(np.int64).tolist()
        return found

    def interrupt(self, hit: set[int]) -> None:
        """Start those requests again: their node failed."""
        requests = self.memory.slot_rows[:, REQUEST]
        again = (self.memory.stages == DECODING) & np.isin(requests, list(hit))
        slots = np.flatnonzero(again)
        slots = slots[np.argsort(requests[slots])]
        kernels.control(*self.memory, NO_ROW, slots, again, False, self.env.now)
        n = len(slots)
        self.queue[0, :n, 0], self.queue[0, :n, 1], self.progress[PENDING] = self.env.now, slots, n

    # The close.

    def _lose_who_gave_up(self) -> None:
        kernels.control(*self.memory, NO_ROW, NO_SLOTS, NOBODY_AGAIN, True, self.env.now)

    def _flow(self) -> Flow:
        stage, replicas = self.memory.stages, int(self.memory.counts[N_REPLICAS])
        rows = self.memory.slot_rows
        spent_s = self.env.now - np.where(stage == DECODING, rows[:, FIRST_TOKEN], rows[:, ENTERED])
        lanes = self.memory.part(LANES, 1, LANES_ROW)[0]
        done = self.memory.part(REPLICAS, replicas, REPLICA_ROW).sum(axis=0)
        counted = self._cells().sum(axis=(0, 1))
        return Flow(
            arrived=int(counted[ARRIVED]),
            served=int(counted[SERVED_REQUESTS]),
            lost=int(counted[LOST]),
            inside=int((stage != FREE).sum()),
            prefill_area_s=float(lanes[LANES_AREA] + done[PROMPT_AREA]),
            prefill_time_s=float(lanes[LANES_TIME] + done[PROMPT_TIME] + fsum(spent_s[stage == PROMPT])),
            decode_area_s=float(done[DECODE_AREA]),
            decode_time_s=float(done[DECODE_TIME] + fsum(spent_s[stage > PROMPT])),
        )

    def _cells(self) -> Floats:
        return cells_of(self.day, self.memory)

    def _histograms(self) -> tuple[Histograms, Histograms]:
        hours, streams = self.day.warm_up_hours + self.day.hours, len(self.day.streams)
        ttft, tpot = (
            self.memory.bins(where, hours * streams).reshape(hours, streams, BINS) for where in (TTFT_BINS, TPOT_BINS)
        )
        return ttft, tpot

    def _record_rows(self) -> Floats:
        records = self.memory.part(RECORDS, int(self.progress[IN_BLOCK]), RECORD_ROW)
        # Who is still inside may have begun its prefill, and have its first token.
        inside = self.memory.slot_rows[self.memory.stages != FREE]
        numbers = inside[:, REQUEST].astype(np.int64)
        records[numbers, 0], records[numbers, 1] = inside[:, PREFILL_START], inside[:, FIRST_TOKEN] + inside[:, WAIT]
        return records


# --- From the day to arrays -------------------------------------------------------------------------------------------

#: Fields of `Requests` in the order of a block's rows.
REQUEST_FIELDS = ("arrival_s", "stream", "input_tokens", "cached_tokens", "output_tokens")
#: What a control kernel is given for what does not change.
NO_ROW, NO_SLOTS, NOBODY_AGAIN = np.empty(0), np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.bool_)


def drawn_blocks(source: Source, size: int) -> Iterator[Requests]:
    """All requests of a source, so many at a time."""
    place, scratch, before = np.zeros(2), np.empty((5, size)), 0
    n = size
    while n == size:
        block = np.zeros((BLOCK_ROWS, size))
        n = draw_block(*source, block, before, place, scratch)
        before += n
        arrival_s, stream, inputs, cached, outputs = block[:, :n]
        yield Requests(
            arrival_s=arrival_s,
            stream=stream.astype(np.int64),
            input_tokens=inputs,
            cached_tokens=cached,
            output_tokens=outputs,
        )


def source_of(day: Day, expected: Floats, draws: Draws) -> Source:
    """What the requests of a day are drawn from, of expected numbers of shape (t, s); of a trace, nothing."""
    if day.played is not None:
        expected = np.zeros((1, len(day.streams)))
    return Source(
        keys=np.array(draws.keys(PURPOSES), dtype=np.uint64),
        spans=spans_of(day, expected),
        laws=token_laws(day),
    )


def spans_of(day: Day, expected: Floats) -> Floats:
    """Table of the spans of a day, see `Source`, or of days, of expected requests of shape (..., t, s)."""
    spans = np.zeros((*expected.shape[:-2], expected.shape[-2] + 1, BELOW + expected.shape[-1]))
    spans[..., FIRST_S], spans[..., SPAN_S] = -day.warm_up_hours * day.seconds_per_hour, day.seconds_per_hour
    spans[..., :-1, EXPECTED] = expected.sum(axis=-1)
    spans[..., 1:, REACHED] = np.cumsum(spans[..., :-1, EXPECTED], axis=-1)
    spans[..., :-1, BELOW:] = np.cumsum(expected, axis=-1)
    return spans


def token_laws(day: Day) -> Floats:
    """Token laws of the streams, as `Source` has them; of a trace, whose tokens are known, ones that stand for none."""
    workloads = [Workload() if day.played is not None else stream.workload for stream in day.streams]
    tokens = [tokens for workload in workloads for tokens in (workload.input_tokens, workload.output_tokens)]
    rows = [token_law_rows(law) for law in tokens]
    table = np.zeros((len(rows), 4, max(3, *(len(law[0]) for law in rows))))
    for law, own, row in zip(tokens, rows, table, strict=True):
        row[:3, : len(own[0])] = own
        row[3, LAW_SIZE] = -len(own[0]) if law is not None and law.edges else len(own[0])
    laws = table.reshape(len(workloads), 2, 4, -1)
    laws[:, 0, 3, LAW_CORRELATION] = [workload.correlation for workload in workloads]
    laws[:, 0, 3, LAW_CACHED] = [workload.cached_share for workload in workloads]
    return laws


def token_law_rows(tokens: Tokens | None) -> list[list[float]]:
    """A token law as three rows."""
    if tokens is None:
        return [[1.0], [0.0], [1.0]]
    if tokens.edges:
        below = np.concatenate([[0.0], np.cumsum(tokens.counts)]) / sum(tokens.counts)
        return [list(tokens.edges), below.tolist(), [0.0] * len(tokens.edges)]
    return [list(tokens.mean), list(tokens.sigma), np.cumsum(tokens.weight).tolist()]


def size_of(day: Day, rows: Floats, wheels: Wheels, slots: int, records: int | None) -> Size:
    """How much of everything a day needs."""
    return Size(
        slots=slots,
        streams=len(day.streams),
        cells=(day.warm_up_hours + day.hours) * len(day.streams),
        replicas=wheels.replicas,
        prompts=max(1, int(rows[:, ROW_PROMPT_SLOTS].max())),
        lane_buckets=wheels.lane_buckets,
        buckets=wheels.buckets,
        records=records,
    )


def opening_memory(day: Day, size: Size, wheels: Wheels) -> Memory:
    """A day's memory with the layout of its nodes; its law is left at zero."""
    memory, serving = memory_of(size), day.serving
    counts = memory.counts
    counts[COLOCATED], counts[ROUTING] = serving.layout == "colocated", ROUTINGS[serving.routing]
    counts[WARM_UP], counts[HOURS] = day.warm_up_hours, day.warm_up_hours + day.hours
    counts[FINENESS] = wheels.fineness
    return memory


def law_numbers(day: Day, wheels: Wheels, requests_per_token: PerWorld, routing_keys: npt.ArrayLike) -> Floats:
    """The law by which the nodes of a day, or of each day of a stack, serve: first numbers of `state`, shape (...,
    n).
    """
    serving, step, share = day.serving, day.serving.step, day.share_simulated
    keys = np.asarray(routing_keys, dtype=np.float64)
    law = np.zeros((*keys.shape[:-1], STREAMS + len(day.streams) * STREAM_ROW))
    law[..., ORIGIN_S], law[..., HOUR_S] = day.warm_up_hours * day.seconds_per_hour, day.seconds_per_hour
    law[..., BASE_S], law[..., PER_SEQUENCE_S] = step.base_s, step.per_sequence_s
    law[..., PER_KV_TOKEN_S], law[..., PER_PREFILL_TOKEN_S] = step.per_kv_token_s, step.per_prefill_token_s
    law[..., CHUNK], law[..., MAX_BATCH] = serving.prefill_chunk_tokens, serving.max_batch
    if serving.layout == "disaggregated":
        law[..., LANE_S_PER_TOKEN] = sizing.prefill_node_seconds(serving) * serving.prefill_lanes
    law[..., LANE_BUCKETS_PER_S] = wheels.lanes_per_s
    law[..., LANES_SHARE], law[..., SHARE] = share, share if serving.routing == "pooled" else 1.0
    law[..., REQUESTS_PER_TOKEN] = requests_per_token
    law[..., ROUTING_KEY : ROUTING_KEY + 4] = keys
    for number, stream in enumerate(day.streams):
        own = STREAMS + number * STREAM_ROW
        law[..., own + INPUT_WEIGHT], law[..., own + OUTPUT_WEIGHT] = stream.input_weight, stream.output_weight
        law[..., own + INTERACTIVE] = stream.interactive
        law[..., own + PATIENCE_S] = inf if stream.patience_s is None else stream.patience_s
    return law


def routing_key(draws: Draws) -> list[int]:
    """Key of the numbers that choose a replica, in four parts of 32 bits."""
    return [part for word in draws.key("routing") for part in divmod(word, 1 << 32)]


class Wheels(NamedTuple):
    """How fine the wheels are, so that a bucket holds a few requests at the expected load; it moves no result."""

    replicas: int
    lanes_per_s: float
    lane_buckets: int
    #: log2 of the buckets to a token.
    fineness: int
    buckets: int

    @classmethod
    def of(cls, day: Day, rows: Floats, requests: float) -> Wheels:
        """The wheels of a day on which so many requests are simulated."""
        replicas = max(1, int(rows[:, ROW_REPLICAS].max()))
        # Twice the mean: about the peak.
        per_s = 2 * requests / day.duration_s
        known = sizing.stream_moments(day)
        lane_s_per_token = sizing.prefill_node_seconds(day.serving) * day.serving.prefill_lanes
        prompt_s = max(one.uncached_tokens for one in known) * lane_s_per_token
        lanes_per_s = max(per_s / IN_A_BUCKET, 1e-9)
        # Sequences that leave with each token that a replica's clock counts.
        step_s = rows[:, ROW_STEP][np.isfinite(rows[:, ROW_STEP])].max(initial=0.0)
        fineness = round(log2(max(per_s * step_s / replicas / IN_A_BUCKET, 2.0**-40)))
        tokens = max(one.output_tokens for one in known)
        return cls(
            replicas=replicas,
            lanes_per_s=lanes_per_s,
            lane_buckets=buckets(4 * prompt_s * lanes_per_s, 1),
            fineness=fineness,
            buckets=buckets(4 * tokens * 2.0**fineness, replicas),
        )


def buckets(wanted: float, wheels: int) -> int:
    """Buckets of each of so many wheels, a power of two."""
    most = max(MOST_BUCKETS // wheels, FEWEST_BUCKETS)
    return 1 << ceil(log2(min(max(wanted, FEWEST_BUCKETS), most)))


# --- From arrays to the day -------------------------------------------------------------------------------------------


def cells_of(day: Day, memory: Memory) -> Floats:
    """What was counted, shape (warm-up + h, s, columns)."""
    hours, streams = day.warm_up_hours + day.hours, len(day.streams)
    return memory.part(CELLS, hours * streams, CELL_ROW).reshape(hours, streams, CELL_ROW)
