"""Processes of this machine: the results of one process, whatever becomes of them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from fusionbench import Message, Unit, UnitResult
from fusionbench.errors import ConfigError
from fusionbench_plugins.executors.local import LocalProcesses
from tests.executing import TUNED, Heard, all_tables
from tests.front import TOY, started, toy_benchmark, write_yaml
from tests.front import run_toy as run_command

UNITS = [Unit(f"{i:012x}", f"unit {i}", (f"key{i}",), 2) for i in range(5)]


class Scripted:
    """Does units as their number says; can be pickled, as what a run gives can be.

    Args:
        folder: Where each notes that it was begun.
        does: By name of a unit, what happens to it.
        device: Where it says it is.
    """

    def __init__(self, folder, does=None, device=""):
        self.folder, self.does, self.device = folder, does or {}, device

    def on(self, device):
        return Scripted(self.folder, self.does, device)

    def __call__(self, unit, tell):
        begun = len(list(self.folder.glob(f"{unit.name}.*")))
        (self.folder / f"{unit.name}.{begun}.{os.getpid()}").touch()
        tell(Message(1, f"at it on {self.device}"))
        what = self.does.get(unit.name)
        if what == "print":
            print("a library says this")
        if what == "kill" and begun == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "always exit":
            os._exit(7)
        if what == "hang" and begun == 0:
            time.sleep(600)
        if what == "refuse":
            raise ConfigError("another version")
        if what == "raise":
            raise OSError("the disk is gone")
        return UnitResult(frozenset(unit.models), {}, {}, 1.0)


def work(tmp_path, does=None, units=UNITS, devices=("cpu", "cpu"), **options):
    heard = Heard()
    LocalProcesses(list(devices), **options).work(units, Scripted(tmp_path, does), heard)
    return heard


def processes_in(tmp_path):
    return {int(path.suffix[1:]) for path in tmp_path.glob("0*.*.*")}


def test_every_unit_is_done_once_by_as_many_processes(tmp_path):
    """Takes long: each process imports torch."""
    heard = work(tmp_path)
    assert heard.results.keys() == {u.name for u in UNITS}
    assert len(list(tmp_path.glob("0*"))) == len(UNITS)
    assert set(heard.workers.values()) <= {"process 1 of 2 on cpu", "process 2 of 2 on cpu"}
    assert Message(1, "at it on cpu") in heard.messages
    assert not any(alive(pid) for pid in processes_in(tmp_path))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] != "Z"
    except OSError:
        return False


def test_a_killed_process_is_replaced_and_its_unit_tried_again(tmp_path):
    heard = work(tmp_path, {UNITS[1].name: "kill", UNITS[3].name: "print"}, devices=["cpu"])
    assert heard.lost_units == [(UNITS[1].name, "killed by SIGKILL")]
    assert heard.results.keys() == {u.name for u in UNITS}
    assert len(processes_in(tmp_path)) == 2
    assert "a library says this" in [m.line for m in heard.messages]


def test_a_unit_that_ends_every_process_is_given_up_and_the_others_are_done(tmp_path):
    heard = work(tmp_path, {UNITS[0].name: "always exit"}, UNITS[:2], ["cpu"], retries=1)
    assert heard.abandoned == [
        (UNITS[0].name, "lost 2 times, the last time on process 1 of 1 on cpu: ended with exit code 7")
    ]
    assert heard.results.keys() == {UNITS[1].name}


def test_a_process_that_hangs_is_stopped(tmp_path):
    heard = work(tmp_path, {UNITS[0].name: "hang"}, UNITS[:1], ["cpu"], silent_minutes=0.05)
    assert heard.lost_units == [(UNITS[0].name, "said nothing for longer than silent_minutes, and was stopped")]
    assert heard.results.keys() == {UNITS[0].name}


def test_what_is_wrong_everywhere_ends_it_and_what_is_wrong_here_is_tried_again(tmp_path):
    with pytest.raises(ConfigError, match="another version"):
        work(tmp_path, {UNITS[0].name: "refuse"}, UNITS[:1], ["cpu"])
    heard = work(tmp_path, {UNITS[0].name: "raise"}, UNITS[:1], ["cpu"], retries=0)
    assert "OSError" in heard.abandoned[0][1]
    assert "the disk is gone" in heard.abandoned[0][1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"devices": []}, "devices must name one at least"),
        ({"retries": -1}, "retries must be 0 or more"),
        ({"units_each": 0}, "units_each 1 or more"),
        ({"silent_minutes": 0}, "silent_minutes more than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        LocalProcesses(**options)


def test_without_devices_there_is_a_process_for_each_gpu_or_core(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert (LocalProcesses().places(), LocalProcesses().described()) == (3, "on cpu, cpu, cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert LocalProcesses().described() == "on cuda:0, cuda:1"


# --------------------------------------------------------------------------------------------
# whole runs


def on_two(config, workspace, *more):
    return run_command(config, workspace, "--device", "cpu,cpu", *more)


def test_two_processes_give_the_tables_of_one_and_show_one_stage(tmp_path):
    """Takes long: each of the two processes imports torch and the rest anew."""
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**TUNED))
    divided_run = on_two(config, tmp_path / "two", "--json")
    assert divided_run.code == 0, divided_run.err
    run_command(config, tmp_path / "one", "--quiet")
    assert all_tables(tmp_path / "two") == all_tables(tmp_path / "one")
    events = [json.loads(line) for line in divided_run.out.splitlines()]
    (done,) = [e for e in events if e["event"] == "done"]
    assert done["trained"] == 24  # 12 tuned, and as many with the defaults
    (stage,) = [e for e in events if e["event"] == "stage" and e["state"] == "done" and e["title"] == "on cpu, cpu"]
    assert stage["done"] == stage["total"] == 24 + 2 * 6
    titles = {e["title"] for e in events if e["event"] == "stage"}
    assert not titles & {"tuning", "training"}  # nothing was left for the first process
    cells = [e for e in events if e["event"] == "cell"]
    assert len(cells) == 12
    assert not any(e["stored_before"] for e in cells)
    again = on_two(config, tmp_path / "two", "--json")
    assert not [e for e in map(json.loads, again.out.splitlines()) if e["event"] == "stage" and "cpu" in e["title"]]


def test_the_plan_says_what_workers_will_do(tmp_path):
    config = write_yaml(
        tmp_path / "toy.yaml", toy_benchmark(**TUNED, execution={"name": "local", "devices": ["cpu", "cpu"]})
    )
    found = run_command(config, tmp_path / "runs", "--dry-run")
    assert "on cpu, cpu: 8 units, 2 at a time; at most about" in found.out
    assert "each worker needs" in found.out
    events = [json.loads(s) for s in run_command(config, tmp_path / "runs", "--dry-run", "--json").out.splitlines()]
    (outlook,) = [e for e in events if e["event"] == "placed"]
    assert (outlook["units"], outlook["places"]) == (8, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--executor", "rai"], "no executor named 'rai'; did you mean 'ray'?"),
        (["--executor", "local", "--shard", "1/2"], "--shard 1/2: an executor"),
        (["--executor", "local", "--device", "cpu,cpu"], "--device cpu,cpu:"),
        (["--executor", "local", "--address", "auto"], "executor 'local' has no option 'address'"),
        (["--executor", "slurm", "--time", "soon"], "time must be minutes"),
        (["--executor", "ray", "--address", "ray://head:10001"], "'ray://' is Ray's client"),
    ],
)
def test_what_does_not_fit_is_said_before_the_data_are_read(tmp_path, words, said):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    found = run_command(config, tmp_path / "runs", *words)
    assert found.code == 2
    assert said in found.err
    assert not (tmp_path / "runs" / "results").exists()


FAILING = '''
from pathlib import Path
from torch import nn
from fusionbench import FusionStrategy, hookimpl


class Failing(FusionStrategy):
    """Raises in training, and writes down each time."""

    def __init__(self, spec, log="log"):
        super().__init__(spec)
        self.log = log
        self.heads = nn.ModuleDict({n: nn.Linear(d, spec.num_outputs) for n, d in spec.dims.items()})

    def forward(self, batch):
        with Path(self.log).open("a") as file:
            file.write("tried\\n")
        raise RuntimeError("it does not work")


@hookimpl
def register_fusion_strategies(register):
    register("failing", Failing)
'''


@pytest.mark.slow
@pytest.mark.parametrize("trials", [0, 1])
def test_what_fails_in_a_unit_is_named_and_not_tried_again(tmp_path, trials):
    plugin, log = tmp_path / "failing.py", tmp_path / "log.txt"
    plugin.write_text(FAILING, encoding="utf-8")
    strategies = ["sum", {"name": "failing", "log": str(log)}]
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=strategies, tuning={"trials": trials}))
    alone = run_command(config, tmp_path / "one", "-p", plugin, "--json")
    tried = log.read_text(encoding="utf-8").count("tried")
    log.unlink()
    found = on_two(config, tmp_path / "two", "-p", plugin, "--json")
    assert (alone.code, found.code) == (1, 1)
    assert log.read_text(encoding="utf-8").count("tried") <= tried  # fewer, where it was halved before
    failures = [
        sorted((e["cell"], e["reason"]) for e in map(json.loads, outcome.out.splitlines()) if e["event"] == "failure")
        for outcome in (alone, found)
    ]
    assert failures[0] == failures[1]
    assert len(failures[0]) == 2 * (1 + trials)  # beside each that is tuned, one with the defaults


SLOW = {"training": {"epochs": 400, "patience": 400, "batch_size": 16, "population": 1}, "splits": {"folds": 3}}


def wait_for(what, seconds=90):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.05)


def workers_on(process):
    """Process numbers of the workers of a run."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            parent = int((path / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == process.pid and b"spawn_main" in b" ".join(words):
            found.append(int(path.name))
    return found


