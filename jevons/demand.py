"""Demand of a segment: what price, capability, quota and growth make of its usage.

Section 4 of the model.  A curve is a function of the relative price, that over the reference price, and
gives usage over that at the reference: every curve passes through (1, 1).  In formulas `a` is the magnitude
of the elasticity at the reference; what is returned is signed.

Each form is a class of three relations: usage, elasticity, and the relative price above which it
backfires.  With full pass-through compute moves as x S(x), so it rises with efficiency exactly where
demand is more than unit elastic; in every form here that is above some price (0: everywhere,
infinity: nowhere).  A new form is one more class and one more line in `curve`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import inf, pi
from typing import cast

from jevons.randomness import normal_quantile
from jevons.scenario import Segment
from jevons.stacks import PerWorld, erfc, every, exp, expm1, larger, log, log1p, ratio, smaller, sqrt, where
from jevons.units import log_growth_per_month

#: Usage falls no lower than this share of its reference, since logs are taken of it.
SMALLEST_USAGE = 1e-12
LOG_SMALLEST_USAGE = log(SMALLEST_USAGE)
#: Exponents are cut off here; exp overflows at 709.8.
LARGEST_EXPONENT = 700.0
#: Beyond this quantile fewer than `SMALLEST_USAGE` of all users are left, whatever the penetration.
LARGEST_QUANTILE = 37.0


class Curve(ABC):
    """A demand curve through (1, 1), down to a floor of `SMALLEST_USAGE` below which usage does not fall."""

    __slots__ = ()

    def usage(self, relative_price: PerWorld) -> PerWorld:
        """Usage over that at the reference price."""
        return _exp(self.log_usage(relative_price))

    def log_usage(self, relative_price: PerWorld) -> PerWorld:
        """Usage over that at the reference price, in logs."""
        return larger(self._log_usage(_log_of(relative_price)), LOG_SMALLEST_USAGE)

    def elasticity(self, relative_price: PerWorld) -> PerWorld:
        """Price elasticity of usage, negative or zero; zero on the floor, where nobody is left to leave."""
        log_price = _log_of(relative_price)
        return where(self._log_usage(log_price) <= LOG_SMALLEST_USAGE, 0.0, self._elasticity(log_price))

    @property
    @abstractmethod
    def backfires_above(self) -> float:
        """Relative price above which a gain in efficiency, passed through, raises compute; inf if none."""

    @abstractmethod
    def _log_usage(self, log_price: PerWorld) -> PerWorld: ...

    @abstractmethod
    def _elasticity(self, log_price: PerWorld) -> PerWorld: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Isoelastic(Curve):
    """Constant elasticity, S = x^-a: backfires everywhere if a > 1, else nowhere."""

    a: PerWorld

    def _log_usage(self, log_price: PerWorld) -> PerWorld:
        return -self.a * log_price

    def _elasticity(self, _log_price: PerWorld) -> PerWorld:
        return -self.a

    @property
    def backfires_above(self) -> float:
        return 0.0 if self.a > 1.0 else inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(Curve):
    """A fixed sum of money, S = 1/x: rebound is 1 at every price, and nowhere above."""

    def _log_usage(self, log_price: PerWorld) -> PerWorld:
        return -log_price

    def _elasticity(self, _log_price: PerWorld) -> PerWorld:
        return -1.0

    @property
    def backfires_above(self) -> float:
        return inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Hill(Curve):
    r"""Log-logistic willingness to pay, which saturates.

    .. math:: S = \frac{1}{s + (1 - s) x^b}, \qquad -\varepsilon = b (1 - s(x)), \qquad b = \frac{a}{1 - s}

    with :math:`s` the penetration at the reference price and :math:`s(x) = s S(x)` that at another.
    It backfires where penetration is below :math:`1 - 1/b`.
    """

    a: PerWorld
    penetration: PerWorld

    @property
    def steepness(self) -> PerWorld:
        """Exponent b of the price, the elasticity where penetration is nought."""
        return self.a / (1.0 - self.penetration)

    def _log_usage(self, log_price: PerWorld) -> PerWorld:
        return -_log_mix(self.penetration, self.steepness * log_price)

    def _elasticity(self, log_price: PerWorld) -> PerWorld:
        return -self.steepness * _mixed_share(self.penetration, self.steepness * log_price)

    @property
    def backfires_above(self) -> float:
        b, s = self.steepness, self.penetration
        return _exp((log(s) - log(1.0 - s) - log(b - 1.0)) / b) if b > 1.0 else inf


@dataclass(frozen=True, kw_only=True)
class Lognormal(Curve):
    r"""Lognormal willingness to pay, which saturates.

    .. math::

        S = \frac{1 - \Phi(z)}{s}, \qquad -\varepsilon = \frac{\varphi(z)}{\sigma (1 - \Phi(z))}, \qquad
        z = z_0 + \frac{\ln x}{\sigma}

    with :math:`1 - \Phi(z_0) = s` the penetration at the reference price and the spread :math:`\sigma` that gives
    the elasticity there.
    """

    a: PerWorld
    penetration: PerWorld

    @cached_property
    def quantile(self) -> PerWorld:
        """Where the reference price stands among willingness to pay, z0 in standard deviations."""
        return -cast(float, normal_quantile(self.penetration)[()])

    @cached_property
    def spread(self) -> PerWorld:
        """Standard deviation of the logarithm of willingness to pay."""
        return _hazard(self.quantile) / self.a

    def _log_usage(self, log_price: PerWorld) -> PerWorld:
        z = smaller(self.quantile + log_price / self.spread, LARGEST_QUANTILE)
        return log(_upper_tail(z) / _upper_tail(self.quantile))

    def _elasticity(self, log_price: PerWorld) -> PerWorld:
        return -_hazard(self.quantile + log_price / self.spread) / self.spread

    @property
    def backfires_above(self) -> float:
        """Where the hazard of the normal distribution, which rises, reaches the spread: by bisection."""
        low, high = -LARGEST_QUANTILE, LARGEST_QUANTILE
        if _hazard(high) <= self.spread:
            return inf
        while (middle := 0.5 * (low + high)) not in (low, high):
            low, high = (middle, high) if _hazard(middle) < self.spread else (low, middle)
        return _exp(self.spread * (high - self.quantile))


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Curve):
    """A straight line to a choke price c = 1 + 1/a, S = (c - x)/(c - 1): backfires above c/2."""

    a: PerWorld

    @property
    def choke(self) -> PerWorld:
        """Relative price at which the last user leaves."""
        return 1.0 + 1.0 / self.a

    def _log_usage(self, log_price: PerWorld) -> PerWorld:
        left = -self.a * expm1(smaller(log_price, LARGEST_EXPONENT))
        return where(left > -1.0, log1p(where(left > -1.0, left, 0.0)), -inf)

    def _elasticity(self, log_price: PerWorld) -> PerWorld:
        price = _exp(log_price)
        return -ratio(price, self.choke - price, otherwise=inf)

    @property
    def backfires_above(self) -> float:
        return 0.5 * self.choke


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential(Curve):
    """Exponential willingness to pay, S = e^(-a (x - 1)), elasticity a x: backfires above 1/a."""

    a: PerWorld

    def _log_usage(self, log_price: PerWorld) -> PerWorld:
        return -self.a * expm1(smaller(log_price, LARGEST_EXPONENT))

    def _elasticity(self, log_price: PerWorld) -> PerWorld:
        return -self.a * _exp(log_price)

    @property
    def backfires_above(self) -> float:
        return 1.0 / self.a


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived(Curve):
    r"""Demand of firms that use the service beside other inputs (CES), and sell into a market of their own.

    .. math::

        S = x^{-\sigma} c(x)^{\sigma - d}, \qquad c = \left[s_0 x^{1-\sigma} + 1 - s_0\right]^{1/(1-\sigma)}, \qquad
        -\varepsilon = (1 - s(x))\, \sigma + s(x)\, d

    with :math:`s(x)` the share of the service in cost, :math:`c` the firms' unit cost, :math:`\sigma` the elasticity of
    substitution and :math:`d` the magnitude of the product's price elasticity [1]_.

    References
    ----------
    .. [1] J. R. Hicks, *The Theory of Wages*, Macmillan, 1932, appendix: the third of Marshall's rules of
       derived demand.
    """

    cost_share: float
    substitution: float
    product_a: float

    def _log_usage(self, log_price: PerWorld) -> PerWorld:
        return -self.substitution * log_price + (self.substitution - self.product_a) * self._log_cost(log_price)

    def _elasticity(self, log_price: PerWorld) -> PerWorld:
        share = _mixed_share(1.0 - self.cost_share, (1.0 - self.substitution) * log_price)
        return -((1.0 - share) * self.substitution + share * self.product_a)

    def _log_cost(self, log_price: PerWorld) -> PerWorld:
        curvature = 1.0 - self.substitution
        if curvature == 0.0:
            return self.cost_share * log_price
        return _log_mix(1.0 - self.cost_share, curvature * log_price) / curvature

    @property
    def backfires_above(self) -> float:
        """Where the share of cost weighs the two elasticities to 1; only one of them may be above 1."""
        sigma, d, s = self.substitution, self.product_a, self.cost_share
        if (sigma - 1.0) * (d - 1.0) >= 0.0:
            at_reference = (1.0 - s) * sigma + s * d
            return 0.0 if at_reference > 1.0 else inf
        # The odds of the share move as x^(1 - sigma); at the threshold they are (sigma - 1)/(1 - d).
        odds = (sigma - 1.0) / (1.0 - d)
        return _exp(log(odds * (1.0 - s) / s) / (1.0 - sigma))


def curve(segment: Segment) -> Curve:
    """Demand curve of a segment around its price at the start."""
    a = -segment.price_elasticity
    match segment.form:
        case "isoelastic":
            return Isoelastic(a=a)
        case "hill":
            return Hill(a=a, penetration=segment.penetration)
        case "lognormal":
            return Lognormal(a=a, penetration=segment.penetration)
        case "linear":
            return Linear(a=a)
        case "exponential":
            return Exponential(a=a)
        case "derived":
            return Derived(
                cost_share=segment.cost_share,
                substitution=segment.substitution,
                product_a=-segment.product_elasticity,
            )
        case "budget":
            return Budget()


def compute_ratio(curve: Curve, relative_price: float, gain: float) -> float:
    """Compute after a gain in efficiency, all of it passed on, over compute before: S(x/g) / (g S(x))."""
    return _exp(curve.log_usage(relative_price / gain) - curve.log_usage(relative_price)) / gain


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What price and what capability make of usage, in logs, relative to the start."""

    #: Through the price, or the quota, or the compute that a budget buys.
    price: PerWorld
    capability: PerWorld

    @property
    def total(self) -> PerWorld:
        """Usage over that of the start, growth apart, in logs."""
        return self.price + self.capability


