"""The lines of a run in the order of the leaderboard, as tables and pictures show them, and where the page tells of them."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING

import pandas as pd

from fusionbench.analysis.words import arm_name
from fusionbench.config.sections import REFERENCES
from fusionbench.plan.lines import Line, line_of, lines_of

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


def can_rank(summary: RunSummary) -> bool:
    """Whether there are repetitions that tell lines apart; without them there are no groups."""
    return bool((ranked_board(summary)["group"] > 0).any())


def baseline_line(summary: RunSummary) -> Line | None:
    """Return the line that differences are taken from; None where nothing is held against anything."""
    found = summary.tables.differences
    lines = lines_of(found) if len(found) else []
    return next((line for line in lines if (found[line.rows_of(found)]["difference"] == 0).all()), None)


def anchors(summary: RunSummary) -> dict[str, str]:
    """Return where the page tells of each complete line, by its name in tables and by what readers call it."""
    found: dict[str, str] = {}
    for _, row in ranked_board(summary).iterrows():
        line = line_of(row)
        slug = "line-" + (re.sub(r"[^a-z0-9]+", "-", arm_name(*line).lower()).strip("-") or "of")
        taken = set(found.values())
        anchor = next(a for i in count(1) if (a := slug if i == 1 else f"{slug}-{i}") not in taken)
        found |= {arm_name(*line): anchor, summary.plan.called(line): anchor}
    return found


def mark_of(summary: RunSummary) -> str:
    """Return what every picture must say of its numbers."""
    return "; ".join(summary.plan.ribbons)
