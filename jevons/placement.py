"""Which region's fleet serves whose tokens: what providers that serve from elsewhere do to a month."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from jevons.months import SegmentMonth
from jevons.stacks import PerWorld, ratio

#: A segment in a region.
Place = tuple[str, str]


def placed(demands: Mapping[Place, SegmentMonth]) -> dict[Place, SegmentMonth]:
    """A month's segments, each with the tokens that its region's fleet serves and what these take.

    Parameters
    ----------
    demands : mapping of (segment, region) to SegmentMonth
        Usage by users' region.  Segments for which nobody competes stay as they are.

    Notes
    -----
    Tokens served over tokens used is a factor of GPU-hours, `placement`; compute of a token served over that of
    the mix of the start is another, `mix`.  Together they are the factor "providers" of the decomposition.
    """
    return {place: demand if demand.offers is None else _placed(demand, demands) for place, demand in demands.items()}


def _placed(demand: SegmentMonth, demands: Mapping[Place, SegmentMonth]) -> SegmentMonth:
    assert demand.offers is not None, "only a segment with offers is placed"
    served = list(_served(demand, demands))
    tokens: PerWorld = sum(tokens for tokens, _ in served)
    work: PerWorld = sum(tokens * intensity for tokens, intensity in served)
    opening = demand.offers.mean_gpu_seconds_per_mtok(demand.offers.opening_shares)
    intensity = ratio(work, tokens, otherwise=opening)
    return replace(
        demand,
        placement=ratio(tokens, demand.tokens_per_day, otherwise=1.0),
        gpu_seconds_per_mtok=intensity,
        mix=intensity / opening,
    )


def _served(demand: SegmentMonth, demands: Mapping[Place, SegmentMonth]) -> Iterator[tuple[PerWorld, PerWorld]]:
    """Tokens of each provider in each region that the fleet of a demand's region serves, with their intensity."""
    for (segment, _), other in demands.items():
        if segment != demand.segment or other.offers is None:
            continue
        offers = other.offers
        for region, share, intensity in zip(
            offers.serves_from, offers.shares, offers.gpu_seconds_per_mtok, strict=True
        ):
            if region == demand.region:
                yield other.tokens_per_day * share, intensity
