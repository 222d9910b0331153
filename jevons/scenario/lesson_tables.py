"""What a scenario of the gallery teaches, as a table that can be checked."""

from __future__ import annotations

from jevons.scenario.fields import Table, text

#: Which way a figure of a scenario may lie from that of the one it is compared with.
WAYS = ("higher", "lower", "same")


class Lesson(Table):
    """The one thing that a scenario teaches, and by which figures it shows against another one."""

    than: str = text("Scenario it is compared with; relative to the file that names it.")
    teaches: str = text("What it teaches, in a sentence or two.")
    expected: list[str] = text(
        "By what it shows: figures, each with `higher`, `lower` or `same`. A figure is `rebound`, `change` (of the "
        "resource, with the shock against without), or any that `jevons compare` prints, at the horizon with the shock."
    )

    @property
    def claims(self) -> dict[str, str]:
        """Which way each figure is to lie."""
        return {figure: way for figure, _, way in (claim.rpartition(" ") for claim in self.expected)}
