"""Closed forms of queueing theory against tables, limits and one another."""

from __future__ import annotations

from fractions import Fraction
from math import factorial, inf

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jevons.errors import UnstableQueueError
from jevons.queueing import (
    erlang_b,
    erlang_c,
    largest_rate_per_s,
    mean_number,
    mg1_mean_waiting_time_s,
    mg1ps_mean_sojourn_time_s,
    mginf_occupancy,
    mmc_mean_waiting_time_s,
    replicas_needed,
    time_per_output_token_s,
)
from jevons.scenario import StepLaw

LLAMA_70B = StepLaw(base_s=9.5e-3, per_sequence_s=2e-5, per_prefill_token_s=35e-6, per_kv_token_s=15e-9)


@pytest.mark.parametrize(("servers", "load"), [(5, 1.3608), (10, 4.4612), (20, 12.031), (100, 84.064)])
def test_erlang_b_agrees_with_the_traffic_tables(servers, load):
    """Loads that lose one call in a hundred, from the published Erlang B tables: 1.36, 4.46, 12.0 and 84.1 erlang."""
    assert erlang_b(servers, load) == pytest.approx(0.01, rel=5e-4)


@pytest.mark.parametrize("servers", [1, 3, 8])
@pytest.mark.parametrize("share", [Fraction(1, 3), Fraction(9, 10)])
def test_erlang_c_is_the_textbook_sum(servers, share):
    """In exact fractions: a^c/c! c/(c-a) over the sum of a^k/k! to c-1 and that term."""
    load = servers * share
    waiting = load**servers / Fraction(factorial(servers)) * servers / (servers - load)
    exact = waiting / (sum(load**k / Fraction(factorial(k)) for k in range(servers)) + waiting)

    assert erlang_c(servers, float(load)) == pytest.approx(float(exact), rel=1e-12)


def test_the_eye_clinic_of_gross_and_harris():
    """Three doctors, 20 minutes a test, 6 patients an hour: 8/9 wait on average, W = 26/54 h.

    Gross, Shortle, Thompson and Harris, *Fundamentals of Queueing Theory*, 4th ed. (2008), the example of section 2.3.
    """
    rate_per_s, test_s = 6 / 3600, 20 * 60.0
    waiting_s = mmc_mean_waiting_time_s(rate_per_s, test_s, 3)

    assert mean_number(rate_per_s, waiting_s) == pytest.approx(8 / 9)
    assert waiting_s + test_s == pytest.approx(26 / 54 * 3600)


def test_eight_servers_at_nine_tenths():
    """M/M/8, service time 1 s: 0.87692 s."""
    assert mmc_mean_waiting_time_s(7.2, 1.0, 8) == pytest.approx(0.87692, abs=5e-6)


@given(st.floats(0.01, 0.99), st.floats(0.01, 100))
def test_one_server_is_the_same_by_erlang_and_by_pollaczek_and_khinchine(rho, service_s):
    """M/M/1: the squared coefficient of variation of the exponential is 1."""
    waiting_s = mmc_mean_waiting_time_s(rho / service_s, service_s, 1)

    assert waiting_s == pytest.approx(mg1_mean_waiting_time_s(rho / service_s, service_s, 1.0))
    assert waiting_s == pytest.approx(rho / (1 - rho) * service_s)


def test_constant_service_halves_the_wait():
    assert mg1_mean_waiting_time_s(0.4, 2.0, 0.0) == pytest.approx(0.5 * mg1_mean_waiting_time_s(0.4, 2.0, 1.0))


def test_pollaczek_and_khinchine_by_hand():
    """rho 0.8, cs2 3, 2 s: 4 x 2 x 2 = 16 s."""
    assert mg1_mean_waiting_time_s(0.4, 2.0, 3.0) == pytest.approx(16.0)


@given(st.integers(1, 300), st.floats(0.01, 0.99))
def test_waiting_is_likelier_than_being_turned_away(servers, rho):
    assert 0 <= erlang_b(servers, rho * servers) <= erlang_c(servers, rho * servers) <= 1


def test_erlang_b_stays_a_probability_where_factorials_overflow():
    assert erlang_b(100_000, 1e5) == pytest.approx(2.52e-3, rel=1e-2)


