"""What public policy does in a region in a month: export controls, caps, energy and carbon, subsidies, innovation.

Pure functions of the scenario, a region, a month and what is known of it.  A policy holds in the months that begin
on or after its first day, in all three arms alike; without policies every function returns what it was given.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from jevons.dates import approach
from jevons.efficiency import month_of
from jevons.fleet import Fleet, Order, Power
from jevons.scenario import Gpu, Policy, PolicyKind, Scenario
from jevons.stacks import PerWorld, exp, larger, log, ratio, smaller
from jevons.units import KW_PER_MW, log_growth_per_month


def holding(scenario: Scenario, kind: PolicyKind, region: str, month: float) -> list[Policy]:
    """The policies of a kind that hold in a region in a month."""
    return [policy for policy in _of(scenario, kind, region) if holds(scenario, policy, month)]


def holds(scenario: Scenario, policy: Policy, month: float) -> bool:
    """Whether a policy holds in a month, which is when the month begins while it does."""
    begun = policy.since is None or month_of(scenario, policy.since) <= month
    return begun and not _is_past(scenario, policy.until, month)


def _of(scenario: Scenario, kind: PolicyKind, region: str) -> Iterator[Policy]:
    for policy in scenario.policies.values():
        if policy.kind == kind and policy.region in (None, region):
            yield policy


def _is_past(scenario: Scenario, date: dt.date | None, month: float) -> bool:
    return date is not None and month_of(scenario, date) <= month


# Export controls.


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What a control lets through of orders of a type."""

    #: Share that arrives, licensed or not, and what a GPU of it costs over its list price.
    arriving_share: PerWorld
    price_factor: PerWorld


def passage(control: Policy) -> Passage:
    r"""What an export control lets through.

    .. math:: s = l + (1 - l)\,\lambda, \qquad f = \frac{l + (1 - l)\,\lambda\, q}{s}

    with :math:`l` the licensed share, :math:`\lambda` the share of the rest that leaks, at :math:`q` times the
    list price; :math:`f` is the mean price of what arrives.

    Examples
    --------
    >>> passage(Policy(kind="export_control", licensed_share=0.25, leakage=0.2, leakage_price_factor=3.0))
    Passage(arriving_share=0.4, price_factor=1.75)
    """
    licensed, refused = control.licensed_share, 1.0 - control.licensed_share
    leaked = refused * control.leakage
    share = licensed + leaked
    paid = licensed + leaked * control.leakage_price_factor
    return Passage(arriving_share=share, price_factor=ratio(paid, share, otherwise=1.0))


