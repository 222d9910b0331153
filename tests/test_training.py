"""Training in a region: budgets become jobs, jobs get GPU-hours, month by month."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from worlds import SERVING, arms_of, budget, fleet, identical, rebound_of, region, segment, world

from jevons.errors import ScenarioError
from jevons.model import run_arms, run_stack
from jevons.randomness import Draws
from jevons.scenario import Jobs, Scenario, loads
from jevons.training import Jobbing, RegionTraining, Sizes, lent_always, lent_in_week, slowdown
from jevons.units import DAYS_PER_MONTH

#: About 23 a month for the budget of `worlds`: 700 USD at 2.5 USD are 280 GPU-hours a day.
NOTHING = lent_always(0.0)
JOBS = Jobs(gpus=[4.0, 12.0], hours=[20.0, 70.0], weight=[0.7, 0.3], sigma=0.5)


def training(jobs: Jobs = JOBS, replications: int = 1) -> RegionTraining:
    """The jobs of the one segment of a world, in its one region."""
    return RegionTraining(world(budget(jobs=jobs)), "here", ["chat"], range(replications))


def months(one: RegionTraining, wanted: float, own: float = 0.0, lent=NOTHING, count: int = 1, **changes):
    """Some months of the same kind, one after the other."""
    fields = {"draws_singly": True, **changes}
    backlogs, done = (), []
    for _ in range(count):
        month = one.month(0, {"chat": wanted}, own, lent, backlogs, **fields)
        assert month is not None
        backlogs = month.backlogs
        done.append(month)
    return done


def on_fleet(jobs: Jobs | None = JOBS, stock: float = 40.0, **changes) -> Scenario:
    """A budget on a fleet of 1.5 H100e each, nothing else."""
    return world(budget(jobs=jobs, **changes), regions={"here": region(fleet(stock))}, months=5)


# By hand.


def test_the_gpu_hours_of_a_job_by_hand():
    """0.7 x 4 x 20 + 0.3 x 12 x 70; a year later, with GPUs doubled, twice that."""
    grown = Sizes.of(JOBS.model_copy(update={"gpus_growth_per_year": 2.0}), 12)

    assert Sizes.of(JOBS, 12).gpu_hours == pytest.approx(308.0)
    assert grown.gpu_hours == pytest.approx(616.0)
    assert Sizes.of(JOBS, 0).lost_share == 0.0


def test_a_larger_job_fails_more_often():
    """512 GPUs are 64 nodes, 64 / 264 failures a day: half an interval of 40 minutes and a restart of 10 each."""
    jobs = Jobs(gpus=[512.0], hours=[100.0], checkpoint_minutes=40.0, restart_minutes=10.0, node_mtbf_days=264.0)

    assert slowdown(jobs, 512.0) == pytest.approx(1.0 + 64.0 / 264.0 / 24.0 * 0.5, rel=1e-4)
    assert slowdown(jobs, 0.0) == 1.0
    assert Sizes.of(jobs, 0).lost_share == pytest.approx(1.0 - 1.0 / slowdown(jobs, 512.0))


def test_jobs_are_those_of_their_number_whatever_is_asked_for_first():
    one, other = (Jobbing(JOBS, Draws(seed=3, replication=1, place=("jobs",))) for _ in range(2))
    one.number_until(400.0)
    other.number_until(3.0)
    other.number_until(400.0)

    assert one.clock == other.clock
    assert one.hours == other.hours


def test_the_week_begins_on_a_monday_and_ends_with_a_weekend():
    class Day:
        def __init__(self, idle: float) -> None:
            self.idle_node_hours = np.full((2, 24), idle)

    week = lent_in_week((Day(3.0), Day(5.0)), 8.0)

    assert week.shape == (2, 168)
    assert week[1].tolist() == [24.0] * 120 + [40.0] * 48


# Laws of a month.


def test_with_nodes_to_spare_budgets_get_what_they_want():
    """Over 13,000 jobs, whose GPU-hours vary by 1.4 times their mean; none of them waits."""
    done = months(training(replications=8), 280.0, own=500.0, count=60)
    finished = np.mean([month.month.jobs_finished for month in done])

    assert np.mean([month.granted["chat"] for month in done]) == pytest.approx(280.0, rel=0.06)
    assert finished == pytest.approx(280.0 / 308.0 * DAYS_PER_MONTH, rel=0.04)
    assert all((month.month.waiting_h < 1e-9).all() for month in done)


def test_no_more_is_granted_than_there_is():
    """14 GPUs for what 15 would do at best."""
    done = months(training(), 360.0, own=14.0, count=12)

    for month in done:
        assert month.granted["chat"][0] <= 14.0 * 24.0 * (1.0 + 1e-9)
        assert month.month.own_utilisation[0] == pytest.approx(month.granted["chat"][0] / (14.0 * 24.0))
    assert done[-1].month.jobs_waiting[0] > done[0].month.jobs_waiting[0]
    assert done[-1].month.waiting_h[0] > done[0].month.waiting_h[0] > 0.0


def test_what_is_granted_is_what_closed_form_says_where_only_one_gang_fits():
    """Gangs of 12 on 20 GPUs that want all of them: 12 in use, 8 not."""
    gangs = Jobs(gpus=[12.0], hours=[50.0])
    simulated = months(training(gangs), 480.0, own=20.0, count=3)[-1]
    closed = months(training(gangs), 480.0, own=20.0, draws_singly=False)[-1]

    assert closed.granted["chat"] == pytest.approx(288.0)
    assert simulated.granted["chat"][0] == pytest.approx(288.0)
    assert closed.month.unusable_gpu_hours_per_day == pytest.approx(192.0)
    assert simulated.month.unusable_gpu_hours_per_day[0] == pytest.approx(192.0)
    assert closed.month.own_utilisation == pytest.approx(0.6)
    assert isnan(closed.month.lent_utilisation)
    assert isnan(closed.month.waiting_h)


def test_closed_form_fits_gangs_into_each_hour():
    """Gangs of 4 on 6 by day and 10 by night: 4 and 8, 6 on average; a limit that the simulation stays below."""
    gangs = Jobs(gpus=[4.0], hours=[30.0], checkpoint_minutes=60.0)
    lent = np.array(([0.0] * 12 + [4.0] * 12) * 7)
    closed = months(training(gangs), 500.0, own=6.0, lent=lent, draws_singly=False)[-1]
    simulated = months(training(gangs), 500.0, own=6.0, lent=lent, count=3)[-1]

    assert closed.granted["chat"] == pytest.approx(24.0 * 6.0)
    assert closed.granted["chat"] * 0.99 < simulated.granted["chat"][0] <= closed.granted["chat"] * 1.01
    assert simulated.month.lost_gpu_hours_per_day[0] > 0.0


def test_the_first_month_is_in_mid_flow():
    """Jobs of 400 h on nodes without limit, 200 replications: as much is granted in the first month as later."""
    long = Jobs(gpus=[10.0], hours=[400.0])
    first, later = (month.granted["chat"].mean() for month in months(training(long, 200), 600.0, own=1e6, count=2))

    assert first == pytest.approx(600.0, rel=0.06)
    assert later == pytest.approx(600.0, rel=0.06)


def test_thinned_jobs_come_to_the_same():
    """A third of the jobs on a third of the GPUs; and no thinner than leaves room for sixteen of the largest."""
    many, few, fewest = (
        Jobs(gpus=[4.0], hours=[60.0], sigma=0.5, jobs_simulated=simulated) for simulated in (1e5, 400.0, 1e-3)
    )
    whole, thin, thinnest = (months(training(jobs, 3), 9600.0, own=460.0, count=6) for jobs in (many, few, fewest))

    assert [done[-1].backlogs[0].share for done in (whole, thin, thinnest)] == pytest.approx(
        [1.0, 400.0 / (40.0 * DAYS_PER_MONTH), 64.0 / 400.0]
    )
    for figure in (lambda done: done.granted["chat"], lambda done: done.month.own_utilisation):
        means = [np.mean([figure(done) for done in path[1:]]) for path in (whole, thin, thinnest)]
        assert means[1:] == pytest.approx([means[0]] * 2, rel=0.08)


def test_nodes_are_thinned_like_jobs_own_and_lent():
    """400 GPUs are wanted and 300 are there, 100 of them lent: nearly all in use, but for what fits no gang."""
    jobs = Jobs(gpus=[4.0], hours=[60.0], jobs_simulated=400.0)
    month = months(training(jobs), 9600.0, own=200.0, lent=lent_always(2400.0), count=2)[-1]

    assert month.granted["chat"][0] == pytest.approx(7200.0, rel=0.04)
    assert month.month.lent_utilisation[0] == pytest.approx(1.0, abs=0.1)


# In the model.


def test_with_jobs_a_fixed_budget_still_takes_back_exactly_what_is_saved():
    """R = 1: it wants the same GPU-hours with the shock and without, so the same jobs come at the same times."""
    arms = run_arms(on_fleet().central(), 0, "simpy")

    assert rebound_of(arms) == pytest.approx(1.0, abs=1e-9)
    assert arms["shock"][-1].regions[0].training.jobs_finished == arms["baseline"][-1].regions[0].training.jobs_finished
    assert arms["baseline"][-1].regions[0].training.jobs_finished > 0


def test_a_world_with_jobs_is_what_it_would_be_alone():
    scenario = on_fleet(stock=12.0).central()
    stack = run_stack(scenario, [0, 1, 2], "simpy")

    for number in range(3):
        assert identical(stack.world(number), run_arms(scenario, number, "simpy"))


def test_own_nodes_are_out_of_servings_reach():
    """Chat could use all 60 H100e; a quarter is training's own."""
    chat = segment(tokens_per_day=1e12)
    code = budget(jobs=JOBS.model_copy(update={"own_share": 0.25}), budget_usd_per_day=5_000.0)
    here = run_arms(world(chat, code, regions={"here": region(fleet(40.0))}).central(), 0, "simpy")["baseline"][
        0
    ].regions[0]

    assert here.serving_gpu_hours_per_day == pytest.approx(24.0 * 45.0)
    assert 24.0 * 11.0 <= here.budget_gpu_hours_per_day <= 24.0 * 15.0
    assert isnan(here.training.lent_utilisation)


