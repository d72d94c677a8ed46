"""``data prepare``: make a task's data set ahead of a run, and say what is in it and where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fusionbench.contract.isolation import owner_of, plugin_call
from fusionbench.errors import DataError
from fusionbench.plan.parts import Part
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    from fusionbench.contract.data import Dataset
    from fusionbench.progress import Progress


def cache_of(workspace: Path, task: str) -> Path:
    """Return the folder that a task's ``prepare`` is given."""
    return Workspace(workspace).task(task)


def prepare_task(part: Part, workspace: Path, progress: Progress) -> Dataset:
    """Prepare a task's data in the workspace, where a run will find them; what is about people is its owner's only.

    Raises:
        DataError: Files are missing or malformed, or no row is left.
        PluginError: The task failed in another way.
        WorkspaceError: The cache cannot be written.
    """
    task = part.build()
    with plugin_call(owner_of(task)):
        dataset: Dataset = task.prepare(cache_of(workspace, part.registration.name), progress)
    if not dataset.synthetic:
        Workspace(workspace).keep_private()
    if dataset.target.ndim == 1 and len(np.unique(dataset.target)) == 1:
        # every model would fail, one by one, and blame the strategy
        raise DataError(
            f"{part.where}: the label has one value in all {len(dataset.target)} rows; nothing can be learned from it"
        )
    return dataset
