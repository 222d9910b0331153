"""What a fall in the vendor's value implies: against a market whose answer is a closed form, and in words."""

from __future__ import annotations

import json
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import GPU, budget, fleet, orders, region, segment, world

import jevons
from jevons.cli import main
from jevons.crossings import crossings
from jevons.errors import UsageError
from jevons.market_implied import (
    ELASTICITIES,
    USUAL_VENDOR,
    Implied,
    _shared_elasticities,
    fall_of_value,
    implied,
)
from jevons.report.implied_text import implied_csv, implied_json, implied_table
from jevons.scenario import Scenario, Vendor

GAIN = 4.0
VENDOR = {"vendor.margin": 0.7, "vendor.long_run_growth_per_year": 1.02}
WIDE = {"dist": "uniform", "low": -1.9, "high": -0.1}
SHORT_LIVED = GPU.model_copy(update={"life_months": 1.0})


def renewed(**changes: Any) -> Scenario:
    """A market in which all GPUs are bought anew each month, so that what is ordered goes with what is needed.

    Then orders with the shock are g^(a-1) times those without in every month, and so is the value.
    """
    plan = fleet(100.0, orders=orders(lead_months=0.0, forecast_months=1, largest_growth_per_year=1.0, headroom=1.3))
    scenario = world(
        segment(price_elasticity=-0.8), gain=GAIN, months=9, regions={"here": region(plan)}, gpu=SHORT_LIVED
    )
    return scenario.replace({**VENDOR, **changes})


def elasticity_of(fall: float, gain: float = GAIN) -> float:
    """1 - g^(a-1) = fall."""
    return -(1.0 + log(1.0 - fall) / log(gain))


# Known answers.


@given(st.floats(0.02, 0.6))
@settings(max_examples=8)
def test_the_elasticity_of_a_market_that_renews_itself(fall):
    found = implied(renewed(**{"segments.chat.price_elasticity": WIDE}), fall)

    assert found.input is not None
    assert found.input.at_centre == pytest.approx(elasticity_of(fall), abs=2e-3)


def test_the_scenario_s_own_fall_is_the_closed_form():
    assert implied(renewed(), 0.17).fall_at_centre == pytest.approx(1.0 - GAIN ** (0.8 - 1.0))


def test_an_elasticity_given_as_a_number_is_sought_in_a_usual_range():
    found = implied(renewed(), 0.17).input

    assert found is not None
    assert (found.low, found.high) == pytest.approx(ELASTICITIES, abs=1e-5)
    assert found.at_centre == pytest.approx(elasticity_of(0.17), abs=2e-3)
    assert found.quantile is None
    assert found.scenario_value is None


def test_a_quantile_is_that_of_the_scenario_s_own_distribution():
    """-0.866 is at (1.9 - 0.866)/1.8 of a uniform from -1.9 to -0.1."""
    found = implied(renewed(**{"segments.chat.price_elasticity": WIDE}), 0.17).input

    assert found is not None
    assert found.quantile is not None
    assert found.quantile.mean == pytest.approx((1.9 + elasticity_of(0.17)) / 1.8, abs=2e-3)
    assert found.scenario_value == pytest.approx(-1.0)


def test_each_draw_of_the_gain_has_its_answer():
    """Median and interval over draws of the gain are those of the closed form."""
    gain = {"dist": "uniform", "low": 3.0, "high": 12.0}
    scenario = renewed(**{"segments.chat.price_elasticity": WIDE, "shock.efficiency_gain": gain, "run.draws": 15})
    found = implied(scenario, 0.17)
    from jevons.draws import inputs_of_draws

    gains = inputs_of_draws(scenario, range(15))["shock.efficiency_gain"]
    expected = np.quantile([elasticity_of(0.17, g) for g in gains], [0.05, 0.5, 0.95])

    assert found.input is not None
    assert found.input.value is not None
    assert found.input.value.samples == 15
    assert [found.input.value.low, found.input.value.mean, found.input.value.high] == pytest.approx(expected, abs=3e-3)
    assert found.input.none is not None
    assert found.input.none.mean == 0.0


def test_where_none_can_it_says_so():
    """Elasticities from -1.2 to -0.9 take 1 - 4^-0.1 = 13 % at most."""
    narrow = {"dist": "uniform", "low": -1.2, "high": -0.9}
    gain = {"dist": "uniform", "low": 3.99, "high": 4.01}
    found = implied(
        renewed(**{"segments.chat.price_elasticity": narrow, "shock.efficiency_gain": gain, "run.draws": 6}), 0.17
    )
    text = " ".join(implied_table(found).split())

    assert found.input is not None
    assert found.input.value is None
    assert found.input.at_centre is None
    assert found.input.none is not None
    assert found.input.none.mean == 1.0
    assert found.input.largest_fall.mean == pytest.approx(1.0 - 4.0**-0.1, abs=1e-3)
    assert "no price elasticity of chat between -1.20 and -0.900 makes the value fall by 17 %" in text
    assert "the largest fall is 13 %" in text


