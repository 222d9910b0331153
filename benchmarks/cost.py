"""What the simulation costs on this machine: by replication, by million requests, by draw, and in which room.

    python -m benchmarks.cost [SCENARIO]

Prints, and writes benchmarks/results/cost.txt; asserts nothing.  Times are those of the processor, best of several,
in one process; but of the main job as a command they are also those of the clock, middle of several.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import simpy

import jevons.model
from benchmarks.measure import by_turns
from benchmarks.printing import columns, heading, publish
from jevons.draws import inputs_of_draws, outcomes
from jevons.model import run_arms, run_stack, shock_month
from jevons.months import Month
from jevons.randomness import Draws
from jevons.scenario import ARMS, Arm, Scenario, load
from jevons.service import single_days
from jevons.serving import DEFAULT_ENGINE, ENGINES, Day, engine

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(jevons.model.__file__).parent
SCENARIO = ROOT / "scenarios" / "deepseek.toml"
#: Requests of the days that measure the engine alone.
SIZES = (3_000, 30_000, 100_000)
REPEATS = 3
#: Runs of the main job as a command.
COMMAND_RUNS = 5
#: How many times as large the larger fleet is.
ENLARGED = 10
MINUTES_PER_HOUR = 60
DRAWS = Draws(seed=1, replication=0)

Value = TypeVar("Value")


def main(path: Path) -> None:
    """Measure and print."""
    scenario = load(path)
    central = scenario.central()
    rows = [row for name in ENGINES if name != "closed_form" for row in replication_rows(scenario, name)]
    inputs = inputs_of_draws(scenario, range(scenario.run.draws))
    draws, _ = measured(lambda: outcomes(scenario, inputs))
    each = f"one stack; {1e3 * draws / scenario.run.draws:.1f} ms each, break-evens not counted"
    rows.append((f"{scenario.run.draws} draws, closed form", f"{draws:.2f} s", each))
    rows.append(enlarged_row(scenario))
    lines = columns(("main job", "", ""), rows)
    lines += ["", *columns(("main job as a command", "s of the clock", "s of the processor"), command_rows(path))]
    for name in ENGINES:
        if name != "closed_form":
            head = (f"one day, {name}", "s", "s a million")
            lines += ["", *columns(head, [engine_row(central, name, size) for size in SIZES])]
        lines += ["", *columns((f"where the time goes, {name}", "share"), shares(central, name))]
    publish("cost", [*heading(f"python -m benchmarks.cost {path.name}"), *lines])


def replication_rows(scenario: Scenario, name: str) -> list[tuple[str, str, str]]:
    """Cost of replications of the main job with an engine: all together where it serves stacks, else one."""
    central = scenario.central()
    count = scenario.run.replications if ENGINES[name].serve_stack else 1
    run_stack(central, range(1), name)
    seconds, _ = measured(lambda: run_stack(central, range(count), name, keeps_days=False))
    requests = sum(requests_simulated(scenario, month) for month in months_run(scenario, run_arms(central, 0, name)))
    return [
        (f"{count} replications, {name}", f"{seconds:.2f} s", f"one thread, {seconds / count:.3f} s each"),
        ("a million of its requests", f"{1e6 * seconds / count / requests:.2f} s", "all else included"),
    ]


def enlarged_row(scenario: Scenario) -> tuple[str, str, str]:
    """Cost of the replications with all usage and all fleets larger, at the same resolution, over the cost as it is."""
    central, count = scenario.central(), scenario.run.replications
    larger = enlarged(central, ENLARGED)
    compared = by_turns(
        lambda: run_stack(central, range(count), DEFAULT_ENGINE, keeps_days=False),
        lambda: run_stack(larger, range(count), DEFAULT_ENGINE, keeps_days=False),
        REPEATS,
    )
    return (f"usage and fleets {ENLARGED} times as large", f"{compared.ratio}", "times the cost, by turns")


def enlarged(scenario: Scenario, factor: float) -> Scenario:
    """A scenario with all usage, budgets, fleets and deliveries so many times as large, its inputs at their centres."""
    changes: dict[str, Any] = {}
    for name, segment in scenario.segments.items():
        for key in ("tokens_per_day", "budget_usd_per_day"):
            if (value := getattr(segment, key)) is not None:
                changes[f"segments.{name}.{key}"] = factor * value
    for name, region in scenario.regions.items():
        if region.fleet is not None:
            fleet = f"regions.{name}.fleet"
            changes[f"{fleet}.stock"] = {gpu: factor * number for gpu, number in region.fleet.stock.items()}
            if region.fleet.orders is not None and region.fleet.orders.allocation_per_month is not None:
                changes[f"{fleet}.orders.allocation_per_month"] = factor * region.fleet.orders.allocation_per_month
    return scenario.replace(changes)


def command_rows(path: Path) -> list[tuple[str, str, str]]:
    """Time of the main job as a command, start-up and the kernels' loading included, without and with its files."""
    with tempfile.TemporaryDirectory() as directory:
        commands = {"simulate": [], "simulate -o DIR": ["-o", directory]}
        rows = []
        for name, options in commands.items():
            walls, processors = zip(
                *(command_s(["simulate", str(path), "-q", *options]) for _ in range(COMMAND_RUNS)), strict=True
            )
            rows.append((name, f"{median(walls):.2f}", f"{median(processors):.2f}"))
    return rows


