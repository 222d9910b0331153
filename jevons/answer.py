"""The answer of a run: what was simulated, and every figure that is made of it.

`Result` holds the months of all replications, in stacks, and the consumption of all draws; rebound, verdicts,
decomposition, tables and series are properties of it, computed when asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp as exp_of_float
from math import log
from typing import TYPE_CHECKING, Literal

import numpy as np

from jevons.dates import month_start, months_between
from jevons.display import Shown
from jevons.finance.monthly import VENDOR_UNITS
from jevons.finance_summary import FinanceSummary, finance_summary
from jevons.hours import Hours, hours_of_stacks
from jevons.model import shock_month
from jevons.month_figures import anchored, factors_of, figures, figures_of_stack, headlines, training_headlines
from jevons.months import Month, Stack
from jevons.randomness import Floats
from jevons.rebound import (
    Decomposition,
    DrawnRebound,
    Rebound,
    arm_rebound,
    drawn_rebound,
    lmdi,
    rebound,
    relative_change,
)
from jevons.results import Estimate, Series
from jevons.scenario import ARMS, Anchor, Arm, Scenario
from jevons.stacks import PerWorld, of_world
from jevons.units import DAYS_PER_MONTH

if TYPE_CHECKING:
    import pandas as pd

Window = Literal["horizon", "cumulated"]
#: The arms that the shock sets apart.
PAIR: tuple[Arm, Arm] = ("shock", "baseline")

RESOURCE_UNITS = {"gpu_hours": "H100e-hours", "energy_mwh": "MWh", "usd": "USD"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnWorlds:
    """What came of draws of the uncertain inputs, served in closed form."""

    #: Values of each uncertain input, by its key, shape (draws,).
    inputs: Mapping[str, Floats]
    #: Consumption each day in each arm, shape (draws, months).
    consumption: Mapping[Arm, Floats]
    #: Headline figures of each arm at the horizon, and before the shock, by name, shape (draws,).
    headlines: Mapping[tuple[str, str], Floats]
    #: Consumption at the horizon with every input at its centre, closed form.
    centre: Mapping[Arm, float]

    @property
    def count(self) -> int:
        """Number of draws."""
        return len(self.consumption["baseline"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Hinge:
    """An uncertain input on which the verdict hinges, or does not."""

    #: Inputs that are drawn together.
    keys: tuple[str, ...]
    #: Rank correlation of its draws with the rebound.
    rank_correlation: float
    #: Value at the centre of the first of its inputs, and the one at which the rebound is 1.
    centre: float
    break_even: float | None
    #: Whether the rebound is above 1 for values larger than the break-even.
    backfires_above: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorFit:
    """An observation, and what the baseline makes of it."""

    name: str
    anchor: Anchor
    model_factor: float


@dataclass(frozen=True, kw_only=True, repr=False)
class Result(Shown):
    """What a scenario of kind market came to."""

    #: As it was given, distributions included.
    scenario: Scenario
    #: Engine that served the replications.
    engine: str
    #: The months of each arm with the inputs at their centres: the worlds of the stacks are the replications.
    stacks: tuple[Stack, ...]
    #: None when nothing is uncertain, or no draws were asked for.
    draws: DrawnWorlds | None = None
    hinges: tuple[Hinge, ...] = ()

    @property
    def shock_month(self) -> int:
        """First month after the shock."""
        return shock_month(self.scenario)

    @cached_property
    def months(self) -> list[dt.date]:
        """First day of each month, shape (months,)."""
        return [month_start(self.scenario.run.start, month) for month in range(self.scenario.run.months)]

    @cached_property
    def replications(self) -> list[dict[Arm, list[Month]]]:
        """The months of each arm, for each replication: figures as plain numbers."""
        return [stack.world(number) for stack in self.stacks for number in range(stack.worlds)]

    def months_of_replications(self, arm: Arm, month: int) -> list[Month]:
        """A month of an arm in each replication: figures as plain numbers."""
        return [of_world(stack.arms[arm][month], number) for stack in self.stacks for number in range(stack.worlds)]

    @property
    def replication_count(self) -> int:
        """Number of replications."""
        return sum(stack.worlds for stack in self.stacks)

    def of_replications(self, figure: Callable[[Month], PerWorld], arm: Arm, month: int) -> Floats:
        """A figure of a month of an arm, shape (replications,)."""
        return np.concatenate([stack.column(figure(stack.arms[arm][month])) for stack in self.stacks])

    @cached_property
    def consumption(self) -> dict[Arm, Floats]:
        """Consumption of the scenario's resource each day, by arm, shape (replications, months)."""
        resource = self.scenario.run.resource
        return {
            arm: np.concatenate(
                [stack.paths(arm, lambda month: month.consumption_per_day(resource)) for stack in self.stacks]
            )
            for arm in ARMS
        }

    @cached_property
    def rebound(self) -> Rebound:
        """Rebound and verdicts at the horizon, inputs at their centres; widths are those of the replications."""
        return self._rebound("horizon")

    @cached_property
    def rebound_cumulated(self) -> Rebound:
        """Rebound and verdicts cumulated since the shock, inputs at their centres."""
        return self._rebound("cumulated")

    @cached_property
    def drawn(self) -> DrawnRebound | None:
        """Rebound and verdicts at the horizon over draws of the uncertain inputs."""
        return self._drawn("horizon")

    @cached_property
    def drawn_cumulated(self) -> DrawnRebound | None:
        """Rebound and verdicts cumulated since the shock over draws of the uncertain inputs."""
        return self._drawn("cumulated")

    def _rebound(self, window: Window) -> Rebound:
        consumed = {arm: self._windowed(paths, window) for arm, paths in self.consumption.items()}
        saved = consumed["baseline"].mean() / consumed["frozen"].mean() if consumed["frozen"].mean() > 0 else 1.0
        return arm_rebound(
            consumed, before=self._before(self.consumption["baseline"], window), gain=saved, confidence=self._confidence
        )

    def _drawn(self, window: Window) -> DrawnRebound | None:
        if self.draws is None:
            return None
        consumed = {arm: self._windowed(paths, window) for arm, paths in self.draws.consumption.items()}
        before = self._before(self.draws.consumption["baseline"], window)
        return drawn_rebound(consumed, before=before, confidence=self._confidence)

    def _windowed(self, paths: Floats, window: Window) -> Floats:
        """Consumption at the horizon (each day) or since the shock (in all), shape (samples,)."""
        return paths[:, -1] if window == "horizon" else DAYS_PER_MONTH * paths[:, self.shock_month :].sum(axis=1)

    def _before(self, paths: Floats, window: Window) -> Floats:
        """Consumption of the month before the shock over a period as long, shape (samples,)."""
        months = self.scenario.run.months - self.shock_month
        before = paths[:, max(self.shock_month - 1, 0)]
        return before if window == "horizon" else DAYS_PER_MONTH * months * before

    @property
    def _confidence(self) -> float:
        return self.scenario.run.confidence

    def drawn_path_of_rebound(self) -> tuple[Floats, Floats, Floats] | None:
        """Median and interval of the rebound in each month since the shock, shape (months since,)."""
        if self.draws is None:
            return None
        arms = [self.draws.consumption[arm][:, self.shock_month :] for arm in ("baseline", "frozen", "shock")]
        values = np.array(
            [[np.nan if (r := rebound(*cell)) is None else r for cell in zip(*rows, strict=True)]
             for rows in zip(*(arm.tolist() for arm in arms), strict=True)]
        )  # fmt: skip
        tail = (1 - self._confidence) / 2
        defined = ~np.isnan(values).any(axis=0)
        ends = np.full((3, values.shape[1]), np.nan)
        ends[:, defined] = np.quantile(values[:, defined], [0.5, tail, 1 - tail], axis=0)
        return ends[0], ends[1], ends[2]

    def headline(self, figure: str, arm: Arm, month: int) -> Estimate:
        """A headline figure of an arm in a month, its width that of the replications."""
        return Estimate.from_replications(self._headlines(figure, arm, month), self._confidence)

    def _headlines(self, figure: str, arm: Arm, month: int) -> Floats:
        return self.of_replications(lambda one: headlines(one)[figure], arm, month)

    def headline_change(self, figure: str) -> tuple[Estimate | None, Estimate | None]:
        """Change of a headline figure by the shock at the horizon: over replications, and over draws."""
        shock, baseline = (self._headlines(figure, arm, -1) for arm in PAIR)
        noise = relative_change(shock, baseline, self._confidence) if baseline.all() else None
        if self.draws is None or noise is None:
            return noise, None
        drawn, reference = self.draws.headlines["shock", figure], self.draws.headlines["baseline", figure]
        defined = reference > 0
        changes = drawn[defined] / reference[defined] - 1.0
        return noise, Estimate.from_draws(changes, self._confidence) if len(changes) else None

    @cached_property
    def closed_form_gap(self) -> float | None:
        """Change by the shock in closed form over that of the simulation, minus 1: what the draws are off by."""
        if self.draws is None:
            return None
        last = {arm: self.consumption[arm][:, -1] for arm in PAIR}
        if training_headlines(self.stacks[0].arms["baseline"][-1]):
            # Jobs are few and large: their luck in one replication would hide what the engines differ in.
            simulated = last["shock"].mean() / last["baseline"].mean()
        else:
            # Both with the lead times and the noise of the first replication, so that the engines alone differ.
            simulated = last["shock"][0] / last["baseline"][0]
        return float(self.draws.centre["shock"] / self.draws.centre["baseline"] / simulated - 1.0)

    def decomposition(self, start: Arm = "frozen", end: Arm = "shock") -> Decomposition:
        """What each factor makes of the difference between two arms at the horizon (LMDI), means of replications."""
        resource = self.scenario.run.resource
        parts = [
            lmdi(*factors)
            for stack in self.stacks
            for factors in zip(
                *(stack.each(factors_of(stack.arms[arm][-1], resource)) for arm in (start, end)), strict=True
            )
        ]
        n = len(parts)
        return Decomposition(
            parts={
                factor: tuple(sum(values) / n for values in zip(*(part.parts[factor] for part in parts), strict=True))
                for factor in parts[0].parts
            },
            start=tuple(sum(values) / n for values in zip(*(part.start for part in parts), strict=True)),
            end=tuple(sum(values) / n for values in zip(*(part.end for part in parts), strict=True)),
        )

    @cached_property
    def channels(self) -> dict[str, float]:
        """Points of the potential saving that the engineering takes and each factor gives back; they sum to R - 1."""
        baseline, frozen = (float(self.consumption[arm][:, -1].mean()) for arm in ("baseline", "frozen"))
        saving = baseline - frozen
        if rebound(baseline, frozen, frozen) is None:
            return {}
        given_back = {name: 100.0 * effect / saving for name, effect in self.decomposition().effects.items()}
        return {"engineering": -100.0, **{name: points for name, points in given_back.items() if abs(points) > 1e-9}}

    @cached_property
    def segment_rebounds(self) -> dict[str, float | None]:
        """Rebound of each segment's GPU-hours at the horizon, means of replications."""
        return {
            name: rebound(*(self._gpu_hours_of(name, arm) for arm in ("baseline", "frozen", "shock")))
            for name in self.scenario.segments
        }

    def _gpu_hours_of(self, segment: str, arm: Arm) -> float:
        def gpu_hours(month: Month) -> PerWorld:
            return sum(part.gpu_hours_per_day for part in month.segments if part.segment == segment)

        return float(self.of_replications(gpu_hours, arm, -1).mean())

    @cached_property
    def anchors(self) -> list[AnchorFit]:
        """What the baseline makes of each observation that it is compared with."""
        return [
            AnchorFit(name=name, anchor=anchor, model_factor=self._model_factor(anchor))
            for name, anchor in self.scenario.anchors.items()
        ]

    def _model_factor(self, anchor: Anchor) -> float:
        """Factor by which the baseline's series moves between two days, log-linear between months.

        Of a series that begins later than the comparison, from its first month.
        """
        path = [
            float(self.of_replications(lambda one: anchored(one, anchor), "baseline", month).mean())
            for month in range(self.scenario.run.months)
        ]
        start, end = (self._log_at(path, date) for date in (anchor.start, anchor.end))
        return exp_of_float(end - start)

    def _log_at(self, path: Sequence[float], date: dt.date) -> float:
        first = next(month for month, value in enumerate(path) if value > 0)
        position = min(max(months_between(self.scenario.run.start, date), first), len(path) - 1)
        months = range(first, len(path))
        return float(np.interp(position, months, [log(path[month]) for month in months]))

    @cached_property
    def finance(self) -> FinanceSummary | None:
        """What the shock does to the vendor's value and margin, and how far it falls; None without a vendor."""
        if self.scenario.vendor is None:
            return None
        names = VENDOR_UNITS.keys() & headlines(self.stacks[0].arms["shock"][-1]).keys()
        pairs: dict[tuple[str, str], Floats] = {
            (arm, name): self._headlines(name, arm, -1) for arm in PAIR for name in names
        }
        return finance_summary(pairs, None if self.draws is None else self.draws.headlines, self._confidence)

    @property
    def probability_of_backfire(self) -> Estimate | None:
        """Share of the draws whose rebound at the horizon is above 1; None without draws."""
        return None if self.drawn is None else self.drawn.backfire

    @property
    def series(self) -> pd.DataFrame:
        """Every monthly figure of every replication, one a row: a tidy data frame."""
        return self.monthly.to_pandas()

    @property
    def hours(self) -> pd.DataFrame:
        """The served days of every replication, one hour a row: a tidy data frame."""
        return self.hourly.to_pandas()

    @cached_property
    def monthly(self) -> Series:
        """What `series` is made of, without pandas."""
        first, months = self.stacks[0], self.months
        labels = [
            (arm, months[month.month].isoformat(), region, segment, metric, unit)
            for arm in ARMS
            for month in first.arms[arm]
            for region, segment, metric, _, unit in figures(month)
        ]
        return Series.of_replications(labels, np.concatenate([figures_of_stack(stack) for stack in self.stacks]))

    @cached_property
    def hourly(self) -> Hours:
        """What `hours` is made of, without pandas."""
        return hours_of_stacks(self.stacks, self.scenario, self.months)

    def hourly_of(self, replications: int) -> Hours:
        """The served days of the first replications, one hour a row."""
        return hours_of_stacks(self.stacks, self.scenario, self.months, replications)
