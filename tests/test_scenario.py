"""What is read from scenario files, how files and overrides are laid on each other, and what a scenario can tell."""

from __future__ import annotations

import datetime as dt
import io
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.errors import Problem, ScenarioError, UsageError
from jevons.scenario import (
    Distribution,
    Scenario,
    check,
    field_table,
    field_table_markdown,
    json_schema,
    load,
    loads,
    prerequisites,
    starter,
)

BASE = """\
name = "base"

[run]
start = 2024-01-01
months = 24

[shock]
date = 2024-07-15
efficiency_gain = 10.0

[segments.chat]
tokens_per_day = 3e9
price_elasticity = { dist = "normal", mean = -1.2, sd = 0.1 }

[regions.us.rental]
price_usd_per_gpu_hour = 2.5
"""


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.toml"
    path.write_text(BASE)
    return path


def problems_of(text: str, overrides: tuple[str, ...] = ()) -> list[Problem]:
    with pytest.raises(ScenarioError) as caught:
        loads(text, "s.toml", overrides)
    return caught.value.problems


# Reading.


def test_a_file_is_read_into_its_tables(base):
    scenario = load(base)

    assert scenario.run.start == dt.date(2024, 1, 1)
    assert scenario.segments["chat"].tokens_per_day == 3e9
    assert scenario.regions["us"].rental.price_usd_per_gpu_hour == 2.5
    assert scenario.segments["chat"].price_elasticity == Distribution(dist="normal", mean=-1.2, sd=0.1)


def test_a_minus_stands_for_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BASE.encode())))

    assert load("-") == loads(BASE)


def test_a_text_is_read_like_a_file(base):
    assert loads(BASE) == load(base)


def test_all_problems_are_told_at_once_each_with_its_place():
    """A misspelt key, a wrong sign, a missing table and a rule between two fields."""
    text = BASE.replace("months = 24", "mnths = 24").replace("3e9", "-3e9").replace("[shock]", "[shok]")

    assert list(map(str, problems_of(text))) == [
        "s.toml:1:1: shock: is needed for kind 'market'",
        "s.toml:5:1: run.mnths: unknown key; did you mean 'months'?",
        "s.toml:7:2: shok: unknown key; did you mean 'shock'?",
        "s.toml:12:18: segments.chat.tokens_per_day: must be above 0, not -3000000000.0",
    ]


def test_rules_between_fields_are_told_together_with_wrong_fields():
    text = BASE.replace("3e9", "3e9\nworkload = 'talk'").replace("2.5", "2.5\nscarcity_speed_per_month = -1.0")

    assert [(p.key, p.line, p.message) for p in problems_of(text)] == [
        ("segments.chat.workload", 13, "there is no 'talk' in [workloads]"),
        ("regions.us.rental.scarcity_speed_per_month", 18, "must be at least 0 and at most 20, not -1.0"),
    ]


def test_no_rule_is_said_to_be_broken_only_because_a_wrong_field_was_left_out():
    """With its wrong number left out, the segment would lack tokens_per_day: that is not worth telling."""
    assert [p.key for p in problems_of(BASE.replace("3e9", "-3e9"))] == ["segments.chat.tokens_per_day"]


def test_a_list_of_problems_is_cut_off_and_the_rest_counted():
    many = "\n".join(f"nonsense{i} = 1" for i in range(250))
    problems = problems_of(f"{many}\n{BASE}")

    assert len(problems) == 101
    assert str(problems[-1]) == "s.toml: and 150 more problems"


