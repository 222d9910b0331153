"""Owners on credit: hedge, speculative and Ponzi finance, margin calls, forced sales, and what is left for orders.

Minsky's three kinds [1]_ are told by what cash covers: interest and repayment, interest alone, or not even that.
Investors differ in how much they borrow; each of `COHORTS` stands for an equal share of them.

References
----------
.. [1] H. P. Minsky, "The financial instability hypothesis", Levy Economics Institute, Working Paper 74 (1992).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

from jevons.scenario import Investors
from jevons.stacks import PerWorld, exp, larger, log, smaller, where
from jevons.units import MONTHS_PER_YEAR

#: Kinds of investor, from those that borrow least to those that borrow most.
COHORTS = 12
#: Rounds of calls and sales within a month.
ROUNDS = 20
#: No rush to sell takes more off the value than this, in logs.
LARGEST_DISCOUNT = 3.0
#: A loan-to-value beyond which nothing is left to tell apart.
LARGEST_LOAN_TO_VALUE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InvestorsState:
    """What the investors carry from month to month."""

    #: Loan-to-value of each cohort, and its assets over those it would hold undisturbed.
    loan_to_value: tuple[PerWorld, ...]
    assets: tuple[PerWorld, ...]
    #: What forced sales have taken off the value, in logs.
    discount: PerWorld = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InvestorsMonth:
    """The investors in a month; the shares are of their assets and add up to 1."""

    hedge_share: PerWorld
    speculative_share: PerWorld
    ponzi_share: PerWorld
    #: Share of the sector's value that was sold to meet calls.
    forced_sales: PerWorld
    discount: PerWorld


def opening_investors(plan: Investors) -> InvestorsState:
    """Every cohort at the loan-to-value it aims at."""
    return InvestorsState(loan_to_value=aims(plan), assets=(1.0,) * COHORTS)


def aims(plan: Investors) -> tuple[PerWorld, ...]:
    """Loan-to-value that each cohort aims at: evenly from 0 to twice the mean."""
    return tuple(2.0 * plan.debt_share * (number + 0.5) / COHORTS for number in range(COHORTS))


def is_hedge(cash: PerWorld, interest: PerWorld, principal: PerWorld) -> PerWorld:
    """1 where cash covers interest and repayment, else 0; all for the same assets and time."""
    return where(cash >= interest + principal, 1.0, 0.0)


def is_ponzi(cash: PerWorld, interest: PerWorld) -> PerWorld:
    """1 where cash does not even cover interest, else 0."""
    return where(cash < interest, 1.0, 0.0)


def sale_to_limit(loan_to_value: PerWorld, limit: PerWorld) -> PerWorld:
    r"""Share of its assets that an owner sells to be back at the limit.

    .. math:: \frac{D - sV}{V - sV} = \bar l \quad\Rightarrow\quad s = \frac{l - \bar l}{1 - \bar l}

    between 0 and 1: who owes more than there is, sells everything.

    Examples
    --------
    A loan of 75 on 100, called at 60 %: assets of 37.5 are sold, and 37.5 is owed on 62.5.

    >>> round(float(sale_to_limit(0.75, 0.6)), 9)
    0.375
    """
    return smaller(larger((loan_to_value - limit) / (1.0 - limit), 0.0), 1.0)


def investors_after_month(
    state: InvestorsState, plan: Investors, *, log_return: PerWorld, relative_rents: PerWorld
) -> tuple[InvestorsState, InvestorsMonth]:
    """A month: prices move, cash comes in, debt is served, loans are called, sales push the value down.

    Parameters
    ----------
    log_return : array_like, shape (...)
        Change of the sector's value in the month without forced sales, in logs.
    relative_rents : array_like, shape (...)
        Rents of a GPU over their trend and those of the start: cash moves with them.
    """
    recovered = exp(-1.0 / plan.recovery_months)
    calm = state.discount * recovered
    revalued = replace(
        state,
        loan_to_value=tuple(_bounded(ltv * exp(calm - state.discount - log_return)) for ltv in state.loan_to_value),
        assets=tuple(1.0 - (1.0 - held) * recovered for held in state.assets),
        discount=calm,
    )
    cash = plan.cash_yield_per_year / MONTHS_PER_YEAR * relative_rents
    served = replace(revalued, loan_to_value=_served(revalued, plan, cash))
    hedge, ponzi = _shares(served, plan, cash)
    called, sold = _called(served, plan)
    return called, InvestorsMonth(
        hedge_share=hedge,
        speculative_share=1.0 - hedge - ponzi,
        ponzi_share=ponzi,
        forced_sales=sold,
        discount=called.discount,
    )


def _bounded(loan_to_value: PerWorld) -> PerWorld:
    return smaller(loan_to_value, LARGEST_LOAN_TO_VALUE)


def _due(loan_to_value: PerWorld, plan: Investors) -> tuple[PerWorld, PerWorld]:
    """Interest and repayment of a month, for each dollar of assets."""
    return loan_to_value * plan.interest_per_year / MONTHS_PER_YEAR, loan_to_value / plan.maturity_months


def _served(state: InvestorsState, plan: Investors, cash: PerWorld) -> tuple[PerWorld, ...]:
    """Loan-to-values after the month's payments: hedge repay, Ponzi borrow their interest; all borrow to their aim."""
    after = []
    for ltv, aim in zip(state.loan_to_value, aims(plan), strict=True):
        interest, principal = _due(ltv, plan)
        paid = where(cash >= interest + principal, principal, 0.0)
        borrowed = larger(interest - cash, 0.0)
        left = ltv - paid + borrowed
        after.append(_bounded(left + plan.releverage_per_month * larger(aim - left, 0.0)))
    return tuple(after)


