"""One modality's file: numbers by column, in the manifest's row order or joined to it by sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.table.manifest import ID, read_frame

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
        names = [self.columns[i] if self.columns else str(i) for i in positions[:5]]
        return ", ".join(names) + (f" and {len(positions) - 5} more" if len(positions) > 5 else "")


def read_block(root: Path, name: str, frame: pd.DataFrame) -> Block:
    """Read ``<name>.npy``, ``.csv`` or ``.parquet``.

    Args:
        root: The folder.
        name: The modality.
        frame: The manifest; a file with a column ``sample_id`` is joined by it, any other must have as many rows.

    Raises:
        DataError: There is no such file or more than one, or it does not fit the manifest.
    """
    path = _find(root, name)
    values, columns = _read_array(path) if path.suffix == ".npy" else _read_table(path, frame)
    if len(values) != len(frame):
        raise DataError(
            f"{path.name}: has {len(values)} rows and the manifest {len(frame)}; rows must be in the same order, or a "
            f"CSV or Parquet file must carry '{ID}'"
        )
    listed = root / f"{name}_features.txt"
    if not columns and listed.is_file():
        columns = tuple(listed.read_text(encoding="utf-8").split("\n"))
        columns = columns[:-1] if columns[-1] == "" else columns
        if len(columns) != values.shape[1]:
            raise DataError(f"{listed.name}: has {len(columns)} lines and {path.name} {values.shape[1]} columns")
    return Block(name, values, columns)


def _find(root: Path, name: str) -> Path:
    found = [p for suffix in SUFFIXES if (p := root / f"{name}{suffix}").is_file()]
    if len(found) == 1:
        return found[0]
    what = f"there are {', '.join(p.name for p in found)}; leave one" if found else "there is none"
    raise DataError(f"modality '{name}': needs one file {', '.join(name + s for s in SUFFIXES)} in {root}; {what}")


def _read_array(path: Path) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise DataError(
            f"{path.name}: not an array that NumPy reads without pickle; save numbers with numpy.save"
        ) from None
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiub":
        raise DataError(
            f"{path.name}: must hold numbers [rows, columns], found {array.dtype} {list(array.shape)}; "
            "series and images are not for this task"
        )
    return array.astype(np.float32), ()


def _read_table(path: Path, frame: pd.DataFrame) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    table = read_frame(path)
    ids = table.pop(ID).astype(str) if ID in table else None
    numbers = table.apply(pd.to_numeric, errors="coerce")
    wrong = [str(c) for c in table if bool((numbers[c].isna() & table[c].notna()).any())]
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise DataError(
            f"{path.name}: columns with text where a number should be: {shown}; an empty cell means no value"
        )
    if numbers.shape[1] == 0:
        raise DataError(f"{path.name}: has no column of features")
    if ids is not None:
        numbers = _join(numbers.set_axis(ids), path, frame)
    return numbers.to_numpy(dtype=np.float32, na_value=np.nan), tuple(str(c) for c in numbers)


def _join(numbers: pd.DataFrame, path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    if ID not in frame:
        raise DataError(f"{path.name}: carries '{ID}' and the manifest does not; add the column to the manifest")
    wanted = frame[ID].astype(str)
    repeated = int(numbers.index.duplicated().sum())
    unknown = int((~numbers.index.isin(wanted)).sum())
    if repeated or unknown:
        raise DataError(f"{path.name}: {repeated} rows repeat a {ID}, and {unknown} have one that the manifest lacks")
    return numbers.reindex(wanted)
