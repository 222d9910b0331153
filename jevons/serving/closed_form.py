"""The engine without events: a day from the sizing formulas, hour by hour, without noise.

It takes the same day as the simulation and is the limit of it for a large pool: batches balance, nothing
fluctuates.  Waiting is that of the prefill lanes in steady state; a load above what the nodes can do at the
largest batch is lost if a stream has patience, and otherwise queues, and is served when there is room.
Percentiles it does not know.

The day may be a stack of days, of several worlds and kinds of day: then the numbers of its streams and its nodes
are arrays of a leading shape (...), and so are those of the day served.  One day has the shape ().
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import nan

import numpy as np
import simpy

from jevons.randomness import Draws, Floats
from jevons.serving import sizing
from jevons.serving.autoscaling import plan_of_load
from jevons.serving.interface import Day, Latencies, ServedDay, StreamLatencies
from jevons.serving.sizing import Load
from jevons.stacks import PerWorld, ratio
from jevons.units import SECONDS_PER_HOUR
from jevons.workload import Moments

#: Traffic intensity of the prefill lanes is held below this: at 1 there is no steady state, and overload
#: shows in decode, since the split of the nodes keeps both in balance.
LARGEST_LANE_INTENSITY = 0.99


def serve(env: simpy.Environment, day: Day, draws: Draws) -> simpy.Event:  # noqa: ARG001 (engines share a signature)
    """Serve a day, or a stack of them, by formula; the event succeeds when the day is over on the clock."""
    return env.timeout(day.duration_s, served_day(day))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Latency:
    """What a layout makes of the load, hour by hour."""

    #: Arrival to first token of each stream, s, shape (..., h, s).
    ttft_s: Floats
    #: Time for each output token, s, shape (..., h).
    tpot_s: Floats
    #: Nodes with at least one sequence, shape (..., h).
    busy_nodes: Floats


def served_day(day: Day) -> ServedDay:
    """What comes of a day at expected rates in a large pool."""
    serving = day.serving
    known = sizing.stream_moments(day)
    rates = _hours_side_by_side(sizing.request_rates_per_s(day))
    load = sizing.expected_load(day, rates, known)
    plan = plan_of_load(serving, load, day.available_nodes)
    load, rates = load.after(day.warm_up_hours), rates[..., day.warm_up_hours :, :]
    desired, provisioned = (hourly[..., day.warm_up_hours :] for hourly in (plan.hourly_desired(), plan.hourly_nodes()))

    nodes = provisioned * sizing.availability(serving)
    served_share, wait_s = _served(day, load, nodes)
    served, served_rates = load.times(served_share), rates * served_share[..., None]
    layout = _colocated if serving.layout == "colocated" else _disaggregated
    latency = layout(day, known, served_rates, served, nodes)
    ttft_s = latency.ttft_s + wait_s[..., None]

    requests = rates * SECONDS_PER_HOUR
    finished = served_rates * SECONDS_PER_HOUR
    lost_share = np.maximum(0.0, 1 - served_share) if _may_lose(day) else np.zeros_like(served_share)
    output_tokens = finished * [m.output_tokens for m in known]
    return ServedDay(
        requests=requests,
        lost=requests * lost_share[..., None],
        input_tokens=finished * [m.input_tokens for m in known],
        cached_tokens=finished * [m.input_tokens - m.uncached_tokens for m in known],
        output_tokens=output_tokens,
        provisioned_node_hours=provisioned,
        busy_node_hours=latency.busy_nodes,
        work_node_hours=sizing.nodes_needed(serving, served),
        least_node_hours=sizing.least_nodes(serving, served),
        desired_node_hours=desired,
        idle_node_hours=sizing.idle_nodes(day, provisioned),
        failures=sizing.failures_per_hour(serving, provisioned),
        ttft_s=_means_only(_weighted_mean(ttft_s, finished, sizing.over_streams)),
        tpot_s=_means_only(latency.tpot_s),
        stream_latencies=_stream_latencies(known, finished, ttft_s, latency.tpot_s),
        user_speed_tokens_per_s=_user_speed(sizing.over_streams(output_tokens), latency.tpot_s),
        share_simulated=1.0,
    )


def _hours_side_by_side(rates: Floats) -> Floats:
    """The same, shape (..., h, s), with the hours of a stream together in memory: streams are few."""
    return np.swapaxes(np.ascontiguousarray(np.swapaxes(rates, -1, -2)), -1, -2)


def _may_lose(day: Day) -> bool:
    return any(stream.patience_s is not None for stream in day.streams)


def _served(day: Day, load: Load, nodes: Floats) -> tuple[Floats, Floats]:
    """Tokens served over tokens wanted, and the wait of those who wait for a slot, s; both of shape (..., h)."""
    least = sizing.least_nodes(day.serving, load)
    if not _may_lose(day):
        return _worked_off(least, nodes)
    overloaded = least > nodes
    share = np.divide(nodes, least, out=np.ones_like(nodes), where=overloaded)
    patience = [stream.patience_s for stream in day.streams if stream.patience_s is not None]
    # First come, first served at an overloaded fleet: who is served has waited nearly until the patience ends.
    return share, np.where(overloaded, sum(patience) / len(patience), 0.0)


def _worked_off(least: Floats, nodes: Floats) -> tuple[Floats, Floats]:
    done, wait_s = np.ones_like(nodes), np.zeros_like(nodes)
    backlog = np.zeros_like(nodes[..., 0])
    for hour in range(nodes.shape[-1]):
        wanted, capacity = least[..., hour], nodes[..., hour]
        work = np.where(wanted > 0, np.minimum(wanted + backlog, capacity), 0.0)
        later = wanted + backlog - work
        np.divide(work, wanted, out=done[..., hour], where=wanted > 0)
        np.divide((backlog + later) / 2 * SECONDS_PER_HOUR, capacity, out=wait_s[..., hour], where=capacity > 0)
        backlog = later
    return done, wait_s


def _disaggregated(day: Day, known: list[Moments], rates: Floats, load: Load, nodes: Floats) -> _Latency:
    """Prefill in lanes with the wait of an M/G/c queue; decode at the batch that balances it."""
    serving = day.serving
    share = sizing.prefill_share(serving, load, nodes)
    for_prefill, for_decode = nodes * share, nodes * (1 - share)
    prefilling = sizing.prefill_nodes(serving, load)
    lane_s_per_token = sizing.prefill_node_seconds(serving) * serving.prefill_lanes
    service_s = (_weighted_prompts(day, known) * lane_s_per_token)[..., None, :]
    wait_s = lane_wait_s(
        lanes=for_prefill * serving.prefill_lanes,
        intensity=_ratio(prefilling, for_prefill),
        mean_s=_weighted_mean(service_s, rates, sizing.over_streams),
        mean_square_s2=_weighted_mean(service_s**2 * [1 + m.input_scv for m in known], rates, sizing.over_streams),
    )
    tpot_s = sizing.balanced_step_s(serving, load, for_decode)
    decoding = _sequences(known, rates, tpot_s)
    busy = np.minimum(prefilling * serving.prefill_lanes, for_prefill) + np.minimum(decoding, for_decode)
    return _Latency(ttft_s=service_s + wait_s[..., None], tpot_s=tpot_s, busy_nodes=busy)


def _colocated(day: Day, known: list[Moments], rates: Floats, load: Load, nodes: Floats) -> _Latency:
    """Prompts in chunks on nodes that decode: each step of a node in prefill lasts longer by a chunk."""
    serving = day.serving
    prefilling = _ratio(sizing.prefill_nodes(serving, load), nodes)
    tpot_s = sizing.balanced_step_s(serving, load, nodes)
    # The step without prompts: TPOT is it over 1 - (share of the time that prompts add).
    plain_step_s = np.nan_to_num(tpot_s) * (1 - prefilling)
    chunk_s = plain_step_s + serving.step.per_prefill_token_s * serving.prefill_chunk_tokens
    service_s = _weighted_prompts(day, known)[..., None, :] * (chunk_s / serving.prefill_chunk_tokens)[..., None]
    ttft_s = service_s + plain_step_s[..., None] / 2
    sequences = _sequences(known, rates, tpot_s) + sizing.over_streams(rates * service_s)
    return _Latency(ttft_s=ttft_s, tpot_s=tpot_s, busy_nodes=np.minimum(sequences, nodes))


def _weighted_prompts(day: Day, known: list[Moments]) -> Floats:
    """Weighted prompt tokens of a request of each stream, shape (..., s)."""
    return sizing.of_streams(day, "input_weight") * [m.uncached_tokens for m in known]


def _sequences(known: list[Moments], rates: Floats, tpot_s: Floats) -> Floats:
    """Sequences that decode at a time, by Little's law, shape (..., h)."""
    return sizing.sum_of_streams(rates, np.array([m.output_tokens for m in known])) * np.nan_to_num(tpot_s)


