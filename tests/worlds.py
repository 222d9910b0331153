"""Worlds for the tests of the model: one segment in one region, small enough to work out by hand."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jevons.model import run_arms, run_stack
from jevons.months import Month, Stack
from jevons.rebound import rebound
from jevons.scenario import (
    Arm,
    Autoscaler,
    Gpu,
    Investors,
    LeadTime,
    Orders,
    Pricing,
    Region,
    RegionFleet,
    Rental,
    Run,
    Scenario,
    Segment,
    Serving,
    Shock,
    StepLaw,
    Tokens,
    Trend,
    Vendor,
    Workload,
)

Arms = Mapping[Arm, Sequence[Month]]

START = dt.date(2025, 1, 1)
#: First day of month 2 of a world.
SHOCK_DATE = dt.date(2025, 3, 1)
SHOCK_MONTH = 2

GPU = Gpu(h100e=1.5, power_kw=1.4, idle_power_kw=0.35, price_usd=27_000.0, life_months=600.0)
WORKLOAD = Workload(
    input_tokens=Tokens(mean=[900.0], sigma=[0.8]),
    output_tokens=Tokens(mean=[300.0], sigma=[0.7]),
    cached_share=0.25,
    hourly_profile=[1.0, 3.0] * 12,
    weekend_factor=0.6,
)
SERVING = Serving(
    gpus_per_node=4,
    step=StepLaw(base_s=0.03, per_sequence_s=2e-5),
    target_batch=200.0,
    max_batch=450.0,
    prefill_tokens_per_s=25_000.0,
    autoscaler=Autoscaler(interval_minutes=60.0, headroom=1.1),
)

#: Load of the hours from midnight: a quiet night, a full afternoon.
DAILY_PROFILE = [
    3.0, 2.0, 1.0, 1.0, 1.5, 2.5, 4.0, 6.0, 8.0, 9.0, 9.5, 9.0,
    8.5, 9.0, 9.5, 9.0, 8.0, 7.5, 8.0, 8.5, 8.0, 7.0, 5.0, 4.0,
]  # fmt: skip


def segment(**changes: Any) -> Segment:
    """A metered segment of constant elasticity."""
    fields = {
        "form": "isoelastic",
        "tokens_per_day": 3e9,
        "price_usd_per_mtok": 8.0,
        "price_elasticity": -1.3,
        "input_share": 0.7,
        "gpu_seconds_per_mtok_input": 110.0,
        "gpu_seconds_per_mtok_output": 560.0,
    }
    return Segment(**{**fields, **changes})


def budget(**changes: Any) -> Segment:
    """A segment that spends a fixed sum on compute."""
    return segment(
        **{"tariff": "budget", "form": "budget", "budget_usd_per_day": 700.0, "tokens_per_day": None, **changes}
    )


def fleet(stock: float, **changes: Any) -> RegionFleet:
    """A fleet of one type, for good unless orders are given."""
    return RegionFleet(**{"stock": {"gpu": stock}, "pue": 1.25, **changes})


def orders(lead_months: float = 3.0, cv: float = 0.0, **changes: Any) -> Orders:
    """How a region orders."""
    return Orders(**{"type": "gpu", "lead_time": LeadTime(mean_months=lead_months, cv=cv), **changes})


def region(plan: RegionFleet | None = None, **rental: Any) -> Region:
    """A region with a fleet, or without limit."""
    return Region(rental=Rental(**{"price_usd_per_gpu_hour": 2.5, **rental}), fleet=plan)


def world(
    *segments: Segment,
    gain: float = 7.0,
    months: int = 4,
    shock: Mapping[str, Any] | None = None,
    regions: Mapping[str, Region] | None = None,
    trend: Trend | None = None,
    pricing: Pricing | None = None,
    serving: Serving | None = None,
    vendor: Vendor | None = None,
    investors: Investors | None = None,
    gpu: Gpu = GPU,
    run: Mapping[str, Any] | None = None,
) -> Scenario:
    """A scenario of segments `chat`, `code` and so on; the shock strikes on the first day of its third month."""
    names = ("chat", "code", "batch")
    return Scenario(
        name="world",
        run=Run(**{"start": START, "months": months, "seed": 11, "replications": 2, "draws": 0, **(run or {})}),
        shock=Shock(**{"date": SHOCK_DATE, "efficiency_gain": gain, **(shock or {})}),
        trend=trend or Trend(),
        pricing=pricing or Pricing(),
        segments=dict(zip(names, segments or (segment(),), strict=False)),
        workloads={"talk": WORKLOAD},
        gpus={"gpu": gpu},
        regions=regions or {"here": region()},
        serving=serving,
        vendor=vendor,
        investors=investors,
    )


def stack_of(scenario: Scenario, replications: int = 1) -> Stack:
    """A stack of replications of a scenario that are all like its first, in closed form."""
    return run_stack(scenario.central(), [0] * replications, "closed_form")


def arms_of(scenario: Scenario, engine: str = "closed_form", **paths: Any) -> Arms:
    """The first replication of a scenario."""
    return run_arms(scenario.central(), 0, engine, **paths)


def compute(arms: Arms, arm: Arm, month: int = -1) -> float:
    """GPU-hours of an arm in a month, each day."""
    return arms[arm][month].consumption_per_day("gpu_hours")


def compute_ratio(arms: Arms, month: int = -1) -> float:
    """Compute with the shock over that without."""
    return compute(arms, "shock", month) / compute(arms, "baseline", month)


def rebound_of(arms: Arms, month: int = -1) -> float:
    """Rebound of the GPU-hours of a month."""
    value = rebound(*(compute(arms, arm, month) for arm in ("baseline", "frozen", "shock")))
    assert value is not None
    return value


def identical(one: Any, other: Any) -> bool:
    """Whether two results are the same to the last bit, NaN where NaN is."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return type(one) is type(other) and all(identical(getattr(one, n), getattr(other, n)) for n in names)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(identical, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(identical(value, other[key]) for key, value in one.items())
    return bool(one == other or (one != one and other != other))


def rivals(
    scenario: Scenario, offers: dict[str, Any], *, choice: dict[str, Any] | None = None, **providers: dict[str, Any]
) -> Scenario:
    """A scenario in which providers compete for its first segment."""
    known = {name: providers.get(name, {}) for name in offers}
    tables = {"providers": known, "segments.chat.offers": offers, "segments.chat.choice": choice or {}}
    return scenario.replace(tables)
