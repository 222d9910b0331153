"""The scenarios that come with the package: each loads, each number has its source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from worlds import stack_of

from jevons.answer import Result
from jevons.scenario import Scenario, load

SCENARIOS = Path(__file__).parents[1] / "scenarios"
FILES = sorted(SCENARIOS.glob("*.toml"))

#: Compared with, but not meant to be met: a router that gained share.
NOT_MATCHED = {"router_tokens"}


def test_there_are_scenarios():
    assert {"deepseek", "deepseek_day"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_is_named_after_its_file_and_says_what_it_is_for(path):
    scenario = load(path)

    assert scenario.name == path.stem
    assert scenario.title
    assert scenario.description


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_number_has_a_source_or_is_called_an_assumption(path):
    assert load(path).unsourced() == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_source_is_of_a_key_that_exists(path):
    """Given or left to its default; or else it stands for nothing, and hides a key that was renamed."""
    scenario = load(path)
    keys = list(leaves(scenario.canonical()))

    assert [pattern for pattern in scenario.sources if not any(fnmatchcase(key, pattern) for key in keys)] == []


def leaves(content: dict[str, Any], above: str = "") -> Iterator[str]:
    """Dotted keys of all values, those of tables first."""
    for key, value in content.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_names_no_place_of_the_machine_it_was_written_on(path):
    assert not re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users|mnt|var)\b|[A-Z]:\\", path.read_text())


@pytest.fixture(scope="module")
def deepseek() -> Scenario:
    """The main scenario."""
    return load(SCENARIOS / "deepseek.toml")


@pytest.fixture(scope="module")
def result(deepseek) -> Result:
    """One replication of the main scenario, served in closed form."""
    return Result(scenario=deepseek, engine="closed_form", stacks=(stack_of(deepseek),))


def test_the_baseline_is_anchored_to_what_was_observed(result):
    """Within 15 %; all that was before the shock."""
    off = {fit.name: fit.model_factor / fit.anchor.factor for fit in result.anchors if fit.name not in NOT_MATCHED}

    assert len(off) >= 4
    assert {name: ratio for name, ratio in off.items() if abs(ratio - 1) > 0.15} == {}
    assert all(fit.anchor.end <= result.scenario.shock.date for fit in result.anchors)


def test_the_shock_of_january_shows_in_february(deepseek, result):
    assert result.months[result.shock_month].isoformat() == "2025-02-01"


def test_nothing_is_turned_away_in_the_baseline(result):
    """The fleet of the start is large enough for the need it is scaled to."""
    assert max(r.lost_share for m in result.replications[0]["baseline"] for r in m.regions) < 0.01


def test_providers_of_constant_ratios_leave_the_baseline_where_it_is(result):
    """Before the entrant comes, late in the baseline of a pull-forward, those there grow alike: as one for all."""
    scenario = load(SCENARIOS / "distillation.toml")
    shared = Result(scenario=scenario, engine="closed_form", stacks=(stack_of(scenario),))

    assert shared.consumption["baseline"] == pytest.approx(result.consumption["baseline"], rel=1e-6)
    assert shared.consumption["shock"][:, -1] != pytest.approx(result.consumption["shock"][:, -1], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("distillation", 0.6, 0.7),
        ("distillation-countermeasure", 0.6, 0.7),
        ("price-war", 1.0, 1.2),
        ("sputnik", 0.9, 1.1),
        ("capability-race", 0.65, 0.8),
    ],
)
def test_the_race_says_what_its_descriptions_say(name, low, high):
    """Rebound with every input at its centre; of what a description tells of the draws it is near."""
    scenario = load(SCENARIOS / f"{name}.toml")
    result = Result(scenario=scenario, engine="closed_form", stacks=(stack_of(scenario, 2),))

    assert low < result.rebound.mean < high
