"""One modality's file: numbers by column, in the manifest's row order or joined to it by sample."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.contract.names import name_problem
from fusionbench.data.files.arrays import load_array
from fusionbench.data.files.delimited import shown
from fusionbench.data.files.frames import BLANK, ID, read_frame, unnamed
from fusionbench.data.files.numbers import numeric, single
from fusionbench.data.files.texts import decode_utf8
from fusionbench.errors import DataError

SUFFIXES = (".npy", ".csv", ".parquet")


@dataclass(frozen=True)
class Block:
    """What a file says of each row of the manifest.

    Args:
        name: The modality.
        values: Float32 ``[rows, width]``; a row of NaN where the file says nothing.
        columns: Names of the columns; empty where the file has none.
    """

    name: str
    values: NDArray[np.float32]
    columns: tuple[str, ...]

    @cached_property
    def silent(self) -> NDArray[np.bool_]:
        """Bool ``[rows]``, True = every value is NaN."""
        return np.asarray(np.isnan(self.values).all(axis=1))

    @cached_property
    def broken(self) -> NDArray[np.bool_]:
        """Bool ``[rows, width]``, True = not finite in a row that says something."""
        result: NDArray[np.bool_] = ~np.isfinite(self.values) & ~self.silent[:, None]
        return result

    def called(self, positions: NDArray[np.int64]) -> str:
        """Name columns for a message, the first five of them."""
        return shown([self.columns[i] if self.columns else str(i) for i in positions.tolist()])


def read_block(root: Path, name: str, frame: pd.DataFrame) -> Block:
    """Read ``<name>.npy``, ``.csv`` or ``.parquet``.

    Args:
        root: The folder.
        name: The modality.
        frame: The manifest; a file with a column ``sample_id`` is joined by it, any other must have as many rows.

    Raises:
        DataError: There is no such file or more than one, or it does not fit the manifest.
    """
    problem = name_problem(name)
    if problem:
        raise DataError(problem)
    path = _find(root, name)
    values, columns = (
        _read_array(path, root / f"{name}_features.txt") if path.suffix == ".npy" else _read_table(path, frame)
    )
    if len(values) != len(frame):
        raise DataError(
            f"{path.name}: has {len(values)} rows and the manifest {len(frame)}; rows must be in the same order, or a "
            f"CSV or Parquet file must carry '{ID}'{_turned(values.shape, len(frame))}"
            f"{_headless(columns, len(frame) - len(values))}"
        )
    return Block(name, values, columns)


def _turned(shape: tuple[int, ...], rows: int) -> str:
    # a table with names of features in its first column has one column more
    return "; is it transposed? Rows are samples, columns are features" if shape[1] in (rows, rows + 1) else ""


def _headless(columns: tuple[str, ...], lacking: int) -> str:
    """Say that the first row may have been taken for a header; whole numbers are names that pandas gives."""
    fractions = [name for name in columns if re.fullmatch(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", name.strip())]
    return "; is the header line missing? The first line is taken for it" if lacking == 1 and fractions else ""


def _find(root: Path, name: str) -> Path:
    found = [p for suffix in SUFFIXES if (p := root / f"{name}{suffix}").is_file()]
    if len(found) == 1:
        return found[0]
    what = f"there are {', '.join(p.name for p in found)}; leave one" if found else "there is none"
    raise DataError(f"modality '{name}': needs one file {', '.join(name + s for s in SUFFIXES)} in {root}; {what}")


def _read_array(path: Path, listed: Path) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    array = load_array(path, path.name)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiub":
        raise DataError(
            f"{path.name}: must hold numbers [rows, columns], found {array.dtype} {list(array.shape)}; "
            "series and images are not for this task"
        )
    columns = _listed(listed, path.name, array.shape[1]) if listed.is_file() else ()
    return single(array, columns, path.name), columns


def _listed(path: Path, beside: str, width: int) -> tuple[str, ...]:
    """Read the names of an array's columns, one a line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror})") from None
    lines = decode_utf8(content, path.name).replace("\r\n", "\n").split("\n")
    columns = tuple(lines[:-1] if lines[-1] == "" else lines)
    if len(columns) != width:
        raise DataError(f"{path.name}: has {len(columns)} lines and {beside} {width} columns")
    repeated = sorted({name for name, count in Counter(columns).items() if count > 1 or not name.strip()})
    if repeated:
        raise DataError(f"{path.name}: names that are empty or occur more than once: {shown(repeated)}; rename them")
    return columns


