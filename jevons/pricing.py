"""From cost to price, from price to what the user pays, and the rental price of compute.

Section 3 of the model, the scarcity price of section 5 and the user cost of section 6.
"""

from __future__ import annotations

from math import expm1, log1p

from jevons.scenario import Scenario
from jevons.stacks import PerWorld, exp, larger, smaller
from jevons.units import HOURS_PER_YEAR, SECONDS_PER_HOUR, log_growth_per_month

#: The rental price moves by no more, in logs, in one step; what is faster would overflow.
LARGEST_LOG_STEP = 5.0
#: The rental price stays between this and its inverse, USD/GPU-h.
LARGEST_RENTAL = 1e12


def unit_cost_usd_per_mtok(
    gpu_seconds_per_mtok: PerWorld,
    rental_usd_per_gpu_hour: PerWorld,
    utilisation: PerWorld,
    other_usd_per_mtok: PerWorld = 0.0,
) -> PerWorld:
    r"""Cost of a million tokens, USD/Mtok.

    .. math:: c = k w / u + \text{other}

    Parameters
    ----------
    gpu_seconds_per_mtok : array_like, shape (...), GPU-s/Mtok
        Compute intensity :math:`k`.
    rental_usd_per_gpu_hour : array_like, shape (...), USD/GPU-h
        Price of compute :math:`w`, paid for idle time too.
    utilisation : array_like, shape (...)
        Share :math:`u > 0` of the time paid for that does the work.
    other_usd_per_mtok : array_like, shape (...), USD/Mtok
        Cost that is not compute.

    Examples
    --------
    A GPU-hour at 3 USD, two thirds used, makes 2 Mtok of 1200 GPU-seconds.

    >>> round(unit_cost_usd_per_mtok(1200.0, 3.0, 2 / 3), 12)
    1.5
    """
    return gpu_seconds_per_mtok / SECONDS_PER_HOUR * rental_usd_per_gpu_hour / utilisation + other_usd_per_mtok


def target_log_price(
    log_start_price: PerWorld,
    pass_through: PerWorld,
    log_cost_change: PerWorld,
    drift: PerWorld = 0.0,
    shortage: PerWorld = 0.0,
) -> PerWorld:
    r"""Logarithm of the price that a provider moves to.

    .. math:: \ln P^* = \ln P_0 + \rho (\ln c - \ln c_0) + \text{drift} + \text{shortage}

    Parameters
    ----------
    log_start_price : array_like, shape (...)
        :math:`\ln P_0`, P in any unit.
    pass_through : array_like, shape (...)
        Share :math:`\rho` of a change in cost, in logs, that reaches the price.
    log_cost_change : array_like, shape (...)
        :math:`\ln c / c_0`.
    drift, shortage : array_like, shape (...)
        What the margin's trend and a shortage of compute add, in logs.
    """
    return log_start_price + pass_through * log_cost_change + drift + shortage


def full_price_usd_per_mtok(
    price_usd_per_mtok: PerWorld,
    value_of_time_usd_per_s: PerWorld,
    latency_s_per_mtok: PerWorld,
    human_usd_per_mtok: PerWorld,
) -> PerWorld:
    r"""Generalised price a user pays for a million tokens: money, waiting, and the work around it, USD/Mtok.

    .. math:: P_{full} = P + v W + h

    Parameters
    ----------
    price_usd_per_mtok : array_like, shape (...), USD/Mtok
        Money price :math:`P`.
    value_of_time_usd_per_s : array_like, shape (...), USD/s
        What a second of waiting costs the user, :math:`v`.
    latency_s_per_mtok : array_like, shape (...), s/Mtok
        Waiting :math:`W` that comes with a million tokens.
    human_usd_per_mtok : array_like, shape (...), USD/Mtok
        Human and integration cost :math:`h`.

    References
    ----------
    .. [1] G. S. Becker, "A theory of the allocation of time", Economic Journal 75 (1965), 493-517.
    """
    return price_usd_per_mtok + value_of_time_usd_per_s * latency_s_per_mtok + human_usd_per_mtok