def test_check_lists_the_problems_of_several_files(base, tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("name = 3")
    problems = check([base, broken, tmp_path / "none.toml"])

    assert [str(p) for p in problems if p.key in ("", "name")] == [
        f"{broken}:1:8: name: must be a text in quotes, not 3",
        f"{tmp_path}/none.toml: does not exist",
    ]


# What a file extends.


def test_a_file_is_laid_on_what_it_extends_table_by_table(base):
    child = base.with_name("child.toml")
    child.write_text('extends = "base.toml"\nname = "child"\n[segments.chat]\nprice_usd_per_mtok = 7.0\n')
    scenario = load(child)

    assert scenario.name == "child"
    assert scenario.segments["chat"].price_usd_per_mtok == 7.0
    assert scenario.segments["chat"].tokens_per_day == 3e9


def test_of_several_bases_the_later_one_counts(base, tmp_path):
    (tmp_path / "slow.toml").write_text("[run]\nmonths = 36\nseed = 5")
    (tmp_path / "long.toml").write_text("[run]\nmonths = 48")
    child = tmp_path / "child.toml"
    child.write_text('extends = ["base.toml", "slow.toml", "long.toml"]')

    assert (load(child).run.months, load(child).run.seed) == (48, 5)


def test_a_distribution_replaces_another_as_a_whole(base):
    child = base.with_name("child.toml")
    child.write_text(
        'extends = "base.toml"\n[segments.chat.price_elasticity]\ndist = "uniform"\nlow = -2.0\nhigh = -0.5'
    )

    assert load(child).segments["chat"].price_elasticity == Distribution(dist="uniform", low=-2.0, high=-0.5)


def test_a_parameter_of_an_inherited_distribution_can_be_changed_alone(base):
    scenario = load(base, ["segments.chat.price_elasticity.mean=-1.5"])

    assert scenario.segments["chat"].price_elasticity == Distribution(dist="normal", mean=-1.5, sd=0.1)


def test_a_list_replaces_another_as_a_whole(base):
    overrides = ["workloads.w={input_tokens={mean=[3.0, 4.0]}, trace='x'}", "workloads.w={input_tokens={mean=[5.0]}}"]
    with pytest.raises(ScenarioError) as caught:
        load(base, overrides)

    assert "mean, 1, not 0" in str(caught.value)


def test_a_problem_stands_in_the_file_that_wrote_the_value(base):
    base.write_text(BASE.replace("3e9", "-3e9"))
    child = base.with_name("child.toml")
    child.write_text('extends = "base.toml"\n[run]\nmonths = 0')

    assert [(p.file, p.line, p.column) for p in check([child])] == [(str(base), 12, 18), (str(child), 3, 10)]


def test_paths_are_relative_to_the_file_that_names_them(base, tmp_path, monkeypatch):
    (tmp_path / "far" / "traces").mkdir(parents=True)
    (tmp_path / "far" / "traces" / "t.csv").write_text("arrival_s\n")
    (tmp_path / "far" / "day.toml").write_text(
        'kind = "day"\n[workloads.w]\ntrace = "traces/t.csv"\n[segments.chat]\nworkload = "w"\n'
        "[serving]\ntarget_batch = 2.0\nmax_batch = 3.0\nprefill_tokens_per_s = 4.0\n"
        "step = { base_s = 0.5, per_sequence_s = 0.25 }\n"
    )
    child = tmp_path / "child.toml"
    child.write_text('extends = ["base.toml", "far/day.toml"]')
    monkeypatch.chdir(tmp_path.parent)
    relative = f"{tmp_path.name}/child.toml"

    assert load(relative).workloads["w"].trace == f"{tmp_path.name}/far/traces/t.csv"
    assert list(map(str, prerequisites(relative))) == [
        f"{tmp_path.name}/base.toml",
        f"{tmp_path.name}/far/day.toml",
        f"{tmp_path.name}/child.toml",
        f"{tmp_path.name}/far/traces/t.csv",
    ]


def test_files_that_extend_each_other_are_named_in_turn(tmp_path):
    for name, base_name in (("a", "b"), ("b", "c"), ("c", "b")):
        (tmp_path / f"{name}.toml").write_text(f'\nextends = "{base_name}.toml"')
    (problem,) = check([tmp_path / "a.toml"])

    assert str(problem) == (
        f"{tmp_path}/c.toml:2:11: extends: must not lead back to the file itself, as b.toml -> c.toml -> b.toml"
    )


def test_a_file_cannot_extend_itself(base):
    base.write_text('extends = "base.toml"\n' + BASE)

    assert "as base.toml -> base.toml" in str(check([base])[0])


def test_bases_that_multiply_are_cut_off(tmp_path):
    for level in range(9):
        bases = ", ".join([f'"{level + 1}.toml"'] * 10)
        (tmp_path / f"{level}.toml").write_text(f"extends = [{bases}]")
    (tmp_path / "9.toml").write_text(BASE)
    problems = check([tmp_path / "0.toml"])

    assert "must not lead to more than 50 files" in problems[0].message


@pytest.mark.parametrize("value", ["3", "[1]", "{ a = 1 }", "true"])
def test_what_is_extended_must_be_files(base, value):
    base.write_text(f"extends = {value}\n{BASE}")
    (problem,) = check([base])

    assert (problem.line, problem.column) == (1, 11)
    assert problem.message.startswith("must be a file or a list of files, in quotes, not ")


def test_a_base_that_cannot_be_read_is_told_where_it_is_named(base):
    base.write_text(f'extends = ["none.toml", "."]\n{BASE}')

    problems = check([base])

    assert [(p.file, p.line, p.column, p.key) for p in problems] == [(str(base), 1, 11, "extends")] * 2
    assert problems[0].message.endswith(" does not exist")
    assert problems[1].message.endswith(" is a directory, not a file")


# Overrides.


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("run.months=36", 36),
        (" run . months = 36 ", 36),
        ('"run"."months"=36', 36),
        ("run.start=2024-02-01", dt.date(2024, 2, 1)),
        ("run.resource=usd", "usd"),
        ("run.resource='usd'", "usd"),
        ("title=a = b", "a = b"),
        ("title=", ""),
        ("title=x\ny = 1", "x\ny = 1"),
    ],
)
def test_an_override_sets_a_value_and_a_bare_word_is_a_text(override, value):
    scenario = loads(BASE, overrides=[override])

    assert value in (scenario.run.months, scenario.run.start, scenario.run.resource, scenario.title)


