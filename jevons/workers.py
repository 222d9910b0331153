"""Processes or threads that work off jobs: the result does not depend on their number."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from importlib import import_module
from typing import TypeAlias, TypeVar

from jevons.errors import UsageError

#: Told what is being done, how many are done, and how many there are.
Progress: TypeAlias = Callable[[str, int, int], None]
Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def checked_count(workers: int) -> int:
    """A number of workers, at least 1."""
    if workers < 1:
        raise UsageError(f"workers must be at least 1, not {workers}")
    return workers


class Workers:
    """Processes that work off jobs, or threads where the work lets others run beside it; one worker is this thread."""

    def __init__(self, count: int, *, in_threads: bool = False) -> None:
        checked_count(count)
        self._pool: Executor | None = None
        if count == 1:
            return
        if in_threads:
            self._pool = ThreadPoolExecutor(count)
            return
        self._pool = _processes(count)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        _end(self._pool, error)

    def map(
        self, work: Callable[[Job], Outcome], jobs: Sequence[Job], tell: Callable[[int], None] = lambda _: None
    ) -> list[Outcome]:
        """The outcome of each job, in the order of the jobs; `tell` hears how many are done.

        One job alone is done in this process.
        """
        if self._pool is None or len(jobs) < 2:
            return list(_told((work(job) for job in jobs), tell))
        with _interrupts_ignored():
            futures: list[Future[Outcome]] = [self._pool.submit(work, job) for job in jobs]
        for _ in _told(as_completed(futures), tell):
            pass
        return [future.result() for future in futures]


class Beside:
    """A process that does one job after the other beside this one; if it is not wanted, this thread does them."""

    def __init__(self, is_wanted: bool) -> None:
        self._pool = _processes(1) if is_wanted else None

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        _end(self._pool, error)

    def begin(self, work: Callable[[Job], Outcome], job: Job) -> Callable[[], Outcome]:
        """Begin a job, or queue it behind those begun before; what gives its outcome.  Without a process it is done
        when asked for.
        """
        if self._pool is None:
            return lambda: work(job)
        with _interrupts_ignored():
            return self._pool.submit(work, job).result

    def get_ready(self, modules: Sequence[str]) -> None:
        """Start the process, if there is to be one, and have it import what its jobs will need."""
        if self._pool is not None:
            self.begin(_import_all, modules)


def _import_all(modules: Sequence[str]) -> None:
    for name in modules:
        import_module(name)


def _processes(count: int) -> ProcessPoolExecutor:
    # Spawned, not forked: a forked child would inherit the threads of a progress display half-way.
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_ignore_interrupt)


def _end(pool: Executor | None, error: type[BaseException] | None) -> None:
    if pool is None:
        return
    if error is not None:
        # Nobody waits for what they are at.
        for process in multiprocessing.active_children():
            process.terminate()
    pool.shutdown(cancel_futures=True)


def _told(items: Iterable[Outcome], tell: Callable[[int], None]) -> Iterator[Outcome]:
    for done, item in enumerate(items, start=1):
        tell(done)
        yield item


def _ignore_interrupt() -> None:
    # Ctrl-C reaches the whole group of processes; the parent alone answers it, and ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Start processes that ignore Ctrl-C from their first moment on: what is ignored here is inherited."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may say how signals are met.
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
