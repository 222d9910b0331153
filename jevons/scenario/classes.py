"""The scenario: what a user writes, as frozen classes that mirror the tables of the TOML file."""

from __future__ import annotations

import datetime as dt
import json
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any, Literal

from pydantic import Field

from jevons.scenario.contents import distributions, numbers, plain
from jevons.scenario.fields import (
    EARLIEST,
    FACTOR,
    LATEST,
    NEGATIVE,
    NOT_NEGATIVE,
    POSITIVE,
    PROPER_SHARE,
    SHARE,
    Distribution,
    Range,
    Table,
    Uncertain,
    quantity,
    text,
)
from jevons.scenario.finance_tables import Investors, Vendor
from jevons.scenario.lesson_tables import Lesson
from jevons.scenario.policy_tables import Policy
from jevons.scenario.provider_tables import Choice, Offer, Provider
from jevons.scenario.training_tables import Jobs, Race

Tariff = Literal["metered", "flat", "free", "budget"]
Form = Literal["isoelastic", "hill", "lognormal", "linear", "exponential", "derived", "budget"]
Resource = Literal["gpu_hours", "energy_mwh", "usd"]
Arm = Literal["baseline", "frozen", "shock"]
ARMS: tuple[Arm, ...] = ("baseline", "frozen", "shock")


class Run(Table):
    """How the scenario is run: period, sample sizes, resolution."""

    start: dt.date = Field(description="First day of the first month.", ge=EARLIEST, le=LATEST)
    months: int = quantity(
        "month", "Months simulated, those before the shock included.", Range(at_least=1, at_most=600), 1
    )
    seed: int = quantity("1", "Seed of all random numbers.", Range(at_least=0, at_most=2**63 - 1), 0)
    replications: int = quantity(
        "1",
        "Independent repetitions with the inputs at their centres; the noise of the simulation.",
        Range(at_least=2, at_most=100_000),
        8,
    )
    draws: int = quantity(
        "1", "Draws of the uncertain inputs; the width of what is not known.", Range(at_least=0, at_most=1_000_000), 200
    )
    resolution: int = quantity(
        "request/day",
        "Requests simulated for each served day of a region; the fleet is thinned alike.",
        Range(at_least=100, at_most=10**10),
        3000,
    )
    sampled_minutes_per_hour: float = quantity(
        "min/h", "Minutes of each hour of a served day that are simulated.", Range(at_least=1, at_most=60), 60.0
    )
    resource: Resource = text("What is consumed: the subject of rebound and verdict.", "gpu_hours")
    confidence: float = quantity(
        "1", "Share of the intervals that should hold the truth.", Range(at_least=0.5, at_most=0.9999), 0.9
    )


class Diffusion(Table):
    """How the shock spreads through a provider's service."""

    form: Literal["immediate", "logistic", "bass"] = text(
        "Shape of the adopted share over time; immediate if there is no such table.", "logistic"
    )
    months_to_half: Uncertain = quantity(
        "month", "Logistic: months from the shock until half of the service has it.", Range(above=0, at_most=240), 6.0
    )
    steepness_per_month: Uncertain = quantity(
        "1/month", "Logistic: growth rate of the odds of having it.", Range(above=0, at_most=20), 0.8
    )
    innovation_per_month: Uncertain = quantity("1/month", "Bass coefficient p.", Range(above=0, at_most=10), 0.05)
    imitation_per_month: Uncertain = quantity("1/month", "Bass coefficient q.", Range(at_least=0, at_most=10), 0.5)


