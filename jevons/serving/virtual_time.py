"""A clock that counts the tokens each sequence of a batch has got.

A sequence that joins at V with x tokens leaves at V + x, so a pool needs one heap and no token is an event.  The
clock holds whole tokens apart from their fraction: an increment is rounded at the size of a fraction, however
long the clock has run, so a pool that is never empty keeps exact time over a year and longer.
"""

from __future__ import annotations

from math import floor
from typing import TypeAlias

#: A time of the clock: whole tokens, and the fraction of the next, in [0, 1).
VirtualTime: TypeAlias = tuple[int, float]


class VirtualClock:
    """Tokens since the clock was set to zero."""

    __slots__ = ("part", "whole")

    def __init__(self) -> None:
        self.whole = 0
        self.part = 0.0

    def advance(self, tokens: float) -> None:
        """Let so many tokens pass."""
        part = self.part + tokens
        carry = floor(part)
        self.whole += carry
        self.part = part - carry

    def after(self, tokens: float) -> VirtualTime:
        """The time so many tokens from now."""
        whole = floor(tokens)
        part = self.part + (tokens - whole)
        carry = floor(part)
        return self.whole + whole + carry, part - carry

    def until(self, time: VirtualTime) -> float:
        """Tokens from now to a time."""
        return (time[0] - self.whole) + (time[1] - self.part)

    def jump(self, time: VirtualTime) -> None:
        """Go to a time."""
        self.whole, self.part = time

    def reset(self) -> None:
        """Begin anew, where nobody is left to keep time for."""
        self.whole, self.part = 0, 0.0
