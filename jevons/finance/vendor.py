"""The vendor's margin and prices: they erode with slack and with rivals."""

from __future__ import annotations

from jevons.stacks import PerWorld, exp, larger, log, smaller

#: Book-to-bill moves the margin by no more than this, in logs; what is more would overflow.
LARGEST_LOG_SLACK = 5.0


def margin_odds(margin: PerWorld) -> PerWorld:
    """Odds of a margin, m/(1 - m): what the vendor keeps for each dollar of cost."""
    return margin / (1.0 - margin)


def margin_aimed_at(
    margin: PerWorld,
    *,
    response: PerWorld,
    log_slack: PerWorld,
    rival_pressure: PerWorld,
    floor: PerWorld,
    ceiling: PerWorld,
) -> PerWorld:
    r"""Gross margin to which slack and rivals lead.

    .. math:: \ln \frac{m}{1-m} = \ln \frac{m_0}{1-m_0} + \mu \ln \frac{B}{B^*} - \rho t

    held between a floor and a ceiling.

    Parameters
    ----------
    margin : array_like, shape (...)
        Margin :math:`m_0` at the start.
    response : array_like, shape (...)
        Response :math:`\mu \ge 0`.
    log_slack : array_like, shape (...)
        Book-to-bill over its norm, :math:`\ln (B/B^*)`, in logs: above 0 when orders run ahead of deliveries.
    rival_pressure : array_like, shape (...)
        :math:`\rho t`: what rivals have taken since the start, in logs of the odds.
    floor, ceiling : array_like, shape (...)

    Notes
    -----
    In the odds a margin stays between 0 and 1 whatever pushes it, and the mark-up over cost, :math:`1/(1-m)`, moves
    by the share :math:`m` of the push.

    Examples
    --------
    Orders at half of deliveries, with a response of 0.5, take three quarters to 68 %.

    >>> from math import log
    >>> slack = {"log_slack": log(0.5), "rival_pressure": 0.0, "floor": 0.2, "ceiling": 0.95}
    >>> round(float(margin_aimed_at(0.75, response=0.5, **slack)), 4)
    0.6796
    """
    slack = smaller(larger(log_slack, -LARGEST_LOG_SLACK), LARGEST_LOG_SLACK)
    odds = exp(log(margin_odds(margin)) + response * slack - rival_pressure)
    return smaller(larger(odds / (1.0 + odds), floor), ceiling)


def relative_gpu_price(margin: PerWorld, margin_at_start: PerWorld, relative_cost: PerWorld = 1.0) -> PerWorld:
    r"""Price of a GPU, cost/(1 - margin), over that of the start: :math:`\frac{c}{c_0} \frac{1 - m_0}{1 - m}`."""
    return relative_cost * (1.0 - margin_at_start) / (1.0 - margin)
