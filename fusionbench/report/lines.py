"""The lines of a run: what tables and pictures are ordered and looked up by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from fusionbench.records import RunSummary

Line = tuple[str, str, str]
"""Strategy, imputer, and what it was trained at where lines differ in that."""


def ranked_board(summary: RunSummary) -> pd.DataFrame:
    """Return the complete lines of the leaderboard."""
    return summary.tables.leaderboard.dropna(subset=["area"]).reset_index(drop=True)


def lines_of(frame: pd.DataFrame) -> list[Line]:
    """Return the lines of a table, each once, in order."""
    variant = "variant" if "variant" in frame else "trained_at"
    return list(dict.fromkeys(zip(frame["strategy"], frame["imputer"], frame[variant], strict=True)))


def is_line(frame: pd.DataFrame, line: Line) -> pd.Series:
    """Return which rows of a table are of a line."""
    return (frame["strategy"] == line[0]) & (frame["imputer"] == line[1]) & (frame["variant"] == line[2])


def places(summary: RunSummary) -> dict[Line, int]:
    """Return the position of each line in the leaderboard."""
    return {line: i for i, line in enumerate(lines_of(ranked_board(summary)))}


def ranked_arms(summary: RunSummary) -> list[tuple[str, str]]:
    """Return strategy and imputer of the complete lines, each once, the best first."""
    return list(dict.fromkeys(line[:2] for line in places(summary)))


def mark_of(summary: RunSummary) -> str:
    """Return what every picture must say of its numbers."""
    return "; ".join(summary.plan.ribbons)
