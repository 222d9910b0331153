"""The manual's generated parts: ``python -m jevons.report.manual README.md`` rewrites them in place.

Tables stand between ``<!-- table: NAME -->`` and ``<!-- end -->``; what a run prints between
``<!-- run: NAME -->`` and ``<!-- end -->``, taken from ``out/NAME/summary.txt`` beside the file where that exists;
``<!-- waterfall: NAME -->`` likewise, from ``out/NAME/waterfall.txt``; between ``<!-- gallery -->`` and
``<!-- end -->`` the table ``out/gallery.md``, which `jevons gallery` writes.
"""

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
#: What a command leaves of what it printed, by the word of the mark.
PRINTED: Mapping[str, tuple[str, str]] = {
    "run": ("simulate", "summary.txt"),
    "waterfall": ("waterfall", "waterfall.txt"),
}
RUN = re.compile(rf"(<!-- (?P<kind>{'|'.join(PRINTED)}): (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
GALLERY = re.compile(r"(<!-- gallery -->\n).*?(<!-- end -->)", re.DOTALL)
MARKED = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """A text with its marked tables made anew; one without marks stays as it is.

    Raises
    ------
    UsageError
        If a mark names a table that does not exist.
    """
    return MARKED.sub(_table, text)


def with_runs(text: str, place: Path) -> str:
    """A text with its marked runs as they were last made below `place`; those not made stay as they are."""

    def printed(match: re.Match[str]) -> str:
        command, file = PRINTED[match["kind"]]
        text = place / "out" / match["name"] / file
        if not text.is_file():
            return match[0]
        line = f"$ jevons {command} scenarios/{match['name']}.toml"
        return f"{match[1]}\n```text\n{line}\n{text.read_text(encoding='utf-8')}```\n\n<!-- end -->"

    return RUN.sub(printed, text)


def with_gallery(text: str, place: Path) -> str:
    """A text with the table of the gallery as it was last made below `place`, or else as it stands."""
    made = place / "out" / "gallery.md"
    if not made.is_file():
        return text
    return GALLERY.sub(lambda match: f"{match[1]}\n{made.read_text(encoding='utf-8')}\n{match[2]}", text)


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
            made = with_gallery(with_runs(with_tables(text), path.parent), path.parent)
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