def test_the_last_override_counts():
    assert loads(BASE, overrides=["run.seed=3", "run.seed=4"]).run.seed == 4


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("run.monts=3", "--set: run.monts: unknown key; did you mean 'months'?"),
        ("run.months=-3", "--set: run.months: must be at least 1 and at most 600, not -3"),
        ("run.months=soon", "--set: run.months: must be a whole number, not 'soon'"),
        (
            "segments.chta.since=2024-02-01",
            "--set: segments.chta.since: there is no 'chta' in segments; did you mean 'chat'?",
        ),
        ("run", "--set: must be KEY=VALUE, not 'run'"),
        ("=3", "--set: must be KEY=VALUE, not '=3'"),
        ("run..months=3", "--set: must be KEY=VALUE, not 'run..months=3'"),
        ("segments=3", "--set: segments: must be a table, not 3"),
        ("run.months.x=3", "--set: run.months: must be a whole number, not a table"),
    ],
)
def test_a_wrong_override_is_told_as_such(override, problem):
    assert str(problems_of(BASE, (override,))[0]) == problem


# Rules between fields.

DAY = """\
name = "day"
kind = "day"
run = { start = 2025-02-27 }

[segments.chat]
tokens_per_day = 3e9
workload = "talk"

[workloads.talk]
input_tokens = { mean = [900.0, 40.0], sigma = [1.1, 0.5], weight = [0.75, 0.25] }
output_tokens = { edges = [1.0, 10.0, 100.0], counts = [3, 2] }

[regions.cn.rental]
price_usd_per_gpu_hour = 2.0

[serving]
target_batch = 250.0
max_batch = 400.0
prefill_tokens_per_s = 40e3
step = { base_s = 0.02, per_sequence_s = 25e-6 }

[observed]
hourly_nodes = [3.0, 4.0]
"""

FLEET = (
    "[regions.us.fleet]\nstock = { h100 = 9 }\n[gpus.h100]\nh100e=1.5\npower_kw=1.3\nidle_power_kw=0.4\nprice_usd=3e4\n"
)

SEGMENT, REGION = "segments.chat", "regions.us"

