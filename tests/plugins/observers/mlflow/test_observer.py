"""What a run leaves for people: tables, pictures and MLflow runs, and nothing about a patient."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pandas as pd
import pytest
import yaml

from fusionbench import Modality, hookimpl
from fusionbench.config.sections import Benchmark
from fusionbench.errors import WorkspaceError
from fusionbench.tracking.curves import curves_of, section
from fusionbench_plugins.observers.files import Files
from fusionbench_plugins.observers.html import Html
from fusionbench_plugins.observers.mlflow.observer import MlflowTracker, _shared_files
from fusionbench_plugins.observers.mlflow.writing import CONTENT, PARENT, REPORT
from tests.builders import make_run, toy_dataset

pytestmark = pytest.mark.usefixtures("migrated")

RIBBON = "SYNTHETIC DATA: no patient is in it"
CANARY = "zebra-canary"
FIRST_GROUP = 8_675_309_000
CHANGES = {
    "name": "observed",
    "question": "Which line is higher?",
    "missingness": {"patterns": ["random", "a"], "rates": [0, 0.5]},
    "encoders": {"a": "identity", "b": "identity", "c": "hashed_words"},
    "tuning": {"trials": 0, "storage": None},
}


def dataset():
    """The toy with texts and patient numbers that must not turn up anywhere."""
    data = toy_dataset()
    texts = tuple(f"{CANARY} note of patient {FIRST_GROUP + i}" for i in range(len(data)))
    return replace(
        data,
        modalities={**data.modalities, "c": Modality("text", texts)},
        groups=FIRST_GROUP + 7 * data.groups,
        description="A small task of the tests.",
    )


def observed(workspace, *classes, limit=None, **changes):
    """Run with the given observers."""
    run = make_run(workspace, dataset(), **{**CHANGES, **changes})
    observers = [c(run.benchmark, workspace) for c in classes]
    return run, run.execute(observers, limit)


# --------------------------------------------------------------------------------------------
# MLflow


@contextmanager
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracking library's own dependencies
        yield


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A run that is tracked, tracked again, and tracked with other numbers; what was found after each.

    Takes long: four runs, two of them with a report, and MLflow's first database of this process.
    """
    workspace = tmp_path_factory.mktemp("mlflow")
    with quiet():
        run, summary = observed(workspace, MlflowTracker, Files, Html)  # the report is there all the same
        first = found(workspace)
        observed(workspace, MlflowTracker)
        (workspace / "results" / "tracked").rename(workspace / "forgotten")  # another machine would not know
        observed(workspace, MlflowTracker)
        again = found(workspace)
        observed(workspace, Html, MlflowTracker, evaluation={"resamples": 120})
        changed = found(workspace)
    return SimpleNamespace(workspace=workspace, run=run, summary=summary, first=first, again=again, changed=changed)


def found(workspace):
    from mlflow.entities import ViewType
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("observed")
    runs = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
    return SimpleNamespace(client=client, experiment=experiment, runs=runs)


def active(state):
    return {r.info.run_name: r for r in state.runs if r.info.lifecycle_stage == "active"}


def test_a_curve_is_a_run_at_the_top(tracked):
    runs = active(tracked.first)
    assert set(runs) == {f"{s} / zero / {p}" for s in ("concat", "sum") for p in ("random", "a")}
    assert len(tracked.first.runs) == 4
    for run in runs.values():
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.info.status == "FINISHED"


def test_the_step_is_the_missing_percentage_and_the_values_are_those_of_the_table(tracked):
    curves = tracked.summary.tables.curves
    with quiet():
        for run in active(tracked.first).values():
            strategy, imputer, pattern = run.info.run_name.split(" / ")
            mine = curves.set_index(["strategy", "imputer", "pattern"]).loc[(strategy, imputer, pattern)]
            history = tracked.first.client.get_metric_history(run.info.run_id, section("auroc"))
            steps = [round(100 * share) for share in mine["achieved"]]  # what was really hidden
            assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == list(
                zip(steps, mine["auroc"], strict=True)
            )