def test_another_input_can_be_solved_for():
    """Spending chi of the gain on capability nobody answers raises need to g^((a-1)(1-chi)) of before ... at a = 0.5
    a fall of 40 % needs g^-0.5(1-chi) = 0.6."""
    share = {"dist": "uniform", "low": 0.0, "high": 0.9}
    scenario = renewed(**{"segments.chat.price_elasticity": -0.5, "shock.capability_share": share})
    found = implied(scenario, 0.4, key="shock.capability_share").input

    assert found is not None
    assert found.keys == ("shock.capability_share",)
    assert found.at_centre == pytest.approx(1.0 - log(0.6) / (-0.5 * log(GAIN)), abs=3e-3)


def test_demand_that_grows_less_takes_as_much():
    """Usage doubles each year; orders of h months after the shock are 2^((f-1)(h)/12) of the baseline's."""
    scenario = renewed(**{"segments.chat.usage_growth_per_year": 2.0})
    found = implied(scenario, 0.1)
    share = found.demand.at_centre

    assert share is not None
    assert share < 1.0
    assert found.growth_without == pytest.approx(2.0)
    assert found.growth_implied == pytest.approx(2.0**share)
    # The gap at the end is that of the last three months, of seven since the month before the shock.
    last = np.mean([2.0 ** ((share - 1.0) * months / 12) * 2.0 ** (months / 12) for months in (5, 6, 7)])
    gap = last / np.mean([2.0 ** (months / 12) for months in (5, 6, 7)]) - 1.0
    without = 2.0 ** (np.arange(1, 8) / 12)
    other = without * 2.0 ** ((share - 1.0) * np.arange(1, 8) / 12)
    expected = fall_of_value(without[None, :], other[None, :], np.array([gap]), scenario.vendor)
    assert expected[0] == pytest.approx(0.1, abs=5e-3)


def test_a_pull_forward_has_a_reading_in_which_the_gap_closes():
    wide = {**WIDE, "high": -0.05}
    changes = {"shock.kind": "pull_forward", "shock.catch_up_months": 40.0, "segments.chat.price_elasticity": wide}
    found = implied(renewed(**changes), 0.05)

    assert found.input is not None
    assert found.input_closing is not None
    assert found.closing_fall_at_centre is not None
    assert abs(found.closing_fall_at_centre) < abs(found.fall_at_centre)
    assert (found.input.reading, found.input_closing.reading) == ("lasting", "closing")
    assert implied(renewed(), 0.05).input_closing is None


# The fall.


@given(st.lists(st.floats(0.5, 20.0), min_size=2, max_size=40), st.floats(0.05, 3.0))
def test_profit_that_is_lower_by_a_share_throughout_is_worth_less_by_that_share(profits, share):
    without = np.array([profits])

    fall = fall_of_value(without, share * without, np.array([share - 1.0]), Vendor())
    assert fall[0] == pytest.approx(1.0 - share, abs=1e-9)


def test_a_gap_that_closes_falls_less():
    without, other = np.full((1, 24), 3.0), np.full((1, 24), 2.0)
    lasting, closing = (
        fall_of_value(without, other, np.array([-1 / 3]), Vendor(), gap_half_life_months=half)[0]
        for half in (None, 12.0)
    )

    assert lasting == pytest.approx(1 / 3)
    assert 0.05 < closing < 0.25


# The search.


@given(st.lists(st.floats(0.05, 0.95), min_size=1, max_size=6), st.floats(0.3, 4.0))
def test_the_root_of_each_sample_is_found(roots, steepness):
    wanted = np.array(roots)

    def excess(places: Any) -> Any:
        return np.expm1(-steepness * (places - wanted))

    grid = np.array([0.0, 0.2, 0.55, 0.8, 1.0])
    found = crossings(grid, np.stack([excess(np.full(len(roots), at)) for at in grid]), excess)

    assert found == pytest.approx(wanted, abs=2e-3)


def test_a_function_that_keeps_its_sign_has_no_root():
    found = crossings(np.array([0.0, 1.0]), np.array([[1.0, 1.0], [2.0, -1.0]]), lambda at: 1.0 - 2.0 * at)

    assert np.isnan(found[0])
    assert found[1] == pytest.approx(0.5)


def test_of_several_roots_the_one_nearest_the_middle_is_told():
    grid = np.array([0.0, 0.1, 0.2, 0.5, 0.6, 1.0])
    found = crossings(grid, np.array([[1.0], [-1.0], [1.0], [0.07], [-0.03], [-1.0]]), lambda at: 0.57 - at)

    assert found[0] == pytest.approx(0.57, abs=1e-2)


