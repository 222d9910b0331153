"""What a table of a scenario holds, walked through: its distributions, its numbers, its plain content."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jevons.randomness import Floats
from jevons.scenario.fields import Distribution, Table
from jevons.scenario.keys import KeyPath, written_key
from jevons.scenario.structure import table_of

AnyTable = TypeVar("AnyTable", bound=Table)

#: Tables by name that leave no trace in the content where they hold nothing.
SILENT = {"offers", "provider_reach", "providers"}


def distributions(table: Table, prefix: str = "") -> Iterator[tuple[str, Distribution]]:
    """Every distribution inside a table, with its dotted key."""
    for key, value in leaves(table, prefix):
        if isinstance(value, Distribution):
            yield key, value


def numbers(table: Table, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every number that a table was given, with its dotted key; a distribution or a list is one.

    Defaults are left out: their source is the class that declares them.
    """
    for key, value in leaves(table, prefix, given_only=True):
        if isinstance(value, Distribution) or _is_numeric(value):
            yield key, value


def leaves(table: Table, prefix: str = "", *, given_only: bool = False) -> Iterator[tuple[str, object]]:
    """Everything inside a table that is no table, with its dotted key, in the order of the classes."""
    for name in type(table).model_fields:
        if not given_only or name in table.model_fields_set:
            yield from _leaves_of(getattr(table, name), prefix + name, given_only)


def _leaves_of(value: object, key: str, given_only: bool) -> Iterator[tuple[str, object]]:
    if isinstance(value, Table):
        yield from leaves(value, f"{key}.", given_only=given_only)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves_of(item, f"{key}.{written_key(name)}", given_only)
    else:
        yield key, value


def _is_numeric(value: object) -> bool:
    if isinstance(value, list):
        return any(map(_is_numeric, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def resolved(table: AnyTable, values: dict[str, float | Floats], prefix: str = "") -> AnyTable:
    """The table with a number for each distribution: that of `values`, which is taken out of it, or its median."""
    changes: dict[str, Any] = {}
    held = table.__dict__
    for name in _may_hold_distributions(type(table)):
        value = held[name]
        new = _resolved_value(value, values, prefix + name)
        if new is not value:
            changes[name] = new
    return table.model_copy(update=changes) if changes else table


def _resolved_value(value: Any, values: dict[str, float | Floats], key: str) -> Any:
    if isinstance(value, Distribution):
        number = values.pop(key, None)
        return value.central if number is None else float(number) if isinstance(number, int) else number
    if isinstance(value, Table):
        return resolved(value, values, f"{key}.")
    if isinstance(value, dict):
        new = {name: _resolved_value(item, values, f"{key}.{written_key(name)}") for name, item in value.items()}
        return new if any(new[name] is not item for name, item in value.items()) else value
    return value


@cache
def _may_hold_distributions(table: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name, field in table.model_fields.items() if _may_hold_one(field))


def _may_hold_one(field: FieldInfo) -> bool:
    inner = table_of(field)
    return inner is Distribution or (inner is not None and bool(_may_hold_distributions(inner)))


def plain(value: Any, *, given_only: bool = False) -> Any:
    """A table as what TOML would hold: tables, lists, numbers, texts and dates, without what is not set."""
    if isinstance(value, BaseModel):
        names = [name for name in type(value).model_fields if not given_only or name in value.model_fields_set]
        items = {name: getattr(value, name) for name in names}
        return _plain_items({name: item for name, item in items.items() if item or name not in SILENT}, given_only)
    return _plain_items(value, given_only) if isinstance(value, dict) else value


def _plain_items(table: dict[str, Any], given_only: bool) -> dict[str, Any]:
    return {key: plain(item, given_only=given_only) for key, item in table.items() if item is not None}


def without(table: Any, paths: Collection[KeyPath], here: KeyPath = ()) -> Any:
    """Plain tables without the keys at some paths."""
    if not isinstance(table, dict):
        return table
    kept = {key: item for key, item in table.items() if (*here, key) not in paths}
    return {key: without(item, paths, (*here, key)) for key, item in kept.items()}
