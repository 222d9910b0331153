"""How kernels are compiled: without the interpreter's lock, kept on disk, with the arithmetic of IEEE 754."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function that Python calls; the machine code is kept for the next process."""
    return numba.njit(nogil=True, cache=True, error_model="numpy")(function)  # type: ignore[no-any-return]


def inner(function: Function) -> Function:
    """Compile a function that kernels call, into them: an array that is passed on costs a reference count."""
    return numba.njit(error_model="numpy")(function)  # type: ignore[no-any-return]
