"""What a scenario of the gallery teaches, as a table that can be checked."""

from __future__ import annotations

from typing import Literal

from jevons.scenario.fields import Table, text

#: Which way a figure of a scenario lies from that of the one it is compared with.
Side = Literal["higher", "lower", "same"]


class Lesson(Table):
    """The one thing that a scenario teaches, and by which figures it shows against another one."""

    than: str = text("Scenario it is compared with; relative to the file that names it.")
    teaches: str = text("What it teaches, in a sentence or two.")
    expected: dict[str, Side] = text(
        "Figures by which it shows: `rebound`, `change` (of the resource, with the shock against without), or any that "
        "`jevons compare` prints, at the horizon with the shock."
    )
