"""Where functions of many samples cross 0, all of them looked at together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jevons.randomness import Floats

#: A step inside a bracket leaves at least this share of the bracket on either side.
EDGE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bracket:
    """Two places between which a function of each sample changes its sign, and its values there, shape (samples,)."""

    low: Floats
    high: Floats
    f_low: Floats
    f_high: Floats

    def narrowed(self, place: Floats, value: Floats) -> _Bracket:
        """The part of it that still holds the root, after a look at a place inside."""
        is_low = (value > 0) == (self.f_low > 0)
        return _Bracket(
            low=np.where(is_low, place, self.low),
            high=np.where(is_low, self.high, place),
            f_low=np.where(is_low, value, self.f_low),
            f_high=np.where(is_low, self.f_high, value),
        )

    def crossing(self, edge: float = 0.0) -> Floats:
        """Where the line between its ends crosses 0, no nearer to either than a share of it."""
        difference = self.f_low - self.f_high
        inside = np.where(difference == 0.0, 0.5, self.f_low / np.where(difference == 0.0, 1.0, difference))
        return np.asarray(self.low + np.clip(inside, edge, 1.0 - edge) * (self.high - self.low))

    def bent(self, middle: Floats, value: Floats) -> Floats:
        """Where it crosses 0 if it bends like an exponential through its middle (Ridder's step)."""
        root = np.sqrt(np.maximum(value * value - self.f_low * self.f_high, 1e-300))
        step = (middle - self.low) * np.where(self.f_low > 0, 1.0, -1.0) * value / root
        return np.asarray(np.clip(middle + step, self.low, self.high))


def crossings(grid: Floats, excess: Floats, at: Callable[[Floats], Floats]) -> Floats:
    """Where a function of each sample is 0, inside the bracket nearest to the middle of a grid.

    The function is looked at three times more: for a step of Ridder's method [1]_ and for one of regula falsi.

    Parameters
    ----------
    grid : ndarray, shape (points,)
        Places, rising.
    excess : ndarray, shape (points, samples)
        The function there.
    at : callable
        The function at one place of each sample, shape (samples,).

    Returns
    -------
    ndarray, shape (samples,)
        NaN where the sign never changes on the grid.

    References
    ----------
    .. [1] C. J. F. Ridders, "A new algorithm for computing a single root of a real continuous function", IEEE
       Transactions on Circuits and Systems 26 (1979), 979-980.
    """
    samples = np.arange(excess.shape[1])
    turns = (excess[:-1] > 0) != (excess[1:] > 0)
    if not turns.any():
        return np.full(len(samples), np.nan)
    distance = np.abs((grid[:-1] + grid[1:])[:, None] / 2.0 - (grid[0] + grid[-1]) / 2.0)
    chosen = np.argmin(np.where(turns, distance, np.inf), axis=0)
    wide = _Bracket(
        low=grid[chosen], high=grid[chosen + 1], f_low=excess[chosen, samples], f_high=excess[chosen + 1, samples]
    )
    middle = (wide.low + wide.high) / 2.0
    value = at(middle)
    bent = wide.bent(middle, value)
    narrow = wide.narrowed(middle, value).narrowed(bent, at(bent))
    last = narrow.crossing(EDGE)
    return np.where(turns.any(axis=0), narrow.narrowed(last, at(last)).crossing(), np.nan)
