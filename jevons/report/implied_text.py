"""What a fall in the vendor's value says of demand: in sentences, as data, as comma-separated values."""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from typing import Any

from jevons.market_implied import Implied, Solution
from jevons.report.data import SCHEMA_VERSION, estimate_data, without_gaps
from jevons.report.numbers import estimate, number, percent, percents
from jevons.report.text import COLUMNS, paragraph
from jevons.report.words import clean, name_of_input
from jevons.results import Estimate

#: An answer between these quantiles of the scenario's distribution is nothing unusual in it.
USUAL = (0.25, 0.75)
CSV_COLUMNS = ("scenario", "figure", "unit", "value", "low", "high", "confidence", "samples", "kind")
READINGS = {
    "lasting": "if what the shock does to need at the end of the run lasts",
    "closing": "if it goes as the baseline catches up",
}


def implied_table(result: Implied) -> str:
    """The answer as text, every line of it at most a hundred columns wide and ended by a line feed."""
    scenario = result.scenario
    shock = f" · {clean(scenario.shock.title)}" if scenario.shock else ""
    lines = [
        f"{clean(scenario.title or scenario.name)}{shock}"[:COLUMNS],
        f"What a fall of {_share(result.fall)} in the GPU vendor's value implies · {result.draws} draws",
        "",
        *paragraph("Elasticity", input_sentences(result, result.input)),
        *paragraph("", input_sentences(result, result.input_closing)),
        *paragraph("Demand", demand_sentences(result)),
        *paragraph("Scenario", own_sentences(result)),
        *paragraph("Vendor", [vendor_sentence(result)]),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _share(value: float) -> str:
    return f"{percents([value])[0]} %"


def input_name(result: Implied, solution: Solution) -> str:
    """The input that was solved for, in words."""
    name = name_of_input(solution.keys, result.scenario.uncertain)
    rooms = [key.split(".")[1] for key in solution.keys if key.startswith(("segments.", "regions."))]
    if len(rooms) > 1:
        first, *others = rooms
        return f"{name.removesuffix(f' of {first}')} of {first} ({', '.join(others)} in step)"
    return name


def input_sentences(result: Implied, solution: Solution | None) -> list[str]:
    """Which value of an input makes the value fall by so much, where it lies, and how often none does."""
    if solution is None:
        return []
    name, reading = input_name(result, solution), READINGS[solution.reading]
    reading = f"{reading[0].upper()}{reading[1:]}"
    span = f"between {number(solution.low)} and {number(solution.high)}"
    extremes = f"falls reach from {percent(solution.smallest_fall)} to {percent(solution.largest_fall)}"
    if solution.value is None and solution.at_centre is None:
        largest = f"the largest fall is {percent(solution.largest_fall)}"
        return [f"{reading}, no {name} {span} makes the value fall by {_share(result.fall)}: {largest}."]
    told = [f"{reading}, the value falls by {_share(result.fall)} at a {name} of {_answer(solution)}."]
    if solution.value is None:
        told[0] = (
            f"{reading}, the value falls by {_share(result.fall)} at a {name} of {number(solution.at_centre)} with the "
            f"other inputs at their centres; no value {span} does it in any draw."
        )
    told += [_none(solution, span, extremes)] if solution.none is not None else []
    return [*told, _place(solution)]


def _answer(solution: Solution) -> str:
    centre = "no value does it" if solution.at_centre is None else f"{number(solution.at_centre)}"
    if solution.value is None:
        return centre
    with_centres = f"at the centre of the other inputs {centre}"
    return f"{estimate(solution.value)}, median and interval of {solution.value.samples} draws; {with_centres}"


def _none(solution: Solution, span: str, extremes: str) -> str:
    if solution.none is None or solution.none.mean == 0:
        return ""
    return f"In {percent(solution.none)} of draws none {span} does it: over the range, {extremes}."


def _place(solution: Solution) -> str:
    """Where the answer lies in what the scenario holds possible."""
    if solution.quantile is None or solution.scenario_value is None:
        return ""
    middle = solution.quantile.mean
    where = (
        f"That is the {100 * middle:.0f} % quantile of the scenario, whose middle is {number(solution.scenario_value)}"
    )
    if USUAL[0] <= middle <= USUAL[1]:
        return f"{where}: among those draws, nothing that it holds unlikely."
    return f"{where}: {'a high' if middle > USUAL[1] else 'a low'} value in it."


def demand_sentences(result: Implied) -> list[str]:
    """Which growth of usage, without the shock, would take as much off the value."""
    solution = result.demand
    if solution.at_centre is None or result.growth_implied is None:
        span = f"between {number(solution.low)} and {number(solution.high)} times the baseline's, in logs,"
        return [f"No growth of usage {span} makes the value fall by {_share(result.fall)}."]
    value = "" if solution.value is None else f" ({estimate(solution.value)} times the baseline's in logs, over draws)"
    growths = f"x{number(result.growth_implied)} a year after its date instead of x{number(result.growth_without)}"
    return [f"Without any shock, usage growing {growths} makes the value fall as much{value}."]


def own_sentences(result: Implied) -> list[str]:
    """What the scenario itself makes of the value, against the fall and against falls two and three times January's."""
    told = [f"{_own(result.fall_at_centre, result.own_fall)} {READINGS['lasting']}"]
    if result.closing_fall_at_centre is not None:
        told[0] += f", {_own(result.closing_fall_at_centre, result.closing_own_fall)} {READINGS['closing']}"
    told[0] = f"Its own value is below that without the shock by {told[0]}."
    if result.falls:
        shares = ", ".join(f"{_share(fall)} in {percent(share)}" for fall, share in result.falls.items())
        drawn = ", ".join(f"{_share(fall)} in {percent(share)}" for fall, share in result.drawdowns.items())
        told.append(f"By January's fall, twice and three times that, if it lasts: {shares} of draws.")
        without = (
            "" if result.drawdown_without is None else f"; without the shock by {percent(result.drawdown_without)}"
        )
        told.append(
            f"Priced by what has been ordered so far, the value drops from its highest by at least {drawn} of "
            f"draws{without}."
        )
    return told


def _own(at_centre: float, drawn: Estimate | None) -> str:
    return _share(at_centre) if drawn is None else percent(drawn)


def vendor_sentence(result: Implied) -> str:
    """How the vendor is valued, and whether the scenario says so."""
    vendor = result.scenario.at({}).vendor or result.vendor
    source = "Assumed, since the scenario has no [vendor]" if result.is_assumed else "As the scenario has it"
    margin, other, rate = percents([vendor.margin, vendor.other_revenue_share, vendor.discount_rate_per_year])
    horizon = "for ever" if vendor.horizon_years is None else f"for {vendor.horizon_years:g} years"
    half = number(vendor.growth_half_life_months)
    long_run = percents([vendor.long_run_growth_per_year - 1.0])[0]
    return (
        f"{source}: gross margin {margin} %, {other} % of revenue from elsewhere, profit booked on orders, "
        f"discounted at {rate} % a year {horizon}; beyond the run growth halves its distance to {long_run} % every "
        f"{half} months."
    )


def implied_json(result: Implied) -> dict[str, Any]:
    """The answer as data, ready for `json.dumps`."""
    vendor = result.scenario.at({}).vendor or result.vendor
    solutions = (result.input, result.input_closing, result.demand)
    content = {
        "schema_version": SCHEMA_VERSION,
        "kind": "implied",
        "name": result.scenario.name,
        "digest": result.scenario.digest,
        "fall": result.fall,
        "draws": result.draws,
        "solutions": [solution_data(one) for one in solutions if one is not None],
        "growth_without": result.growth_without,
        "growth_implied": result.growth_implied,
        "own_fall": {
            "lasting": {"centre": result.fall_at_centre, "draws": estimate_data(result.own_fall)},
            "closing": {"centre": result.closing_fall_at_centre, "draws": estimate_data(result.closing_own_fall)},
        },
        "falls": {f"{fall:g}": estimate_data(share) for fall, share in result.falls.items()},
        "drawdowns": {f"{fall:g}": estimate_data(share) for fall, share in result.drawdowns.items()},
        "drawdown": estimate_data(result.drawdown),
        "drawdown_without": estimate_data(result.drawdown_without),
        "vendor": {**vendor.model_dump(mode="json"), "is_assumed": result.is_assumed},
        "sentences": [
            *input_sentences(result, result.input),
            *input_sentences(result, result.input_closing),
            *demand_sentences(result),
            *own_sentences(result),
        ],
    }
    finite: dict[str, Any] = without_gaps(content)
    return {**finite, "sentences": [sentence for sentence in finite["sentences"] if sentence]}


def solution_data(solution: Solution) -> dict[str, Any]:
    """A solution as data."""
    values = {field.name: getattr(solution, field.name) for field in fields(solution)}
    return {name: estimate_data(one) if isinstance(one, Estimate) else one for name, one in values.items()}


def implied_csv(result: Implied) -> str:
    """The figures of the answer, one a row."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for figure, value in _figures(result).items():
        ends = [value.mean, value.low, value.high, value.confidence, value.samples, value.kind]
        writer.writerow((result.scenario.name, figure, "1", *("" if end is None else end for end in ends)))
    return stream.getvalue()


def _figures(result: Implied) -> dict[str, Estimate]:
    found: dict[str, Estimate | None] = {"own_fall": result.own_fall, "closing_own_fall": result.closing_own_fall}
    for one in (result.input, result.input_closing, result.demand):
        if one is not None:
            label = f"{one.what}_{one.reading}"
            parts = {"value": one.value, "none": one.none, "quantile": one.quantile}
            parts |= {"largest_fall": one.largest_fall, "smallest_fall": one.smallest_fall}
            found |= {f"{label}_{name}": value for name, value in parts.items()}
    return {name: value for name, value in found.items() if value is not None}
