"""The list files of an extracted folder: which stays, of which patient, with which label, in which part.

Layout of the MIMIC-III benchmark (Harutyunyan et al. 2019) and of its MIMIC-IV port in MedFuse (Hayat et al. 2022)::

    <root>/in-hospital-mortality/train_listfile.csv   val_listfile.csv   test_listfile.csv
    <root>/in-hospital-mortality/train/10000032_episode1_timeseries.csv ...   test/...
    <root>/root/all_stays.csv                          times of admission to the unit; links chest X-rays

Messages hold counts and names of list files, never a name of a stay's file: it begins with the patient's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.data.files.frames import read_frame, unnamed
from fusionbench.errors import DataError, did_you_mean
from fusionbench_plugins.tasks.table.manifest import Problems

OUTCOMES = ("in-hospital-mortality", "phenotyping")
MORTALITY, PHENOTYPING = OUTCOMES

_LISTS = (
    ("train", "train_listfile.csv", "train"),
    ("validation", "val_listfile.csv", "train"),  # validation stays lie among the training files
    ("test", "test_listfile.csv", "test"),
)
_WITHOUT_VALIDATION = (("train", "train/listfile.csv", "train"), ("test", "test/listfile.csv", "test"))
_FILE = r"^(\d+)_episode\d+_timeseries\.csv$"
_KNOWN = ("stay", "period_length", "stay_id")


@dataclass(frozen=True)
class Listed:
    """Every stay of the list files.

    Args:
        stays: One row per stay: part, path (of its events), subject_id, stay_id (-1 where lists have none), and
            period_length (hours; 0 where lists have none).
        labels: Int64 ``[rows, labels]``.
        names: Names of the labels.
        files: The list files.
    """

    stays: pd.DataFrame
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def has_stay_ids(self) -> bool:
        """Whether stays can be looked up in a table."""
        return bool((self.stays["stay_id"] >= 0).all())


def read_lists(root: Path, outcome: str) -> Listed:
    """Read the list files of one outcome.

    Args:
        root: The folder that holds the folder of the outcome.
        outcome: ``in-hospital-mortality`` or ``phenotyping``.

    Raises:
        DataError: All that is wrong with them, one line each.
    """
    folder = root / outcome
    lists = _find(folder, outcome)
    problems: Problems = []
    tables = [_read_list(folder, *entry, outcome, problems) for entry in lists]
    headers = {tuple(table.attrs["labels"]) for table in tables if table.attrs["labels"]}
    if len(headers) > 1:
        problems.append("the list files have different label columns")
    if problems:
        raise _error(folder, problems)
    together = pd.concat(tables, ignore_index=True)
    names = headers.pop()
    problems += _repeats(together)
    if problems:
        raise _error(folder, problems)
    stays = together[["part", "path", "subject_id", "stay_id", "period_length"]].copy()
    order = stays.assign(name=stays["path"].map(lambda p: p.name)).sort_values(["stay_id", "subject_id", "name"]).index
    labels = together[list(names)].to_numpy(dtype=np.int64)
    return Listed(
        stays.loc[order].reset_index(drop=True), labels[order], names, tuple(folder / name for _, name, _ in lists)
    )


def _error(folder: Path, problems: Sequence[str]) -> DataError:
    listed = "\n".join(f"  - {problem}" for problem in problems)
    return DataError(f"extracted folder {folder}:\n{listed}")


def _find(folder: Path, outcome: str) -> tuple[tuple[str, str, str], ...]:
    if not folder.is_dir():
        near = [p.name for p in folder.parent.glob("*") if p.is_dir()]
        raise DataError(
            f"extracted folder {folder.parent}: has no folder '{outcome}'{did_you_mean(outcome, near)}; it is what "
            "the scripts of the MIMIC-III benchmark or of MedFuse leave as their output"
        )
    missing = [name for _, name, _ in _LISTS if not (folder / name).is_file()]
    if not missing:
        return _LISTS
    plain = [name for _, name, _ in _WITHOUT_VALIDATION if not (folder / name).is_file()]
    if not plain and len(missing) == len(_LISTS):
        return _WITHOUT_VALIDATION
    raise DataError(
        f"extracted folder {folder}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; needed are "
        f"{', '.join(name for _, name, _ in _LISTS)}, or else train/listfile.csv and test/listfile.csv alone"
    )


# --------------------------------------------------------------------------------------------
# one list file


def _read_list(folder: Path, part: str, name: str, below: str, outcome: str, problems: Problems) -> pd.DataFrame:
    empty = pd.DataFrame()
    empty.attrs["labels"] = ()
    try:
        frame = read_frame(folder / name)
    except DataError as problem:
        problems.append(str(problem))
        return empty
    labels = [str(c) for c in frame if c not in _KNOWN]
    wrong = _header_problem(frame, labels, outcome)
    if wrong:
        problems.append(f"{name}: {wrong}")
        return empty
    subjects = frame["stay"].astype(str).str.extract(_FILE)[0]
    bad = int(subjects.isna().sum())
    if bad:
        problems.append(f"{name}: {bad} entries of column 'stay' are not like <subject>_episode<n>_timeseries.csv")
        return empty
    made = pd.DataFrame(
        {
            "part": part,
            "path": [folder / below / file for file in frame["stay"]],
            "subject_id": subjects.astype(np.int64),
            "stay_id": _numbers(frame, "stay_id", -1, name, problems).astype(np.int64),
            "period_length": _numbers(frame, "period_length", 0, name, problems),
            **{label: _flags(frame[label], name, problems) for label in labels},
        }
    )
    lost = int((~made["path"].map(Path.is_file)).sum())
    if lost:
        problems.append(f"{name}: {lost} of {len(made)} stays have no file in {below}/")
    short = int((made["period_length"] <= 0).sum()) if outcome == PHENOTYPING else 0
    if short:
        problems.append(f"{name}: {short} stays have a period_length that is not above 0 hours")
    made.attrs["labels"] = tuple(labels)
    return made


def _header_problem(frame: pd.DataFrame, labels: Sequence[str], outcome: str) -> str:
    if "stay" not in frame:
        return "has no column 'stay'"
    nameless = unnamed(frame)
    if nameless:
        return f"{len(nameless)} columns have no name (the index of a table, written with it?); write it without (index=False)"
    if outcome == MORTALITY:
        return (
            "" if labels == ["y_true"] else f"must have one label column, y_true; found {', '.join(labels) or 'none'}"
        )
    if "period_length" not in frame:
        return "has no column 'period_length' (hours)"
    return "" if len(labels) > 1 else "has fewer than two label columns after stay, period_length and stay_id"


def _numbers(frame: pd.DataFrame, column: str, default: float, name: str, problems: Problems) -> NDArray[np.float64]:
    if column not in frame:
        return np.full(len(frame), default, dtype=np.float64)
    numbers: NDArray[np.float64] = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = int((~np.isfinite(numbers)).sum())
    if bad:
        problems.append(f"{name}: column '{column}' holds no number in {bad} of {len(frame)} rows")
    return np.where(np.isfinite(numbers), numbers, default)


def _flags(text: pd.Series, name: str, problems: Problems) -> NDArray[np.int64]:
    numbers = pd.to_numeric(text, errors="coerce")
    bad = int((~numbers.isin([0, 1])).sum())
    if bad:
        problems.append(f"{name}: label column '{text.name}' must hold 0 and 1; {bad} of {len(text)} rows do not")
    return np.asarray(numbers == 1, dtype=np.int64)


def _repeats(stays: pd.DataFrame) -> Problems:
    found = []
    twice = int(stays.duplicated("path").sum())
    same = int(stays.loc[stays["stay_id"] >= 0, "stay_id"].duplicated().sum())
    across = int((stays.groupby("subject_id")["part"].nunique() > 1).sum())
    if twice or same:
        found.append(f"{max(twice, same)} stays are listed more than once")
    if across:
        found.append(f"{across} patients are in more than one list file: test rows would be known from training")
    return found


# --------------------------------------------------------------------------------------------
# times of admission


def admission_times(table: Path, listed: Listed) -> NDArray[np.datetime64]:
    """Return when each stay began, ``[rows]``, by stay_id.

    Raises:
        DataError: The table lacks columns, stays or times.
    """
    frame = read_frame(table)
    missing = [c for c in ("subject_id", "stay_id", "intime") if c not in frame]
    if missing:
        raise DataError(f"{table}: has no column {', '.join(missing)}; MedFuse writes it as root/all_stays.csv")
    frame = frame.assign(stay_id=pd.to_numeric(frame["stay_id"], errors="coerce")).drop_duplicates(
        ["subject_id", "stay_id", "intime"]
    )
    wanted = frame[frame["stay_id"].isin(listed.stays["stay_id"])]
    repeated = int(wanted["stay_id"].duplicated().sum())
    if repeated:
        raise DataError(f"{table}: {repeated} rows repeat a stay with another time or patient; leave one row for each")
    found = wanted.set_index("stay_id").reindex(listed.stays["stay_id"])
    # of other ways to write a date, day and month would be guessed
    times = pd.to_datetime(found["intime"], errors="coerce", format="ISO8601")
    absent = int(times.isna().sum())
    patients = pd.to_numeric(found["subject_id"], errors="coerce").to_numpy()
    other = int((patients != listed.stays["subject_id"].to_numpy())[~times.isna().to_numpy()].sum())
    if absent or other:
        raise DataError(
            f"{table}: of {len(times)} listed stays, {absent} are not in it with a time and {other} have another "
            "patient; it must be of the same extraction as the list files"
        )
    result: NDArray[np.datetime64] = times.to_numpy(dtype="datetime64[us]")
    return result
