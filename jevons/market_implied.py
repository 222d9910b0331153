"""`implied`: which elasticity, or which demand, makes the value of the GPU vendor fall by so much?

The value is that of the profit the model itself comes to, with the shock and without: what an investor would see who
believed the scenario.  Each draw of the other inputs has an answer of its own.  Section 9 of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import simpy

from jevons.crossings import crossings
from jevons.display import Shown
from jevons.draws import central_inputs, drawn_together, inputs_of_draws
from jevons.errors import UsageError
from jevons.finance.monthly import LARGEST_LOG_GROWTH, valued
from jevons.finance.valuation import path_value
from jevons.finance_summary import FALLS
from jevons.market import SegmentMarket
from jevons.model import ArmRun, Place, State, World, shock_month
from jevons.months import Month, SegmentMonth
from jevons.randomness import Floats
from jevons.results import Estimate, share
from jevons.scenario import Distribution, Scenario, Vendor
from jevons.stacks import PerWorld, exp, log
from jevons.units import MONTHS_PER_YEAR, SECONDS_PER_MONTH
from jevons.workers import Progress, Workers, checked_count

#: Fall of Nvidia's value on 27 January 2025.
FALL_OF_JANUARY_2025 = 0.17
#: The vendor of a scenario without one.  Margin and revenue of the quarter to October 2024, known before the shock:
#: 74.6 % gross, data centres 30.8 of 35.1 bn USD; the rest is assumption.
USUAL_VENDOR = Vendor(margin=0.75, other_revenue_share=0.12, discount_rate_per_year=0.1, gap_half_life_months=12.0)
#: Months at the end of the run in which the gap that goes on beyond it is measured.
GAP_MONTHS = 3

#: Quantiles of an input at which the fall is first computed; its first and last are those of the range check.
GRID = (1e-6, 0.04, 0.15, 0.3, 0.5, 0.7, 0.85, 0.96, 1.0 - 1e-6)
#: Growth of usage after the shock, as a multiple of the baseline's in logs, at which the fall is first computed.
GROWTHS = (-1.0, 0.0, 0.5, 0.8, 0.95, 1.05, 1.5)
#: Range in which an elasticity is sought that the scenario gives as a number.
ELASTICITIES = (-3.0, -0.1)
WORLDS_PER_STACK = 300

What = Literal["input", "demand"]
#: Whether the gap of the run's end stays beyond it, or closes as the baseline catches up with a pull-forward.
Reading = Literal["lasting", "closing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What makes the value fall by so much, over draws of the inputs that it leaves."""

    what: What
    reading: Reading
    #: Inputs moved together; none for demand.
    keys: tuple[str, ...]
    #: Ends of the range of the first of them, and the fall at either, the other inputs at their centres.
    low: float
    high: float
    fall_at_low: float
    fall_at_high: float
    #: With the other inputs at their centres; None where no value does it.
    at_centre: float | None
    #: Over the draws in which a value does it; None where none does.
    value: Estimate | None
    #: Share of the draws in which none does; None without draws.
    none: Estimate | None
    #: Largest and smallest fall in the range, over the draws, or at the centre without them.
    largest_fall: Estimate
    smallest_fall: Estimate
    #: The scenario's own value, and the quantile of its distribution at which the answer lies.
    scenario_value: float | None
    quantile: Estimate | None


