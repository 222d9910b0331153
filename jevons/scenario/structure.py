"""How the tables of a scenario hold each other, as their classes declare it."""

from __future__ import annotations

from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jevons.scenario.fields import Distribution, is_uncertain
from jevons.scenario.keys import KeyPath


def is_by_name(field: FieldInfo) -> bool:
    """Whether a field holds values under names that the user chooses, as `segments`."""
    return get_origin(field.annotation) is dict


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    """Class of the table, or of the tables by name, that a field may hold; None for other values."""
    if is_uncertain(field):
        return Distribution
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def holds_named_tables(root: type[BaseModel], key: str) -> bool:
    """Whether a key of a table holds tables by name."""
    field = root.model_fields.get(key)
    return field is not None and is_by_name(field) and table_of(field) not in (None, Distribution)


def table_at(root: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """Class of the table at a path; None if there is no table."""
    table: type[BaseModel] | None = root
    keys = iter(path)
    for key in keys:
        field = table.model_fields.get(str(key)) if table is not None else None
        if field is None or (is_by_name(field) and next(keys, None) is None):
            return None
        table = table_of(field)
    return table


def known_keys(root: type[BaseModel], path: KeyPath) -> tuple[str, ...]:
    """Keys that the table at a path may hold."""
    table = table_at(root, path)
    return tuple(table.model_fields) if table is not None else ()


def field_at(root: type[BaseModel], path: KeyPath) -> FieldInfo | None:
    """Field that a path leads to, or into."""
    for end in range(len(path), 0, -1):
        table = table_at(root, path[: end - 1])
        if table is not None:
            return table.model_fields.get(str(path[end - 1]))
    return None
