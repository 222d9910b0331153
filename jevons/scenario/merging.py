"""Tables laid upon tables: what a file extends, the file, and overrides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from jevons.scenario.keys import dotted
from jevons.scenario.structure import holds_named_tables
from jevons.scenario.wording import shown, suggestion


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of `over` laid on `base`, table by table; a list or a distribution replaces what was there.

    Examples
    --------
    >>> merged({"run": {"months": 24, "seed": 1}}, {"run": {"seed": 2}})
    {'run': {'months': 24, 'seed': 2}}
    """
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and "dist" not in value:
            value = merged(old, value)
        result[key] = value
    return result


def all_merged(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Tables laid on each other, the last on top."""
    result: dict[str, Any] = {}
    for over in tables:
        result = merged(result, over)
    return result


def nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    """Tables that hold a single value.

    Examples
    --------
    >>> nested(("run", "months"), 24)
    {'run': {'months': 24}}
    """
    *outer, last = path
    table = {last: value}
    for key in reversed(outer):
        table = {key: table}
    return table


def check_names(root: type[BaseModel], path: Sequence[str], tables: Mapping[str, Any]) -> None:
    """Refuse a path into a segment, region or the like that does not exist: setting it would make a new one.

    Raises
    ------
    ValueError
        If the path leads into a table that has a name of its own and is not among `tables`.
    """
    room = path[0]
    if len(path) < 3 or not holds_named_tables(root, room):
        return
    names = tables.get(room)
    if not isinstance(names, dict) or path[1] not in names:
        near = suggestion(path[1], names if isinstance(names, dict) else ())
        raise ValueError(f"{dotted(tuple(path))}: there is no {shown(path[1])} in {room}{near}")
