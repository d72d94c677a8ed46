"""One chest X-ray per stay: the last AP picture from admission to the end of the window."""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import DataError
from fusionbench.progress import Progress
from fusionbench_plugins.tasks._pictures import blank, decode
from fusionbench_plugins.tasks.mimic.store import RowFile, hash_file
from fusionbench_plugins.tasks.mimic.studies.files import Files, study_path
from fusionbench_plugins.tasks.mimic.tables.database import Resources, database, execute, literal, pattern
from fusionbench_plugins.tasks.mimic.tables.layout import SourceTable

VERSION = 2
"""Raised when the same files would give other links or pictures."""

LINKS = "links.parquet"
IMAGES = "images.npy"
FOUND = "found.npy"
UNREADABLE = "unreadable.csv"


class Link(NamedTuple):
    """The picture of one stay.

    Args:
        row: Row of the stay.
        subject_id: The patient, as in the path of the files.
        study_id: The study, which also has the report.
        dicom_id: The picture.
        hours: When it was taken, from admission to the unit.
    """

    row: int
    subject_id: int
    study_id: int
    dicom_id: str
    hours: float

    @property
    def image_path(self) -> str:
        """Path below the root of MIMIC-CXR-JPG."""
        return f"{study_path(self.subject_id, self.study_id)}/{self.dicom_id}.jpg"

    @property
    def report_path(self) -> str:
        """Path below the root of MIMIC-CXR."""
        return f"{study_path(self.subject_id, self.study_id)}.txt"


def write_links(metadata: SourceTable, stays: Path, folder: Path, resources: Resources) -> dict[str, Any]:
    """Write ``links.parquet``: at most one picture per stay.

    Both ends of the window count; of several pictures the last is taken, and of equal times the
    first by dicom_id. Fractions of a second are cut off.
    """
    with database(folder, resources) as connection:
        execute(
            connection,
            f"""CREATE TEMP TABLE pictures AS
            SELECT subject_id, study_id, dicom_id, ViewPosition, try_strptime(
                StudyDate::VARCHAR || lpad(floor(StudyTime)::BIGINT::VARCHAR, 6, '0'), '%Y%m%d%H%M%S') AS taken
            FROM {metadata.scan()}""",
            metadata.name,
        )
        execute(
            connection,
            f"""CREATE TEMP TABLE inside AS
            SELECT s.row, p.*, (epoch_us(p.taken) - epoch_us(s.intime)) / 3.6e9 AS hours
            FROM read_parquet({pattern(stays)}) s JOIN pictures p USING (subject_id)
            WHERE p.ViewPosition = 'AP' AND p.taken >= s.intime
                AND p.taken <= s.intime + to_microseconds(round(s.end_hours * 3.6e9)::BIGINT)""",
            metadata.name,
        )
        execute(
            connection,
            f"""COPY (
                SELECT row, subject_id, study_id, dicom_id, hours FROM inside
                QUALIFY row_number() OVER (PARTITION BY row ORDER BY taken DESC, dicom_id) = 1 ORDER BY row
            ) TO {literal(folder / LINKS)} (FORMAT parquet)""",
            metadata.name,
        )
        counts = connection.execute(
            f"""WITH known AS (SELECT * FROM pictures SEMI JOIN read_parquet({pattern(stays)}) USING (subject_id))
            SELECT (SELECT count(*) FROM pictures), (SELECT count_if(taken IS NULL) FROM pictures),
                (SELECT count(DISTINCT row) FROM inside), (SELECT count(*) FROM known),
                (SELECT count_if(ViewPosition = 'AP') FROM known)"""
        ).fetchall()[0]
    names = ("pictures", "without_time", "linked", "of_patients", "from_front")
    numbers = {name: int(count or 0) for name, count in zip(names, counts, strict=True)}  # no rows: NULL
    return {**numbers, "table": {metadata.name: hash_file(metadata.path)}}


def read_links(path: Path) -> list[Link]:
    """Return the links, by row."""
    import pandas as pd

    table = pd.read_parquet(path)
    return [Link(*values) for values in zip(*(table[name].tolist() for name in Link._fields), strict=True)]


def write_images(
    links: Sequence[Link], files: Files, rows: int, size: int, folder: Path, threads: int, progress: Progress
) -> dict[str, Any]:
    """Decode the linked pictures.

    Writes ``images.npy``: uint8 ``[rows, size, size]``, zeros where there is none; ``found.npy``: bool ``[rows]``;
    ``unreadable.csv``: path and reason of the files that are missing or damaged.

    What an interrupted call left in ``folder`` is gone on with.

    Returns:
        Counts of pictures that were decoded, are missing, are damaged.

    Raises:
        DataError: None of them can be used.
    """
    found = _decoded_before(folder, rows)
    before, empty = np.flatnonzero(found), 0
    todo = [link for link in links if not found[link.row]]
    problems: list[tuple[str, str]] = []
    with (
        progress.stage("decoding chest X-rays", total=len(links), unit="images") as stage,
        RowFile(folder / IMAGES, np.uint8, (rows, size, size)) as target,
        RowFile(folder / FOUND, np.bool_, (rows,)) as marks,
        ThreadPoolExecutor(threads) as pool,
    ):
        stage.advance(len(links) - len(todo))
        for link, result in zip(todo, pool.map(lambda one: _load(files, one.image_path, size), todo), strict=True):
            if isinstance(result, str):
                problems.append((link.image_path, result))
            else:
                target.write(link.row, result[None])
                empty += blank(result)
                found[link.row] = True
                marks.write(link.row, found[link.row, None])  # after the picture: a mark without one would be read
            stage.advance()
    reasons = Counter(reason for _, reason in problems)
    missing = reasons.pop(_MISSING, 0)
    if links and not found.any():
        raise DataError(
            f"none of the {len(links)} linked chest X-rays can be used: {missing} are missing, "
            f"{len(problems) - missing} are damaged{_listed(reasons)}; files/p10/p.../s.../*.jpg (or images.zip) must be "
            "below the root."
        )
    with (folder / UNREADABLE).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "reason"), *problems])
    return {
        "decoded": int(found.sum()),
        "missing": missing,
        "damaged": len(problems) - missing,
        "why": _listed(reasons),
        "blank": empty + _blank(folder / IMAGES, before),
    }


_MISSING = "missing"


def _listed(reasons: Mapping[str, int]) -> str:
    return f" ({'; '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))})" if reasons else ""


def _blank(path: Path, rows: NDArray[np.intp]) -> int:
    """Return how many of the pictures that an interrupted call decoded are one even grey."""
    pictures = np.load(path, mmap_mode="r", allow_pickle=False) if len(rows) else ()
    return sum(blank(pictures[row]) for row in rows)


def _decoded_before(folder: Path, rows: int) -> NDArray[np.bool_]:
    """Return which rows an interrupted call has decoded: bool ``[rows]``."""
    try:
        found: NDArray[np.bool_] = np.load(folder / FOUND, allow_pickle=False)
    except (OSError, ValueError):
        return np.zeros(rows, dtype=np.bool_)
    return found if found.shape == (rows,) and (folder / IMAGES).is_file() else np.zeros(rows, dtype=np.bool_)


def _load(files: Files, path: str, size: int) -> NDArray[np.uint8] | str:
    try:
        content = files.read(path)
        return _MISSING if content is None else decode(content, size)
    except ValueError as error:
        return str(error)
    except OSError:
        return "cannot be read"
