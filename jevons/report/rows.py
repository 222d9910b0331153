"""The figures that a reader looks at first: before the shock, without it, with it, and what it changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jevons.answer import Result
from jevons.month_figures import headlines, training_headlines
from jevons.months import Month, TrainingMonth
from jevons.report.numbers import COUNTS, PLAIN, SI, Prefixes, scale_of
from jevons.results import Estimate
from jevons.scenario import Arm

#: Prices shown at most: those of the segments that the shock reaches most.
MOST_PRICES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure, each value the mean of the replications; None where it does not exist."""

    name: str
    label: str
    unit: str
    prefixes: Prefixes
    #: Month before the shock.
    before: float | None
    #: Last month, without the shock and with it.
    without: float
    with_shock: float
    #: Relative change by the shock: over replications, and over draws.
    change: Estimate | None
    drawn_change: Estimate | None

    @property
    def width(self) -> Estimate | None:
        """The change that is shown: the median of the draws where there are any, else that of the replications."""
        return self.change if self.drawn_change is None else self.drawn_change

    def scaled(self) -> tuple[str, float | None, float, float]:
        """Unit with a prefix that suits the values, and the values in it."""
        prefix, factor = scale_of([self.before, self.without, self.with_shock], self.prefixes)
        before = None if self.before is None else self.before / factor
        return prefix + self.unit, before, self.without / factor, self.with_shock / factor


#: Label, unit, prefixes, and factor from the model's unit, of each headline figure that is not of a segment.
KINDS: dict[str, tuple[str, str, Prefixes, float]] = {
    "usage": ("usage", "tok/day", SI, 1.0),
    "gpu_hours": ("GPU-hours", "H100e-h/day", COUNTS, 1.0),
    "serving": ("  of it serving", "H100e-h/day", COUNTS, 1.0),
    "budgets": ("  of it budgets", "H100e-h/day", COUNTS, 1.0),
    "installed": ("installed GPUs", "H100e", COUNTS, 1.0),
    "rental": ("rental price", "USD/GPU-h", PLAIN, 1.0),
    "energy": ("energy", "Wh/day", SI, 1e6),
    "spend": ("spend on compute", "USD/day", COUNTS, 1.0),
}
#: The same of the vendor, where there is one.
VENDOR_KINDS: dict[str, tuple[str, str, Prefixes, float]] = {
    "vendor_revenue_of_year_usd": ("vendor revenue", "USD/year", COUNTS, 1.0),
    "vendor_margin": ("vendor margin", "%", PLAIN, 100.0),
    "relative_gpu_price": ("GPU price, start 1", "", PLAIN, 1.0),
    "vendor_value_usd": ("vendor value", "USD", COUNTS, 1.0),
}


def rows(result: Result) -> list[Row]:
    """The rows of the table; figures that a scenario does not have are left out."""
    prices = [_price(result, name) for name in priced_segments(result)]
    known = [*prices, *_provider_shares(result), *_totals(result), *training_rows(result)]
    waiting = _waiting(result)
    return [row for row in known if row.without > 0 or row.with_shock > 0] + ([waiting] if waiting else [])


def priced_segments(result: Result) -> list[str]:
    """Served segments, those that the shock reaches most first."""
    shock = result.scenario.central().shock
    served = {s.segment for s in result.stacks[0].arms["shock"][-1].segments if s.is_served}
    reach = {} if shock is None else shock.segment_reach
    ranked = sorted(served, key=lambda name: (-reach.get(name, 1.0), list(result.scenario.segments).index(name)))
    return ranked[:MOST_PRICES]


def _price(result: Result, segment: str) -> Row:
    return _row(result, f"price {segment}", f"price, {segment}", "USD/Mtok", PLAIN)


def _provider_shares(result: Result) -> Iterator[Row]:
    """Shares of the providers in each segment for which they compete."""
    segments = [name for name, segment in result.scenario.segments.items() if segment.offers]
    for figure in headlines(result.stacks[0].arms["shock"][-1]):
        if figure.startswith("share "):
            segment, provider = figure.removeprefix("share ").split("/", 1)
            label = f"share, {provider}" if len(segments) == 1 else f"share, {segment}/{provider}"
            yield _row(result, figure, label, "%", PLAIN, 100.0)


