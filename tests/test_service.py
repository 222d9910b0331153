"""From usage to served days, and from them to the month's GPU-hours."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
from worlds import SERVING, WORKLOAD, arms_of, fleet, region, segment, world

from jevons.market import SegmentMarket
from jevons.months import SegmentMonth
from jevons.service import computed_month, day_factor, days_to_serve, requests_of, served_month, single_days
from jevons.serving import ServedDay
from jevons.serving.interface import Latencies, StreamLatencies
from jevons.units import month_average

TALKING = world(segment(workload="talk"), segment(workload="talk", tokens_per_day=5e9), serving=SERVING)
MARKETS = [
    SegmentMarket(TALKING, name, "here", requests_of(TALKING, TALKING.segments[name])) for name in ("chat", "code")
]

#: Compute of a million tokens: of 1200, 675 computed at 110 and 300 written at 560 GPU-s a million.
AT_START = (675.0 * 110.0 + 300.0 * 560.0) / 1200.0


def month(name: str, tokens_per_day: float, gpu_seconds_per_mtok: float) -> SegmentMonth:
    """A segment's month before it is served."""
    return SegmentMonth(
        segment=name,
        region="here",
        is_served=True,
        price_usd_per_mtok=8.0,
        full_price_usd_per_mtok=9.0,
        unit_cost_usd_per_mtok=0.5,
        exogenous_tokens_per_day=tokens_per_day,
        price_response=1.0,
        capability_response=1.0,
        tokens_per_task=1.0,
        gpu_seconds_per_mtok=gpu_seconds_per_mtok,
    )


def day(provisioned: list[float], **changes) -> ServedDay:
    """A day of two streams and as many hours as there are numbers."""
    hours, node_hours = len(provisioned), np.array(provisioned)
    none = Latencies(**{name: np.full(hours, nan) for name in ("mean", "p50", "p95", "p99")})
    fields = {
        "requests": np.full((hours, 2), 20.0),
        "lost": np.zeros((hours, 2)),
        "input_tokens": np.zeros((hours, 2)),
        "cached_tokens": np.zeros((hours, 2)),
        "output_tokens": np.zeros((hours, 2)),
        "provisioned_node_hours": node_hours,
        "busy_node_hours": 0.9 * node_hours,
        "work_node_hours": 0.75 * node_hours,
        "least_node_hours": 0.4 * node_hours,
        "desired_node_hours": 1.2 * node_hours,
        "idle_node_hours": np.zeros(hours),
        "failures": np.zeros(hours),
        "ttft_s": none,
        "tpot_s": none,
        "stream_latencies": StreamLatencies(
            mean_ttft_s=np.array([0.5, nan]),
            p95_ttft_s=np.array([1.5, nan]),
            mean_tpot_s=np.array([0.02, nan]),
            mean_latency_s=np.array([99.0, nan]),
        ),
        "user_speed_tokens_per_s": 50.0,
        "share_simulated": 1.0,
    }
    return ServedDay(**{**fields, **changes})


def test_a_request_is_made_of_the_means_of_its_workload():
    requests = requests_of(TALKING, TALKING.segments["chat"])

    assert (requests.input_tokens, requests.output_tokens, requests.cached_share) == (900.0, 300.0, 0.25)


def test_without_a_workload_the_share_of_input_says_what_a_request_is_made_of():
    requests = requests_of(world(), segment(input_share=0.7))

    assert requests.input_tokens / requests.tokens == pytest.approx(0.7)
    assert requests.cached_share == 0.0


def test_a_week_of_weekdays_and_weekends_is_the_month():
    """Days of the weekend carry 0.6 of a weekday's load: 7/6.2 and 4.2/6.2 of the average."""
    weekday, weekend = (day_factor(WORKLOAD, is_weekend) for is_weekend in (False, True))

    assert (weekday, weekend) == pytest.approx((7.0 / 6.2, 4.2 / 6.2))
    assert month_average(weekday, weekend) == pytest.approx(1.0)


def test_the_streams_of_a_day_carry_the_usage_and_its_compute():
    """3e9 tokens are 2.5 million requests of 1200; half the intensity of the start is half the weight."""
    months = [month("chat", np.array([3e9]), 0.5 * AT_START), month("code", np.array([5e9]), AT_START)]
    days = days_to_serve(TALKING, list(zip(MARKETS, months, strict=True)), 640.0)
    assert days is not None
    weekday, weekend = single_days(days, worlds=1)
    first, second = weekday.streams

    assert (weekday.weekend, weekend.weekend) == (False, True)
    assert first.requests_per_day == pytest.approx(2.5e6 * 7.0 / 6.2)
    assert weekend.streams[1].requests_per_day == pytest.approx(5e9 / 1200.0 * 4.2 / 6.2)
    assert first.input_weight == pytest.approx(0.5 * second.input_weight)
    assert first.output_weight == pytest.approx(0.5 * second.output_weight)
    assert weekday.available_nodes == 160.0


def test_the_weights_of_a_stream_are_its_compute_over_the_nodes_own():
    """4 GPUs by 25,000 prompt tokens a second are 160 GPU-s a million; a step of 0.03 s by 200, and 2e-5, 680."""
    months = [month("chat", 3e9, AT_START)]
    days = days_to_serve(TALKING, [(MARKETS[0], months[0])], 640.0)

    assert days is not None
    assert days.streams[0].input_weight == pytest.approx(110.0 / 160.0)
    assert days.streams[0].output_weight == pytest.approx(560.0 / 680.0)


