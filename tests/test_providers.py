"""A segment for which providers compete, alone and in the months of a simulation."""

from __future__ import annotations

import datetime as dt
from math import exp, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import (
    SERVING,
    SHOCK_MONTH,
    arms_of,
    compute_ratio,
    fleet,
    rebound_of,
    region,
    rivals,
    segment,
    stack_of,
    world,
)

from jevons.answer import Result
from jevons.errors import ScenarioError
from jevons.market import Conditions
from jevons.month_figures import factors_of
from jevons.months import Month
from jevons.providers import market_of
from jevons.rebound import lmdi
from jevons.scenario import Pricing, Scenario, Trend
from jevons.service import requests_of
from jevons.theory import capability_threshold

#: A third of all who could use it do, elasticity -0.9: the logit's weight of the price is 1.2.
HILL: dict[str, Any] = {"form": "hill", "penetration": 0.25, "price_elasticity": -0.9, "capability_elasticity": 0.8}
TWO = {"a": {"share": 0.7}, "b": {"share": 0.3}}


def market(months: int = 4, gain: float = 7.0, changes: dict[str, Any] | None = None, **more: Any) -> Scenario:
    """A scenario of one segment of form hill."""
    return world(segment(**{**HILL, **(changes or {})}), months=months, gain=gain, **more)


def of(scenario: Scenario, arm: str = "shock", month: int = -1, place: str = "here") -> dict[str, dict[str, Any]]:
    """Figures of each provider in a month."""
    offers = arms_of(scenario)[arm][month].segment("chat", place).offers
    assert offers is not None
    return {
        name: {
            "share": offers.shares[j],
            "price": exp(offers.log_price[j]),
            "capability": exp(offers.log_capability[j]),
            "compute": offers.gpu_seconds_per_mtok[j],
        }
        for j, name in enumerate(offers.names)
    }


def figures(month: Month) -> list[float]:
    """What a month came to."""
    chat = month.segment("chat", "here")
    return [
        chat.price_usd_per_mtok,
        chat.tokens_per_day,
        chat.price_response,
        chat.capability_response,
        chat.gpu_seconds_per_mtok,
        chat.gpu_hours_per_day,
    ]


LIVELY: dict[str, Any] = {
    "shock": {"capability_share": 0.3, "capability_yield": 0.5},
    "trend": Trend(algorithmic_gain_per_year=3.0, capability_gain_per_year=1.3),
    "pricing": Pricing(pass_through=0.8, adjustment_months=2.0, shortage_markup=0.5),
    "regions": {"here": region(fleet(900.0), scarcity_speed_per_month=0.3, normal_utilisation=0.7)},
    "serving": SERVING,
}
CHANGES: dict[str, Any] = {
    "workload": "talk",
    "adjustment_months": 3.0,
    "price_change_per_year": 0.5,
    "willingness_tracks_price": 0.6,
    "usage_growth_per_year": 2.0,
    "usage_growth_is": "observed",
    "tokens_per_task_elasticity": -0.1,
    "value_of_time_usd_per_hour": 0.4,
    "human_cost_usd_per_mtok": 0.7,
    "other_cost_share": 0.2,
}


@pytest.mark.parametrize("offers", [{"a": {"share": 1.0}}, TWO], ids=["one", "two alike"])
@pytest.mark.parametrize("similarity", [0.0, 0.6])
def test_providers_that_keep_their_ratios_are_as_one_who_stands_for_all(offers, similarity):
    """Hill is the logit with an outside option: months with shock, lags, waiting, trends, capability, all arms."""
    plain = market(months=8, changes=CHANGES, **LIVELY)
    shared = rivals(plain, offers, choice={"nest_similarity": similarity}, b={"nest": "other"})
    alone, together = arms_of(plain), arms_of(shared)

    for arm in ("baseline", "frozen", "shock"):
        for one, other in zip(alone[arm], together[arm], strict=True):
            assert figures(other) == pytest.approx(figures(one), rel=1e-9)


def test_the_start_has_the_shares_and_the_penetration_given():
    start = of(rivals(market(), TWO), month=0)

    assert {name: one["share"] for name, one in start.items()} == pytest.approx({"a": 0.7, "b": 0.3})


