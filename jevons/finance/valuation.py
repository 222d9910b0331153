"""Present value of profit on a path: of the growth that investors expect, or of what a simulation came to."""

from __future__ import annotations

from typing import cast

import numpy as np

from jevons.randomness import Floats
from jevons.stacks import PerWorld, exp, log, log1p
from jevons.units import MONTHS_PER_YEAR

#: Months of expected growth that are added up one by one; for ever goes on at the growth of the long run.
LONGEST_PATH_MONTHS = 360


def monthly_discount(growth_per_year: PerWorld, rate_per_year: PerWorld) -> PerWorld:
    """What a month takes from or adds to the present value of growing profit, q = (growth/(1 + rate))^(1/12)."""
    return exp((log(growth_per_year) - log1p(rate_per_year)) / MONTHS_PER_YEAR)


def perpetuity(profit_per_year: PerWorld, growth_per_year: PerWorld, rate_per_year: PerWorld) -> PerWorld:
    r"""Value of profit that grows for ever at one rate, paid at the end of each month.

    .. math:: V = \frac{\pi}{12} \frac{q}{1 - q}, \qquad q = \left(\frac{G}{1 + r}\right)^{1/12} < 1

    Parameters
    ----------
    profit_per_year : array_like, shape (...), USD/year
        Profit :math:`\pi` of the year now, the first month's being :math:`\pi G^{1/12} / 12`.
    growth_per_year : array_like, shape (...)
        Factor :math:`G` by which it grows each year, below :math:`1 + r`.
    rate_per_year : array_like, shape (...), 1/year
        Discount rate :math:`r`.

    References
    ----------
    .. [1] M. J. Gordon, "Dividends, earnings, and stock prices", Review of Economics and Statistics 41 (1959), 99-105.

    Examples
    --------
    Paid once a year it would be worth the textbook's :math:`\pi G / (1 + r - G)`, 153; paid monthly it comes sooner.

    >>> round(float(perpetuity(12.0, 1.02, 0.10)), 2)
    158.43
    """
    q = monthly_discount(growth_per_year, rate_per_year)
    return profit_per_year / MONTHS_PER_YEAR * q / (1.0 - q)


def finite_value(
    profit_per_year: PerWorld, growth_per_year: PerWorld, rate_per_year: PerWorld, months: int
) -> PerWorld:
    r"""Value of profit that grows at one rate for some months, :math:`\frac{\pi}{12} q (1 - q^n) / (1 - q)`.

    Arguments as for `perpetuity`; where profit grows as fast as it is discounted, :math:`q = 1`, it is
    :math:`n \pi / 12`.
    """
    q = np.asarray(monthly_discount(growth_per_year, rate_per_year), dtype=np.float64)
    flat = np.abs(q - 1.0) < 1e-12
    sums = np.where(flat, float(months), q * (1.0 - q**months) / np.where(flat, 1.0, 1.0 - q))
    return cast(float, profit_per_year / MONTHS_PER_YEAR * sums[()])


def fading_log_growth(
    months: Floats, expected_per_year: PerWorld, long_run_per_year: PerWorld, half_life_months: PerWorld
) -> Floats:
    r"""Growth in logs until each of some months, its rate going from what is expected to that of the long run.

    .. math:: \ln \frac{\pi_h}{\pi_0} = g_L h + (g_e - g_L)\, \tau\, (1 - 2^{-h/T}), \qquad \tau = T / \ln 2

    Parameters
    ----------
    months : ndarray, shape (months,), month
        Times :math:`h` from now.
    expected_per_year, long_run_per_year : array_like, shape (...), 1/year
        Growth now :math:`g_e` and in the long run :math:`g_L`, in logs.
    half_life_months : array_like, shape (...), month
        Time :math:`T` in which half of the difference goes.

    Returns
    -------
    ndarray, shape (..., months)
    """
    g_e, g_l, half = (np.asarray(x, dtype=np.float64)[..., None] for x in
                      (expected_per_year, long_run_per_year, half_life_months))  # fmt: skip
    fading = half / np.log(2.0) * -np.expm1(-np.log(2.0) * months / half)
    return np.asarray((g_l * months + (g_e - g_l) * fading) / MONTHS_PER_YEAR)