def _read_table(path: Path, frame: pd.DataFrame) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    table = read_frame(path)
    _check_shape(table, path, frame)
    ids = texts_of(table.pop(ID)) if ID in table else None
    _check_ids_elsewhere(table, path, frame)
    numbers = numeric(table, path.name)
    if numbers.shape[1] == 0:
        raise DataError(f"{path.name}: has no column of features")
    if ids is not None:
        numbers = _join(numbers.set_axis(ids), path, frame)
    columns = tuple(str(c) for c in numbers)
    return single(numbers, columns, path.name), columns


def _check_shape(table: pd.DataFrame, path: Path, frame: pd.DataFrame) -> None:
    """Refuse columns without a name, and as many rows as cannot be the manifest's.

    Raises:
        DataError: It has them.
    """
    blank = table.attrs.get(BLANK, 0)
    if ID not in table and blank and len(table) != len(frame):
        raise DataError(
            f"{path.name}: has {len(table)} rows and {blank} blank lines, and the manifest {len(frame)} rows; a blank line is "
            f"no row: write an absent one as a line of empty cells (as many as the header has), or let the file carry '{ID}'"
        )
    if len(table) != len(frame) and len(table.columns) in (len(frame), len(frame) + 1) and ID not in table:
        raise DataError(
            f"{path.name}: has {len(table)} rows and {len(table.columns)} columns, and the manifest {len(frame)} rows; is it "
            "transposed? Rows are samples, columns are features"
        )
    nameless = unnamed(table)
    if nameless:
        hollow = all(table[name].isna().all() for name in nameless)
        what = (
            "they are empty: drop the commas that end the lines" if hollow else "the index of a table, written with it?"
        )
        raise DataError(
            f"{path.name}: {len(nameless)} columns have no name ({what}); write it without (index=False), or call the column "
            f"'{ID}' if it says which sample a row is"
        )


def texts_of(column: pd.Series) -> pd.Series:
    """Return a column of identifiers as text: 7.0, as pandas makes of 7 beside a missing cell, is 7; missing stays missing."""
    if column.dtype.kind == "f" and bool((column.dropna() % 1 == 0).all()):
        column = column.astype("Int64")
    return column.astype("str").where(column.notna())


def _check_ids_elsewhere(table: pd.DataFrame, path: Path, frame: pd.DataFrame) -> None:
    """Refuse a column of text that holds the manifest's samples under another name.

    Raises:
        DataError: There is one.
    """
    if ID not in frame:
        return
    known = set(texts_of(frame[ID]).dropna())
    for name in table:
        column = table[name]
        if column.dtype.kind in "biufcmM" or not set(column.head(50).dropna().astype(str)) & known:
            continue
        if pd.to_numeric(column, errors="coerce").notna().all():
            continue  # numbers are compared as numbers, with what they stand for
        raise DataError(
            f"{path.name}: column '{shown([str(name)])}' holds samples of the manifest; call it '{ID}', so that rows are "
            "joined by it"
        )


def _join(numbers: pd.DataFrame, path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    if ID not in frame:
        raise DataError(f"{path.name}: carries '{ID}' and the manifest does not; add the column to the manifest")
    wanted = texts_of(frame[ID])
    empty = (int(np.sum(numbers.index.isna())), int(wanted.isna().sum()))
    if any(empty):
        raise DataError(
            f"{path.name}: '{ID}' is empty in {empty[0]} of its rows and in {empty[1]} of the manifest; fill or drop these"
        )
    repeated = int(numbers.index.duplicated().sum())
    unknown = int((~numbers.index.isin(wanted)).sum())
    if repeated or unknown:
        raise DataError(f"{path.name}: {repeated} rows repeat a {ID}, and {unknown} have one that the manifest lacks")
    if wanted.duplicated().any():
        raise DataError(f"{path.name}: rows of the manifest repeat a {ID}, so that they cannot be joined by it")
    return numbers.reindex(wanted)
