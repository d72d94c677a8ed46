"""Columns among the features that say what a model must not know: the label, the manifest, who or which row it is.

A leak makes every number good and none of them true, so that nothing later shows it. Messages hold names of columns, never a
value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench import TargetKind
from fusionbench.data.files.frames import ID
from fusionbench_plugins.tasks.table.blocks import Block, texts_of
from fusionbench_plugins.tasks.table.manifest import PRESENCE
from fusionbench_plugins.tasks.table.target import Target

LEAST_ROWS = 10
"""With fewer rows, columns agree by chance."""

CHANCE = 1e-4
"""How probable it may be that one of the columns falls together with the label by chance."""

COLUMNS, MANIFEST_COLUMN = "<columns>", "<column>"
"""Where a sentence names them."""

_COLUMNS_AT_ONCE = 256
_LARGEST_WHOLE = 3e38
_LIKE_ROWS = re.compile(r"(index|level_\d+|row|rows|row_?(number|nr|num|no|id)|unnamed.*|__index_level_\d+__)")
_LIKE_IDS = re.compile(
    r"(.*_)?(id|ids|uid|uuid|guid|mrn|identifier|barcode|[psc]id)"
    r"|(patient|subject|sample|case|record|stay|hadm|study|person|visit|encounter|accession)_?(id|nr|no|num|number|code|key)?"
)

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Roles:
    """The manifest, and what its columns are for.

    Args:
        frame: All of it.
        targets: Columns of the label.
        others: Columns of patient, split and folds.
    """

    frame: pd.DataFrame
    targets: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def told(self) -> list[str]:
        """The columns that no feature may repeat under any name."""
        told = [*self.targets, *(f"{t}_name" for t in self.targets), *self.others, ID]
        told += [str(c) for c in self.frame if str(c).startswith(PRESENCE)]
        return [name for name in dict.fromkeys(told) if name in self.frame]


def leaks(block: Block, has: Flags, roles: Roles, target: Target | None) -> list[str]:
    """Return what must not be among the features of a modality, one sentence for each kind.

    Args:
        block: The features.
        has: Bool ``[rows]``, who has the modality.
        roles: The manifest.
        target: The label; None where it could not be read.
    """
    found: dict[int, str] = {}
    checks = [_named_in_manifest(block, roles), _rows_of_the_file(block), _identifiers(block)]
    checks += [_equal_to_manifest(block, roles), _samples_in_another_order(block, roles)]
    if target is not None:
        checks.append(_is_the_label(block, has & ~block.silent, target))
    for check in checks:
        for position, why in check:
            found.setdefault(position, why)
    kinds: dict[str, list[int]] = {}
    for position, why in found.items():
        kinds.setdefault(why, []).append(position)
    return [
        f"modality '{block.name}': {why.replace(COLUMNS, block.called(np.array(sorted(positions))))}"
        for why, positions in kinds.items()
    ]


def suspicions(block: Block, has: Flags, target: Target) -> Iterator[str]:
    """Yield what may be right and should be looked at: columns that part the classes without a single exception."""
    rows = has & ~block.silent
    for name, codes in _label_columns(target):
        apart = [
            p for p in _parting(block.values[rows], codes[rows]) if not _one_to_one(block.values[rows, p], codes[rows])
        ]
        if apart and _chance(codes[rows], block.values.shape[1]) < CHANCE:
            yield (
                f"modality {block.name}: {len(apart)} columns part {name} without one exception "
                f"({block.called(np.array(apart))}); known before the label?"
            )


# --------------------------------------------------------------------------------------------
# by name


def _plain(name: str) -> str:
    return name.strip().casefold()


_LABEL = f"the label is among the features: {COLUMNS}; take it out of the file"
_JOIN = f"holds samples as features: {COLUMNS}; call the column '{ID}', so that rows are joined by it"
_MANIFEST = (
    f"columns of the manifest are among the features: {COLUMNS}; take them out of the file, or rename them where they are "
    "something else"
)


def _named_in_manifest(block: Block, roles: Roles) -> Iterator[tuple[int, str]]:
    known = {_plain(str(c)): _MANIFEST for c in roles.frame}
    known |= {_plain(name): _LABEL for name in roles.targets} | {ID: _JOIN}
    yield from ((i, known[_plain(name)]) for i, name in enumerate(block.columns) if _plain(name) in known)


# --------------------------------------------------------------------------------------------
# by what they hold


_ROW_NUMBERS = (
    f"columns that number the rows are among the features: {COLUMNS}; an index that was written with the table? Take them out "
    "(index=False)"
)


def _rows_of_the_file(block: Block) -> Iterator[tuple[int, str]]:
    """Yield columns that are 0, 1, 2, ... in the order of rows, or one such column in another order."""
    values = block.values[~block.silent]
    if len(values) < LEAST_ROWS:
        return
    permuted = []
    with np.errstate(invalid="ignore"):  # infinities are refused elsewhere, together with this
        reach = np.ptp(values, axis=0)
    for position in np.flatnonzero(_whole(values) & (reach == len(values) - 1)):
        steps = np.diff(values[:, position])
        if (steps == 1).all() or (steps == -1).all():
            yield int(position), _ROW_NUMBERS
        elif values[:, position].min() in (0, 1) and len(np.unique(values[:, position])) == len(values):
            permuted.append(int(position))
    if len(permuted) == 1:  # several are ranks
        yield permuted[0], _ROW_NUMBERS


_IDENTIFIERS = (
    f"columns that say which sample or patient a row is are among the features: {COLUMNS}; call one "
    f"'{ID}' (here and in the manifest) to join by it, and take out the others"
)


def _identifiers(block: Block) -> Iterator[tuple[int, str]]:
    """Yield columns that are called like identifiers and differ from row to row."""
    values = block.values[~block.silent]
    for position, name in enumerate(block.columns):
        plain = re.sub(r"[ -]", "_", _plain(name))
        kinds = [why for like, why in ((_LIKE_ROWS, _ROW_NUMBERS), (_LIKE_IDS, _IDENTIFIERS)) if like.fullmatch(plain)]
        column = values[:, position]
        if kinds and _whole(column[:, None])[0] and len(np.unique(column)) > max(0.5 * len(column), 2):
            yield position, kinds[0]


def _whole(values: NDArray[np.float32]) -> Flags:
    with np.errstate(invalid="ignore"):
        return np.asarray((np.isfinite(values) & (values == np.floor(values))).all(axis=0))


def _equal_to_manifest(block: Block, roles: Roles) -> Iterator[tuple[int, str]]:
    rows = ~block.silent
    if rows.sum() < LEAST_ROWS:
        return
    for name in roles.told:
        texts = texts_of(roles.frame[name]).str.lower().replace({"true": "1", "false": "0"})
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)[rows]
        if not np.isfinite(numbers).all() or np.ptp(numbers) == 0:
            continue
        with np.errstate(over="ignore"):
            wanted = numbers.astype(np.float32)
        equal = (block.values[rows] == wanted[:, None]).all(axis=0)
        yield from ((position, _EQUAL.replace(MANIFEST_COLUMN, name)) for position in np.flatnonzero(equal).tolist())


def _samples_in_another_order(block: Block, roles: Roles) -> Iterator[tuple[int, str]]:
    """Yield columns that hold the numbers of a column of the manifest in which every row has its own."""
    values = block.values[~block.silent]
    for name in roles.frame:
        numbers = pd.to_numeric(texts_of(roles.frame[name]), errors="coerce").to_numpy(
            dtype=np.float64, na_value=np.nan
        )
        if len(numbers) < LEAST_ROWS or not np.isfinite(numbers).all() or np.abs(numbers).max() > _LARGEST_WHOLE:
            continue
        known = np.unique(numbers.astype(np.float32))
        if len(known) < len(numbers) or not _whole(known[:, None])[0] or len(values) < LEAST_ROWS:
            continue
        for position in np.flatnonzero(
            _whole(values) & (values.max(axis=0) <= known[-1]) & (values.min(axis=0) >= known[0])
        ):
            held = np.unique(values[:, position])
            if len(held) == len(values) and np.isin(held, known).all() and len(held) > 0.5 * len(known):
                yield int(position), _IDENTIFIERS


_EQUAL = f"columns that equal the manifest's '{MANIFEST_COLUMN}' in every row are among the features: {COLUMNS}; take them out"


# --------------------------------------------------------------------------------------------
# the label


def _is_the_label(block: Block, rows: Flags, target: Target) -> Iterator[tuple[int, str]]:
    values = block.values[rows]
    if len(values) < LEAST_ROWS:
        return
    for name, codes in _label_columns(target):
        if _chance(codes[rows], values.shape[1]) >= CHANCE:
            continue
        for position in _parting(values, codes[rows]):
            if _one_to_one(values[:, position], codes[rows]):
                yield position, _SAYS.replace(MANIFEST_COLUMN, name)
    if target.kind is TargetKind.MULTICLASS:
        yield from (
            (i, _SAYS.replace(MANIFEST_COLUMN, "one class of the label")) for i in _classes(values, target.values[rows])
        )


_SAYS = f"columns that say the same as {MANIFEST_COLUMN} in every row are among the features: {COLUMNS}; take them out"


def _classes(values: NDArray[np.float32], codes: NDArray[np.int64]) -> list[int]:
    """Return the columns of two values that are one class against the rest, as in a label that was made into columns."""
    two = np.isfinite(values).all(axis=0) & (values.max(axis=0) > values.min(axis=0))
    two &= ((values == values.max(axis=0)) | (values == values.min(axis=0))).all(axis=0)
    candidates = np.flatnonzero(two)
    if len(candidates) == 0:
        return []
    high = (values[:, candidates] == values[:, candidates].max(axis=0)).astype(np.int64)
    classes = (codes[:, None] == np.unique(codes)).astype(np.int64)
    together, sizes, wanted = classes.T @ high, high.sum(axis=0), classes.sum(axis=0)[:, None]
    same = (together == wanted) & (sizes == wanted)
    other = (together == 0) & (sizes == len(codes) - wanted)
    unlikely = np.array([_chance((column == 1).astype(np.int64), values.shape[1]) < CHANCE for column in classes.T])
    found: list[int] = candidates[((same | other) & unlikely[:, None]).any(axis=0)].tolist()
    return found


def _label_columns(target: Target) -> Iterator[tuple[str, NDArray[np.int64]]]:
    if target.kind is TargetKind.MULTILABEL:
        yield from ((f"label '{name}'", codes) for name, codes in zip(target.outputs, target.values.T, strict=True))
    else:
        yield "the label", target.values


def _chance(codes: NDArray[np.int64], columns: int) -> float:
    """How probable it is that one of so many columns parts the classes by chance: in a random order, classes lie together."""
    counts = np.bincount(codes)
    counts = counts[counts > 0]
    if len(counts) < 2 or len(codes) < LEAST_ROWS:
        return 1.0
    orders = math.lgamma(len(counts) + 1) + sum(math.lgamma(n + 1) for n in counts) - math.lgamma(len(codes) + 1)
    return min(1.0, columns * math.exp(orders))


def _parting(values: NDArray[np.float32], codes: NDArray[np.int64]) -> list[int]:
    """Return the columns in which the values of each class lie apart from those of every other."""
    found: list[int] = []
    for first in range(0, values.shape[1], _COLUMNS_AT_ONCE):
        part = values[:, first : first + _COLUMNS_AT_ONCE]
        finite = np.isfinite(part).all(axis=0)
        low = np.stack([part[codes == c].min(axis=0) for c in np.unique(codes)])
        high = np.stack([part[codes == c].max(axis=0) for c in np.unique(codes)])
        order = np.argsort(low, axis=0, kind="stable")
        low, high = np.take_along_axis(low, order, axis=0), np.take_along_axis(high, order, axis=0)
        apart = finite & (high[:-1] < low[1:]).all(axis=0)
        found += (first + np.flatnonzero(apart)).tolist()
    return found


def _one_to_one(column: NDArray[np.float32], codes: NDArray[np.int64]) -> bool:
    return len(np.unique(column)) == len(np.unique(codes))


def names_of_patients(target: Target, groups: NDArray[np.int64], grouped: bool) -> Sequence[str]:
    """Say that classes are patients: one class for each, with several rows."""
    if not grouped or target.kind is not TargetKind.MULTICLASS:
        return ()
    pairs = np.unique(np.stack([groups, target.values]), axis=1).shape[1]
    classes = len(target.outputs)
    alike = pairs == classes == len(np.unique(groups)) and classes > 2
    return (
        ("manifest: target: each class is one patient (column of 'group'): does 'target' name the right column?",)
        if alike
        else ()
    )
