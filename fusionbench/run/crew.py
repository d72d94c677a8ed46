"""Whoever works on the populations of a run: this process one after the other, or forks of it side by side.

A fork has everything that its parent had (tables, models to build, code that is not imported by a name), and its own global
state: a plugin that sets a default or ends its process does so for its own population only. Each works with one thread,
so that a model's numbers do not depend on how many cores there are.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, get_context
from typing import Any, Protocol, cast

import torch

from fusionbench.training.devices.device import give_back

Tell = Callable[[Any], None]
Do = Callable[[Any, Tell], Any]
"""Does a task, and tells of its course; task, what is told and result can be pickled."""
Told = Callable[[Any, Any], None]
"""Hears what is told of a task."""


@dataclass(frozen=True)
class Lost:
    """A task whose process ended before it was done: killed for its memory, or by what a plugin did.

    Args:
        reason: What ended it.
    """

    reason: str


class Crew(Protocol):
    """Does tasks, in any order."""

    def work(self, waiting: deque[Any], do: Do, told: Told) -> Iterator[tuple[Any, Any]]:
        """Do every task, and yield each with its result when it is done.

        Args:
            waiting: Tasks, first to last; whoever takes the results may add to it.
            do: Does one.
            told: Hears of the tasks that are under way; in the caller's thread.
        """


class Alone:
    """This process does one task after the other, on a CPU with one thread."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def work(self, waiting: deque[Any], do: Do, told: Told) -> Iterator[tuple[Any, Any]]:
        """Do every task."""
        while waiting:
            task = waiting.popleft()
            with _one_thread(self._device):
                result = do(task, partial(told, task))
            yield task, result


class Forks:
    """Forks of this process, as many at a time as it is told; they live until the last task is done.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def work(self, waiting: deque[Any], do: Do, told: Told) -> Iterator[tuple[Any, Any]]:
        """Do every task."""
        members: list[_Fork] = []
        give_back()
        try:
            while waiting or any(m.task is not None for m in members):
                busy = sum(m.task is not None for m in members)
                for member in _ready(members, min(self._size - busy, len(waiting)), do):
                    member.give(waiting.popleft())
                at_work = {m.pipe: m for m in members if m.task is not None}
                for pipe in connection.wait(at_work):
                    yield from at_work[cast("connection.Connection", pipe)].listen(told)
                members = [m for m in members if m.alive]
        finally:
            for member in members:
                member.end()


def crew_for(device: torch.device, tasks: int, wanted: int | None = None) -> Crew:
    """Return who works on a device.

    Args:
        device: Where models are trained.
        tasks: How many there are; for one alone nobody is forked.
        wanted: How many processes; None: as many as torch would use threads.
    """
    size = min(tasks, workers_for(device, wanted))
    return Forks(size) if size > 1 else Alone(device)


def workers_for(device: torch.device, wanted: int | None = None) -> int:
    """Return how many populations are trained side by side on a device."""
    return (torch.get_num_threads() if wanted is None else wanted) if _can_fork(device) else 1


def _can_fork(device: torch.device) -> bool:
    # elsewhere a forked process may not use the system's own libraries; with a GPU in sight torch's autograd has
    # threads that a fork would lack
    return device.type == "cpu" and sys.platform == "linux" and not torch.cuda.is_available()


def _ready(members: list[_Fork], wanted: int, do: Do) -> Sequence[_Fork]:
    """Return members without a task, as many as are wanted where there is room; adds those that are missing."""
    idle = [m for m in members if m.task is None]
    while len(idle) < wanted:
        members.append(_Fork(do))
        idle.append(members[-1])
    return idle[:wanted]


class _Fork:
    """One process, and what it is doing."""

    def __init__(self, do: Do) -> None:
        context = get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.task: Any = None
        self.alive = True
        self._process = context.Process(target=_serve, args=(theirs, self.pipe, do), daemon=True)
        with warnings.catch_warnings():
            # of forking with threads about: those of this process hold nothing that a worker takes
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()

    def give(self, task: Any) -> None:
        """Let it do a task."""
        self.task = task
        with suppress(OSError):  # it is dead; listening will say so
            self.pipe.send(task)

    def listen(self, told: Told) -> list[tuple[Any, Any]]:
        """Hear one message; return the task with its result if that was it."""
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError):
            return self._lose()
        if kind == "said":
            sys.stderr.write(content)
        elif kind == "told":
            told(self.task, content)
        elif kind == "raised":
            raise content
        else:
            task, self.task = self.task, None
            return [(task, content)]
        return []

    def _lose(self) -> list[tuple[Any, Any]]:
        self._process.join()
        self.alive = False
        code = self._process.exitcode or 0
        reason = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self.pipe.close()
        return [(self.task, Lost(reason))]

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: Any, parents: Any, do: Do) -> None:
    """Do tasks until the other end is closed."""
    gc.freeze()  # what came from the parent is not looked at: each page that is touched becomes a copy
    parents.close()  # or this process itself would keep the other end open
    signal.signal(signal.SIGINT, lambda *_: None)  # the parent decides what an interruption means
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # and what a queue's warning means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.stdout = sys.stderr = _Words(pipe)
    torch.set_num_threads(1)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone
        while True:
            task = pipe.recv()
            try:
                message = ("done", do(task, lambda m: pipe.send(("told", m))))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except BaseException as problem:  # noqa: BLE001 - it is the parent's to raise
                message = ("raised", problem)
            pipe.send(message)
    os._exit(0)


class _Words:
    """Stands in for the standard streams of a fork: the parent writes what is said."""

    encoding = "utf-8"

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def write(self, text: str) -> int:
        if text:
            self._pipe.send(("said", text))
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processor_seconds() -> float:
    """Seconds that processors worked for this process, and for those of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
