"""Two or more runs side by side: every figure, its difference with its width, and the inputs behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jevons.answer import Result
from jevons.dates import month_start
from jevons.display import Shown
from jevons.draws import inputs_of_draws, outcomes
from jevons.errors import JevonsError, UsageError
from jevons.model import shock_month
from jevons.randomness import Floats
from jevons.rebound import rebound
from jevons.results import Estimate, Series, student_t
from jevons.scenario import Arm, Scenario

#: What a reader compares: each arm at the horizon, and the month before the shock.
Moment = str
MOMENTS: dict[Moment, Arm] = {"before": "baseline", "without": "baseline", "with": "shock"}

#: Inputs that say how a run is made or told; they have no bearing on the world that is simulated.
NOT_OF_THE_WORLD = ("name", "title", "description", "sources", "anchors", "lesson", "run.seed", "run.replications",
                    "run.draws", "run.resolution", "run.sampled_minutes_per_hour", "run.confidence")  # fmt: skip
#: Figures of one arm: name, unit, and how the series' rows make it.
REGION_FIGURES = {
    "gpu_hours": ("gpu_hours_per_day", "H100e-h/day"),
    "serving": ("serving_gpu_hours_per_day", "H100e-h/day"),
    "budgets": ("budget_gpu_hours_per_day", "H100e-h/day"),
    "installed": ("installed_h100e", "H100e"),
    "energy": ("energy_mwh_per_day", "MWh/day"),
    "spend": ("usd_per_day", "USD/day"),
    "vendor revenue": ("vendor_revenue_of_year_usd", "USD/year"),
    "vendor margin": ("vendor_margin", "1"),
    "vendor value": ("vendor_value_usd", "USD"),
}
CONSUMPTION = {"gpu_hours": "gpu_hours_per_day", "energy_mwh": "energy_mwh_per_day", "usd": "usd_per_day"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One of the runs compared: what was simulated, and its monthly figures."""

    name: str
    scenario: Scenario
    engine: str
    series: Series

    @cached_property
    def replications(self) -> int:
        """Number of replications."""
        return int(self.series.replication.max()) + 1 if len(self.series) else 0

    def month(self, moment: Moment) -> str:
        """First day of the month of a moment."""
        run = self.scenario.run
        month = max(shock_month(self.scenario) - 1, 0) if moment == "before" else run.months - 1
        return month_start(run.start, month).isoformat()

    @cached_property
    def figures(self) -> dict[tuple[str, Moment], tuple[str, Floats]]:
        """Unit and values of every figure at every moment, shape (replications,); rebound is at the horizon."""
        found = {(name, moment): (unit, v) for moment in MOMENTS for name, unit, v in self._figures(moment)}
        rebounds = self._rebounds()
        return found if rebounds is None else {**found, ("rebound", "horizon"): ("1", rebounds)}

    def _figures(self, moment: Moment) -> Iterator[tuple[str, str, Floats]]:
        rows = self.series.select(arm=MOMENTS[moment], month=self.month(moment))
        of_regions, tokens = rows.select(segment=""), rows.select(metric="tokens_per_day")
        served = [name for name, segment in self.scenario.segments.items() if segment.is_served]
        usage = {name: self._sums(tokens.select(segment=name)) for name in served}
        for name in served:
            spent = self._sums(_product(rows.select(segment=name), "price_usd_per_mtok", "tokens_per_day"))
            if usage[name].all():
                yield f"price, {name}", "USD/Mtok", spent / usage[name]
        for name in served:
            if usage[name].any():
                yield f"usage, {name}", "tok/day", usage[name]
        for name, (metric, unit) in REGION_FIGURES.items():
            values = self._sums(of_regions.select(metric=metric))
            if values.any():
                yield name, unit, values
        gpu_hours, spend = (self._sums(of_regions.select(metric=m)) for m in ("gpu_hours_per_day", "usd_per_day"))
        if gpu_hours.all():
            yield "rental price", "USD/GPU-h", spend / gpu_hours

    def _sums(self, rows: Series) -> Floats:
        """Sum of the rows of each replication, shape (replications,)."""
        sums = np.zeros(self.replications)
        np.add.at(sums, rows.replication, rows.value)
        return sums

    def _rebounds(self) -> Floats | None:
        metric = CONSUMPTION[self.scenario.run.resource]
        last = self.series.select(month=self.month("with"), segment="", metric=metric)
        arms = [self._sums(last.select(arm=arm)).tolist() for arm in ("baseline", "frozen", "shock")]
        values = [rebound(*worlds) for worlds in zip(*arms, strict=True)]
        known = [value for value in values if value is not None]
        return np.array(known) if len(known) == len(values) and known else None


def side(result: Result, name: str = "") -> Side:
    """A result as one side of a comparison."""
    scenario = result.scenario
    return Side(name=name or scenario.name, scenario=scenario, engine=result.engine, series=result.monthly)


