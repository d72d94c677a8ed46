"""A Ray cluster: each unit is a Ray task, which Ray places, tries again when its node is lost, and scales nodes for.

Keys and status go through Ray. Where a node shares the run's folder, arrays are read from it and results are written to it; where
one does not, the prepared data go there through Ray's object store, once for each node, and results come back with the answer.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from fusionbench import Executor, Message, Perform, Problem, Tries, Unit, UnitResult, Watch, attempt, hookimpl
from fusionbench.errors import ConfigError
from fusionbench.hookspecs import Register

POLL_SECONDS = 0.5
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
INSTALL = "pip install 'fusionbench-core[ray]'"


class RayCluster(Executor):
    """Work on units as tasks of a Ray cluster.

    Args:
        address: Of a running cluster, from one of its nodes: ``auto``, or ``host:6379``. None: one is started on this machine,
            which listens on the loopback interface only, and ends with the run.
        gpus_per_task: Whole GPUs of each task; 0: it works on processors. None: 1 where the cluster has any, else 0.
        cpus_per_task: Processor cores of each task.
        tasks: How many are worked on at a time, where the cluster grows on demand: units are made for so many. None: as many as
            it has room for now.
        retries: How often a unit is tried again when its node or its process is lost.
        units_each: How many units are made for each place.
        silent_minutes: A task that says nothing for so long is stopped, and its unit tried again.
        wait_minutes: How long to wait for a place when no unit is under way: nodes may be on their way.
    """

    def __init__(
        self,
        address: str | None = None,
        gpus_per_task: int | None = None,
        cpus_per_task: int = 1,
        tasks: int | None = None,
        retries: int = 3,
        units_each: int = 4,
        silent_minutes: float = 60.0,
        wait_minutes: float = 30.0,
    ) -> None:
        if address is not None and address.startswith("ray://"):
            raise ValueError(
                "address: 'ray://' is Ray's client, which lacks what is needed here; start the run on a node of the cluster with "
                "address: auto, for example by 'ray job submit' or 'ray exec'"
            )
        if (
            min(cpus_per_task, units_each, 1 if tasks is None else tasks) < 1
            or retries < 0
            or min(silent_minutes, wait_minutes) <= 0
        ):
            raise ValueError(
                "cpus_per_task, tasks and units_each must be 1 or more, retries 0 or more, silent_minutes and wait_minutes more "
                "than 0"
            )
        self._address, self._gpus, self._cpus = address, gpus_per_task, cpus_per_task
        self._tasks, self._retries, self.units_each = tasks, retries, units_each
        self._silent, self._wait = silent_minutes * 60, wait_minutes * 60

    def require(self) -> None:
        """Connect, or start a cluster of this machine.

        Raises:
            ConfigError: Ray is not installed, or no cluster answers.
        """
        _quiet_environment(local=self._address is None)
        try:
            ray = _ray()
        except ImportError:
            raise ConfigError(f"execution: the executor 'ray' needs Ray, which is not installed: {INSTALL}") from None
        if ray.is_initialized():
            return
        where: dict[str, Any] = {"address": self._address}
        if self._address is None:
            where = {"address": "local", "include_dashboard": False}
        try:
            ray.init(**where, logging_level=logging.ERROR, log_to_driver=False, configure_logging=False)
        except Exception as problem:  # noqa: BLE001 - of many kinds, all of which mean this
            raise ConfigError(
                f"execution.address: no Ray cluster answers at {self._address or 'this machine'}: {problem}\n"
                "  start one with 'ray start --head' and its nodes with 'ray start --address=HOST:6379', give the same token to "
                "all (docs/on-a-cluster.md), or leave the address out for a cluster of this machine"
            ) from None
        if self._address is None and not ray.util.get_node_ip_address().startswith("127."):
            ray.shutdown()
            raise ConfigError(
                "execution: Ray was imported before it could be told to listen on this machine's loopback interface only; begin "
                f"in a new process, or set {LOOPBACK_ONLY}=0 before Ray is imported"
            )

    def _connected(self) -> Any:
        """Ray, connected: a cluster of this machine ends with the work of a benchmark, and a file may have several."""
        if not _ray().is_initialized():
            self.require()
        return _ray()

    def places(self) -> int:
        """Return how many tasks the cluster has room for now, or is said to grow to."""
        if self._tasks is not None:
            return self._tasks
        ray = self._connected()

        found = ray.cluster_resources()
        room = int(found.get("CPU", 0)) // self._cpus
        if gpus := self._gpus_of(found):
            room = min(room, int(found.get("GPU", 0)) // gpus)
        return max(1, room)

    def _gpus_of(self, resources: dict[str, float]) -> int:
        return int(resources.get("GPU", 0) >= 1) if self._gpus is None else self._gpus

    def described(self) -> str:
        """Return how many nodes there are."""
        ray = self._connected()

        nodes = sum(node["Alive"] for node in ray.nodes())
        return f"on Ray ({nodes} node{'' if nodes == 1 else 's'})"

    def work(self, units: Sequence[Unit], perform: Perform, watch: Watch) -> None:
        """Have units worked on."""
        ray = self._connected()

        gpus = self._gpus_of(ray.cluster_resources())
        engine = _Tasks(perform, self._cpus, gpus, self._retries)
        try:
            _Placing(engine, Tries(watch, self._retries), watch, self._silent, self._wait).all(units)
        finally:
            engine.stop()
            if self._address is None:
                ray.shutdown()


def _ray() -> Any:
    """Ray, as a module without types: what it says of its own is not what its functions take."""
    import ray

    return ray


def _quiet_environment(*, local: bool) -> None:
    """Set what Ray reads when it is imported: it reports nothing; a cluster of this machine asks for a token."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if local:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        # Ray's own switch, off by default on macOS and Windows: without it daemons listen on every interface
        os.environ[LOOPBACK_ONLY] = "0"


