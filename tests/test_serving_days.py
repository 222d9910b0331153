"""Whole days: nothing gets lost on the way, arms stay paired, and the resolution does not move the answer."""

from __future__ import annotations

from dataclasses import fields, replace
from math import inf, sqrt
from pathlib import Path

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import DAILY_PROFILE

from jevons.randomness import Draws
from jevons.scenario import Autoscaler, Failures, Serving, StepLaw, Tokens, Workload
from jevons.serving import Day, Stream, engine
from jevons.serving.interface import Flow, ServedDay
from jevons.serving.measurement import check, quantile
from jevons.traces import read_trace

TRACES = Path(__file__).parents[2] / "shared" / "data" / "traces"

CHAT = Workload(
    input_tokens=Tokens(mean=[1800.0], sigma=[0.9]),
    output_tokens=Tokens(mean=[420.0], sigma=[0.7]),
    correlation=0.2,
    cached_share=0.4,
    hourly_profile=DAILY_PROFILE,
)
SPLIT = Serving(
    step=StepLaw(base_s=0.03, per_sequence_s=2.5e-5),
    target_batch=600.0,
    max_batch=900.0,
    prefill_tokens_per_s=32_000.0,
    prefill_lanes=4,
    autoscaler=Autoscaler(headroom=1.1),
)
BOTH = Serving(
    layout="colocated",
    step=StepLaw(base_s=0.0095, per_sequence_s=2e-5, per_prefill_token_s=35e-6, per_kv_token_s=15e-9),
    target_batch=30.0,
    max_batch=256.0,
)


def day_of(serving=SPLIT, requests=8e7, simulated=3000.0, **changes):
    streams = (
        Stream(name="chat", requests_per_day=requests, workload=CHAT, patience_s=60.0),
        Stream(
            name="batch",
            requests_per_day=requests / 10,
            workload=CHAT,
            input_weight=2.0,
            output_weight=1.5,
            interactive=False,
        ),
    )
    return Day(**{"streams": streams, "serving": serving, "requests_simulated": simulated, **changes})


def served(day, name="simpy", replication=0, seed=1865):
    env = simpy.Environment()
    return env.run(engine(name).serve(env, day, Draws(seed=seed, replication=replication)))


def same(one: ServedDay, other: ServedDay) -> bool:
    """Whether two days are equal to the last bit."""
    return repr([getattr(one, f.name) for f in fields(one)]) == repr([getattr(other, f.name) for f in fields(other)])


# --- Laws ---


@st.composite
def small_days(draw):
    layout = draw(st.sampled_from(["disaggregated", "colocated"]))
    serving = SPLIT if layout == "disaggregated" else BOTH
    routing = draw(st.sampled_from(["pooled", "round_robin", "power_of_two"]))
    scaler = Autoscaler(
        signal=draw(st.sampled_from(["forecast", "measured"])),
        interval_minutes=draw(st.sampled_from([7.0, 15.0, 60.0])),
        delay_minutes=draw(st.sampled_from([0.0, 20.0])),
        headroom=draw(st.sampled_from([0.6, 1.0, 1.4])),
        step_nodes=draw(st.sampled_from([0.0, 1.0, 3.0])),
    )
    failures = draw(st.sampled_from([None, Failures(mtbf_days=0.5, repair_hours=1.0)]))
    serving = serving.model_copy(
        update={
            "autoscaler": scaler,
            "failures": failures,
            "routing": routing,
            "max_batch": draw(st.sampled_from([serving.target_batch, serving.max_batch])),
        }
    )
    workload = CHAT.model_copy(update={"overdispersion": draw(st.sampled_from([0.0, 0.6]))})
    day = day_of(
        serving, requests=draw(st.sampled_from([300.0, 2e4, 1e6])), simulated=draw(st.sampled_from([300.0, 900.0]))
    )
    streams = tuple(
        replace(stream, workload=workload, patience_s=draw(st.sampled_from([None, 0.5, 30.0])))
        for stream in day.streams
    )
    return replace(
        day,
        streams=streams,
        hours=draw(st.integers(1, 5)),
        seconds_per_hour=draw(st.sampled_from([60.0, 900.0, 3600.0])),
        available_nodes=draw(st.sampled_from([inf, 3.0, 0.4])),
        keep_records=True,
    )


