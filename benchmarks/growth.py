"""How the cost of a simulation grows: with requests, nodes, months and replications.

    python -m benchmarks.growth [--engine NAME] [--rounds N] [--tables NAME ...]

Prints, and writes benchmarks/results/growth.txt.  Under each table stands the exponent of the power of the size that
fits best: 1 is in proportion.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeAlias

import numpy as np
import simpy

from benchmarks.cost import DRAWS, SCENARIO, busiest_day, months_run, requests_simulated
from benchmarks.measure import exponent, figure, peak_rise_mb, turn_s
from benchmarks.memory import rise_mb
from benchmarks.printing import columns, heading, publish
from jevons import simulate
from jevons.model import run_arms, shock_month
from jevons.scenario import ARMS, Autoscaler, Serving, StepLaw, Tokens, Workload, load
from jevons.serving import DEFAULT_ENGINE, ENGINES, Day, Stream, engine
from jevons.workload import poisson_requests

#: Runs the simulation once and gives the requests that it simulated.
Work: TypeAlias = Callable[[], int]

#: Sizes by the engine's speed.
REQUESTS = {
    "simpy": (3_000, 10_000, 30_000, 100_000),
    "compiled": (30_000, 300_000, 3_000_000, 30_000_000),
    "closed_form": (3_000, 10_000, 30_000, 100_000),
}
NODES = (16, 64, 256, 1024, 4096)
MONTHS = (28, 49, 85, 157)
REPLICATIONS = (2, 4, 8)
#: Simulated time of the fleets that grow, s, and what each of their nodes gets.
FLEET_S = 30.0
REQUESTS_PER_NODE_S = 4.5
WORKLOAD = Workload(input_tokens=Tokens(mean=[1000.0], sigma=[1.0]), output_tokens=Tokens(mean=[200.0], sigma=[0.8]))
POOLED = Serving(
    step=StepLaw(base_s=0.02, per_sequence_s=2.5e-4),
    target_batch=32.0,
    max_batch=64.0,
    prefill_tokens_per_s=20_000.0,
    prefill_lanes=4,
)
ROUTED = Serving(
    layout="colocated",
    routing="power_of_two",
    step=StepLaw(base_s=0.02, per_sequence_s=2.5e-4, per_prefill_token_s=35e-6, per_kv_token_s=15e-9),
    target_batch=32.0,
    max_batch=64.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What grows, to which sizes with an engine, and the work at a size."""

    title: str
    unit: str
    sizes: Callable[[str], tuple[int, ...]]
    work: Callable[[str, int], Work]


def main(arguments: Sequence[str]) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT_ENGINE)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args(arguments)
    lines = heading(" ".join(["python -m benchmarks.growth", *arguments]))
    lines += [
        f"engine {options.engine}",
        f"s   processor time, median of {options.rounds} rounds",
        "MB  rise of the peak of a process's memory over the run, results included",
    ]
    for name in options.tables:
        lines += ["", *lines_of(name, options.engine, options.rounds)]
    publish("growth", lines)


def lines_of(name: str, engine_name: str, rounds: int) -> list[str]:
    """A table as text; sizes take turns in each round."""
    growth = TABLES[name]
    works = {size: growth.work(engine_name, size) for size in growth.sizes(engine_name)}
    requests = {size: work() for size, work in works.items()}
    times: dict[int, list[float]] = {size: [] for size in works}
    for _ in range(rounds):
        for size, work in works.items():
            times[size].append(turn_s(work))
    seconds = {size: median(spent) for size, spent in times.items()}
    rows = []
    for size, spent in seconds.items():
        memory_mb = peak_rise_mb("benchmarks.growth", "--rise", name, engine_name, str(size))
        rows.append(
            (f"{size:,}", f"{requests[size]:,}", figure(spent), *each(spent, requests[size]), f"{memory_mb:.1f}")
        )
    head = (growth.unit, "requests", "s", "µs a request", "requests a CPU-second", "MB")
    power = exponent(list(seconds), list(seconds.values()))
    return [growth.title, *columns(head, rows), f"exponent {power:.2f}"]


