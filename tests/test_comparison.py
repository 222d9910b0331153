"""Runs side by side: differences with their widths, and the inputs behind them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jevons
from jevons.answer import Result
from jevons.comparison import (
    Input,
    compare,
    differing_inputs,
    matters,
    paired_difference,
    side,
    unpaired_difference,
    why_unpaired,
)
from jevons.report.comparing import comparison_csv, comparison_json, comparison_table, inputs_lines, shown
from jevons.report.data import to_json
from jevons.report.files import read_run, write_files
from jevons.report.text import COLUMNS
from jevons.scenario import Scenario

MARKET = Path(__file__).parent / "golden" / "market.toml"


def scenario(**changes: object) -> Scenario:
    return jevons.load(MARKET).replace(
        {"run.draws": 0, "run.months": 6} | {key.replace("__", "."): value for key, value in changes.items()}
    )


def simulated(**changes: object) -> Result:
    return jevons.simulate(scenario(**changes), engine="closed_form")


@pytest.fixture(scope="module")
def first() -> Result:
    return simulated()


@pytest.fixture(scope="module")
def elastic() -> Result:
    return simulated(segments__agents__price_elasticity=-1.7)


def test_a_run_does_not_differ_from_itself(first: Result) -> None:
    (against,) = compare([first, first]).others

    assert against.is_paired
    assert against.inputs == ()
    assert all(row.difference.low == row.difference.high == 0.0 for row in against.differences)
    assert "No figure differs." in comparison_table(compare([first, first]))
    assert "No input differs." in comparison_table(compare([first, first]))


def test_a_difference_is_the_other_less_the_first(first: Result, elastic: Result) -> None:
    (against,) = compare([first, elastic]).others
    row = next(row for row in against.differences if row.name == "gpu_hours" and row.moment == "with")
    expected = [
        b["shock"][-1].consumption_per_day("gpu_hours") - a["shock"][-1].consumption_per_day("gpu_hours")
        for a, b in zip(first.replications, elastic.replications, strict=True)
    ]

    assert row.difference.mean == pytest.approx(np.mean(expected))
    assert row.difference.mean > 0


def test_figures_of_a_side_are_those_of_the_result(first: Result) -> None:
    figures = side(first).figures

    assert figures["price, agents", "with"][1].mean() == pytest.approx(first.headline("price agents", "shock", -1).mean)
    assert figures["energy", "without"][1].mean() == pytest.approx(first.headline("energy", "baseline", -1).mean)
    assert figures["usage, search", "before"][1].mean() == pytest.approx(
        first.headline("usage search", "baseline", 2).mean
    )
    assert figures["rental price", "with"][1].mean() == pytest.approx(first.headline("rental", "shock", -1).mean)


def test_the_rebound_of_a_side_is_that_of_each_replication(first: Result) -> None:
    consumed = {arm: paths[:, -1] for arm, paths in first.consumption.items()}
    by_hand = (consumed["shock"] - consumed["frozen"]) / (consumed["baseline"] - consumed["frozen"])

    np.testing.assert_allclose(side(first).figures["rebound", "horizon"][1], by_hand)


def test_a_paired_difference_has_the_width_of_the_differences() -> None:
    """Differences 1, 2 and 3: mean 2, standard error 1/sqrt(3), t(2 d.f., 90 %) = 2.919986: 2 -+ 1.685855."""
    estimate = paired_difference(np.array([10.0, 20.0, 40.0]), np.array([11.0, 22.0, 43.0]), 0.9)

    assert estimate.mean == pytest.approx(2.0)
    assert estimate.low == pytest.approx(2.0 - 1.685855, abs=1e-6)


def test_an_unpaired_difference_has_the_width_of_both() -> None:
    """Variances of the means 1/3 and 4/2, one degree of freedom: t(90 %) = 6.313752; times sqrt(7/3) 9.644415."""
    estimate = unpaired_difference(np.array([4.0, 5.0, 6.0]), np.array([10.0, 12.828427124746190]), 0.9)

    assert estimate.mean == pytest.approx(6.414213562373095)
    assert estimate.high == pytest.approx(6.414213562373095 + 9.644415, abs=1e-5)


def test_an_unpaired_difference_of_single_samples_has_no_width() -> None:
    estimate = unpaired_difference(np.array([4.0]), np.array([7.0]), 0.9)

    assert (estimate.mean, estimate.low) == (3.0, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"run__seed": 8}, "seeds differ (7 and 8)"),
        ({"run__replications": 4}, "numbers of replications differ (3 and 4)"),
    ],
)
def test_runs_are_paired_only_on_the_same_random_numbers(
    first: Result, changes: dict[str, object], reason: str
) -> None:
    other = simulated(**changes)

    assert why_unpaired(side(first), side(other)) == reason
    assert compare([first, other]).others[0].is_paired is (not reason)


def test_engines_that_differ_are_not_paired(first: Result) -> None:
    assert "engines differ" in why_unpaired(side(first), replace(side(first), engine="simpy"))


def test_pairing_narrows_the_difference(first: Result, elastic: Result) -> None:
    (against,) = compare([first, elastic]).others
    row = next(row for row in against.differences if row.name == "usage, agents" and row.moment == "with")
    values = [side(result).figures[row.name, row.moment][1] for result in (first, elastic)]
    unpaired = unpaired_difference(*values, 0.8)

    assert row.difference.half_width is not None
    assert unpaired.half_width is not None
    assert row.difference.half_width < unpaired.half_width


def test_inputs_that_differ_are_told_with_both_values() -> None:
    differing = differing_inputs(
        scenario(), scenario(pricing__pass_through=0.8, segments__search__price_elasticity=-0.7)
    )

    assert differing == [
        Input(key="pricing.pass_through", first=1.0, other=0.8),
        Input(key="segments.search.price_elasticity", first=-0.6, other=-0.7),
    ]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("pricing.pass_through", 0.5, True),
        ("segments.search.value_of_time_usd_per_hour", 3.0, False),
        ("shock.efficiency_gain", {"dist": "lognormal", "median": 5.0, "sigma": 0.3}, True),
        ("run.seed", 3, None),
        ("title", "another", None),
    ],
)
def test_an_input_matters_if_it_changes_a_figure(key: str, value: object, expected: bool | None) -> None:
    """Without queues nobody waits, so the value of time is idle; a wider distribution of the same median is not."""
    here, there = scenario(), scenario().replace({key: value})
    (differing,) = differing_inputs(here, there)

    assert matters(differing, here, there) is expected


def test_idle_inputs_are_named(first: Result) -> None:
    idle = simulated(segments__search__value_of_time_usd_per_hour=3.0)
    table = comparison_table(compare([first, idle]))

    assert "changed no figure (closed form, one draw):" in table
    assert "segments.search.value_of_time_usd_per_hour" in table


def test_a_comparison_as_text_fits_the_page(first: Result, elastic: Result) -> None:
    table = comparison_table(compare([first, elastic, first]))

    assert max(map(len, table.splitlines())) <= COLUMNS
    assert table == repr(compare([first, elastic, first]))
    assert "points" in table


def test_a_comparison_as_data_has_every_difference(first: Result, elastic: Result) -> None:
    comparison = compare([first, elastic])
    told = json.loads(to_json(comparison_json(comparison)))
    lines = comparison_csv(comparison).splitlines()

    assert len(told["others"][0]["differences"]) == len(comparison.others[0].differences) == len(lines) - 1
    assert told["others"][0]["paired"] is True


def test_inputs_are_shown_short() -> None:
    assert shown({"dist": "normal", "mean": -1.1, "sd": 0.3, "together": "price"}) == "normal (mean -1.1, sd 0.3)"
    assert shown(None) == "not given"
    assert len(shown("x" * 99)) == 34
    assert inputs_lines([Input(key="sources.a", first="b", other="c")])[-1] == "  1 of the sources"


def test_one_run_is_no_comparison(first: Result) -> None:
    with pytest.raises(jevons.UsageError, match="needs two runs"):
        compare([first])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is not a run directory, it has no manifest.json"),
        ({"manifest.json": b"{"}, "is not JSON"),
        ({"manifest.json": b"[]"}, "does not tell a run"),
        ({"manifest.json": b"\xff"}, "is not UTF-8 text"),
        ({"manifest.json": b'{"scenario": {"name": 1}}'}, "holds no scenario that this version understands"),
    ],
)
def test_what_is_no_run_directory_is_refused(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    write_files(tmp_path, files)

    with pytest.raises(jevons.UsageError, match=message):
        read_run(tmp_path)


@pytest.mark.parametrize("series", [b"", b"a,b\n", b"arm,replication,month,region,segment,metric,value,unit\nx\n"])
def test_a_series_that_is_not_one_is_refused(tmp_path: Path, series: bytes) -> None:
    manifest = {"scenario": scenario().canonical(), "engine": "closed_form"}
    write_files(tmp_path, {"manifest.json": json.dumps(manifest).encode(), "series.csv": series})

    with pytest.raises(jevons.UsageError, match=r"series.csv is not that of a run"):
        read_run(tmp_path)
