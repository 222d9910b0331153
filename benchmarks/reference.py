"""Departures worked out by other means than any engine's: what the engines are checked against."""

from __future__ import annotations

from heapq import heapify, heapreplace

import numpy as np

from benchmarks.cases import Batch, Case, Servers
from jevons.randomness import Floats


def departures(case: Case) -> Floats:
    """When each customer leaves the last stage, s, shape (n,)."""
    after_first = after_servers(case.arrival_s, case.first)
    if case.second is None:
        return after_first
    # The second stage is met in the order in which the first is left.
    order = np.argsort(after_first, kind="stable")
    coming = after_first[order]
    leaving = np.empty_like(coming)
    if isinstance(case.second, Servers):
        leaving[order] = after_servers(coming, Servers(case.second.count, case.second.service_s[order]))
    else:
        leaving[order] = after_batch(coming, case.second, case.second.tokens[order])
    return leaving


def after_servers(coming_s: Floats, stage: Servers) -> Floats:
    """Departures by the recursion of Kiefer and Wolfowitz: who comes takes the server that is free first."""
    free = [0.0] * stage.count
    heapify(free)
    leaving = []
    for coming, service in zip(coming_s.tolist(), stage.service_s.tolist(), strict=True):
        leaves = max(coming, free[0]) + service
        heapreplace(free, leaves)
        leaving.append(leaves)
    return np.array(leaving)


def after_batch(coming_s: Floats, stage: Batch, tokens: Floats) -> Floats:
    """Departures by the tokens that each sequence still needs, brought up to date at every event.

    Engines keep one virtual time for all and a heap; here all that decode are counted down together, so an error in
    the virtual time would show.
    """
    leaving = np.empty_like(coming_s)
    left = np.empty(stage.slots)
    who = np.empty(stage.slots, dtype=np.int64)
    inside, begun, come, now = 0, 0, 0, 0.0
    while come < len(coming_s) or inside:
        step_s = stage.step_s(inside)
        next_leaves = now + left[:inside].min() * step_s if inside else np.inf
        next_comes = coming_s[come] if come < len(coming_s) else np.inf
        if next_comes <= next_leaves:
            if inside:
                left[:inside] -= (next_comes - now) / step_s
            now, come = next_comes, come + 1
        else:
            leaver = int(left[:inside].argmin())
            leaving[who[leaver]] = next_leaves
            left[:inside] -= left[leaver]
            inside -= 1
            left[leaver], who[leaver] = left[inside], who[inside]
            now = next_leaves
        while begun < come and inside < stage.slots:
            left[inside], who[inside] = tokens[begun], begun
            inside, begun = inside + 1, begun + 1
    return leaving
