"""How bad it can get: Pareto jumps, whether their mean exists, drawdown, value at risk, expected shortfall."""

from __future__ import annotations

from math import inf

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats


def compute_tail_index(jump_index: float, a: float) -> float:
    r"""Tail index of compute after over before, when the gain has a Pareto tail and demand is isoelastic.

    .. math:: C_1/C_0 = g^{a-1}, \qquad P(g > x) \sim x^{-A_p} \quad\Rightarrow\quad \text{index } \frac{A_p}{a - 1}

    Infinite where :math:`a \le 1`: a larger gain does not raise compute, which then has no upper tail.

    Parameters
    ----------
    jump_index : float
        Index :math:`A_p > 0` of the jumps.
    a : float
        Magnitude of the price elasticity.
    """
    return jump_index / (a - 1.0) if a > 1.0 else inf


def mean_exists(jump_index: float, a: float) -> bool:
    """Whether compute after over before has a mean: only if a < 1 + A_p."""
    return a < 1.0 + jump_index


def mean_compute_ratio(jump_index: float, a: float) -> float | None:
    r"""Mean of compute after over before for Pareto jumps from 1 on, :math:`A_p / (A_p - (a - 1))`.

    None where it does not exist (`mean_exists`): the sample mean of ever more draws then grows without end, so
    that only quantiles can be told.

    Examples
    --------
    >>> round(mean_compute_ratio(3.0, 1.8), 4), mean_compute_ratio(1.5, 2.6)
    (1.3636, None)
    """
    return jump_index / (jump_index - (a - 1.0)) if mean_exists(jump_index, a) else None


def compute_ratio_quantile(jump_index: float, a: float, p: float, smallest: float = 1.0) -> float:
    r"""Quantile of compute after over before for Pareto jumps from `smallest` on, whether or not it has a mean.

    .. math:: q_p = \left(g_0\, u^{-1/A_p}\right)^{a-1}, \qquad u = 1 - p \text{ where } a \ge 1, \text{ else } p

    Examples
    --------
    >>> round(compute_ratio_quantile(1.5, 2.6, 0.95), 2)
    24.42
    """
    u = 1.0 - p if a >= 1.0 else p
    return float((smallest * u ** (-1.0 / jump_index)) ** (a - 1.0))


def drawdowns(values: npt.ArrayLike) -> Floats:
    """Distance of a path from its highest point so far, as a share of it, shape of `values` (..., times).

    Examples
    --------
    >>> drawdowns([4.0, 5.0, 3.0, 6.0]).tolist()
    [0.0, 0.0, 0.4, 0.0]
    """
    path = np.asarray(values, dtype=np.float64)
    return np.asarray(1.0 - path / np.maximum.accumulate(path, axis=-1))


def largest_drawdown(values: npt.ArrayLike) -> Floats:
    """The largest of the `drawdowns` of each path, shape (...)."""
    return np.asarray(drawdowns(values).max(axis=-1))


def value_at_risk(losses: npt.ArrayLike, level: float) -> float:
    r"""Loss that is not exceeded in a share `level` of a sample, :math:`\inf\{x : F_n(x) \ge \alpha\}`.

    Parameters
    ----------
    losses : array_like, shape (n,)
        Losses, gains negative.
    level : float
        :math:`\alpha`, between 0 and 1.

    Examples
    --------
    >>> value_at_risk(range(1, 101), 0.95)
    95.0
    """
    return float(np.quantile(_losses(losses, level), level, method="inverted_cdf"))


def expected_shortfall(losses: npt.ArrayLike, level: float) -> float:
    r"""Mean loss of the worst share 1 - `level` of a sample, of its border case only the part that belongs to it.

    .. math:: ES_\alpha = \frac{1}{1-\alpha} \int_\alpha^1 VaR_u\, du

    Of a sample it is always a number; that of a distribution whose tail has an index of at most 1 does not exist.

    References
    ----------
    .. [1] C. Acerbi and D. Tasche, "On the coherence of expected shortfall", Journal of Banking & Finance 26 (2002),
       1487-1503.

    Examples
    --------
    >>> expected_shortfall(range(1, 101), 0.95)
    98.0
    """
    worst = np.sort(_losses(losses, level))[::-1]
    wanted = (1.0 - level) * len(worst)
    weights = np.clip(wanted - np.arange(len(worst)), 0.0, 1.0)
    return float((weights * worst).sum() / weights.sum())


def _losses(losses: npt.ArrayLike, level: float) -> Floats:
    sample = np.asarray(losses, dtype=np.float64)
    if not 0 < level < 1:
        raise ValueError(f"level must be above 0 and below 1, not {level}")
    if sample.ndim != 1 or not len(sample):
        raise ValueError(f"losses must be a row of at least one number, not of shape {sample.shape}")
    return sample
