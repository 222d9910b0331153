"""What is told of a result follows from its figures."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jevons
from jevons.answer import Hinge, Result
from jevons.report import words
from jevons.report.data import CSV_COLUMNS, summary_csv, summary_json, to_json, without_gaps
from jevons.report.figures import figure_files, spread
from jevons.report.html import summary_html
from jevons.report.manual import with_tables
from jevons.report.numbers import COUNTS, SI, change, number, percent, percents, scale_of
from jevons.report.page import page_of
from jevons.report.rows import priced_segments, rows, weighted_mean
from jevons.report.text import COLUMNS, summary_table
from jevons.results import Estimate
from jevons.scenario import field_table

MARKET = Path(__file__).parent / "golden" / "market.toml"
NOT_A_NUMBER = re.compile(r"\b(nan|inf|None)\b", re.IGNORECASE)


def simulated(**changes: object) -> Result:
    scenario = jevons.load(MARKET).replace({key.replace("__", "."): value for key, value in changes.items()})
    return jevons.simulate(scenario, engine="closed_form")


@pytest.fixture(scope="module")
def result() -> Result:
    return simulated()


@pytest.fixture(scope="module")
def without_draws() -> Result:
    return simulated(run__draws=0, run__months=4)


@pytest.fixture(scope="module")
def loss() -> Result:
    """A shock after which the same service needs 1.6 times as much."""
    return simulated(shock__efficiency_gain=0.625, shock__capability_share=0.0, run__draws=3)


@pytest.fixture(scope="module")
def nothing() -> Result:
    """A shock that does nothing."""
    return simulated(shock__efficiency_gain=1.0, shock__capability_share=0.0, run__draws=3)


@pytest.fixture(scope="module", params=["result", "without_draws", "loss", "nothing", "served", "no_fleet"])
def any_result(request: pytest.FixtureRequest) -> Result:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def served() -> Result:
    """Requests served one by one."""
    scenario = jevons.loads(jevons.scenario.starter("served")).replace(
        {"run.months": 5, "run.draws": 0, "run.replications": 2, "run.resolution": 300}
    )
    return jevons.simulate(scenario, engine="simpy")


@pytest.fixture(scope="module")
def no_fleet() -> Result:
    return simulated(regions__home__fleet=None, regions__home__rental__scarcity_speed_per_month=0.0, run__draws=3)


# Numbers.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1234567.0, "1,230,000"),
        (999.6, "1,000"),
        (0.00012345, "0.000123"),
        (1.5e-7, "1.50e-07"),
        (-45.678, "-45.7"),
        (math.nan, "-"),
        (math.inf, "-"),
        (None, "-"),
    ],
)
def test_a_number_has_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@given(st.floats(min_value=1e-4, max_value=1e11))
def test_a_number_is_told_to_half_a_percent(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


def test_a_change_is_told_in_percent_below_a_doubling_and_as_a_factor_from_it_on() -> None:
    below = Estimate(mean=0.99, low=0.5, high=1.4, confidence=0.9, samples=7, kind="draws")
    doubling = replace(below, mean=1.0)

    assert change(below) == "+99 % [+50, +140]"
    assert change(doubling) == "x2.00 [1.50, 2.40]"


def test_an_estimate_of_unknown_width_is_told_without_one() -> None:
    known = Estimate(mean=0.25, confidence=0.9, samples=1, kind="replications", reason="one sample has no spread")

    assert percent(known) == "25 %"
    assert change(known) == "+25 %"


def test_nothing_has_no_sign() -> None:
    assert percents([0.0, -0.0], signed=True) == ["0", "0"]


def test_a_unit_gets_the_prefix_of_the_largest_value() -> None:
    assert scale_of([3e12, 4e8, None], SI) == ("T", 1e12)
    assert scale_of([2.5e9], COUNTS) == ("bn ", 1e9)
    assert scale_of([0.0], COUNTS) == ("", 1.0)


# The table.


def test_no_line_is_wider_than_the_page_and_none_holds_what_is_no_number(any_result: Result) -> None:
    text = summary_table(any_result)

    assert max(map(len, text.splitlines())) <= COLUMNS
    assert not NOT_A_NUMBER.search(text)
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_the_change_in_a_row_is_the_median_of_the_draws_or_without_draws_that_of_its_columns(
    any_result: Result,
) -> None:
    for row in rows(any_result):
        if row.drawn_change is not None:
            assert row.width == row.drawn_change
        elif row.width is not None:
            assert row.width.mean == pytest.approx(row.with_shock / row.without - 1.0, abs=1e-12)


def test_a_row_in_its_unit_is_the_models_figure(result: Result) -> None:
    """Energy is in MWh inside and in Wh, prefixed, outside: 12 MWh is 12 times a million Wh."""
    energy = next(row for row in rows(result) if row.name == "energy")
    unit, _, without, _ = energy.scaled()

    assert unit == "MWh/day"
    assert without == pytest.approx(result.headline("energy", "baseline", -1).mean)


def test_serving_and_budgets_sum_to_the_gpu_hours(result: Result) -> None:
    by_name = {row.name: row for row in rows(result)}

    assert by_name["serving"].with_shock + by_name["budgets"].with_shock == pytest.approx(
        by_name["gpu_hours"].with_shock
    )


def test_before_is_the_month_before_the_shock(result: Result) -> None:
    """The shock of 15 January shows from February on: January is month 2 of a run from November."""
    usage = next(row for row in rows(result) if row.name == "usage")

    assert result.months[result.shock_month - 1].isoformat() == "2025-01-01"
    assert usage.before == result.headline("usage", "baseline", 2).mean


def test_the_segment_that_the_shock_reaches_most_comes_first(result: Result) -> None:
    """Agents are reached in full, search by 0.4."""
    assert priced_segments(result) == ["agents", "search"]


def test_installed_gpus_are_left_out_where_there_is_no_fleet(no_fleet: Result) -> None:
    assert "installed" not in {row.name for row in rows(no_fleet)}
    assert "installed" in {row.name for row in rows(simulated(run__draws=0, run__months=4))}


def test_waiting_is_told_where_requests_are_served_one_by_one(served: Result, result: Result) -> None:
    assert [row.unit for row in rows(served) if row.name == "p95_ttft_reasoning"] == ["s"]
    assert not any(row.name.startswith("p95") for row in rows(result))


def test_waiting_is_that_of_the_weekday_by_requests() -> None:
    """(1 x 30 + 4 x 10) / 40; the wait that does not exist has no weight."""
    assert weighted_mean([1.0, 4.0, math.nan], [30.0, 10.0, 7.0]) == 1.75
    assert weighted_mean([math.nan], [7.0]) is None


# The sentences.


def test_both_widths_of_the_rebound_are_told_apart(result: Result) -> None:
    drawn, noise = result.drawn, result.rebound
    text = " ".join(words.rebound_sentences(result))

    assert drawn is not None
    assert drawn.value is not None
    assert noise.value is not None
    assert text.startswith(f"{percent(drawn.value)} of the potential saving is taken back")
    assert "80 % of 12 draws" in text
    assert f"with every input at its centre it is {percent(noise.value)} over 3 replications" in text


@pytest.mark.parametrize(("elasticity", "is_paradox"), [(-0.4, False), (-1.9, True)])
def test_the_jevons_paradox_is_named_only_when_the_rebound_is_above_one(elasticity: float, is_paradox: bool) -> None:
    told = simulated(segments__agents__price_elasticity=elasticity, run__draws=0)
    assert told.rebound.value is not None

    assert (told.rebound.value.mean > 1) is is_paradox
    assert ("Jevons paradox" in summary_table(told)) is is_paradox


def test_verdict_and_figures_agree(any_result: Result) -> None:
    causal, _ = words.verdict_sentences(any_result)
    verdicts = any_result.drawn or any_result.rebound
    word = {"up": "higher", "down": "lower", "unchanged": "no different"}[str(verdicts.causal.direction)]

    assert word in causal
    assert ("not certain" in causal) is (not verdicts.causal.certain)


def test_a_shock_that_saves_nothing_has_no_rebound(nothing: Result) -> None:
    text = summary_table(nothing)

    assert "Not defined: with usage held, the shock saves no GPU-hours." in text
    assert "Through" not in text
    assert "Causal: GPU-hours no different than without the shock." in text


def test_a_loss_of_efficiency_is_not_called_a_backfire(loss: Result) -> None:
    text = summary_table(loss)

    assert "of the extra need is spared" in text
    assert "Jevons" not in text
    assert "backfire" not in text


def test_the_channels_told_sum_to_the_rebound(result: Result) -> None:
    assert result.rebound.value is not None
    assert sum(result.channels.values()) == pytest.approx(100.0 * (result.rebound.value.mean - 1.0))
    assert f"{number(100 * result.rebound.value.mean)} % at the centre" in words.channels_sentence(result)


def test_hinges_are_told_with_the_side_of_the_backfire(result: Result) -> None:
    hinge = Hinge(
        keys=("shock.capability_share",), rank_correlation=0.7, centre=0.25, break_even=0.61, backfires_above=True
    )
    turned = replace(result, hinges=(hinge, replace(hinge, break_even=0.11, backfires_above=False)))

    assert words.hinges_sentence(turned) == (
        "capability share (0.250; backfire above 0.610); capability share (0.250; backfire below 0.110)."
    )


def test_an_input_that_turns_nothing_is_said_to(result: Result) -> None:
    idle = Hinge(
        keys=("shock.efficiency_gain",), rank_correlation=-0.3, centre=5.0, break_even=None, backfires_above=None
    )

    assert words.hinges_sentence(replace(result, hinges=(idle,))) == (
        "No value in its range of any one input turns the verdict; these move the rebound most: "
        "efficiency gain (5.00; rank correlation -0.30)."
    )


def test_assumptions_are_counted(result: Result) -> None:
    """Three uncertain inputs are named; the rest of what the scenario assumes is counted."""
    assumed = len(result.scenario.assumed())

    assert f"and {assumed - 3} more numbers" in words.assumptions_sentence(result)
    assert words.assumptions_sentence(result).startswith("price elasticity of agents -1.48 to -0.718")


def test_the_gap_of_the_closed_form_is_told_where_the_draws_differ_from_the_simulation() -> None:
    simulation = replace(simulated(run__draws=3), engine="simpy")

    assert "off the simulation" in words.closed_form_sentence(simulation)
    assert words.closed_form_sentence(replace(simulation, engine="closed_form")) == ""


def test_a_title_cannot_move_the_cursor_of_a_terminal() -> None:
    assert words.clean("\x1b[2Ja\tb\n c\x00") == "[2Ja b c"


def test_a_result_shows_itself(result: Result) -> None:
    assert repr(result) == summary_table(result)
    assert result._repr_html_() == summary_html(result)


# HTML.


class Tags(HTMLParser):
    """Opened and closed tags of a fragment."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.feed(fragment)

    def handle_starttag(self, tag: str, _: object) -> None:
        self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.closed.append(tag)


