"""A Slurm queue: what is submitted, heard, lost, taken over; and a real queue of one node, where Slurm is installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fusionbench import Message, Problem, Unit, UnitResult
from fusionbench.errors import ConfigError
from fusionbench.testing import run_checks
from fusionbench_plugins.executors import slurm
from fusionbench_plugins.executors._desk import Desk
from fusionbench_plugins.executors.slurm import SlurmQueue, minutes_of
from tests.executing import Heard, all_tables
from tests.front import TOY, run_toy, toy_benchmark, write_yaml

ROOT = Path(__file__).parents[3]
UNITS = [Unit(f"{i:012x}", f"unit {i}", (f"key{i}",), 2) for i in range(3)]


# --------------------------------------------------------------------------------------------
# options


@pytest.mark.parametrize(
    ("text", "minutes"),
    [(90, 90), ("90", 90), ("4:00:00", 240), ("0:30", 30), ("1-12:00:00", 2160), ("0:00:30", 1), ("2-0:00", 2880)],
)
def test_times_are_read_as_slurm_reads_them(text, minutes):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize("text", ["soon", "0", "-1", "1:2:3:4", "0:00:00", "", "1h"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="time must be"):
        SlurmQueue(time=text)


@pytest.mark.parametrize("options", [{"tasks": 0}, {"cpus_per_task": 0}, {"retries": -1}, {"gpus_per_task": -1}])
def test_counts_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="must be 1 or more"):
        SlurmQueue(**options)


def test_what_is_not_installed_is_said_with_what_to_do(monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None if name in ("sbatch", "srun") else name)
    with pytest.raises(
        ConfigError, match=r"needs sbatch, srun, which this machine does not have; start the run on a login node"
    ):
        SlurmQueue().require()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(
        ConfigError, match=r"needs submitit, which is not installed: pip install 'fusionbench-core\[slurm\]'"
    ):
        SlurmQueue().require()


# --------------------------------------------------------------------------------------------
# waiting


class Scene:
    """A queue that is played: each look at it is a turn, in which the test's script moves elements.

    Args:
        desk: Files of the units.
        script: By turn, what happens.
    """

    def __init__(self, desk, script):
        self.desk, self.script, self.turn = desk, script, 0
        self.jobs, self.submitted, self.cancelled = {}, [], []

    def submit(self, call, units, folder):
        made = [f"{len(self.submitted) + 1}_{i}" for i in range(len(units))]
        self.jobs |= dict.fromkeys(made, "R")
        self.submitted.append([unit.name for unit in units])
        return made

    def slurm(self, *words):
        if words[0] == "scancel":
            self.cancelled += words[1:]
            return ""
        assert words[0] == "squeue"
        self.turn += 1
        self.script.get(self.turn, lambda _: None)(self)
        return "".join(f"{job}|{state}\n" for job, state in self.jobs.items())


class Performed:
    """Stands for what a run gives."""

    class order:  # noqa: N801 - an attribute
        key = "order"


def play(tmp_path, monkeypatch, script, units=UNITS, before=(), retries=1):
    desk = Desk(tmp_path)
    for unit, job, order in before:
        desk.submitted(unit, job, order)
    scene, heard = Scene(desk, script), Heard()
    scene.jobs |= {job: "R" for _, job, _ in before}
    monkeypatch.setattr(slurm, "_slurm", scene.slurm)
    monkeypatch.setattr(slurm.time, "sleep", lambda _: None)
    call = slurm._Call(Performed(), tmp_path, 3)
    queue = slurm._Queue(scene.submit, desk)
    waiting = slurm._Waiting(queue, desk, call, slurm.Tries(heard, retries), heard, 1.0)
    waiting.all(units)
    return scene, heard


def ends(*units, outcome=None):
    def happen(scene):
        for unit in units:
            scene.desk.end(unit.name, "node1", outcome or UnitResult(frozenset(unit.models)))

    return happen


def test_units_are_one_array_and_each_is_heard_and_finished(tmp_path, monkeypatch):
    def begins(scene):
        scene.desk.say(UNITS[0].name, "node1 (job 1_0)", 1, Message(1, "epoch 3"))

    scene, heard = play(tmp_path, monkeypatch, {1: begins, 2: ends(UNITS[0]), 4: ends(*UNITS[1:])})
    assert scene.submitted == [[u.name for u in UNITS]]
    assert heard.messages == [Message(1, "epoch 3")]
    assert heard.results.keys() == {u.name for u in UNITS}
    assert list(tmp_path.glob("*.json")) == []


def test_an_element_that_leaves_without_a_result_is_submitted_again_but_not_at_once(tmp_path, monkeypatch):
    """Its last file may be seen later than the queue: it is looked for a few times."""

    def dies(scene):
        del scene.jobs["1_0"]

    scene, heard = play(tmp_path, monkeypatch, {1: dies, 9: ends(UNITS[0])}, UNITS[:1])
    assert scene.submitted == [[UNITS[0].name]] * 2
    assert heard.lost_units[0][1].startswith("job 1_0 has left the queue without a result; its log is in")
    late, heard = play(tmp_path, monkeypatch, {1: dies, 3: ends(UNITS[0])}, UNITS[:1])
    assert (len(late.submitted), heard.lost_units) == (1, [])


def test_an_element_that_is_lost_every_time_is_given_up(tmp_path, monkeypatch):
    def dies(scene):
        scene.jobs.clear()

    scene, heard = play(tmp_path, monkeypatch, dict.fromkeys(range(1, 20), dies), UNITS[:1], retries=2)
    assert len(scene.submitted) == 3
    assert heard.abandoned[0][1].startswith("lost 3 times")


def test_an_element_that_begins_again_is_lost_and_not_submitted(tmp_path, monkeypatch):
    def says(number, done):
        return lambda scene: scene.desk.say(UNITS[0].name, "node1", number, Message(done))

    scene, heard = play(
        tmp_path, monkeypatch, {1: says(1, 2), 2: says(slurm.START + 1, 0), 3: ends(UNITS[0])}, UNITS[:1]
    )
    assert heard.lost_units == [(UNITS[0].name, "its job was put back in the queue")]
    assert len(scene.submitted) == 1


def test_a_queue_that_does_not_answer_loses_nothing(tmp_path, monkeypatch):
    def silent(scene):
        raise subprocess.TimeoutExpired("squeue", 60)

    scene, heard = play(tmp_path, monkeypatch, {**dict.fromkeys(range(1, 8), silent), 8: ends(UNITS[0])}, UNITS[:1])
    assert (len(scene.submitted), heard.lost_units) == (1, [])


def test_what_is_wrong_everywhere_ends_it_and_what_is_wrong_there_is_tried_again(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="another version"):
        play(tmp_path, monkeypatch, {1: ends(UNITS[0], outcome=Problem("another version", everywhere=True))})
    full = Problem("the disk is full", everywhere=False)
    script = {1: ends(UNITS[0], outcome=full), 3: ends(UNITS[0])}
    scene, heard = play(tmp_path / "another", monkeypatch, script, UNITS[:1])
    assert heard.lost_units == [(UNITS[0].name, "the disk is full")]
    assert len(scene.submitted) == 2


def test_a_run_that_is_started_again_takes_over_what_is_in_the_queue(tmp_path, monkeypatch):
    before = [(UNITS[0], "7_0", "order"), (UNITS[1], "7_1", "another order")]
    scene, heard = play(tmp_path, monkeypatch, {4: ends(*UNITS)}, before=before)
    assert scene.submitted == [[UNITS[1].name, UNITS[2].name]]
    assert scene.cancelled == ["7_1"]
    assert heard.results.keys() == {u.name for u in UNITS}


def test_what_was_finished_meanwhile_is_no_reason_to_wait(tmp_path, monkeypatch):
    def gone(scene):
        del scene.jobs["7_0"]

    scene, _ = play(tmp_path, monkeypatch, {1: gone, 3: ends(UNITS[0])}, UNITS[:1], [(UNITS[0], "7_0", "order")])
    assert scene.submitted == [[UNITS[0].name]]


# --------------------------------------------------------------------------------------------
# an element


def test_an_element_near_its_limit_goes_back_and_ends_with_0(monkeypatch):
    asked, left = [], []
    monkeypatch.setattr(slurm, "_slurm", lambda *words: asked.append(words))
    monkeypatch.setattr(slurm, "_leave_now", left.append)
    for count in ("0", "2", "3"):
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
        slurm._back_in_the_queue("12", 3)
    assert asked == [("scontrol", "requeue", "12")] * 2
    assert left == [0, 0, 0]


def test_an_element_writes_what_came_of_its_unit(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    handlers = {s: signal.getsignal(s) for s in (signal.SIGUSR2, signal.SIGTERM)}

    def perform(unit, tell):
        tell(Message(1, "at it"))
        return UnitResult(frozenset(unit.models))

    try:
        slurm._Call(perform, tmp_path, 3)(UNITS[0])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    desk = Desk(tmp_path)
    assert desk.said(UNITS[0].name) == ("node7 (job 12_3)", 1, Message(1, "at it"))
    assert desk.ended(UNITS[0].name) == ("node7 (job 12_3)", UnitResult(frozenset({"key0"})))


def test_what_is_said_is_written_now_and_then(tmp_path, monkeypatch):
    clock = iter([100.0, 101.0, 102.0, 106.0])
    monkeypatch.setattr(slurm.time, "monotonic", lambda: next(clock))
    tell, desk = slurm._Teller(Desk(tmp_path), "u", "w"), Desk(tmp_path)
    seen = []
    for message in (Message(1), Message(2), Message(3, line="a line"), Message(4)):
        tell(message)
        seen.append(desk.said("u")[1:])
    assert seen == [(1, Message(1)), (1, Message(1)), (2, Message(3, line="a line")), (2, Message(3, line="a line"))]


# --------------------------------------------------------------------------------------------
# a real queue

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
WITHOUT = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
CONFIGURATION = """ClusterName=test
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmctldPort={first}
SlurmdPort={second}
KillWait=2
SlurmdParameters=config_overrides
NodeName={host} CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
needs_slurm = pytest.mark.skipif(
    bool(WITHOUT), reason=f"Slurm's {', '.join(WITHOUT)} not installed (Debian: slurmctld slurmd munge)"
)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A Slurm of one node, which is this machine."""
    folder = tmp_path / "slurm"
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host, user = socket.gethostname().split(".")[0], "root" if os.getuid() == 0 else os.environ.get("USER", "")
    ports = {"first": free_port(), "second": free_port()}
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(host=host, user=user, folder=folder, **ports), encoding="utf-8"
    )
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    files = {"socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed", "log-file": "munge.log"}
    munge = [
        "munged",
        "--foreground",
        "--force",
        f"--key-file={key}",
        *(f"--{k}={folder / v}" for k, v in files.items()),
    ]
    started = [subprocess.Popen(munge)]
    wait_for((folder / "munge.socket").exists)
    started += [subprocess.Popen([name, "-D"], stderr=subprocess.DEVNULL) for name in ("slurmctld", "slurmd")]
    try:
        wait_for(lambda: "idle" in asked("sinfo", "--noheader", "--format", "%T"))
        yield folder
    finally:
        with suppress(subprocess.SubprocessError, OSError):
            asked("scancel", "--user", str(os.getuid()), "--signal", "KILL", "--full")
            wait_for(lambda: not asked("squeue", "--noheader"), 30)
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def asked(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=30).stdout


def wait_for(what, seconds=120):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.1)


LONG = {
    "strategies": ["sum", "concat", "se_gate"],
    "splits": {"folds": 3},
    "training": {"epochs": 800, "patience": 800, "batch_size": 16, "population": 1},
}
WORDS = (
    "--executor",
    "slurm",
    "--time",
    "0:20:00",
    "--set",
    "execution.tasks=2",
    "--set",
    "execution.poll_seconds=0.5",
)


def models_in(workspace):
    return {p: p.stat().st_mtime_ns for p in (workspace / "results" / "fits").glob("[!.]*.safetensors")}


def start(config, workspace, *more):
    words = ["-m", "fusionbench", "run", config, "-p", TOY, "--workspace", workspace, "--json", *WORDS, *more]
    return subprocess.Popen([sys.executable, *map(str, words)], stdout=subprocess.PIPE, text=True)


def same_as_alone(config, workspace, tmp_path):
    run_toy(config, tmp_path / "alone", "--quiet")
    assert all_tables(workspace) == all_tables(tmp_path / "alone")


@pytest.mark.slow
@needs_slurm
def test_it_passes_the_exam(queue):
    found = run_checks(SlurmQueue, {"tasks": 4, "time": "0:10:00", "poll_seconds": 0.3})
    assert [(r.name, r.reason) for r in found if r.status != "passed"] == []


@pytest.mark.slow
@needs_slurm
def test_an_element_that_is_requeued_loses_nothing(queue, tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**LONG)), tmp_path / "runs"
    process = start(config, workspace)
    wait_for(lambda: models_in(workspace))
    running = asked("squeue", "--noheader", "--array", "--states", "R", "--format", "%i").split()
    before = models_in(workspace)
    assert running
    asked("scontrol", "requeue", running[0])
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0
    notes = [e["message"] for e in map(json.loads, out.splitlines()) if e["event"] == "note"]
    assert any("its job was put back in the queue" in note for note in notes)
    after = models_in(workspace)
    assert {path: after[path] for path in before} == before  # nothing that was finished is done again
    same_as_alone(config, workspace, tmp_path)


@pytest.mark.slow
@needs_slurm
def test_an_element_near_its_limit_ends_with_0_and_goes_on(queue, tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**LONG)), tmp_path / "runs"
    process = start(config, workspace)
    wait_for(lambda: models_in(workspace))
    running = asked("squeue", "--noheader", "--array", "--states", "R", "--format", "%i").split()
    # what Slurm sends when the limit is near; the command waits for the element, which asks Slurm to put it back
    signalled = subprocess.Popen(["scancel", "--signal", "USR2", running[0]])
    wait_for(lambda: "Restarts=1" in asked("scontrol", "show", "job", running[0]))
    signalled.wait(300)
    process.communicate(timeout=400)
    assert process.returncode == 0
    same_as_alone(config, workspace, tmp_path)


@pytest.mark.slow
@needs_slurm
def test_a_run_that_is_killed_and_started_again_takes_its_jobs_over(queue, tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**LONG)), tmp_path / "runs"
    process = start(config, workspace)
    wait_for(lambda: models_in(workspace))
    process.kill()
    process.communicate()
    before, jobs = models_in(workspace), asked("squeue", "--noheader", "--array", "--format", "%i").split()
    assert jobs
    again = start(config, workspace)
    again.communicate(timeout=400)
    assert again.returncode == 0
    after = models_in(workspace)
    assert {path: after[path] for path in before} == before
    arrays = {path.name for path in (workspace / "executions" / "slurm" / "jobs").iterdir() if path.name.isdigit()}
    assert len(arrays) <= 2, arrays
    same_as_alone(config, workspace, tmp_path)


@pytest.mark.slow
@needs_slurm
def test_an_interruption_takes_the_jobs_out_of_the_queue(queue, tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**LONG)), tmp_path / "runs"
    process = start(config, workspace)
    wait_for(lambda: models_in(workspace))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    wait_for(lambda: not asked("squeue", "--noheader").strip(), 60)
    assert models_in(workspace)


@pytest.mark.slow
@needs_slurm
def test_the_script_on_the_page_works_as_it_is_printed(queue, tmp_path):
    """But for what names a cluster: file, workspace, partition and GPUs."""
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark()), tmp_path / "runs"
    page = (ROOT / "docs" / "on-a-cluster.md").read_text(encoding="utf-8")
    (script,) = [b.partition("\n")[2] for b in page.split("```") if "#SBATCH --job-name" in b]
    for printed, here in (
        ("benchmarks/mimic_ihm.yaml", f"{config} -p {TOY} --set execution.poll_seconds=0.5"),
        ("/shared/runs", str(workspace)),
        ("--partition gpu --gpus-per-task 1 ", ""),
        ("exec fusionbench", f"exec {sys.executable} -m fusionbench"),
    ):
        assert printed in script
        script = script.replace(printed, here)
    path = tmp_path / "job.sh"
    path.write_text(script, encoding="utf-8")
    said = asked("sbatch", f"--output={tmp_path}/job.log", f"--chdir={tmp_path}", str(path))
    assert "Submitted batch job" in said
    wait_for((workspace / "reports" / "toy" / "leaderboard.csv").exists)
    wait_for(lambda: not asked("squeue", "--noheader").strip())
    same_as_alone(config, workspace, tmp_path)


@pytest.mark.slow
@needs_slurm
def test_a_job_that_slurm_refuses_is_an_error_with_its_words(queue, tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    found = run_toy(config, tmp_path / "runs", *WORDS, "--partition", "nowhere")
    assert found.code == 2
    assert "Slurm refused the job" in found.err
    assert "partition" in found.err
