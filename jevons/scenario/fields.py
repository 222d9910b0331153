"""The kinds of value a scenario holds: a quantity with its unit and range, or a distribution of it.

A field is declared once, with unit, meaning and range; the check, the messages, the JSON Schema and
the manual's table of fields are all made from that declaration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, WrapValidator, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, PydanticUndefined

#: No quantity of this field is larger; what is, would overflow somewhere inside.
LARGEST = 1e18
#: Share of the draws at each end that the range check of a distribution leaves out.
TAIL = 1e-6

STANDARD_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers a field may hold."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = LARGEST

    @property
    def text(self) -> str:
        """The rule in words, for a message: `above 0 and at most 1`."""
        parts = [
            f"{word} {bound:g}"
            for word, bound in (
                ("above", self.above),
                ("at least", self.at_least),
                ("below", self.below),
                ("at most", self.at_most),
            )
            if bound is not None
        ]
        return " and ".join(parts)

    def holds(self, value: float) -> bool:
        """Whether a number keeps the rule."""
        return (
            math.isfinite(value)
            and (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )

    @property
    def json_schema(self) -> dict[str, float]:
        """The rule in the words of JSON Schema."""
        words = {
            "exclusiveMinimum": self.above,
            "minimum": self.at_least,
            "exclusiveMaximum": self.below,
            "maximum": self.at_most,
        }
        return {word: bound for word, bound in words.items() if bound is not None}


POSITIVE = Range(above=0)
NOT_NEGATIVE = Range(at_least=0)
NEGATIVE = Range(below=0, at_least=-20)
SHARE = Range(at_least=0, at_most=1)
PROPER_SHARE = Range(above=0, below=1)
FACTOR = Range(at_least=1e-6, at_most=1e6)


def quantity(unit: str, meaning: str, allowed: Range = POSITIVE, default: Any = PydanticUndefined) -> Any:
    """A numeric field: its unit, what it means, which numbers it may hold and its default."""
    return Field(
        default=default,
        description=meaning,
        json_schema_extra={"unit": unit, "rule": allowed.text, **allowed.json_schema},
    )


def text(meaning: str, default: Any = PydanticUndefined) -> Any:
    """A field that is not a quantity."""
    return Field(default=default, description=meaning)


def unit_of(field: FieldInfo) -> str | None:
    """Unit of a field, None for one that is not a quantity."""
    extra = field.json_schema_extra
    return str(extra["unit"]) if isinstance(extra, dict) and "unit" in extra else None


def range_of(field: FieldInfo) -> Range | None:
    """Range of a field, None for one that is not a quantity."""
    extra = field.json_schema_extra
    if not isinstance(extra, dict) or "unit" not in extra:
        return None
    bounds: dict[str, Any] = dict(extra)
    return Range(
        above=bounds.get("exclusiveMinimum"),
        at_least=bounds.get("minimum"),
        below=bounds.get("exclusiveMaximum"),
        at_most=bounds.get("maximum"),
    )


class Table(BaseModel):
    """A table of a scenario: frozen, closed to unknown keys, every number held to its field's range."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _in_range(cls, value: Any, info: Any) -> Any:
        allowed = range_of(cls.model_fields[info.field_name])
        if allowed is not None:
            for number in numbers_of(value):
                check_range(number, allowed)
        return value


