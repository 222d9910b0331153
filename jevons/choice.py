"""Choice between providers: the nested logit in the logarithm of price, with an outside option.

Section 4 of the model.  The last axis of an array is that of the providers, j; axes before it are those of the
worlds.  The outside option, to use none of them, has utility 0 and a nest of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jevons.randomness import Floats
from jevons.stacks import PerWorld

#: Bisection for the utility of an entrant: half-width of the bracket around the plain logit's, and halvings.
ENTRANT_BRACKET = 60.0
ENTRANT_HALVINGS = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shares:
    """Who is chosen, as shares of all who could choose."""

    #: Share of each provider, shape (..., j).
    of_all: Floats
    #: Share of each provider in its nest, shape (..., j).
    in_nest: Floats
    #: Share that uses none, shape (...).
    outside: Floats
    #: Expected utility of the best choice over that of the outside option, shape (...).
    inclusive_value: Floats

    @property
    def inside(self) -> Floats:
        """Share that uses one of them, shape (...)."""
        return total(self.of_all)

    @property
    def of_users(self) -> Floats:
        """Share of each provider among those who use one, shape (..., j); 0 where nobody does."""
        inside = self.inside[..., None]
        return np.where(inside > 0.0, self.of_all / np.where(inside > 0.0, inside, 1.0), 0.0)

    def shifted(self, shift: Floats) -> Shares:
        """The shares if every utility but that of the outside option were higher by a shift, shape (...)."""
        odds = self.inside / self.outside * np.exp(shift)
        return Shares(
            of_all=self.of_users * (odds / (1.0 + odds))[..., None],
            in_nest=self.in_nest,
            outside=np.asarray(1.0 / (1.0 + odds)),
            inclusive_value=np.log1p(odds),
        )


def utility(
    log_capability: Floats, taste: Floats, log_price: Floats, *, capability_weight: PerWorld, price_weight: PerWorld
) -> Floats:
    r"""Utility of each provider's offer over that of the outside option.

    .. math:: \delta_j = \psi \ln A_j + \xi_j - \alpha \ln P_j

    Parameters
    ----------
    log_capability, taste, log_price : ndarray, shape (..., j)
        :math:`\ln A_j`, brand and trust :math:`\xi_j`, and :math:`\ln P_j`.
    capability_weight, price_weight : array_like, shape (...)
        :math:`\psi` and :math:`\alpha`.
    """
    return each(capability_weight) * log_capability + taste - each(price_weight) * log_price


def shares(utilities: Floats, nests: Sequence[int], similarity: PerWorld) -> Shares:
    r"""Shares of the nested logit.

    .. math::

        s_{j|n} = \frac{e^{\delta_j/(1-\nu)}}{D_n}, \qquad D_n = \sum_{j \in n} e^{\delta_j/(1-\nu)}, \qquad
        s_n = \frac{D_n^{1-\nu}}{1 + \sum_m D_m^{1-\nu}}

    Parameters
    ----------
    utilities : ndarray, shape (..., j)
        :math:`\delta_j`; minus infinity is an offer that cannot be chosen.
    nests : sequence of int, shape (j,)
        Number of the nest of each.
    similarity : array_like, shape (...)
        Nest parameter :math:`\nu`, 0 to below 1: at 0 nests do not matter, near 1 the offers of one are the same.

    References
    ----------
    .. [1] S. T. Berry, "Estimating discrete-choice models of product differentiation", RAND Journal of Economics
       25 (1994), 242-262.

    Examples
    --------
    Two offers as good as the outside option: a third each.

    >>> shares(np.zeros(2), [0, 1], 0.0).of_all.round(4).tolist()
    [0.3333, 0.3333]
    """
    scale = each(1.0 - np.asarray(similarity))
    scaled = utilities / scale
    within = np.zeros(np.broadcast_shapes(utilities.shape, scale.shape))
    members = [[place for place, nest in enumerate(nests) if nest == one] for one in sorted(set(nests))]
    values = []
    for nest in members:
        top = _finite(scaled[..., nest].max(axis=-1))
        terms = np.exp(scaled[..., nest] - top[..., None])
        sum_of_terms = total(terms)
        is_open = sum_of_terms > 0.0
        safe = np.where(is_open, sum_of_terms, 1.0)
        within[..., nest] = terms / safe[..., None]
        values.append(np.where(is_open, scale[..., 0] * (np.log(safe) + top), -np.inf))
    value = np.stack(values, axis=-1)
    top = np.maximum(value.max(axis=-1), 0.0)
    weights, of_none = np.exp(value - top[..., None]), np.exp(-top)
    everything = total(weights) + of_none
    of_all = np.zeros_like(within)
    for number, nest in enumerate(members):
        of_all[..., nest] = within[..., nest] * (weights[..., number] / everything)[..., None]
    return Shares(of_all=of_all, in_nest=within, outside=of_none / everything, inclusive_value=top + np.log(everything))


def elasticities(chosen: Shares, nests: Sequence[int], price_weight: PerWorld, similarity: PerWorld) -> Floats:
    r"""Elasticity of each share with respect to each price, shape (..., j, k).

    .. math::

        \frac{\partial \ln s_j}{\partial \ln P_k} = \alpha \left(s_k + \frac{\nu}{1-\nu} s_{k|n} [n_j = n_k]
        - \frac{[j = k]}{1-\nu}\right)

    Every row sums to :math:`-\alpha s_0`: what a uniform change of price does.
    """
    numbers = np.asarray(nests)
    same = (numbers[:, None] == numbers[None, :]).astype(np.float64)
    weight, nu = (np.asarray(number)[..., None, None] for number in (price_weight, similarity))
    inside_nest = nu / (1.0 - nu) * same * chosen.in_nest[..., None, :]
    return np.asarray(weight * (chosen.of_all[..., None, :] + inside_nest - np.eye(len(numbers)) / (1.0 - nu)))


def own_elasticities(chosen: Shares, price_weight: PerWorld, similarity: PerWorld) -> Floats:
    r"""Elasticity of each share with respect to its own price, shape (..., j), negative.

    .. math:: -\alpha \left(\frac{1}{1-\nu} - \frac{\nu}{1-\nu} s_{j|n} - s_j\right)
    """
    weight, nu = each(price_weight), each(similarity)
    return -weight * ((1.0 - nu * chosen.in_nest) / (1.0 - nu) - chosen.of_all)


def own_elasticity_slopes(chosen: Shares, price_weight: PerWorld, similarity: PerWorld) -> Floats:
    r"""What a log of its own price adds to the magnitude of each own elasticity, shape (..., j).

    .. math:: \alpha \left(\frac{\alpha \nu}{(1-\nu)^2} s_{j|n} (1 - s_{j|n}) + s_j |\varepsilon_{jj}|\right)
    """
    weight, nu = each(price_weight), each(similarity)
    in_nest = weight * nu / (1.0 - nu) ** 2 * chosen.in_nest * (1.0 - chosen.in_nest)
    return weight * (in_nest - chosen.of_all * own_elasticities(chosen, price_weight, similarity))


def market_elasticity(outside: PerWorld, price_weight: PerWorld) -> PerWorld:
    r"""Elasticity of all use with respect to a uniform change of price, :math:`-\alpha s_0`."""
    return -price_weight * outside


def utilities_of_shares(of_all: Floats, nests: Sequence[int], similarity: PerWorld) -> Floats:
    r"""Utilities that lead to given shares, by Berry's inversion [1]_.

    .. math:: \delta_j = \ln s_j - \ln s_0 - \nu \ln s_{j|n}

    Parameters
    ----------
    of_all : ndarray, shape (..., j)
        Shares of all who could choose, above 0 and together below 1.
    nests : sequence of int, shape (j,)
    similarity : array_like, shape (...)
        Nest parameter :math:`\nu`.

    References
    ----------
    .. [1] S. T. Berry, "Estimating discrete-choice models of product differentiation", RAND Journal of Economics
       25 (1994), 242-262.
    """
    in_nest = np.zeros_like(of_all)
    for nest in sorted(set(nests)):
        members = [place for place, one in enumerate(nests) if one == nest]
        in_nest[..., members] = of_all[..., members] / total(of_all[..., members])[..., None]
    outside = 1.0 - total(of_all)
    return np.asarray(np.log(of_all) - np.log(outside)[..., None] - each(similarity) * np.log(in_nest))


def entrant_utility(
    share_of_users: PerWorld, entrant: int, utilities: Floats, nests: Sequence[int], similarity: PerWorld
) -> Floats:
    """Utility at which an entrant has a given share of the users, beside offers of given utilities, shape (...).

    Parameters
    ----------
    share_of_users : array_like, shape (...)
        Between 0 and 1, both excluded.
    entrant : int
        Its place among the offers.
    utilities : ndarray, shape (..., j)
        Those of the offers; the entrant's own is not read.
    nests, similarity
        As in `shares`.

    Notes
    -----
    By bisection: the share rises with the utility.  In a nest of its own it is the logit's,
    :math:`\\ln(\\sigma/(1-\\sigma))` over the inclusive value of the others.
    """
    wanted = np.asarray(share_of_users)
    alone = np.array(np.broadcast_to(utilities, np.broadcast_shapes(utilities.shape, (*np.shape(wanted), 1))))
    alone[..., entrant] = -np.inf
    others = shares(alone, nests, similarity)
    centre = np.log(wanted) - np.log1p(-wanted) + np.log(others.inside) - np.log(others.outside)
    low, high = centre - ENTRANT_BRACKET, centre + ENTRANT_BRACKET
    for _ in range(ENTRANT_HALVINGS):
        middle = 0.5 * (low + high)
        alone[..., entrant] = middle
        is_small = shares(alone, nests, similarity).of_users[..., entrant] < wanted
        low, high = np.where(is_small, middle, low), np.where(is_small, high, middle)
    return np.asarray(0.5 * (low + high))


def each(number: PerWorld | Floats) -> Floats:
    """A number of each world, with an axis for the providers."""
    with_axis: Floats = np.asarray(number, dtype=np.float64)[..., None]
    return with_axis


def total(numbers: Floats) -> Floats:
    """Sum over the providers, shape (...): one after the other, so that it is the same in stacks of any size."""
    return np.asarray(numbers.cumsum(axis=-1)[..., -1])


def _finite(numbers: Floats) -> Floats:
    return np.where(np.isfinite(numbers), numbers, 0.0)
