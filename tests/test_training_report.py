"""What is told of training: rows, series and sentences where jobs are simulated, and none where there are none."""

from __future__ import annotations

import re

import pytest
from worlds import budget, fleet, region, world

import jevons
from jevons.answer import Result
from jevons.month_figures import TRAINING_FIGURES
from jevons.report import words
from jevons.report.data import summary_json, to_json
from jevons.report.numbers import number
from jevons.report.rows import rows
from jevons.report.text import summary_table
from jevons.scenario import Jobs, Race, Scenario

JOBS = Jobs(gpus=[4.0, 12.0], hours=[20.0, 70.0], weight=[0.7, 0.3], sigma=0.5, checkpoint_minutes=60.0)
METRICS = {metric for _, metric, _ in TRAINING_FIGURES}


def race_of_two(jobs: Jobs | None = JOBS, race: bool = True) -> Scenario:
    """Two budgets on one fleet, the second of which jumps by half with the shock."""
    ours = Race(follows="code", response=0.4) if race else None
    theirs = Race(follows="chat", response=0.5, jump_with_shock=1.5) if race else None
    return world(
        budget(jobs=jobs, race=ours),
        budget(jobs=jobs, race=theirs, budget_usd_per_day=500.0),
        regions={"here": region(fleet(16.0))},
        months=16,
    )


@pytest.fixture(scope="module")
def result() -> Result:
    return jevons.simulate(race_of_two(), engine="simpy")


@pytest.fixture(scope="module")
def closed() -> Result:
    return jevons.simulate(race_of_two(), engine="closed_form")


@pytest.fixture(scope="module")
def without() -> Result:
    return jevons.simulate(race_of_two(None, race=False), engine="closed_form")


def test_the_figures_of_a_month_are_those_of_its_region(result):
    series = result.monthly.select(arm="shock", replication=1, month="2026-04-01")
    figures = {metric: series.select(metric=metric).value.tolist() for metric in METRICS}
    training = result.replications[1]["shock"][-1].regions[0].training

    assert figures.keys() == METRICS
    for name, metric, _ in TRAINING_FIGURES:
        assert figures[metric] == pytest.approx([getattr(training, name)], nan_ok=True)


def test_the_table_tells_of_the_jobs(result):
    told = {row.name: row for row in rows(result)}

    assert told["jobs"].without == pytest.approx(
        sum(arms["baseline"][-1].regions[0].training.jobs_finished for arms in result.replications) / 2
    )
    assert told["job_waiting"].with_shock > told["job_waiting"].without > 0.0
    assert "jobs finished" in summary_table(result)
    assert not re.search(r"\bnan\b", summary_table(result), re.IGNORECASE)


def test_the_sentence_follows_from_the_figures(result):
    training = [arms["shock"][-1].regions[0].training for arms in result.replications]
    waiting = sum(one.waiting_h for one in training) / 2

    assert words.training_sentence(result).startswith(f"A job waits {number(waiting)} h for its GPUs")
    assert "of what serving leaves." in words.training_sentence(result)


def test_a_race_is_told_in_what_is_spent(result):
    """Nearly at rest after 14 months: 1.5^(1/(1 - 0.2)), and its power of 0.4."""
    theirs = 1.5 ** (1.0 / 0.8)

    assert words.race_sentence(result) == (
        f"Spend with the shock over that without: chat x{theirs**0.4:.2f}, code x{theirs:.2f}."
    )


def test_closed_form_tells_what_it_knows(closed):
    told = {row.name for row in rows(closed)}

    assert "jobs" in told
    assert "job_waiting" not in told
    assert words.training_sentence(closed) == ""
    assert not re.search(r"\bnan\b", summary_table(closed), re.IGNORECASE)


def test_without_jobs_and_races_nothing_is_told(without):
    text = summary_table(without)

    assert not METRICS & set(without.monthly.metric.texts)
    assert "Training" not in text
    assert "Race" not in text
    assert "job" not in text
    assert '"job' not in to_json(summary_json(without))
