"""What every serving engine takes and gives: a day of a region's fleet, and what came out of it.

All figures of a `ServedDay` are those of the true fleet over true hours, at whatever resolution they
were simulated.  In shapes, h counts hours of the day, s streams and n requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np
import numpy.typing as npt
import simpy

from jevons.randomness import Draws, Floats
from jevons.scenario import Serving, Workload
from jevons.stacks import PerWorld, ratio, smaller
from jevons.units import HOURS_PER_DAY, SECONDS_PER_HOUR
from jevons.workload import Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One segment's requests in a region on one day."""

    name: str
    #: Requests that reach the true fleet on this day; of no account when the day plays a trace.
    requests_per_day: float
    workload: Workload
    #: Compute of an uncached prompt token, relative to what the node's prefill rate is given for.
    input_weight: float = 1.0
    #: Slots of a node's batch that a decoding sequence takes; so more compute, but not less speed.
    output_weight: float = 1.0
    #: Whether it is served before those that are not.
    interactive: bool = True
    #: A request that waits longer than this for its first token gives up; never if None.
    patience_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The load of a day, the nodes there are for it, and how finely it is simulated."""

    streams: tuple[Stream, ...]
    serving: Serving
    #: Nodes that can be switched on; inf is no limit.
    available_nodes: float = inf
    weekend: bool = False
    hours: int = HOURS_PER_DAY
    #: Simulated seconds of each hour, at the hour's rate.  Times of the control plane (autoscaler, failures)
    #: are hours of the day and scale with it; those of a request (service, patience) do not.
    seconds_per_hour: float = SECONDS_PER_HOUR
    #: Requests simulated, on average, over 24 hours; None simulates every request of the simulated time.
    requests_simulated: float | None = None
    #: A recorded trace to serve instead of drawn requests, from its first second to the end of the day's hours;
    #: with 3600 seconds to the hour, as it was recorded.
    trace: Requests | None = None
    #: Whether the engine hands over what happened to each request.
    keep_records: bool = False

    @property
    def played(self) -> Requests | None:
        """The requests of the trace that come before the day is over."""
        if self.trace is None or self.trace.arrival_s[-1] < self.hours * self.seconds_per_hour:
            return self.trace
        return self.trace.first(int(np.searchsorted(self.trace.arrival_s, self.hours * self.seconds_per_hour)))

    @property
    def warm_up_hours(self) -> int:
        """Hours simulated before the day and left out of every hourly figure: one, that the day starts in mid-flow."""
        return 0 if self.trace is not None else 1

    @property
    def duration_s(self) -> float:
        """Simulated time that serving the day takes, warm-up included, s."""
        return (self.warm_up_hours + self.hours) * self.seconds_per_hour

    @property
    def share_simulated(self) -> PerWorld:
        """Share f of the true requests of the simulated time that are simulated, on as large a share of the nodes."""
        if self.trace is not None or self.requests_simulated is None:
            return 1.0
        requests = sum(stream.requests_per_day for stream in self.streams) * self.seconds_per_hour / SECONDS_PER_HOUR
        return smaller(1.0, ratio(self.requests_simulated, requests, otherwise=1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """A latency of the requests that arrived in each hour and were served, s, shape (h,).

    An hour in which none was served holds NaN, and so do percentiles where an engine has none (closed form):
    reports leave the cell empty.
    """

    mean: Floats
    p50: Floats
    p95: Floats
    p99: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLatencies:
    """Mean latencies of each stream over the day, s, shape (s,); NaN where nothing was served."""

    mean_ttft_s: Floats
    p95_ttft_s: Floats
    mean_tpot_s: Floats
    #: From arrival to last token.
    mean_latency_s: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What happened to each simulated request, in order of arrival; every array has shape (n,).

    Times in s from the first second of the day (negative in the warm-up); NaN where it did not happen.
    """

    arrival_s: Floats
    prefill_start_s: Floats
    first_token_s: Floats
    departure_s: Floats
    lost: npt.NDArray[np.bool_]
    stream: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The account of the simulated requests, warm-up included: none is lost on the way, and L T = N W.

    Engines check both sides of each before they hand the day over.
    """

    arrived: int
    served: int
    lost: int
    #: Still there when the day closed.
    inside: int
    #: Area under the number in the first stage (waiting or in prefill), and time spent there by all, request-seconds.
    prefill_area_s: float
    prefill_time_s: float
    #: The same of the second stage (waiting for a slot, or decoding).
    decode_area_s: float
    decode_time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedDay:
    """What came of a day, scaled to the true fleet and true hours."""

    #: Requests that arrived in each hour, shape (h, s), and those of them that gave up.
    requests: Floats
    lost: Floats
    #: Tokens of the requests that were finished in each hour, shape (h, s); the prompt's count cached ones too.
    input_tokens: Floats
    cached_tokens: Floats
    output_tokens: Floats
    #: Nodes switched on, shape (h,); failed ones count until they are switched off.
    provisioned_node_hours: Floats
    #: Nodes with at least one sequence, shape (h,).
    busy_node_hours: Floats
    #: What the tokens served in the hour need on perfectly packed nodes at the target batch, shape (h,).
    work_node_hours: Floats
    #: The same at the largest batch: what the fleet needs at the least, shape (h,).
    least_node_hours: Floats
    #: What the autoscaler wanted before the limit of available nodes, shape (h,).
    desired_node_hours: Floats
    #: Available and not switched on, to be lent; zero where there is no limit.  Shape (h,).
    idle_node_hours: Floats
    #: Failures of nodes, shape (h,).
    failures: Floats
    #: Arrival to first token, and time for each output token after it.
    ttft_s: Latencies
    tpot_s: Latencies
    stream_latencies: StreamLatencies
    #: Output tokens over the time their requests spent on them: the speed a user sees.  NaN if none was served.
    user_speed_tokens_per_s: float
    #: Share of the true requests that was simulated.
    share_simulated: float
    #: None from an engine without single requests.
    flow: Flow | None = None
    records: Records | None = None

    @property
    def utilisation(self) -> Floats:
        """Busy over provisioned node-hours, shape (h,); near 1 at a tenth of the capacity, for batching nodes."""
        return _share(self.busy_node_hours, self.provisioned_node_hours)

    @property
    def share_of_capacity(self) -> Floats:
        """Work over what the provisioned nodes could do at their largest batch, shape (h,)."""
        return _share(self.least_node_hours, self.provisioned_node_hours)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


class Engine(Protocol):
    """Serve a day from now on; the event succeeds with the `ServedDay` when the day is over on the clock.

    Days of several regions may be served at the same time on one environment.
    """

    def __call__(self, env: simpy.Environment, day: Day, draws: Draws) -> simpy.Event: ...
