"""The lines of a run in the order of the leaderboard, as tables and pictures show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from fusionbench.config.sections import REFERENCES
from fusionbench.plan.lines import Line, lines_of

if TYPE_CHECKING:
    from fusionbench.records import RunSummary


def ranked_board(summary: RunSummary) -> pd.DataFrame:
    """Return the complete lines of the leaderboard."""
    board = summary.tables.leaderboard.dropna(subset=["area"])
    return board[~board["strategy"].isin(REFERENCES)].reset_index(drop=True)


def places(summary: RunSummary) -> dict[Line, int]:
    """Return the position of each line in the leaderboard."""
    return {line: i for i, line in enumerate(lines_of(ranked_board(summary)))}


def ranked_arms(summary: RunSummary) -> list[tuple[str, str]]:
    """Return strategy and imputer of the complete lines, each once, the best first."""
    return list(dict.fromkeys(line[:2] for line in places(summary)))


def mark_of(summary: RunSummary) -> str:
    """Return what every picture must say of its numbers."""
    return "; ".join(summary.plan.ribbons)
