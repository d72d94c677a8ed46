"""What a reader must not overlook of a line: worse than the prevalence, or not shown to beat a fitted control."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import pandas as pd

from fusionbench.analysis.ranking.comparisons import difference_between
from fusionbench.config.sections import PREVALENCE
from fusionbench.plan.lines import Line, lines_by_row
from fusionbench.statistics.groups import LEVEL


def with_marks(
    leaderboard: pd.DataFrame, pairs: pd.DataFrame, controls: Collection[Line], skill: str, *, higher_is_better: bool
) -> pd.DataFrame:
    """Add ``below_prevalence`` and ``beats_control`` to the leaderboard.

    Args:
        leaderboard: One row for each line, and the prevalence's.
        pairs: As :func:`fusionbench.analysis.ranking.comparisons.comparison_table` makes them.
        controls: Lines that are plain methods which every other is held against.
        skill: The column of Brier skills, where there is one.
        higher_is_better: The direction of the area.

    Returns:
        ``below_prevalence`` is True where a line's area is no better than that of the constant prediction, or its Brier skill is
        below 0. ``beats_control`` is ``yes`` where it was shown to be better than the best control (p < .05 if trained again, of
        that pair; where one run is all there is, of these models), else ``no``; empty for controls, and where there is none.
    """
    lines = lines_by_row(leaderboard)
    constant = leaderboard.loc[leaderboard["strategy"] == PREVALENCE, "area"]
    area = leaderboard["area"].to_numpy(dtype=np.float64)
    below = np.zeros(len(leaderboard), dtype=np.bool_)
    if len(constant):
        reference = float(constant.iloc[0])
        below = area <= reference if higher_is_better else area >= reference
    if skill in leaderboard:
        below = below | (leaderboard[skill].to_numpy(dtype=np.float64) < 0)
    below &= np.array([line.strategy != PREVALENCE for line in lines])
    best = next((line for line in lines if line in controls), None)  # the leaderboard is in order
    return leaderboard.assign(
        below_prevalence=below, beats_control=[_beats(line, best, controls, pairs) for line in lines]
    )


def _beats(line: Line, control: Line | None, controls: Collection[Line], pairs: pd.DataFrame) -> str:
    if control is None or line in controls or line.strategy == PREVALENCE:
        return ""
    found = difference_between(pairs, line, control)
    if found is None:
        return ""
    p = found.p if found.p == found.p else found.p_these_models
    ahead = found.better > 0
    return "yes" if ahead and p < LEVEL else "no"


def mark_notes(leaderboard: pd.DataFrame, controls: Sequence[Line], called: Callable[[Line], str]) -> list[str]:
    """Say which lines bear a mark, by their names for readers."""
    notes = []
    lines = lines_by_row(leaderboard)
    below = [called(line) for line, mark in zip(lines, leaderboard["below_prevalence"], strict=True) if mark]
    if below:
        notes.append(f"No better than the constant prevalence: {', '.join(below)}.")
    behind = [called(line) for line, mark in zip(lines, leaderboard["beats_control"], strict=True) if mark == "no"]
    if behind:
        best = next(called(line) for line in lines if line in controls)
        notes.append(f"Not shown to be better than {best}, a fitted control: {', '.join(behind)}.")
    return notes
