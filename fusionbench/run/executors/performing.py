"""What a worker does, in its own process: open the run once, then unit after unit."""

from __future__ import annotations

import atexit
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fusionbench.contract.executors import Message, Tell, Unit, UnitResult
from fusionbench.data.prepared import Content, opened, read
from fusionbench.errors import ConfigError
from fusionbench.offline import disable_telemetry
from fusionbench.progress import Best
from fusionbench.run.executors.orders import Order, check_alike, facts_of
from fusionbench.store.carried import files_of
from fusionbench.store.files import write_atomically
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    from fusionbench.progress import ProgressStage
    from fusionbench.records import RunPlan
    from fusionbench.run.runner import Run

EVERY_SECONDS: Final = 1.0
"""How often a worker says how far it is."""


@dataclass(frozen=True)
class Performing:
    """Does units of one run wherever it is called; implements :class:`fusionbench.contract.executors.Perform`.

    Args:
        order: The run.
        workspace: Its folder.
        device: Where models are trained; ``auto``: the best that the place has.
        carried: The prepared data, for places that do not share the folder.
        token: Name of a file that lies in the folder as long as the run waits: who sees it shares the folder.
    """

    order: Order
    workspace: Path
    device: str = "auto"
    carried: Content | None = None
    token: str = ""

    def __call__(self, unit: Unit, tell: Tell) -> UnitResult:
        """Train and score what is not stored of a unit, and store it."""
        return _opened(self).do(unit, tell)

    def on(self, device: str) -> Performing:
        """Return the same work on a device."""
        return replace(self, device=device)

    def carrying(self) -> Performing:
        """Return the same work with the prepared data in it."""
        return replace(self, carried=read(self._prepared).in_memory())

    def content(self) -> Content:
        """Return the prepared data: those that it carries, or those in the folder."""
        return read(self._prepared) if self.carried is None else self.carried

    def shares_folder(self) -> bool:
        """Whether the process that asks sees the run's folder, and not one that only has its name."""
        return self._mark.is_file()

    @contextmanager
    def marked(self) -> Iterator[None]:
        """Have the folder known by its token while the block runs."""
        write_atomically(self._mark, b"")
        try:
            yield
        finally:
            self._mark.unlink(missing_ok=True)

    @property
    def _mark(self) -> Path:
        return Workspace(self.workspace).executions / f"{self.token}.here"

    @property
    def _prepared(self) -> Path:
        return Workspace(self.workspace).prepared / self.order.prepared


class _Worker:
    """A run as one process works on its units.

    Args:
        performing: What it was given.
        workspace: Where it stores.
        shared: Whether that is the run's own folder.
    """

    def __init__(self, performing: Performing, workspace: Path, *, shared: bool) -> None:
        self._shared, self._telling = shared, _Telling()
        self._run = _run_of(performing, workspace, self._telling)

    def do(self, unit: Unit, tell: Tell) -> UnitResult:
        """Do one unit."""
        start = time.perf_counter()
        self._telling.begin(tell)
        worked = self._run.work_on(unit.models)
        files = {} if self._shared else files_of(self._run.store.at, unit.models, studies_of(self._run.plan, unit))
        return UnitResult(frozenset(worked.trained), worked.failures, files, time.perf_counter() - start)


def studies_of(plan: RunPlan, unit: Unit) -> set[str]:
    """Return the keys of the searches that a unit's models need."""
    models = set(unit.models)
    return {f.study for f in (*plan.fits, *plan.untuned) if f.key in models}


_OPEN: dict[tuple[str, str, str], _Worker] = {}
"""The run that this process works on; one at a time."""
_folders = ExitStack()
"""The folder that this process made for it, where it shares none."""
atexit.register(_folders.close)


def close() -> None:
    """Forget the run that this process works on, and remove what was kept for it."""
    _OPEN.clear()  # one run's data are enough
    _folders.close()


def _opened(performing: Performing) -> _Worker:
    name = (performing.order.key, str(performing.workspace), performing.device)
    if name not in _OPEN:
        close()
        shared = performing.carried is None
        own = (
            performing.workspace
            if shared
            else _folders.enter_context(tempfile.TemporaryDirectory(prefix="fusionbench-"))
        )
        _OPEN[name] = _Worker(performing, Path(own), shared=shared)
    return _OPEN[name]


def _run_of(performing: Performing, workspace: Path, telling: _Telling) -> Run:
    disable_telemetry()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # whoever started the run has looked; a worker looks in its cache only
    from fusionbench.config.sections import Benchmark
    from fusionbench.plan.arithmetic import Arithmetic, settle
    from fusionbench.plugins.catalogue import Plugins
    from fusionbench.plugins.resolving import resolve
    from fusionbench.run.runner import Run
    from fusionbench.training.devices import precision
    from fusionbench.training.devices.device import find_devices

    order = performing.order
    benchmark = Benchmark.model_validate(order.benchmark)
    plugins = Plugins(order.plugins, order.blocked).require_extra()
    resolved = resolve(benchmark, plugins, lambda location: order.places.get(repr(location), ""))
    check_alike(order.alike, facts_of(resolved), f"the worker on {socket.gethostname()}")
    (device,) = find_devices(performing.device)
    products, recurrent, features = order.precision
    here = settle(benchmark.training, [precision.abilities(device)])
    if (here.precision, here.recurrent, here.features) != order.precision:
        raise ConfigError(
            f"the worker on {socket.gethostname()} would compute in {here} and the run computes in "
            f"{products}{'' if recurrent == products else f', recurrent layers in {recurrent}'}, features in {features}: "
            f"{'; '.join(here.notes)}\n  use places with such devices, or training.precision: float32"
        )
    settled = Arithmetic(products, features, recurrent)  # type: ignore[arg-type]
    run = Run(benchmark, resolved, workspace, device, telling, arithmetic=settled)
    prepared = opened(performing.content(), resolved.encoders, device)
    if not prepared.dataset.synthetic:
        run.folders.keep_private()
    run.prepare(prepared, share=())
    return run


class _Telling:
    """A worker's progress: how many steps of its unit are done, now and then."""

    def __init__(self) -> None:
        self._tell: Tell = lambda _: None
        self._done, self._said = 0.0, 0.0

    def begin(self, tell: Tell) -> None:
        """Begin with a unit."""
        self._tell, self._done, self._said = tell, 0.0, 0.0
        tell(Message())

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[ProgressStage]:
        """Count what tuning, training and scoring do."""
        yield _Counted(self, title)

    def note(self, message: str) -> None:
        """Say a line at once."""
        self._tell(Message(self._done, line=message))

    def count(self, steps: float, note: str, best: Best | None = None, ahead: float = 0.0) -> None:
        """Say how far the unit is, unless that was said a moment ago."""
        self._done += steps
        now = time.monotonic()
        if now - self._said >= EVERY_SECONDS:
            self._said = now
            self._tell(Message(self._done + ahead, note, best))


class _Counted:
    """A stage of a worker."""

    def __init__(self, telling: _Telling, title: str) -> None:
        self._telling, self._title = telling, title

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Count steps."""
        self._telling.count(steps, note or self._title)

    def skip(self, steps: float) -> None:
        """Count steps that were done before: the unit has them too."""
        self._telling.count(steps, self._title)

    def working(self, steps: float, share: float, note: str = "", best: Best | None = None) -> None:
        """Say how far the next steps are."""
        self._telling.count(0, note or self._title, best, steps * share)