def test_processor_sharing_stretches_a_job():
    """3 s at rho 0.75: 12 s."""
    assert mg1ps_mean_sojourn_time_s(3.0, 0.75) == 12.0


@given(st.floats(0.01, 0.99), st.floats(0.1, 10))
def test_with_exponential_jobs_sharing_and_queueing_take_equally_long(rho, service_s):
    """M/M/1: the mean sojourn does not depend on the order of service."""
    queueing_s = mg1_mean_waiting_time_s(rho / service_s, service_s, 1.0) + service_s

    assert mg1ps_mean_sojourn_time_s(service_s, rho) == pytest.approx(queueing_s)


@pytest.mark.parametrize("load", [0.0, 0.3, 7.5, 400.0])
def test_the_occupancy_of_an_unlimited_pool_is_poisson(load):
    """It sums to 1, and its mean and variance are the load."""
    chances = [mginf_occupancy(n, load) for n in range(1000)]
    mean = sum(n * p for n, p in enumerate(chances))

    assert sum(chances) == pytest.approx(1.0)
    assert mean == pytest.approx(load)
    assert sum((n - mean) ** 2 * p for n, p in enumerate(chances)) == pytest.approx(load, abs=1e-9)


@pytest.mark.parametrize(
    "overloaded",
    [
        lambda: erlang_c(3, 3.0),
        lambda: mmc_mean_waiting_time_s(2.0, 1.5, 2),
        lambda: mg1_mean_waiting_time_s(2.0, 0.6, 1.0),
        lambda: mg1ps_mean_sojourn_time_s(1.0, 1.2),
        lambda: time_per_output_token_s(0.01, 1.0),
    ],
)
def test_there_is_no_mean_without_a_steady_state(overloaded):
    with pytest.raises(UnstableQueueError, match="traffic intensity is 1"):
        overloaded()


def test_the_largest_rate_by_hand():
    """35 us x 1,155 + 20 us x 211 + 15 ns x 300,000 = 40.425 + 4.22 + 4.5 ms."""
    assert largest_rate_per_s(LLAMA_70B, 1155.0, 211.0, 3e5) == pytest.approx(1 / 0.049145)


def test_a_step_that_is_all_base_serves_any_rate():
    assert largest_rate_per_s(StepLaw(base_s=0.01, per_sequence_s=0.0), 1155.0, 211.0, 3e5) == inf


def test_a_replica_in_balance_has_the_step_of_its_own_batch():
    """The step law with the batch by Little's law, n = lambda E[O] TPOT, gives back A/(1 - rho)."""
    rate, prefill, output, context = 12.0, 1155.0, 211.0, 3e5
    rho = rate / largest_rate_per_s(LLAMA_70B, prefill, output, context)
    tpot = time_per_output_token_s(LLAMA_70B.base_s, rho)
    sequences = mean_number(rate, output * tpot)
    step = (
        LLAMA_70B.base_s
        + LLAMA_70B.per_sequence_s * sequences
        + LLAMA_70B.per_prefill_token_s * rate * prefill * tpot
        + LLAMA_70B.per_kv_token_s * mean_number(rate, context * tpot)
    )

    assert step == pytest.approx(tpot)


def test_replicas_by_hand():
    """100/s, at most 20/s each, a step of 10 ms that may stretch to 25: 100/(20 x 0.6) = 8.33."""
    assert replicas_needed(100.0, 20.0, 0.010, 0.025) == 9


@given(st.floats(1, 1e4), st.floats(0.5, 50), st.floats(0.001, 0.02), st.floats(1.2, 8))
def test_the_replicas_are_enough_and_one_fewer_is_not(rate, largest, base_s, stretch):
    target_s = base_s * stretch
    replicas = replicas_needed(rate, largest, base_s, target_s)
    needed = rate / (largest * (1 - 1 / stretch))
    assume(abs(needed - round(needed)) > 1e-6)

    assert time_per_output_token_s(base_s, rate / replicas / largest) <= target_s
    assert replicas == 1 or rate / (replicas - 1) / largest >= 1 or (
        time_per_output_token_s(base_s, rate / (replicas - 1) / largest) > target_s
    )  # fmt: skip


def test_a_target_below_the_base_of_the_step_is_refused():
    with pytest.raises(ValueError, match="target_time_per_output_token_s must be above base_s"):
        replicas_needed(100.0, 20.0, 0.010, 0.010)