class Shock(Table):
    """The efficiency shock: how large, when, for whom, and what the gain is spent on."""

    title: str = text("What happened, in a few words.", "Efficiency shock")
    kind: Literal["level", "pull_forward"] = text(
        "A lasting level shift, or progress that would have come anyway, only later.", "level"
    )
    date: dt.date = Field(description="Day of the shock.", ge=EARLIEST, le=LATEST)
    efficiency_gain: Uncertain = quantity(
        "1", "Factor g by which the same service needs less compute.", Range(at_least=1e-3, at_most=1e6)
    )
    catch_up_months: Uncertain = quantity(
        "month",
        "Pull-forward: months after which the baseline has the same efficiency.",
        Range(above=0, at_most=600),
        24.0,
    )
    capability_share: Uncertain = quantity(
        "1", "Share chi of the gain, in logs, that is spent on capability.", SHARE, 0.0
    )
    capability_yield: Uncertain = quantity(
        "1",
        "Capability gained, in logs, for each log of compute spent on it (zeta).",
        Range(at_least=0, at_most=10),
        0.5,
    )
    diffusion: Diffusion = text("How it spreads.", Diffusion(form="immediate"))
    segment_reach: dict[str, Uncertain] = quantity(
        "1", "Share of each segment's service that the shock can reach; 1 where not given.", SHARE, {}
    )
    region_reach: dict[str, Uncertain] = quantity(
        "1", "Share of each region's service that the shock can reach; 1 where not given.", SHARE, {}
    )
    provider_reach: dict[str, Uncertain] = quantity(
        "1", "Share of each provider's service that the shock can reach; 1 where not given.", SHARE, {}
    )


class Trend(Table):
    """Progress that goes on with or without the shock."""

    algorithmic_gain_per_year: Uncertain = quantity(
        "1/year", "Factor by which the same service needs less compute each year.", FACTOR, 1.0
    )
    hardware_gain_per_year: Uncertain = quantity(
        "1/year", "Factor by which the same compute gets cheaper each year.", FACTOR, 1.0
    )
    capability_gain_per_year: Uncertain = quantity("1/year", "Factor by which capability grows each year.", FACTOR, 1.0)


class Tokens(Table):
    """Numbers of tokens of a request: lognormal, a mixture of lognormals, or a histogram."""

    mean: list[float] = quantity("token", "Mean of each component.", Range(at_least=1, at_most=1e8), [])
    sigma: list[float] = quantity(
        "1", "Standard deviation of the logarithm of each component; 0 is a constant.", Range(at_least=0, at_most=4), []
    )
    weight: list[float] = quantity("1", "Share of the requests in each component.", Range(above=0, at_most=1), [1.0])
    edges: list[float] = quantity(
        "token", "Histogram instead: edges of its bins, one more than counts.", Range(at_least=0, at_most=1e8), []
    )
    counts: list[float] = quantity("request", "Histogram instead: requests in each bin.", NOT_NEGATIVE, [])


class Workload(Table):
    """How requests arrive and how long they are."""

    trace: str | None = text(
        "A recorded trace (CSV or JSON lines, may be gzipped) to serve instead; relative to the file that names it.",
        None,
    )
    trace_speed: float = quantity(
        "1", "The trace is played this many times faster than it was recorded.", Range(at_least=1e-3, at_most=1e3), 1.0
    )
    input_tokens: Tokens | None = text("Tokens of the prompt, cached ones included.", None)
    output_tokens: Tokens | None = text("Tokens of the answer.", None)
    correlation: float = quantity(
        "1", "Correlation of prompt and answer length (Gaussian copula).", Range(at_least=-0.99, at_most=0.99), 0.0
    )
    cached_share: float = quantity(
        "1", "Share of the prompt tokens found in the cache.", Range(at_least=0, below=1), 0.0
    )
    hourly_profile: list[float] = quantity(
        "1", "Load of the 24 hours from midnight, relative to each other.", NOT_NEGATIVE, [1.0] * 24
    )
    weekend_factor: float = quantity(
        "1", "Load of a day of the weekend over that of a weekday.", Range(above=0, at_most=100), 1.0
    )
    overdispersion: float = quantity(
        "1", "Coefficient of variation of the hourly rate beyond Poisson.", Range(at_least=0, at_most=3), 0.0
    )


