"""The rebound waterfall: what each channel makes of the saving, in the stated order and averaged over all orders.

Section 8 of the model.  The shock is solved anew under every set of its channels; the differences are told
twice, since the order in which channels are switched on matters where they work on each other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb, fsum, log2
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from jevons.answer import RESOURCE_UNITS, Window
from jevons.channels import Switched, channels_of, run_channels, subsets
from jevons.dates import month_start
from jevons.display import Shown
from jevons.draws import central_inputs, inputs_of_draws
from jevons.errors import UsageError
from jevons.model import shock_month
from jevons.months import Month
from jevons.randomness import Floats
from jevons.rebound import rebound
from jevons.results import Estimate
from jevons.scenario import Scenario
from jevons.units import DAYS_PER_MONTH

#: How the channels are credited: in the stated order; on average over all orders; as if there were no other channel; as
#: if all others were there.
View: TypeAlias = Literal["stated", "shapley", "alone", "last"]
VIEWS: tuple[View, ...] = ("stated", "shapley", "alone", "last")
WINDOWS: tuple[Window, ...] = ("horizon", "cumulated")
ENGINEERING = "engineering"
#: Replications at most, unless more are asked for: each costs as many worlds as there are sets of channels.
MOST_REPLICATIONS = 8
#: Most worlds of a stack.
WORLDS_PER_STACK = 1024


def stated_parts(values: npt.ArrayLike) -> Floats:
    r"""What each player adds when they come in their order, shape (n, ...), unit of `values`.

    .. math:: \phi_i = v(\{1, \dots, i\}) - v(\{1, \dots, i - 1\})

    Parameters
    ----------
    values : array_like, shape (2**n, ...)
        Value of every set of n players, in the order of `channels.subsets`.

    Examples
    --------
    >>> stated_parts([1.0, 2.0, 5.0, 10.0]).tolist()
    [1.0, 8.0]
    """
    v, n = _set_function(values)
    heads = v[[2**i - 1 for i in range(n + 1)]]
    return np.asarray(heads[1:] - heads[:-1])


def shapley_parts(values: npt.ArrayLike) -> Floats:
    r"""What each player adds on average over all orders: their Shapley values, shape (n, ...), unit of `values`.

    .. math::

        \phi_i = \sum_{S \not\ni i} \frac{|S|!\,(n - |S| - 1)!}{n!} \left[v(S \cup \{i\}) - v(S)\right]

    Parameters
    ----------
    values : array_like, shape (2**n, ...)
        Value :math:`v` of every set of n players, in the order of `channels.subsets`.

    Notes
    -----
    They are the only parts that sum to :math:`v(N) - v(\emptyset)`, are equal for players who add the same to every
    set, nought for one who adds nothing to any, and add up where set functions do [1]_.

    References
    ----------
    .. [1] L. S. Shapley, "A value for n-person games", in Contributions to the Theory of Games II, Princeton
       University Press, 1953, 307-317.
    .. [2] A. F. Shorrocks, "Decomposition procedures for distributional analysis: a unified framework based on the
       Shapley value", Journal of Economic Inequality 11 (2013), 99-126.

    Examples
    --------
    One doubles, the other takes fivefold: alone they add 1 and 4, after the other 5 and 8.

    >>> shapley_parts([1.0, 2.0, 5.0, 10.0]).tolist()
    [3.0, 6.0]
    """
    v, n = _set_function(values)
    sizes = subsets(n).sum(axis=1)
    weights = np.array([1.0 / (n * comb(n - 1, size)) for size in range(n)])
    return _over_players(n, v, lambda added, without: np.tensordot(weights[sizes[without]], added, axes=1))


def alone_parts(values: npt.ArrayLike) -> Floats:
    """What each player adds to the empty set, shape (n, ...), unit of `values`."""
    v, n = _set_function(values)
    return _over_players(n, v, lambda added, _: added[0])


def last_parts(values: npt.ArrayLike) -> Floats:
    """What each player adds to the set of all others, shape (n, ...), unit of `values`."""
    v, n = _set_function(values)
    return _over_players(n, v, lambda added, _: added[-1])


PARTS: Mapping[View, Callable[[npt.ArrayLike], Floats]] = {
    "stated": stated_parts, "shapley": shapley_parts, "alone": alone_parts, "last": last_parts,
}  # fmt: skip


def _set_function(values: npt.ArrayLike) -> tuple[Floats, int]:
    """Values of the sets, and how many players they are of."""
    v = np.asarray(values, dtype=np.float64)
    n = int(log2(len(v))) if v.ndim and len(v) else -1
    if n < 0 or len(v) != 2**n:
        raise ValueError(f"values must be of 1, 2, 4, 8, ... sets, not {v.shape}")
    return v, n


def _over_players(players: int, v: Floats, credit: Callable[[Floats, npt.NDArray[np.intp]], npt.ArrayLike]) -> Floats:
    """For each player a credit of what they add to the sets without them, and of the numbers of these sets."""
    sets, found = subsets(players), np.empty((players, *v.shape[1:]))
    for player in range(players):
        without = np.flatnonzero(~sets[:, player])
        found[player] = credit(v[without + 2**player] - v[without], without)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """What the shock makes of a consumption, channel by channel; in the unit of the consumption."""

    channels: tuple[str, ...]
    #: Consumption without the shock.
    baseline: float
    #: Consumption with the shock under every set of channels, shape (2**channels,), in the order of `subsets`.
    values: Floats

    @property
    def frozen(self) -> float:
        """Consumption with the shock and no channel."""
        return float(self.values[0])

    @property
    def shock(self) -> float:
        """Consumption with the shock and all channels."""
        return float(self.values[-1])

    @property
    def total(self) -> float:
        """What the shock changes, which the parts sum to in the stated order and by Shapley."""
        return self.shock - self.baseline

    @property
    def rebound(self) -> float | None:
        """Share of the potential saving that is taken back; None where nothing is saved."""
        return rebound(self.baseline, self.frozen, self.shock)

    def parts(self, view: View) -> dict[str, float]:
        """What the engineering and each channel contribute."""
        credited = PARTS[view](self.values).tolist()
        return {ENGINEERING: self.frozen - self.baseline, **dict(zip(self.channels, credited, strict=True))}

    def points(self, view: View) -> dict[str, float]:
        """The parts in hundredths of the potential saving: engineering takes 100; nothing where nothing is saved.

        Those of the channels sum to 100 times the rebound, in the stated order and by Shapley.
        """
        if self.rebound is None:
            return {}
        saving = self.baseline - self.frozen
        return {name: 100.0 * part / saving for name, part in self.parts(view).items()}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Waterfall(Shown):
    """The rebound of a scenario by channel, in closed form."""

    #: As it was given, distributions included.
    scenario: Scenario
    channels: tuple[str, ...]
    #: Each replication with the inputs at their centres: each day of the last month, and everything since the shock.
    replications: Mapping[Window, Sequence[Split]]
    #: The same for each draw of the uncertain inputs.
    draws: Mapping[Window, Sequence[Split]]

    @cached_property
    def centre(self) -> dict[Window, Split]:
        """The mean of the replications."""
        return {window: mean_split(splits) for window, splits in self.replications.items()}

    @property
    def unit(self) -> str:
        """Unit of what is consumed."""
        return RESOURCE_UNITS[self.scenario.run.resource]

    @property
    def horizon(self) -> dt.date:
        """First day of the last month."""
        return month_start(self.scenario.run.start, self.scenario.run.months - 1)

    @property
    def months_since_shock(self) -> int:
        """Months that begin after the shock."""
        return self.scenario.run.months - shock_month(self.scenario)

    def drawn_points(self, window: Window, view: View) -> dict[str, Estimate]:
        """Points of each part over the draws in which there is a saving; nothing without any such draw."""
        drawn = [points for split in self.draws[window] if (points := split.points(view))]
        confidence = self.scenario.run.confidence
        return (
            {name: Estimate.from_draws([points[name] for points in drawn], confidence) for name in drawn[0]}
            if drawn
            else {}
        )


def mean_split(splits: Sequence[Split]) -> Split:
    """The split of mean consumptions, whose parts are the means of the parts."""
    return Split(
        channels=splits[0].channels,
        baseline=fsum(split.baseline for split in splits) / len(splits),
        values=sum(split.values for split in splits[1:]) / len(splits) + splits[0].values / len(splits),
    )


def waterfall(scenario: Scenario, *, draws: int = 0, replications: int | None = None) -> Waterfall:
    """Solve the shock of a scenario under every set of its channels, and tell what each contributes.

    Parameters
    ----------
    scenario : Scenario
        Of kind market.  Its resource is what is decomposed.
    draws : int
        Draws of the uncertain inputs to do the same for: each costs as much as a replication.
    replications : int, optional
        Replications at the centre of the inputs, of which the mean is told; those of the scenario, at most
        `MOST_REPLICATIONS`, if not given.

    Returns
    -------
    Waterfall
        Served in closed form, draws with the noise and lead times of the first replication: a pure function of the
        arguments.

    Raises
    ------
    UsageError
        If the scenario is one of a day, no month begins after its shock, or there are too few draws or replications.
    """
    count = min(scenario.run.replications, MOST_REPLICATIONS) if replications is None else replications
    _check(scenario, draws, count)
    inputs = _inputs(scenario, count, draws)
    numbers = [*range(count), *([0] * draws if inputs else [])]
    channels = channels_of(scenario.at(inputs))
    most = max(1, WORLDS_PER_STACK >> len(channels))
    splits: dict[Window, list[Split]] = {window: [] for window in WINDOWS}
    for first in range(0, len(numbers), most):
        chosen = {key: values[first : first + most] for key, values in inputs.items()}
        switched = run_channels(scenario, chosen, numbers[first : first + most], channels=channels)
        for window, found in splits.items():
            found += splits_of(switched, scenario, window)
    return Waterfall(
        scenario=scenario,
        channels=channels,
        replications={window: found[:count] for window, found in splits.items()},
        draws={window: found[count:] for window, found in splits.items()},
    )


def _check(scenario: Scenario, draws: int, replications: int) -> None:
    if scenario.kind != "market":
        raise UsageError("a scenario of kind day has no shock to decompose")
    if shock_month(scenario) >= scenario.run.months:
        raise UsageError("no month of the run begins after the shock, so there is nothing to decompose")
    if draws < 0:
        raise UsageError(f"draws must be at least 0, not {draws}")
    if replications < 1:
        raise UsageError(f"replications must be at least 1, not {replications}")


def _inputs(scenario: Scenario, replications: int, draws: int) -> dict[str, Floats]:
    """The uncertain inputs at their centres and then in each draw, shape (replications + draws,)."""
    drawn = inputs_of_draws(scenario, range(draws))
    return {key: np.array([*[centre] * replications, *drawn[key]]) for key, centre in central_inputs(scenario).items()}


def splits_of(switched: Switched, scenario: Scenario, window: Window) -> list[Split]:
    """The split of each of the worlds that were given."""

    def consumption(months: Sequence[Month]) -> Floats:
        """Consumption of every set and world, shape (sets, worlds)."""
        shape = (2 ** len(switched.channels), switched.worlds)
        chosen = months[-1:] if window == "horizon" else months
        days = 1.0 if window == "horizon" else DAYS_PER_MONTH
        total = sum(month.consumption_per_day(scenario.run.resource) for month in chosen)
        return np.broadcast_to(np.asarray(days * total), shape[0] * shape[1]).reshape(shape)

    without, under = consumption(switched.baseline), consumption(switched.shock)
    return [
        Split(channels=switched.channels, baseline=float(without[0, world]), values=under[:, world])
        for world in range(switched.worlds)
    ]
