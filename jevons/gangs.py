"""Gang scheduling on a SimPy clock: a job starts when all its GPUs are free at once, and not before.

First come, first served; with backfilling later jobs may start on what is free, as long as the first in line is not
put off by them (EASY [1]_).  Nodes are training's own, or lent by the hour: when lent ones are taken back, the jobs
that started last go back to the head of the line and lose what they computed since their last checkpoint.

Times are hours; GPUs may be a thinned share of a true cluster's.

References
----------
.. [1] D. A. Lifka, "The ANL/IBM SP scheduling system", Job Scheduling Strategies for Parallel Processing, LNCS 949,
   Springer, 1995, 295-303.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import expm1, inf

import simpy

#: Relative difference that rounding of the clock and of sums explains.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the jobs of one owner have in common."""

    #: Time between two checkpoints; 0 loses nothing.
    checkpoint_h: float = 0.0
    #: Time to start again after having been stopped.
    restart_h: float = 0.0
    #: A job that has not started after this is given up.
    patience_h: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A gang: so many GPUs for so long, all at once."""

    gpus: float
    #: Time that it computes if never stopped.
    hours: float
    #: From the start of the period; negative if it came before.
    arrived_h: float
    #: What is still to be computed.
    left_h: float
    kind: int = 0
    #: Time to start again that is still to be spent.
    restart_h: float = 0.0
    has_started: bool = False
    is_running: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """GPUs of a cluster: its own, and those lent to it in each hour of a cycle that repeats from the period's start."""

    own: float
    lent: tuple[float, ...] = (0.0,)

    def lent_gpu_hours(self, hours: float) -> float:
        """GPU-hours that are lent in so many hours from the start."""
        cycles, rest = divmod(hours, len(self.lent))
        whole = int(rest)
        part = (rest - whole) * self.lent[whole] if rest > whole else 0.0
        return cycles * sum(self.lent) + sum(self.lent[:whole]) + part


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """What came of a period.

    GPU-hours held are those of the jobs' progress and those lost: computed again after a checkpoint, or spent on
    starting again.
    """

    hours: float
    #: GPU-hours that the jobs of each kind held, shape (kinds,), and of all of them those lost.
    held_gpu_hours: tuple[float, ...]
    lost_gpu_hours: tuple[float, ...]
    #: Of those held, the ones on own and on lent nodes: own ones are taken first.
    own_gpu_hours: float
    lent_gpu_hours: float
    #: Idle while a job waited that the cluster could hold if it were empty.
    unusable_gpu_hours: float
    finished: tuple[int, ...]
    preempted: int
    given_up: int
    #: Time from arrival to first start, of the jobs that started, in their order.
    waits_h: tuple[float, ...]
    #: Area under the number of jobs inside, and time spent there by all, job-hours.
    number_area_h: float
    time_inside_h: float
    #: What goes on into the next period: running ones in order of their start, then those in line.
    left: tuple[Job, ...]


def schedule(
    arrivals: Sequence[Job],
    nodes: Nodes,
    hours: float,
    *,
    kinds: Sequence[Kind] = (Kind(),),
    before: Sequence[Job] = (),
    backfill: bool = False,
) -> Scheduled:
    """Run the jobs of a period on a cluster.

    Parameters
    ----------
    arrivals : sequence of Job
        Those that come within the period, in order of their arrival.
    nodes : Nodes
    hours : float, h
        Length of the period.
    kinds : sequence of Kind
        What the jobs' `kind` is an index of.
    before : sequence of Job
        What a period before left over (`Scheduled.left`).
    backfill : bool
        Whether jobs may overtake the first in line where that does not put it off.

    Returns
    -------
    Scheduled

    Raises
    ------
    AssertionError
        If Little's law does not hold, or GPU-hours or work got lost on the way: a fault of the scheduler.

    Examples
    --------
    Two jobs of two GPUs for three hours, on three GPUs: the second waits for the first.

    >>> job = Job(gpus=2.0, hours=3.0, arrived_h=0.0, left_h=3.0)
    >>> schedule([job, job], Nodes(own=3.0), 10.0).waits_h
    (0.0, 3.0)
    """
    cluster = Cluster(nodes, kinds, backfill)
    cluster.open(before, arrivals)
    cluster.clock.run(until=hours)
    return cluster.close(hours)


