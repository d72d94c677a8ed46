"""Warnings that a run may mean little: said on the screen, in the report and in ``record.json``, before the numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from fusionbench.analysis.ranking.marks import mark_notes
from fusionbench.analysis.words import counted, listed, number, percent
from fusionbench.config.sections import REFERENCES
from fusionbench.plan.lines import Line

if TYPE_CHECKING:
    from fusionbench.config.sections import Benchmark
    from fusionbench.plan.jobs import FitJob
    from fusionbench.store.results import FitResult

MOST_AT_AN_END: Final = 0.25
"""Share of models whose best epoch is their first or last one, from which training looks too long or too short."""
FEWEST_STEPS: Final = 100
FEWEST_RESAMPLES: Final = 1000
FEWEST_CELLS: Final = 6
"""Folds times seeds; with fewer, many lines are ranked on hardly any training runs."""


def guard_notes(
    results: Sequence[tuple[FitJob, FitResult]],
    leaderboard: pd.DataFrame,
    design: pd.DataFrame,
    benchmark: Benchmark,
    batches: Sequence[int],
    controls: Sequence[Line],
    called: Callable[[Line], str],
) -> list[str]:
    """Say what weakens the numbers of a run; nothing where nothing does.

    Args:
        results: Trained models.
        leaderboard: With the columns of :mod:`fusionbench.analysis.ranking.marks`.
        design: One row, of :mod:`fusionbench.analysis.ranking.design`.
        benchmark: Its settings.
        batches: Optimiser steps of an epoch, for each result.
        controls: Lines that are fitted controls.
        called: From a line to its name for readers.
    """
    trained = [(r, b) for (_, r), b in zip(results, batches, strict=True) if r.epochs > 0]
    return [
        *_ends(trained),
        *_steps(trained),
        *_size(leaderboard, design),
        *_settings(benchmark),
        *mark_notes(leaderboard, controls, called),
    ]


def doubts_of(
    results: Sequence[tuple[FitJob, FitResult]], benchmark: Benchmark, batches: Sequence[int]
) -> tuple[str, ...]:
    """Say why what a run ranks is provisional, as parts of a sentence; arguments as in :func:`guard_notes`."""
    trained = [(r, b) for (_, r), b in zip(results, batches, strict=True) if r.epochs > 0]
    found = {
        "many models were best in their last epoch": _share_at_last(trained) >= MOST_AT_AN_END,
        "many models were best in their first epoch": _share_at_first(trained) >= MOST_AT_AN_END,
        "models were trained for few steps": bool(_steps(trained)),
        "nothing was tuned": benchmark.tuning.trials == 0 and len(benchmark.strategies) > 1,
    }
    return tuple(reason for reason, holds in found.items() if holds)


def _share_at_last(trained: Sequence[tuple[FitResult, int]]) -> float:
    return float(np.mean([r.best_epoch >= r.epochs for r, _ in trained])) if trained else 0.0


def _share_at_first(trained: Sequence[tuple[FitResult, int]]) -> float:
    return float(np.mean([r.best_epoch <= 1 for r, _ in trained])) if trained else 0.0


def _ends(trained: Sequence[tuple[FitResult, int]]) -> list[str]:
    """Models that would have been trained further, or were best before they had begun."""
    first, last = _share_at_first(trained), _share_at_last(trained)
    notes = []
    if last >= MOST_AT_AN_END:
        notes.append(
            f"{percent(round(float(last), 3))} of the models were best in their last epoch: they may be undertrained; raise "
            "training.epochs."
        )
    if first >= MOST_AT_AN_END:
        notes.append(
            f"{percent(round(float(first), 3))} of the models were best in their first epoch: what is ranked may be initial "
            "weights; lower the learning rate, or raise training.least_steps."
        )
    return notes


def _steps(trained: Sequence[tuple[FitResult, int]]) -> list[str]:
    if not trained:
        return []
    middle = float(np.median([r.best_epoch * b for r, b in trained]))
    if middle >= FEWEST_STEPS:
        return []
    few = f"Half of the models were chosen after {middle:.0f} optimiser steps or fewer"
    return [f"{few}: too few to learn much; raise training.epochs, or lower training.batch_size."]


def _size(leaderboard: pd.DataFrame, design: pd.DataFrame) -> list[str]:
    """Whether as many lines can be told apart with so few runs, and the differences at hand at all."""
    row, notes = design.iloc[0], []
    cells, lines = int(row["folds"]) * int(row["seeds"]), int(row["lines"])
    if lines > 2 and 1 < cells < FEWEST_CELLS:
        notes.append(
            f"{counted(int(row['folds']), 'fold')} x {counted(int(row['seeds']), 'seed')} are few repetitions to rank {lines} "
            f"lines; add folds or seeds until there are {FEWEST_CELLS} or more."
        )
    areas = leaderboard.loc[~leaderboard["strategy"].isin(REFERENCES), "area"].dropna()
    detectable, spread = float(row["smallest_detectable"]), float(areas.max() - areas.min()) if len(areas) else 0.0
    if lines > 1 and detectable > spread:
        notes.append(
            f"No power for the differences at hand: the lines lie within {number(spread)} of each other, and a run of this size "
            f"shows differences from {number(detectable)} on."
        )
    return notes


def _settings(benchmark: Benchmark) -> list[str]:
    notes = []
    if absent := benchmark.missingness.absent:
        notes.append(
            f"No row has {listed(list(absent))} when a model is used (missingness.absent), also where nothing else is hidden: "
            "complete data are all but that, and rates are shares of what is left. Models were trained with it."
        )
    if benchmark.tuning.trials == 0 and len(benchmark.strategies) > 1:
        notes.append(
            "Nothing was tuned (tuning.trials: 0): defaults are compared, and a method may be good at another setting."
        )
    if benchmark.evaluation.resamples < FEWEST_RESAMPLES:
        notes.append(
            f"{counted(benchmark.evaluation.resamples, 'resample')} of patients are few for the metrics that need them; use "
            f"evaluation.resamples: {FEWEST_RESAMPLES} or more for a result."
        )
    return notes
