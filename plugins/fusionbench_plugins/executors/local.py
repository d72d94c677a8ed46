"""Processes of this machine: one for each device, each takes the next unit when it is done with the last."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import connection
from typing import Any, ClassVar

from fusionbench import Executor, Message, Perform, Problem, Tries, Unit, UnitResult, Watch, attempt, hookimpl
from fusionbench.errors import ConfigError
from fusionbench.hookspecs import Register

POLL_SECONDS = 0.02


class LocalProcesses(Executor):
    """Work on units in processes of this machine.

    Args:
        devices: One process for each; a name may stand there twice: ``[cuda:0, cuda:1]``, ``[cpu, cpu]``. None: every GPU that
            there is, else one process for each core.
        retries: How often a unit is tried again when its process died.
        units_each: How many units are made for each process.
        silent_minutes: A process that says nothing for so long is stopped, and its unit tried again.
    """

    here: ClassVar[bool] = True

    def __init__(
        self,
        devices: list[str] | None = None,
        retries: int = 2,
        units_each: int = 4,
        silent_minutes: float = 60.0,
    ) -> None:
        if devices is not None and not devices:
            raise ValueError("devices must name one at least, as [cuda:0, cuda:1] or [cpu, cpu]")
        if retries < 0 or units_each < 1 or silent_minutes <= 0:
            raise ValueError("retries must be 0 or more, units_each 1 or more, silent_minutes more than 0")
        self._devices, self._retries, self.units_each = devices, retries, units_each
        self._silent = silent_minutes * 60

    def places(self) -> int:
        """Return the number of processes."""
        return len(self._found())

    def described(self) -> str:
        """Return the devices."""
        return f"on {', '.join(self._found())}"

    def _found(self) -> list[str]:
        if self._devices is not None:
            return self._devices
        import torch

        if torch.cuda.is_available():
            return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return ["cpu"] * torch.get_num_threads()

    def work(self, units: Sequence[Unit], perform: Perform, watch: Watch) -> None:
        """Have units worked on."""
        import torch

        waiting, tries = deque(units), Tries(watch, self._retries)
        devices = self._found()[: len(units)]
        threads = max(1, torch.get_num_threads() // max(1, len(devices)))
        slots = [
            _Slot(f"process {i} of {len(devices)} on {device}", perform.on(device), threads)
            for i, device in enumerate(devices, 1)
        ]
        try:
            while waiting or any(slot.unit for slot in slots):
                for slot in slots:
                    if slot.unit is None and waiting:
                        slot.give(waiting.popleft())
                _listen(slots, watch)
                for slot in slots:
                    self._look_at(slot, waiting, tries, watch)
        finally:
            for slot in slots:
                slot.end()

    def _look_at(self, slot: _Slot, waiting: deque[Unit], tries: Tries, watch: Watch) -> None:
        if slot.unit is None:
            return
        unit, result = slot.unit, slot.result()
        if result is None:
            silent = time.monotonic() - slot.heard_at
            if silent < self._silent:
                return
            slot.end()
            result = Problem("said nothing for longer than silent_minutes, and was stopped", everywhere=False)
        slot.unit = None
        slot.listen(watch, unit)  # what it said last
        if isinstance(result, UnitResult):
            watch.finished(unit, slot.name, result)
        elif result.everywhere:
            raise ConfigError(result.text)
        elif tries.again(unit, slot.name, result.text):
            waiting.append(unit)


@dataclass
class _Slot:
    """A process, what it is doing, and the next process where that one died."""

    name: str
    perform: Perform
    threads: int
    unit: Unit | None = None
    heard_at: float = 0.0
    _pool: ProcessPoolExecutor | None = None
    _pipe: Any = None
    _process: Any = None
    _future: Future[UnitResult | Problem] | None = field(default=None, repr=False)

    def give(self, unit: Unit) -> None:
        """Let it work on a unit."""
        self.unit, self.heard_at = unit, time.monotonic()
        if self._pool is None:
            self._start()
        assert self._pool is not None
        before = set(multiprocessing.active_children())
        self._future = self._pool.submit(_do, self.perform, unit)
        self._process = next(iter(set(multiprocessing.active_children()) - before), self._process)

    def _start(self) -> None:
        # not forked: this process has threads, and perhaps a GPU
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(1, context, _begin, (theirs, self.threads))

    @property
    def pipe(self) -> Any:
        """Where it is heard."""
        return self._pipe

    def listen(self, watch: Watch, unit: Unit) -> None:
        """Pass on what it has said."""
        with suppress(EOFError, OSError):
            while self._pipe is not None and self._pipe.poll():
                name, message = self._pipe.recv()
                self.heard_at = time.monotonic()
                if name == unit.name:
                    watch.heard(unit, self.name, message)

    def result(self) -> UnitResult | Problem | None:
        """Return what came of its unit; None: nothing yet."""
        assert self._future is not None
        if not self._future.done():
            return None
        try:
            return self._future.result()
        except BrokenProcessPool:
            process = self._process
            self.end()
            return Problem(_death(process), everywhere=False)

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._pool is not None:
            if self._process is not None:
                self._process.kill()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pipe.close()
        self._pool = self._pipe = self._process = None


def _death(process: Any) -> str:
    process.join(1)
    code = process.exitcode
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _listen(slots: Sequence[_Slot], watch: Watch) -> None:
    """Wait a moment, and pass on what was said meanwhile."""
    pipes = {slot.pipe: slot for slot in slots if slot.unit is not None and slot.pipe is not None}
    for pipe in connection.wait(list(pipes), POLL_SECONDS):
        slot = pipes[pipe]
        assert slot.unit is not None
        slot.listen(watch, slot.unit)


# --------------------------------------------------------------------------------------------
# in the other process

_SAY: Any = None


def _begin(pipe: Any, threads: int) -> None:
    """Make a process ready: it ends with the one that started it, which alone decides what Ctrl-C means."""
    global _SAY  # noqa: PLW0603 - of this process, set once
    _SAY = pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=[parent.sentinel], daemon=True).start()
    import torch

    torch.set_num_threads(threads)


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _do(perform: Perform, unit: Unit) -> UnitResult | Problem:
    sys.stdout = sys.stderr = _Lines(unit.name)
    return attempt(perform, unit, partial(_tell, unit.name))


def _tell(name: str, message: Message) -> None:
    with suppress(OSError):  # nobody listens any more
        _SAY.send((name, message))


class _Lines:
    """Stands in for the standard streams of a process: what is printed becomes lines of the run's display."""

    encoding = "utf-8"

    def __init__(self, name: str) -> None:
        self._name, self._open = name, ""

    def write(self, text: str) -> int:
        *lines, self._open = (self._open + text).split("\n")
        for line in filter(str.strip, lines):
            _tell(self._name, Message(line=line))
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


@hookimpl
def register_executors(register: Register) -> None:
    """Register ``local``."""
    register("local", LocalProcesses)