def models_in(workspace):
    return len(list((workspace / "results" / "fits").glob("[!.]*.safetensors")))


def start_two(config, workspace):
    return started("run", config, "-p", TOY, "--device", "cpu,cpu", "--json", "--workspace", workspace)


@pytest.mark.slow
def test_an_interruption_reaches_every_worker_and_the_next_run_goes_on(tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**SLOW)), tmp_path / "two"
    process = start_two(config, workspace)
    wait_for(lambda: models_in(workspace) >= 1)
    workers = workers_on(process)
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert not any(map(alive, workers))
    done = json.loads([line for line in out.splitlines() if '"done"' in line and '"interrupted"' in line][-1])
    assert done["interrupted"]
    left = models_in(workspace)
    assert 0 < left < 6
    rest = run_command(config, workspace, "--json")
    (done,) = [e for e in map(json.loads, rest.out.splitlines()) if e["event"] == "done"]
    assert done["trained"] == 6 - left


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc, where processes are found")
def test_a_worker_that_is_killed_loses_nothing_and_all_end_with_the_run(tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**SLOW)), tmp_path / "two"
    process = start_two(config, workspace)
    wait_for(lambda: models_in(workspace) >= 1)
    workers, stored = workers_on(process), models_in(workspace)
    os.kill(workers[0], signal.SIGKILL)
    wait_for(lambda: models_in(workspace) > stored)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(map(alive, workers)), 20)
    rest = on_two(config, workspace)
    assert rest.code == 0
    run_command(config, tmp_path / "one", "--quiet")
    assert all_tables(workspace) == all_tables(tmp_path / "one")


