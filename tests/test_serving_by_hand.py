"""The stages of serving on requests few enough to follow with a pencil."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
import simpy

from jevons.randomness import Draws
from jevons.scenario import Failures, Serving, StepLaw, Workload
from jevons.serving import Day, Stream, control
from jevons.serving.book import Book
from jevons.serving.colocated import Replicas
from jevons.serving.control import ControlPlane, schedule_of
from jevons.serving.crowd import Crowd
from jevons.serving.disaggregated import Decode, Prefill
from jevons.serving.sizing import Load
from jevons.serving.timers import SimpyClock, at_times
from jevons.workload import Requests

LOAD = Load(
    prefill_tokens_per_s=np.array([1.0]), decode_tokens_per_s=np.array([1.0]), context_tokens2_per_s=np.array([0.0])
)
NOTHING = Workload()


def requests_of(*rows, streams=None):
    """Requests from (arrival, input tokens, output tokens)."""
    arrival, inputs, outputs = np.array(rows, dtype=float).T
    return Requests(
        arrival_s=arrival,
        stream=np.array(streams or [0] * len(rows)),
        input_tokens=inputs,
        cached_tokens=np.zeros(len(rows)),
        output_tokens=outputs,
    )


def stream(**changes):
    return Stream(**{"name": "only", "requests_per_day": 0.0, "workload": NOTHING, **changes})


def book_of(serving, requests, streams):
    return Book(Day(streams=streams, serving=serving, trace=requests, hours=1), requests, 0.0)


# --- Prefill: one lane of 10 tokens a second ---

LANE = Serving(
    step=StepLaw(base_s=0.5, per_sequence_s=0.25),
    target_batch=3.0,
    max_batch=4.0,
    prefill_tokens_per_s=10.0,
    prefill_lanes=1,
)


def prefilled(requests, lanes=1, streams=None, switches=()):
    """Book, times at which prompts ended, and the stage, once all have ended."""
    env = simpy.Environment()
    serving = LANE.model_copy(update={"prefill_lanes": lanes, "prefill_tokens_per_s": 10.0 * lanes})
    book = book_of(serving, requests, streams or (stream(),))
    stage = Prefill(SimpyClock(env), book, serving, Crowd(serving))
    ends = [nan] * len(requests)

    def note(request):
        ends[request] = env.now

    stage.done = note
    stage.switch(1.0, LOAD)
    at_times(env, [time for time, _ in switches], lambda number: stage.switch(switches[number][1], LOAD))
    at_times(env, book.arrival, stage.arrive)
    env.run(until=1000.0)
    stage.settle()
    return book, ends, stage


def test_one_lane_works_off_prompts_in_order_of_arrival():
    """20 tokens take 2 s: 0-2, then 2-5 (30 tokens, came at 1), then 7-11 (40 tokens, came at 7)."""
    book, ends, _ = prefilled(requests_of((0, 20, 1), (1, 30, 1), (7, 40, 1)))

    assert book.prefill_start == [0, 2, 7]
    assert ends == [2, 5, 11]


def test_two_lanes_work_at_two_prompts():
    """The third, come at 1, takes the lane that is free first: at 2."""
    book, ends, _ = prefilled(requests_of((0, 20, 1), (0, 50, 1), (1, 30, 1)), lanes=2)

    assert book.prefill_start == [0, 0, 2]
    assert ends == [2, 5, 5]


def test_interactive_requests_go_first_and_interrupt_nobody():
    """A batch prompt is in the lane until 5; of those who wait, the interactive one that came last goes first."""
    streams = (stream(), stream(name="batch", interactive=False))
    requests = requests_of((0, 50, 1), (1, 20, 1), (2, 30, 1), streams=[1, 1, 0])
    book, ends, _ = prefilled(requests, streams=streams)

    assert book.prefill_start == [0, 8, 5]
    assert ends == [5, 10, 8]


def test_whoever_waits_longer_than_its_patience_is_lost_at_its_deadline():
    """Patience 3: the one come at 1 would start at 5 and is lost at 4; the next, come at 3, starts at 5."""
    book, ends, stage = prefilled(requests_of((0, 50, 1), (1, 20, 1), (3, 10, 1)), streams=(stream(patience_s=3.0),))

    assert list(book.lost) == [0, 1, 0]
    assert book.prefill_start[2] == 5
    assert ends[2] == 6
    # 5 s of the first, 3 s of the lost one, 3 s of the third.
    assert stage.tally.area_s == pytest.approx(5 + 3 + 3)
    assert stage.tally.time_s == pytest.approx(5 + 3 + 3)


def test_lanes_that_are_switched_off_finish_what_they_have_begun():
    """Off from 1 to 9: the prompt in the lane ends at 2; the next starts at 9."""
    book, ends, _ = prefilled(requests_of((0, 20, 1), (0.5, 30, 1)), switches=[(1.0, 0.0), (9.0, 1.0)])

    assert book.prefill_start == [0, 9]
    assert ends == [2, 12]


# --- Decode: a step of 0.5 s and 0.25 s for each sequence in the batch, at most four in it ---


def decoded(requests, serving=LANE, streams=None, nodes=1.0, then=()):
    """Book and stage once all have left; `then` is (time, what to do with the stage)."""
    env = simpy.Environment()
    book = book_of(serving, requests, streams or (stream(),))
    stage = Decode(SimpyClock(env), book, serving, Crowd(serving))
    stage.switch(nodes, LOAD)
    at_times(env, book.arrival, stage.arrive)
    at_times(env, [time for time, _ in then], lambda number: then[number][1](stage))
    env.run(until=1000.0)
    stage.settle()
    return book, stage


def test_sequences_share_the_node_by_batch():
    """Alone a token takes 0.75 s, together 1 s.

    A (10 tokens) from 0: 4 tokens until 3.  B (3 tokens) from 3: both at 1 s, B leaves at 6 when A has 7.
    A's last 3 tokens take 2.25 s: 8.25.
    """
    book, stage = decoded(requests_of((0, 1, 10), (3, 1, 3)))

    assert book.first_token == [0, 3]
    assert book.departure == pytest.approx([8.25, 6.0])
    assert stage.crowd.served_tokens == pytest.approx(13)
    assert stage.tally.area_s == pytest.approx(8.25 + 3.0)


def test_a_heavy_sequence_takes_more_of_the_batch_and_is_as_fast():
    """Weights 1 and 2: together a token takes 0.5 + 0.25 x 3 = 1.25 s for both; alone the heavy one has 1 s a token."""
    streams = (stream(), stream(name="heavy", output_weight=2.0))
    book, stage = decoded(requests_of((0, 1, 4), (0, 1, 6), streams=[0, 1]), streams=streams)

    assert book.departure == pytest.approx([5.0, 7.0])
    assert stage.crowd.served_tokens == pytest.approx(4 * 1 + 6 * 2)


def test_the_batch_of_a_pool_is_spread_over_its_nodes():
    """Three sequences on two nodes: batch 1.5, 0.5 + 0.375 s a token."""
    book, _ = decoded(requests_of((0, 1, 8), (0, 1, 8), (0, 1, 8)), nodes=2.0)

    assert book.departure == pytest.approx([7.0] * 3)


def test_context_that_is_read_slows_the_step():
    """K = 0.01 s a token of context I + O/2 = 6 + 4/2 = 8: 0.5 + 0.25 + 0.08 s a token."""
    serving = LANE.model_copy(update={"step": StepLaw(base_s=0.5, per_sequence_s=0.25, per_kv_token_s=0.01)})
    book, stage = decoded(requests_of((0, 6, 4)), serving=serving)

    assert book.departure == pytest.approx([4 * 0.83])
    assert stage.crowd.served_context_tokens2 == pytest.approx(4 * 8)


def test_no_more_than_the_largest_batch_decode_and_the_next_waits_for_a_slot():
    """Four slots at 1.5 s a token: all four leave at 3; the fifth is admitted then and takes 2 x 0.75 s."""
    book, _ = decoded(requests_of(*[(0, 1, 2)] * 5))

    assert book.first_token == pytest.approx([0, 0, 0, 0, 3])
    assert book.departure == pytest.approx([3, 3, 3, 3, 4.5])


def test_patience_runs_until_the_first_token():
    """The fifth comes at 1, would be admitted at 3, and gives up at 2; the sixth comes at 2.5 and is."""
    rows = [(0, 1, 2)] * 4 + [(1, 1, 2), (2.5, 1, 2)]
    book, _ = decoded(requests_of(*rows), streams=(stream(patience_s=1.0),))

    assert list(book.lost) == [0, 0, 0, 0, 1, 0]
    assert book.first_token[5] == pytest.approx(3)


def test_a_pool_without_nodes_stands_still():
    """0.75 s a token for 1.5 s, nothing until 11.5, then the other 2 tokens: 13."""
    steps = [(1.5, lambda stage: stage.switch(0.0, LOAD)), (11.5, lambda stage: stage.switch(1.0, LOAD))]
    book, _ = decoded(requests_of((0, 1, 4)), then=steps)

    assert book.departure == pytest.approx([13.0])


def test_a_sequence_whose_node_fails_has_its_answer_prefilled_again():
    """Batch 2, 1 s a token: at 4 each has 4 of its tokens; the first is taken out with 6 still to decode."""
    book, stage = decoded(
        requests_of((0, 7, 10), (0, 7, 5)),
        streams=(stream(input_weight=3.0),),
        then=[(4.0, lambda stage: stage.interrupt({0}))],
    )

    assert book.output_tokens[0] == pytest.approx(6)
    assert book.prefill_tokens[0] == pytest.approx(3 * (7 + 4))
    # The other one is alone from then on: one token at 0.75 s.
    assert book.departure[1] == pytest.approx(4.75)
    assert book.deadline[0] == inf
    assert stage.tally.inside == 0


# --- Prefill and decode on one node: chunks of 8 tokens, 0.5 s more for each ---

BOTH = Serving(
    layout="colocated",
    step=StepLaw(base_s=0.5, per_sequence_s=0.25, per_prefill_token_s=0.0625),
    target_batch=3.0,
    max_batch=4.0,
    prefill_chunk_tokens=8.0,
)


def test_a_prompt_slows_the_sequence_beside_it():
    """One replica.

    A: 16 prompt tokens in 2 chunks of 0.5 + 0.5 s: first token at 2.  Decodes at 0.75 s a token, 4 tokens until 5.
    B: 8 prompt tokens from 5, in a step of 0.75 + 0.5 s: 6.25, when A has one token more; half of A's step of
    0.75 s it waits for its turn.  Then both at 1 s: A's last 2 tokens until 8.25, B's third at 0.75 s until 9.
    """
    env = simpy.Environment()
    book = book_of(BOTH, requests_of((0, 16, 7), (5, 8, 3)), (stream(),))
    pool = Replicas(SimpyClock(env), book, BOTH, Crowd(BOTH))
    pool.switch(1.0, LOAD)
    at_times(env, book.arrival, pool.arrive)
    env.run(until=100.0)

    assert book.first_token == pytest.approx([2.0, 6.25])
    assert book.step_wait == pytest.approx([0.0, 0.375])
    assert book.departure == pytest.approx([8.25, 9.0])


def test_two_replicas_prefill_two_prompts_and_a_sequence_meets_either_half_of_the_time():
    """A decodes with 1 of 2 nodes in prefill, at batch 1/2: half its time 0.625 s a token, half 1.125 s."""
    env = simpy.Environment()
    book = book_of(BOTH, requests_of((0, 8, 50), (2, 80, 1)), (stream(),))
    pool = Replicas(SimpyClock(env), book, BOTH, Crowd(BOTH))
    pool.switch(2.0, LOAD)
    at_times(env, book.arrival, pool.arrive)
    env.run(until=4.0)
    pool.settle()

    # First token at 1; a second alone at batch 1/2; two seconds beside the prompt.
    assert pool.token_clock.until((0, 0.0)) == pytest.approx(-(1 / 0.625 + 2 * (0.5 / 0.625 + 0.5 / 1.125)))


# --- The control plane ---


class Recorder:
    """A fleet that writes down what it is told."""

    def __init__(self, env, decoding=()):
        self.env, self.down, self.hit, self.present = env, [], [], list(decoding)

    def under_repair(self, down):
        self.down.append((self.env.now, down))

    def decoding(self):
        return self.present

    def interrupt(self, hit):
        self.hit.append(hit)


class Plan:
    """Ten nodes in the first hour, four after it."""

    hours = 3

    def nodes_at(self, hours):
        return np.where(hours < 1, 10.0, 4.0)

    def times_h(self):
        return np.array([0.0, 1.0])

    def hourly_nodes(self):
        return np.array([10.0, 4.0, 4.0])


def schedule(start_s):
    """The plan on a clock of 60 s hours."""
    day = Day(streams=(stream(),), serving=LANE, hours=2, seconds_per_hour=60.0)
    return schedule_of(day, Plan(), LOAD, start_s)


def test_the_schedule_has_a_row_for_each_switch_and_each_hour():
    rows = schedule(500.0)

    assert rows.times_s.tolist() == [500.0, 560.0, 620.0]
    assert rows.nodes(0).tolist() == [10.0, 4.0, 4.0]
    assert rows.nodes(6).tolist() == [4.0, 0.0, 0.0]
    assert [rows.row_at(time) for time in (500.0, 559.9, 560.0, 1e4)] == [0, 0, 1, 2]


def test_a_failed_node_is_missing_until_its_repair_and_takes_its_share_with_it(monkeypatch):
    """Of 4 nodes one fails at hour 1.5 (second 90 of 60 s hours); each of 4000 sequences is hit with chance 1/4."""
    monkeypatch.setattr(control, "poisson_times", lambda *_: (np.array([1]), np.array([1.5])))
    env = simpy.Environment()
    fleet = Recorder(env, decoding=range(4000))
    plane = ControlPlane(env, fleet, schedule(0.0))
    draws = Draws(seed=3, replication=0)
    plane.fail_as(Plan(), Failures(mtbf_days=50.0, repair_hours=0.2), 60.0, draws)
    env.run(until=1e4)
    repaired_s = 90 + 60 * 0.2 * float(draws.exponential("repair", 1)[0])

    assert fleet.down == [(90.0, 1), (pytest.approx(repaired_s), 0)]
    assert len(fleet.hit) == 1
    assert abs(len(fleet.hit[0]) - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5
