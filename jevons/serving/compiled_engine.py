"""The compiled engine: every request of a fleet's day, at the same times as in the reference.

SimPy is the control plane and says what happens: failures and repairs, and through them the nodes there are.  Between
two of its events the kernels of `compiled` serve all requests in one call, along the schedule of the autoscaler.  The draws
and the relations are those of `simpy_engine`; memory does not grow with the number of requests, unless single ones are
to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, inf, log2, sqrt
from typing import Any, NamedTuple

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
    LAW_CACHED,
    LAW_CORRELATION,
    LAW_SIZE,
    PURPOSES,
    REACHED,
    Source,
    draw_block,
)
from jevons.serving.compiled.state import (
    ARRIVED,
    BINS,
    BLOCK_ROWS,
    CACHED_TOKENS,
    CELL_COLUMNS,
    DECODE_AREA,
    DECODE_TIME,
    DECODING,
    DRAWN_SPAN,
    ENTERED,
    FIRST_TOKEN,
    FREE,
    IN_BLOCK,
    INPUT_TOKENS,
    LANES_AREA,
    LANES_TIME,
    LOST,
    NO_MORE,
    OUTPUT_TOKENS,
    PREFILL_START,
    PROMPT,
    PROMPT_AREA,
    PROMPT_TIME,
    REQUEST,
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
    STAGE,
    SUM_DECODE,
    SUM_LATENCY,
    SUM_TOKENS,
    SUM_TPOT,
    SUM_TTFT,
    WAIT,
    Lanes,
    Law,
    Replicas,
    Run,
    Slots,
    Tallies,
    bin_edges_s,
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
ROUTING = {"pooled": 0, "round_robin": 1, "power_of_two": 2}


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
        wheels = Wheels.of(day, self.rows, number)
        self.law = law_of(day, requests_per_token(day, load, number), wheels.fineness, self.requests is not None, draws)
        self.run = self._opening_run()
        self.slots = Slots.of(self.run.queue.shape[1])
        self.lanes = Lanes.of(wheels.lanes_per_s, wheels.lane_buckets)
        prompts = int(self.rows[:, ROW_PROMPT_SLOTS].max())
        self.replicas = Replicas.of(wheels.replicas, max(1, prompts), wheels.buckets)
        self.tallies = tallies_of(day, self.requests)
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

    def _opening_run(self) -> Run:
        """A run that has not begun."""
        progress = np.zeros(DRAWN_SPAN + 1)
        if self.requests is None:
            block = np.zeros((BLOCK_ROWS, BLOCK))
        else:
            block = np.array([getattr(self.requests, name) for name in REQUEST_FIELDS], dtype=np.float64)
            progress[IN_BLOCK], progress[NO_MORE] = len(self.requests), 1
        slots = min(max(2 * block.shape[1], 1), FEWEST_SLOTS)
        return Run(progress, block, np.empty((2, slots, 2)), np.zeros((self.day.hours + 1, 4)))

    # The control plane's view.

    @property
    def _state(self) -> tuple[npt.NDArray[Any], ...]:
        return (*self.law, *self.slots, *self.lanes, *self.replicas, *self.tallies)

    def advance(self) -> None:
        """Serve until now."""
        scratch = np.empty((5, BLOCK if self.requests is None else 1))
        while not kernels.advance(*self._state, *self.source, *self.run, self.rows, scratch, self.env.now):
            size = 2 * len(self.slots.ints)
            self.slots, self.run = self.slots.grown(size), self.run.grown(size)

    def under_repair(self, down: int) -> None:
        """Serve with what is left of the schedule's nodes when so many are under repair."""
        self.advance()
        self.rows = rows_of(self.day, self.schedule, down)
        row = self.rows[self.rows[:, ROW_IS_NOTE] == 0][self.schedule.row_at(self.env.now)]
        kernels.control(*self._state, row, NO_SLOTS, NOBODY_AGAIN, False, self.env.now)

    def decoding(self) -> list[int]:
        """Requests that decode."""
        self.advance()
        found: list[int] = self.slots.floats[self.slots.ints[:, STAGE] == DECODING, REQUEST].astype(np.int64).tolist()
        return found

    def interrupt(self, hit: set[int]) -> None:
        """Start those requests again: their node failed."""
        requests = self.slots.floats[:, REQUEST]
        again = (self.slots.ints[:, STAGE] == DECODING) & np.isin(requests, list(hit))
        slots = np.flatnonzero(again)
        slots = slots[np.argsort(requests[slots])].astype(np.int32)
        kernels.control(*self._state, NO_ROW, slots, again, False, self.env.now)
        self.run.await_again(self.env.now, slots)

    # The close.

    def _close(self, _: int) -> None:
        self.advance()
        self.control.closed = True
        kernels.control(*self._state, NO_ROW, NO_SLOTS, NOBODY_AGAIN, True, self.env.now)
        self.over.succeed()

    def served(self) -> ServedDay:
        """What came of the day."""
        flow = self._flow()
        check(flow)
        if self.requests is None:
            counts, records = counts_of_tallies(self.day, self.tallies), None
        else:
            records = self._records(self.requests, flow.arrived)
            counts = counts_of(self.day, self.requests, records)
        return measured_day(self.day, self.plan, counts, self.run.totals, self.failures_h, flow, records)

    def _flow(self) -> Flow:
        stage = self.slots.ints[:, STAGE]
        spent_s = self.env.now - self.slots.floats[:, ENTERED]
        done, counted = self.replicas.floats.sum(axis=0), self.tallies.cells.sum(axis=0)
        return Flow(
            arrived=int(counted[ARRIVED]),
            served=int(counted[SERVED_REQUESTS]),
            lost=int(counted[LOST]),
            inside=int((stage != FREE).sum()),
            prefill_area_s=float(self.lanes.floats[LANES_AREA] + done[PROMPT_AREA]),
            prefill_time_s=float(self.lanes.floats[LANES_TIME] + done[PROMPT_TIME] + spent_s[stage == PROMPT].sum()),
            decode_area_s=float(done[DECODE_AREA]),
            decode_time_s=float(done[DECODE_TIME] + spent_s[stage > PROMPT].sum()),
        )

    def _records(self, requests: Requests, n: int) -> Records:
        # Who is still inside has begun its prefill, and may have its first token.
        inside = np.flatnonzero(self.slots.ints[:, STAGE] != FREE)
        of_inside = self.slots.floats[inside]
        self.tallies.records[of_inside[:, REQUEST].astype(np.int64), 0] = of_inside[:, PREFILL_START]
        self.tallies.records[of_inside[:, REQUEST].astype(np.int64), 1] = of_inside[:, FIRST_TOKEN] + of_inside[:, WAIT]
        origin_s = self.day.warm_up_hours * self.day.seconds_per_hour
        start_s, first_s, departure_s = self.tallies.records[:n, :3].T - origin_s
        return Records(
            arrival_s=requests.arrival_s[:n],
            prefill_start_s=start_s,
            first_token_s=first_s,
            departure_s=departure_s,
            lost=self.tallies.records[:n, 3] > 0,
            stream=requests.stream[:n],
        )


