"""What the simulation costs on this machine: by replication, by million requests, by draw, and in which room.

    python -m benchmarks.cost [SCENARIO]

Prints, and writes benchmarks/results/cost.txt; asserts nothing.  Times are those of the processor, best of several,
in one process.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import simpy

import jevons.model
from benchmarks.printing import columns, heading, publish
from jevons.draws import inputs_of_draws, outcomes
from jevons.model import run_arms, run_stack, shock_month
from jevons.months import Month
from jevons.randomness import Draws
from jevons.scenario import ARMS, Arm, Scenario, load
from jevons.service import single_days
from jevons.serving import ENGINES, Day, engine

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(jevons.model.__file__).parent
SCENARIO = ROOT / "scenarios" / "deepseek.toml"
#: Requests of the days that measure the engine alone.
SIZES = (3_000, 30_000, 100_000)
REPEATS = 3
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
    lines = columns(("main job", "", ""), rows)
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