@settings(deadline=None, max_examples=60)
@given(small_days(), st.integers(0, 3))
def test_no_request_is_lost_on_the_way_and_littles_law_holds(day, replication):
    """The engine checks both itself; here once more, with the order of events in each request's life."""
    result = served(day, replication=replication)
    flow, records = result.flow, result.records

    assert flow.arrived == flow.served + flow.lost + flow.inside == len(records.arrival_s)
    assert flow.prefill_area_s == pytest.approx(flow.prefill_time_s, rel=1e-9, abs=1e-6)
    assert flow.decode_area_s == pytest.approx(flow.decode_time_s, rel=1e-9, abs=1e-6)
    done = ~np.isnan(records.departure_s)
    assert np.all(records.prefill_start_s[done] >= records.arrival_s[done] - 1e-9)
    assert np.all(records.first_token_s[done] >= records.prefill_start_s[done])
    assert np.all(records.departure_s[done] > records.first_token_s[done])
    assert not np.any(done & records.lost)
    assert np.all(result.provisioned_node_hours <= np.minimum(day.available_nodes, result.desired_node_hours) + 1e-9)


@pytest.mark.parametrize("change", [{"served": 4}, {"inside": 3}, {"prefill_time_s": 5.1}, {"decode_area_s": 70.0}])
def test_an_account_out_of_balance_is_refused(change):
    """10 = 5 + 3 + 2, and the sides of Little's law."""
    balanced = Flow(
        arrived=10,
        served=5,
        lost=3,
        inside=2,
        prefill_area_s=5.0,
        prefill_time_s=5.0,
        decode_area_s=71.0,
        decode_time_s=71.0,
    )
    check(balanced)
    with pytest.raises(AssertionError, match=r"do not add up|does not hold"):
        check(replace(balanced, **change))


def test_without_limit_or_impatience_nobody_is_lost_and_all_that_came_is_counted():
    """Tokens of those who left are those of the records, at the scale of the cell and its hours."""
    day = day_of(hours=24, keep_records=True, seconds_per_hour=1800.0)
    result = served(day)
    in_day = result.records.arrival_s >= 0

    assert result.lost.sum() == 0
    assert result.requests.sum() == pytest.approx(in_day.sum() / result.share_simulated * 2)
    assert result.share_simulated == pytest.approx(3000 / (8.8e7 * 0.5))
    assert result.cached_tokens.sum() == pytest.approx(0.4 * result.input_tokens.sum())


def test_quantiles_are_those_of_numpy():
    values = np.sort(Draws(seed=2, replication=0).exponential("q", 37))

    assert [quantile(values, p) for p in (0.5, 0.95, 0.99)] == pytest.approx(
        list(np.quantile(values, [0.5, 0.95, 0.99]))
    )


# --- Pairing ---


@pytest.mark.parametrize("serving", [SPLIT, BOTH])
def test_the_same_draws_give_the_same_day_and_others_do_not(serving):
    day = day_of(serving, simulated=500.0, keep_records=True)

    assert same(served(day), served(day))
    assert not same(served(day), served(day, replication=1))
    assert not same(served(day), served(day, seed=1866))


def test_a_day_does_not_depend_on_what_else_is_served_or_when():
    """Two regions at once, the second an hour later: each as if it were alone, to the rounding of the clock."""
    day = day_of(simulated=400.0, seconds_per_hour=600.0)
    draws = Draws(seed=1865, replication=0)
    env = simpy.Environment(initial_time=86_400.0)
    first = engine("simpy").serve(env, day, draws)
    env.run(until=86_400.0 + 3600.0)
    second = engine("simpy").serve(env, day, draws)
    env.run(second)

    for result in (first.value, second.value):
        assert result.output_tokens.tolist() == served(day).output_tokens.tolist()
        assert result.tpot_s.mean == pytest.approx(served(day).tpot_s.mean, nan_ok=True)


def test_arms_with_the_same_profile_see_the_same_requests():
    """Twice the usage at half the compute: the same requests at the same times on the same nodes.

    Only prompts are done in half the time, and so join a little earlier.
    """
    day = replace(day_of(keep_records=True), streams=day_of().streams[:1])
    stream = day.streams[0]
    other = replace(day, streams=(replace(stream, requests_per_day=1.6e8, input_weight=0.5, output_weight=0.5),))
    one, two = served(day), served(other)

    assert np.array_equal(one.records.arrival_s, two.records.arrival_s)
    assert two.provisioned_node_hours == pytest.approx(one.provisioned_node_hours, rel=1e-12)
    assert two.user_speed_tokens_per_s == pytest.approx(one.user_speed_tokens_per_s, rel=1e-5)


# --- Resolution ---