# What is asked.


def test_the_elasticities_that_most_segments_share_are_solved_for():
    together = {**WIDE, "together": "price"}
    scenario = world(segment(), segment(), segment(), regions={"here": region(fleet(9.0, orders=orders()))}).replace(
        {f"segments.{name}.price_elasticity": together for name in ("chat", "batch")}
    )

    assert _shared_elasticities(scenario) == ("segments.chat.price_elasticity", "segments.batch.price_elasticity")


def test_budgets_have_no_elasticity_but_demand():
    plan = fleet(100.0, orders=orders(lead_months=0.0))
    found = implied(world(budget(), regions={"here": region(plan)}, months=8), 0.17)

    assert found.input is None
    assert "Elasticity" not in implied_table(found)


def test_a_scenario_without_a_vendor_gets_the_usual_one_and_says_so():
    given = renewed(**{"segments.chat.price_elasticity": WIDE})
    bare = given.model_copy(update={"vendor": None})
    found = implied(bare, 0.17)

    assert found.is_assumed
    assert found.vendor == USUAL_VENDOR
    assert found.scenario == bare
    assert "Assumed, since the scenario has no [vendor]" in implied_table(found)
    assert "As the scenario has it" in implied_table(implied(given, 0.17))


def test_a_range_of_ones_own_takes_the_place_of_the_scenario_s():
    found = implied(renewed(**{"segments.chat.price_elasticity": WIDE}), 0.17, between=(-0.95, -0.6)).input

    assert found is not None
    assert (found.low, found.high) == pytest.approx((-0.95, -0.6), abs=1e-5)
    assert found.at_centre == pytest.approx(elasticity_of(0.17), abs=1e-3)
    assert found.quantile is None


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, {"fall": 1.0}, "fall must be above 0 and below 1, not 1"),
        ({}, {"key": "pricing.pass_trough"}, "pricing.pass_trough: is no number of the scenario"),
        ({}, {"key": "shock.efficiency_gain"}, "a range to search is needed"),
        ({}, {"between": (-0.5, -0.9)}, "between must be two numbers that rise"),
    ],
)
def test_a_wrong_question_is_refused(changes, arguments, message):
    with pytest.raises(UsageError, match=message):
        implied(renewed(**changes), **{"fall": 0.17, **arguments})


def test_without_orders_there_is_nothing_to_value():
    with pytest.raises(UsageError, match="orders GPUs"):
        implied(world(), 0.17)


# What is told.


@pytest.fixture(scope="module")
def drawn() -> Implied:
    gain = {"dist": "uniform", "low": 3.0, "high": 12.0}
    return implied(
        renewed(**{"segments.chat.price_elasticity": WIDE, "shock.efficiency_gain": gain, "run.draws": 10}), 0.3
    )


def test_it_is_told_in_lines_that_fit(drawn):
    text = implied_table(drawn)

    assert "What a fall of 30 % in the GPU vendor's value implies" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "quantile of the scenario" in text


def test_it_is_data_and_values_too(drawn):
    data = json.loads(json.dumps(implied_json(drawn), allow_nan=False))
    lines = implied_csv(drawn).splitlines()

    assert data["kind"] == "implied"
    assert data["solutions"][0]["value"]["samples"] == 10
    assert data["sentences"]
    assert len({len(line.split(",")) for line in lines}) == 1


def test_workers_do_not_change_it(drawn):
    assert implied(drawn.scenario, 0.3, workers=2).input == drawn.input


def test_the_command_prints_what_the_function_finds(tmp_path: Path):
    source = Path(__file__).parent / "golden" / "market.toml"
    arguments = ["implied", str(source), "--draws", "4", "--workers", "1", "--fall", "0.1"]
    ran = CliRunner().invoke(main, [*arguments, "--format", "json"], catch_exceptions=False)
    data = json.loads(ran.stdout)

    assert ran.exit_code == 0
    assert (data["fall"], data["draws"]) == (0.1, 4)
    assert "value implies" in CliRunner().invoke(main, arguments, catch_exceptions=False).stdout
    assert "figure" in CliRunner().invoke(main, [*arguments, "--format", "csv"], catch_exceptions=False).stdout
    assert CliRunner().invoke(main, ["implied", str(source), "--fall", "2"]).exit_code == 2


def test_the_package_has_it_at_its_door():
    assert jevons.implied is implied
    assert jevons.Implied is Implied


def test_the_closed_form_used_here_is_that_of_the_model_page():
    """g = 10, a = 0.7: 10^-0.3."""
    assert 1.0 - exp((0.7 - 1.0) * log(10.0)) == pytest.approx(1.0 - 10**-0.3)
    assert elasticity_of(1.0 - 10**-0.3, 10.0) == pytest.approx(-0.7)
