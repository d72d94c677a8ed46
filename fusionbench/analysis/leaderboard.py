"""The leaderboard: areas under the curves with tie groups, ends of the curves, the ledger; tests over folds and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.analysis.cells import SIGNIFICANCE, Evaluation, Scored, with_intervals
from fusionbench.analysis.comparisons import comparison_table, repetition_areas
from fusionbench.config.sections import CEILING
from fusionbench.metrics.intervals import Bootstrap
from fusionbench.metrics.registry import METRICS
from fusionbench.metrics.statistics import area_weights, pairwise_p_values, tie_groups
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.missingness.subsets import is_subset
from fusionbench.plan.lines import Line, Model, lines_of, model_of

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob
    from fusionbench.store.results import FitResult


def areas_of(models: Sequence[Model], found: Bootstrap, study: Evaluation) -> dict[Line, Any]:
    """Mean height of each line's curves over patterns: value, interval and tie group."""
    position = {m: i for i, m in enumerate(models)}
    usable, weights = [], []
    for line in dict.fromkeys(m.line for m in models if m.line.strategy not in (CEILING, "")):
        row = _area_row(line, position, study)
        if row is not None:
            usable.append(line)
            weights.append(row)
    if not usable:
        return {}
    areas = found.contrast(np.stack(weights))
    intervals = areas.intervals(study.evaluation.confidence)
    better = METRICS[study.metric].higher_is_better
    groups = tie_groups(areas.point, pairwise_p_values(areas) < SIGNIFICANCE, higher_is_better=better)
    return {line: (interval, int(group)) for line, interval, group in zip(usable, intervals, groups, strict=True)}


def _area_row(line: Line, position: Mapping[Model, int], study: Evaluation) -> NDArray[np.float64] | None:
    row = np.zeros(len(position))
    for pattern in study.patterns:
        points = [COMPLETE if r == 0 else Condition(pattern, r) for r in study.rates]
        models = [Model(line, p) for p in points]
        if not all(m in position for m in models):
            return None
        weights = area_weights(study.rates) if len(points) > 1 else np.ones(1)
        for m, w in zip(models, weights, strict=True):
            row[position[m]] += w / len(study.patterns)
    return row


def leaderboard_table(
    areas: Mapping[Line, Any],
    curves: pd.DataFrame,
    results: Sequence[tuple[FitJob, FitResult]],
    planned: Sequence[FitJob],
    study: Evaluation,
) -> pd.DataFrame:
    """Return one row for each line, the best first: its area, the ends of its curves, what it cost."""
    records = []
    for line in dict.fromkeys(model_of(f, f.scored[0], study.where).line for f in planned):
        interval, group = areas.get(line, ((np.nan, np.nan, np.nan), 0))
        records.append(
            {
                "strategy": line.strategy,
                "imputer": line.imputer,
                "trained_at": line.variant,
                "tie_group": group,
                "area": interval[0],
                "area_low": interval[1],
                "area_high": interval[2],
                **_ends(curves, line, study),
                **_ledger(line, results, planned, study),
            }
        )
    frame = pd.DataFrame(records)
    ascending = not METRICS[study.metric].higher_is_better
    frame = frame.sort_values("area", ascending=ascending, na_position="last", kind="stable", ignore_index=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame


def comparisons_of(
    scored: Sequence[Scored], cells: pd.DataFrame, leaderboard: pd.DataFrame, study: Evaluation
) -> pd.DataFrame:
    """Tests over folds and seeds, leader against each."""
    on_curves = [s.model for s in scored if not is_subset(s.condition)]
    if not on_curves:
        return comparison_table(pd.DataFrame(), [], 1, 1, higher_is_better=True)
    placed = cells.assign(
        variant=[m.line.variant for m in on_curves],
        point_pattern=[m.point.pattern for m in on_curves],
        point_rate=[m.point.rate for m in on_curves],
    )
    areas = repetition_areas(placed, study.metric, study.patterns, study.rates)
    train = np.mean([len(f.development.train) for f in study.folds.values()])
    test = float(cells["test_rows"].mean())
    better = METRICS[study.metric].higher_is_better
    return comparison_table(areas, lines_of(leaderboard), float(train), test, better)


def _ends(curves: pd.DataFrame, line: Line, study: Evaluation) -> dict[str, float]:
    """The metric at the lowest and the highest rate, means over patterns; regret over all points."""
    found = curves[line.rows_of(curves)]
    low, high = (found[found["rate"] == r] for r in (study.rates[0], study.rates[-1]))
    names = [n for n in with_intervals(study.metric, study.dataset.kind) if n in found]
    ends = {f"{n}@{study.rates[0]:g}": float(low[n].mean()) for n in names}
    ends[f"{study.metric}@{study.rates[-1]:g}"] = float(high[study.metric].mean()) if len(high) else np.nan
    if "regret" in found:
        ends["regret"] = float(found["regret"].mean())
    return ends


def _ledger(
    line: Line,
    results: Sequence[tuple[FitJob, FitResult]],
    planned: Sequence[FitJob],
    study: Evaluation,
) -> dict[str, Any]:
    """What the line cost: models done of those planned, trials, epochs, seconds, parameters."""

    def mine(job: FitJob) -> bool:
        return model_of(job, job.scored[0], study.where).line == line

    done = [r for f, r in results if mine(f)]
    spent = [study.tuning.get(key, (0, 0.0)) for key in {f.study for f in planned if mine(f)}]
    return {
        "models": len(done),
        "models_planned": sum(map(mine, planned)),
        "trials": study.trials,
        "epochs": int(sum(r.epochs for r in done)),
        "epochs_allowed": int(sum(r.epochs_allowed for r in done)),
        "tuning_epochs": sum(epochs for epochs, _ in spent),
        "rows": int(sum(r.rows for r in done)),
        "parameters": max((r.parameters for r in done), default=0),
        "seconds": float(sum(r.seconds for r in done)),
        "tuning_seconds": sum(seconds for _, seconds in spent),
        "memory_mb": max((r.memory for r in done), default=0.0),
    }
