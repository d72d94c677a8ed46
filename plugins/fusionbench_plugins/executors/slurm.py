"""A Slurm queue: each unit is an element of an array of jobs, submitted by submitit.

Everything goes through the run's folder, which every node must share. An element that is near its time limit stops with exit
code 0 and puts itself back in the queue; what it had finished is stored. A run that is started again, because the process that
waited was killed or its machine restarted, goes on waiting for the elements that are still there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fusionbench import Executor, Message, Perform, Problem, Tries, Unit, UnitResult, Watch, attempt, hookimpl
from fusionbench.errors import ConfigError, WorkspaceError
from fusionbench.hookspecs import Register
from fusionbench.store.workspace import Workspace
from fusionbench_plugins.executors._desk import Desk

INSTALL = "pip install 'fusionbench-core[slurm]'"
SAYS_EVERY_SECONDS = 5.0
_leave_now = os._exit  # taken here: while a plugin works, what is called so is an error of the plugin
SLURM_SECONDS = 60
"""How long a command of Slurm may take to answer."""
START = 10**6
"""What an element says is numbered, from this on when it begins for the second time, from twice this for the third."""
SHOWN_WITHIN_POLLS = 3
"""How often an element that has left the queue is looked for before it counts as lost: its last file may be shown later."""


class SlurmQueue(Executor):
    """Work on units as elements of an array of Slurm jobs.

    Args:
        partition: Where they are queued; None: the cluster's default.
        time: How long an element may take: ``4:00:00``, ``1-12:00:00``, or minutes. It stops before, and goes on in the queue.
        gpus_per_task: GPUs of each element; 0: it works on processors.
        cpus_per_task: Processor cores of each element.
        memory_gb: Memory of each element; None: the cluster's default.
        tasks: How many elements are worked on at a time, at most.
        account: Who pays for them; None: the cluster's default.
        qos: Quality of service; None: the cluster's default.
        constraint: Features that nodes must have; None: any.
        setup: Commands of the shell before each element: ``[module load cuda]``.
        retries: How often a unit is submitted again when its job was lost.
        restarts: How often an element puts itself back in the queue near its time limit.
        warn_seconds: How long before the limit it stops.
        units_each: How many units are made for each element that is worked on at a time.
        poll_seconds: How often the queue is looked at.
    """

    def __init__(
        self,
        partition: str | None = None,
        time: str | int = "4:00:00",
        gpus_per_task: int = 0,
        cpus_per_task: int = 1,
        memory_gb: float | None = None,
        tasks: int = 16,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        setup: Sequence[str] = (),
        retries: int = 3,
        restarts: int = 20,
        warn_seconds: int = 120,
        units_each: int = 2,
        poll_seconds: float = 10.0,
    ) -> None:
        self._minutes = minutes_of(time)
        if min(cpus_per_task, tasks, units_each) < 1 or min(gpus_per_task, retries, restarts, warn_seconds) < 0:
            raise ValueError(
                "cpus_per_task, tasks and units_each must be 1 or more; gpus_per_task, retries, restarts and warn_seconds 0 or "
                "more"
            )
        self._given = {
            "partition": partition,
            "gpus_per_task": gpus_per_task or None,
            "cpus_per_task": cpus_per_task,
            "mem": None if memory_gb is None else f"{memory_gb * 1024:.0f}MB",
            "account": account,
            "qos": qos,
            "constraint": constraint,
            "setup": list(setup) or None,
        }
        self._tasks, self.units_each, self._retries, self._restarts = tasks, units_each, retries, restarts
        self._warn, self._poll = warn_seconds, poll_seconds

    def require(self) -> None:
        """Look for submitit and for Slurm's commands.

        Raises:
            ConfigError: One is not there.
        """
        try:
            import submitit  # noqa: F401 - only whether it is there
        except ImportError:
            raise ConfigError(
                f"execution: the executor 'slurm' needs submitit, which is not installed: {INSTALL}"
            ) from None
        missing = [name for name in ("sbatch", "squeue", "scancel", "scontrol", "srun") if shutil.which(name) is None]
        if missing:
            raise ConfigError(
                f"execution: the executor 'slurm' needs {', '.join(missing)}, which this machine does not have; start the run on "
                "a login node of the cluster, or use another executor: local, ray"
            )

    def places(self) -> int:
        """Return how many elements are worked on at a time."""
        return self._tasks

    def described(self) -> str:
        """Return the partition."""
        partition = self._given["partition"]
        return "on Slurm" if partition is None else f"on Slurm, partition {partition}"

    def work(self, units: Sequence[Unit], perform: Perform, watch: Watch) -> None:
        """Have units worked on."""
        desk = Desk(Workspace(perform.workspace).executions / "slurm")
        # what is submitted may hold the address of a database
        desk.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # an element that asked for no GPU may see one that others asked for
        perform = perform if self._given["gpus_per_task"] else perform.on("cpu")
        call = _Call(perform, desk.folder, self._restarts)
        queue = _Queue(self._submit, desk)
        waiting = _Waiting(queue, desk, call, Tries(watch, self._retries), watch, self._poll)
        try:
            waiting.all(units)
        except BaseException:
            queue.cancel(list(waiting.jobs.values()))
            raise

    def _submit(self, call: _Call, units: Sequence[Unit], folder: Path) -> list[str]:
        """Submit units as an array; return the number of each one's job."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = submitit.SlurmExecutor(folder=folder / "jobs" / "%j")
        given = {name: value for name, value in self._given.items() if value is not None}
        executor.update_parameters(
            job_name="fusionbench",
            time=self._minutes,
            signal_delay_s=self._warn,
            array_parallelism=self._tasks,
            stderr_to_stdout=True,
            **given,
        )
        try:
            return [job.job_id for job in executor.map_array(call, list(units))]
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError, OSError) as problem:
            raise ConfigError(f"execution: Slurm refused the job: {_last_line(problem)}") from None


