"""Closed forms of queueing theory: the oracles of the serving simulation, and the sizing of its fleets."""

from __future__ import annotations

from math import ceil, exp, inf, lgamma, log

from jevons.errors import UnstableQueueError
from jevons.scenario import StepLaw


def erlang_b(servers: int, offered_load: float) -> float:
    r"""Probability that a request finds all servers busy where none may wait (M/G/c/c).

    .. math:: B = \frac{a^c / c!}{\sum_{k=0}^c a^k / k!}

    Parameters
    ----------
    servers : int
        Servers :math:`c \ge 0`.
    offered_load : float, erlang
        Arrival rate times mean service time, :math:`a \ge 0`.

    Notes
    -----
    By the recursion B(k) = a B(k-1) / (k + a B(k-1)), which stays between 0 and 1 where the factorials
    overflow [1]_.

    References
    ----------
    .. [1] D. Gross, J. F. Shortle, J. M. Thompson and C. M. Harris, *Fundamentals of Queueing Theory*,
       4th ed., Wiley, 2008, section 2.5.

    Examples
    --------
    >>> erlang_b(2, 1.0)
    0.2
    """
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered_load * blocked / (k + offered_load * blocked)
    return blocked


def erlang_c(servers: int, offered_load: float) -> float:
    r"""Probability that a request has to wait (M/M/c).

    .. math:: C = \frac{B}{1 - \rho (1 - B)}, \qquad \rho = a / c

    Parameters
    ----------
    servers : int
        Servers :math:`c \ge 1`.
    offered_load : float, erlang
        Arrival rate times mean service time, :math:`0 \le a < c`.

    Raises
    ------
    UnstableQueueError
        If the offered load reaches the number of servers.

    Examples
    --------
    >>> round(erlang_c(2, 1.0), 12)
    0.333333333333
    """
    rho = _stable(offered_load / servers)
    blocked = erlang_b(servers, offered_load)
    return blocked / (1.0 - rho * (1.0 - blocked))


def mmc_mean_waiting_time_s(arrival_rate_per_s: float, mean_service_time_s: float, servers: int) -> float:
    r"""Mean time from arrival to start in the M/M/c queue, :math:`W_q = C(c, a)\, s / (c - a)`, s.

    Raises
    ------
    UnstableQueueError
        If work arrives as fast as it can be served.
    """
    offered_load = arrival_rate_per_s * mean_service_time_s
    return erlang_c(servers, offered_load) * mean_service_time_s / (servers - offered_load)


def mg1_mean_waiting_time_s(arrival_rate_per_s: float, mean_service_time_s: float, squared_cv: float) -> float:
    r"""Mean time from arrival to start in the M/G/1 queue, first come first served, s.

    .. math:: W_q = \frac{\rho}{1 - \rho} \frac{1 + c_s^2}{2} s

    The formula of Pollaczek and Khinchine; `squared_cv` is the squared coefficient of variation :math:`c_s^2`
    of the service time: 0 if constant, 1 if exponential.

    Raises
    ------
    UnstableQueueError
        If work arrives as fast as it can be served.
    """
    rho = _stable(arrival_rate_per_s * mean_service_time_s)
    return rho / (1.0 - rho) * 0.5 * (1.0 + squared_cv) * mean_service_time_s


def mg1ps_mean_sojourn_time_s(service_time_s: float, traffic_intensity: float) -> float:
    """Mean stay of a job of `service_time_s` under processor sharing, x/(1 - rho), whatever the others' law, s.

    Raises
    ------
    UnstableQueueError
        If work arrives as fast as it can be served.
    """
    return service_time_s / (1.0 - _stable(traffic_intensity))


def mginf_occupancy(number: int, offered_load: float) -> float:
    """Probability that `number` servers of an unlimited pool (M/G/infinity) are busy: Poisson of the load."""
    if offered_load == 0.0:
        return float(number == 0)
    return exp(number * log(offered_load) - offered_load - lgamma(number + 1))


def mean_number(arrival_rate_per_s: float, mean_time_s: float) -> float:
    """Mean number inside of those who arrive at a rate and stay for a time: Little's law, L = lambda W."""
    return arrival_rate_per_s * mean_time_s


def largest_rate_per_s(
    step: StepLaw, mean_prefill_tokens: float, mean_output_tokens: float, mean_kv_token_steps: float
) -> float:
    r"""Requests that a replica serves each second when its batch is without limit, 1/s.

    .. math:: \lambda_{max} = \frac{1}{B_p E[I] + h E[O] + K E[O (I + O/2)]}

    Parameters
    ----------
    step : StepLaw
        A step lasts A + h n + Bp (prefill tokens) + K (KV tokens).
    mean_prefill_tokens : float, token
        Prompt tokens of a request that are computed, :math:`E[I]`.
    mean_output_tokens : float, token
        :math:`E[O]`.
    mean_kv_token_steps : float, token-steps
        Context summed over the steps of a request, :math:`E[O (I + O/2)]`, cached prompt tokens included.
        It exceeds the product of the means when long prompts get long answers.

    Returns
    -------
    float, 1/s
        Infinite when nothing but the base of the step takes time.

    Notes
    -----
    Of a long time T, the steps take A each and the requests the rest; the more are batched, the
    fewer the steps, so the bases vanish in the limit.
    """
    seconds_per_request = (
        step.per_prefill_token_s * mean_prefill_tokens
        + step.per_sequence_s * mean_output_tokens
        + step.per_kv_token_s * mean_kv_token_steps
    )
    return 1.0 / seconds_per_request if seconds_per_request > 0.0 else inf


def time_per_output_token_s(base_s: float, traffic_intensity: float) -> float:
    r"""Time between two tokens of an answer on a replica in balance, :math:`A / (1 - \rho)`, s.

    Parameters
    ----------
    base_s : float, s
        What a step lasts whatever the batch, A.
    traffic_intensity : float
        Arrival rate over `largest_rate_per_s`.

    Raises
    ------
    UnstableQueueError
        If the rate reaches the largest.
    """
    return base_s / (1.0 - _stable(traffic_intensity))


def replicas_needed(
    arrival_rate_per_s: float, largest_rate_per_s: float, base_s: float, target_time_per_output_token_s: float
) -> int:
    r"""Replicas that keep the time per output token at its target.

    .. math:: \left\lceil \frac{\lambda}{\lambda_{max} (1 - A / \mathrm{TPOT})} \right\rceil

    Parameters
    ----------
    arrival_rate_per_s, largest_rate_per_s : float, 1/s
        Requests that arrive in all, and those one replica could serve at most.
    base_s, target_time_per_output_token_s : float, s
        Base of the step, and the target above it.

    Raises
    ------
    ValueError
        If the target is not above the base: no number of replicas reaches it.
    """
    if not target_time_per_output_token_s > base_s:
        raise ValueError(
            f"target_time_per_output_token_s must be above base_s ({base_s!r}), not {target_time_per_output_token_s!r}"
        )
    return ceil(arrival_rate_per_s / (largest_rate_per_s * (1.0 - base_s / target_time_per_output_token_s)))


def _stable(traffic_intensity: float) -> float:
    if not traffic_intensity < 1.0:
        raise UnstableQueueError(traffic_intensity)
    return traffic_intensity
