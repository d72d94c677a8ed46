"""Patient-level folds, and the seal on their test rows.

A patient is in one part of a fold only. Assignment depends on the patient's number, the salt and the
label stratum; never on strategies, seeds or the order of work.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import DataError

if TYPE_CHECKING:
    from fusionbench.config.sections import SplitsSection
    from fusionbench.contract.data import Dataset

RowIndices = NDArray[np.int64]


class SealedRows:
    """Test rows that cannot be read before the choice of hyper-parameters is final.

    Tuning receives :class:`Development`, which has no way here. :meth:`open` asks for the digest of the
    sealed study, which is stored beside the result.
    """

    def __init__(self, rows: RowIndices) -> None:
        self.__rows = rows

    def __len__(self) -> int:
        return len(self.__rows)

    def open(self, study_digest: str) -> RowIndices:
        """Return the rows, given the digest of the study that chose the model.

        Raises:
            ValueError: No digest is given.
        """
        if not study_digest:
            raise ValueError("test rows open only with the digest of a sealed study")
        return self.__rows

    def to_draw_masks(self) -> RowIndices:
        """Return the rows for drawing who is missing in them, which is done before any model is trained, and for nothing else."""
        return self.__rows


@dataclass(frozen=True)
class Development:
    """All that training and tuning may know of a fold.

    Args:
        fold: Its number.
        train: Row numbers that parameters and statistics are fitted on.
        validation: Row numbers that select epochs and hyper-parameters.
    """

    fold: int
    train: RowIndices
    validation: RowIndices


@dataclass(frozen=True)
class Fold:
    """One split of the rows."""

    development: Development
    test: SealedRows

    @property
    def index(self) -> int:
        """Its number."""
        return self.development.fold


def make_folds(dataset: Dataset, settings: SplitsSection) -> list[Fold]:
    """Split by patient, stratified by label.

    Raises:
        DataError: The data do not come with what ``source: task`` asks for, or a part has no row.
    """
    if settings.source == "task" and dataset.split is not None:
        return [_fixed_fold(dataset, settings)]
    parts = _parts(dataset, settings)
    wanted = range(settings.folds) if settings.use is None else settings.use
    folds = []
    for index in wanted:
        if not np.any(parts == index):
            raise DataError(_no_patient(dataset, settings, index))
        rest = np.flatnonzero(parts != index)
        held = _share(dataset, rest, settings.validation, f"{settings.salt}/validation/{index}")
        folds.append(_fold(index, rest[~held], rest[held], np.flatnonzero(parts == index)))
    return folds


def whole(dataset: Dataset, settings: SplitsSection) -> Development:
    """Split all rows into training and validation rows, for a model that is used and not tested.

    Where the data come with a split and ``source: task`` asks for it, its test rows are left out.

    Raises:
        DataError: A part has no row.
    """
    if settings.source == "task" and dataset.split is not None:
        return _fixed_fold(dataset, settings).development
    rows = np.arange(len(dataset))
    held = _share(dataset, rows, settings.validation, f"{settings.salt}/validation/whole")
    if held.all() or not held.any():
        raise DataError(
            f"{len(rows)} rows are too few for training and validation rows of both; use another splits.validation"
        )
    return Development(0, rows[~held], rows[held])


def _no_patient(dataset: Dataset, settings: SplitsSection, index: int) -> str:
    patients = len(np.unique(dataset.groups))
    if settings.source != "task" or dataset.folds is None:
        return f"fold {index} has no patient: {patients} patients, splits.folds is too large"
    given = np.unique(dataset.folds[dataset.folds >= 0])
    named = ", ".join(map(str, given[:10])) + (", ..." if len(given) > 10 else "")
    if len(given) and given[0] == 1:
        return f"fold {index} has no patient: the data number their {len(given)} folds from 1 ({named}); number them from 0"
    if len(given) and given[-1] == len(given) - 1:
        return (
            f"fold {index} has no patient: the data come with {len(given)} folds and splits.folds is {settings.folds}; set it "
            f"to {len(given)}"
        )
    return f"fold {index} has no patient: the data come with the folds {named}; number them 0, 1, 2, ... without a gap"


def _fold(index: int, train: RowIndices, validation: RowIndices, test: RowIndices) -> Fold:
    for name, rows in (("training", train), ("validation", validation), ("test", test)):
        if len(rows) == 0:
            raise DataError(f"fold {index} has no {name} rows; use fewer folds or another splits.validation share")
    return Fold(Development(index, train, validation), SealedRows(test))


def _fixed_fold(dataset: Dataset, settings: SplitsSection) -> Fold:
    """The source's split; where it has no validation part, a stratified share of its training rows becomes one."""
    assert dataset.split is not None
    train, validation, test = (np.flatnonzero(dataset.split == p) for p in ("train", "validation", "test"))
    if len(validation) == 0:
        held = _share(dataset, train, settings.validation, f"{settings.salt}/validation/0")
        train, validation = train[~held], train[held]
    return _fold(0, train, validation, test)


def _parts(dataset: Dataset, settings: SplitsSection) -> RowIndices:
    """Fold number of each row."""
    if settings.source == "task":
        if dataset.folds is None:
            raise DataError("splits.source is 'task', but this task comes with neither a split nor folds; use 'hash'")
        given = int(dataset.folds.max()) + 1
        if given > settings.folds and np.any(dataset.folds == 0):  # the rows of the others would never be tested
            raise DataError(f"the data come with {given} folds and splits.folds is {settings.folds}; set it to {given}")
        return dataset.folds
    groups, inverse = np.unique(dataset.groups, return_inverse=True)
    fold_of = np.empty(len(groups), dtype=np.int64)
    offset = 0
    for members in strata_of(dataset, np.arange(len(dataset)), inverse, len(groups)):
        ordered = members[np.argsort([patient_hash(settings.salt, int(groups[g])) for g in members])]
        # the next stratum goes on where this one ended, so that fold sizes differ by one patient at most
        fold_of[ordered] = (np.arange(len(ordered)) + offset) % settings.folds
        offset += len(ordered)
    result: RowIndices = fold_of[inverse]
    return result


def _share(dataset: Dataset, rows: RowIndices, share: float, salt: str) -> NDArray[np.bool_]:
    """Return bool ``[len(rows)]``: a stratified share of the patients; of two or more in a stratum some, and not all."""
    groups, inverse = np.unique(dataset.groups[rows], return_inverse=True)
    chosen = np.zeros(len(groups), dtype=np.bool_)
    for members in strata_of(dataset, rows, inverse, len(groups)):
        ordered = members[np.argsort([patient_hash(salt, int(groups[g])) for g in members])]
        count = min(max(round(share * len(ordered)), 1), len(ordered) - 1)
        chosen[ordered[:count]] = True
    result: NDArray[np.bool_] = chosen[inverse]
    return result


def strata_of(dataset: Dataset, rows: RowIndices, inverse: RowIndices, count: int) -> list[RowIndices]:
    """Return patients (positions in the unique groups) by their label: the largest class, or the number of labels in fours.

    Args:
        dataset: What the task prepared.
        rows: Those of the patients.
        inverse: For each row its patient's position.
        count: How many patients.
    """
    target = dataset.target[rows]
    label = target if target.ndim == 1 else target.sum(axis=1) // 4
    of_group = np.zeros(count, dtype=np.int64)
    np.maximum.at(of_group, inverse, label)
    return [np.flatnonzero(of_group == value) for value in np.unique(of_group)]


def patient_hash(salt: str, group: int) -> bytes:
    """Return the SHA-256 of ``<salt>/<number>``."""
    return hashlib.sha256(f"{salt}/{group}".encode()).digest()
