"""The capability race: what research and distillation make of who is ahead."""

from __future__ import annotations

import datetime as dt
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import world

from jevons.capability_race import capability_paths, next_gap, steady_log_gap
from jevons.scenario import Provider, Scenario


def race(months: int = 6, shock: dict | None = None, **providers: Provider) -> Scenario:
    """A scenario of some providers, from January 2025; the shock strikes in March."""
    return world(months=months, shock=shock).model_copy(update={"providers": providers})


def test_research_alone_compounds():
    path = capability_paths(race(leader=Provider(capability=1.5, capability_gain_per_year=2.0)))

    assert [month["leader"] for month in path[:2]] == pytest.approx([log(1.5), log(1.5) + log(2.0) / 12])


def test_a_follower_closes_on_its_leader_by_hand():
    """Nobody researches: of the gap ln 4 a share e^-0.25 is left each month."""
    path = capability_paths(
        race(
            follower=Provider(capability=0.25, distils_from="leader", distillation_per_month=0.25),
            ahead=Provider(),
        )
    )

    assert path[2]["follower"] == pytest.approx(-log(4.0) * exp(-0.5))
    assert path[2]["ahead"] == 0.0


@given(st.floats(1.1, 4), st.floats(1.0, 1.09), st.floats(0.05, 0.5))
def test_the_gap_settles_at_the_difference_of_growth_over_the_rate_of_distillation(fast, slow, rate):
    """(g_l - g_f)/kd exactly: section 2 of the model."""
    path = capability_paths(
        race(
            months=300,
            ahead=Provider(capability_gain_per_year=fast),
            follower=Provider(
                capability=0.5, capability_gain_per_year=slow, distils_from="ahead", distillation_per_month=rate
            ),
        )
    )
    expected = steady_log_gap(log(fast) / 12, log(slow) / 12, rate)

    assert path[-1]["ahead"] - path[-1]["follower"] == pytest.approx(expected, abs=1e-6)


def test_the_steady_gap_does_not_move():
    assert next_gap(0.4, 0.4 * 0.2, 0.2) == pytest.approx(0.4)


def test_two_half_steps_of_the_gap_are_one_step():
    half = next_gap(next_gap(0.9, 0.01, 0.1), 0.01, 0.1)

    assert half == pytest.approx(next_gap(0.9, 0.02, 0.2))


def test_who_is_ahead_has_nothing_to_distil():
    path = capability_paths(
        race(
            ahead=Provider(capability=2.0, distils_from="other", distillation_per_month=0.3),
            other=Provider(capability_gain_per_year=1.2),
        )
    )

    assert path[3]["ahead"] == pytest.approx(log(2.0))


def test_the_leader_is_the_best_of_those_that_distil_from_nobody():
    """Month by month: b overtakes a within the year."""
    path = capability_paths(
        race(
            months=12,
            a=Provider(capability=1.1),
            b=Provider(capability_gain_per_year=2.0),
            f=Provider(distils_from="leader", distillation_per_month=10.0),
        )
    )

    assert path[1]["f"] == pytest.approx(log(1.1), abs=1e-4)
    assert path[12]["f"] == pytest.approx(log(2.0), abs=0.01)


def test_a_countermeasure_lowers_distillation_from_its_day_on():
    """From the middle of February: full in January, half of the month in full, a quarter after it."""
    hindered = Provider(
        capability=0.5,
        distils_from="ahead",
        distillation_per_month=0.2,
        countermeasure_date=dt.date(2025, 2, 15),
        countermeasure_factor=0.25,
    )
    path = capability_paths(race(ahead=Provider(), f=hindered))
    rates = [0.2, 0.2 * (0.5 + 0.5 * 0.25), 0.05]

    assert path[3]["f"] == pytest.approx(-log(2.0) * exp(-sum(rates)))


def test_what_observed_growth_is_counted_from_knows_no_countermeasure_to_come():
    hindered = Provider(
        capability=0.5, distils_from="ahead", distillation_per_month=0.2, countermeasure_date=dt.date(2025, 2, 1)
    )
    path = capability_paths(race(ahead=Provider(), f=hindered), is_anchor=True)

    assert path[3]["f"] == pytest.approx(-log(2.0) * exp(-0.6))


def test_rivals_answer_the_shock_in_research_and_only_where_it_strikes():
    rival = Provider(capability_gain_per_year=1.5, research_response=3.0)
    grown = {arm: capability_paths(race(rival=rival), arm) for arm in ("baseline", "shock")}

    assert grown["baseline"][4]["rival"] == pytest.approx(4 * log(1.5) / 12)
    assert grown["shock"][4]["rival"] == pytest.approx((2 + 2 * 3) * log(1.5) / 12)
