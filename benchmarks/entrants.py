"""Everybody who is measured, in the order of the table; the first is what the others are compared with."""

from __future__ import annotations

from benchmarks import ours
from benchmarks.engines import Engine
from benchmarks.rivals import c_program, ciw_models, plain_simpy, salabim_models

ENTRANTS: tuple[Engine, ...] = (
    ours.COMPILED,
    ours.SIMPY,
    c_program.KERNELS,
    c_program.BARE,
    plain_simpy.ENGINE,
    ciw_models.ENGINE,
    salabim_models.ENGINE,
)


def entrant(name: str) -> Engine:
    """The engine of that name."""
    return next(engine for engine in ENTRANTS if engine.name == name)
