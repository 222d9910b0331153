"""`simulate`: replications and draws of a scenario, stack by stack and on any number of workers, to one result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from jevons.answer import DrawnWorlds, Hinge, Result
from jevons.draws import DRAWS_ENGINE, Outcomes, central_inputs, inputs_of_draws, joined, outcomes
from jevons.errors import UsageError
from jevons.hinges import hinges
from jevons.model import Paths, run_stack
from jevons.months import Stack
from jevons.scenario import ARMS, Scenario
from jevons.serving import DEFAULT_ENGINE
from jevons.serving import engine as engine_named
from jevons.workers import Beside, Progress, Workers, checked_count

#: Most worlds of a stack: enough that what is done once for all of them costs little, and few enough for memory.
WORLDS_PER_STACK = 128
#: Fewer stacks in closed form are sooner done than processes for them have started.
STACKS_WORTH_A_PROCESS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Replications:
    """A stack of replications to be run."""

    scenario: Scenario
    numbers: range
    engine: str
    prices: Paths | None
    usage: Paths | None
    threads: int


def simulate(
    scenario: Scenario,
    *,
    engine: str = DEFAULT_ENGINE,
    workers: int = 1,
    prices: Paths | None = None,
    usage: Paths | None = None,
    progress: Progress | None = None,
    beside: Beside | None = None,
) -> Result:
    """Simulate a scenario of kind market: all its replications, all its draws, its three arms.

    Parameters
    ----------
    scenario : Scenario
        See `load`; its `run` table sets seed, replications, draws and resolution.
    engine : {"compiled", "simpy", "closed_form"}
        What serves the replications.  Draws are served in closed form.
    workers : int
        Threads to use, or with an engine that lets none run beside it processes, where starting them pays.  The
        result does not depend on them.  With more than one process, a script must guard its entry with
        ``if __name__ == "__main__"``.
    prices, usage : mapping of segment to mapping of arm to sequence of float, optional
        A caller's own paths instead of the model's: USD/Mtok and tokens/day, one value for each month.
        Draws of the inputs are then left out, since a given path does not answer them.
    progress : callable, optional
        Called with what is being done, how many are done, and how many there are.
    beside : Beside, optional
        A process to use beside this one, instead of one of its own.

    Returns
    -------
    Result
        A pure function of the arguments: same scenario, seed and version give the same bytes.

    Raises
    ------
    UsageError
        If the engine does not exist, a path does not fit the scenario, or the scenario is one of a day.
    """
    chosen, workers = engine_named(engine), checked_count(workers)
    if scenario.kind != "market":
        raise UsageError("a scenario of kind day has no months: use simulate_day")
    _check_paths(scenario, prices, usage)
    tell = progress or (lambda *_: None)
    central, count = scenario.central(), scenario.run.replications
    # An engine of single days costs so much more than the months that each of its worlds is a job of its own.
    most = WORLDS_PER_STACK if chosen.serve_stack else 1
    jobs = [
        Replications(
            scenario=central,
            numbers=numbers,
            engine=engine,
            prices=prices,
            usage=usage,
            threads=workers if chosen.runs_in_threads else 1,
        )
        for numbers in stacks_of(count, most)
    ]
    wanted = 0 if prices or usage or not scenario.uncertain else scenario.run.draws
    # Draws are numpy's work in this process or another; replications of an engine that runs in threads leave it time.
    is_long = wanted >= STACKS_WORTH_A_PROCESS * WORLDS_PER_STACK
    is_apart = bool(wanted) and engine != DRAWS_ENGINE and chosen.runs_in_threads and not is_long
    with nullcontext(beside) if beside else Beside(is_apart and workers > 1) as aside:
        drawing = (
            aside.begin(drawn_and_hinges, DrawsJob(scenario=scenario, wanted=wanted, workers=1)) if is_apart else None
        )
        with Workers(1 if chosen.runs_in_threads else workers) as pool:
            stacks = pool.map(replicated, jobs, lambda done: tell("replications", min(done * most, count), count))
        if drawing is None:
            job = DrawsJob(scenario=scenario, wanted=wanted, workers=workers if is_long else 1)
            drawn, found = drawn_and_hinges(job, lambda done: tell("draws", done, wanted))
        else:
            drawn, found = drawing()
    return Result(scenario=scenario, engine=engine, stacks=tuple(stacks), draws=drawn, hinges=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawsJob:
    """Draws to be run, on so many processes."""

    scenario: Scenario
    wanted: int
    workers: int


def drawn_and_hinges(
    job: DrawsJob, tell: Callable[[int], None] = lambda _: None
) -> tuple[DrawnWorlds | None, tuple[Hinge, ...]]:
    """All draws of a scenario, and the inputs on which its verdict hinges; nothing where none are wanted."""
    if not job.wanted:
        return None, ()
    # The world with all inputs at their centres stands before those that are drawn.
    stacks = [(job.scenario, numbers) for numbers in stacks_of(1 + job.wanted, WORLDS_PER_STACK)]
    with Workers(job.workers) as pool:
        found = pool.map(drawn_outcomes, stacks, lambda done: tell(min(done * WORLDS_PER_STACK, job.wanted)))
    drawn = drawn_worlds(joined(found))
    return drawn, hinges(job.scenario, drawn)


def stacks_of(worlds: int, most: int) -> list[range]:
    """Worlds divided into stacks of at most so many, whatever the number of workers."""
    return [range(first, min(first + most, worlds)) for first in range(0, worlds, most)]


def replicated(job: Replications) -> Stack:
    """A stack of replications, at the centre of the inputs."""
    return run_stack(job.scenario, job.numbers, job.engine, prices=job.prices, usage=job.usage, threads=job.threads)


def drawn_outcomes(job: tuple[Scenario, range]) -> Outcomes:
    """What a stack of draws came to: world 0 is the centre of the inputs, world n + 1 draw n."""
    scenario, worlds = job
    drawn = inputs_of_draws(scenario, [world - 1 for world in worlds if world > 0])
    centre = central_inputs(scenario) if 0 in worlds else {}
    return outcomes(
        scenario, {key: np.concatenate([[centre[key]], values]) if centre else values for key, values in drawn.items()}
    )


def drawn_worlds(found: Outcomes) -> DrawnWorlds:
    """All draws together, with the centre of the inputs, their first world, beside them."""
    return DrawnWorlds(
        inputs={key: values[1:] for key, values in found.inputs.items()},
        consumption={arm: paths[1:] for arm, paths in found.consumption.items()},
        headlines={name: values[1:] for name, values in found.headlines.items()},
        centre={arm: float(values[0]) for arm, values in found.at_horizon.items()},
    )


def _check_paths(scenario: Scenario, *given: Paths | None) -> None:
    for paths in given:
        for segment, arms in (paths or {}).items():
            if segment not in scenario.segments:
                raise UsageError(f"path of {segment!r}: segment must be one of {', '.join(scenario.segments)}")
            for arm, path in arms.items():
                _check_path(scenario, segment, arm, path)


def _check_path(scenario: Scenario, segment: str, arm: str, path: Sequence[float]) -> None:
    if arm not in ARMS:
        raise UsageError(f"path of {segment!r}: arm must be one of {', '.join(ARMS)}, not {arm!r}")
    if len(path) != scenario.run.months:
        raise UsageError(f"path of {segment!r}, {arm}: must have {scenario.run.months} months, not {len(path)}")
    for month, value in enumerate(path):
        if not (np.isfinite(value) and value > 0):
            raise UsageError(f"path of {segment!r}, {arm}, month {month}: must be above 0, not {value!r}")
