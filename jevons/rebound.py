"""The answer to the question: how much of a saving is taken back, which way consumption goes, through what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats
from jevons.results import Estimate, ratio_of_means, share
from jevons.scenario.classes import Arm

Direction: TypeAlias = Literal["up", "down", "unchanged"]

#: A saving below this share of consumption is rounding: the shock saves nothing.
SMALLEST_SAVING = 1e-12
#: Rebounds and changes that differ by less are the same.
TOLERANCE = 1e-9

NOTHING_SAVED = "the shock saves nothing"


def rebound(baseline: float, frozen: float, shock: float) -> float | None:
    r"""Share of the engineering saving that is taken back, 1; None when the shock saves nothing.

    .. math:: R = \frac{E_{shock} - E_{frozen}}{E_{baseline} - E_{frozen}}

    Parameters
    ----------
    baseline, frozen, shock : float, any unit
        Consumption without the shock; with it, usage held; with it, usage free to respond.

    Returns
    -------
    float or None
        Below 0 super-conservation, 1 all of the saving, above 1 backfire: the Jevons paradox.

    Notes
    -----
    A loss of efficiency turns the signs of both differences round: R is then the share of the extra
    consumption that the response spares, and above 1 consumption falls.

    Examples
    --------
    A tenfold gain at the constant elasticity -2: (10**2 - 1)/(10 - 1).

    >>> rebound(baseline=1.0, frozen=0.1, shock=10.0)
    11.0
    """
    saving = baseline - frozen
    return None if abs(saving) <= SMALLEST_SAVING * abs(baseline) else (shock - frozen) / saving


def log_rebound(baseline: float, shock: float, gain: float) -> float | None:
    r"""Rebound in logs, 1, which a constant elasticity makes the same for shocks of every size.

    .. math:: 1 + \frac{\ln(E_{shock}/E_{baseline})}{\ln g}

    Parameters
    ----------
    baseline, shock : float, any unit
        Consumption without and with the shock.
    gain : float
        Factor :math:`g > 0` by which the same service needs less.

    Returns
    -------
    float or None
        None when the gain is 1 or nothing is consumed, whose logarithm is not finite.

    Examples
    --------
    >>> round(log_rebound(baseline=1.0, shock=10.0, gain=10.0), 12)
    2.0
    """
    if abs(math.log(gain)) <= SMALLEST_SAVING or baseline <= 0 or shock <= 0:
        return None
    return 1 + math.log(shock / baseline) / math.log(gain)


class Regime(StrEnum):
    """What a rebound is called."""

    SUPER_CONSERVATION = "super-conservation"
    NONE = "none"
    PARTIAL = "partial"
    FULL = "full"
    BACKFIRE = "backfire"

    @property
    def words(self) -> str:
        """The name in a sentence."""
        match self:
            case Regime.SUPER_CONSERVATION:
                return "super-conservation"
            case Regime.NONE:
                return "no rebound"
            case Regime.PARTIAL | Regime.FULL:
                return f"{self} rebound"
            case Regime.BACKFIRE:
                return "backfire, the Jevons paradox"


def regime(value: float, tolerance: float = TOLERANCE) -> Regime:
    """The regime of a rebound; within `tolerance` of 0 it is none, of 1 full."""
    if abs(value) <= tolerance:
        return Regime.NONE
    if abs(value - 1) <= tolerance:
        return Regime.FULL
    if value < 0:
        return Regime.SUPER_CONSERVATION
    return Regime.PARTIAL if value < 1 else Regime.BACKFIRE


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which way consumption goes, against the baseline (causal) or against the time before (gross)."""

    #: Change as a share of what it is compared with; None when that is nothing.
    change: Estimate | None

    @property
    def direction(self) -> Direction | None:
        """`up`, `down` or `unchanged`; None when there is nothing to compare with."""
        if self.change is None:
            return None
        if abs(self.change.mean) <= TOLERANCE:
            return "unchanged"
        return "up" if self.change.mean > 0 else "down"

    @property
    def certain(self) -> bool:
        """Whether every change in the interval has the direction stated."""
        if self.change is None or self.change.low is None or self.change.high is None:
            return False
        if self.direction == "unchanged":
            return max(-self.change.low, self.change.high) <= TOLERANCE
        return not self.change.covers(0.0)

    def __str__(self) -> str:
        if self.direction is None:
            return "not defined"
        return self.direction if self.certain else f"{self.direction}, not certain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebound:
    """The rebound of one world, its width that of the replications."""

    #: Ratio of the means; None when the shock saves nothing.
    value: Estimate | None
    #: Rebound in logs; None when the gain is 1 or nothing is consumed.
    log_value: Estimate | None
    #: Consumption with the shock against that without.
    causal: Verdict
    #: Consumption with the shock against that before it.
    gross: Verdict

    @property
    def mean(self) -> float | None:
        """The rebound itself; None when it is not defined."""
        return None if self.value is None else self.value.mean

    @property
    def interval(self) -> tuple[float, float] | None:
        """Ends of its interval over replications; None when their width is not known."""
        if self.value is None or self.value.low is None or self.value.high is None:
            return None
        return self.value.low, self.value.high

    @property
    def regime(self) -> Regime | None:
        """The regime of the value, None when there is none."""
        return None if self.value is None else regime(self.value.mean)

    def __str__(self) -> str:
        return f"{_rebound_words(self.value)}. {_verdict_words(self.gross, self.causal)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRebound:
    """The rebound over draws of the uncertain inputs, its width that of what is not known."""

    #: Median and interval of the draws in which it is defined; None when there are none.
    value: Estimate | None
    #: Share of those draws in which it is above 1.
    backfire: Estimate | None
    #: Draws left out, in which the shock saves nothing.
    undefined: int
    #: Median and interval of the change against the baseline.
    causal: Verdict
    #: Median and interval of the change against the time before.
    gross: Verdict

    @property
    def regime(self) -> Regime | None:
        """The regime of the median, None when there is none."""
        return None if self.value is None else regime(self.value.mean)

    def __str__(self) -> str:
        return f"{_rebound_words(self.value)}{self._odds}. {_verdict_words(self.gross, self.causal)}"

    @property
    def _odds(self) -> str:
        if self.backfire is None:
            return ""
        odds = f"{100 * self.backfire.mean:.0f} % of draws"
        left_out = f" ({self.undefined} more save nothing)" if self.undefined else ""
        return f"{', in' if self.regime is Regime.BACKFIRE else '; backfire in'} {odds}{left_out}"


