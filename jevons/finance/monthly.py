"""Vendor and investors month by month: from orders and deliveries to margin, price, value and funding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from jevons.dates import approach
from jevons.finance.investors import (
    InvestorsMonth,
    InvestorsState,
    funding,
    investors_after_month,
    opening_investors,
)
from jevons.finance.valuation import adapted_growth, expected_value, extrapolated_growth
from jevons.finance.vendor import margin_aimed_at, relative_gpu_price
from jevons.fleet import Fleet
from jevons.randomness import Floats
from jevons.scenario import Gpu, Scenario, Vendor
from jevons.stacks import PerWorld, exp, larger, log, ratio, smaller, where
from jevons.units import MONTHS_PER_YEAR, log_growth_per_month

#: Months over which book-to-bill is measured: what is ordered and delivered in one is lumpy.
BOOK_MONTHS = 6
#: No growth expected is faster or slower, in logs a year.
LARGEST_LOG_GROWTH = 3.0
#: Orders are taken for no smaller share of those of the start, so that their logarithm exists.
SMALLEST_ORDERS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What those who order meet in a month."""

    #: Price of a GPU over that of the start.
    relative_gpu_price: PerWorld = 1.0
    #: Share of what they would order that they find the money for.
    funding: PerWorld = 1.0


#: Of a vendor without a table, or of GPUs that it does not sell.
USUAL_TERMS = Terms()


@dataclass(frozen=True, slots=True, kw_only=True)
class FinanceState:
    """What vendor and investors carry from month to month."""

    margin: PerWorld
    terms: Terms = USUAL_TERMS
    #: Of each month so far, USD.
    revenues: tuple[PerWorld, ...] = ()
    orders: tuple[PerWorld, ...] = ()
    #: In logs a year.
    expected_growth: PerWorld
    #: What the announcement has taken off the value and has not been made good, in logs.
    log_news: PerWorld = 0.0
    #: Value without forced sales, and with them; the highest of the latter, and what it has since lost.
    sound_value: PerWorld | None = None
    peak_value: PerWorld = 0.0
    investors: InvestorsState | None = None
    #: Cash for each GPU over its trend, in the first month.
    opening_rents: PerWorld | None = None
    #: Since the month before the shock.
    peak_since_shock: PerWorld = 0.0
    largest_drawdown: PerWorld = 0.0
    value_at_shock: PerWorld = 0.0
    lowest_funding: PerWorld = 1.0
    least_hedge: PerWorld = 1.0
    most_ponzi: PerWorld = 0.0
    sold: PerWorld = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorMonth:
    """The vendor in a month, and those who hold it on credit."""

    #: From the GPUs delivered, and all of it, USD a month.
    gpu_revenue_usd: PerWorld
    revenue_usd: PerWorld
    #: Of the last twelve months, or of those there were, USD a year.
    revenue_of_year_usd: PerWorld
    #: On deliveries, and on what was ordered, USD a month.
    profit_usd: PerWorld
    booked_profit_usd: PerWorld
    margin: PerWorld
    #: Gross margin less operating cost, for the next orders.
    profit_share: PerWorld
    #: At which the next orders are placed, over that of the start.
    relative_gpu_price: PerWorld
    book_to_bill: PerWorld
    expected_growth_per_year: PerWorld
    value_usd: PerWorld
    #: In the first month after the shock; 0 before it.
    value_at_shock_usd: PerWorld
    #: Largest since the month before the shock.
    largest_drawdown: PerWorld
    #: For the next month's orders; None without investors.
    funding: PerWorld | None
    investors: InvestorsMonth | None
    #: The worst since the month before the shock: funding, share of hedge and of Ponzi finance, all forced sales.
    lowest_funding: PerWorld
    least_hedge_share: PerWorld
    most_ponzi_share: PerWorld
    sold_since_shock: PerWorld

    @property
    def figures(self) -> dict[str, PerWorld]:
        """The figures of the series, by metric; units are in `VENDOR_UNITS`."""
        known = {
            "vendor_revenue_usd": self.revenue_usd,
            "vendor_revenue_of_year_usd": self.revenue_of_year_usd,
            "vendor_profit_usd": self.profit_usd,
            "vendor_margin": self.margin,
            "relative_gpu_price": self.relative_gpu_price,
            "book_to_bill": self.book_to_bill,
            "expected_growth_per_year": self.expected_growth_per_year,
            "vendor_value_usd": self.value_usd,
            "vendor_value_at_shock_usd": self.value_at_shock_usd,
            "largest_drawdown": self.largest_drawdown,
        }
        if self.funding is None or self.investors is None:
            return known
        return {
            **known,
            "funding": self.funding,
            "hedge_share": self.investors.hedge_share,
            "speculative_share": self.investors.speculative_share,
            "ponzi_share": self.investors.ponzi_share,
            "forced_sales": self.investors.forced_sales,
            "forced_discount": self.investors.discount,
            "lowest_funding": self.lowest_funding,
            "least_hedge_share": self.least_hedge_share,
            "most_ponzi_share": self.most_ponzi_share,
            "sold_since_shock": self.sold_since_shock,
        }


