"""The answer in sentences; each of them follows from the figures."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from jevons.answer import PAIR, Hinge, Result
from jevons.draws import drawn_together
from jevons.hinges import rank_correlation, rebounds
from jevons.months import Month
from jevons.rebound import DrawnRebound, Rebound, Regime, Verdict
from jevons.report.numbers import change, estimate, number, percent, percents
from jevons.report.rows import mean_of_jobs, trained_in
from jevons.results import Estimate
from jevons.scenario import Distribution
from jevons.stacks import PerWorld

RESOURCES = {"gpu_hours": "GPU-hours", "energy_mwh": "energy", "usd": "spend on compute"}
#: What a reader calls the factors of the decomposition.
CHANNELS = {
    "engineering": "engineering",
    "growth": "growth",
    "price": "price",
    "capability": "capability",
    "tokens per task": "tokens per task",
    "providers": "switching between providers",
    "intensity": "compute spent on capability",
    "density and supply": "density and supply",
    "resource per GPU-hour": "resource per GPU-hour",
}
#: Units that a key ends in and a sentence does without.
UNIT_IN_KEY = re.compile(r"_(usd(_per_\w+)?|per_month|months|minutes|hours|s|kw|mwh)$")
#: Assumptions named at most.
MOST_ASSUMPTIONS = 8
#: Points of the potential saving below which a channel is left out.
SMALLEST_POINTS = 0.05


def clean(text: str) -> str:
    """A text of the scenario on one line, without characters that would move a terminal's cursor."""
    return " ".join("".join(" " if unicodedata.category(c).startswith("C") else c for c in text).split())


def title(result: Result) -> str:
    """What was simulated."""
    scenario = result.scenario
    shock = f" · {clean(scenario.shock.title)}" if scenario.shock else ""
    return f"{clean(scenario.title or scenario.name)}{shock}"


def setting(result: Result) -> str:
    """When it is looked at, how often it was simulated, and with what."""
    run = result.scenario.run
    since = run.months - result.shock_month
    drawn = f", {result.draws.count} draws" if result.draws is not None else ", no draws"
    return (
        f"{result.months[-1]:%B %Y}, {_counted(since, 'month')} since the shock · "
        f"{result.replication_count} replications{drawn} · seed {run.seed} · engine {result.engine}"
    )


def resource(result: Result) -> str:
    """What is consumed."""
    return RESOURCES[result.scenario.run.resource]


def width(result: Result) -> str:
    """What the intervals of the table are of."""
    share = f"{100 * result.scenario.run.confidence:g} %"
    if result.draws is not None:
        return f"median [{share}] of draws"
    return f"[{share}, noise of {result.replication_count} replications]"


# The rebound.


def rebound_sentences(result: Result) -> list[str]:
    """The rebound at the horizon: over what is not known, and at the centre with the noise of the simulation."""
    at_centre, drawn = result.rebound, result.drawn
    if at_centre.value is None:
        return [f"Not defined: with usage held, the shock saves no {resource(result)}."]
    noise = f"over {result.replication_count} replications"
    if drawn is None or drawn.value is None:
        answer = f"{_taken_back(result, at_centre.value)}, {noise}: {_regime_words(result, at_centre)}."
        return [answer, _log_sentence(at_centre)]
    share = f"{100 * result.scenario.run.confidence:g} %"
    widths = (
        f"That is the median and {share} of {drawn.value.samples} draws of what is not known{_left_out(drawn)}; "
        f"with every input at its centre it is {percent(at_centre.value)} {noise}, which is simulation noise alone."
    )
    answer = f"{_taken_back(result, drawn.value)}: {_regime_words(result, drawn)}{odds(result, drawn)}."
    return [answer, widths, _log_sentence(at_centre)]


def _taken_back(result: Result, value: Estimate) -> str:
    # A loss of efficiency turns the meaning of the ratio round.
    meaning = "of the extra need is spared" if is_loss(result) else "of the potential saving is taken back"
    return f"{percent(value)} {meaning}"


def cumulated_sentences(result: Result) -> list[str]:
    """The rebound of everything consumed since the shock."""
    at_centre, drawn = result.rebound_cumulated, result.drawn_cumulated
    if at_centre.value is None:
        return []
    if drawn is None or drawn.value is None:
        return [f"Rebound {percent(at_centre.value)} of everything since the shock."]
    odds_since = (
        "" if drawn.backfire is None or is_loss(result) else f", backfire in {percent(drawn.backfire)} of draws"
    )
    since = f"Rebound {percent(drawn.value)} of everything since the shock"
    return [f"{since}{odds_since}; {percent(at_centre.value)} at the centre."]


