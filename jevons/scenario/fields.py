"""The kinds of value a scenario holds: a quantity with its unit and range, or a distribution of it.

A field is declared once, with unit, meaning and range; the check, the messages, the JSON Schema and
the manual's table of fields are all made from that declaration.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    GetPydanticSchema,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, PydanticUndefined, core_schema

#: No date of a scenario is earlier, or later.
EARLIEST = dt.date(1800, 1, 1)
LATEST = dt.date(2200, 1, 1)
#: No quantity of this field is larger; what is, would overflow somewhere inside.
LARGEST = 1e18
#: No whole number, seeds included, is larger.
LARGEST_INTEGER = 2**63 - 1
#: Share of the draws at each end that the range check of a distribution leaves out.
TAIL = 1e-6
#: A Pareto of a very small index reaches beyond what a float holds; its draws end here.
LARGEST_EXPONENT = 600.0

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
                ("at most", None if self.at_most == LARGEST else self.at_most),
            )
            if bound is not None
        ]
        return " and ".join(parts)

    def text_for(self, value: float) -> str:
        """The rule that a number breaks, in words: as `text`, or that it is larger than any quantity may be."""
        return f"at most {LARGEST:g}" if value > LARGEST else self.text

    def holds(self, value: float) -> bool:
        """Whether a number keeps the rule; not a number keeps none."""
        return (
            -LARGEST_INTEGER <= value <= LARGEST_INTEGER
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
    def _in_range(cls, value: Any, info: ValidationInfo) -> Any:
        allowed = range_of(cls.model_fields[str(info.field_name)])
        if allowed is not None:
            for item, number in numbers_of(value):
                check_range(number, allowed, item)
        return value


def numbers_of(value: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    """The numbers (or distributions) a quantity is made of, each with its place in a list or table."""
    if isinstance(value, dict):
        return [((key,), number) for key, number in value.items()]
    if isinstance(value, list):
        return [((position,), number) for position, number in enumerate(value)]
    return [] if value is None else [((), value)]


def check_range(number: Any, allowed: Range, item: tuple[str | int, ...] = ()) -> None:
    """Raise unless a number, or every draw of a distribution, is in the range."""
    if isinstance(number, Distribution):
        _check_reach(number, allowed, item)
    elif not allowed.holds(number):
        raise PydanticCustomError("range", "must be {rule}", {"rule": allowed.text_for(number), "item": item})


def _check_reach(distribution: Distribution, allowed: Range, item: tuple[str | int, ...]) -> None:
    for end in (distribution.quantile(TAIL), distribution.quantile(1 - TAIL)):
        if not allowed.holds(end):
            raise PydanticCustomError(
                "reach",
                "its draws must be {rule}, but reach {end}; cut them off with min or max",
                {"rule": allowed.text_for(end), "end": f"{end:.4g}", "item": item},
            )


PARAMETERS = {
    "normal": ("mean", "sd"),
    "lognormal": ("median", "sigma"),
    "uniform": ("low", "high"),
    "triangular": ("low", "mode", "high"),
    "pareto": ("low", "index"),
}


def _parameter(meaning: str, above: float | None = None, at_most: float = LARGEST) -> Any:
    return Field(default=None, gt=above, ge=-LARGEST if above is None else None, le=at_most, description=meaning)


class Distribution(BaseModel):
    """What is believed about an uncertain input; `min` and `max` cut the draws off."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    dist: Literal["normal", "lognormal", "uniform", "triangular", "pareto"] = text("Family of the distribution.")
    mean: float | None = _parameter("Mean of a normal.")
    sd: float | None = _parameter("Standard deviation of a normal.", above=0)
    median: float | None = _parameter("Median of a lognormal.", above=0)
    sigma: float | None = _parameter("Standard deviation of the logarithm of a lognormal.", above=0, at_most=5)
    low: float | None = _parameter("Lower end of a uniform, triangular or Pareto (there above 0).")
    mode: float | None = _parameter("Peak of a triangular.")
    high: float | None = _parameter("Upper end of a uniform or triangular.")
    index: float | None = _parameter("Index of a Pareto's tail: P(X > x) = (low / x)^index.", above=0, at_most=100)
    min: float | None = _parameter("No draw is lower.")
    max: float | None = _parameter("No draw is higher.")
    together: str | None = text("Label shared by inputs that are drawn together: all at the same quantile.", None)

    @model_validator(mode="after")
    def _complete(self) -> Distribution:
        self._check_parameters()
        self._check_order()
        lower, upper = self._cut
        if not lower < upper:
            raise PydanticCustomError("distribution", "min and max must leave some of its draws")
        return self

    def _check_parameters(self) -> None:
        wanted = PARAMETERS[self.dist]
        given = {name for names in PARAMETERS.values() for name in names if getattr(self, name) is not None}
        if given != set(wanted):
            raise PydanticCustomError(
                "distribution",
                "a {dist} needs {wanted} and no other parameter, not {given}",
                {"dist": self.dist, "wanted": ", ".join(wanted), "given": ", ".join(sorted(given)) or "none"},
            )

    def _check_order(self) -> None:
        ends = [end for end in (self.low, self.mode, self.high) if end is not None]
        if self.index is not None:
            if ends[0] <= 0:
                raise PydanticCustomError("distribution", "low of a pareto must be above 0")
            self._check_cut()
            return
        if ends != sorted(ends) or (ends and ends[0] == ends[-1]):
            raise PydanticCustomError("distribution", "{names} must rise", {"names": ", ".join(PARAMETERS[self.dist])})
        self._check_cut()

    def _check_cut(self) -> None:
        if self.min is not None and self.max is not None and not self.min < self.max:
            raise PydanticCustomError("distribution", "min must be below max")

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
        if self.low is not None and self.index is not None:
            return self.low * math.exp(min(-math.log1p(-p) / self.index, LARGEST_EXPONENT))
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
        if self.low is not None and self.index is not None:
            return 0.0 if value <= self.low else -math.expm1(self.index * math.log(self.low / value))
        match self.dist, self.mean, self.sd, self.median, self.sigma, self.low, self.mode, self.high:
            case "normal", float(mean), float(sd), *_:
                return NormalDist(mean, sd).cdf(value)
            case "lognormal", _, _, float(median), float(sigma), *_:
                return 0.0 if value <= 0 else STANDARD_NORMAL.cdf((math.log(value) - math.log(median)) / sigma)
            case "uniform", _, _, _, _, float(low), _, float(high):
                return min(max((value - low) / (high - low), 0.0), 1.0)
            case "triangular", _, _, _, _, float(low), float(mode), float(high):
                if value <= low or value >= high:
                    return 0.0 if value <= low else 1.0
                if value < mode:
                    return (value - low) / (high - low) * ((value - low) / (mode - low))
                return 1 - (high - value) / (high - low) * ((high - value) / (high - mode))
        raise AssertionError(self)