#: Units of the vendor's figures.
VENDOR_UNITS = {
    "vendor_revenue_usd": "USD/month",
    "vendor_revenue_of_year_usd": "USD/year",
    "vendor_profit_usd": "USD/month",
    "vendor_margin": "1",
    "relative_gpu_price": "1",
    "book_to_bill": "1",
    "expected_growth_per_year": "1/year",
    "vendor_value_usd": "USD",
    "vendor_value_at_shock_usd": "USD",
    "largest_drawdown": "1",
    "funding": "1",
    "hedge_share": "1",
    "speculative_share": "1",
    "ponzi_share": "1",
    "forced_sales": "1",
    "forced_discount": "1",
    "lowest_funding": "1",
    "least_hedge_share": "1",
    "most_ponzi_share": "1",
    "sold_since_shock": "1",
}


class Finance:
    """The plans of vendor and investors, applied to their state."""

    def __init__(self, scenario: Scenario, vendor: Vendor, shock_month: int) -> None:
        self.scenario = scenario
        self.vendor = vendor
        self.plan = scenario.investors
        self.shock_month = shock_month
        self.sold = tuple(vendor.types or scenario.gpus)

    def opening(self) -> FinanceState:
        """The state before the first month: growth is expected to go on as it was."""
        growths = [
            log_growth_per_month(region.fleet.growth_before_per_year) * MONTHS_PER_YEAR
            for region in self.scenario.regions.values()
            if region.fleet is not None and region.fleet.orders is not None
        ]
        expected = _bounded_growth(sum(growths, 0.0) / len(growths))
        return FinanceState(
            margin=self.vendor.margin,
            expected_growth=expected,
            investors=None if self.plan is None else opening_investors(self.plan),
        )

    def terms(self, state: FinanceState, gpu_type: str) -> Terms:
        """What those who order a type meet."""
        if gpu_type in self.sold:
            return state.terms
        return replace(state.terms, relative_gpu_price=1.0)

    def delivered_usd(self, fleets: Sequence[Fleet], month: int, terms: Terms) -> PerWorld:
        """What is due in a month, at the prices of the month."""
        gpus = self.scenario.gpus
        return terms.relative_gpu_price * sum(
            (delivered_usd(fleet, {name: gpus[name] for name in self.sold}, month) for fleet in fleets), 0.0
        )

    def after_month(
        self,
        state: FinanceState,
        month: int,
        *,
        ordered_usd: PerWorld,
        delivered_usd: PerWorld,
        rents: PerWorld,
        has_shock: bool,
    ) -> tuple[FinanceState, VendorMonth]:
        """Close a month: book it, move the margin, expect, value, and see who can still pay.

        Parameters
        ----------
        ordered_usd, delivered_usd : array_like, shape (...), USD
            Orders and deliveries of the month.
        rents : array_like, shape (...)
            What a GPU earned over its trend, in any unit.
        has_shock : bool
            Whether this arm has the shock at all.
        """
        vendor = self.vendor
        booked = replace(state, revenues=(*state.revenues, delivered_usd), orders=(*state.orders, ordered_usd))
        book_to_bill = self._book_to_bill(booked)
        margin = self._next_margin(state, month, book_to_bill)
        expected = self._expected_growth(booked, state.expected_growth)
        log_news = self._news(state, month, has_shock)
        sound = exp(log_news) * self._sound_value(booked, month, state.margin, expected)
        log_return = 0.0 if state.sound_value is None else log(sound / state.sound_value)
        opening_rents = rents if state.opening_rents is None else state.opening_rents
        held = self._investors(state, log_return, ratio(rents, opening_rents, otherwise=1.0))
        value = sound if held is None else sound * exp(-held[1].discount)
        peak = larger(state.peak_value, value)
        found = None if held is None else self._funding(value, peak, held[1])
        since_shock = replace(
            booked, **self._since_shock(state, month, value, found, None if held is None else held[1])
        )
        moved = replace(
            since_shock,
            margin=margin,
            terms=Terms(
                relative_gpu_price=relative_gpu_price(margin, vendor.margin, self._relative_cost(month + 1)),
                funding=1.0 if found is None else found,
            ),
            expected_growth=expected,
            log_news=log_news,
            sound_value=sound,
            peak_value=peak,
            investors=None if held is None else held[0],
            opening_rents=opening_rents,
        )
        other = self._other_revenue_usd(booked, month)
        operating = vendor.operating_cost_share
        return moved, VendorMonth(
            gpu_revenue_usd=delivered_usd,
            revenue_usd=delivered_usd + other,
            revenue_of_year_usd=MONTHS_PER_YEAR * (_mean(booked.revenues[-MONTHS_PER_YEAR:]) + other),
            profit_usd=(state.margin - operating) * delivered_usd + (vendor.margin - operating) * other,
            booked_profit_usd=(state.margin - operating) * ordered_usd + (vendor.margin - operating) * other,
            margin=state.margin,
            profit_share=margin - operating,
            relative_gpu_price=moved.terms.relative_gpu_price,
            book_to_bill=book_to_bill,
            expected_growth_per_year=exp(expected) - 1.0,
            value_usd=value,
            value_at_shock_usd=moved.value_at_shock,
            largest_drawdown=moved.largest_drawdown,
            funding=found,
            investors=None if held is None else held[1],
            lowest_funding=moved.lowest_funding,
            least_hedge_share=moved.least_hedge,
            most_ponzi_share=moved.most_ponzi,
            sold_since_shock=moved.sold,
        )

    # The margin.

    def _book_to_bill(self, state: FinanceState) -> PerWorld:
        """Orders over deliveries of the last months; those before the start were at their norm."""
        norm, months = self.vendor.normal_book_to_bill, min(len(state.orders), BOOK_MONTHS)
        orders, deliveries = (sum(path[-months:], 0.0) for path in (state.orders, state.revenues))
        opening = self._opening_orders(state)
        before = (BOOK_MONTHS - months) * opening
        return (orders + norm * before) / larger(deliveries + before, SMALLEST_ORDERS * opening)

    def _next_margin(self, state: FinanceState, month: int, book_to_bill: PerWorld) -> PerWorld:
        vendor = self.vendor
        aim = margin_aimed_at(
            vendor.margin,
            response=vendor.margin_response,
            log_slack=log(larger(book_to_bill / vendor.normal_book_to_bill, 1e-6)),
            rival_pressure=vendor.rival_pressure_per_year * (month + 1) / MONTHS_PER_YEAR,
            floor=vendor.margin_floor,
            ceiling=vendor.margin_ceiling,
        )
        return approach(state.margin, aim, vendor.margin_adjustment_months)

    def _relative_cost(self, month: int) -> PerWorld:
        return exp(log_growth_per_month(self.vendor.cost_change_per_year) * month)

    # What it is worth.

    def _opening_orders(self, state: FinanceState) -> PerWorld:
        """What was ordered in the first month, or was due in it where nothing was ordered, USD a month."""
        first = where(state.orders[0] > 0.0, state.orders[0], state.revenues[0])
        return larger(first, 1.0)

    def _trailing(self, state: FinanceState, months_ago: int) -> PerWorld:
        """Orders of the months measured that ended some months ago, USD a year; before the start they grew as expected.

        Orders and not deliveries, which follow them by the lead time, in lumps: investors look at the book.
        """
        months, end = self.vendor.trailing_months, len(state.orders) - months_ago
        growth, opening = self.opening().expected_growth / MONTHS_PER_YEAR, self._opening_orders(state)
        inside = state.orders[max(end - months, 0) : max(end, 0)]
        earlier = sum((opening * exp(growth * month) for month in range(end - months, min(end, 0))), 0.0)
        total = sum(inside, 0.0) + earlier
        return MONTHS_PER_YEAR / months * larger(total, SMALLEST_ORDERS * opening)

    def _expected_growth(self, state: FinanceState, before: PerWorld) -> PerWorld:
        vendor = self.vendor
        now, then = self._trailing(state, 0), self._trailing(state, vendor.trailing_months)
        observed = _bounded_growth(log(now / then) * MONTHS_PER_YEAR / vendor.trailing_months)
        if vendor.expectation == "adaptive":
            return adapted_growth(before, observed, vendor.expectation_weight)
        return extrapolated_growth(observed, log(vendor.long_run_growth_per_year), vendor.expectation_weight)

    def _sound_value(self, state: FinanceState, month: int, margin: PerWorld, expected: PerWorld) -> PerWorld:
        operating = self.vendor.operating_cost_share
        gpus = valued(self.vendor, (margin - operating) * self._trailing(state, 0), expected)
        other = MONTHS_PER_YEAR * (self.vendor.margin - operating) * self._other_revenue_usd(state, month)
        return gpus + valued(self.vendor, other, log(self.vendor.long_run_growth_per_year))

    def _other_revenue_usd(self, state: FinanceState, month: int) -> PerWorld:
        share = self.vendor.other_revenue_share
        grown = exp(log_growth_per_month(self.vendor.other_growth_per_year) * month)
        return share / (1.0 - share) * self._opening_orders(state) * grown

    def _news(self, state: FinanceState, month: int, has_shock: bool) -> PerWorld:
        """What is left of the fall on the day of the shock, in logs."""
        left = state.log_news * exp(-np.log(2.0) / self.vendor.announcement_half_life_months)
        if has_shock and month == self.shock_month:
            return left + log(1.0 - self.vendor.announcement_fall)
        return left

    def _since_shock(
        self,
        state: FinanceState,
        month: int,
        value: PerWorld,
        found: PerWorld | None,
        held: InvestorsMonth | None,
    ) -> dict[str, Any]:
        """What is remembered since the month before the shock."""
        if month < self.shock_month - 1:
            return {}
        peak = larger(state.peak_since_shock, value)
        worst = {
            "peak_since_shock": peak,
            "largest_drawdown": larger(state.largest_drawdown, 1.0 - value / peak),
            "value_at_shock": value if month == self.shock_month else state.value_at_shock,
        }
        if found is None or held is None:
            return worst
        return {
            **worst,
            "lowest_funding": smaller(state.lowest_funding, found),
            "least_hedge": smaller(state.least_hedge, held.hedge_share),
            "most_ponzi": larger(state.most_ponzi, held.ponzi_share),
            "sold": state.sold + held.forced_sales,
        }

    # Who can still pay.

    def _investors(
        self, state: FinanceState, log_return: PerWorld, rents: PerWorld
    ) -> tuple[InvestorsState, InvestorsMonth] | None:
        if self.plan is None or state.investors is None:
            return None
        return investors_after_month(state.investors, self.plan, log_return=log_return, relative_rents=rents)

    def _funding(self, value: PerWorld, peak: PerWorld, held: InvestorsMonth) -> PerWorld:
        assert self.plan is not None, "only investors fund"
        return funding(
            value,
            peak,
            response=self.plan.funding_response,
            debt_share=self.plan.debt_share,
            ponzi=held.ponzi_share,
        )


