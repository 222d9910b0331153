"""salabim, the Python library of components: one component for each customer, a `Resource` for each pool.

Components are generators (`yieldless=False`), which is faster than its default of greenlets.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from benchmarks.cases import Case, Servers
from benchmarks.engines import Engine, Run


def prepare(case: Case) -> Run:
    """The components of a case."""
    import salabim  # not everybody has it

    stages = [stage for stage in (case.first, case.second) if isinstance(stage, Servers)]
    arrival = case.arrival_s.tolist()
    services = [stage.service_s.tolist() for stage in stages]

    class Customer(salabim.Component):
        def setup(self, number: int, pools: list[Any], departure: list[float]) -> None:
            self.number = number
            self.pools = pools
            self.departure = departure

        def process(self) -> Iterator[None]:
            for pool, times in zip(self.pools, services, strict=True):
                yield self.request(pool)
                yield self.hold(times[self.number])
                self.release(pool)
            self.departure[self.number] = self.env.now()

    class Source(salabim.Component):
        def setup(self, pools: list[Any], departure: list[float]) -> None:
            self.pools = pools
            self.departure = departure

        def process(self) -> Iterator[None]:
            for number, time in enumerate(arrival):
                yield self.hold(till=time)
                Customer(number=number, pools=self.pools, departure=self.departure)

    def run() -> list[float]:
        env = salabim.Environment(trace=False, yieldless=False)
        pools = [salabim.Resource(capacity=stage.count) for stage in stages]
        departure = [0.0] * len(arrival)
        Source(pools=pools, departure=departure)
        env.run()
        return departure

    return run


ENGINE = Engine(
    name="salabim",
    prepare=prepare,
    cases=("eight", "many", "tandem"),
    at_most=8_000,
    absent="" if find_spec("salabim") else "not installed",
)