def log_usage_target(
    segment: Segment,
    curve: Curve,
    *,
    relative_full_price: PerWorld,
    relative_cost: PerWorld,
    log_capability: PerWorld,
) -> Response:
    r"""Usage that a segment settles at, in logs, relative to the start and without growth.

    By tariff, with :math:`\psi` the capability elasticity, :math:`q` the quota pass-through, :math:`c` the unit cost:

    ======== ====================== ===================
    tariff   price                  capability
    ======== ====================== ===================
    metered  :math:`\ln S(x)`       :math:`\psi \ln A`
    flat     :math:`-q \ln c/c_0`   :math:`\psi \ln A`
    free     :math:`-q \ln c/c_0`   :math:`\psi \ln A`
    budget   :math:`-\ln c/c_0`     0
    ======== ====================== ===================

    Parameters
    ----------
    segment : Segment
    curve : Curve
        That of the segment.
    relative_full_price : array_like, shape (...)
        Full price :math:`x > 0` over that of the start; only a metered user sees it.
    relative_cost : array_like, shape (...)
        Unit cost over that of the start: what a quota costs its provider, a budget its owner.
    log_capability : array_like, shape (...)
        Capability over that of the start, :math:`\ln A`.
    """
    match segment.tariff:
        case "metered":
            price = curve.log_usage(relative_full_price)
        case "flat" | "free":
            price = -segment.quota_pass_through * _log_of(relative_cost)
        case "budget":
            return Response(price=-_log_of(relative_cost), capability=0.0)
    return Response(price=price, capability=segment.capability_elasticity * log_capability)


