"""The answer as data: for a program, or for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from jevons.answer import RESOURCE_UNITS, AnchorFit, Hinge, Result
from jevons.finance_summary import FinanceSummary
from jevons.hinges import rebounds
from jevons.rebound import DrawnRebound, Rebound, Verdict
from jevons.report.rows import Row, rows
from jevons.report.words import name_of_input
from jevons.results import Estimate
from jevons.scenario import ARMS

SCHEMA_VERSION = 1
#: Quantiles of the draws that are told.
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)

CSV_COLUMNS = (
    "scenario", "figure", "unit", "before", "without", "with", "change", "low", "high", "confidence", "samples", "kind",
)  # fmt: skip


def summary_json(result: Result) -> dict[str, Any]:
    """Every figure of the answer, ready for `json.dumps`: no NaN, no infinity."""
    scenario = result.scenario
    content = {
        "schema_version": SCHEMA_VERSION,
        "kind": scenario.kind,
        "name": scenario.name,
        "title": scenario.title,
        "digest": scenario.digest,
        "engine": result.engine,
        "seed": scenario.run.seed,
        "replications": result.replication_count,
        "draws": 0 if result.draws is None else result.draws.count,
        "confidence": scenario.run.confidence,
        "resource": scenario.run.resource,
        "resource_unit": RESOURCE_UNITS[scenario.run.resource],
        "start": scenario.run.start.isoformat(),
        "horizon": result.months[-1].isoformat(),
        "months": scenario.run.months,
        "months_since_shock": scenario.run.months - result.shock_month,
        "shock": {"title": scenario.shock.title, "date": scenario.shock.date.isoformat()} if scenario.shock else None,
        "figures": [row_data(row) for row in rows(result)],
        "consumption_per_day": {arm: float(result.consumption[arm][:, -1].mean()) for arm in ARMS},
        "rebound": {
            "horizon": rebound_data(result.rebound, result.drawn),
            "cumulated": rebound_data(result.rebound_cumulated, result.drawn_cumulated),
        },
        "channels_points": result.channels,
        "segment_rebounds": result.segment_rebounds,
        "hinges": [hinge_data(result, hinge) for hinge in result.hinges],
        "closed_form_gap": result.closed_form_gap,
        "anchors": [anchor_data(fit) for fit in result.anchors],
        "assumed": scenario.assumed(),
        "draw_quantiles": draw_quantiles(result),
        **({} if result.finance is None else {"finance": finance_data(result.finance)}),
    }
    finite: dict[str, Any] = without_gaps(content)
    return finite


def to_json(content: object) -> str:
    """A content as JSON text."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def without_gaps(content: Any) -> Any:
    """The content with null in place of what is no number."""
    if isinstance(content, Mapping):
        return {str(key): without_gaps(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [without_gaps(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def estimate_data(estimate: Estimate | None) -> dict[str, Any] | None:
    """A figure with its width; `low` and `high` are null where the width is not known."""
    if estimate is None:
        return None
    return {
        "mean": estimate.mean,
        "low": estimate.low,
        "high": estimate.high,
        "confidence": estimate.confidence,
        "samples": estimate.samples,
        "kind": estimate.kind,
    }


def row_data(row: Row) -> dict[str, Any]:
    """A row of the table, without prefixes to its unit."""
    return {
        "name": row.name,
        "unit": row.unit,
        "before": row.before,
        "without": row.without,
        "with": row.with_shock,
        "change": estimate_data(row.change),
        "change_over_draws": estimate_data(row.drawn_change),
    }


def rebound_data(at_centre: Rebound, drawn: DrawnRebound | None) -> dict[str, Any]:
    """A rebound with its verdicts, at the centre of the inputs and over draws of them."""
    return {
        "centre": {
            "value": estimate_data(at_centre.value),
            "log_value": estimate_data(at_centre.log_value),
            "regime": at_centre.regime,
            "causal": verdict_data(at_centre.causal),
            "gross": verdict_data(at_centre.gross),
        },
        "draws": None if drawn is None else {
            "value": estimate_data(drawn.value),
            "backfire": estimate_data(drawn.backfire),
            "undefined": drawn.undefined,
            "regime": drawn.regime,
            "causal": verdict_data(drawn.causal),
            "gross": verdict_data(drawn.gross),
        },
    }  # fmt: skip


def finance_data(summary: FinanceSummary) -> dict[str, Any]:
    """The vendor and its investors."""
    values = {field.name: getattr(summary, field.name) for field in fields(summary)}
    told = {name: estimate_data(value) if isinstance(value, Estimate) else value for name, value in values.items()}
    return {**told, "falls": {f"{fall:g}": estimate_data(share) for fall, share in summary.falls.items()}}


def verdict_data(verdict: Verdict) -> dict[str, Any]:
    """A verdict with the change it rests on."""
    return {
        "direction": verdict.direction,
        "certain": verdict.certain,
        "change": estimate_data(verdict.change),
    }


def hinge_data(result: Result, hinge: Hinge) -> dict[str, Any]:
    """An input that moves the rebound."""
    return {
        "input": name_of_input(hinge.keys, result.scenario.uncertain),
        "keys": list(hinge.keys),
        "rank_correlation": hinge.rank_correlation,
        "centre": hinge.centre,
        "break_even": hinge.break_even,
        "backfires_above": hinge.backfires_above,
    }


def anchor_data(fit: AnchorFit) -> dict[str, Any]:
    """An observation beside the baseline."""
    return {
        "name": fit.name,
        "what": fit.anchor.what,
        "segment": fit.anchor.segment,
        "region": fit.anchor.region,
        "start": fit.anchor.start.isoformat(),
        "end": fit.anchor.end.isoformat(),
        "observed_factor": fit.anchor.factor,
        "model_factor": fit.model_factor,
        "text": fit.anchor.text,
    }


def draw_quantiles(result: Result) -> dict[str, Any] | None:
    """Quantiles, over the draws, of the rebound, of the change by the shock, and of consumption in each arm."""
    if result.draws is None:
        return None
    last = {arm: result.draws.consumption[arm][:, -1] for arm in ARMS}
    consumed = last["baseline"] > 0
    return {
        "rebound": _quantiles(rebounds(result.draws)),
        "change": _quantiles(last["shock"][consumed] / last["baseline"][consumed] - 1.0),
        "consumption_per_day": {arm: _quantiles(last[arm]) for arm in ARMS},
    }


def _quantiles(values: Iterable[float]) -> dict[str, float] | None:
    sample = np.array([value for value in values if math.isfinite(value)])
    if not len(sample):
        return None
    return {f"{share:g}": float(value) for share, value in zip(QUANTILES, np.quantile(sample, QUANTILES), strict=True)}


def summary_csv(results: Sequence[Result]) -> str:
    """The rows of the tables of several results, then each one's rebounds, as comma-separated values."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for result in results:
        name = result.scenario.name
        for row in rows(result):
            values = (row.before, row.without, row.with_shock)
            writer.writerow((name, row.name, row.unit, *map(_cell, values), *_width_cells(row.width)))
        for figure, value in _rebound_figures(result).items():
            writer.writerow((name, figure, "1", "", "", "", *_width_cells(value)))
    return stream.getvalue()


def _rebound_figures(result: Result) -> dict[str, Estimate | None]:
    drawn, cumulated = result.drawn, result.drawn_cumulated
    return {
        "rebound": result.rebound.value,
        "rebound_over_draws": drawn.value if drawn else None,
        "backfire": drawn.backfire if drawn else None,
        "rebound_cumulated": result.rebound_cumulated.value,
        "rebound_cumulated_over_draws": cumulated.value if cumulated else None,
    }


def _width_cells(estimate: Estimate | None) -> list[str | int | float]:
    if estimate is None:
        return [""] * 6
    ends = map(_cell, (estimate.mean, estimate.low, estimate.high))
    return [*ends, estimate.confidence, estimate.samples, estimate.kind]


def _cell(value: float | None) -> str | float:
    return "" if value is None or not math.isfinite(value) else value
