"""The scenario's classes as a JSON Schema for editors, and as a table for the manual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jevons.scenario.contents import plain
from jevons.scenario.fields import Distribution, is_uncertain, range_of, unit_of
from jevons.scenario.structure import is_by_name, table_of
from jevons.scenario.whole import Scenario
from jevons.scenario.wording import shown

DRAFT = "https://json-schema.org/draft/2020-12/schema"

#: Words that bound a number; on the schema of a list or of a table by name they belong to its items.
BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")

EXTENDS = {
    "description": "File or files, relative to this one, whose tables this one is laid on.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}


def json_schema() -> dict[str, Any]:
    """JSON Schema of a scenario file, draft 2020-12.

    Nothing is required but the family of a distribution: what a file leaves out may stand in those it extends.
    """
    schema = _for_files(Scenario.model_json_schema())
    schema["$defs"]["Distribution"]["required"] = ["dist"]
    properties = {"extends": EXTENDS, **schema.pop("properties")}
    return {"$schema": DRAFT, "title": "jevons scenario", **schema, "properties": properties}


def _for_files(node: Any) -> Any:
    """A schema without what no TOML file holds (null, titles of classes), and with its bounds on numbers."""
    if isinstance(node, list):
        return [_for_files(item) for item in node if item != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if not _is_idle(key, value)}
    result = {key: value if key == "default" else _for_files(value) for key, value in kept.items()}
    return _with_bounds_on_items(_with_single_choice(result))


def _is_idle(key: str, value: Any) -> bool:
    is_title = key == "title" and isinstance(value, str)
    return is_title or (key == "default" and value is None) or (key == "required" and isinstance(value, list))


def _with_single_choice(node: dict[str, Any]) -> dict[str, Any]:
    choices = node.get("anyOf")
    if not isinstance(choices, list) or len(choices) != 1:
        return node
    return {**choices[0], **{key: value for key, value in node.items() if key != "anyOf"}}


def _with_bounds_on_items(node: dict[str, Any]) -> dict[str, Any]:
    inner = {"array": "items", "object": "additionalProperties"}.get(str(node.get("type")), "")
    if not isinstance(node.get(inner), dict):
        return node
    bounds = {word: node[word] for word in BOUNDS if word in node}
    outer = {key: value for key, value in node.items() if key not in bounds}
    return {**outer, inner: {**node[inner], **bounds}}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRow:
    """One field of a scenario, as the manual shows it."""

    #: Dotted key, with `*` where the user chooses the name.
    key: str
    #: Unit of a quantity; what else the field holds, in words.
    unit: str
    #: Numbers or words allowed; empty for any.
    rule: str
    #: As it would be written; empty for none, `needed` if it must be given.
    default: str
    meaning: str
    is_uncertain: bool


def field_table() -> list[FieldRow]:
    """Every field of a scenario, in the order of the classes."""
    return list(_rows(Scenario, ""))


def field_table_markdown() -> str:
    """The table of fields for the manual; a number that may be a distribution is marked with `~`."""
    lines = ["| key | unit | rule | default | meaning |", "|---|---|---|---|---|"]
    for row in field_table():
        unit = f"{row.unit} ~" if row.is_uncertain else row.unit
        lines.append(f"| `{row.key}` | {unit} | {row.rule} | {row.default} | {row.meaning} |")
    return "\n".join(lines) + "\n"


def _rows(table: type[BaseModel], prefix: str) -> Iterator[FieldRow]:
    for name, field in table.model_fields.items():
        key = prefix + name + (".*" if is_by_name(field) else "")
        inner = table_of(field)
        if inner is None or inner is Distribution:
            yield _row(key, field)
        else:
            yield from _rows(inner, f"{key}.")


def _row(key: str, field: FieldInfo) -> FieldRow:
    return FieldRow(
        key=key,
        unit=unit_of(field) or _kind(field),
        rule=_rule(field),
        default=_default(field),
        meaning=field.description or "",
        is_uncertain=is_uncertain(field),
    )


def _kind(field: FieldInfo) -> str:
    if _choices(field):
        return "choice"
    annotation = str(field.annotation)
    return "date" if "date" in annotation else "true or false" if "bool" in annotation else "text"


def _rule(field: FieldInfo) -> str:
    allowed = range_of(field)
    return allowed.text if allowed is not None else ", ".join(f"`{choice}`" for choice in _choices(field))


def _choices(field: FieldInfo) -> tuple[str, ...]:
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    default = plain(field.default)
    return "" if default in (None, "", [], {}) else f"`{shown(default)}`".replace("'", '"')