def _rebound_words(value: Estimate | None) -> str:
    if value is None:
        return f"Rebound not defined: {NOTHING_SAVED}"
    return f"Rebound {value.as_percent}: {regime(value.mean).words}"


def _verdict_words(gross: Verdict, causal: Verdict) -> str:
    return f"Gross: {gross}. Causal: {causal}."


def arm_rebound(
    consumption: Mapping[Arm, npt.ArrayLike], *, before: npt.ArrayLike, gain: float, confidence: float
) -> Rebound:
    """Rebound and verdicts of one world, from what its paired replications consumed.

    Parameters
    ----------
    consumption : mapping of arm to array_like, shape (replications,), any unit
        Consumption in each arm, at the horizon or cumulated since the shock; a replication stands at
        the same place in all arms.
    before : array_like, shape (replications,), the same unit
        Consumption before the shock over a period as long.
    gain : float
        Factor by which the same service needs less, for the rebound in logs.
    confidence : float
        Share of the intervals that should hold the truth, between 0 and 1.

    Returns
    -------
    Rebound

    Raises
    ------
    ValueError
        If the arrays differ in length or hold a number that is not finite.
    """
    baseline, frozen, shock = _arms(consumption)
    return Rebound(
        value=_ratio_of_savings(baseline, frozen, shock, confidence),
        log_value=_log_rebound_estimate(baseline, shock, gain, confidence),
        causal=Verdict(change=relative_change(shock, baseline, confidence)),
        gross=Verdict(change=relative_change(shock, np.asarray(before, dtype=np.float64), confidence)),
    )