class Gang:
    """A job in the cluster."""

    __slots__ = (
        "arrived_h", "ends_h", "entered_h", "gpus", "has_started", "hours", "is_inside", "is_running", "kind",
        "left_h", "restart_h", "runs", "since_h",
    )  # fmt: skip

    def __init__(self, job: Job, entered_h: float) -> None:
        self.kind, self.gpus, self.hours, self.arrived_h = job.kind, job.gpus, job.hours, job.arrived_h
        self.left_h, self.restart_h, self.has_started = job.left_h, job.restart_h, job.has_started
        self.entered_h = entered_h
        self.is_inside, self.is_running = True, False
        #: How often it has been started: a timer of an earlier run counts no more.
        self.runs = 0
        self.since_h, self.ends_h = 0.0, inf

    def job(self, hours: float) -> Job:
        """The job as the next period finds it, which starts at `hours` of this one."""
        return Job(
            kind=self.kind, gpus=self.gpus, hours=self.hours, arrived_h=self.arrived_h - hours, left_h=self.left_h,
            restart_h=self.restart_h, has_started=self.has_started, is_running=self.is_running,
        )  # fmt: skip


class Cluster:
    """Nodes, a line of jobs, and the rule by which they meet."""

    def __init__(self, nodes: Nodes, kinds: Sequence[Kind], backfill: bool) -> None:
        self.clock = simpy.Environment()
        self.nodes, self.kinds, self.backfill = nodes, kinds, backfill
        self.capacity = tuple(nodes.own + lent for lent in nodes.lent)
        self.lowest, self.highest = min(self.capacity), max(self.capacity)
        #: GPU-hours of the cycle before each of its hours.
        self.supplied = (0.0, *accumulate(self.capacity))
        self.coming: deque[Job] = deque()
        self.line: list[Gang] = []
        #: Too large for the cluster as it is: they stand in nobody's way.
        self.aside: list[Gang] = []
        self.running: dict[Gang, None] = {}
        self.used = 0.0
        self.inside = 0
        self.alarms, self.alarm_h = 0, inf
        self.since_h = 0.0
        # What is counted.
        self.held = [0.0] * len(kinds)
        self.lost = [0.0] * len(kinds)
        self.finished = [0] * len(kinds)
        self.own_gpu_hours = self.used_gpu_hours = self.unusable_gpu_hours = 0.0
        self.number_area_h = self.time_inside_h = self.progress_gpu_hours = 0.0
        self.preempted = self.given_up = 0
        self.waits_h: list[float] = []

    # The period.

    def open(self, before: Sequence[Job], arrivals: Sequence[Job]) -> None:
        """Put in place what was left over, and wait for what comes."""
        for job in before:
            gang = self._enter(job, 0.0)
            if job.is_running:
                self._start(gang, 0.0)
            else:
                self._queue(gang)
        self._dispatch(0.0)
        self.coming.extend(arrivals)
        self._await_arrival()

    def close(self, hours: float) -> Scheduled:
        """The account of the period."""
        self._account(hours)
        # SimPy stops before what happens at the end itself.
        for gang in [gang for gang in self.running if gang.ends_h <= hours]:
            self._finish(gang, hours)
        for gang in self.running:
            self._settle(gang, hours)
        while self.coming:
            self._queue(self._enter(self.coming.popleft(), hours))
        waiting = [*self.line, *self.aside]
        stopped = [gang for gang in waiting if gang.has_started]
        new = sorted((gang for gang in waiting if not gang.has_started), key=lambda gang: gang.arrived_h)
        left = [*self.running, *stopped, *new]
        self.time_inside_h += sum(hours - gang.entered_h for gang in left)
        self._check()
        return Scheduled(
            hours=hours,
            held_gpu_hours=tuple(self.held),
            lost_gpu_hours=tuple(self.lost),
            own_gpu_hours=self.own_gpu_hours,
            lent_gpu_hours=self.used_gpu_hours - self.own_gpu_hours,
            unusable_gpu_hours=self.unusable_gpu_hours,
            finished=tuple(self.finished),
            preempted=self.preempted,
            given_up=self.given_up,
            waits_h=tuple(self.waits_h),
            number_area_h=self.number_area_h,
            time_inside_h=self.time_inside_h,
            left=tuple(gang.job(hours) for gang in left),
        )

    def _check(self) -> None:
        """Little's law, and that no GPU-hour and no work got lost on the way."""
        held, lost = sum(self.held), sum(self.lost)
        for one, other, law in (
            (self.number_area_h, self.time_inside_h, "Little's law"),
            (self.used_gpu_hours, held, "the account of GPU-hours"),
            (self.progress_gpu_hours + lost, held, "the conservation of work"),
        ):
            if abs(one - other) > ROUNDING * max(1.0, abs(one), abs(other)):
                raise AssertionError(f"{law} does not hold: {one!r} is not {other!r}")

    # What happens.

    def _await_arrival(self) -> None:
        if self.coming:
            self._after(self.coming[0].arrived_h - self.clock.now, self._arrive)

    def _arrive(self, _: simpy.Event) -> None:
        now = self.clock.now
        self._account(now)
        self._queue(self._enter(self.coming.popleft(), now))
        self._await_arrival()
        self._dispatch(now)

    def _enter(self, job: Job, now: float) -> Gang:
        gang = Gang(job, now)
        self.inside += 1
        patience = self.kinds[job.kind].patience_h
        if patience < inf and not job.has_started:
            self._after(job.arrived_h + patience - now, lambda _: self._lose_patience(gang))
        return gang

    def _queue(self, gang: Gang) -> None:
        (self.line if self._could_hold(gang) else self.aside).append(gang)

    def _could_hold(self, gang: Gang) -> bool:
        return gang.gpus <= self.highest * (1.0 + ROUNDING)

    def _lose_patience(self, gang: Gang) -> None:
        if gang.has_started or not gang.is_inside:
            return
        now = self.clock.now
        self._account(now)
        (self.line if gang in self.line else self.aside).remove(gang)
        self.given_up += 1
        self._leave(gang, now)
        self._dispatch(now)

    def _leave(self, gang: Gang, now: float) -> None:
        gang.is_inside = False
        self.inside -= 1
        self.time_inside_h += now - gang.entered_h

    def _start(self, gang: Gang, now: float) -> None:
        if not gang.has_started:
            gang.has_started = True
            self.waits_h.append(max(0.0, now - gang.arrived_h))
        gang.is_running, gang.since_h = True, now
        gang.runs += 1
        run_h = gang.restart_h + gang.left_h
        gang.ends_h = now + run_h
        self.running[gang] = None
        self.used += gang.gpus
        run = gang.runs
        self._after(run_h, lambda _: self._end(gang, run))

    def _end(self, gang: Gang, run: int) -> None:
        if not gang.is_running or gang.runs != run:
            return
        now = self.clock.now
        self._account(now)
        self._finish(gang, now)
        self._dispatch(now)

    def _finish(self, gang: Gang, now: float) -> None:
        self._stop(gang, now)
        # The clock has rounded.
        self.progress_gpu_hours += gang.gpus * gang.left_h
        self.held[gang.kind] += gang.gpus * gang.left_h
        gang.left_h = 0.0
        self.finished[gang.kind] += 1
        self._leave(gang, now)

    def _stop(self, gang: Gang, now: float) -> None:
        self._settle(gang, now)
        gang.is_running = False
        del self.running[gang]
        self.used = self.used - gang.gpus if self.running else 0.0

    def _settle(self, gang: Gang, now: float) -> None:
        """Count what a running gang has held since it was last counted."""
        passed = now - gang.since_h
        restarting = min(passed, gang.restart_h)
        computed = min(passed - restarting, gang.left_h)
        gang.restart_h -= restarting
        gang.left_h -= computed
        gang.since_h = now
        self.held[gang.kind] += gang.gpus * (restarting + computed)
        self.lost[gang.kind] += gang.gpus * restarting
        self.progress_gpu_hours += gang.gpus * computed

    def _take_back(self, now: float, capacity: float) -> None:
        """Stop the jobs that started last until the others fit on the nodes of the hour."""
        for gang in [gang for gang in self.running if gang.ends_h <= now]:
            self._finish(gang, now)
        while self.used > capacity:
            gang = next(reversed(self.running))
            self._stop(gang, now)
            self._roll_back(gang)
            self.preempted += 1
            if self._could_hold(gang):
                self.line.insert(0, gang)
            else:
                self.aside.insert(0, gang)

    def _roll_back(self, gang: Gang) -> None:
        """To the last checkpoint, from which it will have to start again."""
        kind = self.kinds[gang.kind]
        computed = gang.hours - gang.left_h
        lost = computed % kind.checkpoint_h if kind.checkpoint_h > 0 else 0.0
        gang.left_h += lost
        gang.restart_h = kind.restart_h
        self.lost[gang.kind] += gang.gpus * lost
        self.progress_gpu_hours -= gang.gpus * lost

    def _dispatch(self, now: float) -> None:
        """Stop what must, start what may."""
        capacity = self._capacity(now) * (1.0 + ROUNDING)
        if self.used > capacity:
            self._take_back(now, capacity)
        line = self.line
        while line and self.used + line[0].gpus <= capacity:
            self._start(line.pop(0), now)
        if self.backfill and len(line) > 1 and self.used < capacity:
            self._backfill(now, capacity)
        self._watch()

    def _backfill(self, now: float, capacity: float) -> None:
        """Start those behind the first in line that end before its turn, or take none of what it will need."""
        fitting = [gang for gang in self.line[1:] if self.used + gang.gpus <= capacity]
        if not fitting:
            return
        turn_h, spare = self._turn(now, self.line[0])
        for gang in fitting:
            if self.used + gang.gpus > capacity:
                continue
            ends_in_time = now + gang.restart_h + gang.left_h <= turn_h
            if not ends_in_time and gang.gpus > spare:
                continue
            spare -= 0.0 if ends_in_time else gang.gpus
            self.line.remove(gang)
            self._start(gang, now)

    def _turn(self, now: float, first: Gang) -> tuple[float, float]:
        """When the first in line will have its GPUs if nobody else starts, and how many will then be free beside them.

        Nodes come and go as in the cycle's hours; beyond it, all there ever are count.
        """
        ending, used = deque(sorted(self.running, key=lambda gang: gang.ends_h)), self.used
        hour, hours = int(now + ROUNDING), 0 if self.lowest == self.highest else len(self.capacity)
        for later in range(hour, hour + hours):
            capacity = self.capacity[later % hours] * (1.0 + ROUNDING)
            turn_h = max(now, float(later))
            while ending and ending[0].ends_h < later + 1.0 and used + first.gpus > capacity:
                if ending[0].ends_h > turn_h:
                    turn_h = ending[0].ends_h
                used -= ending.popleft().gpus
            if used + first.gpus <= capacity:
                return turn_h, capacity - used - first.gpus
        turn_h = now + hours
        while ending and used + first.gpus > self.highest * (1.0 + ROUNDING):
            turn_h = ending[0].ends_h
            used -= ending.popleft().gpus
        return turn_h, self.highest - used - first.gpus

    # The nodes.

    def _capacity(self, now: float) -> float:
        return self.capacity[int(now + ROUNDING) % len(self.capacity)]

    def _supplied(self, since: float, now: float) -> float:
        """GPU-hours between two times."""
        cycle = len(self.capacity)
        hour = int(since + ROUNDING)
        if now <= hour + 1.0:
            return (now - since) * self.capacity[hour % cycle]
        return self._supplied_until(now) - self._supplied_until(since)

    def _supplied_until(self, now: float) -> float:
        """GPU-hours from the start of the period."""
        cycles, rest = divmod(now, len(self.capacity))
        whole = int(rest)
        return cycles * self.supplied[-1] + self.supplied[whole] + (rest - whole) * self.capacity[whole]

    def _watch(self) -> None:
        """Look again at the first hour whose nodes are too few for what runs, or enough for one in line."""
        wanted = inf
        if self.line:
            smallest = min([gang.gpus for gang in self.line]) if self.backfill else self.line[0].gpus
            wanted = self.used + smallest
        least, most = self.used * (1.0 - ROUNDING), wanted * (1.0 - ROUNDING)
        if self.lowest == self.highest or (self.lowest >= least and self.highest < most):
            self.alarm_h = inf
            return
        hour, cycle = int(self.clock.now + ROUNDING), len(self.capacity)
        for later in range(hour + 1, hour + 1 + cycle):
            if not least <= self.capacity[later % cycle] < most:
                self._set_alarm(float(later))
                return
        self.alarm_h = inf

    def _set_alarm(self, hour: float) -> None:
        if hour == self.alarm_h:
            return
        self.alarms += 1
        self.alarm_h = hour
        number = self.alarms
        self._after(hour - self.clock.now, lambda _: self._ring(number))

    def _ring(self, number: int) -> None:
        if number != self.alarms or self.alarm_h == inf:
            return
        now = self.clock.now
        self.alarm_h = inf
        self._account(now)
        self._dispatch(now)

    def _account(self, now: float) -> None:
        """Count what has passed since it was last counted."""
        passed = now - self.since_h
        if passed <= 0.0:
            return
        self.used_gpu_hours += self.used * passed
        self.own_gpu_hours += min(self.used, self.nodes.own) * passed
        self.number_area_h += self.inside * passed
        if self.line:
            idle = self._supplied(self.since_h, now) - self.used * passed
            self.unusable_gpu_hours += idle if idle > 0.0 else 0.0
        self.since_h = now

    def _after(self, delay_h: float, happen: Callable[[simpy.Event], None]) -> None:
        """Call after a delay."""
        self.clock.timeout(delay_h if delay_h > 0.0 else 0.0).callbacks.append(happen)


