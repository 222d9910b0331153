"""Where each key and value of a TOML document stands, which the standard library's reader does not tell."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from jevons.scenario.keys import KEY, KeyPath, plain_key

_ONE_KEY = re.compile(KEY)
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK_OR_COMMA = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_STRING = re.compile(
    r"""
    \"{3} (?:[^\\]|\\.)*? \"{3,5}  # up to two quotes may stand before the closing three
    | '{3} .*? '{3,5}
    | "(?:[^"\\\n]|\\.)*"
    | '[^'\n]*'
    """,
    re.DOTALL | re.VERBOSE,
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a key stands; lines and columns count from 1."""

    line: int
    #: Of the first character of the key; for an item of an array, of the item.
    column: int
    #: Of the first character of the value; for a table with a header, of its name in the header.
    value_column: int


#: Where the document, as a table, begins.
FIRST = Position(line=1, column=1, value_column=1)


def positions(document: str) -> Mapping[KeyPath, Position]:
    """Position of every table, key and item of a document that `tomllib` accepts.

    A table that is only implied, as `a` by `[a.b]`, stands where it is first named.

    Examples
    --------
    >>> positions("[run]\\nmonths = 24\\n")["run", "months"]
    Position(line=2, column=1, value_column=10)
    """
    return _Scanner(document.replace("\r\n", "\n")).scan()


class _Scanner:
    """One pass over a document; `at` is the next character to be read."""

    def __init__(self, document: str) -> None:
        self.text = document
        self.at = 0
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", document))]
        self.found: dict[KeyPath, Position] = {}
        #: Position, in its array of tables, of the table that was opened last.
        self.last_item: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, Position]:
        table: KeyPath = ()
        self._pass(_BLANK)
        while self.at < len(self.text):
            if self._sees("["):
                table = self._header()
            else:
                self._pair(table)
            self._pass(_BLANK)
        return self.found

    def _header(self) -> KeyPath:
        brackets = 2 if self._sees("[[") else 1
        self.at += brackets
        self._pass(_SPACE)
        start = self.at
        keys = self._keys()
        self._pass(_SPACE)
        self.at += brackets
        table = self._opened(keys) if brackets == 2 else self._inside_arrays(keys)
        self._note(table, start, start)
        return table

    def _opened(self, keys: KeyPath) -> KeyPath:
        array = (*self._inside_arrays(keys[:-1]), keys[-1])
        self.last_item[array] = self.last_item.get(array, -1) + 1
        return (*array, self.last_item[array])

    def _inside_arrays(self, keys: KeyPath) -> KeyPath:
        path: KeyPath = ()
        for key in keys:
            path += (key,)
            if path in self.last_item:
                path += (self.last_item[path],)
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        path = table + self._keys()
        self._pass(_SPACE)
        self.at += len("=")
        self._pass(_SPACE)
        self._note(path, start, self.at)
        self._value(path)

    def _keys(self) -> KeyPath:
        keys = [self._key()]
        self._pass(_SPACE)
        while self._sees("."):
            self.at += len(".")
            self._pass(_SPACE)
            keys.append(self._key())
            self._pass(_SPACE)
        return tuple(keys)

    def _key(self) -> str:
        return plain_key(self._pass(_ONE_KEY))

    def _value(self, path: KeyPath) -> None:
        if self._sees("["):
            self._array(path)
        elif self._sees("{"):
            self._inline_table(path)
        else:
            self._pass(_STRING if self.text[self.at] in "\"'" else _SCALAR)

    def _array(self, path: KeyPath) -> None:
        self.at += len("[")
        self._pass(_BLANK)
        item = 0
        while not self._sees("]"):
            self._note((*path, item), self.at, self.at)
            self._value((*path, item))
            self._pass(_BLANK_OR_COMMA)
            item += 1
        self.at += len("]")

    def _inline_table(self, path: KeyPath) -> None:
        self.at += len("{")
        self._pass(_BLANK)
        while not self._sees("}"):
            self._pair(path)
            self._pass(_BLANK_OR_COMMA)
        self.at += len("}")

    def _note(self, path: KeyPath, start: int, value_start: int) -> None:
        line = bisect_right(self.line_starts, start)
        before_line = self.line_starts[line - 1] - 1
        position = Position(line=line, column=start - before_line, value_column=value_start - before_line)
        self.found[path] = position
        parent = path[:-1]
        while parent and parent not in self.found:
            self.found[parent] = position
            parent = parent[:-1]

    def _sees(self, characters: str) -> bool:
        return self.text.startswith(characters, self.at)

    def _pass(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match is not None, "the document was accepted by tomllib"
        self.at = match.end()
        return match.group()
