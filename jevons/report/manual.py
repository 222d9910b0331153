"""The manual's generated tables: ``python -m jevons.report.manual README.md`` rewrites them in place."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jevons.errors import JevonsError, UsageError
from jevons.report.files import write_files
from jevons.scenario import field_table_markdown

#: What stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
TABLES: Mapping[str, Callable[[], str]] = {"fields": field_table_markdown}
MARKED = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """A text with its marked tables made anew; one without marks stays as it is.

    Raises
    ------
    UsageError
        If a mark names a table that does not exist.
    """
    return MARKED.sub(_table, text)


def _table(match: re.Match[str]) -> str:
    name = match["name"]
    if name not in TABLES:
        raise UsageError(f"table must be one of {', '.join(TABLES)}, not {name!r}")
    return f"{match[1]}\n{TABLES[name]()}\n{match[3]}"


def main(arguments: Sequence[str]) -> int:
    """Rewrite the tables of some files; the exit code."""
    try:
        for name in arguments:
            path = Path(name)
            text = path.read_text(encoding="utf-8")
            made = with_tables(text)
            if made != text:
                write_files(path.parent, {path.name: made.encode()})
    except JevonsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"Error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