def test_who_gets_cheaper_gains_share_by_the_logit():
    """Only a has the shock, 7-fold: ln of its odds against b rises by 1.2 ln 7; usage is the logit's inside share."""
    scenario = rivals(market(shock={"provider_reach": {"b": 0.0}}), TWO)
    end, chat = of(scenario), arms_of(scenario)["shock"][-1].segment("chat", "here")
    odds = 7 / 3 * 7.0**1.2
    inside = 0.25 / 0.75 * (0.7 * 7.0**1.2 + 0.3)

    assert end["a"]["price"] == pytest.approx(8.0 / 7.0)
    assert end["b"]["price"] == pytest.approx(8.0)
    assert end["a"]["share"] / end["b"]["share"] == pytest.approx(odds)
    assert chat.price_response == pytest.approx(inside / (1 + inside) / 0.25)
    assert chat.capability_response == 1.0
    shares = [odds / (1 + odds), 1 / (1 + odds)]
    assert chat.price_usd_per_mtok == pytest.approx(8.0 / 7.0 * shares[0] + 8.0 * shares[1])
    assert chat.gpu_seconds_per_mtok == pytest.approx(245.0 * (shares[0] / 7.0 + shares[1]))


def test_a_nest_draws_more_from_its_own():
    """a gets cheaper; its twin in the nest loses more than the stranger of the same size."""
    offers = {name: {"share": 1 / 3} for name in ("a", "twin", "stranger")}
    scenario = rivals(
        market(shock={"provider_reach": {"twin": 0.0, "stranger": 0.0}}),
        offers,
        choice={"nest_similarity": 0.5},
        stranger={"nest": "far"},
    )
    end = of(scenario)

    assert end["twin"]["share"] < 0.6 * end["stranger"]["share"]


def test_nests_can_be_those_of_origin():
    """At home are a and b, abroad they are both foreign: one nest. By name each would be alone in its own."""
    offers = {name: {"share": 1 / 3} for name in ("a", "b", "c")}
    homes = {
        "a": {"home": "here", "nest": "x"},
        "b": {"home": "here", "nest": "y"},
        "c": {"home": "there", "nest": "z"},
    }
    base = market(
        shock={"provider_reach": {"b": 0.0, "c": 0.0}},
        changes={"region_share": {"here": 0.5, "there": 0.5}},
        regions={"here": region(), "there": region()},
    )
    by_origin = rivals(base, offers, choice={"nest_similarity": 0.5, "nests_by": "origin"}, **homes)
    by_name = rivals(base, offers, choice={"nest_similarity": 0.5}, **homes)

    assert of(by_origin)["b"]["share"] < of(by_origin)["c"]["share"]
    assert of(by_name)["b"]["share"] == pytest.approx(of(by_name)["c"]["share"])
    assert of(by_origin, place="there")["b"]["share"] < of(by_origin, place="there")["c"]["share"]


def test_users_switch_at_a_finite_speed():
    """Of the way to its share at rest a part 1 - e^-(1/4) each month."""
    base = market(months=SHOCK_MONTH + 1, shock={"provider_reach": {"b": 0.0}})
    rest = of(rivals(base, TWO))["b"]["share"]
    slow = of(rivals(base, TWO, choice={"switching_months": 4.0}))["b"]["share"]

    assert slow == pytest.approx(rest + (0.3 - rest) * exp(-0.25))


# Who can be had.


def test_a_ban_sends_its_users_to_the_others_and_away():
    """From March on b's 30 % are gone: the odds of using a, against nobody, stay as they were."""
    scenario = rivals(market(gain=1.0), TWO, b={"banned_in": {"here": dt.date(2025, 3, 1)}})
    arms = arms_of(scenario)
    before, after = (arms["baseline"][month].segment("chat", "here") for month in (1, 2))
    inside = 0.25 * 0.7 / (0.25 * 0.7 + 0.75)

    assert of(scenario, "baseline", 1)["b"]["share"] == pytest.approx(0.3)
    assert of(scenario, "baseline", 2)["b"]["share"] == 0.0
    assert before.price_response == pytest.approx(1.0)
    assert after.price_response == pytest.approx(inside / 0.25)


