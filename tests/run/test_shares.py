"""A run divided between processes: every model once, in balance, with the results of one process."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionbench.data import features
from fusionbench.errors import ConfigError
from fusionbench.run import shares
from fusionbench.run.shares import Shard, divided, keys_of, work_in_shares
from fusionbench.training.devices.device import find_devices
from tests.builders import make_run, run_toy, stored
from tests.front import TOY, started, tables, toy_benchmark, write_yaml
from tests.front import run_toy as run_command

TUNED = {
    "strategies": ["sum", "concat"],
    "splits": {"folds": 3, "seeds": [0, 1]},
    "tuning": {"trials": 2, "common": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}},
}


# --------------------------------------------------------------------------------------------
# dividing


def planned(arms, folds, seeds=2):
    return [
        SimpleNamespace(study=f"{arm}-{fold}", arm=arm, key=f"{arm}-{fold}-{seed}")
        for arm in range(arms)
        for fold in range(folds)
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(
    ("arms", "folds", "parts", "wanted"),
    [
        (8, 5, 4, [10, 10, 10, 10]),
        (3, 5, 2, [7, 8]),
        (1, 5, 4, [1, 1, 2, 1]),
        (1, 2, 4, [0, 1, 0, 1]),
        (2, 3, 1, [6]),
    ],
)
def test_shares_have_about_as_many_studies(arms, folds, parts, wanted):
    found = divided(planned(arms, folds), parts, lambda _: 20)
    assert [len({f.study for f in part}) for part in found] == wanted


def test_arms_are_whole_where_they_divide_evenly():
    found = divided(planned(8, 5), 4, lambda _: 20)
    assert [{f.arm for f in part} for part in found] == [{0, 1}, {2, 3}, {4, 5}, {6, 7}]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=60),
    st.integers(1, 9),
)
def test_no_share_trains_more_than_the_mean_and_one_study(studies, parts):
    fits = [
        SimpleNamespace(study=str(i), key=f"{i}-{k}") for i, (_, models) in enumerate(studies) for k in range(models)
    ]
    found = divided(fits, parts, lambda study: studies[int(study)][0])
    assert [f for part in found for f in part] == fits  # each once, in order
    whole = [{f.study for f in part} for part in found]
    assert sum(map(len, whole)) == len(studies)  # no study in two shares
    loads = [sum(sum(studies[int(s)]) for s in part) for part in whole]
    assert max(loads) <= sum(loads) / parts + max(map(sum, studies))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_what_is_no_share_is_refused_with_what_is_accepted(text):
    with pytest.raises(ConfigError, match=r"no share; accepted: one of how many, as 1/4, 2/4"):
        Shard.parse(text)


def test_an_arm_that_is_named_twice_is_in_one_share(tmp_path):
    """Its studies have one key, and two processes could not both hold it."""
    run = make_run(tmp_path, strategies=["sum", {"name": "sum", "label": "again"}], splits={"folds": 2})
    found = divided(run.plan.fits, 2, lambda _: 3)
    keys = [{f.study for f in part} for part in found]
    assert not keys[0] & keys[1]


# --------------------------------------------------------------------------------------------
# shares one after the other


@pytest.mark.parametrize(
    "changes",
    [TUNED, {"missingness": {"rates": [0, 0.5], "where": "both"}, "imputers": ["mean", "knn"]}],
    ids=["tuned", "trained at each rate"],
)
def test_shares_leave_what_one_process_leaves(tmp_path, changes):
    whole, wanted = run_toy(tmp_path / "whole", **changes)
    trained = []
    for number in (2, 1, 3):
        run = make_run(tmp_path / "shared", **changes)  # plans anew: what others have stored changes no division
        run.take(keys_of(run, Shard(number, 3)))
        worked = run.work()
        assert worked.failures == {}
        trained.append(len(worked.trained))
    assert sum(trained) == len(whole.plan.fits)
    assert max(trained) - min(trained) <= 2 * len(whole.benchmark.splits.seeds)
    run, summary = run_toy(tmp_path / "shared", **changes)
    assert summary.trained == 0
    for key, result in stored(whole).items():
        found = stored(run)[key]
        assert all((found["probabilities"][c] == p).all() for c, p in result["probabilities"].items())
    assert summary.tables.cells.equals(wanted.tables.cells)
    assert summary.tables.curves.equals(wanted.tables.curves)


def test_a_share_forgets_its_own_results_only(tmp_path):
    run_toy(tmp_path)
    run = make_run(tmp_path)
    mine = keys_of(run, Shard(1, 2))
    run.take(mine)
    run.forget()
    assert {f.key for f in run.plan.todo} == set(mine)
    assert run.work().trained == set(mine)


def test_a_share_of_selected_arms_divides_these(tmp_path):
    run = make_run(tmp_path)
    run.select("sum")
    parts = [keys_of(run, Shard(i, 2)) for i in (1, 2)]
    assert [len(p) for p in parts] == [1, 1]
    run.take(parts[0])
    assert [f.arm.title for f in run.plan.todo] == ["sum"]


def test_models_that_are_not_in_the_plan_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="1 of 1 models are not in the plan: the benchmark file"):
        make_run(tmp_path).take(["0" * 32])


def test_the_command_works_on_a_share_and_leaves_the_tables_to_the_last(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    shared, whole = tmp_path / "shared", tmp_path / "whole"
    first = run_command(config, shared, "--shard", "1/2")
    assert first.code == 0
    (line,) = [s for s in first.out.splitlines() if s.startswith("share ")]
    command = shlex.join(["fusionbench", "run", str(config), "-p", TOY, "--workspace", str(shared)])
    assert line == f"share 1 of 2 done: 2 models trained; `{command}` makes the tables when all shares are"
    assert not (shared / "reports").exists()
    second = run_command(config, shared, "--shard", "2/2", "--json")
    (event,) = [e for e in map(json.loads, second.out.splitlines()) if e["event"] == "share"]
    assert event == {
        "event": "share",
        "share": "2 of 2",
        "trained": 2,
        "failures": [],
        "interrupted": False,
        "next": command,
    }
    last = run_command(config, shared)
    assert "done: 0 models trained" in last.out
    run_command(config, whole, "--quiet")
    assert tables(shared) == tables(whole)


def test_a_share_that_is_none_is_said_before_the_data_are_read(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    found = run_command(config, tmp_path / "runs", "--shard", "5/4")
    assert found.code == 2
    assert "--shard 5/4: no share" in found.err
    assert not (tmp_path / "runs").exists()


# --------------------------------------------------------------------------------------------
# devices


def test_devices_are_a_list_or_all(monkeypatch):
    assert find_devices("cpu,cpu") == [torch.device("cpu")] * 2
    assert find_devices("cpu") == [torch.device("cpu")]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [str(d) for d in find_devices("cuda:all")] == ["cuda:0", "cuda:1", "cuda:2"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("cpu,tpu", "--device tpu: no such device"),
        ("cpu,", "--device : no such device"),
        ("cuda:all", "--device cuda:all: this machine has no CUDA device"),
    ],
)
def test_a_device_that_cannot_be_used_is_named(names, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=said):
        find_devices(names)


@pytest.mark.parametrize(("threads", "processes", "wanted"), [(8, 3, "2"), (8, 2, "4"), (1, 2, "1")])
def test_processes_divide_the_threads(monkeypatch, threads, processes, wanted):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert shares._environment(processes)["OMP_NUM_THREADS"] == wanted


def on_two(config, workspace, *more):
    return run_command(config, workspace, "--device", "cpu,cpu", *more)


def test_two_processes_give_the_tables_of_one_and_show_one_stage(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**TUNED))
    divided_run = on_two(config, tmp_path / "two", "--json")
    assert divided_run.code == 0, divided_run.err
    run_command(config, tmp_path / "one", "--quiet")
    assert tables(tmp_path / "two") == tables(tmp_path / "one")
    events = [json.loads(line) for line in divided_run.out.splitlines()]
    (done,) = [e for e in events if e["event"] == "done"]
    assert done["trained"] == 12
    (stage,) = [e for e in events if e["event"] == "stage" and e["state"] == "done" and e["title"] == "on cpu, cpu"]
    assert stage["done"] == stage["total"] == 12 + 2 * 6
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
    follow = shares._follow

    def killing(share, line, stage, say):
        if share.name.startswith("share 2") and '"stage"' in line and not killed:
            killed.append(share.process.pid)
            share.process.kill()
        follow(share, line, stage, say)

    monkeypatch.setattr(shares, "_follow", killing)
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

    monkeypatch.setattr(shares, "_start", start)
    run = make_run(tmp_path)
    worked = work_in_shares(run, [torch.device("cpu")] * 2, [], limit=2)
    assert [key for part in parts for key in part] == [f.key for f in run.plan.fits[:2]]
    assert worked.trained == set()
    assert {f"share {i} of 2 on cpu: hello" for i in (1, 2)} <= set(run.progress.notes)
    assert run.execute(before=worked).trained == 2


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
    with features._one_at_a_time(store, store / folder.name, lambda: pytest.fail("it was held")):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "encoding x: another process is at it; waiting for it\n"
        folder.rename(store / folder.name)
    out, _ = other.communicate(timeout=60)
    assert (other.returncode, float(out)) == (0, float(encoded))