def _shares(state: InvestorsState, plan: Investors, cash: PerWorld) -> tuple[PerWorld, PerWorld]:
    """Shares of hedge and Ponzi finance in the assets."""
    held = _sum(state.assets)
    dues = tuple(_due(ltv, plan) for ltv in state.loan_to_value)
    both = tuple(zip(state.assets, dues, strict=True))
    hedge = _sum(tuple(assets * is_hedge(cash, *due) for assets, due in both))
    ponzi = _sum(tuple(assets * is_ponzi(cash, interest) for assets, (interest, _) in both))
    return hedge / larger(held, 1e-12), ponzi / larger(held, 1e-12)


def _called(state: InvestorsState, plan: Investors) -> tuple[InvestorsState, PerWorld]:
    """The state after the calls of a month, and the share of the sector that was sold to meet them."""
    sold: PerWorld = 0.0
    bought: PerWorld = 0.0
    for _ in range(ROUNDS):
        sales = tuple(sale_to_limit(ltv, plan.loan_to_value_limit) for ltv in state.loan_to_value)
        offered = plan.leveraged_share * _sum(tuple(a * s for a, s in zip(state.assets, sales, strict=True))) / COHORTS
        taken_up = smaller(larger(plan.dip_buying * state.discount - bought, 0.0), offered)
        discount = smaller(state.discount + plan.price_impact * (offered - taken_up), LARGEST_DISCOUNT)
        fall = discount - state.discount
        state = InvestorsState(
            # Who sells is at the limit, until the sales of all have lowered the price again.
            loan_to_value=tuple(
                _bounded(smaller(ltv, plan.loan_to_value_limit) * exp(fall)) for ltv in state.loan_to_value
            ),
            assets=tuple(a * (1.0 - s) for a, s in zip(state.assets, sales, strict=True)),
            discount=discount,
        )
        sold, bought = sold + offered, bought + taken_up
    return state, sold


def _sum(values: tuple[PerWorld, ...]) -> PerWorld:
    return reduce(lambda total, value: total + value, values, 0.0)


def funding(value: PerWorld, peak: PerWorld, *, response: PerWorld, debt_share: PerWorld, ponzi: PerWorld) -> PerWorld:
    r"""Share of what builders would order that they find the money for.

    .. math:: \phi = \left(1 - d\, s_P\right) \left(\frac{V}{V_{max}}\right)^{\eta}, \qquad V \le V_{max}

    Parameters
    ----------
    value, peak : array_like, shape (...), USD
        Value of the vendor now, and the highest it has had.
    response : array_like, shape (...)
        Response :math:`\eta \ge 0`; 0: money is no object.
    debt_share, ponzi : array_like, shape (...)
        Share :math:`d` of builders' money that is lent, and of Ponzi finance :math:`s_P` among those who borrow, whom
        nobody lends to any more; the bracket is left out where :math:`\eta = 0`.

    Examples
    --------
    >>> round(float(funding(83.0, 100.0, response=1.0, debt_share=0.25, ponzi=0.4)), 3)
    0.747
    """
    drawn_down = smaller(value / peak, 1.0)
    lent = where(response > 0.0, 1.0 - debt_share * ponzi, 1.0)
    return lent * exp(response * log(drawn_down))
