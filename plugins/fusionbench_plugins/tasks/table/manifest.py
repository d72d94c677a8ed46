"""The manifest of a table: one row per sample, with its label, its place in a split, and what it has.

Every reader here appends what is wrong to a list of problems and goes on, so that all of it is reported at once.
Messages hold counts and names of columns, never a value of a row.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.data.files.delimited import NUMBER
from fusionbench.errors import did_you_mean

PRESENCE = "has_"
PARTS = ("train", "validation", "test")

TRUE, FALSE = ("1", "1.0", "true"), ("0", "0.0", "false")

_MEANT = {
    "train": ("training", "learn", "fit"),
    "validation": ("valid", "val", "validate", "dev", "development", "tune", "tuning"),
    "test": ("testing", "tests", "holdout", "hold-out", "eval", "evaluation"),
}
_MOST_FOLDS = 10_000
_COLUMNS_SHOWN = 20

Problems = list[str]


def column(frame: pd.DataFrame, name: str, option: str, problems: Problems) -> pd.Series | None:
    """Return a column as text (missing cells stay missing), or note that there is none or that cells are empty."""
    if name not in frame:
        columns = [str(c) for c in frame]
        if any(NUMBER.fullmatch(c.strip()) for c in columns):  # cells of the first row are no names to show
            problems.append(
                f"manifest: {option}: no column '{name}', and the header holds numbers: is the header line missing?"
            )
            return None
        listed = ", ".join(columns[:_COLUMNS_SHOWN]) + (", ..." if len(columns) > _COLUMNS_SHOWN else "")
        problems.append(f"manifest: {option}: no column '{name}'{did_you_mean(name, columns)}; it has {listed}")
        return None
    text = frame[name].astype(str)
    empty = int((frame[name].isna() | (text.str.strip() == "")).sum())
    if empty:
        problems.append(
            f"manifest: {option}: column '{name}' is empty in {empty} of {len(frame)} rows; fill or drop them"
        )
        return None
    return text


def told_apart(text: pd.Series, option: str, problems: Problems) -> None:
    """Note values that differ in nothing but spaces around them: they would be two classes, or two patients."""
    held = pd.Series(text.unique())
    twins = len(held) - held.str.strip().nunique()
    if twins:
        problems.append(
            f"manifest: {option}: column '{text.name}' has {twins} values that differ from another in spaces alone; strip them"
        )


def flags(frame: pd.DataFrame, name: str, option: str, problems: Problems) -> NDArray[np.bool_] | None:
    """Return a column of 0 and 1 (or false and true) as bool ``[rows]``."""
    text = column(frame, name, option, problems)
    if text is None:
        return None
    lowered = text.str.lower()
    other = int((~lowered.isin(TRUE + FALSE)).sum())
    if other:
        problems.append(f"manifest: {option}: column '{name}' must hold 0 and 1; {other} of {len(frame)} rows do not")
        return None
    found: NDArray[np.bool_] = lowered.isin(TRUE).to_numpy(dtype=np.bool_)
    return found


# --------------------------------------------------------------------------------------------
# patient, split


def read_groups(frame: pd.DataFrame, name: str | None, problems: Problems) -> NDArray[np.int64]:
    """Return int64 ``[rows]``: a running number for each patient, or for each row without a column of patients."""
    text = None if name is None else column(frame, name, "group", problems)
    if text is None:
        return np.arange(len(frame), dtype=np.int64)
    told_apart(text, "group", problems)
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
            f"{_meant(text)}"
        )
        return None
    if absent:
        problems.append(
            f"manifest: split: column '{name}' has no {' and no '.join(absent)} rows; use split: null and hash folds"
        )
        return None
    return text.to_numpy(dtype=np.str_)


def _meant(text: pd.Series) -> str:
    """Suggest the parts that other words of a column mean; words that are not known are not shown."""
    lowered = {word: word.strip().lower() for word in text.unique() if word not in PARTS}
    found = [
        f"'{part}' for '{word}' ({int((text == word).sum())} rows)"
        for part in PARTS
        for word, low in lowered.items()
        if low == part or low in _MEANT[part]
    ]
    return f"; write {', '.join(found)}" if found else ""


def read_folds(frame: pd.DataFrame, name: str, problems: Problems) -> NDArray[np.int64] | None:
    """Return int64 ``[rows]``, from 0; -1 = takes no part in the folds."""
    text = column(frame, name, "folds", problems)
    if text is None:
        return None
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    whole = np.isfinite(numbers) & (numbers >= -1) & (numbers <= _MOST_FOLDS) & (numbers == np.floor(numbers))
    other = int((~whole).sum())
    if other:
        problems.append(
            f"manifest: folds: column '{name}' must hold whole numbers from -1 to {_MOST_FOLDS}; {other} rows do not"
        )
        return None
    return numbers.astype(np.int64)


def groups_across(groups: NDArray[np.int64], parts: NDArray[np.str_] | NDArray[np.int64]) -> int:
    """Count the patients that are in more than one part."""
    return int((pd.Series(parts).groupby(groups).nunique() > 1).sum())
