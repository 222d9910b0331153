"""A region's month of serving: from its usage to two served days, and from them to the month's GPU-hours.

Numbers are those of one world, or arrays of shape (worlds,) for a stack of worlds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from jevons.market import Requests, SegmentMarket
from jevons.months import SegmentMonth
from jevons.scenario import Scenario, Segment, Serving, Workload
from jevons.serving import Day, ServedDay, Stream, reference_gpu_seconds_per_mtok
from jevons.stacks import PerWorld, larger, ratio, smaller
from jevons.units import (
    HOURS_PER_DAY,
    SECONDS_PER_MINUTE,
    month_average,
)
from jevons.workload import mean_tokens

#: Tokens of a request where no workload tells them; only their shares matter.
TOKENS_OF_NO_WORKLOAD = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A region's month of serving; GPU-hours are H100-equivalents a day."""

    days: tuple[ServedDay, ...]
    gpu_hours: PerWorld
    wanted_gpu_hours: PerWorld
    busy_gpu_hours: PerWorld
    #: What is left for the budgets.
    idle_gpu_hours: PerWorld
    #: Share of the GPU-hours that perfectly packed work would need.
    packing: PerWorld
    peak_h100e: PerWorld
    lost_share: PerWorld
    #: From request to last token of each served segment; NaN where nothing of it was served.
    latency_s: Mapping[str, PerWorld]


def requests_of(scenario: Scenario, segment: Segment) -> Requests:
    """What a request of a segment is made of: its workload's means, or its share of input alone."""
    workload = workload_of(scenario, segment)
    if workload is None or workload.input_tokens is None or workload.output_tokens is None:
        share = segment.input_share
        return Requests(
            input_tokens=TOKENS_OF_NO_WORKLOAD * share,
            output_tokens=TOKENS_OF_NO_WORKLOAD * (1.0 - share),
            cached_share=0.0,
        )
    return Requests(
        input_tokens=mean_tokens(workload.input_tokens),
        output_tokens=mean_tokens(workload.output_tokens),
        cached_share=workload.cached_share,
    )


def workload_of(scenario: Scenario, segment: Segment) -> Workload | None:
    """The workload of a segment, None for one that has none."""
    return None if segment.workload is None else scenario.workloads[segment.workload]


def days_to_serve(
    scenario: Scenario,
    served: Sequence[tuple[SegmentMarket, SegmentMonth]],
    available_h100e: PerWorld,
) -> Day | None:
    """The weekday and the day of the weekend that stand for a region's month, as a stack of days of shape (2, ...).

    None where nothing is served.
    """
    serving = scenario.serving
    if serving is None or not served:
        return None
    return Day(
        streams=tuple(_stream(scenario, serving, market, month) for market, month in served),
        serving=serving,
        available_nodes=available_h100e / serving.gpus_per_node,
        seconds_per_hour=SECONDS_PER_MINUTE * scenario.run.sampled_minutes_per_hour,
        requests_simulated=scenario.run.resolution,
    )


def _stream(scenario: Scenario, serving: Serving, market: SegmentMarket, month: SegmentMonth) -> Stream:
    segment = market.segment
    workload = workload_of(scenario, segment)
    assert workload is not None, "a served segment has a workload: the scenario is checked"
    reference_input, reference_output = reference_gpu_seconds_per_mtok(serving)
    compute = market.compute_factor(month.gpu_seconds_per_mtok)
    factors = [day_factor(workload, weekend) for weekend in (False, True)]
    return Stream(
        name=market.name,
        requests_per_day=cast(float, np.multiply.outer(factors, month.served_tokens_per_day / market.requests.tokens)),
        workload=workload,
        input_weight=segment.gpu_seconds_per_mtok_input * compute / reference_input,
        output_weight=segment.gpu_seconds_per_mtok_output * compute / reference_output,
        interactive=segment.priority == "interactive",
        patience_s=segment.patience_s,
    )


def single_days(days: Day, worlds: int) -> list[Day]:
    """The days of a stack of shape (2, worlds), one by one: the weekday of each world, then the weekend of each."""
    shape = (2, worlds)
    available = np.broadcast_to(days.available_nodes, shape).ravel().tolist()
    streams = zip(*(_single_streams(stream, shape) for stream in days.streams), strict=True)
    return [
        Day(
            streams=own,
            serving=days.serving,
            available_nodes=nodes,
            weekend=number >= worlds,
            seconds_per_hour=days.seconds_per_hour,
            requests_simulated=days.requests_simulated,
        )
        for number, (own, nodes) in enumerate(zip(streams, available, strict=True))
    ]