class Segment(Table):
    """One kind of use: its demand, its tariff, its compute intensity."""

    title: str = text("Name shown to readers.", "")
    tariff: Tariff = text("What the user pays: metered, flat, free, or a fixed budget.", "metered")
    form: Form = text("Form of the demand curve.", "hill")
    since: dt.date | None = Field(
        default=None, description="First day of use; from the start if not given.", ge=EARLIEST, le=LATEST
    )
    tokens_per_day: Uncertain | None = quantity(
        "token/day", "Usage at the start (or on `since`), input and output together.", POSITIVE, None
    )
    budget_usd_per_day: Uncertain | None = quantity(
        "USD/day", "Tariff budget: money spent on compute each day at the start.", POSITIVE, None
    )
    input_share: float = quantity("1", "Share of the tokens that are input.", Range(at_least=0, below=1), 0.75)
    usage_growth_per_year: Uncertain = quantity(
        "1/year", "Factor by which usage (or the budget) grows each year.", FACTOR, 1.0
    )
    usage_growth_is: Literal["observed", "exogenous"] = text(
        "Observed: what price and capability do not explain is exogenous. "
        "Exogenous: growth at constant price and capability.",
        "exogenous",
    )
    growth_half_life_months: Uncertain | None = quantity(
        "month",
        "Months after which the growth rate has halved; constant if not given.",
        Range(above=0, at_most=1200),
        None,
    )

    price_usd_per_mtok: Uncertain = quantity(
        "USD/Mtok",
        "List price at the start, input and output blended by input_share.",
        Range(above=0, at_most=1e9),
        1.0,
    )
    price_change_per_year: Uncertain | None = quantity(
        "1/year",
        "Observed factor by which the price moves each year without the shock; what cost does not explain "
        "is a drift of the margin. Not given: price follows cost alone.",
        FACTOR,
        None,
    )
    other_cost_share: float = quantity(
        "1", "Share of the unit cost at the start that is not compute.", Range(at_least=0, below=1), 0.0
    )
    pass_through: Uncertain | None = quantity(
        "1",
        "Share of a change in cost, in logs, that reaches the price; that of [pricing] if not given.",
        Range(at_least=0, at_most=2),
        None,
    )

    price_elasticity: Uncertain = quantity(
        "1", "Long-run elasticity of usage with respect to the full price, at the start; negative.", NEGATIVE, -1.0
    )
    penetration: Uncertain = quantity(
        "1", "Forms hill and lognormal: usage at the start over usage at price zero.", PROPER_SHARE, 0.2
    )
    willingness_tracks_price: Uncertain = quantity(
        "1",
        "Share of the baseline's price trend, in logs, that willingness to pay follows: "
        "1 keeps the market where it stands on its curve, 0 lets it saturate.",
        SHARE,
        0.0,
    )
    cost_share: float = quantity("1", "Form derived: share of the service in the buyers' cost.", PROPER_SHARE, 0.1)
    substitution: float = quantity(
        "1", "Form derived: elasticity of substitution against other inputs.", Range(above=0, at_most=20), 1.0
    )
    product_elasticity: float = quantity(
        "1", "Form derived: price elasticity of demand for the buyers' product; negative.", NEGATIVE, -1.0
    )
    capability_elasticity: Uncertain = quantity(
        "1", "Rise of usage, in logs, for each log of capability (psi).", Range(at_least=0, at_most=10), 0.0
    )
    tokens_per_task_elasticity: Uncertain = quantity(
        "1",
        "Change of tokens per task, in logs, for each log of price; zero or negative.",
        Range(at_least=-5, at_most=0),
        0.0,
    )
    adjustment_months: Uncertain = quantity(
        "month", "Time constant with which usage adjusts (Koyck); 0 is at once.", Range(at_least=0, at_most=600), 0.0
    )
    quota_pass_through: Uncertain = quantity(
        "1",
        "Tariffs flat and free: share of a fall in cost, in logs, that the provider passes into quota.",
        Range(at_least=0, at_most=2),
        0.0,
    )
    value_of_time_usd_per_hour: Uncertain = quantity(
        "USD/h", "What an hour of waiting costs the user.", Range(at_least=0, at_most=1e6), 0.0
    )
    human_cost_usd_per_mtok: Uncertain = quantity(
        "USD/Mtok", "Human and integration cost that comes with a million tokens.", Range(at_least=0, at_most=1e9), 0.0
    )
    usage_noise: float = quantity(
        "1", "Standard deviation of monthly usage, in logs, around the model.", Range(at_least=0, at_most=1), 0.0
    )

    gpu_seconds_per_mtok_input: Uncertain = quantity(
        "GPU-s/Mtok",
        "Compute for a million uncached input tokens at the start, H100-equivalent.",
        Range(above=0, at_most=1e9),
        100.0,
    )
    gpu_seconds_per_mtok_output: Uncertain = quantity(
        "GPU-s/Mtok",
        "Compute for a million output tokens at the start, H100-equivalent.",
        Range(above=0, at_most=1e9),
        500.0,
    )
    region_share: dict[str, float] = quantity(
        "1", "Share of the usage that each region serves; needed with more than one region.", SHARE, {}
    )
    workload: str | None = text("Name of the table in [workloads] that describes its requests; none for budgets.", None)
    priority: Literal["interactive", "batch"] = text("Who is served first.", "interactive")
    patience_s: float | None = quantity(
        "s",
        "A request that waits longer for its first token gives up; never if not given.",
        Range(above=0, at_most=1e7),
        None,
    )
    jobs: Jobs | None = text("Tariff budget: the jobs it buys; none buys GPU-hours one by one.", None)
    race: Race | None = text("Tariff budget: the rival that its spend follows.", None)
    offers: dict[str, Offer] = text(
        "Offers of providers that compete for it, by the provider's name in [providers].", {}
    )
    choice: Choice | None = text("How users choose between them.", None)

    @property
    def is_served(self) -> bool:
        """Whether its requests are served one by one, rather than bought as GPU time."""
        return self.tariff != "budget"