def test_a_ban_reaches_users_who_are_slow_to_switch_at_once():
    banned = {"banned_in": {"here": dt.date(2025, 3, 1)}}
    scenario = rivals(market(gain=1.0), TWO, choice={"switching_months": 12.0}, b=banned)

    assert of(scenario, "baseline", 2)["b"]["share"] == 0.0


def test_a_ban_holds_where_it_is_set():
    base = market(
        changes={"region_share": {"here": 0.5, "there": 0.5}}, regions={"here": region(), "there": region()}, gain=1.0
    )
    scenario = rivals(base, TWO, b={"banned_in": {"there": dt.date(2025, 2, 1)}})

    assert of(scenario)["b"]["share"] == pytest.approx(0.3)
    assert of(scenario, place="there")["b"]["share"] == 0.0


def test_distrust_divides_the_odds():
    """Trust of -1 where half would choose it: 1 to e, all else the same."""
    even = {"a": {"share": 0.5}, "b": {"share": 0.5}}
    shares = of(rivals(market(), even, b={"trust": {"here": -1.0}}), month=0)

    assert shares["b"]["share"] / shares["a"]["share"] == pytest.approx(exp(-1.0))
    assert arms_of(rivals(market(), even, b={"trust": {"here": -1.0}}))["baseline"][0].segment(
        "chat", "here"
    ).price_response == pytest.approx(1.0)


def test_an_entrant_gets_its_share_on_its_day():
    """Prices of all halve in a year, at the trend: b comes in June with a fifth, at any price of its own."""
    offers = {"a": {"share": 1.0}, "b": {"share": 0.2, "price_usd_per_mtok": 1.0}}
    base = market(
        months=9, gain=1.0, changes={"price_change_per_year": 0.5}, trend=Trend(algorithmic_gain_per_year=2.0)
    )
    scenario = rivals(base, offers, b={"since": dt.date(2025, 6, 1)})

    assert of(scenario, "baseline", 4)["b"]["share"] == 0.0
    assert of(scenario, "baseline", 5)["b"]["share"] == pytest.approx(0.2)
    assert of(scenario, "baseline", 5)["b"]["price"] == pytest.approx(1.0)
    assert of(scenario, "baseline", 8)["b"]["price"] == pytest.approx(0.5 ** (3 / 12))


def test_an_entrant_that_is_distrusted_falls_short_of_its_share():
    """A fifth where it is trusted, odds 1 to 4; at trust -1 they are e times smaller."""
    offers = {"a": {"share": 1.0}, "b": {"share": 0.2}}
    entrant = {"since": dt.date(2025, 3, 1), "trust": {"here": -1.0}}
    shares = of(rivals(market(gain=1.0), offers, b=entrant), "baseline")

    assert shares["b"]["share"] / shares["a"]["share"] == pytest.approx(0.25 * exp(-1.0))


def test_an_entrant_marks_up_from_the_price_it_enters_at():
    """Its own share on entry taken into account, in Lerner's rule and in the quota of what is free."""
    offers = {
        "a": {"share": 1.0},
        "b": {"share": 0.4, "price_usd_per_mtok": 3.0, "pricing": "bertrand", "free_share": 0.5},
    }
    base = market(months=5, gain=1.0, changes={"price_elasticity": -1.8})
    scenario = rivals(base, offers, b={"since": dt.date(2025, 3, 1)})
    entered = arms_of(scenario)["baseline"][2].segment("chat", "here")
    chosen = entered.price_response - 0.5 * 0.4

    assert of(scenario, "baseline", 2)["b"]["price"] == pytest.approx(3.0)
    # Of b's logit share a half is paid for; a's odds against nobody are those of the start.
    used_by_a = 0.25 / (1.0 + 0.25 * 0.4 / 0.6)
    assert chosen == pytest.approx((used_by_a + 0.5 * used_by_a * 0.4 / 0.6) / 0.25)


def test_an_entrant_begins_at_its_list_price_whatever_went_before():
    """Costs fell 7-fold in March; b comes in May at 3 USD and passes on a part 1 - e^-(1/5) in its first month."""
    offers = {"a": {"share": 1.0}, "b": {"share": 0.4, "price_usd_per_mtok": 3.0}}
    scenario = rivals(
        market(months=5, pricing=Pricing(adjustment_months=5.0)), offers, b={"since": dt.date(2025, 5, 1)}
    )

    assert of(scenario)["b"]["price"] == pytest.approx(3.0 * 7.0 ** -(1 - exp(-0.2)))


