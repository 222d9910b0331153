"""The engines by name: what each can do, and what stands in for one that cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import simpy

from jevons.errors import UsageError
from jevons.randomness import Draws
from jevons.serving import closed_form, plain_engine, simpy_engine
from jevons.serving.interface import Day, Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingEngine:
    """An engine and how it is best put to work."""

    serve: Engine
    #: Whether a stack of days can be served at once.
    can_stack: Callable[[Day], bool] = lambda _: False
    #: Serve a stack of days, with draws for each day and so many threads; the event succeeds as that of `serve`.
    serve_stack: Callable[[simpy.Environment, Day, Sequence[Draws], int], simpy.Event] | None = None
    #: Whether it lets other threads run while it serves.
    runs_in_threads: bool = False
    #: Whether it draws single requests; if not, nothing in a month is drawn one by one.
    draws_singly: bool = True
    #: What the user should know before a first use takes its time, in words; empty if nothing.
    preparation: Callable[[], str] = lambda: ""


# numba takes half a second to import: only who serves with it waits for it.


def _serve_compiled(env: simpy.Environment, day: Day, draws: Draws) -> simpy.Event:
    from jevons.serving import compiled_engine

    return compiled_engine.serve(env, day, draws)


def _can_stack_compiled(days: Day) -> bool:
    from jevons.serving import compiled_stack

    return compiled_stack.can_stack(days)


def _serve_stack_compiled(env: simpy.Environment, days: Day, draws: Sequence[Draws], threads: int) -> simpy.Event:
    from jevons.serving import compiled_stack

    return env.timeout(days.duration_s, compiled_stack.served_stack(days, draws, threads))


def _preparation_of_compiled() -> str:
    from jevons.serving.compiled import jit

    if all(map(jit.is_compiled, ("advance", "serve_days"))):
        return ""
    return "compiling the serving engine, which takes about a minute; its machine code is kept for the next time"


def _serve_closed_form(
    env: simpy.Environment,
    days: Day,
    draws: Sequence[Draws],
    threads: int,  # noqa: ARG001 (engines share a signature)
) -> simpy.Event:
    return closed_form.serve(env, days, draws[0])


#: Engines by the name that `--engine` takes.
ENGINES: dict[str, ServingEngine] = {
    "compiled": ServingEngine(
        serve=_serve_compiled,
        can_stack=_can_stack_compiled,
        serve_stack=_serve_stack_compiled,
        runs_in_threads=True,
        preparation=_preparation_of_compiled,
    ),
    "simpy": ServingEngine(serve=simpy_engine.serve),
    "closed_form": ServingEngine(
        serve=closed_form.serve,
        can_stack=lambda _: True,
        serve_stack=_serve_closed_form,
        runs_in_threads=True,
        draws_singly=False,
    ),
}
DEFAULT_ENGINE = "compiled"

#: What takes the place of the compiled engine where kernels cannot be compiled.
WITHOUT_COMPILER = ServingEngine(
    serve=plain_engine.serve,
    preparation=lambda: "serving in plain Python, about ten times slower, for want of numba: pip install numba",
)


@cache
def has_compiler() -> bool:
    """Whether kernels can be compiled."""
    try:
        import numba  # noqa: F401 (whether it can be imported is the question)
    except ImportError:
        return False
    return True


def engine(name: str) -> ServingEngine:
    """The engine of a name."""
    if name not in ENGINES:
        raise UsageError(f"engine must be one of {', '.join(ENGINES)}, not {name!r}")
    return WITHOUT_COMPILER if name == "compiled" and not has_compiler() else ENGINES[name]