def money_share(price_usd_per_mtok: float, full_usd_per_mtok: float) -> float:
    """Share of money in the full price, s_P."""
    return price_usd_per_mtok / full_usd_per_mtok


def capital_recovery_factor(interest_per_year: float, life_years: float) -> float:
    r"""Yearly payment that repays 1 over a life, 1/year.

    .. math:: \mathrm{CRF}(r, N) = \frac{r}{1 - (1 + r)^{-N}}, \qquad \mathrm{CRF}(0, N) = 1/N
    """
    if interest_per_year == 0.0:
        return 1.0 / life_years
    return interest_per_year / -expm1(-life_years * log1p(interest_per_year))


def user_cost_usd_per_gpu_hour(
    price_usd: float,
    *,
    interest_per_year: float,
    life_years: float,
    infrastructure_share: float,
    opex_usd_per_year: float,
    utilisation: float,
) -> float:
    r"""What an hour of work of a GPU costs its owner, USD/GPU-h.

    .. math:: \frac{P_{GPU}\, \mathrm{CRF}(r, N) (1 + \iota) + o}{H u}

    Parameters
    ----------
    price_usd : float, USD
        Purchase price of the GPU.
    interest_per_year, life_years : float, 1/year and year
        Cost of capital :math:`r` and years of service :math:`N`.
    infrastructure_share : float
        Buildings, network and power supply :math:`\iota` for each dollar of GPU.
    opex_usd_per_year : float, USD/year
        Electricity, staff and the like, :math:`o`.
    utilisation : float
        Share :math:`u > 0` of the hours :math:`H` of a year that are sold.

    References
    ----------
    .. [1] R. E. Hall and D. W. Jorgenson, "Tax policy and investment behavior", American Economic Review 57
       (1967), 391-414.
    """
    capital = price_usd * capital_recovery_factor(interest_per_year, life_years) * (1.0 + infrastructure_share)
    return (capital + opex_usd_per_year) / (HOURS_PER_YEAR * utilisation)


def vendor_price_usd(cost_usd: float, gross_margin: float) -> float:
    """Price at which a vendor keeps `gross_margin` of its revenue, USD."""
    return cost_usd / (1.0 - gross_margin)


def rental_trend(scenario: Scenario, region: str, month: float) -> PerWorld:
    """Rental price of a region if only hardware progress moved it, USD/GPU-h."""
    fall = log_growth_per_month(scenario.trend.hardware_gain_per_year) * month
    return scenario.regions[region].rental.price_usd_per_gpu_hour * exp(-fall)


def next_rental_usd_per_gpu_hour(
    current: PerWorld,
    speed_per_month: PerWorld,
    utilisation: PerWorld,
    normal: PerWorld,
    floor: PerWorld,
    step_months: float = 1.0,
) -> PerWorld:
    r"""Rental price of compute a step later: it rises while the fleet is fuller than normal, USD/GPU-h.

    .. math:: d \ln w = \kappa_p (u - u^*)\, dt, \qquad w \ge \text{floor}

    Parameters
    ----------
    current, floor : array_like, shape (...), USD/GPU-h
        Rental price now, and the variable cost below which nobody rents out.
    speed_per_month : array_like, shape (...), 1/month
        Speed :math:`\kappa_p \ge 0`.
    utilisation, normal : array_like, shape (...)
        Need over what the fleet has (above 1 in a shortage), and where the price rests, :math:`u^*`.
    step_months : float, month

    Notes
    -----
    A step is limited to a factor of :math:`e^5`, so that no scenario overflows.
    """
    step = speed_per_month * (utilisation - normal) * step_months
    moved = current * exp(smaller(larger(step, -LARGEST_LOG_STEP), LARGEST_LOG_STEP))
    return smaller(larger(larger(moved, floor), 1.0 / LARGEST_RENTAL), LARGEST_RENTAL)