def expected_value(
    profit_per_year: PerWorld,
    *,
    expected_log_growth_per_year: PerWorld,
    long_run_growth_per_year: PerWorld,
    half_life_months: PerWorld,
    rate_per_year: PerWorld,
    horizon_years: float | None,
    gap: PerWorld = 0.0,
    gap_half_life_months: PerWorld | None = None,
) -> PerWorld:
    r"""Value of the profit that investors expect, whose growth fades to that of the long run.

    .. math:: V = \frac{\pi}{12} \sum_{h=1}^{n} \left(1 + d\, 2^{-h/T_d}\right) \frac{\pi_h}{\pi_0} (1 + r)^{-h/12}

    Parameters
    ----------
    profit_per_year : array_like, shape (...), USD/year
        Profit :math:`\pi` of the year now.
    expected_log_growth_per_year : array_like, shape (...), 1/year
        Growth expected now, in logs.
    long_run_growth_per_year : array_like, shape (...)
        Factor by which profit grows each year in the long run.
    half_life_months : array_like, shape (...), month
        As in `fading_log_growth`.
    rate_per_year : array_like, shape (...), 1/year
        Discount rate :math:`r`.
    horizon_years : float or None, year
        How long profit counts; None is for ever: `LONGEST_PATH_MONTHS` one by one, then a perpetuity at the growth
        of the long run.
    gap : array_like, shape (...)
        Relative distance :math:`d` of profit from that path now.
    gap_half_life_months : array_like, shape (...), month, or None
        Time :math:`T_d` in which half of that distance goes; None: it stays.
    """
    n = LONGEST_PATH_MONTHS if horizon_years is None else max(round(horizon_years * MONTHS_PER_YEAR), 1)
    months = np.arange(1.0, n + 1.0)
    grown = fading_log_growth(months, expected_log_growth_per_year, log(long_run_growth_per_year), half_life_months)
    rate = np.asarray(log1p(rate_per_year))[..., None] / MONTHS_PER_YEAR
    worth = np.exp(grown - rate * months)
    gap_then = np.asarray(gap, dtype=np.float64)[..., None]
    if gap_half_life_months is not None:
        gap_then = gap_then * np.exp(-np.log(2.0) * months / np.asarray(gap_half_life_months)[..., None])
    flows = (1.0 + gap_then) * worth
    # One after the other: the rounding of a world must not depend on how many stand beside it.
    total = cast(float, flows.cumsum(axis=-1)[..., -1][()])
    if horizon_years is None:
        last = cast(float, flows[..., -1][()])
        total = total + perpetuity(last * MONTHS_PER_YEAR, long_run_growth_per_year, rate_per_year)
    return profit_per_year / MONTHS_PER_YEAR * total


def path_value(profits: Floats, rate_per_year: PerWorld) -> PerWorld:
    r"""Value of profit of some months, each paid at its end, :math:`\sum_h \pi_h (1 + r)^{-h/12}`.

    Parameters
    ----------
    profits : ndarray, shape (..., months), USD/month
    rate_per_year : array_like, shape (...), 1/year
    """
    months = np.arange(1.0, profits.shape[-1] + 1.0)
    rate = np.asarray(log1p(rate_per_year))[..., None] / MONTHS_PER_YEAR
    return cast(float, (profits * np.exp(-rate * months)).cumsum(axis=-1)[..., -1][()])


def adapted_growth(expected: PerWorld, observed: PerWorld, weight_per_year: PerWorld, months: float = 1.0) -> PerWorld:
    r"""Growth expected some months later by investors who correct a share of their surprise each year.

    .. math:: g^e \leftarrow g^e + \left(1 - (1 - \lambda)^{m/12}\right) (g - g^e)

    References
    ----------
    .. [1] M. Nerlove, "Adaptive expectations and cobweb phenomena", Quarterly Journal of Economics 72 (1958),
       227-240.

    Examples
    --------
    >>> round(float(adapted_growth(0.2, 1.0, 0.5, months=12.0)), 12)
    0.6
    """
    kept = np.power(1.0 - weight_per_year, months / MONTHS_PER_YEAR)
    return cast(float, expected + (1.0 - kept) * (observed - expected))


def extrapolated_growth(observed: PerWorld, long_run: PerWorld, weight: PerWorld) -> PerWorld:
    """Growth expected by investors who carry recent growth on with some weight, w g + (1 - w) g_L, all in logs."""
    return weight * observed + (1.0 - weight) * long_run
