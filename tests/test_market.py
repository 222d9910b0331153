"""A segment's market in a region: cost to price, price to usage, and where it is counted from."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from math import exp, log

import pytest
from worlds import budget, segment, world

from jevons.efficiency import Progress
from jevons.market import Conditions, Requests, SegmentMarket, first_month
from jevons.scenario import Pricing, Scenario, Trend
from jevons.service import requests_of

STILL = Progress(compute_factor=1.0, log_capability=0.0)


def market(scenario: Scenario, name: str = "chat") -> SegmentMarket:
    """A segment's market in the one region."""
    return SegmentMarket(scenario, name, "here", requests_of(scenario, scenario.segments[name]))


def met(month: int = 1, **changes) -> Conditions:
    """Conditions in which nothing has moved."""
    fields = {
        "month": month,
        "progress": STILL,
        "rental_usd_per_gpu_hour": 2.5,
        "packing": 1.0,
        "latency_s": 0.0,
        "log_shortage": 0.0,
    }
    return Conditions(**{**fields, **changes})


def moved(one: SegmentMarket, **changes) -> tuple[float, float]:
    """Price and usage over those of the start, a month after it, in logs."""
    standing = one.standing(one.opening(STILL), met(**changes))
    return standing.log_price - log(one.segment.price_usd_per_mtok), standing.log_tokens


def test_a_request_takes_its_computed_input_and_its_output():
    """1000 tokens in, 40 % cached, at 110, and 250 out at 560, by 1250 tokens."""
    requests = Requests(input_tokens=1000.0, output_tokens=250.0, cached_share=0.4)

    assert requests.gpu_seconds_per_mtok(segment()) == pytest.approx((600.0 * 110.0 + 250.0 * 560.0) / 1250.0)


def test_the_unit_cost_of_the_start_by_hand():
    """0.7 x 110 + 0.3 x 560 = 245 GPU-s at 2.5 USD/h is 0.1701 USD; 80 % of the cost: 0.2127 in all."""
    cost = market(world(segment(other_cost_share=0.2))).opening(STILL).unit_cost_usd_per_mtok

    assert cost == pytest.approx(245.0 / 3600.0 * 2.5 / 0.8)


def test_a_segment_opens_at_its_list_price():
    opening = market(world()).opening(STILL)

    assert opening.price_usd_per_mtok == pytest.approx(8.0)
    assert opening.response.price == pytest.approx(0.0, abs=1e-12)
    assert opening.response.capability == 0.0
    assert opening.gpu_seconds_per_mtok == pytest.approx(245.0)


def test_nothing_moves_where_nothing_has_moved():
    assert moved(market(world())) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_a_dearer_rental_price_is_passed_on():
    """Rental price up by half, 90 % of the cost compute, 0.6 passed on: 0.6 ln(1 + 0.9/2); usage -1.3 times it."""
    one = market(world(segment(other_cost_share=0.1), pricing=Pricing(pass_through=0.6)))
    price, usage = moved(one, rental_usd_per_gpu_hour=3.75)

    assert price == pytest.approx(0.6 * log(1.45))
    assert usage == pytest.approx(-1.3 * price)


def test_empty_nodes_cost_as_much_as_full_ones():
    """Packing down from all to a half doubles the cost of a token."""
    assert moved(market(world()), packing=0.5)[0] == pytest.approx(log(2.0))


def test_cost_is_counted_from_the_packing_of_the_first_month():
    one = market(world(segment(other_cost_share=0.1)))
    one.open(packing=0.5, latency_s=0.0)

    assert moved(one, packing=0.5) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_only_the_first_opening_counts():
    one = market(world())
    one.open(packing=0.5, latency_s=3.0)
    one.open(packing=0.9, latency_s=7.0)

    assert one.opening_met == (0.5, 3.0)


def test_waiting_longer_is_paying_more():
    """3.6 USD an hour is 0.001 a second; 10 s more on each of 1000 requests per Mtok are 10 USD on top of 8 and 4."""
    one = market(world(segment(value_of_time_usd_per_hour=3.6)))
    one.open(packing=1.0, latency_s=4.0)
    price, usage = moved(one, latency_s=14.0)

    assert price == pytest.approx(0.0, abs=1e-12)
    assert usage == pytest.approx(-1.3 * log(22.0 / 12.0))


def test_a_shortage_is_marked_up_at_the_speed_of_prices():
    one = market(world(pricing=Pricing(shortage_markup=0.7, adjustment_months=2.0)))

    assert moved(one, log_shortage=0.4)[0] == pytest.approx(0.28 * (1.0 - exp(-0.5)))