def test_the_newest_run_is_the_best_arm_of_the_first_pattern(tracked):
    newest = max(tracked.first.runs, key=lambda r: r.info.start_time)
    best = tracked.summary.tables.leaderboard.iloc[0]
    assert newest.info.run_name == f"{best['strategy']} / {best['imputer']} / random"


def test_scalars_parameters_and_tags_say_what_was_run(tracked):
    board = tracked.summary.tables.leaderboard.set_index("strategy")
    run = active(tracked.first)["sum / zero / a"]
    assert run.data.metrics["summary/area"] == board.loc["sum", "area"]
    assert run.data.metrics["totals/parameters"] == board.loc["sum", "parameters"]
    params, tags = run.data.params, run.data.tags
    assert params["training.epochs"] == "2"
    assert params["strategy.name"] == "sum"
    assert params["pattern"] == "a"
    assert params["encoders.c.name"] == "hashed_words"
    assert (tags["strategy"], tags["imputer"], tags["pattern"]) == ("sum", "zero", "a")
    assert tags["synthetic"] == "true"
    assert tags["random weights"] == "none"
    assert tags["computed in"] == "float32"
    assert tags["plugin"].startswith("fusionbench-core ")
    assert tags["data digest"] == tracked.run.dataset.digest


def test_the_ledger_and_what_modalities_are_worth_are_scalars(tracked):
    tables = tracked.summary.tables
    board = tables.leaderboard.set_index("strategy")
    worth = tables.modalities.set_index(["strategy", "modality"])
    run = active(tracked.first)["sum / zero / a"]
    for name in ("models", "trials", "tuning_epochs", "epochs", "seconds", "tuning_seconds", "memory_mb"):
        assert run.data.metrics[f"totals/{name}"] == board.loc["sum", name], name
    for modality in ("a", "b", "c"):
        assert run.data.metrics[f"summary/shapley.{modality}"] == worth.loc[("sum", modality), "shapley"]
        assert (
            f"uncertainty/shapley.{modality}_low" not in run.data.metrics
        )  # in modalities.csv: few names can be searched


def test_the_laziness_drop_is_a_scalar_where_a_modality_was_trained_alone(tmp_path):
    alone = {"name": "unimodal", "modality": "a", "label": "a only"}
    run = make_run(tmp_path, dataset(), **{**CHANGES, "strategies": ["concat", alone]})
    summary = run.execute()
    drop = summary.tables.modalities.set_index(["strategy", "modality"]).loc[("concat", "a"), "laziness"]
    scalars = {c.name: c.scalars for c in curves_of(summary)}
    assert scalars["concat / zero / a"]["summary/laziness.a"] == drop
    assert "summary/laziness.b" not in scalars["concat / zero / a"]


def test_the_data_set_is_an_input_with_name_digest_and_counts_only(tracked):
    import mlflow.data

    run = active(tracked.first)["sum / zero / a"]
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name == "toy"
    assert data.dataset.digest == tracked.run.dataset.digest[:32]
    assert mlflow.data.get_source(data.dataset).to_dict() == {
        "tags": {"fusionbench.task": "toy", "description": "A small task of the tests."}
    }
    counts = tracked.run.dataset.available.sum(axis=0).tolist()
    assert json.loads(data.dataset.profile) == {
        "rows": len(tracked.run.dataset),
        "modalities": dict(zip("abc", counts, strict=True)),
    }


def test_the_experiment_opens_on_charts_and_says_what_it_is(tracked):
    tags = tracked.first.experiment.tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert tags["mlflow.note.content"].startswith(f"**{RIBBON}**")
    assert "Which line is higher?" in tags["mlflow.note.content"]


def test_running_again_adds_no_run(tracked):
    assert {r.info.run_id for r in tracked.again.runs} == {r.info.run_id for r in tracked.first.runs}


def test_changed_numbers_replace_the_runs(tracked):
    before, after = active(tracked.first), active(tracked.changed)
    assert set(before) == set(after)
    assert all(before[n].info.run_id != after[n].info.run_id for n in before)
    assert len(tracked.changed.runs) == 8
    assert all(r.data.params["evaluation.resamples"] == "120" for r in after.values())


