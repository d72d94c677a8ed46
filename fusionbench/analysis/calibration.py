"""Stored logits as probabilities, and reliability: what was predicted beside what happened.

Bins hold enough rows to say nothing about one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.errors import DataError
from fusionbench.metrics.recalibration import Known, plain, recalibrated
from fusionbench.missingness.subsets import prevalence_of
from fusionbench.plan.lines import Line
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    from fusionbench.contract.data import Dataset
    from fusionbench.data.splits import Fold
    from fusionbench.store.results import FitResult

BINS = 10
FEWEST_ROWS = 10
"""A bin with fewer rows is merged with its neighbour."""

COLUMNS = [*Line._fields, "raw", "low", "high", "predictions", "rows", "predicted", "observed"]


class Predicted(NamedTuple):
    """One model's predictions of test rows.

    Args:
        line: Whose.
        probabilities: Float ``[rows, outputs]``.
        target: Int64 ``[rows]`` or ``[rows, labels]``.
        rows: Int64 ``[rows]``: which rows these are; several seeds predict the same ones.
        raw: Whether they are as the model says them, and not recalibrated.
    """

    line: Line
    probabilities: NDArray[np.floating[Any]]
    target: NDArray[np.int64]
    rows: NDArray[np.int64]
    raw: bool = False


class Said(NamedTuple):
    """Probabilities of the test rows under one condition, float64 ``[rows, outputs]``.

    Args:
        calibrated: Intercept and slope fitted on the validation rows that are shown alike: what is scored and ranked.
        raw: As the model says them.
    """

    calibrated: NDArray[np.float64]
    raw: NDArray[np.float64]


def probabilities_of(result: FitResult, label: str, dataset: Dataset, fold: Fold) -> Said:
    """Return what a stored model says of the test rows under a condition; the prevalence where a row shows it nothing.

    Args:
        result: What is stored; its study opens the test rows.
        label: Of the condition.
        dataset: Whose rows were scored.
        fold: Theirs.

    Raises:
        DataError: What is stored is of other rows than the fold has.
    """
    if (len(result.logits[label]), len(result.validation[label])) != (len(fold.test), len(fold.development.validation)):
        raise DataError("the stored predictions are of other rows")
    validation, prevalence = fold.development.validation, prevalence_of(dataset, fold.development.train)
    logits, shown = result.logits[label], result.shown[label]
    known = Known(
        result.validation[label], dataset.target[validation], result.validation_shown[label], prevalence, dataset.kind
    )
    raw = np.where(shown[:, None] > 0, plain(logits, dataset.kind), prevalence)
    return Said(recalibrated(logits, shown, known), raw)


def calibration_table(predictions: Iterable[Predicted], kind: TargetKind) -> pd.DataFrame:
    """Compare predictions with what happened, over all folds and seeds.

    Args:
        predictions: Of test rows.
        kind: Binary: probability of label 1. Several labels: all of them together. Several classes: the probability of the
            class that is said, and whether it is right.

    Returns:
        One row for each line, for recalibrated predictions and for ``raw`` ones, and bin: ``low`` and ``high`` edge,
        ``predictions`` (their number), ``rows`` (different ones, at least :data:`FEWEST_ROWS`), mean ``predicted`` and share
        ``observed``. A line with too few rows for one bin has none.
    """
    pooled: dict[tuple[Line, bool], list[NDArray[np.float64]]] = {}
    for found in predictions:
        pooled.setdefault((found.line, found.raw), []).append(_said(found, kind))
    records = [
        dict(zip(COLUMNS, (*line, raw, *one), strict=True))
        for (line, raw), parts in pooled.items()
        for one in _bins(np.concatenate(parts, axis=1))
    ]
    return pd.DataFrame(records, columns=COLUMNS)


def _said(found: Predicted, kind: TargetKind) -> NDArray[np.float64]:
    """Float64 ``[3, n]``: what was said with which probability, whether it happened, and in which row."""
    p = found.probabilities
    if kind is TargetKind.MULTICLASS:
        return np.stack([p.max(axis=1), p.argmax(axis=1) == found.target, found.rows]).astype(np.float64)
    happened = found.target.reshape(len(p), -1)
    rows = np.broadcast_to(found.rows[:, None], happened.shape)
    return np.stack([p.reshape(len(p), -1).ravel(), happened.ravel(), rows.ravel()]).astype(np.float64)


def _bins(said: NDArray[np.float64]) -> Iterator[tuple[float, float, int, int, float, float]]:
    index = np.searchsorted(np.arange(1, BINS) / BINS, said[0], side="right")  # the last bin holds 1
    for first, last in _merged([len(np.unique(said[2, index == b])) for b in range(BINS)]):
        inside = said[:, (index >= first) & (index <= last)]
        rows = len(np.unique(inside[2]))
        if rows >= FEWEST_ROWS:
            yield first / BINS, (last + 1) / BINS, inside.shape[1], rows, inside[0].mean(), inside[1].mean()


def _merged(rows: list[int]) -> list[tuple[int, int]]:
    """First and last bin of each group of neighbours in which one at least has enough rows, empty ends left out."""
    groups: list[tuple[int, int]] = []
    first: int | None = None
    for b, count in enumerate(rows):
        if count == 0:
            continue
        first = b if first is None else first
        if count >= FEWEST_ROWS:
            groups.append((first, b))
            first = None
    if first is not None:  # what is left joins the group before it
        last = max(b for b, count in enumerate(rows) if count)
        groups = [*groups[:-1], (groups[-1][0] if groups else first, last)]
    return groups
