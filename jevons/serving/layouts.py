"""The nodes of a day as the control plane and the close see them, whatever their layout."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import simpy

from jevons.randomness import Draws
from jevons.scenario import Serving
from jevons.serving.book import Book, Tally
from jevons.serving.colocated import Replicas
from jevons.serving.crowd import Crowd
from jevons.serving.disaggregated import Decode, Prefill
from jevons.serving.interface import Day
from jevons.serving.sizing import Load, prefill_share


class Totals(NamedTuple):
    """What the true fleet has done since the beginning."""

    prefill_tokens: float
    decode_tokens: float
    context_tokens2: float
    busy_node_s: float


class ServingFleet(Protocol):
    """Nodes that serve requests."""

    def switch(self, nodes: float, load: Load) -> None:
        """Serve with so many true nodes from now on, under an expected load of shape (1,)."""

    def arrive(self, request: int) -> None:
        """Take a request in."""

    def decoding(self) -> list[int]:
        """Requests that decode."""

    def interrupt(self, hit: set[int]) -> None:
        """Start those requests again: their node failed."""

    def totals(self) -> Totals:
        """Work done until now."""

    def close(self) -> tuple[list[Tally], list[Tally]]:
        """Count out those who have run out of patience; the tallies of first and second stage."""


class Disaggregated:
    """A prefill pool and a decode pool; see `disaggregated`."""

    def __init__(self, env: simpy.Environment, book: Book, serving: Serving, crowd: Crowd, end_s: float) -> None:
        self.serving = serving
        self.prefill = Prefill(env, book, serving, crowd)
        self.decode = Decode(env, book, serving, crowd, end_s)
        self.prefill.done = self.decode.join
        self.arrive = self.prefill.arrive

    def switch(self, nodes: float, load: Load) -> None:
        """Divide the nodes between the pools as the load needs."""
        to_prefill = float(prefill_share(self.serving, load, np.array([nodes]))[0])
        self.prefill.switch(nodes * to_prefill, load)
        self.decode.switch(nodes * (1 - to_prefill), load)

    def decoding(self) -> list[int]:
        """Requests that decode."""
        return [request for _, request in self.decode.active]

    def interrupt(self, hit: set[int]) -> None:
        """Send requests back to prefill."""
        self.decode.interrupt(hit)
        for request in sorted(hit):
            self.prefill.arrive(request)

    def totals(self) -> Totals:
        """Work done until now."""
        self.prefill.settle()
        self.decode.settle()
        return Totals(
            self.decode.prefilled_tokens,
            self.decode.crowd.served_tokens,
            self.decode.crowd.served_context_tokens2,
            self.prefill.busy_node_s + self.decode.busy_node_s,
        )

    def close(self) -> tuple[list[Tally], list[Tally]]:
        """Count out those who have run out of patience; the tallies of first and second stage."""
        self.totals()
        self.prefill.line.clear(self.prefill.at)
        self.decode.line.clear(self.decode.at)
        return [self.prefill.tally], [self.decode.tally]


class Pooled:
    """Replicas that prefill and decode, as one pool; see `colocated`."""

    def __init__(self, env: simpy.Environment, book: Book, serving: Serving, crowd: Crowd, end_s: float) -> None:
        self.pool = Replicas(env, book, serving, crowd, end_s)
        self.arrive = self.pool.arrive

    def switch(self, nodes: float, load: Load) -> None:
        """Serve on so many nodes."""
        self.pool.switch(nodes, load)

    def decoding(self) -> list[int]:
        """Requests that decode."""
        return [request for _, request in self.pool.active]

    def interrupt(self, hit: set[int]) -> None:
        """Start requests again."""
        self.pool.interrupt(hit)
        for request in sorted(hit):
            self.pool.arrive(request)

    def totals(self) -> Totals:
        """Work done until now."""
        self.pool.settle()
        return _totals_of([self.pool])

    def close(self) -> tuple[list[Tally], list[Tally]]:
        """Count out those who have run out of patience; the tallies of first and second stage."""
        return _closed([self.pool])


class Routed:
    """Replicas that prefill and decode, each with a line of its own, and a router before them.

    A thinned cell has the share f of the replicas, at least one, each as it is; it should hold some 16 of
    them, or rounding and the shares of few replicas show.  A replica that is switched off gets no more requests and
    finishes those it has.
    """

    def __init__(
        self, env: simpy.Environment, book: Book, serving: Serving, share: float, end_s: float, draws: Draws
    ) -> None:
        self.share = share
        self.on = 0
        self.turn = 0
        self.parts = (env, book, serving, end_s)
        self.replicas = [self._new_replica()]
        self._choose = self._next_in_turn if serving.routing == "round_robin" else self._shorter_of_two
        self.places: list[float] = []
        if serving.routing == "power_of_two":
            self.places = draws.uniform("routing", 2 * len(book.arrival)).tolist()

    def switch(self, nodes: float, load: Load) -> None:  # noqa: ARG002 (layouts share a signature)
        """Route to so many replicas; the first one stops when all are off, and keeps its line."""
        self.on = max(1, round(nodes * self.share)) if nodes > 0 else 0
        while len(self.replicas) < self.on:
            self.replicas.append(self._new_replica())
        for replica in self.replicas[: self.on]:
            if replica.nodes == 0:
                replica.switch(1.0, None)
        if self.on == 0:
            self.replicas[0].switch(0.0, None)

    def _new_replica(self) -> Replicas:
        env, book, serving, end_s = self.parts
        return Replicas(env, book, serving, Crowd(serving), end_s)

    def arrive(self, request: int) -> None:
        """Send a request to a replica."""
        self._choose(request).arrive(request)

    def _next_in_turn(self, request: int) -> Replicas:  # noqa: ARG002 (rules share a signature)
        self.turn = (self.turn + 1) % max(self.on, 1)
        return self.replicas[self.turn]

    def _shorter_of_two(self, request: int) -> Replicas:
        first, second = (
            self.replicas[int(place * max(self.on, 1))] for place in self.places[2 * request : 2 * request + 2]
        )
        return first if first.inside <= second.inside else second

    def decoding(self) -> list[int]:
        """Requests that decode."""
        return [request for replica in self.replicas for _, request in replica.active]

    def interrupt(self, hit: set[int]) -> None:
        """Start requests again, on whatever replica the router chooses."""
        for replica in self.replicas:
            replica.interrupt(hit)
        for request in sorted(hit):
            self.arrive(request)

    def totals(self) -> Totals:
        """Work done until now."""
        for replica in self.replicas:
            replica.settle()
        return Totals(*(done / self.share for done in _totals_of(self.replicas)))

    def close(self) -> tuple[list[Tally], list[Tally]]:
        """Count out those who have run out of patience; the tallies of first and second stage."""
        return _closed(self.replicas)


def _totals_of(pools: list[Replicas]) -> Totals:
    return Totals(
        sum(pool.prompt_tokens / pool.crowd.share for pool in pools),
        sum(pool.crowd.served_tokens for pool in pools),
        sum(pool.crowd.served_context_tokens2 for pool in pools),
        sum(pool.busy_node_s for pool in pools),
    )


def _closed(pools: list[Replicas]) -> tuple[list[Tally], list[Tally]]:
    for pool in pools:
        pool.settle()
        pool.line.clear(pool.at)
    return [pool.prefill_tally for pool in pools], [pool.decode_tally for pool in pools]


def fleet_of(env: simpy.Environment, book: Book, day: Day, load: Load, draws: Draws) -> ServingFleet:
    """The fleet that a scenario describes."""
    serving, share, end_s = day.serving, day.share_simulated, env.now + day.duration_s
    tokens = float(load.decode_tokens_per_s.sum()) * day.seconds_per_hour
    crowd = Crowd(serving, share, len(book.arrival) / tokens if tokens > 0 else 0.0)
    if serving.layout == "disaggregated":
        return Disaggregated(env, book, serving, crowd, end_s)
    if serving.routing == "pooled":
        return Pooled(env, book, serving, crowd, end_s)
    return Routed(env, book, serving, share, end_s, draws)
