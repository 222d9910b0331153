"""Recorded traces are read or refused whole."""

from __future__ import annotations

import gzip

import pytest

from jevons.errors import ScenarioError
from jevons.traces import read_trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.5000000,374,44
2023-11-16 18:15:49.0000000,396,109
"""
MOONCAKE = """{"timestamp": 27000, "input_length": 6758, "output_length": 500, "hash_ids": [0]}
{"timestamp": 30000, "input_length": 7322, "output_length": 490}
"""
OWN = "arrival_s,input_tokens,output_tokens,cached_tokens\n5,70,8,30\n6.5,90,0,10\n"


@pytest.mark.parametrize(
    ("text", "arrival", "inputs", "cached", "outputs"),
    [
        (AZURE, [0.0, 2.5], [374, 396], [37.4, 39.6], [44, 109]),
        (MOONCAKE, [0.0, 3.0], [6758, 7322], [675.8, 732.2], [500, 490]),
        (OWN, [0.0, 1.5], [70, 90], [30, 10], [8, 1]),
    ],
    ids=["azure", "mooncake", "own"],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_each_format_is_read(tmp_path, text, arrival, inputs, cached, outputs, zipped):
    """The answer of no tokens in the last one counts as one token."""
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    trace = read_trace(path, cached_share=0.1)

    assert trace.arrival_s.tolist() == arrival
    assert trace.input_tokens.tolist() == inputs
    assert trace.cached_tokens.tolist() == pytest.approx(cached)
    assert trace.output_tokens.tolist() == outputs


def test_a_trace_played_faster_has_shorter_gaps(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(AZURE)

    assert read_trace(path, speed=5.0).arrival_s.tolist() == [0.0, 0.5]


def test_requests_out_of_order_are_sorted_and_ties_keep_theirs(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n9,1,1\n4,2,1\n9,3,1\n4,4,1\n")

    assert read_trace(path).input_tokens.tolist() == [2, 4, 1, 3]


HEADER = "arrival_s,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "1,2,3\n2,-7,3\n", ":3: input_tokens: must be a whole number of at least 0, not '-7'"),
        (HEADER + "1,2,nan\n", ":2: output_tokens: must be a finite number, not 'nan'"),
        (HEADER + "1,2,1e999\n", ":2: output_tokens: must be a finite number, not '1e999'"),
        (HEADER + "soon,2,3\n", ":2: arrival_s: must be a number, not 'soon'"),
        (HEADER + "1,2.5,3\n", ":2: input_tokens: must be a whole number of at least 0, not '2.5'"),
        (HEADER + "1,2\n", ":2: must have 3 columns, not 2"),
        (HEADER, "must hold at least one request"),
        ("", "must hold at least one request"),
        ("when,how_much\n1,2\n", "must have the columns TIMESTAMP, ContextTokens, GeneratedTokens or timestamp"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,2,3\n", ":2: TIMESTAMP: must be a date and time"),
        ("arrival_s,input_tokens,output_tokens,cached_tokens\n1,5,3,6\n", "cached_tokens: must be at most the prompt"),
        ('{"timestamp": 1, "input_length": true, "output_length": 2}\n', ":1: input_length: must be a finite number"),
        (
            '{"timestamp": 1, "input_length": null, "output_length": 2}\n',
            ":1: input_length: must be a number, not None",
        ),
        ('{"timestamp": 1, \n', ":1: must be a JSON object"),
        ("{" + '"a":{' * 100_000 + "\n", ":1: must be a JSON object"),
        ("\x00\x01\x02", "must have the columns|cannot be read|must hold"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_rule_and_value(tmp_path, content, message):
    path = tmp_path / "trace"
    path.write_text(content)
    with pytest.raises(ScenarioError) as raised:
        read_trace(path)

    assert any(part in str(raised.value) for part in message.split("|"))
    assert str(raised.value).startswith(str(path))


def test_all_bad_values_of_a_trace_are_reported_at_once(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(HEADER + "1,x,3\n2,2,y\n")
    with pytest.raises(ScenarioError) as raised:
        read_trace(path)

    assert [(problem.line, problem.key) for problem in raised.value.problems] == [
        (2, "input_tokens"),
        (3, "output_tokens"),
    ]


@pytest.mark.parametrize(
    "content",
    [gzip.compress(AZURE.encode() * 50)[:-30], b"\x1f\x8bjunk", b"arrival_s,\xff\xfe\n", b"a" * 1_000_002],
    ids=["truncated gzip", "not gzip", "not UTF-8", "endless line"],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_message(tmp_path, content):
    path = tmp_path / "trace.gz"
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match="cannot be read as a trace"):
        read_trace(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(ScenarioError, match="cannot be read as a trace"):
            read_trace(path)
