"""The compiled engine: every request of a fleet's day, at the same times as in the reference.

SimPy is the control plane and says what happens: failures and repairs, and through them the nodes there are.  Between
two of its events the kernels of `compiled` serve all requests in one call, along the schedule of the autoscaler.  The draws
and the relations are those of `simpy_engine`; memory does not grow with the number of requests, unless single ones are
to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, inf, log2, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simpy

from jevons.randomness import Draws, Floats
from jevons.scenario import Tokens, Workload
from jevons.serving import sizing
from jevons.serving.colocated import prompt_slots
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
    CACHED_TOKENS,
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
    INPUT_TOKENS,
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
    OUTPUT_TOKENS,
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
    ROW_COLUMNS,
    ROW_CONTEXT_PER_S,
    ROW_EXPECTED_LANES,
    ROW_IS_NOTE,
    ROW_LANES,
    ROW_LANES_NODES,
    ROW_NODES,
    ROW_PROMPT_SLOTS,
    ROW_PROMPTS_PER_S,
    ROW_REPLICAS,
    ROW_SLOWNESS,
    ROW_STEP,
    ROW_TIME,
    ROW_TOKENS_PER_S,
    SERVED_REQUESTS,
    SHARE,
    STREAM_ROW,
    STREAMS,
    SUM_DECODE,
    SUM_LATENCY,
    SUM_TOKENS,
    SUM_TPOT,
    SUM_TTFT,
    TPOT_BINS,
    TTFT_BINS,
    WAIT,
    WARM_UP,
    Memory,
    Size,
    bin_edges_s,
    memory_of,
)
from jevons.serving.control import ControlPlane, Schedule, schedule_of
from jevons.serving.disaggregated import lanes_of_cell
from jevons.serving.forecast import actual_rates_per_s, expected_requests, number_expected, plan_of
from jevons.serving.interface import Day, Flow, Latencies, Records, ServedDay, StreamLatencies
from jevons.serving.layouts import nodes_of_cell, requests_per_token
from jevons.serving.measurement import Counts, check, counts_of, measured_day
from jevons.serving.timers import Order, at_times
from jevons.workload import Requests

#: Requests drawn at a time.
BLOCK = 8192
#: A day of so few requests keeps them all, and has exact percentiles.
EXACT_UP_TO = 100_000
#: Slots at first; they double when there are not enough.
FEWEST_SLOTS = 2 * BLOCK
#: Requests that a bucket should hold, and buckets at the least and at the most, in all.
IN_A_BUCKET = 4.0
FEWEST_BUCKETS, MOST_BUCKETS = 64, 1 << 18
ROUTINGS = {"pooled": POOLED, "round_robin": ROUND_ROBIN, "power_of_two": POWER_OF_TWO}


def serve(env: simpy.Environment, day: Day, draws: Draws) -> simpy.Event:
    """Serve a day from now on; the event succeeds with the `ServedDay` when the day is over on the clock."""
    return env.timeout(day.duration_s, served_day(day, draws))


def served_day(day: Day, draws: Draws) -> ServedDay:
    """What comes of a day, on a clock of its own."""
    env = simpy.Environment()
    simulation = CompiledDay(env, day, draws)
    env.run(until=simulation.over)
    return simulation.served()


class CompiledDay:
    """One day: its control plane on the clock, and between the events of that all requests in one call."""

    def __init__(self, env: simpy.Environment, day: Day, draws: Draws) -> None:
        self.env = env
        self.day = day
        self.over: simpy.Event = env.event()
        rates_per_s = actual_rates_per_s(day, draws)
        expected = expected_requests(day, rates_per_s)
        self.source = source_of(day, expected, draws)
        number = number_expected(day, rates_per_s)
        #: The requests, where all of them are kept; else they are drawn block by block.
        self.requests = self._all_requests(number) if day.keep_records or number <= EXACT_UP_TO else None
        self.plan = plan_of(day, rates_per_s, self._blocks())
        load = sizing.expected_load(day, rates_per_s, sizing.stream_moments(day))
        self.schedule = schedule_of(day, self.plan, load, 0.0)
        self.rows = rows_of(day, self.schedule, 0)
        self.progress = np.zeros(PROGRESS)
        self.block = self._opening_block()
        slots = min(max(2 * self.block.shape[1], 1), FEWEST_SLOTS)
        wheels = Wheels.of(day, self.rows, number)
        size = size_of(day, self.rows, wheels, slots, None if self.requests is None else len(self.requests))
        self.memory = opening_memory(day, size, wheels, requests_per_token(day, load, number), draws)
        self.queue = np.empty((2, slots, 2))
        self.totals = np.zeros((day.hours + 1, 4))
        self.control = ControlPlane(env, self, self.schedule)
        failures = day.serving.failures
        self.failures_h = np.empty(0)
        if failures is not None:
            self.failures_h = self.control.fail_as(self.plan, failures, day.seconds_per_hour, draws)
        at_times(env, [day.duration_s], self._close, Order.NOTE)

    # Requests.

    def _all_requests(self, number: float) -> Requests:
        if self.day.played is not None:
            return self.day.played
        blocks = list(drawn_blocks(self.source, int(number + 6 * sqrt(number)) + 20))
        return Requests(**{name: np.concatenate([getattr(one, name) for one in blocks]) for name in REQUEST_FIELDS})

    def _blocks(self) -> Iterable[Requests]:
        return drawn_blocks(self.source, BLOCK) if self.requests is None else [self.requests]

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

    def _close(self, _: int) -> None:
        self.advance()
        self.control.closed = True
        kernels.control(*self.memory, NO_ROW, NO_SLOTS, NOBODY_AGAIN, True, self.env.now)
        self.over.succeed()

    def served(self) -> ServedDay:
        """What came of the day."""
        flow = self._flow()
        check(flow)
        if self.requests is None:
            counts, records = counts_of_cells(self.day, self.memory), None
        else:
            records = self._records(self.requests, flow.arrived)
            counts = counts_of(self.day, self.requests, records)
        return measured_day(self.day, self.plan, counts, self.totals, self.failures_h, flow, records)

    def _flow(self) -> Flow:
        stage, replicas = self.memory.stages, int(self.memory.counts[N_REPLICAS])
        rows = self.memory.slot_rows
        spent_s = self.env.now - np.where(stage == DECODING, rows[:, FIRST_TOKEN], rows[:, ENTERED])
        lanes = self.memory.part(LANES, 1, LANES_ROW)[0]
        done = self.memory.part(REPLICAS, replicas, REPLICA_ROW).sum(axis=0)
        counted = cells_of(self.day, self.memory).sum(axis=(0, 1))
        return Flow(
            arrived=int(counted[ARRIVED]),
            served=int(counted[SERVED_REQUESTS]),
            lost=int(counted[LOST]),
            inside=int((stage != FREE).sum()),
            prefill_area_s=float(lanes[LANES_AREA] + done[PROMPT_AREA]),
            prefill_time_s=float(lanes[LANES_TIME] + done[PROMPT_TIME] + spent_s[stage == PROMPT].sum()),
            decode_area_s=float(done[DECODE_AREA]),
            decode_time_s=float(done[DECODE_TIME] + spent_s[stage > PROMPT].sum()),
        )

    def _records(self, requests: Requests, n: int) -> Records:
        records = self.memory.part(RECORDS, len(requests), RECORD_ROW)
        # Who is still inside may have begun its prefill, and have its first token.
        inside = self.memory.slot_rows[self.memory.stages != FREE]
        numbers = inside[:, REQUEST].astype(np.int64)
        records[numbers, 0], records[numbers, 1] = inside[:, PREFILL_START], inside[:, FIRST_TOKEN] + inside[:, WAIT]
        start_s, first_s, departure_s = records[:n, :3].T - self.memory.state[ORIGIN_S]
        return Records(
            arrival_s=requests.arrival_s[:n],
            prefill_start_s=start_s,
            first_token_s=first_s,
            departure_s=departure_s,
            lost=records[:n, 3] > 0,
            stream=requests.stream[:n],
        )


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
    spans = np.zeros((len(expected) + 1, BELOW + len(day.streams)))
    spans[:-1, EXPECTED] = expected.sum(axis=1)
    spans[1:, REACHED] = np.cumsum(spans[:-1, EXPECTED])
    spans[:-1, BELOW:] = np.cumsum(expected, axis=1)
    spans[:, FIRST_S], spans[:, SPAN_S] = -day.warm_up_hours * day.seconds_per_hour, day.seconds_per_hour
    return Source(
        keys=np.array([draws.key(purpose) for purpose in PURPOSES], dtype=np.uint64),
        spans=spans,
        laws=token_laws(day),
    )


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


def opening_memory(day: Day, size: Size, wheels: Wheels, requests_per_token: float, draws: Draws) -> Memory:
    """A day's memory with the law by which its nodes serve."""
    serving, step, share, memory = day.serving, day.serving.step, day.share_simulated, memory_of(size)
    state, counts, colocated = memory.state, memory.counts, serving.layout == "colocated"
    counts[COLOCATED], counts[ROUTING], counts[FINENESS] = colocated, ROUTINGS[serving.routing], wheels.fineness
    counts[WARM_UP], counts[HOURS] = day.warm_up_hours, day.warm_up_hours + day.hours
    state[ORIGIN_S], state[HOUR_S] = day.warm_up_hours * day.seconds_per_hour, day.seconds_per_hour
    state[BASE_S], state[PER_SEQUENCE_S] = step.base_s, step.per_sequence_s
    state[PER_KV_TOKEN_S], state[PER_PREFILL_TOKEN_S] = step.per_kv_token_s, step.per_prefill_token_s
    state[CHUNK], state[MAX_BATCH] = serving.prefill_chunk_tokens, serving.max_batch
    if not colocated:
        state[LANE_S_PER_TOKEN] = sizing.prefill_node_seconds(serving) * serving.prefill_lanes
    state[LANE_BUCKETS_PER_S] = wheels.lanes_per_s
    state[LANES_SHARE], state[SHARE] = share, share if serving.routing == "pooled" else 1.0
    state[REQUESTS_PER_TOKEN] = requests_per_token
    state[ROUTING_KEY : ROUTING_KEY + 4] = [part for word in draws.key("routing") for part in divmod(word, 1 << 32)]
    state[STREAMS : STREAMS + size.streams * STREAM_ROW] = np.array(
        [
            (one.input_weight, one.output_weight, one.interactive, inf if one.patience_s is None else one.patience_s)
            for one in day.streams
        ],
        dtype=np.float64,
    ).reshape(-1)
    return memory