@pytest.mark.slow
def test_two_workers_search_and_log_on_postgresql(tmp_path):
    """Trials of both go to one database; one process writes to the tracking server, whose store is another one."""
    pytest.importorskip("psycopg2", reason="needs psycopg2 (pip install -e '.[postgres]')")
    import optuna
    from mlflow import MlflowClient

    from tests.plugins.observers.mlflow.test_observer import postgres, server

    with postgres() as searches, postgres() as store, server(tmp_path, store) as uri:
        document = toy_benchmark(**TUNED, observers=["files", "mlflow"], tracking={"uri": uri})
        document["tuning"] = {**document["tuning"], "storage": searches}
        config = write_yaml(tmp_path / "toy.yaml", document)
        found = on_two(config, tmp_path / "two", "--json")
        assert found.code == 0, found.err
        assert not [e for e in map(json.loads, found.out.splitlines()) if e["event"] == "failure"]
        storage = optuna.storages.RDBStorage(searches)
        summaries = optuna.get_all_study_summaries(storage=storage)
        storage.remove_session()
        storage.engine.dispose()  # the server waits for who is connected
        assert [s.n_trials for s in summaries] == [2] * 6
        client = MlflowClient(uri)
        experiments = [e for e in client.search_experiments() if e.name != "Default"]
        runs = client.search_runs([e.experiment_id for e in experiments])
        assert {run.data.tags["strategy"] for run in runs} >= {"sum", "concat"}
    plain = write_yaml(tmp_path / "plain.yaml", toy_benchmark(**TUNED))
    run_command(plain, tmp_path / "one", "--quiet")
    assert all_tables(tmp_path / "two") == all_tables(tmp_path / "one")