def valued(vendor: Vendor, profit_per_year: PerWorld, expected: PerWorld, **gap: PerWorld | None) -> PerWorld:
    """What investors pay for a year's profit and the growth that they expect, in logs a year, USD."""
    return expected_value(
        profit_per_year,
        expected_log_growth_per_year=expected,
        long_run_growth_per_year=vendor.long_run_growth_per_year,
        half_life_months=vendor.growth_half_life_months,
        rate_per_year=vendor.discount_rate_per_year,
        horizon_years=vendor.horizon_years,
        **cast(dict[str, float], gap),
    )


def delivered_usd(fleet: Fleet, gpus: Mapping[str, Gpu], month: int) -> PerWorld:
    """What the GPUs of some types that are due in a month cost at the prices of the start."""
    prices = np.array([gpus[kind].price_usd if kind in gpus else 0.0 for kind in fleet.types])
    is_due = np.floor(fleet.due_month) == month
    worth: Floats = fleet.gpus * is_due * prices
    return 0.0 if not fleet.types else cast(float, worth.cumsum(axis=-1)[..., -1][()])


def _mean(path: Sequence[PerWorld]) -> PerWorld:
    return sum(path, 0.0) / len(path)


def _bounded_growth(growth: PerWorld) -> PerWorld:
    return smaller(larger(growth, -LARGEST_LOG_GROWTH), LARGEST_LOG_GROWTH)