def command_s(arguments: Sequence[str]) -> tuple[float, float]:
    """Time that a command of jevons takes, s: by the clock, and of the processor with all its processes."""
    start, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "jevons", *arguments], cwd=ROOT, check=True, capture_output=True)
    after, wall_s = os.times(), time.perf_counter() - start
    spent_s = after.children_user - before.children_user + after.children_system - before.children_system
    return wall_s, spent_s


def measured(work: Callable[[], Value]) -> tuple[float, Value]:
    """Least processor time of some runs, s, and what the last one gave."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        value = work()
        times.append(time.process_time() - start)
    return min(times), value


def months_run(scenario: Scenario, arms: dict[Arm, list[Month]]) -> Iterator[Month]:
    """Months that were simulated: those before the shock once, those after it in each arm."""
    shock = shock_month(scenario)
    yield from arms["baseline"][:shock]
    for arm in ARMS:
        yield from arms[arm][shock:]


def requests_simulated(scenario: Scenario, month: Month) -> int:
    """Requests that the served days of a month simulated."""
    sampled = scenario.run.sampled_minutes_per_hour / MINUTES_PER_HOUR
    days = [day for region in month.regions for day in region.days]
    return round(sampled * sum(float((day.requests * day.share_simulated).sum()) for day in days))


def engine_row(scenario: Scenario, name: str, size: int) -> tuple[str, str, str]:
    """Cost of a day of so many requests, served at full length by the single requests."""
    day = busiest_day(scenario, size)

    def serve() -> int:
        env = simpy.Environment()
        served: Any = env.run(until=engine(name).serve(env, day, DRAWS))
        return int(served.flow.arrived)

    seconds, requests = measured(serve)
    return f"{requests:,} requests", f"{seconds:.2f}", f"{1e6 * seconds / requests:.1f}"


def busiest_day(scenario: Scenario, size: int) -> Day:
    """The weekday of the first month's first region, with so many requests and whole hours."""
    kept: list[Day] = []
    closed_form = engine("closed_form")

    def keep(env: simpy.Environment, days: Day, draws: Sequence[Draws], threads: int) -> simpy.Event:
        kept.append(days)
        assert closed_form.serve_stack is not None, "the closed form serves stacks"
        return closed_form.serve_stack(env, days, draws, threads)

    world = jevons.model.World(scenario, [0], "closed_form", {}, {}, keeps_days=False, threads=1)
    world.engine = replace(closed_form, serve_stack=keep)
    world.run("baseline", 0, 1, world.opening())
    first = single_days(kept[0], 1)[0]
    return Day(
        streams=first.streams,
        serving=first.serving,
        available_nodes=first.available_nodes,
        requests_simulated=size,
    )


def shares(scenario: Scenario, name: str) -> list[tuple[str, str]]:
    """Share of each room in the time of a replication, under a profiler, which makes small functions dearer."""
    profile = cProfile.Profile()
    profile.enable()
    run_arms(scenario, 0, name)
    profile.disable()
    by_room: dict[str, float] = {}
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _, _), (_, _, seconds, _, _) in stats.items():
        by_room[room(file)] = by_room.get(room(file), 0.0) + seconds
    total = sum(by_room.values())
    ranked = sorted(by_room.items(), key=lambda item: -item[1])
    return [(name, f"{100 * seconds / total:.0f} %") for name, seconds in ranked if seconds > 0.01 * total]


def room(file: str) -> str:
    """What a file belongs to: a room of the package, or a library."""
    path = Path(file)
    if path.is_relative_to(PACKAGE):
        return "jevons." + path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return next((name for name in ("simpy", "numpy") if name in path.parts), "Python")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SCENARIO)
