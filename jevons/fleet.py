"""The GPUs of a region: stock by type and vintage, orders, deliveries, retirement, power.

Section 6 of the model.  Orders aim at the forecast peak need times headroom, minus the stock, minus the
share of the order book that is remembered; they arrive after a lead time, within what the vendor allocates.

GPUs are counted in batches, those of one type that came or come together; a leading shape (...) is that of a stack
of worlds, () for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats, normal_quantile
from jevons.scenario import Gpu, LeadTime, Orders, RegionFleet
from jevons.stacks import PerWorld, exp, larger, log, ratio, smaller, sqrt, where
from jevons.units import KW_PER_MW, log_growth_per_month

#: The stock of the start is divided into this many vintages of equal span.
OPENING_VINTAGES = 20
#: Orders answer the rental price by no more than this, in logs; what is more would overflow.
LARGEST_LOG_RESPONSE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """GPUs of one type on their way; in a stack of worlds each has its own number of them, 0 where it orders none."""

    type: str
    gpus: PerWorld
    due_month: PerWorld
    #: What each costs over the list price.
    price_factor: PerWorld = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fleet:
    """What is installed in a region, and what is on order, in the order in which it was bought."""

    #: Type of each batch, shape (batches,).
    types: tuple[str, ...]
    #: GPUs of each batch, shape (..., batches).
    gpus: Floats
    #: When it was or is delivered, and when it retires, shape (..., batches).
    due_month: Floats
    retires_month: Floats
    #: Whether it is there, shape (..., batches); what is not is on order.
    is_installed: npt.NDArray[np.bool_]

    @property
    def batches(self) -> int:
        """Number of batches."""
        return len(self.types)

    def in_stock(self, month: PerWorld) -> Floats:
        """GPUs of each batch that are installed and not retired, shape (..., batches)."""
        return self.gpus * (self.is_installed & (self.retires_month > np.asarray(month)[..., None]))

    def with_order(self, order: Order, gpus: Mapping[str, Gpu]) -> Fleet:
        """The fleet with one order more on its way."""
        shape = np.broadcast_shapes(self.gpus.shape[:-1], np.shape(order.gpus), np.shape(order.due_month))

        def joined(old: npt.NDArray[Any], new: PerWorld | bool) -> npt.NDArray[Any]:
            both = np.empty((*shape, self.batches + 1), dtype=old.dtype)
            both[..., :-1], both[..., -1] = old, new
            return both

        return Fleet(
            types=(*self.types, order.type),
            gpus=joined(self.gpus, order.gpus),
            due_month=joined(self.due_month, order.due_month),
            retires_month=joined(self.retires_month, order.due_month + gpus[order.type].life_months),
            is_installed=joined(self.is_installed, False),
        )

    def with_delivery(self, batch: int, due_month: float) -> Fleet:
        """The fleet after a batch has come in, in the worlds in which it is due in a month."""
        is_installed = self.is_installed.copy()
        is_installed[..., batch] |= self.due_month[..., batch] == due_month
        return replace(self, is_installed=is_installed)

    def awaited(self, batch: int) -> list[float]:
        """Months in which a batch is due in one world or another, of which it has GPUs on their way."""
        is_coming = (self.gpus[..., batch] > 0) & ~self.is_installed[..., batch]
        due: list[float] = np.unique(self.due_month[..., batch][is_coming]).tolist()
        return due


def opening_fleet(plan: RegionFleet, gpus: Mapping[str, Gpu]) -> Fleet:
    """Stock of the start, as old as its growth says, and the orders that carry the growth on meanwhile."""
    growth = log_growth_per_month(plan.growth_before_per_year)
    lives = np.repeat([gpus[name].life_months for name in plan.stock], OPENING_VINTAGES)
    ages = lives / OPENING_VINTAGES * np.tile(np.arange(OPENING_VINTAGES) + 0.5, len(plan.stock))
    counts = np.repeat(list(plan.stock.values()), OPENING_VINTAGES) * _vintage_shares(ages, growth)
    fleet = Fleet(
        types=tuple(name for name in plan.stock for _ in range(OPENING_VINTAGES)),
        gpus=counts,
        due_month=np.broadcast_to(-ages, counts.shape),
        retires_month=np.broadcast_to(lives - ages, counts.shape),
        is_installed=np.ones(counts.shape, dtype=np.bool_),
    )
    for order in () if plan.orders is None else _opening_orders(fleet, plan.orders, growth, gpus):
        fleet = fleet.with_order(order, gpus)
    return fleet


def _vintage_shares(ages: Floats, growth: PerWorld) -> Floats:
    """Share of each vintage in the stock of its type, shape (..., batches), if the stock grew so until now."""
    weights = np.exp(-np.asarray(growth)[..., None] * ages)
    by_type = weights.reshape(*weights.shape[:-1], -1, OPENING_VINTAGES)
    return np.asarray((by_type / by_type.sum(axis=-1, keepdims=True)).reshape(weights.shape))


def _opening_orders(fleet: Fleet, orders: Orders, growth: PerWorld, gpus: Mapping[str, Gpu]) -> list[Order]:
    """Deliveries due within the lead time: the stock goes on growing as it did, retirements replaced."""
    gpu, stock, lead = gpus[orders.type], stock_h100e(fleet, gpus, 0), np.round(orders.lead_time.mean_months)
    found = []
    for month in range(int(lead.max())):
        retired = stock_h100e(fleet, gpus, month) - stock_h100e(fleet, gpus, month + 1)
        grown = stock * (exp(growth * (month + 1)) - exp(growth * month))
        wanted = where(month < lead, larger(grown + retired, 0.0), 0.0)
        found.append(Order(type=orders.type, gpus=wanted / gpu.h100e, due_month=month + 0.5))
    return found


def stock_h100e(fleet: Fleet, gpus: Mapping[str, Gpu], month: PerWorld) -> PerWorld:
    """Performance installed and not retired, in H100-equivalents."""
    return _total(fleet.in_stock(month), fleet, gpus, "h100e")


def on_order_h100e(fleet: Fleet, gpus: Mapping[str, Gpu]) -> PerWorld:
    """Performance on order, in H100-equivalents."""
    return _total(fleet.gpus * ~fleet.is_installed, fleet, gpus, "h100e")


def site_power_kw(fleet: Fleet, plan: RegionFleet, gpus: Mapping[str, Gpu], month: PerWorld) -> PerWorld:
    """Power of the whole stock under load, cooling and conversion included, kW."""
    return plan.pue * _total(fleet.in_stock(month), fleet, gpus, "power_kw")


def _total(counts: Floats, fleet: Fleet, gpus: Mapping[str, Gpu], name: str) -> PerWorld:
    """Sum over the batches of what each of their GPUs has of something."""
    if not fleet.types:
        return 0.0
    each = counts * [getattr(gpus[kind], name) for kind in fleet.types]
    # One after the other: batches that only other worlds of a stack have must not touch the rounding.
    return cast(float, each.cumsum(axis=-1)[..., -1][()])


def powered_share(fleet: Fleet, plan: RegionFleet, gpus: Mapping[str, Gpu], month: PerWorld) -> PerWorld:
    """Share of the stock that the power connected can run."""
    if plan.power_cap_mw is None:
        return 1.0
    power_kw = site_power_kw(fleet, plan, gpus, month)
    return smaller(1.0, ratio(plan.power_cap_mw * KW_PER_MW, power_kw, otherwise=1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Power of a site for each H100-equivalent, cooling and conversion included."""

    loaded_kw: PerWorld
    idle_kw: PerWorld

    def energy_mwh(self, *, busy_gpu_hours: PerWorld, idle_gpu_hours: PerWorld) -> PerWorld:
        """Energy of GPU-hours under load, and switched on without load, MWh."""
        return (self.loaded_kw * busy_gpu_hours + self.idle_kw * idle_gpu_hours) / KW_PER_MW


