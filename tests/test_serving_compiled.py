"""The compiled engine serves every request as the reference does, whatever its wheels, blocks and threads."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from math import inf

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from test_serving_days import BOTH, CHAT, SPLIT, day_of, small_days

from jevons.randomness import Draws, normal_quantile
from jevons.scenario import Autoscaler, Failures, Serving, StepLaw, Tokens, Workload
from jevons.serving import Day, Stream, compiled_engine, compiled_stack, engine, plain_engine, streaming
from jevons.serving.compiled import draws as draw_kernels
from jevons.serving.compiled import jit
from jevons.serving.compiled import stack as stack_kernels
from jevons.serving.compiled.state import AFTER, FIRST_FREE, LINK, N_FREE, NOBODY, SLOT, Size, memory_of
from jevons.serving.crowd import Crowd
from jevons.serving.forecast import expected_requests
from jevons.serving.virtual_time import VirtualClock
from jevons.stacks import of_world
from jevons.workload import Requests, gamma_numbers, poisson_requests

TIMES = ("prefill_start_s", "first_token_s", "departure_s")
#: A few units in the last place of a time of the clock.
FEW_ULP = 1e-12


def served(day, name, replication=0, seed=1865):
    env = simpy.Environment()
    return env.run(engine(name).serve(env, day, Draws(seed=seed, replication=replication)))


def largest_difference(day, replication=0):
    """Largest relative difference of any time of any request between the two engines; inf if their fates differ."""
    one, other = (served(day, name, replication) for name in ("simpy", "compiled"))
    if len(one.records.lost) != len(other.records.lost) or (one.records.lost != other.records.lost).any():
        return inf
    worst = 0.0
    for name in TIMES:
        mine, theirs = getattr(one.records, name), getattr(other.records, name)
        if (np.isnan(mine) != np.isnan(theirs)).any():
            return inf
        worst = max(worst, float(np.nanmax(np.abs(mine - theirs), initial=0.0)) / day.duration_s)
    return worst


# --- Event for event ---


@settings(deadline=None, max_examples=150)
@given(small_days(), st.integers(0, 50))
def test_every_request_has_the_same_times_as_in_the_reference(day, replication):
    """Layouts, routing, autoscalers, failures, patience, priorities, thinned and whole cells."""
    assert largest_difference(day, replication) <= FEW_ULP


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(0, 3000), st.integers(1, 5000), st.floats(0, 1), st.integers(1, 900), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([SPLIT, BOTH]),
    st.sampled_from(["pooled", "round_robin", "power_of_two"]),
    st.sampled_from([None, Failures(mtbf_days=0.05, repair_hours=0.3)]),
)
def test_a_trace_with_a_cache_is_played_alike(rows, serving, routing, failures):
    arrival, inputs, share, outputs, is_batch = map(np.array, zip(*sorted(rows), strict=True))
    trace = Requests(
        arrival_s=arrival.astype(float),
        stream=is_batch.astype(np.int64),
        input_tokens=inputs.astype(float),
        cached_tokens=np.floor(inputs * share),
        output_tokens=outputs.astype(float),
    )
    serving = serving.model_copy(
        update={
            "routing": routing,
            "failures": failures,
            "max_batch": 3.0,
            "target_batch": 2.0,
            "autoscaler": Autoscaler(signal="measured", floor_nodes=2.0),
        }
    )
    day = replace(day_of(serving), trace=trace, hours=1, keep_records=True, requests_simulated=None)

    assert largest_difference(day) <= FEW_ULP


@pytest.mark.parametrize(
    ("place", "name", "fault"),
    [
        (VirtualClock, "after", lambda right: lambda self, tokens: right(self, tokens + 1)),
        (Crowd, "has_room", lambda right: lambda self, weight, slots: right(self, weight, slots + 1)),
        (Crowd, "add", lambda right: lambda self, weight, context: right(self, weight, context + 1)),
    ],
)
def test_the_comparison_notices_a_planted_fault_of_one(monkeypatch, place, name, fault):
    """One token too many, one slot too many, one token of context too many in the reference."""
    monkeypatch.setattr(place, name, fault(getattr(place, name)))
    found = []

    @settings(deadline=None, max_examples=150, database=None)
    @given(small_days(), st.integers(0, 50))
    def compare(day, replication):
        if largest_difference(day, replication) > FEW_ULP:
            found.append(day)
            raise StopIteration

    with pytest.raises((StopIteration, BaseExceptionGroup)):
        compare()
    assert found


@settings(deadline=None, max_examples=40)
@given(small_days(), st.sampled_from([0.01, 0.3, 40.0]), st.sampled_from([1, 4]), st.integers(1, 40))
def test_how_fine_the_wheels_are_moves_no_result(day, in_a_bucket, buckets, slots):
    expected = served(day, "compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_engine, "IN_A_BUCKET", in_a_bucket)
        patch.setattr(compiled_engine, "FEWEST_BUCKETS", buckets)
        patch.setattr(compiled_engine, "MOST_BUCKETS", buckets)
        patch.setattr(compiled_engine, "FEWEST_SLOTS", slots)
        found = served(day, "compiled")

    assert same(expected, found)


def same(one, other):
    """Whether two results are equal to the last bit."""
    if is_dataclass(one):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return np.array_equal(one, other, equal_nan=True) if isinstance(one, np.ndarray) else repr(one) == repr(other)


# --- Without end ---


def test_virtual_time_does_not_drift_in_a_year_in_which_the_pool_is_never_empty():
    """With no load per sequence a token takes 0.04 s whoever else decodes: 1e6 tokens take 40,000 s.

    One such request comes every 30,000 s, so that the clock is never reset and counts 7.9e8 tokens; a hundred
    thousand small ones stop it in between.
    """
    year_s, rng = 365 * 86400.0, np.random.default_rng(4)
    arrival = np.concatenate([np.arange(0.0, year_s - 50_000, 30_000), rng.uniform(0, year_s - 50_000, 100_000)])
    order = np.argsort(arrival)
    n = len(arrival)
    trace = Requests(
        arrival_s=arrival[order],
        stream=np.zeros(n, dtype=np.int64),
        input_tokens=np.ones(n),
        cached_tokens=np.zeros(n),
        output_tokens=np.where(np.arange(n) < n - 100_000, 1e6, rng.integers(1, 3000, n).astype(float))[order],
    )
    serving = SPLIT.model_copy(
        update={
            "step": StepLaw(base_s=0.04, per_sequence_s=0.0),
            "autoscaler": Autoscaler(floor_nodes=4.0, ceiling_nodes=4.0),
        }
    )
    stream = Stream(name="only", requests_per_day=0.0, workload=Workload())
    day = Day(streams=(stream,), serving=serving, trace=trace, hours=8760, keep_records=True)
    records = served(day, "compiled").records
    decode_s = records.departure_s - records.first_token_s

    assert (records.departure_s[1:] > 0).all()
    # The clock of the year itself tells times no closer than 4 ns.
    assert np.abs(decode_s - 0.04 * trace.output_tokens).max() < 5e-8


@pytest.mark.parametrize("routing", ["pooled", "power_of_two"])
def test_requests_that_are_not_kept_are_counted_as_those_that_are(monkeypatch, routing):
    """Sums to rounding, percentiles within 0.4 %: bins are 1/256 wide."""
    day = replace(
        day_of(SPLIT.model_copy(update={"routing": routing}), requests=4e6, simulated=None),
        hours=2,
        seconds_per_hour=1800.0,
    )
    kept = served(day, "compiled")
    monkeypatch.setattr(streaming, "EXACT_UP_TO", 0)
    streamed = served(day, "compiled")

    for name in ("requests", "lost", "input_tokens", "cached_tokens", "output_tokens", "busy_node_hours"):
        np.testing.assert_allclose(getattr(streamed, name), getattr(kept, name), rtol=1e-12)
    for latency in ("ttft_s", "tpot_s"):
        for statistic in ("mean", "p50", "p95", "p99"):
            np.testing.assert_allclose(
                getattr(getattr(streamed, latency), statistic),
                getattr(getattr(kept, latency), statistic),
                rtol=1e-12 if statistic == "mean" else 1 / 256,
            )
    np.testing.assert_allclose(streamed.stream_latencies.p95_ttft_s, kept.stream_latencies.p95_ttft_s, rtol=1 / 256)
    np.testing.assert_allclose(streamed.stream_latencies.mean_latency_s, kept.stream_latencies.mean_latency_s)
    assert streamed.user_speed_tokens_per_s == pytest.approx(kept.user_speed_tokens_per_s)


def test_memory_does_not_grow_with_the_number_of_requests(monkeypatch):
    monkeypatch.setattr(streaming, "EXACT_UP_TO", 0)
    sizes = []
    for share in (1.0, 4.0):
        day = replace(day_of(SPLIT, requests=2e5, simulated=None), seconds_per_hour=900.0 * share)
        env = simpy.Environment()
        simulation = compiled_engine.CompiledDay(env, day, Draws(seed=1, replication=0))
        env.run(until=simulation.over)
        sizes.append([array.size for array in (*simulation.memory, simulation.block, simulation.queue)])

    assert sizes[0] == sizes[1]


def test_slots_double_and_keep_who_is_in_them():
    memory = memory_of(
        Size(slots=2, streams=1, cells=1, replicas=1, prompts=1, lane_buckets=1, buckets=1, records=None)
    )
    memory.slots[SLOT:] = 7.0
    memory.counts[[FIRST_FREE, N_FREE]] = 0, 1
    memory.links[AFTER] = NOBODY
    grown = memory.grown()
    free = [int(grown.counts[FIRST_FREE])]
    while (following := int(grown.links[free[-1] * LINK + AFTER])) != NOBODY:
        free.append(following)

    assert (grown.slots[SLOT : 2 * SLOT] == 7.0).all()
    assert sorted(free) == [0, 2, 3]
    assert grown.counts[N_FREE] == 3


@pytest.mark.parametrize("name", ["compiled", "plain"])
def test_a_long_trace_of_which_no_records_are_wanted_is_served_whole(monkeypatch, name):
    """Its requests are not drawn, however many they are."""
    monkeypatch.setattr(streaming, "EXACT_UP_TO", 10)
    trace = poisson_requests({"only": CHAT}, np.array([[50.0]]), span_s=600.0, first_s=0.0, draws=STACK_DRAWS[0])
    stream = Stream(name="only", requests_per_day=0.0, workload=CHAT)
    day = Day(streams=(stream,), serving=SPLIT, trace=trace, hours=1)
    serve = {"compiled": compiled_engine, "plain": plain_engine}[name].serve
    env = simpy.Environment()

    assert env.run(serve(env, day, STACK_DRAWS[0])).requests.sum() == len(trace)


# --- Draws ---


LAWS = [
    Tokens(mean=[1500.0], sigma=[0.9]),
    Tokens(mean=[100.0, 3000.0], sigma=[0.5, 1.1], weight=[0.3, 0.7]),
    Tokens(edges=[1.0, 50.0, 50.5, 4000.0], counts=[3.0, 0.0, 5.0]),
]


@given(st.integers(0, 2**63), st.integers(0, 9), st.integers(0, 4_000_000_000), st.integers(1, 70))
def test_uniform_numbers_are_those_of_the_reference(seed, replication, first, n):
    draws = Draws(seed=seed, replication=replication, place=("day", 3))
    found = np.empty(n)
    draw_kernels.uniform_numbers(*map(np.uint64, draws.key("input")), first, n, found)

    assert (found == draws.uniform("input", n, first=first)).all()


def test_normal_numbers_are_those_of_the_reference():
    uniform = np.concatenate([np.linspace(1e-17, 1 - 1e-16, 20_001), [2.0**-54, 0.075, 0.925]])
    found = np.empty_like(uniform)
    draw_kernels.normal_numbers(uniform, len(uniform), found, np.empty_like(uniform), np.empty_like(uniform))

    np.testing.assert_allclose(found, normal_quantile(uniform), rtol=1e-15, atol=1e-15)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(LAWS),
    st.sampled_from(LAWS),
    st.sampled_from([0.0, 0.4, -0.99]),
    st.integers(0, 9),
    st.integers(3, 999),
)
def test_requests_drawn_block_by_block_are_those_of_the_reference(inputs, outputs, correlation, replication, size):
    first = Workload(input_tokens=inputs, output_tokens=outputs, correlation=correlation, cached_share=0.3)
    second = Workload(input_tokens=LAWS[0], output_tokens=LAWS[1])
    streams = (
        Stream(name="a", requests_per_day=9e3, workload=first),
        Stream(name="b", requests_per_day=2e3, workload=second),
    )
    day = Day(streams=streams, serving=SPLIT, hours=3)
    draws = Draws(seed=8, replication=replication)
    expected = expected_requests(day, np.array([[0.1, 0.02], [0.0, 0.05], [0.0, 0.0], [0.3, 0.0]]))
    blocks = list(compiled_engine.drawn_blocks(compiled_engine.source_of(day, expected, draws), size))
    whole = poisson_requests(
        {"a": first, "b": second}, expected, span_s=day.seconds_per_hour, first_s=-day.seconds_per_hour, draws=draws
    )

    for name in ("arrival_s", "stream", "input_tokens", "cached_tokens", "output_tokens"):
        found = np.concatenate([getattr(block, name) for block in blocks])
        np.testing.assert_allclose(found, getattr(whole, name), rtol=1e-13)


@pytest.mark.parametrize("cv", [0.0, 0.1, 0.7, 1.0, 1.9])
def test_over_dispersion_is_that_of_the_reference(cv):
    draws = Draws(seed=2, replication=1, place=("stream",))
    keys = np.array([[draws.keys(compiled_stack.GAMMA_PURPOSES)]], dtype=np.uint64)
    found = np.empty((1, 40, 1))
    stack_kernels.gamma_multipliers(keys, np.array([cv]), found)

    np.testing.assert_allclose(found[0, :, 0], gamma_numbers(cv, 40, draws), rtol=1e-12)


# --- Stacks and threads ---


def stack_of(serving, **changes):
    """Three small days whose streams, weights and nodes differ."""
    workload = CHAT.model_copy(update={"overdispersion": 0.2})
    day = replace(day_of(serving, simulated=500.0, **changes), seconds_per_hour=240.0, hours=6)
    streams = tuple(
        replace(
            stream,
            workload=workload,
            requests_per_day=stream.requests_per_day * np.array([1.0, 2.0, 0.0003]),
            output_weight=stream.output_weight * np.array([1.0, 0.5, 2.0]),
        )
        for stream in day.streams
    )
    return replace(day, streams=streams, available_nodes=np.array([inf, 150.0, 0.4]))


def one_of(days, number):
    """A single day of a stack."""
    streams = tuple(
        replace(
            stream,
            requests_per_day=float(stream.requests_per_day[number]),
            output_weight=float(stream.output_weight[number]),
        )
        for stream in days.streams
    )
    return replace(days, streams=streams, available_nodes=float(days.available_nodes[number]))


STACK_DRAWS = [Draws(seed=6, replication=number, place=("day",)) for number in range(3)]


def assert_close(one, other):
    """Assert that two days are the same to rounding, single records aside."""
    for field in fields(one):
        if field.name in ("flow", "records"):
            continue
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if is_dataclass(mine):
            assert_close(mine, theirs)
        else:
            np.testing.assert_allclose(theirs, mine, rtol=1e-9, atol=1e-12, err_msg=field.name)


@pytest.mark.parametrize("routing", ["pooled", "round_robin", "power_of_two"])
@pytest.mark.parametrize("serving", [SPLIT, BOTH])
def test_a_day_of_a_stack_is_what_it_is_alone_and_in_the_reference(serving, routing):
    scaler = Autoscaler(signal="forecast", delay_minutes=20.0, headroom=1.1, step_nodes=3.0)
    days = stack_of(serving.model_copy(update={"routing": routing, "autoscaler": scaler}))
    stacked = compiled_stack.served_stack(days, STACK_DRAWS, 1)
    for number, draws in enumerate(STACK_DRAWS):
        for name in ("compiled", "simpy"):
            env = simpy.Environment()
            alone = env.run(engine(name).serve(env, one_of(days, number), draws))
            assert_close(alone, of_world(stacked, number))


def test_results_do_not_depend_on_the_number_of_threads():
    days = stack_of(SPLIT)
    results = [compiled_stack.served_stack(days, STACK_DRAWS, threads) for threads in (1, 2, 3)]

    assert same(results[0], results[1])
    assert same(results[0], results[2])


def test_days_that_fail_or_are_measured_whole_are_not_stacked():
    days = stack_of(SPLIT)
    measured = SPLIT.model_copy(update={"autoscaler": Autoscaler(signal="measured")})

    assert compiled_stack.can_stack(days)
    assert not compiled_stack.can_stack(replace(days, keep_records=True))
    assert not compiled_stack.can_stack(replace(days, serving=measured, requests_simulated=None))
    assert not compiled_stack.can_stack(
        replace(days, serving=SPLIT.model_copy(update={"failures": Failures(mtbf_days=9.0, repair_hours=1.0)}))
    )


# --- Where machine code is kept ---


def test_machine_code_is_kept_in_a_folder_of_the_user_or_else_among_temporary_files(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    at_home = jit.kept_in.__wrapped__()
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    elsewhere = jit.kept_in.__wrapped__()
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(blocked))

    assert at_home.parent == tmp_path / "cache" / "jevons"
    assert elsewhere.is_relative_to(tmp_path / "temporary")
    assert at_home.name == elsewhere.name
    assert jit.kept_in.__wrapped__() is None


def test_serving_is_only_unprepared_until_its_kernels_are_kept():
    served(replace(day_of(SPLIT, requests=300.0), hours=1), "compiled")
    compiled_stack.served_stack(stack_of(SPLIT), STACK_DRAWS, 1)

    assert engine("compiled").preparation() == ""


def test_serving_needs_a_law_that_both_engines_read_alike():
    """A node's rate and lanes, base and slope of a step, context: each moves the times in both engines."""
    base = replace(day_of(SPLIT, requests=2e4, simulated=None), hours=1, keep_records=True)
    changes = [
        {"prefill_tokens_per_s": 20_000.0},
        {"step": StepLaw(base_s=0.04, per_sequence_s=2.5e-5)},
        {"step": StepLaw(base_s=0.03, per_sequence_s=9e-5)},
        {"step": StepLaw(base_s=0.03, per_sequence_s=2.5e-5, per_kv_token_s=1e-8)},
    ]
    plain = served(base, "compiled").records.departure_s
    for change in changes:
        day = replace(base, serving=Serving.model_validate({**SPLIT.model_dump(), **change}))
        assert largest_difference(day) <= FEW_ULP
        assert not np.array_equal(served(day, "compiled").records.departure_s, plain, equal_nan=True)
