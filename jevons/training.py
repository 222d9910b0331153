"""Training in a region: what its budgets want becomes jobs, and the jobs get GPU-hours, month by month.

A budget that wants so many GPU-hours a day sends jobs as a Poisson process: its rate is what is wanted over the mean
GPU-hours of a job.  The jobs of a replication are the same in all arms, numbered and drawn once; an arm only decides
how fast they come.  What a month does not finish goes on into the next.

Of many small jobs a share is simulated, on the same share of the GPUs, as a served day is thinned; the largest job is
kept small against what is left, since gangs fit worse into a smaller cluster.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, inf, nan
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
    log_growth_per_month,
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
        #: When each comes, in mean gaps since the first could have.
        self.clock: list[float] = []
        #: Number of its size, and the hours it computes.
        self.size: list[int] = []
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
        self.size += sizes.tolist()
        self.hours += (np.asarray(self.jobs.hours)[sizes] * np.exp(luck)).tolist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a budget's jobs in a month."""

    #: GPUs, mean hours computed, and time taken for each of them, failures included, shape (sizes,).
    gpus: tuple[float, ...]
    hours: tuple[float, ...]
    slowdown: tuple[float, ...]
    weight: tuple[float, ...]

    @classmethod
    def of(cls, jobs: Jobs, month: float) -> Sizes:
        """The sizes that jobs have grown to by a month."""
        growth = exp(float(log_growth_per_month(jobs.gpus_growth_per_year)) * month)
        gpus = tuple(growth * one for one in jobs.gpus)
        return cls(
            gpus=gpus,
            hours=tuple(jobs.hours),
            slowdown=tuple(slowdown(jobs, one) for one in gpus),
            weight=tuple(jobs.weight),
        )

    @property
    def computed_gpu_hours(self) -> float:
        """Mean GPU-hours that a job computes, H100e."""
        return sum(w * n * h for w, n, h in zip(self.weight, self.gpus, self.hours, strict=True))

    @property
    def gpu_hours(self) -> float:
        """Mean GPU-hours that a job takes, failures included, H100e."""
        slowed = (h * s for h, s in zip(self.hours, self.slowdown, strict=True))
        return sum(w * n * h for w, n, h in zip(self.weight, self.gpus, slowed, strict=True))

    @property
    def lost_share(self) -> float:
        """Share of the GPU-hours that failures cost."""
        return 1.0 - self.computed_gpu_hours / self.gpu_hours