class Pricing(Table):
    """From cost to price."""

    pass_through: Uncertain = quantity(
        "1", "Share of a change in cost, in logs, that reaches the price (rho).", Range(at_least=0, at_most=2), 1.0
    )
    adjustment_months: Uncertain = quantity(
        "month", "Time constant with which prices adjust; 0 is at once.", Range(at_least=0, at_most=240), 0.0
    )
    shortage_markup: Uncertain = quantity(
        "1", "Rise of the price, in logs, for each log of need above the fleet.", Range(at_least=0, at_most=10), 0.0
    )


class Rental(Table):
    """The rental price of compute."""

    price_usd_per_gpu_hour: Uncertain = quantity(
        "USD/GPU-h", "Rental price of an H100-equivalent at the start.", Range(above=0, at_most=1e6)
    )
    scarcity_speed_per_month: Uncertain = quantity(
        "1/month",
        "Change of the rental price, in logs a month, for utilisation above its norm (kappa_p).",
        Range(at_least=0, at_most=20),
        0.0,
    )
    normal_utilisation: Uncertain = quantity(
        "1", "Utilisation of the fleet at which the rental price rests (u*).", Range(above=0, at_most=1), 0.8
    )
    floor_usd_per_gpu_hour: Uncertain = quantity(
        "USD/GPU-h", "Variable cost, below which nobody rents out.", Range(at_least=0, at_most=1e6), 0.0
    )


class Gpu(Table):
    """One type of accelerator."""

    title: str = text("Name shown to readers.", "")
    h100e: float = quantity("1", "Performance in H100-equivalents.", Range(above=0, at_most=1e4))
    power_kw: float = quantity("kW", "Power under load, server included.", Range(above=0, at_most=1e3))
    idle_power_kw: float = quantity("kW", "Power when idle, server included.", Range(at_least=0, at_most=1e3))
    price_usd: float = quantity("USD", "Purchase price.", Range(above=0, at_most=1e8))
    life_months: float = quantity("month", "Months of service.", Range(at_least=1, at_most=600), 60.0)


