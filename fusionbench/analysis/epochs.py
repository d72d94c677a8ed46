"""The validation score of every epoch of every model, as one table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pandas as pd

from fusionbench.analysis.traces import model_columns
from fusionbench.plan.lines import Line
from fusionbench.records import SCORES

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob
    from fusionbench.store.results import FitResult

COLUMNS: Final = SCORES


def score_table(results: Iterable[tuple[FitJob, FitResult]]) -> pd.DataFrame:
    """Lay out validation scores by epoch.

    Args:
        results: Fits with what is stored of them.

    Returns:
        One row for each fit and epoch (from 1, over all its stages): columns :data:`COLUMNS`, where ``score`` is what chooses the
        epoch, higher is better, and ``models`` is how many of the line are trained in that epoch. Nothing of what is fitted at
        once, and of what was stored before scores were.
    """
    frames = [
        pd.DataFrame({"epoch": range(1, len(result.history) + 1), "score": list(result.history)}).assign(
            **model_columns(job)
        )
        for job, result in results
        if result.history and result.epochs
    ]
    if not frames:
        return pd.DataFrame(columns=COLUMNS)
    found = pd.concat(frames, ignore_index=True)
    line = ["strategy", "imputer", "trained_at", "epoch"]
    return found.assign(models=found.groupby(line)["score"].transform("size"))[COLUMNS]


def mean_scores(scores: pd.DataFrame, strategy: str, imputer: str) -> pd.DataFrame:
    """Return the course of one line: by epoch, ``score`` (mean over models), ``low`` and ``high`` (the extremes), ``models``.

    Only epochs that every model of the line has reached: later ones are of fewer models each, and their mean would jump.
    """
    mine = scores[Line(strategy, imputer).rows_of(scores)]
    if len(mine) == 0:
        return pd.DataFrame(columns=["score", "low", "high", "models"])
    together = mine[mine["models"] == mine["models"].max()]
    found: pd.DataFrame = together.groupby("epoch").agg(
        score=("score", "mean"), low=("score", "min"), high=("score", "max"), models=("models", "first")
    )
    return found
