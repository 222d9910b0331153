"""The only reader of scenario files: TOML, what it extends, and overrides, into one checked `Scenario`."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

from jevons.errors import Problem, ScenarioError, UsageError
from jevons.scenario.keys import KEY, KeyPath, path_of
from jevons.scenario.merging import all_merged, check_names, nested
from jevons.scenario.positions import FIRST, Position, positions
from jevons.scenario.rules import NAME_RULE, is_name
from jevons.scenario.validation import checked, shortened
from jevons.scenario.whole import Scenario
from jevons.scenario.wording import Finding, shown

#: Larger files are refused before they are read; a scenario of many thousand lines has a tenth of this.
LARGEST_FILE_BYTES = 2_000_000
#: Files that one scenario may be put together from.
MOST_FILES = 50
#: Values that one scenario may hold.
MOST_VALUES = 20_000

STANDARD_INPUT = "-"
OVERRIDE = "--set"

_TOO_DEEP = "is nested too deeply"
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
#: Fifty keys in a row: no scenario is so deep, and the time that tomllib takes grows with the square.
_DEEP_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){50}""", re.ASCII)
_LONG_INTEGER = re.compile(r"[0-9_]{4000,}")
_OVERRIDE = re.compile(rf"\s*(?P<key>{KEY}(?:\s*\.\s*{KEY})*)\s*=(?P<value>.*)", re.DOTALL)


