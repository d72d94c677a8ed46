"""The label of a table: columns to numbers, and what cannot be a label.

Messages hold counts and names of columns, never a class: with a wrong column, classes are identifiers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench import TargetKind
from fusionbench.errors import printable
from fusionbench_plugins.tasks.table.manifest import FALSE, TRUE, Problems, column, flags, told_apart

MOST_CLASSES = 1000
"""More classes than this are no classes."""

MOST_NUMBERS = 100
"""A numeric column with more different values is a measurement, unless ``kind: multiclass`` says that it is not."""

MOST_FRACTIONS = 20
"""A column with more different numbers that are not whole is a measurement, whatever is said."""

FEW_CLASSES, FEWEST_ROWS = 20, 5
"""More classes than the first need as many rows as the second, on average."""


@dataclass(frozen=True)
class Target:
    """Labels as numbers.

    Args:
        values: Int64 ``[rows]``, or ``[rows, labels]`` for multi-label.
        kind: What they mean.
        outputs: Names of the classes or labels; one name for binary.
        notes: What a reader of the numbers must know.
    """

    values: NDArray[np.int64]
    kind: TargetKind
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_target(
    frame: pd.DataFrame,
    names: Sequence[str],
    kind: TargetKind | None,
    problems: Problems,
    positive: str | None = None,
) -> Target | None:
    """Turn label columns into numbers.

    Args:
        frame: The manifest.
        names: One column, or several for multi-label.
        kind: None: several columns are multi-label, a column of 0 and 1 is binary, any other is multi-class.
        problems: Receives what is wrong.
        positive: Of two classes, the one that is 1; the target is binary then.
    """
    if kind is TargetKind.MULTILABEL or (kind is None and len(names) > 1):
        return _labels(frame, names, problems)
    text = column(frame, names[0], "target", problems)
    if text is not None:
        told_apart(text, "target", problems)
    return None if text is None else _one_column(frame, names[0], text, kind, problems, positive)


def _one_column(
    frame: pd.DataFrame,
    name: str,
    text: pd.Series,
    kind: TargetKind | None,
    problems: Problems,
    positive: str | None,
) -> Target | None:
    """Two states of one label, or classes."""
    if text.nunique() < 2:
        problems.append(f"manifest: target: column '{name}' has one class only; nothing can be learned from it")
        return None
    if positive is not None:
        return _against(frame, name, text, positive, problems)
    zero_one = set(text.str.lower()) <= set(TRUE + FALSE)
    if kind is TargetKind.BINARY and not zero_one and text.nunique() == 2:
        problems.append(
            f"manifest: target: column '{name}' holds two classes that are not 0 and 1; say which of them is 1 with "
            "positive: <class>"
        )
        return None
    if kind is TargetKind.BINARY or (kind is None and zero_one):
        return _zero_one(frame, name, problems)
    return _classes(frame, name, text, kind, problems)


def one_valued(target: Target, rows: NDArray[np.bool_]) -> list[str]:
    """Return the labels that all of these rows have or none; of classes, the label's only name where one is left."""
    values = target.values[rows]
    if len(values) == 0:
        return []
    if values.ndim == 1:
        return ["the label"] if (values == values[0]).all() else []
    alike = (values == values[0]).all(axis=0)
    return [name for name, same in zip(target.outputs, alike, strict=True) if same]


def _labels(frame: pd.DataFrame, names: Sequence[str], problems: Problems) -> Target | None:
    columns = [c for n in names if (c := flags(frame, n, "target", problems)) is not None]
    if len(columns) < len(names):
        return None
    target = Target(np.stack(columns, axis=1).astype(np.int64), TargetKind.MULTILABEL, tuple(names))
    alike = one_valued(target, np.ones(len(frame), dtype=np.bool_))
    if alike:
        problems.append(
            f"manifest: target: {len(alike)} of {len(names)} labels have one value in all rows: {', '.join(alike[:5])}; "
            "nothing can be learned of them"
        )
        return None
    return target


def _zero_one(frame: pd.DataFrame, name: str, problems: Problems) -> Target | None:
    found = flags(frame, name, "target", problems)
    if found is None:
        return None
    codes = found.astype(np.int64)
    called = _called(frame, name, codes, 2, problems)
    return Target(codes, TargetKind.BINARY, (called[1] if called else name,))


