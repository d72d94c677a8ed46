"""The manifest of a table: one row per sample, with its label, its place in a split, and what it has.

Every reader here appends what is wrong to a list of problems and goes on, so that all of it is reported at once.
Messages hold counts and names of columns, never a value of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench import TargetKind
from fusionbench.errors import DataError, did_you_mean

ID = "sample_id"
PRESENCE = "has_"
PARTS = ("train", "validation", "test")

_TRUE, _FALSE = ("1", "1.0", "true"), ("0", "0.0", "false")

Problems = list[str]


@dataclass(frozen=True)
class Target:
    """Labels as numbers.

    Args:
        values: Int64 ``[rows]``, or ``[rows, labels]`` for multi-label.
        kind: What they mean.
        outputs: Names of the classes or labels; one name for binary.
    """

    values: NDArray[np.int64]
    kind: TargetKind
    outputs: tuple[str, ...]


def read_frame(path: Path) -> pd.DataFrame:
    """Return a CSV or Parquet file as it is; text stays text in CSV, and only empty cells are missing.

    Raises:
        DataError: The file is not there, cannot be parsed, or has no rows.
    """
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        near = [p.name for p in path.parent.glob("*") if p.suffix in (".csv", ".parquet")]
        raise DataError(f"{path}: no such file{did_you_mean(path.name, near)}") from None
    except (OSError, ValueError) as problem:  # pandas' and pyarrow's parser errors are ValueErrors
        # the parser's own words may quote a row
        raise DataError(
            f"{path}: cannot be read as {path.suffix.removeprefix('.')} ({type(problem).__name__}); "
            "accepted are CSV with a header line (UTF-8, commas) and Parquet"
        ) from None
    if frame.empty:
        raise DataError(f"{path}: has no rows")
    return frame.rename(columns=str)


def column(frame: pd.DataFrame, name: str, option: str, problems: Problems) -> pd.Series | None:
    """Return a column as text (missing cells stay missing), or note that there is none or that cells are empty."""
    if name not in frame:
        columns = [str(c) for c in frame]
        shown = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
        problems.append(f"manifest: {option}: no column '{name}'{did_you_mean(name, columns)}; it has {shown}")
        return None
    empty = int(frame[name].isna().sum())
    if empty:
        problems.append(
            f"manifest: {option}: column '{name}' is empty in {empty} of {len(frame)} rows; fill or drop them"
        )
        return None
    return frame[name].astype(str)


def flags(frame: pd.DataFrame, name: str, option: str, problems: Problems) -> NDArray[np.bool_] | None:
    """Return a column of 0 and 1 (or false and true) as bool ``[rows]``."""
    text = column(frame, name, option, problems)
    if text is None:
        return None
    lowered = text.str.lower()
    other = int((~lowered.isin(_TRUE + _FALSE)).sum())
    if other:
        problems.append(f"manifest: {option}: column '{name}' must hold 0 and 1; {other} of {len(frame)} rows do not")
        return None
    found: NDArray[np.bool_] = lowered.isin(_TRUE).to_numpy(dtype=np.bool_)
    return found


# --------------------------------------------------------------------------------------------
# label, patient, split


def read_target(
    frame: pd.DataFrame, names: Sequence[str], kind: TargetKind | None, problems: Problems
) -> Target | None:
    """Turn label columns into numbers.

    Args:
        frame: The manifest.
        names: One column, or several for multi-label.
        kind: None: several columns are multi-label, a column of 0 and 1 is binary, any other is multi-class.
        problems: Receives what is wrong.
    """
    if kind is TargetKind.MULTILABEL or (kind is None and len(names) > 1):
        columns = [c for n in names if (c := flags(frame, n, "target", problems)) is not None]
        if len(columns) < len(names):
            return None
        return Target(np.stack(columns, axis=1).astype(np.int64), TargetKind.MULTILABEL, tuple(names))
    text = column(frame, names[0], "target", problems)
    if text is None:
        return None
    zero_one = set(text.str.lower()) <= set(_TRUE + _FALSE)
    if kind is TargetKind.BINARY or (kind is None and zero_one):
        found = flags(frame, names[0], "target", problems)
        return None if found is None else Target(found.astype(np.int64), TargetKind.BINARY, (names[0],))
    return _classes(frame, names[0], text, problems)


def _classes(frame: pd.DataFrame, name: str, text: pd.Series, problems: Problems) -> Target | None:
    """Number the classes in order of their value; ``<name>_name`` holds what they are called, where it is there."""
    numbers = pd.to_numeric(text, errors="coerce")
    # 10 comes after 9 among numbers, and before it among texts
    codes, uniques = pd.factorize(text if numbers.isna().any() else numbers, sort=True)
    if len(uniques) < 2:
        problems.append(f"manifest: target: column '{name}' has one class only; nothing can be learned from it")
        return None
    names = [f"{u:g}" if isinstance(u, float) else str(u) for u in uniques]
    if f"{name}_name" in frame:
        called = frame[f"{name}_name"].astype(str)
        per_class = called.groupby(codes).unique()
        if per_class.map(len).max() == 1 and called.nunique() == len(uniques):
            names = [str(v[0]) for v in per_class]
        else:
            problems.append(
                f"manifest: column '{name}_name' does not name each class of '{name}' by one name of its own"
            )
    return Target(codes.astype(np.int64), TargetKind.MULTICLASS, tuple(names))


def read_groups(frame: pd.DataFrame, name: str | None, problems: Problems) -> NDArray[np.int64]:
    """Return int64 ``[rows]``: a running number for each patient, or for each row without a column of patients."""
    text = None if name is None else column(frame, name, "group", problems)
    if text is None:
        return np.arange(len(frame), dtype=np.int64)
    return pd.factorize(text)[0].astype(np.int64)


def read_split(frame: pd.DataFrame, name: str, problems: Problems) -> NDArray[np.str_] | None:
    """Return text ``[rows]`` of ``train``, ``validation`` and ``test``."""
    text = column(frame, name, "split", problems)
    if text is None:
        return None
    other = int((~text.isin(PARTS)).sum())
    absent = [p for p in ("train", "test") if not (text == p).any()]
    if other:
        problems.append(
            f"manifest: split: column '{name}' must hold {', '.join(PARTS)}; {other} rows hold something else"
        )
        return None
    if absent:
        problems.append(
            f"manifest: split: column '{name}' has no {' and no '.join(absent)} rows; use split: null and hash folds"
        )
        return None
    return text.to_numpy(dtype=np.str_)


def read_folds(frame: pd.DataFrame, name: str, problems: Problems) -> NDArray[np.int64] | None:
    """Return int64 ``[rows]``, from 0; -1 = takes no part in the folds."""
    text = column(frame, name, "folds", problems)
    if text is None:
        return None
    numbers = pd.to_numeric(text, errors="coerce")
    other = int((numbers.isna() | (numbers < -1) | (numbers % 1 != 0)).sum())
    if other:
        problems.append(f"manifest: folds: column '{name}' must hold whole numbers from -1; {other} rows do not")
        return None
    return numbers.to_numpy(dtype=np.int64)


def groups_across(groups: NDArray[np.int64], parts: NDArray[np.str_] | NDArray[np.int64]) -> int:
    """Count the patients that are in more than one part."""
    return int((pd.Series(parts).groupby(groups).nunique() > 1).sum())
