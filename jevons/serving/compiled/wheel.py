"""A priority queue of slots by the time at which they leave: buckets of time, of which the next one is sorted.

The times that leave never go back, so nothing has to be kept in order but the few that leave next.  What is put in is
hung on the list of its bucket, and when a bucket's turn comes its list is sorted: in all a constant time, where a heap
of n takes log n and as many misses of the cache.  Buckets are used again lap by lap; who is hung on a bucket for a later
lap stays there.
"""

from __future__ import annotations

from jevons.serving.compiled.jit import inner
from jevons.serving.compiled.state import NOBODY

#: Fineness that says: the whole number is the bucket.
WHOLE_IS_BUCKET = 99


@inner
def bucket_of(whole, part, fineness):  # type: ignore[no-untyped-def]
    """Number of the bucket of a time: 2^fineness buckets to a token."""
    if fineness == WHOLE_IS_BUCKET:
        bucket = whole
    elif fineness >= 0:
        bucket = (whole << fineness) + int(part * (1 << fineness))
    else:
        bucket = whole >> -fineness
    return bucket


@inner
def sorted_in(slots, first, slot):  # type: ignore[no-untyped-def]
    """Hang a slot on a list in the order of times, then of requests; the new first."""
    whole, part, request = slots.whole[slot], slots.part[slot], slots.request[slot]
    before, now = NOBODY, first
    while now != NOBODY:
        other = slots.whole[now]
        if other > whole:
            break
        if other == whole:
            at = slots.part[now]
            if at > part or (at == part and slots.request[now] > request):
                break
        before, now = now, slots.after[now]
    slots.after[slot] = now
    if before == NOBODY:
        first = slot
    else:
        slots.after[before] = slot
    return first


@inner
def put(slots, buckets, fineness, due, bucket, later, slot):  # type: ignore[no-untyped-def]
    """Put a slot in.

    Returns
    -------
    tuple of int
        First of the bucket that is next, number of that bucket, how many hang on others.
    """
    mask = len(buckets) - 1
    own = bucket_of(slots.whole[slot], slots.part[slot], fineness)
    if due == NOBODY:
        slots.after[slot] = NOBODY
        due, bucket = slot, own
    elif own > bucket:
        slots.after[slot] = buckets[own & mask]
        buckets[own & mask] = slot
        later += 1
    elif own == bucket:
        due = sorted_in(slots, due, slot)
    else:
        # It leaves before the bucket that was next: that one waits again.
        while due != NOBODY:
            following = slots.after[due]
            slots.after[due] = buckets[bucket & mask]
            buckets[bucket & mask] = due
            later += 1
            due = following
        slots.after[slot] = NOBODY
        due, bucket = slot, own
    return due, bucket, later


@inner
def take(slots, buckets, fineness, due, bucket, later):  # type: ignore[no-untyped-def]
    """Take the first slot out, and if it was the last of its bucket sort the next; as `put` returns."""
    due = slots.after[due]
    if due == NOBODY and later > 0:
        due, bucket, later = opened(slots, buckets, fineness, bucket, later)
    return due, bucket, later


@inner
def opened(slots, buckets, fineness, bucket, later):  # type: ignore[no-untyped-def]
    """Sort the next bucket on which somebody hangs whose lap it is; as `put` returns."""
    mask = len(buckets) - 1
    due, steps = NOBODY, 0
    while due == NOBODY:
        bucket += 1
        steps += 1
        slot = buckets[bucket & mask]
        if slot != NOBODY:
            buckets[bucket & mask] = NOBODY
            while slot != NOBODY:
                following = slots.after[slot]
                if bucket_of(slots.whole[slot], slots.part[slot], fineness) == bucket:
                    due = sorted_in(slots, due, slot)
                    later -= 1
                else:
                    slots.after[slot] = buckets[bucket & mask]
                    buckets[bucket & mask] = slot
                slot = following
        if steps > mask and due == NOBODY:
            # A whole lap and nobody's turn: go to whoever is first.
            bucket = first_bucket(slots, buckets, fineness) - 1
            steps = 0
    return due, bucket, later


@inner
def first_bucket(slots, buckets, fineness):  # type: ignore[no-untyped-def]
    """The lowest bucket on which anybody hangs."""
    lowest = -1
    for place in range(len(buckets)):
        slot = buckets[place]
        while slot != NOBODY:
            own = bucket_of(slots.whole[slot], slots.part[slot], fineness)
            if lowest == -1 or own < lowest:
                lowest = own
            slot = slots.after[slot]
    return lowest
