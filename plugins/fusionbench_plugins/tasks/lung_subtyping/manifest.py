"""The manifest of a lung cohort: who has which slices and which report, and everything that is wrong with it.

Messages hold counts, columns and numbers of manifest rows (the first row below the header is 1), never a path,
a patient or a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench import FunnelStep, TargetKind
from fusionbench.data.files.frames import read_frame
from fusionbench.data.files.texts import decode_utf8
from fusionbench.errors import DataError
from fusionbench_plugins.tasks.lung_subtyping.levels import with_levels
from fusionbench_plugins.tasks.table.content import used_rows
from fusionbench_plugins.tasks.table.manifest import (
    Problems,
    column,
    groups_across,
    read_folds,
    read_groups,
    read_split,
)
from fusionbench_plugins.tasks.table.target import Target, read_target

SCANS = ("ct", "pet")
REPORT = "report"
MODALITIES = (*SCANS, REPORT)
TEXT = "report_text"
"""Column that holds the report itself, instead of a file's path."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
Rule = Literal["middle", "mean"]

_SHOWN = 5


@dataclass(frozen=True)
class Cohort:
    """The rows of a manifest that are used, in its order.

    Args:
        numbers: Int64 ``[rows]``, number of the row in the manifest.
        slices: By scan, the files of each row, in order; none where the scan is absent.
        texts: The report of each row, on one line; empty where it is absent.
        available: Bool ``[rows, modalities]``; every row has one True at least.
        names: The modalities, in order.
        target: Classes.
        groups: Int64 ``[rows]``, patients.
        split: Text ``[rows]``, or None.
        folds: Int64 ``[rows]``, or None.
        funnel: How many rows are left after each rule.
        notes: What a reader of the numbers must know.
    """

    numbers: NDArray[np.int64]
    slices: Mapping[str, tuple[tuple[Path, ...], ...]]
    texts: tuple[str, ...]
    available: NDArray[np.bool_]
    names: tuple[str, ...]
    target: Target
    groups: NDArray[np.int64]
    split: NDArray[np.str_] | None
    folds: NDArray[np.int64] | None
    funnel: tuple[FunnelStep, ...]
    notes: tuple[str, ...]


def read_cohort(
    root: Path, manifest: str, names: Sequence[str], *, risk_levels: bool = False
) -> tuple[Cohort | None, Problems]:
    """Read the manifest and the reports, and find the slices; without a cohort there is a problem at least.

    Args:
        root: Folder of the manifest.
        manifest: Its file name.
        names: The modalities to read.
        risk_levels: Whether the six classes of :mod:`.levels` are grouped into three.
    """
    try:
        frame = read_frame(root / manifest)
    except DataError as problem:
        return None, [str(problem)]
    problems: Problems = []
    frame = with_levels(frame, problems) if risk_levels else frame
    target = read_target(frame, ("label",), TargetKind.MULTICLASS, problems)
    groups = read_groups(frame, "patient", problems)
    split = read_split(frame, "split", problems) if "split" in frame else None
    folds = read_folds(frame, "fold", problems) if "fold" in frame and split is None else None
    _check_patients(groups, split, folds, problems)
    slices = {name: _slices(root, frame, name, problems) for name in names if name in SCANS}
    texts = _texts(root, frame, problems) if REPORT in names else ("",) * len(frame)
    if problems or target is None:
        return None, problems
    has = [[bool(entry) for entry in (texts if name == REPORT else slices[name])] for name in names]
    available = np.array(has, dtype=np.bool_).T
    used, funnel, notes = used_rows(available, folds)
    if not used.any():
        return None, ["manifest: no row has a modality and a place in a fold"]
    rows = np.flatnonzero(used)
    cohort = Cohort(
        numbers=rows + 1,
        slices={name: tuple(files[row] for row in rows) for name, files in slices.items()},
        texts=tuple(texts[row] for row in rows),
        available=available[rows],
        names=tuple(names),
        target=Target(target.values[rows], target.kind, target.outputs),
        groups=groups[rows],
        split=None if split is None else split[rows],
        folds=None if folds is None else folds[rows],
        funnel=funnel,
        notes=(*notes, *_text_notes(texts)),
    )
    return cohort, []


