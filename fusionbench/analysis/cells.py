"""Stored predictions as cells: one for each model under each condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.analysis.calibration import Predicted, probabilities_of
from fusionbench.config.sections import PREVALENCE
from fusionbench.metrics.registry import METRICS, names_for
from fusionbench.missingness.conditions import COMPLETE, Condition, condition_label
from fusionbench.missingness.masks import MASK_NAME, achieved_rate, achieved_share, mask_digest
from fusionbench.missingness.subsets import is_subset, prevalence_of, subset_mask
from fusionbench.plan.lines import Line, Model, lines_by_row, model_of
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    from fusionbench.config.sections import EvaluationSection
    from fusionbench.contract.data import Dataset
    from fusionbench.data.splits import Fold
    from fusionbench.plan.jobs import FitJob
    from fusionbench.store.results import FitResult

SIGNIFICANCE = 0.05
SKILL = "brier_skill"
"""1 - Brier score / Brier score of the prevalence of the training rows, on the same rows."""
RAW = ".raw"
"""What is added to the name of a metric where it is of probabilities as the model says them."""

Mask = Callable[[Condition, int, int], NDArray[np.bool_]]


@dataclass(frozen=True)
class Scored:
    """One cell with its predictions.

    Args:
        model: The line, and the point of its curve.
        job: What was trained.
        result: What is stored of it.
        condition: What the test rows lack.
        probabilities: Float64 ``[test rows, outputs]``, recalibrated on validation rows that are shown alike: what is ranked.
        raw: The same as the model says them.
    """

    model: Model
    job: FitJob
    result: FitResult
    condition: Condition
    probabilities: NDArray[np.float64]
    raw: NDArray[np.float64]


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
    fold = study.folds[job.fold]
    return [
        Scored(
            model_of(job, condition, study.where),
            job,
            result,
            condition,
            *probabilities_of(result, label, study.dataset, fold),
        )
        for condition, label in zip(job.scored, job.labels, strict=True)
    ]


def cell_table(scored: Sequence[Scored], study: Evaluation) -> pd.DataFrame:
    """Return one row for each cell: arm, fold, seed, condition, every metric, achieved rate, mask.

    A metric under its own name is that of calibrated probabilities; with :data:`RAW` it is of what the model says.
    """
    dataset, records = study.dataset, []
    masks: dict[tuple[Condition, int, int], str] = {}
    for s in scored:
        rows = study.folds[s.job.fold].test.open(s.result.study)
        present = study.mask(s.condition, s.job.seed, s.job.fold)[rows]
        prevalence = prevalence_of(dataset, study.folds[s.job.fold].development.train)
        values = _metrics(s.probabilities, rows, prevalence, study)
        raw = _metrics(s.raw, rows, prevalence, study)
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
                **values,
                **{f"{name}{RAW}": v for name, v in raw.items() if name != "labels_used"},
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


def cell_columns(kind: TargetKind) -> set[str]:
    """Return the metrics that every table of cells has for a kind of target."""
    names = {*names_for(kind), SKILL}
    return names | {f"{name}{RAW}" for name in names}


def _metrics(
    probabilities: NDArray[np.float64], rows: NDArray[np.int64], prevalence: NDArray[np.float64], study: Evaluation
) -> dict[str, float]:
    """Every metric, and how far the Brier score is below that of a constant: the prevalence of the training rows."""
    import torch

    from fusionbench.metrics.scores import evaluate, score

    dataset = study.dataset
    target = torch.as_tensor(dataset.target[rows])
    names = [
        f"label {n}" if n == RAW.removeprefix(".") else n for n in dataset.shown_outputs
    ]  # or two columns had one name
    values = evaluate(torch.as_tensor(probabilities), target, dataset.kind, outputs=names)
    constant = torch.as_tensor(np.tile(prevalence, (len(rows), 1)))
    skill = 1 - values["brier"] / score("brier", constant, target, dataset.kind)
    return {**{name: float(v) for name, v in values.items()}, SKILL: float(skill)}


def with_skill(
    leaderboard: pd.DataFrame, scored: Sequence[Scored], cells: pd.DataFrame, study: Evaluation
) -> pd.DataFrame:
    """Add what the leaderboard says of probabilities at the lowest rate: means over folds and seeds.

    Args:
        leaderboard: One row for each line; one with gaps gets no numbers.
        scored: What the cells were made of, in their order.
        cells: As :func:`cell_table` returns them.
        study: Says which rate is the lowest.
    """
    first = study.rates[0]
    names = [SKILL, f"{SKILL}{RAW}", f"{study.metric}{RAW}"]
    lines = [s.model.line if s.model.point.rate == first else None for s in scored]
    means = {
        line: cells.loc[[x == line for x in lines], names].mean() for line in dict.fromkeys(lines) if line is not None
    }
    own = f"{study.metric}@{first:g}"
    constant = Line(PREVALENCE, "")  # by its definition
    means[constant] = pd.Series({SKILL: 0.0, f"{SKILL}{RAW}": 0.0, f"{study.metric}{RAW}": np.nan})
    if own in leaderboard:
        means[constant][f"{study.metric}{RAW}"] = leaderboard.loc[leaderboard["strategy"] == PREVALENCE, own].mean()
    whole = leaderboard["models"] == leaderboard["models_planned"]
    for place, name in enumerate(names, start=list(leaderboard.columns).index("models")):
        found = [
            float(means[line][name]) if complete and line in means else np.nan
            for line, complete in zip(lines_by_row(leaderboard), whole, strict=True)
        ]
        leaderboard.insert(place, f"{name}@{first:g}", found)
    return leaderboard


def on_complete_data(scored: Sequence[Scored], study: Evaluation) -> list[Predicted]:
    """Return what was predicted of complete data, for the table of calibration: recalibrated, then raw."""
    complete = [s for s in scored if s.condition == COMPLETE == s.model.point]
    opened = [study.folds[s.job.fold].test.open(s.result.study) for s in complete]
    return [
        Predicted(s.model.line, said, study.dataset.target[rows], rows, raw)
        for raw in (False, True)
        for s, rows in zip(complete, opened, strict=True)
        for said in [s.raw if raw else s.probabilities]
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
    probabilities: NDArray[np.float64], rows: NDArray[np.int64], study: Evaluation
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
