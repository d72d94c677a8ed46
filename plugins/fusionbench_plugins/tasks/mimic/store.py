"""Cache entries: folders named by what decides their content, complete from the moment they have their name."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionbench.errors import WorkspaceError

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


def digest(key: Any) -> str:
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


def entry(cache: Path, kind: str, key: Mapping[str, Any], build: Build) -> Entry:
    """Return the entry for ``key``, building it when it is not there.

    The builder fills a temporary sibling, which gets its name when it is complete: an interrupted or
    failed build is never read.

    Args:
        cache: The folder of entries; made when absent.
        kind: First part of the entry's name.
        key: JSON-able; everything that decides the content.
        build: Writes files (no sub-folders are hashed) into the folder it is given; returns JSON-able facts.

    Raises:
        WorkspaceError: The cache cannot be written.
    """
    folder = cache / f"{kind}-{digest(key)[:16]}"
    found = _read(folder, key)
    if found is not None:
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{kind}-", suffix=".partial", dir=cache))
        try:
            facts = build(partial)
            _write_manifest(partial, key, facts)
            _publish(partial, folder, key)
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # nothing is left of it after a rename
    except OSError as error:
        raise WorkspaceError(
            f"cache {cache}: cannot be written ({error.strerror or error}); free some space or choose another folder."
        ) from None
    made = _read(folder, key)
    if made is None:
        raise WorkspaceError(f"cache {folder}: changed while it was written; remove it and start again.")
    return made


def _read(folder: Path, key: Mapping[str, Any]) -> Entry | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        complete = manifest["key"] == json.loads(json.dumps(key)) and all(
            (folder / name).stat().st_size == file["bytes"] for name, file in manifest["files"].items()
        )
        return Entry(folder, manifest["facts"], manifest["files"]) if complete else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: it is built anew


def _write_manifest(folder: Path, key: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": hash_file(path)}
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
    text = json.dumps({"key": key, "facts": facts, "files": files}, indent=1)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _publish(partial: Path, folder: Path, key: Mapping[str, Any]) -> None:
    if folder.exists() and _read(folder, key) is None:
        shutil.rmtree(folder)  # damaged: not one of its files can be trusted
    try:
        partial.rename(folder)
    except OSError:
        # another process was faster; what it made has the same key
        if _read(folder, key) is None:
            raise
