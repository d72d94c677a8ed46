"""Calibration before scoring."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench.targets import TargetKind

Floats = NDArray[np.float64]


class Known(NamedTuple):
    """What logits are calibrated on: validation rows, shown as the condition shows test rows.

    Args:
        logits: Float ``[rows, outputs]``.
        target: Int64 ``[rows]``, or ``[rows, labels]``.
        shown: Int64 ``[rows]``: the subset of modalities that a row shows; 0: nothing.
        prevalence: Float64 ``[outputs]``: shares of the training rows.
        kind: What the outputs mean.
    """

    logits: NDArray[np.floating[Any]]
    target: NDArray[np.int64]
    shown: NDArray[np.integer[Any]]
    prevalence: Floats
    kind: TargetKind


def plain(logits: NDArray[np.floating[Any]], kind: TargetKind) -> Floats:
    """Return the probabilities that logits ``[rows, outputs]`` say."""
    from scipy.special import expit, softmax

    z = np.asarray(logits, dtype=np.float64)
    return np.asarray(softmax(z, axis=-1) if kind == TargetKind.MULTICLASS else expit(z))


def recalibrated(logits: NDArray[np.floating[Any]], shown: NDArray[np.integer[Any]], known: Known) -> Floats:
    """Return calibrated probabilities; the prevalence for rows that show nothing."""
    return np.where((shown == 0)[:, None], known.prevalence, plain(logits, known.kind))