def test_jobs_run_at_night_on_what_serving_has_switched_off():
    """The whole fleet serves at the peak, so all that training has is lent by the hour."""
    chat = segment(tokens_per_day=6e10, workload="talk")
    jobs = Jobs(gpus=[4.0], hours=[20.0])
    served = world(
        chat,
        budget(jobs=jobs),
        regions={"here": region(fleet(300.0))},
        serving=SERVING.model_copy(update={"lend_idle_nodes": True}),
        run={"resolution": 200, "sampled_minutes_per_hour": 1.0},
    )
    here = run_arms(served.central(), 0, "simpy")["baseline"][0].regions[0]

    assert here.budget_gpu_hours_per_day > 0.0
    assert 0.0 < here.training.lent_utilisation <= 1.0
    assert isnan(here.training.own_utilisation)
    total = here.serving_gpu_hours_per_day + here.budget_gpu_hours_per_day
    assert total <= 24.0 * here.powered_h100e * (1.0 + 1e-9)


def test_without_a_fleet_to_limit_them_jobs_do_not_wait():
    arms = run_arms(world(budget(jobs=JOBS), months=3).central(), 0, "simpy")
    month = arms["baseline"][-1].regions[0].training

    assert month.waiting_h == 0.0
    assert isnan(month.own_utilisation)