BROKEN = [
    (BASE, ["name='../x'"], "name", "must be made of letters"),
    (BASE, ["run.start=2024-01-02"], "run.start", "the first day of a month for kind 'market', not 2024-01-02"),
    (BASE, ["shock.date=2024-01-31"], "shock.date", "from 2024-02-01 on, and before the end of the run, 2026-01-01"),
    (BASE, ["shock.date=2026-01-01"], "shock.date", "not 2026-01-01"),
    (
        BASE,
        ["shock.segment_reach.chta=0.5"],
        "shock.segment_reach.chta",
        "no 'chta' in [segments]; did you mean 'chat'?",
    ),
    (BASE, ["shock.region_reach.eu=0.5"], "shock.region_reach.eu", "there is no 'eu' in [regions]; known: us"),
    (BASE, ["observed.hourly_nodes=[1]"], "observed.hourly_nodes", "is for kind 'day' only"),
    (BASE, [f"{SEGMENT}.workload=talk"], f"{SEGMENT}.workload", "there is no 'talk' in [workloads]"),
    (BASE, [f"{SEGMENT}.since=2026-01-01"], f"{SEGMENT}.since", "must be before the end of the run, 2026-01-01"),
    (BASE, [f"{SEGMENT}.tariff=budget"], f"{SEGMENT}.budget_usd_per_day", "is needed for tariff 'budget'"),
    (BASE, [f"{SEGMENT}.tariff=budget"], f"{SEGMENT}.form", "'budget' exactly if tariff is ('budget'), not 'hill'"),
    (BASE, [f"{SEGMENT}.form=budget"], f"{SEGMENT}.form", "exactly if tariff is ('metered'), not 'budget'"),
    (BASE, ["segments.new={}"], "segments.new.tokens_per_day", "is needed"),
    (BASE, [f"{SEGMENT}.region_share.us=0.9"], f"{SEGMENT}.region_share", "must add up to 1, not 0.9"),
    (BASE, [f"{SEGMENT}.region_share.eu=1.0"], f"{SEGMENT}.region_share.eu", "there is no 'eu' in [regions]"),
    (BASE, ["regions.eu={rental={price_usd_per_gpu_hour=3}}"], f"{SEGMENT}.region_share", "needed with more than one"),
    (BASE, ["run.months=600", f"{SEGMENT}.usage_growth_per_year=2.25"], f"{SEGMENT}.usage_growth_per_year", "1e+15"),
    (BASE, ["run.months=600", f"{SEGMENT}.price_change_per_year=0.25"], f"{SEGMENT}.price_change_per_year", "1e+15"),
    (BASE, ["run.months=600", "trend.hardware_gain_per_year=2.25"], "trend.hardware_gain_per_year", "1e+15"),
    (
        BASE,
        ["trend.algorithmic_gain_per_year=1e6", f"{SEGMENT}.price_elasticity=-2.5"],
        f"{SEGMENT}.price_elasticity",
        "below 1e+30",
    ),
    (
        BASE,
        [f"{SEGMENT}.capability_elasticity=10", "trend.capability_gain_per_year=100"],
        f"{SEGMENT}.capability_elasticity",
        "below 1e+30",
    ),
    (
        BASE,
        [
            "shock.capability_share=1",
            "shock.capability_yield=9",
            "shock.efficiency_gain=100",
            f"{SEGMENT}.capability_elasticity=2",
        ],
        f"{SEGMENT}.capability_elasticity",
        "below 1e+30",
    ),
    (
        BASE,
        [f"{REGION}.rental.scarcity_speed_per_month=0.5"],
        f"{REGION}.rental.scarcity_speed_per_month",
        "0 without a fleet",
    ),
    (
        BASE,
        [f"{REGION}.rental.floor_usd_per_gpu_hour=2.6"],
        f"{REGION}.rental.floor_usd_per_gpu_hour",
        "at most price_usd_per_gpu_hour, 2.5, not 2.6",
    ),
    (
        BASE + FLEET,
        ["regions.us.fleet.stock.a100=1"],
        "regions.us.fleet.stock.a100",
        "no 'a100' in [gpus]; did you mean 'h100'?",
    ),
    (
        BASE + FLEET,
        ["regions.us.fleet.orders={type='h200', lead_time={mean_months=3}}"],
        "regions.us.fleet.orders.type",
        "no 'h200' in [gpus]; did you mean 'h100'?",
    ),
    (
        BASE + FLEET,
        [
            "regions.us.fleet.orders={type='h100', lead_time={mean_months=3}, allocation_growth_per_year=2.25}",
            "run.months=600",
        ],
        "regions.us.fleet.orders.allocation_growth_per_year",
        "1e+15",
    ),
    (
        BASE + FLEET,
        ["gpus.h100.idle_power_kw=1.4"],
        "gpus.h100.idle_power_kw",
        "must be at most power_kw, 1.3, not 1.4",
    ),
    (
        BASE,
        ["anchors.a={what='price', start=2024-03-01, end=2024-02-01, factor=2}"],
        "anchors.a.end",
        "must be after start, 2024-03-01, not 2024-02-01",
    ),
    (
        BASE,
        ["anchors.a={what='price', start=2024-03-01, end=2024-03-01, factor=2}"],
        "anchors.a.end",
        "must be after start, 2024-03-01, not 2024-03-01",
    ),
    (
        BASE,
        ["anchors.a={what='price', start=2023-12-31, end=2024-02-01, factor=2}"],
        "anchors.a.start",
        "must be inside the run, 2024-01-01 to 2026-01-01",
    ),
    (
        BASE,
        ["anchors.a={what='price', start=2024-03-01, end=2024-04-01, factor=2, segment='cht'}"],
        "anchors.a.segment",
        "there is no 'cht' in [segments]; did you mean 'chat'?",
    ),
    (
        BASE,
        ["anchors.a={what='price', start=2024-03-01, end=2024-04-01, factor=2, region='eu'}"],
        "anchors.a.region",
        "there is no 'eu' in [regions]",
    ),
    (DAY, [f"{SEGMENT}.workload=tlak"], f"{SEGMENT}.workload", "did you mean 'talk'?"),
    (DAY, ["kind=market"], "shock", "is needed for kind 'market'"),
    (DAY, ["segments.new={tokens_per_day=1}"], "segments.new.workload", "is needed, since [serving] is given"),
    (DAY, ["regions.eu={rental={price_usd_per_gpu_hour=3}}"], "regions", "exactly one region for kind 'day', not 2"),
    (DAY, ["workloads.w={}"], "workloads.w.input_tokens", "is needed without a trace"),
    (DAY, ["workloads.w={}"], "workloads.w.output_tokens", "is needed without a trace"),
    (DAY, ["workloads.talk.trace='none.csv'"], "workloads.talk.trace", "must be a file, not 'none.csv'"),
    (DAY, ["workloads.talk.hourly_profile=[1, 2]"], "workloads.talk.hourly_profile", "must hold 24 numbers, not 2"),
    (DAY, [f"workloads.talk.hourly_profile={[0] * 24}"], "workloads.talk.hourly_profile", "must not be all zero"),
    (
        DAY,
        ["workloads.talk.input_tokens.sigma=[1]"],
        "workloads.talk.input_tokens.sigma",
        "as many numbers as mean, 2, not 1",
    ),
    (
        DAY,
        ["workloads.talk.input_tokens.weight=[1]"],
        "workloads.talk.input_tokens.weight",
        "as many numbers as mean, 2, not 1",
    ),
    (
        DAY,
        ["workloads.talk.input_tokens.weight=[0.5, 0.25]"],
        "workloads.talk.input_tokens.weight",
        "must add up to 1, not 0.75",
    ),
    (DAY, ["workloads.talk.input_tokens.counts=[1]"], "workloads.talk.input_tokens.counts", "is for a histogram only"),
    (DAY, ["workloads.talk.input_tokens.edges=[1, 2]"], "workloads.talk.input_tokens", "must give either"),
    (DAY, ["workloads.talk.input_tokens.mean=[]"], "workloads.talk.input_tokens", "must give either"),
    (
        DAY,
        ["workloads.talk.output_tokens.sigma=[1]"],
        "workloads.talk.output_tokens.sigma",
        "is for lognormal components only",
    ),
    (
        DAY,
        ["workloads.talk.output_tokens.counts=[1]"],
        "workloads.talk.output_tokens.counts",
        "one number less than edges, 2, not 1",
    ),
    (
        DAY,
        ["workloads.talk.output_tokens.counts=[0, 0]"],
        "workloads.talk.output_tokens.counts",
        "must not be all zero",
    ),
    (DAY, ["workloads.talk.output_tokens.edges=[1, 10, 10]"], "workloads.talk.output_tokens.edges", "must rise"),
    (DAY, ["serving.target_batch=401"], "serving.target_batch", "must be at most max_batch, 400, not 401.0"),
    (
        DAY,
        ["serving.step={base_s=0, per_sequence_s=0}"],
        "serving.step.base_s",
        "must be above 0 if per_sequence_s is not",
    ),
    (
        DAY,
        ["serving.autoscaler={floor_nodes=7, ceiling_nodes=6}"],
        "serving.autoscaler.floor_nodes",
        "at most ceiling_nodes, 6, not 7.0",
    ),
    (DAY, ["observed.fitted_hours=[1, 2]"], "observed.fitted_hours", "in hourly_nodes, of which there are 2, not 2"),
    (
        DAY,
        ["observed.speed_low_tokens_per_s=9", "observed.speed_high_tokens_per_s=8"],
        "observed.speed_low_tokens_per_s",
        "at most speed_high_tokens_per_s, 8, not 9.0",
    ),
]