class _Heard(NamedTuple):
    """What a task says, with who says it."""

    unit: str
    worker: str
    message: Message


class _Tasks:
    """The units that Ray has, by what it calls them."""

    def __init__(self, perform: Perform, cpus: int, gpus: int, retries: int) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = _ray()
        self._ray, self._cpus = ray, cpus
        # a task that asked for no GPU may see one that others asked for
        perform = perform if gpus else perform.on("cpu")
        self._perform = ray.put(perform)
        self._plain, self._carrying = perform, None  # type: Perform, Any
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board: Any = ray.remote(_Board).options(num_cpus=0, scheduling_strategy=here).remote()
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": retries, "scheduling_strategy": "SPREAD"}
        self._task = ray.remote(_do).options(**options)
        self.running: dict[Any, Unit] = {}

    def give(self, unit: Unit) -> None:
        """Hand a unit to Ray, which places it when there is room."""
        # in a list: a task fetches what is carried only where it needs it
        self.running[self._task.remote([self._perform, self._carrying], unit, self._board, self._cpus)] = unit

    def carry(self) -> None:
        """From now on, offer the prepared data with every unit."""
        if self._carrying is None:
            self._carrying = self._ray.put(self._plain.carrying())

    def ended(self) -> list[tuple[Unit, Any]]:
        """Wait a moment; return the units that have ended, with what came of them."""
        done, _ = self._ray.wait(
            list(self.running), num_returns=len(self.running), timeout=POLL_SECONDS, fetch_local=False
        )
        return [(self.running.pop(ref), self._outcome(ref)) for ref in done]

    def _outcome(self, ref: Any) -> Any:
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayError as problem:  # its node or its process is gone, once too often
            return Problem(_first_line(problem), everywhere=False)

    def heard(self) -> list[_Heard]:
        """Return what tasks have said since the last call."""
        found: list[_Heard] = self._ray.get(self._board.taken.remote())
        return found

    def cancel(self, name: str) -> None:
        """Stop a unit, whatever it does; it ends with a problem."""
        for ref, unit in self.running.items():
            if unit.name == name:
                self._ray.cancel(ref, force=True)

    def stop(self) -> None:
        """Stop everything."""
        with suppress(Exception):  # the cluster may be gone: nothing of it is left then
            for ref in self.running:
                self._ray.cancel(ref, force=True)
            self._ray.kill(self._board)


def _first_line(problem: BaseException) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return f"{type(problem).__name__}: {lines[0] if lines else 'no reason was given'}"


