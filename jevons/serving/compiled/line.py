"""Requests that wait, interactive ones first, then in order of arrival; `book.Line` on arrays.

A pair of lines is four numbers in `counts`, from a place `line` on: first and last of the interactive ones, first and
last of the others.
"""

from __future__ import annotations

from jevons.serving.compiled.counting import stream_of
from jevons.serving.compiled.jit import inner
from jevons.serving.compiled.state import (
    AFTER,
    DEADLINE,
    INTERACTIVE,
    LINK,
    MOST,
    NOBODY,
    SLOT,
    STREAM_ROW,
    STREAMS,
)


@inner
def is_empty(counts, line):
    """Whether nobody waits."""
    return counts[line] == NOBODY and counts[line + 2] == NOBODY


@inner
def append(links, state, counts, line, slot):
    """Put a request at the end of its class."""
    if state[STREAMS + stream_of(links, slot) * STREAM_ROW + INTERACTIVE] == 0:
        line += 2
    links[(slot & MOST) * LINK + AFTER] = NOBODY
    if counts[line] == NOBODY:
        counts[line] = slot
    else:
        links[counts[line + 1] * LINK + AFTER] = slot
    counts[line + 1] = slot


@inner
def head(counts, line):
    """Whose turn it is to start, or to be lost because its deadline is past."""
    return int(counts[line]) if counts[line] != NOBODY else int(counts[line + 2])


@inner
def pop(links, counts, line, slot):
    """Let the head go."""
    if counts[line] != slot:
        line += 2
    counts[line] = links[(slot & MOST) * LINK + AFTER]


@inner
def clear(slots, links, counts, line, now):
    """Empty both lines; the first of a list of those whose deadline is past."""
    gone = NOBODY
    for own in (line + 2, line):
        slot = int(counts[own])
        while slot != NOBODY:
            following = int(links[(slot & MOST) * LINK + AFTER])
            if slots[(slot & MOST) * SLOT + DEADLINE] <= now:
                links[(slot & MOST) * LINK + AFTER] = gone
                gone = slot
            slot = following
        counts[own] = NOBODY
    return gone