# --- From the day to arrays -------------------------------------------------------------------------------------------

#: Fields of `Requests` in the order of a block's rows.
REQUEST_FIELDS = ("arrival_s", "stream", "input_tokens", "cached_tokens", "output_tokens")
#: What a control kernel is given for what does not change.
NO_ROW, NO_SLOTS, NOBODY_AGAIN = np.empty(0), np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.bool_)


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
    return Source(
        keys=np.array([draws.key(purpose) for purpose in PURPOSES], dtype=np.uint64),
        spans=spans,
        laws=token_laws(day),
        times=np.array([-day.warm_up_hours * day.seconds_per_hour, day.seconds_per_hour]),
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


def law_of(
    day: Day, requests_per_token: float, fineness: int, keeps_records: bool, draws: Draws
) -> tuple[Floats, Floats, npt.NDArray[np.uint64]]:
    """How the nodes of a day serve: the numbers of `Law`, its streams, its key."""
    serving, step, share = day.serving, day.serving.step, day.share_simulated
    colocated = serving.layout == "colocated"
    numbers = Law(
        colocated=colocated,
        routing=ROUTING[serving.routing],
        keeps_records=keeps_records,
        fineness=fineness,
        warm_up=day.warm_up_hours,
        hours=day.warm_up_hours + day.hours,
        origin_s=day.warm_up_hours * day.seconds_per_hour,
        hour_s=day.seconds_per_hour,
        base_s=step.base_s,
        per_sequence_s=step.per_sequence_s,
        per_kv_token_s=step.per_kv_token_s,
        per_prefill_token_s=step.per_prefill_token_s,
        chunk=serving.prefill_chunk_tokens,
        max_batch=serving.max_batch,
        lane_s_per_token=0.0 if colocated else sizing.prefill_node_seconds(serving) * serving.prefill_lanes,
        lanes_share=share,
        share=share if serving.routing == "pooled" else 1.0,
        requests_per_token=requests_per_token,
        streams=None,
        places_key=None,
    )
    streams = [
        (one.input_weight, one.output_weight, one.interactive, inf if one.patience_s is None else one.patience_s)
        for one in day.streams
    ]
    return (
        np.array(numbers[:-2], dtype=np.float64),
        np.array(streams, dtype=np.float64),
        np.array(draws.key("routing"), dtype=np.uint64),
    )


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


def tallies_of(day: Day, kept: Requests | None) -> Tallies:
    """Nothing counted yet; of requests that are kept single records are, else histograms."""
    cells = (day.warm_up_hours + day.hours) * len(day.streams)
    records = np.zeros((0 if kept is None else len(kept), 4))
    records[:, :3] = np.nan
    return Tallies(
        cells=np.zeros((cells, CELL_COLUMNS)),
        bins=np.zeros((2, cells if kept is None else 0, BINS), dtype=np.int32),
        records=records,
    )


# --- From arrays to the day -------------------------------------------------------------------------------------------


def counts_of_tallies(day: Day, tallies: Tallies) -> Counts:
    """What was counted, with percentiles from histograms: within 0.2 % of exact ones."""
    streams = len(day.streams)
    cells = tallies.cells.reshape(-1, streams, CELL_COLUMNS)[day.warm_up_hours :]
    bins = tallies.bins.reshape(2, -1, streams, BINS)[:, day.warm_up_hours :]
    by_hour, by_stream, of_day = cells.sum(axis=1), cells.sum(axis=0), cells.sum(axis=(0, 1))

    def mean(sums: Floats, what: int) -> Floats:
        return ratio(sums[:, what], sums[:, SERVED_REQUESTS])

    return Counts(
        requests=cells[:, :, ARRIVED],
        lost=cells[:, :, LOST],
        input_tokens=cells[:, :, INPUT_TOKENS],
        cached_tokens=cells[:, :, CACHED_TOKENS],
        output_tokens=cells[:, :, OUTPUT_TOKENS],
        ttft_s=latencies_of_bins(mean(by_hour, SUM_TTFT), bins[0].sum(axis=1)),
        tpot_s=latencies_of_bins(mean(by_hour, SUM_TPOT), bins[1].sum(axis=1)),
        stream_latencies=StreamLatencies(
            mean_ttft_s=mean(by_stream, SUM_TTFT),
            p95_ttft_s=np.array([quantile_of_bins(own, 0.95) for own in bins[0].sum(axis=0)]),
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
