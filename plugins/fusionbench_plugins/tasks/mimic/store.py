"""Cache entries: folders named by what decides their content, as ``events-0123456789abcdef``.

They are complete from the moment that they have their name; how, is said in :mod:`fusionbench.store.files`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fusionbench import __version__
from fusionbench.progress import Progress, SilentProgress
from fusionbench.store.files import Folder, to_standard_error
from fusionbench.store.integrity import Damaged, compare_file

MANIFEST = "manifest.json"
Build = Callable[[Path], Mapping[str, Any]]


@dataclass(frozen=True)
class Entry:
    """A complete cache entry.

    Args:
        folder: Where its files are.
        facts: What its builder returned: counts, versions, warnings.
        files: SHA-256 and size of each file, by name.
    """

    folder: Path
    facts: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]

    def sha256(self, name: str) -> str:
        """Return the content hash of one file."""
        return str(self.files[name]["sha256"])


def content_hash(key: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``key``."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def signature(path: Path) -> list[Any]:
    """Return name, size and modification time: what tells cheaply that an input file has changed."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entry(
    cache: Path,
    kind: str,
    key: Mapping[str, Any],
    build: Build,
    *,
    resumable: bool = False,
    progress: Progress | None = None,
) -> Entry:
    """Return the entry for ``key``, building it when it is not there.

    The builder fills a temporary sibling, which gets its name when it is complete: an interrupted or
    failed build is never read. Of two processes that want the same entry one builds, the other waits. What dead
    processes left is removed.

    Args:
        cache: The folder of entries; made when absent.
        kind: First part of the entry's name.
        key: JSON-able; everything that decides the content.
        build: Writes files (no sub-folders are hashed) into the folder it is given; returns JSON-able facts.
        resumable: True = ``build`` is given what an interrupted one left, and goes on with it.
        progress: Told when another process has to be waited for.

    Raises:
        WorkspaceError: The cache cannot be written.
    """
    folder = Folder(cache, "cache", private=True, abandoned=0.0)  # whether a process lives, its lock says at once
    name = f"{kind}-{content_hash(key)[:16]}"

    def make(draft: Path) -> None:
        if resumable:
            folder.forget_resumable(f"{kind}-")  # the work of other settings
        _write_manifest(draft, key, build(draft))

    def waits() -> None:
        (progress or SilentProgress()).note(f"another process prepares {name}; waiting for it")

    say = to_standard_error if progress is None else progress.note
    return folder.entry(name, lambda path: _read(path, key), make, waits, resumable=resumable, say=say)


def _read(folder: Path, key: Mapping[str, Any]) -> Entry | None:
    """The entry; None where there is none.

    Raises:
        Damaged: It is another one's, or a file in it is not what was written.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["key"] != json.loads(json.dumps(key)):
            raise Damaged("it is another entry's: what made it is not what its name says")
        _compare_facts(manifest)
        for name, file in manifest["files"].items():
            compare_file(folder / name, file["sha256"])
        return Entry(folder, manifest["facts"], manifest["files"])
    except FileNotFoundError:
        return None  # absent, or not complete
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        if folder.exists():
            raise Damaged(f"{MANIFEST} cannot be read") from problem
        return None


def _compare_facts(manifest: Mapping[str, Any]) -> None:
    """Compare what a manifest says of itself with its own hash; earlier versions wrote none."""
    said = manifest.get("sha256")
    if said is not None and said != content_hash([manifest["key"], manifest["facts"], manifest["files"]]):
        raise Damaged(f"{MANIFEST} is not what was written")


def _write_manifest(folder: Path, key: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": hash_file(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    parts = json.loads(json.dumps([key, facts, files]))
    said = content_hash(parts)  # of what is there when it is read again
    text = json.dumps(
        {"fusionbench": __version__, "key": key, "facts": facts, "files": files, "sha256": said}, indent=1
    )
    (folder / MANIFEST).write_text(text, encoding="utf-8")


# --------------------------------------------------------------------------------------------
# arrays


class RowFile:
    """An ``.npy`` file that is written row by row; rows that are never written are zeros.

    It is written with ordinary calls: where the disk is full these raise, while writing to a memory map
    kills the process. What is written survives a killed process at once.

    Args:
        path: The file. One of the same shape and type is gone on with, any other replaced.
        dtype: Type of the values.
        shape: Rows first.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
        self._dtype, self._shape = np.dtype(dtype), shape
        self._row = int(self._dtype.itemsize * np.prod(shape[1:], dtype=np.int64))
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        begun = _header(path) == (shape, False, self._dtype)
        self._file = path.open("r+b" if begun else "w+b", buffering=0)
        if not begun:
            np.lib.format.write_array_header_1_0(self._file, header)
        else:
            np.lib.format.read_magic(self._file)
            np.lib.format.read_array_header_1_0(self._file)
        self._start = self._file.tell()
        self._file.truncate(self._start + self._row * shape[0])

    def write(self, first: int, rows: NDArray[Any]) -> None:
        """Write ``rows`` (``[n, ...]``) from row ``first`` on."""
        if rows.shape[1:] != self._shape[1:] or first + len(rows) > self._shape[0]:
            raise ValueError(f"rows of shape {rows.shape} at {first} do not fit into {self._shape}")
        content = np.ascontiguousarray(rows, dtype=self._dtype).reshape(-1).view(np.uint8).data
        self._file.seek(self._start + first * self._row)
        while content:  # a call may write less than it is given
            content = content[self._file.write(content) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _header(path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]] | None:
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            return np.lib.format.read_array_header_1_0(file)
    except (OSError, ValueError):
        return None
