"""What a task on MIMIC predicts: the part that differs between tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fusionbench import TargetKind
from fusionbench_plugins.tasks.mimic.options import Options
from fusionbench_plugins.tasks.mimic.store import Entry


class Outcome(ABC):
    """Labels of the stays, and what there is to say about them.

    Attributes:
        kind: What the target means.
        outputs: Names of the labels; one name for binary.
        planted: True when ``truth.parquet`` of a synthetic tree holds the best possible predictions of it.
    """

    kind: ClassVar[TargetKind]
    outputs: tuple[str, ...]
    planted: ClassVar[bool] = False

    @abstractmethod
    def target(self, options: Options, root: Path, events: Entry, cache: Path) -> NDArray[np.int64]:
        """Return 0 and 1: ``[rows]``, or ``[rows, labels]`` for multi-label, in the order of ``stays.parquet``.

        Raises:
            DataError: A table is malformed.
        """

    @abstractmethod
    def describe(self, target: NDArray[np.int64], options: Options) -> str:
        """Return one sentence about the rows that are used."""

    def refusal(self, target: NDArray[np.int64]) -> str:
        """Return why nothing can be learnt from these labels; empty where something can."""
        return ""

    def remarks(self, target: NDArray[np.int64]) -> tuple[str, ...]:
        """Return what a reader of the numbers must know."""
        return ()
