"""How kernels are compiled: without the interpreter's lock, kept on disk, with the arithmetic of IEEE 754.

And without numba's counts of references, which cost more than all the rest of a request: two locked operations for each
array that one function passes to another.  The arrays are their caller's while a kernel runs, and kernels make none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function that Python calls; the machine code is kept for the next process."""
    return numba.njit(nogil=True, cache=True, _nrt=False, error_model="numpy")(function)  # type: ignore[no-any-return]


def inner(function: Function) -> Function:
    """Compile a function into those that call it: what is passed on between two compiled functions is copied."""
    return numba.njit(forceinline=True, _nrt=False, error_model="numpy")(function)  # type: ignore[no-any-return]


def apart(function: Function) -> Function:
    """Compile a function that is called seldom, once and for all its callers."""
    return numba.njit(_nrt=False, error_model="numpy")(function)  # type: ignore[no-any-return]


@intrinsic  # type: ignore[untyped-decorator]
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