def test_a_stack_of_days_is_the_days_of_its_worlds():
    """Two worlds: the weekdays of both, then the weekends of both, each with its own load and nodes."""
    months = [month("chat", np.array([3e9, 9e9]), AT_START), month("code", np.array([5e9, 7e9]), AT_START)]
    days = days_to_serve(TALKING, list(zip(MARKETS, months, strict=True)), np.array([640.0, 320.0]))
    assert days is not None
    single = single_days(days, worlds=2)

    assert [day.weekend for day in single] == [False, False, True, True]
    assert [day.available_nodes for day in single] == [160.0, 80.0, 160.0, 80.0]
    assert [day.streams[0].requests_per_day for day in single] == pytest.approx(
        [2.5e6 * 7.0 / 6.2, 7.5e6 * 7.0 / 6.2, 2.5e6 * 4.2 / 6.2, 7.5e6 * 4.2 / 6.2]
    )
    assert {type(stream.input_weight) for day in single for stream in day.streams} == {float}


def test_without_a_serving_table_no_day_is_served():
    assert days_to_serve(world(), [(MARKETS[0], month("chat", 3e9, 245.0))], 640.0) is None
    assert days_to_serve(TALKING, [], 640.0) is None


def test_a_served_month_by_hand():
    """Weekday 10 + 30 nodes for an hour each, weekend 5 + 9: (5 x 40 + 2 x 14)/7 node-hours of 4 GPUs."""
    served = served_month((day([10.0, 30.0]), day([5.0, 9.0])), MARKETS, SERVING, available_h100e=150.0)
    gpu_hours = 4.0 * (5 * 40.0 + 2 * 14.0) / 7

    assert served.gpu_hours == pytest.approx(gpu_hours)
    assert served.wanted_gpu_hours == pytest.approx(1.2 * gpu_hours)
    assert served.busy_gpu_hours == pytest.approx(0.9 * gpu_hours)
    assert served.packing == pytest.approx(0.75)
    assert served.peak_h100e == pytest.approx(4.0 * 1.2 * 30.0)
    # Nodes that are not lent are kept for the peak, day and night: 30 of 37.5.
    assert served.idle_gpu_hours == pytest.approx(24.0 * (150.0 - 120.0))


def test_nodes_that_are_lent_leave_all_that_is_not_switched_on():
    lending = SERVING.model_copy(update={"lend_idle_nodes": True})
    served = served_month((day([10.0, 30.0]), day([5.0, 9.0])), MARKETS, lending, available_h100e=150.0)

    assert served.idle_gpu_hours == pytest.approx(24.0 * 150.0 - served.gpu_hours)


def test_the_share_lost_is_that_of_all_requests():
    """8 of 80 on weekdays, none of 80 on weekends."""
    busy = day([10.0, 30.0], lost=np.array([[3.0, 0.0], [0.0, 5.0]]))
    served = served_month((busy, day([5.0, 9.0])), MARKETS, SERVING, available_h100e=150.0)

    assert served.lost_share == pytest.approx(5 / 7 * 0.1)


def test_latency_is_that_of_a_request_of_mean_length_and_unknown_where_nothing_was_served():
    """0.5 s to the first token and 300 of 0.02 s."""
    served = served_month((day([10.0]), day([5.0])), MARKETS, SERVING, available_h100e=150.0)

    assert served.latency_s == pytest.approx({"chat": 6.5, "code": nan}, nan_ok=True)


def test_without_queues_work_takes_what_it_computes_up_to_what_there_is():
    """3e9 tokens at 245 and 5e9 at 180 GPU-s a million are 204.2 + 250 GPU-hours; 15 GPUs have 360."""
    months = [month("chat", 3e9, 245.0), month("code", 5e9, 180.0)]
    enough, short = computed_month(months, 20.0), computed_month(months, 15.0)

    assert enough.gpu_hours == enough.wanted_gpu_hours == pytest.approx(245.0 / 1.2 + 250.0)
    assert enough.idle_gpu_hours == pytest.approx(480.0 - enough.gpu_hours)
    assert enough.peak_h100e == pytest.approx(enough.gpu_hours / 24.0)
    assert (short.gpu_hours, short.idle_gpu_hours) == (360.0, 0.0)
    assert short.lost_share == pytest.approx(1.0 - 360.0 / enough.gpu_hours)


def test_a_month_without_work_takes_nothing():
    nothing = computed_month([], 15.0)

    assert (nothing.gpu_hours, nothing.lost_share, nothing.idle_gpu_hours) == (0.0, 0.0, 360.0)


def test_through_served_days_a_segments_packed_hours_are_those_of_its_tokens():
    """Work done over work wanted: the fleet does in a day what its tokens need at the target batch."""
    here = arms_of(TALKING)["baseline"][0]
    work = sum(s.packed_gpu_hours_per_day for s in here.segments)
    done = 4.0 * month_average(*(float(d.work_node_hours.sum()) for d in here.regions[0].days))

    assert done == pytest.approx(work, rel=1e-9)


def test_a_fleet_that_is_too_small_turns_requests_away_and_shows_it():
    """3 H100e where about 7 are wanted: all of them work by day, and at the largest batch too much is left over."""
    impatient = segment(workload="talk", patience_s=30.0)
    scarce = world(impatient, serving=SERVING, regions={"here": region(fleet(2.0))})
    here = arms_of(scarce)["baseline"][0].regions[0]

    assert here.lost_share > 0.05
    assert here.utilisation is not None
    assert here.utilisation > 2.0
    assert 24.0 * 2.8 < here.serving_gpu_hours_per_day < 24.0 * 3.0
