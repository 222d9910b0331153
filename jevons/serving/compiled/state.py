"""What the kernels work on: the requests that are there, the prefill lanes, the replicas, all of it few and wide arrays.

A request that is there has a slot.  Slots are few, whatever the number of requests, and are used again.  Arrays are as
few as can be, since each of them costs every function that takes it a descriptor to compile and to pass on; whole numbers
stand as floats where they share a row with floats, and are exact up to 2^53.
In shapes, m counts slots, r replicas, w buckets, h hours with the warm-up first, s streams.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jevons.randomness import Floats

# Columns of `Slots.floats`.  The first eight, one line of the cache, are what is read when a request leaves: its times on
# the clock of the day, s, its tokens, weighted context, and when it leaves the wheel it is in (whole tokens and a fraction
# of virtual time; in the lanes the bucket and the time, s).  Then what a step that was running on arrival adds to its
# times, tokens left to decode, weighted tokens to prefill, time at which it gives up, begin of its prefill, its number.
(
    ARRIVAL, FIRST_TOKEN, ENTERED, OUTPUT, INPUT, CONTEXT, WHOLE, PART,
    CACHED, WAIT, LEFT, PREFILL, DEADLINE, PREFILL_START, REQUEST,
) = range(15)  # fmt: skip
SLOT_FLOATS = 16
#: Columns of `Slots.ints`: the next in whatever list it stands, its stream, the hour and stream it is counted in, its
#: replica, its stage; the last column is the stack of the slots that are free.
AFTER, STREAM, CELL, REPLICA, STAGE, FREE_SLOT = range(6)
SLOT_INTS = 8
#: Stages.
FREE, PROMPT, QUEUED, DECODING = range(4)
NOBODY = -1


class Slots(NamedTuple):
    """The requests that are there."""

    floats: Any  # (m, 16)
    ints: Any  # int32 (m, 8)
    #: How many are free, shape (1,).
    n_free: Any

    @classmethod
    def of(cls, size: int) -> Slots:
        """So many free slots."""
        ints = np.zeros((size, SLOT_INTS), dtype=np.int32)
        ints[:, FREE_SLOT] = np.arange(size - 1, -1, -1)
        return cls(np.zeros((size, SLOT_FLOATS)), ints, np.array([size]))

    def grown(self, size: int) -> Slots:
        """The same requests with more free slots."""
        new, old, free = Slots.of(size), len(self.ints), int(self.n_free[0])
        new.floats[:old], new.ints[:old, :FREE_SLOT] = self.floats, self.ints[:, :FREE_SLOT]
        new.ints[: size - old, FREE_SLOT] = np.arange(size - 1, old - 1, -1)
        new.ints[size - old : size - old + free, FREE_SLOT] = self.ints[:free, FREE_SLOT]
        new.n_free[0] = size - old + free
        return new


class Law(NamedTuple):
    """How nodes serve and how the day is counted, made of a table of numbers by `day.law_of_numbers`."""

    colocated: bool
    #: Pooled, by turns, or to the shorter of two: 0, 1, 2.
    routing: int
    #: Whether single requests are kept, or histograms.
    keeps_records: bool
    #: log2 of the buckets to a token.
    fineness: int
    #: Hours before the day, and all hours.
    warm_up: int
    hours: int
    #: First second of the day, after the warm-up, and length of an hour on the clock, s.
    origin_s: float
    hour_s: float
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
    #: Weight of a prompt token, slots of a sequence, whether it goes first, patience in s: shape (s, 4).
    streams: Any
    #: Key of the numbers that choose a replica, shape (2,).
    places_key: Any


INPUT_WEIGHT, OUTPUT_WEIGHT, INTERACTIVE, PATIENCE_S = range(4)
#: Fields of `Law` that are whole numbers; they come first.
LAW_INTS = 6
LAW_NUMBERS = 18

#: Columns of `Lanes.floats` and of the header of `Lanes.ints`; buckets follow the lines.
(
    LANES_AT,
    LANES_AREA,
    LANES_TIME,
    LANES_BUSY_S,
    LANES_NODES,
    LANES_EXPECTED,
    LANES_SLOWNESS,
    LANES_PER_S,
    LANES_BUCKET,
) = range(9)
LANES_ON, LANES_BUSY, LANES_INSIDE, LANES_DUE, LANES_LATER, LANES_LINES = range(6)
LANES_HEADER = LANES_LINES + 4


class Lanes(NamedTuple):
    """The prefill lanes: who is in one stands in a wheel of buckets of time; who waits, in a line of its class."""

    floats: Any  # (9,)
    ints: Any  # int32 (10 + w,)

    @classmethod
    def of(cls, per_s: float, buckets: int) -> Lanes:
        """Lanes with nobody in them, and so many buckets, each of 1 / per_s."""
        floats, ints = np.zeros(LANES_BUCKET + 1), np.full(LANES_HEADER + buckets, NOBODY, dtype=np.int32)
        floats[LANES_PER_S], floats[LANES_SLOWNESS] = per_s, 1.0
        ints[[LANES_ON, LANES_BUSY, LANES_INSIDE, LANES_LATER]] = 0
        return cls(floats, ints)


# Columns of `Replicas.floats` and of the header of `Replicas.ints`.
(
    AT, TOKEN_WHOLE, TOKEN_PART, PROMPT_WHOLE, PROMPT_PART, PROMPT_AREA, PROMPT_TIME, DECODE_AREA, DECODE_TIME, BUSY_S,
    STEP_S, PROMPT_SPEED, TOKEN_SPEED, PROMPT_DUE, TOKEN_DUE, NODES, MASS, CONTEXT_SUM, FELT_NUMBER, FELT_MASS,
    FELT_CONTEXT, AVERAGING_S, EXPECTED_TOKENS, EXPECTED_PROMPTS, SERVED, SERVED_CONTEXT, PREFILLED, PROMPT_MASS, BASE_S,
    BUCKET, ARMED,
) = range(31)  # fmt: skip
REPLICA_FLOATS = 32
PROMPTING, INSIDE, NUMBER, PROMPTS, PROMPT_SLOTS, DUE, LATER, LINES = range(8)
HEADER = LINES + 4


class Replicas(NamedTuple):
    """Nodes that decode, and in the co-located layout prefill: one pool, or replicas each with a batch of its own."""

    floats: Any  # (r, 32)
    #: Counts, then the buckets of a wheel of sequences by the tokens at which they leave.
    ints: Any  # int32 (r, 12 + w)
    #: Prompts that are in work, a heap for each replica: whole and fraction of their end, and their slot.
    prompts: Any  # (r, p, 3)
    #: Replicas that get requests, whose turn it was, then a tournament of the replicas by the time of their next event.
    tree: Any  # int32 (2 + 2 leaves,)

    @classmethod
    def of(cls, replicas: int, prompts: int, buckets: int) -> Replicas:
        """Replicas with nobody in them, so many buckets each, and room for so many prompts in work."""
        floats = np.zeros((replicas, REPLICA_FLOATS))
        floats[:, [PROMPT_DUE, TOKEN_DUE, ARMED, STEP_S, AVERAGING_S]] = np.inf
        ints = np.full((replicas, HEADER + buckets), NOBODY, dtype=np.int32)
        ints[:, [PROMPTING, INSIDE, NUMBER, PROMPTS, PROMPT_SLOTS, LATER]] = 0
        leaves = 1 << (replicas - 1).bit_length()
        tree = np.zeros(TREE + 2 * leaves, dtype=np.int32)
        tree[ON] = 1
        tree[TREE + leaves :] = np.minimum(np.arange(leaves), replicas - 1)
        return cls(floats, ints, np.zeros((replicas, prompts, 3)), tree)


ON, TURN, TREE = range(3)


class Tallies(NamedTuple):
    """What is counted of the requests."""

    #: By hour and stream: requests that arrived; of them lost, served, the sums of their times to first token, for each
    #: token, from arrival to departure, of decoding, and of their output tokens; and of those that departed input, cached
    #: and output tokens.
    cells: Any  # (h s, 11)
    #: Histograms of the first two latencies by hour and stream of arrival; empty where single requests are kept.
    bins: Any  # int32 (2, h s, b)
    #: Single requests: begin of prefill, first token, departure, NaN where it did not happen, and whether it was lost.
    records: Any  # (n, 4)


(
    ARRIVED, LOST, SERVED_REQUESTS, SUM_TTFT, SUM_TPOT, SUM_LATENCY, SUM_DECODE, SUM_TOKENS, INPUT_TOKENS, CACHED_TOKENS,
    OUTPUT_TOKENS,
) = range(11)  # fmt: skip
CELL_COLUMNS = 11

#: Bins of a histogram of latencies: so many to an octave, from the first octave on.
BINS_PER_OCTAVE_LOG2 = 8
FIRST_OCTAVE, OCTAVES = -20, 44
BINS = OCTAVES << BINS_PER_OCTAVE_LOG2


def bin_edges_s() -> Floats:
    """Edges of the bins, s, shape (BINS + 1,): linear within an octave, none wider than 1/256 of its lower edge."""
    octave, place = np.divmod(np.arange(BINS + 1), 1 << BINS_PER_OCTAVE_LOG2)
    return np.asarray((1 + place / (1 << BINS_PER_OCTAVE_LOG2)) * 2.0 ** (octave + FIRST_OCTAVE))


# Columns of the schedule, one row for each switch of the nodes and each note of the totals: time on the clock, s, and
# whether it is a note; true nodes that prefill, lanes of the cell, their slowness, how many are expected to be busy; true
# nodes that decode, prompts they may have in work, replicas of the cell; expected prompt tokens of a node, output tokens and
# their context in the true pool, 1/s; the step in balance, s.
(
    ROW_TIME, ROW_IS_NOTE, ROW_LANES_NODES, ROW_LANES, ROW_SLOWNESS, ROW_EXPECTED_LANES, ROW_NODES, ROW_PROMPT_SLOTS,
    ROW_REPLICAS, ROW_PROMPTS_PER_S, ROW_TOKENS_PER_S, ROW_CONTEXT_PER_S, ROW_STEP,
) = range(13)  # fmt: skip
ROW_COLUMNS = 13

#: Rows of a block of requests in order of arrival, see `workload.Requests`.
BLOCK_ARRIVAL, BLOCK_STREAM, BLOCK_INPUT, BLOCK_CACHED, BLOCK_OUTPUT = range(5)
BLOCK_ROWS = 5


class Run(NamedTuple):
    """How far a day has got, and its working space."""

    #: Next row of the schedule; next request of the block and requests in it; requests before the block; whether no
    #: more blocks come; requests that come again with the next advance; notes taken; and of the draws the sum of the
    #: exponentials so far and the span that it has reached.
    progress: Any  # (9,)
    block: Any  # (5, n)
    #: Times and slots of those that come, and of those whose prompts are done.
    queue: Any  # (2, m, 2)
    #: Prompt tokens, output tokens and their context served, and busy node-seconds, at each note.
    totals: Any  # (notes, 4)

    def grown(self, size: int) -> Run:
        """The same run with room for more slots."""
        pending, queue = int(self.progress[PENDING]), np.empty((2, size, 2))
        queue[0, :pending] = self.queue[0, :pending]
        return self._replace(queue=queue)

    def await_again(self, now: float, slots: Any) -> None:
        """Let requests come again, now."""
        n = len(slots)
        self.queue[0, :n, 0], self.queue[0, :n, 1], self.progress[PENDING] = now, slots, n


NEXT_ROW, NEXT, IN_BLOCK, BEFORE, NO_MORE, PENDING, NOTES, DRAWN_SUM, DRAWN_SPAN = range(9)
