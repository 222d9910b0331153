"""What every engine is given: the sample path of a queueing model, each arrival and each service fixed beforehand.

All engines serve the same customers, so that every single departure can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np

from jevons.randomness import Draws, Floats

SEED = 1865
#: Swing of the arrival rate over its day: the peak is 1.34 times the mean, that of DeepSeek's published load.
SWING = 0.34
#: Points of the day between which the arrivals' time is interpolated.
GRID = 20_000


@dataclass(frozen=True, slots=True)
class Servers:
    """A stage of identical servers, first come, first served."""

    count: int
    #: Time that each customer is served, shape (n,).
    service_s: Floats


@dataclass(frozen=True, slots=True)
class Batch:
    """A stage of nodes that advance all their sequences by a token a step of A + h (sequences per node)."""

    nodes: int
    #: A and h.
    base_s: float
    per_sequence_s: float
    #: Sequences that a node holds at most; others wait, first come, first served.
    max_batch: int
    #: Steps that each customer is decoded for, shape (n,).
    tokens: Floats

    @property
    def slots(self) -> int:
        """Sequences that decode at most at one time."""
        return self.nodes * self.max_batch

    def step_s(self, sequences: int) -> float:
        """What a step lasts while so many decode, s."""
        return self.base_s + self.per_sequence_s * sequences / self.nodes


@dataclass(frozen=True, slots=True)
class Case:
    """Customers in order of arrival, and one or two stages that they pass."""

    title: str
    #: Shape (n,), rising.
    arrival_s: Floats
    first: Servers
    second: Servers | Batch | None = None

    def __len__(self) -> int:
        return len(self.arrival_s)


def eight_servers(n: int) -> Case:
    """M/M/8 at a traffic intensity of 0.9."""
    return erlang(n, 8)


def many_servers(n: int) -> Case:
    """M/M/2000 at 0.9: next to nobody waits, so it times the events of a large pool."""
    return erlang(n, 2000)


def erlang(n: int, servers: int) -> Case:
    """Poisson arrivals and exponential services of mean 1 s, at 0.9 of what the servers can do."""
    draws = Draws(seed=SEED, replication=servers)
    arrival_s = np.cumsum(draws.exponential("gap", n)) / (0.9 * servers)
    return Case(f"M/M/{servers}, rho 0.9", arrival_s, Servers(servers, draws.exponential("service", n)))


def tandem(n: int) -> Case:
    """Prefill and decode as two queues: 96 and 131 servers at 0.75 in the mean and 1.005 at the peak."""
    draws = Draws(seed=SEED, replication=96)
    arrival_s = daily_arrivals(n, 0.75 * 96, draws)
    first = Servers(96, lognormal(1.0, n, draws.at("first")))
    second = Servers(131, lognormal(131 / 96, n, draws.at("second")))
    return Case("96 then 131 servers, daily profile", arrival_s, first, second)


def serving_law(n: int) -> Case:
    """The law of serving: 16 lanes of prefill, then 8 nodes in steps of 20 ms + 0.25 ms n, at most 64 each.

    Load is 0.75 of the largest throughput in the mean; at the peak of the day all slots are taken.  Some 300
    sequences decode at one time.
    """
    draws = Draws(seed=SEED, replication=16)
    second = Batch(8, 0.02, 2.5e-4, 64, lognormal(200.0, n, draws.at("second")))
    rate_per_s = 0.75 * second.slots / second.step_s(second.slots) / 200.0
    first = Servers(16, lognormal(0.75 * 16 / rate_per_s, n, draws.at("first")))
    return Case("serving law: prefill, batched decode", daily_arrivals(n, rate_per_s, draws), first, second)


#: The cases of the table, by name.
CASES: dict[str, Callable[[int], Case]] = {
    "eight": eight_servers,
    "many": many_servers,
    "tandem": tandem,
    "serving": serving_law,
}


def daily_arrivals(n: int, mean_rate_per_s: float, draws: Draws) -> Floats:
    """Times of Poisson arrivals at the rate r (1 - swing cos) over one day, as long as it takes for n to come."""
    day_s = n / mean_rate_per_s
    grid = np.linspace(0.0, 1.5, GRID)
    expected = n * (grid - SWING * np.sin(2 * pi * grid) / (2 * pi))
    return np.interp(np.cumsum(draws.exponential("gap", n)), expected, grid * day_s)


def lognormal(mean: float, n: int, draws: Draws, sigma: float = 0.8) -> Floats:
    """Lognormal numbers of a mean, shape (n,)."""
    return mean * np.exp(sigma * draws.normal("size", n) - sigma**2 / 2)
