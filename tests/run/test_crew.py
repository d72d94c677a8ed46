"""Tasks done in this process or in forks of it: every one once, and none takes another with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fusionbench.progress import SilentStage
from fusionbench.run import crew
from fusionbench.run.crew import Alone, Forks, Lost, crew_for
from fusionbench.run.execution import train_jobs
from tests.builders import outcome, run_toy, settings
from tests.run.test_execution import Told, jobs

CPU = torch.device("cpu")
FEW_EPOCHS = {"epochs": 3, "batch_size": 32}
forks = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux are populations trained side by side")
CREWS = [pytest.param(Alone(CPU), id="alone"), pytest.param(Forks(2), id="forks", marks=forks)]


def all_of(given, tasks, do, told=lambda task, message: None):
    return dict(given.work(deque(tasks), do, told))


@pytest.mark.parametrize("given", CREWS)
def test_every_task_is_done_once_and_its_course_is_told_in_the_callers_thread(given):
    heard = []

    def do(task, tell):
        tell(("half", task))
        return task * 10

    def told(task, message):
        assert threading.current_thread() is threading.main_thread()
        heard.append((task, message))

    assert all_of(given, range(7), do, told) == {i: i * 10 for i in range(7)}
    assert sorted(heard) == [(i, ("half", i)) for i in range(7)]


@pytest.mark.parametrize("given", CREWS)
def test_whoever_takes_the_results_may_add_tasks(given):
    waiting, found = deque([8]), []
    for task, result in given.work(waiting, lambda task, tell: task // 2, lambda *_: None):
        found.append(task)
        if result:
            waiting.extend([result, result])
    assert sorted(found) == sorted([8, 4, 4, 2, 2, 2, 2] + [1] * 8)


@pytest.mark.parametrize("given", CREWS)
def test_a_task_has_one_thread_and_the_caller_has_as_many_as_before(given):
    before = torch.get_num_threads()
    assert set(all_of(given, range(3), lambda task, tell: torch.get_num_threads()).values()) == {1}
    assert torch.get_num_threads() == before


@forks
def test_forks_work_at_the_same_time_and_live_until_the_last_task():
    def do(task, tell):
        time.sleep(0.2)
        return os.getpid()

    start = time.perf_counter()
    found = all_of(Forks(4), range(4), do)
    assert len(set(found.values())) == 4
    assert os.getpid() not in found.values()
    assert time.perf_counter() - start < 4 * 0.2 + 2  # waiting takes no processor
    again = all_of(Forks(2), range(6), do)
    assert len(set(again.values())) == 2


@forks
@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "killed by SIGTERM"),
        (lambda: os._exit(3), "exit code 3"),
    ],
)
def test_a_process_that_ends_loses_its_task_only(ends, reason):
    def do(task, tell):
        if task in (1, 2):
            ends()
        return "done"

    found = all_of(Forks(2), range(6), do)
    assert found == {0: "done", 1: Lost(reason), 2: Lost(reason), 3: "done", 4: "done", 5: "done"}


@forks
def test_what_is_raised_in_a_fork_is_raised_here_and_nobody_is_left_behind():
    pids = []

    def do(task, tell):
        tell(os.getpid())
        if task == 0:
            time.sleep(0.2)
            raise KeyboardInterrupt
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        all_of(Forks(2), range(2), do, lambda task, pid: pids.append(pid))
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


@forks
def test_results_that_are_no_longer_wanted_end_the_forks():
    pids = []

    def do(task, tell):
        tell(os.getpid())
        time.sleep(0.0 if task == 0 else 60)

    for _ in Forks(2).work(deque(range(3)), do, lambda task, pid: pids.append(pid)):
        break
    assert not any(is_alive(pid) for pid in pids)


@forks
def test_what_a_fork_prints_is_written_by_its_parent(capsys):
    all_of(Forks(2), ["a", "b"], lambda task, tell: print(f"said by {task}", file=sys.stderr))
    assert sorted(capsys.readouterr().err.split("\n")) == ["", "said by a", "said by b"]


@forks
def test_an_interruption_of_the_process_group_is_the_parents_to_understand():
    def do(task, tell):
        os.kill(os.getpid(), signal.SIGINT)
        return "went on"

    assert all_of(Forks(2), range(2), do) == {0: "went on", 1: "went on"}


@forks
def test_forks_end_when_their_parent_is_killed(tmp_path):
    code = textwrap.dedent(
        """
        import os, sys, time
        from collections import deque
        from pathlib import Path
        from fusionbench.run.crew import Forks

        def do(task, tell):
            Path(sys.argv[1], str(os.getpid())).touch()
            while True:
                tell("still here")
                time.sleep(0.02)

        for _ in Forks(2).work(deque(range(2)), do, lambda *_: None):
            pass
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    process.kill()
    process.wait()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_nobody_is_forked_for_one_task_or_where_that_is_not_safe(monkeypatch):
    assert isinstance(crew_for(CPU, 1, 8), Alone)
    assert isinstance(crew_for(CPU, 9, 1), Alone)
    assert isinstance(crew_for(torch.device("cuda"), 9, 8), Alone)
    monkeypatch.setattr(crew.torch.cuda, "is_available", lambda: True)  # autograd has threads then
    assert isinstance(crew_for(CPU, 9, 8), Alone)
    monkeypatch.setattr(crew.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(crew.sys, "platform", "darwin")
    assert isinstance(crew_for(CPU, 9, 8), Alone)


# --------------------------------------------------------------------------------------------
# populations


@forks
def test_any_number_of_workers_gives_the_same_numbers_to_the_last_bit():
    found = {}
    for workers in (1, 2, 4):
        asked = settings(workers=workers, population=2, epochs=3)
        found[workers] = {
            job.owner: outcome(fit)
            for trained in train_jobs(jobs(7), asked, "auroc", SilentStage())
            for job, fit in zip(trained.jobs, trained.fits, strict=True)
        }
    assert len(found[1]) == 7
    assert found[1] == found[2] == found[4]


@forks
def test_tables_of_a_run_do_not_depend_on_the_number_of_workers(tmp_path):
    changes = {
        "strategies": ["concat", "pmr", {"name": "ogm_ge"}],
        "tuning": {"trials": 2, "batch": 2, "common": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}},
    }
    tables = []
    for workers in (1, 3):
        _, summary = run_toy(tmp_path / str(workers), **changes, training={**FEW_EPOCHS, "workers": workers})
        tables.append(summary.tables.cells)
    assert len(tables[0]) > 10
    assert tables[0].equals(tables[1])


