r"""A race of budgets: spend follows the rival's, relative to its trend, a month later.

.. math:: x_i(t) = r_i\, x_{j(i)}(t-1) + \ln J_i, \qquad x = \ln B - \ln B_{trend}

with :math:`J_i` the jump that comes with the shock.  Two rivals come to rest at
:math:`x_1 = (\ln J_1 + r_1 \ln J_2)/(1 - r_1 r_2)`, which exists because the scenario keeps the product of the
responses below 1: the reaction curves of [1]_, which arm without end where it is not.

References
----------
.. [1] L. F. Richardson, *Arms and Insecurity*, Boxwood Press, 1960, ch. II.
"""

from __future__ import annotations

from collections.abc import Mapping

from jevons.scenario import Race
from jevons.stacks import PerWorld, log


def spend_off_trend(
    races: Mapping[str, Race], before: Mapping[str, PerWorld], *, has_jumped: bool
) -> dict[str, PerWorld]:
    """Spend of those who race over its trend, in logs, in a month.

    Parameters
    ----------
    races : mapping of segment to Race
    before : mapping of segment to array_like, shape (...)
        Spend over its trend in the month before, in logs; 0 where not given.
    has_jumped : bool
        Whether the shock has come, in an arm that responds to it.

    Examples
    --------
    >>> {name: round(float(x), 6) for name, x in spend_off_trend(
    ...     {"ours": Race(follows="theirs", response=0.5)}, {"theirs": 0.2}, has_jumped=False).items()}
    {'ours': 0.1}
    """
    return {
        name: race.response * before.get(race.follows, 0.0) + (log(race.jump_with_shock) if has_jumped else 0.0)
        for name, race in races.items()
    }
