"""Where keys and values stand: the index against the standard library's reader of the same text."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.scenario.keys import dotted, path_of, written_key
from jevons.scenario.positions import Position, positions

DOCUMENT = '''\
# a comment with [brackets] and = signs
title = "a # b"  # [not.a.table]
"odd key" . 'x.y' = 1

[run]
  months = 24
profile = [1, 2, # two
  3,
]
text = """
[inside.text]
a = 1"""

[segments.chat]
price = { dist = "normal", "mean"= -1.0,sd = 0.2 }

[[item]]
n = 1
[item.deep]
m = 2
[[item]]
n = 3
'''


def test_every_key_stands_where_a_reader_would_point():
    """Counted by hand in the document above, from 1; a header's value is its name."""
    found = positions(DOCUMENT)

    assert {path: (at.line, at.column, at.value_column) for path, at in found.items()} == {
        ("title",): (2, 1, 9),
        ("odd key", "x.y"): (3, 1, 21),
        ("odd key",): (3, 1, 21),
        ("run",): (5, 2, 2),
        ("run", "months"): (6, 3, 12),
        ("run", "profile"): (7, 1, 11),
        ("run", "profile", 0): (7, 12, 12),
        ("run", "profile", 1): (7, 15, 15),
        ("run", "profile", 2): (8, 3, 3),
        ("run", "text"): (10, 1, 8),
        ("segments", "chat"): (14, 2, 2),
        ("segments",): (14, 2, 2),
        ("segments", "chat", "price"): (15, 1, 9),
        ("segments", "chat", "price", "dist"): (15, 11, 18),
        ("segments", "chat", "price", "mean"): (15, 28, 36),
        ("segments", "chat", "price", "sd"): (15, 41, 46),
        ("item", 0): (17, 3, 3),
        ("item",): (17, 3, 3),
        ("item", 0, "n"): (18, 1, 5),
        ("item", 0, "deep"): (19, 2, 2),
        ("item", 0, "deep", "m"): (20, 1, 5),
        ("item", 1): (21, 3, 3),
        ("item", 1, "n"): (22, 1, 5),
    }


def test_lines_that_end_as_on_windows_are_counted_alike():
    assert positions(DOCUMENT.replace("\n", "\r\n")) == positions(DOCUMENT)


@pytest.mark.parametrize(
    "value",
    [
        '""""""',
        '"""a"b""c"""""',
        "'''it's'''''",
        r'"a\"]b"',
        r"'\'",
        "1979-05-27 07:32:00",
        "0x_dead".replace("_", ""),
        "-inf",
    ],
)
def test_the_key_after_any_kind_of_value_is_found(value):
    assert positions(f"a = {value} # end\nb = [{value}, 1]\nc = 2")["c",] == Position(line=3, column=1, value_column=5)


KEYS = st.one_of(
    st.text("abcXYZ019_-", min_size=1, max_size=4),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=4),
)
SCALARS = st.one_of(
    st.integers(-(2**60), 2**60).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.booleans().map(lambda value: str(value).lower()),
    st.dates().map(lambda date: date.isoformat().rjust(10, "0")),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=8).map(lambda text: written_string(text)),
    st.sampled_from(['"""\n[x]\na = 1 # "" """', "'''\n]}, '' '''", '"a\\nb"']),
)


def written_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    gap = st.sampled_from(["", " ", "\n", " # ], }\n"])
    items = draw(st.lists(values, max_size=3))
    return "[" + ",".join(draw(gap) + item + draw(gap) for item in items) + draw(gap) + "]"


@st.composite
def inline_tables(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    keys = draw(st.lists(KEYS, max_size=3, unique=True))
    return "{" + ", ".join(f"{written_key(key)} = {draw(values)}" for key in keys) + "}"


VALUES = st.recursive(SCALARS, lambda values: arrays(values) | inline_tables(values), max_leaves=8)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Documents with tables, dotted keys and arrays of tables, whatever tomllib thinks of them."""
    lines = []
    for _ in range(draw(st.integers(0, 8))):
        path = ".".join(map(written_key, draw(st.lists(KEYS, min_size=1, max_size=3))))
        shape = draw(st.sampled_from(["{p} = {v}", "[{p}]", "[[ {p} ]]", "  {p}={v} # comment", "# [{p}]", ""]))
        lines.append(shape.replace("{p}", path).replace("{v}", draw(VALUES) if "{v}" in shape else ""))
    return "\n".join(lines)


def is_toml(document: str) -> bool:
    try:
        tomllib.loads(document)
    except tomllib.TOMLDecodeError:
        return False
    return True


def paths(value: Any, here: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {here, *(path for key, item in items for path in paths(item, (*here, key)))}


@given(documents().filter(is_toml))
@settings(max_examples=150, deadline=None)
def test_the_index_holds_exactly_the_keys_and_items_that_tomllib_finds(document):
    assert set(positions(document)) | {()} == paths(tomllib.loads(document))


@given(documents().filter(is_toml))
@settings(max_examples=150, deadline=None)
def test_at_each_position_stands_the_key_and_at_its_value_the_beginning_of_such_a_value(document):
    """A table that is only implied stands where the first key of the path that implies it stands."""
    lines = document.split("\n")
    found = positions(document)
    for path, value in values(tomllib.loads(document)):
        at = found[path]
        line = lines[at.line - 1]

        assert line.startswith(tuple(map(written_key, map(str, path))), at.column - 1)
        assert isinstance(value, dict) or line.startswith("[[") or line[at.value_column - 1] in beginnings(value)


def values(value: Any, here: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    """Every value inside a table with its path; tables in arrays are left out, whose array may have no bracket."""
    if not isinstance(value, dict):
        return [(here, value)]
    found = [pair for key, item in value.items() for pair in values(item, (*here, key))]
    return found if not here else [(here, value), *found]


def beginnings(value: Any) -> str:
    if isinstance(value, bool):
        return "tf"
    if isinstance(value, str):
        return "\"'"
    if isinstance(value, list):
        return "["
    return "+-0123456789"


@given(st.lists(KEYS, min_size=1, max_size=4).map(tuple))
def test_a_dotted_key_stands_for_the_path_it_was_made_from(path):
    assert path_of(dotted(path)) == path


@pytest.mark.parametrize("key", ["", ".", "a.", "a b", "a..b", "a=1", '"a', "a\nb"])
def test_what_is_no_dotted_key_is_refused(key):
    with pytest.raises(ValueError, match="dotted key"):
        path_of(key)
