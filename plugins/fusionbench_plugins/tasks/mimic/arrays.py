"""Events to regular steps: last value of a step, filled forward, one-hot, with a mask of what was measured."""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.database import database, execute, pattern
from fusionbench_plugins.tasks.mimic.rules import RuleSet
from fusionbench_plugins.tasks.mimic.variables import COLUMNS, GCS_PARTS, NAMES, VARIABLES, Variable

VERSION = 1
"""Raised when the same events would give other arrays."""

SERIES = "series.npy"
_CHUNK = 2048  # stays at a time: 2048 x 48 x 76 doubles are 60 MB
# bins are open on the left: an event on the hour belongs to the hour that ends there
_EDGE = 1e-6

Floats = NDArray[np.float64]


def write_series(
    events: Path,
    rows: int,
    rules: RuleSet,
    step_hours: float,
    window_hours: float,
    folder: Path,
    memory_limit: str,
    threads: int,
) -> dict[str, Any]:
    """Write ``series.npy``: float32 ``[rows, steps, 76]``, not standardised.

    Raises:
        DataError: An event lies outside the window.
    """
    steps = round(window_hours / step_hours)
    target = np.lib.format.open_memmap(folder / SERIES, mode="w+", dtype=np.float32, shape=(rows, steps, len(COLUMNS)))
    measured = np.zeros(len(VARIABLES))
    with database(folder, memory_limit, threads) as connection:
        binned = _binned(connection, events, step_hours, window_hours)
    for start, values, before in _chunks(binned, rows, steps):
        block = encode(values, start_values(before, rules), rules)
        target[start : start + len(block)] = block
        measured += block[..., -len(VARIABLES) :].sum(axis=(0, 1))
    target.flush()
    return {"measured": dict(zip(NAMES, (measured / (rows * steps)).round(6).tolist(), strict=True))}


def _binned(connection: Any, events: Path, step: float, window: float) -> dict[str, NDArray[Any]]:
    """Return row, bin (-1 = before admission), variable and number: one per row, bin and variable, by row."""
    source = f"read_parquet({pattern(events)})"
    outside = execute(
        connection, f"SELECT count(*) FROM {source} WHERE NOT hours <= {window + _EDGE!r}", "of events"
    ).fetchall()[0][0]
    if outside:
        raise DataError(f"{outside} events lie after the window of {window:g} h: they would leak the outcome.")
    result: dict[str, NDArray[Any]] = execute(
        connection,
        f"""SELECT row, variable, number,
            CASE WHEN hours <= {-_EDGE!r} THEN -1 ELSE trunc(hours / {step!r} - {_EDGE!r})::INTEGER END AS bin
        FROM {source}
        QUALIFY row_number() OVER (PARTITION BY row, variable, bin ORDER BY rank, hours DESC) = 1
        ORDER BY row""",
        "of events",
    ).fetchnumpy()
    return result


def _chunks(binned: dict[str, NDArray[Any]], rows: int, steps: int) -> Iterator[tuple[int, Floats, Floats]]:
    """Yield first row, values ``[n, steps, 17]`` and values before admission ``[n, 17]``; NaN = not measured."""
    row, slot, variable, number = (np.asarray(binned[name]) for name in ("row", "bin", "variable", "number"))
    for start in range(0, rows, _CHUNK):
        stop = min(start + _CHUNK, rows)
        part = slice(*np.searchsorted(row, [start, stop]))
        table = np.full((stop - start, steps + 1, len(VARIABLES)), np.nan)
        table[row[part] - start, slot[part] + 1, variable[part]] = number[part]
        yield start, table[:, 1:], table[:, 0]


def start_values(before: Floats, rules: RuleSet) -> Floats:
    """Return what the fill begins with, ``[n, 17]``: the value before admission, else the normal value."""
    normal = np.array([_normal(variable, rules) for variable in VARIABLES])
    filled: Floats = np.where(np.isnan(before), normal, before)
    return filled


def _normal(variable: Variable, rules: RuleSet) -> float:
    if isinstance(variable.normal, float):
        return variable.normal
    column = variable.normal
    if rules.one_hot == "meaning":  # an assumed normal lights the column that a measured one lights
        column = next(c.column for c in variable.categories if column in (c.column, *c.spellings))
    return float(variable.columns.index(column))


def encode(values: Floats, start: Floats, rules: RuleSet) -> NDArray[np.float32]:
    """Fill, derive and expand.

    Args:
        values: ``[n, steps, 17]``: number, or index of the one-hot column; NaN = not measured.
        start: ``[n, 17]``: what stands before the first measurement.
        rules: Whether the total of the coma scale is derived.

    Returns:
        ``[n, steps, 76]``: 59 value columns, 17 masks (1 = measured in this step).
    """
    measured = ~np.isnan(values)
    filled = fill_forward(values, start)
    if rules.gcs_total:
        parts = [NAMES.index(name) for name in GCS_PARTS]
        total = NAMES.index("gcs_total")
        filled[..., total] = _total(filled[..., parts])
        measured[..., total] = measured[..., parts].all(axis=-1)
    columns = [_expand(filled[..., index], variable) for index, variable in enumerate(VARIABLES)]
    encoded: NDArray[np.float32] = np.concatenate([*columns, measured], axis=-1, dtype=np.float32)
    return encoded


def fill_forward(values: Floats, start: Floats) -> Floats:
    """Replace NaN by the last value before it along axis 1, or by ``start`` where there is none."""
    steps = np.arange(values.shape[1])[None, :, None]
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, steps), axis=1)
    filled: Floats = np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=1), start[:, None, :])
    return filled


def _total(parts: Floats) -> Floats:
    """Return the one-hot column of the sum of the three parts' scores; ``parts`` holds their columns."""
    scores = sum(
        _scores(VARIABLES[NAMES.index(name)])[parts[..., index].astype(int)] for index, name in enumerate(GCS_PARTS)
    )
    columns = VARIABLES[NAMES.index("gcs_total")].columns
    column_of = np.zeros(16)
    for position, text in enumerate(columns):
        column_of[int(text)] = position
    total: Floats = column_of[np.asarray(scores)]
    return total


def _scores(variable: Variable) -> NDArray[np.int64]:
    score = {text: c.score for c in variable.categories for text in (c.column, *c.spellings)}
    return np.array([score[column] for column in variable.columns])


def _expand(filled: Floats, variable: Variable) -> Floats:
    if not variable.columns:
        return filled[..., None]
    expanded: Floats = (filled[..., None] == np.arange(variable.width)).astype(np.float64)
    return expanded
