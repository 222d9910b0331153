"""Time in months: the calendar they are counted on, and the pace at which things adjust over them."""

from __future__ import annotations

import datetime as dt
from calendar import monthrange

from jevons.stacks import PerWorld, exp, larger
from jevons.units import MONTHS_PER_YEAR

#: A gap that closes faster is closed at once.
SMALLEST_TIME_CONSTANT_MONTHS = 1e-9


def month_start(start: dt.date, month: int) -> dt.date:
    """First day of a month counted from `start`; the last of a shorter month where that day does not exist."""
    years, months = divmod(start.month - 1 + month, MONTHS_PER_YEAR)
    year = start.year + years
    return dt.date(year, months + 1, min(start.day, monthrange(year, months + 1)[1]))


def months_between(start: dt.date, date: dt.date) -> float:
    """Months from `start` to `date`: whole ones of the calendar and the days after them as a share of theirs.

    Negative when `date` comes first.  It inverts `month_start`, so that the months of a run begin at
    whole numbers however long they are.

    Examples
    --------
    >>> months_between(dt.date(2024, 11, 1), dt.date(2025, 1, 1))
    2.0
    >>> months_between(dt.date(2024, 11, 1), dt.date(2024, 11, 16))
    0.5
    """
    whole = MONTHS_PER_YEAR * (date.year - start.year) + date.month - start.month
    if month_start(start, whole) > date:
        whole -= 1
    opening = month_start(start, whole)
    return whole + (date - opening).days / (month_start(start, whole + 1) - opening).days


def approach(
    previous: PerWorld, target: PerWorld, time_constant_months: PerWorld, step_months: float = 1.0
) -> PerWorld:
    r"""Value after a step of partial adjustment from `previous` towards `target`, unit of both.

    .. math:: y_t = \lambda y_{t-1} + (1 - \lambda) y^*_t, \qquad \lambda = e^{-\Delta t / \tau}

    Parameters
    ----------
    previous, target : array_like, shape (...), any unit
        Value before the step, and the value it settles at.
    time_constant_months : array_like, shape (...), month
        Time :math:`\tau \ge 0` in which the gap shrinks to 1/e; 0 closes it at once.
    step_months : float, month
        Length of the step :math:`\Delta t > 0`.

    Notes
    -----
    For a constant target two steps of half the length are one step.  Applied to logs this is the
    geometric lag of [1]_: the response of the first step is :math:`1 - \lambda` of the long run's.

    References
    ----------
    .. [1] L. M. Koyck, *Distributed Lags and Investment Analysis*, North-Holland, 1954.

    Examples
    --------
    >>> float(approach(3.0, 5.0, 0.0))
    5.0
    """
    # So small a time constant as stands for 0 keeps nothing, to the last bit.
    kept = exp(-step_months / larger(time_constant_months, SMALLEST_TIME_CONSTANT_MONTHS))
    return target + (previous - target) * kept
