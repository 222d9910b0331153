"""Tables of public policy: export controls, caps, energy and carbon prices, subsidies, innovation under scarcity."""

from __future__ import annotations

import datetime as dt
from typing import Literal, TypeAlias

from pydantic import Field

from jevons.scenario.fields import EARLIEST, LATEST, SHARE, Range, Table, Uncertain, quantity, text

PolicyKind: TypeAlias = Literal["export_control", "cap", "energy_price", "carbon_tax", "subsidy", "directed_innovation"]


class Policy(Table):
    """One instrument, from a day on; which of the fields it needs and may have depends on its kind."""

    kind: PolicyKind = text("What it does.")
    title: str = text("Name shown to readers.", "")
    region: str | None = text(
        "Region that it binds; all if not given. Kinds export_control, cap and directed_innovation need one.", None
    )
    since: dt.date | None = Field(
        default=None, description="First day it holds; from the start if not given.", ge=EARLIEST, le=LATEST
    )
    until: dt.date | None = Field(
        default=None, description="Day it is lifted; never if not given.", ge=EARLIEST, le=LATEST
    )

    type: str | None = text("Export control: type in [gpus] that the region may no longer order.", None)
    announced: dt.date | None = Field(
        default=None,
        description="Export control: day from which buyers expect it; not before it holds if not given.",
        ge=EARLIEST,
        le=LATEST,
    )
    stockpile_months: Uncertain = quantity(
        "month",
        "Export control: months by which buyers look further ahead from the announcement on, and order now what they "
        "would have ordered then.",
        Range(at_least=0, at_most=120),
        0.0,
    )
    stockpile_allocation_factor: Uncertain = quantity(
        "1",
        "Export control: what the vendor allocates over the usual meanwhile, serving first who can soon no longer buy.",
        Range(at_least=0, at_most=100),
        1.0,
    )
    licensed_share: Uncertain = quantity(
        "1", "Export control: share of the orders of the type that is licensed.", SHARE, 0.0
    )
    leakage: Uncertain = quantity(
        "1", "Export control: share of the orders refused a licence that arrives all the same.", SHARE, 0.0
    )
    leakage_price_factor: Uncertain = quantity(
        "1", "Export control: price of what leaks over the list price.", Range(at_least=1, at_most=100), 1.0
    )
    substitute: str | None = text("Export control: type in [gpus] that is offered instead; nothing if not given.", None)
    substitute_share: Uncertain = quantity(
        "1",
        "Export control: performance ordered of the substitute for each H100-equivalent that does not come.",
        Range(at_least=0, at_most=10),
        1.0,
    )
    grace: bool = text("Export control: whether what was ordered before it still arrives.", True)

    fleet_h100e: Uncertain | None = quantity(
        "H100e", "Cap: most GPUs that the region may run on the first day.", Range(at_least=0), None
    )
    fleet_growth_per_year: Uncertain = quantity(
        "1/year", "Cap: factor by which it grows each year.", Range(at_least=1e-3, at_most=1e3), 1.0
    )

    usd_per_mwh: Uncertain | None = quantity(
        "USD/MWh",
        "Energy price: change of the price of electricity; what it was is contained in the rental price.",
        Range(at_least=-1e4, at_most=1e5),
        None,
    )
    usd_per_tonne: Uncertain | None = quantity(
        "USD/t", "Carbon tax: tax on a tonne of CO2.", Range(at_least=0, at_most=1e5), None
    )
    tonnes_per_mwh: Uncertain | None = quantity(
        "t/MWh", "Carbon tax: CO2 of a megawatt-hour.", Range(at_least=0, at_most=10), None
    )

    share: Uncertain | None = quantity(
        "1", "Subsidy: share that the public purse pays.", Range(at_least=0, below=1), None
    )
    of: Literal["price", "rental"] = text(
        "Subsidy: what is paid a share of: the price of tokens, or the rental price of compute.", "price"
    )
    segment: str | None = text("Subsidy: segment that gets it; all if not given.", None)

    omega: Uncertain | None = quantity(
        "1",
        "Directed innovation: rise of efficiency, in logs, for each log of the scarcity of compute.",
        Range(at_least=0, at_most=10),
        None,
    )
    adjustment_months: Uncertain = quantity(
        "month",
        "Directed innovation: time constant with which efficiency answers scarcity; 0 is at once.",
        Range(at_least=0, at_most=600),
        12.0,
    )
