"""What a reader is told of the vendor: its value with and without the shock, and how far it falls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jevons.finance.tails import expected_shortfall, value_at_risk
from jevons.randomness import Floats
from jevons.results import Estimate, share

#: Falls of January 2025, of twice and of three times as much.
FALLS = (0.17, 0.34, 0.51)
#: Share of the draws that value at risk and expected shortfall leave below them.
RISK_LEVEL = 0.95

#: The worst of investors since the shock, by field.
WORST = {
    "lowest_funding": "lowest_funding",
    "least_hedge": "least_hedge_share",
    "most_ponzi": "most_ponzi_share",
    "sold": "sold_since_shock",
}

Headlines = Mapping[tuple[str, str], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinanceSummary:
    """The vendor at the horizon; widths are those of the draws, or of the replications where there are none."""

    #: Change of the value by the shock, in its first month and at the horizon, and of the margin in points.
    value_change_at_shock: Estimate
    value_change: Estimate
    margin_change: Estimate
    margin_without: float
    margin_with: float
    #: Price of a GPU at the horizon over that of the start.
    gpu_price_without: float
    gpu_price_with: float
    #: Largest fall of the value from its highest since the shock.
    drawdown: Estimate
    drawdown_without: Estimate
    #: Share of the samples that fall so far or farther, by fall.
    falls: Mapping[float, Estimate]
    #: Of the loss of value by the shock at the horizon, over the samples.
    value_at_risk: float
    expected_shortfall: float
    #: The worst of it since the shock, with it; None without investors: funding left of what would be ordered, share
    #: of hedge and of Ponzi finance in investors' assets, forced sales as a share of the sector.
    lowest_funding: Estimate | None
    least_hedge: Estimate | None
    most_ponzi: Estimate | None
    sold: Estimate | None


def finance_summary(replications: Headlines, draws: Headlines | None, confidence: float) -> FinanceSummary:
    """The summary of a run.

    Parameters
    ----------
    replications, draws : mapping of (arm, name) to ndarray, shape (samples,)
        The vendor's figures in the last month, at the centre of the inputs and over draws of them.
    confidence : float
        Share of the intervals that should hold the truth.
    """
    samples = replications if draws is None else draws

    def estimate(values: Floats) -> Estimate:
        make = Estimate.from_replications if draws is None else Estimate.from_draws
        return make(values, confidence)

    def mean(arm: str, name: str) -> float:
        return float(replications[arm, name].mean())

    def change(name: str) -> Floats:
        return np.asarray(samples["shock", name] / samples["baseline", name] - 1.0)

    drawdowns = samples["shock", "largest_drawdown"]
    has_investors = ("shock", "funding") in samples
    losses = -change("vendor_value_usd")
    return FinanceSummary(
        value_change_at_shock=estimate(change("vendor_value_at_shock_usd")),
        value_change=estimate(-losses),
        margin_change=estimate(samples["shock", "vendor_margin"] - samples["baseline", "vendor_margin"]),
        margin_without=mean("baseline", "vendor_margin"),
        margin_with=mean("shock", "vendor_margin"),
        gpu_price_without=mean("baseline", "relative_gpu_price"),
        gpu_price_with=mean("shock", "relative_gpu_price"),
        drawdown=estimate(drawdowns),
        drawdown_without=estimate(samples["baseline", "largest_drawdown"]),
        falls={fall: share(int((drawdowns >= fall).sum()), len(drawdowns), confidence) for fall in FALLS},
        value_at_risk=value_at_risk(losses, RISK_LEVEL),
        expected_shortfall=expected_shortfall(losses, RISK_LEVEL),
        **{field: estimate(samples["shock", name]) if has_investors else None for field, name in WORST.items()},
    )