def slowdown(jobs: Jobs, gpus: float) -> float:
    """Mean time of a job of some GPUs over the time it computes."""
    if jobs.node_mtbf_days is None:
        return 1.0
    failures_per_h = gpus / jobs.gpus_per_node / (jobs.node_mtbf_days * HOURS_PER_DAY)
    return slowdown_by_failures(
        failures_per_h, jobs.checkpoint_minutes / MINUTES_PER_HOUR, jobs.restart_minutes / MINUTES_PER_HOUR
    )


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
        self,
        number: int,
        wanted: Mapping[str, PerWorld],
        own: PerWorld,
        lent: Any,
        backlogs: Backlogs,
        *,
        draws_singly: bool,
    ) -> Trained | None:
        """A month, job by job or in closed form; None before the first budget with jobs is in use.

        Parameters
        ----------
        number : int
            The month's.
        wanted : mapping of segment to array_like, shape (worlds,), H100e-h/day
            What each budget of the region wants to buy, those in use.
        own : array_like, shape (worlds,), H100e
            Training's own GPUs.
        lent : array_like, shape (worlds, hours of a week) or (hours of a week,), H100e
            GPUs that serving leaves in each hour.
        backlogs : tuple of Backlog, shape (worlds,)
            What the month before left over; empty in the first.
        draws_singly : bool
            Whether single jobs are simulated.
        """
        if not any(name in wanted for name in self.names):
            return None
        mine = {name: wanted.get(name, 0.0) for name in self.names}
        sizes = [Sizes.of(jobs, number) for jobs in self.jobs]
        if draws_singly:
            return self._simulated(sizes, mine, own, lent, backlogs)
        return self._closed_form(sizes, mine, own, lent, backlogs)

    def own_h100e(self, powered_h100e: PerWorld) -> PerWorld:
        """Training's own GPUs of those powered."""
        return where(np.greater(self.own_share, 0.0), powered_h100e, 0.0) * self.own_share

    def _closed_form(
        self, sizes: Sequence[Sizes], wanted: Mapping[str, PerWorld], own: PerWorld, lent: Any, backlogs: Backlogs
    ) -> Trained:
        """What is wanted, as far as whole gangs of the smallest size fit into each hour.

        Nothing is carried on, and single jobs' waiting is not known.
        """
        smallest = min(min(one.gpus) for one in sizes)
        gpus = np.asarray(own)[..., None] + np.asarray(lent)
        is_limited = gpus < inf
        held = np.where(is_limited, np.floor(np.where(is_limited, gpus, 0.0) / smallest + 1e-9) * smallest, inf)
        supplied, usable = (cast(float, HOURS_PER_DAY * part.mean(axis=-1)[()]) for part in (gpus, held))
        all_wanted: PerWorld = sum(wanted.values())
        granted = smaller(all_wanted, usable)
        share = ratio(granted, all_wanted, otherwise=1.0)
        by_name = {name: hours * share for name, hours in wanted.items()}
        finished = sum(by_name[name] / one.gpu_hours for name, one in zip(self.names, sizes, strict=True))
        of_own = smaller(granted, HOURS_PER_DAY * own)
        is_short = np.greater(all_wanted, usable)
        return Trained(
            granted=by_name,
            month=TrainingMonth(
                waiting_h=nan,
                p95_waiting_h=nan,
                jobs_finished=DAYS_PER_MONTH * finished,
                jobs_given_up=nan,
                jobs_waiting=nan,
                lost_gpu_hours_per_day=sum(
                    by_name[name] * one.lost_share for name, one in zip(self.names, sizes, strict=True)
                ),
                unusable_gpu_hours_per_day=where(is_short, where(is_short, supplied, 0.0) - granted, 0.0),
                own_utilisation=_share_of(of_own, HOURS_PER_DAY * own),
                lent_utilisation=_share_of(granted - of_own, HOURS_PER_DAY * np.asarray(lent).mean(axis=-1)),
            ),
            backlogs=backlogs,
        )

    def _simulated(
        self, sizes: Sequence[Sizes], wanted: Mapping[str, PerWorld], own: PerWorld, lent: Any, backlogs: Backlogs
    ) -> Trained:
        """Job by job, each world by itself."""
        worlds, budgets = len(self.jobbing), len(self.names)
        columns = np.stack([np.broadcast_to(wanted[name], (worlds,)) for name in self.names], axis=1).tolist()
        owns = np.broadcast_to(own, (worlds,)).tolist()
        hourly = np.broadcast_to(lent, (worlds, np.shape(lent)[-1])).tolist()
        rows, after = [], []
        for world in range(worlds):
            nodes = Nodes(own=owns[world], lent=tuple(hourly[world]))
            backlog = backlogs[world] if backlogs else self._opening(world, sizes, columns[world], nodes)
            done, left = self._run(world, sizes, columns[world], nodes, HOURS_PER_MONTH, backlog)
            held = [hours / DAYS_PER_MONTH / backlog.share for hours in done.held_gpu_hours]
            rows.append([*held, *_figures(done, backlog.share, nodes, sizes).values()])
            after.append(left)
        figures = np.array(rows).T
        return Trained(
            granted={name: cast(float, figures[number]) for number, name in enumerate(self.names)},
            month=TrainingMonth(**dict(zip(FIGURES, figures[budgets:], strict=True))),
            backlogs=tuple(after),
        )

    def _opening(self, world: int, sizes: Sequence[Sizes], wanted: Sequence[float], nodes: Nodes) -> Backlog:
        """The jobs there are when the first month begins, had it always been like this."""
        backlog = Backlog(share=self._share(sizes, wanted), clocks=(0.0,) * len(sizes))
        longest = max(hours * slow for one in sizes for hours, slow in zip(one.hours, one.slowdown, strict=True))
        # Whole weeks, so that the first month starts on a Monday as all do.
        week = len(nodes.lent)
        hours = week * ceil(WARM_UP_DURATIONS * longest / week)
        return self._run(world, sizes, wanted, nodes, float(hours), backlog)[1]

    def _share(self, sizes: Sequence[Sizes], wanted: Sequence[float]) -> float:
        """Share of the jobs that is simulated."""
        jobs = DAYS_PER_MONTH * sum(hours / one.gpu_hours for hours, one in zip(wanted, sizes, strict=True))
        if not jobs > 0.0:
            return 1.0
        largest = FEWEST_LARGEST_JOBS * max(max(one.gpus) for one in sizes)
        return min(1.0, max(self.jobs[0].jobs_simulated / jobs, largest / (sum(wanted) / HOURS_PER_DAY)))

    def _run(
        self,
        world: int,
        sizes: Sequence[Sizes],
        wanted: Sequence[float],
        nodes: Nodes,
        hours: float,
        backlog: Backlog,
    ) -> tuple[Scheduled, Backlog]:
        """A period of a world."""
        rates = [
            backlog.share * gpu_hours / HOURS_PER_DAY / one.gpu_hours
            for gpu_hours, one in zip(wanted, sizes, strict=True)
        ]
        clocks = tuple(start + rate * hours for start, rate in zip(backlog.clocks, rates, strict=True))
        arrivals = [
            job
            for kind, rate in enumerate(rates)
            if rate > 0.0
            for job in _jobs_between(
                self.jobbing[world][kind], kind, sizes[kind], backlog.clocks[kind], clocks[kind], rate
            )
        ]
        done = schedule(
            sorted(arrivals, key=lambda job: job.arrived_h),
            Nodes(own=backlog.share * nodes.own, lent=tuple(backlog.share * gpus for gpus in nodes.lent)),
            hours,
            kinds=self.kinds,
            before=backlog.jobs,
            backfill=self.jobs[0].backfill,
        )
        return done, replace(backlog, clocks=clocks, jobs=done.left)


