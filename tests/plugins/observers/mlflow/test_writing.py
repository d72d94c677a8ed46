"""Logging in this process and in one of its own: whatever cuts it short, nothing is doubled and nothing is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings
from collections import Counter
from types import SimpleNamespace

import pytest

from fusionbench_plugins.observers.mlflow.writing import CONTENT, CURVE, Here, Place, _alone
from tests.front import TOY, toy_benchmark, write_yaml

pytestmark = pytest.mark.usefixtures("migrated")

CURVES = 6


def place_in(folder):
    database = folder / "mlflow.db"
    return Place(f"sqlite:///{database}", str(database), str(folder / "tracked"))


def work(curves=CURVES, content="first"):
    """Curves as they are handed over."""
    made = [
        {
            "key": f"key {i}",
            "content": f"{content} {i}",
            "name": f"curve {i}",
            "metrics": [("curves/auroc", i / 10, step) for step in (0, 50)],
            "params": {f"p{j}": str(j) for j in range(100)},  # more than one call takes
            "tags": {"pattern": "random"},
            "files": {"own.txt": "bWluZQ=="},
            "trials": [{"name": "trial 0", "params": {}, "metrics": {}, "seconds": 1.0, "failure": "it diverged"}],
        }
        for i in range(curves)
    ]
    data = {"name": "toy", "digest": "d", "source": json.dumps({"tags": {}}), "profile": "{}"}
    experiment = {"name": "tracked", "tags": {"mlflow.note.content": "a note"}}
    return {"experiment": experiment, "dataset": data, "tags": {}, "files": {"all.txt": "b3Vycw=="}, "curves": made}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracking library's own dependencies
        yield


def found(folder):
    """Runs that are not in the bin: curves, and trials."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=place_in(folder).uri)
    runs = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
    curves = [r for r in runs if CURVE in r.data.tags]
    trials = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
    return SimpleNamespace(curves=curves, trials=trials, all=runs)


def check(folder, content="first"):
    """Every curve is there once, whole, with its trial, and nothing else is."""
    state = found(folder)
    names = {f"curve {i}" for i in range(CURVES)}
    assert Counter(r.info.run_name for r in state.curves) == Counter(names)
    for run in state.curves:
        number = int(run.info.run_name.split()[1])
        assert run.info.status == "FINISHED"
        assert run.data.tags[CONTENT] == f"{content} {number}"
        assert run.data.metrics["curves/auroc"] == number / 10
        assert len(run.data.params) == 100
        assert [d.dataset.name for d in run.inputs.dataset_inputs] == ["toy"]
        files = {
            p.name: p.read_text(encoding="utf-8")
            for p in (folder / "mlartifacts" / run.info.run_id / "artifacts").iterdir()
        }
        assert files == {"own.txt": "mine", "all.txt": "ours"}
    parents = Counter(r.data.tags["mlflow.parentRunId"] for r in state.trials)
    assert parents == Counter(r.info.run_id for r in state.curves)
    assert len(state.all) == 2 * CURVES


@pytest.mark.parametrize("call", ["create_run", "log_inputs", "log_batch", "set_terminated"])
@pytest.mark.parametrize("time_called", [2, 5])
def test_whatever_call_was_the_last_the_next_writer_makes_up_for_it(tmp_path, monkeypatch, call, time_called):
    from mlflow.tracking import MlflowClient

    calls, original = [], getattr(MlflowClient, call)

    def cut(client, *given, **named):
        calls.append(call)
        if len(calls) == time_called:
            raise KeyboardInterrupt  # what no handler of errors takes
        return original(client, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, cut)
        with pytest.raises(KeyboardInterrupt):
            Here(place_in(tmp_path)).log(work())
    Here(place_in(tmp_path)).log(work())
    check(tmp_path)


def test_a_run_that_only_lacked_its_end_is_ended_and_not_replaced(tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", lambda *_: None)
        Here(place_in(tmp_path)).log({**work(), "curves": [{**c, "trials": []} for c in work()["curves"]]})
    before = {r.info.run_id for r in found(tmp_path).curves}
    Here(place_in(tmp_path)).log(work())
    after = found(tmp_path).curves
    assert {r.info.run_id for r in after} == before
    assert {r.info.status for r in after} == {"FINISHED"}


def test_a_second_writer_waits_for_the_first(tmp_path):
    hold = "import sys, pathlib, fusionbench_plugins.observers.mlflow.writing as t\nwith t._alone(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    command = [sys.executable, "-c", hold, str(tmp_path)]
    entered = threading.Event()

    def enter():
        with _alone(tmp_path):
            entered.set()

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        second = threading.Thread(target=enter)
        second.start()
        assert not entered.wait(0.3)
        first.communicate("\n")
        second.join(timeout=30)
    assert entered.is_set()


@pytest.mark.slow  # five interpreters; that another process logs the same is in the quick suite
def test_a_run_from_the_command_line_logs_elsewhere_and_a_second_one_adds_nothing(tmp_path):
    """Takes long: two whole commands in interpreters of their own, and MLflow in a third."""
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(name="tracked", observers=["mlflow"]))
    words = ["run", str(config), "-p", TOY, "--workspace", str(tmp_path), "--quiet"]
    code = (
        "import sys\nfrom fusionbench.cli import app, guarded\n"
        "code = guarded(lambda: app(sys.argv[1:], standalone_mode=False))\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'mlflow'], 'imported beside the training'\n"
        "sys.exit(code)"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    runs = found(tmp_path).all
    assert Counter(r.info.run_name for r in runs) == Counter(["concat / zero / random", "sum / zero / random"])
    assert {r.info.status for r in runs} == {"FINISHED"}
