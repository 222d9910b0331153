"""Gang scheduling: by hand, laws for any jobs and nodes, queueing theory, a published run."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import replace
from math import exp, inf, log, sqrt
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.gangs import Cluster, Job, Kind, Nodes, schedule, slowdown_by_failures
from jevons.queueing import mg1_mean_waiting_time_s, mmc_mean_waiting_time_s

PHILLY = Path(__file__).parents[2] / "shared" / "data" / "traces" / "philly_job_runtime_s.csv.gz"


def job(gpus: float, hours: float, arrived_h: float = 0.0, **changes) -> Job:
    """A job that has not started."""
    return Job(**{"gpus": gpus, "hours": hours, "left_h": hours, "arrived_h": arrived_h, **changes})


# By hand.


def test_a_gang_waits_until_all_its_gpus_are_free():
    """Of 4 GPUs 3 are taken until 10: one is free all the while, and the second gang of 2 waits."""
    done = schedule([job(3.0, 10.0), job(2.0, 5.0, 1.0)], Nodes(own=4.0), 30.0)

    assert done.waits_h == (0.0, 9.0)
    assert done.unusable_gpu_hours == 9.0
    assert done.held_gpu_hours == (40.0,)


LINE = [job(3.0, 10.0), job(4.0, 2.0, 1.0), job(1.0, 5.0, 2.0), job(1.0, 9.0, 2.5)]


def test_first_come_is_first_served():
    """A until 10, B on all until 12, then C and D."""
    assert schedule(LINE, Nodes(own=4.0), 30.0).waits_h == (0.0, 9.0, 10.0, 9.5)


def test_who_ends_before_the_turn_of_the_first_in_line_may_go_before_it():
    """C fits beside A and is over by 10, when B's turn is; D would not be over."""
    done = schedule(LINE, Nodes(own=4.0), 30.0, backfill=True)

    assert sorted(done.waits_h) == [0.0, 0.0, 9.0, 9.5]


def test_who_takes_nothing_that_the_first_in_line_needs_may_go_before_it_too():
    """At 10 B needs 4 of 5: D may have the fifth for as long as it likes."""
    done = schedule([job(4.0, 10.0), job(4.0, 2.0, 1.0), job(1.0, 99.0, 2.0)], Nodes(own=5.0), 20.0, backfill=True)

    assert sorted(done.waits_h) == [0.0, 0.0, 9.0]


def test_what_is_spare_beside_the_first_in_line_is_spare_once():
    """At 10 B needs 5 of 6: of the two GPUs free at 4 C has one for good, and D waits until B is done at 12."""
    line = [job(4.0, 10.0), job(2.0, 4.0), job(5.0, 2.0, 1.0), job(1.0, 99.0, 2.0), job(1.0, 99.0, 3.0)]
    done = schedule(line, Nodes(own=6.0), 20.0, backfill=True)

    assert sorted(done.waits_h) == [0.0, 0.0, 2.0, 9.0, 9.0]


def test_the_turn_of_the_first_in_line_comes_with_nodes_that_are_lent_later():
    """B needs 6, which there are from hour 4 on: who runs 3 h may start at 1, who runs 4 h may not."""
    nodes = Nodes(own=2.0, lent=(0.0,) * 4 + (4.0,) * 4)
    first = job(6.0, 1.0, 0.5)
    short, long = (schedule([first, job(2.0, hours, 1.0)], nodes, 8.0, backfill=True) for hours in (3.0, 4.0))

    assert sorted(short.waits_h) == [0.0, 3.5]
    assert sorted(long.waits_h) == [3.5, 4.0]


def test_lent_nodes_that_are_taken_back_stop_a_job_until_they_come_again():
    """4 GPUs by turns of 4 h: one lost since the checkpoint at 3; on at 8, half an hour to start, 3 to go."""
    nodes = Nodes(own=1.0, lent=(3.0,) * 4 + (0.0,) * 4)
    kind = Kind(checkpoint_h=3.0, restart_h=0.5)
    done = schedule([job(4.0, 6.0)], nodes, 12.0, kinds=[kind])

    assert (done.finished, done.preempted) == ((1,), 1)
    assert done.lost_gpu_hours == (4 * (1.0 + 0.5),)
    assert done.held_gpu_hours == (4 * (4.0 + 3.5),)
    assert (done.own_gpu_hours, done.lent_gpu_hours) == (7.5, 22.5)
    assert done.unusable_gpu_hours == 4.0


