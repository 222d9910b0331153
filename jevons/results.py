"""What comes out of a run: figures with their width, and the tidy series they are taken from."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

import numpy as np
import numpy.typing as npt

from jevons.randomness import Draws, Floats

if TYPE_CHECKING:
    import pandas as pd

#: Where a width comes from: the noise of the simulation, or what is not known of the inputs.
Kind: TypeAlias = Literal["replications", "draws"]

ONE_SAMPLE = "one sample has no spread"
UNCLEAR_DENOMINATOR = "the denominator is not clearly different from zero"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its interval.

    Replications repeat the same world, and the interval says how well their mean is known; draws are
    different worlds, and the interval says how far they lie apart.  More samples narrow the first only.
    """

    #: Mean of the replications; of draws the median, since draws of a ratio may have no mean.
    mean: float
    #: Ends of the interval, both None when its width is unknown.
    low: float | None = None
    high: float | None = None
    #: Share of such intervals that hold the truth (replications), or of the draws that it holds.
    confidence: float
    #: Number of replications or draws behind it.
    samples: int
    kind: Kind
    #: Why the width is unknown, empty when it is known.
    reason: str = ""

    @classmethod
    def from_replications(cls, values: npt.ArrayLike, confidence: float) -> Estimate:
        r"""Mean of independent replications with Student's interval.

        .. math:: \bar x \pm t_{n-1} \sqrt{\frac{\sum_j (x_j - \bar x)^2}{n (n - 1)}}

        Parameters
        ----------
        values : array_like, shape (n,), any unit
            One value from each replication, all finite.
        confidence : float
            Share of such intervals that hold the expectation, between 0 and 1.

        Returns
        -------
        Estimate
            Without ends when n is 1.

        Raises
        ------
        ValueError
            If a value is not finite, there is none, or `confidence` is not between 0 and 1.

        Examples
        --------
        >>> print(Estimate.from_replications([1.0, 1.3, 1.6, 1.1], confidence=0.9))
        1.25 [0.94, 1.56]
        """
        _check_confidence(confidence)
        sample = _sample(values, "values")
        mean = float(sample.mean())
        if len(sample) == 1:
            return Estimate(mean=mean, confidence=confidence, samples=1, kind="replications", reason=ONE_SAMPLE)
        half = student_t(confidence, len(sample) - 1) * math.sqrt(_covariance_of_means(sample, sample))
        return cls(
            mean=mean, low=mean - half, high=mean + half,
            confidence=confidence, samples=len(sample), kind="replications",
        )  # fmt: skip

    @classmethod
    def from_draws(cls, values: npt.ArrayLike, confidence: float) -> Estimate:
        """Median of draws of the uncertain inputs, with the interval that holds their middle.

        Parameters
        ----------
        values : array_like, shape (n,), any unit
            One value from each draw, all finite.
        confidence : float
            Share of the draws inside, between 0 and 1; the others lie half below and half above.

        Returns
        -------
        Estimate
            Without ends when n is 1.  Quantiles are interpolated between order statistics.

        Raises
        ------
        ValueError
            If a value is not finite, there is none, or `confidence` is not between 0 and 1.

        Examples
        --------
        >>> print(Estimate.from_draws([4.0, 0.0, 1.0, 3.0, 2.0], confidence=0.5))
        2.00 [1.00, 3.00]
        """
        _check_confidence(confidence)
        sample = _sample(values, "values")
        low, median, high = map(float, np.quantile(sample, [(1 - confidence) / 2, 0.5, (1 + confidence) / 2]))
        if len(sample) == 1:
            return Estimate(mean=median, confidence=confidence, samples=1, kind="draws", reason=ONE_SAMPLE)
        return cls(mean=median, low=low, high=high, confidence=confidence, samples=len(sample), kind="draws")

    @property
    def half_width(self) -> float | None:
        """Half the distance between the ends, unit of the figure; None when it is unknown."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def covers(self, value: float) -> bool:
        """Whether the interval leaves a value possible; one of unknown width rules nothing out."""
        return self.low is None or self.high is None or self.low <= value <= self.high

    def mapped(self, monotone: Callable[[float], float]) -> Estimate:
        """The same estimate of a monotone function of the figure."""
        if self.low is None or self.high is None:
            return replace(self, mean=monotone(self.mean))
        low, high = sorted((monotone(self.low), monotone(self.high)))
        return replace(self, mean=monotone(self.mean), low=low, high=high)

    def without_width(self, reason: str) -> Estimate:
        """The same figure, its ends withdrawn for a reason."""
        return replace(self, low=None, high=None, reason=reason)

    @property
    def as_percent(self) -> str:
        """The figure and its ends in whole percent: `118 % [91, 153]`."""
        mean = f"{_fixed(100 * self.mean, 0)} %"
        if self.low is None or self.high is None:
            return f"{mean}, width unknown"
        return f"{mean} [{_fixed(100 * self.low, 0)}, {_fixed(100 * self.high, 0)}]"

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{_three_digits(self.mean, self.mean)}, width unknown"
        largest = max(abs(self.mean), abs(self.low), abs(self.high))
        mean, low, high = (_three_digits(number, largest) for number in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"


def _three_digits(number: float, largest: float) -> str:
    """A number with as many decimals as show three digits of the largest beside it."""
    magnitude = math.floor(math.log10(abs(largest))) if largest else 0
    if not -4 <= magnitude < 7:
        return f"{number:.2e}"
    return _fixed(number, max(0, 2 - magnitude))


def _fixed(number: float, decimals: int) -> str:
    # Adding zero turns the -0.0 of a rounded small negative number into 0.0.
    return f"{round(number, decimals) + 0.0:.{decimals}f}"


def ratio_of_means(numerators: npt.ArrayLike, denominators: npt.ArrayLike, confidence: float) -> Estimate:
    r"""Ratio of the means of paired replications, with Fieller's interval.

    The interval is the set of ratios :math:`\theta` that a test of
    :math:`E[x] - \theta E[y] = 0` does not reject,

    .. math:: (\bar x - \theta \bar y)^2 \le t_{n-1}^2 (s_{xx} - 2 \theta s_{xy} + \theta^2 s_{yy})

    with the variances and the covariance of the means in :math:`s`.

    Parameters
    ----------
    numerators, denominators : array_like, shape (n,), any units
        :math:`x_j` and :math:`y_j`, from the same replication at the same place; all finite.
    confidence : float
        Share of such intervals that hold the ratio of the expectations, between 0 and 1.

    Returns
    -------
    Estimate
        Without ends when n is 1, or when the mean denominator is not clearly different from zero:
        no bounded interval is then right as often as it says.

    Raises
    ------
    ValueError
        If the mean denominator is 0, the lengths differ, a value is not finite or there is none, or
        `confidence` is not between 0 and 1.

    Notes
    -----
    The ratio of the means, not the mean of the ratios, which is biased and whose variance is not finite
    when single denominators come near zero.

    References
    ----------
    .. [1] E. C. Fieller, "Some problems in interval estimation", Journal of the Royal Statistical
       Society B 16 (1954), 175-185.

    Examples
    --------
    >>> print(ratio_of_means([1.1, 2.3, 3.0], [2.0, 4.0, 6.0], confidence=0.9))
    0.533 [0.472, 0.881]
    """
    _check_confidence(confidence)
    x, y = _pairs(numerators, denominators)
    ratio = _ratio(x, y)
    if len(x) == 1:
        return Estimate(mean=ratio, confidence=confidence, samples=1, kind="replications", reason=ONE_SAMPLE)
    ends = _fieller_ends(x, y, ratio, student_t(confidence, len(x) - 1))
    if ends is None:
        return Estimate(
            mean=ratio, confidence=confidence, samples=len(x), kind="replications", reason=UNCLEAR_DENOMINATOR
        )
    return Estimate(mean=ratio, low=ends[0], high=ends[1], confidence=confidence, samples=len(x), kind="replications")


def _fieller_ends(x: Floats, y: Floats, ratio: float, t: float) -> tuple[float, float] | None:
    # Solved for the distance from the ratio: with residuals of mean 0 no large squares cancel, and the
    # root is that of a sum of squares.
    residuals = x - ratio * y
    curvature = float(y.mean()) ** 2 - t**2 * _covariance_of_means(y, y)
    if curvature <= 0:
        return None
    tilt = t**2 * _covariance_of_means(residuals, y)
    root = math.sqrt(tilt**2 + curvature * t**2 * _covariance_of_means(residuals, residuals))
    return ratio - (tilt + root) / curvature, ratio - (tilt - root) / curvature


def bootstrap_ratio_of_means(
    numerators: npt.ArrayLike,
    denominators: npt.ArrayLike,
    confidence: float,
    *,
    draws: Draws,
    resamples: int = 2000,
) -> Estimate:
    """Ratio of the means of paired replications, with the percentile interval of the bootstrap.

    It assumes no normal means, as Fieller's does, but is too narrow for few replications and cannot
    tell when the denominator may be zero.

    Parameters
    ----------
    numerators, denominators : array_like, shape (n,), any units
        From the same replication at the same place; all finite.
    confidence : float
        Share of the resampled ratios inside the interval, between 0 and 1.
    draws : Draws
        Random numbers that choose the replications of each resample.
    resamples : int
        Number of resamples.

    Returns
    -------
    Estimate
        Without ends when n is 1, or when a resample has a mean denominator of 0.

    Raises
    ------
    ValueError
        As for `ratio_of_means`.

    References
    ----------
    .. [1] B. Efron and R. J. Tibshirani, *An Introduction to the Bootstrap*, Chapman & Hall, 1993, ch. 13.
    """
    _check_confidence(confidence)
    x, y = _pairs(numerators, denominators)
    ratio, n = _ratio(x, y), len(x)
    if n == 1:
        return Estimate(mean=ratio, confidence=confidence, samples=1, kind="replications", reason=ONE_SAMPLE)
    chosen = (n * draws.uniform("bootstrap", n * resamples)).astype(np.intp).reshape(resamples, n)
    sums = y[chosen].sum(axis=1)
    if not sums.all():
        return Estimate(mean=ratio, confidence=confidence, samples=n, kind="replications", reason=UNCLEAR_DENOMINATOR)
    low, high = map(float, np.quantile(x[chosen].sum(axis=1) / sums, [(1 - confidence) / 2, (1 + confidence) / 2]))
    return Estimate(mean=ratio, low=low, high=high, confidence=confidence, samples=n, kind="replications")


def share(hits: int, n: int, confidence: float) -> Estimate:
    r"""Share of draws in which something happens, with Wilson's interval.

    .. math:: \frac{\hat p + z^2/2n \pm z \sqrt{\hat p (1 - \hat p)/n + z^2/4n^2}}{1 + z^2/n}

    Parameters
    ----------
    hits, n : int
        Draws in which it happens, of how many; 0 <= hits <= n and n > 0.
    confidence : float
        Share of such intervals that hold the probability, between 0 and 1.

    Returns
    -------
    Estimate
        Its ends say how well n draws tell the probability; they stay inside [0, 1].

    Raises
    ------
    ValueError
        If `hits` is not between 0 and `n`, `n` is 0 or `confidence` is not between 0 and 1.

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
       of the American Statistical Association 22 (1927), 209-212.

    Examples
    --------
    >>> print(share(79, 100, confidence=0.9))
    0.790 [0.716, 0.849]
    """
    _check_confidence(confidence)
    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"hits must be at least 0 and at most n, and n above 0, not {hits} of {n}")
    p, z = hits / n, NormalDist().inv_cdf((1 + confidence) / 2)
    centre = p + z**2 / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    scale = 1 + z**2 / n
    # Rounding may leave 1e-17 where the ends of 0 and of n hits are exact.
    return Estimate(
        mean=p, low=max(0.0, (centre - half) / scale), high=min(1.0, (centre + half) / scale),
        confidence=confidence, samples=n, kind="draws",
    )  # fmt: skip


@lru_cache(maxsize=256)
def student_t(confidence: float, degrees_of_freedom: int) -> float:
    """Number that Student's t stays within, on both sides of zero, with a given probability.

    Found by bisection in the angle of [1]_; it stands here because importing scipy.special costs more
    time than serving a day.

    Parameters
    ----------
    confidence : float
        Probability that |T| is not larger, between 0 and 1.
    degrees_of_freedom : int
        At least 1.

    Raises
    ------
    ValueError
        If `confidence` is not between 0 and 1 or there is no degree of freedom.

    References
    ----------
    .. [1] M. Abramowitz and I. A. Stegun, *Handbook of Mathematical Functions*, 1964, 26.7.3 and 26.7.4.

    Examples
    --------
    >>> round(student_t(0.95, 10), 3)
    2.228
    """
    _check_confidence(confidence)
    if degrees_of_freedom < 1:
        raise ValueError(f"degrees_of_freedom must be at least 1, not {degrees_of_freedom}")
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _probability_within(middle, degrees_of_freedom) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees_of_freedom) * math.tan(low)


def _probability_within(angle: float, degrees_of_freedom: int) -> float:
    """Probability that |T| is at most sqrt(degrees of freedom) tan(angle)."""
    if degrees_of_freedom == 1:
        return 2 * angle / math.pi
    odd = degrees_of_freedom % 2
    k = np.arange(1.0, degrees_of_freedom // 2)
    terms = np.cumprod((2 * k - 1 + odd) / (2 * k + odd) * math.cos(angle) ** 2)
    total = math.sin(angle) * (1 + float(terms.sum()))
    return 2 / math.pi * (angle + math.cos(angle) * total) if odd else total


def _covariance_of_means(x: Floats, y: Floats) -> float:
    """Estimated covariance of the means of two paired samples."""
    n = len(x)
    return float((x - x.mean()) @ (y - y.mean())) / (n * (n - 1))


def _ratio(x: Floats, y: Floats) -> float:
    total = float(y.sum())
    if total == 0:
        raise ValueError("the mean of denominators must be different from 0, not 0")
    return float(x.sum()) / total


def _pairs(numerators: npt.ArrayLike, denominators: npt.ArrayLike) -> tuple[Floats, Floats]:
    x, y = _sample(numerators, "numerators"), _sample(denominators, "denominators")
    if len(x) != len(y):
        raise ValueError(f"denominators must be as many as numerators, {len(x)}, not {len(y)}")
    return x, y


def _sample(values: npt.ArrayLike, name: str) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size:
        raise ValueError(f"{name} must be a row of at least one number, not of shape {sample.shape}")
    if not np.isfinite(sample).all():
        raise ValueError(f"{name} must be finite, not {sample[~np.isfinite(sample)][0]}")
    return sample


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1, not {confidence}")


#: Columns of a series, in the order of the file.
COLUMNS = ("arm", "replication", "month", "region", "segment", "metric", "value", "unit")

Row: TypeAlias = tuple[str, int, str, str, str, str, float, str]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A column of few different texts: each text once, and for each row its number."""

    texts: tuple[str, ...]
    #: Shape (rows,).
    codes: npt.NDArray[np.intp]

    @classmethod
    def of(cls, column: Iterable[str]) -> Labels:
        """The column, its texts numbered as they first appear."""
        numbers: dict[str, int] = {}
        codes = np.array([numbers.setdefault(text, len(numbers)) for text in column], dtype=np.intp)
        return cls(tuple(numbers), codes)

    def repeated(self, times: int) -> Labels:
        """The column several times over."""
        return Labels(self.texts, np.tile(self.codes, times))

    def holding(self, text: str | int) -> npt.NDArray[np.bool_]:
        """Whether each row holds a text, shape (rows,)."""
        return np.asarray(self.codes == (self.texts.index(text) if text in self.texts else -1))

    def __getitem__(self, rows: npt.NDArray[np.bool_]) -> Labels:
        return Labels(self.texts, self.codes[rows])

    def tolist(self) -> list[str]:
        """The texts row by row."""
        return _picked(self.texts, self.codes)


