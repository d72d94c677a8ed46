"""Tables of a user as data frames: CSV and Parquet, with every column a column and every row in the order of the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fusionbench.data.files.delimited import UNNAMED, read_delimited, shown
from fusionbench.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

ID = "sample_id"
"""The column by which tables are joined."""

BLANK = "blank_lines"
"""Entry of a frame's ``attrs``: how many blank lines lie between its rows."""

_INDEX = re.compile(r"__index_level_\d+__")


def read_frame(path: Path) -> pd.DataFrame:
    """Return a CSV or Parquet file as it is; text stays text in CSV, and only empty cells are missing.

    Columns without a name are called ``Unnamed: <position>``. A named index of Parquet is a column like others.

    Raises:
        DataError: The file is not there, cannot be parsed, is not as strict as :mod:`~fusionbench.data.files.delimited`
            asks, has no rows, or has an index that says something and has no name.
    """
    try:
        if not path.is_file():
            raise _absent(path)
        frame = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    except (OSError, ValueError) as problem:  # pyarrow's errors are ValueErrors; a path with a zero byte raises one too
        # the parser's own words may quote a row
        raise DataError(
            f"{path}: cannot be read as {path.suffix.removeprefix('.')} ({type(problem).__name__}); "
            "accepted are CSV with a header line (UTF-8, commas) and Parquet"
        ) from None
    if len(frame) == 0 or len(frame.columns) == 0:
        raise DataError(f"{path}: has no {'rows' if len(frame) == 0 else 'columns'}")
    return frame


def unnamed(frame: pd.DataFrame) -> list[str]:
    """Return the columns that have no name in the file."""
    return [str(c) for c in frame if str(c).startswith(UNNAMED)]


def _absent(path: Path) -> DataError:
    if path.is_dir():
        return DataError(f"{path}: is a folder; accepted are files, CSV or Parquet")
    near = [p.name for p in path.parent.glob("*") if p.suffix in (".csv", ".parquet")]
    return DataError(f"{path}: no such file{did_you_mean(path.name, near)}")


def _csv(path: Path) -> pd.DataFrame:
    found = read_delimited(path.read_bytes(), str(path))
    columns = zip(*found.rows, strict=True) if found.rows else ([] for _ in found.header)
    texts = {n: [cell or None for cell in cells] for n, cells in zip(found.header, columns, strict=True)}
    frame = pd.DataFrame(texts, dtype="str")
    frame.attrs[BLANK] = len(found.blank)
    return frame


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        table.validate(full=True)  # text that is not UTF-8 would raise only where it is looked at
        names = list(table.column_names)
        repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if repeated:
            raise DataError(
                f"{path}: {len(repeated)} names of columns occur more than once: {shown(repeated)}; rename them"
            )
        frame = table.to_pandas(ignore_metadata=True)
        noted = _noted_range(table)
    except (pa.ArrowException, MemoryError, NotImplementedError, OverflowError) as problem:
        raise DataError(f"{path}: cannot be read as parquet ({type(problem).__name__}); write the file again") from None
    if noted is not None and noted.get("name") and noted["name"] not in frame:
        frame[str(noted["name"])] = range(noted["start"], noted["stop"], noted["step"])
        noted = None
    return _without_index(frame, noted, path)


def _noted_range(table: pa.Table) -> dict[str, Any] | None:
    """Return the index that pandas noted as a range, so that it needed no column; None where there is none."""
    try:
        levels = (table.schema.pandas_metadata or {}).get("index_columns", [])
    except (ValueError, AttributeError):  # not what pandas writes
        return None
    ranges = [level for level in levels if isinstance(level, dict) and level.get("kind") == "range"]
    whole = [r for r in ranges if all(isinstance(r.get(key), int) for key in ("start", "stop", "step")) and r["step"]]
    return whole[0] if whole and len(range(*(whole[0][k] for k in ("start", "stop", "step")))) == len(table) else None


def _without_index(frame: pd.DataFrame, noted: dict[str, Any] | None, path: Path) -> pd.DataFrame:
    levels = [c for c in frame if _INDEX.fullmatch(str(c))]
    plain = not levels or (len(levels) == 1 and _counts(frame[levels[0]]))
    plain &= noted is None or (noted["start"], noted["step"]) == (0, 1)
    if not plain and ID not in frame:
        raise DataError(
            f"{path}: the rows have an index without a name that is not 0, 1, 2, ...: it may say which sample a row is. Name "
            f"it '{ID}' (frame.index.name = '{ID}'), or drop it with frame.reset_index(drop=True) where the order of the rows "
            "is right, and write the file again"
        )
    return frame.drop(columns=levels)


def _counts(index: Any) -> bool:
    return pd.api.types.is_integer_dtype(index) and bool((index.to_numpy() == range(len(index))).all())