class LeadTime(Table):
    """Time from order to delivery: gamma distributed around its mean."""

    mean_months: Uncertain = quantity("month", "Mean of the lead time.", Range(at_least=0, at_most=120))
    cv: float = quantity("1", "Coefficient of variation; 0 is a constant.", Range(at_least=0, at_most=2), 0.0)


class Orders(Table):
    """How a region orders GPUs."""

    type: str = text("Type in [gpus] that is ordered.")
    lead_time: LeadTime = text("Time from order to delivery.")
    headroom: Uncertain = quantity("1", "Fleet aimed at over the forecast peak need.", Range(above=0, at_most=10), 1.1)
    supply_line_weight: Uncertain = quantity(
        "1", "Share of what is on order that is remembered: 1 is rational, 0 forgets it.", SHARE, 1.0
    )
    adjustment_per_month: Uncertain = quantity(
        "1/month", "Share of the gap that is ordered each month (kappa).", Range(above=0, at_most=2), 1.0
    )
    forecast_months: int = quantity(
        "month",
        "Months over which the growth that the forecast carries on is measured.",
        Range(at_least=1, at_most=120),
        6,
    )
    largest_growth_per_year: Uncertain = quantity(
        "1/year", "No forecast grows faster.", Range(at_least=1, at_most=1e3), 10.0
    )
    rental_response: Uncertain = quantity(
        "1",
        "Rise of the fleet aimed at, in logs, for each log of the rental price over its trend, to which it leads back; "
        "0 ignores it.",
        Range(at_least=0, at_most=20),
        0.0,
    )
    supply_elasticity: Uncertain | None = quantity(
        "1",
        "Rise of the fleet, in logs, for each log of the rental price over its trend (sigma_S): the fleet aimed at is "
        "that of the start moved along this supply curve, and not the forecast need. Not given: it follows need.",
        Range(at_least=0, at_most=100),
        None,
    )
    supply_growth_per_year: Uncertain = quantity(
        "1/year", "With supply_elasticity: factor by which the supply curve moves out each year.", FACTOR, 1.0
    )
    allocation_per_month: Uncertain | None = quantity(
        "H100e/month",
        "What the vendor allocates at the start (foundry, packaging); no limit if not given.",
        Range(at_least=0),
        None,
    )
    allocation_growth_per_year: Uncertain = quantity(
        "1/year", "Factor by which the allocation grows each year.", FACTOR, 1.0
    )


class RegionFleet(Table):
    """The GPUs of a region."""

    stock: dict[str, float] = quantity(
        "GPU", "GPUs of each type installed at the start.", Range(at_least=0, at_most=1e12)
    )
    growth_before_per_year: Uncertain = quantity(
        "1/year", "Factor by which the stock grew in the year before; fills the order book of the start.", FACTOR, 1.0
    )
    power_cap_mw: float | None = quantity("MW", "Power that can be connected; no limit if not given.", POSITIVE, None)
    pue: float = quantity("1", "Power of the site over that of its computers.", Range(at_least=1, at_most=5), 1.2)
    orders: Orders | None = text("How it orders; none keeps the stock.", None)


class Region(Table):
    """A region: one representative provider, its rental market, its fleet."""

    title: str = text("Name shown to readers.", "")
    rental: Rental = text("Rental market of the region.")
    fleet: RegionFleet | None = text("GPUs of the region; none is a fleet without limit.", None)


class StepLaw(Table):
    """How long one step of a node lasts: A + h n + Bp (prefill tokens in the step) + K (KV tokens)."""

    base_s: float = quantity("s", "A: what a step lasts whatever the batch.", Range(at_least=0, at_most=100))
    per_sequence_s: float = quantity("s", "h: for each sequence in the batch.", Range(at_least=0, at_most=10))
    per_prefill_token_s: float = quantity(
        "s", "Bp: for each prompt token in the step (layout colocated).", Range(at_least=0, at_most=10), 0.0
    )
    per_kv_token_s: float = quantity(
        "s", "K: for each token of context held by the batch.", Range(at_least=0, at_most=1), 0.0
    )


