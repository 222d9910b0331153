"""The waterfall as a reader sees it: table, data, figure, command."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import jevons
from jevons.attribution import VIEWS, WINDOWS, Waterfall
from jevons.cli import main
from jevons.report.manual import with_runs
from jevons.report.page import GAIN, LOSS
from jevons.report.text import COLUMNS
from jevons.report.waterfall_figure import VIEW_TITLES, bars, waterfall_files
from jevons.report.waterfall_text import CSV_COLUMNS, order_sentence, waterfall_csv, waterfall_json, waterfall_table

MARKET = Path(__file__).parent / "golden" / "market.toml"
DAY = Path(__file__).parents[1] / "scenarios" / "deepseek_day.toml"


def solved(draws: int = 0, **changes: object) -> Waterfall:
    scenario = jevons.load(MARKET).replace({key.replace("__", "."): value for key, value in changes.items()})
    return jevons.waterfall(scenario, draws=draws)


@pytest.fixture(scope="module")
def market() -> Waterfall:
    return solved(draws=4)


@pytest.fixture(scope="module")
def loss() -> Waterfall:
    """A shock after which the same service needs 1.6 times as much."""
    return solved(shock__efficiency_gain=0.625)


@pytest.fixture(scope="module")
def nothing() -> Waterfall:
    """A shock that does nothing."""
    return solved(shock__efficiency_gain=1.0)


@pytest.fixture(scope="module", params=["market", "loss", "nothing", "energy", "usd"])
def any_waterfall(request: pytest.FixtureRequest) -> Waterfall:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def energy() -> Waterfall:
    return solved(run__resource="energy_mwh")


@pytest.fixture(scope="module")
def usd() -> Waterfall:
    return solved(run__resource="usd")


# The table.


def test_the_table_fits_the_page_and_has_no_gaps(any_waterfall):
    table = waterfall_table(any_waterfall)

    assert max(map(len, table.splitlines())) <= COLUMNS
    assert not {"nan", "inf", "None"} & set(table.split())
    assert repr(any_waterfall) == table


def test_the_points_of_the_table_are_those_of_the_waterfall(market):
    lines = waterfall_table(market).splitlines()
    rows = [line for line in lines if line.startswith(("engineering", *market.channels))]
    told = [[float(cell) for cell in row[20:].split()[:4]] for row in rows]
    points = [
        [market.centre[window].points(view)[name] for view in VIEWS]
        for window in WINDOWS
        for name in ("engineering", *market.channels)
    ]

    assert told == [pytest.approx(row, abs=0.0501) for row in points]
    assert sum("4 draws]" in line for line in lines) == len(WINDOWS)


def test_a_unit_is_that_of_the_resource(market, energy, usd):
    assert "GPU-hours in points of the potential saving" in waterfall_table(market)
    assert "MWh/day" in waterfall_table(energy)
    assert "USD/day" in waterfall_table(usd)


def test_a_loss_is_told_as_extra_need(loss):
    assert "points of the extra need" in waterfall_table(loss)


def test_where_nothing_is_saved_the_table_says_so(nothing):
    assert waterfall_table(nothing).count("not defined, with usage held the shock saves no GPU-hours") == len(WINDOWS)


def test_what_depends_on_the_order_is_named(market):
    split = market.centre["horizon"]
    alone, last = split.points("alone"), split.points("last")
    most = max(split.channels, key=lambda name: abs(alone[name] - last[name]))

    assert order_sentence(split).startswith(f"It matters most to {most} ")


def test_one_channel_alone_has_no_order():
    only = solved(
        shock__capability_share=0.0, regions__home__fleet=None, regions__home__rental__scarcity_speed_per_month=0.0
    )

    assert only.channels == ("price",)
    assert "do not work on each other" in waterfall_table(only)


# Data.


def test_the_data_hold_the_parts_and_every_set(market):
    told = json.loads(json.dumps(waterfall_json(market), allow_nan=False))
    horizon, split = told["windows"]["horizon"], market.centre["horizon"]

    assert told["channels"] == list(market.channels)
    assert [part["channel"] for part in horizon["parts"]] == ["engineering", *market.channels]
    for view in VIEWS:
        assert {part["channel"]: part["points"][view] for part in horizon["parts"]} == split.points(view)
    assert [one["consumption"] for one in horizon["by_set"]] == split.values.tolist()
    assert horizon["by_set"][0] == {"on": [], "consumption": horizon["frozen"]}
    assert horizon["by_set"][-1] == {"on": list(market.channels), "consumption": horizon["shock"]}
    assert horizon["by_set"][2]["on"] == [market.channels[1]]
    assert horizon["parts"][1]["points_over_draws"]["shapley"]["samples"] == 4


def test_data_without_a_saving_have_parts_and_no_points(nothing):
    horizon = waterfall_json(nothing)["windows"]["horizon"]

    assert horizon["rebound"] is None
    assert {part["points"] for part in horizon["parts"]} == {None}


def test_the_rows_are_the_parts(any_waterfall):
    rows = list(csv.DictReader(io.StringIO(waterfall_csv([any_waterfall]))))
    split = any_waterfall.centre["cumulated"]

    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == len(WINDOWS) * (1 + len(any_waterfall.channels))
    assert {row["channel"]: float(row["shapley"]) for row in rows if row["window"] == "cumulated"} == split.parts(
        "shapley"
    )
    assert {row["shapley_points"] == "" for row in rows} == {split.rebound is None}


def test_the_manual_quotes_what_was_printed(tmp_path):
    text = "before\n<!-- waterfall: small -->\nold\n<!-- end -->\nafter <!-- run: small -->\nkept\n<!-- end -->\n"
    (tmp_path / "out" / "small").mkdir(parents=True)
    (tmp_path / "out" / "small" / "waterfall.txt").write_text("the table\n")
    told = with_runs(text, tmp_path)

    assert "$ jevons waterfall scenarios/small.toml\nthe table\n```" in told
    assert "old" not in told
    assert told.endswith("\nkept\n<!-- end -->\n")


# The figure.


def test_each_bar_begins_where_the_one_before_ends(market):
    for window in WINDOWS:
        for view in VIEW_TITLES:
            first, *steps, last = bars(market.centre[window], view)
            assert (first.start, first.end) == (0.0, 100.0)
            assert all(one.end == other.start for one, other in pairwise([first, *steps]))
            assert last.end == pytest.approx(steps[-1].end, rel=1e-9)
            assert all(
                (bar.colour, bar.stripes == "") == ((GAIN, True) if bar.end > bar.start else (LOSS, False))
                for bar in steps
            )


@pytest.mark.parametrize("name", ["market", "nothing"])
def test_the_figure_is_drawn_and_the_same_each_time(name, request):
    drawn = request.getfixturevalue(name)
    files = waterfall_files(drawn)

    assert set(files) == {"waterfall.png", "waterfall.svg"}
    assert files["waterfall.png"].startswith(b"\x89PNG")
    assert files["waterfall.svg"] == waterfall_files(drawn)["waterfall.svg"]


# The command.


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["waterfall", *arguments])


def test_the_command_prints_the_table_and_writes_the_files(tmp_path, market):
    told = run(str(MARKET), "--draws", "4", "-o", str(tmp_path / "out"))
    names = {"waterfall.txt", "waterfall.json", "waterfall.png", "waterfall.svg"}

    assert told.exit_code == 0
    assert told.stderr == ""
    assert told.stdout.startswith(waterfall_table(market))
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert (tmp_path / "out" / "waterfall.txt").read_text() == waterfall_table(market)
    assert all(name in told.stdout.removeprefix(waterfall_table(market)) for name in names)


def test_the_files_of_a_run_in_the_same_directory_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("jevons.report.waterfall_figure.waterfall_files", lambda _: {})
    (tmp_path / "manifest.json").write_text("{}")
    run(str(MARKET), "-o", str(tmp_path))

    assert (tmp_path / "manifest.json").read_text() == "{}"
    assert (tmp_path / "waterfall.txt").exists()


def test_data_are_all_that_stdout_holds():
    told = json.loads(run(str(MARKET), "--format", "json", "--set", "run.resource=usd").stdout)

    assert (told["kind"], told["resource"]) == ("waterfall", "usd")
    assert run(str(MARKET), "--format", "csv").stdout.startswith(",".join(CSV_COLUMNS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([str(DAY)], "a scenario of kind day has no shock to decompose"),
        ([str(MARKET), "--draws", "-2"], "draws must be at least 0, not -2"),
    ],
)
def test_what_cannot_be_told_is_a_message(arguments, message):
    told = run(*arguments)

    assert told.exit_code == 2
    assert message in told.stderr
    assert told.stdout == ""
