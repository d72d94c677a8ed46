"""A run's models in the hands of an executor plugin: divided into units, watched, and looked for when it has ended."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fusionbench.contract.executors import Unit
from fusionbench.contract.isolation import owner_of, plugin_call
from fusionbench.data.prepared import content_of, keep
from fusionbench.errors import PluginError, printable
from fusionbench.keys import digest
from fusionbench.plan.estimates import Estimate, Outlook
from fusionbench.plugins.names import named_plugins
from fusionbench.records import CellOutcome, Worked
from fusionbench.run.executors.orders import Order, facts_of
from fusionbench.run.executors.performing import Performing, studies_of
from fusionbench.run.executors.units import units_of
from fusionbench.run.executors.watching import Watching

if TYPE_CHECKING:
    from fusionbench.config.sections import Benchmark
    from fusionbench.contract.executors import Executor
    from fusionbench.plan.jobs import FitJob
    from fusionbench.run.executors.executor import PreparedRun

SHOWN_WITHIN_SECONDS: Final = 120.0
"""How long a shared file system may take to show what another machine has written; NFS takes up to a minute."""
UNITS_A_PLACE: Final = 4
"""How many units each place gets: enough that one that is slow, or lost, does not hold up the others for long."""
NO_WORK: Final = {"robustness": (), "observers": (), "expect": (), "execution": None}
"""What of a benchmark is nobody's business but that of the process that was started."""


@dataclass(frozen=True)
class Placed:
    """An executor plugin as a run uses it; implements :class:`fusionbench.run.executors.executor.Executor`.

    Args:
        executor: The plugin.
        plugins: Files and modules given with ``-p``, as paths that every place has.
        blocked: What is left out.
        where: Says where a value stands in the benchmark file.
    """

    executor: Executor
    plugins: Sequence[str]
    blocked: Sequence[str]
    where: Callable[[Any], str]

    def work(self, run: PreparedRun, todo: Sequence[FitJob]) -> Worked:
        """Have models trained and stored; what an executor of this machine leaves undone is left to the run.

        Args:
            run: Prepared; its plan is as new as the results are when this returns.
            todo: Of its plan. Where they are not all of it, the run itself then works on these only.
        """
        start, worked = time.perf_counter(), Worked()
        if not todo:
            return worked
        units = self.units(run, todo)
        if len(todo) < len(run.plan.todo):
            run.take([f.key for f in todo])
        total = sum(unit.steps for unit in units)
        with run.progress.stage(self._described(), total, "trials and models") as stage:
            watch = Watching(
                len(units), worked, stage, run.progress, run.store, lambda unit: studies_of(run.plan, unit)
            )
            try:
                with self._performing(run) as performing, plugin_call(owner_of(self.executor)):
                    self.executor.work(units, performing, watch)
                _wait_for(watch.trained, run)
            except KeyboardInterrupt:
                worked.interrupted = True
        to_train = {f.key for f in run.plan.to_train}
        run.look_again()
        worked.trained |= to_train & run.plan.stored
        if not self.executor.here and not worked.interrupted:
            _name_what_is_missing(run, todo, watch.abandoned, worked)
        worked.seconds = time.perf_counter() - start
        return worked

    def units(self, run: PreparedRun, todo: Sequence[FitJob]) -> list[Unit]:
        """Return the units that models are divided into; of them, what is not stored now."""
        tuned = run.plan.tuned_models if run.benchmark.tuning.trials else {}
        tuning = {f.study for f in todo if not f.untuned and f.study in tuned}
        still = {study: tuned[study] for study in tuning if run.store.sealed_study(study) is None}
        keys, wanted = {f.key for f in todo}, self._places() * self._each()
        return units_of(
            run.plan.mine, keys, wanted, lambda study: tuned.get(study, 0), lambda study: still.get(study, 0)
        )

    def outlook(self, run: PreparedRun, estimate: Estimate) -> Outlook:
        """Return what is going to be done.

        Args:
            run: Prepared.
            estimate: How long its training takes on this machine, one population after the other.
        """
        units = self.units(run, run.plan.todo)
        steps = sum(unit.steps for unit in units)
        described, places = self._described(), self._places()
        longest = estimate.seconds * units[0].steps / steps if units else 0.0
        memory, disk = self._demand(run)
        return Outlook(described, len(units), longest, estimate.seconds, places, memory, disk)

    def _places(self) -> int:
        with plugin_call(owner_of(self.executor)):
            found = self.executor.places()
        return self._whole("places() must return", found)

    def _each(self) -> int:
        return self._whole("units_each must be", getattr(self.executor, "units_each", UNITS_A_PLACE))

    def _whole(self, what: str, found: Any) -> int:
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise PluginError(f"{owner_of(self.executor)}: {what} a whole number of at least 1, found {found!r}")
        return found

    def _described(self) -> str:
        with plugin_call(owner_of(self.executor)):
            found = self.executor.described()
        if not isinstance(found, str) or not found.strip():
            raise PluginError(f"{owner_of(self.executor)}: described() must return words, found {found!r}")
        return printable(found)

    @staticmethod
    def _demand(run: PreparedRun) -> tuple[int, int]:
        """Bytes of memory that one worker needs, and of disk that is filled, from below."""
        rows = sum(len(fold.test) + len(fold.development.validation) for fold in run.prepared.folds.values())
        outputs, folds = len(run.prepared.dataset.outputs), max(1, len(run.prepared.folds))
        scored = sum(len(f.labels) for f in run.plan.todo)
        return content_of(run.prepared).nbytes, scored * rows // folds * (4 * outputs + 4)

    @contextmanager
    def _performing(self, run: PreparedRun) -> Iterator[Performing]:
        """What a worker is given; the prepared data are in the folder before anybody looks for them."""
        benchmark: Benchmark = run.benchmark
        data = keep(run.prepared, run.folders.prepared, run.progress)
        run.keep_masks()
        settled = run.arithmetic
        said: Mapping[str, Any] = {
            "benchmark": benchmark.model_copy(update=NO_WORK).model_dump(mode="json"),
            "plugins": tuple(self.plugins),
            "blocked": tuple(self.blocked),
            "places": {repr(place): self.where(place) for _, _, place in named_plugins(benchmark)},
            "alike": facts_of(run.resolved),
            "prepared": data.name,
            "precision": (settled.precision, settled.recurrent, settled.features),
        }
        performing = Performing(Order(**said, key=digest(said)), run.workspace, token=uuid.uuid4().hex)
        with performing.marked():
            yield performing


def _wait_for(trained: Collection[str], run: PreparedRun) -> None:
    """Wait until what workers have stored is seen here: a shared file system may show it a little later."""
    deadline, said = time.monotonic() + SHOWN_WITHIN_SECONDS, False
    while (missing := set(trained) - run.store.keys()) and time.monotonic() < deadline:
        if not said:
            run.progress.note(
                f"waiting for the shared file system to show {len(missing)} results that workers have stored"
            )
            said = True
        time.sleep(1)


def _name_what_is_missing(
    run: PreparedRun, todo: Sequence[FitJob], abandoned: Mapping[str, str], worked: Worked
) -> None:
    """Say of each model that is neither stored nor failed why it is not there; this machine does not train it instead."""
    for fit in todo:
        if fit.key not in run.plan.stored and not worked.failed(fit):
            reason = abandoned.get(fit.key, "the executor ended without it")
            worked.failures[fit.key] = (CellOutcome(fit, stored_before=False).name, f"not done: {reason}")
