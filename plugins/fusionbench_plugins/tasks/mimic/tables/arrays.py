"""Events to regular steps: last value of a step, filled forward, one-hot, with a mask of what was measured."""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.store import RowFile
from fusionbench_plugins.tasks.mimic.tables.database import Resources, database, execute, pattern
from fusionbench_plugins.tasks.mimic.tables.rules import RuleSet
from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS, GCS_PARTS, NAMES, VARIABLES, Variable

VERSION = 2
"""Raised when the same events would give other arrays."""

SERIES, LENGTHS = "series.npy", "lengths.npy"
_CELLS = 100_000  # steps of all stays at a time: as many rows of 76 doubles are 60 MB
# bins are open on the left: an event on the hour belongs to the hour that ends there
_EDGE = 1e-6

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def write_series(
    events: Path,
    ends: Floats,
    rules: RuleSet,
    step_hours: float,
    max_steps: int | None,
    folder: Path,
    resources: Resources,
) -> dict[str, Any]:
    """Write ``series.npy``: float32 ``[rows, steps, 76]``, not standardised, and ``lengths.npy``: int64 ``[rows]``.

    Steps after a row's length are zeros. ``steps`` is the largest length.

    Args:
        events: The table of events.
        ends: ``[rows]``: the last hour that may be read.
        rules: How values become arrays.
        step_hours: Length of a step.
        max_steps: Longer series are cut after so many; None: none is.
        folder: Where to write.
        resources: Of the database.

    Raises:
        DataError: An event lies after the end of its row.
    """
    full = step_counts(ends, step_hours)
    lengths = full if max_steps is None else np.minimum(full, max_steps)
    shape = (len(ends), int(lengths.max()), len(COLUMNS))
    measured = np.zeros(len(VARIABLES))
    with database(folder, resources) as connection:
        binned = _binned(connection, events, ends, full, step_hours)
    with RowFile(folder / SERIES, np.float32, shape) as target:
        for rows, values, before in _chunks(binned, lengths):
            block = encode(values, start_values(before, rules), rules)
            block[np.arange(shape[1]) >= lengths[rows, None]] = 0
            target.write(rows.start, block)
            measured += block[..., -len(VARIABLES) :].sum(axis=(0, 1))
    np.save(folder / LENGTHS, lengths, allow_pickle=False)
    shares = (measured / lengths.sum()).round(6).tolist()
    return {
        "measured": dict(zip(NAMES, shares, strict=True)),
        "cut": int((full > lengths).sum()),
        "steps_cut": int((full - lengths).sum()),
        "longest": int(full.max()),
        "ragged": bool((lengths != shape[1]).any()),
    }


def step_counts(ends: Floats, step_hours: float) -> Ints:
    """Return how many steps cover the hours until each end, one at least: int64 ``[rows]``."""
    counts: Ints = np.maximum((ends / step_hours + 1 - _EDGE).astype(np.int64), 1)
    return counts


def _binned(connection: Any, events: Path, ends: Floats, counts: Ints, step: float) -> dict[str, NDArray[Any]]:
    """Return row, bin (-1 = before admission), variable and number: one per row, bin and variable, by row."""
    import pandas as pd

    connection.register("ends", pd.DataFrame({"row": np.arange(len(ends)), "final": ends, "bins": counts}))
    source = f"read_parquet({pattern(events)}) JOIN ends USING (row)"
    outside = execute(
        connection, f"SELECT count(*) FROM {source} WHERE NOT hours <= final + {_EDGE!r}", "of events"
    ).fetchall()[0][0]
    if outside:
        raise DataError(f"{outside} events lie after the end of what may be read of their stay: they would leak.")
    result: dict[str, NDArray[Any]] = execute(
        connection,
        f"""SELECT row, variable, number, CASE WHEN hours <= {-_EDGE!r} THEN -1
            ELSE least(trunc(hours / {step!r} - {_EDGE!r})::BIGINT, bins - 1) END AS bin
        FROM {source}
        QUALIFY row_number() OVER (PARTITION BY row, variable, bin ORDER BY rank, hours DESC) = 1
        ORDER BY row""",
        "of events",
    ).fetchnumpy()
    return result


def _chunks(binned: dict[str, NDArray[Any]], lengths: Ints) -> Iterator[tuple[slice, Floats, Floats]]:
    """Yield rows, values ``[n, steps, 17]`` and values before admission ``[n, 17]``; NaN = not measured."""
    row, slot, variable, number = (np.asarray(binned[name]) for name in ("row", "bin", "variable", "number"))
    steps = int(lengths.max())
    size = max(_CELLS // steps, 1)
    for start in range(0, len(lengths), size):
        rows = slice(start, min(start + size, len(lengths)))
        first, last = np.searchsorted(row, [rows.start, rows.stop])
        part = first + np.flatnonzero(slot[first:last] < lengths[row[first:last]])
        table = np.full((rows.stop - start, steps + 1, len(VARIABLES)), np.nan)
        table[row[part] - start, slot[part] + 1, variable[part]] = number[part]
        yield rows, table[:, 1:], table[:, 0]


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
