"""Whatever a file holds, its reader answers with a clear `ScenarioError`, soon and in little memory."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.errors import ScenarioError
from jevons.scenario import Scenario, load, loads, starter
from jevons.scenario.reader import LARGEST_FILE_BYTES

GOOD = starter("good")


def message_of(source, overrides=()) -> str:
    """What is said of a scenario, in less than five seconds and a few lines."""
    started = time.perf_counter()
    with pytest.raises(ScenarioError) as caught:
        load(source, overrides)

    assert time.perf_counter() - started < 5
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) < 20_000
    assert all(len(problem.message) < 500 for problem in caught.value.problems)
    return str(caught.value)


def file_with(tmp_path, content: bytes | str):
    path = tmp_path / "s.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "s.toml:1:1: name: is needed"),
        (b"\n# nothing\n", "s.toml:1:1: run: is needed"),
        (os.urandom(0) + bytes(range(128, 256)) * 40, "is not UTF-8 text: byte 0x80 in line 1"),
        (b"\x7fELF\x02\x01\x01" + bytes(100), "is not TOML"),
        (b'name = "a\x00b"', "s.toml:1:10: is not TOML: illegal character '\\x00'"),
        ('name = "á"'.encode("latin-1"), "is not UTF-8 text: byte 0xe1 in line 1"),
        ('\n\nname = "a"'.encode("utf-16"), "is not UTF-8 text: byte 0xff in line 1"),
        (b"a = 1\nb = 2\na = 3", "s.toml:3:6: is not TOML: cannot overwrite a value"),
        (b"[run]\n[run]", "s.toml:2:5: is not TOML: cannot declare"),
        (b'name = "x', "s.toml:1:10: is not TOML: unterminated string"),
        (b"[run]\nstart =", "s.toml:2:8: is not TOML: invalid value"),
        (b"[run]\nstart = 2024-02-30", "s.toml:2:9: is not TOML: invalid date or datetime"),
        (b"[run]\nstart = 1066-10-14", "s.toml:2:9: run.start: must be at least 1800-01-01, not 1066-10-14"),
        (b"[run]\nstart = 9999-12-31", "s.toml:2:9: run.start: must be at most 2200-01-01, not 9999-12-31"),
        (
            b"[run]\nstart = 2024-01-01T00:00:00Z",
            "run.start: must be a date such as 2025-01-20, not 2024-01-01T00:00:00+00:00",
        ),
        (b"[run]\nstart = 12:00:00", "run.start: must be a date such as 2025-01-20, not 12:00:00"),
        (b"[run]\nmonths = 1e999", "run.months: must be a whole number, not inf"),
        (b"[run]\nmonths = nan", "run.months: must be a whole number, not nan"),
        (b"[run]\nmonths = true", "run.months: must be a whole number, not true"),
        (b"[run]\nmonths = -0", "run.months: must be at least 1 and at most 600, not 0"),
        (b"[run]\nseed = " + b"9" * 5000, "s.toml:2:8: a whole number must have fewer digits"),
        (b"[run]\nseed = 0x" + b"f" * 5000, "run.seed: must be at most 1e+18, not a whole number of about 6021 digits"),
        (b"[run]\nconfidence = 1e999", "run.confidence: must be at least 0.5 and at most 0.9999, not inf"),
        (b"[[run]]\nmonths = 3", "s.toml:1:3: run: must be a table, not"),
        (b"run = []", "s.toml:1:7: run: must be a table, not []"),
        (b"[run]\n[shock]\n[segments.a]\n[regions.b]", "s.toml:4:2: regions.b.rental: is needed"),
        (b"segments = 3", "s.toml:1:12: segments: must be a table, not 3"),
        (b'"" = 3', 's.toml:1:1: "": unknown key'),
        (b'"a\\u0000\\nb" = 3', "unknown key"),
        (b"a." * 300_000 + b"b = 1", "is nested too deeply"),
        (b"x." * 49 + b"x = 1", "unknown key"),
        (b"'x' . " * 50 + b"x = 1", "s.toml:1:1: is nested too deeply"),
        (b"a = " + b"[" * 100_000, "is nested too deeply"),
        (b"a = " + b"[" * 300 + b"]" * 300, "s.toml:1:1: a: unknown key"),
        (b"a = " + b"{b=" * 300 + b"1" + b"}" * 300, "s.toml:1:1: a: unknown key"),
        (b"a = [" + b"1," * 150_000 + b"]", "holds more than 20000 values"),
        (b"\n".join(b"k%d = 1" % i for i in range(19_000)), "more problems"),
        (b"[sources]\n" + b"\n".join(b"k%d = 1" % i for i in range(19_000)), "more problems"),
        (b"#" * 3_000_000, "is larger than 2 MB"),
        (
            b'name = "' + b"x" * 1_900_000 + b'"\n[regions]\n[segments]\n[run]\nstart=2024-01-01',
            "name: must be made of letters",
        ),
        (b"x" * 1_900_000 + b" = 1", "unknown key"),
        (b'extends = "\\u0000"', "cannot be the name of a file"),
        (b'extends = "' + b"x" * 10_000 + b'"', "cannot be read: File name too long"),
        (b'extends = "/dev/zero"', "is larger than 2 MB"),
        (b'extends = "s.toml"', "must not lead back to the file itself"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_hostile_content_gets_a_clear_message(tmp_path, content, message):
    assert message in message_of(file_with(tmp_path, content))


def test_what_is_no_file_is_said_to_be_none(tmp_path):
    assert message_of(tmp_path / "none.toml") == f"{tmp_path}/none.toml: does not exist\n1 problem; nothing was run."
    assert "is a directory, not a file" in message_of(tmp_path)
    assert "cannot be the name of a file" in message_of("a\0b")
    assert "cannot be read: " in message_of(file_with(tmp_path, "") / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said_to_be_so(tmp_path):
    path = file_with(tmp_path, GOOD)
    path.chmod(0)

    assert "cannot be read: Permission denied" in message_of(path)


def test_the_error_of_the_system_is_passed_on(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)

    assert "s.toml: cannot be read: Permission denied" in message_of(tmp_path / "s.toml")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no endless file")  # noqa: PTH110
def test_an_endless_file_is_not_read_to_its_end():
    assert "/dev/zero: is larger than 2 MB" in message_of("/dev/zero")


def test_standard_input_is_read_no_further_than_allowed(monkeypatch):
    endless = io.BufferedReader(io.FileIO(os.open("/dev/zero", os.O_RDONLY)))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(endless))

    assert "-: is larger than 2 MB" in message_of("-")
    assert endless.raw.tell() in (0, LARGEST_FILE_BYTES + 1) or endless.raw.tell() < 2 * LARGEST_FILE_BYTES
    sys.stdin.close()


def test_the_mark_that_windows_editors_put_before_a_text_is_passed_over(tmp_path):
    assert load(file_with(tmp_path, b"\xef\xbb\xbf" + GOOD.encode())) == loads(GOOD)
    assert loads("\ufeff" + GOOD) == loads(GOOD)


def test_windows_line_ends_change_nothing(tmp_path):
    assert load(file_with(tmp_path, GOOD.replace("\n", "\r\n"))) == loads(GOOD)


@pytest.mark.parametrize(
    "override",
    [
        "",
        "=",
        "a",
        "run.months=" + "9" * 5000,
        "run.months=" + "[" * 100_000,
        "a." * 5000 + "b=1",
        '"\n"=1',
        "\0=1",
        "x" * 100_000,
    ]
    + [f"run.months={value}" for value in ("nan", "-inf", "1e999", "{}", "[]", "''", "0x" + "f" * 5000, "2024-01-01")],
    ids=lambda override: override[:20],
)
def test_a_hostile_override_gets_a_clear_message(tmp_path, override):
    assert "--set: " in message_of(file_with(tmp_path, GOOD), [override])


def is_read_or_refused(read: Callable[[], Scenario]) -> bool:
    """Whether a scenario comes of it that can be used, or a list of problems."""
    try:
        return len(read().central().digest) == 64
    except ScenarioError as error:
        return len(error.problems) > 0


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused_and_never_raise_anything_else(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("random") / "s.toml"
    path.write_bytes(content)

    with pytest.raises(ScenarioError):
        load(path)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_good_scenario_with_one_piece_replaced_is_read_or_refused(data):
    """Any piece of the starter may be cut out or replaced by something that TOML, or the scenario, finds odd."""
    start = data.draw(st.integers(0, len(GOOD)))
    end = start + data.draw(st.integers(0, 40))
    odd = [
        "",
        "nan",
        "-1",
        "1e308",
        "[]",
        "{}",
        '"',
        "\n",
        "=",
        "[",
        "a.b",
        "true",
        "0x" + "f" * 400,
        "\x00",
        "'x'",
        "9" * 4400,
    ]
    text = GOOD[:start] + data.draw(st.sampled_from(odd)) + GOOD[end:]

    assert is_read_or_refused(lambda: loads(text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.dates() | st.datetimes(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=4,
    ),
    st.sampled_from(sorted(loads(GOOD).numbers())),
)
@settings(max_examples=150, deadline=None)
def test_any_value_put_in_for_a_number_is_taken_or_refused(value, key):
    scenario = loads(GOOD)

    assert is_read_or_refused(lambda: scenario.replace({key: value}))
