"""What does the work of a run, as the run sees it: this process, or an executor plugin (:mod:`fusionbench.run.executors.placed`).

It is given models by their keys and leaves results in the store, where a repeated key costs nothing and a result does not say
who made it. So it may retry, lose machines and give up.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from fusionbench.config.sections import Benchmark
from fusionbench.data.prepared import Prepared
from fusionbench.plan.arithmetic import Arithmetic
from fusionbench.plan.jobs import FitJob
from fusionbench.plan.parts import Resolved
from fusionbench.progress import Progress
from fusionbench.records import RunPlan, Worked
from fusionbench.store.results import Store
from fusionbench.store.workspace import Workspace


class PreparedRun(Protocol):
    """A prepared run, as an executor sees it."""

    benchmark: Benchmark
    resolved: Resolved
    prepared: Prepared
    plan: RunPlan
    workspace: Path
    folders: Workspace
    store: Store
    progress: Progress
    arithmetic: Arithmetic
    """What every worker must compute in, whatever its device could do."""

    def take(self, keys: Collection[str]) -> None:
        """Let the run itself work on the models of these keys only."""

    def keep_masks(self) -> None:
        """Store who is present under every condition."""

    def look_again(self) -> None:
        """Let the run see what others have stored since its plan was made."""


class Executor(Protocol):
    """Whoever trains models for a run."""

    def work(self, run: PreparedRun, todo: Sequence[FitJob]) -> Worked:
        """Train and store models, and say what came of it.

        Args:
            run: Prepared. Its plan must be as new as the results are when this returns (``look_again``).
            todo: Models of its plan that are not stored, with their studies in the plan. Models of one study belong
                together: no two workers may tune the same.

        Returns:
            Keys of the models that are stored now, and of what failed, with its reason: it is not tried again in this run.
        """


class ThisProcess:
    """The run does everything itself, in this process."""

    def work(self, run: PreparedRun, todo: Sequence[FitJob]) -> Worked:
        """Leave everything to the run."""
        return Worked()