def minutes_of(time: str | int) -> int:
    """Return the minutes of ``90``, ``4:00:00`` or ``1-12:00:00``, at least one.

    Raises:
        ValueError: It is none of these.
    """
    text = str(time)
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+)(?::(\d+))?", text)
    if re.fullmatch(r"\d+", text) and int(text) > 0:
        return int(text)
    if found is None:
        raise ValueError(f"time must be minutes, hours:minutes:seconds or days-hours:minutes:seconds, found {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    whole = days * 1440 + hours * 60 + minutes + (seconds > 0)
    if whole < 1:
        raise ValueError(f"time must be a minute at least, found {text!r}")
    return whole


def _last_line(problem: BaseException) -> str:
    said = problem.stderr or problem.output if isinstance(problem, subprocess.CalledProcessError) else str(problem)
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else type(problem).__name__


# --------------------------------------------------------------------------------------------
# the queue


class _Queue:
    """Slurm, as far as it is asked here."""

    def __init__(self, submit: Callable[[_Call, Sequence[Unit], Path], list[str]], desk: Desk) -> None:
        self._submit, self._desk = submit, desk

    def submit(self, call: _Call, units: Sequence[Unit]) -> list[str]:
        """Submit units, and remember their jobs."""
        jobs = self._submit(call, units, self._desk.folder)
        for unit, job in zip(units, jobs, strict=True):
            self._desk.submitted(unit, job, call.order)
        return jobs

    def there(self, jobs: Sequence[str]) -> set[str] | None:
        """Return which jobs are waiting or running; None where Slurm does not answer now."""
        try:
            said = _slurm("squeue", "--noheader", "--array", "--user", str(os.getuid()), "--format", "%i|%t")
        except (subprocess.SubprocessError, OSError):
            return None
        lines = [line.strip().split("|") for line in said.splitlines() if "|" in line]
        # an element that is completing has written all that it will write, or never will
        found = {name for name, state in lines if state not in ("CG", "CD", "F", "TO", "CA", "NF", "OOM", "BF", "DL")}
        return found & set(jobs)

    def cancel(self, jobs: Sequence[str]) -> None:
        """Take jobs out of the queue, running or not."""
        if jobs:
            with suppress(subprocess.SubprocessError, OSError):
                _slurm("scancel", *jobs)


def _slurm(*words: str) -> str:
    # words of our own and numbers of jobs; no shell
    found = subprocess.run(words, capture_output=True, text=True, check=True, timeout=SLURM_SECONDS)  # noqa: S603
    return found.stdout


class _Waiting:
    """Units in the queue, until each is finished or given up."""

    def __init__(self, queue: _Queue, desk: Desk, call: _Call, tries: Tries, watch: Watch, poll: float) -> None:
        self._queue, self._desk, self._call = queue, desk, call
        self._tries, self._watch, self._poll = tries, watch, poll
        self.jobs: dict[str, str] = {}
        """By unit, its job."""
        self._heard: dict[str, int] = {}
        self._worker: dict[str, str] = {}
        self._gone: dict[str, int] = {}

    def all(self, units: Sequence[Unit]) -> None:
        """Have every unit finished or given up."""
        self._units = {unit.name: unit for unit in units}
        self._give([unit for unit in units if not self._adopted(unit)])
        while self._units:
            time.sleep(min(self._poll, 1.0) if not self._worker else self._poll)
            there = self._queue.there(list(self.jobs.values()))
            looked = [self._look_at(unit, there) for unit in list(self._units.values())]
            lost = [found for found in looked if found is not None]
            again = [unit for unit, reason in lost if self._tries.again(unit, self._who(unit), reason)]
            for unit, _ in lost:
                if unit not in again:
                    del self._units[unit.name]
            self._give(again)

    def _adopted(self, unit: Unit) -> bool:
        """Whether a job that was submitted for a unit before is still good: of the same run, and in the queue."""
        known = self._desk.job(unit.name)
        if known is None:
            return False
        same = known["order"] == self._call.order and set(unit.models) <= set(known["models"])
        if same and self._queue.there([known["job"]]):
            self.jobs[unit.name] = known["job"]
            return True
        self._queue.cancel([known["job"]])
        self._desk.clear(unit.name)
        return False

    def _give(self, units: Sequence[Unit]) -> None:
        if units:
            for unit in units:
                self._desk.clear(unit.name)
            jobs = self._queue.submit(self._call, units)
            self.jobs |= {unit.name: job for unit, job in zip(units, jobs, strict=True)}

    def _who(self, unit: Unit) -> str:
        return self._worker.get(unit.name, f"job {self.jobs[unit.name]}")

    def _look_at(self, unit: Unit, there: set[str] | None) -> tuple[Unit, str] | None:
        """Pass on what is heard of a unit; return it with the reason where it was lost."""
        said, ended = self._desk.said(unit.name), self._desk.ended(unit.name)
        if said is not None and said[1] != self._heard.get(unit.name):
            worker, number, message = said
            before = self._heard.get(unit.name)
            if before is not None and number // START > before // START:
                self._watch.lost(unit, self._who(unit), "its job was put back in the queue")
            self._heard[unit.name], self._worker[unit.name] = number, worker
            self._watch.heard(unit, worker, message)
        if ended is not None:
            return self._end(unit, *ended)
        if there is None or self.jobs[unit.name] in there:
            self._gone.pop(unit.name, None)
            return None
        self._gone[unit.name] = self._gone.get(unit.name, 0) + 1
        if self._gone[unit.name] < SHOWN_WITHIN_POLLS:
            return None
        self._forget(unit)
        return (
            unit,
            f"job {self.jobs[unit.name]} has left the queue without a result; its log is in {self._desk.folder}/jobs",
        )

    def _end(self, unit: Unit, worker: str, outcome: UnitResult | Problem) -> tuple[Unit, str] | None:
        self._forget(unit)
        if isinstance(outcome, Problem):
            if outcome.everywhere:
                raise ConfigError(outcome.text)
            return unit, outcome.text
        self._watch.finished(unit, worker, outcome)
        del self._units[unit.name], self.jobs[unit.name]
        self._desk.clear(unit.name)
        return None

    def _forget(self, unit: Unit) -> None:
        self._heard.pop(unit.name, None)
        self._gone.pop(unit.name, None)


# --------------------------------------------------------------------------------------------
# in an element


@dataclass(frozen=True)
class _Call:
    """What submitit calls in each element.

    Args:
        perform: Does a unit.
        folder: Of the files by which it is heard.
        restarts: How often an element puts itself back in the queue.
    """

    perform: Perform
    folder: Path
    restarts: int

    @property
    def order(self) -> str:
        """The run that it belongs to: units of another one are not taken over."""
        return str(getattr(getattr(self.perform, "order", None), "key", ""))

    def __call__(self, unit: Unit) -> None:
        """Do a unit, and write what came of it."""
        import torch

        torch.set_num_threads(int(os.environ.get("SLURM_CPUS_PER_TASK", "1")))
        job = os.environ.get("SLURM_JOB_ID", "?")
        element = f"{os.environ.get('SLURM_ARRAY_JOB_ID', job)}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
        worker = f"{os.environ.get('SLURMD_NODENAME', 'a node')} (job {element})"
        signal.signal(signal.SIGUSR2, lambda *_: _back_in_the_queue(job, self.restarts))
        signal.signal(signal.SIGTERM, lambda *_: _leave_now(0))  # it is preempted or cancelled, and Slurm knows which
        desk = Desk(self.folder)
        desk.end(unit.name, worker, attempt(self.perform, unit, _Teller(desk, unit.name, worker)))


class _Teller:
    """Writes what is said of a unit, now and then."""

    def __init__(self, desk: Desk, unit: str, worker: str) -> None:
        self._desk, self._unit, self._worker = desk, unit, worker
        self._first = self._number = int(os.environ.get("SLURM_RESTART_COUNT", "0")) * START
        self._wrote_at = 0.0

    def __call__(self, message: Message) -> None:
        """Write it, unless something was written a moment ago."""
        now = time.monotonic()
        if self._number > self._first and not message.line and now - self._wrote_at < SAYS_EVERY_SECONDS:
            return
        self._number, self._wrote_at = self._number + 1, now
        with suppress(WorkspaceError):  # a full disk is said by what cannot be stored
            self._desk.say(self._unit, self._worker, self._number, message)


def _back_in_the_queue(job: str, restarts: int) -> None:
    """Stop with exit code 0: all that is finished is stored, and the element begins again when there is room."""
    if int(os.environ.get("SLURM_RESTART_COUNT", "0")) < restarts:
        with suppress(subprocess.SubprocessError, OSError):
            _slurm("scontrol", "requeue", job)
    _leave_now(0)


@hookimpl
def register_executors(register: Register) -> None:
    """Register ``slurm``."""
    register("slurm", SlurmQueue)
