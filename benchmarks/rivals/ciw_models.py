"""Ciw, the Python library for queueing networks: arrivals and services are read from the sample path.

Its processor-sharing nodes share a capacity evenly; steps that lengthen with the batch are not among its laws.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from benchmarks.cases import Case, Servers
from benchmarks.engines import Engine, Run
from jevons.randomness import Floats


def prepare(case: Case) -> Run:
    """The network of a case."""
    import ciw  # not everybody has it

    class Arrivals(ciw.dists.Distribution):
        """Gaps to the next of the given arrivals; endless after the last."""

        def __init__(self, times: list[float]) -> None:
            self.times = iter(times)

        def sample(self, t: float, ind: object = None) -> float:  # noqa: ARG002 (Ciw's signature)
            return float(next(self.times, np.inf) - t)

    class Services(ciw.dists.Distribution):
        """The service of each customer, by its number, which Ciw counts from 1."""

        def __init__(self, services: list[float]) -> None:
            self.services = services

        def sample(self, t: float, ind: ciw.Individual) -> float:  # noqa: ARG002 (Ciw's signature)
            return self.services[ind.id_number - 1]

    stages = [stage for stage in (case.first, case.second) if isinstance(stage, Servers)]
    arrival = case.arrival_s.tolist()
    services = [stage.service_s.tolist() for stage in stages]
    last = len(stages)

    def run() -> Floats:
        network = ciw.create_network(
            arrival_distributions=[Arrivals(arrival), None][:last],
            service_distributions=[Services(times) for times in services],
            number_of_servers=[stage.count for stage in stages],
            routing=[[0.0]] if last == 1 else [[0.0, 1.0], [0.0, 0.0]],
        )
        simulation = ciw.Simulation(network)
        simulation.simulate_until_max_customers(len(arrival), method="Complete")
        departure = np.empty(len(arrival))
        for individual in simulation.nodes[-1].all_individuals:
            departure[individual.id_number - 1] = individual.data_records[-1].exit_date
        return departure

    return run


ENGINE = Engine(
    name="Ciw",
    prepare=prepare,
    cases=("eight", "many", "tandem"),
    at_most=8_000,
    absent="" if find_spec("ciw") else "not installed",
)
