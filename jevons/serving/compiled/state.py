"""Where everything stands that the kernels work on: four arrays and the places in them.

A compiled function that is passed an array is passed seven numbers, and a structure of arrays a hundred; so all state
of a day stands in four plain arrays, which every kernel takes in the same order:

- `slots`, floats: a row for each request that is there; slots are few, whatever the number of requests, and used again.
- `links`, 32-bit integers: the same memory once more, for what is linked.
- `state`, floats: the law, the lanes, the replicas, the prompts in work, what is counted, single records.
- `counts`, 32-bit integers: where those parts begin, numbers of things, wheels, the tournament, histograms.

A row is addressed by the place where it begins, plus the name of a column.  Whole numbers that stand among floats are
exact up to 2^53.  Times are on the clock of the day, in seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats

Counts = npt.NDArray[np.int32]
NOBODY = -1
#: `place & MOST` is a place that is known not to be negative: to others numba adds the length of the array if they are.
MOST = (1 << 31) - 1

# --- slots: a row is two lines of the cache; all that is read when a request leaves is in the first.
# -------------------

#: Arrival, first token; when it leaves the wheel it is in: whole tokens and a fraction of virtual time, in the lanes
#: the bucket and the time; output, input and cached tokens; and in the eighth place two links, see below.
ARRIVAL, FIRST_TOKEN, WHOLE, PART, OUTPUT, INPUT, CACHED = range(7)
#: Entry into its stage; what a step that was running on arrival adds to its times; tokens left to decode, weighted
#: tokens to prefill; when it gives up; begin of its prefill; its number; and two links.
ENTERED, WAIT, LEFT, PREFILL, DEADLINE, PREFILL_START, REQUEST = range(8, 15)
SLOT = 16

# --- links: the same rows as 32-bit integers. -------------------------------------------------------------------------

#: The next in whatever list it stands; a tag of the hour it is counted in, its stream and its stage; its replica.
AFTER, TAG, REPLICA = 14, 15, 30
LINK = 2 * SLOT
#: A tag: two bits for the stage, so many for the stream, the others for the hour.
STAGE_BITS, STREAM_BITS = 2, 14
STAGE, STREAM, HOUR_SHIFT = (1 << STAGE_BITS) - 1, (1 << STREAM_BITS) - 1, STAGE_BITS + STREAM_BITS
FREE, PROMPT, QUEUED, DECODING = range(4)

# --- state: first the law, then a row for each stream, then parts that begin where `counts` says. ---------------------

#: First second of the day, after the warm-up, and length of an hour.
ORIGIN_S, HOUR_S = range(2)
BASE_S, PER_SEQUENCE_S, PER_KV_TOKEN_S, PER_PREFILL_TOKEN_S, CHUNK, MAX_BATCH = range(2, 8)
#: Time of a lane for a prompt token of weight 1; lane buckets in a second.
LANE_S_PER_TOKEN, LANE_BUCKETS_PER_S = range(8, 10)
#: Share of the true fleet that is simulated, as the lanes and as a replica see it: routed replicas are whole ones.
LANES_SHARE, SHARE = range(10, 12)
#: Requests of the cell for each weighted output token.
REQUESTS_PER_TOKEN = 12
#: Key of the numbers that choose a replica, in four parts of 32 bits.
ROUTING_KEY = 13
STREAMS = 20

#: A stream: weight of a prompt token, slots of a sequence, whether it goes first, patience.
INPUT_WEIGHT, OUTPUT_WEIGHT, INTERACTIVE, PATIENCE_S = range(4)
STREAM_ROW = 4

#: The lanes: time of the last change, area under the number there, time spent there, busy node-seconds; nodes, lanes
#: expected to be busy, slowness of a lane, number of the bucket that is next.
LANES_AT, LANES_AREA, LANES_TIME, LANES_BUSY_S, LANES_NODES, LANES_EXPECTED, SLOWNESS, LANES_BUCKET = range(8)
LANES_ROW = 8

#: A replica.
(
    AT, TOKEN_WHOLE, TOKEN_PART, PROMPT_WHOLE, PROMPT_PART, PROMPT_AREA, PROMPT_TIME, DECODE_AREA, DECODE_TIME, BUSY_S,
    STEP_S, PROMPT_SPEED, TOKEN_SPEED, PROMPT_DUE, TOKEN_DUE, NODES, MASS, CONTEXT_SUM, FELT_NUMBER, FELT_MASS,
    FELT_CONTEXT, AVERAGING_S, EXPECTED_TOKENS, EXPECTED_PROMPTS, SERVED, SERVED_CONTEXT, PREFILLED, PROMPT_MASS,
    PLAIN_STEP_S, BUCKET,
) = range(30)  # fmt: skip
REPLICA_ROW = 32

#: A prompt in work: whole and fraction of its end, its slot.  A replica's are a heap.
PROMPT_ROW = 3

#: An hour and stream: requests that arrived; of them lost, served, the sums of their times to first token, for each
#: token, from arrival to departure, of decoding, and of their output tokens; and of those that departed in it input,
#: cached and output tokens.
(
    ARRIVED, LOST, SERVED_REQUESTS, SUM_TTFT, SUM_TPOT, SUM_LATENCY, SUM_DECODE, SUM_TOKENS, INPUT_TOKENS,
    CACHED_TOKENS, OUTPUT_TOKENS,
) = range(11)  # fmt: skip
CELL_ROW = 11

#: A single request: begin of prefill, first token, departure (NaN where it did not happen), whether it was lost.
RECORD_ROW = 4

# --- counts: first these numbers, then parts that begin where they say. -----------------------------------------------

(
    N_FREE, COLOCATED, ROUTING, KEEPS_RECORDS, FINENESS, WARM_UP, HOURS, N_STREAMS, N_REPLICAS, ON, TURN, LEAVES,
    PROMPT_ROOM, LANES, REPLICAS, PROMPTS, CELLS, RECORDS, LANE_COUNTS, LANE_WHEEL, LANE_BUCKETS, REPLICA_COUNTS,
    REPLICA_COUNTS_ROW, WHEEL_BUCKETS, TREE, TTFT_BINS, TPOT_BINS, FIRST_FREE, TREE_TIMES,
) = range(29)  # fmt: skip
NUMBERS = 32
POOLED, ROUND_ROBIN, POWER_OF_TWO = range(3)

#: Of the lanes: those on, those busy, requests there, first of the bucket that is next, how many hang on later ones,
#: first and last of two lines.
LANES_ON, LANES_BUSY, LANES_INSIDE, LANES_DUE, LANES_LATER, LANES_LINE = range(6)
#: Of a replica: requests in their prompts, in decode, sequences, prompts in work and how many there may be; then as
#: above.
PROMPTING, INSIDE, NUMBER, IN_WORK, PROMPT_SLOTS, DUE, LATER, LINE = range(8)
#: Two lines: first and last of the interactive requests, first and last of the others.
LINES = 4

#: Bins of a histogram of latencies: so many to an octave, from the first octave on.
BINS_PER_OCTAVE_LOG2 = 8
FIRST_OCTAVE, OCTAVES = -20, 44
BINS = OCTAVES << BINS_PER_OCTAVE_LOG2


def bin_edges_s() -> Floats:
    """Edges of the bins, s, shape (BINS + 1,): linear within an octave, none wider than 1/256 of its lower edge."""
    octave, place = np.divmod(np.arange(BINS + 1), 1 << BINS_PER_OCTAVE_LOG2)
    return np.asarray((1 + place / (1 << BINS_PER_OCTAVE_LOG2)) * 2.0 ** (octave + FIRST_OCTAVE))


# --- What else an advance takes ---------------------------------------------------------------------------------------

#: The schedule, a row for each switch of the nodes and each note of the totals: time and whether it is a note; true
#: nodes that prefill, lanes of the cell, their slowness, how many are expected to be busy; true nodes that decode,
#: prompts they may have in work, replicas of the cell; expected prompt tokens of a node, output tokens and their
#: context in the true pool, 1/s; the step in balance.
(
    ROW_TIME, ROW_IS_NOTE, ROW_LANES_NODES, ROW_LANES, ROW_SLOWNESS, ROW_EXPECTED_LANES, ROW_NODES, ROW_PROMPT_SLOTS,
    ROW_REPLICAS, ROW_PROMPTS_PER_S, ROW_TOKENS_PER_S, ROW_CONTEXT_PER_S, ROW_STEP,
) = range(13)  # fmt: skip
ROW_COLUMNS = 13

#: Rows of a block of requests in order of arrival, see `workload.Requests`.
BLOCK_ARRIVAL, BLOCK_STREAM, BLOCK_INPUT, BLOCK_CACHED, BLOCK_OUTPUT = range(5)
BLOCK_ROWS = 5

#: How far a day has got: next row of the schedule; next request of the block and requests in it; requests before the
#: block; whether no more blocks come; requests that come again with the next advance; notes taken; and of the draws the
#: sum of the exponentials so far and the span that it has reached.
NEXT_ROW, NEXT, IN_BLOCK, BEFORE, NO_MORE, PENDING, NOTES, DRAWN_SUM, DRAWN_SPAN = range(9)
PROGRESS = 9


#: Bytes of a line of the cache.
LINE_BYTES = 64


def zeros(size: int) -> Floats:
    """So many zeros from the begin of a line of the cache on, in large pages where they are many.

    numpy asks for large pages only when it does not clear itself.
    """
    array = np.empty(size + LINE_BYTES // 8)
    first = -array.ctypes.data % LINE_BYTES // 8
    array = array[first : first + size]
    array.fill(0.0)
    return array


class Memory(NamedTuple):
    """The four arrays of a day."""

    slots: Floats
    links: Counts
    state: Floats
    counts: Counts

    @property
    def slot_rows(self) -> Floats:
        """The slots as rows."""
        return self.slots.reshape(-1, SLOT)

    @property
    def stages(self) -> Counts:
        """The stage of each slot."""
        return self.links.reshape(-1, LINK)[:, TAG] & STAGE

    def part(self, where: int, rows: int, width: int) -> Floats:
        """A part of the state as rows."""
        first = int(self.counts[where])
        return self.state[first : first + rows * width].reshape(rows, width)

    def bins(self, where: int, cells: int) -> Counts:
        """Histograms as rows."""
        first = int(self.counts[where])
        return self.counts[first : first + cells * BINS].reshape(cells, BINS)

    def grown(self) -> Memory:
        """The same with twice as many slots."""
        old = len(self.slots) // SLOT
        slots = zeros(2 * len(self.slots))
        slots[: len(self.slots)] = self.slots
        memory = self._replace(slots=slots, links=slots.view(np.int32))
        memory.free(old)
        return memory

    def free(self, first: int) -> None:
        """Make all slots from one on free."""
        end = len(self.slots) // SLOT
        after = self.links.reshape(-1, LINK)[first:, AFTER]
        after[:-1], after[-1] = np.arange(first + 1, end), self.counts[FIRST_FREE]
        self.counts[FIRST_FREE] = first
        self.counts[N_FREE] += end - first


class Size(NamedTuple):
    """How many there are of everything; buckets are powers of two."""

    slots: int
    streams: int
    cells: int
    replicas: int
    #: Prompts that a replica may have in work.
    prompts: int
    lane_buckets: int
    buckets: int
    #: Single requests that are kept; None keeps histograms instead.
    records: int | None


def memory_of(size: Size) -> Memory:
    """A day's memory with nobody there and nothing counted; the law and the switches of the layout are left at zero."""
    if size.streams > STREAM or size.cells // size.streams >= 1 << (31 - HOUR_SHIFT):
        raise ValueError(f"a day must have at most {STREAM} streams and {(1 << (31 - HOUR_SHIFT)) - 1} hours")
    leaves = 1 << (size.replicas - 1).bit_length()
    records, histograms = size.records or 0, size.cells if size.records is None else 0
    counts_row = LINE + LINES + size.buckets
    state_at = _places(
        STREAMS + size.streams * STREAM_ROW,
        (LANES, LANES_ROW),
        (REPLICAS, size.replicas * REPLICA_ROW),
        (PROMPTS, size.replicas * size.prompts * PROMPT_ROW),
        (CELLS, size.cells * CELL_ROW),
        (RECORDS, records * RECORD_ROW),
        (TREE_TIMES, 2 * leaves),
    )
    counts_at = _places(
        NUMBERS,
        (LANE_COUNTS, LANES_LINE + LINES),
        (LANE_WHEEL, size.lane_buckets),
        (REPLICA_COUNTS, size.replicas * counts_row),
        (TREE, 2 * leaves),
        (TTFT_BINS, histograms * BINS),
        (TPOT_BINS, histograms * BINS),
    )
    state = zeros(state_at.pop(NOBODY))
    counts = zeros((counts_at.pop(NOBODY) + 1) // 2).view(np.int32)
    for name, place in (state_at | counts_at).items():
        counts[name] = place
    counts[[FIRST_FREE, N_STREAMS, N_REPLICAS, ON, LEAVES]] = NOBODY, size.streams, size.replicas, 1, leaves
    counts[[PROMPT_ROOM, LANE_BUCKETS, REPLICA_COUNTS_ROW, WHEEL_BUCKETS]] = (
        size.prompts, size.lane_buckets, counts_row, size.buckets,
    )  # fmt: skip
    counts[KEEPS_RECORDS] = size.records is not None
    lanes = counts[counts[LANE_COUNTS] : counts[REPLICA_COUNTS]]
    lanes[[LANES_DUE, *range(LANES_LINE, len(lanes))]] = NOBODY
    replicas = counts[counts[REPLICA_COUNTS] : counts[TREE]].reshape(size.replicas, counts_row)
    replicas[:, DUE], replicas[:, LINE:] = NOBODY, NOBODY
    counts[counts[TREE] + leaves : counts[TREE] + 2 * leaves] = np.minimum(np.arange(leaves), size.replicas - 1)
    slots = zeros(size.slots * SLOT)
    memory = Memory(slots, slots.view(np.int32), state, counts)
    memory.free(0)
    memory.part(REPLICAS, size.replicas, REPLICA_ROW)[:, [PROMPT_DUE, TOKEN_DUE, STEP_S, AVERAGING_S]] = np.inf
    state[counts[TREE_TIMES] :] = np.inf
    memory.part(RECORDS, records, RECORD_ROW)[:, :3] = np.nan
    return memory


def _places(first: int, *parts: tuple[int, int]) -> dict[int, int]:
    """Where each of some parts begins, one behind the other, and by `NOBODY` where they end."""
    places = {}
    for name, length in parts:
        places[name] = first
        first += length
    return places | {NOBODY: first}