def _against(frame: pd.DataFrame, name: str, text: pd.Series, positive: str, problems: Problems) -> Target | None:
    """One of two classes against the other."""
    of_class = (text == positive).to_numpy(dtype=np.bool_)
    if positive.lower() in ("true", "false"):  # YAML's words
        of_class = (text.str.lower() == positive.lower()).to_numpy(dtype=np.bool_)
    if not of_class.any() and _is_number(positive):
        numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        of_class = numbers == float(positive)
    others = text[~of_class].nunique()
    if not of_class.any() or others != 1:
        found = "no row has this class" if not of_class.any() else f"there are {others + 1} classes"
        problems.append(
            f"manifest: target: positive: '{printable(positive)}': {found}; it names one of the two classes of column '{name}'"
        )
        return None
    codes = of_class.astype(np.int64)
    called = _called(frame, name, codes, 2, problems)
    return Target(codes, TargetKind.BINARY, (called[1] if called else printable(positive),))


def _classes(
    frame: pd.DataFrame, name: str, text: pd.Series, kind: TargetKind | None, problems: Problems
) -> Target | None:
    """Number the classes in order of their value; ``<name>_name`` holds what they are called, where it is there."""
    numbers = pd.to_numeric(text, errors="coerce")
    # 10 comes after 9 among numbers, and before it among texts; 01 and 1 are two codes
    texts = numbers.isna().any() or (numbers.nunique() < text.nunique() and bool(text.str.match(r"0\d").any()))
    codes, uniques = pd.factorize(text if texts else numbers, sort=True)
    problem = _no_classes(np.bincount(codes), None if texts else np.asarray(uniques, dtype=np.float64), kind)
    if problem:
        problems.append(f"manifest: target: column '{name}' {problem}")
        return None
    if len(uniques) < 2:
        problems.append(f"manifest: target: column '{name}' has one class only; nothing can be learned from it")
        return None
    names = [f"{u:g}" if isinstance(u, float) else str(u) for u in uniques]
    if len(set(names)) < len(names):
        names = [str(u) for u in uniques]
    called = _called(frame, name, codes, len(uniques), problems)
    notes = (
        _doubts(name, None if texts else np.asarray(uniques, dtype=np.float64), len(uniques)) if kind is None else ()
    )
    return Target(codes.astype(np.int64), TargetKind.MULTICLASS, tuple(map(printable, called or names)), notes)


def _doubts(name: str, numbers: NDArray[np.float64] | None, count: int) -> tuple[str, ...]:
    """Say what else a column may mean that is read as classes without being asked for."""
    if count == 2:
        return (_TWO.format(name),)
    # classes are most often numbered from 0 or 1 without a gap
    if numbers is not None and count > MOST_FRACTIONS and (numbers[0] not in (0, 1) or np.ptp(numbers) >= count):
        return (
            f"column '{name}' holds {count} different numbers and each is read as a class; regression is not offered",
        )
    return ()


_TWO = (
    "column '{}' has two classes that are not 0 and 1, and is read as multi-class (accuracy); for a binary target (AUROC) set "
    "positive: <class>, or kind: multiclass to keep it"
)


def _no_classes(rows: NDArray[np.int64], numbers: NDArray[np.float64] | None, kind: TargetKind | None) -> str:
    """Say why a column is no label, by the rows of each value, and the values where they are numbers."""
    count = len(rows)
    if numbers is not None and _measured(numbers, kind):
        return (
            f"holds {count} different numbers: regression is not offered. Make classes of it (cut it at limits that mean "
            "something), or set kind: multiclass if these whole numbers are classes"
        )
    if count > MOST_CLASSES:
        return f"has {count} classes, and {MOST_CLASSES} are accepted at most; does 'target' name the right column?"
    if (count > 5 and rows.mean() < 2) or (count > FEW_CLASSES and rows.mean() < FEWEST_ROWS):
        return (
            f"has {count} classes in {rows.sum()} rows, too few rows for each: does 'target' name the right column (not one of "
            "identifiers, dates or measurements)?"
        )
    return ""


def _measured(numbers: NDArray[np.float64], kind: TargetKind | None) -> bool:
    whole = bool((np.isfinite(numbers) & (numbers == np.floor(numbers))).all())
    return len(numbers) > MOST_FRACTIONS if not whole else kind is None and len(numbers) > MOST_NUMBERS


def _called(
    frame: pd.DataFrame, name: str, codes: NDArray[np.int64], count: int, problems: Problems
) -> list[str] | None:
    """Return what ``<name>_name`` calls each class; None where there is no such column."""
    if f"{name}_name" not in frame:
        return None
    called = frame[f"{name}_name"]
    per_class = called.astype(str).groupby(codes).unique()
    if called.isna().any() or per_class.map(len).max() != 1 or called.nunique() != count:
        problems.append(f"manifest: column '{name}_name' does not name each class of '{name}' by one name of its own")
        return None
    return [printable(str(v[0])) for v in per_class]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?", text, re.ASCII) is not None