def _totals(result: Result) -> Iterator[Row]:
    has_budgets = any(result.headline("budgets", arm, -1).mean > 0 for arm in ("baseline", "shock"))
    for name, (label, unit, prefixes, factor) in KINDS.items():
        if has_budgets or name not in ("serving", "budgets"):
            yield _row(result, name, label, unit, prefixes, factor)
    if result.scenario.vendor is not None:
        for name, (label, unit, prefixes, factor) in VENDOR_KINDS.items():
            yield _row(result, name, label, unit, prefixes, factor)


def _row(result: Result, name: str, label: str, unit: str, prefixes: Prefixes, factor: float = 1.0) -> Row:
    before = result.stacks[0].arms["baseline"][month_before(result)]
    change, drawn = result.headline_change(name)
    exists = name in headlines(before)
    return Row(
        name=name.replace(" ", "_"),
        label=label,
        unit=unit,
        prefixes=prefixes,
        before=factor * result.headline(name, "baseline", before.month).mean if exists else None,
        without=factor * result.headline(name, "baseline", -1).mean,
        with_shock=factor * result.headline(name, "shock", -1).mean,
        change=change,
        drawn_change=drawn,
    )


def training_rows(result: Result) -> list[Row]:
    """Jobs of training: how many are finished, what they lose, how long they wait; none where no budget buys jobs."""
    if not training_headlines(result.stacks[0].arms["baseline"][-1]):
        return []
    finished = _row(result, "jobs", "jobs finished", "job/month", COUNTS)
    lost = _row(result, "lost", "GPU-hours lost by jobs", "H100e-h/day", COUNTS)
    without, with_shock = (mean_of_jobs(result, arm, -1, "waiting_h") for arm in ("baseline", "shock"))
    if without is None or with_shock is None:
        return [finished, lost]
    waiting = Row(
        name="job_waiting", label="job waiting", unit="h", prefixes=PLAIN,
        before=mean_of_jobs(result, "baseline", month_before(result), "waiting_h"),
        without=without, with_shock=with_shock, change=None, drawn_change=None,
    )  # fmt: skip
    return [finished, lost, waiting]


def mean_of_jobs(result: Result, arm: Arm, month: int, name: str) -> float | None:
    """Mean over replications of a figure of training's jobs, regions by the jobs they finished.

    None where it is not known in any.
    """
    found = [
        weighted_mean([getattr(one, name) for one in trained], [one.jobs_finished for one in trained])
        for trained in map(trained_in, result.months_of_replications(arm, month))
    ]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None


def trained_in(month: Month) -> list[TrainingMonth]:
    """Training of the regions that have any."""
    return [region.training for region in month.regions if region.training is not None]


def month_before(result: Result) -> int:
    """The last month before the shock."""
    return max(result.shock_month - 1, 0)


def _waiting(result: Result) -> Row | None:
    segment, *_ = priced_segments(result) or [""]
    before = _mean_p95_ttft_s(result, "baseline", month_before(result), segment)
    without, with_shock = (_mean_p95_ttft_s(result, arm, -1, segment) for arm in ("baseline", "shock"))
    if without is None or with_shock is None:
        return None
    return Row(
        name=f"p95_ttft_{segment}", label=f"p95 TTFT, {segment}", unit="s", prefixes=PLAIN,
        before=before, without=without, with_shock=with_shock,
        change=None, drawn_change=None,
    )  # fmt: skip


def _mean_p95_ttft_s(result: Result, arm: Arm, month: int, segment: str) -> float | None:
    values = [p95_ttft_s(one, segment) for one in result.months_of_replications(arm, month)]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def p95_ttft_s(month: Month, segment: str) -> float | None:
    """Time that one request in twenty of a segment waits for its first token on a weekday, regions by requests.

    None where no single requests were simulated.
    """
    waits, weights = [], []
    for region in month.regions:
        names = [s.segment for s in month.segments if s.is_served and s.region == region.region]
        if region.days and segment in names:
            day, stream = region.days[0], names.index(segment)
            waits.append(float(day.stream_latencies.p95_ttft_s[stream]))
            weights.append(float(day.requests[:, stream].sum()))
    return weighted_mean(waits, weights)


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float | None:
    """Mean of the values that exist; None where none does."""
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if np.isfinite(value)]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total > 0 else None
