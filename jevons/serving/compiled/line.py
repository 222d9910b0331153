"""Requests that wait, interactive ones first, then in order of arrival; `book.Line` on arrays.

A pair of lines is four integers of an array, from a place `at` on: first and last of the interactive ones, first and
last of the others.
"""

from __future__ import annotations

from jevons.serving.compiled.jit import inner
from jevons.serving.compiled.state import AFTER, DEADLINE, INTERACTIVE, NOBODY, STREAM


@inner
def is_empty(lines, at):  # type: ignore[no-untyped-def]
    """Whether nobody waits."""
    return lines[at] == NOBODY and lines[at + 2] == NOBODY


@inner
def append(slots, law, lines, at, slot):  # type: ignore[no-untyped-def]
    """Put a request at the end of its class."""
    line = at if law.streams[slots.ints[slot, STREAM], INTERACTIVE] > 0 else at + 2
    slots.ints[slot, AFTER] = NOBODY
    if lines[line] == NOBODY:
        lines[line] = slot
    else:
        slots.ints[lines[line + 1], AFTER] = slot
    lines[line + 1] = slot


@inner
def head(lines, at):  # type: ignore[no-untyped-def]
    """Whose turn it is to start, or to be lost because its deadline is past: nobody overtakes whoever is first."""
    return lines[at] if lines[at] != NOBODY else lines[at + 2]


@inner
def pop(slots, lines, at, slot):  # type: ignore[no-untyped-def]
    """Let the head go."""
    line = at if lines[at] == slot else at + 2
    lines[line] = slots.ints[slot, AFTER]


@inner
def clear(slots, lines, at, now):  # type: ignore[no-untyped-def]
    """Empty both lines; the first of a list of those whose deadline is past."""
    gone = NOBODY
    for line in (at + 2, at):
        slot = lines[line]
        while slot != NOBODY:
            following = slots.ints[slot, AFTER]
            if slots.floats[slot, DEADLINE] <= now:
                slots.ints[slot, AFTER] = gone
                gone = slot
            slot = following
        lines[line] = NOBODY
    return gone
