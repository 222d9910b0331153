"""What is told of a month: its headlines, the factors of its consumption, and every figure for the series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan

import numpy as np

from jevons.finance.monthly import VENDOR_UNITS
from jevons.months import Month, RegionMonth, SegmentMonth, Stack
from jevons.offers import Offers
from jevons.randomness import Floats
from jevons.scenario import ARMS, Anchor
from jevons.stacks import PerWorld, exp, larger, ratio, where


def headlines(month: Month) -> dict[str, PerWorld]:
    """The figures of a month that a reader looks at first, all regions together."""
    served = [segment for segment in month.segments if segment.is_served]
    by_name = {s.segment: [t for t in served if t.segment == s.segment] for s in served}
    prices = {f"price {name}": usage_mean(parts, "price_usd_per_mtok") for name, parts in by_name.items()}
    usage = {f"usage {name}": sum(part.tokens_per_day for part in parts) for name, parts in by_name.items()}
    budgets = [region.budget_gpu_hours_per_day for region in month.regions]
    return {
        **prices,
        **usage,
        **{f"share {name}": share for name, share in shares_of_providers(served).items()},
        "usage": sum(segment.tokens_per_day for segment in served),
        "gpu_hours": sum(region.gpu_hours_per_day for region in month.regions),
        "serving": sum(region.serving_gpu_hours_per_day for region in month.regions),
        "budgets": sum(budgets),
        "installed": installed_h100e(month.regions),
        "energy": sum(region.energy_mwh_per_day for region in month.regions),
        "spend": sum(region.usd_per_day for region in month.regions),
        "rental": sum(r.rental_usd_per_gpu_hour * r.gpu_hours_per_day for r in month.regions)
        / larger(sum(r.gpu_hours_per_day for r in month.regions), 1e-300),
        **training_headlines(month),
        **({} if month.vendor is None else month.vendor.figures),
    }


def training_headlines(month: Month) -> dict[str, PerWorld]:
    """The figures of the jobs of training, all regions together; none where no budget buys jobs."""
    trained = [region.training for region in month.regions if region.training is not None]
    if not trained:
        return {}
    return {
        "jobs": sum(one.jobs_finished for one in trained),
        "lost": sum(one.lost_gpu_hours_per_day for one in trained),
    }


def shares_of_providers(segments: Sequence[SegmentMonth]) -> dict[str, PerWorld]:
    """Share of each provider in the usage of its segment, all regions together, by `segment/provider`."""
    offered = [segment for segment in segments if segment.offers is not None]
    tokens: dict[str, PerWorld] = {}
    used: dict[str, PerWorld] = {}
    for segment in offered:
        assert segment.offers is not None, "only those with offers are here"
        tokens[segment.segment] = tokens.get(segment.segment, 0.0) + segment.tokens_per_day
        for name, share in zip(segment.offers.names, segment.offers.shares, strict=True):
            key = f"{segment.segment}/{name}"
            used[key] = used.get(key, 0.0) + share * segment.tokens_per_day
    return {key: usage / tokens[key.split("/")[0]] for key, usage in used.items()}


def installed_h100e(regions: Sequence[RegionMonth]) -> PerWorld:
    """GPUs installed in some regions; a fleet without limit has none."""
    return sum(region.installed_h100e for region in regions if region.installed_h100e is not None)


def usage_mean(parts: Sequence[SegmentMonth], name: str) -> PerWorld:
    """Mean of a figure of a segment over its regions, weighted by usage."""
    tokens = sum(part.tokens_per_day for part in parts)
    weighted: PerWorld = sum(part.tokens_per_day * getattr(part, name) for part in parts)
    return weighted / tokens


def factors_of(month: Month, resource: str) -> dict[str, list[PerWorld]]:
    """Factors of every segment in every region, that multiply to its consumption of a resource."""
    per_gpu_hour = {region.region: resource_per_gpu_hour(region, resource) for region in month.regions}
    rows = [{**s.factors, "resource per GPU-hour": per_gpu_hour[s.region]} for s in month.segments]
    names = {name: None for row in rows for name in row}
    return {name: [row.get(name, 1.0) for row in rows] for name in names}


def resource_per_gpu_hour(region: RegionMonth, resource: str) -> PerWorld:
    """Consumption of a resource for each GPU-hour allocated in a region."""
    if resource == "gpu_hours":
        return 1.0
    consumed = region.energy_mwh_per_day if resource == "energy_mwh" else region.usd_per_day
    return ratio(consumed, region.gpu_hours_per_day, otherwise=0.0)


def anchored(month: Month, anchor: Anchor) -> PerWorld:
    """The model's value of an anchor's series in a month."""
    segments = [
        s for s in month.segments
        if s.is_served and anchor.segment in (None, s.segment) and anchor.region in (None, s.region)
    ]  # fmt: skip
    regions = [r for r in month.regions if anchor.region in (None, r.region)]
    match anchor.what:
        case "price":
            return usage_mean(segments, "price_usd_per_mtok") if segments else 0.0
        case "tokens_per_day":
            return sum(s.tokens_per_day for s in segments)
        case "installed_h100e":
            return installed_h100e(regions)
        case "gpu_hours_per_day":
            return sum(r.gpu_hours_per_day for r in regions)


SEGMENT_FIGURES = (
    ("price_usd_per_mtok", "USD/Mtok"),
    ("full_price_usd_per_mtok", "USD/Mtok"),
    ("unit_cost_usd_per_mtok", "USD/Mtok"),
    ("tokens_per_day", "token/day"),
    ("exogenous_tokens_per_day", "token/day"),
    ("price_response", "1"),
    ("capability_response", "1"),
    ("tokens_per_task", "1"),
    ("gpu_seconds_per_mtok", "GPU-s/Mtok"),
    ("overhead", "1"),
    ("gpu_hours_per_day", "H100e-h/day"),
    ("latency_s", "s"),
)
REGION_FIGURES = (
    ("rental_usd_per_gpu_hour", "USD/GPU-h"),
    ("installed_h100e", "H100e"),
    ("powered_h100e", "H100e"),
    ("on_order_h100e", "H100e"),
    ("ordered_h100e", "H100e/month"),
    ("ordered_usd", "USD/month"),
    ("serving_gpu_hours_per_day", "H100e-h/day"),
    ("budget_gpu_hours_per_day", "H100e-h/day"),
    ("wanted_gpu_hours_per_day", "H100e-h/day"),
    ("gpu_hours_per_day", "H100e-h/day"),
    ("peak_h100e", "H100e"),
    ("utilisation", "1"),
    ("energy_mwh_per_day", "MWh/day"),
    ("usd_per_day", "USD/day"),
    ("lost_share", "1"),
)
TRAINING_FIGURES = (
    ("waiting_h", "training_waiting_h", "h"),
    ("p95_waiting_h", "training_p95_waiting_h", "h"),
    ("jobs_finished", "training_jobs_finished", "job/month"),
    ("jobs_given_up", "training_jobs_given_up", "job/month"),
    ("jobs_waiting", "training_jobs_waiting", "job"),
    ("lost_gpu_hours_per_day", "training_lost_gpu_hours_per_day", "H100e-h/day"),
    ("unusable_gpu_hours_per_day", "training_unusable_gpu_hours_per_day", "H100e-h/day"),
    ("own_utilisation", "training_own_utilisation", "1"),
    ("lent_utilisation", "training_lent_utilisation", "1"),
)


def figures(month: Month) -> Iterator[tuple[str, str, str, PerWorld, str]]:
    """Region, segment, metric, value and unit of every figure of a month; those that do not apply are left out."""
    for segment in month.segments:
        for metric, unit in SEGMENT_FIGURES:
            yield segment.region, segment.segment, metric, getattr(segment, metric), unit
        if segment.offers is not None:
            for provider, metric, value, unit in figures_of_offers(segment.offers):
                yield segment.region, f"{segment.segment}/{provider}", metric, value, unit
    for region in month.regions:
        for metric, unit in REGION_FIGURES:
            value = getattr(region, metric)
            if value is not None:
                yield region.region, "", metric, value, unit
        if region.training is not None:
            for name, metric, unit in TRAINING_FIGURES:
                yield region.region, "", metric, getattr(region.training, name), unit
    for metric, value in ({} if month.vendor is None else month.vendor.figures).items():
        yield "", "", metric, value, VENDOR_UNITS[metric]


def figures_of_offers(offers: Offers) -> Iterator[tuple[str, str, PerWorld, str]]:
    """Provider, metric, value and unit of every figure of a segment's providers; no price where there is no offer."""
    for j, name in enumerate(offers.names):
        price = where(np.greater(offers.is_offered[j], 0.0), exp(offers.log_price[j]), nan)
        yield name, "share", offers.shares[j], "1"
        yield name, "price_usd_per_mtok", price, "USD/Mtok"
        yield name, "capability", exp(offers.log_capability[j]), "1"
        yield name, "gpu_seconds_per_mtok", offers.gpu_seconds_per_mtok[j], "GPU-s/Mtok"


def figures_of_stack(stack: Stack) -> Floats:
    """Values of `figures` of all months of all arms, shape (worlds, figures)."""
    values = [value for arm in ARMS for month in stack.arms[arm] for _, _, _, value, _ in figures(month)]
    rows = np.empty((len(values), stack.worlds))
    for row, value in zip(rows, values, strict=True):
        row[:] = value
    return rows.T
