"""On which uncertain inputs the verdict hinges, and where each of them turns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jevons.answer import DrawnWorlds, Hinge
from jevons.draws import Outcomes, central_inputs, drawn_together, outcomes
from jevons.randomness import Floats
from jevons.rebound import rebound
from jevons.scenario import ARMS, Scenario

#: Inputs that are looked at, those with the strongest rank correlation first.
MOST_HINGES = 3
#: Quantiles of an input between which its break-even is sought.
ENDS = (0.005, 0.995)
#: Parts into which that interval is divided, and the one in which the verdict turns again: to 1/1000 of a quantile.
PARTS = 32


def hinges(scenario: Scenario, drawn: DrawnWorlds) -> tuple[Hinge, ...]:
    """The inputs that move the rebound most, each with the value at which it is 1 if the others stay put."""
    values = rebounds(drawn)
    groups = drawn_together(scenario.uncertain).values()
    strength = {keys: rank_correlation(drawn.inputs[keys[0]], values) for keys in groups}
    ranked = sorted(strength, key=lambda keys: -abs(strength[keys]))[:MOST_HINGES]
    return hinges_of(scenario, {keys: strength[keys] for keys in ranked})


def hinges_of(scenario: Scenario, correlations: Mapping[tuple[str, ...], float]) -> tuple[Hinge, ...]:
    """Where inputs that are drawn together turn the verdict, by their keys; correlations are passed on.

    All inputs are looked at together, at equal steps of their quantile and then at smaller ones where the excess of
    the rebound over 1 first leaves the sign that it has at the low end.  An input whose ends agree, or at whose
    ends there is no rebound, does not turn it.
    """
    groups = list(correlations)
    grids = [np.linspace(*ENDS, PARTS + 1)] * len(groups)
    coarse = excess_rebounds(scenario, list(zip(groups, grids, strict=True)))
    turning = [i for i, excess in enumerate(coarse) if excess[0] * excess[-1] <= 0]
    narrow = [np.linspace(*turn(grids[i], coarse[i]), PARTS + 1) for i in turning]
    fine = excess_rebounds(scenario, [(groups[i], grid) for i, grid in zip(turning, narrow, strict=True)])
    shares = {i: float(np.mean(turn(grid, excess))) for i, grid, excess in zip(turning, narrow, fine, strict=True)}
    uncertain = scenario.uncertain
    return tuple(
        Hinge(
            keys=keys,
            rank_correlation=correlations[keys],
            centre=uncertain[keys[0]].central,
            break_even=uncertain[keys[0]].quantile(shares[i]) if i in shares else None,
            backfires_above=bool(coarse[i][-1] > 0) if i in shares else None,
        )
        for i, keys in enumerate(groups)
    )


def turn(grid: Floats, excess: Floats) -> tuple[float, float]:
    """The two points of a grid between which a row first leaves the sign of its first, or is not defined any more."""
    last = int(np.argmax(~(excess[1:] * excess[0] > 0)))
    return float(grid[last]), float(grid[last + 1])


def excess_rebounds(scenario: Scenario, grids: Sequence[tuple[tuple[str, ...], Floats]]) -> list[Floats]:
    """Rebound at the horizon above 1, with some inputs at each quantile of a grid and the others at their centres.

    Parameters
    ----------
    scenario : Scenario
    grids : sequence of (keys, ndarray of shape (points,))
        Inputs that are moved together, and the quantiles they are moved to.

    Returns
    -------
    list of ndarray, shape (points,)
        NaN where the rebound is not defined.
    """
    if not grids:
        return []
    uncertain, centre = scenario.uncertain, central_inputs(scenario)
    moved = {key for keys, _ in grids for key in keys}
    inputs = {
        key: np.concatenate(
            [
                [uncertain[key].quantile(share) for share in grid.tolist()]
                if key in keys
                else [centre[key]] * len(grid)
                for keys, grid in grids
            ]
        )
        for key in moved
    }
    excess = rebounds(outcomes(scenario, inputs)) - 1.0
    return np.split(excess, np.cumsum([len(grid) for _, grid in grids])[:-1])


def rebounds(worlds: DrawnWorlds | Outcomes) -> Floats:
    """Rebound at the horizon in each world, NaN where it is not defined, shape (worlds,)."""
    arms = [worlds.consumption[arm][:, -1].tolist() for arm in ARMS]
    values = [rebound(*one) for one in zip(*arms, strict=True)]
    return np.array([np.nan if value is None else value for value in values])


def rank_correlation(x: Floats, y: Floats) -> float:
    """Spearman's rank correlation over the draws in which both are defined; 0 where either does not vary."""
    defined = ~(np.isnan(x) | np.isnan(y))
    ranks = [np.argsort(np.argsort(values[defined], kind="stable"), kind="stable") for values in (x, y)]
    if defined.sum() < 3 or np.ptp(x[defined]) == 0 or np.ptp(y[defined]) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
