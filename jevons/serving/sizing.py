"""Nodes that a load needs, in closed form: shared by all engines.

With the balance of the step law, M = x tau sequences (weighted) decode where x tokens are wanted each
second, so at a batch B = M/m the nodes needed are linear in the load,

    m = P + x (A/B + h) + K y,    y = sum of rate * E[O (I + O/2)],

with P = weighted prompt tokens a second over the prefill rate of a node (disaggregated) or times Bp
(colocated).  That is the sizing formula TPOT = A / (1 - lambda / lambda_max) of the model, section 7, solved for
the batch instead of the TPOT.

A leading shape (...) is that of a stack of days, whose numbers differ and whose streams and nodes are alike; () is
one day.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import inf, nan

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats
from jevons.scenario import Serving
from jevons.serving.interface import Day
from jevons.units import HOURS_PER_DAY, TOKENS_PER_MTOK
from jevons.workload import Moments, Requests, hourly_requests_per_s, moments, trace_moments


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Work wanted from a fleet each second, over a series of spans of time, each of shape (..., t)."""

    #: Uncached prompt tokens, weighted, 1/s.
    prefill_tokens_per_s: Floats
    #: Output tokens, weighted, 1/s.
    decode_tokens_per_s: Floats
    #: Output tokens times the context each reads, weighted, token/s.
    context_tokens2_per_s: Floats

    def at(self, span: int) -> Load:
        """Load of one span, or of the last when the series is over; shape (..., 1)."""
        first = min(span, self.decode_tokens_per_s.shape[-1] - 1)
        return self._spans(slice(first, first + 1))

    def after(self, spans: int) -> Load:
        """The series without its first spans."""
        return self._spans(slice(spans, None))

    def _spans(self, chosen: slice) -> Load:
        return Load(
            prefill_tokens_per_s=self.prefill_tokens_per_s[..., chosen],
            decode_tokens_per_s=self.decode_tokens_per_s[..., chosen],
            context_tokens2_per_s=self.context_tokens2_per_s[..., chosen],
        )

    def times(self, share: Floats) -> Load:
        """A share of the load, span by span."""
        return Load(
            prefill_tokens_per_s=self.prefill_tokens_per_s * share,
            decode_tokens_per_s=self.decode_tokens_per_s * share,
            context_tokens2_per_s=self.context_tokens2_per_s * share,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Weighted tokens of each single request, shape (n,)."""

    prefill_tokens: Floats
    decode_tokens: Floats
    #: Context that a token of the answer reads on average, I + O/2, times the weight.
    context_tokens: Floats


def of_streams(day: Day, name: str) -> Floats:
    """A number of each stream, shape (..., s)."""
    values = [getattr(stream, name) for stream in day.streams]
    each = np.empty((*np.broadcast_shapes(*map(np.shape, values)), len(values)))
    for index, value in enumerate(values):
        each[..., index] = value
    return each


def request_rates_per_s(day: Day) -> Floats:
    """Expected rate of each stream in each hour, warm-up first, 1/s, shape (..., warm-up + h, s)."""
    if day.played is not None:
        counts = np.zeros((day.hours, len(day.streams)))
        np.add.at(counts, (span_of(day.played.arrival_s, day.seconds_per_hour, day.hours), day.played.stream), 1.0)
        return counts / day.seconds_per_hour
    hours = np.arange(-day.warm_up_hours, day.hours)
    of_one_a_day = np.stack([hourly_requests_per_s(stream.workload, 1.0, hours) for stream in day.streams], axis=1)
    return of_streams(day, "requests_per_day")[..., None, :] * of_one_a_day


def stream_moments(day: Day) -> list[Moments]:
    """Moments of each stream's requests: of its workload or, when a trace is played, of its requests there."""
    if day.played is None:
        return [moments(stream.workload) for stream in day.streams]
    return [trace_moments(day.played, index) for index in range(len(day.streams))]


def expected_load(day: Day, rates_per_s: Floats, known: list[Moments]) -> Load:
    """Load of each hour at expected rates, warm-up first; a trace's own, hour by hour."""
    if day.played is not None:
        return load_of_requests(day, day.played, day.seconds_per_hour, day.hours)
    inputs, outputs = of_streams(day, "input_weight"), of_streams(day, "output_weight")
    return Load(
        prefill_tokens_per_s=sum_of_streams(rates_per_s, inputs * [m.uncached_tokens for m in known]),
        decode_tokens_per_s=sum_of_streams(rates_per_s, outputs * [m.output_tokens for m in known]),
        context_tokens2_per_s=sum_of_streams(rates_per_s, outputs * [m.context_tokens2 for m in known]),
    )


def sum_of_streams(rates_per_s: Floats, each: Floats) -> Floats:
    """Rates of all streams together, each times a number of its own, shape (..., t) of (..., t, s) and (..., s)."""
    # Not a product of matrices, whose rounding depends on how many worlds are in it.
    return over_streams(rates_per_s * each[..., None, :])


def over_streams(values: Floats) -> Floats:
    """Sum over the streams, shape (..., t) of (..., t, s): one after the other, which for so few is the fastest."""
    return reduce(np.add, [values[..., stream] for stream in range(values.shape[-1])])


def over_spans(values: Floats) -> Floats:
    """Sum over a series of spans, shape (..., s) of (..., t, s)."""
    return np.asarray(np.ascontiguousarray(np.swapaxes(values, -1, -2)).sum(axis=-1))


def load_of_requests(day: Day, requests: Requests, span_s: float, spans: int, first_s: float = 0.0) -> Load:
    """Load that requests put on the fleet in each of a series of equal spans of time."""
    work = work_of(day, requests)
    span = span_of(requests.arrival_s - first_s, span_s, spans)
    return Load(
        prefill_tokens_per_s=np.bincount(span, work.prefill_tokens, spans) / span_s,
        decode_tokens_per_s=np.bincount(span, work.decode_tokens, spans) / span_s,
        context_tokens2_per_s=np.bincount(span, requests.output_tokens * work.context_tokens, spans) / span_s,
    )


def span_of(times_s: Floats, span_s: float, spans: int) -> npt.NDArray[np.int64]:
    """Which of a series of equal spans each time falls in; what lies outside goes to the nearest."""
    return np.clip(np.floor(times_s / span_s).astype(np.int64), 0, spans - 1)


def work_of(day: Day, requests: Requests) -> Work:
    """Weighted work of each request."""
    input_weight = np.array([stream.input_weight for stream in day.streams])[requests.stream]
    output_weight = np.array([stream.output_weight for stream in day.streams])[requests.stream]
    return Work(
        prefill_tokens=(requests.input_tokens - requests.cached_tokens) * input_weight,
        decode_tokens=requests.output_tokens * output_weight,
        context_tokens=(requests.input_tokens + requests.output_tokens / 2) * output_weight,
    )


def prefill_nodes(serving: Serving, load: Load) -> Floats:
    """Nodes that prefill keeps busy, shape (..., t)."""
    return load.prefill_tokens_per_s * prefill_node_seconds(serving)


def prefill_node_seconds(serving: Serving) -> float:
    """Time of a node that a prompt token of weight 1 takes, s."""
    if serving.layout == "colocated":
        return serving.step.per_prefill_token_s
    if serving.prefill_tokens_per_s is None:
        raise ValueError("prefill_tokens_per_s must be given for a disaggregated layout")
    return 1 / serving.prefill_tokens_per_s


def sequence_nodes(serving: Serving, load: Load) -> Floats:
    """Nodes' worth of time that the sequences add to the steps, h and K terms, whatever the batch, shape (..., t)."""
    return (
        load.decode_tokens_per_s * serving.step.per_sequence_s
        + load.context_tokens2_per_s * serving.step.per_kv_token_s
    )


def decode_nodes(serving: Serving, load: Load, batch: float) -> Floats:
    """Nodes that decode at a given batch, shape (..., t)."""
    return load.decode_tokens_per_s * (serving.step.base_s / batch) + sequence_nodes(serving, load)


def planned_prefill_nodes(serving: Serving, load: Load) -> Floats:
    """Nodes for prefill at the load that the autoscaler aims at, shape (..., t)."""
    return prefill_nodes(serving, load) / serving.prefill_target_share


def nodes_needed(serving: Serving, load: Load) -> Floats:
    """Nodes that serve a load at the target batch, shape (..., t)."""
    return planned_prefill_nodes(serving, load) + decode_nodes(serving, load, serving.target_batch)


def least_nodes(serving: Serving, load: Load) -> Floats:
    """Nodes that serve a load at the largest batch, shape (..., t): with fewer it is too much."""
    return prefill_nodes(serving, load) + decode_nodes(serving, load, serving.max_batch)


def balanced_step_s(serving: Serving, load: Load, nodes: Floats) -> Floats:
    """Time for an output token on the nodes that decode, s, shape (..., t): A / (1 - rho), up to the largest batch.

    rho is the share of the nodes' time that sequences, and prompts where they are on the same nodes, add to the
    steps.  NaN where no token is wanted.
    """
    added = sequence_nodes(serving, load)
    if serving.layout == "colocated":
        added = added + prefill_nodes(serving, load)
    idle = 1 - np.divide(added, nodes, out=np.ones_like(nodes), where=nodes > 0)
    base_s: float | Floats = serving.step.base_s
    if not base_s:
        # A step without a base is as long as the sequence itself makes it.
        base_s = np.divide(serving.step.per_sequence_s, nodes, out=np.zeros_like(nodes), where=nodes > 0)
    balanced_s = np.divide(base_s, idle, out=np.full_like(nodes, inf), where=idle > 0)
    wanted = load.decode_tokens_per_s
    largest_s = np.divide(serving.max_batch * nodes, wanted, out=np.full_like(nodes, nan), where=wanted > 0)
    return np.asarray(np.minimum(balanced_s, largest_s))


def prefill_share(serving: Serving, load: Load, nodes: Floats) -> Floats:
    """Share of the nodes that prefill gets in a disaggregated layout, shape (..., t).

    Surplus is spread in proportion to the needs at the target batch.  When nodes are short, prefill keeps what
    its load needs while decode makes do with a larger batch; when even the largest batch cannot serve the load,
    the nodes are split by the needs at that batch.  So prefill never binds before decode does.
    """
    planned = planned_prefill_nodes(serving, load)
    at_target = _ratio(planned, nodes_needed(serving, load))
    at_largest = np.maximum(at_target, _ratio(prefill_nodes(serving, load), least_nodes(serving, load)))
    return np.clip(_ratio(planned, nodes), at_target, at_largest)


def _ratio(part: Floats, whole: Floats) -> Floats:
    # An even split stands in where there is no load, and so nothing to split by.
    return np.divide(part, whole, out=np.full_like(part, 0.5), where=whole > 0)


def reference_gpu_seconds_per_mtok(serving: Serving, mean_context_tokens: float = 0.0) -> tuple[float, float]:
    """Compute of a million prompt and of a million output tokens of weight 1 at the target batch, GPU-s/Mtok.

    The weights of a `Stream` are its own intensities over these.  The KV term K enters with the mean context
    that an output token reads (`workload.mean_context_tokens`); it is left out by default.

    Examples
    --------
    >>> from jevons.scenario import Serving, StepLaw
    >>> serving = Serving(
    ...     step=StepLaw(base_s=0.04, per_sequence_s=1e-5), target_batch=500.0, max_batch=800.0,
    ...     prefill_tokens_per_s=32000.0, gpus_per_node=8,
    ... )
    >>> [round(seconds, 9) for seconds in reference_gpu_seconds_per_mtok(serving)]
    [250.0, 720.0]
    """
    gpus = serving.gpus_per_node * TOKENS_PER_MTOK
    step = serving.step
    decode = step.base_s / serving.target_batch + step.per_sequence_s + step.per_kv_token_s * mean_context_tokens
    return gpus * prefill_node_seconds(serving) / serving.prefill_target_share, gpus * decode


def availability(serving: Serving) -> float:
    """Share of the nodes switched on that are not under repair, on average, 1."""
    if serving.failures is None:
        return 1.0
    return max(0.0, 1 - serving.failures.repair_hours / (serving.failures.mtbf_days * HOURS_PER_DAY))


def failures_per_hour(serving: Serving, nodes: Floats) -> Floats:
    """Expected failures each hour, 1/h, shape of `nodes`."""
    return nodes * (0.0 if serving.failures is None else 1 / (serving.failures.mtbf_days * HOURS_PER_DAY))


def idle_nodes(day: Day, provisioned: Floats) -> Floats:
    """Nodes available and not switched on, shape (..., t).

    None of a fleet without limit, which owns none that lie idle.
    """
    available = np.asarray(day.available_nodes)[..., None]
    return np.where(available < inf, np.maximum(0.0, available - provisioned), 0.0)
