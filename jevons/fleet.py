"""The GPUs of a region: stock by type and vintage, orders, deliveries, retirement, power.

Section 6 of the model.  Orders aim at the forecast peak need times headroom, minus the stock, minus the
share of the order book that is remembered; they arrive after a lead time, within what the vendor allocates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from statistics import NormalDist

from jevons.randomness import Draws
from jevons.scenario import Gpu, LeadTime, Orders, RegionFleet
from jevons.units import KW_PER_MW, log_growth_per_month

#: The stock of the start is divided into this many vintages of equal span.
OPENING_VINTAGES = 20
#: Orders answer the rental price by no more than this, in logs; what is more would overflow.
LARGEST_LOG_RESPONSE = 10.0
STANDARD_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vintage:
    """GPUs of one type installed at one time."""

    type: str
    gpus: float
    retires_month: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """GPUs of one type on their way."""

    type: str
    gpus: float
    due_month: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What is installed in a region, and what is on order."""

    vintages: tuple[Vintage, ...]
    on_order: tuple[Order, ...] = ()


def opening_fleet(plan: RegionFleet, gpus: Mapping[str, Gpu]) -> Fleet:
    """Stock of the start, as old as its growth says, and the orders that carry the growth on meanwhile."""
    growth = log_growth_per_month(plan.growth_before_per_year)
    vintages = tuple(
        vintage for name, count in plan.stock.items() for vintage in _opening_vintages(name, count, growth, gpus[name])
    )
    fleet = Fleet(vintages=vintages)
    return fleet if plan.orders is None else replace(fleet, on_order=_opening_orders(fleet, plan.orders, growth, gpus))


def _opening_vintages(name: str, count: float, growth: float, gpu: Gpu) -> list[Vintage]:
    span = gpu.life_months / OPENING_VINTAGES
    ages = [span * (i + 0.5) for i in range(OPENING_VINTAGES)]
    weights = [exp(-growth * age) for age in ages]
    total = sum(weights)
    return [
        Vintage(type=name, gpus=count * weight / total, retires_month=gpu.life_months - age)
        for age, weight in zip(ages, weights, strict=True)
        if count > 0
    ]


def _opening_orders(fleet: Fleet, orders: Orders, growth: float, gpus: Mapping[str, Gpu]) -> tuple[Order, ...]:
    """Deliveries due within the lead time: the stock goes on growing as it did, retirements replaced."""
    gpu, stock = gpus[orders.type], stock_h100e(fleet, gpus, 0)
    months = range(round(orders.lead_time.mean_months))
    wanted = [
        stock * (exp(growth * (month + 1)) - exp(growth * month))
        + stock_h100e(fleet, gpus, month)
        - stock_h100e(fleet, gpus, month + 1)
        for month in months
    ]
    return tuple(
        Order(type=orders.type, gpus=h100e / gpu.h100e, due_month=month + 0.5)
        for month, h100e in zip(months, wanted, strict=True)
        if h100e > 0
    )


def delivered(fleet: Fleet, order: Order, gpus: Mapping[str, Gpu]) -> Fleet:
    """The fleet after an order has come in."""
    vintage = Vintage(type=order.type, gpus=order.gpus, retires_month=order.due_month + gpus[order.type].life_months)
    rest = list(fleet.on_order)
    rest.remove(order)
    return Fleet(vintages=(*fleet.vintages, vintage), on_order=tuple(rest))


def stock_h100e(fleet: Fleet, gpus: Mapping[str, Gpu], month: float) -> float:
    """Performance installed and not retired, in H100-equivalents."""
    return sum(v.gpus * gpus[v.type].h100e for v in fleet.vintages if v.retires_month > month)


def on_order_h100e(fleet: Fleet, gpus: Mapping[str, Gpu]) -> float:
    """Performance on order, in H100-equivalents."""
    return sum(order.gpus * gpus[order.type].h100e for order in fleet.on_order)


def site_power_kw(fleet: Fleet, plan: RegionFleet, gpus: Mapping[str, Gpu], month: float) -> float:
    """Power of the whole stock under load, cooling and conversion included, kW."""
    return plan.pue * sum(v.gpus * gpus[v.type].power_kw for v in fleet.vintages if v.retires_month > month)