def csv_lines(names: Sequence[str], columns: Iterable[Sequence[str]]) -> str:
    """The names of some columns, and a line for each of their rows, whose texts are as `csv_texts` gives them."""
    return "\n".join([",".join(names), *map(",".join, zip(*columns, strict=True)), ""])


def csv_texts(column: Labels | npt.NDArray[Any] | Sequence[str | int]) -> list[str]:
    """A column as a file holds it: the shortest digits that give a number back, nothing for NaN, other texts quoted
    where they need it.  Each different value is written out once.
    """
    if isinstance(column, np.ndarray):
        # Told apart by their bits, for 0 and -0 are equal.
        bits, places = np.unique(np.ascontiguousarray(column).view(np.int64), return_inverse=True)
        return _picked([repr(value) if value == value else "" for value in bits.view(column.dtype).tolist()], places)
    labels = column if isinstance(column, Labels) else Labels.of(map(str, column))
    return _picked([_csv_field(text) for text in labels.texts], labels.codes)


def _picked(texts: Sequence[str], places: npt.NDArray[np.intp]) -> list[str]:
    picked: list[str] = np.array(texts, dtype=object)[places].tolist()
    return picked


def _csv_field(text: str) -> str:
    stream = io.StringIO()
    # A field that is empty and alone would be quoted: another one stands after it.
    csv.writer(stream, lineterminator="\n").writerow((text, ""))
    return stream.getvalue().removesuffix(",\n")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """Monthly figures of a run, one a row; every column has shape (rows,).

    Region and segment are empty where a figure is not of one.
    """

    arm: Labels
    #: Number of the replication, or of the draw.
    replication: npt.NDArray[np.intp]
    #: First day of the month, ISO 8601.
    month: Labels
    region: Labels
    segment: Labels
    metric: Labels
    value: Floats
    unit: Labels

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Series:
        """The series of some rows, in their order."""
        arm, replication, month, region, segment, metric, value, unit = zip(*rows, strict=True) if rows else [()] * 8
        return cls(
            arm=Labels.of(arm),
            replication=np.array(replication, dtype=np.intp),
            month=Labels.of(month),
            region=Labels.of(region),
            segment=Labels.of(segment),
            metric=Labels.of(metric),
            value=np.array(value, dtype=np.float64),
            unit=Labels.of(unit),
        )

    @classmethod
    def of_replications(cls, labels: Sequence[tuple[str, str, str, str, str, str]], values: Floats) -> Series:
        """The same rows for each replication.

        Parameters
        ----------
        labels : sequence of tuple, shape (rows,)
            Arm, month, region, segment, metric and unit of each row.
        values : ndarray, shape (replications, rows)
        """
        count, rows = values.shape
        arm, month, region, segment, metric, unit = (
            Labels.of(column).repeated(count) for column in zip(*labels, strict=True)
        )
        return cls(
            arm=arm,
            replication=np.repeat(np.arange(count), rows),
            month=month,
            region=region,
            segment=segment,
            metric=metric,
            value=values.ravel(),
            unit=unit,
        )

    def __len__(self) -> int:
        return len(self.value)

    def select(self, **wanted: str | int) -> Series:
        """The rows whose columns hold what is wanted, in their order; none, if there are none.

        Parameters
        ----------
        **wanted : str or int
            What a column must hold, by its name: ``select(arm="shock", metric="price")``.

        Raises
        ------
        ValueError
            If there is no such column.
        """
        chosen = np.ones(len(self), dtype=np.bool_)
        for column, content in wanted.items():
            if column not in COLUMNS:
                raise ValueError(f"column must be one of {', '.join(COLUMNS)}, not {column!r}")
            held = getattr(self, column)
            chosen &= held.holding(content) if isinstance(held, Labels) else held == content
        return Series(**{column: getattr(self, column)[chosen] for column in COLUMNS})

    def rows(self) -> Iterator[Row]:
        """The rows as tuples, in the order of `COLUMNS`."""
        return zip(*(getattr(self, column).tolist() for column in COLUMNS), strict=True)

    def to_csv(self, stream: TextIO) -> None:
        """Write a line for each row: the shortest digits that give the number back, nothing for NaN."""
        stream.write(csv_lines(COLUMNS, [csv_texts(getattr(self, name)) for name in COLUMNS]))

    def to_pandas(self) -> pd.DataFrame:
        """The series as a data frame, months as dates."""
        import pandas as pd

        frame = pd.DataFrame({column: getattr(self, column).tolist() for column in COLUMNS})
        return frame.assign(month=pd.to_datetime(frame["month"]))