def rows_of(day: Day, schedule: Schedule, down: int) -> Floats:
    """The schedule as a table, with the nodes there are when so many are under repair, and a note for each hour."""
    serving, share, load = day.serving, day.share_simulated, schedule.load
    nodes = schedule.nodes(down)
    notes_s = (day.warm_up_hours + np.arange(day.hours + 1.0)) * day.seconds_per_hour
    rows = np.zeros((len(nodes), ROW_COLUMNS))
    rows[:, ROW_TIME] = schedule.times_s
    if serving.layout == "disaggregated":
        to_prefill = sizing.prefill_share(serving, load, nodes)
        prefilling, decoding = nodes * to_prefill, nodes * (1 - to_prefill)
        lane_s_per_token = sizing.prefill_node_seconds(serving) * serving.prefill_lanes
        rows[:, ROW_LANES_NODES] = prefilling
        rows[:, ROW_LANES], rows[:, ROW_SLOWNESS] = lanes_of_cell(prefilling, serving.prefill_lanes, share)
        rows[:, ROW_EXPECTED_LANES] = load.prefill_tokens_per_s * lane_s_per_token
    else:
        decoding = nodes
        of_part = decoding if serving.routing == "pooled" else np.minimum(decoding, 1.0)
        part_share = share if serving.routing == "pooled" else 1.0
        rows[:, ROW_PROMPT_SLOTS] = [prompt_slots(number, part_share) for number in of_part.tolist()]
        rows[:, ROW_PROMPTS_PER_S] = np.divide(
            load.prefill_tokens_per_s, decoding, out=np.zeros_like(decoding), where=decoding > 0
        )
    rows[:, ROW_NODES] = decoding
    if serving.routing != "pooled":
        rows[:, ROW_REPLICAS] = [nodes_of_cell(number, share) for number in decoding.tolist()]
    rows[:, ROW_TOKENS_PER_S] = load.decode_tokens_per_s
    rows[:, ROW_CONTEXT_PER_S] = load.context_tokens2_per_s
    rows[:, ROW_STEP] = np.nan_to_num(sizing.balanced_step_s(serving, load, decoding), posinf=inf)
    notes = np.zeros((len(notes_s), ROW_COLUMNS))
    notes[:, ROW_TIME], notes[:, ROW_IS_NOTE] = notes_s, 1.0
    # At the same time a note is taken first.
    both = np.concatenate([notes, rows])
    return np.ascontiguousarray(both[np.argsort(both[:, ROW_TIME], kind="stable")])


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


