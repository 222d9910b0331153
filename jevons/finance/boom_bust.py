r"""The delay law of boom and bust: who builds against what is needed now gets it later.

.. math:: K'(t) = \kappa \left(D - K(t - L)\right)

The gap is closed from one side for :math:`\kappa L \le 1/e`, overshot and rung out above, and grows without end
beyond :math:`\pi/2` [1]_.  A fleet with `supply_line_weight` 0 follows it (`fleet.order_gap_h100e`).

References
----------
.. [1] N. D. Hayes, "Roots of the transcendental equation associated with a certain difference-differential equation",
   Journal of the London Mathematical Society 25 (1950), 226-232.
"""

from __future__ import annotations

from enum import StrEnum
from math import e, pi

import numpy as np

from jevons.randomness import Floats


class Course(StrEnum):
    """How stock goes to what is needed."""

    MONOTONE = "monotone"
    OVERSHOOTING = "overshooting"
    DIVERGING = "diverging"


def course(speed_per_month: float, delay_months: float) -> Course:
    """The course of the delay law.

    Examples
    --------
    >>> [str(course(speed, 1.0)) for speed in (0.3, 0.4, 1.7)]
    ['monotone', 'overshooting', 'diverging']
    """
    product = speed_per_month * delay_months
    if product <= 1.0 / e:
        return Course.MONOTONE
    return Course.OVERSHOOTING if product <= pi / 2.0 else Course.DIVERGING


def stock_path(speed_per_month: float, delay_months: float, months: float, *, steps_per_month: int = 100) -> Floats:
    """Stock over need, from nothing at time 0, by steps of the delay law; shape (steps + 1,).

    Parameters
    ----------
    speed_per_month : float, 1/month
        Share of the gap that is ordered each month.
    delay_months : float, month
        Time from order to delivery, rounded to whole steps.
    months : float, month
        How long.
    steps_per_month : int
        Steps of a month; the limits of the course are those of the law as they become many.
    """
    delay, steps = round(delay_months * steps_per_month), round(months * steps_per_month)
    stock = np.zeros(steps + 1)
    for step in range(steps):
        known = stock[step - delay] if step >= delay else 0.0
        stock[step + 1] = stock[step] + speed_per_month / steps_per_month * (1.0 - known)
    return stock
