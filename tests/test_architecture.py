"""Imports point one way, and starting costs little."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

import jevons

PACKAGE = Path(jevons.__file__).parent

#: From the left to the right; modules that stand together do not import each other.
LAYERS = (
    {"errors", "display", "stacks"},
    {"units"},
    {"dates", "randomness"},
    {"scenario"},
    {"queueing", "theory", "efficiency", "demand", "pricing", "choice", "conduct", "offers", "budget_race", "gangs"},
    {"capability_race"},
    {"workload", "fleet", "crossings"},
    {"traces"},
    {"finance"},
    {"policy"},
    {"serving"},
    {"months"},
    {"market", "region"},
    {"providers", "placement"},
    {"service", "training"},
    {"model"},
    {"channels"},
    {"results"},
    {"hours", "rebound", "finance_summary", "month_figures", "workers"},
    {"answer"},
    {"draws"},
    {"attribution", "hinges"},
    {"market_implied"},
    {"ensemble", "day"},
    {"comparison"},
    {"gallery"},
    {"report"},
    {"cli"},
    # The two doors of the package.
    {"__init__", "__main__"},
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}


def room(path: Path) -> str:
    """The module of the first level, or the package, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    """Every file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Rooms of the package that are imported anywhere in a tree, for types too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "jevons":
            yield from (alias.name for alias in node.names if alias.name in LAYER)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("jevons."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("jevons."))


def test_every_module_has_a_layer_and_every_layer_its_modules():
    assert {room(path) for path in sources()} == set(LAYER)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_the_layers_before_it(path):
    name = room(path)
    wrong = {other for other in imported(ast.parse(path.read_text())) if other != name and LAYER[other] >= LAYER[name]}

    assert not wrong


def test_every_package_is_installed():
    """A folder that is not listed works in this checkout and is missing everywhere else."""
    settings = ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg")
    folders = {path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py")}

    assert set(settings["options"]["packages"].split()) == {".".join(folder.parts) for folder in folders}


def test_no_relative_imports_hide_from_this_test():
    assert not [
        path
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ]


@pytest.mark.parametrize("module", ["jevons.ensemble", "jevons.day", "jevons.cli"])
def test_a_simulation_imports_nothing_heavy(module):
    """They cost more time to import than a replication takes."""
    heavy = ("scipy", "pandas", "matplotlib", "rich", "hypothesis")
    code = f"import sys, {module}; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)

    assert done.stdout.split() == []


def test_no_file_imports_in_a_circle():
    """Within the packages too, and inside functions."""
    files = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sources()}
    needs = {name: (modules_of(path) & files.keys()) - {name} for name, path in files.items()}
    free: set[str] = set()
    while new := {name for name, wanted in needs.items() if name not in free and wanted <= free}:
        free |= new

    assert set(files) - free == set()


def modules_of(path: Path) -> set[str]:
    """Files of the package that a file imports, named by their dotted path."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jevons."):
            module = str(node.module).removeprefix("jevons.")
            found |= {module, f"{module}.__init__", *(f"{module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("jevons.") for alias in node.names if alias.name.startswith("jevons.")}
    # A package's own files may import each other past its head, which imports them all.
    return {name for name in found if name != f"{path.parent.name}.__init__"}
