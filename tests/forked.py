"""The command line in processes that begin with everything imported: forks of one that did nothing else.

Tests that kill or interrupt a run start many; importing torch and the rest takes each of them seconds.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER = """
import json, os, signal, sys
import matplotlib.pyplot, optuna, pandas, scipy.stats, sklearn.metrics, torch
import fusionbench.run.runner, fusionbench.run.tuning
from fusionbench.cli import main

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so what they start
        os.environ.update(order["environment"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(os.open(order["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        main(order["words"])
        raise AssertionError("the command line always exits")
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forked:
    """One run of the command line, as :class:`subprocess.Popen` shows it."""

    def __init__(self, server: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self._server, self._out, self._err = server, out, err
        self.pid = int(self._line())
        self.returncode: int | None = None

    def _line(self) -> bytes:
        assert self._server.stdout is not None
        return self._server.stdout.readline()  # not buffered: what was not read can be waited for

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None and select.select([self._server.stdout], [], [], 0)[0]:
            self.returncode = int(self._line())
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait until it ended."""
        if self.returncode is None and not select.select([self._server.stdout], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("fusionbench", timeout)
        code = self.poll()
        assert code is not None
        return code

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """Wait until it ended; return what it printed."""
        self.wait(timeout)
        return self._out.read_text(encoding="utf-8"), self._err.read_text(encoding="utf-8")

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Forks:
    """Starts runs, one after the other."""

    def __init__(self, server: subprocess.Popen[bytes], folder: Path) -> None:
        self._server, self._folder = server, folder
        self.last: Forked | None = None

    def start(self, *arguments: object, **environment: str) -> Forked:
        """Start the command line in a process of its own."""
        out, err = self._folder / "out.txt", self._folder / "err.txt"
        words = [str(a) for a in arguments]
        order: dict[str, Any] = {"words": words, "environment": environment, "out": str(out), "err": str(err)}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        self.last = Forked(self._server, out, err)
        return self.last


@contextmanager
def forks(folder: Path) -> Iterator[Forks]:
    """A process that has imported what a run needs, and forks."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        made = Forks(server, folder)
        try:
            yield made
        finally:
            if made.last is not None:
                made.last.kill()
