"""From what was written down of the simulated requests to the hours of the true fleet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats
from jevons.serving import sizing
from jevons.serving.autoscaling import NodePlan
from jevons.serving.book import Book, Ledger, Tally
from jevons.serving.interface import Day, Flow, Latencies, Records, ServedDay, StreamLatencies
from jevons.serving.sizing import Load
from jevons.units import SECONDS_PER_HOUR
from jevons.workload import Requests

#: Largest relative difference between the two sides of Little's law that rounding of the clock explains.
ROUNDING = 1e-9


def flow_of(book: Ledger, first: list[Tally], second: list[Tally], now: float) -> Flow:
    """The account of the simulated requests, when the day closes.

    Raises
    ------
    AssertionError
        If a request has been lost on the way or Little's law does not hold: a fault of the engine.
    """
    for request in book.known():
        stage = book.stage[request]
        if stage is not None:
            stage.time_s += now - book.entered[request]
    flow = Flow(
        arrived=book.arrived,
        served=book.served,
        lost=book.gave_up,
        inside=sum(tally.inside for tally in (*first, *second)),
        prefill_area_s=sum(tally.area_s for tally in first),
        prefill_time_s=sum(tally.time_s for tally in first),
        decode_area_s=sum(tally.area_s for tally in second),
        decode_time_s=sum(tally.time_s for tally in second),
    )
    check(flow)
    return flow


def check(flow: Flow) -> None:
    """Raise AssertionError unless arrived = served + lost + inside, and L T = N W in both stages."""
    if flow.arrived != flow.served + flow.lost + flow.inside:
        raise AssertionError(f"requests do not add up: {flow}")
    for area_s, time_s in ((flow.prefill_area_s, flow.prefill_time_s), (flow.decode_area_s, flow.decode_time_s)):
        if abs(area_s - time_s) > ROUNDING * (area_s + flow.arrived):
            raise AssertionError(f"Little's law does not hold: {flow}")


def records_of(book: Book, requests: Requests, origin_s: float) -> Records:
    """What happened to each request that arrived, in seconds of the day."""
    n = book.arrived
    wait = np.array(book.step_wait[:n])
    return Records(
        arrival_s=requests.arrival_s[:n],
        prefill_start_s=np.array(book.prefill_start[:n]) - origin_s,
        first_token_s=np.array(book.first_token[:n]) + wait - origin_s,
        departure_s=np.array(book.departure[:n]) + wait - origin_s,
        lost=np.frombuffer(bytes(book.lost[:n]), dtype=np.bool_),
        stream=requests.stream[:n],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What is counted of the simulated requests, not yet scaled to the true fleet."""

    #: Requests that arrived in each hour, those of them that gave up, tokens of those that left in it: shape (h, s).
    requests: Floats
    lost: Floats
    input_tokens: Floats
    cached_tokens: Floats
    output_tokens: Floats
    ttft_s: Latencies
    tpot_s: Latencies
    stream_latencies: StreamLatencies
    user_speed_tokens_per_s: float


def measured_day(
    day: Day,
    plan: NodePlan,
    counts: Counts,
    totals: npt.ArrayLike,
    failures_h: Floats,
    flow: Flow | None,
    records: Records | None = None,
) -> ServedDay:
    """The hours of the true fleet, of a day or of a stack of days.

    `totals` were taken at the start of the day and at the end of each hour, shape (..., h + 1, 4).
    """
    warm_up, share = day.warm_up_hours, day.share_simulated
    # Simulated requests to those of the true fleet in a true hour.
    scale = np.asarray(SECONDS_PER_HOUR / day.seconds_per_hour / share)[..., None, None]
    done = np.diff(np.asarray(totals, dtype=np.float64), axis=-2) / day.seconds_per_hour
    served = Load(
        prefill_tokens_per_s=done[..., 0], decode_tokens_per_s=done[..., 1], context_tokens2_per_s=done[..., 2]
    )
    provisioned = plan.hourly_nodes()[..., warm_up:]
    failed = failures_h[failures_h >= warm_up].astype(np.int64) - warm_up
    return ServedDay(
        requests=scale * counts.requests,
        lost=scale * counts.lost,
        input_tokens=scale * counts.input_tokens,
        cached_tokens=scale * counts.cached_tokens,
        output_tokens=scale * counts.output_tokens,
        provisioned_node_hours=provisioned,
        busy_node_hours=done[..., 3],
        work_node_hours=sizing.nodes_needed(day.serving, served),
        least_node_hours=sizing.least_nodes(day.serving, served),
        desired_node_hours=plan.hourly_desired()[..., warm_up:],
        idle_node_hours=sizing.idle_nodes(day, provisioned),
        failures=np.broadcast_to(np.bincount(failed, minlength=day.hours).astype(np.float64), provisioned.shape),
        ttft_s=counts.ttft_s,
        tpot_s=counts.tpot_s,
        stream_latencies=counts.stream_latencies,
        user_speed_tokens_per_s=counts.user_speed_tokens_per_s,
        share_simulated=share,
        flow=flow,
        records=records if day.keep_records else None,
    )


