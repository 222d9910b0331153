"""What a month knows of the providers that compete for a segment in a region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from jevons.randomness import Floats
from jevons.stacks import PerWorld, where

#: A figure of each provider.
PerOffer = tuple[PerWorld, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The offers in a segment and region in a month; figures stand in the order of the names."""

    names: tuple[str, ...]
    #: Region whose fleet serves each.
    serves_from: tuple[str, ...]
    #: Whether each can be had: neither banned nor yet to come.
    is_offered: PerOffer
    #: Shares of the usage, which add up to 1, and those of the start.
    shares: PerOffer
    opening_shares: PerOffer
    #: Of those that cannot be had too, on paper.
    log_price: PerOffer
    #: Over the unit common to the scenario's providers.
    log_capability: PerOffer
    #: Compute intensity, H100e GPU-s/Mtok.
    gpu_seconds_per_mtok: PerOffer

    def with_shares_of(self, other: Offers) -> Offers:
        """The offers with the shares of another arm."""
        return replace(self, shares=other.shares)

    def with_shares_where(self, in_worlds: object, other: Offers) -> Offers:
        """The offers with the shares of another arm in the worlds in which a condition holds."""
        pairs = zip(other.shares, self.shares, strict=True)
        return replace(self, shares=tuple(where(in_worlds, theirs, own) for theirs, own in pairs))

    def with_prices_where(self, in_worlds: object, other: Offers) -> Offers:
        """The offers with the prices of another arm in the worlds in which a condition holds."""
        pairs = zip(other.log_price, self.log_price, strict=True)
        return replace(self, log_price=tuple(where(in_worlds, theirs, own) for theirs, own in pairs))

    def mean_gpu_seconds_per_mtok(self, shares: PerOffer) -> PerWorld:
        """Compute intensity of a million tokens, of which each provider has a share."""
        return sum(share * intensity for share, intensity in zip(shares, self.gpu_seconds_per_mtok, strict=True))


def row(values: Sequence[PerWorld | Floats]) -> Floats:
    """A figure of each provider as one array, shape (..., j)."""
    return np.stack(np.broadcast_arrays(*[np.asarray(value, dtype=np.float64) for value in values]), axis=-1)


def columns(numbers: Floats) -> PerOffer:
    """An array of shape (..., j) as a figure of each provider."""
    return tuple(plain(numbers[..., j]) for j in range(numbers.shape[-1]))


def plain(numbers: Floats) -> PerWorld:
    """Numbers of each world, or the one number of an array without axes."""
    return cast(float, numbers[()])
