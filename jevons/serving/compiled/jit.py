"""How kernels are compiled: without the interpreter's lock, kept on disk, with the arithmetic of IEEE 754.

And without numba's counts of references, which cost more than all the rest of a request: two locked operations for each
array that one function passes to another.  The arrays are their caller's while a kernel runs, and kernels make none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

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
