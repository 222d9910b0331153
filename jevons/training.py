"""Training in a region: what its budgets want becomes jobs, and the jobs get GPU-hours, month by month.

A budget that wants so many GPU-hours a day sends jobs as a Poisson process: its rate is what is wanted over the mean
GPU-hours of a job.  The jobs of a replication are the same in all arms, numbered and drawn once; an arm only decides
how fast they come.  What a month does not finish goes on into the next.

Of many small jobs a share is simulated, on the same share of the GPUs, as a served day is thinned; the largest job is
kept small against what is left, since gangs fit worse into a smaller cluster.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import Any, cast

import numpy as np

from jevons.gangs import Job, Kind, Nodes, Scheduled, schedule, slowdown_by_failures
from jevons.months import TrainingMonth
from jevons.randomness import Draws
from jevons.scenario import Jobs, Scenario
from jevons.serving import ServedDay
from jevons.stacks import PerWorld, larger, ratio, smaller, where
from jevons.units import (
    DAYS_PER_MONTH,
    HOURS_PER_DAY,
    MINUTES_PER_HOUR,
    WEEKDAYS_PER_WEEK,
    WEEKEND_DAYS_PER_WEEK,
)

HOURS_PER_MONTH = DAYS_PER_MONTH * HOURS_PER_DAY
#: Jobs are drawn this many at a time.
DRAWN_AT_ONCE = 256
#: A thinned cluster still has room for this many of the largest jobs.
FEWEST_LARGEST_JOBS = 16.0
#: Before the first month the cluster runs for this many times the longest mean duration, so that it starts in mid-flow.
WARM_UP_DURATIONS = 3.0


class Jobbing:
    """The jobs of a budget in a replication, in their order; they come on a clock that runs as fast as it wants."""

    def __init__(self, jobs: Jobs, draws: Draws) -> None:
        self.jobs, self.draws = jobs, draws
        #: When each comes, in mean gaps since the first could have; its GPUs; the hours it computes.
        self.clock: list[float] = []
        self.gpus: list[float] = []
        self.hours: list[float] = []

    def number_until(self, clock: float) -> int:
        """Number of the first job that comes after a time of the clock."""
        while not self.clock or self.clock[-1] <= clock:
            self._draw()
        return bisect_right(self.clock, clock)

    def _draw(self) -> None:
        first, n = len(self.clock), DRAWN_AT_ONCE
        gaps = self.draws.exponential("gap", n, first)
        sizes = np.searchsorted(np.cumsum(self.jobs.weight)[:-1], self.draws.uniform("size", n, first))
        luck = self.jobs.sigma * self.draws.normal("hours", n, first) - 0.5 * self.jobs.sigma**2
        self.clock += (np.cumsum(gaps) + (self.clock[-1] if self.clock else 0.0)).tolist()
        self.gpus += np.asarray(self.jobs.gpus)[sizes].tolist()
        self.hours += (np.asarray(slowed_hours(self.jobs))[sizes] * np.exp(luck)).tolist()


def slowed_hours(jobs: Jobs) -> list[float]:
    """Mean hours of a job of each size, failures included, shape (sizes,)."""
    return [hours * slowdown(jobs, gpus) for gpus, hours in zip(jobs.gpus, jobs.hours, strict=True)]


def slowdown(jobs: Jobs, gpus: float) -> float:
    """Mean time of a job of some GPUs over the time it computes."""
    if jobs.node_mtbf_days is None:
        return 1.0
    failures_per_h = gpus / jobs.gpus_per_node / (jobs.node_mtbf_days * HOURS_PER_DAY)
    return slowdown_by_failures(
        failures_per_h, jobs.checkpoint_minutes / MINUTES_PER_HOUR, jobs.restart_minutes / MINUTES_PER_HOUR
    )


def gpu_hours_of_a_job(jobs: Jobs) -> float:
    """Mean GPU-hours of a job, failures included, H100e."""
    return sum(w * n * h for w, n, h in zip(jobs.weight, jobs.gpus, slowed_hours(jobs), strict=True))


def lost_share_by_failures(jobs: Jobs) -> float:
    """Share of a job's GPU-hours that failures cost."""
    computed = sum(w * n * h for w, n, h in zip(jobs.weight, jobs.gpus, jobs.hours, strict=True))
    return 1.0 - computed / gpu_hours_of_a_job(jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What the jobs of a world carry from month to month."""

    #: Share of the jobs and of the GPUs that is simulated.
    share: float
    #: Time on the clock of each budget, shape (budgets,).
    clocks: tuple[float, ...]
    jobs: tuple[Job, ...] = ()


#: Backlogs of a region, shape (worlds,); empty before its first month.
Backlogs = tuple[Backlog, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A month of a region's jobs."""

    #: GPU-hours that each budget with jobs got, H100e a day; more than it wanted where it caught up.
    granted: Mapping[str, PerWorld]
    month: TrainingMonth
    backlogs: Backlogs


class RegionTraining:
    """The budgets of a region that buy jobs, and their scheduler."""

    def __init__(self, scenario: Scenario, region: str, segments: Sequence[str], replications: Sequence[int]) -> None:
        self.names = tuple(segments)
        self.jobs = [cast(Jobs, scenario.segments[name].jobs) for name in segments]
        self.kinds = tuple(_kind(jobs) for jobs in self.jobs)
        drawn = {
            one: [
                Jobbing(jobs, Draws(seed=scenario.run.seed, replication=one, place=("jobs", name, region)))
                for name, jobs in zip(segments, self.jobs, strict=True)
            ]
            for one in set(replications)
        }
        #: Jobs of each budget in each world, shape (worlds, budgets).
        self.jobbing = [drawn[one] for one in replications]
        #: Share of the powered GPUs that serving cannot have.
        self.own_share: PerWorld = sum(jobs.own_share for jobs in self.jobs)

    def month(
        self, wanted: Mapping[str, PerWorld], own: PerWorld, lent: Any, backlogs: Backlogs, *, draws_singly: bool
    ) -> Trained | None:
        """A month, job by job or in closed form; None before the first budget with jobs is in use.

        Parameters
        ----------
        wanted : mapping of segment to array_like, shape (worlds,), H100e-h/day
            What each budget of the region wants to buy, those in use.
        own, lent, backlogs
            As in `simulated`.
        draws_singly : bool
            Whether single jobs are simulated.
        """
        if not any(name in wanted for name in self.names):
            return None
        mine = {name: wanted.get(name, 0.0) for name in self.names}
        return (self.simulated if draws_singly else self.closed_form)(mine, own, lent, backlogs)

    def own_h100e(self, powered_h100e: PerWorld) -> PerWorld:
        """Training's own GPUs of those powered."""
        return where(np.greater(self.own_share, 0.0), powered_h100e, 0.0) * self.own_share

    def closed_form(self, wanted: Mapping[str, PerWorld], own: PerWorld, lent: Any, backlogs: Backlogs) -> Trained:
        """A month in closed form: what is wanted, as far as whole gangs of the smallest size fit into each hour.

        Nothing is carried on, and single jobs' waiting is not known.  Parameters and result as `simulated`.
        """
        smallest = min(min(jobs.gpus) for jobs in self.jobs)
        gpus = np.asarray(own)[..., None] + np.asarray(lent)
        with np.errstate(invalid="ignore"):
            held = np.where(gpus < inf, np.floor(gpus / smallest * (1.0 + 1e-12)) * smallest, inf)
        supplied, usable = (cast(float, HOURS_PER_DAY * part.mean(axis=-1)[()]) for part in (gpus, held))
        all_wanted: PerWorld = sum(wanted.values())
        granted = smaller(all_wanted, usable)
        share = ratio(granted, all_wanted, otherwise=1.0)
        own_hours = HOURS_PER_DAY * own
        of_own = smaller(granted, own_hours)
        by_name = {name: wanted[name] * share for name in self.names}
        is_short = np.greater(all_wanted, usable)
        return Trained(
            granted=by_name,
            month=TrainingMonth(
                waiting_h=nan,
                p95_waiting_h=nan,
                jobs_finished=DAYS_PER_MONTH * sum(
                    by_name[name] / gpu_hours_of_a_job(jobs) for name, jobs in zip(self.names, self.jobs, strict=True)
                ),
                jobs_given_up=nan,
                jobs_waiting=nan,
                lost_gpu_hours_per_day=sum(
                    by_name[name] * lost_share_by_failures(jobs)
                    for name, jobs in zip(self.names, self.jobs, strict=True)
                ),
                unusable_gpu_hours_per_day=where(is_short, where(is_short, supplied, 0.0) - granted, 0.0),
                own_utilisation=ratio(of_own, own_hours, otherwise=nan),
                lent_utilisation=ratio(granted - of_own, larger(_difference(supplied, own_hours), 0.0), otherwise=nan),
            ),
            backlogs=backlogs,
        )  # fmt: skip

    def simulated(self, wanted: Mapping[str, PerWorld], own: PerWorld, lent: Any, backlogs: Backlogs) -> Trained:
        """A month, job by job, in each world by itself.

        Parameters
        ----------
        wanted : mapping of segment to array_like, shape (worlds,), H100e-h/day
            What each budget wants to buy; nothing before its first month.
        own : array_like, shape (worlds,), H100e
            Training's own GPUs.
        lent : array_like, shape (worlds, hours of a week) or (hours of a week,), H100e
            GPUs that serving leaves in each hour.
        backlogs : tuple of Backlog, shape (worlds,)
            What the month before left over; empty in the first.
        """
        worlds = len(self.jobbing)
        columns = np.stack([np.broadcast_to(wanted[name], (worlds,)) for name in self.names], axis=1).tolist()
        owns = np.broadcast_to(own, (worlds,)).tolist()
        hourly = np.broadcast_to(lent, (worlds, np.shape(lent)[-1])).tolist()
        months = [
            self._month_of_world(world, columns[world], Nodes(own=owns[world], lent=tuple(hourly[world])), backlog)
            for world, backlog in enumerate(backlogs or [None] * worlds)
        ]
        figures = np.array([figures for figures, _ in months])
        budgets = len(self.names)
        return Trained(
            granted={name: cast(float, figures[:, i]) for i, name in enumerate(self.names)},
            month=TrainingMonth(**dict(zip(FIGURES, figures.T[budgets:], strict=True))),
            backlogs=tuple(backlog for _, backlog in months),
        )

    def _month_of_world(
        self, world: int, wanted: Sequence[float], nodes: Nodes, backlog: Backlog | None
    ) -> tuple[list[float], Backlog]:
        """GPU-hours that each budget got each day, then the figures of the month; and what is left over."""
        if backlog is None:
            backlog = self._opening(world, wanted, nodes)
        done, after = self._run(world, wanted, nodes, HOURS_PER_MONTH, backlog)
        return [held / DAYS_PER_MONTH / backlog.share for held in done.held_gpu_hours] + [
            _figures(done, backlog.share, nodes, self.jobs)[name] for name in FIGURES
        ], after

    def _opening(self, world: int, wanted: Sequence[float], nodes: Nodes) -> Backlog:
        """The jobs there are when the first month begins, had it always been like this."""
        backlog = Backlog(share=self._share(wanted), clocks=(0.0,) * len(self.jobs))
        longest = max(max(slowed_hours(jobs)) for jobs in self.jobs)
        # Whole weeks, so that the first month starts as all do.
        weeks = -int(-WARM_UP_DURATIONS * longest // len(nodes.lent))
        return self._run(world, wanted, nodes, float(weeks * len(nodes.lent)), backlog)[1]

    def _share(self, wanted: Sequence[float]) -> float:
        """Share of the jobs that is simulated."""
        each = [gpu_hours_of_a_job(jobs) for jobs in self.jobs]
        jobs_a_month = DAYS_PER_MONTH * sum(hours / one for hours, one in zip(wanted, each, strict=True))
        largest = FEWEST_LARGEST_JOBS * max(max(jobs.gpus) for jobs in self.jobs)
        gpus = sum(wanted) / HOURS_PER_DAY
        if not jobs_a_month > 0.0:
            return 1.0
        return min(1.0, max(self.jobs[0].jobs_simulated / jobs_a_month, largest / gpus))

    def _run(
        self, world: int, wanted: Sequence[float], nodes: Nodes, hours: float, backlog: Backlog
    ) -> tuple[Scheduled, Backlog]:
        arrivals: list[Job] = []
        clocks = []
        for kind, (jobbing, gpu_hours) in enumerate(zip(self.jobbing[world], wanted, strict=True)):
            per_h = backlog.share * gpu_hours / HOURS_PER_DAY / gpu_hours_of_a_job(self.jobs[kind])
            start, end = backlog.clocks[kind], backlog.clocks[kind] + per_h * hours
            for number in range(jobbing.number_until(start), jobbing.number_until(end)):
                computes = jobbing.hours[number]
                arrivals.append(
                    Job(
                        kind=kind,
                        gpus=jobbing.gpus[number],
                        hours=computes,
                        left_h=computes,
                        arrived_h=(jobbing.clock[number] - start) / per_h,
                    )
                )
            clocks.append(end)
        arrivals.sort(key=lambda job: job.arrived_h)
        done = schedule(
            arrivals,
            Nodes(own=backlog.share * nodes.own, lent=tuple(backlog.share * gpus for gpus in nodes.lent)),
            hours,
            kinds=self.kinds,
            before=backlog.jobs,
            backfill=self.jobs[0].backfill,
        )
        return done, replace(backlog, clocks=tuple(clocks), jobs=done.left)


def _kind(jobs: Jobs) -> Kind:
    return Kind(
        checkpoint_h=jobs.checkpoint_minutes / MINUTES_PER_HOUR,
        restart_h=jobs.restart_minutes / MINUTES_PER_HOUR,
        patience_h=inf if jobs.patience_hours is None else jobs.patience_hours,
    )


#: Figures of a `TrainingMonth`, in the order in which they are computed.
FIGURES = (
    "waiting_h", "p95_waiting_h", "jobs_finished", "jobs_given_up", "jobs_waiting", "lost_gpu_hours_per_day",
    "unusable_gpu_hours_per_day", "own_utilisation", "lent_utilisation",
)  # fmt: skip


def _figures(done: Scheduled, share: float, nodes: Nodes, jobs: Sequence[Jobs]) -> dict[str, float]:
    """Figures of a month of the true cluster."""
    failed = sum(
        (held - lost) * lost_share_by_failures(one)
        for held, lost, one in zip(done.held_gpu_hours, done.lost_gpu_hours, jobs, strict=True)
    )
    waits = sorted(done.waits_h)
    own, lent = nodes.own * done.hours, nodes.lent_gpu_hours(done.hours)
    per_day = 1.0 / share / DAYS_PER_MONTH
    return {
        "waiting_h": sum(waits) / len(waits) if waits else nan,
        "p95_waiting_h": waits[int(0.95 * len(waits))] if waits else nan,
        "jobs_finished": sum(done.finished) / share,
        "jobs_given_up": done.given_up / share,
        "jobs_waiting": sum(not job.is_running for job in done.left) / share,
        "lost_gpu_hours_per_day": (sum(done.lost_gpu_hours) + failed) * per_day,
        "unusable_gpu_hours_per_day": done.unusable_gpu_hours * per_day,
        "own_utilisation": done.own_gpu_hours / share / own if 0 < own < inf else nan,
        "lent_utilisation": done.lent_gpu_hours / share / lent if 0 < lent < inf else nan,
    }


def _difference(supplied: PerWorld, own_hours: PerWorld) -> PerWorld:
    """What is lent; nothing of a fleet without limit."""
    is_limited = np.less(supplied, inf)
    return where(is_limited, where(is_limited, supplied, 0.0) - where(is_limited, own_hours, 0.0), 0.0)


def granted(
    wanted: Mapping[str, PerWorld], idle_gpu_hours: PerWorld, trained: Trained | None
) -> tuple[dict[str, PerWorld], PerWorld]:
    """Share of what each budget wants that it gets, and GPU-hours that all get together.

    Budgets without jobs divide what the jobs leave, GPU-hours being a fluid to them.

    Parameters
    ----------
    wanted : mapping of segment to array_like, shape (...), H100e-h/day
    idle_gpu_hours : array_like, shape (...), H100e-h/day
        What serving leaves.
    trained : Trained, optional
        What the jobs got.
    """
    jobs = {} if trained is None else trained.granted
    of_jobs: PerWorld = sum(jobs.values())
    all_fluid: PerWorld = sum(hours for name, hours in wanted.items() if name not in jobs)
    fluid = smaller(all_fluid, idle_gpu_hours if trained is None else larger(idle_gpu_hours - of_jobs, 0.0))
    share = ratio(fluid, all_fluid, otherwise=1.0)
    shares = {
        name: ratio(jobs[name], hours, otherwise=1.0) if name in jobs else share for name, hours in wanted.items()
    }
    return shares, fluid + of_jobs


def lent_in_week(days: tuple[ServedDay, ...], gpus_per_node: float) -> Any:
    """GPUs that serving has switched off in each hour of a week from Monday on, shape (..., hours of a week)."""
    weekday, weekend = (gpus_per_node * np.asarray(day.idle_node_hours) for day in days)
    return np.concatenate([weekday] * WEEKDAYS_PER_WEEK + [weekend] * WEEKEND_DAYS_PER_WEEK, axis=-1)


def lent_always(idle_gpu_hours_per_day: PerWorld) -> Any:
    """GPUs that serving leaves, the same in every hour of a week, shape (..., hours of a week)."""
    hours = HOURS_PER_DAY * (WEEKDAYS_PER_WEEK + WEEKEND_DAYS_PER_WEEK)
    gpus = np.asarray(idle_gpu_hours_per_day)[..., None] / HOURS_PER_DAY
    return np.broadcast_to(gpus, (*gpus.shape[:-1], hours))
