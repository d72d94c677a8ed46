"""Labels as scikit-learn wants them, and what to say of one that never differs among training rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fusionbench import TargetKind


def models_of(target: NDArray[np.int64], kind: TargetKind) -> Iterator[NDArray[np.int64]]:
    """Yield the labels of each model that is fitted: one for each label of a multi-label target, else one.

    Args:
        target: Int64 ``[rows]``, or ``[rows, labels]``.
        kind: What it means.
    """
    if kind is TargetKind.MULTILABEL:
        yield from target.T
    else:
        yield target.reshape(-1)


def log_scores(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return the logarithm of each class's share ``[classes]``, half a row added to each, so that none is without a chance."""
    counts = np.bincount(labels, minlength=classes) + 0.5
    found: NDArray[np.float64] = np.log(counts / counts.sum())
    return found


def log_odds(labels: NDArray[np.int64]) -> float:
    """Return the log-odds of label 1, half a row added to both."""
    scores = log_scores(labels, 2)
    return float(scores[1] - scores[0])
