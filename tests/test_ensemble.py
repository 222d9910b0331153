"""Replications and draws: one result, whatever the order and number of workers."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import SERVING, fleet, identical, orders, region, segment, world

from jevons.draws import drawn_together, inputs_of_draws, outcomes
from jevons.ensemble import DrawsJob, drawn_and_hinges, simulate
from jevons.errors import UsageError
from jevons.hours import KEYS
from jevons.scenario import Distribution, Scenario
from jevons.workers import Beside

ELASTICITY = Distribution(dist="normal", mean=-1.1, sd=0.2, min=-1.9, max=-0.3, together="elasticity")


def noisy(**run) -> Scenario:
    """Two segments with noise of their own and elasticities drawn together; orders of random lead time."""
    chat = segment(usage_noise=0.1, price_elasticity=ELASTICITY)
    code = segment(
        usage_noise=0.2,
        price_elasticity=Distribution(dist="uniform", low=-0.9, high=-0.5, together="elasticity"),
        human_cost_usd_per_mtok=Distribution(dist="lognormal", median=2.0, sigma=0.5),
    )
    plan = fleet(4.0, orders=orders(1.0, 0.5))
    here = region(plan, scarcity_speed_per_month=0.2)
    return world(chat, code, regions={"here": here}, run={"replications": 3, "draws": 6, **run})


def same(one, other) -> bool:
    """Whether two results hold the same figures to the last bit."""
    return (
        identical(one.replications, other.replications)
        and identical(one.draws, other.draws)
        and identical(one.hinges, other.hinges)
    )


# Reproducing.


def test_the_same_seed_gives_the_same_result_and_another_one_another():
    one, again, other = (simulate(noisy(seed=seed), engine="closed_form") for seed in (4, 4, 5))

    assert same(one, again)
    assert not identical(one.replications, other.replications)
    assert not identical(one.draws, other.draws)


@pytest.mark.slow
def test_the_number_of_workers_does_not_matter():
    assert same(simulate(noisy(), engine="closed_form"), simulate(noisy(), engine="closed_form", workers=2))


@pytest.mark.slow
def test_the_number_of_workers_does_not_matter_to_single_requests():
    served = world(
        segment(workload="talk"), serving=SERVING, months=3, run={"resolution": 100, "sampled_minutes_per_hour": 3.0}
    )

    assert same(simulate(served), simulate(served, workers=2))


@pytest.mark.slow
def test_a_process_beside_gives_what_this_thread_gives():
    job = DrawsJob(scenario=noisy(), wanted=6, workers=1)
    with Beside(True) as apart, Beside(False) as here:
        apart.get_ready(["jevons.ensemble"])
        one, two = (beside.begin(drawn_and_hinges, job)() for beside in (apart, here))

    assert identical(one, two)


def test_the_hours_of_the_first_replications_are_the_first_hours():
    served = world(
        segment(workload="talk"),
        serving=SERVING,
        months=2,
        run={"resolution": 100, "sampled_minutes_per_hour": 3.0, "replications": 3},
    )
    result = simulate(served, engine="closed_form")
    first = [row for row in result.hourly.rows if int(row[KEYS.index("replication")]) < 2]

    assert first
    assert identical(result.hourly_of(2).rows, first)
    assert identical(result.hourly_of(5).rows, result.hourly.rows)


def test_more_replications_keep_the_earlier_ones():
    few, many = (simulate(noisy(replications=n, draws=0), engine="closed_form") for n in (2, 5))

    assert identical(few.replications, many.replications[:2])
    assert not identical(many.replications[0], many.replications[1])


def test_more_draws_keep_the_earlier_ones():
    few, many = (simulate(noisy(draws=n), engine="closed_form").draws for n in (4, 9))

    assert few is not None
    assert many is not None
    assert (few.count, many.count) == (4, 9)
    for arm, paths in few.consumption.items():
        assert identical(paths, np.ascontiguousarray(many.consumption[arm][:4]))
    for key, values in few.inputs.items():
        assert identical(values, many.inputs[key][:4])


def test_draws_differ_from_the_first_replication_by_their_inputs_alone():
    """With the inputs at their centres a draw is that replication, noise and lead times included."""
    scenario = noisy()
    result = simulate(scenario, engine="closed_form")
    assert result.draws is not None

    centre = result.consumption["shock"][0, -1]
    assert result.draws.centre["shock"] == centre
    assert outcomes(scenario, {}).at_horizon["shock"] == centre


# Inputs.


def test_inputs_of_one_label_are_drawn_at_one_quantile():
    """Normal and uniform alike: the quantiles of the two elasticities agree in every draw."""
    scenario = noisy()
    chat, code = (
        scenario.uncertain["segments.chat.price_elasticity"],
        scenario.uncertain["segments.code.price_elasticity"],
    )
    drawn = inputs_of_draws(scenario, range(30))
    shares = (drawn["segments.code.price_elasticity"] + 0.9) / 0.4

    assert drawn["segments.code.price_elasticity"] == pytest.approx([code.quantile(share) for share in shares])
    assert drawn["segments.chat.price_elasticity"] == pytest.approx([chat.quantile(share) for share in shares])


def test_inputs_of_different_labels_are_drawn_apart():
    scenario = noisy()
    drawn = inputs_of_draws(scenario, range(400))
    elasticity, cost = (
        drawn[key] for key in ("segments.code.price_elasticity", "segments.code.human_cost_usd_per_mtok")
    )

    assert drawn_together(scenario.uncertain) == {
        "elasticity": ("segments.chat.price_elasticity", "segments.code.price_elasticity"),
        "segments.code.human_cost_usd_per_mtok": ("segments.code.human_cost_usd_per_mtok",),
    }
    # The sample correlation of independent numbers, at 99.99 %.
    assert abs(np.corrcoef(elasticity, np.log(cost))[0, 1]) < 3.9 / np.sqrt(400)


def test_draws_follow_their_distribution():
    """400 uniform numbers: mean and variance within 3.9 standard errors."""
    scenario = noisy()
    shares = (inputs_of_draws(scenario, range(400))["segments.code.price_elasticity"] + 0.9) / 0.4

    assert shares.mean() == pytest.approx(0.5, abs=3.9 * np.sqrt(1 / 12 / 400))
    assert shares.var() == pytest.approx(1 / 12, abs=3.9 * np.sqrt((1 / 80 - 1 / 144) / 400))


def test_what_is_drawn_is_used():
    """The change by the shock in each draw is 7^(a - 1) at its own elasticity."""
    scenario = world(segment(price_elasticity=ELASTICITY), run={"draws": 8})
    draws = simulate(scenario, engine="closed_form").draws
    assert draws is not None
    change = draws.consumption["shock"][:, -1] / draws.consumption["baseline"][:, -1]

    assert change == pytest.approx(7.0 ** (-draws.inputs["segments.chat.price_elasticity"] - 1.0))
    assert len(set(change)) == 8


def test_without_anything_uncertain_nothing_is_drawn():
    result = simulate(world(run={"draws": 7}), engine="closed_form")

    assert result.draws is None
    assert result.hinges == ()


def test_draws_are_left_out_where_the_caller_brings_a_path():
    path = {"chat": {"baseline": [8.0] * 4, "frozen": [8.0] * 4, "shock": [8.0, 8.0, 3.0, 3.0]}}
    result = simulate(noisy(), engine="closed_form", prices=path)

    assert result.draws is None
    assert result.replications[1]["shock"][-1].segment("chat", "here").price_usd_per_mtok == pytest.approx(3.0)


# Progress and errors.


def test_progress_is_told_to_the_end():
    told: list[tuple[str, int, int]] = []
    simulate(noisy(), engine="closed_form", progress=lambda *what: told.append(what))

    assert told == [("replications", 3, 3), ("draws", 6, 6)]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ({"talk": {"shock": [1.0] * 4}}, "path of 'talk': segment must be one of chat"),
        ({"chat": {"shok": [1.0] * 4}}, "path of 'chat': arm must be one of baseline, frozen, shock, not 'shok'"),
        ({"chat": {"shock": [1.0] * 3}}, "path of 'chat', shock: must have 4 months, not 3"),
        ({"chat": {"shock": [1.0, 2.0, 0.0, 1.0]}}, "path of 'chat', shock, month 2: must be above 0, not 0.0"),
        ({"chat": {"shock": [1.0, 2.0, float("nan"), 1.0]}}, "month 2: must be above 0, not nan"),
        ({"chat": {"shock": [1.0, 2.0, 3.0, float("inf")]}}, "month 3: must be above 0, not inf"),
    ],
)
@pytest.mark.parametrize("kind", ["prices", "usage"])
def test_a_path_that_does_not_fit_is_refused(kind, paths, message):
    with pytest.raises(UsageError) as caught:
        simulate(world(), engine="closed_form", **{kind: paths})

    assert message in str(caught.value)


def test_unknown_engines_and_no_workers_are_refused():
    with pytest.raises(UsageError, match="engine must be one of compiled, simpy, closed_form, not 'fast'"):
        simulate(world(), engine="fast")
    with pytest.raises(UsageError, match="workers must be at least 1, not 0"):
        simulate(world(), engine="closed_form", workers=0)


def test_a_day_has_no_months_to_simulate():
    day = world(serving=SERVING).model_copy(update={"kind": "day"})

    with pytest.raises(UsageError, match="use simulate_day"):
        simulate(day)
