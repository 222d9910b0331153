"""Tables on providers that compete for a segment: who they are, what they offer, how users choose."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field

from jevons.scenario.fields import FACTOR, SHARE, Range, Table, Uncertain, quantity, text

OfferPricing = Literal["cost", "bertrand", "war", "limit"]


class Provider(Table):
    """A provider of AI services, in whatever segments it has an offer."""

    title: str = text("Name shown to readers.", "")
    nest: str = text('Whom it is alike in the eyes of users, in free text such as "closed" or "open weights".', "all")
    home: str | None = text("Region in which it is at home.", None)
    open_weights: bool = text("Whether others can run its models: the fringe that limit prices look at.", False)
    capability: Uncertain = quantity(
        "1", "Capability at the start of the run, over a unit common to all providers.", FACTOR, 1.0
    )
    capability_gain_per_year: Uncertain = quantity(
        "1/year", "Factor by which its own research raises its capability each year, beyond [trend].", FACTOR, 1.0
    )
    distils_from: str | None = text(
        'Provider from whom it learns, or "leader" for the best of those that distil from nobody.', None
    )
    distillation_per_month: Uncertain = quantity(
        "1/month",
        "Share of the gap in capability, in logs, that distillation closes each month (kd).",
        Range(at_least=0, at_most=10),
        0.0,
    )
    countermeasure_date: dt.date | None = Field(
        default=None,
        description="Day from which distillation is hindered.",
        ge=dt.date(1800, 1, 1),
        le=dt.date(2200, 1, 1),
    )
    countermeasure_factor: Uncertain = quantity("1", "What the countermeasure leaves of kd.", SHARE, 0.0)
    research_response: Uncertain = quantity(
        "1",
        "Factor on its capability growth, in logs, after the shock and only with it: rivals raise their research.",
        Range(at_least=0, at_most=20),
        1.0,
    )
    trust: dict[str, Uncertain] = quantity(
        "1",
        "Utility, in logs, that a region adds to its offers: negative is a discount for censorship or distrust.",
        Range(at_least=-20, at_most=20),
        {},
    )
    banned_in: dict[str, dt.date] = text("Regions that ban it, each with the day from which on.", {})
    since: dt.date | None = Field(
        default=None,
        description="First day of its offers; from the start if not given.",
        ge=dt.date(1800, 1, 1),
        le=dt.date(2200, 1, 1),
    )
    enters_with_shock: bool = text(
        "Whether it enters when the shock strikes an arm, so never (level) or later (pull-forward) in the baseline.",
        False,
    )
    serves_from: str | None = text("Region whose fleet serves its users; each its own if not given.", None)


class Offer(Table):
    """What a provider offers in a segment."""

    share: Uncertain = quantity(
        "1",
        "Share of the segment's usage at the start; of an entrant, the share it would settle at on entry.",
        SHARE,
        0.0,
    )
    share_by_region: dict[str, Uncertain] = quantity("1", "The share in some regions, where it differs.", SHARE, {})
    price_usd_per_mtok: Uncertain | None = quantity(
        "USD/Mtok",
        "List price at the start (or on entry); that of the segment if not given.",
        Range(above=0, at_most=1e9),
        None,
    )
    compute_factor: Uncertain = quantity(
        "1", "Compute for each of its tokens over the segment's gpu_seconds_per_mtok.", Range(above=0, at_most=1e4), 1.0
    )
    pricing: OfferPricing = text(
        "How its price answers: by cost; with Lerner's mark-up on it; so until a price war; "
        "by cost, but near the open weights' price.",
        "cost",
    )
    conduct: Uncertain = quantity(
        "1", "Pricing bertrand and war: conduct theta, 1 is Bertrand-Nash.", Range(at_least=0, at_most=2), 1.0
    )
    war_date: dt.date | None = Field(
        default=None,
        description="Pricing war: day on which it breaks out; with the shock if not given.",
        ge=dt.date(1800, 1, 1),
        le=dt.date(2200, 1, 1),
    )
    war_conduct: Uncertain = quantity("1", "Pricing war: conduct from then on.", Range(at_least=0, at_most=2), 0.0)
    limit_premium: Uncertain = quantity(
        "1",
        "Pricing limit: the cheapest open-weights price is exceeded by at most this share.",
        Range(at_least=0, at_most=1000),
        0.0,
    )
    free_share: float = quantity(
        "1",
        "Share of its usage that is free and rationed: it follows cost through quota_pass_through, not price.",
        Range(at_least=0, below=1),
        0.0,
    )


class Choice(Table):
    """How users choose between the providers of a segment."""

    nest_similarity: Uncertain = quantity(
        "1",
        "Nest parameter nu: 0 makes all providers equally close rivals, near 1 those of a nest are the same.",
        Range(at_least=0, at_most=0.98),
        0.0,
    )
    nests_by: Literal["nest", "origin"] = text(
        "What makes a nest: the providers' nest, or whether they are at home in the users' region.", "nest"
    )
    switching_months: Uncertain = quantity(
        "month", "Time constant with which shares adjust; 0 is at once.", Range(at_least=0, at_most=240), 0.0
    )
