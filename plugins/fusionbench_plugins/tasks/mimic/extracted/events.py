"""An extracted folder as a source: per-stay files of cleaned values to the events that the arrays are made of.

What is left to do here is what the published discretiser does to these files; the rules of cleaning were applied
when they were written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.data.files.delimited import records, separator_problem
from fusionbench.data.files.numbers import plain
from fusionbench.errors import DataError, did_you_mean
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic import store
from fusionbench_plugins.tasks.mimic.extracted.lists import MORTALITY, Listed, admission_times, read_lists
from fusionbench_plugins.tasks.mimic.options import Options
from fusionbench_plugins.tasks.mimic.store import Entry
from fusionbench_plugins.tasks.mimic.tables import extract
from fusionbench_plugins.tasks.mimic.tables.cohort import CohortRule, require_rows
from fusionbench_plugins.tasks.mimic.tables.variables import VARIABLES
from fusionbench_plugins.tasks.mimic.tables.window import TOLERANCE

VERSION = 1
"""Raised when the same folder would give other events."""

LABELS = "labels.npy"
_VARIABLE = {variable.published: number for number, variable in enumerate(VARIABLES)}
_FILES_AT_A_TIME = 1000  # a thousand stays of a week are about 100 MB while they are read

Series = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


def extracted_entry(options: Options, root: Path, outcome: str, cache: Path, progress: Progress) -> Entry:
    """Return the entry with ``stays.parquet``, ``events.parquet`` and ``labels.npy`` (int64 ``[rows, labels]``).

    The first two are as :func:`.extract.extract` writes them, less what only the tables of MIMIC-IV know. Stays have
    ``part``, and ``intime`` where ``root/all_stays.csv`` is there.

    Raises:
        DataError: A list file, a stay's file or the table of stays is missing or malformed.
    """
    listed = read_lists(root, outcome)
    table = stays_table(root) if listed.has_stay_ids else None
    key = {
        "version": VERSION,
        "outcome": outcome,
        "variables": store.content_hash(repr(VARIABLES)),
        "window": [options.window.hours, options.window.full],
        "lists": [store.signature(path) for path in (*listed.files, *([table] if table else []))],
        "files": store.content_hash([store.signature(path) for path in listed.stays["path"]]),
    }

    def build(folder: Path) -> Mapping[str, Any]:
        return _write(options, listed, table, outcome, folder, progress)

    return store.entry(cache, "extracted", key, build)


def stays_table(root: Path) -> Path | None:
    """Return the table of all stays, where MedFuse's scripts leave it.

    Raises:
        DataError: There are two, which differ.
    """
    found = [p for p in (root / "root" / "all_stays.csv", root / "all_stays.csv") if p.is_file()]
    if len({store.hash_file(path) for path in found}) > 1:
        raise DataError(
            f"extracted folder {root}: root/all_stays.csv and all_stays.csv are both there, and differ; leave one"
        )
    return found[0] if found else None


def _write(
    options: Options, listed: Listed, table: Path | None, outcome: str, folder: Path, progress: Progress
) -> dict[str, Any]:
    stays = listed.stays.assign(end_hours=_ends(options, listed, outcome))
    if table is not None:
        stays = stays.assign(intime=admission_times(table, listed))
    counts = _write_events(stays, folder / extract.EVENTS, progress)
    kept = np.flatnonzero(counts.pop("of each stay"))
    used = stays.iloc[kept].drop(columns="path").reset_index(drop=True)
    used.insert(0, "row", np.arange(len(used), dtype=np.int32))
    used.to_parquet(folder / extract.STAYS, index=False)
    np.save(folder / LABELS, listed.labels[kept], allow_pickle=False)
    funnel = (
        CohortRule(f"in the list files of {outcome}", len(stays)),
        CohortRule(f"an event in the {options.window}", len(used)),
    )
    require_rows(funnel)
    return {"funnel": [list(step) for step in funnel], "counts": {"unknown_texts": 0, **counts}, "labels": listed.names}


def _ends(options: Options, listed: Listed, outcome: str) -> NDArray[np.float64]:
    """Return the last hour of each stay that is read."""
    window = np.inf if options.window.hours is None else options.window.hours
    if outcome == MORTALITY:  # the list files say 0, or nothing
        return np.full(len(listed.stays), window)
    ends: NDArray[np.float64] = np.minimum(listed.stays["period_length"].to_numpy(dtype=np.float64), window)
    return ends


# --------------------------------------------------------------------------------------------
# the files of the stays


def _write_events(stays: Any, path: Path, progress: Progress) -> dict[str, Any]:
    """Write the events of all stays that have one; rows are numbered over these stays alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "row": pa.int32(),
        "variable": pa.int32(),
        "hours": pa.float64(),
        "rank": pa.int32(),
        "number": pa.float64(),
    }
    problems: Counter[tuple[str, str]] = Counter()
    counts, late = np.zeros(len(stays), dtype=np.int64), 0
    with (
        pq.ParquetWriter(path, pa.schema(columns)) as writer,
        progress.stage("reading per-stay files", total=len(stays), unit="files") as stage,
    ):
        for start in range(0, len(stays), _FILES_AT_A_TIME):
            block: list[list[NDArray[Any]]] = []
            for position in range(start, min(start + _FILES_AT_A_TIME, len(stays))):
                inside, after = _events(stays.iloc[position], problems)
                row = np.full(len(inside[0]), np.count_nonzero(counts))
                block.append([row, inside[0], inside[1], np.zeros(len(row)), inside[2]])
                counts[position], late = len(row), late + after
                stage.advance()
            arrays = [np.concatenate(parts) for parts in zip(*block, strict=True)]
            writer.write_table(
                pa.table({n: pa.array(a).cast(columns[n]) for n, a in zip(columns, arrays, strict=True)})
            )
    if problems:
        found = [f"  - {count} of the {part} list: {why}" for (part, why), count in problems.items()]
        raise DataError("\n".join(["files of stays that cannot be used:", *found]))
    return {"of each stay": counts, "kept": int(counts.sum()), "after_the_window": late}


