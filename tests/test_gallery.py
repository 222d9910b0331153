"""Scenarios that teach: what a lesson claims is measured, and a wrong claim is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import jevons
from jevons.cli import main
from jevons.errors import ScenarioError, UsageError
from jevons.gallery import SAME, Finding, Gallery, gallery
from jevons.report.data import to_json
from jevons.report.gallery import gallery_data, gallery_markdown, gallery_table
from jevons.report.manual import with_gallery
from jevons.report.text import COLUMNS
from jevons.results import Estimate
from jevons.scenario import Scenario, load

ROOT = Path(__file__).parents[1]
MARKET = Path(__file__).parent / "golden" / "market.toml"
SCENARIOS = sorted((ROOT / "scenarios").glob("*.toml"))
TAUGHT = [path for path in SCENARIOS if load(path).lesson is not None]


def difference(mean: float, half: float) -> Estimate:
    return Estimate(mean=mean, low=mean - half, high=mean + half, confidence=0.9, samples=8, kind="replications")


@pytest.mark.parametrize(
    ("mean", "half", "found"),
    [(0.3, 0.1, "higher"), (-0.3, 0.1, "lower"), (0.3, 0.4, ""), (0.9 * SAME, 0.1 * SAME, "same"), (0.0, 0.0, "same")],
)
def test_a_figure_lies_where_the_interval_of_its_difference_says(mean, half, found):
    finding = Finding(
        figure="rebound", expected="higher", first=1.0, other=1.0 + mean, difference=difference(mean, half)
    )

    assert finding.found == found
    assert finding.is_so == (found == "higher")


def market(**changes: object) -> Scenario:
    return load(MARKET).replace({"run.draws": 6, "run.months": 6, **changes})


def shown(expected: dict[str, str], **changes: object) -> Gallery:
    """The gallery of the small market and of one with other numbers, which claims something of it."""
    claim = {"than": "first.toml", "teaches": "What numbers do.", "expected": [f"{f} {w}" for f, w in expected.items()]}
    other = market(name="other", lesson=claim, **changes)
    return gallery(
        {Path("other.toml"): other}, lambda _: market(), lambda one: jevons.simulate(one, engine="closed_form")
    )


ELASTIC = {"segments.agents.price_elasticity": -1.7}


def test_more_elastic_demand_takes_more_back():
    (first, other) = shown({"rebound": "higher", "change": "higher"}, **ELASTIC).exhibits

    assert first.lesson is None
    assert other.is_so
    assert [finding.found for finding in other.findings] == ["higher", "higher"]


def test_what_changes_nothing_is_found_the_same():
    (_, other) = shown({"rebound": "same", "price, search": "same"}).exhibits

    assert other.is_so


def test_a_wrong_claim_is_found_and_told():
    found = shown({"rebound": "lower"}, **ELASTIC)

    assert [exhibit.result.scenario.name for exhibit in found.contradicted] == ["other"]
    assert "NOT SO" in gallery_table(found)
    assert "found: higher" in gallery_markdown(found)
    assert gallery_data(found)["scenarios"][1]["is_so"] is False


def test_a_figure_that_does_not_exist_is_named_with_the_nearest():
    with pytest.raises(UsageError, match=r"no figure 'rebund'.*rebound"):
        shown({"rebund": "lower"})


def test_a_day_teaches_nothing_about_the_market():
    day = load(ROOT / "scenarios" / "deepseek_day.toml")

    with pytest.raises(UsageError, match="teaches nothing"):
        gallery({Path("day.toml"): day}, load, lambda one: jevons.simulate(one))


def test_what_is_compared_with_is_simulated_once_and_stands_first():
    claim = {"than": "market.toml", "teaches": "Nothing.", "expected": ["rebound same"]}
    scenarios = {
        MARKET.parent / "one.toml": market(name="one", lesson=claim),
        MARKET: market(),
        MARKET.parent / "two.toml": market(name="two", lesson=claim),
    }
    ran: list[str] = []

    def simulate(one: Scenario) -> jevons.Result:
        ran.append(one.name)
        return jevons.simulate(one, engine="closed_form")

    found = gallery(scenarios, load, simulate)

    assert ran == ["market", "one", "two"]
    assert [exhibit.result.scenario.name for exhibit in found.exhibits] == ran


def test_the_table_fits_the_page_and_the_data_hold_what_it_says():
    found = shown({"rebound": "higher", "gpu_hours": "higher"}, **ELASTIC)
    data = json.loads(to_json(gallery_data(found)))

    assert max(map(len, gallery_table(found).splitlines())) <= COLUMNS
    assert repr(found) == gallery_table(found)
    assert [finding["found"] for finding in data["scenarios"][1]["findings"]] == ["higher", "higher"]
    assert gallery_markdown(found).count("\n") == 4


def test_the_readme_takes_the_table_that_was_made_last(tmp_path):
    text = "a\n<!-- gallery -->\nold\n<!-- end -->\nb\n"
    assert with_gallery(text, tmp_path) == text
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gallery.md").write_text("| new |\n")

    assert with_gallery(text, tmp_path) == "a\n<!-- gallery -->\n\n| new |\n\n<!-- end -->\nb\n"


def written(tmp_path: Path, expected: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(
        f'extends = "{MARKET}"\nname = "own"\n[lesson]\nthan = "{MARKET}"\nteaches = "x"\n'
        f'expected = ["rebound {expected}"]\n[segments.agents]\nprice_elasticity = -1.7\n'
    )
    return path


@pytest.mark.parametrize(("expected", "exit_code"), [("higher", 0), ("lower", 1)])
def test_the_command_writes_the_table_and_fails_where_a_text_is_wrong(tmp_path, expected, exit_code):
    table = tmp_path / "table.md"
    arguments = ["gallery", str(written(tmp_path, expected)), "--engine", "closed_form", "-o", str(table), "-q"]
    done = CliRunner().invoke(main, arguments)

    assert done.exit_code == exit_code
    assert "`own`" in table.read_text()
    assert ("the figures do not say what the text says: own" in done.output) == (exit_code == 1)


def test_every_market_scenario_but_the_main_one_teaches_something():
    untaught = [path.stem for path in SCENARIOS if load(path).kind == "market" and load(path).lesson is None]

    assert untaught == ["deepseek"]


@pytest.mark.slow
@pytest.mark.parametrize("path", TAUGHT, ids=lambda path: path.stem)
def test_the_figures_of_the_gallery_say_what_its_texts_say(path):
    """In closed form, on a few replications."""
    few = {"run.draws": 0, "run.replications": 4}
    found = gallery(
        {path: load(path).replace(few)},
        lambda base: load(base).replace(few),
        lambda one: jevons.simulate(one, engine="closed_form"),
    )

    assert [finding for exhibit in found.exhibits for finding in exhibit.findings if not finding.is_so] == []


def test_the_readme_shows_every_scenario_of_the_gallery():
    readme = (ROOT / "README.md").read_text()
    table = readme[readme.index("<!-- gallery -->") :]

    assert [path.stem for path in TAUGHT if f"| `{path.stem}` |" not in table] == []


@pytest.mark.parametrize("claim", ["rebound", "rebound more", "higher", ""])
def test_a_claim_that_names_no_figure_or_no_way_is_refused(claim):
    with pytest.raises(ScenarioError, match=r"lesson\.expected: must each be a figure and one of higher, lower, same"):
        market(lesson={"than": "x.toml", "teaches": "x", "expected": [claim]})
