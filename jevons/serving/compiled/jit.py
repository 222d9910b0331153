"""How kernels are compiled: without the interpreter's lock, kept on disk, with the arithmetic of IEEE 754."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function that Python calls; the machine code is kept for the next process."""
    return numba.njit(nogil=True, cache=True, error_model="numpy")(function)  # type: ignore[no-any-return]


def inner(function: Function) -> Function:
    """Compile a function into those that call it: what is passed on between two compiled functions is copied."""
    return numba.njit(forceinline=True, error_model="numpy")(function)  # type: ignore[no-any-return]


def apart(function: Function) -> Function:
    """Compile a function that is called seldom, once and for all its callers."""
    return numba.njit(error_model="numpy")(function)  # type: ignore[no-any-return]


@intrinsic  # type: ignore[untyped-decorator]
def borrowed(typing: Any, array: Any) -> Any:  # noqa: ARG001 (the first argument of every intrinsic)
    """An array whose references are not counted, while its owner waits for the kernel.

    Each array that one compiled function passes to another costs two locked counts, some 10 ns: of a request that goes
    through thirty small functions, nine tenths of its time.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        own = context.make_array(signature.args[0])(context, builder, args[0])
        own.meminfo = own.meminfo.type(None)
        own.parent = own.parent.type(None)
        return own._getvalue()

    return array(array), code
