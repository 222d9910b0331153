"""Draws of a scenario's uncertain inputs, and what worlds with such inputs come to in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jevons.model import run_stack, shock_month
from jevons.month_figures import headlines
from jevons.months import Month
from jevons.randomness import Draws, Floats
from jevons.scenario import ARMS, Arm, Distribution, Scenario

#: Engine of the draws: without the noise of single requests, which would hide what the inputs do.
DRAWS_ENGINE = "closed_form"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """What a stack of worlds came to."""

    #: Values of the uncertain inputs that were given, shape (worlds,).
    inputs: Mapping[str, Floats]
    #: Consumption each day in each arm, shape (worlds, months).
    consumption: Mapping[Arm, Floats]
    #: Headline figures by (arm, or `before`) and name, shape (worlds,).
    headlines: Mapping[tuple[str, str], Floats]

    @property
    def at_horizon(self) -> dict[Arm, Floats]:
        """Consumption each day in the last month, by arm, shape (worlds,)."""
        return {arm: paths[:, -1] for arm, paths in self.consumption.items()}

    def agrees_with(self, other: Outcomes) -> bool:
        """Whether another stack came to the same figures, to the last bit."""
        mine, theirs = ({**one.consumption, **one.headlines} for one in (self, other))
        return mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)


def drawn_together(uncertain: Mapping[str, Distribution]) -> dict[str, tuple[str, ...]]:
    """Inputs by what is drawn for them: those of one label share a draw, the others have their own."""
    groups: dict[str, tuple[str, ...]] = {}
    for key, distribution in uncertain.items():
        label = distribution.together or key
        groups[label] = (*groups.get(label, ()), key)
    return groups


def inputs_of_draws(scenario: Scenario, draws: Sequence[int]) -> dict[str, Floats]:
    """Values of the uncertain inputs in some draws, shape (draws,): functions of seed, draw and label alone."""
    inputs: dict[str, Floats] = {}
    uncertain = scenario.uncertain
    places = [Draws(seed=scenario.run.seed, replication=draw, place=("inputs",)) for draw in draws]
    for label, keys in drawn_together(uncertain).items():
        shares = [float(place.uniform(label, 1)[0]) for place in places]
        for key in keys:
            inputs[key] = np.array([uncertain[key].quantile(share) for share in shares])
    return {key: inputs[key] for key in uncertain}


def central_inputs(scenario: Scenario) -> dict[str, float]:
    """The uncertain inputs at their centres."""
    return {key: distribution.central for key, distribution in scenario.uncertain.items()}


def outcomes(scenario: Scenario, inputs: Mapping[str, Floats]) -> Outcomes:
    """What a scenario comes to with some inputs, shape (worlds,) each, and the others at their centres.

    The noise of months and lead times is that of the first replication, in every world the same.
    """
    worlds = max((len(values) for values in inputs.values()), default=1)
    stack = run_stack(scenario.at(inputs), [0] * worlds, DRAWS_ENGINE, keeps_days=False)
    moments: dict[str, Month] = {arm: stack.arms[arm][-1] for arm in ARMS}
    moments["before"] = stack.arms["baseline"][max(shock_month(scenario) - 1, 0)]
    resource = scenario.run.resource
    return Outcomes(
        inputs=inputs,
        consumption={arm: stack.paths(arm, lambda month: month.consumption_per_day(resource)) for arm in ARMS},
        headlines={
            (moment, name): stack.column(figure)
            for moment, month in moments.items()
            for name, figure in headlines(month).items()
        },
    )


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """The outcomes of several stacks, one after the other."""
    return Outcomes(
        inputs={key: np.concatenate([part.inputs[key] for part in parts]) for key in parts[0].inputs},
        consumption={arm: np.concatenate([part.consumption[arm] for part in parts]) for arm in ARMS},
        headlines={name: np.concatenate([part.headlines[name] for part in parts]) for name in parts[0].headlines},
    )
