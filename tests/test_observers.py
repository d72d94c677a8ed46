"""What a run leaves for people: tables, pictures and MLflow runs, and nothing about a patient."""

from __future__ import annotations

import io
import json
import sqlite3
import warnings
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from fusionbench import Modality
from fusionbench.config import Benchmark
from fusionbench.errors import WorkspaceError
from fusionbench_plugins.observers.files import Files
from fusionbench_plugins.observers.mlflow import MlflowTracker, _curves, _section
from tests.builders import make_run, toy_dataset

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
# files


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("files")
    run, summary = observed(workspace, Files)
    return workspace / "reports" / "observed", run, summary


def read(path):
    return pd.read_csv(path, comment="#", keep_default_na=True)


def test_tables_are_written_with_their_ribbons_and_read_back(written):
    folder, _, summary = written
    for name, frame in (("cells", summary.tables.cells), ("curves", summary.tables.curves)):
        text = (folder / f"{name}.csv").read_text()
        assert text.startswith(f"# {RIBBON}\n")
        found = read(folder / f"{name}.csv")
        assert list(found.columns) == list(frame.columns)
        assert len(found) == len(frame)
        for column in frame.select_dtypes("number"):
            np.testing.assert_array_equal(found[column].to_numpy(float), frame[column].to_numpy(float))
    board = (folder / "leaderboard.csv").read_text()
    assert board.startswith(f"# {RIBBON}\n")
    assert "seconds" not in board


def test_what_differs_between_equal_runs_is_in_the_ledger_only(written, tmp_path):
    folder, _, summary = written
    ledger = read(folder / "ledger.csv")
    assert ledger["seconds"].tolist() == pytest.approx(summary.tables.leaderboard["seconds"].tolist())
    observed(tmp_path, Files)
    for name in ("cells.csv", "curves.csv", "leaderboard.csv", "config.yaml"):
        assert (tmp_path / "reports" / "observed" / name).read_bytes() == (folder / name).read_bytes()


def test_the_configuration_that_was_run_is_written_and_can_be_read(written):
    folder, run, _ = written
    assert Benchmark.model_validate(yaml.safe_load((folder / "config.yaml").read_text())) == run.benchmark


def test_the_picture_of_the_curves_is_a_picture(written):
    folder, _, summary = written
    with Image.open(folder / "curves.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 400
        colours = {c for _, c in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0, 114, 178), (213, 94, 0)} <= colours  # a line for each arm
    drawing = (folder / "curves.svg").read_text()
    assert "<svg" in drawing
    assert summary.files["curves.png"] == folder / "curves.png"


def test_an_unchanged_run_draws_nothing_again(written, monkeypatch):
    folder, _, _ = written
    monkeypatch.setattr("fusionbench.figures.draw_curves", lambda *_: pytest.fail("drawn again"))
    times = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    observed(folder.parents[1], Files)
    after = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert {n for n in times if times[n] != after[n]} == set()


def test_without_one_complete_arm_there_is_no_picture(tmp_path):
    observed(tmp_path, Files)
    folder = tmp_path / "reports" / "observed"
    assert (folder / "curves.png").exists()
    _, summary = observed(tmp_path, Files, limit=1, training={"epochs": 3, "batch_size": 32})
    assert not (folder / "curves.png").exists()
    assert "curves.png" not in summary.files
    assert len(read(folder / "cells.csv")) == 3


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "reports").write_text("in the way")
    with pytest.raises(WorkspaceError, match="observed cannot be made: "):
        observed(tmp_path, Files)


def test_labels_of_any_kind_are_drawn(tmp_path):
    from fusionbench.figures import draw_curves

    strategies = [
        {"name": "sum", "label": "_x"},
        {"name": "sum", "label": "$_$ {a}"},
        {"name": "concat", "label": "a<b>&c"},
    ]
    _, summary = observed(
        tmp_path, strategies=strategies, missingness={"patterns": ["random", "a", "b", "b+c"], "rates": [0, 0.5]}
    )
    draw_curves(summary, [tmp_path / "x.png", tmp_path / "x.svg"])
    with Image.open(io.BytesIO((tmp_path / "x.png").read_bytes())) as picture:
        picture.verify()
    drawing = (tmp_path / "x.svg").read_text()
    assert drawing.count("missing: ") == 4


# --------------------------------------------------------------------------------------------
# MLflow


@contextmanager
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracking library's own dependencies
        yield


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A run that is tracked, tracked again, and tracked with other numbers; what was found after each."""
    workspace = tmp_path_factory.mktemp("mlflow")
    with quiet():
        run, summary = observed(workspace, Files, MlflowTracker)
        first = found(workspace)
        observed(workspace, MlflowTracker)
        (workspace / "results" / "tracked").rename(workspace / "forgotten")  # another machine would not know
        observed(workspace, MlflowTracker)
        again = found(workspace)
        observed(workspace, MlflowTracker, evaluation={"resamples": 120})
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
            history = tracked.first.client.get_metric_history(run.info.run_id, _section("auroc"))
            assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == list(
                zip([0, 50], mine["auroc"], strict=True)
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
    assert tags["random_weights"] == "none"
    assert tags["plugin"].startswith("fusionbench ")
    assert tags["data_digest"] == tracked.run.dataset.digest
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == tracked.run.dataset.digest[:32]


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


def test_the_artifact_holds_the_points(tracked):
    paths = list((tracked.workspace / "mlartifacts").rglob("curve.csv"))
    assert len(paths) == 8
    points = pd.read_csv(paths[0])
    assert set(points["missing_percent"]) == {0, 50}
    assert {_section(n) for n in ("auroc", "auprc", "brier", "auroc_low")} <= set(points["metric"])


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
    curves = list(_curves(run.execute()))
    assert len(curves) == 4
    assert "secret" not in json.dumps([vars(c) for c in curves])
    assert all(c.params["tuning.trials"] == "0" for c in curves)


def test_a_server_that_fails_halfway_is_named_and_made_up_for(tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    calls = []
    log_text = MlflowClient.log_text

    def failing(client, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise ConnectionError("the server went away")
        log_text(client, *arguments)

    with quiet():
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, "log_text", failing)
            with pytest.raises(WorkspaceError, match="did not take the results: ConnectionError: the server went away"):
                observed(tmp_path, Files, MlflowTracker)
        assert (tmp_path / "reports" / "observed" / "leaderboard.csv").exists()
        observed(tmp_path, MlflowTracker)
        state = found(tmp_path)
    runs = active(state)
    assert len(runs) == 4 == len([r for r in state.runs if r.info.lifecycle_stage == "active"])
    assert {r.info.status for r in runs.values()} == {"FINISHED"}
    assert all("fusionbench.content" in r.data.tags for r in runs.values())
    assert len(state.runs) == 5  # the one that was cut short is in the bin
