"""Inner folds: other splits of a fold's training and validation rows, over which trials of tuning are compared.

Where few rows validate, one split chooses among trials by chance. All that is here sees development rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from fusionbench.contract.data import Dataset
from fusionbench.data.splits import Development, RowIndices, patient_hash, strata_of
from fusionbench.errors import DataError

ENOUGH: Final = 25
"""Patients of the rarer class that validation parts are to hold together, where ``auto`` decides."""
MOST: Final = 5
"""Inner folds that ``auto`` takes at most: each costs as much as the whole study on one split."""


def number_of(dataset: Dataset, development: Development, asked: Literal["auto"] | int) -> int:
    """Return over how many inner folds the trials of a fold are compared.

    ``auto`` leaves a split alone that the data come with: who chose it may have had a reason (another year, another hospital).

    Args:
        dataset: What the task prepared.
        development: Of the fold.
        asked: ``tuning.inner_folds``.
    """
    if asked != "auto":
        return asked
    if dataset.split is not None and np.any(dataset.split == "validation"):
        return 1
    few = rarest(dataset, development.validation)
    return max(1, min(MOST, -(-ENOUGH // max(few, 1)), _most(dataset, development)))


def rarest(dataset: Dataset, rows: RowIndices) -> int:
    """Return how many patients have the rarer of two outcomes, or the rarest class; of several labels, for the median label."""
    target, groups = dataset.target[rows], dataset.groups[rows]
    columns = [target] if target.ndim == 1 else list(target.T)
    values = np.arange(max(2, len(dataset.outputs)) if target.ndim == 1 else 2)
    found = [min(len(np.unique(groups[column == value])) for value in values) for column in columns]
    return int(np.median(found))


def inner_folds(dataset: Dataset, development: Development, number: int, salt: str) -> list[Development]:
    """Return splits of a fold's development rows by patient, stratified as the fold is; the first is the fold's own.

    Within each stratum patients stand in a fixed order, those of the fold's validation part first; the k-th validation part is
    the k-th stretch of as many. So all parts are equally large, and hold other patients each, unless a stratum has too few.

    Args:
        dataset: What the task prepared.
        development: Of the fold.
        number: How many splits.
        salt: ``splits.salt``.

    Raises:
        DataError: Validation parts would repeat patients.
    """
    if number == 1:
        return [development]
    most = _most(dataset, development)
    if number > most:
        raise DataError(
            f"tuning.inner_folds: {number} validation parts as large as that of fold {development.fold} would repeat patients; "
            f"{most} have patients of their own: set it to {most} at most, or to auto"
        )
    rows = np.sort(np.concatenate([development.train, development.validation]))
    groups, inverse = np.unique(dataset.groups[rows], return_inverse=True)
    own = np.isin(groups, dataset.groups[development.validation])
    key = f"{salt}/inner/{development.fold}"
    held = np.zeros((number, len(groups)), dtype=np.bool_)
    for members in strata_of(dataset, rows, inverse, len(groups)):
        ordered = sorted(members, key=lambda g: (not own[g], patient_hash(key, int(groups[g]))))
        count = int(own[members].sum())
        for k in range(number):
            held[k, [ordered[(k * count + i) % len(ordered)] for i in range(count)]] = True
    parts = [h[inverse] for h in held[1:]]
    return [development, *(Development(development.fold, rows[~h], rows[h]) for h in parts)]


def usable(dataset: Dataset, parts: Sequence[tuple[RowIndices, RowIndices]]) -> list[int]:
    """Return the numbers of the splits that an arm can be trained and scored on; the first is always among them.

    An arm that reads some modalities only has no use for rows without them. What is left of a validation part must hold
    every class that is left of the first.

    Args:
        dataset: What the task prepared.
        parts: Of each split the training and validation rows that show the arm anything.
    """
    if dataset.target.ndim > 1:  # labels that a part lacks are left out of its mean
        return [k for k, (train, held) in enumerate(parts) if k == 0 or (len(train) > 0 and len(held) > 0)]
    classes = [set(np.unique(dataset.target[held]).tolist()) for _, held in parts]
    return [k for k, (train, _) in enumerate(parts) if k == 0 or (len(train) > 0 and classes[k] >= classes[0])]


def _most(dataset: Dataset, development: Development) -> int:
    """How many validation parts as large as the fold's own have patients of their own."""
    own, others = (len(np.unique(dataset.groups[r])) for r in (development.validation, development.train))
    return 1 + others // own