def test_prices_go_on_from_where_they_stand():
    """A price 0.3 above its trend in logs is e^(-1/2) of that a month later."""
    one = market(world(pricing=Pricing(adjustment_months=2.0)))
    dear = replace(one.opening(STILL), log_price=log(8.0) + 0.3)

    assert one.standing(dear, met()).log_price - log(8.0) == pytest.approx(0.3 * exp(-0.5))


def test_what_is_off_its_trend_comes_back_to_the_trend_of_the_month():
    """Prices that halve in a year, at the trend's cost: 0.3 above January's, e^(-1/2) of that above February's."""
    one = market(world(segment(price_change_per_year=0.5), months=3, pricing=Pricing(adjustment_months=2.0)))
    dear = replace(one.opening(STILL), log_price=log(8.0) + 0.3)

    assert one.standing(dear, met()).log_price == pytest.approx(log(8.0) - log(2.0) / 12.0 + 0.3 * exp(-0.5))


def test_a_late_segment_counts_capability_from_its_own_start():
    """Capability doubles each year: in use from March on, and a year later at 2^0.6 by it."""
    late = segment(since=dt.date(2025, 3, 1), capability_elasticity=0.6)
    one = market(world(late, months=15, trend=Trend(capability_gain_per_year=2.0)))

    assert [one.trend[month].response.capability for month in (0, 12)] == pytest.approx([0.0, 0.6 * log(2.0)])


def test_capability_attracts_users():
    chat = segment(capability_elasticity=0.9)

    assert moved(market(world(chat)), progress=Progress(compute_factor=1.0, log_capability=0.5))[1] == pytest.approx(
        0.45
    )


def test_usage_goes_part_of_the_way_each_month():
    one = market(world(segment(adjustment_months=5.0)))

    assert moved(one, rental_usd_per_gpu_hour=5.0)[1] == pytest.approx(-1.3 * log(2.0) * (1.0 - exp(-0.2)))


def test_willingness_that_follows_prices_keeps_the_market_on_its_place():
    """Hill, prices halved each year: at 1 nothing saturates, at 0 the market goes down its curve."""

    def usage(tracks: float) -> float:
        chat = segment(form="hill", penetration=0.4, price_change_per_year=0.5, willingness_tracks_price=tracks)
        return market(world(chat, months=13)).trend[12].response.price

    b = 1.3 / 0.6
    assert usage(1.0) == pytest.approx(0.0, abs=1e-12)
    assert usage(0.0) == pytest.approx(-log(0.4 + 0.6 * 0.5**b))
    assert usage(0.25) == pytest.approx(-log(0.4 + 0.6 * 0.5 ** (0.75 * b)))


def test_what_cost_does_not_explain_of_a_price_is_a_drift_of_its_margin():
    """Cost falls 3-fold a year and prices 4-fold: the actual price follows its trend, cost its own."""
    one = market(world(segment(price_change_per_year=0.25), months=13, trend=Trend(algorithmic_gain_per_year=3.0)))
    trend = one.trend[12]

    assert trend.price_usd_per_mtok == pytest.approx(2.0)
    assert trend.unit_cost_usd_per_mtok == pytest.approx(one.trend[0].unit_cost_usd_per_mtok / 3.0)


def test_without_an_observed_price_it_follows_cost():
    pricing = Pricing(pass_through=0.7)
    progress = Trend(algorithmic_gain_per_year=3.0, hardware_gain_per_year=1.5)
    one = market(world(months=13, pricing=pricing, trend=progress))

    assert one.trend[12].price_usd_per_mtok == pytest.approx(8.0 * 4.5**-0.7)


def test_a_budget_buys_what_it_can():
    """700 USD at 0.1701 USD/Mtok; and when compute costs twice as much, half."""
    one = market(world(budget()))

    assert one.start_tokens_per_day == pytest.approx(700.0 / (245.0 / 3600.0 * 2.5) * 1e6)
    assert moved(one, rental_usd_per_gpu_hour=5.0)[1] == pytest.approx(-log(2.0))


@pytest.mark.parametrize(
    ("since", "month"),
    [(None, 0), (dt.date(2024, 6, 1), 0), (dt.date(2025, 1, 1), 0), (dt.date(2025, 1, 2), 1), (dt.date(2025, 3, 1), 2)],
)
def test_a_segment_is_in_use_from_the_first_month_that_begins_after_its_first_day(since, month):
    assert first_month(world(), segment(since=since)) == month
