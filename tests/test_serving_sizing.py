"""Nodes that a load needs, the autoscaler's rule, and the engine of formulas."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from worlds import DAILY_PROFILE

from jevons.errors import UsageError
from jevons.queueing import mmc_mean_waiting_time_s
from jevons.randomness import Draws
from jevons.scenario import Autoscaler, Failures, Serving, StepLaw, Tokens, Workload
from jevons.serving import Day, Stream, engine, reference_gpu_seconds_per_mtok
from jevons.serving.autoscaling import interval_means, nodes_wanted, plan_of_load, plan_of_measurements
from jevons.serving.closed_form import lane_wait_s, served_day
from jevons.serving.sizing import Load, decode_nodes, nodes_needed, prefill_nodes, prefill_share

SPLIT = Serving(
    gpus_per_node=8,
    step=StepLaw(base_s=0.03, per_sequence_s=2e-5, per_kv_token_s=1e-9),
    target_batch=600.0,
    max_batch=900.0,
    prefill_tokens_per_s=32_000.0,
    prefill_lanes=4,
)
CHAT = Workload(
    input_tokens=Tokens(mean=[1800.0], sigma=[0.9]),
    output_tokens=Tokens(mean=[420.0], sigma=[0.7]),
    cached_share=0.4,
    hourly_profile=DAILY_PROFILE,
)
DAY = Day(
    streams=(
        Stream(name="chat", requests_per_day=5e7, workload=CHAT, input_weight=1.3, output_weight=1.7),
        Stream(name="batch", requests_per_day=9e6, workload=CHAT, input_weight=0.8, interactive=False),
    ),
    serving=SPLIT,
)


def load_of(prefill, decode, context=0.0):
    return Load(
        prefill_tokens_per_s=np.atleast_1d(float(prefill)),
        decode_tokens_per_s=np.atleast_1d(float(decode)),
        context_tokens2_per_s=np.atleast_1d(float(context)),
    )


# --- Sizing ---


def test_nodes_needed_by_hand():
    """64,000/32,000 = 2 for prefill; 1e6 x (0.03/600 + 2e-5) = 70; 2e9 x 1e-9 = 2."""
    assert nodes_needed(SPLIT, load_of(64_000, 1e6, 2e9))[0] == pytest.approx(74.0)


def test_a_balanced_node_has_the_target_batch():
    """On the nodes needed, x tau / m is the target batch, tau being the step at it."""
    load = load_of(0, 5e5, 3e9)
    nodes = decode_nodes(SPLIT, load, SPLIT.target_batch)
    step_s = 0.03 + 2e-5 * 600 + 1e-9 * 600 * 3e9 / 5e5

    assert 5e5 * step_s / nodes[0] == pytest.approx(600)


def test_colocated_nodes_follow_the_sizing_formula_of_the_model():
    """lambda_target = 1 / (E[O] A/B + 1/lambda_max); here B = 20, 7 requests a second."""
    serving = Serving(
        layout="colocated",
        step=StepLaw(base_s=0.01, per_sequence_s=5e-5, per_prefill_token_s=3e-5, per_kv_token_s=1e-8),
        target_batch=20.0,
        max_batch=64.0,
    )
    inputs, outputs, context = 1100.0, 210.0, 3e5
    largest = 1 / (3e-5 * inputs + 5e-5 * outputs + 1e-8 * context)
    target = 1 / (outputs * 0.01 / 20 + 1 / largest)

    assert nodes_needed(serving, load_of(7 * inputs, 7 * outputs, 7 * context))[0] == pytest.approx(7 / target)


def test_reference_compute_is_the_nodes_of_a_token_a_second_in_gpu_seconds():
    """250 GPU-s/Mtok = 8 x 1e6 / 32,000; output 8e6 x (0.03/600 + 2e-5 + 1e-9 x 1500) = 572."""
    prefill, decode = reference_gpu_seconds_per_mtok(SPLIT, mean_context_tokens=1500.0)

    assert prefill == pytest.approx(250)
    assert decode == pytest.approx(572)


@given(st.floats(1, 1e6) | st.just(0.0), st.floats(1, 1e7) | st.just(0.0), st.floats(0.1, 1e4))
def test_prefill_never_binds_before_decode(prefill, decode, nodes):
    """Short of nodes, prefill keeps its need until even the largest batch cannot serve the load."""
    load = load_of(prefill, decode)
    share = prefill_share(SPLIT, load, np.array([nodes]))[0]
    for_prefill, least = prefill_nodes(SPLIT, load)[0], decode_nodes(SPLIT, load, 900.0)[0]

    assert 0 <= share <= 1
    if for_prefill + least > 0:
        served = min(1.0, nodes / (for_prefill + least))
        assert nodes * share >= for_prefill * served - 1e-9 * nodes
        assert nodes * (1 - share) >= least * served - 1e-9 * nodes


# --- The autoscaler ---


@pytest.mark.parametrize(("need", "nodes"), [(2.0, 8), (8.0, 8), (8.001, 38), (38.0, 38), (250.0, 278), (400.0, 278)])
def test_steps_are_counted_from_the_floor(need, nodes):
    """DeepSeek's rule: min(278, 8 + 30 ceil((need - 8)/30))."""
    scaler = Autoscaler(step_nodes=30.0, floor_nodes=8.0, ceiling_nodes=278.0)

    assert nodes_wanted(scaler, np.array([need]))[0] == nodes


