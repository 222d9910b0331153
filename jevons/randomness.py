"""Random numbers as a function of (seed, replication, place, purpose, item): never of an order of calls.

Two arms of a comparison that ask for the same item get the same number, whatever else either of them
has drawn; so common random numbers cannot slip, and any order or number of workers gives the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

#: Random numbers that one step of the Philox counter makes.
NUMBERS_PER_STEP = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Random numbers of one replication, at one place of the model."""

    #: Seed of the scenario.
    seed: int
    #: Number of the replication, from 0.
    replication: int
    #: Where in the model: month, region, kind of day and the like.
    place: tuple[str | int, ...] = ()

    def at(self, *place: str | int) -> Draws:
        """The draws of a place within this one."""
        return replace(self, place=self.place + place)

    def uniform(self, purpose: str, n: int, first: int = 0) -> Floats:
        """Uniform numbers in (0, 1), shape (n,): of the items `first` to `first + n - 1`."""
        skipped, within = divmod(first, NUMBERS_PER_STEP)
        lower, upper = self.key(purpose)
        philox = np.random.Philox(key=lower + (upper << 64), counter=skipped)
        words = philox.random_raw(within + n)[within:]
        # 53 bits in the middle of their cells: 0 and 1 cannot come up, whose quantiles are infinite.
        return np.asarray(((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)

    def exponential(self, purpose: str, n: int, first: int = 0) -> Floats:
        """Exponential numbers of mean 1, shape (n,)."""
        return -np.log(self.uniform(purpose, n, first))

    def normal(self, purpose: str, n: int, first: int = 0) -> Floats:
        """Standard normal numbers, shape (n,)."""
        return normal_quantile(self.uniform(purpose, n, first))

    def key(self, purpose: str) -> tuple[int, int]:
        """Key of Philox for a purpose, its lower and its upper 64 bits."""
        (key,) = self.keys((purpose,))
        return key

    def keys(self, purposes: Sequence[str]) -> list[tuple[int, int]]:
        """Keys of Philox for some purposes."""
        digests = self.digests(purposes)
        return [(int.from_bytes(one[:8], "little"), int.from_bytes(one[8:], "little")) for one in digests]

    def digests(self, purposes: Sequence[str]) -> list[bytes]:
        """Keys as 16 bytes each, least first: digests of (seed, replication, place, purpose) as Python writes it."""
        place = blake2b(f"({self.seed!r}, {self.replication!r}, {self.place!r}, ".encode(), digest_size=16)
        digests = []
        for purpose in purposes:
            named = place.copy()
            named.update(f"{purpose!r})".encode())
            digests.append(named.digest())
        return digests


CENTRE_NUMERATOR = (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3)  # fmt: skip  # noqa: E501
CENTRE_DENOMINATOR = (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3)  # fmt: skip  # noqa: E501
SHOULDER_NUMERATOR = (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4)  # fmt: skip  # noqa: E501
SHOULDER_DENOMINATOR = (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1, 1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9)  # fmt: skip  # noqa: E501
TAIL_NUMERATOR = (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7)  # fmt: skip  # noqa: E501
TAIL_DENOMINATOR = (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2, 7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15)  # fmt: skip  # noqa: E501


def normal_quantile(p: npt.ArrayLike) -> Floats:
    """Quantile of the standard normal distribution, shape of `p`, for 0 < p < 1.

    Algorithm AS 241 (PPND16), relative error about 1e-16 [1]_.  It stands here because importing
    scipy.special costs more time than serving a day.

    References
    ----------
    .. [1] M. J. Wichura, "The percentage points of the normal distribution", Applied Statistics 37
       (1988), 477-484.

    Examples
    --------
    >>> round(float(normal_quantile(0.975)), 12)
    1.95996398454
    """
    probability = np.asarray(p, dtype=np.float64)
    q = probability - 0.5
    centre = 0.180625 - q * q
    r = np.sqrt(-np.log(np.minimum(probability, 1.0 - probability)))
    # Each branch is computed for all and used for its own; the maxima keep the others finite.
    shoulder, tail = np.maximum(r - 1.6, 0.0), np.maximum(r - 5.0, 0.0)
    outer = np.where(
        r <= 5.0,
        _polynomial(SHOULDER_NUMERATOR, shoulder) / _polynomial(SHOULDER_DENOMINATOR, shoulder),
        _polynomial(TAIL_NUMERATOR, tail) / _polynomial(TAIL_DENOMINATOR, tail),
    )
    inner = q * _polynomial(CENTRE_NUMERATOR, centre) / _polynomial(CENTRE_DENOMINATOR, centre)
    return np.asarray(np.where(np.abs(q) <= 0.425, inner, np.sign(q) * outer))


def _polynomial(coefficients: tuple[float, ...], x: Floats) -> Floats:
    value = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value
