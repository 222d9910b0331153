"""How a result shows itself in a terminal and in a notebook: told by the report, which comes after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Show: TypeAlias = Callable[[Any], str]

_texts: dict[type, Show] = {}
_pages: dict[type, Show] = {}


def show(kind: type, as_text: Show, as_html: Show | None = None) -> None:
    """Let results of a kind show themselves by these functions."""
    _texts[kind] = as_text
    if as_html is not None:
        _pages[kind] = as_html


class Shown:
    """What shows itself as the report says; by its name alone, if no report is loaded."""

    def __repr__(self) -> str:
        as_text = _texts.get(type(self))
        return f"<{type(self).__name__}>" if as_text is None else as_text(self)

    def _repr_html_(self) -> str | None:
        as_html = _pages.get(type(self))
        return None if as_html is None else as_html(self)
