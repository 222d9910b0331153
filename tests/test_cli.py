"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

import jevons
import jevons.report.files
from jevons.cli import FULL_RESOLUTION, main
from jevons.report.files import read_run, write_files
from jevons.scenario import Run
from jevons.scenario.fields import range_of
from jevons.serving import DEFAULT_ENGINE, ENGINES

ROOT = Path(__file__).parent.parent
MARKET = str(Path(__file__).parent / "golden" / "market.toml")
DAY = str(ROOT / "scenarios" / "deepseek_day.toml")
QUICK = ["--engine", "closed_form", "--workers", "1", "--draws", "2", "--set", "run.months=5"]
FILES = {"summary.txt", "summary.json", "series.csv", "hours.csv", "figure.png", "figure.svg", "manifest.json"}


def run(*arguments: str, **how: object) -> Result:
    return CliRunner().invoke(main, arguments, **how)  # type: ignore[arg-type]


def program(*arguments: str, **how: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "jevons", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **how,  # type: ignore[call-overload]
    )  # fmt: skip


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures cost more time than the rest of a small run, and have tests of their own."""
    monkeypatch.setattr(jevons.report.files, "figure_files", lambda _: {})


# Help.


@pytest.mark.parametrize("name", sorted(main.commands))
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help_with_an_example(name: str, option: str) -> None:
    told = run(name, option)

    assert told.exit_code == 0
    assert "Example" in told.stdout
    assert f"jevons {name}" in told.stdout
    assert all(option.help for option in main.commands[name].params if isinstance(option, click.Option))


def test_the_commands_are_those_of_the_manual() -> None:
    assert set(main.commands) == {"simulate", "compare", "gallery", "implied", "waterfall", "check", "schema", "new"}


def test_help_imports_nothing_heavy() -> None:
    """Only click: help should come at once."""
    code = (
        "import sys, jevons.cli, click.testing\n"
        "click.testing.CliRunner().invoke(jevons.cli.main, ['--help'])\n"
        "heavy = {'numpy', 'pydantic', 'simpy', 'matplotlib', 'pandas', 'scipy', 'rich'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert told.stdout == "[]\n"


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, jevons; print(sorted(name for name in sys.modules if name.startswith(('jevons', 'numpy'))))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert told.stdout == "['jevons']\n"


def test_every_public_name_exists() -> None:
    assert all(getattr(jevons, name) is not None for name in jevons.__all__)
    assert dir(jevons) == jevons.__all__
    with pytest.raises(AttributeError, match="has no attribute 'simulation'"):
        jevons.simulation  # noqa: B018 - asking for it is the test


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"jevons {jevons.__version__}\n"


# What is printed.


def test_a_table_goes_to_stdout_and_nothing_to_stderr() -> None:
    told = run("simulate", MARKET, *QUICK)

    assert told.exit_code == 0
    assert "Rebound" in told.stdout
    assert told.stderr == ""


def test_json_is_all_that_stdout_holds() -> None:
    assert json.loads(run("simulate", MARKET, *QUICK, "--format", "json").stdout)["name"] == "market"


def test_several_scenarios_come_as_a_list(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(f'extends = "{MARKET}"\nname = "other"\n', encoding="utf-8")
    told = json.loads(run("simulate", MARKET, str(other), *QUICK, "--format", "json").stdout)

    assert [summary["name"] for summary in told] == ["market", "other"]


def test_an_empty_line_stands_between_tables_and_none_at_the_end() -> None:
    one, two = run("simulate", MARKET, *QUICK).stdout, run("simulate", MARKET, MARKET, *QUICK).stdout

    assert two == f"{one}\n{one}"


def test_csv_has_one_heading_for_several_scenarios() -> None:
    lines = run("simulate", MARKET, MARKET, *QUICK, "--format", "csv").stdout.splitlines()

    assert sum(line.startswith("scenario,figure") for line in lines) == 1


def test_a_scenario_may_come_from_standard_input() -> None:
    text = Path(MARKET).read_text(encoding="utf-8")

    assert run("simulate", "-", *QUICK, input=text).stdout == run("simulate", MARKET, *QUICK).stdout


@pytest.mark.parametrize(
    ("option", "override"),
    [
        (["--seed", "11"], "run.seed=11"),
        (["--replications", "4"], "run.replications=4"),
        (["--resolution", "500"], "run.resolution=500"),
        (["--resolution", "full"], f"run.resolution={FULL_RESOLUTION}"),
    ],
)
def test_an_option_is_short_for_an_override(option: list[str], override: str) -> None:
    told = [run("simulate", MARKET, *QUICK, "--format", "json", *more).stdout for more in (option, ["--set", override])]

    assert told[0] == told[1] != run("simulate", MARKET, *QUICK, "--format", "json").stdout


def test_full_resolution_is_the_largest_there_is() -> None:
    resolution = range_of(Run.model_fields["resolution"])

    assert resolution is not None
    assert resolution.at_most == FULL_RESOLUTION


def test_a_seed_makes_a_run_and_another_seed_another() -> None:
    first, again, other = (
        run("simulate", MARKET, *QUICK, "--format", "json", "--seed", seed).stdout for seed in ("3", "3", "4")
    )

    assert first == again != other


# Files.


@pytest.mark.slow
def test_the_same_seed_writes_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    one = run("simulate", MARKET, *QUICK, "-o", str(tmp_path / "one"))
    two = run("simulate", MARKET, *QUICK, "--workers", "2", "-o", str(tmp_path / "elsewhere" / "two"))

    assert one.exit_code == two.exit_code == 0
    assert contents(tmp_path / "one").keys() == FILES
    assert contents(tmp_path / "one") == contents(tmp_path / "elsewhere" / "two")


@pytest.mark.usefixtures("without_pictures")
def test_the_manifest_tells_how_to_make_the_files_again(tmp_path: Path) -> None:
    run("simulate", MARKET, *QUICK, "-o", str(tmp_path / "run"))
    written = contents(tmp_path / "run")
    manifest = json.loads(written.pop("manifest.json"))

    assert set(manifest) == {
        "schema_version", "kind", "name", "digest", "seed", "engine", "versions", "files", "scenario",
    }  # fmt: skip
    assert manifest["files"] == {name: sha256(content).hexdigest() for name, content in written.items()}
    assert manifest["digest"] == jevons.load(MARKET, ["run.draws=2", "run.months=5"]).digest
    assert set(manifest["versions"]) == {"jevons", "python", "numpy", "simpy", "matplotlib"}
    assert str(tmp_path) not in json.dumps(manifest)


@pytest.mark.usefixtures("without_pictures")
def test_more_replications_keep_the_earlier_ones(tmp_path: Path) -> None:
    for count in ("2", "4"):
        run("simulate", MARKET, *QUICK, "--replications", count, "-o", str(tmp_path / count))
    two, four = ((tmp_path / count / "series.csv").read_text().splitlines() for count in ("2", "4"))

    assert [line for line in four if line.split(",")[1] in ("replication", "0", "1")] == two


@pytest.mark.usefixtures("without_pictures")
def test_several_scenarios_get_a_directory_each(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(f'extends = "{MARKET}"\nname = "other"\n', encoding="utf-8")
    told = run("simulate", MARKET, str(other), *QUICK, "-o", str(tmp_path / "out"))

    assert told.exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"market", "other"}


def test_scenarios_of_one_name_cannot_share_a_directory(tmp_path: Path) -> None:
    told = run("simulate", MARKET, MARKET, *QUICK, "-o", str(tmp_path))

    assert told.exit_code == 2
    assert told.stderr == "Error: scenarios in one directory need different names, not market, market\n"


@pytest.mark.usefixtures("without_pictures")
def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    run("simulate", MARKET, *QUICK, "-o", str(tmp_path))

    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_file_is_not_taken_for_a_directory(tmp_path: Path) -> None:
    """Looked at before anything runs: also where it stands above the directory."""
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    for place in (tmp_path / "out", tmp_path / "out" / "deeper"):
        told = run("simulate", MARKET, *QUICK, "-o", str(place))

        assert told.exit_code == 2
        assert told.stderr == f"Error: {tmp_path / 'out'}: is a file, not a directory\n"
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


def test_a_write_that_fails_leaves_the_old_files_and_no_part_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"a": b"old a", "b": b"old b"})
    synced = iter([None, None, OSError(28, "No space left on device")])

    def fsync(_: int) -> None:
        outcome = next(synced)
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        write_files(tmp_path, {"a": b"new a", "b": b"new b", "c": b"new c"})

    assert contents(tmp_path) == {"a": b"old a", "b": b"old b"}


def test_an_interrupted_write_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, {"a": b"new"})

    assert contents(tmp_path) == {}


def test_files_get_the_rights_that_new_files_get(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_files(tmp_path, {"written": b""})

    assert (tmp_path / "written").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_disk_that_is_full_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> list[str]:
        raise OSError(28, "No space left on device", str(tmp_path / "series.csv"))

    monkeypatch.setattr(jevons.report.files, "write_run", full)
    told = run("simulate", MARKET, *QUICK, "-o", str(tmp_path))

    assert told.exit_code == 1
    assert told.stderr == f"Error: {tmp_path / 'series.csv'}: No space left on device\n"


@pytest.mark.usefixtures("without_pictures")
def test_a_run_is_read_back_as_it_was(tmp_path: Path) -> None:
    result = jevons.simulate(jevons.load(MARKET, ["run.draws=0", "run.months=5"]), engine="closed_form")
    jevons.report.files.write_run(result, tmp_path)
    read = read_run(tmp_path)

    assert read.scenario.digest == result.scenario.digest
    assert read.engine == "closed_form"
    assert list(read.series.rows()) == list(result.monthly.rows())


# Errors and exit codes.


def test_all_problems_of_all_scenarios_are_told_at_once(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(f'extends = "{MARKET}"\n[pricing]\npass_trough = 0.5\nshortage_markup = -1.0\n', encoding="utf-8")
    told = run("check", MARKET, str(wrong), str(tmp_path / "missing.toml"))

    assert told.exit_code == 2
    assert told.stdout == f"{MARKET}: ok\n"
    assert f"{wrong}:3:1: pricing.pass_trough: unknown key" in told.stderr
    assert f"{wrong}:4:19: pricing.shortage_markup: must be at least 0" in told.stderr
    assert f"{tmp_path / 'missing.toml'}: does not exist" in told.stderr
    assert told.stderr.endswith("3 problems; nothing was run.\n")


def test_numbers_without_a_source_are_warned_of(tmp_path: Path) -> None:
    bare = tmp_path / "bare.toml"
    text = Path(MARKET).read_text(encoding="utf-8").replace('"*" = ', '"[!p]*" = ')
    bare.write_text(f"{text}\n[pricing]\npass_through = 0.9\n", encoding="utf-8")
    told = run("check", str(bare))

    assert told.exit_code == 0
    assert told.stdout == f"{bare}: ok\n"
    assert told.stderr == f"{bare}: warning: 1 number has no source: pricing.pass_through\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate"],
        ["simulate", MARKET, "--format", "xml"],
        ["simulate", MARKET, "--engine", "abacus"],
        ["simulate", MARKET, "--resolution", "fine"],
        ["simulate", MARKET, "--set", "nonsense"],
        ["simulate", MARKET, "--set", "run.moths=3"],
        ["simulate", MARKET, "--replications", "1"],
        ["simulate", MARKET, *QUICK, "--workers", "-1"],
        ["simulate", "missing.toml"],
        ["compare", MARKET],
        ["compare", MARKET, str(Path(__file__).parent)],
        ["new", "../away"],
        ["no-such-command"],
    ],
)
def test_wrong_usage_exits_with_2_and_prints_no_result(arguments: list[str]) -> None:
    told = run(*arguments)

    assert told.exit_code == 2
    assert told.stdout == ""
    assert told.stderr
    assert "Traceback" not in told.stderr


def test_a_day_has_no_csv_and_is_told_so_before_it_is_served() -> None:
    told = run("simulate", str(ROOT / "scenarios" / "deepseek_day.toml"), "--format", "csv")

    assert told.exit_code == 2
    assert "a served day has no csv summary" in told.stderr


def test_an_interruption_exits_with_130_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jevons.ensemble.simulate", interrupt)
    told = run("simulate", MARKET, *QUICK)

    assert (told.exit_code, told.stdout, told.stderr) == (130, "", "Interrupted.\n")


@pytest.mark.slow
def test_ctrl_c_ends_a_run_with_its_workers(tmp_path: Path) -> None:
    """Many draws, interrupted while two processes work on them; the signal reaches the whole group."""
    arguments = ["simulate", MARKET, "--workers", "2", "--draws", "100000", "-o", str(tmp_path / "out")]
    with program(*arguments, start_new_session=True) as process:
        time.sleep(4)
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)

    # A process that is only just starting may still tell of its own interruption first.
    assert (process.returncode, stdout) == (130, "")
    assert stderr.endswith("Interrupted.\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error() -> None:
    """`jevons schema | head -1`: more than a pipe holds is written into a closed one."""
    with program("schema") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        stderr = process.stderr.read()

    assert stderr == ""


# The other commands.


def test_the_schema_is_one() -> None:
    assert json.loads(run("schema").stdout)["$schema"].startswith("https://json-schema.org/")


def test_a_new_scenario_is_complete_and_another_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("new", "mine").exit_code == 0
    assert run("check", "mine.toml").exit_code == 0
    (tmp_path / "mine.toml").write_text("precious", encoding="utf-8")
    again = run("new", "mine")

    assert again.exit_code == 2
    assert again.stderr == "Error: mine.toml: exists already, and is left as it is\n"
    assert (tmp_path / "mine.toml").read_text(encoding="utf-8") == "precious"


def test_a_new_scenario_can_go_to_stdout() -> None:
    assert jevons.loads(run("new", "-").stdout).name == "starter"


@pytest.mark.usefixtures("without_pictures")
def test_a_scenario_is_compared_with_the_run_of_another(tmp_path: Path) -> None:
    run("simulate", MARKET, *QUICK, "--set", "pricing.pass_through=0.6", "-o", str(tmp_path / "run"))
    quick = [*QUICK[:4], *QUICK[6:], "--set", "run.draws=2"]
    told = json.loads(run("compare", MARKET, str(tmp_path / "run"), *quick, "--format", "json").stdout)["others"][0]

    assert told["paired"] is True
    assert told["inputs"] == [{"key": "pricing.pass_through", "first": 1.0, "other": 0.6, "matters": True}]


@pytest.mark.usefixtures("without_pictures")
def test_inputs_are_compared_without_a_run(tmp_path: Path) -> None:
    run("simulate", MARKET, *QUICK, "-o", str(tmp_path / "run"))
    told = run("compare", MARKET, str(tmp_path / "run"), "--inputs")

    assert told.exit_code == 0
    assert [line.split() for line in told.stdout.splitlines()[-2:]] == [
        ["run.draws", "12", "2"],
        ["run.months", "9", "5"],
    ]


def test_a_comparison_may_be_csv() -> None:
    quick = [*QUICK[:4], *QUICK[6:]]
    lines = run("compare", MARKET, MARKET, *quick, "--format", "csv").stdout.splitlines()

    assert lines[0].startswith("first,other,moment,figure")
    assert all(line.endswith("true") for line in lines[1:])


def test_every_engine_can_be_asked_for() -> None:
    (option,) = (option for option in main.commands["simulate"].params if option.name == "engine")

    assert list(option.type.choices) == list(ENGINES)
    assert option.default == DEFAULT_ENGINE


def test_without_numba_the_plain_engine_takes_over_and_says_so() -> None:
    """As where numba was never installed; the day is that of the compiled engine."""
    arguments = [
        "simulate",
        DAY,
        "--resolution",
        "500",
        "--set",
        "run.replications=2",
        "--workers",
        "1",
        "--format",
        "json",
    ]
    program = "import sys; sys.modules['numba'] = None; from jevons.cli import main; main()"
    plain = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    compiled = subprocess.run(
        [sys.executable, "-m", "jevons", *arguments, "-q"], capture_output=True, text=True, check=False
    )
    numbers = [
        np.array([float(number) for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", told.stdout)])
        for told in (plain, compiled)
    ]

    assert plain.returncode == 0
    assert "plain Python" in plain.stderr
    assert "Traceback" not in plain.stderr
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-6)