def artifacts(state, name):
    """Files of an active run by their names."""
    run = active(state)[name]
    folder = url2pathname(urlsplit(run.info.artifact_uri).path)
    return {p.name: p for p in Path(folder).iterdir()}


def test_the_artifacts_of_a_curve_are_its_points_its_cells_the_configuration_and_the_versions(tracked):
    files = artifacts(tracked.first, "sum / zero / a")
    assert set(files) == {"curve.csv", "cells.parquet", "config.yaml", "environment.json"}
    points = pd.read_csv(files["curve.csv"])
    shares = tracked.summary.tables.curves.query("strategy == 'sum' and pattern == 'a'")["achieved"]
    assert set(points["achieved_percent"]) == {round(100 * share) for share in shares}
    assert set(points[points["metric"] == "nominal percent"]["value"]) == {0, 50}
    assert {section(n) for n in ("auroc", "auprc", "brier", "auroc_low")} <= set(points["metric"])
    assert (
        Benchmark.model_validate(yaml.safe_load(files["config.yaml"].read_text(encoding="utf-8")))
        == tracked.run.benchmark
    )
    assert json.loads(files["environment.json"].read_text(encoding="utf-8"))["mlflow"] == version("mlflow")


def test_the_cells_of_a_curve_are_those_of_the_table(tracked):
    cells = tracked.summary.tables.cells
    mine = cells[(cells["strategy"] == "sum") & cells["pattern"].isin(["complete", "a"])].reset_index(drop=True)
    stored = pd.read_parquet(artifacts(tracked.first, "sum / zero / a")["cells.parquet"])
    pd.testing.assert_frame_equal(stored, mine)
    assert set(stored["rate"]) == {0, 0.5}


def test_the_report_is_a_file_of_the_best_run_of_the_first_pattern_only(tracked):
    best = tracked.summary.tables.leaderboard.iloc[0]
    opened = f"{best['strategy']} / {best['imputer']} / random"
    assert [n for n in active(tracked.first) if "report.html" in artifacts(tracked.first, n)] == [opened]
    holders = [n for n in active(tracked.changed) if "report.html" in artifacts(tracked.changed, n)]
    assert len(holders) == 1
    now = artifacts(tracked.changed, holders[0])["report.html"].read_bytes()
    assert now == (tracked.workspace / "reports" / "observed" / "report.html").read_bytes()
    assert now != artifacts(tracked.first, opened)["report.html"].read_bytes()


def test_a_report_that_changed_alone_is_replaced_where_it_is(tmp_path):
    page = tmp_path / "page" / "report.html"
    page.parent.mkdir()

    class Page:
        def __init__(self, config, workspace):
            pass

        @hookimpl
        def fusionbench_run_finished(self, summary):
            summary.files["report.html"] = page

    with quiet():
        page.write_text("first", encoding="utf-8")
        observed(tmp_path, MlflowTracker, Page)
        before = found(tmp_path)
        page.write_text("second", encoding="utf-8")
        observed(tmp_path, MlflowTracker, Page)
        after = found(tmp_path)
    assert {r.info.run_id for r in before.runs} == {r.info.run_id for r in after.runs}
    (holder,) = [n for n, r in active(after).items() if REPORT in r.data.tags]
    assert artifacts(after, holder)["report.html"].read_text(encoding="utf-8") == "second"