def seen_relative_price(
    relative_price: PerWorld, relative_trend_price: PerWorld, willingness_tracks_price: PerWorld
) -> PerWorld:
    r"""Relative price as it stands against willingness to pay that follows the trend of prices.

    .. math:: x / x_{trend}^{\omega}

    At :math:`\omega = 1` a market on its trend stays where it stands on its curve; at 0 it saturates.
    """
    return relative_price * _exp(-willingness_tracks_price * _log_of(relative_trend_price))


def tokens_per_task(segment: Segment, relative_price: PerWorld) -> PerWorld:
    """Tokens that a task takes over those at the start: cheaper tokens are used more freely."""
    return _exp(segment.tokens_per_task_elasticity * _log_of(relative_price))


def log_growth(segment: Segment, months: float) -> PerWorld:
    r"""Growth of usage (or of the budget) since the start, in logs.

    .. math:: \int_0^t \gamma\, 2^{-u/h}\, du = \gamma \frac{h}{\ln 2} \left(1 - 2^{-t/h}\right)

    Parameters
    ----------
    segment : Segment
        With its growth a year, :math:`12 \gamma` in logs, and its half-life :math:`h`; without one growth goes on.
    months : float, month
        Time since the segment's start.
    """
    rate = log_growth_per_month(segment.usage_growth_per_year)
    if segment.growth_half_life_months is None:
        return rate * months
    decay_per_month = log(2.0) / segment.growth_half_life_months
    return rate * -expm1(-decay_per_month * months) / decay_per_month


