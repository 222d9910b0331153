"""Keys of a scenario, as paths and as a user writes them: `segments.chat.since`."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from typing import TypeAlias

#: Keys and positions in arrays that lead to a value: `("segments", "chat", "since")`, `("a", 0, "b")`.
KeyPath: TypeAlias = tuple[str | int, ...]

#: One key of TOML, bare or in quotes.
KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""

_ONE_KEY = re.compile(KEY)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_DOTTED = re.compile(rf"[ \t]*{KEY}(?:[ \t]*\.[ \t]*{KEY})*[ \t]*")


def plain_key(written: str) -> str:
    """The key that is written, bare or in quotes."""
    return next(iter(tomllib.loads(f"{written}=0"))) if written[0] in "\"'" else written


@cache
def written_key(key: str) -> str:
    """A key as it must be written: in quotes unless it is bare."""
    return key if _BARE.fullmatch(key) else _quoted(key)


def _quoted(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in escaped) + '"'


def dotted(path: KeyPath) -> str:
    """A path as a user writes it, with positions in arrays in brackets.

    Examples
    --------
    >>> dotted(("workloads", "gpt-4.1", "hourly_profile", 3))
    'workloads."gpt-4.1".hourly_profile[3]'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{written_key(part)}" for part in path)
    return text.removeprefix(".")


def path_of(key: str) -> tuple[str, ...]:
    """The path that a dotted key stands for.

    Raises
    ------
    ValueError
        If it is no dotted key.

    Examples
    --------
    >>> path_of('segments."gpt-4.1".since')
    ('segments', 'gpt-4.1', 'since')
    """
    if _DOTTED.fullmatch(key) is None:
        raise ValueError(f"must be a dotted key, as run.months, not {key!r}")
    return tuple(plain_key(written) for written in _ONE_KEY.findall(key))
