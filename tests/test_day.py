"""A served day: DeepSeek's published one, recorded traces, and what is said about them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from jevons.cli import main
from jevons.day import fitted_headroom, simulate_day
from jevons.errors import UsageError
from jevons.report.day_text import summary_json, summary_table
from jevons.scenario import load

ROOT = Path(__file__).resolve().parents[1]
DAY = ROOT / "scenarios" / "deepseek_day.toml"
TRACE = ROOT / "scenarios" / "llama70b_trace.toml"
TRACES = ROOT.parent / "shared" / "data" / "traces"


@pytest.fixture(scope="module")
def deepseek():
    """The published day, thinned to 20,000 requests."""
    return simulate_day(load(DAY, ["run.resolution=20000", "run.replications=3"]))


def test_deepseeks_nodes_and_cost_are_within_two_per_cent_of_the_published(deepseek):
    """226.75 nodes of eight H800 at 2 USD an hour: 87,072 USD (open-infra-index, day 6)."""
    assert deepseek.mean_nodes.mean == pytest.approx(226.75, rel=0.02)
    assert deepseek.cost_usd.mean == pytest.approx(87_072, rel=0.02)


def test_deepseeks_users_see_twenty_to_twenty_two_tokens_a_second(deepseek):
    speed = deepseek.user_speed_tokens_per_s

    assert speed is not None
    assert 20.0 <= speed.low <= speed.mean <= speed.high <= 22.0


def test_the_hours_that_were_not_fitted_are_within_five_per_cent(deepseek):
    fitted = deepseek.observed.fitted_hours

    assert set(fitted).isdisjoint(range(1, 24, 2))
    assert deepseek.held_out_error < 0.05


def test_the_fit_sees_only_the_hours_named_for_it():
    """Nonsense in the hours held out does not move it."""
    scenario = load(DAY).central()
    observed = list(scenario.observed.hourly_nodes)
    for hour in range(1, 24, 2):
        observed[hour] = 1.0

    assert fitted_headroom(scenario.replace({"observed.hourly_nodes": observed})) == fitted_headroom(scenario)


def test_the_fit_answers_the_hours_named_for_it():
    """Four thirds of the nodes take about four thirds of the headroom."""
    scenario = load(DAY, ["serving.autoscaler.ceiling_nodes=400", "serving.autoscaler.step_nodes=1"]).central()
    need = np.array(simulate_day(scenario, engine="closed_form").hourly_nodes)
    more = scenario.replace({"observed.hourly_nodes": (need * 4 / 3).tolist()})

    assert fitted_headroom(more) == pytest.approx(fitted_headroom(scenario) * 4 / 3, rel=0.03)


def test_all_tokens_of_the_day_are_served(deepseek):
    """608 billion input tokens, 342 of them cached, and 168 billion output tokens."""
    served, cached, output = deepseek.tokens_per_day

    assert served.mean == pytest.approx(608e9, rel=0.02)
    assert cached.mean == pytest.approx(342e9, rel=0.02)
    assert output.mean == pytest.approx(168e9, rel=0.02)
    assert deepseek.total("lost").mean == 0


def test_the_text_tells_what_went_in_and_what_came_out(deepseek):
    text = summary_table(deepseek)

    assert "In: the day's tokens" in text
    assert "Out: the nodes of the other hours" in text
    assert "held out" in text
    assert max(map(len, text.splitlines())) <= 100
    assert not any(word in text for word in ("nan", "inf", "None"))


def test_the_summary_of_a_day_is_json_without_gaps(deepseek):
    content = json.loads(json.dumps(summary_json(deepseek), allow_nan=False))

    assert content["kind"] == "day"
    assert content["mean_nodes"]["mean"] == deepseek.mean_nodes.mean
    assert len(content["hourly_nodes"]) == 24


def test_workers_do_not_change_a_day():
    scenario = load(DAY, ["run.resolution=2000", "run.replications=3"])

    one, two = (simulate_day(scenario, workers=count) for count in (1, 2))

    assert repr(one) == repr(two)
    assert repr(one.hourly.rows) == repr(two.hourly.rows)


def test_another_seed_is_another_day():
    one, other = (simulate_day(load(DAY, ["run.resolution=2000", f"run.seed={seed}"])) for seed in (1, 2))

    assert one.latency_s("ttft", "mean").mean != other.latency_s("ttft", "mean").mean


def test_a_market_has_no_single_day():
    with pytest.raises(UsageError, match="kind market has no single day"):
        simulate_day(load(ROOT / "scenarios" / "deepseek.toml"))


@pytest.mark.parametrize(
    ("name", "requests", "input_tokens", "output_tokens"),
    [("conv", 19_366, 22_361_870, 4_088_665), ("code", 8_819, 18_059_974, 245_896)],
)
def test_the_azure_traces_run_from_the_command_line(tmp_path, name, requests, input_tokens, output_tokens):
    """Azure 2023 (github.com/Azure/AzurePublicDataset): every request is served, with all of its tokens."""
    trace = TRACES / f"azure_llm_2023_{name}.csv.gz"
    if not trace.exists():
        pytest.skip(f"the trace is not part of the project: {trace.name} is not beside the checkout")
    arguments = ["simulate", str(TRACE), "--set", f"workloads.recorded.trace={trace}", "-o", str(tmp_path / "out")]

    run = CliRunner().invoke(main, [*arguments, "--workers", "1", "-q"])

    assert run.exit_code == 0, run.output
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert content["requests"]["mean"] == requests
    assert content["lost_requests"]["mean"] == 0
    assert content["tokens"]["input"]["mean"] == pytest.approx(input_tokens, abs=1)
    assert content["tokens"]["output"]["mean"] == pytest.approx(output_tokens, rel=1e-4)
    with (tmp_path / "out" / "requests.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == requests
    assert all(float(row["departure_s"]) > float(row["first_token_s"]) >= float(row["arrival_s"]) for row in rows)


def test_a_trace_of_ones_own_runs_from_the_command_line(tmp_path):
    trace = tmp_path / "own.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0.0,100,7\n1.5,2000,3\n")

    run = CliRunner().invoke(
        main, ["simulate", str(TRACE), "--set", f"workloads.recorded.trace={trace}", "--format", "json", "-q"]
    )

    assert run.exit_code == 0, run.output
    content = json.loads(run.stdout)
    assert content["requests"]["mean"] == 2
    assert content["tokens"]["output"]["mean"] == 10


def test_a_trace_that_cannot_be_read_is_told_by_line_and_rule(tmp_path):
    trace = tmp_path / "own.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0.0,100,7\n1.5,-3,3\n")

    run = CliRunner().invoke(main, ["simulate", str(TRACE), "--set", f"workloads.recorded.trace={trace}", "-q"])

    assert run.exit_code == 2
    assert "own.csv:3" in run.stderr
    assert "-3" in run.stderr
    assert run.stdout == ""
