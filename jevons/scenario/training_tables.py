"""Tables of the training segments: the jobs that a budget buys, and the rival whose spend it follows."""

from __future__ import annotations

from jevons.scenario.fields import FACTOR, POSITIVE, Range, Table, Uncertain, quantity, text


class Jobs(Table):
    """Jobs of a budget: gangs of GPUs on training's own nodes and on those that serving has switched off."""

    gpus: list[float] = quantity(
        "H100e", "GPUs of a job of each size at the start, all at once.", Range(above=0, at_most=1e9)
    )
    gpus_growth_per_year: float = quantity("1/year", "Factor by which the GPUs of a job grow each year.", FACTOR, 1.0)
    hours: list[float] = quantity(
        "h", "Mean time that a job of each size computes, failures apart.", Range(above=0, at_most=1e5)
    )
    weight: list[float] = quantity("1", "Share of the jobs that are of each size.", Range(above=0, at_most=1), [1.0])
    sigma: float = quantity(
        "1",
        "Standard deviation of the logarithm of a job's hours (lognormal); 0 is a constant.",
        Range(at_least=0, at_most=4),
        0.0,
    )
    own_share: Uncertain = quantity(
        "1",
        "Share of the region's powered GPUs that is training's own, out of serving's reach.",
        Range(at_least=0, below=1),
        0.0,
    )
    checkpoint_minutes: float = quantity(
        "min",
        "Time between two checkpoints: what was computed since the last is lost when nodes are taken back or fail.",
        Range(at_least=0, at_most=1e5),
        30.0,
    )
    restart_minutes: float = quantity(
        "min", "Time to start again from a checkpoint.", Range(at_least=0, at_most=1e5), 10.0
    )
    node_mtbf_days: float | None = quantity(
        "day", "Mean time between failures of a node, each of which stops its job; none if not given.", POSITIVE, None
    )
    gpus_per_node: float = quantity("H100e", "GPUs of a node.", Range(above=0, at_most=1e5), 8.0)
    backfill: bool = text(
        "Whether later jobs may start on what is free where that does not put off the first in line (EASY).", True
    )
    patience_hours: float | None = quantity(
        "h", "A job that has not started after this is given up; never if not given.", Range(above=0, at_most=1e6), None
    )
    jobs_simulated: float = quantity(
        "job/month",
        "Jobs simulated a month at the start, at most: beyond, jobs and GPUs are thinned alike.",
        Range(above=0, at_most=1e6),
        60.0,
    )


class Race(Table):
    """A budget that follows a rival's."""

    follows: str = text("Budget segment whose spend, relative to its trend, it follows a month later.")
    response: Uncertain = quantity("1", "Elasticity of the own spend to the rival's.", Range(at_least=0, at_most=10))
    jump_with_shock: Uncertain = quantity(
        "1", "Factor by which the own spend jumps with the shock.", Range(at_least=1e-3, at_most=1e3), 1.0
    )
