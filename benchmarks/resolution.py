"""What the resolution does to the answer: DeepSeek's day on thinned fleets, drawn to benchmarks/results/resolution.png.

python -m benchmarks.resolution
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from jevons.day import DayResult, simulate_day
from jevons.results import Estimate
from jevons.scenario import Scenario, load

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "resolution.png"
RESOLUTIONS = (300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000)
#: The whole of each hour, and the four minutes of it that the main job simulates.
MINUTES = (60.0, 4.0)
REPLICATIONS = 6


def main() -> None:
    """Serve the day at each resolution, print a table, draw a figure."""
    base = load(ROOT / "scenarios" / "deepseek_day.toml").replace({"run.replications": REPLICATIONS})
    results = {
        minutes: {
            resolution: simulate_day(at_resolution(base, resolution, minutes), workers=2) for resolution in RESOLUTIONS
        }
        for minutes in MINUTES
    }
    heads = ("GPU-hours", "speed, tokens/s", "TTFT mean, s", "TTFT p95, s")
    print(f"{'min/h':>6} {'requests/day':>13}  " + "  ".join(f"{head:>22}" for head in heads))
    for minutes, by_resolution in results.items():
        for resolution, result in by_resolution.items():
            cells = "  ".join(f"{figure!s:>22}" for figure in figures(result).values())
            print(f"{minutes:>6.0f} {resolution:>13,}  {cells}")
    RESULT.parent.mkdir(exist_ok=True)
    drawn(results).savefig(RESULT, dpi=110, metadata={"Software": None})


def at_resolution(base: Scenario, resolution: int, minutes: float) -> Scenario:
    """The scenario at a resolution; every fit made at its own."""
    return base.replace({"run.resolution": resolution, "run.sampled_minutes_per_hour": minutes})


def figures(result: DayResult) -> dict[str, Estimate]:
    """What is compared between resolutions."""
    found = {
        "GPU-hours": result.mean_nodes.mapped(lambda nodes: nodes * 24 * result.gpus_per_node),
        "speed of a user, tokens/s": result.user_speed_tokens_per_s,
        "TTFT mean, s": result.latency_s("ttft", "mean"),
        "TTFT p95, s": result.latency_s("ttft", "p95"),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def drawn(results: dict[float, dict[int, DayResult]]) -> Figure:
    """A panel for each figure: its value against the resolution, with intervals over replications."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    for panel, name in zip(panels, figures(results[60.0][RESOLUTIONS[-1]]), strict=True):
        for (minutes, by_resolution), colour, marker in zip(results.items(), ("#0072B2", "#D55E00"), "os", strict=True):
            estimates = [figures(result)[name] for result in by_resolution.values()]
            middle = [estimate.mean for estimate in estimates]
            error = [estimate.half_width or 0.0 for estimate in estimates]
            panel.errorbar(
                list(by_resolution), middle, yerr=error, color=colour, marker=marker, capsize=3,
                label=f"{minutes:.0f} of 60 minutes of each hour",
            )  # fmt: skip
        reference = figures(results[60.0][RESOLUTIONS[-1]])[name].mean
        panel.axhspan(0.98 * reference, 1.02 * reference, color="0.9", zorder=0)
        panel.set(xscale="log", title=name, ylim=(0.8 * reference, 1.2 * reference))
    for panel in panels[2:]:
        panel.set_xlabel("requests simulated for the day (of 153 million)")
    panels[0].legend(frameon=False)
    figure.suptitle("DeepSeek's day at seven resolutions; grey: within 2 % of the finest; bars: 90 % over replications")
    return figure


if __name__ == "__main__":
    main()