def _log_of(ratio: PerWorld) -> PerWorld:
    if not every(ratio > 0.0):
        raise ValueError(f"a relative price or cost must be above 0, not {ratio!r}")
    return log(ratio)


def _exp(exponent: PerWorld) -> PerWorld:
    return exp(smaller(exponent, LARGEST_EXPONENT))


def _log_mix(fixed: PerWorld, exponent: PerWorld) -> PerWorld:
    """ln(f + (1 - f) e^y), exact for small exponents and finite for large ones; 0 < f < 1."""
    # Each form is computed for all and used for its own; the bounds keep the others finite.
    high = exponent + log(1.0 - fixed + fixed * exp(-larger(exponent, 1.0)))
    low = log(fixed + (1.0 - fixed) * exp(smaller(exponent, -1.0)))
    middle = log1p((1.0 - fixed) * expm1(smaller(larger(exponent, -1.0), 1.0)))
    return where(exponent > 1.0, high, where(exponent < -1.0, low, middle))


def _mixed_share(fixed: PerWorld, exponent: PerWorld) -> PerWorld:
    """Share of the second term in f + (1 - f) e^y."""
    return exp(log(1.0 - fixed) + exponent - _log_mix(fixed, exponent))


def _upper_tail(z: PerWorld) -> PerWorld:
    """1 - Phi(z) of the standard normal distribution."""
    return 0.5 * erfc(z / sqrt(2.0))


def _hazard(z: PerWorld) -> PerWorld:
    """phi(z) / (1 - Phi(z)), which rises from 0 to z + 1/z."""
    near, far = smaller(z, LARGEST_QUANTILE), larger(z, LARGEST_QUANTILE)
    return where(z > LARGEST_QUANTILE, far + 1.0 / far, exp(-0.5 * near * near) / sqrt(2.0 * pi) / _upper_tail(near))
