"""Processes of this machine as an executor: the results of one process, whatever becomes of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fusionbench.run.executors import processes
from fusionbench.run.executors.processes import Processes
from fusionbench.store.files import Folder
from tests.builders import make_run
from tests.front import TOY, started, tables, toy_benchmark, write_yaml
from tests.front import run_toy as run_command

TUNED = {
    "strategies": ["sum", "concat"],
    "splits": {"folds": 3, "seeds": [0, 1]},
    "tuning": {"trials": 2, "common": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}},
}


@pytest.mark.parametrize(("threads", "number", "wanted"), [(8, 3, "2"), (8, 2, "4"), (1, 2, "1")])
def test_processes_divide_the_threads(monkeypatch, threads, number, wanted):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert processes._environment(number)["OMP_NUM_THREADS"] == wanted


def on_two(config, workspace, *more):
    return run_command(config, workspace, "--device", "cpu,cpu", *more)


def test_two_processes_give_the_tables_of_one_and_show_one_stage(tmp_path):
    """Takes long: each of the two processes imports torch and the rest anew."""
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**TUNED))
    divided_run = on_two(config, tmp_path / "two", "--json")
    assert divided_run.code == 0, divided_run.err
    run_command(config, tmp_path / "one", "--quiet")
    assert tables(tmp_path / "two") == tables(tmp_path / "one")
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
def test_what_fails_in_a_share_is_named_and_not_tried_again(tmp_path, trials):
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
    assert len(failures[0]) == 2


@pytest.mark.slow
def test_the_rest_of_a_killed_share_is_done_by_the_first_process(tmp_path, monkeypatch):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**TUNED))
    killed = []
    follow = processes._follow

    def killing(share, line, stage, say):
        if share.name.startswith("share 2") and '"stage"' in line and not killed:
            killed.append(share.process.pid)
            share.process.kill()
        follow(share, line, stage, say)

    monkeypatch.setattr(processes, "_follow", killing)
    found = on_two(config, tmp_path / "two")
    assert found.code == 0, found.err
    assert killed
    assert (
        "warning: share 2 of 2 on cpu ended before it was done: killed by SIGKILL; the rest is done here" in found.out
    )
    assert "done: 12 models trained" in found.out
    run_command(config, tmp_path / "one", "--quiet")
    assert tables(tmp_path / "two") == tables(tmp_path / "one")


def test_a_limit_holds_for_all_processes_together(tmp_path, monkeypatch):
    """Also for what the first process does when they have ended: here they do nothing."""
    parts = []

    def start(words, part, environment):
        parts.append([f.key for f in part])
        return subprocess.Popen(
            [sys.executable, "-c", "print('hello')"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    monkeypatch.setattr(processes, "_start", start)
    run = make_run(tmp_path)
    todo = list(run.plan.todo)
    summary = run.execute(limit=2, executor=Processes([torch.device("cpu")] * 2, []))
    assert [key for part in parts for key in part] == [f.key for f in todo[:2]]
    assert {f"share {i} of 2 on cpu: hello" for i in (1, 2)} <= set(run.progress.notes)
    assert summary.trained == 2
    assert run.store.keys() == {f.key for f in todo[:2]}


SLOW = {"training": {"epochs": 400, "patience": 400, "batch_size": 16, "population": 1}, "splits": {"folds": 3}}


def start_two(config, workspace):
    return started("run", config, "-p", TOY, "--device", "cpu,cpu", "--json", "--workspace", workspace)


def wait_for(what, seconds=90):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.05)


def shares_on(workspace):
    """Process numbers of the shares that work on a workspace."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--listed" in words and str(workspace).encode() in words:
            found.append(int(path.parent.name))
    return found


def models_in(workspace):
    return len(list((workspace / "results" / "fits").glob("[!.]*.safetensors")))


@pytest.mark.slow
def test_an_interruption_reaches_every_share_and_the_next_run_goes_on(tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**SLOW)), tmp_path / "two"
    process = start_two(config, workspace)
    wait_for(lambda: models_in(workspace) >= 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert shares_on(workspace) == []
    done = json.loads([line for line in out.splitlines() if '"done"' in line and '"interrupted"' in line][-1])
    assert done["interrupted"]
    left = models_in(workspace)
    assert 0 < left < 6
    rest = run_command(config, workspace, "--json")
    (done,) = [e for e in map(json.loads, rest.out.splitlines()) if e["event"] == "done"]
    assert done["trained"] == 6 - left


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc, where processes are found")
def test_shares_end_with_the_process_that_started_them(tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**SLOW)), tmp_path / "two"
    process = start_two(config, workspace)
    wait_for(lambda: models_in(workspace) >= 1)
    assert len(shares_on(workspace)) == 2
    process.kill()
    process.communicate()
    wait_for(lambda: shares_on(workspace) == [], 20)


# --------------------------------------------------------------------------------------------
# features: one process encodes, the others wait

ENCODING = """
import sys
from pathlib import Path
import numpy as np
import torch
from fusionbench import Modality
from fusionbench.data.features import encode
from fusionbench.progress import SilentProgress
from fusionbench.types import Encoder


class Once(Encoder):
    accepts = frozenset({"vector"})

    def __init__(self, works):
        super().__init__()
        self.output_dim, self.frozen, self.works = 2, True, works

    def forward(self, inputs, lengths=None):
        assert self.works, "it was encoded a second time"
        return 2 * inputs


class Said(SilentProgress):
    def note(self, message):
        print(message, flush=True)


def run(store, works):
    modality = Modality("vector", np.arange(6.0).reshape(3, 2))
    return encode(modality, Once(works), {"data": "x"}, Path(store), "cpu", 3, Said(), "encoding x")
"""


def test_a_process_waits_for_the_one_that_encodes(tmp_path):
    module, store = tmp_path / "encoding.py", tmp_path / "features"
    module.write_text(ENCODING, encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import encoding; print(encoding.run({str(store)!r}, False).values.sum())"
    scope = {"__name__": "encoding"}  # a part of the encoder's fingerprint
    exec(compile(ENCODING, str(module), "exec"), scope)  # the same encoder in this process
    encoded = scope["run"](tmp_path / "elsewhere", True).values.sum()
    (folder,) = [p for p in (tmp_path / "elsewhere").iterdir() if p.is_dir()]
    with Folder(store).held(folder.name):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "encoding x: another process is at it; waiting for it\n"
        folder.rename(store / folder.name)
    out, _ = other.communicate(timeout=60)
    assert (other.returncode, float(out)) == (0, float(encoded))