def test_those_who_started_last_go_back_first_and_to_the_head():
    nodes = Nodes(own=2.0, lent=(2.0,) * 4 + (0.0,) * 4)
    done = schedule([job(2.0, 9.0), job(2.0, 9.0, 1.0), job(2.0, 9.0, 2.0)], nodes, 7.0)

    assert [(left.gpus, left.left_h, left.is_running) for left in done.left] == [
        (2.0, 2.0, True), (2.0, 6.0, False), (2.0, 9.0, False),
    ]  # fmt: skip


def test_who_is_done_when_the_nodes_are_taken_back_is_not_stopped():
    nodes = Nodes(own=1.0, lent=(1.0,) * 4 + (0.0,) * 4)
    done = schedule([job(1.0, 4.0), job(1.0, 6.0, 1.0)], nodes, 7.0)

    assert (done.finished, done.preempted) == ((2,), 0)


def test_who_has_not_started_in_time_gives_up():
    done = schedule([job(1.0, 10.0), job(1.0, 1.0, 1.0)], Nodes(own=1.0), 20.0, kinds=[Kind(patience_h=3.0)])

    assert (done.finished, done.given_up) == ((1,), 1)
    assert done.time_inside_h == 10.0 + 3.0


def test_who_is_too_large_for_the_cluster_stands_in_nobodys_way():
    done = schedule([job(9.0, 1.0), job(1.0, 1.0, 1.0)], Nodes(own=4.0), 5.0)

    assert (done.finished, done.waits_h) == ((1,), (0.0,))
    assert [left.gpus for left in done.left] == [9.0]
    assert done.unusable_gpu_hours == 0.0


def test_without_a_limit_nobody_waits():
    done = schedule([job(1e6, 3.0, 0.25 * n) for n in range(40)], Nodes(own=inf), 20.0)

    assert done.waits_h == (0.0,) * 40


# Laws.

QUARTERS = st.integers(1, 60).map(lambda n: n / 4)
KINDS = st.builds(Kind, checkpoint_h=st.sampled_from([0.0, 0.5, 3.0]), restart_h=st.sampled_from([0.0, 0.25, 1.0]))
NODES = st.builds(
    Nodes,
    own=st.integers(0, 12).map(float),
    lent=st.lists(st.integers(0, 8).map(float), min_size=1, max_size=8).map(tuple),
)


@st.composite
def arrivals(draw: st.DrawFn) -> list[Job]:
    """Jobs of two kinds, no two at one time."""
    drawn = draw(st.lists(st.tuples(st.integers(1, 14), QUARTERS, QUARTERS, st.integers(0, 1)), max_size=25))
    jobs = [job(float(n), h, at + i / 1024, kind=kind) for i, (n, h, at, kind) in enumerate(drawn)]
    return sorted(jobs, key=lambda one: one.arrived_h)


class Watched(Cluster):
    """A cluster that looks at itself whenever time has passed."""

    looks = 0

    def _account(self, now: float) -> None:
        hours = range(int(self.since_h + 1e-9), max(int(np.ceil(now - 1e-9)), int(self.since_h) + 1))
        assert all(self.used <= self.capacity[hour % len(self.capacity)] for hour in hours if now > self.since_h)
        assert self.used == sum(gang.gpus for gang in self.running)
        assert not set(self.running) & {*self.line, *self.aside}
        self.looks += 1
        super()._account(now)


@given(jobs=arrivals(), nodes=NODES, kinds=st.tuples(KINDS, KINDS), backfill=st.booleans())
def test_no_more_gpus_are_in_use_than_there_are_and_a_gang_has_all_or_none(jobs, nodes, kinds, backfill):
    cluster = Watched(nodes, kinds, backfill)
    cluster.open((), jobs)
    cluster.clock.run(until=40.0)

    cluster.close(40.0)
    assert cluster.looks > 0


@given(jobs=arrivals(), nodes=NODES, kinds=st.tuples(KINDS, KINDS), backfill=st.booleans())
def test_work_is_conserved(jobs, nodes, kinds, backfill):
    """What is held is what finished, what is under way, and what is lost: Little's law is checked inside."""
    done = schedule(jobs, nodes, 40.0, kinds=kinds, backfill=backfill)
    went_in = sum(one.gpus * one.hours for one in jobs)
    to_go = sum(one.gpus * one.left_h for one in done.left)

    assert sum(done.held_gpu_hours) == pytest.approx(went_in - to_go + sum(done.lost_gpu_hours))
    assert sum(done.finished) + len(done.left) == len(jobs)
    assert sum(done.held_gpu_hours) == pytest.approx(done.own_gpu_hours + done.lent_gpu_hours)