def power_of(fleet: Fleet, plan: RegionFleet, gpus: Mapping[str, Gpu], month: PerWorld) -> Power:
    """Power for each H100-equivalent of a stock, averaged over its types; nothing for an empty one."""
    counts = fleet.in_stock(month)
    h100e, loaded_kw, idle_kw = (_total(counts, fleet, gpus, name) for name in ("h100e", "power_kw", "idle_power_kw"))
    return Power(
        loaded_kw=plan.pue * ratio(loaded_kw, h100e, otherwise=0.0),
        idle_kw=plan.pue * ratio(idle_kw, h100e, otherwise=0.0),
    )


def forecast_growth_per_month(
    peak_needs: Sequence[PerWorld], orders: Orders, growth_before_per_year: PerWorld
) -> PerWorld:
    """Growth of the peak need that the forecast carries on, in logs a month.

    Parameters
    ----------
    peak_needs : sequence of array_like, shape (months so far,), H100e
        Peak need of each month; before the first, it grew as the stock did.
    """
    before = log_growth_per_month(growth_before_per_year)
    measured = min(len(peak_needs) - 1, orders.forecast_months)
    last, first = peak_needs[-1], peak_needs[-1 - measured]
    is_known = np.greater(last, 0) & np.greater(first, 0)
    observed = log(where(is_known, last, 1.0)) - log(where(is_known, first, 1.0))
    growth = (observed + (orders.forecast_months - measured) * before) / orders.forecast_months
    return where(is_known, smaller(growth, log_growth_per_month(orders.largest_growth_per_year)), 0.0)