def _product(rows: Series, one: str, other: str) -> Series:
    """Rows of one metric, their values multiplied by those of another at the same place."""
    first, second = rows.select(metric=one), rows.select(metric=other)
    return Series.of(
        [(*a[:6], a[6] * b[6], a[7]) for a, b in zip(first.rows(), second.rows(), strict=True)]
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A figure on two sides."""

    name: str
    moment: Moment
    unit: str
    first: float
    other: float
    #: The other less the first, in the unit; its width is that of the replications.
    difference: Estimate

    @property
    def relative(self) -> Estimate | None:
        """The difference as a share of the first; None when that is nothing."""
        return None if self.first <= 0 else self.difference.mapped(lambda value: value / self.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An input that differs."""

    key: str
    #: As JSON would hold them; None where a side does not have it.
    first: object
    other: object
    #: Whether it changes any figure of the other side; None if that could not be told, or was not asked.
    matters: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """One side against the first."""

    side: Side
    #: Whether both share their random numbers, replication by replication.
    is_paired: bool
    #: Why they do not, empty if they do.
    reason: str
    differences: tuple[Difference, ...]
    inputs: tuple[Input, ...]

    @property
    def idle_inputs(self) -> list[str]:
        """Differing inputs that change no figure."""
        return [one.key for one in self.inputs if one.matters is False]


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(Shown):
    """Several sides against the first of them."""

    first: Side
    others: tuple[Against, ...]


def compare(results: Sequence[Result | Side]) -> Comparison:
    """Compare runs, each with the first of them.

    Parameters
    ----------
    results : sequence of Result or Side
        At least two; a `Side` is what `jevons.report.files.read_run` reads of a run directory.

    Returns
    -------
    Comparison
        Differences are paired where seed, engine and number of replications are the same.

    Raises
    ------
    UsageError
        If there are fewer than two.
    """
    if len(results) < 2:
        raise UsageError("a comparison needs two runs, or more")
    first, *others = (one if isinstance(one, Side) else side(one) for one in results)
    return Comparison(first=first, others=tuple(against(first, other) for other in others))


def against(first: Side, other: Side) -> Against:
    """One side against the first."""
    reason = why_unpaired(first, other)
    combine = unpaired_difference if reason else paired_difference
    return Against(
        side=other,
        is_paired=not reason,
        reason=reason,
        differences=tuple(_differences(first, other, combine)),
        inputs=tuple(
            Input(key=one.key, first=one.first, other=one.other, matters=matters(one, first.scenario, other.scenario))
            for one in differing_inputs(first.scenario, other.scenario)
        ),
    )


def why_unpaired(first: Side, other: Side) -> str:
    """What keeps two sides from sharing their random numbers; empty if nothing does."""
    pairs = {
        "seeds": (first.scenario.run.seed, other.scenario.run.seed),
        "numbers of replications": (first.replications, other.replications),
        "engines": (first.engine, other.engine),
    }
    return " and ".join(f"{what} differ ({a} and {b})" for what, (a, b) in pairs.items() if a != b)


def _differences(
    first: Side, other: Side, combine: Callable[[Floats, Floats, float], Estimate]
) -> Iterator[Difference]:
    confidence = first.scenario.run.confidence
    for key, (unit, values) in first.figures.items():
        if key in other.figures:
            others = other.figures[key][1]
            yield Difference(
                name=key[0], moment=key[1], unit=unit, first=float(values.mean()), other=float(others.mean()),
                difference=combine(values, others, confidence),
            )  # fmt: skip


def paired_difference(first: Floats, other: Floats, confidence: float) -> Estimate:
    """Mean of the differences of replications that share their random numbers, other less first."""
    return Estimate.from_replications(other - first, confidence)


def unpaired_difference(first: Floats, other: Floats, confidence: float) -> Estimate:
    r"""Difference of the means of independent replications, other less first.

    .. math:: \bar y - \bar x \pm t_{\min(n, m) - 1} \sqrt{s_x^2 / n + s_y^2 / m}

    The degrees of freedom are those of the smaller sample, which is never too few [1]_.

    References
    ----------
    .. [1] B. L. Welch, "The significance of the difference between two means when the population variances
       are unequal", Biometrika 29 (1938), 350-362.
    """
    mean, samples = float(other.mean() - first.mean()), min(len(first), len(other))
    if samples < 2:
        return Estimate(
            mean=mean, confidence=confidence, samples=samples, kind="replications", reason="one sample has no spread"
        )
    error = math.sqrt(first.var(ddof=1) / len(first) + other.var(ddof=1) / len(other))
    half = student_t(confidence, samples - 1) * error
    return Estimate(
        mean=mean, low=mean - half, high=mean + half, confidence=confidence, samples=samples, kind="replications"
    )


# Inputs.


def differing_inputs(first: Scenario, other: Scenario) -> list[Input]:
    """Inputs, by dotted key, that two scenarios do not share."""
    mine, theirs = (dict(_leaves(scenario.canonical())) for scenario in (first, other))
    return [
        Input(key=key, first=mine.get(key), other=theirs.get(key))
        for key in dict.fromkeys([*mine, *theirs])
        if mine.get(key) != theirs.get(key)
    ]


def _leaves(content: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        # Keys of sources are patterns with dots of their own; distributions and lists are values.
        path = f"{prefix}{key}" if "." not in key else f'{prefix}"{key}"'
        if isinstance(value, dict) and value and "dist" not in value:
            yield from _leaves(value, f"{path}.")
        elif value not in (None, {}, []):
            yield path, value


def matters(one: Input, first: Scenario, other: Scenario) -> bool | None:
    """Whether the other side would come to other figures with this one input of the first.

    Told in closed form by one draw of the uncertain inputs, so that a changed width counts too; None for
    an input that has no bearing on the world, or cannot be put back alone.
    """
    if one.key.startswith(NOT_OF_THE_WORLD):
        return None
    try:
        put_back = other.replace({one.key: first_value(first, one.key)})
        as_it_is, changed = (outcomes(scenario, inputs_of_draws(scenario, [0])) for scenario in (other, put_back))
        return not as_it_is.agrees_with(changed)
    except (JevonsError, ValueError):
        return None


def first_value(scenario: Scenario, key: str) -> object:
    """Value that a scenario has under a dotted key."""
    value: object = scenario
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return json.loads(value.model_dump_json(exclude_none=True)) if hasattr(value, "model_dump_json") else value