def test_an_entrant_with_less_capability_takes_none_from_the_others():
    """Usage rises by it: one more to choose from; capability, in the users' mean, stays."""
    offers = {"a": {"share": 1.0}, "b": {"share": 0.2}}
    scenario = rivals(
        market(months=9, gain=1.0),
        offers,
        a={"capability_gain_per_year": 2.0},
        b={"since": dt.date(2025, 6, 1), "capability": 0.1, "capability_gain_per_year": 2.0},
    )
    months = [month.segment("chat", "here") for month in arms_of(scenario)["baseline"]]

    assert months[5].price_response > 1.01 > months[4].price_response
    assert log(months[5].capability_response) == pytest.approx(0.8 * log(2.0) * 5 / 12)


def test_who_comes_with_the_shock_is_not_in_the_baseline():
    offers = {"a": {"share": 1.0}, "b": {"share": 0.2}}
    scenario = rivals(market(shock={"provider_reach": {"b": 0.0, "a": 0.0}}), offers, b={"enters_with_shock": True})

    assert of(scenario, "baseline")["b"]["share"] == 0.0
    assert of(scenario, "frozen")["b"]["share"] == 0.0
    assert of(scenario, "shock", SHOCK_MONTH)["b"]["share"] == pytest.approx(0.2)


def test_if_the_shock_is_pulled_forward_the_entrant_comes_later_in_the_baseline():
    offers = {"a": {"share": 1.0}, "b": {"share": 0.2}}
    pulled = {"kind": "pull_forward", "catch_up_months": 2.0}
    baseline = rivals(market(months=6, shock=pulled), offers, b={"enters_with_shock": True})

    assert of(baseline, "baseline", 3)["b"]["share"] == 0.0
    assert of(baseline, "baseline", 4)["b"]["share"] > 0.1


# Capability.


def test_capability_of_all_moves_usage_as_without_providers():
    """Twice as capable a year, psi 0.8: from the mean of the users alone."""
    scenario = rivals(market(gain=1.0), TWO, **{name: {"capability_gain_per_year": 2.0} for name in TWO})
    chat = arms_of(scenario)["baseline"][3].segment("chat", "here")

    assert log(chat.capability_response) == pytest.approx(0.8 * log(2.0) / 4)


def test_who_is_more_capable_gains_share():
    """psi over the share that uses none, 0.8/0.75, times ln 2 a year: on the odds against b."""
    scenario = rivals(market(gain=1.0), TWO, a={"capability_gain_per_year": 2.0})
    end = of(scenario, "baseline")

    assert end["a"]["capability"] == pytest.approx(2.0**0.25)
    assert log(end["a"]["share"] / end["b"]["share"] / (7 / 3)) == pytest.approx(0.8 / 0.75 * log(2.0) / 4)


def test_what_capability_adds_is_the_mean_and_what_sets_providers_apart_by_hand():
    """a alone gains x: psi times the users' mean, and the logit's inside share at what is left beside the mean."""
    scenario = rivals(market(gain=1.0), TWO, a={"capability_gain_per_year": 50.0})
    chat = arms_of(scenario)["baseline"][3].segment("chat", "here")
    beta, x = 0.8 / 0.75, log(50.0) / 4
    mean = x * 0.7 * exp(beta * x) / (0.7 * exp(beta * x) + 0.3)
    odds = 0.25 / 0.75 * (0.7 * exp(beta * (x - mean)) + 0.3 * exp(-beta * mean))

    assert chat.price_response == pytest.approx(1.0)
    assert chat.capability_response == pytest.approx(exp(0.8 * mean) * odds / (1 + odds) / 0.25)


def test_distillation_keeps_the_follower_in_the_market():
    followers = {"capability": 1.0}
    copies = {**followers, "distils_from": "a", "distillation_per_month": 0.3}
    leader = {"capability_gain_per_year": 4.0}
    base = market(months=13, gain=1.0)

    alone = of(rivals(base, TWO, a=leader, b=followers), "baseline")["b"]["share"]
    near = of(rivals(base, TWO, a=leader, b=copies), "baseline")["b"]["share"]
    hindered = {**copies, "countermeasure_date": dt.date(2025, 4, 1)}
    between = of(rivals(base, TWO, a=leader, b=hindered), "baseline")["b"]["share"]

    assert alone < between < near < 0.3