def test_headroom_multiplies_the_need():
    assert nodes_wanted(Autoscaler(headroom=1.25), np.array([40.0]))[0] == 50


def test_deepseeks_day_by_the_operators_steps():
    """Nodes by the published load, at the average throughput of the day: 226.8 on average (research, section 3.5)."""
    income = [4.81, 5.07, 5.42, 5.50, 5.42, 4.95, 4.77, 5.26, 5.46, 5.48, 5.52, 5.30]
    income += [3.87, 3.19, 2.34, 1.42, 1.13, 1.13, 1.42, 2.44, 4.11, 5.24, 5.42, 5.32]
    need = 226.75 * 24 * np.array(income) / sum(income)
    nodes = nodes_wanted(Autoscaler(step_nodes=30.0, floor_nodes=8.0, ceiling_nodes=278.0), need)

    assert nodes.mean() == pytest.approx(226.8, abs=0.1)


def needing(*nodes):
    """Load that needs so many nodes in each hour."""
    zeros = np.zeros(len(nodes))
    return Load(prefill_tokens_per_s=np.array(nodes) * 32_000.0, decode_tokens_per_s=zeros, context_tokens2_per_s=zeros)


def plan(load, available=inf, **scaler):
    serving = SPLIT.model_copy(update={"autoscaler": Autoscaler(**scaler)})
    return plan_of_load(serving, load, available)


def test_without_delay_the_nodes_are_those_wanted():
    made = plan(needing(10, 40, 20))

    assert made.hourly_nodes().tolist() == pytest.approx([10, 40, 20])
    assert made.nodes_at(np.array([0.99])) == pytest.approx(10)
    assert made.nodes_at(np.array([1.0])) == pytest.approx(40)


def test_a_node_serves_after_the_delay_and_stops_at_once():
    """Wanted 40 from 1 h, on from 1.5 h; wanted 20 from 2 h, on at once: 10, 25, 20 on average."""
    made = plan(needing(10, 40, 20), delay_minutes=30.0)

    assert made.nodes_at(np.array([1.49, 1.5, 1.99, 2.0])) == pytest.approx([10, 40, 40, 20])
    assert made.hourly_nodes().tolist() == pytest.approx([10, 25, 20])
    assert made.hourly_desired().tolist() == pytest.approx([10, 40, 20])


def test_a_delay_longer_than_the_need_brings_no_node():
    """Wanted for an hour, there after an hour and a half: never."""
    assert plan(needing(10, 40, 10, 10), delay_minutes=90.0).hourly_nodes().tolist() == pytest.approx([10] * 4)


def test_the_limit_of_nodes_shows_between_desired_and_provisioned():
    made = plan(needing(10, 40, 20), available=25.0)

    assert made.hourly_nodes().tolist() == pytest.approx([10, 25, 20])
    assert made.hourly_desired().tolist() == pytest.approx([10, 40, 20])


def test_a_measured_load_is_answered_an_interval_later():
    """Half an hour: 10, then in each hour half of the time the load of the hour before."""
    made = plan(needing(10, 40, 20), signal="measured", interval_minutes=30.0)

    assert made.hourly_nodes().tolist() == pytest.approx([10, 25, 30])
    halves = needing(10, 10, 40, 40, 20, 20)
    serving = SPLIT.model_copy(update={"autoscaler": Autoscaler(signal="measured", interval_minutes=30.0)})
    assert plan_of_measurements(serving, halves, 3, inf).hourly_nodes().tolist() == pytest.approx([10, 25, 30])


def test_an_interval_across_hours_answers_the_mean_load():
    """40 minutes from 40 to 80: half of each hour's load, (10 + 40)/2; then 40, and so on."""
    scaler = Autoscaler(interval_minutes=40.0)

    assert interval_means(scaler, np.array([10.0, 40.0])).tolist() == pytest.approx([10, 25, 40])
    assert plan(needing(10, 40), interval_minutes=40.0).hourly_nodes().tolist() == pytest.approx([15, 35])


@given(
    st.lists(st.floats(0, 500), min_size=1, max_size=8),
    st.sampled_from([7.0, 15.0, 40.0, 60.0, 150.0]),
    st.sampled_from([0.0, 5.0, 37.0, 120.0]),
    st.sampled_from([0.0, 13.0]),
)
def test_nodes_stay_between_floor_and_wanted(needs, interval, delay, step):
    made = plan(needing(*needs), interval_minutes=interval, delay_minutes=delay, step_nodes=step, floor_nodes=3.0)
    nodes, wanted = made.hourly_nodes(), made.hourly_desired()

    assert np.all(nodes >= 3.0 - 1e-9)
    assert np.all(nodes <= wanted + 1e-9)
    if delay == 0:
        assert nodes == pytest.approx(wanted)