@pytest.mark.parametrize(
    ("text", "overrides", "key", "message"), BROKEN, ids=[f"{key} {i}" for i, (_, _, key, _) in enumerate(BROKEN)]
)
def test_a_broken_rule_between_fields_is_told_with_its_key(text, overrides, key, message):
    found = {problem.key: problem.message for problem in problems_of(text, tuple(overrides))}

    assert message in found.get(key, str(found))
    assert key in found


ALLOWED = [
    (BASE, []),
    (DAY, []),
    (BASE + FLEET, [f"{REGION}.rental.scarcity_speed_per_month=0.5", f"{REGION}.rental.floor_usd_per_gpu_hour=2.5"]),
    (BASE, ["shock.date=2024-02-01"]),
    (BASE, ["shock.date=2025-12-31"]),
    (BASE, [f"{SEGMENT}.tariff=budget", f"{SEGMENT}.form=budget", f"{SEGMENT}.budget_usd_per_day=3"]),
    (BASE, [f"{SEGMENT}.region_share.us=1"]),
    (BASE, ["regions.eu={rental={price_usd_per_gpu_hour=3}}", f"{SEGMENT}.region_share={{us=0.25, eu=0.75}}"]),
    (BASE, ["anchors.a={what='price', start=2024-01-01, end=2026-01-01, factor=2, segment='chat', region='us'}"]),
    (DAY, ["serving.target_batch=400", "serving.autoscaler={floor_nodes=7, ceiling_nodes=7}"]),
    (DAY, ["observed.fitted_hours=[0, 1]"]),
]


