"""Recorded traces of requests, as files: CSV or JSON lines, with the columns of three collections."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path

import numpy as np

from jevons.errors import Problem, ScenarioError
from jevons.randomness import Floats
from jevons.workload import Requests

#: No line of a trace is longer, characters.
LONGEST_LINE = 1_000_000
#: Problems reported of a trace before reading stops.
MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class _Columns:
    """Names of the columns of a trace, and what its times are."""

    arrival: str
    input_tokens: str
    output_tokens: str
    seconds_of: Callable[[object], float]
    cached_tokens: str = "cached_tokens"

    def readers(self, with_cached: bool) -> list[tuple[str, Callable[[object], float]]]:
        """Each column with what reads its values."""
        return [
            (self.arrival, self.seconds_of),
            (self.input_tokens, _tokens),
            (self.output_tokens, _tokens),
            (self.cached_tokens, _tokens if with_cached else _unknown),
        ]


class _RuleError(ValueError):
    """A value that breaks a rule."""


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise _RuleError("must be a number") from None
    if isinstance(value, bool) or not isfinite(number):
        raise _RuleError("must be a finite number")
    return number


def _tokens(value: object) -> float:
    number = _number(value)
    if number < 0 or number != int(number):
        raise _RuleError("must be a whole number of at least 0")
    return number


def _moment(value: object) -> float:
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise _RuleError("must be a date and time such as 2023-11-16 18:17:03.97") from None


#: Azure LLM inference 2023, Mooncake, and our own.
FORMATS = (
    _Columns("TIMESTAMP", "ContextTokens", "GeneratedTokens", _moment),
    _Columns("timestamp", "input_length", "output_length", lambda value: _number(value) / 1e3),
    _Columns("arrival_s", "input_tokens", "output_tokens", _number),
)


def read_trace(path: str | Path, speed: float = 1.0, cached_share: float = 0.0) -> Requests:
    """Requests of a recorded trace, from the first one's arrival on, all of stream 0.

    CSV with a header or JSON lines, gzipped or not, with the columns of the Azure traces (`TIMESTAMP`,
    `ContextTokens`, `GeneratedTokens`), of Mooncake (`timestamp` in ms, `input_length`, `output_length`) or
    `arrival_s`, `input_tokens`, `output_tokens` and, if known, `cached_tokens`.  Requests out of order are
    sorted, those at one time stay in order.  An answer of no tokens is served as one: its end is streamed too.

    Parameters
    ----------
    path : path
        The trace.
    speed : float
        The trace is played this many times faster than it was recorded, > 0.
    cached_share : float
        Share of the prompt found in the cache where the trace does not say.

    Raises
    ------
    ScenarioError
        If the file cannot be read or a value is not what it must be, with file, line, column, rule and value.
    """
    try:
        rows, problems = _read_rows(Path(path))
    except (OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError) as error:
        raise ScenarioError([Problem(str(path), "", f"cannot be read as a trace: {_reason(error)}")]) from error
    if not problems and not rows:
        problems = [Problem(str(path), "", "must hold at least one request")]
    if problems:
        raise ScenarioError(problems)
    return _sorted_requests(np.array(rows), speed, cached_share)


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _sorted_requests(rows: Floats, speed: float, cached_share: float) -> Requests:
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    arrival, inputs, outputs, cached = rows.T
    return Requests(
        arrival_s=(arrival - arrival[0]) / speed,
        stream=np.zeros(len(rows), dtype=np.int64),
        input_tokens=inputs.copy(),
        cached_tokens=np.where(np.isnan(cached), cached_share * inputs, cached),
        output_tokens=np.maximum(1.0, outputs),
    )


_Row = tuple[float, float, float, float]


def _read_rows(path: Path) -> tuple[list[_Row], list[Problem]]:
    if path.exists() and not path.is_file():
        raise OSError(0, "not a file")
    rows: list[_Row] = []
    problems: list[Problem] = []
    with _opened(path) as file:
        for line, record in _records(str(path), _lines(file)):
            found = [record] if isinstance(record, Problem) else _row(str(path), line, record, rows)
            problems += found
            # A line that does not fall into its columns says that the rest will not either.
            if len(problems) >= MOST_PROBLEMS or any(problem.key == "" for problem in found):
                break
    return rows, problems


def _opened(path: Path) -> io.TextIOWrapper:
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    binary = gzip.open(path) if zipped else path.open("rb")  # noqa: SIM115 (closed by the wrapper's context)
    return io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")


def _lines(file: io.TextIOWrapper) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise OSError(0, f"a line is longer than {LONGEST_LINE} characters")
        yield line


def _records(path: str, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, object] | Problem]]:
    """Records of a trace by name of column, with their lines; a problem in place of one that cannot be read."""
    first = next(lines, "")
    rest = _with_first(first, lines)
    yield from _json_records(path, rest) if first.lstrip().startswith("{") else _csv_records(path, rest)


def _with_first(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _json_records(path: str, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, object] | Problem]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        bad = Problem(path, "", f"must be a JSON object, not {_short(line.strip())}", number)
        yield number, record if isinstance(record, dict) else bad


def _csv_records(path: str, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, object] | Problem]]:
    reader = csv.reader(lines)
    header = [name.strip() for name in next(reader, [])]
    for values in reader:
        if not values:
            continue
        bad = Problem(path, "", f"must have {len(header)} columns, not {len(values)}", reader.line_num)
        yield reader.line_num, dict(zip(header, values, strict=True)) if len(values) == len(header) else bad


def _columns_of(record: Mapping[str, object]) -> _Columns | None:
    known = (c for c in FORMATS if {c.arrival, c.input_tokens, c.output_tokens} <= record.keys())
    return next(known, None)


def _row(path: str, line: int, record: Mapping[str, object], rows: list[_Row]) -> list[Problem]:
    """Add a record to the rows, or say what is wrong with it."""
    columns = _columns_of(record)
    if columns is None:
        names = _short(", ".join(map(str, record)))
        return [Problem(path, "", f"must have the columns {_known_columns()}, not {names}", line)]
    values, problems = [], []
    for name, read in columns.readers(with_cached=columns.cached_tokens in record):
        try:
            values.append(read(record.get(name)))
        except _RuleError as rule:
            problems.append(Problem(path, name, f"{rule}, not {_short(record.get(name))}", line))
    if not problems and values[3] > values[1]:
        problems.append(Problem(path, columns.cached_tokens, f"must be at most the prompt, not {values[3]:g}", line))
    if not problems:
        rows.append((values[0], values[1], values[2], values[3]))
    return problems


def _unknown(_: object) -> float:
    return float("nan")


def _known_columns() -> str:
    return " or ".join(f"{known.arrival}, {known.input_tokens}, {known.output_tokens}" for known in FORMATS)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
