"""Draws of a scenario's uncertain inputs, and what one draw of them comes to in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jevons.answer import headlines
from jevons.model import run_arms, shock_month
from jevons.randomness import Draws
from jevons.scenario import ARMS, Arm, Distribution, Scenario

#: Engine of the draws: without the noise of single requests, which would hide what the inputs do.
DRAWS_ENGINE = "closed_form"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one draw came to."""

    #: Consumption each day in each arm, shape (months,).
    consumption: Mapping[Arm, list[float]]
    #: Headline figures by (arm, or `before`) and name.
    headlines: Mapping[tuple[str, str], float]

    @property
    def at_horizon(self) -> dict[Arm, float]:
        """Consumption each day in the last month, by arm."""
        return {arm: path[-1] for arm, path in self.consumption.items()}


def drawn_together(uncertain: Mapping[str, Distribution]) -> dict[str, tuple[str, ...]]:
    """Inputs by what is drawn for them: those of one label share a draw, the others have their own."""
    groups: dict[str, tuple[str, ...]] = {}
    for key, distribution in uncertain.items():
        label = distribution.together or key
        groups[label] = (*groups.get(label, ()), key)
    return groups


def inputs_of_draw(scenario: Scenario, draw: int) -> dict[str, float]:
    """Values of the uncertain inputs in a draw: functions of seed, draw and label alone."""
    uncertain = scenario.uncertain
    draws = Draws(seed=scenario.run.seed, replication=draw, place=("inputs",))
    share = {label: float(draws.uniform(label, 1)[0]) for label in drawn_together(uncertain)}
    return {key: d.quantile(share[d.together or key]) for key, d in uncertain.items()}


def inputs_at(scenario: Scenario, keys: Sequence[str], share: float) -> dict[str, float]:
    """Some inputs at the same quantile of their distributions; the others stay at their centres."""
    return {key: scenario.uncertain[key].quantile(share) for key in keys}


def outcome(scenario: Scenario, values: Mapping[str, float]) -> Outcome:
    """What the scenario comes to with the given inputs, the others at their centres.

    The noise of months and lead times is that of the first replication, in every draw the same.
    """
    arms = run_arms(scenario.at(values), 0, DRAWS_ENGINE)
    before = max(shock_month(scenario) - 1, 0)
    of_arms: dict[tuple[str, str], float] = {
        (arm, name): value for arm in ARMS for name, value in headlines(arms[arm][-1]).items()
    }
    of_before = {("before", name): value for name, value in headlines(arms["baseline"][before]).items()}
    resource = scenario.run.resource
    return Outcome(
        consumption={arm: [month.consumption_per_day(resource) for month in arms[arm]] for arm in ARMS},
        headlines={**of_arms, **of_before},
    )
