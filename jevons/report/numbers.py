"""Numbers as a reader sees them: three digits, thousands apart, signs where they matter; never not-a-number."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, log10

from jevons.results import Estimate

#: Stands where there is no number.
NO_NUMBER = "-"

Prefixes = Sequence[tuple[str, float]]
SI: Prefixes = (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3))
#: Without the prefix G, which nobody sets before dollars, GPUs or hours.
COUNTS: Prefixes = (("bn ", 1e9), ("M ", 1e6), ("k ", 1e3), ("", 1.0))
PLAIN: Prefixes = (("", 1.0),)

#: Changes from this factor on are told as one.
TOLD_AS_FACTOR = 2.0


def number(value: float | None) -> str:
    """A number to three digits.

    Examples
    --------
    >>> [number(value) for value in (1234.5, 12.345, 0.012345, 0.0, 3.0)]
    ['1,230', '12.3', '0.0123', '0', '3.00']
    """
    if value is None or not isfinite(value):
        return NO_NUMBER
    rounded = float(f"{value:.3g}")
    if rounded == 0.0:
        return "0"
    magnitude = floor(log10(abs(rounded)))
    return f"{rounded:,.{max(0, 2 - magnitude)}f}" if -4 <= magnitude < 12 else f"{rounded:.2e}"


def scale_of(values: Sequence[float | None], prefixes: Prefixes) -> tuple[str, float]:
    """Prefix and factor of the largest unit that the largest of some values reaches."""
    largest = max((abs(value) for value in values if value is not None and isfinite(value)), default=0.0)
    fitting = [(prefix, factor) for prefix, factor in prefixes if largest >= factor]
    return fitting[0] if fitting else ("", 1.0)


def change(estimate: Estimate) -> str:
    """A relative change with its interval: in percent, or as a factor from a doubling on.

    Examples
    --------
    >>> change(Estimate(mean=-0.04, low=-0.09, high=0.02, confidence=0.9, samples=9, kind="draws"))
    '-4.0 % [-9.0, +2.0]'
    >>> change(Estimate(mean=1.9, low=0.5, high=3.0, confidence=0.9, samples=9, kind="draws"))
    'x2.90 [1.50, 4.00]'
    """
    ends = [] if estimate.low is None or estimate.high is None else [estimate.low, estimate.high]
    return _change(estimate.mean, ends)


def change_of_means(value: float) -> str:
    """A relative change whose width is not known."""
    return _change(value, [])


def _change(mean: float, ends: Sequence[float]) -> str:
    if 1.0 + mean >= TOLD_AS_FACTOR:
        point, *interval = (number(1.0 + value) for value in (mean, *ends))
        return f"x{point}" + _interval(interval)
    point, *interval = percents([mean, *ends], signed=True)
    return f"{point} %" + _interval(interval)


def percents(values: Sequence[float], *, signed: bool = False) -> list[str]:
    """Shares in percent, all with as many decimals as the largest needs to show two digits.

    Examples
    --------
    >>> percents([0.613, 0.224, 1.04]), percents([0.0041], signed=True)
    (['61', '22', '104'], ['+0.41'])
    """
    hundredfold = [100.0 * value for value in values]
    largest = max(map(abs, hundredfold))
    decimals = min(3, max(0, 1 - floor(log10(largest)))) if largest > 0 else 0
    # Adding zero turns the -0.0 of a rounded small number into 0.0.
    rounded = [round(value, decimals) + 0.0 for value in hundredfold]
    return [f"{value:{'+' if signed and value else ''},.{decimals}f}" for value in rounded]


def percent(estimate: Estimate) -> str:
    """A share with its interval: `61 % [22, 104]`."""
    ends = [] if estimate.low is None or estimate.high is None else [estimate.low, estimate.high]
    point, *interval = percents([estimate.mean, *ends])
    return f"{point} %" + _interval(interval)


def estimate(figure: Estimate) -> str:
    """A figure with its interval: `0.594 [0.593, 0.595]`."""
    ends = [] if figure.low is None or figure.high is None else [figure.low, figure.high]
    return number(figure.mean) + _interval([number(end) for end in ends])


def _interval(ends: Sequence[str]) -> str:
    return f" [{ends[0]}, {ends[1]}]" if ends else ""