@pytest.mark.slow
@pytest.mark.parametrize(("serving", "requests"), [(SPLIT, 6e7), (BOTH, 6e6)], ids=["disaggregated", "colocated"])
@pytest.mark.parametrize("simulated", [1000.0, 4000.0, 16_000.0])
def test_the_resolution_moves_neither_nodes_nor_speed(serving, requests, simulated):
    """GPU-hours, time per token, speed and work against the formula of the large pool, within 99.99 % or 1.5 %."""
    day = day_of(serving, requests=requests, simulated=simulated)
    exact = served(day, "closed_form")
    results = [served(day, replication=r) for r in range(6)]
    speeds = [result.user_speed_tokens_per_s for result in results]
    works = [result.work_node_hours.sum() for result in results]

    for found, expected in ((speeds, exact.user_speed_tokens_per_s), (works, exact.work_node_hours.sum())):
        # Student's quantile with 5 degrees of freedom.
        half = 9.7 * np.std(found, ddof=1) / sqrt(len(found))
        assert abs(np.mean(found) - expected) < max(half, 0.015 * expected)
        assert np.std(found) < 5 / sqrt(simulated) * expected
    for result in results:
        assert result.provisioned_node_hours == pytest.approx(exact.provisioned_node_hours)
        assert result.lost.sum() == 0


@pytest.mark.slow
@pytest.mark.parametrize("serving", [SPLIT, BOTH], ids=["disaggregated", "colocated"])
def test_a_thinned_cell_agrees_with_every_single_request(serving):
    """The same fleet with one request in twelve and with all; over two hours by day."""
    workload = CHAT.model_copy(update={"hourly_profile": [1.0] * 24})
    day = day_of(serving, requests=1.2e6 if serving is SPLIT else 9e5, simulated=None, hours=1)
    day = replace(day, streams=tuple(replace(stream, workload=workload) for stream in day.streams))
    whole, cell = served(day), served(replace(day, requests_simulated=1e5))

    assert whole.share_simulated == 1
    assert cell.user_speed_tokens_per_s == pytest.approx(whole.user_speed_tokens_per_s, rel=0.03)
    assert cell.work_node_hours.sum() == pytest.approx(whole.work_node_hours.sum(), rel=0.06)
    assert cell.provisioned_node_hours == pytest.approx(whole.provisioned_node_hours)


@pytest.mark.slow
@pytest.mark.parametrize("simulated", [2000.0, 8000.0, 32_000.0])
def test_a_short_fleet_serves_its_capacity_at_any_resolution(simulated):
    """Available nodes are half of the mean need: decode runs at the largest batch, and the rest is lost."""
    need = served(day_of(), "closed_form").provisioned_node_hours.mean()
    day = day_of(simulated=simulated, available_nodes=0.5 * need)
    streams = tuple(replace(stream, patience_s=20.0) for stream in day.streams)
    day = replace(day, streams=streams)
    exact, result = served(day, "closed_form"), served(day)

    assert result.output_tokens.sum() == pytest.approx(exact.output_tokens.sum(), rel=0.06)
    assert result.user_speed_tokens_per_s == pytest.approx(exact.user_speed_tokens_per_s, rel=0.05)
    assert result.lost.sum() / result.requests.sum() == pytest.approx(exact.lost.sum() / exact.requests.sum(), abs=0.05)


# --- Real traces ---


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("conv", 19_366), ("code", 8_819)])
@pytest.mark.parametrize("serving", [SPLIT, BOTH], ids=["disaggregated", "colocated"])
def test_azures_traces_are_served_request_by_request(name, count, serving):
    """Microsoft's hour of 2023 (Splitwise, arXiv 2311.18677), in bursts: on nodes for five times its mean load."""
    path = TRACES / f"azure_llm_2023_{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    trace = read_trace(path)
    scaler = Autoscaler(headroom=5.0, floor_nodes=1.0, step_nodes=1.0)
    day = Day(
        streams=(Stream(name="azure", requests_per_day=0.0, workload=Workload()),),
        serving=serving.model_copy(update={"autoscaler": scaler, "target_batch": 8.0}),
        trace=trace,
        hours=1,
    )
    result = served(day)

    assert result.flow.arrived == count
    assert result.requests.sum() == count
    assert result.flow.inside < 100
    assert result.output_tokens.sum() == pytest.approx(trace.output_tokens.sum(), rel=0.02)
    assert 0 < result.ttft_s.p50[0] < 2
    assert result.share_of_capacity[0] < result.utilisation[0] <= 1
