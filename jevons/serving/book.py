"""What is written down of each request while a day is served, and the line in which requests wait."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from math import inf, nan
from typing import Protocol, TypeVar

from jevons.serving.interface import Day
from jevons.serving.sizing import work_of
from jevons.workload import Requests

T = TypeVar("T")


class Column(Protocol[T]):
    """One figure of each request, by the request's number."""

    def __getitem__(self, request: int, /) -> T:
        """Read it."""

    def __setitem__(self, request: int, figure: T, /) -> None:
        """Write it."""


class Ledger(ABC):
    """What must be known of a request while it is served.  Times are those of the clock, s; NaN until it happens."""

    arrival: Column[float]
    #: Weighted tokens to prefill; a restart adds what was generated.
    prefill_tokens: Column[float]
    #: Tokens still to decode, not weighted: they are what the speed is counted in.
    output_tokens: Column[float]
    #: Slots of the batch that it takes, and weighted context.
    weight: Column[float]
    context_tokens: Column[float]
    input_weight: Column[float]
    interactive: Column[bool]
    deadline: Column[float]
    prefill_start: Column[float]
    first_token: Column[float]
    #: What a step that was running on arrival adds to the times of the first and the last token.
    step_wait: Column[float]
    #: The stage it is in, and when it came there.
    stage: Column[Tally | None]
    entered: Column[float]

    def __init__(self) -> None:
        self.arrived = self.served = self.gave_up = 0

    @abstractmethod
    def known(self) -> Iterable[int]:
        """Requests that may be inside."""

    def depart(self, request: int, now: float) -> None:  # noqa: ARG002 (a rule that is added to)
        """Write down that a request has got its last token."""
        self.served += 1

    def give_up(self, request: int) -> None:  # noqa: ARG002 (a rule that is added to)
        """Write down that a request has run out of patience."""
        self.gave_up += 1

    def restart(self, request: int, left: float) -> None:
        """Send a request back to prefill with so many tokens left: what it has generated joins its prompt."""
        self.prefill_tokens[request] += (self.output_tokens[request] - left) * self.input_weight[request]
        self.output_tokens[request] = left


class Book(Ledger):
    """All requests of a day, as plain lists: single entries are read and written all the time."""

    def __init__(self, day: Day, requests: Requests, origin_s: float) -> None:
        super().__init__()
        n, work = len(requests), work_of(day, requests)
        streams = [day.streams[index] for index in requests.stream.tolist()]
        self.arrival: list[float] = (requests.arrival_s + origin_s).tolist()
        self.prefill_tokens: list[float] = work.prefill_tokens.tolist()
        self.output_tokens: list[float] = requests.output_tokens.tolist()
        self.weight: list[float] = [stream.output_weight for stream in streams]
        self.context_tokens: list[float] = work.context_tokens.tolist()
        self.input_weight: list[float] = [stream.input_weight for stream in streams]
        self.interactive: list[bool] = [stream.interactive for stream in streams]
        self.deadline: list[float] = [
            inf if stream.patience_s is None else arrival + stream.patience_s
            for arrival, stream in zip(self.arrival, streams, strict=True)
        ]
        self.prefill_start: list[float] = [nan] * n
        self.first_token: list[float] = [nan] * n
        self.departure: list[float] = [nan] * n
        self.step_wait: list[float] = [0.0] * n
        self.lost = bytearray(n)
        self.stage: list[Tally | None] = [None] * n
        self.entered: list[float] = [nan] * n

    def known(self) -> Iterable[int]:
        """Requests that may be inside: all that have arrived."""
        return range(self.arrived)

    def depart(self, request: int, now: float) -> None:
        """Write down that a request has got its last token."""
        super().depart(request, now)
        self.departure[request] = now

    def give_up(self, request: int) -> None:
        """Write down that a request has run out of patience."""
        super().give_up(request)
        self.lost[request] = 1


class Line:
    """Requests that wait, interactive ones first, then in order of arrival; who runs out of patience is lost.

    A request past its deadline is taken out when it comes to the head of the line and counts as lost at its
    deadline.
    """

    __slots__ = ("_book", "_lose", "batch", "interactive")

    def __init__(self, book: Ledger, lose: Callable[[int], None]) -> None:
        self._book = book
        self._lose = lose
        self.interactive: deque[int] = deque()
        self.batch: deque[int] = deque()

    def __bool__(self) -> bool:
        return bool(self.interactive or self.batch)

    def append(self, request: int) -> None:
        """Put a request at the end of its class."""
        (self.interactive if self._book.interactive[request] else self.batch).append(request)

    def head(self, now: float) -> int | None:
        """Whose turn it is, if anybody's."""
        deadline = self._book.deadline
        for waiting in (self.interactive, self.batch):
            while waiting:
                if deadline[waiting[0]] > now:
                    return waiting[0]
                self._lose(waiting.popleft())
        return None

    def take(self) -> None:
        """Let the head go."""
        (self.interactive or self.batch).popleft()

    def clear(self, now: float) -> None:
        """At the close: lose those whose deadline is past, wherever they stand."""
        deadline = self._book.deadline
        for waiting in (self.interactive, self.batch):
            for request in waiting:
                if deadline[request] <= now:
                    self._lose(request)
            waiting.clear()


class Tally:
    """Number in a stage, the area under it, and the time that requests spent there."""

    __slots__ = ("area_s", "book", "inside", "time_s")

    def __init__(self, book: Ledger) -> None:
        self.book = book
        self.inside = 0
        self.area_s = 0.0
        self.time_s = 0.0

    def enter(self, request: int, now: float) -> None:
        """Count a request in."""
        self.book.entered[request] = now
        self.book.stage[request] = self
        self.inside += 1

    def leave(self, request: int, now: float) -> None:
        """Count a request out."""
        self.book.stage[request] = None
        self.inside -= 1
        self.time_s += now - self.book.entered[request]

    def lose(self, request: int, now: float) -> None:
        """Count out one that gave up, at its deadline: the area since then was not its."""
        at = max(self.book.deadline[request], self.book.entered[request])
        self.book.stage[request] = None
        self.inside -= 1
        self.area_s -= now - at
        self.time_s += at - self.book.entered[request]
        self.book.give_up(request)