@given(jobs=arrivals(), nodes=NODES, kinds=st.tuples(KINDS, KINDS), backfill=st.booleans())
def test_no_more_is_granted_than_is_wanted_or_than_there_is(jobs, nodes, kinds, backfill):
    done = schedule(jobs, nodes, 40.0, kinds=kinds, backfill=backfill)
    wanted, lost = sum(one.gpus * one.hours for one in jobs), sum(done.lost_gpu_hours)
    supplied = nodes.own * 40.0 + nodes.lent_gpu_hours(40.0)

    assert sum(done.held_gpu_hours) <= wanted + lost + 1e-6
    assert sum(done.held_gpu_hours) + done.unusable_gpu_hours <= supplied + 1e-6
    assert done.own_gpu_hours <= nodes.own * 40.0 + 1e-6


@given(jobs=arrivals(), nodes=NODES, kinds=st.tuples(KINDS, KINDS))
def test_two_periods_are_one(jobs, nodes, kinds):
    """What a period leaves over goes on in the next as if there were no border."""
    first, second = float(2 * len(nodes.lent)), 40.0
    earlier = [one for one in jobs if one.arrived_h < first]
    later = [replace(one, arrived_h=one.arrived_h - first) for one in jobs if one.arrived_h >= first]
    kinds = tuple(replace(kind, patience_h=9.0625) for kind in kinds)
    whole = schedule(jobs, nodes, first + second, kinds=kinds)
    one = schedule(earlier, nodes, first, kinds=kinds)
    two = schedule(later, nodes, second, kinds=kinds, before=one.left)

    for name in ("held_gpu_hours", "lost_gpu_hours", "finished"):
        assert np.add(getattr(one, name), getattr(two, name)) == pytest.approx(getattr(whole, name), abs=1e-6), name
    assert one.preempted + two.preempted == whole.preempted
    assert one.given_up + two.given_up == whole.given_up
    assert (*one.waits_h, *two.waits_h) == pytest.approx(whole.waits_h)
    assert one.time_inside_h + two.time_inside_h == pytest.approx(whole.time_inside_h)


class Noting(Cluster):
    """A cluster that notes when who starts."""

    def __init__(self, own: float) -> None:
        super().__init__(Nodes(own=own), (Kind(), Kind()), backfill=True)
        self.starts: dict[float, float] = {}

    def _start(self, gang, now):
        self.starts[gang.arrived_h] = now
        super()._start(gang, now)


def starts(jobs: Sequence[Job], own: float) -> dict[float, float]:
    """When each job starts, by its arrival."""
    cluster = Noting(own)
    cluster.open((), jobs)
    cluster.clock.run(until=1e4)
    return cluster.starts


@given(jobs=arrivals(), own=st.integers(1, 14).map(float))
@settings(max_examples=40)
def test_whoever_comes_later_does_not_put_off_the_first_in_line(jobs, own):
    """Who finds nobody in line starts when it would have if nobody had come after it."""
    jobs = [one for one in jobs if one.gpus <= own]
    everybody = starts(jobs, own)
    for number, one in enumerate(jobs):
        ahead = jobs[: number + 1]
        alone = starts(ahead, own)
        if all(alone[other.arrived_h] < one.arrived_h for other in ahead[:-1]):
            assert everybody[one.arrived_h] == alone[one.arrived_h]


# Theory.


