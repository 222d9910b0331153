"""On what the verdict hinges, and where it turns."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import segment, world

from jevons.answer import DrawnWorlds
from jevons.draws import drawn_together
from jevons.ensemble import simulate
from jevons.hinges import excess_rebounds, hinges, hinges_of, rank_correlation, rebounds
from jevons.scenario import Distribution, Pricing, Scenario

ELASTICITY_KEY = ("segments.chat.price_elasticity",)
ELASTICITY = Distribution(dist="uniform", low=-1.5, high=-0.7)


def uncertain_world(**changes) -> Scenario:
    """A world whose elasticity is not known, and whose pass-through is 0.8."""
    fields = {"pricing": Pricing(pass_through=0.8), "run": {"draws": 40}}
    return world(segment(price_elasticity=ELASTICITY), **{**fields, **changes})


def drawn_worlds(x: list[float], shock: list[float]) -> DrawnWorlds:
    """Draws at a baseline of 5 and a frozen arm of 1."""
    n = len(shock)
    return DrawnWorlds(
        inputs={"segments.chat.price_elasticity": np.array(x)},
        consumption={
            "baseline": np.full((n, 1), 5.0),
            "frozen": np.ones((n, 1)),
            "shock": np.array(shock).reshape(n, 1),
        },
        headlines={},
        centre={"baseline": 5.0, "frozen": 1.0, "shock": 6.0},
    )


def test_an_elasticity_turns_the_verdict_where_theory_says():
    """g^(rho a - 1): a = 1/0.8 = 1.25, and backfire below -1.25, found to a thousandth of the 0.8 it may lie in."""
    (found,) = hinges_of(uncertain_world(), {ELASTICITY_KEY: -0.9})

    assert found.break_even == pytest.approx(-1.25, abs=0.8 / 1000)
    assert found.backfires_above is False
    assert found.centre == pytest.approx(-1.1)
    assert found.rank_correlation == -0.9


def test_a_pass_through_turns_it_from_the_other_side():
    """At a = 1.3 backfire begins above a pass-through of 1/1.3."""
    rho = Distribution(dist="uniform", low=0.5, high=1.0)
    (found,) = hinges_of(world(segment(), pricing=Pricing(pass_through=rho)), {("pricing.pass_through",): 0.8})

    assert found.break_even == pytest.approx(1 / 1.3, abs=0.5 / 1000)
    assert found.backfires_above is True


def test_an_input_that_cannot_turn_it_has_no_break_even():
    never = uncertain_world(pricing=Pricing(pass_through=0.5))
    (found,) = hinges_of(never, {ELASTICITY_KEY: -0.9})

    assert (found.break_even, found.backfires_above) == (None, None)


def test_where_nothing_is_saved_there_is_no_break_even():
    (found,) = hinges_of(uncertain_world(gain=1.0), {ELASTICITY_KEY: 0.0})

    assert found.break_even is None
    assert np.isnan(excess_rebounds(uncertain_world(gain=1.0), [(ELASTICITY_KEY, np.array([0.3]))])[0])


def test_inputs_drawn_together_are_moved_together():
    """Two segments of one elasticity: at the median of both, and the verdict turns for both at once."""

    def labelled(low: float, high: float) -> Distribution:
        return Distribution(dist="uniform", low=low, high=high, together="elasticity")

    both = world(segment(price_elasticity=labelled(-1.5, -0.7)), segment(price_elasticity=labelled(-1.4, -0.6)))
    keys = drawn_together(both.uncertain)["elasticity"]
    (found,) = hinges_of(both, {keys: -0.9})

    assert keys == ("segments.chat.price_elasticity", "segments.code.price_elasticity")
    # 7^(a - 0.9) + 7^(a - 1.1) = 2, which has a between the two.
    assert found.break_even is not None
    a = -found.break_even
    assert 7 ** (a - 1.0) + 7 ** (a - 1.1) == pytest.approx(2.0, abs=4e-3)


def test_the_strongest_input_comes_first():
    """The gain moves the rebound less than the elasticity does, and the noise of an unused input not at all."""
    chat = segment(price_elasticity=ELASTICITY, human_cost_usd_per_mtok=Distribution(dist="uniform", low=0.0, high=0.3))
    scenario = world(chat, run={"draws": 60})
    drawn = simulate(scenario, engine="closed_form").draws
    assert drawn is not None
    found = hinges(scenario, drawn)

    assert [one.keys for one in found] == [
        ("segments.chat.price_elasticity",),
        ("segments.chat.human_cost_usd_per_mtok",),
    ]
    assert found[0].rank_correlation < -0.9


def test_rank_correlation_by_hand():
    """Ranks 1 2 3 4 against 2 1 3 4: 1 - 6 x 2/(4 x 15) = 0.8; logarithms have the same ranks."""
    x, y = np.array([0.1, 0.5, 3.0, 9.0]), np.array([2.0, 1.0, 5.0, 40.0])

    assert rank_correlation(x, y) == pytest.approx(0.8)
    assert rank_correlation(np.log(x), y) == pytest.approx(0.8)
    assert rank_correlation(x, -y) == pytest.approx(-0.8)


def test_draws_without_a_rebound_do_not_count():
    x, y = np.array([0.1, 0.5, 7.0, 3.0, 9.0]), np.array([2.0, 1.0, np.nan, 5.0, 40.0])

    assert rank_correlation(x, y) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("x", "y"), [([1.0, 2.0], [1.0, 2.0]), ([1.0] * 4, [1.0, 2.0, 3.0, 4.0]), ([1.0, 2.0, 3.0], [5.0] * 3)]
)
def test_where_nothing_varies_or_there_is_too_little_the_correlation_is_nought(x, y):
    assert rank_correlation(np.array(x), np.array(y)) == 0.0


def test_the_rebounds_of_the_draws_are_those_of_their_arms():
    """(6 - 1)/4 and (2 - 1)/4."""
    assert rebounds(drawn_worlds([-1.3, -0.8], [6.0, 2.0])).tolist() == [1.25, 0.25]


def test_the_excess_is_the_rebound_less_one():
    """At the median of 1.1 and 0.8 passed on: (7^0.88 - 1)/6 - 1."""
    (excess,) = excess_rebounds(uncertain_world(), [(ELASTICITY_KEY, np.array([0.5, 0.25]))])

    assert excess == pytest.approx([(7**0.88 - 1) / 6 - 1, (7**1.04 - 1) / 6 - 1])
