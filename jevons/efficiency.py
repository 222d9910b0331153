"""Efficiency: the trend, the shock, how it spreads, and what of it is spent on capability.

Section 2 of the model.  Compute intensity k is GPU-seconds for a million tokens; efficiency is 1/k.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Self

from jevons.dates import months_between
from jevons.scenario import Arm, Diffusion, Scenario, Shock
from jevons.stacks import PerWorld, exp, expm1, larger, log, smaller, where
from jevons.units import log_growth_per_month


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Compute intensity and capability, relative to the start of the run."""

    #: Compute intensity over that of the start.
    compute_factor: PerWorld
    #: Capability over that of the start, in logs.
    log_capability: PerWorld

    def with_compute_of(self, other: Self, in_worlds: object) -> Self:
        """Progress with the compute of another in the worlds in which a condition holds."""
        return replace(self, compute_factor=where(in_worlds, other.compute_factor, self.compute_factor))

    def with_capability_of(self, other: Self, in_worlds: object) -> Self:
        """Progress with the capability of another in the worlds in which a condition holds."""
        return replace(self, log_capability=where(in_worlds, other.log_capability, self.log_capability))

    def with_entry_of(self, other: Self, in_worlds: object) -> Self:  # noqa: ARG002 (nobody enters where none compete)
        """Progress with the providers of another in the worlds in which a condition holds."""
        return self

    def advanced(self, log_gain: PerWorld) -> Self:
        """Progress with an efficiency that is higher by a gain in logs."""
        return replace(self, compute_factor=self.compute_factor * exp(-log_gain))


def progress(
    scenario: Scenario, arm: Arm, segment: str, region: str, month: float, provider: str | None = None
) -> Progress:
    r"""Compute intensity and capability of a segment in a region, in one arm of the comparison.

    .. math::

        k / k_0 = e^{-\gamma t} \left[(1 - F) + F / g^{1-\chi}\right], \qquad
        \ln A / A_0 = \alpha t + F \zeta \chi \ln g

    with :math:`F` the adopted share times the shares of the segment and of the region that the
    shock reaches.  The `frozen` arm takes the whole gain as saving, :math:`\chi = 0`.  The `baseline`
    has no shock, or when the shock is a pull-forward the same one `catch_up_months` later.

    Parameters
    ----------
    scenario : Scenario
        With numbers for its uncertain inputs, or those of a stack of worlds.
    arm : {"baseline", "frozen", "shock"}
    segment, region : str
        Names in the scenario; what the shock's reach does not name it reaches wholly.
    month : float, month
        Time since the start of the run.
    provider : str, optional
        Provider whose part of the service it is.

    Returns
    -------
    Progress
        Relative to the start of the run without the shock.
    """
    trend = trend_progress(scenario, month)
    shock = scenario.shock
    since = None if shock is None else months_since_shock(scenario, shock, arm, month)
    if shock is None or since is None:
        return trend
    share = adopted_share(shock.diffusion, since) * reach(shock, segment, region)
    if provider is not None:
        share = share * shock.provider_reach.get(provider, 1.0)
    chi = 0.0 if arm == "frozen" else shock.capability_share
    log_gain = log(shock.efficiency_gain)
    return Progress(
        compute_factor=trend.compute_factor / gain_of_mix(share, exp((1.0 - chi) * log_gain)),
        log_capability=trend.log_capability + share * shock.capability_yield * chi * log_gain,
    )


def trend_progress(scenario: Scenario, month: float) -> Progress:
    """Progress without any shock, after `month` months of the run."""
    trend = scenario.trend
    return Progress(
        compute_factor=exp(-log_growth_per_month(trend.algorithmic_gain_per_year) * month),
        log_capability=log_growth_per_month(trend.capability_gain_per_year) * month,
    )


def months_since_shock(scenario: Scenario, shock: Shock, arm: Arm, month: float) -> PerWorld | None:
    """Months since the shock began in an arm, negative before it; None where it never comes."""
    since = month - month_of(scenario, shock.date)
    if arm != "baseline":
        return since
    return since - shock.catch_up_months if shock.kind == "pull_forward" else None


