"""Models that learnt nothing: no better on their validation rows than the prevalence, where the others of their line are.

One such model pulls the mean of its line down and looks like a weak method. The score that is looked at selected the epoch, on
validation rows; test rows play no part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fusionbench.analysis.words import metric_name, number
from fusionbench.contract.data import Dataset
from fusionbench.metrics.registry import METRICS
from fusionbench.metrics.scores import score
from fusionbench.missingness.subsets import prevalence_of
from fusionbench.plan.jobs import FitJob
from fusionbench.store.results import FitResult
from fusionbench.targets import TargetKind, row_losses

MOST_NAMED: Final = 3
"""Models of a line that are named one by one."""

Rows = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Training and validation rows of a model."""


class _Judged(NamedTuple):
    job: FitJob
    score: float
    gain: float  # over the prevalence
    error: float | None  # standard error of the gain of a model that knows nothing, where it is known


def dead_notes(
    results: Sequence[tuple[FitJob, FitResult]],
    dataset: Dataset,
    metric: str,
    rows: Callable[[FitJob], Rows],
    *,
    by_loss: bool,
) -> list[str]:
    """Say which models are no better than the prevalence, or hardly, one sentence for each line.

    Args:
        results: Trained models.
        dataset: Their labels.
        metric: What selected epochs.
        rows: Training and validation rows of a model.
        by_loss: Whether the loss selected them instead.
    """
    lines: dict[str, list[_Judged]] = {}
    for job, result in results:
        if math.isfinite(result.score):
            lines.setdefault(job.arm.label, []).append(_judged(job, result, dataset, metric, rows(job), by_loss))
    measure = "loss" if by_loss else metric_name(metric)
    lower = by_loss or not METRICS[metric].higher_is_better
    return [_sentence(label, dead, own, measure, lower) for label, own in lines.items() if (dead := list(_dead(own)))]


def _judged(job: FitJob, result: FitResult, dataset: Dataset, metric: str, rows: Rows, by_loss: bool) -> _Judged:
    train, validation = rows
    chance = prevalence_of(dataset, train)
    target = torch.as_tensor(dataset.target[validation])
    constant = torch.as_tensor(np.broadcast_to(chance, (len(validation), len(chance))).copy()).double()
    if by_loss:
        p = constant.clamp(1e-7, 1 - 1e-7)
        logits = p.log() if dataset.kind is TargetKind.MULTICLASS else torch.logit(p)
        level = -float(row_losses(logits, target, dataset.kind).mean())
    else:
        found = float(score(metric, constant, target, dataset.kind))
        level = found if METRICS[metric].higher_is_better else -found
    return _Judged(job, result.score, result.score - level, None if by_loss else _error(metric, dataset, target))


def _error(metric: str, dataset: Dataset, target: torch.Tensor) -> float | None:
    """Standard error of the area under the curve of a model that knows nothing; None of other metrics, which have no formula."""
    if metric != "auroc" or dataset.kind is not TargetKind.BINARY:
        return None
    ones = int(target.sum())
    zeros = len(target) - ones
    return math.sqrt((ones + zeros + 1) / (12 * ones * zeros)) if ones and zeros else None


def _dead(models: Sequence[_Judged]) -> Iterator[_Judged]:
    for number_, one in enumerate(models):
        usual = median([m.gain for i, m in enumerate(models) if i != number_] or [0.0])
        # what two standard errors cannot tell from nothing, where the others are clearly beyond; else a quarter of the others
        unsure = usual / 4 if one.error is None else min(usual / 2, 2 * one.error)
        clear = len(models) > 2 and (one.error is None or usual > 2 * one.error)
        if one.gain <= 0 or (clear and one.gain < unsure):
            yield one


def _sentence(label: str, dead: Sequence[_Judged], models: Sequence[_Judged], measure: str, lower: bool) -> str:
    shown = -1.0 if lower else 1.0
    named = [f"fold {d.job.fold}, seed {d.job.seed}: {number(shown * d.score)}" for d in dead[:MOST_NAMED]]
    named += [f"and {len(dead) - MOST_NAMED} more"] if len(dead) > MOST_NAMED else []
    others = [m.score for m in models if m not in dead]
    usual = f"; the others of the line: {number(shown * median(others))} in the median" if others else ""
    verb = "do" if len(dead) > 1 else "does"
    return (
        f"'{label}': {len(dead)} of {len(models)} models {verb} hardly better than the prevalence on validation rows "
        f"({measure}; {'; '.join(named)}{usual}). Such a model learnt nothing, and pulls its line down: look at its traces "
        "and options before the line is read as a method's."
    )
