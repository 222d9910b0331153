"""What the kernels work on: the requests that are there, the prefill lanes, the replicas; all of it arrays.

A request that is there has a slot.  Slots are few, whatever the number of requests, and are used again.
In shapes, m counts slots, r replicas and w buckets.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jevons.randomness import Floats

#: Columns of `Slots.hot`, one line of the cache: what is read when a request leaves.  Times on the clock of the day, s.
ARRIVAL, FIRST_TOKEN, ENTERED, OUTPUT, INPUT, CACHED, CONTEXT, WAIT = range(8)
#: Columns of `Slots.cold`: tokens left to decode, weighted tokens to prefill, time at which it gives up, begin of its
#: prefill, its two places among the replicas.
LEFT, PREFILL, DEADLINE, PREFILL_START, PLACE_1, PLACE_2 = range(6)
#: Columns of `Slots.where`: its stream, the hour and stream it is counted in, its replica, its stage.
STREAM, CELL, REPLICA, STAGE = range(4)
#: Stages.
FREE, PROMPT, QUEUED, DECODING = range(4)
NOBODY = -1


class Slots(NamedTuple):
    """The requests that are there."""

    hot: Any  # (m, 8)
    cold: Any  # (m, 6)
    where: Any  # int32 (m, 4)
    #: Number of the request.
    request: Any  # int64 (m,)
    #: The next in whatever list it stands.
    after: Any  # int32 (m,)
    #: When it leaves the list: whole tokens and fraction in virtual time; in the lanes the fraction is the time, s.
    whole: Any  # int64 (m,)
    part: Any  # (m,)
    #: Slots that are free, and how many: shapes (m,) and (1,).
    free: Any
    n_free: Any

    @classmethod
    def of(cls, size: int) -> Slots:
        """So many free slots."""
        return cls(
            hot=np.zeros((size, 8)),
            cold=np.zeros((size, 6)),
            where=np.zeros((size, 4), dtype=np.int32),
            request=np.zeros(size, dtype=np.int64),
            after=np.full(size, NOBODY, dtype=np.int32),
            whole=np.zeros(size, dtype=np.int64),
            part=np.zeros(size),
            free=np.arange(size - 1, -1, -1, dtype=np.int32),
            n_free=np.array([size]),
        )

    def grown(self, size: int) -> Slots:
        """The same requests with more free slots."""
        new, old = Slots.of(size), len(self.after)
        for name in ("hot", "cold", "where", "request", "after", "whole", "part"):
            getattr(new, name)[:old] = getattr(self, name)
        free = int(self.n_free[0])
        new.free[: size - old] = np.arange(size - 1, old - 1, -1)
        new.free[size - old : size - old + free] = self.free[:free]
        new.n_free[0] = size - old + free
        return new


class Law(NamedTuple):
    """How nodes serve, and what the streams are to them; scalars and arrays of shape (streams,)."""

    colocated: bool
    #: Pooled, by turns, or to the shorter of two: 0, 1, 2.
    routing: int
    base_s: float
    per_sequence_s: float
    per_kv_token_s: float
    per_prefill_token_s: float
    chunk: float
    max_batch: float
    #: Time of a lane for a prompt token of weight 1, s.
    lane_s_per_token: float
    #: Share of the true fleet that is simulated, as the lanes and as a replica see it: routed replicas are whole ones.
    lanes_share: float
    share: float
    #: Requests of the cell for each weighted output token.
    requests_per_token: float
    input_weight: Any
    output_weight: Any
    interactive: Any
    #: Patience, s; inf is no end of it.
    patience_s: Any
    #: Requests over which a thinned cell averages, and how far beyond its slots it may go.
    averaged: float
    room_for_noise: float


# Columns of the state of the lanes: floats, then integers.
LANES_AT, LANES_AREA, LANES_TIME, LANES_BUSY_S, LANES_NODES, LANES_EXPECTED, LANES_SLOWNESS, LANES_PER_S = range(8)
LANES_ON, LANES_BUSY, LANES_INSIDE, LANES_BUCKET, LANES_DUE, LANES_LATER, LANES_LINES = range(7)


class Lanes(NamedTuple):
    """The prefill lanes: who is in one stands in a wheel of buckets of time; who waits, in a line of its class."""

    floats: Any  # (8,)
    ints: Any  # int64 (10,): columns above, the last begins the heads and tails of two lines
    buckets: Any  # int32 (w,)

    @classmethod
    def of(cls, per_s: float, buckets: int) -> Lanes:
        """Lanes with nobody in them, and so many buckets, each of 1 / per_s."""
        floats, ints = np.zeros(8), np.zeros(LANES_LINES + 4, dtype=np.int64)
        floats[LANES_PER_S], floats[LANES_SLOWNESS] = per_s, 1.0
        ints[LANES_DUE] = NOBODY
        ints[LANES_LINES:] = NOBODY
        return cls(floats, ints, np.full(buckets, NOBODY, dtype=np.int32))


# Columns of the state of a replica: floats, then integers.
(
    AT, PART, PROMPT_PART, PROMPT_AREA, PROMPT_TIME, DECODE_AREA, DECODE_TIME, BUSY_S, STEP_S, PROMPT_SPEED, TOKEN_SPEED,
    PROMPT_DUE, TOKEN_DUE, NODES, MASS, CONTEXT_SUM, FELT_NUMBER, FELT_MASS, FELT_CONTEXT, AVERAGING_S,
    EXPECTED_TOKENS, EXPECTED_PROMPTS, SERVED, SERVED_CONTEXT, PREFILLED, PROMPT_MASS, BASE_S, ARMED,
) = range(28)  # fmt: skip
(
    WHOLE, PROMPT_WHOLE, PROMPTING, INSIDE, NUMBER, PROMPTS, PROMPT_SLOTS, BUCKET, DUE, LATER, LINES,
) = range(11)  # fmt: skip


class Replicas(NamedTuple):
    """Nodes that decode, and in the co-located layout prefill: one pool, or replicas each with a batch of its own."""

    floats: Any  # (r, 28)
    ints: Any  # int64 (r, 15): columns above, the last begins the heads and tails of two lines
    #: Sequences by the tokens at which they leave, in a wheel for each replica.
    buckets: Any  # int32 (r, w)
    #: Prompts that are in work, a heap for each replica: when they end and whose they are.
    prompt_whole: Any  # int64 (r, p)
    prompt_part: Any  # (r, p)
    prompt_slot: Any  # int32 (r, p)
    #: Tournament of the replicas by the time of their next event, shape (2 x leaves,); its winner stands at 1.
    tree: Any
    #: Replicas that get requests, whose turn it was, and log2 of the buckets to a token.
    ints_of_all: Any  # int64 (3,)

    @classmethod
    def of(cls, replicas: int, prompts: int, fineness: int, buckets: int) -> Replicas:
        """Replicas with nobody in them, 2^fineness buckets to a token, and room for so many prompts in work."""
        floats, ints = np.zeros((replicas, ARMED + 1)), np.zeros((replicas, LINES + 4), dtype=np.int64)
        floats[:, [PROMPT_DUE, TOKEN_DUE, ARMED, STEP_S, AVERAGING_S]] = np.inf
        ints[:, DUE] = NOBODY
        ints[:, LINES:] = NOBODY
        leaves = 1 << (replicas - 1).bit_length()
        tree = np.zeros(2 * leaves, dtype=np.int32)
        tree[leaves:] = np.minimum(np.arange(leaves), replicas - 1)
        return cls(
            floats=floats,
            ints=ints,
            buckets=np.full((replicas, buckets), NOBODY, dtype=np.int32),
            prompt_whole=np.zeros((replicas, prompts), dtype=np.int64),
            prompt_part=np.zeros((replicas, prompts)),
            prompt_slot=np.zeros((replicas, prompts), dtype=np.int32),
            tree=tree,
            ints_of_all=np.array([1, 0, fineness]),
        )


ON, TURN, FINENESS = range(3)


class Tallies(NamedTuple):
    """What is counted of the requests; in shapes, h hours, warm-up first, s streams, b bins."""

    #: Requests that arrived, and of them lost, by hour and stream of their arrival: shape (2, h s).
    arrivals: Any
    #: Input, cached and output tokens by hour and stream of their departure: shape (3, h s).
    tokens: Any
    #: Requests served, and sums of their times to first token and for each token, by hour of arrival: shape (3, h).
    latency: Any
    #: Requests served, sums of the same two, of the whole latency, and of decode time and tokens: shape (6, s).
    by_stream: Any
    #: Histograms of the two latencies by hour of arrival, and of the first by stream: shapes (h, b), (h, b), (s, b);
    #: of one bin where single requests are kept instead.
    ttft: Any
    tpot: Any
    stream_ttft: Any
    #: Single requests, shape (n + 1, 3): begin of prefill, first token, departure; NaN where it did not happen.
    #: Of one row where histograms are kept instead.
    records: Any
    #: Whether each was lost, shape (n + 1,).
    lost: Any
    #: Requests that arrived, were served, were lost.
    flow: Any  # int64 (3,)


ARRIVED, SERVED_REQUESTS, LOST = range(3)

# Columns of the schedule, one row for each switch of the nodes and each note of the totals: time on the clock, s, and
# whether it is a note; true nodes, lanes of the cell, their slowness and how many are expected to be busy; true nodes that
# decode, prompts they may have in work, replicas of the cell; expected prompt tokens of a node, output tokens and their
# context in the true pool, 1/s; the step in balance, s.
(
    ROW_TIME, ROW_IS_NOTE, ROW_LANES_NODES, ROW_LANES, ROW_SLOWNESS, ROW_EXPECTED_LANES, ROW_NODES, ROW_PROMPT_SLOTS,
    ROW_REPLICAS, ROW_PROMPTS_PER_S, ROW_TOKENS_PER_S, ROW_CONTEXT_PER_S, ROW_STEP,
) = range(13)  # fmt: skip
ROW_COLUMNS = 13


class Clock(NamedTuple):
    """The hours of the day on the clock."""

    #: First second of the day, after the warm-up, and length of an hour, s.
    origin_s: float
    hour_s: float
    #: Hours before the day, and all hours.
    warm_up: int
    hours: int


class Run(NamedTuple):
    """How far a day has got, and its working space; in shapes, m counts slots."""

    #: Next row of the schedule; next request of the block and requests in it; requests before the block; whether no
    #: more blocks come; requests that come again with the next advance; notes taken.
    progress: Any  # int64 (7,)
    #: Sum of exponentials so far, and the span that it has reached.
    place: Any  # (2,)
    scratch: Any  # (5, block)
    came_s: Any  # (m,)
    came: Any  # int32 (m,)
    done_s: Any  # (m,)
    done: Any  # int32 (m,)
    #: Prompt tokens, output tokens and their context served, and busy node-seconds, at each note: shape (notes, 4).
    totals: Any

    def grown(self, size: int) -> Run:
        """The same run with room for more slots."""
        pending = int(self.progress[PENDING])
        came_s, came = np.empty(size), np.empty(size, dtype=np.int32)
        came_s[:pending], came[:pending] = self.came_s[:pending], self.came[:pending]
        return self._replace(came_s=came_s, came=came, done_s=np.empty(size), done=np.empty(size, dtype=np.int32))

    def await_again(self, now: float, slots: Any) -> None:
        """Let requests come again, now."""
        n = len(slots)
        self.came_s[:n], self.came[:n], self.progress[PENDING] = now, slots, n


NEXT_ROW, NEXT, IN_BLOCK, BEFORE, NO_MORE, PENDING, NOTES = range(7)

#: Bins of a histogram of latencies: so many to an octave, from the first octave on.
BINS_PER_OCTAVE_LOG2 = 8
FIRST_OCTAVE, OCTAVES = -20, 44
BINS = OCTAVES << BINS_PER_OCTAVE_LOG2


def bin_edges_s() -> Floats:
    """Edges of the bins, s, shape (BINS + 1,): linear within an octave, none wider than 1/256 of its lower edge."""
    octave, place = np.divmod(np.arange(BINS + 1), 1 << BINS_PER_OCTAVE_LOG2)
    return np.asarray((1 + place / (1 << BINS_PER_OCTAVE_LOG2)) * 2.0 ** (octave + FIRST_OCTAVE))
