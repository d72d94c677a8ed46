"""The lines of a run: what tables and pictures are ordered and looked up by, and where the predictions of a fit stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fusionbench.missingness.conditions import Condition, condition_label
from fusionbench.missingness.subsets import is_subset

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.plan.jobs import FitJob

VARIANT_COLUMNS = ("variant", "trained_at")
"""What tables call the variant of a line; the first one that a table has."""


class Line(NamedTuple):
    """What is ranked: one line of the leaderboard.

    Args:
        strategy: Its title.
        imputer: Its name.
        variant: What it was trained at, in a grid, where lines differ in that; else empty.
    """

    strategy: str
    imputer: str
    variant: str = ""

    @property
    def label(self) -> str:
        """Strategy and imputer; a reference has no imputer."""
        return f"{self.strategy} / {self.imputer}" if self.imputer else self.strategy

    def rows_of(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows of a table are of this line, as a mask; without a variant those of every variant."""
        mine = (frame["strategy"] == self.strategy) & (frame["imputer"] == self.imputer)
        return mine & (frame[variant_column(frame)] == self.variant) if self.variant else mine


def variant_column(frame: pd.DataFrame) -> str:
    """Return what a table calls the variant."""
    return next(name for name in VARIANT_COLUMNS if name in frame)


def line_of(row: Any) -> Line:
    """Return the line of one row of a table."""
    return Line(row["strategy"], row["imputer"], row[variant_column(row)])


def lines_of(frame: pd.DataFrame) -> list[Line]:
    """Return the lines of a table, each once, in order."""
    return list(dict.fromkeys(lines_by_row(frame)))


def lines_by_row(frame: pd.DataFrame) -> list[Line]:
    """Return the line of each row of a table."""
    return list(map(Line, frame["strategy"], frame["imputer"], frame[variant_column(frame)]))


class Model(NamedTuple):
    """One line of a bootstrap: a line of the leaderboard at one point of its curve."""

    line: Line
    point: Condition


def model_of(job: FitJob, condition: Condition, where: str) -> Model:
    """Return where the predictions of a fit under a condition stand: which line, at which point of its curve."""
    variant = condition_label(job.condition) if where == "grid" else ""
    point = condition if where in ("test", "grid") or is_subset(condition) else job.condition
    return Model(Line(job.arm.title, job.arm.imputer_name, variant), point)