def each(seconds: float, requests: int) -> tuple[str, str]:
    """What a request costs, and how many a second of the processor serves; nothing where none is simulated."""
    return (figure(1e6 * seconds / requests), figure(requests / seconds)) if requests else ("", "")


def print_rise(name: str, engine_name: str, size: int) -> None:
    """Print by how much the peak of this process rises over the work, MB; the least size comes before, as a warm-up."""
    growth = TABLES[name]
    growth.work(engine_name, growth.sizes(engine_name)[0])()
    print(f"{rise_mb(growth.work(engine_name, size)):.1f}")


def requests_of_a_day(name: str, resolution: int) -> Work:
    """One day of the first month of the main job, at so many of its requests."""
    return serving(name, busiest_day(load(SCENARIO).central(), resolution))


def months_of_the_main_job(name: str, months: int) -> Work:
    """One replication; `months` counts those of all arms, which part in the month of the shock."""
    central = load(SCENARIO).central()
    before = shock_month(central)
    scenario = central.replace({"run.months": before + (months - before) // len(ARMS)})

    def work() -> int:
        arms = run_arms(scenario, 0, name)
        return sum(requests_simulated(scenario, month) for month in months_run(scenario, arms))

    return work


def replications_of_the_main_job(name: str, replications: int) -> Work:
    """The first year and a half of the main job, without draws, in one process."""
    scenario = load(SCENARIO).replace({"run.draws": 0, "run.replications": replications, "run.months": 18})

    def work() -> int:
        result = simulate(scenario, engine=name)
        return sum(requests_simulated(scenario, m) for arms in result.replications for m in months_run(scenario, arms))

    return work


TABLES = {
    "requests": Growth(
        title="Requests of a day", unit="resolution", sizes=lambda name: REQUESTS[name], work=requests_of_a_day
    ),
    "nodes": Growth(
        title="Nodes, pooled: prefill and decode pools, every request simulated",
        unit="nodes",
        sizes=lambda _: NODES,
        work=lambda name, nodes: serving(name, fleet(POOLED, nodes)),
    ),
    "replicas": Growth(
        title="Nodes, routed one by one: each with a batch of its own, the shorter of two lines",
        unit="nodes",
        sizes=lambda _: NODES,
        work=lambda name, nodes: serving(name, fleet(ROUTED, nodes)),
    ),
    "months": Growth(
        title="Months of the main job, those of all arms, one replication",
        unit="months",
        sizes=lambda _: MONTHS,
        work=months_of_the_main_job,
    ),
    "replications": Growth(
        title="Replications of the main job over 18 months, without draws, in one process",
        unit="replications",
        sizes=lambda _: REPLICATIONS,
        work=replications_of_the_main_job,
    ),
}


def serving(name: str, day: Day) -> Work:
    """Serving of a day by an engine."""

    def work() -> int:
        env = simpy.Environment()
        served: Any = env.run(until=engine(name).serve(env, day, DRAWS))
        return int(served.flow.arrived) if served.flow is not None else 0

    return work


def fleet(law: Serving, nodes: int) -> Day:
    """Nodes at the same load each, from an empty fleet on."""
    trace = poisson_requests(
        {"only": WORKLOAD},
        np.array([[REQUESTS_PER_NODE_S * nodes * FLEET_S]]),
        span_s=FLEET_S,
        first_s=0.0,
        draws=DRAWS,
    )
    fixed = Autoscaler(floor_nodes=float(nodes), ceiling_nodes=float(nodes))
    return Day(
        streams=(Stream(name="only", requests_per_day=0.0, workload=WORKLOAD),),
        serving=law.model_copy(update={"autoscaler": fixed}),
        trace=trace,
        hours=1,
        seconds_per_hour=FLEET_S,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rise"]:
        print_rise(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(sys.argv[1:])
