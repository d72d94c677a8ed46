"""The result store: one file for each trained model, named by what decided it.

A file is written beside its final name and renamed, so it is there whole or not at all, also after
``kill -9`` and with two processes on one store. Failures are kept apart, and are never read as results.
Predictions of test rows stay in these files; they are not tracked, logged or reported row by row.
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import WorkspaceError


@dataclass(frozen=True)
class FitResult:
    """One trained model, scored under every condition.

    Args:
        key: Content address of what decided it.
        options: The winning hyper-parameters.
        study: Digest of the study that chose them.
        score: Validation score.
        best_epoch: Epoch that was kept.
        epochs: Epochs trained.
        parameters: Numbers trained.
        seconds: Training seconds, its share of the population's.
        rows: Rows passed through in training.
        probabilities: By condition label, float32 ``[test rows, outputs]``.
    """

    key: str
    options: Mapping[str, Any]
    study: str
    score: float
    best_epoch: int
    epochs: int
    parameters: int
    seconds: float
    rows: int
    probabilities: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class Store:
    """Results and failures in a folder.

    Raises:
        WorkspaceError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            for kind in ("fits", "failures", "studies"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as problem:
            raise WorkspaceError(
                f"the result store {folder} cannot be written: {problem.strerror}; "
                "choose another folder with --workspace"
            ) from problem

    # ---------------------------------------------------------------- fits

    def _fit_path(self, key: str) -> Path:
        return self.folder / "fits" / f"{key}.safetensors"

    def scored(self, key: str) -> set[str]:
        """Labels of the conditions that a stored result holds; empty when nothing usable is stored."""
        result = self.load(key)
        return set(result.probabilities) if result is not None else set()

    def save(self, result: FitResult) -> None:
        """Store a result; the last of two equal writes wins, with equal content."""
        from safetensors.numpy import save

        record = {k: v for k, v in asdict(result).items() if k != "probabilities"}
        tensors = {k: np.ascontiguousarray(v) for k, v in result.probabilities.items()}
        content = save(tensors, metadata={"record": json.dumps(record, sort_keys=True)})
        write_atomically(self._fit_path(result.key), content)
        self._failure_path(result.key).unlink(missing_ok=True)

    def load(self, key: str) -> FitResult | None:
        """Return a stored result, or None; a damaged file is set aside and counts as absent."""
        from safetensors import SafetensorError, safe_open

        path = self._fit_path(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                record = json.loads(file.metadata()["record"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError):
            path.replace(path.with_suffix(".damaged"))
            return None
        return FitResult(**record, probabilities=tensors)

    def remove(self, fits: Iterable[str], studies: Iterable[str]) -> None:
        """Remove results and studies by key."""
        for key in fits:
            self._fit_path(key).unlink(missing_ok=True)
        for key in studies:
            for path in (self.folder / "studies").glob(f"{key}.*"):
                path.unlink(missing_ok=True)

    # ---------------------------------------------------------------- failures

    def _failure_path(self, key: str) -> Path:
        return self.folder / "failures" / f"{key}.json"

    def save_failure(self, key: str, what: Mapping[str, Any], reason: str) -> None:
        """Record why a model could not be trained; the next run tries again."""
        content = json.dumps({"key": key, **what, "reason": reason}, sort_keys=True, indent=1)
        write_atomically(self._failure_path(key), content.encode())

    # ---------------------------------------------------------------- studies

    def study_path(self, key: str) -> Path:
        """Where a study's journal lies while it runs."""
        return self.folder / "studies" / f"{key}.journal"

    def _sealed_path(self, key: str) -> Path:
        return self.folder / "studies" / f"{key}.json"

    def seal_study(self, key: str, content: Mapping[str, Any]) -> None:
        """Store a finished study: its trials, the winner and the digest."""
        write_atomically(self._sealed_path(key), json.dumps(content, sort_keys=True, indent=1).encode())

    def sealed_study(self, key: str) -> dict[str, Any] | None:
        """Return a finished study, or None."""
        path = self._sealed_path(key)
        try:
            content: dict[str, Any] = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return content


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        WorkspaceError: The folder is read-only or the disk is full.
    """
    try:
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as problem:
        raise WorkspaceError(f"{path} cannot be written: {problem.strerror}") from problem