def test_html_is_closed_and_holds_no_markup_of_the_scenario(any_result: Result) -> None:
    hostile = replace(any_result, scenario=any_result.scenario.model_copy(update={"title": "<script>a & b"}))
    fragment = summary_html(hostile)

    assert "&lt;script&gt;a &amp; b" in fragment
    assert sorted(Tags(fragment).opened) == sorted(Tags(fragment).closed)
    assert not NOT_A_NUMBER.search(fragment)


# Data.


def numbers_in(content: object) -> Iterator[float]:
    children = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for child in children:
        yield from numbers_in(child)
    if isinstance(content, float):
        yield content


def test_the_summary_is_json_without_what_is_no_number(any_result: Result) -> None:
    told = json.loads(to_json(summary_json(any_result)))

    assert told["schema_version"] == 1
    assert all(map(math.isfinite, numbers_in(told)))


def test_what_is_no_number_becomes_null() -> None:
    assert without_gaps({"a": [math.nan, 1.5, (math.inf, "nan")]}) == {"a": [None, 1.5, [None, "nan"]]}


def test_the_summary_tells_both_rebounds_with_their_widths(result: Result) -> None:
    told = summary_json(result)["rebound"]["horizon"]

    assert result.drawn is not None
    assert result.drawn.value is not None
    assert result.rebound.value is not None
    assert told["centre"]["value"]["mean"] == result.rebound.value.mean
    assert told["centre"]["value"]["kind"] == "replications"
    assert told["draws"]["value"]["mean"] == result.drawn.value.mean
    assert told["draws"]["value"]["kind"] == "draws"
    assert told["draws"]["value"]["samples"] == 12


