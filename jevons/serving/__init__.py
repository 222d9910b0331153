"""Serving a day of requests on a region's fleet: one interface, several engines."""

from __future__ import annotations

from jevons.serving.engines import DEFAULT_ENGINE, ENGINES, ServingEngine, engine
from jevons.serving.interface import Day, Engine, Flow, Latencies, Records, ServedDay, Stream, StreamLatencies
from jevons.serving.sizing import reference_gpu_seconds_per_mtok

__all__ = [
    "DEFAULT_ENGINE",
    "ENGINES",
    "Day",
    "Engine",
    "Flow",
    "Latencies",
    "Records",
    "ServedDay",
    "ServingEngine",
    "Stream",
    "StreamLatencies",
    "engine",
    "reference_gpu_seconds_per_mtok",
]
