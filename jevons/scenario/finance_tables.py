"""The tables of finance: the vendor of GPUs and what it is thought to be worth, and who holds it on credit."""

from __future__ import annotations

from typing import Literal

from jevons.scenario.fields import FACTOR, PROPER_SHARE, SHARE, Range, Table, Uncertain, quantity, text

Expectation = Literal["adaptive", "extrapolative"]


class Vendor(Table):
    """The GPU vendor: its margin, its prices, what investors expect of it."""

    types: list[str] = text("Types in [gpus] that it sells; all if empty.", [])
    margin: Uncertain = quantity(
        "1", "Gross margin at the start, which with the price gives the cost.", PROPER_SHARE, 0.75
    )
    margin_response: Uncertain = quantity(
        "1",
        "Rise of the odds of the margin, m/(1 - m), in logs, for each log of book-to-bill over its norm.",
        Range(at_least=0, at_most=10),
        0.0,
    )
    normal_book_to_bill: Uncertain = quantity(
        "1", "Orders over deliveries at which the margin rests.", Range(above=0, at_most=100), 1.0
    )
    rival_pressure_per_year: Uncertain = quantity(
        "1/year", "Fall of the odds of the margin, in logs a year, to rivals.", Range(at_least=0, at_most=10), 0.0
    )
    margin_adjustment_months: Uncertain = quantity(
        "month", "Time constant with which the margin adjusts; 0 is at once.", Range(at_least=0, at_most=240), 0.0
    )
    margin_floor: Uncertain = quantity("1", "Gross margin below which it does not go.", PROPER_SHARE, 0.2)
    margin_ceiling: Uncertain = quantity("1", "Gross margin above which it does not go.", PROPER_SHARE, 0.95)
    cost_change_per_year: Uncertain = quantity(
        "1/year", "Factor by which the cost of a GPU moves each year.", FACTOR, 1.0
    )
    operating_cost_share: Uncertain = quantity(
        "1",
        "Operating cost over revenue, below the lowest margin.  A tax on profit would leave every ratio as it is.",
        Range(at_least=0, below=1),
        0.0,
    )
    other_revenue_share: Uncertain = quantity(
        "1", "Share of revenue at the start that these GPUs do not bring.", Range(at_least=0, below=1), 0.0
    )
    other_growth_per_year: Uncertain = quantity("1/year", "Factor by which other revenue grows each year.", FACTOR, 1.0)
    expectation: Expectation = text(
        "What growth investors expect: corrected by its surprises (adaptive), or recent growth carried on "
        "(extrapolative).",
        "adaptive",
    )
    expectation_weight: Uncertain = quantity(
        "1",
        "Adaptive: share of a surprise that a year teaches.  Extrapolative: weight of recent growth against that of "
        "the long run.",
        SHARE,
        0.5,
    )
    trailing_months: int = quantity(
        "month", "Months over which investors measure revenue and its growth.", Range(at_least=1, at_most=60), 12
    )
    growth_half_life_months: Uncertain = quantity(
        "month",
        "Months in which expected growth goes half the way to that of the long run.",
        Range(above=0, at_most=1200),
        18.0,
    )
    long_run_growth_per_year: Uncertain = quantity(
        "1/year", "Factor by which profit grows each year in the long run.", Range(at_least=0.5, at_most=2), 1.03
    )
    discount_rate_per_year: Uncertain = quantity(
        "1/year", "Rate at which profit is discounted.", Range(above=0, at_most=1), 0.1
    )
    horizon_years: float | None = quantity(
        "year", "Years of profit that count; for ever if not given.", Range(above=0, at_most=200), None
    )
    announcement_fall: Uncertain = quantity(
        "1", "Share of its value lost in the month after the shock, on the news alone.", Range(at_least=0, below=1), 0.0
    )
    announcement_half_life_months: Uncertain = quantity(
        "month", "Months in which half of that fall, in logs, is made good.", Range(above=0, at_most=1200), 3.0
    )
    gap_half_life_months: Uncertain = quantity(
        "month",
        "Implied demand under a pull-forward: months after the run in which half of the relative gap between profit "
        "with and without the shock is closed.",
        Range(above=0, at_most=1200),
        12.0,
    )


class Investors(Table):
    """Owners of the sector on credit, whose collateral moves with the vendor's value and whose cash is the rents."""

    debt_share: Uncertain = quantity(
        "1",
        "Loan-to-value that they aim at, on average; single ones lie evenly from 0 to twice that.",
        Range(at_least=0, below=0.5),
        0.25,
    )
    leveraged_share: Uncertain = quantity("1", "Share of the sector's value that they hold.", SHARE, 0.3)
    interest_per_year: Uncertain = quantity("1/year", "Interest on their debt.", Range(at_least=0, at_most=1), 0.1)
    maturity_months: Uncertain = quantity(
        "month", "Months in which a loan is to be repaid.", Range(at_least=1, at_most=600), 48.0
    )
    cash_yield_per_year: Uncertain = quantity(
        "1/year",
        "Cash for each dollar of assets at the start; it moves with the rents of a GPU over their trend.",
        Range(at_least=0, at_most=10),
        0.25,
    )
    releverage_per_month: Uncertain = quantity(
        "1/month", "Share of the gap to the loan-to-value aimed at that is borrowed each month.", SHARE, 0.3
    )
    loan_to_value_limit: Uncertain = quantity("1", "Loan-to-value above which lenders call.", PROPER_SHARE, 0.6)
    price_impact: Uncertain = quantity(
        "1",
        "Fall of the value, in logs, for each share of the sector that is sold.",
        Range(at_least=0, at_most=10),
        1.0,
    )
    dip_buying: Uncertain = quantity(
        "1",
        "Share of the sector that others buy for each log by which forced sales have it below what is expected of it.",
        Range(at_least=0, at_most=10),
        0.0,
    )
    recovery_months: Uncertain = quantity(
        "month",
        "Time constant with which the discount of forced sales goes, and what was sold is bought back.",
        Range(above=0, at_most=600),
        6.0,
    )
    funding_response: Uncertain = quantity(
        "1",
        "Fall of what is ordered, in logs, for each log by which the value is below its highest.",
        Range(at_least=0, at_most=10),
        0.0,
    )