def test_observed_growth_is_met_whatever_the_race_does():
    """Usage doubles each year as observed, all the gains of capability included."""
    changes = {"usage_growth_per_year": 2.0, "usage_growth_is": "observed"}
    scenario = rivals(market(months=13, gain=1.0, changes=changes), TWO, a={"capability_gain_per_year": 3.0})
    path = arms_of(scenario)["baseline"]

    assert path[12].segment("chat", "here").tokens_per_day == pytest.approx(
        2.0 * path[0].segment("chat", "here").tokens_per_day
    )


@pytest.mark.parametrize("chi", [0.2, 0.3, 0.4, 0.5])
def test_capability_flips_partial_rebound_to_backfire_at_the_computed_threshold(chi):
    """Elasticity 0.8 < 1, psi 1.2, zeta 0.5: backfire where 0.8 > 1 - psi zeta chi/(1 - chi), from chi = 0.25 on.

    Section 5 of the model, for a small gain, in the months of two providers that both have it.
    """
    changes = {"price_elasticity": -0.8, "capability_elasticity": 1.2, "penetration": 0.3}
    shock = {"capability_share": chi, "capability_yield": 0.5}
    scenario = rivals(market(gain=1.01, changes=changes, shock=shock), TWO, choice={"nest_similarity": 0.4})

    assert (rebound_of(arms_of(scenario)) > 1.0) == (capability_threshold(1.2, 0.5, chi) < 0.8)


def test_the_flip_lies_at_the_threshold_itself():
    """1 - psi zeta chi/(1 - chi) = 0.8 at chi = 0.25: there compute hardly moves, on either side it turns."""
    changes = {"price_elasticity": -0.8, "capability_elasticity": 1.2, "penetration": 0.3}

    def change(chi: float) -> float:
        shock = {"capability_share": chi, "capability_yield": 0.5}
        return log(compute_ratio(arms_of(rivals(market(gain=1.001, changes=changes, shock=shock), TWO))))

    assert capability_threshold(1.2, 0.5, 0.25) == pytest.approx(0.8)
    assert change(0.249) < 0.0 < change(0.251)


# Prices.


def test_lerners_rule_moves_the_price_from_where_it_was_observed():
    """Nothing changes, nothing moves: whatever the list price is, it is where the mark-up is counted from."""
    offers = {"a": {"share": 0.7, "pricing": "bertrand"}, "b": {"share": 0.3, "pricing": "bertrand", "conduct": 0.6}}
    scenario = rivals(market(gain=1.0, changes={"price_elasticity": -1.8}), offers, choice={"nest_similarity": 0.5})

    assert of(scenario)["a"]["price"] == pytest.approx(8.0)
    assert of(scenario)["b"]["price"] == pytest.approx(8.0)


def test_a_rival_that_gets_cheaper_takes_margin_as_well_as_users():
    """Alpha is 2.4, similarity 0.5: a keeps its cost and lowers its price when b's falls."""
    offers = {"a": {"share": 0.7, "pricing": "bertrand"}, "b": {"share": 0.3}}
    base = market(shock={"provider_reach": {"a": 0.0}}, changes={"price_elasticity": -1.8})
    scenario = rivals(base, offers, choice={"nest_similarity": 0.5})
    used = 0.25 * arms_of(scenario)["shock"][-1].segment("chat", "here").price_response

    def markup(share: float, used: float) -> float:
        """1/(1 - 1/|e|), |e| = alpha ((1 - nu s_n)/(1 - nu) - s)."""
        return 1 / (1 - 1 / (2.4 * ((1 - 0.5 * share) / 0.5 - used * share)))

    end = of(scenario)
    assert end["a"]["price"] == pytest.approx(8.0 * markup(end["a"]["share"], used) / markup(0.7, 0.25), rel=1e-6)
    assert end["a"]["price"] < 7.0