# --- The engine of formulas ---


@given(st.floats(1e-3, 1e3))
def test_provisioned_nodes_are_proportional_to_the_load(factor):
    """Without step, floor, delay and limit: to 1e-12."""
    more = replace(DAY, streams=tuple(replace(s, requests_per_day=s.requests_per_day * factor) for s in DAY.streams))
    ratio = served_day(more).provisioned_node_hours / served_day(DAY).provisioned_node_hours

    assert np.all(np.abs(ratio / factor - 1) < 1e-12)


@given(st.floats(1e-2, 1e2))
def test_compute_intensity_moves_the_nodes_and_not_the_speed(factor):
    heavier = replace(
        DAY,
        streams=tuple(
            replace(s, input_weight=s.input_weight * factor, output_weight=s.output_weight * factor)
            for s in DAY.streams
        ),
    )
    before, after = served_day(DAY), served_day(heavier)

    assert np.all(np.abs(after.provisioned_node_hours / before.provisioned_node_hours / factor - 1) < 1e-12)
    assert after.user_speed_tokens_per_s == pytest.approx(before.user_speed_tokens_per_s, rel=1e-12)


def test_a_fleet_at_its_target_is_what_packing_needs():
    result = served_day(DAY)

    assert result.work_node_hours == pytest.approx(result.provisioned_node_hours)
    assert result.share_of_capacity.max() < 1
    assert result.requests.sum() == pytest.approx(5.9e7)
    assert result.cached_tokens.sum() == pytest.approx(0.4 * result.input_tokens.sum())


def test_a_short_fleet_serves_its_capacity_and_loses_the_rest_if_somebody_has_no_patience():
    """Half of the nodes of the peak: at the largest batch the work fills the nodes in the hours that are short."""
    peak = served_day(DAY).provisioned_node_hours.max()
    streams = tuple(replace(stream, patience_s=20.0) for stream in DAY.streams)
    result = served_day(replace(DAY, streams=streams, available_nodes=peak / 2))
    short = result.lost.sum(axis=1) > 0

    assert result.least_node_hours[short] == pytest.approx(np.full(short.sum(), peak / 2))
    assert 0 < short.sum() < 24
    assert result.desired_node_hours.max() == pytest.approx(peak)
    assert result.idle_node_hours.min() == 0
    assert result.idle_node_hours.max() == pytest.approx(peak / 2 - result.provisioned_node_hours.min())


def test_the_patient_queue_and_are_served_at_night():
    """Tokens of the whole day are served in the end; the wait is longest when the backlog is."""
    least = served_day(DAY).least_node_hours
    result = served_day(replace(DAY, available_nodes=1.1 * least.mean()))

    assert result.lost.sum() == 0
    assert result.ttft_s.mean.max() > 600
    assert np.all(result.least_node_hours <= 1.1 * least.mean() * (1 + 1e-9))


def test_repairs_cost_capacity_and_not_provisioned_nodes():
    """MTBF 20 days, repair 12 h: 2.5 % of the nodes are down; each node fails 1/480 of an hour."""
    failing = replace(DAY, serving=SPLIT.model_copy(update={"failures": Failures(mtbf_days=20.0, repair_hours=12.0)}))
    before, after = served_day(DAY), served_day(failing)

    assert after.provisioned_node_hours == pytest.approx(before.provisioned_node_hours)
    assert after.failures == pytest.approx(before.provisioned_node_hours / 480)
    assert after.tpot_s.mean.min() > before.tpot_s.mean.max()


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (4, 2.8), (30, 27.0)])
def test_waiting_for_lanes_is_near_erlang_c(servers, load):
    """Services of mean 2 s, exponential, so of mean square 8 s^2; Sakasegawa's formula is exact for one server."""
    one = np.array([1.0])
    wait_s = lane_wait_s(lanes=servers * one, intensity=load / servers * one, mean_s=2 * one, mean_square_s2=8 * one)
    expected = mmc_mean_waiting_time_s(load / 2, 2.0, servers)

    assert wait_s[0] == pytest.approx(expected, rel=1e-9 if servers == 1 else 0.1)


def test_a_day_takes_its_time_on_the_clock():
    """24 hours and the one before them, of 60 s each."""
    env = simpy.Environment(initial_time=777.0)
    env.run(engine("closed_form").serve(env, replace(DAY, seconds_per_hour=60.0), Draws(seed=1, replication=0)))

    assert env.now == 777.0 + 25 * 60


def test_an_engine_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(UsageError, match="engine must be one of compiled, simpy, closed_form, not 'gpu'"):
        engine("gpu")
