"""Slices of a scan to one picture per row, decoded once into a memory map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import DataError
from fusionbench.progress import Progress
from fusionbench_plugins.tasks._pictures import blank, decode
from fusionbench_plugins.tasks.lung_subtyping.manifest import Cohort, at
from fusionbench_plugins.tasks.mimic.store import Entry, content_hash, entry, signature

VERSION = 2
"""Raised when the same files would give other pictures."""

PICTURES = "pictures.npy"

Grey = NDArray[np.uint8]


def pictures_entry(
    cohort: Cohort, name: str, rule: str, size: int, threads: int, cache: Path, progress: Progress
) -> Entry:
    """Return the cache entry with ``pictures.npy``: uint8 ``[rows, size, size]``, zeros where the scan is absent.

    Raises:
        DataError: Slices cannot be read; all of them are counted.
    """
    rows = [chosen(files, rule) for files in cohort.slices[name]]
    key = {
        "version": VERSION,
        "rule": rule,
        "size": size,
        "files": content_hash([[signature(file) for file in files] for files in rows]),
    }

    def build(folder: Path) -> Mapping[str, Any]:
        target = np.lib.format.open_memmap(folder / PICTURES, mode="w+", dtype=np.uint8, shape=(len(rows), size, size))
        problems: dict[str, list[int]] = {}
        empty = 0
        with progress.stage(f"decoding {name} slices", total=len(rows), unit="rows") as stage:
            for row, result in enumerate(_decoded(rows, size, threads)):
                if isinstance(result, str):
                    problems.setdefault(result, []).append(int(cohort.numbers[row]))
                elif result is not None:
                    target[row] = result
                    empty += blank(result)
                stage.advance()
        target.flush()
        if problems:
            raise DataError("\n".join(f"modality {name}: {why}: {at(where)}" for why, where in problems.items()))
        return {"decoded": int(sum(map(bool, rows))), "blank": empty}

    return entry(cache, "slices", key, build)


def chosen(files: Sequence[Path], rule: str) -> tuple[Path, ...]:
    """Return the slices that are read: all for ``mean``, for ``middle`` one (of an even number the one before)."""
    if rule == "mean" or not files:
        return tuple(files)
    return (files[(len(files) - 1) // 2],)


def _decoded(rows: Sequence[Sequence[Path]], size: int, threads: int) -> Iterator[Grey | str | None]:
    """Yield each row's picture, None where it has no slices, or why it cannot be made."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda files: _picture(files, size), rows)


def _picture(files: Sequence[Path], size: int) -> Grey | str | None:
    if not files:
        return None
    total = np.zeros((size, size), dtype=np.float64)
    try:
        for file in files:
            total += decode(file.read_bytes(), size)
    except ValueError as error:
        return str(error)
    except OSError:
        return "cannot be read"
    mean: Grey = np.rint(total / len(files)).astype(np.uint8)
    return mean
