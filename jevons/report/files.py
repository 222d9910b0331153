"""A run as files in a directory: whole or not at all, and the same bytes for the same seed."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.metadata import version
from math import nan
from pathlib import Path
from typing import Any, TextIO

import jevons
from jevons.answer import Result
from jevons.comparison import Side
from jevons.errors import UsageError
from jevons.report.data import SCHEMA_VERSION, summary_json, to_json
from jevons.report.figures import figure_files
from jevons.report.page import page_of
from jevons.report.text import summary_table
from jevons.results import COLUMNS, Series
from jevons.scenario import Scenario
from jevons.workers import Beside

MANIFEST = "manifest.json"
SERIES = "series.csv"

#: Replications whose served days `hours.csv` holds, a megabyte or three each; `Result.hours` has all.
REPLICATIONS_WRITTEN = 4


def write_run(result: Result, directory: str | Path, beside: Beside | None = None) -> list[str]:
    """Write a result as a run directory.

    Parameters
    ----------
    result : Result
    directory : str or Path
        Made if it does not exist; files in it that are not of a run are left alone.
    beside : Beside, optional
        A process that draws the figures while this one makes the other files.

    Returns
    -------
    list of str
        Names of the files written: summary, series, hours, figures, and the manifest last.

    Raises
    ------
    UsageError
        If there is a file where the directory should be.
    OSError
        If the files cannot be written; then none has been changed.
    """
    drawing = (beside or Beside(False)).begin(figure_files, page_of(result))
    contents = {
        "summary.txt": summary_table(result).encode(),
        "summary.json": to_json(summary_json(result)).encode(),
        SERIES: csv_bytes(result.monthly.to_csv),
        "hours.csv": csv_bytes(result.hourly_of(REPLICATIONS_WRITTEN).to_csv),
        **drawing(),
    }
    return write_with_manifest(directory, contents, result.scenario, result.engine)


def csv_bytes(write: Callable[[TextIO], None]) -> bytes:
    """What a writer of lines writes, as UTF-8."""
    stream = io.StringIO()
    write(stream)
    return stream.getvalue().encode()


def write_with_manifest(
    directory: str | Path, contents: Mapping[str, bytes], scenario: Scenario, engine: str
) -> list[str]:
    """Write files and the manifest that tells where they come from; the names of all."""
    files = {**contents, MANIFEST: to_json(manifest(contents, scenario, engine)).encode()}
    write_files(directory, files)
    return list(files)


def manifest(contents: Mapping[str, bytes], scenario: Scenario, engine: str) -> dict[str, Any]:
    """What makes the files again, and their check sums; no times and no places, so that they stay the same."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": scenario.kind,
        "name": scenario.name,
        "digest": scenario.digest,
        "seed": scenario.run.seed,
        "engine": engine,
        "versions": {
            "jevons": jevons.__version__,
            "python": platform.python_version(),
            **{package: version(package) for package in ("numpy", "simpy", "matplotlib")},
        },
        "files": {name: sha256(content).hexdigest() for name, content in contents.items()},
        "scenario": scenario.canonical(),
    }


def check_directory(directory: str | Path) -> Path:
    """The path of a directory that exists or can be made.

    Raises
    ------
    UsageError
        If it, or something above it, is a file.
    """
    path = Path(directory)
    for part in (path, *path.parents):
        if part.is_dir():
            return path
        if part.exists():
            raise UsageError(f"{part}: is a file, not a directory")
    return path


def write_files(directory: str | Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a directory, all under other names first: an interruption leaves no part of one."""
    place = check_directory(directory)
    place.mkdir(parents=True, exist_ok=True)
    waiting: dict[Path, Path] = {}
    try:
        for name, content in contents.items():
            waiting[place / name] = _written_aside(place, name, content)
        for final in list(waiting):
            waiting[final].replace(final)
            del waiting[final]
    finally:
        for temporary in waiting.values():
            temporary.unlink(missing_ok=True)


def _written_aside(place: Path, name: str, content: bytes) -> Path:
    """A temporary file with the content, safe on the disk, with the rights that any new file gets."""
    handle, temporary = tempfile.mkstemp(dir=place, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return Path(temporary)


def _umask() -> int:
    # It can only be read by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# Reading a run back.


def read_run(directory: str | Path) -> Side:
    """A run directory as a side of a comparison.

    Raises
    ------
    UsageError
        If it is not the directory of a run of months.
    """
    told = _read_manifest(directory)
    scenario = _scenario_of(told, directory)
    if scenario.kind != "market":
        raise UsageError(f"{directory}: holds a served day, which has no months to compare")
    return Side(
        name=str(directory), scenario=scenario, engine=str(told.get("engine", "")), series=_read_series(directory)
    )


def read_scenario(directory: str | Path) -> Scenario:
    """The scenario that a run directory was made from."""
    return _scenario_of(_read_manifest(directory), directory)


def _read_manifest(directory: str | Path) -> dict[str, Any]:
    try:
        told = json.loads(_text_of(directory, MANIFEST))
    except ValueError:
        raise UsageError(f"{directory}: its {MANIFEST} is not JSON") from None
    if not isinstance(told, dict):
        raise UsageError(f"{directory}: its {MANIFEST} does not tell a run")
    return told


def _scenario_of(told: Mapping[str, Any], directory: str | Path) -> Scenario:
    try:
        return Scenario.model_validate_json(json.dumps(told.get("scenario")))
    except ValueError:
        raise UsageError(f"{directory}: its {MANIFEST} holds no scenario that this version understands") from None


def _read_series(directory: str | Path) -> Series:
    rows = csv.reader(io.StringIO(_text_of(directory, SERIES)))
    try:
        if tuple(next(rows, ())) != COLUMNS:
            raise ValueError
        return Series.of(
            [(a, int(r), m, g, s, k, float(v) if v else nan, u) for a, r, m, g, s, k, v, u in rows]
        )  # fmt: skip
    except ValueError:
        raise UsageError(f"{directory}: its {SERIES} is not that of a run") from None


def _text_of(directory: str | Path, name: str) -> str:
    try:
        return (Path(directory) / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{directory}: is not a run directory, it has no {name}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{directory}: its {name} is not UTF-8 text") from None