def lane_wait_s(*, lanes: Floats, intensity: Floats, mean_s: Floats, mean_square_s2: Floats) -> Floats:
    r"""Mean wait for a lane, s, shape (..., h): Sakasegawa's M/M/c formula, scaled to the service times' variability.

    .. math:: W_q = \frac{E[S^2]}{2 E[S]^2} \, E[S] \, \frac{\rho^{\sqrt{2(c+1)} - 1}}{c (1 - \rho)}

    It needs no whole number of servers and no sum over them, and is within a few per cent of Erlang C [1]_.

    References
    ----------
    .. [1] H. Sakasegawa, "An approximation formula L_q = alpha rho^beta / (1 - rho)", Annals of the Institute
       of Statistical Mathematics 29 (1977), 67-75.
    """
    rho = np.minimum(intensity, LARGEST_LANE_INTENSITY)
    servers = np.maximum(lanes, 1.0)
    wait_s = _ratio(mean_square_s2, 2 * mean_s) * rho ** (np.sqrt(2 * (servers + 1)) - 1) / (servers * (1 - rho))
    return np.asarray(np.where(mean_s > 0, wait_s, 0.0))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _weighted_mean(values: Floats, weights: Floats, over: Callable[[Floats], Floats]) -> Floats:
    total = over(weights)
    return np.divide(over(values * weights), total, out=np.full_like(total, np.nan), where=total > 0)


def _means_only(mean: Floats) -> Latencies:
    unknown = np.full_like(mean, np.nan)
    return Latencies(mean=mean, p50=unknown, p95=unknown, p99=unknown)


def _stream_latencies(known: list[Moments], finished: Floats, ttft_s: Floats, tpot_s: Floats) -> StreamLatencies:
    mean_ttft_s = _weighted_mean(ttft_s, finished, sizing.over_spans)
    mean_tpot_s = _weighted_mean(np.nan_to_num(tpot_s)[..., None], finished, sizing.over_spans)
    return StreamLatencies(
        mean_ttft_s=mean_ttft_s,
        p95_ttft_s=np.full_like(mean_ttft_s, np.nan),
        mean_tpot_s=mean_tpot_s,
        mean_latency_s=mean_ttft_s + mean_tpot_s * [m.output_tokens for m in known],
    )


def _user_speed(output_tokens: Floats, tpot_s: Floats) -> PerWorld:
    seconds = (output_tokens * np.nan_to_num(tpot_s)).sum(axis=-1)
    return ratio(output_tokens.sum(axis=-1), seconds, otherwise=nan)