def is_loss(result: Result) -> bool:
    """Whether the shock, with usage held, needs more and not less."""
    baseline, frozen = (float(result.consumption[arm][:, -1].mean()) for arm in ("baseline", "frozen"))
    return frozen > baseline


def _regime_words(result: Result, value: Rebound | DrawnRebound) -> str:
    # None of the names of the rebound fits a loss of efficiency.
    if is_loss(result) or value.regime is None:
        return "the shock is a loss of efficiency"
    return value.regime.words


def odds(result: Result, drawn: DrawnRebound) -> str:
    """How many draws backfire."""
    if drawn.backfire is None or is_loss(result):
        return ""
    joint = ", in" if drawn.regime is Regime.BACKFIRE else "; backfire in"
    return f"{joint} {percent(drawn.backfire)} of draws"


def _left_out(drawn: DrawnRebound) -> str:
    return f" ({drawn.undefined} more, in which nothing is saved, are left out)" if drawn.undefined else ""


def _log_sentence(at_centre: Rebound) -> str:
    return "" if at_centre.log_value is None else f"In logs: {estimate(at_centre.log_value)} at the centre."


def verdict_sentences(result: Result) -> list[str]:
    """Which way consumption goes, causally and gross."""
    verdicts = result.rebound if result.drawn is None else result.drawn
    return [
        _verdict_sentence("Causal", resource(result), verdicts.causal, "than without the shock"),
        _verdict_sentence("Gross", resource(result), verdicts.gross, "than in the month before it"),
    ]


def _verdict_sentence(kind: str, consumed: str, verdict: Verdict, compared: str) -> str:
    if verdict.change is None or verdict.direction is None:
        return f"{kind}: not defined, nothing was consumed to compare with."
    if verdict.direction == "unchanged":
        return f"{kind}: {consumed} no different {compared}."
    more = "higher" if verdict.direction == "up" else "lower"
    sure = "" if verdict.certain else ", not certain"
    return f"{kind}: {consumed} {more} {compared}{sure}, {change(verdict.change)}."


# Through what.


def channels_sentence(result: Result) -> str:
    """What each channel takes or gives back of the potential saving; the points sum to the rebound less 100."""
    if not result.channels:
        return ""
    shown = {name: points for name, points in result.channels.items() if abs(points) >= SMALLEST_POINTS}
    parts = [f"{CHANNELS.get(name, name)} {_points(points)}" for name, points in shown.items()]
    total = sum(result.channels.values())
    saving = f"{' · '.join(parts)} = {_points(total)} points of the potential saving"
    return f"{saving}: a rebound of {number(100 + total)} % at the centre"


def _points(points: float) -> str:
    return percents([points / 100.0], signed=True)[0]


def segments_sentence(result: Result) -> str:
    """The rebound of each segment's GPU-hours."""
    told = {name: value for name, value in result.segment_rebounds.items() if value is not None}
    return " · ".join(f"{name} {percents([value])[0]} %" for name, value in told.items())


# Training.


def training_sentence(result: Result) -> str:
    """What became of training's jobs with the shock; nothing where no budget buys jobs."""
    waiting, without = (mean_of_jobs(result, arm, -1, "waiting_h") for arm in ("shock", "baseline"))
    p95, own, lent = (
        mean_of_jobs(result, "shock", -1, name) for name in ("p95_waiting_h", "own_utilisation", "lent_utilisation")
    )
    if waiting is None or without is None or p95 is None:
        return ""
    held, lost, unusable = (
        float(result.of_replications(figure, "shock", -1).mean()) for figure in (_held_by_jobs, _lost, _unusable)
    )
    of_nodes = [
        f"{percents([share])[0]} % of {nodes}"
        for share, nodes in ((own, "training's own nodes"), (lent, "what serving leaves"))
        if share is not None
    ]
    in_use = f" In use: {' and '.join(of_nodes)}." if of_nodes else ""
    shares = percents([lost / held, unusable / held]) if held > 0 else ["0", "0"]
    return (
        f"A job waits {number(waiting)} h for its GPUs, one in twenty over {number(p95)} h; without the shock "
        f"{number(without)} h. Of their GPU-hours {shares[0]} % are lost to failures and to nodes taken back; "
        f"{shares[1]} % as many lie idle while a job waits for all of its own.{in_use}"
    )


def _held_by_jobs(month: Month) -> PerWorld:
    return sum(region.budget_gpu_hours_per_day for region in month.regions if region.training is not None)


def _lost(month: Month) -> PerWorld:
    return sum(one.lost_gpu_hours_per_day for one in trained_in(month))


def _unusable(month: Month) -> PerWorld:
    return sum(one.unusable_gpu_hours_per_day for one in trained_in(month))


