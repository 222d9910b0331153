"""The compiled engine: every request of a fleet's day, at the same times as in the reference.

SimPy is the control plane and says what happens: failures and repairs, and through them the nodes there are.  Between
two of its events the kernels of `compiled` serve all requests in one call, along the schedule of the autoscaler.  The draws
and the relations are those of `simpy_engine`; memory does not grow with the number of requests, unless single ones are
to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, inf, log2, sqrt

import numpy as np
import numpy.typing as npt
import simpy

from jevons.randomness import Draws, Floats
from jevons.scenario import Tokens
from jevons.serving import sizing
from jevons.serving.colocated import prompt_slots
from jevons.serving.compiled import day as kernels
from jevons.serving.compiled import replicas as decode_kernels
from jevons.serving.compiled.draws import PURPOSES, Block, Source, draw_block
from jevons.serving.compiled.state import (
    BINS,
    DECODE_AREA,
    DECODE_TIME,
    DECODING,
    ENTERED,
    FREE,
    IN_BLOCK,
    LANES_AREA,
    LANES_TIME,
    NO_MORE,
    PROMPT,
    PROMPT_AREA,
    PROMPT_TIME,
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
    STAGE,
    Clock,
    Lanes,
    Law,
    Replicas,
    Run,
    Slots,
    Tallies,
    bin_edges_s,
)
from jevons.serving.control import ControlPlane, Schedule, schedule_of
from jevons.serving.crowd import REQUESTS_AVERAGED, ROOM_FOR_NOISE
from jevons.serving.disaggregated import lanes_of_cell
from jevons.serving.forecast import actual_rates_per_s, expected_requests, number_expected, plan_of
from jevons.serving.interface import Day, Flow, Latencies, Records, ServedDay, StreamLatencies
from jevons.serving.layouts import nodes_of_cell, requests_per_token
from jevons.serving.measurement import Counts, check, counts_of, measured_day
from jevons.serving.sizing import Load
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
        self.clock = Clock(
            origin_s=day.warm_up_hours * day.seconds_per_hour,
            hour_s=day.seconds_per_hour,
            warm_up=day.warm_up_hours,
            hours=day.warm_up_hours + day.hours,
        )
        rates_per_s = actual_rates_per_s(day, draws)
        expected = expected_requests(day, rates_per_s)
        self.source = source_of(day, expected, draws)
        number = number_expected(day, rates_per_s)
        #: The requests, where all of them are kept; else they are drawn block by block.
        self.requests = self._all_requests(number) if day.keep_records or number <= EXACT_UP_TO else None
        self.plan = plan_of(day, rates_per_s, self._blocks())
        load = sizing.expected_load(day, rates_per_s, sizing.stream_moments(day))
        self.schedule = schedule_of(day, self.plan, load, 0.0)
        self.law = law_of(day, load, number)
        self.rows = rows_of(day, self.schedule, 0)
        self.lanes, self.replicas = opening(day, self.law, self.rows, expected)
        self.block, self.run = self._opening_run(draws)
        self.slots = Slots.of(len(self.run.came))
        self.tallies = tallies_of(day, None if self.requests is None else len(self.requests))
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

    def _opening_run(self, draws: Draws) -> tuple[Block, Run]:
        """The requests that come first, and a run that has not begun."""
        routed = self.law.routing == ROUTING["power_of_two"]
        progress = np.zeros(7, dtype=np.int64)
        if self.requests is None:
            size = BLOCK
            block = empty_block(BLOCK, BLOCK if routed else 1)
        else:
            size = len(self.requests)
            arrays = {name: np.ascontiguousarray(getattr(self.requests, name)) for name in REQUEST_FIELDS}
            places = draws.uniform("routing", 2 * size) if routed else np.zeros(2)
            block = Block(**arrays, places=places.reshape(-1, 2))
            progress[IN_BLOCK], progress[NO_MORE] = size, 1
        slots = min(max(2 * size, 1), FEWEST_SLOTS)
        run = Run(
            progress=progress,
            place=np.zeros(2),
            scratch=np.empty((5, BLOCK if self.requests is None else 1)),
            came_s=np.empty(slots),
            came=np.empty(slots, dtype=np.int32),
            done_s=np.empty(slots),
            done=np.empty(slots, dtype=np.int32),
            totals=np.zeros((self.day.hours + 1, 4)),
        )
        return block, run

    # The control plane's view.

    def advance(self) -> None:
        """Serve until now."""
        while not kernels.advance(
            self.slots, self.law, self.lanes, self.replicas, self.tallies, self.clock, self.rows,
            self.source, self.block, self.run, self.env.now,
        ):  # fmt: skip
            self._grow()

    def _grow(self) -> None:
        size = 2 * len(self.slots.after)
        self.slots = self.slots.grown(size)
        self.run = self.run.grown(size)

    def under_repair(self, down: int) -> None:
        """Serve with what is left of the schedule's nodes when so many are under repair."""
        self.advance()
        self.rows = rows_of(self.day, self.schedule, down)
        row = self.rows[self.rows[:, ROW_IS_NOTE] == 0][self.schedule.row_at(self.env.now)]
        kernels.switch(self.slots, self.law, self.lanes, self.replicas, self.tallies, row, self.env.now)

    def decoding(self) -> list[int]:
        """Requests that decode."""
        self.advance()
        found: list[int] = self.slots.request[self.slots.where[:, STAGE] == DECODING].tolist()
        return found

    def interrupt(self, hit: set[int]) -> None:
        """Start those requests again: their node failed."""
        again = (self.slots.where[:, STAGE] == DECODING) & np.isin(self.slots.request, list(hit))
        slots = np.flatnonzero(again)
        slots = slots[np.argsort(self.slots.request[slots])].astype(np.int32)
        decode_kernels.interrupt(self.slots, self.law, self.replicas, self.tallies, self.env.now, slots, again)
        self.run.await_again(self.env.now, slots)

    # The close.

    def _close(self, _: int) -> None:
        self.advance()
        self.control.closed = True
        kernels.close(self.slots, self.law, self.lanes, self.replicas, self.tallies, self.env.now)
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
        arrived, served, lost = (int(number) for number in self.tallies.flow)
        stage = self.slots.where[:, STAGE]
        spent_s = self.env.now - self.slots.hot[:, ENTERED]
        done = self.replicas.floats.sum(axis=0)
        return Flow(
            arrived=arrived,
            served=served,
            lost=lost,
            inside=int((stage != FREE).sum()),
            prefill_area_s=float(self.lanes.floats[LANES_AREA] + done[PROMPT_AREA]),
            prefill_time_s=float(self.lanes.floats[LANES_TIME] + done[PROMPT_TIME] + spent_s[stage == PROMPT].sum()),
            decode_area_s=float(done[DECODE_AREA]),
            decode_time_s=float(done[DECODE_TIME] + spent_s[stage > PROMPT].sum()),
        )

    def _records(self, requests: Requests, n: int) -> Records:
        times = self.tallies.records[:n] - self.clock.origin_s
        return Records(
            arrival_s=requests.arrival_s[:n],
            prefill_start_s=times[:, 0],
            first_token_s=times[:, 1],
            departure_s=times[:, 2],
            lost=self.tallies.lost[:n].astype(np.bool_),
            stream=requests.stream[:n],
        )