def let_through(
    scenario: Scenario, region: str, month: float, order: Order, gpus: Mapping[str, Gpu]
) -> tuple[Order, ...]:
    """An order of a month as the controls leave it: of its type what arrives, of substitutes what is offered instead.

    A substitute may be controlled in its turn.  What has no substitute is not ordered.

    Parameters
    ----------
    order : Order
        What the region would order without controls.
    gpus : mapping of str to Gpu
        The types of accelerator.
    """
    controls = {control.type: control for control in holding(scenario, "export_control", region, month)}
    found, wanted = [], order
    while (control := controls.pop(wanted.type, None)) is not None:
        through = passage(control)
        found.append(replace(wanted, gpus=wanted.gpus * through.arriving_share, price_factor=through.price_factor))
        if control.substitute is None:
            return tuple(found)
        refused = wanted.gpus * (1.0 - through.arriving_share) * gpus[wanted.type].h100e
        instead = refused * control.substitute_share / gpus[control.substitute].h100e
        wanted = replace(order, type=control.substitute, gpus=instead)
    return (*found, wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rush:
    """How a region orders ahead of a control that it sees coming."""

    #: Months by which it looks further ahead, and what the vendor allocates over the usual.
    months_further: PerWorld = 0.0
    allocation_factor: PerWorld = 1.0


def rush(scenario: Scenario, region: str, month: float, type_ordered: str) -> Rush:
    """The rush for what a region orders, between the announcement of a control and the control."""
    found = Rush()
    for control in _of(scenario, "export_control", region):
        is_near = _is_past(scenario, control.announced, month) and not _is_past(scenario, control.since, month)
        if is_near and control.type in _offered(scenario, region, month, type_ordered):
            found = Rush(
                months_further=larger(found.months_further, control.stockpile_months),
                allocation_factor=found.allocation_factor * control.stockpile_allocation_factor,
            )
    return found


def _offered(scenario: Scenario, region: str, month: float, type_ordered: str) -> set[str]:
    """What a region orders in a month: its type, and what stands in for that."""
    controls = {control.type: control for control in holding(scenario, "export_control", region, month)}
    offered, substitute = {type_ordered}, type_ordered
    while (control := controls.pop(substitute, None)) is not None and control.substitute is not None:
        substitute = control.substitute
        offered.add(substitute)
    return offered


def without_cancelled(scenario: Scenario, region: str, month: int, fleet: Fleet) -> Fleet:
    """The fleet without what was on order and does not arrive, in the first month of a control without grace."""
    for control in holding(scenario, "export_control", region, month):
        if not control.grace and (month == 0 or not holds(scenario, control, month - 1)):
            share = np.asarray(passage(control).arriving_share)[..., None]
            is_cancelled = ~fleet.is_installed & np.array([name == control.type for name in fleet.types], dtype=bool)
            fleet = replace(fleet, gpus=np.where(is_cancelled, fleet.gpus * share, fleet.gpus))
    return fleet


# Caps.


def largest_fleet_h100e(scenario: Scenario, region: str, month: float) -> PerWorld:
    """Most GPUs that a region may run in a month, H100e; inf without a cap."""
    most: PerWorld = inf
    for cap in holding(scenario, "cap", region, month):
        assert cap.fleet_h100e is not None, "a cap needs it"
        age = month - (0.0 if cap.since is None else month_of(scenario, cap.since))
        most = smaller(most, cap.fleet_h100e * exp(log_growth_per_month(cap.fleet_growth_per_year) * age))
    return most


# Energy, carbon, subsidies.


def energy_usd_per_gpu_hour(scenario: Scenario, region: str, month: float, power: Power) -> PerWorld:
    r"""What policy adds to the running cost of a GPU-hour, USD; below 0 where energy gets cheaper.

    .. math:: \tau = p\,(\Delta e + t\, m)

    with :math:`p` the power of an H100-equivalent under load, cooling included, :math:`\Delta e` the change of the
    price of electricity, :math:`t` the tax on a tonne of CO2 and :math:`m` the tonnes of a megawatt-hour.

    Notes
    -----
    What energy cost before is contained in the rental price.  The owner pays for energy and asks for it; what of it
    stays with him shows in the rental price, which scarcity moves.
    """
    usd_per_mwh: PerWorld = 0.0
    for policy in holding(scenario, "energy_price", region, month):
        assert policy.usd_per_mwh is not None, "an energy price needs it"
        usd_per_mwh = usd_per_mwh + policy.usd_per_mwh
    for policy in holding(scenario, "carbon_tax", region, month):
        assert policy.usd_per_tonne is not None, "a carbon tax needs it"
        assert policy.tonnes_per_mwh is not None, "a carbon tax needs it"
        usd_per_mwh = usd_per_mwh + policy.usd_per_tonne * policy.tonnes_per_mwh
    return power.loaded_kw / KW_PER_MW * usd_per_mwh


def subsidised_share(scenario: Scenario, of: str, segment: str, region: str, month: float) -> PerWorld:
    """Share of the price, or of the rental price, that the public purse pays for a segment in a region."""
    left: PerWorld = 1.0
    for policy in holding(scenario, "subsidy", region, month):
        if policy.of == of and policy.segment in (None, segment):
            assert policy.share is not None, "a subsidy needs it"
            left = left * (1.0 - policy.share)
    return 1.0 - left


# Innovation under scarcity.


def induced_gain(
    scenario: Scenario,
    region: str,
    month: float,
    before: PerWorld,
    *,
    relative_rental: PerWorld,
    log_shortage: PerWorld,
) -> PerWorld:
    r"""Efficiency that the scarcity of compute has induced so far, in logs.

    .. math:: \varepsilon_r = \varepsilon_0 \lambda_r^\omega, \qquad
        \ln \lambda_r = \max(0, \ln w/\bar w) + \ln (\text{wanted}/\text{granted})

    approached with a time constant and never lost again: what was learnt is known.

    Parameters
    ----------
    before : array_like, shape (...)
        What it had induced by the month before.
    relative_rental : array_like, shape (...)
        Rental price over its trend, :math:`w/\bar w`.
    log_shortage : array_like, shape (...)
        GPU-hours wanted over those granted, in logs.

    References
    ----------
    .. [1] D. Acemoglu, "Directed technical change", Review of Economic Studies 69 (2002), 781-809.
    """
    for policy in holding(scenario, "directed_innovation", region, month):
        assert policy.omega is not None, "directed innovation needs it"
        scarcity = larger(log(relative_rental), 0.0) + log_shortage
        before = larger(before, approach(before, policy.omega * scarcity, policy.adjustment_months))
    return before
