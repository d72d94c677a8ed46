"""Processes of this machine: each device in one of its own.

Each gets the keys of its models on standard input and writes what it did as JSON lines; results go through the store,
as those of any process.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fusionbench.progress import Best, ProgressStage
from fusionbench.records import Worked
from fusionbench.run.shares import divided

if TYPE_CHECKING:
    import torch

    from fusionbench.plan.jobs import FitJob
    from fusionbench.run.executors.executor import PreparedRun


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
    ended: bool = False
    """Whether it said that it ended: its last line, without which its exit code means nothing."""

    @property
    def problem(self) -> str | None:
        """Why it did not do its share; None where it did, or was interrupted."""
        code = self.process.returncode
        if code in (0, 1, 130) and self.ended:
            return None
        if code in (0, 1, 130):
            return f"exit code {code}, and it did not say that it had finished"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else self.reason or f"exit code {code}"


@dataclass(frozen=True)
class Processes:
    """An executor that starts a process for each device.

    Args:
        devices: One for each process; a name may stand there twice.
        words: Of the command line that means the run, without its device.
    """

    devices: Sequence[torch.device]
    words: Sequence[str]

    def work(self, run: PreparedRun, todo: Sequence[FitJob]) -> Worked:
        """Train and store models; what a process leaves undone is left to the run.

        Args:
            run: Prepared; its plan is as new as the results are when this returns.
            todo: Of its plan. Where they are not all of it, the run itself then works on these only.
        """
        start = time.perf_counter()
        worked = Worked()
        if not todo:
            return worked
        if len(todo) < len(run.plan.todo):
            run.take([f.key for f in todo])
        started = _start_all(run, todo, self.devices, self.words)
        total = len(todo) + sum(run.plan.tuned_models[s] for s in {f.study for f in todo if not f.untuned})
        with (
            _none_left_behind(started, worked),
            run.progress.stage(f"on {', '.join(map(str, self.devices))}", total, "trials and models") as stage,
        ):
            _follow_all(started, worked, stage, run.progress.note)
        for share in started:
            worked.failures |= share.failures
            if share.problem is not None:
                run.progress.note(
                    f"warning: {share.name} ended before it was done: {share.problem}; the rest is done here"
                )
        to_train = {f.key for f in run.plan.to_train}
        run.look_again()
        worked.trained |= to_train & run.plan.stored
        worked.seconds = time.perf_counter() - start
        return worked


def _start_all(
    run: PreparedRun, todo: Sequence[FitJob], devices: Sequence[torch.device], words: Sequence[str]
) -> list[_Share]:
    tuned = run.plan.tuned_models if run.benchmark.tuning.trials else {}
    open_studies = {f.study for f in todo if tuned and not f.untuned and run.store.sealed_study(f.study) is None}
    parts = divided(todo, len(devices), lambda study: tuned[study] if study in open_studies else 0)
    environment = _environment(len(devices))
    alike = [word for assignment in run.arithmetic.assignments for word in ("--set", assignment)]
    return [
        _Share(
            f"share {i} of {len(devices)} on {device}",
            _start([*words, *alike, "--device", str(device), "--json", "--listed"], part, environment),
        )
        for i, (device, part) in enumerate(zip(devices, parts, strict=True), 1)
        if part
    ]


def _follow_all(started: Sequence[_Share], worked: Worked, stage: ProgressStage, say: Callable[[str], None]) -> None:
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

    def follow(self, stage: ProgressStage, say: Callable[[str], None]) -> None:
        """Add it to the stage of all, until the last process has ended; may be called again after an interruption."""
        while self._open:
            share, line = self._lines.get()
            if line is None:
                self._open -= 1
            else:
                _follow(share, line, stage, say)


def _follow(share: _Share, line: str, stage: ProgressStage, say: Callable[[str], None]) -> None:
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
        share.reason, share.ended = event["reason"], True
