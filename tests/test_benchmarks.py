"""The benchmarks measure what they say: engines serve the same customers alike, and tables show what was found."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import growth, ours, reference
from benchmarks.cases import CASES, Batch, Case, Servers
from benchmarks.entrants import ENTRANTS
from benchmarks.measure import Spread, by_turns, exponent, figure, peak_rise_mb
from benchmarks.printing import columns, heading
from benchmarks.rivals import c_program
from benchmarks.speed import HEAD, Row
from jevons.serving import ENGINES
from jevons.serving.compiled import state

N = 500


@pytest.mark.parametrize("engine", ENTRANTS, ids=lambda engine: engine.name)
@pytest.mark.parametrize("name", CASES)
def test_every_engine_lets_every_customer_leave_when_the_reference_does(engine, name):
    """On 500 customers, to a microsecond: engines may merge events that are closer than a nanosecond."""
    if engine.absent:
        pytest.skip(f"{engine.name}: {engine.absent}")
    if name not in engine.cases:
        pytest.skip(f"{engine.name} has no such law")
    case = CASES[name](N)
    run = engine.prepare(case)
    expected = reference.departures(case)

    assert np.abs(np.asarray(run()) - expected).max() < 1e-6
    assert np.abs(np.asarray(run()) - expected).max() < 1e-6, "a second call serves the same customers again"


@pytest.mark.skipif(bool(c_program.NO_COMPILER), reason=c_program.NO_COMPILER)
@pytest.mark.parametrize("name", CASES)
def test_c_accounts_for_all_that_the_kernels_account_for(name):
    """What the nodes did, each cell and each record: else C would win by leaving something out."""
    case = CASES[name](8000)
    memory, found = ours.kernels_of(case)(), c_program.kernels_of(case)()
    lanes, pool = memory.part(state.LANES, 1, state.LANES_ROW)[0], memory.part(state.REPLICAS, 1, state.REPLICA_ROW)[0]
    did = [
        *lanes[[state.LANES_AREA, state.LANES_TIME, state.LANES_BUSY_S]],
        *pool[[state.DECODE_AREA, state.DECODE_TIME, state.BUSY_S]],
        *pool[[state.SERVED, state.SERVED_CONTEXT, state.PREFILLED]],
    ]

    assert found.account == pytest.approx(did, rel=1e-9)
    assert found.cells == pytest.approx(memory.part(state.CELLS, len(found.cells), state.CELL_ROW), rel=1e-9)
    assert found.records == pytest.approx(memory.part(state.RECORDS, len(case), state.RECORD_ROW), rel=1e-9)


def test_the_reference_serves_in_order_of_arrival():
    """Two servers; at 0, 1, 2, 3 come services of 5, 1, 1, 3: they leave at 5, 2, 3, 6."""
    arrival, service = np.array([0.0, 1.0, 2.0, 3.0]), np.array([5.0, 1.0, 1.0, 3.0])

    assert reference.after_servers(arrival, Servers(2, service)).tolist() == [5.0, 2.0, 3.0, 6.0]


def test_the_second_stage_is_met_in_the_order_of_leaving_the_first():
    """The second customer overtakes the first: first stage left at 4 and 2, the one server then until 3 and 5."""
    case = Case("by hand", np.array([0.0, 1.0]), Servers(2, np.array([4.0, 1.0])), Servers(1, np.array([1.0, 1.0])))

    assert reference.departures(case).tolist() == [5.0, 3.0]


def test_the_reference_shares_steps():
    """One node, a step lasts the number of sequences, at most two; 2, 2, 1 tokens come at 0, 1, 1.

    From 0 the first has a token by 1, then two share: its other takes until 3.  The second then has one left, shared
    with the third, which waited: both leave at 5.
    """
    batch = Batch(1, 0.0, 1.0, 2, np.array([2.0, 2.0, 1.0]))

    assert reference.after_batch(np.array([0.0, 1.0, 1.0]), batch, batch.tokens).tolist() == [3.0, 5.0, 5.0]


@pytest.mark.parametrize("name", ["tandem", "serving"])
def test_queues_form_at_the_peak_of_the_day(name):
    """Each stage makes some wait: else the cases would time events and no queue."""
    case = CASES[name](8000)
    after_first = reference.after_servers(case.arrival_s, case.first)
    queueing = np.mean(after_first - case.arrival_s > case.first.service_s + 1e-9)
    number = np.searchsorted(np.sort(after_first), case.arrival_s) - np.searchsorted(
        np.sort(reference.departures(case)), case.arrival_s
    )
    places = case.second.slots if isinstance(case.second, Batch) else case.second.count

    assert 0.1 < queueing < 0.6
    assert 0.03 < np.mean(number > places) < 0.6


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_exponent_of_a_power_law_is_found(power):
    sizes = [1e3, 1e4, 1e5]

    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=1e-12)


def test_turns_are_taken_and_ratios_scaled(monkeypatch):
    """The second takes 3 times as long, for half the work: 6 times the cost."""
    clock, order = [0.0], []
    monkeypatch.setattr("benchmarks.measure.time.process_time", lambda: clock[0])

    def work(name, seconds):
        order.append(name)
        clock[0] += seconds

    found = by_turns(lambda: work("A", 1.0), lambda: work("B", 3.0), rounds=2, scale=2.0)

    assert order == ["A", "B", "A", "B"]
    assert (found.first_s.values, found.second_s.values) == ((1.0, 1.0), (3.0, 3.0))
    assert found.ratio.values == (6.0, 6.0)


def test_a_short_run_is_repeated(monkeypatch):
    """Runs of 0.02 s: three fill a turn of 0.05 s, and what is given is the time of one."""
    clock = [0.0]
    monkeypatch.setattr("benchmarks.measure.time.process_time", lambda: clock[0])

    def run():
        clock[0] += 0.02

    found = by_turns(run, run, rounds=1)

    assert found.first_s.values == pytest.approx((0.02,))
    assert clock[0] == pytest.approx(0.12)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.00123456, "0.00123"), (0.0999999, "0.100"), (9.999, "10.0"), (1234.5, "1,230"), (1e6, "1,000,000")],
)
def test_figures_have_three_digits(value, text):
    assert figure(value) == text


def test_a_spread_shows_its_middle_and_its_ends():
    assert str(Spread((3.0, 1.0, 2.0))) == "2.00 (1.00..3.00)"


def test_a_row_shows_what_was_found():
    row = Row("ours", 2000, Spread((0.5, 0.25, 1.0)), Spread((2.0, 1.5, 4.0)), 1.25, 2.4e-12)

    assert row.cells() == (
        "ours", "2,000", "0.500 (0.250..1.00)", "2,000,000", "2.00 (1.50..4.00)", "1.2", "2e-12"
    )  # fmt: skip
    assert len(row.cells()) == len(HEAD)


def test_a_table_of_growth_shows_the_exponent(monkeypatch):
    """Work whose time is the square of its size: exponent 2."""
    clock = [0.0]
    monkeypatch.setattr("benchmarks.measure.time.process_time", lambda: clock[0])
    monkeypatch.setattr(growth, "peak_rise_mb", lambda *_: 1.0)

    def work(_, size):
        def run():
            clock[0] += size**2
            return 10 * size

        return run

    table = growth.Growth(title="Squares", unit="size", sizes=lambda _: (1, 10, 100), work=work)
    monkeypatch.setitem(growth.TABLES, "squares", table)
    lines = growth.lines_of("squares", "simpy", rounds=2)

    assert lines[0] == "Squares"
    assert lines[2].split() == ["1", "10", "1.00", "100,000", "10.0", "1.0"]
    assert lines[-1] == "exponent 2.00"


def test_months_of_all_arms_are_counted():
    """The months before the shock once, those after it three times: no size leaves a rest."""
    before = growth.shock_month(growth.load(growth.SCENARIO))

    assert all(months > before and (months - before) % 3 == 0 for months in growth.MONTHS)


def test_columns_line_up():
    lines = columns(("engine", "s"), [("Case",), ("ours", "1.5"), ("another", "12")])

    assert lines == ["engine     s", "Case", "ours     1.5", "another   12"]


def test_a_result_says_what_made_it():
    command, versions, machine, blank = heading("python -m benchmarks.speed")

    assert command == "$ python -m benchmarks.speed"
    assert versions.startswith("Python 3.")
    assert "simpy" in versions
    assert "cores" in machine
    assert not blank


def test_memory_is_that_of_the_run():
    """20,000 departures held by a process are some hundred kilobytes, and not the interpreter's tens of megabytes."""
    assert 0.0 <= peak_rise_mb("benchmarks.memory", ENTRANTS[0].name, "eight", "20000") < 20.0


@pytest.mark.parametrize("law", [growth.POOLED, growth.ROUTED])
def test_a_fleet_that_grows_is_served_by_every_engine(law):
    """All requests of the trace; the closed form knows no single ones."""
    day = growth.fleet(law, 2)
    served = {name: growth.serving(name, day)() for name in ENGINES}

    assert served == {"compiled": len(day.trace), "simpy": len(day.trace), "closed_form": 0}


def test_requests_of_the_main_job_are_counted_as_they_are_simulated():
    """Two days of two regions at 600 requests a day of 24 hours, in each of the first months of one replication."""
    requests = growth.months_of_the_main_job("compiled", 13)()

    assert requests == pytest.approx(13 * 4 * 600, rel=0.02)