def test_quantiles_of_the_draws_rise(result: Result) -> None:
    quantiles = summary_json(result)["draw_quantiles"]["rebound"]

    assert list(quantiles) == ["0.05", "0.1", "0.25", "0.5", "0.75", "0.9", "0.95"]
    assert list(quantiles.values()) == sorted(quantiles.values())


def test_the_summary_as_csv_has_a_line_for_each_row(result: Result, nothing: Result) -> None:
    table = list(csv.DictReader(io.StringIO(summary_csv([result, nothing]))))

    assert tuple(table[0]) == CSV_COLUMNS
    assert [line["figure"] for line in table][: len(rows(result))] == [row.name for row in rows(result)]
    assert not NOT_A_NUMBER.search(summary_csv([result, nothing]))


# The page of pictures.


@pytest.mark.slow
def test_the_page_has_the_same_bytes_each_time(result: Result) -> None:
    first, second = figure_files(page_of(result)), figure_files(page_of(result))

    assert first == second
    assert first["figure.png"].startswith(b"\x89PNG")
    assert b"<svg" in first["figure.svg"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["without_draws", "loss", "nothing", "served", "no_fleet"])
def test_the_page_can_be_drawn_of(name: str, request: pytest.FixtureRequest) -> None:
    assert figure_files(page_of(request.getfixturevalue(name)))["figure.png"]