def test_trials_are_nested_under_one_curve_of_their_arm_and_never_doubled(tmp_path):
    tuning = {"trials": 2, "common": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}}
    with quiet():
        observed(tmp_path, MlflowTracker, tuning=tuning)
        assert [r for r in found(tmp_path).runs if PARENT in r.data.tags] == []
        run, _ = observed(tmp_path, MlflowTracker, tuning=tuning, tracking={"trials": True})
        first = found(tmp_path)
        (tmp_path / "results" / "tracked").rename(tmp_path / "forgotten")
        observed(tmp_path, MlflowTracker, tuning=tuning, tracking={"trials": True})
        again = found(tmp_path)
        observed(tmp_path, MlflowTracker, tuning=tuning, tracking={"trials": True}, evaluation={"resamples": 120})
        changed = found(tmp_path)
    assert {r.info.run_id for r in again.runs} == {r.info.run_id for r in first.runs}
    for state in (first, changed):
        alive = [r for r in state.runs if r.info.lifecycle_stage == "active"]
        nested = [r for r in alive if PARENT in r.data.tags]
        top = {r.info.run_id: r.info.run_name for r in alive if PARENT not in r.data.tags}
        folds = len(run.plan.folds)
        assert len(top) == 4
        assert len(nested) == 2 * folds * 2
        under = [(top[r.data.tags[PARENT]], r.info.run_name) for r in nested]
        assert sorted(under) == sorted(
            (f"{s} / zero / random", f"fold {f}, trial {t}")
            for s in ("concat", "sum")
            for f in range(folds)
            for t in range(2)
        )
    sealed = run.store.sealed_study(next(s.key for s in run.plan.studies if s.arm.title == "sum" and s.fold == 0))
    parent = next(i for i, n in top.items() if n == "sum / zero / random")
    logged = {r.info.run_name: r.data for r in nested if r.data.tags[PARENT] == parent}
    for trial in sealed["trials"]:
        data = logged[f"fold 0, trial {trial['number']}"]
        assert data.metrics["trial/validation"] == trial["score"]
        assert data.metrics["trial/epochs"] == trial["epochs"]
        assert float(data.params["learning_rate"]) == trial["params"]["learning_rate"]


def test_trials_of_a_grid_lie_under_the_curve_of_their_training_condition(tmp_path):
    tuning = {"trials": 1, "condition": "each"}
    missing = {"patterns": ["random", "a"], "rates": [0, 0.5], "where": "grid"}
    run = make_run(
        tmp_path, dataset(), **{**CHANGES, "tuning": tuning, "missingness": missing, "tracking": {"trials": True}}
    )
    curves = list(curves_of(run.execute()))
    with_trials = [c.name for c in curves if c.trials]
    # every training condition has a study; each is shown once, under the first pattern
    assert with_trials == [c.name for c in curves if c.tags["pattern"] == "random"]
    assert sum(len(c.trials) for c in curves) == len(run.plan.studies)
    assert {len(c.trials) for c in curves if c.trials} == {len(run.plan.folds)}


def test_nothing_about_a_row_leaves_the_result_store(tracked):
    left = [tracked.workspace / "mlflow.db", *(tracked.workspace / "mlartifacts").rglob("*")]
    left += [*(tracked.workspace / "reports").rglob("*"), *(tracked.workspace / "forgotten").rglob("*")]
    left += [
        *(tracked.workspace / "results" / "tables").rglob("*"),
        *(tracked.workspace / "results" / "studies").rglob("*"),
    ]
    files = [p for p in left if p.is_file()]
    assert len(files) > 15
    numbers = {str(g).encode() for g in tracked.run.dataset.groups}
    for path in files:
        content = path.read_bytes()
        assert CANARY.encode() not in content, path.name
        assert not [n for n in numbers if n in content], path.name
    with sqlite3.connect(tracked.workspace / "mlflow.db") as database:
        (points,) = database.execute("select count(*) from metrics").fetchone()
    assert points < 8 * 60  # two points of each number of a curve, not one for each row


def test_addresses_of_servers_are_not_logged(tmp_path):
    secret = "postgresql://me:secret@host/db"
    run = make_run(
        tmp_path, dataset(), **{**CHANGES, "tuning": {"trials": 0, "storage": secret}, "tracking": {"uri": secret}}
    )
    curves = list(curves_of(run.execute()))
    assert len(curves) == 4
    assert "secret" not in json.dumps([vars(c) for c in curves], default=str)
    assert "secret" not in "".join(_shared_files(run.benchmark).values())
    assert all(c.params["tuning.trials"] == "0" for c in curves)