def powered_share(fleet: Fleet, plan: RegionFleet, gpus: Mapping[str, Gpu], month: float) -> float:
    """Share of the stock that the power connected can run."""
    if plan.power_cap_mw is None:
        return 1.0
    power_kw = site_power_kw(fleet, plan, gpus, month)
    return min(1.0, plan.power_cap_mw * KW_PER_MW / power_kw) if power_kw > 0 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Power of a site for each H100-equivalent, cooling and conversion included."""

    loaded_kw: float
    idle_kw: float

    def energy_mwh(self, *, busy_gpu_hours: float, idle_gpu_hours: float) -> float:
        """Energy of GPU-hours under load, and switched on without load, MWh."""
        return (self.loaded_kw * busy_gpu_hours + self.idle_kw * idle_gpu_hours) / KW_PER_MW


def power_of(fleet: Fleet, plan: RegionFleet, gpus: Mapping[str, Gpu], month: float) -> Power:
    """Power for each H100-equivalent of a stock, averaged over its types; nothing for an empty one."""
    h100e = stock_h100e(fleet, gpus, month)
    alive = [v for v in fleet.vintages if v.retires_month > month] if h100e > 0 else []
    return Power(
        loaded_kw=plan.pue * sum(v.gpus * gpus[v.type].power_kw / h100e for v in alive),
        idle_kw=plan.pue * sum(v.gpus * gpus[v.type].idle_power_kw / h100e for v in alive),
    )


def forecast_growth_per_month(peak_needs: Sequence[float], orders: Orders, growth_before_per_year: float) -> float:
    """Growth of the peak need that the forecast carries on, in logs a month.

    Parameters
    ----------
    peak_needs : sequence of float, shape (months so far,), H100e
        Peak need of each month; before the first, it grew as the stock did.
    """
    before = log_growth_per_month(growth_before_per_year)
    measured = min(len(peak_needs) - 1, orders.forecast_months)
    if peak_needs[-1] <= 0 or peak_needs[-1 - measured] <= 0:
        return 0.0
    observed = log(peak_needs[-1] / peak_needs[-1 - measured])
    growth = (observed + (orders.forecast_months - measured) * before) / orders.forecast_months
    return min(growth, log_growth_per_month(orders.largest_growth_per_year))


def order_gap_h100e(
    *, target: float, stock: float, on_order: float, supply_line_weight: float, adjustment_per_month: float
) -> float:
    r"""Orders of a month that close the gap between stock and target, H100e; negative when there is too much.

    .. math:: o = \kappa \,(D - K - s\,O)

    With :math:`s = 0` (what is on order is forgotten, as in the beer game) and a lead time L this is the
    delay law :math:`K'(t) = \kappa (D - K(t-L))`: monotone below :math:`\kappa L = 1/e`, overshooting above,
    diverging beyond :math:`\pi/2`.
    """
    return adjustment_per_month * (target - stock - supply_line_weight * on_order)


def order_of_month(
    fleet: Fleet,
    plan: RegionFleet,
    gpus: Mapping[str, Gpu],
    *,
    month: float,
    peak_needs: Sequence[float],
    relative_rental: float = 1.0,
    draws: Draws,
) -> Order | None:
    """What the region orders this month, None when it orders nothing.

    Parameters
    ----------
    peak_needs : sequence of float, shape (months so far,), H100e
        Peak need of each month.
    relative_rental : float
        Rental price over its trend: compute that is dear is worth building for, and a glut is left to age.
    """
    orders = plan.orders
    if orders is None:
        return None
    ahead = month + orders.lead_time.mean_months
    growth = forecast_growth_per_month(peak_needs, orders, plan.growth_before_per_year)
    answer = exp(min(orders.rental_response * log(relative_rental), LARGEST_LOG_RESPONSE))
    wanted = order_gap_h100e(
        target=orders.headroom * peak_needs[-1] * exp(growth * (ahead - month)) * answer,
        stock=stock_h100e(fleet, gpus, ahead),
        on_order=on_order_h100e(fleet, gpus),
        supply_line_weight=orders.supply_line_weight,
        adjustment_per_month=orders.adjustment_per_month,
    )
    granted = min(wanted, allocation_h100e_per_month(orders, month))
    if granted <= 0:
        return None
    due = month + lead_time_months(orders.lead_time, draws)
    return Order(type=orders.type, gpus=granted / gpus[orders.type].h100e, due_month=due)


def allocation_h100e_per_month(orders: Orders, month: float) -> float:
    """Most that the vendor lets the region have in a month, H100e."""
    if orders.allocation_per_month is None:
        return float("inf")
    return orders.allocation_per_month * exp(log_growth_per_month(orders.allocation_growth_per_year) * month)


def lead_time_months(lead_time: LeadTime, draws: Draws) -> float:
    """Lead time of an order: gamma distributed with the given mean and coefficient of variation, months.

    By the transformation of Wilson and Hilferty, whose cube of a normal number follows the gamma
    distribution to a per cent at coefficients of variation up to 1 [1]_; one draw an order keeps the arms paired.

    References
    ----------
    .. [1] E. B. Wilson and M. M. Hilferty, "The distribution of chi-square", PNAS 17 (1931), 684-688.
    """
    if lead_time.cv == 0:
        return lead_time.mean_months
    spread = lead_time.cv * lead_time.cv / 9.0
    normal = STANDARD_NORMAL.inv_cdf(float(draws.uniform("lead time", 1)[0]))
    return lead_time.mean_months * max(1.0 - spread + sqrt(spread) * normal, 0.0) ** 3