class Autoscaler(Table):
    """How many nodes are switched on."""

    signal: Literal["forecast", "measured"] = text(
        "The load it answers: that of the coming interval's profile, or the one measured in the last interval.",
        "forecast",
    )
    interval_minutes: float = quantity("min", "Time between two decisions.", Range(at_least=1, at_most=1440), 15.0)
    delay_minutes: float = quantity(
        "min", "Time until a node that is switched on serves.", Range(at_least=0, at_most=1440), 0.0
    )
    headroom: float = quantity(
        "1", "Nodes switched on over nodes needed at the target batch.", Range(above=0, at_most=100), 1.0
    )
    step_nodes: float = quantity(
        "node",
        "Nodes are switched in steps of this many, counted from the floor; 0 is any number.",
        Range(at_least=0, at_most=1e9),
        0.0,
    )
    floor_nodes: float = quantity("node", "Never fewer.", Range(at_least=0, at_most=1e9), 0.0)
    ceiling_nodes: float | None = quantity("node", "Never more.", Range(above=0, at_most=1e9), None)


class Failures(Table):
    """Failures of nodes."""

    mtbf_days: float = quantity("day", "Mean time between failures of a node.", Range(above=0, at_most=1e6))
    repair_hours: float = quantity("h", "Mean time to repair.", Range(above=0, at_most=1e5))


class Serving(Table):
    """How nodes serve requests."""

    layout: Literal["disaggregated", "colocated"] = text(
        "Prefill and decode on nodes of their own, or together (chunked prefill).", "disaggregated"
    )
    gpus_per_node: int = quantity("GPU", "H100-equivalent GPUs of a node.", Range(at_least=1, at_most=100_000), 8)
    step: StepLaw = text("The step of a node that decodes.")
    target_batch: float = quantity(
        "sequence", "Batch of a node at which the autoscaler aims.", Range(above=0, at_most=1e6)
    )
    max_batch: float = quantity("sequence", "Largest batch of a node (KV-cache memory).", Range(above=0, at_most=1e6))
    prefill_tokens_per_s: float | None = quantity(
        "token/s",
        "Disaggregated: uncached prompt tokens that a prefill node works off.",
        Range(above=0, at_most=1e9),
        None,
    )
    prefill_target_share: float = quantity(
        "1",
        "Disaggregated: share of that rate at which the autoscaler loads a prefill node.",
        Range(above=0, at_most=1),
        1.0,
    )
    prefill_lanes: int = quantity(
        "1", "Disaggregated: requests that a prefill node works on at once.", Range(at_least=1, at_most=10_000), 8
    )
    prefill_chunk_tokens: float = quantity(
        "token", "Colocated: most prompt tokens in a step.", Range(at_least=1, at_most=1e6), 2048.0
    )
    routing: Literal["pooled", "round_robin", "power_of_two"] = text(
        "How requests find a node that decodes; pooled treats the nodes as one.", "pooled"
    )
    autoscaler: Autoscaler = text("How many nodes are switched on.", Autoscaler())
    failures: Failures | None = text("Failures of nodes; none if not given.", None)
    lend_idle_nodes: bool = text("Whether nodes switched off are lent to the budget segments (training).", False)


class Observed(Table):
    """What was measured on the day served, to compare with."""

    hourly_nodes: list[float] = quantity("node", "Nodes in use in each hour from the day's first.", NOT_NEGATIVE, [])
    fitted_hours: list[int] = quantity(
        "1",
        "Positions in hourly_nodes that may be used to fit the autoscaler's headroom; none is fitted if empty.",
        Range(at_least=0, at_most=100_000),
        [],
    )
    cost_usd: float | None = quantity("USD", "Cost of the day.", POSITIVE, None)
    mean_nodes: float | None = quantity("node", "Mean number of nodes in use.", POSITIVE, None)
    speed_low_tokens_per_s: float | None = quantity("token/s", "Output speed a user sees, lower end.", POSITIVE, None)
    speed_high_tokens_per_s: float | None = quantity("token/s", "Output speed a user sees, upper end.", POSITIVE, None)


