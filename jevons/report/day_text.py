"""A served day as text, data and files: what went in, what came out, and how near that is to what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jevons.day import DayResult
from jevons.report.data import SCHEMA_VERSION, estimate_data, to_json, without_gaps
from jevons.report.day_figure import figure_files
from jevons.report.files import csv_bytes, write_with_manifest
from jevons.report.numbers import SI, estimate, number, percents, scale_of
from jevons.report.text import paragraph
from jevons.report.words import clean
from jevons.results import Estimate

LABEL, UNIT, MEASURED, SIMULATED = 30, 12, 12, 24


def summary_table(result: DayResult) -> str:
    """The day as a table: measured and simulated side by side, then what was fitted and what was held out."""
    lines = [
        clean(result.scenario.title or result.scenario.name),
        setting(result),
        "",
        line("", "", "measured", interval_words(result)),
        *(line(*row) for row in table_rows(result)),
        "",
        *paragraph("About", [clean(result.scenario.description)]),
        *fit_lines(result),
        *paragraph("Requests", [requests_sentence(result)]),
        *hourly_lines(result),
    ]
    return "\n".join(text.rstrip() for text in lines) + "\n"


def setting(result: DayResult) -> str:
    """How the day was simulated."""
    run = result.scenario.run
    count = len(result.days)
    share = result.days[0].share_simulated
    sample = "every request" if share == 1.0 else f"1 request in {number(1.0 / share)}"
    noun = "replication" if count == 1 else "replications"
    return f"{count} {noun} · {sample} · seed {run.seed} · engine {result.engine}"


def interval_words(result: DayResult) -> str:
    """What the intervals are of."""
    return f"simulated [{100 * result.scenario.run.confidence:g} %]" if len(result.days) > 1 else "simulated"


def line(label: str, unit: str, measured: str, simulated: str) -> str:
    """A line of the table."""
    return f"{label:<{LABEL}} {unit:<{UNIT}} {measured:>{MEASURED}}  {simulated:<{SIMULATED}}"


def table_rows(result: DayResult) -> Iterator[tuple[str, str, str, str]]:
    """Label, unit, what was measured and what was simulated."""
    observed = result.observed
    speed = [end for end in (observed.speed_low_tokens_per_s, observed.speed_high_tokens_per_s) if end is not None]
    mean_nodes = compared(result.mean_nodes, observed.mean_nodes, 2)
    yield "nodes in use, mean", "node", plain(observed.mean_nodes, 2), mean_nodes
    yield "cost", "USD", plain(observed.cost_usd, 0), compared(result.cost_usd, observed.cost_usd, 0)
    yield "speed for a user", "token/s", " to ".join(map(number, speed)), told(result.user_speed_tokens_per_s)
    yield "time to first token, mean", "s", "", told(result.latency_s("ttft", "mean"))
    yield "time to first token, p95", "s", "", told(result.latency_s("ttft", "p95"))
    yield "time per output token, mean", "s", "", told(result.latency_s("tpot", "mean"))
    yield "time per output token, p95", "s", "", told(result.latency_s("tpot", "p95"))
    yield "requests lost", "request", "", told(result.total("lost"))
    for name, tokens in zip(("input", "cached input", "output"), result.tokens_per_day, strict=True):
        prefix, factor = scale_of([tokens.mean], SI)
        yield f"{name} tokens served", f"{prefix}token", "", told(tokens.mapped(lambda value, f=factor: value / f))  # type: ignore[misc]
    yield "busy share of nodes in use", "%", "", told(result.busy_share.mapped(lambda share: 100 * share))
    yield "share of capacity used", "%", "", told(result.capacity_share.mapped(lambda share: 100 * share))


def told(value: Estimate | None) -> str:
    """An estimate, or that there is none."""
    if value is None:
        return "not known to this engine"
    return number(value.mean) if value.low is None else estimate(value)


def plain(value: float | None, decimals: int) -> str:
    """A number with all its digits, or an empty cell."""
    return "" if value is None else f"{value:,.{decimals}f}"


def compared(value: Estimate, measured: float | None, decimals: int) -> str:
    """An estimate with all its digits, and how far it is from what was measured."""
    known = value.low is not None and value.high is not None
    ends = f" [{plain(value.low, decimals)}, {plain(value.high, decimals)}]" if known else ""
    off = "" if measured is None else f", {percents([value.mean / measured - 1.0], signed=True)[0]} %"
    return f"{plain(value.mean, decimals)}{ends}{off}"


def fit_lines(result: DayResult) -> list[str]:
    """What was fitted, on what, and how far off the hours are that were not used for it."""
    headroom = result.scenario.serving.autoscaler.headroom if result.scenario.serving else 1.0
    if result.fitted_error is None or result.held_out_error is None:
        return []
    fitted, held_out = percents([result.fitted_error, result.held_out_error])
    hours = len(result.observed.fitted_hours)
    others = len(result.observed.hourly_nodes) - hours
    return paragraph(
        "Fitted",
        [
            f"The autoscaler's headroom, {number(headroom)}, on the node counts of {hours} hours.",
            f"Mean absolute error of the nodes: {fitted} % in those hours, {held_out} % in the {others} held out.",
        ],
    )


def requests_sentence(result: DayResult) -> str:
    """How many requests there were, and what became of them."""
    arrived = result.total("requests")
    share = result.total("lost").mean / arrived.mean if arrived.mean > 0 else 0.0
    prefix, factor = scale_of([arrived.mean], SI)
    return f"{number(arrived.mean / factor)} {prefix}requests arrived; {percents([share])[0]} % of them gave up."


def hourly_lines(result: DayResult) -> list[str]:
    """Nodes in use hour by hour, measured and simulated; f marks the hours of the fit."""
    observed = result.observed.hourly_nodes
    if not observed:
        return []
    fitted = set(result.observed.fitted_hours)
    cells = [
        f"{hour:>2}{'f' if hour in fitted else ' '} {measured:>6.4g} {simulated:>6.4g}"
        for hour, (measured, simulated) in enumerate(zip(observed, result.hourly_nodes, strict=True))
    ]
    rows = -(-len(cells) // 4)
    columns = [cells[first : first + rows] for first in range(0, len(cells), rows)]
    return [
        "",
        "Nodes by hour: hour (f: fitted), measured, simulated",
        *("   ".join(column[row] for column in columns if row < len(column)) for row in range(rows)),
    ]


def summary_json(result: DayResult) -> dict[str, Any]:
    """Every figure of the day, ready for `json.dumps`."""
    observed = result.observed
    content = {
        "schema_version": SCHEMA_VERSION,
        "kind": "day",
        "name": result.scenario.name,
        "title": result.scenario.title,
        "digest": result.scenario.digest,
        "engine": result.engine,
        "seed": result.scenario.run.seed,
        "replications": len(result.days),
        "share_simulated": result.days[0].share_simulated,
        "measured": {
            "mean_nodes": observed.mean_nodes,
            "cost_usd": observed.cost_usd,
            "speed_tokens_per_s": [observed.speed_low_tokens_per_s, observed.speed_high_tokens_per_s],
            "hourly_nodes": observed.hourly_nodes,
        },
        "mean_nodes": estimate_data(result.mean_nodes),
        "cost_usd": estimate_data(result.cost_usd),
        "speed_tokens_per_s": estimate_data(result.user_speed_tokens_per_s),
        "ttft_s": latency_data(result, "ttft"),
        "tpot_s": latency_data(result, "tpot"),
        "tokens": dict(zip(("input", "cached", "output"), map(estimate_data, result.tokens_per_day), strict=True)),
        "requests": estimate_data(result.total("requests")),
        "lost_requests": estimate_data(result.total("lost")),
        "busy_share": estimate_data(result.busy_share),
        "share_of_capacity": estimate_data(result.capacity_share),
        "hourly_nodes": result.hourly_nodes.tolist(),
        "headroom": result.scenario.serving.autoscaler.headroom if result.scenario.serving else None,
        "headroom_is_fitted": result.is_fitted,
        "fitted_hours": observed.fitted_hours,
        "error_fitted": result.fitted_error,
        "error_held_out": result.held_out_error,
    }
    finite: dict[str, Any] = without_gaps(content)
    return finite


def latency_data(result: DayResult, name: str) -> dict[str, Any]:
    """Mean and percentiles of a latency."""
    return {statistic: estimate_data(result.latency_s(name, statistic)) for statistic in ("mean", "p50", "p95", "p99")}


def write_run(result: DayResult, directory: str | Path) -> Sequence[str]:
    """Write a day as a run directory; names of the files: summary, hours, requests of a trace, figure, manifest."""
    contents = {
        "summary.txt": summary_table(result).encode(),
        "summary.json": to_json(summary_json(result)).encode(),
        "hours.csv": csv_bytes(result.hourly.to_csv),
        **figure_files(result),
    }
    if result.days[0].records is not None:
        contents["requests.csv"] = csv_bytes(result.write_requests)
    return write_with_manifest(directory, contents, result.scenario, result.engine)