class _Placing:
    """Units under way: who has which, and since when each is silent."""

    def __init__(self, tasks: _Tasks, tries: Tries, watch: Watch, silent: float, wait: float) -> None:
        self._tasks, self._tries, self._watch = tasks, tries, watch
        self._silent, self._wait = silent, wait
        self._workers: dict[str, str] = {}
        self._heard_at: dict[str, float] = {}
        self._moved_at = time.monotonic()
        self._hung: set[str] = set()

    def all(self, units: Sequence[Unit]) -> None:
        """Have every unit finished or given up."""
        self._units = {unit.name: unit for unit in units}
        for unit in units:
            self._tasks.give(unit)
        while self._tasks.running:
            ended = self._tasks.ended()
            for heard in self._tasks.heard():
                self._hear(heard)
            for unit, outcome in ended:
                self._end(unit, outcome)
            self._look_for_silence()

    def _hear(self, heard: _Heard) -> None:
        unit, before = self._units[heard.unit], self._workers.get(heard.unit)
        if before is not None and before != heard.worker and heard.message == Message():
            # Ray has placed it anew: its first words, from somebody else
            self._watch.lost(unit, before, "its node or its process is gone")
        self._workers[heard.unit] = heard.worker
        self._heard_at[heard.unit] = self._moved_at = time.monotonic()
        self._watch.heard(unit, heard.worker, heard.message)

    def _end(self, unit: Unit, outcome: Any) -> None:
        worker = self._workers.pop(unit.name, "a worker")
        self._heard_at.pop(unit.name, None)
        self._moved_at = time.monotonic()
        if isinstance(outcome, UnitResult):
            self._watch.finished(unit, worker, outcome)
        elif outcome is None:  # the node does not share the folder
            self._tasks.carry()
            self._tasks.give(unit)
        elif outcome.everywhere:
            raise ConfigError(outcome.text)
        else:
            reason = outcome.text
            if unit.name in self._hung:
                self._hung.discard(unit.name)
                reason = "said nothing for longer than silent_minutes, and was stopped"
            if self._tries.again(unit, worker, reason):
                self._tasks.give(unit)

    def _look_for_silence(self) -> None:
        now = time.monotonic()
        for name, heard_at in list(self._heard_at.items()):
            if now - heard_at > self._silent and name not in self._hung:
                self._hung.add(name)
                self._tasks.cancel(name)
        if not self._heard_at and now - self._moved_at > self._wait:
            raise ConfigError(
                f"execution: no Ray node has had room for a unit for {self._wait / 60:.0f} minutes; "
                f"{len(self._tasks.running)} units are waiting. Look at 'ray status': the tasks ask for more processor cores or "
                "GPUs than any node has (cpus_per_task, gpus_per_task), or nodes are on their way (wait_minutes)"
            )


# --------------------------------------------------------------------------------------------
# on the cluster


class _Board:
    """Keeps what tasks say until the run looks; lives on the run's own node."""

    def __init__(self) -> None:
        self._said: deque[_Heard] = deque(maxlen=100_000)

    def say(self, heard: _Heard) -> None:
        """Keep it."""
        self._said.append(heard)

    def taken(self) -> list[_Heard]:
        """Return and forget everything."""
        found = list(self._said)
        self._said.clear()
        return found


def _do(given: list[Any], unit: Unit, board: Any, cpus: int) -> UnitResult | Problem | None:
    """Do a unit; None where this node neither shares the folder nor was given the data."""
    import torch

    ray = _ray()

    torch.set_num_threads(cpus)
    context = ray.get_runtime_context()
    worker = f"{socket.gethostname()} (node {context.get_node_id()[:6]}, process {os.getpid()})"
    perform: Perform = ray.get(given[0])
    if not perform.shares_folder():
        if given[1] is None:
            return None
        perform = ray.get(given[1])
    tell = partial(_tell, board, unit.name, worker)
    return attempt(perform, unit, tell)


def _tell(board: Any, unit: str, worker: str, message: Message) -> None:
    with suppress(Exception):  # the run may be gone; the task ends with it
        board.say.remote(_Heard(unit, worker, message))


@hookimpl
def register_executors(register: Register) -> None:
    """Register ``ray``."""
    register("ray", RayCluster)
