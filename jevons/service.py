"""A region's month of serving: from its usage to two served days, and from them to the month's GPU-hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from jevons.market import Requests, SegmentMarket
from jevons.months import SegmentMonth
from jevons.scenario import Scenario, Segment, Serving, Workload
from jevons.serving import Day, ServedDay, Stream, reference_gpu_seconds_per_mtok
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
    gpu_hours: float
    wanted_gpu_hours: float
    busy_gpu_hours: float
    #: What is left for the budgets.
    idle_gpu_hours: float
    #: Share of the GPU-hours that perfectly packed work would need.
    packing: float
    peak_h100e: float
    lost_share: float
    latency_s: Mapping[str, float]


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
    available_h100e: float,
) -> tuple[Day, ...]:
    """The weekday and the day of the weekend that stand for a region's month; none where nothing is served."""
    serving = scenario.serving
    if serving is None or not served:
        return ()
    return tuple(
        Day(
            streams=tuple(_stream(scenario, serving, market, month, weekend) for market, month in served),
            serving=serving,
            available_nodes=available_h100e / serving.gpus_per_node,
            weekend=weekend,
            seconds_per_hour=SECONDS_PER_MINUTE * scenario.run.sampled_minutes_per_hour,
            requests_simulated=scenario.run.resolution,
        )
        for weekend in (False, True)
    )


def _stream(scenario: Scenario, serving: Serving, market: SegmentMarket, month: SegmentMonth, weekend: bool) -> Stream:
    segment = market.segment
    workload = workload_of(scenario, segment)
    assert workload is not None, "a served segment has a workload: the scenario is checked"
    reference_input, reference_output = reference_gpu_seconds_per_mtok(serving)
    compute = market.compute_factor(month.gpu_seconds_per_mtok)
    return Stream(
        name=market.name,
        requests_per_day=month.tokens_per_day / market.requests.tokens * day_factor(workload, weekend),
        workload=workload,
        input_weight=segment.gpu_seconds_per_mtok_input * compute / reference_input,
        output_weight=segment.gpu_seconds_per_mtok_output * compute / reference_output,
        interactive=segment.priority == "interactive",
        patience_s=segment.patience_s,
    )


def day_factor(workload: Workload, weekend: bool) -> float:
    """Load of a weekday, or of a day of the weekend, over the average day's."""
    average = month_average(1.0, workload.weekend_factor)
    return (workload.weekend_factor if weekend else 1.0) / average


def served_month(
    days: tuple[ServedDay, ...], markets: Sequence[SegmentMarket], serving: Serving, available_h100e: float
) -> Served:
    """The month that a served weekday and a served day of the weekend stand for.

    Parameters
    ----------
    days : tuple of ServedDay
        The weekday and the day of the weekend.
    markets : sequence of SegmentMarket
        Those whose requests were served, in the order of the days' streams.
    serving : Serving
    available_h100e : float, H100e
        GPUs installed and powered.
    """
    gpus = serving.gpus_per_node

    def gpu_hours(name: str) -> float:
        return gpus * month_average(*(float(getattr(day, name).sum()) for day in days))

    provisioned = gpu_hours("provisioned_node_hours")
    requests = month_average(*(float(day.requests.sum()) for day in days))
    lost = month_average(*(float(day.lost.sum()) for day in days))
    used_at_most = HOURS_PER_DAY * gpus * max(float(day.provisioned_node_hours.max()) for day in days)
    used = provisioned if serving.lend_idle_nodes else used_at_most
    return Served(
        days=days,
        gpu_hours=provisioned,
        wanted_gpu_hours=gpu_hours("desired_node_hours"),
        busy_gpu_hours=gpu_hours("busy_node_hours"),
        idle_gpu_hours=max(HOURS_PER_DAY * available_h100e - used, 0.0),
        packing=gpu_hours("work_node_hours") / provisioned if provisioned > 0 else 1.0,
        peak_h100e=gpus * max(float(day.desired_node_hours.max()) for day in days),
        lost_share=lost / requests if requests > 0 else 0.0,
        latency_s=_latencies(days, markets),
    )


def _latencies(days: tuple[ServedDay, ...], markets: Sequence[SegmentMarket]) -> dict[str, float]:
    """Time from request to last token of each segment, of a request of mean length.

    Of the sample only the speed is taken: its lengths are as heavy-tailed as they are few, while their mean is
    known.  Segments of which nothing was served are left out.
    """
    latencies = {
        market.name: month_average(*(_latency_s(day, i, market.requests.output_tokens) for day in days))
        for i, market in enumerate(markets)
    }
    return {name: latency for name, latency in latencies.items() if isfinite(latency)}


def _latency_s(day: ServedDay, stream: int, output_tokens: float) -> float:
    streams = day.stream_latencies
    return float(streams.mean_ttft_s[stream] + output_tokens * streams.mean_tpot_s[stream])


def computed_month(served: Sequence[SegmentMonth], available_h100e: float) -> Served:
    """The month without a serving table: work takes the GPU-hours it computes, no more and no queue."""
    wanted = sum(month.packed_gpu_hours_per_day for month in served)
    available = HOURS_PER_DAY * available_h100e
    allocated = min(wanted, available)
    return Served(
        days=(),
        gpu_hours=allocated,
        wanted_gpu_hours=wanted,
        busy_gpu_hours=allocated,
        idle_gpu_hours=available - allocated,
        packing=1.0,
        peak_h100e=wanted / HOURS_PER_DAY,
        lost_share=1.0 - allocated / wanted if wanted > 0 else 0.0,
        latency_s={},
    )