def columns_of(path: Path) -> list[str]:
    """Return the columns of a manifest; none where it is not there or cannot be read."""
    try:
        return [str(column) for column in read_frame(path)]
    except DataError:
        return []


def at(numbers: Sequence[int] | NDArray[np.int64]) -> str:
    """Name manifest rows for a message, the first five of them."""
    shown = ", ".join(str(n) for n in numbers[:_SHOWN])
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"manifest row{'s' if len(numbers) > 1 else ''} {shown}{more}"


def _check_patients(
    groups: NDArray[np.int64], split: NDArray[np.str_] | None, folds: NDArray[np.int64] | None, problems: Problems
) -> None:
    for what, parts in (("part of the split", split), ("fold", folds)):
        across = 0 if parts is None else groups_across(groups, parts)
        if across:
            problems.append(f"manifest: {across} patients are in more than one {what}: test rows would be known")


# --------------------------------------------------------------------------------------------
# slices


def _slices(root: Path, frame: pd.DataFrame, name: str, problems: Problems) -> tuple[tuple[Path, ...], ...]:
    cells = _cells(frame, name, problems)
    files = tuple(tuple(f for entry in cell.split(";") if entry.strip() for f in _files(root, entry)) for cell in cells)
    absent = [n for n, row in enumerate(files, 1) if not all(f.is_file() for f in row)]
    empty = [n for n, (cell, row) in enumerate(zip(cells, files, strict=True), 1) if cell.strip() and not row]
    if absent:
        problems.append(
            f"manifest: column '{name}': files that are not there: {at(absent)}; paths begin at the folder of the "
            "manifest, several are separated by ';'"
        )
    if empty:
        problems.append(f"manifest: column '{name}': folders without a picture ({', '.join(SUFFIXES)}): {at(empty)}")
    return files


def _files(root: Path, entry: str) -> list[Path]:
    path = root / entry.strip()
    if not path.is_dir():
        return [path]
    return sorted((f for f in path.iterdir() if f.suffix.lower() in SUFFIXES), key=_slice_order)


def _slice_order(path: Path) -> list[tuple[int, int, str]]:
    """Order names with their numbers by size: slice 10 comes after slice 9."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _cells(frame: pd.DataFrame, name: str, problems: Problems) -> list[str]:
    if name not in frame:
        column(frame, name, "modalities", problems)  # says which columns there are
        return [""] * len(frame)
    return [str(cell) for cell in frame[name].fillna("")]


# --------------------------------------------------------------------------------------------
# reports


def _texts(root: Path, frame: pd.DataFrame, problems: Problems) -> tuple[str, ...]:
    if REPORT in frame and TEXT in frame:
        problems.append(f"manifest: has both '{REPORT}' (paths) and '{TEXT}' (texts); leave one")
        return ("",) * len(frame)
    if TEXT in frame:
        return tuple(_one_line(cell) for cell in _cells(frame, TEXT, problems))
    cells = dict(enumerate(_cells(frame, REPORT, problems), 1))
    named = {number: root / cell.strip() for number, cell in cells.items() if cell.strip()}
    absent = [number for number, path in named.items() if not path.is_file()]
    if absent:
        problems.append(
            f"manifest: column '{REPORT}': files that are not there: {at(absent)}; the texts themselves belong into "
            f"a column '{TEXT}'"
        )
        return ("",) * len(frame)
    found = {number: _file_text(path, number, problems) for number, path in named.items()}
    hollow = [number for number, text in found.items() if text == ""]
    if hollow:
        problems.append(f"manifest: column '{REPORT}': files without text: {at(hollow)}; leave the cell empty")
    return tuple(found.get(number) or "" for number in cells)


def _file_text(path: Path, number: int, problems: Problems) -> str | None:
    """Return a report on one line; None, and a problem, where it cannot be read as UTF-8."""
    try:
        return _one_line(decode_utf8(path.read_bytes(), f"report of manifest row {number}"))
    except OSError as error:
        problems.append(f"report of manifest row {number}: cannot be read ({error.strerror})")
    except DataError as problem:
        problems.append(str(problem))
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _text_notes(texts: Sequence[str]) -> list[str]:
    damaged = sum("\ufffd" in text for text in texts)
    if not damaged:
        return []
    return [f"{damaged} reports hold the mark of bytes that an earlier conversion could not read"]
