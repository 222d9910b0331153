"""Does an efficiency shock raise or lower the use of GPUs?  A simulator of compute demand.

Names are imported where they are first used: ``import jevons`` itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jevons.answer import Result
    from jevons.attribution import Waterfall, waterfall
    from jevons.comparison import Comparison, compare
    from jevons.day import DayResult, simulate_day
    from jevons.ensemble import simulate
    from jevons.errors import JevonsError, ScenarioError, UsageError
    from jevons.market_implied import Implied, implied
    from jevons.results import Estimate
    from jevons.scenario import Scenario, check, load, loads

    __version__: str

__all__ = [
    "Comparison",
    "DayResult",
    "Estimate",
    "Implied",
    "JevonsError",
    "Result",
    "Scenario",
    "ScenarioError",
    "UsageError",
    "Waterfall",
    "__version__",
    "check",
    "compare",
    "implied",
    "load",
    "loads",
    "simulate",
    "simulate_day",
    "waterfall",
]

_HOMES = {
    "Comparison": "comparison",
    "DayResult": "day",
    "Estimate": "results",
    "Implied": "market_implied",
    "JevonsError": "errors",
    "Result": "answer",
    "Scenario": "scenario",
    "ScenarioError": "errors",
    "UsageError": "errors",
    "Waterfall": "attribution",
    "check": "scenario",
    "compare": "comparison",
    "implied": "market_implied",
    "load": "scenario",
    "loads": "scenario",
    "simulate": "ensemble",
    "simulate_day": "day",
    "waterfall": "attribution",
}

#: What makes results, which should then know how to show themselves.
_MAKERS = {"compare", "implied", "simulate", "simulate_day", "waterfall"}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _MAKERS:
        import_module(f"{__name__}.report.showing")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(__name__)
    except PackageNotFoundError:
        # Run from its source tree, without an installation to ask.
        return "0+unknown"