def drawn_rebound(
    consumption: Mapping[Arm, npt.ArrayLike], *, before: npt.ArrayLike, confidence: float
) -> DrawnRebound:
    """Distribution of rebound and verdicts over draws of the uncertain inputs.

    Parameters
    ----------
    consumption : mapping of arm to array_like, shape (draws,), any unit
        Consumption in each arm, at the horizon or cumulated since the shock; a draw stands at the same
        place in all arms.
    before : array_like, shape (draws,), the same unit
        Consumption before the shock over a period as long.
    confidence : float
        Share of the draws inside the intervals, between 0 and 1.

    Returns
    -------
    DrawnRebound
        Draws in which the shock saves nothing are left out of value and backfire, and counted.
    """
    baseline, frozen, shock = _arms(consumption)
    rebounds = [rebound(*draw) for draw in zip(baseline.tolist(), frozen.tolist(), shock.tolist(), strict=True)]
    defined = [value for value in rebounds if value is not None]
    return DrawnRebound(
        value=Estimate.from_draws(defined, confidence) if defined else None,
        backfire=probability_of_backfire(rebounds, confidence),
        undefined=len(rebounds) - len(defined),
        causal=Verdict(change=_drawn_change(shock, baseline, confidence)),
        gross=Verdict(change=_drawn_change(shock, np.asarray(before, dtype=np.float64), confidence)),
    )


def probability_of_backfire(rebounds: Sequence[float | None], confidence: float) -> Estimate | None:
    """Share of the draws with a rebound above 1, with Wilson's interval; undefined ones do not count."""
    regimes = [regime(value) for value in rebounds if value is not None]
    return share(regimes.count(Regime.BACKFIRE), len(regimes), confidence) if regimes else None


def relative_change(values: npt.ArrayLike, references: npt.ArrayLike, confidence: float) -> Estimate | None:
    """Change of the mean of paired replications, as a share of their references; None if these are 0."""
    if not np.any(references):
        return None
    return ratio_of_means(values, references, confidence).mapped(lambda ratio: ratio - 1)


def _arms(consumption: Mapping[Arm, npt.ArrayLike]) -> tuple[Floats, Floats, Floats]:
    baseline, frozen, shock = (
        np.asarray(consumption[arm], dtype=np.float64) for arm in ("baseline", "frozen", "shock")
    )
    return baseline, frozen, shock


def _ratio_of_savings(baseline: Floats, frozen: Floats, shock: Floats, confidence: float) -> Estimate | None:
    if rebound(float(baseline.mean()), float(frozen.mean()), float(shock.mean())) is None:
        return None
    return ratio_of_means(shock - frozen, baseline - frozen, confidence)


def _log_rebound_estimate(baseline: Floats, shock: Floats, gain: float, confidence: float) -> Estimate | None:
    if log_rebound(float(baseline.mean()), float(shock.mean()), gain) is None:
        return None
    ratio = ratio_of_means(shock, baseline, confidence)
    if ratio.low is not None and ratio.low <= 0:
        ratio = ratio.without_width("the interval of the change reaches down to nothing consumed")
    return ratio.mapped(lambda change: 1 + math.log(change) / math.log(gain))