def counts_of_cells(day: Day, memory: Memory) -> Counts:
    """What was counted, with percentiles from histograms: within 0.2 % of exact ones."""
    cells = cells_of(day, memory)
    ttft, tpot = (
        memory.bins(where, cells.shape[0] * cells.shape[1]).reshape(*cells.shape[:2], BINS)[day.warm_up_hours :]
        for where in (TTFT_BINS, TPOT_BINS)
    )
    cells = cells[day.warm_up_hours :]
    by_hour, by_stream, of_day = cells.sum(axis=1), cells.sum(axis=0), cells.sum(axis=(0, 1))

    def mean(sums: Floats, what: int) -> Floats:
        return ratio(sums[:, what], sums[:, SERVED_REQUESTS])

    return Counts(
        requests=cells[:, :, ARRIVED],
        lost=cells[:, :, LOST],
        input_tokens=cells[:, :, INPUT_TOKENS],
        cached_tokens=cells[:, :, CACHED_TOKENS],
        output_tokens=cells[:, :, OUTPUT_TOKENS],
        ttft_s=latencies_of_bins(mean(by_hour, SUM_TTFT), ttft.sum(axis=1)),
        tpot_s=latencies_of_bins(mean(by_hour, SUM_TPOT), tpot.sum(axis=1)),
        stream_latencies=StreamLatencies(
            mean_ttft_s=mean(by_stream, SUM_TTFT),
            p95_ttft_s=np.array([quantile_of_bins(own, 0.95) for own in ttft.sum(axis=0)]),
            mean_tpot_s=mean(by_stream, SUM_TPOT),
            mean_latency_s=mean(by_stream, SUM_LATENCY),
        ),
        user_speed_tokens_per_s=float(ratio(of_day[[SUM_TOKENS]], of_day[[SUM_DECODE]])[0]),
    )


def ratio(part: Floats, whole: Floats) -> Floats:
    """One over the other, NaN where there is nothing."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def latencies_of_bins(mean: Floats, bins: npt.NDArray[np.int64]) -> Latencies:
    """Latencies of each hour, with percentiles from its histogram."""
    p50, p95, p99 = (np.array([quantile_of_bins(own, p) for own in bins]) for p in (0.5, 0.95, 0.99))
    return Latencies(mean=mean, p50=p50, p95=p95, p99=p99)


def quantile_of_bins(bins: npt.NDArray[np.int64], p: float) -> float:
    """Quantile of a histogram of latencies, linear within a bin, s; NaN of an empty one."""
    total = int(bins.sum())
    if not total:
        return float("nan")
    edges = bin_edges_s()
    below = np.concatenate([[0], np.cumsum(bins)])
    place = p * total
    found = min(int(np.searchsorted(below, place, side="right")) - 1, len(bins) - 1)
    inside = (place - below[found]) / max(int(bins[found]), 1)
    return float(edges[found] + min(inside, 1.0) * (edges[found + 1] - edges[found]))
