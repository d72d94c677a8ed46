"""One chest X-ray per stay: the last AP picture from admission to the end of the window."""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import DataError
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic.database import database, execute, literal, pattern
from fusionbench_plugins.tasks.mimic.files import Files, study_path
from fusionbench_plugins.tasks.mimic.layout import Table
from fusionbench_plugins.tasks.mimic.store import hash_file

VERSION = 1
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


def write_links(
    metadata: Table, stays: Path, window_hours: float, folder: Path, memory_limit: str, threads: int
) -> dict[str, Any]:
    """Write ``links.parquet``: at most one picture per stay.

    Both ends of the window count; of several pictures the last is taken, and of equal times the
    first by dicom_id. Fractions of a second are cut off.
    """
    with database(folder, memory_limit, threads) as connection:
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
                AND p.taken <= s.intime + to_microseconds({round(window_hours * 3.6e9)})""",
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
            """SELECT (SELECT count(*) FROM pictures), (SELECT count_if(taken IS NULL) FROM pictures),
                (SELECT count(DISTINCT row) FROM inside)"""
        ).fetchall()[0]
    names = ("pictures", "without_time", "linked")
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

    Returns:
        Counts of pictures that were decoded, are missing, are damaged.

    Raises:
        DataError: None of them can be used.
    """
    target = np.lib.format.open_memmap(folder / IMAGES, mode="w+", dtype=np.uint8, shape=(rows, size, size))
    found = np.zeros(rows, dtype=np.bool_)
    problems: list[tuple[str, str]] = []
    with (
        progress.stage("decoding chest X-rays", total=len(links), unit="images") as stage,
        ThreadPoolExecutor(threads) as pool,
    ):
        for link, result in zip(links, pool.map(lambda one: _load(files, one.image_path, size), links), strict=True):
            if isinstance(result, str):
                problems.append((link.image_path, result))
            else:
                target[link.row], found[link.row] = result, True
            stage.advance()
    target.flush()
    missing = sum(reason == _MISSING for _, reason in problems)
    if links and not found.any():
        raise DataError(
            f"none of the {len(links)} linked chest X-rays can be used: {missing} are missing, "
            f"{len(problems) - missing} are damaged; files/p10/p.../s.../*.jpg (or images.zip) must be below the root."
        )
    np.save(folder / FOUND, found, allow_pickle=False)
    with (folder / UNREADABLE).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "reason"), *problems])
    return {"decoded": int(found.sum()), "missing": missing, "damaged": len(problems) - missing}


_MISSING = "missing"


def _load(files: Files, path: str, size: int) -> NDArray[np.uint8] | str:
    try:
        content = files.read(path)
        return _MISSING if content is None else decode(content, size)
    except ValueError as error:
        return str(error)
    except OSError:
        return "cannot be read"


def decode(content: bytes, size: int) -> NDArray[np.uint8]:
    """Return a picture as uint8 ``[size, size]``: grey, shorter side to ``size``, centre.

    Raises:
        ValueError: It is not a readable picture.
    """
    from PIL import Image, ImageOps

    if not content:
        raise ValueError("empty")
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.draft("L", (2 * size, 2 * size))  # a JPEG of 3000 pixels is decoded at a fraction of its size
            fitted = ImageOps.fit(picture.convert("L"), (size, size), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError("not a readable picture") from None
    return np.asarray(fitted, dtype=np.uint8)
