"""Stacks of worlds: many worlds go through the same equations at once, a number of each in one array.

A quantity of a stack is an array of shape (worlds,), or a plain float where it is the same in all of them, so a
single world needs no arrays at all.  The functions here are those of `math` for both: each world's result is
what it would be alone, to the last bit, whatever worlds stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from math import erfc as erfc_of_float
from typing import Annotated, Any, TypeVar, cast

import numpy as np

#: A number of each world.  As an uncertain input of a scenario, it counts as a float everywhere.
PerWorld = Annotated[float, "or an array of shape (worlds,)"]

#: Conditions that are the same in all worlds.
SINGLE = (bool, np.bool_)

Thing = TypeVar("Thing")


def exp(x: PerWorld) -> PerWorld:
    """Exponential."""
    return cast(float, np.exp(x))


def expm1(x: PerWorld) -> PerWorld:
    """Exponential less 1, exact near 0."""
    return cast(float, np.expm1(x))


def log(x: PerWorld) -> PerWorld:
    """Natural logarithm."""
    return cast(float, np.log(x))


def log1p(x: PerWorld) -> PerWorld:
    """Natural logarithm of 1 + x, exact near 0."""
    return cast(float, np.log1p(x))


def sqrt(x: PerWorld) -> PerWorld:
    """Square root."""
    return cast(float, np.sqrt(x))


def erfc(x: PerWorld) -> PerWorld:
    """Complementary error function."""
    if np.ndim(x) == 0:
        return erfc_of_float(x)
    return cast(float, np.array([erfc_of_float(value) for value in np.asarray(x).tolist()]))


def larger(x: PerWorld, y: PerWorld) -> PerWorld:
    """The larger of two numbers."""
    return cast(float, np.maximum(x, y))


def smaller(x: PerWorld, y: PerWorld) -> PerWorld:
    """The smaller of two numbers."""
    return cast(float, np.minimum(x, y))


def where(condition: object, so: PerWorld, otherwise: PerWorld) -> PerWorld:
    """One number in the worlds in which a condition holds, another in the rest; both are computed for all."""
    if isinstance(condition, SINGLE):
        return so if condition else otherwise
    return cast(float, np.where(cast(bool, condition), so, otherwise)[()])


def ratio(part: PerWorld, whole: PerWorld, *, otherwise: PerWorld) -> PerWorld:
    """Part over whole, and something else where the whole is not above 0."""
    is_positive = np.greater(whole, 0.0)
    return where(is_positive, part / where(is_positive, whole, 1.0), otherwise)


def every(condition: object) -> bool:
    """Whether a condition holds in every world."""
    if isinstance(condition, SINGLE):
        return bool(condition)
    # What `numpy.all` does, without its ceremony.
    return bool(np.logical_and.reduce(cast(bool, condition), axis=None))


def of_world(thing: Thing, world: int) -> Thing:
    """One world of a stack: dataclasses, tuples and arrays with a leading axis (worlds, ...), all that is inside them.

    What is no array is the same in all worlds.
    """
    return cast(Thing, _of_world(thing, world))


def _of_world(thing: Any, world: int) -> Any:
    if isinstance(thing, np.ndarray):
        return thing[world] if thing.ndim > 1 else thing[world].item()
    if isinstance(thing, tuple):
        return tuple(_of_world(item, world) for item in thing)
    kind: Any = type(thing)
    if names := _names(kind):
        return kind(**{name: _of_world(getattr(thing, name), world) for name in names})
    return thing


def stacked(things: Sequence[Thing]) -> Thing:
    """The stack of some worlds, of which `of_world` gives each back; numbers become arrays."""
    return cast(Thing, _stacked(things))


def _stacked(things: Sequence[Any]) -> Any:
    first = things[0]
    if isinstance(first, (np.ndarray, float, int)):
        return np.array(things)
    if isinstance(first, tuple):
        return tuple(_stacked(items) for items in zip(*things, strict=True))
    kind: Any = type(first)
    if names := _names(kind):
        return kind(**{name: _stacked([getattr(thing, name) for thing in things]) for name in names})
    return first


@cache
def _names(kind: type) -> tuple[str, ...]:
    """Fields of a dataclass; none of anything else."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
