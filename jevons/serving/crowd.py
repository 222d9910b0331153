"""The sequences that decode: their mass, the batch they feel, and the room that is left.

In a cell of full size (f = 1) sequences feel the batch that there is.  A cell thinned to the share f holds a
sample of the true pool's sequences, at times very few, and their number over f says little of the true one: with
two or three sequences to stand for a hundred thousand it jumps by tens of per cent, where the true batch stands
still.  So a thinned cell feels the mean of its mass over its last `REQUESTS_AVERAGED` requests, exponentially
weighted, and

* the batch is that mean over f m.  As a step is linear in it, the mean time for a token does not move with f;
* there is room while M + w <= f C + k (f C + w) (1 - mean/C), with C = max_batch m slots in the true pool.  Far from
  full the sample may fluctuate as samples do; in overload the mean settles at C, and so the throughput at its
  capacity.  A cell so large that the mean follows M has room while M + w <= f C, the rule at full size.

The mean starts at the balance of the sizing formula and, when the expected load changes, moves in proportion.
"""

from __future__ import annotations

from math import exp, inf

import numpy as np

from jevons.scenario import Serving
from jevons.serving.sizing import Load, balanced_step_s

#: Requests over which a thinned cell averages its mass.
REQUESTS_AVERAGED = 200
#: k: how far beyond its share of the slots a thinned cell may go while the true pool is not full.
ROOM_FOR_NOISE = 10.0
#: Rounding of sums of weights that must not cost a slot.
ROUNDING = 1 + 1e-12


class Crowd:
    """Sequences that decode at one time, as counted in the cell and as felt: those of the true pool."""

    def __init__(self, serving: Serving, share: float = 1.0, requests_per_token: float = 0.0) -> None:
        self.serving = serving
        self.share = share
        self.law = serving.step
        self.number = 0
        self.mass = 0.0
        self.context = 0.0
        self.felt_number = 0.0
        self.felt_mass = 0.0
        self.felt_context = 0.0
        #: Requests of the cell for each weighted output token that the true pool is expected to serve.
        self.requests_per_token = requests_per_token
        self.thinned = share < 1
        self.averaging_s = inf
        self.expected_tokens_per_s = 0.0
        #: Weighted tokens, and those times their context, that the true pool has served.
        self.served_tokens = 0.0
        self.served_context_tokens2 = 0.0

    def settle(self, span_s: float, tokens: float) -> None:
        """Let time pass in which each sequence has got so many tokens."""
        self.served_tokens += self.mass * tokens / self.share
        self.served_context_tokens2 += self.context * tokens / self.share
        if self.thinned:
            keep = exp(-span_s / self.averaging_s)
            new = (1 - keep) / self.share
            self.felt_number = keep * self.felt_number + new * self.number
            self.felt_mass = keep * self.felt_mass + new * self.mass
            self.felt_context = keep * self.felt_context + new * self.context

    def add(self, weight: float, context_tokens: float) -> None:
        """Count a sequence in."""
        self.number += 1
        self.mass += weight
        self.context += context_tokens
        if not self.thinned:
            self._feel()

    def remove(self, weight: float, context_tokens: float) -> None:
        """Count a sequence out."""
        self.number -= 1
        self.mass -= weight
        self.context -= context_tokens
        if not self.number:
            # With nobody there the sums are known exactly.
            self.mass = self.context = 0.0
        if not self.thinned:
            self._feel()

    def _feel(self) -> None:
        self.felt_number, self.felt_mass, self.felt_context = self.number, self.mass, self.context

    def step_s(self, nodes: float) -> float:
        """Time of a step on so many true nodes, s."""
        law = self.law
        return law.base_s + (law.per_sequence_s * self.felt_mass + law.per_kv_token_s * self.felt_context) / nodes

    def has_room(self, weight: float, slots: float) -> bool:
        """Whether so much more mass in the cell fits in the true pool's slots."""
        if not self.thinned:
            return self.mass + weight <= slots * ROUNDING or (not self.number and slots > 0)
        left = 1 - self.felt_mass / slots if slots > 0 else 0.0
        own_slots = self.share * slots
        return self.mass + weight <= own_slots + ROOM_FOR_NOISE * (own_slots + weight) * left

    def expect(self, load: Load, nodes: float) -> None:
        """Move what is felt with the expected load of the true pool, at first to the balance of the sizing formula."""
        if not self.thinned:
            return
        before, self.expected_tokens_per_s = self.expected_tokens_per_s, float(load.decode_tokens_per_s[0])
        requests_per_s = self.expected_tokens_per_s * self.requests_per_token
        self.averaging_s = REQUESTS_AVERAGED / requests_per_s if requests_per_s > 0 else inf
        if before > 0:
            growth = self.expected_tokens_per_s / before
            # A pool that is full does not get fuller when more is wanted of it.
            room = max(1.0, self.serving.max_batch * nodes / self.felt_mass) if self.felt_mass > 0 else 1.0
            self._scale(min(growth, room))
        elif self.expected_tokens_per_s > 0:
            step_s = float(balanced_step_s(self.serving, load, np.array([nodes]))[0])
            self.felt_mass = self.felt_number = self.expected_tokens_per_s * step_s
            self.felt_context = float(load.context_tokens2_per_s[0]) * step_s

    def _scale(self, factor: float) -> None:
        self.felt_number *= factor
        self.felt_mass *= factor
        self.felt_context *= factor
