"""Requests that wait, interactive ones first, then in order of arrival; `book.Line` on arrays.

A pair of lines is four integers: first and last of the interactive ones, first and last of the others.
"""

from __future__ import annotations

from jevons.serving.compiled.jit import inner
from jevons.serving.compiled.state import DEADLINE, NOBODY, STREAM


@inner
def is_empty(lines):  # type: ignore[no-untyped-def]
    """Whether nobody waits."""
    return lines[0] == NOBODY and lines[2] == NOBODY


@inner
def append(slots, law, lines, slot):  # type: ignore[no-untyped-def]
    """Put a request at the end of its class."""
    line = 0 if law.interactive[slots.where[slot, STREAM]] else 2
    slots.after[slot] = NOBODY
    if lines[line] == NOBODY:
        lines[line] = slot
    else:
        slots.after[lines[line + 1]] = slot
    lines[line + 1] = slot


@inner
def head(slots, lines, now):  # type: ignore[no-untyped-def]
    """Whose turn it is to start, or to be lost because its deadline is past: nobody overtakes whoever is first."""
    return lines[0] if lines[0] != NOBODY else lines[2]


@inner
def pop(slots, lines, slot):  # type: ignore[no-untyped-def]
    """Let the head go."""
    line = 0 if lines[0] == slot else 2
    lines[line] = slots.after[slot]


@inner
def clear(slots, lines, now):  # type: ignore[no-untyped-def]
    """Empty both lines; the first of a list of those whose deadline is past."""
    gone = NOBODY
    for line in (2, 0):
        slot = lines[line]
        while slot != NOBODY:
            following = slots.after[slot]
            if slots.cold[slot, DEADLINE] <= now:
                slots.after[slot] = gone
                gone = slot
            slot = following
        lines[line] = NOBODY
    return gone
