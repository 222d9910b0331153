"""Closed forms of the rebound: limits that the simulation is held to, and thresholds told to the reader.

Sections 3 to 5 of the model.  Throughout `a` is the magnitude of a price elasticity, `gain` the factor g by
which efficiency rises, and a ratio is that of compute (or its price) after to before.
"""

from __future__ import annotations

from math import exp, expm1, inf, isinf, log


def compute_ratio_isoelastic(gain: float, a: float) -> float:
    """Compute after over before with constant elasticity and full pass-through, g^(a - 1)."""
    return exp((a - 1.0) * log(gain))


def rebound_isoelastic(gain: float, a: float) -> float:
    r"""Rebound with constant elasticity and full pass-through.

    .. math:: R = \frac{g^a - 1}{g - 1}, \qquad R \to a \text{ as } g \to 1

    It depends on the size of the shock unless :math:`a = 1`; the log rebound is :math:`a` for every size.
    """
    return a if gain == 1.0 else expm1(a * log(gain)) / (gain - 1.0)


def compute_ratio_with_wedge(gain: float, a: float, w: float) -> float:
    r"""Compute after over before when compute is only a part of the full price.

    .. math:: C_1 / C_0 = \frac{1}{g} \left(1 - w + \frac{w}{g}\right)^{-a}

    Parameters
    ----------
    gain : float
        Efficiency after over before, :math:`g > 0`.
    a : float
        Magnitude of the elasticity with respect to the full price.
    w : float
        Share of compute in the full price, 0 to 1: the money share times the share of compute in cost.

    Notes
    -----
    The full price never falls below :math:`1 - w`, so usage rises at most :math:`(1-w)^{-a}` fold and a gain that
    is large enough lowers compute whatever the elasticity.
    """
    return exp(-a * log(1.0 - w + w / gain)) / gain


def peak_gain(a: float, w: float) -> float:
    """Gain at which compute peaks behind a wedge, w (a - 1)/(1 - w); not above 1: every gain lowers it."""
    if w == 1.0:
        return inf if a > 1.0 else 0.0
    return w * (a - 1.0) / (1.0 - w)


def marginal_threshold(money_share: float, compute_share: float, pass_through: float) -> float:
    """Magnitude of the elasticity above which a small gain backfires, 1/(s_P theta rho)."""
    passed = money_share * compute_share * pass_through
    return inf if passed == 0.0 else 1.0 / passed


def steps_until_backfire(a_long: float, lag: float) -> float:
    r"""Steps of a Koyck adjustment until compute is back where it was.

    .. math:: n^* = \frac{\ln(1 - 1/a_L)}{\ln \lambda}, \qquad \text{since } a_n = a_L (1 - \lambda^n)

    Infinite when the long-run elasticity :math:`a_L` does not exceed 1; `lag` is :math:`0 < \lambda < 1`.
    """
    return log(1.0 - 1.0 / a_long) / log(lag) if a_long > 1.0 else inf


def months_until_backfire(a_long: float, a_short: float, time_constant_months: float) -> float:
    r"""Months until a market that answers at once with one elasticity, and in the end with another, backfires.

    .. math:: t^* = \tau \ln \frac{a_L - a_S}{a_L - 1}

    Nought when the short run backfires already, infinite when the long run never does.
    """
    if a_long <= 1.0:
        return 0.0 if a_short > 1.0 else inf
    return max(0.0, time_constant_months * log(max(a_long - a_short, a_long - 1.0) / (a_long - 1.0)))


def capability_threshold(psi: float, zeta: float, chi: float) -> float:
    r"""Magnitude of the elasticity above which a gain of which a share is spent on capability backfires.

    .. math:: a > 1 - \frac{\psi \zeta \chi}{1 - \chi}

    Parameters
    ----------
    psi, zeta : float
        Rise of usage with capability, and of capability with the compute spent on it, both in logs.
    chi : float
        Share of the gain, in logs, that is spent on capability, below 1.
    """
    return 1.0 - psi * zeta * chi / (1.0 - chi)


def compute_pull(A: float, *, chi: float = 0.0, psi: float = 0.0, zeta: float = 0.0, income: float = 0.0) -> float:
    r"""Shift of the demand for compute with efficiency at a fixed price of compute, in logs per log.

    .. math:: B = (A - 1)(1 - \chi) + \psi \zeta \chi + \eta_Y D_C

    Compute backfires exactly when it is positive, however elastic supply is.

    Parameters
    ----------
    A : float
        Magnitude of the elasticity of the demand for compute, :math:`a w \rho`.
    chi, psi, zeta : float
        As in `capability_threshold`.
    income : float
        Growth through income, :math:`\eta_Y D_C` (income elasticity times Domar weight).
    """
    return (A - 1.0) * (1.0 - chi) + psi * zeta * chi + income


def equilibrium_compute_ratio(gain: float, A: float, B: float, supply_elasticity: float) -> float:
    r"""Compute after over before where supply answers the price of compute, :math:`g^{\sigma_S B / (\sigma_S + A)}`.

    `A` is the magnitude of the elasticity of the demand for compute, `B` its pull (`compute_pull`); an infinite
    supply elasticity fixes the price.
    """
    share = 1.0 if isinf(supply_elasticity) else supply_elasticity / (supply_elasticity + A)
    return exp(share * B * log(gain))


def equilibrium_price_ratio(gain: float, A: float, B: float, supply_elasticity: float) -> float:
    r"""Price of compute after over before, :math:`g^{B / (\sigma_S + A)}`, arguments as for the compute ratio."""
    return exp(B / (supply_elasticity + A) * log(gain))


def capped_price_ratio(gain: float, a: float) -> float:
    """Price of compute after over before when its quantity cannot move, g^((a - 1)/a)."""
    return exp((a - 1.0) / a * log(gain))
