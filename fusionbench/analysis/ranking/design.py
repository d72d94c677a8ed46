"""What was compared, how certain a comparison of this size can be, and what it does not see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fusionbench.analysis.ranking.board import Board
from fusionbench.analysis.ranking.leaderboard import Judged
from fusionbench.analysis.words import arm_name, counted, number

COLUMNS = ["folds", "seeds", "lines", "patients_df", "smallest_detectable", "equivalence", "run_sd", "dispersion"]
COLUMNS += ["unstable_lines", "dropped_resamples", "not_seen", "left_out"]


def not_seen(folds: int, seeds: int) -> str:
    """Say what a design of so many folds and seeds cannot tell; empty where it tells all that the rule asks for."""
    if folds == 1 and seeds == 1:
        return (
            "One fold and one seed: differences are of these trained models only. Nothing is known of other trainings, so there "
            "are no groups; run more folds or seeds to rank."
        )
    if seeds == 1:
        return (
            "One seed: the chance of training is seen only through the folds, together with what other training sets do; run two "
            "or three seeds for a claim about strategies."
        )
    if folds == 1:
        return "One fold: training runs and patients are seen, other training sets are not."
    return ""


def design_table(board: Board, found: Judged) -> pd.DataFrame:
    """Return one row: folds, seeds and lines that were compared, the smallest detectable difference, and what is not seen.

    ``patients_df`` are the degrees of freedom of what patients add; ``run_sd`` is the standard deviation over training runs of
    the value of one line with one seed; ``dispersion`` says how much more lines differ from fold to fold than patients make
    them (1: no more).
    """
    compared = board.compared
    selection = compared.selection
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
    row |= {
        "folds": len(selection.folds),
        "seeds": len(selection.seeds),
        "lines": len(found.lines),
        "equivalence": board.study.evaluation.equivalence,
        "unstable_lines": "",
        "dropped_resamples": 0,
        "not_seen": not_seen(len(selection.folds), len(selection.seeds)) if found.lines else "",
        "left_out": "; ".join(_left_out(board)),
    }
    if found.verdict is not None:
        parts = found.verdict.components
        row |= {
            "patients_df": parts.patients.df,
            "smallest_detectable": found.verdict.smallest_detectable,
            "run_sd": float(np.sqrt(parts.ms_run)) if parts.seeds > 1 else np.nan,
            "dispersion": parts.dispersion,
            "unstable_lines": ", ".join(arm_name(*found.lines[i]) for i in parts.unstable),
            "dropped_resamples": found.dropped,
        }
    return pd.DataFrame([row], columns=COLUMNS)


def design_words(design: pd.DataFrame) -> list[str]:
    """What every board says of itself: what its design does not see, the smallest detectable difference, who is not compared."""
    row = design.iloc[0]
    words = [str(row["not_seen"])] if row["not_seen"] else []
    detectable = float(row["smallest_detectable"])
    if row["lines"] > 1 and np.isfinite(detectable):
        words.append(
            f"A run of this size shows a difference of {number(detectable)} between two lines in four of five repetitions; "
            "smaller ones stay hidden."
            if detectable < 1
            else "A run of this size shows no difference that scores can have: run more folds or seeds, or on more patients."
        )
    if row["unstable_lines"]:
        words.append(f"Unstable over seeds, with a variance of their own (marked *): {row['unstable_lines']}.")
    if row["left_out"]:
        words.append(f"Not compared: {row['left_out']}.")
    return words


def _left_out(board: Board) -> list[str]:
    """What is not compared, with its reason."""
    compared, selection = board.compared, board.compared.selection
    found = [f"{arm_name(*line)}: {reason}" for line, reason in compared.left.items()]
    empty = [str(compared.folds[k]) for k in selection.empty_folds]
    if empty:
        found.append(f"{counted(len(empty), 'fold')} ({', '.join(empty)}): no line has a value there")
    gone = [str(s) for i, s in enumerate(compared.seeds) if i not in selection.seeds]
    if gone and selection.lines:
        found.append(f"{counted(len(gone), 'seed')} ({', '.join(gone)}): not every line has every fold there")
    return found