@pytest.mark.slow
def test_the_page_leaves_the_settings_of_its_caller_alone(without_draws: Result) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    figure_files(page_of(without_draws))

    assert dict(matplotlib.rcParams) == before


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.1))
def test_labels_keep_their_order_and_their_distance(heights: list[float], distance: float) -> None:
    moved = spread(sorted(heights), distance)

    assert all(b - a >= distance - 1e-9 for a, b in pairwise(moved))
    assert sum(moved) == pytest.approx(sum(heights), abs=1e-9)


# The manual.


def test_a_marked_table_is_made_anew_and_the_rest_stays() -> None:
    made = with_tables("before\n<!-- table: fields -->\nstale table\n<!-- end -->\nafter\n")

    assert made.startswith("before\n<!-- table: fields -->\n")
    assert made.endswith("<!-- end -->\nafter\n")
    assert "stale table" not in made
    assert all(f"`{row.key}`" in made for row in field_table())
    assert with_tables(made) == made


def test_a_text_without_marks_stays_as_it_is() -> None:
    assert with_tables("nothing marked") == "nothing marked"


def test_a_table_that_does_not_exist_is_refused() -> None:
    with pytest.raises(jevons.UsageError, match="table must be one of fields, not 'prices'"):
        with_tables("<!-- table: prices -->\n<!-- end -->")