def test_in_a_price_war_prices_fall_to_cost():
    """Conduct 1 to 0: by the mark-up of the start, 1/(1 - 1/|e|)."""
    war = {"pricing": "war", "war_date": dt.date(2025, 2, 1)}
    offers = {"a": {"share": 0.7, **war}, "b": {"share": 0.3}}
    scenario = rivals(market(gain=1.0, changes={"price_elasticity": -1.8}), offers)
    own = 2.4 * (1 - 0.25 * 0.7)

    assert of(scenario, "baseline", 0)["a"]["price"] == pytest.approx(8.0)
    assert of(scenario, "baseline", 1)["a"]["price"] == pytest.approx(8.0 * (1 - 1 / own))


def test_a_war_without_a_date_comes_with_the_shock():
    offers = {"a": {"share": 0.7, "pricing": "war"}, "b": {"share": 0.3}}
    scenario = rivals(market(gain=1.0, changes={"price_elasticity": -1.8}), offers)

    assert of(scenario, "baseline")["a"]["price"] == pytest.approx(8.0)
    assert of(scenario, "shock")["a"]["price"] < 7.0


def test_open_weights_limit_the_price():
    """At most a quarter above the open weights' 5 USD: 6.25 and not 8."""
    offers = {
        "a": {"share": 0.7, "pricing": "limit", "limit_premium": 0.25},
        "b": {"share": 0.3, "price_usd_per_mtok": 5.0},
    }
    open_weights = rivals(market(gain=1.0), offers, b={"open_weights": True})

    assert of(open_weights)["a"]["price"] == pytest.approx(6.25)
    assert of(rivals(market(gain=1.0), offers))["a"]["price"] == pytest.approx(8.0)


def test_a_dearer_rental_market_is_passed_on_by_who_serves_from_it():
    """Rents there double and here stay: b, which serves from there, doubles its price, a does not."""
    regions = {"here": region(), "there": region(price_usd_per_gpu_hour=5.0)}
    base = market(changes={"region_share": {"here": 0.5, "there": 0.5}}, regions=regions, gain=1.0)
    scenario = rivals(base, TWO, b={"serves_from": "there"}).central()
    here = market_of(scenario, "chat", "here", requests_of(scenario, scenario.segments["chat"]))
    met = Conditions(
        month=1,
        progress=here.progress("baseline", 1),
        rental_usd_per_gpu_hour=2.5,
        packing=1.0,
        latency_s=0.0,
        log_shortage=0.0,
        rentals={"here": 2.5, "there": 10.0},
    )
    offers = here.standing(here.opening(here.progress("baseline", 0)), met).offers

    assert offers.log_price == pytest.approx((log(8.0), log(16.0)))


def test_a_path_of_prices_given_is_the_mean_and_leaves_the_ratios():
    scenario = rivals(market(gain=1.0), {"a": {"share": 0.7}, "b": {"share": 0.3, "price_usd_per_mtok": 2.0}})
    arms = arms_of(scenario, prices={"chat": {"baseline": [5.0] * 4, "shock": [1.0] * 4}})
    chat = arms["shock"][-1].segment("chat", "here")

    assert chat.price_usd_per_mtok == 1.0
    assert chat.offers.log_price[0] - chat.offers.log_price[1] == pytest.approx(log(4.0))


def test_tokens_per_task_count_from_the_mean_price_of_the_start():
    offers = {"a": {"share": 0.7}, "b": {"share": 0.3, "price_usd_per_mtok": 2.0}}
    scenario = rivals(market(gain=1.0, changes={"tokens_per_task_elasticity": -0.2}), offers)

    assert arms_of(scenario)["baseline"][-1].segment("chat", "here").tokens_per_task == pytest.approx(1.0)


# Free quotas.


def test_what_is_free_follows_cost_by_quota_and_not_price():
    """All of a is free but a tenth, cost falls 7-fold, half of it into quota: 0.9 x 7^0.5 and 0.1 by price."""
    offers = {"a": {"share": 1.0, "free_share": 0.9}}
    scenario = rivals(market(changes={"quota_pass_through": 0.5}), offers)
    chat = arms_of(scenario)["shock"][-1].segment("chat", "here")
    paid = 1 / (0.25 + 0.75 * 7.0**-1.2)

    assert chat.price_response == pytest.approx(0.9 * 7.0**0.5 + 0.1 * paid)


# Whose fleet serves whom.