@dataclass(frozen=True, kw_only=True, repr=False)
class Implied(Shown):
    """What a fall in the vendor's value says of demand."""

    scenario: Scenario
    fall: float
    #: That was valued, and whether it is assumed because the scenario has none.
    vendor: Vendor
    is_assumed: bool
    #: Draws of the inputs.
    draws: int
    #: None without a price elasticity; closing for a pull-forward only.
    input: Solution | None
    input_closing: Solution | None
    demand: Solution
    #: Growth of usage a year after the shock in the baseline, and the one of the answer, at the centre.
    growth_without: float
    growth_implied: float | None
    #: The scenario's own fall at the centre, and over draws of all inputs; closing for a pull-forward only.
    fall_at_centre: float
    own_fall: Estimate | None
    closing_fall_at_centre: float | None
    closing_own_fall: Estimate | None
    #: Share of the draws in which the value with the shock is so much below that without, by fall ...
    falls: Mapping[float, Estimate]
    #: ... and in which the value that investors see with the shock falls so far from its highest, with its quantiles.
    drawdowns: Mapping[float, Estimate]
    drawdown: Estimate | None
    drawdown_without: Estimate | None


def implied(
    scenario: Scenario,
    fall: float = FALL_OF_JANUARY_2025,
    *,
    key: str | None = None,
    between: tuple[float, float] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Implied:
    """What makes the value of the GPU vendor fall by so much at the shock: an elasticity, or a path of demand.

    Parameters
    ----------
    scenario : Scenario
        Of kind market, with a region that orders.  Without a `[vendor]` it is given `USUAL_VENDOR`, whose constant
        margin leaves all that is simulated as it is.
    fall : float
        Value with the shock below that without it, as a share; above 0 and below 1.
    key : str, optional
        Input to solve for, with those that are drawn together with it.  Not given: the price elasticities that most
        segments share.
    between : (float, float), optional
        Range to search instead of the input's own, which an input given as a number does not have.
    workers : int
        Processes; the result does not depend on them.
    progress : callable, optional
        Called with what is being done, how many worlds are done, and how many there are.

    Returns
    -------
    Implied
        A pure function of the arguments.  Where more than one value does it, the one nearest to the middle of
        the input's range is told.

    Raises
    ------
    UsageError
        If the scenario has no such input, no vendor can be valued, or an argument is out of its range.
    """
    given = _with_vendor(_checked(scenario, fall))
    search, keys = _searched(given, key, between)
    closes = scenario.shock is not None and scenario.shock.kind == "pull_forward"
    with Workers(checked_count(workers)) as pool:
        job = _Search(
            scenario=search,
            keys=keys,
            fall=fall,
            draws=[] if search.uncertain.keys() <= set(keys) else list(range(scenario.run.draws)),
            pool=pool,
            tell=progress or (lambda *_: None),
        )
        own = _own_falls(given, pool)
        found = job.solutions("input", np.array(GRID), closes) if keys else {}
        demand = job.solutions("demand", np.array(GROWTHS), closes=False)["lasting"]
    confidence = scenario.run.confidence
    growth = _growth_without(given)
    vendor = given.vendor
    assert vendor is not None, "it has been given one"
    return Implied(
        scenario=scenario,
        fall=fall,
        vendor=vendor,
        is_assumed=scenario.vendor is None,
        draws=len(own.lasting) - 1,
        input=found.get("lasting"),
        input_closing=found.get("closing"),
        demand=demand,
        growth_without=growth,
        growth_implied=None if demand.at_centre is None else float(growth**demand.at_centre),
        fall_at_centre=float(own.lasting[0]),
        own_fall=_estimate(own.lasting[1:], confidence),
        closing_fall_at_centre=float(own.closing[0]) if closes else None,
        closing_own_fall=_estimate(own.closing[1:], confidence) if closes else None,
        falls=_shares(own.lasting[1:], confidence),
        drawdowns=_shares(own.drawdowns[1:], confidence),
        drawdown=_estimate(own.drawdowns[1:], confidence),
        drawdown_without=_estimate(own.drawdowns_without[1:], confidence),
    )


def _estimate(values: Floats, confidence: float) -> Estimate | None:
    return Estimate.from_draws(values, confidence) if len(values) else None


def _shares(values: Floats, confidence: float) -> dict[float, Estimate]:
    return {one: share(int((values >= one).sum()), len(values), confidence) for one in FALLS if len(values)}


# What is asked.


def _checked(scenario: Scenario, fall: float) -> Scenario:
    if scenario.kind != "market":
        raise UsageError("a scenario of kind day has no months, and no vendor to value")
    if not 0.0 < fall < 1.0:
        raise UsageError(f"fall must be above 0 and below 1, not {fall:g}")
    if not any(region.fleet is not None and region.fleet.orders is not None for region in scenario.regions.values()):
        raise UsageError("no region of the scenario orders GPUs, so there is no vendor to value")
    return scenario


def _with_vendor(scenario: Scenario) -> Scenario:
    return scenario if scenario.vendor is not None else scenario.model_copy(update={"vendor": USUAL_VENDOR})


def _searched(
    scenario: Scenario, key: str | None, between: tuple[float, float] | None
) -> tuple[Scenario, tuple[str, ...]]:
    """The scenario with distributions for the inputs to solve for, and their keys."""
    uncertain = scenario.uncertain
    keys = _shared_elasticities(scenario) if key is None else _keys_with(scenario, key)
    if between is None and all(one in uncertain for one in keys):
        return scenario, keys
    if between is None and not all(one.endswith(".price_elasticity") for one in keys):
        raise UsageError(f"{keys[0]}: is a number, so a range to search is needed: between")
    low, high = between or ELASTICITIES
    if not low < high:
        raise UsageError(f"between must be two numbers that rise, not {low:g} and {high:g}")
    wide = {"dist": "uniform", "low": float(low), "high": float(high), "together": "implied"}
    has_vendor = "vendor" in scenario.model_fields_set
    changed = scenario.replace({one: None for one in keys if one in uncertain}).replace(dict.fromkeys(keys, wide))
    return (changed if has_vendor else _with_vendor(changed)), keys


def _shared_elasticities(scenario: Scenario) -> tuple[str, ...]:
    """Price elasticities of the segments that see a price: those drawn together by most of them, or the fixed ones."""
    sees_price = {
        f"segments.{name}.price_elasticity"
        for name, segment in scenario.segments.items()
        if segment.tariff == "metered" and segment.form != "derived"
    }
    groups = [tuple(key for key in keys if key in sees_price) for keys in drawn_together(scenario.uncertain).values()]
    fixed = tuple(sorted(sees_price - scenario.uncertain.keys()))
    return max((*groups, fixed), key=len, default=())


def _keys_with(scenario: Scenario, key: str) -> tuple[str, ...]:
    for keys in drawn_together(scenario.uncertain).values():
        if key in keys:
            return keys
    if key not in scenario.numbers():
        raise UsageError(f"{key}: is no number of the scenario")
    return (key,)


# What it comes to.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Falls:
    """Falls of the value by the shock in either reading, and the largest drawdowns, shape (worlds,)."""

    lasting: Floats
    closing: Floats
    drawdowns: Floats
    drawdowns_without: Floats

    def of(self, reading: Reading) -> Floats:
        """The falls of a reading."""
        return self.lasting if reading == "lasting" else self.closing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worlds:
    """Worlds to be valued."""

    scenario: Scenario
    inputs: Mapping[str, Floats]
    count: int
    #: None with the shock; otherwise without it, usage growing by these multiples of the baseline's, in logs.
    growths: Floats | None = None


class _ScaledRun(ArmRun):
    """The baseline once more, with usage that grows by other multiples of it, in logs, since a month."""

    reference: Mapping[int, Month]
    since: int
    growths: PerWorld

    def _demand(self, month: int, place: Place, market: SegmentMarket) -> SegmentMonth:
        demand = super()._demand(month, place, market)
        then = self.reference[max(self.since, market.first_month)].segment(*place).tokens_per_day
        grown = self.reference[month].segment(*place).tokens_per_day / then
        return demand.with_usage(demand.tokens_per_day * exp((self.growths - 1.0) * log(grown)))


def _falls(worlds: _Worlds) -> _Falls:
    """The falls of a stack of worlds, served in closed form."""
    scenario = worlds.scenario.at(worlds.inputs)
    world = World(scenario, [0] * worlds.count, "closed_form", {}, {}, keeps_days=False, threads=1)
    shock, end = shock_month(scenario), scenario.run.months
    before, state = world.run("baseline", 0, shock, world.opening())
    baseline, _ = world.run("baseline", shock, end, state.copy())
    if worlds.growths is None:
        other, _ = world.run("shock", shock, end, state.copy())
    else:
        other = _scaled(world, before + baseline, shock, state.copy(), worlds.growths)
    vendor = scenario.vendor
    assert vendor is not None, "it has been given one"
    without, with_shock = (_profits(months, worlds.count) for months in (baseline, other))
    gap = _needed(other, worlds.count) / _needed(baseline, worlds.count) - 1.0
    return _Falls(
        lasting=fall_of_value(without, with_shock, gap, vendor),
        closing=fall_of_value(without, with_shock, gap, vendor, gap_half_life_months=vendor.gap_half_life_months),
        drawdowns=_drawdown(other[-1], worlds.count),
        drawdowns_without=_drawdown(baseline[-1], worlds.count),
    )


def _scaled(world: World, baseline: Sequence[Month], shock: int, state: State, growths: Floats) -> list[Month]:
    """Months from the shock on, without it, usage growing otherwise."""
    clock = simpy.Environment(initial_time=shock * SECONDS_PER_MONTH)
    run = _ScaledRun(world, "baseline", state, clock, {})
    run.reference, run.since = {month.month: month for month in baseline}, shock - 1
    run.growths = cast(float, growths)
    clock.run(until=clock.process(run.months(shock, world.scenario.run.months)))
    return run.record


def _profits(months: Sequence[Month], worlds: int) -> Floats:
    """Profit booked in each month, shape (worlds, months), USD."""
    booked = [0.0 if month.vendor is None else month.vendor.booked_profit_usd for month in months]
    return np.stack([np.broadcast_to(np.asarray(profit), (worlds,)) for profit in booked], axis=1)


def _drawdown(last: Month, worlds: int) -> Floats:
    return np.array(np.broadcast_to(0.0 if last.vendor is None else last.vendor.largest_drawdown, (worlds,)))


def _needed(months: Sequence[Month], worlds: int) -> Floats:
    """What the vendor earns in the long run but for a factor, shape (worlds,): GPU-hours wanted, times profit on each.

    Orders themselves still swing at the end of a run, while a fleet that is too large or too small comes right.
    """
    wanted = [
        sum(r.wanted_gpu_hours_per_day for r in month.regions if r.installed_h100e is not None) * _profit_on_each(month)
        for month in months[-GAP_MONTHS:]
    ]
    return np.asarray(sum(np.broadcast_to(np.asarray(one), (worlds,)) for one in wanted) / len(wanted))


def _profit_on_each(month: Month) -> PerWorld:
    """Profit on a GPU over its first price."""
    return 0.0 if month.vendor is None else month.vendor.relative_gpu_price * month.vendor.profit_share


def fall_of_value(
    without: Floats,
    with_shock: Floats,
    gap: Floats,
    vendor: Vendor,
    *,
    gap_half_life_months: PerWorld | None = None,
) -> Floats:
    r"""Value of profit with the shock below that without it, as a share, shape (worlds,).

    .. math:: 1 - \frac{V_1}{V_0}, \qquad
              V = \sum_{h \le n} \pi_h (1+r)^{-h/12} + (1+r)^{-n/12}\, V_n

    Beyond the run, :math:`V_n`, profit without the shock goes on from its last year, its growth fading from that of
    the last two years to that of the long run; with the shock it stands off from there by a relative gap.

    Parameters
    ----------
    without, with_shock : ndarray, shape (worlds, months), USD/month
        Profit from the first month after the shock on.
    gap : ndarray, shape (worlds,)
        Relative distance of profit with the shock from that without it at the end of the run.
    vendor : Vendor
        With numbers, or those of a stack of worlds.
    gap_half_life_months : array_like, shape (...), month, optional
        Time in which half of the gap goes; it stays if not given.
    """
    months = without.shape[1]
    last = min(MONTHS_PER_YEAR, max(months // 2, 1))
    year = MONTHS_PER_YEAR / last * without[:, -last:].sum(axis=1)
    earlier = MONTHS_PER_YEAR / last * without[:, -2 * last : -last].sum(axis=1) if months > 1 else year
    floor = 1e-9 * np.maximum(without.sum(axis=1), 1e-9)
    growth = np.log(np.maximum(year, floor) / np.maximum(earlier, floor)) * MONTHS_PER_YEAR / last
    expected = np.clip(growth, -LARGEST_LOG_GROWTH, LARGEST_LOG_GROWTH)
    discount = np.exp(-months / MONTHS_PER_YEAR * np.log1p(vendor.discount_rate_per_year))

    def worth(path: Floats, off: PerWorld) -> Floats:
        beyond = valued(
            vendor, cast(float, np.maximum(year, floor)), cast(float, expected), gap=off,
            gap_half_life_months=gap_half_life_months,
        )  # fmt: skip
        return np.asarray(path_value(path, vendor.discount_rate_per_year) + discount * beyond)

    return np.asarray(1.0 - worth(with_shock, cast(float, gap)) / worth(without, 0.0))


def _own_falls(scenario: Scenario, pool: Workers) -> _Falls:
    """Falls of the scenario as it is: at the centre, then in its draws."""
    count = scenario.run.draws if scenario.uncertain else 0
    centre, drawn = central_inputs(scenario), inputs_of_draws(scenario, range(count))
    return _valued(scenario, {key: np.concatenate([[centre[key]], drawn[key]]) for key in drawn}, 1 + count, pool)


def _valued(
    scenario: Scenario, inputs: Mapping[str, Floats], count: int, pool: Workers, growths: Floats | None = None
) -> _Falls:
    """Falls of any number of worlds, stack by stack."""
    jobs = [
        _Worlds(
            scenario=scenario,
            inputs={key: values[first : first + WORLDS_PER_STACK] for key, values in inputs.items()},
            count=min(WORLDS_PER_STACK, count - first),
            growths=None if growths is None else growths[first : first + WORLDS_PER_STACK],
        )
        for first in range(0, count, WORLDS_PER_STACK)
    ]
    parts = pool.map(_falls, jobs)
    return _Falls(
        lasting=np.concatenate([part.lasting for part in parts]),
        closing=np.concatenate([part.closing for part in parts]),
        drawdowns=np.concatenate([part.drawdowns for part in parts]),
        drawdowns_without=np.concatenate([part.drawdowns_without for part in parts]),
    )


def _growth_without(scenario: Scenario) -> float:
    """Factor by which the tokens of the baseline grow each year after the shock, at the centre."""
    central = scenario.central()
    world = World(central, [0], "closed_form", {}, {}, keeps_days=False, threads=1)
    months, _ = world.run("baseline", 0, central.run.months, world.opening())
    first = max(shock_month(central) - 1, 0)
    start, end = (
        float(np.sum([s.tokens_per_day for s in months[month].segments if s.is_served])) for month in (first, -1)
    )
    return float((end / start) ** (MONTHS_PER_YEAR / (central.run.months - 1 - first))) if start > 0 else 1.0


# Where it lies.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """A search for what makes the value fall by so much, in the centre of the other inputs and in draws of them."""

    scenario: Scenario
    keys: tuple[str, ...]
    fall: float
    draws: Sequence[int]
    pool: Workers
    tell: Progress

    def solutions(self, what: What, grid: Floats, closes: bool) -> dict[Reading, Solution]:
        """What does it, in all samples at once: on a grid, then between the two of its points that hold the answer."""
        readings: tuple[Reading, ...] = ("lasting", "closing") if closes else ("lasting",)
        coarse = self._falls(what, np.repeat(grid[:, None], 1 + len(self.draws), axis=1))
        found: dict[Reading, Solution] = {}
        for number, reading in enumerate(readings, start=1):
            falls = coarse.of(reading).reshape(len(grid), -1)
            places = crossings(grid, falls - self.fall, self._excess(what, reading))
            found[reading] = self._told(what, reading, grid, falls, places)
            self.tell(what, number, len(readings))
        return found

    def _excess(self, what: What, reading: Reading) -> Callable[[Floats], Floats]:
        """Fall beyond the one wanted at one place of each sample."""
        return lambda places: self._falls(what, places[None, :]).of(reading) - self.fall

    def _falls(self, what: What, places: Floats) -> _Falls:
        """Falls at some places of the grid in each sample, shape (points, samples), one row after the other."""
        points = places.shape[0]
        others = {
            key: np.tile(np.concatenate([[centre], drawn]), points)
            for key, centre, drawn in self._others(keeps_keys=what == "demand")
        }
        flat = places.ravel()
        if what == "demand":
            return _valued(self.scenario, others, flat.size, self.pool, growths=flat)
        moved = {key: self._values(key, flat) for key in self.keys}
        return _valued(self.scenario, {**others, **moved}, flat.size, self.pool)

    def _others(self, *, keeps_keys: bool) -> list[tuple[str, float, Floats]]:
        """Inputs that are drawn, with their centre and their draws."""
        centre, drawn = central_inputs(self.scenario), inputs_of_draws(self.scenario, self.draws)
        return [(key, centre[key], drawn[key]) for key in centre if keeps_keys or key not in self.keys]

    def _values(self, key: str, quantiles: Floats) -> Floats:
        distribution: Distribution = self.scenario.uncertain[key]
        return np.array([distribution.quantile(float(one)) for one in quantiles])

    def _told(self, what: What, reading: Reading, grid: Floats, falls: Floats, places: Floats) -> Solution:
        confidence = self.scenario.run.confidence
        values = places if what == "demand" else self._values_or_nan(places)
        ends = grid[[0, -1]] if what == "demand" else self._values(self.keys[0], grid[[0, -1]])
        drawn, drawn_places = values[1:], places[1:]
        is_found = ~np.isnan(drawn)
        extremes = [reduce(falls[:, 1:] if len(drawn) else falls, axis=0) for reduce in (np.max, np.min)]
        has_range = what == "input" and "implied" not in (self.scenario.uncertain[self.keys[0]].together or "")
        at_centre = None if np.isnan(values[0]) else float(values[0])
        quantile = _estimate(drawn_places[is_found], confidence) if has_range else None
        if has_range and not len(drawn) and at_centre is not None:
            quantile = Estimate.from_draws([float(places[0])], confidence)
        return Solution(
            what=what,
            reading=reading,
            keys=self.keys if what == "input" else (),
            low=float(ends[0]),
            high=float(ends[1]),
            fall_at_low=float(falls[0, 0]),
            fall_at_high=float(falls[-1, 0]),
            at_centre=at_centre,
            value=_estimate(drawn[is_found], confidence),
            none=share(int((~is_found).sum()), len(drawn), confidence) if len(drawn) else None,
            largest_fall=Estimate.from_draws(extremes[0], confidence),
            smallest_fall=Estimate.from_draws(extremes[1], confidence),
            scenario_value=self.scenario.uncertain[self.keys[0]].central if has_range else None,
            quantile=quantile,
        )

    def _values_or_nan(self, places: Floats) -> Floats:
        known = np.where(np.isnan(places), 0.5, places)
        return np.where(np.isnan(places), np.nan, self._values(self.keys[0], known))
