"""The plain engine serves every request as the reference does, and remembers no more of them than it must."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from test_serving_days import BOTH, SPLIT, day_of, small_days

from jevons.randomness import Draws
from jevons.serving import plain_engine, plain_ledger, simpy_engine, streaming
from jevons.serving.compiled.state import BINS, bin_edges_s
from jevons.serving.forecast import actual_rates_per_s, blocks_of, requests_of
from jevons.workload import Requests

#: Times on the clock differ by a few ulp of a day's last second.
SAME_TIME_S = 1e-9


def served(engine, day, replication=0):
    env = simpy.Environment()
    return env.run(engine.serve(env, day, Draws(seed=1865, replication=replication)))


def assert_same_records(found, expected, tolerance_s=SAME_TIME_S):
    assert np.array_equal(found.arrival_s, expected.arrival_s)
    assert np.array_equal(found.lost, expected.lost)
    assert np.array_equal(found.stream, expected.stream)
    for name in ("prefill_start_s", "first_token_s", "departure_s"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12, atol=tolerance_s)


def assert_same_day(found, expected, rtol=1e-11):
    """Every figure but the single records and the percentiles, which a histogram knows to its bins."""
    for one in fields(found):
        if one.name not in ("records", "flow", "ttft_s", "tpot_s", "stream_latencies"):
            np.testing.assert_allclose(
                getattr(found, one.name), getattr(expected, one.name), rtol=rtol, atol=1e-9, err_msg=one.name
            )
    for name in ("ttft_s", "tpot_s"):
        np.testing.assert_allclose(getattr(found, name).mean, getattr(expected, name).mean, rtol=rtol, atol=1e-9)
    for name in ("arrived", "served", "lost", "inside"):
        assert getattr(found.flow, name) == getattr(expected.flow, name)


@pytest.fixture(params=[1, 10**9], ids=["many at a time", "one by one"])
def many(request, monkeypatch):
    """How many requests pay serving them many at a time."""
    monkeypatch.setattr(plain_engine, "MANY", request.param)


@settings(deadline=None, max_examples=150)
@given(small_days(), st.integers(0, 3), st.sampled_from([0, 16, 10**9]))
def test_every_request_is_served_as_in_the_reference(day, replication, many):
    expected = served(simpy_engine, day, replication)
    before, plain_engine.MANY = plain_engine.MANY, many
    try:
        found = served(plain_engine, day, replication)
    finally:
        plain_engine.MANY = before

    assert_same_records(found.records, expected.records)
    assert_same_day(found, expected)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("serving", [SPLIT, BOTH], ids=["disaggregated", "colocated"])
@pytest.mark.parametrize("routing", ["pooled", "power_of_two"])
def test_a_streamed_day_is_that_of_its_records(serving, routing, monkeypatch):
    """Blocks of 100 requests, none of which is kept; percentiles are those of bins no wider than 1/256."""
    serving = serving.model_copy(update={"routing": routing})
    day = day_of(serving, requests=3e4 if serving.layout == "disaggregated" else 6e3, simulated=None, hours=3)
    expected = served(plain_engine, replace(day, keep_records=True))
    monkeypatch.setattr(streaming, "EXACT_UP_TO", -1)
    monkeypatch.setattr(streaming, "BLOCK", 100)
    monkeypatch.setattr(plain_ledger, "MOST_GONE", 50)
    found = served(plain_engine, day)

    assert found.records is None
    assert_same_day(found, expected)
    # With some hundred requests in an hour, the next ones to a percentile are about as far from it.
    np.testing.assert_allclose(found.ttft_s.p50, expected.ttft_s.p50, rtol=0.1)
    np.testing.assert_allclose(found.tpot_s.p50, expected.tpot_s.p50, rtol=0.1)


def test_a_latency_is_counted_in_the_bin_whose_edges_it_lies_between():
    latencies_s = np.geomspace(1e-5, 1e6, 997)
    found, edges = plain_ledger.bin_of(latencies_s), bin_edges_s()

    assert np.all(edges[found] <= latencies_s)
    assert np.all(latencies_s < edges[found + 1])
    assert plain_ledger.bin_of(np.array([0.0, 1e12])).tolist() == [0, BINS - 1]


def test_a_trace_is_played_request_by_request():
    draws = Draws(seed=3, replication=0)
    arrival_s = np.cumsum(draws.exponential("gap", 500)) * 7.0
    inputs = np.rint(1 + 3000 * draws.uniform("in", 500))
    trace = Requests(
        arrival_s=arrival_s - arrival_s[0],
        stream=np.zeros(500, dtype=np.int64),
        input_tokens=inputs,
        cached_tokens=np.floor(inputs * draws.uniform("cached", 500)),
        output_tokens=np.rint(1 + 300 * draws.uniform("out", 500)),
    )
    day = replace(day_of(hours=1, keep_records=True), trace=trace, streams=day_of().streams[:1])
    found, expected = served(plain_engine, day), served(simpy_engine, day)

    assert_same_records(found.records, expected.records)
    assert_same_day(found, expected)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_requests_drawn_block_by_block_are_those_drawn_at_once(size):
    day = day_of(simulated=400.0)
    draws = Draws(seed=4, replication=1)
    rates_per_s = actual_rates_per_s(day, draws)
    whole = requests_of(day, rates_per_s, draws)
    blocks = list(blocks_of(day, rates_per_s, draws, size))

    assert all(len(block) == size for block in blocks[:-1])
    for one in fields(Requests):
        joined = np.concatenate([getattr(block, one.name) for block in blocks])
        assert np.array_equal(joined, getattr(whole, one.name))


def test_it_can_be_had_without_numba():
    program = "import sys; sys.modules['numba'] = None; import jevons.serving.plain_engine"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