def slowdown_by_failures(failures_per_h: float, checkpoint_h: float, restart_h: float) -> float:
    r"""Mean time that a job takes over the time it computes, where failures send it back to its last checkpoint.

    .. math:: s = \frac{(1/\lambda + r)(e^{\lambda \tau} - 1)}{\tau} \approx 1 + \lambda (\tau/2 + r)

    Failures are a Poisson process of rate :math:`\lambda` while the job computes; each costs what was computed since
    the last checkpoint, half an interval on average, and a restart.  Exact for the mean [1]_; a job of many nodes
    meets so many failures that its own luck hardly matters.

    Parameters
    ----------
    failures_per_h : float, 1/h
        Failures that stop the job, :math:`\lambda \ge 0`.
    checkpoint_h : float, h
        Time computed between two checkpoints, :math:`\tau \ge 0`; 0 loses nothing but the restarts.
    restart_h : float, h
        Time to start again, :math:`r \ge 0`.

    References
    ----------
    .. [1] J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future
       Generation Computer Systems 22 (2006), 303-312.

    Examples
    --------
    >>> round(slowdown_by_failures(0.04, 0.5, 0.2), 6)
    1.018148
    """
    lost = failures_per_h * checkpoint_h
    computed = expm1(lost) / lost if lost > 0.0 else 1.0
    return computed * (1.0 + failures_per_h * restart_h)