@pytest.mark.parametrize(("text", "overrides"), ALLOWED, ids=[str(i) for i in range(len(ALLOWED))])
def test_what_just_keeps_the_rules_is_read(text, overrides):
    assert loads(text, overrides=overrides).segments


@pytest.mark.parametrize(
    ("text", "old", "new", "key"),
    [
        (DAY, "prefill_tokens_per_s = 40e3", "", "serving.prefill_tokens_per_s"),
        (DAY, "tokens_per_day = 3e9", "", "segments.chat.tokens_per_day"),
        (DAY[: DAY.index("[serving]")], "", "", "serving"),
        (BASE[: BASE.index("[regions")] + "[regions]", "", "", "regions"),
    ],
)
def test_what_other_fields_call_for_is_asked_for(text, old, new, key):
    assert key in [problem.key for problem in problems_of(text.replace(old, new))]


def test_a_colocated_layout_needs_no_prefill_rate():
    text = DAY.replace("prefill_tokens_per_s = 40e3", 'layout = "colocated"')

    assert loads(text).serving.prefill_tokens_per_s is None


def test_a_recorded_trace_stands_for_usage_and_lengths_but_only_on_a_day(tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text("arrival_s\n")
    text = DAY[: DAY.index("input_tokens")] + f"trace = '{trace}'\n" + DAY[DAY.index("[regions") :]
    text = text.replace("tokens_per_day = 3e9", "")

    assert loads(text).workloads["talk"].trace == str(trace)
    assert "is for kind 'day' only" in str(problems_of(text.replace('kind = "day"', "")))


# What a scenario can tell and make.


@pytest.fixture
def scenario():
    return loads(starter("mine"))


def test_uncertain_inputs_are_listed_by_their_keys(scenario):
    assert list(scenario.uncertain) == [
        "shock.efficiency_gain",
        "pricing.pass_through",
        "segments.reasoning.price_elasticity",
    ]


def test_values_take_the_place_of_distributions_and_medians_that_of_the_others(scenario):
    at = scenario.at({"pricing.pass_through": 0.625})

    assert at.pricing.pass_through == 0.625
    assert at.shock.efficiency_gain == pytest.approx(10.0)
    assert not at.uncertain
    assert scenario.uncertain


def test_what_holds_no_distribution_is_shared_with_the_scenario_it_came_from(scenario):
    central = scenario.central()

    assert central.serving is scenario.serving
    assert central.central() is central


def test_distributions_under_names_that_need_quotes_are_found_and_set():
    text = BASE.replace("segments.chat", 'segments."gpt-4.1"') + '[shock.segment_reach]\n"gpt-4.1" = {D}'
    scenario = loads(text.replace("{D}", '{ dist = "uniform", low = 0.25, high = 0.5 }'))
    key = 'shock.segment_reach."gpt-4.1"'

    assert list(scenario.uncertain) == [key, 'segments."gpt-4.1".price_elasticity']
    assert scenario.at({key: 0.375}).shock.segment_reach == {"gpt-4.1": 0.375}
    assert scenario.replace({key: 0.5}).shock.segment_reach == {"gpt-4.1": 0.5}


def test_only_uncertain_inputs_can_be_put_at_a_value(scenario):
    with pytest.raises(
        UsageError, match=r"pricing\.pass_throug: is not an uncertain input; did you mean 'pricing\.pass_through'"
    ):
        scenario.at({"pricing.pass_throug": 0.5})


def test_a_scenario_with_other_values_is_checked_again(scenario):
    changed = scenario.replace({"run.months": 24, "segments.reasoning.price_elasticity": -1.4})

    assert (changed.run.months, changed.segments["reasoning"].price_elasticity) == (24, -1.4)
    assert scenario.run.months == 18
    with pytest.raises(ScenarioError, match=r"replace: run\.months: must be at least 1 and at most 600, not 0"):
        scenario.replace({"run.months": 0})
    with pytest.raises(ScenarioError, match=r"replace: shock\.date: must leave a full month"):
        scenario.replace({"run.months": 2})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("run.monts", 3, "run.monts: unknown key; did you mean 'months'"),
        ("run.monts", None, "run.monts: unknown key; did you mean 'months'"),
        ("run.months.x", None, "run.months.x: unknown key"),
        ("segments.caht.since", 3, "there is no 'caht' in segments; did you mean 'chat'"),
        ("segments.caht", None, "segments.caht: unknown key; did you mean 'chat'"),
        ("a b", 3, "must be a dotted key"),
        ("run.start", None, "run.start: is needed"),
    ],
)
def test_a_key_that_does_not_exist_cannot_be_replaced(scenario, key, value, message):
    with pytest.raises(ScenarioError, match="replace") as caught:
        scenario.replace({key: value})

    assert message in str(caught.value)


