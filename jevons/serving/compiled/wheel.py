"""A priority queue of slots by the time at which they leave: buckets of time, of which the next one is sorted.

The times that leave never go back, so nothing has to be kept in order but the few that leave next.  What is put in is
hung on the list of its bucket, and when a bucket's turn comes its list is sorted: in all a constant time, where a heap
of n takes log n and as many misses of the cache.  Buckets are used again lap by lap; who is hung on a bucket for a
later lap stays there.

A wheel is the end of an array of integers, its buckets, from a place `first` on; their number is a power of two.
"""

from __future__ import annotations

from jevons.serving.compiled.jit import apart, inner
from jevons.serving.compiled.state import AFTER, NOBODY, PART, REQUEST, WHOLE

#: Fineness that says: the whole number is the bucket.
WHOLE_IS_BUCKET = 99


@inner
def bucket_of(whole, part, fineness):  # type: ignore[no-untyped-def]
    """Number of the bucket of a time: 2^fineness buckets to a token."""
    if fineness == WHOLE_IS_BUCKET:
        bucket = int(whole)
    elif fineness >= 0:
        bucket = (int(whole) << fineness) + int(part * (1 << fineness))
    else:
        bucket = int(whole) >> -fineness
    return bucket


@inner
def sorted_in(slots, due, slot):  # type: ignore[no-untyped-def]
    """Hang a slot on a list in the order of times, then of requests; the new first."""
    whole, part, request = slots.floats[slot, WHOLE], slots.floats[slot, PART], slots.floats[slot, REQUEST]
    before, now = NOBODY, due
    while now != NOBODY:
        other = slots.floats[now, WHOLE]
        if other > whole:
            break
        if other == whole:
            at = slots.floats[now, PART]
            if at > part or (at == part and slots.floats[now, REQUEST] > request):
                break
        before, now = now, slots.ints[now, AFTER]
    slots.ints[slot, AFTER] = now
    if before == NOBODY:
        due = slot
    else:
        slots.ints[before, AFTER] = slot
    return due


@inner
def put(slots, wheel, first, fineness, due, bucket, later, slot):  # type: ignore[no-untyped-def]
    """Put a slot in.

    Returns
    -------
    tuple of int
        First of the bucket that is next, number of that bucket, how many hang on others.
    """
    mask = len(wheel) - first - 1
    own = bucket_of(slots.floats[slot, WHOLE], slots.floats[slot, PART], fineness)
    if due == NOBODY:
        slots.ints[slot, AFTER] = NOBODY
        due, bucket = slot, own
    elif own > bucket:
        slots.ints[slot, AFTER] = wheel[first + (own & mask)]
        wheel[first + (own & mask)] = slot
        later += 1
    elif own == bucket:
        due = sorted_in(slots, due, slot)
    else:
        # It leaves before the bucket that was next: that one waits again.
        while due != NOBODY:
            following = slots.ints[due, AFTER]
            slots.ints[due, AFTER] = wheel[first + (bucket & mask)]
            wheel[first + (bucket & mask)] = due
            later += 1
            due = following
        slots.ints[slot, AFTER] = NOBODY
        due, bucket = slot, own
    return due, bucket, later


@inner
def take(slots, wheel, first, fineness, due, bucket, later):  # type: ignore[no-untyped-def]
    """Take the first slot out, and if it was the last of its bucket sort the next; as `put` returns."""
    due = slots.ints[due, AFTER]
    if due == NOBODY and later > 0:
        due, bucket, later = opened(slots, wheel, first, fineness, bucket, later)
    return due, bucket, later


@apart
def opened(slots, wheel, first, fineness, bucket, later):  # type: ignore[no-untyped-def]
    """Sort the next bucket on which somebody hangs whose lap it is; as `put` returns."""
    mask = len(wheel) - first - 1
    due, steps = NOBODY, 0
    while due == NOBODY:
        bucket += 1
        steps += 1
        slot = wheel[first + (bucket & mask)]
        if slot != NOBODY:
            wheel[first + (bucket & mask)] = NOBODY
            while slot != NOBODY:
                following = slots.ints[slot, AFTER]
                if bucket_of(slots.floats[slot, WHOLE], slots.floats[slot, PART], fineness) == bucket:
                    due = sorted_in(slots, due, slot)
                    later -= 1
                else:
                    slots.ints[slot, AFTER] = wheel[first + (bucket & mask)]
                    wheel[first + (bucket & mask)] = slot
                slot = following
        if steps > mask and due == NOBODY:
            # A whole lap and nobody's turn: go to whoever is first.
            bucket = first_bucket(slots, wheel, first, fineness) - 1
            steps = 0
    return due, bucket, later


@apart
def first_bucket(slots, wheel, first, fineness):  # type: ignore[no-untyped-def]
    """The lowest bucket on which anybody hangs."""
    lowest = -1
    for place in range(first, len(wheel)):
        slot = wheel[place]
        while slot != NOBODY:
            own = bucket_of(slots.floats[slot, WHOLE], slots.floats[slot, PART], fineness)
            if lowest == -1 or own < lowest:
                lowest = own
            slot = slots.ints[slot, AFTER]
    return lowest