# --- From the day to arrays -------------------------------------------------------------------------------------------

REQUEST_FIELDS = ("arrival_s", "stream", "input_tokens", "cached_tokens", "output_tokens")


def empty_block(size: int, places: int) -> Block:
    """Room for so many requests."""
    floats = {name: np.empty(size) for name in REQUEST_FIELDS if name != "stream"}
    return Block(**floats, stream=np.zeros(size, dtype=np.int64), places=np.zeros((places, 2)))


def drawn_blocks(source: Source, size: int) -> Iterator[Requests]:
    """All requests of a source, so many at a time."""
    place, scratch, before = np.zeros(2), np.empty((5, size)), 0
    n = size
    while n == size:
        block = empty_block(size, 1)
        n = draw_block(source, block, before, place, scratch)
        before += n
        yield Requests(**{name: getattr(block, name)[:n] for name in REQUEST_FIELDS})


def source_of(day: Day, expected: Floats, draws: Draws) -> Source:
    """What the requests of a day are drawn from, of expected numbers of shape (t, s); of a trace, nothing."""
    if day.played is not None:
        expected = np.zeros((1, len(day.streams)))
    sums = expected.sum(axis=1)
    laws, sizes = token_laws(day)
    return Source(
        keys=np.array([draws.key(purpose) for purpose in PURPOSES], dtype=np.uint64),
        expected=sums,
        reached=np.concatenate([[0.0], np.cumsum(sums)]),
        below=np.cumsum(expected, axis=1),
        spans=np.array([-day.warm_up_hours * day.seconds_per_hour, day.seconds_per_hour]),
        shares=np.array([[stream.workload.correlation, stream.workload.cached_share] for stream in day.streams]),
        laws=laws,
        sizes=sizes,
    )