def _single_streams(stream: Stream, shape: tuple[int, int]) -> list[Stream]:
    numbers = (stream.requests_per_day, stream.input_weight, stream.output_weight)
    return [
        Stream(
            name=stream.name,
            requests_per_day=requests,
            workload=stream.workload,
            input_weight=of_input,
            output_weight=of_output,
            interactive=stream.interactive,
            patience_s=stream.patience_s,
        )
        for requests, of_input, of_output in zip(
            *(np.broadcast_to(number, shape).ravel().tolist() for number in numbers), strict=True
        )
    ]


def day_factor(workload: Workload, weekend: bool) -> float:
    """Load of a weekday, or of a day of the weekend, over the average day's."""
    average = month_average(1.0, workload.weekend_factor)
    return (workload.weekend_factor if weekend else 1.0) / average


def served_month(
    days: tuple[ServedDay, ServedDay], markets: Sequence[SegmentMarket], serving: Serving, available_h100e: PerWorld
) -> Served:
    """The month that a served weekday and a served day of the weekend stand for.

    Parameters
    ----------
    days : tuple of ServedDay, of arrays of shape (..., h) or (..., h, s)
        The weekday and the day of the weekend.
    markets : sequence of SegmentMarket, shape (s,)
        Those whose requests were served, in the order of the days' streams.
    serving : Serving
    available_h100e : array_like, shape (...), H100e
        GPUs installed and powered.
    """
    gpus = serving.gpus_per_node

    def gpu_hours(name: str) -> PerWorld:
        return gpus * month_average(*(getattr(day, name).sum(axis=-1) for day in days))

    def largest(name: str) -> PerWorld:
        return larger(*(getattr(day, name).max(axis=-1) for day in days))

    def requests(name: str) -> PerWorld:
        return month_average(*(getattr(day, name).sum(axis=(-2, -1)) for day in days))

    provisioned = gpu_hours("provisioned_node_hours")
    used_at_most = HOURS_PER_DAY * gpus * largest("provisioned_node_hours")
    used = provisioned if serving.lend_idle_nodes else used_at_most
    return Served(
        days=days,
        gpu_hours=provisioned,
        wanted_gpu_hours=gpu_hours("desired_node_hours"),
        busy_gpu_hours=gpu_hours("busy_node_hours"),
        idle_gpu_hours=larger(HOURS_PER_DAY * available_h100e - used, 0.0),
        packing=ratio(gpu_hours("work_node_hours"), provisioned, otherwise=1.0),
        peak_h100e=gpus * largest("desired_node_hours"),
        lost_share=ratio(requests("lost"), requests("requests"), otherwise=0.0),
        latency_s={
            market.name: month_average(*(_latency_s(day, i, market.requests.output_tokens) for day in days))
            for i, market in enumerate(markets)
        },
    )


def _latency_s(day: ServedDay, stream: int, output_tokens: float) -> PerWorld:
    """Time from request to last token of a segment, of a request of mean length.

    Of the sample only the speed is taken: its lengths are as heavy-tailed as they are few, while their mean is
    known.
    """
    streams = day.stream_latencies
    ttft_s, tpot_s = streams.mean_ttft_s[..., stream], streams.mean_tpot_s[..., stream]
    return cast(float, ttft_s + output_tokens * tpot_s)


def computed_month(served: Sequence[SegmentMonth], available_h100e: PerWorld) -> Served:
    """The month without a serving table: work takes the GPU-hours it computes, no more and no queue."""
    wanted: PerWorld = sum(month.packed_gpu_hours_per_day for month in served)
    available = HOURS_PER_DAY * available_h100e
    allocated = smaller(wanted, available)
    return Served(
        days=(),
        gpu_hours=allocated,
        wanted_gpu_hours=wanted,
        busy_gpu_hours=allocated,
        idle_gpu_hours=available - allocated,
        packing=1.0,
        peak_h100e=wanted / HOURS_PER_DAY,
        lost_share=1.0 - ratio(allocated, wanted, otherwise=1.0),
        latency_s={},
    )