def counts_of(day: Day, requests: Requests, records: Records) -> Counts:
    """What there is to count of single requests, with exact percentiles."""
    n = len(records.arrival_s)
    arrived_in = _hour_of(records.arrival_s, day)
    departed_in = _hour_of(records.departure_s, day)
    inputs, cached, outputs = (
        tokens[:n] for tokens in (requests.input_tokens, requests.cached_tokens, requests.output_tokens)
    )
    of_day = (arrived_in >= 0) & ~np.isnan(records.departure_s)
    ttft_s = (records.first_token_s - records.arrival_s)[of_day]
    decode_s = (records.departure_s - records.first_token_s)[of_day]
    tpot_s = decode_s / outputs[of_day]
    return Counts(
        requests=_counts(day, arrived_in, records.stream, np.ones(n)),
        lost=_counts(day, arrived_in, records.stream, records.lost.astype(np.float64)),
        input_tokens=_counts(day, departed_in, records.stream, inputs),
        cached_tokens=_counts(day, departed_in, records.stream, cached),
        output_tokens=_counts(day, departed_in, records.stream, outputs),
        ttft_s=_latencies(day, arrived_in[of_day], ttft_s),
        tpot_s=_latencies(day, arrived_in[of_day], tpot_s),
        stream_latencies=_stream_latencies(day, records.stream[of_day], ttft_s, tpot_s, ttft_s + decode_s),
        user_speed_tokens_per_s=_ratio(float(outputs[of_day].sum()), float(decode_s.sum())),
    )


def _hour_of(times_s: Floats, day: Day) -> npt.NDArray[np.int64]:
    """Hour of the day of each time; -1 in the warm-up, after the close and for NaN."""
    hours = np.floor(np.nan_to_num(times_s, nan=-1.0) / day.seconds_per_hour).astype(np.int64)
    return np.where((hours >= 0) & (hours < day.hours), hours, -1)


def _counts(day: Day, hour: npt.NDArray[np.int64], stream: npt.NDArray[np.int64], amounts: Floats) -> Floats:
    """Sum of the amounts of each hour and stream, shape (h, s)."""
    streams, inside = len(day.streams), hour >= 0
    cells = hour[inside] * streams + stream[inside]
    sums = np.bincount(cells, amounts[inside], day.hours * streams).reshape(day.hours, streams)
    return np.asarray(sums, dtype=np.float64)


def _latencies(day: Day, hour: npt.NDArray[np.int64], values: Floats) -> Latencies:
    order = np.lexsort((values, hour))
    bounds = np.searchsorted(hour[order], np.arange(day.hours + 1))
    rows = [_summary(values[order[low:high]]) for low, high in pairwise(bounds.tolist())]
    mean, p50, p95, p99 = np.array(rows).T
    return Latencies(mean=mean, p50=p50, p95=p95, p99=p99)


def _summary(rising: Floats) -> tuple[float, float, float, float]:
    """Mean and three percentiles of values in rising order; NaN of none."""
    if not len(rising):
        return (np.nan, np.nan, np.nan, np.nan)
    return (float(rising.mean()), quantile(rising, 0.5), quantile(rising, 0.95), quantile(rising, 0.99))


def quantile(rising: Floats, p: float) -> float:
    """Quantile of values in rising order, linear between them, as `numpy.quantile` has it."""
    place = p * (len(rising) - 1)
    below = int(place)
    above = min(below + 1, len(rising) - 1)
    return float(rising[below] + (place - below) * (rising[above] - rising[below]))


def _stream_latencies(
    day: Day, stream: npt.NDArray[np.int64], ttft_s: Floats, tpot_s: Floats, latency_s: Floats
) -> StreamLatencies:
    own = [stream == index for index in range(len(day.streams))]
    return StreamLatencies(
        mean_ttft_s=np.array([_mean(ttft_s[mask]) for mask in own]),
        p95_ttft_s=np.array([quantile(np.sort(ttft_s[mask]), 0.95) if mask.any() else np.nan for mask in own]),
        mean_tpot_s=np.array([_mean(tpot_s[mask]) for mask in own]),
        mean_latency_s=np.array([_mean(latency_s[mask]) for mask in own]),
    )


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