def abroad() -> Scenario:
    """Two regions; b serves all its users from there."""
    base = market(
        changes={"region_share": {"here": 0.6, "there": 0.4}},
        regions={"here": region(), "there": region()},
        shock={"provider_reach": {"a": 0.0}},
    )
    return rivals(base, {"a": {"share": 0.7}, "b": {"share": 0.3, "compute_factor": 0.5}}, b={"serves_from": "there"})


def test_tokens_are_served_where_the_provider_has_its_fleet():
    """Here 0.6 of the users, of whom 0.7 stay: 0.42; there 0.4 and 0.18 of here."""
    start = arms_of(abroad())["baseline"][0]
    here, there = (start.segment("chat", name) for name in ("here", "there"))

    assert here.placement == pytest.approx(0.7)
    assert there.placement == pytest.approx((0.4 + 0.18) / 0.4)
    assert here.gpu_seconds_per_mtok == pytest.approx(245.0)
    assert there.gpu_seconds_per_mtok == pytest.approx(245.0 * (0.28 + 0.5 * (0.12 + 0.18)) / 0.58)
    assert here.mix == pytest.approx(1.0 / 0.85)
    assert there.factors["intensity"] == pytest.approx(245.0 * 0.85 / 1e6 / 3600)


def test_tokens_served_are_tokens_used():
    for month in arms_of(abroad())["shock"]:
        served = sum(part.served_tokens_per_day for part in month.segments)
        assert served == pytest.approx(sum(part.tokens_per_day for part in month.segments))


@pytest.mark.parametrize("arm", ["baseline", "frozen", "shock"])
def test_the_factors_multiply_to_the_gpu_hours(arm):
    for month in arms_of(abroad())[arm]:
        for part in month.segments:
            assert np.prod(list(part.factors.values())) == pytest.approx(part.gpu_hours_per_day)
            assert "providers" in part.factors


def test_the_decomposition_has_no_residual_and_tells_the_switching():
    arms = arms_of(abroad())
    parts = lmdi(*(factors_of(arms[arm][-1], "gpu_hours") for arm in ("frozen", "shock")))

    assert parts.residual == pytest.approx(0.0, abs=1e-9 * parts.end[0])
    assert abs(parts.effects["providers"]) > 0.01 * parts.end[0]


def test_the_frozen_arm_keeps_the_providers_of_the_baseline():
    arms = arms_of(rivals(market(shock={"provider_reach": {"b": 0.0}}), TWO))
    held, baseline = (arms[arm][-1].segment("chat", "here") for arm in ("frozen", "baseline"))

    assert held.offers.shares == baseline.offers.shares
    assert held.gpu_seconds_per_mtok == pytest.approx(245.0 * (0.7 / 7.0 + 0.3))


def test_usage_served_from_afar_is_served_there():
    """With queues: the fleet there serves more requests, that here fewer."""
    base = world(
        segment(**HILL, workload="talk", region_share={"here": 0.5, "there": 0.5}),
        regions={"here": region(), "there": region()},
        serving=SERVING,
        gain=1.0,
    )
    month = arms_of(rivals(base, TWO, b={"serves_from": "there"}))["baseline"][-1]
    here, there = month.regions

    assert there.gpu_hours_per_day > 1.4 * here.gpu_hours_per_day


# Rows, and nothing of it where it is off.


def test_each_provider_has_its_rows():
    result = Result(scenario=rivals(market(), TWO), engine="closed_form", stacks=(stack_of(rivals(market(), TWO)),))
    rows = result.monthly.select(arm="shock", segment="chat/b")

    assert {metric for *_, metric, _, _ in rows.rows()} == {
        "share",
        "price_usd_per_mtok",
        "capability",
        "gpu_seconds_per_mtok",
    }
    assert result.headline("share chat/b", "shock", -1).mean == pytest.approx(0.3)
    assert "providers" in result.decomposition().effects


def test_without_providers_nothing_of_them_is_told():
    result = Result(scenario=market(), engine="closed_form", stacks=(stack_of(market()),))

    assert "providers" not in result.decomposition().effects
    assert not any("/" in segment for segment in result.monthly.segment.texts)
    assert not {"providers", "offers", "provider_reach"} & set(str(market().canonical()).split("'"))