def test_a_server_that_fails_halfway_is_named_and_made_up_for(tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    calls = []
    log_batch = MlflowClient.log_batch

    def failing(client, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise ConnectionError("the server went away")
        log_batch(client, *arguments)

    with quiet():
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, "log_batch", failing)
            with pytest.raises(WorkspaceError, match="did not take the results: ConnectionError: the server went away"):
                observed(tmp_path, Files, MlflowTracker)
        assert (tmp_path / "reports" / "observed" / "leaderboard.csv").exists()
        observed(tmp_path, MlflowTracker)
        state = found(tmp_path)
    runs = active(state)
    assert len(runs) == 4 == len([r for r in state.runs if r.info.lifecycle_stage == "active"])
    assert {r.info.status for r in runs.values()} == {"FINISHED"}
    assert all(CONTENT in r.data.tags for r in runs.values())
    assert len(state.runs) == 5  # the one that was cut short is in the bin


# --------------------------------------------------------------------------------------------
# servers


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def process(command, **options):
    """Run a command in the background, with what it starts, and end it afterwards."""
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **options
    )
    try:
        yield running
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(timeout=20)


def answers(port, running, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and running.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.2)
    return False


@contextmanager
def server(folder, store):
    """An MLflow server on a store, artifacts through it; its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--artifacts-destination", str(folder / "artifacts")]
    with process(command, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}) as running:
        assert answers(port, running), "the server did not start"
        yield f"http://127.0.0.1:{port}"


def check_tracking(workspace, uri):
    """Track on a server, track again with another workspace's memory, and with other numbers."""
    from mlflow.entities import ViewType
    from mlflow.tracking import MlflowClient

    def runs():
        (experiment,) = [e for e in client.search_experiments() if e.name == "observed"]
        return client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)

    with quiet():
        client = MlflowClient(tracking_uri=uri)
        observed(workspace, Html, MlflowTracker, tracking={"uri": uri})
        first = runs()
        (workspace / "results" / "tracked").rename(workspace / "forgotten")
        observed(workspace, Html, MlflowTracker, tracking={"uri": uri})
        again = runs()
        _, summary = observed(workspace, Html, MlflowTracker, tracking={"uri": uri}, evaluation={"resamples": 120})
        changed = runs()
        names = {a.path for r in changed for a in client.list_artifacts(r.info.run_id)}
    assert {r.info.run_id for r in first} == {r.info.run_id for r in again}
    assert len(first) == len(changed) == 4
    assert not (workspace / "mlflow.db").exists()
    assert names == {"curve.csv", "cells.parquet", "config.yaml", "environment.json", "report.html"}
    board = summary.tables.leaderboard.set_index("strategy")
    for run in changed:
        assert run.data.metrics["summary/area"] == board.loc[run.data.tags["strategy"], "area"]


@pytest.mark.slow
def test_a_local_server_takes_the_results(tmp_path):
    with server(tmp_path, f"sqlite:///{tmp_path / 'server.db'}") as uri:
        check_tracking(tmp_path / "workspace", uri)


@contextmanager
def postgres():
    """A PostgreSQL of its own, from Debian's package; the address of its database."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if not places:
        pytest.skip("needs PostgreSQL in /usr/lib/postgresql (Debian: apt install postgresql)")
    options = {}
    if os.geteuid() == 0:  # it refuses to be started by root
        try:
            options = {"user": pwd.getpwnam("postgres").pw_name, "group": "postgres"}
        except KeyError:
            pytest.skip("needs a user 'postgres': PostgreSQL is not started by root")
    with tempfile.TemporaryDirectory() as name:  # root's temporary folders of tests are closed to other users
        home = Path(name)
        if options:
            shutil.chown(home, "postgres", "postgres")
        options["cwd"] = home
        port, binaries = free_port(), places[-1].parent
        made = [binaries / "initdb", "-D", home / "data", "-U", "tracker", "-A", "trust", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, **options)
        start = [
            binaries / "postgres",
            "-D",
            home / "data",
            "-p",
            str(port),
            "-c",
            "listen_addresses=127.0.0.1",
            "-k",
            "",
        ]
        with process(start, **options) as running:
            assert answers(port, running), "PostgreSQL did not start"
            yield f"postgresql+psycopg2://tracker@127.0.0.1:{port}/postgres"


@pytest.mark.slow
def test_a_server_on_postgresql_takes_the_results(tmp_path):
    pytest.importorskip("psycopg2", reason="needs psycopg2 (pip install -e '.[postgres]')")
    with postgres() as store, server(tmp_path, store) as uri:
        check_tracking(tmp_path / "workspace", uri)