def race_sentence(result: Result) -> str:
    """What the racing budgets spend with the shock over what they spend without; nothing where none races."""
    racing = [name for name, segment in result.scenario.segments.items() if segment.race is not None]
    told = []
    for name in racing:
        shock, baseline = (
            float(
                result.of_replications(
                    lambda month, name=name: sum(  # type: ignore[misc]
                        part.exogenous_tokens_per_day for part in month.segments if part.segment == name
                    ),
                    arm,
                    -1,
                ).mean()
            )
            for arm in PAIR
        )
        told.append(f"{clean(name)} x{number(shock / baseline)}")
    return f"Spend with the shock over that without: {', '.join(told)}." if told else ""


# On what it hinges, and what is assumed.


def name_of_input(keys: Sequence[str], uncertain: Mapping[str, Distribution]) -> str:
    """Inputs that are drawn together, in words.

    Examples
    --------
    >>> name_of_input(["segments.chat.price_elasticity"], {})
    'price elasticity of chat'
    >>> name_of_input(["pricing.pass_through"], {})
    'pass through'
    """
    together = uncertain[keys[0]].together if keys[0] in uncertain else None
    if together:
        return clean(together)
    *tables, last = keys[0].split(".")
    words = UNIT_IN_KEY.sub("", last).replace("_", " ")
    of = f" of {tables[1]}" if len(tables) > 1 and tables[0] in ("segments", "regions") else ""
    return words + of


def hinges_sentence(result: Result) -> str:
    """The inputs that move the rebound most, with the value of each beyond which the verdict turns."""
    if not result.hinges or is_loss(result):
        return ""
    told = "; ".join(_hinge_words(result, hinge) for hinge in result.hinges)
    if all(hinge.break_even is None for hinge in result.hinges):
        return f"No value in its range of any one input turns the verdict; these move the rebound most: {told}."
    return f"{told}."


def _hinge_words(result: Result, hinge: Hinge) -> str:
    uncertain = result.scenario.uncertain
    name = name_of_input(hinge.keys, uncertain)
    if len({uncertain[key].central for key in hinge.keys}) > 1:
        name += f" of {hinge.keys[0].split('.')[1]}"
    if hinge.break_even is None:
        turns = "" if all(other.break_even is None for other in result.hinges) else "no turn in its range, "
        return f"{name} ({number(hinge.centre)}; {turns}rank correlation {hinge.rank_correlation:+.2f})"
    side = "above" if hinge.backfires_above else "below"
    return f"{name} ({number(hinge.centre)}; backfire {side} {number(hinge.break_even)})"


def assumed_inputs(result: Result) -> list[tuple[str, ...]]:
    """Uncertain inputs that are assumptions, those that move the rebound most first."""
    uncertain, assumed = result.scenario.uncertain, set(result.scenario.assumed())
    groups = [keys for keys in drawn_together(uncertain).values() if assumed.intersection(keys)]
    if result.draws is None:
        return groups
    values, inputs = rebounds(result.draws), result.draws.inputs
    return sorted(groups, key=lambda keys: -abs(rank_correlation(inputs[keys[0]], values)))


def assumptions_sentence(result: Result) -> str:
    """The assumptions that matter most, with the range that is drawn from, and how many more there are."""
    assumed = result.scenario.assumed()
    named = assumed_inputs(result)[:MOST_ASSUMPTIONS]
    told = [f"{name_of_input(keys, result.scenario.uncertain)} {_range(result, keys)}" for keys in named]
    rest = len(set(assumed).difference(*named))
    more = ("and " + _counted(rest, "more number") if told else _counted(rest, "number")) + " (see manifest.json)"
    return "; ".join([*told, more] if rest else told)


def _range(result: Result, keys: Iterable[str]) -> str:
    tail = (1.0 - result.scenario.run.confidence) / 2
    drawn = [result.scenario.uncertain[key] for key in keys]
    low = min(distribution.quantile(tail) for distribution in drawn)
    high = max(distribution.quantile(1.0 - tail) for distribution in drawn)
    return f"{number(low)} to {number(high)}"


def closed_form_sentence(result: Result) -> str:
    """How far the draws, which are served in closed form, are from the simulation at the centre."""
    if result.closed_form_gap is None or result.engine == "closed_form":
        return ""
    gap = percents([result.closed_form_gap], signed=True)[0]
    if training_sentence(result):
        return (
            f"Draws are served in closed form, and jobs get what whole gangs of the smallest size could use. At the "
            f"centre that puts {resource(result)} with the shock over those without {gap} % off the mean of the "
            f"simulations."
        )
    return (
        f"Draws are served in closed form. At the centre, on the same random numbers, that puts "
        f"{resource(result)} with the shock over those without {gap} % off the simulation."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