OFFER = st.fixed_dictionaries(
    {
        "share": st.just(0.5),
        "price_usd_per_mtok": st.floats(0.01, 1e3),
        "compute_factor": st.floats(0.01, 100),
        "pricing": st.sampled_from(["cost", "bertrand", "war", "limit"]),
        "conduct": st.floats(0, 2),
        "free_share": st.floats(0, 0.9),
    }
)
PROVIDER = st.fixed_dictionaries(
    {
        "nest": st.sampled_from(["x", "y"]),
        "open_weights": st.booleans(),
        "capability": st.floats(0.01, 100),
        "capability_gain_per_year": st.floats(0.01, 100),
        "research_response": st.floats(0, 5),
        "trust": st.fixed_dictionaries({"here": st.floats(-20, 20)}),
    }
)


@settings(max_examples=30, deadline=None)
@given(
    offers=st.tuples(OFFER, OFFER, OFFER),
    providers=st.tuples(PROVIDER, PROVIDER, PROVIDER),
    similarity=st.floats(0, 0.98),
    elasticity=st.floats(-8, -0.05),
    gain=st.floats(0.01, 1e3),
)
def test_whatever_providers_do_shares_add_up_and_figures_are_finite(offers, providers, similarity, elasticity, gain):
    """Factors multiply to GPU-hours too, in every arm."""
    names = dict(zip("abc", offers, strict=True))
    known = {name: {**one, "enters_with_shock": name == "c"} for name, one in zip("abc", providers, strict=True)}
    base = market(gain=gain, changes={"price_elasticity": elasticity}, shock={"capability_share": 0.3})
    arms = arms_of(rivals(base, names, choice={"nest_similarity": similarity, "switching_months": 2.0}, **known))
    for path in arms.values():
        for chat in (month.segment("chat", "here") for month in path):
            assert sum(chat.offers.shares) == pytest.approx(1.0)
            assert min(chat.offers.shares) >= 0.0
            assert np.isfinite(figures(path[-1])).all()
            assert np.prod(list(chat.factors.values())) == pytest.approx(chat.gpu_hours_per_day)


# What a scenario may say.


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"segments.chat.offers.a.share": 0.6}, "segments.chat.offers", "must add up to 1, not 0.9"),
        ({"segments.chat.form": "isoelastic"}, "segments.chat.form", "must be 'hill' with offers"),
        ({"segments.chat.tariff": "flat"}, "segments.chat.tariff", "must be 'metered' with offers"),
        ({"segments.chat.offers.zed": {"share": 0.1}}, "segments.chat.offers.zed", "there is no 'zed' in [providers]"),
        ({"providers.a.home": "mars"}, "providers.a.home", "there is no 'mars' in [regions]"),
        ({f"providers.{name}.banned_in": {"here": dt.date(2025, 2, 1)} for name in TWO},
         "segments.chat.offers", "that is never banned"),
        ({"providers.a.distils_from": "b", "providers.b.distils_from": "a"}, "providers.a.distils_from", "lead back"),
        ({"providers.a.distils_from": "c"}, "providers.a.distils_from", "there is no 'c' in [providers]"),
        ({"providers.a.distillation_per_month": 0.1}, "providers.a.distillation_per_month", "needs distils_from"),
        ({"shock.provider_reach": {"c": 0.5}}, "shock.provider_reach.c", "there is no 'c' in [providers]"),
        ({"segments.chat.offers.a.war_date": dt.date(2025, 2, 1)}, "segments.chat.offers.a.war_date", "'war' only"),
        ({"segments.chat.choice.nests_by": "origin"}, "providers.a.home", "is needed where nests are by origin"),
        ({"providers.b.trust": {"here": -1.0}, "segments.chat.offers.b.share_by_region": {"here": 0.3}},
         "segments.chat.offers.b.share_by_region.here", "must not be given with trust.here"),
        ({"providers.a.capability_gain_per_year": 1e6, "run.months": 60}, "providers.a.capability_gain_per_year",
         "must not move capability"),
        ({"segments.chat.choice.nest_similarity": 1.0}, "segments.chat.choice.nest_similarity", "at most 0.98"),
    ],
)  # fmt: skip
def test_what_providers_cannot_be_is_told_with_its_key(changes, key, message):
    with pytest.raises(ScenarioError) as error:
        rivals(market(), TWO).replace(changes)

    assert [message in problem.message for problem in error.value.problems if problem.key == key] == [True]
