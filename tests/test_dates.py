"""Months of the calendar, and adjustment over them."""

from __future__ import annotations

import datetime as dt
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.dates import approach, month_start, months_between

dates = st.dates(dt.date(1900, 1, 1), dt.date(2100, 12, 31))


def test_months_of_any_length_count_as_one_each():
    """January has 31 days, February 2024 has 29."""
    assert months_between(dt.date(2024, 1, 1), dt.date(2024, 2, 1)) == 1.0
    assert months_between(dt.date(2024, 2, 1), dt.date(2024, 3, 1)) == 1.0


def test_days_count_as_a_share_of_their_month():
    """The 20th of January is 19 of 31 days into the third month of a run from November on."""
    assert months_between(dt.date(2024, 11, 1), dt.date(2025, 1, 20)) == 2 + 19 / 31


def test_a_month_is_complete_only_on_its_day():
    """From the 20th of January to the 5th of March 2025: one month, and 13 of the 28 days from the 20th of February."""
    assert months_between(dt.date(2025, 1, 20), dt.date(2025, 3, 5)) == 1 + 13 / 28


def test_a_date_before_the_start_is_negative():
    """The 17th of December is 15 of 31 days before January."""
    assert months_between(dt.date(2025, 1, 1), dt.date(2024, 12, 17)) == pytest.approx(-15 / 31)


def test_a_month_starts_on_its_last_day_where_the_day_does_not_exist():
    start = dt.date(2024, 10, 31)

    assert [month_start(start, i) for i in (1, 3, 4)] == [
        dt.date(2024, 11, 30),
        dt.date(2025, 1, 31),
        dt.date(2025, 2, 28),
    ]


def test_months_run_backwards_too():
    assert month_start(dt.date(2024, 2, 15), -3) == dt.date(2023, 11, 15)


@given(dates, st.integers(-600, 600))
def test_the_months_of_a_run_begin_at_whole_numbers(start, month):
    assert months_between(start, month_start(start, month)) == month


@given(dates, dates, dates)
def test_later_dates_are_more_months_away(start, one, other):
    earlier, later = sorted((one, other))

    assert (months_between(start, earlier) < months_between(start, later)) == (earlier < later)


def test_a_gap_shrinks_to_its_eth_part_in_one_time_constant():
    """From 2 towards 7 with 4 months: 7 - 5/e."""
    assert approach(2.0, 7.0, 4.0, step_months=4.0) == pytest.approx(7.0 - 5.0 * exp(-1.0))


def test_without_a_time_constant_the_target_is_reached_at_once():
    assert approach(2.0, 7.0, 0.0) == 7.0


@given(st.floats(-9, 9), st.floats(-9, 9), st.floats(0.1, 50), st.floats(0.01, 9))
def test_two_half_steps_are_one_step(previous, target, months, step):
    halfway = approach(previous, target, months, step / 2)

    assert approach(halfway, target, months, step / 2) == pytest.approx(
        approach(previous, target, months, step), abs=1e-12
    )


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_after_n_steps_the_response_is_that_of_the_koyck_lag(steps):
    """a (1 - lambda^n) of a long-run response a, Koyck (1954)."""
    lag, response = exp(-1 / 5), 0.0
    for _ in range(steps):
        response = approach(response, 1.3, 5.0)

    assert response == pytest.approx(1.3 * (1 - lag**steps))
