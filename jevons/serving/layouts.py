"""The nodes of a day as the control plane and the close see them, whatever their layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from jevons.randomness import Draws, Floats
from jevons.scenario import Serving
from jevons.serving.book import Ledger, Tally
from jevons.serving.colocated import Replicas
from jevons.serving.crowd import Crowd
from jevons.serving.disaggregated import Decode, Prefill
from jevons.serving.interface import Day
from jevons.serving.sizing import Load, prefill_share
from jevons.serving.timers import Clock
from jevons.stacks import PerWorld, ratio

#: Requests whose places among routed nodes are drawn at a time.
PLACES_DRAWN = 2048
#: A pool of nodes, or a single one.
Part: TypeAlias = Decode | Replicas


class Totals(NamedTuple):
    """What the true fleet has done since the beginning."""

    prefill_tokens: float
    decode_tokens: float
    context_tokens2: float
    busy_node_s: float


class ServingFleet(Protocol):
    """Nodes that serve requests."""

    pool: Pooled | Routed

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


class Pooled:
    """Nodes that share a batch and a line."""

    def __init__(self, part: Part) -> None:
        self.parts: list[Part] = [part]
        self.arrive = part.arrive

    def switch(self, nodes: float, load: Load) -> None:
        """Serve on so many nodes."""
        self.parts[0].switch(nodes, load)

    def totals(self) -> Totals:
        """Work done until now."""
        return _totals_of(self.parts)


class Routed:
    """Nodes that each have a batch and a line of their own, and a router before them.

    A thinned cell has the share f of the nodes, at least one, each as it is; it should hold some 16 of
    them, or rounding and the shares of few nodes show.  A node that is switched off gets no more requests and
    finishes those it has.
    """

    def __init__(self, new_part: Callable[[], Part], routing: str, share: float, draws: Draws) -> None:
        self.share = share
        self.on = 0
        self.turn = 0
        self.new_part = new_part
        self.parts: list[Part] = [new_part()]
        self._choose = self._next_in_turn if routing == "round_robin" else self._shorter_of_two
        self.draws = draws
        #: Places in (0, 1) that requests from one on draw among the nodes, two each.
        self.first_request = 0
        self.places: list[float] = []

    def switch(self, nodes: float, load: Load) -> None:
        """Route to so many nodes; the first one stops when all are off, and keeps its line."""
        self.on = int(nodes_of_cell(np.array([nodes]), self.share)[0])
        while len(self.parts) < self.on:
            self.parts.append(self.new_part())
        for part in self.parts[: self.on]:
            if part.nodes == 0:
                part.switch(1.0, load)
        if self.on == 0:
            self.parts[0].switch(0.0, load)

    def arrive(self, request: int) -> None:
        """Send a request to a node."""
        self._choose(request).arrive(request)

    def _next_in_turn(self, request: int) -> Part:  # noqa: ARG002 (rules share a signature)
        self.turn = (self.turn + 1) % max(self.on, 1)
        return self.parts[self.turn]

    def _shorter_of_two(self, request: int) -> Part:
        first, second = (self.parts[int(place * max(self.on, 1))] for place in self._places_of(request))
        return first if first.inside <= second.inside else second

    def _places_of(self, request: int) -> list[float]:
        place = 2 * (request - self.first_request)
        if place < 0:
            # One that starts again, from before what is kept.
            return self._drawn_places(request, 1)
        if place >= len(self.places):
            self.first_request, place = request, 0
            self.places = self._drawn_places(request, PLACES_DRAWN)
        return self.places[place : place + 2]

    def _drawn_places(self, first: int, requests: int) -> list[float]:
        places: list[float] = self.draws.uniform("routing", 2 * requests, first=2 * first).tolist()
        return places

    def totals(self) -> Totals:
        """Work done until now."""
        return Totals(*(done / self.share for done in _totals_of(self.parts)))


def nodes_of_cell(nodes: Floats, share: float | Floats) -> npt.NDArray[np.int64]:
    """Nodes, each a whole one, that stand for so many true ones, shape of `nodes`."""
    return np.where(nodes > 0, np.maximum(np.rint(nodes * share), 1), 0.0).astype(np.int64)


def _totals_of(parts: Sequence[Part]) -> Totals:
    for part in parts:
        part.settle()
    return Totals(
        sum(part.prefilled_tokens for part in parts),
        sum(part.crowd.served_tokens for part in parts),
        sum(part.crowd.served_context_tokens2 for part in parts),
        sum(part.busy_node_s for part in parts),
    )


class Colocated:
    """Nodes that prefill and decode; see `colocated`."""

    def __init__(self, pool: Pooled | Routed) -> None:
        self.pool = pool
        self.switch = pool.switch
        self.arrive = pool.arrive
        self.totals = pool.totals

    def decoding(self) -> list[int]:
        """Requests that decode."""
        return _decoding(self.pool)

    def interrupt(self, hit: set[int]) -> None:
        """Start requests again, on whatever node the router chooses."""
        for part in self.pool.parts:
            part.interrupt(hit)
        for request in sorted(hit):
            self.arrive(request)

    def close(self) -> tuple[list[Tally], list[Tally]]:
        """Count out those who have run out of patience; the tallies of first and second stage."""
        first, second = [], []
        for part in self.pool.parts:
            assert isinstance(part, Replicas), "co-located nodes prefill too"
            part.settle()
            part.line.clear(part.at)
            first.append(part.prefill_tally)
            second.append(part.decode_tally)
        return first, second


class Disaggregated:
    """Nodes that prefill and nodes that decode; see `disaggregated`."""

    def __init__(self, serving: Serving, prefill: Prefill, pool: Pooled | Routed) -> None:
        self.serving = serving
        self.prefill = prefill
        self.pool = pool
        self.prefill.done = pool.arrive
        self.arrive = prefill.arrive

    def switch(self, nodes: float, load: Load) -> None:
        """Divide the nodes between the stages as the load needs."""
        to_prefill = float(prefill_share(self.serving, load, np.array([nodes]))[0])
        self.prefill.switch(nodes * to_prefill, load)
        self.pool.switch(nodes * (1 - to_prefill), load)

    def decoding(self) -> list[int]:
        """Requests that decode."""
        return _decoding(self.pool)

    def interrupt(self, hit: set[int]) -> None:
        """Send requests back to prefill."""
        for part in self.pool.parts:
            part.interrupt(hit)
        for request in sorted(hit):
            self.prefill.arrive(request)

    def totals(self) -> Totals:
        """Work done until now."""
        self.prefill.settle()
        decoded = self.pool.totals()
        return decoded._replace(busy_node_s=self.prefill.busy_node_s + decoded.busy_node_s)

    def close(self) -> tuple[list[Tally], list[Tally]]:
        """Count out those who have run out of patience; the tallies of first and second stage."""
        self.prefill.settle()
        self.prefill.line.clear(self.prefill.at)
        second = []
        for part in self.pool.parts:
            assert isinstance(part, Decode), "nodes that decode only"
            part.settle()
            part.line.clear(part.at)
            second.append(part.tally)
        return [self.prefill.tally], second


def _decoding(pool: Pooled | Routed) -> list[int]:
    return [request for part in pool.parts for _, request in part.active]


def fleet_of(time: Clock, book: Ledger, day: Day, load: Load, requests: float, draws: Draws) -> ServingFleet:
    """The fleet that a scenario describes, for so many requests as are expected."""
    serving, share = day.serving, day.share_simulated
    part = Decode if serving.layout == "disaggregated" else Replicas
    crowd = Crowd(serving, share, requests_per_token(day, load, requests))
    pool: Pooled | Routed
    if serving.routing == "pooled":
        pool = Pooled(part(time, book, serving, crowd))
    else:
        pool = Routed(lambda: part(time, book, serving, Crowd(serving)), serving.routing, share, draws)
    if serving.layout == "disaggregated":
        return Disaggregated(serving, Prefill(time, book, serving, crowd), pool)
    return Colocated(pool)


def requests_per_token(day: Day, load: Load, requests: PerWorld) -> PerWorld:
    """Requests of the cell for each weighted output token that the true pool is expected to serve."""
    return ratio(requests, load.decode_tokens_per_s.sum(axis=-1) * day.seconds_per_hour, otherwise=0.0)
