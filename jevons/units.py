"""Conversions, each in one place; everything else says its unit in its name."""

from __future__ import annotations

from jevons.stacks import PerWorld, log

SECONDS_PER_MINUTE = 60.0
MINUTES_PER_HOUR = 60.0
SECONDS_PER_HOUR = 3600.0
HOURS_PER_DAY = 24
SECONDS_PER_DAY = SECONDS_PER_HOUR * HOURS_PER_DAY
DAYS_PER_YEAR = 365.25
MONTHS_PER_YEAR = 12
DAYS_PER_MONTH = DAYS_PER_YEAR / MONTHS_PER_YEAR
SECONDS_PER_MONTH = DAYS_PER_MONTH * SECONDS_PER_DAY
HOURS_PER_YEAR = DAYS_PER_YEAR * HOURS_PER_DAY
WEEKDAYS_PER_WEEK = 5
WEEKEND_DAYS_PER_WEEK = 2
TOKENS_PER_MTOK = 1e6
KW_PER_MW = 1e3


def log_growth_per_month(factor_per_year: PerWorld) -> PerWorld:
    """Growth in logs each month, 1/month, of what multiplies by `factor_per_year` each year."""
    return log(factor_per_year) / MONTHS_PER_YEAR


def month_average(weekday: PerWorld, weekend: PerWorld) -> PerWorld:
    """Average over a week of a figure known for a weekday and for a day of the weekend."""
    days = WEEKDAYS_PER_WEEK + WEEKEND_DAYS_PER_WEEK
    return (WEEKDAYS_PER_WEEK * weekday + WEEKEND_DAYS_PER_WEEK * weekend) / days