def _jobs_between(
    jobbing: Jobbing, kind: int, sizes: Sizes, start: float, end: float, rate_per_h: float
) -> Iterator[Job]:
    """The jobs that come between two times of their clock, which runs at a rate."""
    for number in range(jobbing.number_until(start), jobbing.number_until(end)):
        size = jobbing.size[number]
        hours = jobbing.hours[number] * sizes.slowdown[size]
        arrived_h = (jobbing.clock[number] - start) / rate_per_h
        yield Job(kind=kind, gpus=sizes.gpus[size], hours=hours, left_h=hours, arrived_h=arrived_h)


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


def _figures(done: Scheduled, share: float, nodes: Nodes, sizes: Sequence[Sizes]) -> dict[str, float]:
    """Figures of a month of the true cluster."""
    failed = sum(
        (held - lost) * one.lost_share
        for held, lost, one in zip(done.held_gpu_hours, done.lost_gpu_hours, sizes, strict=True)
    )
    waits = sorted(done.waits_h)
    own, lent = nodes.own * done.hours, nodes.lent_gpu_hours(done.hours)
    per_day = 1.0 / share / DAYS_PER_MONTH
    figures = (
        sum(waits) / len(waits) if waits else nan,
        waits[int(0.95 * len(waits))] if waits else nan,
        sum(done.finished) / share,
        done.given_up / share,
        sum(not job.is_running for job in done.left) / share,
        (sum(done.lost_gpu_hours) + failed) * per_day,
        done.unusable_gpu_hours * per_day,
        done.own_gpu_hours / share / own if 0.0 < own < inf else nan,
        done.lent_gpu_hours / share / lent if 0.0 < lent < inf else nan,
    )
    return dict(zip(FIGURES, figures, strict=True))


def _share_of(part: PerWorld, whole: PerWorld) -> PerWorld:
    """Part of a whole; NaN of none and of one without limit."""
    is_proper = np.greater(whole, 0.0) & np.less(whole, inf)
    return where(is_proper, part / where(is_proper, whole, 1.0), nan)


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
