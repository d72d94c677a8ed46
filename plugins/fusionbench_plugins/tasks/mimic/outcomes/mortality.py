"""Death in the hospital admission, as an outcome."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fusionbench import TargetKind
from fusionbench_plugins.tasks.mimic.options import Options
from fusionbench_plugins.tasks.mimic.outcomes.outcome import Outcome
from fusionbench_plugins.tasks.mimic.store import Entry
from fusionbench_plugins.tasks.mimic.tables import extract

_FEW_DEATHS = 50


class Mortality(Outcome):
    """1 = died in the hospital admission, by the rule that the rule set names."""

    kind: ClassVar[TargetKind] = TargetKind.BINARY
    outputs = ("died",)
    planted: ClassVar[bool] = True

    def target(self, options: Options, root: Path, events: Entry, cache: Path) -> NDArray[np.int64]:
        """Return the label that the extraction left."""
        import pandas as pd

        labels: NDArray[np.int64] = pd.read_parquet(events.folder / extract.STAYS)["label"].to_numpy(dtype=np.int64)
        return labels

    def describe(self, target: NDArray[np.int64], options: Options) -> str:
        """Say how many died."""
        return (
            f"In-hospital mortality from the {options.window} of {len(target)} ICU stays "
            f"({int(target.sum())} died), {options.step_hours:g} h steps, rule set {options.rules}, "
            f"{options.cohort_words} cohort"
        )

    def refusal(self, target: NDArray[np.int64]) -> str:
        """Refuse when all or none died."""
        died = int(target.sum())
        return (
            f"{died} of {len(target)} stays died: there is nothing to tell apart." if died in (0, len(target)) else ""
        )

    def remarks(self, target: NDArray[np.int64]) -> tuple[str, ...]:
        """Warn of few deaths."""
        died = int(target.sum())
        few = min(died, len(target) - died) < _FEW_DEATHS
        return (f"only {died} of {len(target)} stays died: every interval is wide",) if few else ()
