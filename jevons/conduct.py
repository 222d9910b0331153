"""How providers set prices against each other: mark-ups by Lerner's rule with a conduct parameter, limit prices.

Section 4 of the model.  The last axis of an array is that of the providers, j.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats

#: No price is marked up by more, as a share of the price: where demand is less elastic than the conduct, no price is
#: too high for Lerner's rule.
LARGEST_LERNER_INDEX = 0.9
#: Steps to the fixed point, from no mark-up and from a guess: always as many, so that no world's result depends on
#: those beside it.
STEPS, STEPS_FROM_GUESS = 30, 10
#: First limit of a step, in logs; it is halved where steps turn back.
LARGEST_STEP = 1.0
#: Demand is taken to answer prices at least so much.
SMALLEST_SLOPE = 1e-9

#: Magnitude of each provider's own elasticity with respect to its money price, and what a log of that price adds to
#: it, from the logs of all prices.
OwnElasticity = Callable[[Floats], tuple[Floats, Floats]]


def lerner_index(elasticity: Floats, conduct: Floats) -> Floats:
    r"""Mark-up as a share of the price.

    .. math:: \frac{P_j - c_j}{P_j} = \frac{\theta}{|\varepsilon_{jj}|}

    Parameters
    ----------
    elasticity : ndarray, shape (..., j)
        Magnitude of the own-price elasticity, above 0.
    conduct : ndarray, shape (..., j)
        Conduct :math:`\theta`: 1 is Bertrand-Nash, 0 prices at cost; above 1 is collusion.

    Notes
    -----
    Capped at `LARGEST_LERNER_INDEX`: where :math:`|\varepsilon_{jj}| \le \theta` the first-order condition has no
    solution.

    References
    ----------
    .. [1] A. P. Lerner, "The concept of monopoly and the measurement of monopoly power", Review of Economic Studies 1
       (1934), 157-175.
    .. [2] T. F. Bresnahan, "The oligopoly solution concept is identified", Economics Letters 10 (1982), 87-92.
    """
    return np.minimum(conduct / np.maximum(elasticity, 1e-12), LARGEST_LERNER_INDEX)


def log_markup(elasticity: Floats, conduct: Floats) -> Floats:
    """Price over cost by Lerner's rule, in logs."""
    return np.asarray(-np.log1p(-lerner_index(elasticity, conduct)))


def lerner_log_prices(
    log_base: Floats, conduct: Floats, own_elasticity: OwnElasticity, guess: Floats | None = None
) -> Floats:
    r"""Prices of which each is its base, marked up by Lerner's rule at the elasticity that all prices make.

    .. math:: \left(1 - e^{-m_j}\right) |\varepsilon_{jj}(P)| = \theta_j, \qquad \ln P_j = \ln b_j + m_j

    Parameters
    ----------
    log_base : ndarray, shape (..., j)
        Cost (or what else is marked up), in logs.
    conduct : ndarray, shape (..., j)
        Conduct :math:`\theta_j`; one of conduct 0 stays at its base.
    own_elasticity : callable
        Magnitudes of the own elasticities and their slopes, each of shape (..., j), from the logs of the prices.
    guess : ndarray, shape (..., j), optional
        Prices, in logs, from which to begin: a month's are near those of the month before.

    Notes
    -----
    By Newton's method for each provider with others' prices moving along: a dearer provider has fewer and more
    elastic users, so that the left side rises with the mark-up.
    """
    largest = -np.log1p(-LARGEST_LERNER_INDEX)
    start = np.zeros(np.broadcast_shapes(log_base.shape, conduct.shape)) if guess is None else guess - log_base
    asked = np.clip(start, 0.0, largest)
    limit, last = np.full(asked.shape, LARGEST_STEP), np.zeros(asked.shape)
    for _ in range(STEPS if guess is None else STEPS_FROM_GUESS):
        elasticity, slope = own_elasticity(log_base + asked)
        kept = np.exp(-asked)
        missing = conduct - (1.0 - kept) * elasticity
        step = missing / np.maximum(kept * elasticity + (1.0 - kept) * slope, SMALLEST_SLOPE)
        limit = np.where(step * last < 0.0, 0.5 * limit, limit)
        last = np.clip(step, -limit, limit)
        asked = np.clip(asked + last, 0.0, largest)
    return np.asarray(log_base + asked)


def limited_log_prices(
    log_prices: Floats, is_limited: npt.NDArray[np.bool_], fringe_log_price: Floats, log_premium: Floats
) -> Floats:
    r"""Prices of those who keep below the fringe's, so that nobody is drawn to it by price alone.

    .. math:: P_j \le (1 + m_j)\, P_{fringe}

    Parameters
    ----------
    log_prices : ndarray, shape (..., j)
    is_limited : ndarray of bool, shape (j,)
        Who prices so.
    fringe_log_price : ndarray, shape (...)
        Cheapest price of the fringe, in logs; infinite where there is none.
    log_premium : ndarray, shape (..., j)
        :math:`\ln(1 + m_j)`.
    """
    limit = fringe_log_price[..., None] + log_premium
    return np.where(is_limited, np.minimum(log_prices, limit), log_prices)