def order_gap_h100e(
    *,
    target: PerWorld,
    stock: PerWorld,
    on_order: PerWorld,
    supply_line_weight: PerWorld,
    adjustment_per_month: PerWorld,
) -> PerWorld:
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
    peak_needs: Sequence[PerWorld],
    relative_rental: PerWorld = 1.0,
    months_further: PerWorld = 0.0,
    allocation_factor: PerWorld = 1.0,
    largest_h100e: PerWorld = inf,
    luck: PerWorld,
) -> Order | None:
    """What the region orders this month, of no GPUs when it orders nothing; None from a region that never orders.

    Parameters
    ----------
    peak_needs : sequence of array_like, shape (months so far,), H100e
        Peak need of each month.
    relative_rental : array_like, shape (...)
        Rental price over its trend: compute that is dear is worth building for, and a glut is left to age.
    months_further : array_like, shape (...), month
        Months beyond the lead time for which the region orders already, ahead of a ban.
    allocation_factor : array_like, shape (...)
        What the vendor allocates over the usual.
    largest_h100e : array_like, shape (...), H100e
        Most that the region may run; no order aims higher.
    luck : array_like, shape (...)
        Uniform number, between 0 and 1, that decides the lead time.
    """
    orders = plan.orders
    if orders is None:
        return None
    ahead = month + orders.lead_time.mean_months + months_further
    if orders.supply_elasticity is None:
        growth = forecast_growth_per_month(peak_needs, orders, plan.growth_before_per_year)
        answer = exp(smaller(orders.rental_response * log(relative_rental), LARGEST_LOG_RESPONSE))
        target = orders.headroom * peak_needs[-1] * exp(growth * (ahead - month)) * answer
    else:
        opening = sum(count * gpus[name].h100e for name, count in plan.stock.items())
        shift = log_growth_per_month(orders.supply_growth_per_year) * ahead
        target = supplied_h100e(opening * exp(shift), relative_rental, orders.supply_elasticity)
    wanted = order_gap_h100e(
        target=smaller(target, largest_h100e),
        stock=stock_h100e(fleet, gpus, ahead),
        on_order=on_order_h100e(fleet, gpus),
        supply_line_weight=orders.supply_line_weight,
        adjustment_per_month=orders.adjustment_per_month,
    )
    granted = larger(smaller(wanted, allocation_factor * allocation_h100e_per_month(orders, month)), 0.0)
    due = month + lead_time_months(orders.lead_time, luck)
    return Order(type=orders.type, gpus=granted / gpus[orders.type].h100e, due_month=due)


def supplied_h100e(at_trend: PerWorld, relative_rental: PerWorld, supply_elasticity: PerWorld) -> PerWorld:
    r"""Fleet on a supply curve of constant elasticity, H100e.

    .. math:: K = \bar K\, (w/\bar w)^{\sigma_S}

    Parameters
    ----------
    at_trend : array_like, shape (...), H100e
        Fleet :math:`\bar K` when the rental price is on its trend.
    relative_rental : array_like, shape (...)
        Rental price over its trend, :math:`w/\bar w > 0`.
    supply_elasticity : array_like, shape (...)
        :math:`\sigma_S \ge 0`; 0 is a fleet that does not answer.

    Examples
    --------
    >>> float(supplied_h100e(50.0, 4.0, 0.5))
    100.0
    """
    return at_trend * exp(smaller(supply_elasticity * log(relative_rental), LARGEST_LOG_RESPONSE))


def allocation_h100e_per_month(orders: Orders, month: float) -> PerWorld:
    """Most that the vendor lets the region have in a month, H100e."""
    if orders.allocation_per_month is None:
        return float("inf")
    return orders.allocation_per_month * exp(log_growth_per_month(orders.allocation_growth_per_year) * month)


def lead_time_months(lead_time: LeadTime, luck: PerWorld) -> PerWorld:
    """Lead time of an order: gamma distributed with the given mean and coefficient of variation, months.

    By the transformation of Wilson and Hilferty, whose cube of a normal number follows the gamma
    distribution to a per cent at coefficients of variation up to 1 [1]_; one draw an order keeps the arms paired.

    Parameters
    ----------
    lead_time : LeadTime
    luck : array_like, shape (...)
        Uniform number, between 0 and 1: the share of all orders that come sooner.

    References
    ----------
    .. [1] E. B. Wilson and M. M. Hilferty, "The distribution of chi-square", PNAS 17 (1931), 684-688.
    """
    spread = lead_time.cv * lead_time.cv / 9.0
    root = larger(1.0 - spread + sqrt(spread) * cast(float, normal_quantile(luck)[()]), 0.0)
    return lead_time.mean_months * root * root * root