def _number_or_distribution(value: Any, as_distribution: ValidatorFunctionWrapHandler) -> float | Distribution:
    if isinstance(value, (dict, Distribution)):
        return cast(Distribution, as_distribution(value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PydanticCustomError("uncertain_type", "must be a number or a distribution")
    if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise PydanticCustomError("range", "must be {rule}", {"rule": f"between -{LARGEST:g} and {LARGEST:g}"})
    return float(value)


def _uncertain_schema(_: Any, schema_of: GetCoreSchemaHandler) -> core_schema.CoreSchema:
    as_it_is = core_schema.plain_serializer_function_ser_schema(lambda value: value)
    return core_schema.no_info_wrap_validator_function(
        _number_or_distribution, schema_of(Distribution), serialization=as_it_is
    )


def _uncertain_json_schema(schema: core_schema.CoreSchema, json_schema_of: GetJsonSchemaHandler) -> dict[str, Any]:
    return {"anyOf": [{"type": "number"}, json_schema_of(schema)]}


UNCERTAIN = GetPydanticSchema(_uncertain_schema, _uncertain_json_schema)

#: A number that the scenario may give as a distribution.  `Scenario.at` puts a number in its place, or those of a
#: stack of worlds, before anything is computed, which is why it counts as a float everywhere else.
Uncertain = Annotated[float, UNCERTAIN]


def is_uncertain(field: FieldInfo) -> bool:
    """Whether a field may be given as a distribution."""
    kinds = get_args(field.annotation)
    return UNCERTAIN in field.metadata or any(UNCERTAIN in getattr(kind, "__metadata__", ()) for kind in kinds)
