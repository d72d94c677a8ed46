"""What does the work of a run: this process, or others that it starts.

An executor is given models by their keys and leaves results in the store, where a repeated key costs nothing and a
result does not say who made it. So it may retry, lose machines and give up: what it leaves undone, the run does itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from fusionbench.config.sections import Benchmark
from fusionbench.plan.arithmetic import Arithmetic
from fusionbench.plan.jobs import FitJob
from fusionbench.progress import Progress
from fusionbench.records import RunPlan, Worked
from fusionbench.store.results import Store


class PreparedRun(Protocol):
    """A prepared run, as an executor sees it."""

    benchmark: Benchmark
    plan: RunPlan
    store: Store
    progress: Progress
    arithmetic: Arithmetic
    """What every worker must compute in, whatever its device could do."""

    def take(self, keys: Collection[str]) -> None:
        """Let the run itself work on the models of these keys only."""

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
