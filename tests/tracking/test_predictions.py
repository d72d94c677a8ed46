"""``tracking.predictions``: rows are logged only when asked for, and cannot be found again by who has the artifact."""

from __future__ import annotations

import sqlite3
import stat
import warnings
from contextlib import closing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fusionbench.analysis.calibration import Said
from fusionbench.errors import WorkspaceError
from fusionbench.tracking.curves import curves_of
from fusionbench.tracking.predictions import PREDICTIONS, Predictions
from fusionbench_plugins.observers.mlflow.observer import MlflowTracker
from tests.builders import make_run, toy_dataset
from tests.front import TOY, fusionbench, toy_benchmark, write_yaml

FIRST_GROUP = 8_675_309_000
ON = {"tracking": {"predictions": True}}
TWO = {"missingness": {"patterns": ["random", "a"], "rates": [0, 0.5]}}


def dataset():
    data = toy_dataset()
    return replace(data, groups=FIRST_GROUP + 7 * data.groups)


def tracked(workspace, **changes):
    run = make_run(workspace, dataset(), **{**TWO, **changes})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracking library's own dependencies
        summary = run.execute([MlflowTracker(run.benchmark, workspace)])
    return run, summary


def artifacts(workspace):
    return sorted((workspace / "mlartifacts").rglob(PREDICTIONS))


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("predictions")
    run, summary = tracked(workspace, **ON)
    return workspace, run, summary


def test_nothing_of_a_row_is_logged_unless_it_is_asked_for(tmp_path):
    tracked(tmp_path)
    assert artifacts(tmp_path) == []
    assert not (tmp_path / "results" / "salt").exists()
    rows = len(toy_dataset())
    for path in (tmp_path / "mlartifacts").rglob("*.parquet"):
        assert len(pd.read_parquet(path)) < rows / 4, path


def test_every_curve_has_a_row_for_every_test_row_seed_and_rate(asked):
    workspace, run, _ = asked
    assert len(artifacts(workspace)) == 4
    for path in artifacts(workspace):
        table = pd.read_parquet(path)
        assert list(table.columns) == ["id", "fold", "seed", "rate", "target", "probability", "raw"]
        assert table.groupby("rate")["id"].nunique().to_dict() == {0.0: len(run.dataset), 0.5: len(run.dataset)}
        assert len(table) == 2 * len(run.dataset)


def test_the_metrics_can_be_computed_again(asked):
    _, _, summary = asked
    for curve in curves_of(summary):
        table = curve.predictions()
        for (fold, rate), rows in table.groupby(["fold", "rate"]):
            cell = curve.cells[(curve.cells["fold"] == fold) & (curve.cells["rate"] == rate)]
            assert roc_auc_score(rows["target"], rows["probability"]) == pytest.approx(cell["auroc"].item())
            assert roc_auc_score(rows["target"], rows["raw"]) == pytest.approx(cell["auroc.raw"].item())
            assert np.mean((rows["target"] - rows["raw"]) ** 2) == pytest.approx(cell["brier.raw"].item())


def test_a_row_is_the_same_in_every_curve_and_another_in_another_workspace(asked, tmp_path):
    workspace, _, _ = asked
    ids = [set(pd.read_parquet(p)["id"]) for p in artifacts(workspace)]
    assert all(found == ids[0] for found in ids)
    tracked(tmp_path, **ON)
    assert not ids[0] & set(pd.read_parquet(artifacts(tmp_path)[0])["id"])


def test_neither_ids_nor_order_tell_a_row_or_a_patient(asked):
    workspace, run, _ = asked
    groups, rows = run.dataset.groups.tolist(), range(len(run.dataset))
    table = pd.read_parquet(artifacts(workspace)[0])
    assert table["id"].str.fullmatch("[0-9a-f]{16}").all()
    assert not set(table["id"]) & {str(x) for x in [*groups, *rows]}
    assert not set(table.select_dtypes("number").to_numpy().ravel()) & set(map(float, groups))
    first = table[(table["rate"] == 0) & (table["fold"] == 0)]
    assert first["id"].is_monotonic_increasing  # and so not in the order of the data
    test = run.folds[0].test.open("test")
    assert first["target"].tolist() != run.dataset.target[test].tolist()


def test_the_salt_is_kept_for_the_owner_and_never_logged(asked):
    workspace, _, _ = asked
    path = workspace / "results" / "salt"
    salt = path.read_bytes()
    assert (len(salt), stat.S_IMODE(path.stat().st_mode)) == (32, 0o600)
    with closing(sqlite3.connect(workspace / "mlflow.db")) as connection:
        dump = "\n".join(connection.iterdump()).encode()
    logged = [dump, *(p.read_bytes() for p in (workspace / "mlartifacts").rglob("*") if p.is_file())]
    assert not [c for c in logged if salt in c or salt.hex().encode() in c]


def test_the_artifact_alone_does_not_find_a_known_row(asked):
    """Whoever knows the data and the code, but not the salt, cannot compute an id."""
    import fusionbench.tracking.predictions as module

    workspace, run, _ = asked
    known = set(pd.read_parquet(artifacts(workspace)[0])["id"])
    guessed = [b"", bytes(32), run.dataset.digest.encode(), b"fusionbench"]
    for salt in guessed:
        ids = {module._salted(salt, f"{run.dataset.digest}/{row}") for row in range(len(run.dataset))}
        assert not ids & known
    salt = (workspace / "results" / "salt").read_bytes()  # who has the workspace does find it
    assert {module._salted(salt, f"{run.dataset.digest}/{row}") for row in range(len(run.dataset))} == known


def test_asking_later_replaces_the_runs_and_their_numbers_stay(asked, tmp_path):
    _, without = tracked(tmp_path)
    _, with_rows = tracked(tmp_path, **ON)
    assert len(artifacts(tmp_path)) == 4
    for before, after in zip(curves_of(without), curves_of(with_rows), strict=True):
        assert before.points == after.points
        assert before.content != after.content


def test_labels_have_columns_of_their_own(tmp_path):
    run = make_run(tmp_path, dataset(), **ON)
    summary = run.execute()
    (fit, *_) = run.plan.fits
    rows = np.arange(5)
    several = replace(
        summary.plan, dataset=replace(run.dataset, kind="multilabel", outputs=("x", "y"), target=np.ones((120, 2), int))
    )
    table = Predictions(several)._part(fit, rows, 0.5, Said(np.full((5, 2), 0.25), np.full((5, 2), 0.75)))
    assert list(table.columns)[4:] == ["target.x", "target.y", "probability.x", "probability.y", "raw.x", "raw.y"]


def test_a_damaged_salt_is_said(tmp_path):
    run = make_run(tmp_path, dataset(), **ON)
    summary = run.execute()
    (tmp_path / "results" / "salt").write_bytes(b"short")
    with pytest.raises(WorkspaceError, match="a salt has 32 bytes, found 5"):
        next(curves_of(summary)).predictions()


@pytest.mark.parametrize("mode", [[], ["--json"]])
def test_the_run_warns(tmp_path, mode):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**ON))
    outcome = fusionbench("run", config, "-p", TOY, "--workspace", tmp_path / "runs", *mode)
    assert outcome.code == 0
    assert "these are patient-level data" in " ".join((outcome.out + outcome.err).split())
