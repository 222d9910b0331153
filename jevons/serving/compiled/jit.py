"""How kernels are compiled: without the interpreter's lock, kept on disk, with the arithmetic of IEEE 754.

And without numba's counts of references, which cost more than all the rest of a request: two locked operations for each
array that one function passes to another.  The arrays are their caller's while a kernel runs, and kernels make none.

Machine code is kept in a folder of the user's, since an installed package may not be written to, and in one named for
the sources: numba looks at the file of a kernel only, and would go on with what other files said before.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

#: Files whose functions and constants are compiled into kernels, beside those of this folder.
ELSEWHERE = ("../crowd.py", "../../randomness.py", "../../workload.py")


def kernel(function: Function) -> Function:
    """Compile a function that Python calls; the machine code is kept for the next process."""
    folder = kept_in()
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = "" if folder is None else str(folder)
    try:
        compiled = numba.njit(nogil=True, cache=folder is not None, _nrt=False, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = before
    return compiled


def inner(function: Function) -> Function:
    """Compile a function into those that call it: what is passed on between two compiled functions is copied."""
    return numba.njit(forceinline=True, _nrt=False, error_model="numpy")(function)


def apart(function: Function) -> Function:
    """Compile a function that is called seldom, once and for all its callers.

    Called from an inner function it is compiled into the caller all the same: kept apart, a day costs a quarter more.
    """
    return numba.njit(_nrt=False, error_model="numpy")(function)


@cache
def kept_in() -> Path | None:
    """The folder of the machine code of these sources, made if need be; None where nothing can be written."""
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


def is_compiled(name: str) -> bool:
    """Whether machine code of a kernel is kept, from this process or another."""
    folder = kept_in()
    return folder is not None and any(folder.rglob(f"*.{name}-*.nbi"))


def _folders() -> list[Path]:
    """Where machine code may be kept, the best place first."""
    name = f"kernels-{_digest_of_sources()}"
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return [Path(given) / "jevons" / name]
    home = os.environ.get("XDG_CACHE_HOME")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return [
        (Path(home) if home else Path("~/.cache").expanduser()) / "jevons" / name,
        Path(tempfile.gettempdir()) / f"jevons-{user}" / name,
    ]


def _digest_of_sources() -> str:
    here = Path(__file__).parent
    digest = blake2b(digest_size=8)
    for path in (*sorted(here.glob("*.py")), *(here / name for name in ELSEWHERE)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@intrinsic
def prefetch(typing: Any, array: Any, place: Any) -> Any:  # noqa: ARG001 (the first argument of every intrinsic)
    """Ask for the line of the cache of a place in an array; a place that does not exist does no harm."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        from llvmlite import ir

        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        at = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        asked = builder.module.declare_intrinsic(
            "llvm.prefetch", [at.type], ir.FunctionType(ir.VoidType(), [at.type, number, number, number])
        )
        # To read, to keep in all caches, as data.
        builder.call(asked, [at, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, place), code
