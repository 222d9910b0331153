"""On which uncertain inputs the verdict hinges, and where each of them turns it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from jevons.answer import DrawnWorlds, Hinge
from jevons.draws import drawn_together, inputs_at, outcome
from jevons.randomness import Floats
from jevons.rebound import rebound
from jevons.scenario import Scenario

Job: TypeAlias = tuple[Scenario, tuple[str, ...], float]
#: Applies a function to each of some jobs.
Each: TypeAlias = Callable[[Callable[[Job], Hinge], Sequence[Job]], Iterable[Hinge]]

#: Inputs that are looked at, those with the strongest rank correlation first.
MOST_HINGES = 3
#: Quantiles of an input between which its break-even is sought.
ENDS = (0.005, 0.995)
#: Halvings of that interval: the quantile is known to 1/1000.
HALVINGS = 10


def hinges(scenario: Scenario, drawn: DrawnWorlds, each: Each = map) -> tuple[Hinge, ...]:
    """The inputs that move the rebound most, each with the value at which it is 1 if the others stay put.

    Parameters
    ----------
    scenario : Scenario
    drawn : DrawnWorlds
    each : callable, optional
        Applies a function to jobs, as `map` does; on several workers if it likes.
    """
    values = rebounds(drawn)
    groups = drawn_together(scenario.uncertain)
    strength = {label: rank_correlation(drawn.inputs[keys[0]], values) for label, keys in groups.items()}
    ranked = sorted(groups, key=lambda label: -abs(strength[label]))[:MOST_HINGES]
    return tuple(each(hinge, [(scenario, groups[label], strength[label]) for label in ranked]))


def hinge(job: Job) -> Hinge:
    """Where inputs that are drawn together turn the verdict, by halving the interval of their quantile."""
    scenario, keys, correlation = job
    low, high = ENDS
    at_low, at_high = (excess_rebound(scenario, keys, share) for share in ENDS)
    first = scenario.uncertain[keys[0]]
    if at_low is None or at_high is None or at_low * at_high > 0:
        break_even = None
    else:
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            excess = excess_rebound(scenario, keys, middle)
            low, high = (middle, high) if excess is not None and excess * at_low > 0 else (low, middle)
        break_even = first.quantile((low + high) / 2)
    return Hinge(
        keys=keys,
        rank_correlation=correlation,
        centre=first.central,
        break_even=break_even,
        backfires_above=None if break_even is None or at_high is None else at_high > 0,
    )


def excess_rebound(scenario: Scenario, keys: Sequence[str], share: float) -> float | None:
    """Rebound at the horizon above 1, with some inputs at a quantile and the others at their centres."""
    arms = outcome(scenario, inputs_at(scenario, keys, share)).at_horizon
    value = rebound(arms["baseline"], arms["frozen"], arms["shock"])
    return None if value is None else value - 1.0


def rebounds(drawn: DrawnWorlds) -> Floats:
    """Rebound at the horizon in each draw, NaN where it is not defined, shape (draws,)."""
    arms = [drawn.consumption[arm][:, -1].tolist() for arm in ("baseline", "frozen", "shock")]
    values = [rebound(*worlds) for worlds in zip(*arms, strict=True)]
    return np.array([np.nan if value is None else value for value in values])


def rank_correlation(x: Floats, y: Floats) -> float:
    """Spearman's rank correlation over the draws in which both are defined; 0 where either does not vary."""
    defined = ~(np.isnan(x) | np.isnan(y))
    ranks = [np.argsort(np.argsort(values[defined], kind="stable"), kind="stable") for values in (x, y)]
    if defined.sum() < 3 or np.ptp(x[defined]) == 0 or np.ptp(y[defined]) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
