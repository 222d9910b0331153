"""The capability race: leaders, followers that distil from them, countermeasures, the answer in research.

Section 2 of the model.  Capabilities are in logs, over the unit in which the scenario gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jevons.dates import months_between
from jevons.efficiency import months_since_shock
from jevons.scenario import Arm, Provider, Scenario
from jevons.stacks import PerWorld, exp, larger, log, where
from jevons.units import log_growth_per_month

#: What a follower distils from if it distils from whoever is ahead.
LEADER = "leader"


def steady_log_gap(leader_growth: float, follower_growth: float, distillation: float) -> float:
    r"""Gap in logs at which a follower that distils keeps pace, :math:`(g_l - g_f)/k_d`."""
    return (leader_growth - follower_growth) / distillation


def next_gap(gap: PerWorld, difference: PerWorld, distillation: PerWorld) -> PerWorld:
    r"""Gap of a follower behind its leader a month later, in logs; exact for growth that is steady in the month.

    .. math:: \frac{d\,gap}{dt} = (g_l - g_f) - k_d\,gap

    Parameters
    ----------
    gap : array_like, shape (...)
        :math:`\ln A_l - \ln A_f`; one who is ahead has nothing to distil.
    difference : array_like, shape (...), 1/month
        :math:`g_l - g_f`.
    distillation : array_like, shape (...), 1/month
        :math:`k_d \ge 0`.
    """
    rate = larger(distillation, 1e-12)
    steady = difference / rate
    distilled = steady + (gap - steady) * exp(-rate)
    return where((gap > 0.0) & (distillation > 1e-12), distilled, gap + difference)


def capability_paths(
    scenario: Scenario, arm: Arm = "baseline", *, is_anchor: bool = False
) -> list[dict[str, PerWorld]]:
    r"""Capability of each provider at the start of each month, in logs, what the shock gives it left out.

    .. math:: \frac{d \ln A_f}{dt} = g_f + k_d\,(\ln A_l - \ln A_f)

    Parameters
    ----------
    scenario : Scenario
    arm : {"baseline", "frozen", "shock"}
        After the shock, in the shock arm alone, rivals answer in research: growth times `research_response`.
    is_anchor : bool
        Leave out countermeasures that come after the start of the run: the path that observed growth is counted from.
    """
    providers = scenario.providers
    order = in_order(providers)
    path: list[dict[str, PerWorld]] = [{name: log(provider.capability) for name, provider in providers.items()}]
    for month in range(scenario.run.months):
        now, later = path[-1], dict[str, PerWorld]()
        for name in order:
            provider = providers[name]
            growth = _growth(scenario, provider, arm, month)
            ahead = _ahead(provider, now, later, providers)
            if ahead is None:
                later[name] = now[name] + growth
                continue
            distilled = _distillation(scenario, provider, month, is_anchor)
            gap = next_gap(ahead[0] - now[name], ahead[1] - ahead[0] - growth, distilled)
            later[name] = ahead[1] - gap
        path.append(later)
    return path


def in_order(providers: Mapping[str, Provider]) -> list[str]:
    """Providers, each after whom it distils from; those in a circle are left out."""
    done = [name for name, provider in providers.items() if provider.distils_from is None]
    waiting = [name for name in providers if name not in done]
    done += [name for name in waiting if providers[name].distils_from == LEADER]
    while ready := [name for name in waiting if name not in done and providers[name].distils_from in done]:
        done += ready
    return done


def _ahead(
    provider: Provider, now: Mapping[str, PerWorld], later: Mapping[str, PerWorld], providers: Mapping[str, Provider]
) -> tuple[PerWorld, PerWorld] | None:
    """Capability of whom a provider distils from, now and a month later; None for one that distils from nobody."""
    if provider.distils_from is None:
        return None
    if provider.distils_from != LEADER:
        return now[provider.distils_from], later[provider.distils_from]
    original = [name for name, other in providers.items() if other.distils_from is None]
    return _best([now[name] for name in original]), _best([later[name] for name in original])


def _best(values: Sequence[PerWorld]) -> PerWorld:
    best = values[0]
    for value in values[1:]:
        best = larger(best, value)
    return best


def _growth(scenario: Scenario, provider: Provider, arm: Arm, month: int) -> PerWorld:
    growth = log_growth_per_month(provider.capability_gain_per_year)
    shock = scenario.shock
    if arm != "shock" or shock is None:
        return growth
    since = months_since_shock(scenario, shock, arm, month)
    return where((0.0 if since is None else since) >= 0.0, growth * provider.research_response, growth)


def _distillation(scenario: Scenario, provider: Provider, month: int, is_anchor: bool) -> PerWorld:
    """Rate of a month: that before the countermeasure and that after it, each for its part of the month."""
    date = provider.countermeasure_date
    if date is None or (is_anchor and date > scenario.run.start):
        return provider.distillation_per_month
    after = min(max(month + 1 - months_between(scenario.run.start, date), 0.0), 1.0)
    return provider.distillation_per_month * (1.0 - after + after * provider.countermeasure_factor)
