"""`simulate`: replications and draws of a scenario, on any number of workers, to one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jevons.answer import DrawnWorlds, Result
from jevons.draws import Outcome, inputs_of_draw, outcome
from jevons.errors import UsageError
from jevons.hinges import hinges
from jevons.model import Paths, run_arms
from jevons.months import Month
from jevons.scenario import ARMS, Arm, Scenario
from jevons.serving import engine as checked_engine
from jevons.workers import Progress, Workers

#: Draws that a worker takes at once.
DRAWS_PER_JOB = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """A replication to be run."""

    scenario: Scenario
    number: int
    engine: str
    prices: Paths | None
    usage: Paths | None


def simulate(
    scenario: Scenario,
    *,
    engine: str = "simpy",
    workers: int = 1,
    prices: Paths | None = None,
    usage: Paths | None = None,
    progress: Progress | None = None,
) -> Result:
    """Simulate a scenario of kind market: all its replications, all its draws, its three arms.

    Parameters
    ----------
    scenario : Scenario
        See `load`; its `run` table sets seed, replications, draws and resolution.
    engine : {"simpy", "closed_form"}
        What serves the replications.  Draws are served in closed form.
    workers : int
        Processes to use.  The result does not depend on them.  With more than one, a script must guard
        its entry with ``if __name__ == "__main__"``.
    prices, usage : mapping of segment to mapping of arm to sequence of float, optional
        A caller's own paths instead of the model's: USD/Mtok and tokens/day, one value for each month.
        Draws of the inputs are then left out, since a given path does not answer them.
    progress : callable, optional
        Called with what is being done, how many are done, and how many there are.

    Returns
    -------
    Result
        A pure function of the arguments: same scenario, seed and version give the same bytes.

    Raises
    ------
    UsageError
        If the engine does not exist, a path does not fit the scenario, or the scenario is one of a day.
    """
    checked_engine(engine)
    if scenario.kind != "market":
        raise UsageError("a scenario of kind day has no months: use simulate_day")
    _check_paths(scenario, prices, usage)
    tell = progress or (lambda *_: None)
    central = scenario.central()
    jobs = [
        Replication(scenario=central, number=number, engine=engine, prices=prices, usage=usage)
        for number in range(scenario.run.replications)
    ]
    wanted = 0 if prices or usage or not scenario.uncertain else scenario.run.draws
    chunks = [(scenario, range(first, min(first + DRAWS_PER_JOB, wanted))) for first in range(0, wanted, DRAWS_PER_JOB)]
    with Workers(workers) as pool:
        replications = pool.map(replicate, jobs, lambda done: tell("replications", done, len(jobs)))
        outcomes = pool.map(
            drawn_outcomes, chunks, lambda done: tell("draws", min(done * DRAWS_PER_JOB, wanted), wanted)
        )
        drawn = drawn_worlds(scenario, [one for chunk in outcomes for one in chunk]) if wanted else None
        found = () if drawn is None else hinges(scenario, drawn, pool.map)
    return Result(scenario=scenario, engine=engine, replications=tuple(replications), draws=drawn, hinges=found)


def replicate(job: Replication) -> dict[Arm, list[Month]]:
    """One replication, at the centre of the inputs."""
    return run_arms(job.scenario, job.number, job.engine, prices=job.prices, usage=job.usage)


def drawn_outcomes(job: tuple[Scenario, Sequence[int]]) -> list[Outcome]:
    """What some draws came to."""
    scenario, draws = job
    return [outcome(scenario, inputs_of_draw(scenario, draw)) for draw in draws]


def drawn_worlds(scenario: Scenario, outcomes: Sequence[Outcome]) -> DrawnWorlds:
    """All draws together, with the centre of the inputs beside them."""
    inputs = [inputs_of_draw(scenario, draw) for draw in range(len(outcomes))]
    return DrawnWorlds(
        inputs={key: np.array([values[key] for values in inputs]) for key in scenario.uncertain},
        consumption={arm: np.array([one.consumption[arm] for one in outcomes]) for arm in ARMS},
        headlines={name: np.array([one.headlines[name] for one in outcomes]) for name in outcomes[0].headlines},
        centre=outcome(scenario, {}).at_horizon,
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
