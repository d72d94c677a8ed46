"""Stored predictions as cells: one for each model under each condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.analysis.calibration import Predicted
from fusionbench.metrics.registry import METRICS
from fusionbench.missingness.conditions import COMPLETE, Condition, condition_label
from fusionbench.missingness.masks import MASK_NAME, achieved_rate, achieved_share, mask_digest
from fusionbench.missingness.subsets import is_subset, prevalence_of, subset_mask, with_prevalence
from fusionbench.plan.lines import Model, model_of
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    from fusionbench.config.sections import EvaluationSection
    from fusionbench.contract.data import Dataset
    from fusionbench.data.splits import Fold
    from fusionbench.plan.jobs import FitJob
    from fusionbench.store.results import FitResult

SIGNIFICANCE = 0.05

Mask = Callable[[Condition, int, int], NDArray[np.bool_]]


@dataclass(frozen=True)
class Scored:
    """One cell with its predictions."""

    model: Model
    job: FitJob
    result: FitResult
    condition: Condition
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """All that tables are made from."""

    dataset: Dataset
    metric: str
    folds: Mapping[int, Fold]
    mask: Mask
    where: str
    evaluation: EvaluationSection
    patterns: Sequence[str]
    rates: Sequence[float]
    trials: int
    reads: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """By arm (strategy, imputer), the modalities that its models look at."""
    tuning: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """By key of a study, epochs and seconds that its trials spent."""
    untuned: Sequence[tuple[FitJob, FitResult]] = ()
    """Models with the defaults, beside those that were tuned."""
    trial_rows: Sequence[Mapping[str, Any]] = ()
    """Every trial of every sealed study (:func:`fusionbench.analysis.tuning.trial_rows`)."""
    by_metric: bool = True
    """Whether validation scores are of the metric that lines are ranked by."""

    @property
    def names(self) -> list[str]:
        """The modalities, in order."""
        return list(self.dataset.modalities)

    def seen(self, condition: Condition, seed: int, fold: int) -> NDArray[np.bool_]:
        """Bool ``[rows, modalities]``: what is there under a condition; rows may have nothing of a subset."""
        if is_subset(condition):
            return subset_mask(self.dataset.available, self.names, condition)
        return self.mask(condition, seed, fold)


def with_intervals(metric: str, kind: TargetKind) -> list[str]:
    """Return the metrics that get intervals: the task's own, and the usual ones that are defined for its targets."""
    usual = [m.name for m in METRICS.values() if m.intervals]
    return [n for n in dict.fromkeys((metric, *usual)) if kind in METRICS[n].kinds]


def scored_cells(job: FitJob, result: FitResult, study: Evaluation) -> list[Scored]:
    """Return the cells of a fit, in the order in which it is scored."""
    found = zip(job.scored, job.labels, strict=True)
    return [
        Scored(model_of(job, c, study.where), job, result, c, _predicted(job, result, c, label, study))
        for c, label in found
    ]


def _predicted(
    job: FitJob, result: FitResult, condition: Condition, label: str, study: Evaluation
) -> NDArray[np.float32]:
    """The predictions of test rows; rows that have nothing of a subset get the training prevalence."""
    predicted = result.probabilities[label]
    if not is_subset(condition):
        return predicted
    fold = study.folds[job.fold]
    seen = study.seen(condition, job.seed, job.fold)[fold.test.open(result.study)]
    return with_prevalence(predicted, seen, prevalence_of(study.dataset, fold.development.train))


def cell_table(scored: Sequence[Scored], study: Evaluation) -> pd.DataFrame:
    """Return one row for each cell: arm, fold, seed, condition, every metric, achieved rate, mask."""
    import torch

    from fusionbench.metrics.scores import evaluate

    dataset, records = study.dataset, []
    masks: dict[tuple[Condition, int, int], str] = {}
    for s in scored:
        rows = study.folds[s.job.fold].test.open(s.result.study)
        present = study.mask(s.condition, s.job.seed, s.job.fold)[rows]
        values = evaluate(
            torch.as_tensor(s.probabilities),
            torch.as_tensor(dataset.target[rows]),
            dataset.kind,
            outputs=dataset.shown_outputs,
        )
        hidden = achieved_rate(dataset.available[rows], present)
        records.append(
            {
                "strategy": s.model.line.strategy,
                "imputer": s.model.line.imputer,
                "trained_at": condition_label(s.job.condition),
                "pattern": s.condition.pattern,
                "rate": s.condition.rate,
                "fold": s.job.fold,
                "seed": s.job.seed,
                **{name: float(v) for name, v in values.items()},
                **_among_those_who_have(s.probabilities, rows, study),
                **{f"hidden.{n}": float(h) for n, h in zip(dataset.modalities, hidden, strict=True)},
                "achieved": achieved_share(dataset.available[rows], present),
                "rows_touched": float((dataset.available[rows] & ~present).any(axis=1).mean()),
                "mask": _mask_name(s.condition, s.job, study, masks),
                "test_rows": len(rows),
                "epochs": s.result.epochs,
                "best_epoch": s.result.best_epoch,
                "validation": s.result.score,
                "key": s.job.key,
            }
        )
    return pd.DataFrame(records)


def on_complete_data(scored: Sequence[Scored], study: Evaluation) -> list[Predicted]:
    """Return what was predicted of complete data, for the table of calibration."""
    complete = [s for s in scored if s.condition == COMPLETE == s.model.point]
    opened = [study.folds[s.job.fold].test.open(s.result.study) for s in complete]
    return [
        Predicted(s.model.line, s.probabilities, study.dataset.target[rows], rows)
        for s, rows in zip(complete, opened, strict=True)
    ]


def _mask_name(
    condition: Condition, job: FitJob, study: Evaluation, known: dict[tuple[Condition, int, int], str]
) -> str:
    """The name of a mask of all rows, as the store keeps it."""
    point = (condition, job.seed, job.fold)
    if point not in known:
        known[point] = mask_digest(study.mask(*point))[:MASK_NAME]
    return known[point]


def _among_those_who_have(
    probabilities: NDArray[np.float32], rows: NDArray[np.int64], study: Evaluation
) -> dict[str, float]:
    """The metric over the test rows whose record has a modality, for each modality that some rows lack."""
    import torch

    from fusionbench.metrics.scores import score

    dataset = study.dataset
    found = {}
    for column, name in enumerate(dataset.modalities):
        has = dataset.available[rows, column]
        if not has.all():
            value = score(
                study.metric,
                torch.as_tensor(probabilities),
                torch.as_tensor(dataset.target[rows]),
                dataset.kind,
                torch.as_tensor(has),
            )
            found[f"{study.metric}.having_{name}"] = float(value)
    return found
