"""Everything in a workspace that can be compared with what was written; nothing is changed or set aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fusionbench.store.integrity import (
    Damaged,
    changed_files,
    compared_tensors,
    hash_of_file,
    unsealed,
)
from fusionbench.store.results import record_of
from fusionbench.store.studies import is_logged, whole_study
from fusionbench.store.workspace import Workspace

Found = tuple[Path, str]
"""A path, and what is wrong with it."""


def damaged(folders: Workspace, *, deep: bool) -> Iterator[Found]:
    """Yield what is damaged.

    Args:
        folders: Of a workspace.
        deep: Also read weights, features, what tasks prepared, tables and pages: that takes as long as to read them.
    """
    results = folders.results
    yield from _each(results.fits, "*.safetensors", _check_fit)
    yield from _each(results.studies, "*.json", lambda p: whole_study(unsealed(p.stem, json.loads(p.read_bytes()))))
    yield from _each(results.studies, "*.journal", _check_journal)
    yield from _each(results.maps, "*.json", lambda p: unsealed(p.stem, json.loads(p.read_bytes())))
    if deep:
        yield from _each(results.weights, "*.safetensors", _check_weights)
        yield from _each(folders.cache, "**/manifest.json", _check_manifest)
        yield from _each(results.tables, "*", _check_folder)
        yield from _each(results.written, "*.json", lambda p: _check_report(p, folders.reports))


def _each(folder: Path, pattern: str, check: Callable[[Path], Any]) -> Iterator[Found]:
    for path in sorted(folder.glob(pattern)):
        if ".damaged" in str(path.relative_to(folder)) or path.name.startswith("."):
            continue
        try:
            check(path)
        except Damaged as problem:
            yield path, str(problem)
        except Exception as problem:  # noqa: BLE001 - whatever a library says of a file that is damaged
            yield path, type(problem).__name__


def _check_fit(path: Path) -> None:
    from safetensors.numpy import load

    content = path.read_bytes()
    record_of(path.stem, compared_tensors(path.stem, content))
    load(content)  # a result of an earlier version, which holds probabilities, is no damage: nobody asks for its key


def _check_weights(path: Path) -> None:
    from safetensors.numpy import load

    content = path.read_bytes()
    compared_tensors(path.stem, content)
    load(content)


def _check_journal(path: Path) -> None:
    lines = path.read_bytes().splitlines()
    wrong = [i + 1 for i, line in enumerate(lines[:-1]) if not is_logged(line, path.stem, i)]  # the last may be cut
    if wrong:
        raise Damaged(f"line {wrong[0]} is not what was written")


def _check_manifest(path: Path) -> None:
    manifest = json.loads(path.read_bytes())
    said: Mapping[str, Any] = manifest.get("files") or manifest.get("sha256") or {}
    hashes = {name: entry["sha256"] if isinstance(entry, dict) else entry for name, entry in said.items()}
    wrong = [name for name, value in hashes.items() if hash_of_file(path.parent / name) != value]
    if wrong:
        raise Damaged(f"{', '.join(wrong)}: not what was written")


def _check_folder(path: Path) -> None:
    wrong = changed_files(path)
    if wrong:
        raise Damaged(f"{', '.join(wrong)}: not what was written")


def _check_report(listing: Path, reports: Path) -> None:
    folder = reports / listing.stem.rpartition(".")[0]
    wrong = changed_files(folder, listing) if folder.is_dir() else []
    if wrong:
        raise Damaged(f"{folder.name}: {', '.join(wrong)}: not what was written")