class Anchor(Table):
    """One observation that the baseline is compared with."""

    what: Literal["price", "tokens_per_day", "installed_h100e", "gpu_hours_per_day"] = text("The series of the model.")
    segment: str | None = text("Segment of the series; all served ones together if not given.", None)
    region: str | None = text("Region of the series; all together if not given.", None)
    start: dt.date = Field(description="Start of the comparison.", ge=EARLIEST, le=LATEST)
    end: dt.date = Field(description="End of the comparison.", ge=EARLIEST, le=LATEST)
    factor: float = quantity("1", "Factor by which the series was observed to move from start to end.", FACTOR)
    text: str = Field(default="", description="What was observed, and by whom.")


class ScenarioTables(Table):
    """All tables of a scenario, and what they tell of themselves."""

    kind: Literal["market", "day"] = text("A market over months with a shock, or one served day.", "market")
    name: str = text("Short name, used for files.")
    title: str = text("Title shown to readers.", "")
    description: str = text("What the scenario is for.", "")
    run: Run = text("How it is run.")
    shock: Shock | None = text("The efficiency shock; needed for kind market.", None)
    trend: Trend = text("Progress that goes on anyway.", Trend())
    pricing: Pricing = text("From cost to price.", Pricing())
    segments: dict[str, Segment] = text("Kinds of use, by name.")
    providers: dict[str, Provider] = text("Providers that compete for segments, by name.", {})
    workloads: dict[str, Workload] = text("Kinds of requests, by name.", {})
    gpus: dict[str, Gpu] = text("Types of accelerator, by name.", {})
    regions: dict[str, Region] = text("Regions, by name.")
    policies: dict[str, Policy] = text("Instruments of public policy, by name; the same in all arms.", {})
    serving: Serving | None = text("How nodes serve requests; none: need is compute alone, without queues.", None)
    vendor: Vendor | None = text("The GPU vendor and what it is worth; none: GPUs cost what they cost.", None)
    investors: Investors | None = text("Who holds the sector on credit; none: value falls on nobody.", None)
    observed: Observed | None = text("Kind day: what was measured.", None)
    lesson: Lesson | None = text("What it teaches, checked by `jevons gallery`.", None)
    anchors: dict[str, Anchor] = text("Observations the baseline is compared with.", {})
    sources: dict[str, str] = text(
        "Where each number is from, by key (patterns allowed): a source, or `assumption: why`.", {}
    )

    @property
    def uncertain(self) -> dict[str, Distribution]:
        """The uncertain inputs, by dotted key."""
        return dict(distributions(self))

    def canonical(self) -> dict[str, Any]:
        """Its whole content, defaults included, as what JSON can hold; equal for equal scenarios."""
        content: dict[str, Any] = json.loads(json.dumps(plain(self), default=dt.date.isoformat, sort_keys=True))
        return content

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical content, in hexadecimal."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()

    def numbers(self) -> dict[str, object]:
        """Every number that was given, by dotted key; a distribution or a list is one."""
        return dict(numbers(self))

    def source_of(self, key: str) -> str | None:
        """Where a number is from: the entry of its key in `sources`, else of the longest pattern that fits."""
        patterns = [pattern for pattern in self.sources if fnmatchcase(key, pattern)]
        return self.sources.get(key) or (self.sources[max(patterns, key=len)] if patterns else None)

    def unsourced(self) -> list[str]:
        """Keys of the numbers that have no source."""
        return [key for key in self.numbers() if not self.source_of(key)]

    def assumed(self) -> list[str]:
        """Keys of the numbers that are assumptions."""
        return [key for key in self.numbers() if (self.source_of(key) or "").startswith("assumption")]
