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
from fusionbench.analysis.cells import Evaluation, cell_table, on_complete_data, scored_cells, with_intervals
from fusionbench.analysis.columns import always_there
from fusionbench.analysis.curves import complete_models, curve_tables
from fusionbench.analysis.leaderboard import comparisons_of, leaderboard_table
from fusionbench.analysis.tuning import trial_table, with_tuning
from fusionbench.keys import digest
from fusionbench.metrics.registry import names_for
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
        stage: Advanced once for each metric with intervals.
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
        stage.skip(len(with_intervals(study.metric, study.dataset.kind)))
        return known
    scored = [s for f, r in results for s in scored_cells(f, r, study)]
    cells = cell_table([s for s in scored if not is_subset(s.condition)], study)
    complete = complete_models(scored, planned, study.where)
    found = curve_tables(scored, complete, study, stage)
    curves = with_achieved(found.curves, scored, study)
    leaderboard = leaderboard_table(found.areas, found.curves, results, planned, study)
    leaderboard = with_tuning(leaderboard, scored, study)
    comparisons = comparisons_of(scored, cells, leaderboard, study)
    calibration = calibration_table(on_complete_data(scored, study), study.dataset.kind)
    tables = Tables(
        cells,
        curves,
        leaderboard,
        found.subsets,
        found.modalities,
        comparisons,
        calibration,
        trial_table(study),
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
    whole = always_there() <= set(found.leaderboard) and names_for(kind) <= set(found.cells)
    return found if whole else None  # made before there was such a column, or such a metric


def _write_tables(tables: Tables, folder: Path) -> None:
    names = [f"{f.name}.parquet" for f in fields(Tables)]
    for f, name in zip(fields(Tables), names, strict=True):
        write_atomically(folder / name, getattr(tables, f.name).to_parquet())
    write_atomically(folder / HASHES, hashes_of(folder, names))