def month_of(scenario: Scenario, date: dt.date) -> float:
    """Months from the start of the run to a date."""
    return months_between(scenario.run.start, date)


def reach(shock: Shock, segment: str, region: str) -> PerWorld:
    """Share of a segment's service in a region that the shock can reach."""
    return shock.segment_reach.get(segment, 1.0) * shock.region_reach.get(region, 1.0)


def gain_of_mix(share: PerWorld, gain: PerWorld) -> PerWorld:
    r"""Efficiency of a service of which a share runs `gain` times more efficiently, over the old one.

    .. math:: 1 / \varepsilon = (1 - F) + F / g

    Parameters
    ----------
    share : array_like, shape (...)
        Share :math:`F` of the service (not of the compute) in the new way, 0 to 1.
    gain : array_like, shape (...)
        Efficiency :math:`g > 0` of the new way over the old.

    Notes
    -----
    Compute adds up, so efficiencies mix harmonically.  The arithmetic mean would credit a half
    adopted gain of 10 with 5.5 where the bill for compute shows 1.8.

    Examples
    --------
    >>> gain_of_mix(0.5, 4.0)
    1.6
    """
    return 1.0 / ((1.0 - share) + share / gain)


def adopted_share(diffusion: Diffusion, months_since: PerWorld) -> PerWorld:
    """Share of the service within reach that has the shock, `months_since` months after it; 0 before it."""
    since = larger(months_since, 0.0)
    match diffusion.form:
        case "immediate":
            adopted: PerWorld = 1.0
        case "logistic":
            adopted = logistic_share(since, diffusion.months_to_half, diffusion.steepness_per_month)
        case "bass":
            adopted = bass_share(since, diffusion.innovation_per_month, diffusion.imitation_per_month)
    return where(months_since < 0.0, 0.0, adopted)


def logistic_share(months: PerWorld, months_to_half: PerWorld, steepness_per_month: PerWorld) -> PerWorld:
    r"""Adopted share of a logistic diffusion that begins at nought.

    .. math:: F(t) = \frac{L(t) - L(0)}{1 - L(0)}, \qquad L(t) = \frac{1}{1 + e^{-s(t - h)}}

    Parameters
    ----------
    months, months_to_half : array_like, shape (...), month
        Time since the start :math:`t \ge 0`, and the middle :math:`h` of the logistic.
    steepness_per_month : array_like, shape (...), 1/month
        Growth rate :math:`s` of the odds.

    Notes
    -----
    The logistic has no beginning: it is above nought at all times.  It is shifted and stretched
    so that nobody has the shock when it strikes, which leaves the share at :math:`t = h` below a half by
    :math:`L(0) / (2 (1 - L(0)))`: half a point at :math:`s h = 4.6`.
    """
    at_start = _logistic(-steepness_per_month * months_to_half)
    now = _logistic(steepness_per_month * (months - months_to_half))
    return larger(0.0, (now - at_start) / (1.0 - at_start))


def _logistic(x: PerWorld) -> PerWorld:
    # Of the two forms, the one whose exponential cannot overflow.
    grown, shrunk = exp(smaller(x, 0.0)), exp(-larger(x, 0.0))
    return where(x >= 0, 1.0 / (1.0 + shrunk), grown / (1.0 + grown))


def bass_share(months: PerWorld, innovation_per_month: PerWorld, imitation_per_month: PerWorld) -> PerWorld:
    r"""Adopted share of a Bass diffusion, which solves :math:`F' = (p + q F)(1 - F)` from :math:`F(0) = 0`.

    .. math:: F(t) = \frac{1 - e^{-(p+q)t}}{1 + (q/p) e^{-(p+q)t}}

    Parameters
    ----------
    months : array_like, shape (...), month
        Time since the start :math:`t \ge 0`.
    innovation_per_month, imitation_per_month : array_like, shape (...), 1/month
        Coefficients :math:`p > 0` and :math:`q \ge 0`.

    References
    ----------
    .. [1] F. M. Bass, "A new product growth for model consumer durables", Management Science 15 (1969),
       215-227.
    """
    p, q = innovation_per_month, imitation_per_month
    exponent = -(p + q) * months
    return -p * expm1(exponent) / (p + q * exp(exponent))
