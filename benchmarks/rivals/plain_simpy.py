"""SimPy as its manual teaches it: a process for each customer, a `Resource` for each pool.

SimPy has no processor sharing.  `SharedNodes` is the plain way to it: what each sequence still needs stands in a
dict, is counted down at every change, and one timer is set to the next end; the process of a request waits for an
event.  Interrupting every process at every change, as recipes for one server do, would cost many times as much.
"""

from __future__ import annotations

from collections.abc import Iterator

import simpy

from benchmarks.cases import CASES, Batch, Case, Servers
from benchmarks.engines import Engine, Run

#: Tokens that count as none.
NOTHING_LEFT = 1e-9


def prepare(case: Case) -> Run:
    """The model of a case, with its inputs as Python floats."""
    arrival = case.arrival_s.tolist()
    first, second = case.first, case.second
    services = first.service_s.tolist()
    if second is None:
        return lambda: one_stage(arrival, first.count, services)
    if isinstance(second, Servers):
        then = second.service_s.tolist()
        return lambda: two_stages(arrival, (first.count, second.count), services, then)
    tokens = second.tokens.tolist()
    return lambda: serving(arrival, first.count, services, second, tokens)


def one_stage(arrival: list[float], servers: int, services: list[float]) -> list[float]:
    """Departures from one pool of servers."""
    env = simpy.Environment()
    pool = simpy.Resource(env, servers)
    departure = [0.0] * len(arrival)

    def customer(number: int) -> Iterator[simpy.Event]:
        with pool.request() as turn:
            yield turn
            yield env.timeout(services[number])
        departure[number] = env.now

    def source() -> Iterator[simpy.Event]:
        for number, time in enumerate(arrival):
            yield env.timeout(time - env.now)
            env.process(customer(number))

    env.process(source())
    env.run()
    return departure


def two_stages(arrival: list[float], servers: tuple[int, int], services: list[float], then: list[float]) -> list[float]:
    """Departures from two pools of servers, one after the other."""
    env = simpy.Environment()
    first, second = (simpy.Resource(env, count) for count in servers)
    departure = [0.0] * len(arrival)

    def customer(number: int) -> Iterator[simpy.Event]:
        with first.request() as turn:
            yield turn
            yield env.timeout(services[number])
        with second.request() as turn:
            yield turn
            yield env.timeout(then[number])
        departure[number] = env.now

    def source() -> Iterator[simpy.Event]:
        for number, time in enumerate(arrival):
            yield env.timeout(time - env.now)
            env.process(customer(number))

    env.process(source())
    env.run()
    return departure


def serving(arrival: list[float], lanes: int, services: list[float], batch: Batch, tokens: list[float]) -> list[float]:
    """Departures from lanes of prefill and nodes that decode in batches."""
    env = simpy.Environment()
    prefill = simpy.Resource(env, lanes)
    slots = simpy.Resource(env, batch.slots)
    nodes = SharedNodes(env, batch)
    departure = [0.0] * len(arrival)

    def request(number: int) -> Iterator[simpy.Event]:
        with prefill.request() as turn:
            yield turn
            yield env.timeout(services[number])
        with slots.request() as turn:
            yield turn
            yield nodes.decode(tokens[number])
        departure[number] = env.now

    def source() -> Iterator[simpy.Event]:
        for number, time in enumerate(arrival):
            yield env.timeout(time - env.now)
            env.process(request(number))

    env.process(source())
    env.run()
    return departure


class SharedNodes:
    """Sequences that advance together, the slower the more there are."""

    def __init__(self, env: simpy.Environment, batch: Batch) -> None:
        self.env = env
        self.batch = batch
        #: What each sequence still needs, by the event that its process waits for.
        self.left: dict[simpy.Event, float] = {}
        self.at = env.now
        self.step_s = batch.base_s
        self.timer = 0

    def decode(self, tokens: float) -> simpy.Event:
        """An event that comes when so many tokens have been decoded."""
        self._advance()
        done = self.env.event()
        self.left[done] = tokens
        self._retime()
        return done

    def _advance(self) -> None:
        got = (self.env.now - self.at) / self.step_s
        self.at = self.env.now
        for done in self.left:
            self.left[done] -= got

    def _retime(self) -> None:
        self.timer += 1
        if self.left:
            self.step_s = self.batch.step_s(len(self.left))
            timer = self.env.timeout(max(0.0, min(self.left.values()) * self.step_s), self.timer)
            timer.callbacks.append(self._ring)

    def _ring(self, timer: simpy.Event) -> None:
        if timer.value != self.timer:
            return
        self._advance()
        for done in [done for done, left in self.left.items() if left <= NOTHING_LEFT]:
            del self.left[done]
            done.succeed()
        self._retime()


ENGINE = Engine(
    name="SimPy, a process each, Resource",
    prepare=prepare,
    cases=tuple(CASES),
    at_most=40_000,
    at_most_in={"serving": 20_000},
)
