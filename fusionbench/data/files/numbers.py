"""Columns of a table as numbers, and as the single precision that models compute in: what is not a number is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.data.files.delimited import has_decimal_commas, shown
from fusionbench.errors import DataError

_LETTERS = "0123456789+-.eE \t"
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_LONGEST = 400  # letters of a number; Python refuses to read whole numbers of 4,300 digits
_COLUMNS_AT_ONCE = 64
_WORST_ROUNDING = 0.1  # of a column's spread
_NOISE = 1e-13  # of a column's size: differences of this size are rounding of double precision

_DATES = {"datetime64", "datetime", "date", "time", "period"}
_DURATIONS = {"timedelta64", "timedelta"}
_NUMBERS = {"floating", "integer", "mixed-integer-float", "decimal", "boolean", "empty"}


def numeric(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Return every column as numbers; missing cells are NaN.

    Args:
        table: As :func:`~fusionbench.data.files.frames.read_frame` gives it.
        what: How a message calls the file.

    Raises:
        DataError: Columns that hold something else, by what they hold.
    """
    columns: dict[str, pd.Series] = {}
    wrong: dict[str, list[str]] = {}
    for name in table:
        found = _numbers(table[name])
        if isinstance(found, str):
            wrong.setdefault(found, []).append(str(name))
        else:
            columns[str(name)] = found
    if wrong:
        raise DataError("\n".join(f"{what}: columns with {why.format(shown(names))}" for why, names in wrong.items()))
    return pd.DataFrame(columns, index=table.index)


_TEXT = "text where a number should be: {}; an empty cell means no value"
_COMMAS = "decimal commas: {}; decimal points are accepted"
_YES_NO = "true and false as text: {}; write 1 and 0"
_DATE = "dates or times: {}; a model cannot read them: turn them into numbers that mean something (days since admission, age)"
_DURATION = "durations: {}; turn them into numbers of one unit (hours), for example with .dt.total_seconds() / 3600"
_OTHER = "{} values: {{}}; accepted are numbers"


def _numbers(column: pd.Series) -> pd.Series | str:
    """Return a column as numbers, or what it holds instead."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.dtype.kind in "biuf":
        return column
    kind = "string" if isinstance(column.dtype, pd.StringDtype) else pd.api.types.infer_dtype(column, skipna=True)
    if kind == "string":
        return _texts(column)
    if kind in _NUMBERS:
        return column.astype(np.float64)
    for kinds, why in ((_DATES, _DATE), (_DURATIONS, _DURATION)):
        if kind in kinds:
            return why
    return _OTHER.format(kind if kind in ("bytes", "complex") else "list or mixed")


def _texts(column: pd.Series) -> pd.Series | str:
    held = column.dropna().tolist()
    if not plain(held):
        cells = [cell.strip() for cell in held]
        lowered = {cell.lower() for cell in cells}
        if lowered <= {"true", "false"}:
            return _YES_NO
        other = [cell for cell in cells if not _is_number(cell)]
        if has_decimal_commas(other):
            return _COMMAS
        if other:
            return _DATE if _dates(other) else _TEXT
    found = pd.to_numeric(column, errors="coerce")
    return _TEXT if bool((found.isna() & column.notna()).any()) else found


def plain(cells: Sequence[str]) -> bool:
    """Whether texts are made of the letters of numbers alone.

    Python and NumPy also read underscores (``1_000``) and digits of other scripts, which no table means.
    """
    other = "".join(cells).encode("utf-8", "surrogatepass").translate(None, _LETTERS.encode())
    return not other and max(map(len, cells), default=0) <= _LONGEST


def _is_number(cell: str) -> bool:
    if _INFINITE.fullmatch(cell):  # refused where it is read, with its column
        return True
    if len(cell) > _LONGEST or not set(cell) <= set(_LETTERS):
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _dates(cells: Sequence[str]) -> bool:
    """Whether all of the first few cells begin like a date or a time of ISO 8601."""
    begins = pd.Series(cells[:50]).str.match(r"\d{4}-\d\d-\d\d|\d{1,2}:\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
    return bool(begins.all())


# --------------------------------------------------------------------------------------------
# single precision


def single(values: NDArray[np.generic] | pd.DataFrame, names: Sequence[str], what: str) -> NDArray[np.float32]:
    """Return numbers as float32 ``[rows, columns]``.

    Args:
        values: Numbers of any type.
        names: Of the columns; none: they are numbered.
        what: How a message calls the file.

    Raises:
        DataError: Columns whose values are out of its range, or whose differences it would round away.
    """
    if isinstance(values, pd.DataFrame):
        exact = values.to_numpy(dtype=np.float64, na_value=np.nan)
        with np.errstate(over="ignore"):
            made = values.to_numpy(dtype=np.float32, na_value=np.nan)
    else:
        exact = values
        with np.errstate(over="ignore"):
            made = values.astype(np.float32)
    if exact.dtype.kind == "f" and exact.dtype.itemsize <= made.dtype.itemsize:
        return made
    far, lost = (np.concatenate(found) for found in zip(*_losses(exact, made), strict=True))
    called = [names[i] if names else str(i) for i in range(made.shape[1])]
    problems = [
        f"{what}: columns with {why}: {shown([called[i] for i in np.flatnonzero(columns)])}; {advice}"
        for columns, why, advice in (
            (far, "numbers beyond 3.4e38", "use another unit"),
            (
                lost & ~far,
                "differences that single precision would round away beside their size",
                "subtract a common offset (of times, the earliest), or use another unit",
            ),
        )
        if columns.any()
    ]
    if problems:
        raise DataError("\n".join(problems))
    return made


def _losses(
    exact: NDArray[np.generic], made: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield, for some columns at a time, bool ``[columns]``: out of range, and rounded away."""
    for first in range(0, exact.shape[1], _COLUMNS_AT_ONCE):
        part = slice(first, first + _COLUMNS_AT_ONCE)
        before, after = exact[:, part].astype(np.float64), made[:, part].astype(np.float64)
        far = np.asarray((np.isfinite(before) & ~np.isfinite(after)).any(axis=0))
        known = np.isfinite(before) & np.isfinite(after)
        rows = np.maximum(known.sum(axis=0), 1)
        before, after = np.where(known, before, 0), np.where(known, after, 0)
        # relative to the column's size: squares of 1e200 or 1e-200 would leave even double precision
        size = np.abs(before).max(axis=0)
        size = np.where(size > 0, size, 1)
        mean = (before / size).sum(axis=0) / rows
        spread = np.sqrt(np.square(np.where(known, before / size - mean, 0)).sum(axis=0) / rows)
        rounding = np.abs((after - before) / size).max(axis=0)
        yield far, np.asarray((spread > _NOISE) & (rounding > _WORST_ROUNDING * spread))