def load(source: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario.

    Parameters
    ----------
    source : str or Path
        File, or `-` for standard input.  Its `extends`, and paths in it, are relative to its directory.
    overrides : sequence of str
        `KEY=VALUE` each, as `run.months=36`; a value that is no TOML stands for itself as a text.

    Returns
    -------
    Scenario

    Raises
    ------
    ScenarioError
        With every problem, each with the file, line and column it stands at.
    """
    return _scenario(_layers_of_file(str(source)), overrides)


def loads(text: str, name: str = "<string>", overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario from a text; `name` stands for the file in messages, paths are relative to the current one."""
    reading = _Reading()
    layers = reading.layers(text.removeprefix("\ufeff"), name, Path(), ())
    return _scenario(reading.unless_wrong(layers), overrides)


def check(sources: Iterable[str | Path], overrides: Sequence[str] = ()) -> list[Problem]:
    """Every problem of several scenarios."""
    problems: list[Problem] = []
    for source in sources:
        try:
            load(source, overrides)
        except ScenarioError as error:
            problems += error.problems
    return problems


def starter(name: str) -> str:
    """Text of a small scenario, commented and complete, to start one's own from.

    Raises
    ------
    UsageError
        If no scenario can have this name.
    """
    if not is_name(name):
        raise UsageError(f"name {NAME_RULE}, not {shown(name)}")
    text = resources.files(__package__).joinpath("starter.toml").read_text(encoding="utf-8")
    return text.replace("NAME.toml", f"{name}.toml").replace('name = "starter"', f'name = "{name}"')


def prerequisites(source: str | Path) -> list[Path]:
    """Every file that a scenario is made from: itself, what it extends, and the traces it names."""
    layers = _layers_of_file(str(source))
    workloads = _merged(layers).get("workloads", {})
    traces = [Path(workload["trace"]) for workload in _tables_in(workloads) if isinstance(workload.get("trace"), str)]
    files = [Path(layer.file) for layer in layers if layer.file != STANDARD_INPUT]
    return list(dict.fromkeys([*files, *traces]))


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The tables of one file, or of one override: what comes later overrides what comes before."""

    file: str
    tables: dict[str, Any]
    #: None for an override, which has no lines.
    text: str | None = None

    @cached_property
    def positions(self) -> Mapping[KeyPath, Position | None]:
        """Where its tables, keys and items stand."""
        return positions(self.text) if self.text is not None else dict.fromkeys(_paths(self.tables))

    def problem(self, finding: Finding) -> Problem:
        """The finding, at the place of its key or of the nearest table around it."""
        path = finding.path
        while path and path not in self.positions:
            path = path[:-1]
        position = self.positions.get(path, FIRST if self.text is not None else None)
        at_key = finding.is_key or path != finding.path
        return Problem(
            file=self.file,
            key=finding.key,
            message=finding.message,
            line=position.line if position else None,
            column=(position.column if at_key else position.value_column) if position else None,
        )


def _scenario(layers: list[Layer], overrides: Sequence[str]) -> Scenario:
    try:
        layers = [*layers, *_layers_of_overrides(overrides, _merged(layers))]
        return checked(Scenario, _merged(layers), lambda finding: _problem(finding, layers))
    except RecursionError:
        raise _error(layers[-1].file, _TOO_DEEP) from None


def _problem(finding: Finding, layers: list[Layer]) -> Problem:
    """The finding, in the last layer that holds its key or else the nearest table around it."""
    path = finding.path
    while path:
        for layer in reversed(layers):
            if path in layer.positions:
                return layer.problem(finding)
        path = path[:-1]
    return next(layer for layer in reversed(layers) if layer.text is not None).problem(finding)


def _merged(layers: Iterable[Layer]) -> dict[str, Any]:
    return all_merged(layer.tables for layer in layers)


def _layers_of_overrides(overrides: Sequence[str], tables: Mapping[str, Any]) -> list[Layer]:
    layers, problems = [], []
    for override in overrides:
        try:
            path, value = _parsed_override(override)
            check_names(Scenario, path, tables)
        except ValueError as error:
            problems.append(Problem(file=OVERRIDE, key="", message=str(error)))
        else:
            layers.append(Layer(file=OVERRIDE, tables=nested(path, value)))
    if problems:
        raise ScenarioError(shortened(problems))
    return layers


def _parsed_override(override: str) -> tuple[tuple[str, ...], Any]:
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        raise ValueError(f"must be KEY=VALUE, not {shown(override)}")
    return path_of(match["key"]), _parsed_value(match["value"].strip())


def _parsed_value(text: str) -> Any:
    try:
        tables = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return tables["value"] if list(tables) == ["value"] else text


def _paths(table: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of everything inside a table, and of the table."""
    yield path
    items = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    for key, value in items:
        yield from _paths(value, (*path, key))


def _layers_of_file(name: str) -> list[Layer]:
    reading = _Reading()
    try:
        text = _text(name)
    except _UnreadableError as error:
        raise _error(name, str(error)) from None
    directory = Path() if name == STANDARD_INPUT else Path(name).parent
    return reading.unless_wrong(reading.layers(text, name, directory, (_identity(name),)))


class _Reading:
    """The reading of one scenario: its files so far, and what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.files = 0

    def unless_wrong(self, layers: list[Layer]) -> list[Layer]:
        if self.problems:
            raise ScenarioError(shortened(self.problems))
        return layers

    def layers(self, text: str, name: str, directory: Path, chain: tuple[str, ...]) -> list[Layer]:
        """What a file extends, then the file: `chain` leads from the scenario to it."""
        self.files += 1
        try:
            tables = _parsed(text, name)
        except ScenarioError as error:
            self.problems += error.problems
            return []
        bases = tables.pop("extends", [])
        layer = Layer(file=name, text=text, tables=_with_paths_from(tables, directory))
        return [*self._bases(bases, layer, directory, chain), layer]

    def _bases(self, bases: Any, layer: Layer, directory: Path, chain: tuple[str, ...]) -> list[Layer]:
        names = [bases] if isinstance(bases, str) else bases
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self._extends_wrongly(layer, f"must be a file or a list of files, in quotes, not {shown(bases)}")
            return []
        return [found for name in names for found in self._base(str(directory / name), layer, chain)]

    def _base(self, name: str, layer: Layer, chain: tuple[str, ...]) -> list[Layer]:
        identity = _identity(name)
        if identity in chain:
            names = [Path(link).name for link in (*chain[chain.index(identity) :], identity)]
            self._extends_wrongly(layer, f"must not lead back to the file itself, as {' -> '.join(names)}")
        elif self.files >= MOST_FILES:
            self._extends_wrongly(layer, f"must not lead to more than {MOST_FILES} files")
        else:
            try:
                return self.layers(_text(name), name, Path(name).parent, (*chain, identity))
            except _UnreadableError as error:
                self._extends_wrongly(layer, f"{shown(name)} {error}")
        return []

    def _extends_wrongly(self, layer: Layer, message: str) -> None:
        problem = layer.problem(Finding(path=("extends",), message=message))
        if problem not in self.problems:
            self.problems.append(problem)


def _identity(name: str) -> str:
    return os.path.realpath(name) if "\0" not in name else name


def _with_paths_from(tables: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The tables, with the paths in them relative to the current directory rather than to that of their file."""
    for workload in _tables_in(tables.get("workloads")):
        if isinstance(workload.get("trace"), str):
            workload["trace"] = str(directory / workload["trace"])
    return tables


def _tables_in(table: Any) -> list[dict[str, Any]]:
    return [value for value in table.values() if isinstance(value, dict)] if isinstance(table, dict) else []


class _UnreadableError(Exception):
    """A file cannot be read; the message says why, with the file as its subject."""


def _text(name: str) -> str:
    """Text of a file, without the mark that some editors put before it."""
    content = _content(name)
    if len(content) > LARGEST_FILE_BYTES:
        raise _UnreadableError(f"is larger than {LARGEST_FILE_BYTES / 1e6:g} MB, the most that a scenario may be")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _UnreadableError(f"is not UTF-8 text: byte {content[error.start]:#04x} in line {line}") from None


def _content(name: str) -> bytes:
    """The first bytes of a file, at most one more than allowed: it may be endless."""
    try:
        if name == STANDARD_INPUT:
            return sys.stdin.buffer.read(LARGEST_FILE_BYTES + 1)
        with Path(name).open("rb") as file:
            return file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise _UnreadableError("does not exist") from None
    except IsADirectoryError:
        raise _UnreadableError("is a directory, not a file") from None
    except OSError as error:
        raise _UnreadableError(f"cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise _UnreadableError("cannot be the name of a file") from None


def _parsed(text: str, name: str) -> dict[str, Any]:
    deep = _DEEP_KEY.search(text)
    if deep is not None:
        raise _error(name, _TOO_DEEP, *_line_and_column(text, deep.start()))
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, name, str(error)) from None
    except RecursionError:
        raise _error(name, _TOO_DEEP) from None
    except ValueError:
        # Python refuses to read a number of many digits, in time that would grow with their square.
        raise _long_integer_error(text, name) from None
    if sum(1 for _ in islice(_paths(tables), MOST_VALUES + 1)) > MOST_VALUES:
        raise _error(name, f"holds more than {MOST_VALUES} values")
    return tables


def _syntax_error(text: str, name: str, message: str) -> ScenarioError:
    match = _PLACE.search(message)
    if match is None or match[1] is None:
        line, column = _line_and_column(text, len(text))
    else:
        line, column = int(match[1]), int(match[2])
    rule = _PLACE.sub("", message)
    return _error(name, f"is not TOML: {rule[:1].lower()}{rule[1:]}", line, column)


def _long_integer_error(text: str, name: str) -> ScenarioError:
    match = _LONG_INTEGER.search(text)
    line, column = _line_and_column(text, match.start()) if match else (None, None)
    return _error(name, "a whole number must have fewer digits", line, column)


def _line_and_column(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _error(name: str, message: str, line: int | None = None, column: int | None = None) -> ScenarioError:
    return ScenarioError([Problem(file=name, key="", message=message, line=line, column=column)])