def _drawn_change(values: Floats, references: Floats, confidence: float) -> Estimate | None:
    compared = references != 0
    if not compared.any():
        return None
    return Estimate.from_draws(values[compared] / references[compared] - 1, confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """What each factor contributes to the difference between two arms, in the unit of consumption."""

    #: By factor and group.
    parts: dict[str, tuple[float, ...]]
    #: Consumption of each group in the arm compared with, and in the other.
    start: tuple[float, ...]
    end: tuple[float, ...]

    @property
    def effects(self) -> dict[str, float]:
        """What each factor contributes over all groups."""
        return {factor: math.fsum(parts) for factor, parts in self.parts.items()}

    @property
    def change(self) -> float:
        """Difference between the arms."""
        return math.fsum(self.end) - math.fsum(self.start)

    @property
    def residual(self) -> float:
        """What the factors leave unexplained: rounding."""
        return self.change - math.fsum(self.effects.values())


def lmdi(factors_from: Mapping[str, Sequence[float]], factors_to: Mapping[str, Sequence[float]]) -> Decomposition:
    r"""Additive LMDI-I decomposition of a difference in consumption.

    .. math:: \Delta C_x = \sum_i L(C_{i1}, C_{i0}) \ln \frac{x_{i1}}{x_{i0}}, \qquad
              C_i = \prod_x x_i

    with the logarithmic mean :math:`L`.  The parts sum to the difference, and neither the order of the
    factors nor the choice of the arm compared with matters, but for the sign.

    Parameters
    ----------
    factors_from, factors_to : mapping of factor to sequence, shape (groups,)
        Factors :math:`x_i \ge 0` in the arm compared with and in the other; in each group they multiply
        to its consumption.

    Returns
    -------
    Decomposition

    Raises
    ------
    ValueError
        If the factors or their groups differ, or a factor is negative or not finite.

    Notes
    -----
    A group that consumes nothing in one arm has parts in the limit of its vanished factors going to zero
    together [2]_: these share the group's change equally, and the others have none.  A group that
    consumes nothing in both has none at all.

    References
    ----------
    .. [1] B. W. Ang, "LMDI decomposition approach: A guide for implementation", Energy Policy 86 (2015),
       233-238.
    .. [2] B. W. Ang and N. Liu, "Handling zero values in the logarithmic mean Divisia index
       decomposition approach", Energy Policy 35 (2007), 238-246.

    Examples
    --------
    Usage doubles and intensity falls to a quarter: the one adds as much as half of the other takes.

    >>> parts = lmdi({"usage": [3.0], "intensity": [4.0]}, {"usage": [6.0], "intensity": [1.0]})
    >>> {factor: round(effect, 6) for factor, effect in parts.effects.items()}
    {'usage': 6.0, 'intensity': -12.0}
    """
    if set(factors_from) != set(factors_to):
        raise ValueError(f"factors_to must be {', '.join(factors_from)}, not {', '.join(factors_to)}")
    start = _groups(factors_from)
    end = _groups({factor: factors_to[factor] for factor in factors_from})
    if len(start) != len(end):
        raise ValueError(f"factors_to must have {len(start)} groups, not {len(end)}")
    by_group = [_group_parts(old, new) for old, new in zip(start, end, strict=True)]
    return Decomposition(
        parts=dict(zip(factors_from, zip(*by_group, strict=True), strict=True)),
        start=tuple(map(math.prod, start)),
        end=tuple(map(math.prod, end)),
    )


def _groups(factors: Mapping[str, Sequence[float]]) -> list[tuple[float, ...]]:
    """Factors of each group."""
    for name, values in factors.items():
        for value in values:
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be at least 0 and finite, not {value}")
    return list(zip(*factors.values(), strict=True))


def _group_parts(start: tuple[float, ...], end: tuple[float, ...]) -> list[float]:
    consumption_from, consumption_to = math.prod(start), math.prod(end)
    change = consumption_to - consumption_from
    if consumption_from > 0 and consumption_to > 0:
        weight = logarithmic_mean(consumption_to, consumption_from)
        return [weight * math.log(new / old) for old, new in zip(start, end, strict=True)]
    vanished = [(old == 0) != (new == 0) for old, new in zip(start, end, strict=True)]
    return [change / sum(vanished) if gone else 0.0 for gone in vanished]


def logarithmic_mean(x: float, y: float) -> float:
    r"""Logarithmic mean of two positive numbers, :math:`(x - y)/\ln(x/y)`, and x where they are equal.

    Examples
    --------
    >>> logarithmic_mean(5.0, 5.0)
    5.0
    """
    difference = (x - y) / y
    if difference == 0:
        return x
    # The logarithm of a ratio near 1 keeps its digits only when taken of the difference.
    logarithm = math.log1p(difference) if abs(difference) < 0.5 else math.log(x) - math.log(y)
    return (x - y) / logarithm