def numbers_of(value: Any) -> list[Any]:
    """The numbers (or distributions) a quantity is made of: itself, or the items of a list or table."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return list(value)
    return [] if value is None else [value]


def check_range(number: Any, allowed: Range) -> None:
    """Raise unless a number, or every draw of a distribution, is in the range."""
    if isinstance(number, Distribution):
        for end in (number.quantile(TAIL), number.quantile(1 - TAIL)):
            if not allowed.holds(end):
                raise PydanticCustomError(
                    "range",
                    "its draws must be {rule}, but reach {value}; cut them off with min or max",
                    {"rule": allowed.text, "value": f"{end:.4g}"},
                )
    elif isinstance(number, (int, float)) and not isinstance(number, bool) and not allowed.holds(number):
        raise PydanticCustomError("range", "must be {rule}", {"rule": allowed.text})


PARAMETERS = {
    "normal": ("mean", "sd"),
    "lognormal": ("median", "sigma"),
    "uniform": ("low", "high"),
    "triangular": ("low", "mode", "high"),
}


class Distribution(BaseModel):
    """What is believed about an uncertain input; `min` and `max` cut the draws off."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    dist: Literal["normal", "lognormal", "uniform", "triangular"] = text("Family of the distribution.")
    mean: float | None = text("Mean of a normal.", None)
    sd: float | None = Field(default=None, gt=0, description="Standard deviation of a normal.")
    median: float | None = Field(default=None, gt=0, description="Median of a lognormal.")
    sigma: float | None = Field(default=None, gt=0, le=5, description="Standard deviation of the logarithm.")
    low: float | None = text("Lower end of a uniform or triangular.", None)
    mode: float | None = text("Peak of a triangular.", None)
    high: float | None = text("Upper end of a uniform or triangular.", None)
    min: float | None = text("No draw is lower.", None)
    max: float | None = text("No draw is higher.", None)

    @model_validator(mode="after")
    def _complete(self) -> Distribution:
        wanted = PARAMETERS[self.dist]
        given = tuple(name for names in PARAMETERS.values() for name in names if getattr(self, name) is not None)
        if set(given) != set(wanted):
            raise PydanticCustomError("parameters", "a {dist} needs exactly {names}", {"dist": self.dist, "names": ", ".join(wanted)})
        ends = [end for end in (self.low, self.mode, self.high) if end is not None]
        if ends != sorted(ends) or (ends and ends[0] == ends[-1]):
            raise PydanticCustomError("order", "low, mode and high must rise", {})
        if self.min is not None and self.max is not None and not self.min < self.max:
            raise PydanticCustomError("order", "min must be below max", {})
        lower, upper = self._cut
        if not lower < upper:
            raise PydanticCustomError("empty", "min and max leave nothing of it", {})
        return self

    @property
    def central(self) -> float:
        """Median of the draws."""
        return self.quantile(0.5)

    def quantile(self, p: float) -> float:
        """Value below which a share `p` of the draws lies, 0 < p < 1."""
        lower, upper = self._cut
        value = self._uncut_quantile(lower + p * (upper - lower))
        value = value if self.min is None else max(value, self.min)
        return value if self.max is None else min(value, self.max)

    @property
    def _cut(self) -> tuple[float, float]:
        lower = 0.0 if self.min is None else self._uncut_probability(self.min)
        upper = 1.0 if self.max is None else self._uncut_probability(self.max)
        return lower, upper

    def _uncut_quantile(self, p: float) -> float:
        p = min(max(p, 1e-15), 1 - 1e-15)
        match self.dist, self.mean, self.sd, self.median, self.sigma, self.low, self.mode, self.high:
            case "normal", float(mean), float(sd), *_:
                return NormalDist(mean, sd).inv_cdf(p)
            case "lognormal", _, _, float(median), float(sigma), *_:
                return median * math.exp(sigma * STANDARD_NORMAL.inv_cdf(p))
            case "uniform", _, _, _, _, float(low), _, float(high):
                return low + p * (high - low)
            case "triangular", _, _, _, _, float(low), float(mode), float(high):
                knee = (mode - low) / (high - low)
                if p < knee:
                    return low + math.sqrt(p * (high - low) * (mode - low))
                return high - math.sqrt((1 - p) * (high - low) * (high - mode))
        raise AssertionError(self)

    def _uncut_probability(self, value: float) -> float:
        match self.dist, self.mean, self.sd, self.median, self.sigma, self.low, self.mode, self.high:
            case "normal", float(mean), float(sd), *_:
                return NormalDist(mean, sd).cdf(value)
            case "lognormal", _, _, float(median), float(sigma), *_:
                return 0.0 if value <= 0 else STANDARD_NORMAL.cdf(math.log(value / median) / sigma)
            case "uniform", _, _, _, _, float(low), _, float(high):
                return min(max((value - low) / (high - low), 0.0), 1.0)
            case "triangular", _, _, _, _, float(low), float(mode), float(high):
                if value <= low or value >= high:
                    return 0.0 if value <= low else 1.0
                if value < mode:
                    return (value - low) ** 2 / ((high - low) * (mode - low))
                return 1 - (high - value) ** 2 / ((high - low) * (high - mode))
        raise AssertionError(self)


def _number_or_distribution(value: Any, handler: Any) -> Any:
    if isinstance(value, Distribution):
        return value
    if isinstance(value, dict):
        return Distribution.model_validate(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PydanticCustomError(
            "number", 'must be a number or a distribution such as {{ dist = "normal", mean = 1.0, sd = 0.2 }}', {}
        )
    if not math.isfinite(value):
        raise PydanticCustomError("finite", "must be a finite number", {})
    return float(value)


_DISTRIBUTION_SCHEMA = {
    "anyOf": [{"type": "number"}, {"$ref": "#/$defs/Distribution"}],
}

#: A number that the scenario may give as a distribution.  `Scenario.at` puts a number in its place
#: before anything is computed, which is why it counts as a float everywhere else.
Uncertain = Annotated[float, WrapValidator(_number_or_distribution), WithJsonSchema(_DISTRIBUTION_SCHEMA)]
