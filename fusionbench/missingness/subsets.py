"""What each modality is worth: models shown every subset of the modalities.

Every trained model is also scored with only a subset of what a row has (OmniFuse's tables 2 and 3). From these numbers come
the exact Shapley value of a modality, and how lazy joint training left it. A row that has nothing of a subset is predicted
by the training prevalence, so that all subsets are scored on the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fusionbench.metrics.statistics import subsets_of
from fusionbench.missingness.conditions import Condition

if TYPE_CHECKING:
    from fusionbench.contract.data import Dataset

ONLY = "only "
NOTHING = Condition(f"{ONLY}nothing", 0.0)
"""The empty subset: everybody predicts the prevalence."""


def subset_conditions(names: Sequence[str]) -> list[Condition]:
    """Return one condition for each non-empty proper subset of the modalities, in the order of ``Dataset.ceiling``."""
    return [subset_condition(subset, names) for subset in subsets_of(names)[1:-1]]


def subset_condition(subset: frozenset[str], names: Sequence[str]) -> Condition:
    """Return the condition that shows a subset of the modalities."""
    return Condition(ONLY + "+".join(n for n in names if n in subset), 0.0)


def is_subset(condition: Condition) -> bool:
    """Whether a condition shows a subset of the modalities."""
    return condition.pattern.startswith(ONLY)


def members(condition: Condition) -> tuple[str, ...]:
    """Return the modalities that a subset condition shows."""
    return () if condition == NOTHING else tuple(condition.pattern.removeprefix(ONLY).split("+"))


def subset_mask(available: NDArray[np.bool_], names: Sequence[str], condition: Condition) -> NDArray[np.bool_]:
    """Bool ``[rows, modalities]``: what a row has of the subset; rows may be empty."""
    shown: NDArray[np.bool_] = available & np.array([n in members(condition) for n in names])
    return shown


def shown_mask(available: NDArray[np.bool_], names: Sequence[str], condition: Condition) -> NDArray[np.bool_]:
    """Return what a model is given: the subset, and all that a row has where it has nothing of it.

    What is said of those rows is not used (they are predicted by :func:`prevalence_of`), so what is shown there does not matter.
    """
    mask = subset_mask(available, names, condition)
    return np.where(mask.any(axis=1, keepdims=True), mask, available)


def prevalence_of(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of each label, or class, among training rows: float64 ``[outputs]``.

    It is the one constant that stands for "nothing is known of this row": whoever predicts such rows, in tables, in trials
    and in subsets, takes it from here, because two constants that differ in the eighth digit would be ranked.
    """
    target = dataset.target[rows]
    if dataset.kind == "multiclass":
        counts = np.bincount(target, minlength=len(dataset.outputs))
        return np.asarray(counts / counts.sum(), dtype=np.float64)
    return np.asarray(target.reshape(len(target), -1).mean(axis=0, dtype=np.float64))