@forks
def test_a_model_that_kills_its_process_fails_alone_and_the_others_have_the_same_numbers():
    def deadly(job):
        def build():
            if os.getpid() != here:
                os.kill(os.getpid(), signal.SIGKILL)
            return job.member.build()

        return replace(job, member=replace(job.member, build=build)) if job.owner == 3 else job

    here, asked = os.getpid(), settings(workers=2, epochs=2)
    wanted = fits_of(train_jobs(jobs(5), asked, "auroc", SilentStage()))
    found = fits_of(train_jobs([deadly(j) for j in jobs(5)], asked, "auroc", SilentStage()))
    assert found.pop(3).failure == "its process ended while it was trained: killed by SIGKILL"
    del wanted[3]
    assert {i: outcome(f) for i, f in found.items()} == {i: outcome(f) for i, f in wanted.items()}


@forks
def test_the_display_hears_of_all_populations_that_are_under_way():
    stage = Told()
    list(train_jobs(jobs(6), settings(workers=2, epochs=4, population=3), "auroc", stage))
    assert stage.done == 6
    assert {steps for steps, *_ in stage.heard} <= {3, 6}
    assert all(0 < share <= 0.8 for _, share, *_ in stage.heard)
    assert len(stage.heard) == 8


def fits_of(trained):
    return {j.owner: f for t in trained for j, f in zip(t.jobs, t.fits, strict=True)}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