def long_run_waits(rng: np.random.Generator, rate: float, gpus: float, own: float, hours: np.ndarray) -> float:
    """Mean waiting of Poisson arrivals after a warm-up of a fifth of them."""
    times = rng.exponential(1.0 / rate, len(hours)).cumsum()
    jobs = [job(gpus, length, at) for at, length in zip(times.tolist(), hours.tolist(), strict=True)]
    done = schedule(jobs, Nodes(own=own), float(times[-1]))
    return float(np.mean(done.waits_h[len(jobs) // 5 :]))


def agrees(waits: Sequence[float], expected: float) -> bool:
    """Whether the mean of some replications is the expected one, to four standard errors."""
    return bool(abs(np.mean(waits) - expected) < 4.0 * np.std(waits, ddof=1) / sqrt(len(waits)))


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (5, 0.8)])
def test_gangs_of_one_wait_as_in_erlangs_queue(servers, load):
    rng = np.random.default_rng(7)
    rate = load * servers / 2.5
    waits = [long_run_waits(rng, rate, 1.0, servers, rng.exponential(2.5, 3000)) for _ in range(8)]

    assert agrees(waits, mmc_mean_waiting_time_s(rate, 2.5, servers))


def test_gangs_of_all_nodes_wait_as_for_a_single_server():
    """M/M/1, whatever the number of nodes."""
    rng = np.random.default_rng(8)
    waits = [long_run_waits(rng, 0.7 / 2.5, 32.0, 32.0, rng.exponential(2.5, 3000)) for _ in range(8)]

    assert agrees(waits, mmc_mean_waiting_time_s(0.7 / 2.5, 2.5, 1))


def test_lognormal_gangs_of_all_nodes_wait_as_pollaczek_and_khinchine_say():
    rng = np.random.default_rng(9)
    sigma = 0.8
    waits = [
        long_run_waits(rng, 0.6 / 2.5, 8.0, 8.0, 2.5 * rng.lognormal(-0.5 * sigma**2, sigma, 3000)) for _ in range(8)
    ]

    assert agrees(waits, mg1_mean_waiting_time_s(0.6 / 2.5, 2.5, exp(sigma**2) - 1.0))


def test_gangs_fit_worse_than_what_they_are_made_of():
    """On 10 GPUs gangs of 6 leave 4 idle: the same work saturates a cluster of which it would need 90 %."""
    rng = np.random.default_rng(10)
    times = rng.exponential(2.5 * 6 / 9, 2000).cumsum()
    hours = float(times[-1])
    done = schedule([job(6.0, 2.5, at) for at in times.tolist()], Nodes(own=10.0), hours)

    assert done.held_gpu_hours[0] / hours == pytest.approx(6.0, rel=0.01)
    assert done.unusable_gpu_hours / hours == pytest.approx(4.0, rel=0.01)


def test_failures_cost_half_an_interval_and_a_restart_each():
    """For failures that are rare in an interval, to the first order."""
    assert slowdown_by_failures(1e-4, 0.5, 0.2) == pytest.approx(1.0 + 1e-4 * (0.25 + 0.2), rel=1e-7)
    assert slowdown_by_failures(0.0, 0.5, 0.2) == 1.0
    assert slowdown_by_failures(0.04, 0.0, 0.2) == pytest.approx(1.008)


def test_the_mean_over_failures_is_what_failing_jobs_take():
    """One interval after the other, each started anew until it is through: 20,000 intervals."""
    rng = np.random.default_rng(11)
    rate, interval, restart = 0.5, 0.7, 0.3
    taken = []
    for _ in range(20_000):
        hours = 0.0
        while (fails_after := rng.exponential(1.0 / rate)) < interval:
            hours += fails_after + restart
        taken.append((hours + interval) / interval)

    assert agrees(taken, slowdown_by_failures(rate, interval, restart))


# A published run: DeepSeek V3, 2,048 H800 and 2.788 million GPU-hours at 2 USD (arXiv 2412.19437).

V3_GPUS, V3_GPU_HOURS = 2048.0, 2.788e6


def test_the_run_of_deepseek_v3():
    """57 days on exactly its GPUs, 5.576 million USD."""
    hours = V3_GPU_HOURS / V3_GPUS
    done = schedule([job(V3_GPUS, hours)], Nodes(own=V3_GPUS), hours)

    assert done.finished == (1,)
    assert hours / 24.0 == pytest.approx(56.7, abs=0.05)
    assert 2.0 * sum(done.held_gpu_hours) == pytest.approx(5.576e6)


def test_the_run_of_deepseek_v3_with_the_failures_of_llama_3():
    """419 interruptions in 54 days on 16,384 GPUs: 264 days for a node of eight, 55 in the run, half an hour each."""
    mtbf_h = 54.0 * 24.0 * (16384 / 8) / 419
    slow = slowdown_by_failures(V3_GPUS / 8 / mtbf_h, checkpoint_h=0.5, restart_h=0.25)
    hours = V3_GPU_HOURS / V3_GPUS

    assert mtbf_h / 24.0 == pytest.approx(264.0, rel=0.001)
    assert hours * V3_GPUS / 8 / mtbf_h == pytest.approx(55.0, abs=0.1)
    assert (slow - 1.0) * hours == pytest.approx(55.0 * 0.5, rel=0.02)
    assert slow == pytest.approx(1.0203, abs=0.0002)


@pytest.mark.skipif(not PHILLY.exists(), reason="the run times of Philly are not there")
def test_run_times_of_a_real_cluster_are_about_lognormal():
    """Philly's 83,152 (Jeon et al. 2019): the spread that mean over median tells is that of the logarithms."""
    with gzip.open(PHILLY, "rt") as lines:
        hours = np.array([float(row["runtime"]) / 3600.0 for row in csv.DictReader(lines)])
    hours = hours[hours > 0.0]
    sigma = float(np.log(hours).std())

    assert sqrt(2.0 * log(hours.mean() / np.median(hours))) == pytest.approx(sigma, rel=0.05)
    p95 = hours.mean() * exp(sigma * NormalDist().inv_cdf(0.95) - 0.5 * sigma**2)
    assert p95 == pytest.approx(float(np.quantile(hours, 0.95)), rel=0.05)
