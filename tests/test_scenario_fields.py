"""Every field of a scenario: what is said, and where, of a wrong type, of a number out of range, of a misspelt key."""

from __future__ import annotations

import copy
import datetime as dt
import math
from typing import Any

import pytest

from jevons.errors import Problem, ScenarioError
from jevons.scenario import FieldRow, Scenario, field_table, loads
from jevons.scenario.fields import Distribution, Range, range_of
from jevons.scenario.keys import dotted, path_of, written_key
from jevons.scenario.structure import field_at

#: A scenario in which every table is present.
TABLES: dict[str, Any] = {
    "name": "all",
    "run": {"start": dt.date(2024, 1, 1), "months": 24},
    "shock": {
        "date": dt.date(2024, 7, 15),
        "efficiency_gain": 10.0,
        "diffusion": {"form": "logistic"},
        "segment_reach": {"chat": 0.5},
        "region_reach": {"us": 0.75},
        "provider_reach": {"lab": 0.9},
    },
    "trend": {"algorithmic_gain_per_year": 2.5},
    "pricing": {"pass_through": 0.9},
    "segments": {
        "chat": {
            "tokens_per_day": 3e9,
            "price_usd_per_mtok": 1.5,
            "workload": "talk",
            "region_share": {"us": 1.0},
            "offers": {"lab": {"share": 1.0}},
            "choice": {"nest_similarity": 0.3},
        },
        "train": {
            "tariff": "budget",
            "form": "budget",
            "budget_usd_per_day": 2e5,
            "region_share": {"us": 1.0},
            "jobs": {"gpus": [512.0], "hours": [300.0]},
            "race": {"follows": "rival", "response": 0.3},
        },
        "rival": {
            "tariff": "budget",
            "form": "budget",
            "budget_usd_per_day": 3e5,
            "region_share": {"us": 1.0},
        },
    },
    "lesson": {"than": "other.toml", "teaches": "what it does", "expected": ["rebound higher"]},
    "providers": {"lab": {"capability": 1.1}},
    "workloads": {
        "talk": {
            "input_tokens": {"mean": [900.0], "sigma": [1.1], "weight": [1.0]},
            "output_tokens": {"edges": [1.0, 10.0, 100.0], "counts": [3.0, 2.0]},
        }
    },
    "gpus": {"h100": {"h100e": 1.25, "power_kw": 1.3, "idle_power_kw": 0.4, "price_usd": 30e3}},
    "regions": {
        "us": {
            "rental": {"price_usd_per_gpu_hour": 2.4},
            "fleet": {
                "stock": {"h100": 4500.0},
                "orders": {"type": "h100", "lead_time": {"mean_months": 5.0}},
            },
        }
    },
    "policies": {"help": {"kind": "subsidy", "share": 0.2}},
    "serving": {
        "step": {"base_s": 0.02, "per_sequence_s": 25e-6},
        "target_batch": 250.0,
        "max_batch": 400.0,
        "prefill_tokens_per_s": 40e3,
        "autoscaler": {"headroom": 1.2},
        "failures": {"mtbf_days": 50.0, "repair_hours": 12.0},
    },
    "vendor": {"margin": 0.7},
    "investors": {"debt_share": 0.2},
    "observed": {"cost_usd": 87072.0},
    "anchors": {"p": {"what": "price", "start": dt.date(2024, 2, 1), "end": dt.date(2024, 6, 1), "factor": 0.5}},
    "sources": {"run.months": "choice"},
}

#: Names in the scenario above for the `*` of the table of fields.
NAMES = {
    "segment_reach": "chat",
    "region_reach": "us",
    "provider_reach": "lab",
    "providers": "lab",
    "offers": "lab",
    "trust": "us",
    "banned_in": "us",
    "share_by_region": "us",
    "segments": "chat",
    "workloads": "talk",
    "region_share": "us",
    "gpus": "h100",
    "regions": "us",
    "stock": "h100",
    "policies": "help",
    "anchors": "p",
    "sources": "run.months",
}

#: Tables that only a budget has.
OF_BUDGETS = ("segments.*.jobs", "segments.*.race")


def path_in_scenario(row: FieldRow) -> tuple[str, ...]:
    names = NAMES | {"segments": "train"} if row.key.startswith(OF_BUDGETS) else NAMES
    path: list[str] = []
    for part in row.key.split("."):
        path.append(names[path[-1]] if part == "*" else part)
    return tuple(path)