def token_laws(day: Day) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Token laws of the streams, and their sizes, as `Source` has them."""
    rows, sizes = [], []
    for stream in day.streams:
        for tokens in (stream.workload.input_tokens, stream.workload.output_tokens):
            law = token_law_rows(None if day.played is not None else tokens)
            rows.append(law)
            sizes.append(-len(law[0]) if tokens is not None and tokens.edges else len(law[0]))
    table = np.zeros((len(rows), 3, max(len(law[0]) for law in rows)))
    for law, row in zip(rows, table, strict=True):
        row[:, : len(law[0])] = law
    streams = len(day.streams)
    return table.reshape(streams, 2, 3, -1), np.array(sizes, dtype=np.int64).reshape(streams, 2)


def token_law_rows(tokens: Tokens | None) -> list[list[float]]:
    """A token law as three rows; of a trace, whose tokens are known, one that stands for none."""
    if tokens is None:
        return [[1.0], [0.0], [1.0]]
    if tokens.edges:
        below = np.concatenate([[0.0], np.cumsum(tokens.counts)]) / sum(tokens.counts)
        return [list(tokens.edges), below.tolist(), [0.0] * len(tokens.edges)]
    return [list(tokens.mean), list(tokens.sigma), np.cumsum(tokens.weight).tolist()]


def law_of(day: Day, load: Load, requests: float) -> Law:
    """How the nodes of a day serve."""
    serving, step, streams, share = day.serving, day.serving.step, day.streams, day.share_simulated
    colocated = serving.layout == "colocated"
    return Law(
        colocated=colocated,
        routing=ROUTING[serving.routing],
        base_s=float(step.base_s),
        per_sequence_s=float(step.per_sequence_s),
        per_kv_token_s=float(step.per_kv_token_s),
        per_prefill_token_s=float(step.per_prefill_token_s),
        chunk=float(serving.prefill_chunk_tokens),
        max_batch=float(serving.max_batch),
        lane_s_per_token=0.0 if colocated else sizing.prefill_node_seconds(serving) * serving.prefill_lanes,
        lanes_share=float(share),
        share=float(share) if serving.routing == "pooled" else 1.0,
        requests_per_token=requests_per_token(day, load, requests),
        input_weight=np.array([stream.input_weight for stream in streams], dtype=np.float64),
        output_weight=np.array([stream.output_weight for stream in streams], dtype=np.float64),
        interactive=np.array([stream.interactive for stream in streams], dtype=np.bool_),
        patience_s=np.array([inf if stream.patience_s is None else stream.patience_s for stream in streams]),
        averaged=float(REQUESTS_AVERAGED),
        room_for_noise=float(ROOM_FOR_NOISE),
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


def opening(day: Day, law: Law, rows: Floats, expected: Floats) -> tuple[Lanes, Replicas]:
    """Lanes and replicas with nobody in them, their wheels as fine as the expected load wants them."""
    replicas = max(1, int(rows[:, ROW_REPLICAS].max()))
    if day.played is not None:
        number, hours = float(len(day.played)), day.hours
    else:
        number, hours = float(expected.sum(axis=1).max()), 1
    per_s = number / (hours * day.seconds_per_hour)
    known = sizing.stream_moments(day)
    prompt_s = max(moments.uncached_tokens for moments in known) * law.lane_s_per_token
    lanes_per_s = max(per_s / IN_A_BUCKET, 1e-6)
    # Sequences that leave with each token a replica's clock counts: a bucket holds those of so many tokens.
    tokens = max(max(moments.output_tokens for moments in known), 1.0)
    step_s = rows[:, ROW_STEP][np.isfinite(rows[:, ROW_STEP])].max(initial=0.0)
    fineness = round(log2(max(per_s * step_s / replicas / IN_A_BUCKET, 1e-6)))
    return Lanes.of(lanes_per_s, buckets(4 * prompt_s * lanes_per_s, 1)), Replicas.of(
        replicas, max(1, int(rows[:, ROW_PROMPT_SLOTS].max())), fineness, buckets(4 * tokens * 2.0**fineness, replicas)
    )


def buckets(wanted: float, wheels: int) -> int:
    """Buckets of each of so many wheels, a power of two."""
    most = max(MOST_BUCKETS // wheels, FEWEST_BUCKETS)
    return 1 << ceil(log2(min(max(wanted, FEWEST_BUCKETS), most)))


def tallies_of(day: Day, kept: int | None) -> Tallies:
    """Nothing counted yet; single requests are kept if their number is given, else histograms are."""
    hours, streams = day.warm_up_hours + day.hours, len(day.streams)
    bins = BINS if kept is None else 1
    records = np.full((1 if kept is None else kept + 1, 3), np.nan)
    return Tallies(
        arrivals=np.zeros((2, hours * streams)),
        tokens=np.zeros((3, hours * streams)),
        latency=np.zeros((3, hours)),
        by_stream=np.zeros((6, streams)),
        ttft=np.zeros((hours, bins), dtype=np.int64),
        tpot=np.zeros((hours, bins), dtype=np.int64),
        stream_ttft=np.zeros((streams, bins), dtype=np.int64),
        records=records,
        lost=np.zeros(len(records), dtype=np.int8),
        flow=np.zeros(3, dtype=np.int64),
    )


# --- From arrays to the day -------------------------------------------------------------------------------------------


def counts_of_tallies(day: Day, tallies: Tallies) -> Counts:
    """What was counted, with percentiles from histograms: within 0.2 % of exact ones."""
    warm_up, shape = day.warm_up_hours, (-1, len(day.streams))
    requests, lost = (numbers.reshape(shape)[warm_up:] for numbers in tallies.arrivals)
    inputs, cached, outputs = (numbers.reshape(shape)[warm_up:] for numbers in tallies.tokens)
    served, ttft_s, tpot_s = tallies.latency[:, warm_up:]
    number, first_s, token_s, latency_s, decode_s, tokens = tallies.by_stream
    return Counts(
        requests=requests,
        lost=lost,
        input_tokens=inputs,
        cached_tokens=cached,
        output_tokens=outputs,
        ttft_s=latencies_of_bins(ratio(ttft_s, served), tallies.ttft[warm_up:]),
        tpot_s=latencies_of_bins(ratio(tpot_s, served), tallies.tpot[warm_up:]),
        stream_latencies=StreamLatencies(
            mean_ttft_s=ratio(first_s, number),
            p95_ttft_s=np.array([quantile_of_bins(bins, 0.95) for bins in tallies.stream_ttft]),
            mean_tpot_s=ratio(token_s, number),
            mean_latency_s=ratio(latency_s, number),
        ),
        user_speed_tokens_per_s=float(ratio(tokens.sum(keepdims=True), decode_s.sum(keepdims=True))[0]),
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
