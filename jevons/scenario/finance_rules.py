"""Rules between the fields of finance, and between them and the rest of a scenario."""

from __future__ import annotations

from collections.abc import Iterator

from jevons.scenario.classes import ScenarioTables
from jevons.scenario.fields import TAIL, Distribution
from jevons.scenario.finance_tables import Investors, Vendor
from jevons.scenario.wording import Finding, shown, suggestion


def finance_rules(scenario: ScenarioTables) -> Iterator[Finding]:
    """Every rule of finance that a scenario breaks."""
    if scenario.vendor is not None:
        yield from _place("vendor", scenario)
        yield from _types(scenario.vendor, scenario)
        yield from _margins(scenario.vendor)
        yield from _value(scenario.vendor)
    if scenario.investors is not None:
        if scenario.vendor is None:
            yield _finding("vendor", "is needed with [investors], whose collateral it is")
        yield from _credit(scenario.investors)


def _place(table: str, scenario: ScenarioTables) -> Iterator[Finding]:
    if scenario.kind != "market":
        yield _finding(table, "is for kind 'market' only")
    if not any(region.fleet is not None and region.fleet.orders is not None for region in scenario.regions.values()):
        yield _finding(table, "needs a region that orders: [regions.NAME.fleet.orders]")


def _types(vendor: Vendor, scenario: ScenarioTables) -> Iterator[Finding]:
    for name in vendor.types:
        if name not in scenario.gpus:
            yield _finding("vendor.types", f"there is no {shown(name)} in [gpus]{suggestion(name, scenario.gpus)}")


def _margins(vendor: Vendor) -> Iterator[Finding]:
    if _highest(vendor.margin_floor) > _lowest(vendor.margin):
        rule = f"must be at most margin, {_lowest(vendor.margin):g}"
        yield _finding("vendor.margin_floor", rule, vendor.margin_floor)
    if _lowest(vendor.margin_ceiling) < _highest(vendor.margin):
        rule = f"must be at least margin, {_highest(vendor.margin):g}"
        yield _finding("vendor.margin_ceiling", rule, vendor.margin_ceiling)
    if _highest(vendor.operating_cost_share) >= _lowest(vendor.margin_floor):
        rule = f"must be below margin_floor, {_lowest(vendor.margin_floor):g}"
        yield _finding("vendor.operating_cost_share", rule, vendor.operating_cost_share)


def _value(vendor: Vendor) -> Iterator[Finding]:
    """Profit for ever is worth something finite only if it is discounted faster than it grows."""
    fastest = _highest(vendor.long_run_growth_per_year) - 1.0
    if vendor.horizon_years is None and _lowest(vendor.discount_rate_per_year) <= fastest:
        rule = f"must be above the growth of the long run, {fastest:g}, without horizon_years"
        yield _finding("vendor.discount_rate_per_year", rule, vendor.discount_rate_per_year)


def _credit(investors: Investors) -> Iterator[Finding]:
    most = 2.0 * _highest(investors.debt_share)
    if most > _lowest(investors.loan_to_value_limit):
        rule = f"must be at least twice debt_share, {most:g}, or lenders call at once"
        yield _finding("investors.loan_to_value_limit", rule, investors.loan_to_value_limit)


def _finding(key: str, rule: str, value: object = None) -> Finding:
    return Finding(path=tuple(key.split(".")), message=rule if value is None else f"{rule}, not {shown(value)}")


def _lowest(value: float) -> float:
    return value.quantile(TAIL) if isinstance(value, Distribution) else value


def _highest(value: float) -> float:
    return value.quantile(1 - TAIL) if isinstance(value, Distribution) else value