def test_none_takes_away_what_was_given(scenario):
    changed = scenario.replace({"segments.chat.patience_s": None, "segments.training": None, "serving": None})

    assert changed.segments["chat"].patience_s is None
    assert list(changed.segments) == ["reasoning", "chat"]
    assert changed.serving is None


def test_a_distribution_can_be_put_in_and_taken_out(scenario):
    wide = Distribution(dist="normal", mean=-1.5, sd=0.25)
    key = "segments.reasoning.price_elasticity"

    assert scenario.replace({key: wide}).uncertain[key] == wide
    assert key not in scenario.replace({key: -1.5}).uncertain


def test_no_change_gives_an_equal_scenario(scenario):
    assert scenario.replace({}) == scenario
    assert scenario.replace({}).digest == scenario.digest


def test_the_digest_follows_the_content_and_not_the_manner_of_writing():
    """Order of tables, inline tables and written defaults do not count; a value does."""
    tables = BASE.split("\n\n")
    otherwise = "\n\n".join([tables[0], *reversed(tables[1:])]).replace("months = 24", "months = 24\nseed = 0")

    assert loads(otherwise).digest == loads(BASE).digest
    assert loads(BASE, overrides=["run.seed=1"]).digest != loads(BASE).digest
    assert len(loads(BASE).digest) == 64


def test_the_canonical_content_survives_json(scenario):
    canonical = scenario.canonical()

    assert json.loads(json.dumps(canonical)) == canonical
    assert canonical["run"]["start"] == "2025-01-01"
    assert canonical["pricing"]["pass_through"] == {"dist": "uniform", "low": 0.6, "high": 1.0}
    assert list(canonical) == sorted(canonical)


def test_numbers_are_what_was_given_a_distribution_or_a_list_being_one():
    assert loads(BASE).numbers() == {
        "run.months": 24,
        "shock.efficiency_gain": 10.0,
        "segments.chat.tokens_per_day": 3e9,
        "segments.chat.price_elasticity": Distribution(dist="normal", mean=-1.2, sd=0.1),
        "regions.us.rental.price_usd_per_gpu_hour": 2.5,
    }
    assert loads(DAY).numbers()["workloads.talk.output_tokens.edges"] == [1.0, 10.0, 100.0]


