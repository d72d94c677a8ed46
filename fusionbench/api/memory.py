"""Data in memory as a data set: arrays, texts and tables that a user already has."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.contract.data import Dataset, Modality, Task
from fusionbench.contract.registration import Registration
from fusionbench.errors import ConfigError, DataError
from fusionbench.metrics.registry import primary
from fusionbench.plugins.given import DISTRIBUTION
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    from pathlib import Path

    from fusionbench.progress import Progress

TASK = "in_memory"
"""What the task of such a data set is called."""
MOST_CLASSES = 100
PARTS = ("train", "validation", "test")


def dataset(
    arrays: Mapping[str, Any],
    target: Any,
    groups: Sequence[Hashable] | NDArray[Any] | None = None,
    *,
    present: Mapping[str, Any] | None = None,
    kind: str | None = None,
    outputs: Sequence[str] = (),
    split: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    metric: str | None = None,
    synthetic: bool = False,
    description: str = "",
) -> Dataset:
    """Return data in memory as a data set, for :func:`fusionbench.run` and :func:`fusionbench.fit`.

    Args:
        arrays: By name of a modality, one entry for each row: numbers ``[rows, width]`` (an array, or a table with names of
            columns) are a vector; ``[rows, steps, channels]``, or a list of ``[steps, channels]`` of differing length, a
            series; bytes (uint8) ``[rows, height, width]`` an image; a list of strings a text. A row of NaN, an empty text,
            None: the row lacks the modality.
        target: The label of each row: 0 and 1, true and false, or the classes; ``[rows, labels]`` of 0 and 1: several labels.
        groups: Whose row it is: rows of one patient stay together in every split. None: every row is somebody else's.
        present: By name of a modality, bool ``[rows]``, True = the row has it; what is not named follows from the arrays.
        kind: ``binary``, ``multiclass`` or ``multilabel``; None: it follows from the target.
        outputs: Names of the classes or labels.
        split: ``train``, ``validation`` or ``test`` for each row, where that is fixed (``splits={"source": "task"}``).
        folds: The fold of each row, from 0, where that is fixed.
        metric: What lines are ranked by; None: accuracy for classes, else AUROC.
        synthetic: True: no real person is in the data; every output then says so.
        description: One sentence, for the report.

    Raises:
        DataError: Everything that is wrong with the data.
    """
    if not arrays:
        raise DataError("arrays: no modality; give one array at least, by name: {'labs': values}")
    labels = _Target.of(target, kind, outputs)
    rows, problems = len(labels.values), list[str]()
    modalities: dict[str, Modality] = {}
    columns: list[NDArray[np.bool_]] = []
    for name, values in arrays.items():
        try:
            modality, there = modality_of(str(name), values, (present or {}).get(name))
        except DataError as problem:
            problems.append(str(problem))
            continue
        if len(there) != rows:
            problems.append(f"arrays: '{name}' has {len(there):,} rows, and the target has {rows:,}")
        modalities[str(name)] = modality
        columns.append(there)
    problems += [f"present: no modality named '{name}'" for name in present or {} if name not in arrays]
    for what, given in (("groups", groups), ("split", split), ("folds", folds)):
        if given is not None and len(given) != rows:
            problems.append(f"{what}: {len(given):,} entries, and the target has {rows:,} rows")
    if split is not None and (other := set(map(str, split)) - set(PARTS)):
        problems.append(f"split: holds {', '.join(sorted(other)[:3])}; accepted: {', '.join(PARTS)}")
    if problems:
        raise DataError("\n".join(problems))
    available = np.stack(columns, axis=1)
    if (empty := int((~available.any(axis=1)).sum())) > 0:
        raise DataError(f"arrays: {empty:,} of {rows:,} rows have no modality at all; leave them out")
    content: dict[str, Any] = {
        "modalities": modalities,
        "available": available,
        "target": labels.values,
        "kind": labels.kind,
        "outputs": labels.outputs,
        "groups": _numbers(groups, rows),
        "metric": primary(
            metric or ("accuracy" if labels.kind is TargetKind.MULTICLASS else "auroc"), labels.kind
        ).name,
        "split": None if split is None else np.asarray(split, dtype=np.str_),
        "folds": None if folds is None else np.asarray(folds, dtype=np.int64),
    }
    return Dataset(**content, digest=_digest(content), synthetic=synthetic, description=description)


def modality_of(name: str, values: Any, present: Any = None) -> tuple[Modality, NDArray[np.bool_]]:
    """Return one modality, and who has it: bool ``[rows]``.

    Args:
        name: Of the modality.
        values: As :func:`dataset` takes them.
        present: Bool ``[rows]``; None: it follows from the values.

    Raises:
        DataError: The values are of no kind that is known, or not finite where the modality is there.
    """
    columns = tuple(map(str, values.columns)) if hasattr(values, "columns") else ()
    listed = list(values) if isinstance(values, list | tuple) or str(getattr(values, "dtype", "")) == "object" else None
    if listed is not None and columns == () and any(isinstance(v, str) for v in listed):
        return _texts(name, listed, present)
    if listed is not None and columns == () and any(np.ndim(v) == 2 for v in listed):
        return _series(name, listed, present)
    try:
        found = np.asarray(values.to_numpy() if columns else values)
        found = found if found.dtype == np.uint8 else found.astype(np.float32)
    except (TypeError, ValueError):
        raise DataError(
            f"arrays: '{name}' holds {type(values).__name__} of what are no numbers; accepted: numbers, uint8 images, texts"
        ) from None
    if found.dtype == np.uint8 and found.ndim == 3:
        there = np.ones(len(found), dtype=np.bool_) if present is None else np.asarray(present, dtype=np.bool_)
        return Modality("image", found), there
    found = found.astype(np.float32)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim not in (2, 3):
        raise DataError(
            f"arrays: '{name}' has the shape {list(found.shape)}; accepted: [rows, width], [rows, steps, channels], and uint8 "
            "[rows, height, width] for images"
        )
    flat = found.reshape(len(found), -1)
    there = ~np.isnan(flat).all(axis=1) if present is None else np.asarray(present, dtype=np.bool_)
    if (bad := int((~np.isfinite(flat[there])).any(axis=1).sum())) > 0:
        raise DataError(
            f"arrays: '{name}' has single values that are missing or infinite in {bad:,} of {int(there.sum()):,} rows; fill them "
            "as you see fit; a row that is NaN as a whole lacks the modality"
        )
    found = np.where(there.reshape(-1, *[1] * (found.ndim - 1)), found, np.float32(0))
    every = np.ones(found.shape[-1], dtype=np.bool_)
    return Modality("vector" if found.ndim == 2 else "series", found, standardise=every, columns=columns), there


def _texts(name: str, values: Sequence[Any], present: Any) -> tuple[Modality, NDArray[np.bool_]]:
    if other := [v for v in values if not isinstance(v, str) and v is not None and v == v]:  # noqa: PLR0124 - NaN
        raise DataError(f"arrays: '{name}' holds texts, and {len(other):,} entries of {type(other[0]).__name__}")
    texts = [v if isinstance(v, str) else "" for v in values]
    there = np.array([bool(t.strip()) for t in texts]) if present is None else np.asarray(present, dtype=np.bool_)
    return Modality("text", [t if has else "" for t, has in zip(texts, there, strict=True)]), there


def _series(name: str, values: Sequence[Any], present: Any) -> tuple[Modality, NDArray[np.bool_]]:
    """Series of differing length, padded."""
    shapes = {np.shape(v)[1] for v in values if np.ndim(v) == 2}
    if len(shapes) > 1 or any(v is not None and np.ndim(v) != 2 for v in values):
        raise DataError(
            f"arrays: '{name}' is a list of series, which need one number of channels; found {sorted(shapes)}"
        )
    there = np.array([v is not None and len(v) > 0 for v in values])
    there = there if present is None else there & np.asarray(present, dtype=np.bool_)
    lengths = np.array([len(v) if has else 1 for v, has in zip(values, there, strict=True)], dtype=np.int64)
    found = np.zeros((len(values), int(lengths.max()), shapes.pop()), dtype=np.float32)
    for row in np.flatnonzero(there).tolist():
        found[row, : lengths[row]] = values[row]
    if (bad := int((~np.isfinite(found)).any(axis=(1, 2)).sum())) > 0:
        raise DataError(
            f"arrays: '{name}' has values that are missing or infinite in {bad:,} rows; fill them as you see fit"
        )
    return Modality("series", found, lengths, np.ones(found.shape[-1], dtype=np.bool_)), there


class _Target:
    """The labels as models read them."""

    def __init__(self, values: NDArray[np.int64], kind: TargetKind, outputs: tuple[str, ...]) -> None:
        self.values, self.kind, self.outputs = values, kind, outputs

    @classmethod
    def of(cls, target: Any, kind: str | None, outputs: Sequence[str]) -> _Target:
        """Read them.

        Raises:
            DataError: They are no labels.
        """
        if kind is not None and kind not in list(TargetKind):
            raise DataError(f"kind: {kind!r}; accepted: {', '.join(TargetKind)}")
        names = tuple(map(str, target.columns)) if hasattr(target, "columns") else ()
        values = np.asarray(target)
        if values.ndim == 2 and values.shape[1] > 1:
            return cls._several(values, tuple(outputs) or names)
        values = values.reshape(-1)
        if values.dtype.kind == "f":
            if not np.isfinite(values).all() or (values != np.floor(values)).any():
                raise DataError("target: holds fractions or missing numbers; accepted: 0 and 1, or classes")
            values = values.astype(np.int64)
        values = values.astype(np.str_) if values.dtype == object else values
        classes, numbers = np.unique(values, return_inverse=True)
        if len(classes) < 2:
            raise DataError(f"target: has one value in all {len(values):,} rows; nothing can be learned from it")
        if set(classes.tolist()) <= {0, 1} and kind != "multiclass":
            return cls(values.astype(np.int64), TargetKind.BINARY, (str(outputs[0]) if outputs else "target",))
        if kind == "binary" or len(classes) > MOST_CLASSES:
            wanted = "0 and 1 for kind='binary'" if kind == "binary" else f"at most {MOST_CLASSES} classes"
            raise DataError(f"target: has {len(classes):,} different values; accepted: {wanted}")
        found = tuple(map(str, outputs)) or tuple(map(str, classes))
        if len(found) != len(classes):
            raise DataError(f"outputs: {len(found)} names, and the target has {len(classes)} classes")
        return cls(numbers.reshape(-1).astype(np.int64), TargetKind.MULTICLASS, found)

    @classmethod
    def _several(cls, values: NDArray[Any], outputs: tuple[str, ...]) -> _Target:
        if not np.isin(values, (0, 1)).all():
            raise DataError("target: several columns are several labels, each 0 or 1; other values were found")
        found = outputs or tuple(f"label {i + 1}" for i in range(values.shape[1]))
        if len(found) != values.shape[1]:
            raise DataError(f"outputs: {len(found)} names, and the target has {values.shape[1]} columns")
        return cls(values.astype(np.int64), TargetKind.MULTILABEL, tuple(map(str, found)))


def _numbers(groups: Any, rows: int) -> NDArray[np.int64]:
    """A running number for each patient, in the order in which they come."""
    if groups is None:
        return np.arange(rows, dtype=np.int64)
    known: dict[Any, int] = {}
    return np.array([known.setdefault(g, len(known)) for g in np.asarray(groups).tolist()], dtype=np.int64)


def _digest(content: Mapping[str, Any]) -> str:
    """Hash of everything that decides what is learned."""
    hashed = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, np.ndarray):
            array = value.astype("U").tolist() if value.dtype.kind == "U" else None
            hashed.update(f"{value.shape}{value.dtype.kind}".encode())
            hashed.update(repr(array).encode() if array is not None else np.ascontiguousarray(value).tobytes())
        elif isinstance(value, Modality):
            for part in (value.kind, value.values, value.lengths, value.columns):
                add(part)
        elif isinstance(value, Mapping):
            for name, part in value.items():
                hashed.update(str(name).encode())
                add(part)
        else:
            hashed.update(repr(value).encode())

    add(content)
    return f"in memory {hashed.hexdigest()[:32]}"


def task_of(given: Dataset) -> Registration:
    """Return a task that prepares a data set which is there already; what decides results of it is the data's own digest."""

    class InMemory(Task):
        """Data that were given as arrays."""

        modality_names = tuple(given.modalities)

        def prepare(self, cache: Path, progress: Progress) -> Dataset:
            """Return them."""
            return given

    InMemory.__module__ = __name__
    return Registration("tasks", TASK, InMemory, DISTRIBUTION, "")


def require(found: Any) -> Dataset:
    """Return a data set that was given.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(found, Dataset):
        raise ConfigError(
            f"dataset: a data set expected, found {type(found).__name__}; fusionbench.dataset(arrays, target) makes one"
        )
    return found
