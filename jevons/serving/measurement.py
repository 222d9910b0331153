"""From what was written down of the simulated requests to the hours of the true fleet."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jevons.randomness import Floats
from jevons.serving import sizing
from jevons.serving.autoscaling import NodePlan
from jevons.serving.book import Book, Tally
from jevons.serving.interface import Day, Flow, Latencies, Records, ServedDay, StreamLatencies
from jevons.serving.layouts import Totals
from jevons.serving.sizing import Load
from jevons.units import SECONDS_PER_HOUR
from jevons.workload import Requests

#: Largest relative difference between the two sides of Little's law: rounding of the clock.
ROUNDING = 1e-9


def flow_of(book: Book, first: list[Tally], second: list[Tally], now: float) -> Flow:
    """The account of the simulated requests; raises AssertionError unless it is in balance."""
    departed = np.array(book.departure[: book.arrived])
    lost = np.frombuffer(book.lost, dtype=np.uint8)[: book.arrived] > 0
    there = np.isnan(departed) & ~lost
    inside_s = float((now - np.array(book.entered[: book.arrived])[there]).sum())
    areas = [sum(tally.area_s for tally in tallies) for tallies in (first, second)]
    times = [sum(tally.time_s for tally in tallies) for tallies in (first, second)]
    flow = Flow(
        arrived=book.arrived,
        served=int((~np.isnan(departed)).sum()),
        lost=int(lost.sum()),
        inside=sum(tally.inside for tally in (*first, *second)),
        prefill_area_s=areas[0],
        prefill_time_s=times[0],
        decode_area_s=areas[1],
        decode_time_s=times[1],
    )
    return flow
