"""A priority queue of slots by the time at which they leave: buckets of time, of which the next one is sorted.

The times that leave never go back, so nothing has to be kept in order but the few that leave next.  What is put in is
hung on the list of its bucket, and when a bucket's turn comes its list is sorted: in all a constant time, where a heap
of n takes log n and as many misses of the cache.  Buckets are used again lap by lap; who is hung on a bucket for a
later lap stays there.

A wheel stands in `counts`: `first` is the place of its buckets and `size` their number, a power of two.  Three numbers
go with it: the first slot of the bucket that is next (`due`), the number of that bucket, and how many hang on later
ones.
"""

from __future__ import annotations

from jevons.serving.compiled.jit import apart, inner, prefetch
from jevons.serving.compiled.state import AFTER, LINK, MOST, NOBODY, PART, REQUEST, SLOT, WHOLE

#: Fineness that says: the whole number is the bucket.
WHOLE_IS_BUCKET = 99
#: Buckets between the one that is opened and the one whose rows are asked for, of a single wheel and of one of many: so
#: many that rows come in time, so few that they are still there.
AHEAD, AHEAD_OF_MANY = 8, 3
#: Rows of a bucket that are asked for.
ASKED, ASKED_OF_MANY = 4, 3


@inner
def bucket_of(whole, part, fineness):
    """Number of the bucket of a time: 2^fineness buckets to a token."""
    if fineness == WHOLE_IS_BUCKET:
        return int(whole)
    if fineness >= 0:
        return (int(whole) << fineness) + int(part * (1 << fineness))
    return int(whole) >> -fineness


@inner
def sorted_in(slots, links, due, slot):
    """Hang a slot on a list in the order of times, then of requests; the first of the list."""
    own = (slot & MOST) * SLOT
    whole, part = slots[own + WHOLE], slots[own + PART]
    before, now = NOBODY, due
    while now != NOBODY:
        other = (now & MOST) * SLOT
        if slots[other + WHOLE] > whole:
            break
        if slots[other + WHOLE] == whole:
            at = slots[other + PART]
            if at > part or (at == part and slots[other + REQUEST] > slots[own + REQUEST]):
                break
        before, now = now, int(links[(now & MOST) * LINK + AFTER])
    links[(slot & MOST) * LINK + AFTER] = now
    if before == NOBODY:
        due = slot
    else:
        links[(before & MOST) * LINK + AFTER] = slot
    return due


@inner
def put(slots, links, counts, first, size, fineness, due, bucket, later, slot):
    """Put a slot in; the three numbers of the wheel."""
    own = bucket_of(slots[(slot & MOST) * SLOT + WHOLE], slots[(slot & MOST) * SLOT + PART], fineness)
    if due == NOBODY:
        links[(slot & MOST) * LINK + AFTER] = NOBODY
        due, bucket = slot, own
    elif own > bucket:
        place = first + (own & (size - 1) & MOST)
        links[(slot & MOST) * LINK + AFTER] = counts[place]
        counts[place] = slot
        later += 1
    elif own == bucket:
        due = sorted_in(slots, links, due, slot)
    else:
        # It leaves before the bucket that was next: that one waits again.
        place = first + (bucket & (size - 1) & MOST)
        while due != NOBODY:
            following = int(links[(due & MOST) * LINK + AFTER])
            links[(due & MOST) * LINK + AFTER] = counts[place]
            counts[place] = due
            later += 1
            due = following
        links[(slot & MOST) * LINK + AFTER] = NOBODY
        due, bucket = slot, own
    return due, bucket, later


@inner
def ask(slots, links, counts, first, size, bucket, ahead):
    """Ask for the rows of those whose bucket comes soon: they left the cache long ago.

    One after the other, the first on a bucket long before its turn, as each is known by the row of the one before.
    No branch asks whether there is another: it could not be foreseen.
    """
    asked = ASKED if ahead >= AHEAD else ASKED_OF_MANY
    for behind in range(asked):
        soon = bucket + ahead - ahead * behind // asked
        slot = int(counts[first + (soon & (size - 1) & MOST)])
        for _ in range(behind):
            slot = int(links[(max(slot, 0) & MOST) * LINK + AFTER])
        prefetch(slots, slot * SLOT)


@inner
def take(slots, links, counts, first, size, fineness, due, bucket, later, ahead):
    """Take the first slot out, and if it was the last of its bucket sort the next; the three numbers of the wheel."""
    due = int(links[(due & MOST) * LINK + AFTER])
    steps = 0
    while due == NOBODY and later > 0:
        bucket += 1
        steps += 1
        ask(slots, links, counts, first, size, bucket, ahead)
        place = first + (bucket & (size - 1) & MOST)
        slot = int(counts[place])
        if slot != NOBODY:
            counts[place] = NOBODY
            while slot != NOBODY:
                following = int(links[(slot & MOST) * LINK + AFTER])
                if (
                    bucket_of(slots[(slot & MOST) * SLOT + WHOLE], slots[(slot & MOST) * SLOT + PART], fineness)
                    == bucket
                ):
                    due = sorted_in(slots, links, due, slot)
                    later -= 1
                else:
                    links[(slot & MOST) * LINK + AFTER] = counts[place]
                    counts[place] = slot
                slot = following
        if steps > size and due == NOBODY:
            # A whole lap and nobody's turn: go to whoever is first.
            bucket = first_bucket(slots, links, counts, first, size, fineness) - 1
            steps = 0
    return due, bucket, later


@apart
def first_bucket(slots, links, counts, first, size, fineness):
    """The lowest bucket on which anybody hangs."""
    lowest = -1
    for place in range(first, first + size):
        slot = int(counts[place])
        while slot != NOBODY:
            own = bucket_of(slots[(slot & MOST) * SLOT + WHOLE], slots[(slot & MOST) * SLOT + PART], fineness)
            if lowest == -1 or own < lowest:
                lowest = own
            slot = int(links[(slot & MOST) * LINK + AFTER])
    return lowest
