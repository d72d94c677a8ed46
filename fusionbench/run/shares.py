"""The work of a run divided between processes: on the devices of this machine, or on machines with a common workspace.

What is divided are studies with the models that need them, so that no two processes tune the same. Neighbours in the
plan stay together: most arms are whole in one share, and populations as large as in one process.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from fusionbench.errors import ConfigError
from fusionbench.progress import Best, Stage
from fusionbench.records import Worked

if TYPE_CHECKING:
    import torch

    from fusionbench.plan.jobs import FitJob
    from fusionbench.run.runner import Run


# --------------------------------------------------------------------------------------------
# dividing


@dataclass(frozen=True)
class Shard:
    """One share of several, as ``--shard 2/4`` names it: from 1 to ``of``."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number} of {self.of}"

    @staticmethod
    def parse(text: str) -> Shard:
        """Read ``2/4``.

        Raises:
            ConfigError: It is no share.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise ConfigError(f"--shard {text}: no share; accepted: one of how many, as 1/4, 2/4, 3/4, 4/4")
        return shard


def divided(fits: Sequence[FitJob], shares: int, trials: Callable[[str], int]) -> list[list[FitJob]]:
    """Divide models into shares that train about as many: a share differs from the mean by one study with its models at most.

    Args:
        fits: Models, in the order of the plan.
        shares: How many shares.
        trials: How many models the tuning of a study trains, by its key.
    """
    by_study: dict[str, list[FitJob]] = {}
    for fit in fits:
        by_study.setdefault(fit.study, []).append(fit)
    weights = {study: trials(study) + len(needing) for study, needing in by_study.items()}
    total, before = sum(weights.values()), 0
    found: list[list[FitJob]] = [[] for _ in range(shares)]
    for study, weight in weights.items():  # into the share in which the middle of the study falls
        found[(2 * before + weight) * shares // (2 * total)] += by_study[study]
        before += weight
    return found


def keys_of(run: Run, shard: Shard) -> list[str]:
    """Return the models of one share of all that is worked on.

    What is stored does not matter: processes that start at different times divide alike.
    """
    trials = run.benchmark.tuning.trials
    return [f.key for f in divided(run.plan.mine, shard.of, lambda _: trials)[shard.number - 1]]


# --------------------------------------------------------------------------------------------
# processes of this machine


@dataclass
class _Share:
    """A process that works on a part of the models."""

    name: str
    process: subprocess.Popen[str]
    done: dict[str, float] = field(default_factory=dict)
    """Steps by stage."""
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    reason: str | None = None
    """Why it ended, where it said so."""

    @property
    def problem(self) -> str | None:
        """Why it did not do its share; None where it did, or was interrupted."""
        code = self.process.returncode
        if code in (0, 1, 130):
            return None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else self.reason or f"exit code {code}"


def work_in_shares(run: Run, devices: Sequence[torch.device], words: Sequence[str], limit: int | None = None) -> Worked:
    """Train what is not stored, each device in a process of its own; what a process leaves undone is left to the run.

    Args:
        run: Prepared; its plan is as new as the results are when this returns.
        devices: One for each process; a name may stand there twice.
        words: Of the command line that means this run, without its device.
        limit: Train this many models at most; the run itself then works on these models only.
    """
    start = time.perf_counter()
    todo = run.plan.todo[:limit]
    worked = Worked()
    if not todo:
        return worked
    if limit is not None:
        run.take([f.key for f in todo])
    started = _start_all(run, todo, devices, words)
    total = len(todo) + run.benchmark.tuning.trials * len({f.study for f in todo})
    with (
        _none_left_behind(started, worked),
        run.progress.stage(f"on {', '.join(map(str, devices))}", total, "trials and models") as stage,
    ):
        _follow_all(started, worked, stage, run.progress.note)
    for share in started:
        worked.failures |= share.failures
        if share.problem is not None:
            run.progress.note(f"warning: {share.name} ended before it was done: {share.problem}; the rest is done here")
    to_train = {f.key for f in run.plan.to_train}
    run.look_again()
    worked.trained |= to_train & run.plan.stored
    worked.seconds = time.perf_counter() - start
    return worked


def _start_all(run: Run, todo: Sequence[FitJob], devices: Sequence[torch.device], words: Sequence[str]) -> list[_Share]:
    tuned = run.benchmark.tuning.trials
    open_studies = {f.study for f in todo if tuned and run.store.sealed_study(f.study) is None}
    parts = divided(todo, len(devices), lambda study: tuned if study in open_studies else 0)
    environment = _environment(len(devices))
    return [
        _Share(
            f"share {i} of {len(devices)} on {device}",
            _start([*words, "--device", str(device), "--json", "--listed"], part, environment),
        )
        for i, (device, part) in enumerate(zip(devices, parts, strict=True), 1)
        if part
    ]


def _follow_all(started: Sequence[_Share], worked: Worked, stage: Stage, say: Callable[[str], None]) -> None:
    talk = _Talk(started)
    try:
        talk.follow(stage, say)
    except KeyboardInterrupt:
        worked.interrupted = True
        for share in started:
            share.process.send_signal(signal.SIGINT)
        talk.follow(stage, say)  # until each has stored what it has, or a second interruption
    for share in started:
        share.process.wait()


def _environment(processes: int) -> dict[str, str]:
    import torch

    return {**os.environ, "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // processes))}


def _start(words: Sequence[str], part: Sequence[FitJob], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    # in a session of its own, so that Ctrl-C reaches it once: from here
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
        [sys.executable, "-m", "fusionbench", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it is dead already; of what, is seen when it is waited for
        process.stdin.write("".join(f"{f.key}\n" for f in part) + "\n")
        process.stdin.flush()
    return process


def keys_from(file: IO[str]) -> list[str]:
    """Return the keys of the models that this process is to work on; from now on it ends with the one that started it.

    Args:
        file: A pipe with one key a line, then an empty line; it stays open as long as the other process lives.
    """

    def end_with_it() -> None:
        os.read(file.fileno(), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    keys = [line.strip() for line in iter(file.readline, "\n")]
    threading.Thread(target=end_with_it, daemon=True).start()
    return keys


@contextmanager
def _none_left_behind(started: Sequence[_Share], worked: Worked) -> Iterator[None]:
    """Kill what still runs when the block is left by an error or a second interruption."""
    try:
        yield
    except KeyboardInterrupt:
        worked.interrupted = True
    finally:
        for share in started:
            share.process.kill()
            share.process.wait()
            assert share.process.stdin is not None
            with suppress(BrokenPipeError):
                share.process.stdin.close()


class _Talk:
    """What all processes say, line by line as it comes."""

    def __init__(self, started: Sequence[_Share]) -> None:
        self._lines: queue.SimpleQueue[tuple[_Share, str | None]] = queue.SimpleQueue()
        self._open = len(started)
        for share in started:
            threading.Thread(target=self._read, args=[share], daemon=True).start()

    def _read(self, share: _Share) -> None:
        assert share.process.stdout is not None
        with share.process.stdout as file:
            for line in file:
                self._lines.put((share, line))
        self._lines.put((share, None))

    def follow(self, stage: Stage, say: Callable[[str], None]) -> None:
        """Add it to the stage of all, until the last process has ended; may be called again after an interruption."""
        while self._open:
            share, line = self._lines.get()
            if line is None:
                self._open -= 1
            else:
                _follow(share, line, stage, say)


def _follow(share: _Share, line: str, stage: Stage, say: Callable[[str], None]) -> None:
    """Add what a process says to the stage of all."""
    try:
        event: dict[str, Any] = json.loads(line)
        what = event["event"]
    except (ValueError, TypeError, KeyError):  # printed by a library
        say(f"{share.name}: {line.rstrip()}")
        return
    if what == "stage" and event["title"] in ("tuning", "scoring", "training"):
        done = float(event["done"])
        stage.advance(
            done - share.done.get(event["title"], 0.0), f"{share.name}: {event.get('note') or event['title']}"
        )
        share.done[event["title"]] = done
        if event.get("best"):
            stage.working(0, 0.0, f"{share.name}: {event['note']}", Best(**event["best"]))
    elif what == "share":
        share.failures = {f["key"]: (f["cell"], f["reason"]) for f in event["failures"]}
    elif what == "exit":
        share.reason = event["reason"]
