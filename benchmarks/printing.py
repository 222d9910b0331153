"""Tables as text, and where they are kept: each with the command that made it and what it was made with."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
#: Packages whose versions bear on a result.
PACKAGES = ("numpy", "numba", "simpy", "ciw", "salabim")
PROCESSORS = Path("/proc/cpuinfo")


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns under a head, the first to the left and the others to the right; a single cell stands alone.

    >>> print("\\n".join(columns(("engine", "s"), [("Case",), ("ours", "1.5"), ("another", "12")])))
    engine     s
    Case
    ours     1.5
    another   12
    """
    full = [row for row in (head, *rows) if len(row) > 1]
    widths = [max(len(row[i]) for row in full) for i in range(len(head))]
    lines = []
    for row in (head, *rows):
        first, *rest = row
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=bool(rest))]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return lines


def heading(command: str) -> list[str]:
    """What a result was made by and on."""
    versions = ", ".join([f"Python {platform.python_version()}", *installed(), *compiler()])
    return [f"$ {command}", versions, f"{os.cpu_count()} cores, {processor()}", ""]


def installed() -> list[str]:
    """Versions of the packages that are there."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def compiler() -> list[str]:
    """The C compiler's own first line, if there is one."""
    cc = shutil.which("cc")
    if cc is None:
        return []
    return [subprocess.run([cc, "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]]


def processor() -> str:
    """Name of the processor."""
    if PROCESSORS.exists():
        for line in PROCESSORS.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def publish(name: str, lines: Sequence[str]) -> None:
    """Print a result and keep it."""
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    print(text, end="")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text(text)
