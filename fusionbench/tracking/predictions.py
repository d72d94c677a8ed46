"""Predictions of single rows for MLflow, only where ``tracking.predictions`` asks for them.

A row appears under a salted hash of its number. The salt is random, lies in the workspace, readable by its owner, and
is never logged: who has the workspace can find a row again, who has the artifact cannot. Rows are ordered by that
hash, because their own order would tell as much as a number.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.analysis.calibration import Said, probabilities_of
from fusionbench.data.splits import Fold, make_folds
from fusionbench.errors import WorkspaceError
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.missingness.subsets import is_subset
from fusionbench.plan.lines import Line, model_of
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    from fusionbench.missingness.conditions import Condition
    from fusionbench.plan.jobs import FitJob
    from fusionbench.records import RunPlan

PREDICTIONS = "predictions.parquet"
WARNING = (
    "warning: tracking.predictions is true: MLflow gets the prediction and the target of every test row, under salted "
    "ids; these are patient-level data, keep them where the data may be kept"
)
SALT_BYTES, ID_DIGITS = 32, 16


class Predictions:
    """Tables of what was predicted for each test row, by curve.

    Args:
        plan: The run; its results are read from the workspace.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan, self._store = plan, plan.store

    @cached_property
    def _ids(self) -> NDArray[np.str_]:
        """A salted id for every row of the data."""
        salt = _salt(self._plan.folders.results.salt)
        rows = range(len(self._plan.dataset))
        return np.array([_salted(salt, f"{self._plan.data_digest}/{row}") for row in rows])

    @cached_property
    def _folds(self) -> dict[int, Fold]:
        return {f.index: f for f in make_folds(self._plan.dataset, self._plan.benchmark.splits)}

    def table(self, line: Line, pattern: str) -> pd.DataFrame:
        """Return one curve's rows: ``id``, ``fold``, ``seed``, ``rate``, targets, ``probability`` and ``raw`` ones, by id."""
        parts = [
            part
            for fit in self._plan.fits
            if (fit.arm.title, fit.arm.imputer_name) == line[:2]
            for part in self._parts(fit, line, pattern)
        ]
        return pd.concat(parts).sort_values(["rate", "seed", "fold", "id"], ignore_index=True)

    def _parts(self, fit: FitJob, line: Line, pattern: str) -> Iterator[pd.DataFrame]:
        result = self._store.load(fit.key)
        if result is None:
            return
        fold = self._folds[fit.fold]
        rows = fold.test.open(result.study)
        for condition, label in zip(fit.scored, fit.labels, strict=True):
            model = model_of(fit, condition, self._plan.benchmark.missingness.where)
            if model.line == line and label in result.logits and _lies_on(model.point, pattern):
                said = probabilities_of(result, label, self._plan.dataset, fold)
                yield self._part(fit, rows, model.point.rate, said)

    def _part(self, fit: FitJob, rows: NDArray[np.int64], rate: float, said: Said) -> pd.DataFrame:
        data = self._plan.dataset
        table = pd.DataFrame({"id": self._ids[rows], "fold": fit.fold, "seed": fit.seed, "rate": rate})
        labels = data.target[rows].reshape(len(rows), -1)
        names = data.outputs if data.kind == TargetKind.MULTILABEL else ("",)
        targets = {_named("target", n): labels[:, i] for i, n in enumerate(names)}
        outputs = ("",) if data.kind == TargetKind.BINARY else data.outputs
        predicted = {
            _named(name, n): values[:, i]
            for name, values in (("probability", said.calibrated), ("raw", said.raw))
            for i, n in enumerate(outputs)
        }
        return table.assign(**targets, **predicted)


def _lies_on(point: Condition, pattern: str) -> bool:
    """Whether a point is on a pattern's curve; complete data are on all of them."""
    return not is_subset(point) and (point == COMPLETE or point.pattern == pattern)


def _named(what: str, output: str) -> str:
    return f"{what}.{output}" if output else what


def _salted(salt: bytes, key: str) -> str:
    return hmac.new(salt, key.encode(), "sha256").hexdigest()[:ID_DIGITS]


def _salt(path: Path) -> bytes:
    """Read the workspace's salt; it is made the first time, for its owner only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(SALT_BYTES))
        except FileExistsError:
            pass
        salt = path.read_bytes()
    except OSError as problem:
        raise WorkspaceError(f"{path}: the salt of logged predictions cannot be kept: {problem.strerror}") from problem
    if len(salt) != SALT_BYTES:
        raise WorkspaceError(f"{path}: a salt has {SALT_BYTES} bytes, found {len(salt)}; remove it and run again")
    return salt