def test_budgets_without_jobs_get_what_the_jobs_leave():
    """60 H100e: jobs fill 48 of them, gangs of 48; the fluid takes the 12 left of the 30 it wants."""
    jobs = Jobs(gpus=[48.0], hours=[400.0])
    both = world(
        budget(jobs=jobs, budget_usd_per_day=10_000.0),
        budget(budget_usd_per_day=24.0 * 30.0 * 2.5),
        regions={"here": region(fleet(40.0))},
    )
    month = run_arms(both.central(), 0, "simpy")["baseline"][-1]

    assert month.segment("chat", "here").gpu_hours_per_day == pytest.approx(24.0 * 48.0)
    assert month.segment("code", "here").gpu_hours_per_day == pytest.approx(24.0 * 12.0)


def test_without_jobs_nothing_is_told_of_them():
    assert arms_of(on_fleet(None))["baseline"][0].regions[0].training is None


# Rules.

TEXT = """
name = "jobs"
[run]
start = 2025-01-01
months = 6
[shock]
date = 2025-03-01
efficiency_gain = 2.0
[segments.training]
tariff = "budget"
form = "budget"
budget_usd_per_day = 100.0
jobs = { gpus = [8.0, 64.0], hours = [10.0, 20.0], weight = [0.5, 0.5], own_share = 0.6 }
[segments.more]
tariff = "budget"
form = "budget"
budget_usd_per_day = 100.0
[segments.chat]
tokens_per_day = 1e9
[regions.here.rental]
price_usd_per_gpu_hour = 2.0
"""


def problems(old: str, new: str) -> list[tuple[str, str]]:
    """Key and message of what is wrong with the scenario after a change of its text."""
    assert old in TEXT
    try:
        loads(TEXT.replace(old, new, 1))
    except ScenarioError as error:
        return [(problem.key, problem.message) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("[0.5, 0.5]", "[0.5, 0.4]", "training.jobs.weight", "must add up to 1, not 0.9"),
        ("[10.0, 20.0]", "[10.0]", "training.jobs.hours", "must hold as many numbers as gpus, 2, not 1"),
        (
            "tokens_per_day = 1e9",
            "tokens_per_day = 1e9\njobs = { gpus = [1.0], hours = [1.0] }",
            "chat.jobs",
            "is for tariff 'budget' only",
        ),
        (
            "[segments.more]",
            "[segments.more]\njobs = { gpus = [8.0], hours = [1.0], own_share = 0.4 }",
            "more.jobs.own_share",
            "must leave serving some of the GPUs of 'here': together less than 1, not 1",
        ),
        (
            "[segments.more]",
            "[segments.more]\njobs = { gpus = [8.0], hours = [1.0], backfill = false }",
            "more.jobs.backfill",
            "must be as in segments.training.jobs, true: one scheduler places all jobs, not false",
        ),
    ],
)
def test_what_is_wrong_with_jobs_is_told(old, new, key, message):
    assert problems(old, new) == [(f"segments.{key}", message)]


def test_jobs_that_are_right_are_accepted():
    assert problems("name", "name") == []
