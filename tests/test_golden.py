"""Golden outputs: whole texts, compared whole.  They notice a change; other tests explain it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from jevons.cli import main

MARKET = Path(__file__).parent / "golden" / "market.toml"
COMMON = ["--engine", "closed_form", "--workers", "1"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("market.txt", ["simulate", str(MARKET), *COMMON]),
        ("waterfall.txt", ["waterfall", str(MARKET), "--draws", "3"]),
        ("market.csv", ["simulate", str(MARKET), *COMMON, "--draws", "0", "--format", "csv"]),
    ],
)
def test_what_is_printed_is_what_was_printed(
    name: str, arguments: list[str], golden: Callable[[str, str], None]
) -> None:
    printed = CliRunner().invoke(main, arguments, catch_exceptions=False).stdout

    golden(name, "".join(rounded(line) for line in printed.splitlines(keepends=True)))


def rounded(line: str) -> str:
    """A line with its long numbers cut to nine digits: the last ones differ between processors."""
    cells = line.split(",") if line.count(",") == 11 else [line]
    return ",".join(f"{float(cell):.9g}" if len(cell) > 12 and is_number(cell) else cell for cell in cells)


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