def test_the_exact_key_is_the_source_and_else_the_longest_pattern_that_fits():
    sources = {
        "run.*": "choice",
        "*.chat.*": "a",
        "segments.chat.*": "assumption: b",
        "segments.chat.tokens_per_day": "c",
        "segments.chat.tokens_per_day*": "longer",
    }
    text = BASE + "[sources]\n" + "\n".join(f'"{key}" = "{source}"' for key, source in sources.items())
    scenario = loads(text)

    assert scenario.source_of("segments.chat.tokens_per_day") == "c"
    assert scenario.source_of("segments.chat.price_elasticity") == "assumption: b"
    assert scenario.source_of("shock.efficiency_gain") is None
    assert scenario.unsourced() == ["shock.efficiency_gain", "regions.us.rental.price_usd_per_gpu_hour"]
    assert scenario.assumed() == ["segments.chat.price_elasticity"]


def test_an_empty_source_is_none():
    assert "run.months" in loads(BASE + '[sources]\n"run.months" = ""').unsourced()


@given(st.floats(1e-6, 1 - 1e-6))
def test_each_draw_of_a_distribution_makes_a_scenario_that_its_fields_allow(p):
    scenario = loads(starter("mine"))
    draws = {key: distribution.quantile(p) for key, distribution in scenario.uncertain.items()}

    assert scenario.at(draws) == scenario.replace(draws).at({})


# The starter, the schema, the table of fields.


def test_the_starter_is_sound_and_each_of_its_numbers_has_a_source(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(starter("mine"))

    assert check([path]) == []
    assert load(path).name == "mine"
    assert load(path).unsourced() == []
    assert set(load(path).segments) == {"reasoning", "chat", "training"}


def test_the_starter_says_in_its_first_line_what_to_do_with_it():
    first = starter("mine").splitlines()[0]

    assert first.startswith("# ")
    assert "jevons check mine.toml" in first
    assert "jevons simulate mine.toml" in first


@pytest.mark.parametrize("name", ["", "a/b", "../a", 'a"b', "a b", "-a", "a" * 101])
def test_no_starter_is_made_under_a_name_no_scenario_can_have(name):
    with pytest.raises(UsageError, match="name must be made of letters"):
        starter(name)


def schema_nodes(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        return [node, *(inner for value in node.values() for inner in schema_nodes(value))]
    return [inner for item in node for inner in schema_nodes(item)] if isinstance(node, list) else []


def test_the_schema_is_closed_to_unknown_keys_everywhere():
    schema = json_schema()
    tables = [node for node in schema_nodes(schema) if isinstance(node.get("properties"), dict)]

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert len(tables) == len(schema["$defs"]) + 1
    assert all(table["additionalProperties"] is False for table in tables)
    assert json.loads(json.dumps(schema)) == schema


def test_every_reference_of_the_schema_leads_somewhere():
    schema = json_schema()
    references = {node["$ref"] for node in schema_nodes(schema) if isinstance(node.get("$ref"), str)}

    assert references == {f"#/$defs/{name}" for name in schema["$defs"]}


def test_the_schema_gives_unit_rule_and_bounds_and_allows_distributions():
    elasticity = json_schema()["$defs"]["Segment"]["properties"]["price_elasticity"]

    assert elasticity["anyOf"] == [{"type": "number"}, {"$ref": "#/$defs/Distribution"}]
    assert (elasticity["minimum"], elasticity["exclusiveMaximum"], elasticity["default"]) == (-20, 0, -1.0)
    assert elasticity["unit"] == "1"


def test_bounds_of_lists_and_of_tables_by_name_stand_on_their_items():
    definitions = json_schema()["$defs"]

    assert definitions["Workload"]["properties"]["hourly_profile"]["items"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 1e18,
    }
    assert definitions["Segment"]["properties"]["region_share"]["additionalProperties"]["maximum"] == 1
    assert "maximum" not in definitions["Segment"]["properties"]["region_share"]


def test_the_schema_knows_what_a_file_extends():
    assert "extends" in json_schema()["properties"]


def test_the_table_of_fields_has_a_row_for_each_field_of_each_class():
    keys = [row.key for row in field_table()]

    assert "segments.*.price_elasticity" in keys
    assert "regions.*.fleet.orders.lead_time.cv" in keys
    assert len(keys) == len(set(keys))
    assert field_table_markdown().count("\n") == len(keys) + 2
    assert "| `run.months` | month | at least 1 and at most 600 | `1` |" in field_table_markdown()
    assert "| `segments.*.price_elasticity` | 1 ~ | at least -20 and below 0 | `-1.0` |" in field_table_markdown()


def test_a_scenario_cannot_be_changed_in_place(scenario):
    with pytest.raises(ValueError, match="frozen"):
        scenario.name = "other"
    assert isinstance(scenario, Scenario)
