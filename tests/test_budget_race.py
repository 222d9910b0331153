"""Budgets that follow a rival's: where they come to rest, which arm they move, and which races are refused."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import arms_of, budget, world

from jevons.budget_race import spend_off_trend
from jevons.errors import ScenarioError
from jevons.scenario import Race, loads


def race(follows: str, response: float = 0.5, **changes) -> Race:
    return Race(follows=follows, response=response, **changes)


def test_spend_follows_the_rivals_of_the_month_before():
    """0.3 of the rival's 0.2, and a jump by half."""
    races = {"chat": race("code", 0.3, jump_with_shock=1.5)}

    assert spend_off_trend(races, {"code": 0.2}, has_jumped=False) == {"chat": pytest.approx(0.06)}
    assert spend_off_trend(races, {"code": 0.2}, has_jumped=True) == {"chat": pytest.approx(0.06 + log(1.5))}


@given(
    responses=st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 0.45)),
    jumps=st.tuples(st.floats(0.5, 3), st.floats(0.5, 3)),
)
def test_two_rivals_come_to_rest_where_their_reaction_curves_meet(responses, jumps):
    """x1 = (ln J1 + r1 ln J2) / (1 - r1 r2), and the other way round."""
    (r1, r2), (j1, j2) = responses, jumps
    races = {"ours": race("theirs", r1, jump_with_shock=j1), "theirs": race("ours", r2, jump_with_shock=j2)}
    spend = {}
    for _ in range(400):
        spend = spend_off_trend(races, spend, has_jumped=True)

    rest = {"ours": log(j1) + r1 * log(j2), "theirs": log(j2) + r2 * log(j1)}
    assert spend == {name: pytest.approx(x / (1.0 - r1 * r2), abs=1e-12) for name, x in rest.items()}


def test_the_rival_of_one_who_jumps_is_drawn_along():
    """Only `code` jumps, by 40 %: 0.3365/(1 - 0.6 x 0.5) in logs, and 0.6 of that by its rival, in the arm `shock`."""
    chat = budget(race=race("code", 0.6))
    code = budget(race=race("chat", 0.5, jump_with_shock=1.4), budget_usd_per_day=300.0)
    arms = arms_of(world(chat, code, months=60))
    shift = log(1.4) / (1.0 - 0.6 * 0.5)
    hours = {
        name: [
            [month.segment(name, "here").gpu_hours_per_day for month in arms[arm]] for arm in ("baseline", "shock")
        ]
        for name in ("chat", "code")
    }  # fmt: skip

    for name, expected in (("chat", 0.6 * shift), ("code", shift)):
        baseline, shock = hours[name]
        assert log(shock[-1] / baseline[-1]) == pytest.approx(expected)
        assert baseline == pytest.approx([baseline[0]] * 60)
    assert hours["code"][1][1] == pytest.approx(hours["code"][0][1])
    assert log(hours["code"][1][2] / hours["code"][0][2]) == pytest.approx(log(1.4))
    assert hours["chat"][1][2] == pytest.approx(hours["chat"][0][2])


def test_with_usage_held_nobody_races():
    """`frozen` keeps the baseline's usage: what it consumes is the baseline's over the gain."""
    chat, code = budget(race=race("code", 0.6)), budget(race=race("chat", 0.5, jump_with_shock=1.4))
    arms = arms_of(world(chat, code, months=12, gain=7.0))

    assert arms["frozen"][-1].consumption_per_day("gpu_hours") == pytest.approx(
        arms["baseline"][-1].consumption_per_day("gpu_hours") / 7.0
    )


def test_the_noise_of_a_rivals_spend_is_followed_too():
    chat, code = budget(race=race("code", 1.0)), budget(usage_noise=0.2)
    months = arms_of(world(chat, code, months=6))["baseline"]
    chat_hours, code_hours = (
        [month.segment(name, "here").gpu_hours_per_day for month in months] for name in ("chat", "code")
    )

    assert chat_hours[1:] == pytest.approx(code_hours[:-1])
    assert len(set(code_hours)) == 6


TEXT = """
name = "race"
[run]
start = 2025-01-01
months = 6
[shock]
date = 2025-03-01
efficiency_gain = 2.0
[segments.ours]
tariff = "budget"
form = "budget"
budget_usd_per_day = 100.0
race = { follows = "theirs", response = 1.25 }
[segments.theirs]
tariff = "budget"
form = "budget"
budget_usd_per_day = 100.0
race = { follows = "ours", response = 0.7 }
[segments.chat]
tokens_per_day = 1e9
[regions.here.rental]
price_usd_per_gpu_hour = 2.0
"""


def problems(*changes: tuple[str, str]) -> list[tuple[str, str]]:
    """Key and message of what is wrong with the scenario after some changes of its text."""
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    try:
        loads(text)
    except ScenarioError as error:
        return [(problem.key, problem.message) for problem in error.problems]
    return []


def test_a_race_that_comes_to_rest_is_accepted():
    assert problems() == []


def test_a_race_without_rest_is_refused():
    ((key, message),) = problems(("response = 0.7", "response = 0.8"))

    assert key == "segments.ours.race.response"
    assert message == (
        "must keep the product of the responses around the circle ours -> theirs -> ours below 1, "
        "or spend never comes to rest; it is 1"
    )


def test_the_largest_draw_of_a_response_must_come_to_rest_too():
    draws = 'response = { dist = "uniform", low = 0.1, high = 0.9 }'

    assert [key for key, _ in problems(("response = 0.7", draws))] == ["segments.ours.race.response"]


@pytest.mark.parametrize(
    ("follows", "message"),
    [
        ("chat", "must be another segment of tariff 'budget', not 'chat'"),
        ("ours", "must be another segment of tariff 'budget', not 'ours'"),
        ("their", "there is no 'their' in [segments]"),
    ],
)
def test_who_is_followed_is_another_budget(follows, message):
    found = problems(('follows = "theirs"', f'follows = "{follows}"'))

    assert found[0][0] == "segments.ours.race.follows"
    assert found[0][1].startswith(message)


def test_only_budgets_race():
    found = problems(("tokens_per_day = 1e9", 'tokens_per_day = 1e9\nrace = { follows = "ours", response = 0.1 }'))

    assert found == [("segments.chat.race", "is for tariff 'budget' only")]
