"""What a reader is told of the vendor, of who holds it on credit, and of fat tails."""

from __future__ import annotations

from jevons.answer import Result
from jevons.finance.tails import mean_exists
from jevons.finance_summary import RISK_LEVEL, FinanceSummary
from jevons.report.numbers import change, number, percent, percents
from jevons.scenario import Distribution


def finance_sentences(result: Result) -> list[str]:
    """Value with the shock against without, margin, falls, and who could not pay; nothing without a vendor."""
    told = result.finance
    if told is None:
        return []
    at_shock, at_horizon = change(told.value_change_at_shock), change(told.value_change)
    falls = f"{percent(told.drawdown)}, without it {percent(told.drawdown_without)}"
    return [
        f"Value in the first month after the shock {at_shock} against that without it, at the horizon {at_horizon}.",
        _margin(told),
        f"Largest fall from its highest since the shock {falls}.",
        *_falls(told),
        *_investors(told),
    ]


def _margin(told: FinanceSummary) -> str:
    without, with_shock = percents([told.margin_without, told.margin_with])
    prices = (
        f"a GPU costs {number(told.gpu_price_with)} of its first price, {number(told.gpu_price_without)} without it"
    )
    return f"Gross margin {with_shock} % with the shock and {without} % without; {prices}."


def _falls(told: FinanceSummary) -> list[str]:
    if told.drawdown.kind != "draws":
        return []
    shares = ", ".join(f"{100 * fall:.0f} % in {percent(share)}" for fall, share in told.falls.items())
    risk, shortfall = percents([told.value_at_risk, told.expected_shortfall])
    worst = f"{100 * RISK_LEVEL:.0f} % of draws stay below {risk} %, and the others lose {shortfall} % on average"
    return [f"It falls by at least {shares} of draws.", f"Of its value at the horizon {worst}."]


def _investors(told: FinanceSummary) -> list[str]:
    if told.lowest_funding is None or told.least_hedge is None or told.most_ponzi is None or told.sold is None:
        return []
    kinds = f"{percent(told.least_hedge)} of investors' assets are hedge finance and {percent(told.most_ponzi)} Ponzi"
    money = f"{percent(told.lowest_funding)} of what builders would order is funded"
    sold = f"{percent(told.sold)} of the sector is sold to meet calls"
    return [f"At the worst since the shock {kinds}, and {money}; {sold}."]


def tail_sentence(result: Result) -> str:
    """Whether means exist under a Pareto gain; nothing where the gain has no such tail."""
    shock = result.scenario.shock
    gain = None if shock is None else shock.efficiency_gain
    if not isinstance(gain, Distribution) or gain.index is None:
        return ""
    index = gain.index
    if gain.max is not None:
        return (
            f"The gain has a Pareto tail of index {index:g}, cut off at {gain.max:g}: every mean exists, "
            "but is the cut's as much as the tail's; quantiles are told."
        )
    without = [name for name, a in isoelastic(result).items() if not mean_exists(index, a)]
    told = f"The gain has a Pareto tail of index {index:g}: it has {'a' if index > 1 else 'no'} mean"
    if not without:
        return f"{told}; quantiles are told, which a few draws do not carry away."
    names = ", ".join(without)
    return (
        f"{told}; compute with the shock over without has none in {names}, whose elasticity reaches beyond "
        f"1 + {index:g}: ever larger gains there raise it faster than they get rare. Quantiles are told."
    )


def isoelastic(result: Result) -> dict[str, float]:
    """Largest magnitude of the price elasticity of the isoelastic segments; other forms saturate."""
    segments = result.scenario.segments.items()
    return {
        name: -(e.quantile(1e-6) if isinstance(e := segment.price_elasticity, Distribution) else e)
        for name, segment in segments
        if segment.form == "isoelastic" and segment.is_served
    }