def written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return value.isoformat() if isinstance(value, dt.date) else repr(value)


def document(tables: dict[str, Any]) -> tuple[str, dict[tuple[str, ...], tuple[int, int, int]]]:
    """Tables as TOML, each under its own header, and line, column and column of the value of each key."""
    lines: list[str] = []
    places = {}

    def write(table: dict[str, Any], path: tuple[str, ...]) -> None:
        if path:
            lines.append(f"[{dotted(path)}]")
            places[path] = (len(lines), 2, 2)
        for key, value in table.items():
            if not isinstance(value, dict):
                lines.append(f"{written_key(key)} = {written(value)}")
                places[*path, key] = (len(lines), 1, len(written_key(key)) + 4)
        for key, value in table.items():
            if isinstance(value, dict):
                write(value, (*path, key))

    write(tables, ())
    return "\n".join(lines), places


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The tables above with one value put in."""
    tables = copy.deepcopy(TABLES)
    table = tables
    for key in path[:-1]:
        table = table.setdefault(key, {})
    table[path[-1]] = value
    return tables


def problems(tables: dict[str, Any]) -> list[Problem]:
    with pytest.raises(ScenarioError) as caught:
        loads(document(tables)[0], "all.toml")
    return caught.value.problems


def wrong_type(row: FieldRow) -> Any:
    return {"text": 7, "date": "today", "true or false": 1}.get(row.unit, "xyzzy")


def numbers_outside(allowed: Range) -> list[float]:
    outside = [math.nan, math.inf, -math.inf]
    outside += [] if allowed.above is None else [allowed.above]
    outside += [] if allowed.at_least is None else [allowed.at_least - max(abs(allowed.at_least), 1)]
    outside += [] if allowed.below is None else [allowed.below]
    outside += [] if allowed.at_most is None else [2 * abs(allowed.at_most) + 1]
    return outside


def like(row: FieldRow, value: float) -> Any:
    """A value of the kind the field takes: in a list where it takes a list, whole where it takes whole numbers."""
    annotation = str(field_at(Scenario, path_in_scenario(row)).annotation)
    whole = int(value) if "int" in annotation and math.isfinite(value) else value
    return [whole] if "list" in annotation else whole


ROWS = field_table()
QUANTITIES = [row for row in ROWS if range_of(field_at(Scenario, path_in_scenario(row))) is not None]
OUTSIDE = [
    pytest.param(row, value, id=f"{row.key}={value:g}")
    for row in QUANTITIES
    for value in numbers_outside(range_of(field_at(Scenario, path_in_scenario(row))))
]


def test_the_scenario_of_these_tests_is_sound():
    assert loads(document(TABLES)[0]).name == "all"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_value_of_the_wrong_type_is_one_problem_at_its_place(row):
    path = path_in_scenario(row)
    tables = changed(path, wrong_type(row))
    line, _, column = document(tables)[1][path]

    (problem,) = problems(tables)

    assert (problem.line, problem.column, problem.key) == (line, column, dotted(path))
    assert problem.message.startswith("must be ")
    assert f"not {wrong_type(row)!r}" in problem.message


@pytest.mark.parametrize(("row", "value"), OUTSIDE)
def test_a_number_out_of_range_is_one_problem_at_its_place(row, value):
    path = path_in_scenario(row)
    tables = changed(path, like(row, value))
    line, _, column = document(tables)[1][path]

    (problem,) = problems(tables)

    in_list = problem.key.endswith("[0]")
    assert problem.key.removesuffix("[0]") == dotted(path)
    assert (problem.line, problem.column) == (line, column + in_list)
    assert problem.message.startswith("must be ")


@pytest.mark.parametrize("row", QUANTITIES, ids=lambda row: row.key)
def test_a_whole_number_too_large_for_a_float_is_one_problem_too(row):
    path = path_in_scenario(row)
    number = hex(10**400)
    value = f"[{number}]" if isinstance(like(row, 1.0), list) else number

    with pytest.raises(ScenarioError) as caught:
        loads(document(TABLES)[0], overrides=[f"{dotted(path)}={value}"])

    (problem,) = caught.value.problems
    assert problem.key.removesuffix("[0]") == dotted(path)
    assert problem.message.endswith("not a whole number of about 400 digits")


@pytest.mark.parametrize("row", [row for row in ROWS if not row.key.endswith("*")], ids=lambda row: row.key)
def test_a_misspelt_key_is_one_problem_that_names_the_right_one(row):
    *parent, key = path_in_scenario(row)
    path = (*parent, f"{key}z")
    tables = changed(path, 1)
    line, column, _ = document(tables)[1][path]

    (problem,) = problems(tables)

    assert problem == Problem(
        file="all.toml",
        key=dotted(path),
        message=f"unknown key; did you mean {key!r}?",
        line=line,
        column=column,
    )


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.default == "needed" and row.key[-1] != "*"], ids=lambda row: row.key
)
def test_what_is_needed_and_missing_is_asked_for_at_the_header_of_its_table(row):
    *parent, key = path_in_scenario(row)
    tables = copy.deepcopy(TABLES)
    table = tables
    for name in parent:
        table = table[name]
    del table[key]
    line, column, _ = document(tables)[1].get(tuple(parent), (1, 1, 1))

    (problem,) = problems(tables)

    assert (problem.line, problem.column, problem.message) == (line, column, "is needed")


@pytest.mark.parametrize("row", [row for row in ROWS if row.is_uncertain], ids=lambda row: row.key)
def test_a_distribution_whose_draws_leave_the_range_is_refused(row):
    path = path_in_scenario(row)
    tables = changed(path, {"dist": "normal", "mean": 0.0, "sd": 1e7})

    (problem,) = problems(tables)

    assert (problem.key, problem.line) == (dotted(path), document(tables)[1][path][0])
    assert "its draws must be " in problem.message


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_every_field_says_what_it_means(row):
    assert row.meaning.endswith(".")
    assert row.unit


# Distributions.


def test_a_distribution_is_cut_off_and_its_centre_is_the_median_of_what_is_left():
    """A uniform on 0 to 8 cut at 2 and 6 is a uniform on 2 to 6."""
    cut = Distribution(dist="uniform", low=0.0, high=8.0, min=2.0, max=6.0)

    assert [cut.quantile(p) for p in (0.25, 0.5, 0.75)] == pytest.approx([3.0, 4.0, 5.0])
    assert cut.central == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("distribution", "p", "value"),
    [
        (Distribution(dist="normal", mean=-1.0, sd=0.5), 0.975, -1.0 + 0.5 * 1.959963984540054),
        (Distribution(dist="lognormal", median=3.0, sigma=0.4), 0.025, 3.0 * math.exp(-0.4 * 1.959963984540054)),
        (Distribution(dist="triangular", low=0.0, mode=1.0, high=4.0), 0.25, 1.0),
        (Distribution(dist="triangular", low=0.0, mode=1.0, high=4.0), 0.75, 4 - math.sqrt(3)),
        (Distribution(dist="uniform", low=2.0, high=10.0), 0.125, 3.0),
        (Distribution(dist="pareto", low=3.0, index=2.0), 0.75, 6.0),
        (Distribution(dist="pareto", low=3.0, index=0.5), 0.9, 300.0),
    ],
    ids=str,
)
def test_quantiles_follow_from_the_parameters(distribution, p, value):
    """The triangular: F(x) = x^2/4 up to 1, 1 - (4-x)^2/12 beyond; a quarter lies below the mode."""
    assert distribution.quantile(p) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("distribution", "value"),
    [
        (Distribution(dist="triangular", low=0.0, mode=1.0, high=4.0, max=1.0), math.sqrt(0.5)),
        (Distribution(dist="triangular", low=0.0, mode=1.0, high=4.0, min=1.0), 4 - math.sqrt(4.5)),
        (Distribution(dist="triangular", low=0.0, mode=1.0, high=4.0, max=0.5), math.sqrt(0.125)),
        (Distribution(dist="triangular", low=0.0, mode=1.0, high=4.0, min=2.0), 4 - math.sqrt(2.0)),
        (Distribution(dist="lognormal", median=3.0, sigma=0.4, max=3.0), 3.0 * math.exp(-0.4 * 0.6744897501960817)),
        (Distribution(dist="normal", mean=5.0, sd=2.0, min=5.0), 5.0 + 2.0 * 0.6744897501960817),
    ],
    ids=str,
)
def test_the_median_of_a_part_is_a_quantile_of_the_whole(distribution, value):
    """And so on: of the triangular cut at 1, where x^2/4 = 1/8; cut above 1/2, where x^2/4 = 1/32; cut below 2, where
    2/3 lies, where 1 - (4-x)^2/12 = 5/6.
    """
    assert distribution.central == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("family", ["normal", "lognormal"])
def test_no_rounding_takes_a_draw_beyond_the_ends(family):
    parameters = {"normal": {"mean": 0.3, "sd": 0.7}, "lognormal": {"median": 0.3, "sigma": 0.7}}[family]
    cuts = [Distribution(dist=family, **parameters, min=k / 97, max=k / 89) for k in range(1, 97)]

    assert all(cut.min <= cut.quantile(p) <= cut.max for cut in cuts for p in (1e-300, 1 - 2**-53))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{ dist = "normal", mean = 1.0 }', "a normal needs mean, sd and no other parameter, not mean"),
        ('{ dist = "uniform", low = 1.0, high = 1.0 }', "low, high must rise"),
        ('{ dist = "pareto", low = 0.0, index = 2.0 }', "low of a pareto must be above 0"),
        ('{ dist = "pareto", low = 2.0 }', "a pareto needs low, index and no other parameter, not low"),
        ('{ dist = "triangular", low = 1.0, mode = 0.5, high = 2.0 }', "low, mode, high must rise"),
        ('{ dist = "normal", mean = 1.0, sd = 0.1, min = 1.2, max = 0.8 }', "min must be below max"),
        ('{ dist = "uniform", low = 1.0, high = 2.0, min = 3.0 }', "min and max must leave some of its draws"),
    ],
)
def test_a_distribution_that_makes_no_sense_is_refused_at_its_place(text, message):
    (problem,) = caught(text)

    assert (problem.line, problem.column, problem.message) == (4, 29, message)


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        (
            '{ dist = "gamma", mean = 1.0 }',
            "dist",
            "must be 'normal', 'lognormal', 'uniform', 'triangular' or 'pareto', not 'gamma'",
        ),
        ('{ dist = "normal", mean = 1.0, sd = -0.3 }', "sd", "must be above 0, not -0.3"),
        ('{ dist = "normal", maen = 1.0, sd = 0.3 }', "maen", "unknown key; did you mean 'mean'?"),
        ('{ dist = "normal", mean = "1", sd = 0.3 }', "mean", "must be a number, not '1'"),
        ('{ dist = "normal", mean = nan, sd = 0.3 }', "mean", "must be a finite number, not nan"),
        ("{ mean = 1.0, sd = 0.3 }", "dist", "is needed"),
        ("{}", "dist", "is needed"),
    ],
)
def test_a_wrong_parameter_of_a_distribution_is_named(text, key, message):
    (problem,) = caught(text)

    assert (problem.key, problem.message) == (f"trend.algorithmic_gain_per_year.{key}", message)


def caught(trend: str) -> list[Problem]:
    tables = copy.deepcopy(TABLES)
    del tables["trend"]
    text = f'name = "all"\n[trend]\n\nalgorithmic_gain_per_year = {trend}\n' + document(tables)[0].split("\n", 1)[1]
    with pytest.raises(ScenarioError) as error:
        loads(text)
    return error.value.problems


@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e-9, 1.0, 1e9, 1e18])
@pytest.mark.parametrize("family", ["normal", "lognormal", "uniform", "triangular", "pareto"])
@pytest.mark.parametrize("cut", [{}, {"min": 0.0}, {"max": 1e18}, {"min": -1e18, "max": 5e-324}])
def test_no_size_of_a_parameter_breaks_a_distribution(size, family, cut):
    parameters = {
        "normal": {"mean": size, "sd": size},
        "lognormal": {"median": size, "sigma": min(size, 5.0)},
        "uniform": {"low": -size, "high": size},
        "triangular": {"low": -size, "mode": 0.0, "high": size},
        "pareto": {"low": size, "index": min(size, 100.0)},
    }[family]
    try:
        distribution = Distribution(dist=family, **parameters, **cut)
    except ValueError:
        return
    values = [distribution.quantile(p) for p in (1e-6, 0.5, 1 - 1e-6)]

    assert values == sorted(values)
    assert all(map(math.isfinite, values))


def test_ranges_are_said_in_words():
    assert Range(above=0).text == "above 0"
    assert Range(at_least=1, below=2).text == "at least 1 and below 2"
    assert Range(above=0).text_for(1e300) == "at most 1e+18"


def test_a_path_of_the_table_of_fields_leads_to_its_field():
    assert path_of("segments.chat.tokens_per_day") in [path_in_scenario(row) for row in ROWS]
