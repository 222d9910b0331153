"""Serving a day of requests on a region's fleet: one interface, several engines."""

from __future__ import annotations

from jevons.errors import UsageError
from jevons.serving import closed_form, simpy_engine
from jevons.serving.interface import Day, Engine, Flow, Latencies, Records, ServedDay, Stream, StreamLatencies
from jevons.serving.sizing import reference_gpu_seconds_per_mtok

__all__ = [
    "ENGINES",
    "Day",
    "Engine",
    "Flow",
    "Latencies",
    "Records",
    "ServedDay",
    "Stream",
    "StreamLatencies",
    "engine",
    "reference_gpu_seconds_per_mtok",
]

#: Engines by the name that `--engine` takes.
ENGINES: dict[str, Engine] = {"simpy": simpy_engine.serve, "closed_form": closed_form.serve}


def engine(name: str) -> Engine:
    """The engine of a name."""
    if name not in ENGINES:
        raise UsageError(f"engine must be one of {', '.join(ENGINES)}, not {name!r}")
    return ENGINES[name]
