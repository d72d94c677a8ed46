"""From stored predictions to tables: cells, curves with intervals, leaderboard, ledger.

Everything is paired: strategies are scored on the same rows, masks and resamples of patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fusionbench.analysis.achieved import with_achieved
from fusionbench.analysis.calibration import calibration_table
from fusionbench.analysis.cells import (
    SKILL,
    Evaluation,
    cell_columns,
    cell_table,
    on_complete_data,
    scored_cells,
    with_intervals,
    with_skill,
)
from fusionbench.analysis.columns import always_there
from fusionbench.analysis.curves import curve_tables
from fusionbench.analysis.ranking.baseline import baseline_of
from fusionbench.analysis.ranking.board import Board
from fusionbench.analysis.ranking.comparisons import comparison_table
from fusionbench.analysis.ranking.design import design_table
from fusionbench.analysis.ranking.differences import difference_table
from fusionbench.analysis.ranking.leaderboard import controls_of, judged, leaderboard_table
from fusionbench.analysis.ranking.marks import with_marks
from fusionbench.analysis.tuning import trial_table, with_tuning
from fusionbench.keys import digest
from fusionbench.metrics.registry import METRICS
from fusionbench.missingness.subsets import is_subset
from fusionbench.records import Tables
from fusionbench.store.files import damage_of, set_aside, write_atomically
from fusionbench.store.integrity import CHANGED, HASHES, changed_files, hashes_of
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob
    from fusionbench.progress import ProgressStage
    from fusionbench.store.results import FitResult, Store


def tabulate(
    results: Sequence[tuple[FitJob, FitResult]],
    study: Evaluation,
    planned: Sequence[FitJob],
    store: Store,
    stage: ProgressStage,
) -> Tables:
    """Make the tables, or read them back when nothing that decides them has changed.

    Args:
        results: What is stored, in the order of the plan.
        study: Data, folds, masks, settings.
        planned: Everything that was to be trained; arms with gaps get no intervals.
        store: Where finished tables are kept.
        stage: Advanced once for each metric with intervals, and once for the differences.
    """
    key = digest(
        [
            [[f.key, f.labels, r.content] for f, r in results],
            [[f.arm.label, f.key] for f in planned],
            study.evaluation,
            [study.metric, study.where, list(study.patterns), list(study.rates), list(study.reads.items())],
            [[f.key, f.labels, r.content] for f, r in study.untuned],
            [list(study.trial_rows), study.by_metric],
        ]
    )
    known = _read_tables(store, key, study.dataset.kind)
    if known is not None:
        stage.skip(len(with_intervals(study.metric, study.dataset.kind)) + 1)
        return known
    scored = [s for f, r in results for s in scored_cells(f, r, study)]
    on_curves = [s for s in scored if not is_subset(s.condition)]
    cells = cell_table(on_curves, study)
    board = Board(scored, planned, study)
    found = curve_tables(board, stage)
    curves = with_achieved(found.curves, scored, study)
    decided = judged(board, found.ranked)
    comparisons = comparison_table(decided.lines, decided.verdict, decided.sign)
    stage.working(1, 0.0, "differences")
    baseline = baseline_of(
        study.evaluation.baseline, planned, board.compared.ranked, study.where, study.reads, study.names
    )
    achieved = dict(zip(zip(curves["pattern"], curves["rate"], strict=True), curves["achieved"], strict=True))
    differences = difference_table(board, found.ranked, decided, baseline, achieved, stage)
    leaderboard = leaderboard_table(decided, board, found.curves, results, planned)
    leaderboard = with_tuning(leaderboard, scored, study)
    leaderboard = with_skill(leaderboard, on_curves, cells, study)
    better, skill = METRICS[study.metric].higher_is_better, f"{SKILL}@{study.rates[0]:g}"
    leaderboard = with_marks(
        leaderboard, comparisons, controls_of(planned, study.where), skill, higher_is_better=better
    )
    tables = Tables(
        cells,
        curves,
        leaderboard,
        found.subsets,
        found.modalities,
        comparisons,
        differences,
        calibration_table(on_complete_data(scored, study), study.dataset.kind),
        design_table(board, decided),
        trial_table(study),
        readings=found.readings,
    )
    _write_tables(tables, store.at.tables / key)
    return tables


def _read_tables(store: Store, key: str, kind: TargetKind) -> Tables | None:
    folder = store.at.tables / key
    changed = changed_files(folder)
    if changed:
        store.say(damage_of(folder, f"{', '.join(changed)}: {CHANGED}", set_aside(folder)))
        return None
    paths = [folder / f"{f.name}.parquet" for f in fields(Tables)]
    try:
        found = Tables(*map(pd.read_parquet, paths))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        store.say(damage_of(folder, "it holds no tables", set_aside(folder)))
        return None
    whole = always_there() <= set(found.leaderboard) and cell_columns(kind) <= set(found.cells)
    return found if whole else None  # made before there was such a column, or such a metric


def _write_tables(tables: Tables, folder: Path) -> None:
    names = [f"{f.name}.parquet" for f in fields(Tables)]
    for f, name in zip(fields(Tables), names, strict=True):
        write_atomically(folder / name, getattr(tables, f.name).to_parquet())
    write_atomically(folder / HASHES, hashes_of(folder, names))