def _events(stay: Any, problems: Counter[tuple[str, str]]) -> tuple[Series, int]:
    """Return a stay's events up to its end, and how many come later; a malformed file is counted and has none."""
    try:
        variable, hours, numbers = read_series(stay["path"])
    except ValueError as problem:
        problems[stay["part"], str(problem)] += 1
        return (np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)), 0
    inside = hours <= stay["end_hours"] + TOLERANCE
    return (variable[inside], hours[inside], numbers[inside]), int((~inside).sum())


def read_series(path: Path) -> Series:
    """Read the file of one stay.

    Returns:
        Index into ``VARIABLES``, hours, and number (for categorical variables the one-hot column): each ``[events]``,
        by variable and time; of events of a variable at one time, the one in the last line.

    Raises:
        ValueError: It is malformed; the reason holds nothing of its content but names of columns.
    """
    header, lines = _read(path)
    wrong = _header_problem(header)
    if wrong:
        raise ValueError(wrong)
    if not lines:
        raise ValueError("no line of events")
    if any(len(line) != len(header) for line in lines):
        raise ValueError("a line has another number of cells than the header")
    cells = np.array(lines, dtype=np.str_)
    hours = _floats(cells[:, 0], "Hours")
    if hours.min() <= -TOLERANCE:
        raise ValueError("events before admission to the unit")
    if np.any(np.diff(hours) <= -TOLERANCE):
        raise ValueError("column Hours is not in ascending order")
    found = list(_columns(header, cells, hours))
    if not found:
        raise ValueError("no value in any line")
    variable, times, numbers = (np.concatenate(part) for part in zip(*found, strict=True))
    return variable, times, numbers


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        lines = [record.cells for record in records(path.read_bytes(), "file")]
    except OSError:
        raise ValueError("cannot be read") from None
    except DataError:
        raise ValueError("not CSV text in UTF-8") from None
    if not lines:
        raise ValueError("empty")
    problem = separator_problem(lines[0], lines[1] if len(lines) > 1 else ())
    if problem:
        raise ValueError(problem)
    return lines[0], lines[1:]


def _header_problem(header: Sequence[str]) -> str:
    names = header[1:]
    unknown = [name for name in names if name not in _VARIABLE]
    missing = [name for name in _VARIABLE if name not in names]
    if header[:1] != ["Hours"]:
        return "the first column is not Hours"
    if unknown:
        return f"unknown column '{unknown[0]}'{did_you_mean(unknown[0], _VARIABLE)}"
    if missing:
        return f"no column '{missing[0]}'"
    return "a column occurs twice" if len(set(names)) < len(names) else ""


def _columns(header: Sequence[str], cells: NDArray[np.str_], hours: NDArray[np.float64]) -> Iterator[Series]:
    for position, name in enumerate(header[1:], 1):
        lines = np.flatnonzero(cells[:, position] != "")
        # of lines of one time the last counts
        lines = lines[np.append(np.diff(hours[lines]) != 0, True)] if len(lines) else lines
        if len(lines):
            numbers = _values(cells[lines, position], name)
            yield np.full(len(lines), _VARIABLE[name], dtype=np.int64), hours[lines], numbers


def _values(texts: NDArray[np.str_], name: str) -> NDArray[np.float64]:
    columns = VARIABLES[_VARIABLE[name]].columns
    if not columns:
        return _floats(texts, name)
    place = {text: float(number) for number, text in enumerate(columns)}
    if not set(texts.tolist()) <= place.keys():
        raise ValueError(f"column {name}: a text that is none of its {len(columns)} words")
    return np.array([place[text] for text in texts.tolist()])


def _floats(texts: NDArray[np.str_], name: str) -> NDArray[np.float64]:
    try:
        numbers: NDArray[np.float64] = texts.astype(np.float64)
    except ValueError:
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all() or not plain(texts.tolist()):
        raise ValueError(f"column {name}: something that is not a number")
    return numbers
