"""What a day knows before it is served, in any engine: its rates, its requests, its plan of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from jevons.randomness import Draws, Floats
from jevons.scenario import Workload
from jevons.serving import sizing
from jevons.serving.autoscaling import NodePlan, decisions_in, interval_h, plan_of_load, plan_of_measurements
from jevons.serving.interface import Day
from jevons.serving.sizing import Load
from jevons.workload import Requests, overdispersed, poisson_blocks, poisson_requests


def actual_rates_per_s(day: Day, draws: Draws) -> Floats:
    """Rate of each stream in each hour, warm-up first, with what the day has of over-dispersion, 1/s."""
    rates_per_s = sizing.request_rates_per_s(day)
    if day.trace is not None:
        return rates_per_s
    return overdispersed(workloads_of(day), rates_per_s, draws)


def expected_requests(day: Day, rates_per_s: Floats) -> Floats:
    """Requests to be simulated of each hour and stream, warm-up first, shape (warm-up + h, s)."""
    return rates_per_s * (day.seconds_per_hour * day.share_simulated)


def number_expected(day: Day, rates_per_s: Floats) -> float:
    """Requests that are to be simulated: of a trace, those that will be."""
    return float(expected_requests(day, rates_per_s).sum()) if day.played is None else float(len(day.played))


def requests_of(day: Day, rates_per_s: Floats, draws: Draws) -> Requests:
    """The requests that are simulated: drawn, or those of the trace."""
    if day.played is not None:
        return day.played
    return poisson_requests(
        workloads_of(day),
        expected_requests(day, rates_per_s),
        span_s=day.seconds_per_hour,
        first_s=-day.warm_up_hours * day.seconds_per_hour,
        draws=draws,
    )


def blocks_of(day: Day, rates_per_s: Floats, draws: Draws, size: int) -> Iterator[Requests]:
    """The same requests where they are drawn, so many at a time."""
    return poisson_blocks(
        workloads_of(day),
        expected_requests(day, rates_per_s),
        span_s=day.seconds_per_hour,
        first_s=-day.warm_up_hours * day.seconds_per_hour,
        draws=draws,
        size=size,
    )


def workloads_of(day: Day) -> dict[str, Workload]:
    """Workloads of the streams by their names."""
    return {stream.name: stream.workload for stream in day.streams}


def plan_of(day: Day, rates_per_s: Floats, blocks: Iterable[Requests]) -> NodePlan:
    """Nodes over the day.

    A forecast knows the expected load; it does not know the over-dispersion.  A measurement sees the
    requests that came, here given block by block; in a thinned cell, whose few requests are noisier than those of the
    true pool, it sees the rates at which they came.
    """
    serving, known = day.serving, sizing.stream_moments(day)
    if serving.autoscaler.signal == "forecast":
        load = sizing.expected_load(day, sizing.request_rates_per_s(day), known)
        return plan_of_load(serving, load, day.available_nodes)
    if day.share_simulated < 1:
        return plan_of_load(serving, sizing.expected_load(day, rates_per_s, known), day.available_nodes)
    hours = day.warm_up_hours + day.hours
    load = load_of_blocks(
        day,
        blocks,
        interval_h(serving.autoscaler) * day.seconds_per_hour,
        decisions_in(serving.autoscaler, hours),
        first_s=-day.warm_up_hours * day.seconds_per_hour,
    )
    return plan_of_measurements(serving, load, hours, day.available_nodes)


def load_of_blocks(day: Day, blocks: Iterable[Requests], span_s: float, spans: int, first_s: float) -> Load:
    """Load that requests, given block by block, put on the fleet in each of a series of equal spans of time."""
    total = np.zeros((3, spans))
    for block in blocks:
        load = sizing.load_of_requests(day, block, span_s, spans, first_s)
        total += [load.prefill_tokens_per_s, load.decode_tokens_per_s, load.context_tokens2_per_s]
    return Load(prefill_tokens_per_s=total[0], decode_tokens_per_s=total[1], context_tokens2_per_s=total[2])
