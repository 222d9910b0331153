"""What is wrong with a scenario, in words: the rule, the value that breaks it, the nearest that would not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from reprlib import Repr
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from jevons.scenario.fields import Distribution, Range, range_of
from jevons.scenario.keys import KeyPath, dotted
from jevons.scenario.structure import field_at, known_keys

#: Characters of a value that a message shows.
LONGEST_VALUE = 60
#: Known names that a message lists when none is near; keys in a row that it shows.
MOST_NAMES = 12

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = LONGEST_VALUE
_SHORT.maxlevel = 2

#: What a field must hold, by the type of pydantic's error.
KINDS = {
    "bool_type": "true or false",
    "date_type": "a date such as 2025-01-20",
    "dict_type": "a table",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a table",
    "string_type": "a text in quotes",
    "uncertain_type": 'a number, or a distribution such as { dist = "normal", mean = 1.0, sd = 0.2 }',
}

#: Comparisons in words, by the type of pydantic's error, with the name of their bound.
COMPARISONS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong, and the key it is wrong with; where that stands is not yet known."""

    path: KeyPath
    message: str
    #: Whether the key itself is wrong rather than its value.
    is_key: bool = False

    @property
    def key(self) -> str:
        """The key as the user wrote it, cut to a length that a message can hold."""
        return dotted(tuple(part[:LONGEST_VALUE] if isinstance(part, str) else part for part in self.path[:MOST_NAMES]))


def findings(error: ValidationError, root: type[BaseModel]) -> Iterator[Finding]:
    """Everything that pydantic found wrong with a table of class `root`."""
    for detail in error.errors(include_url=False):
        path = detail["loc"] + tuple(detail.get("ctx", {}).get("item", ()))
        yield Finding(path=path, message=_message(detail, path, root), is_key=detail["type"] == "extra_forbidden")


def _message(detail: ErrorDetails, path: KeyPath, root: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return "is needed"
    if kind == "extra_forbidden":
        return f"unknown key{suggestion(str(path[-1]), known_keys(root, path[:-1]))}"
    if kind in ("distribution", "reach"):
        return detail["msg"]
    value = _offender(detail["input"], context.get("item", ()))
    return f"must be {_rule(detail, path, root)}, not {shown(value)}{_nearest_choice(kind, context, value)}"


def _rule(detail: ErrorDetails, path: KeyPath, root: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"])
    if kind in COMPARISONS:
        word, bound = COMPARISONS[kind]
        return f"{word} {_bound(context[bound])}"
    if kind == "range":
        return str(context["rule"])
    if kind == "finite_number" or (kind == "float_type" and _is_number(detail["input"])):
        return _range_at(root, path).text or "a finite number"
    return KINDS[kind]


def _range_at(root: type[BaseModel], path: KeyPath) -> Range:
    field = field_at(root, path)
    return (range_of(field) if field is not None else None) or Range()


def _bound(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _nearest_choice(kind: str, context: dict[str, Any], value: Any) -> str:
    if kind != "literal_error" or not isinstance(value, str):
        return ""
    choices = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
    return _did_you_mean(value, choices)


def _offender(value: Any, item: KeyPath) -> Any:
    for key in item:
        value = value[key]
    return value


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a message on a name that is not known: the nearest known one, or all of them if few."""
    names = list(known)
    near = _did_you_mean(name, names)
    if near or not names or len(names) > MOST_NAMES:
        return near
    return f"; known: {', '.join(names)}"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    # Longer names than any known one have no near match and would only take time.
    near = get_close_matches(name[:LONGEST_VALUE], known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def shown(value: Any) -> str:
    """A value as the user may have written it, cut to a length that a message can hold."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 4 * LONGEST_VALUE:
        return f"a whole number of about {value.bit_length() * 0.30103:.0f} digits"
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, Distribution):
        return f"a {value.dist} of median {value.central:.4g}"
    if isinstance(value, dict):
        return "a table" if value else "an empty table"
    if isinstance(value, list):
        return _shown_list(value)
    text = _SHORT.repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _shown_list(values: list[Any]) -> str:
    text = ", ".join(map(shown, islice(values, 3)))
    short = text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
    return f"[{short}]" if len(values) <= 3 else f"a list of {len(values)}"
