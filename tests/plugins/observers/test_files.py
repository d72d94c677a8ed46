"""What a run leaves as files: tables, pictures, the configuration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from fusionbench.analysis.sheets import flat_names
from fusionbench.config.sections import Benchmark
from fusionbench.errors import WorkspaceError
from fusionbench.report.lines import ranked_board
from fusionbench_plugins.observers.files import Files
from tests.plugins.observers.mlflow.test_observer import RIBBON, observed


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("files")
    run, summary = observed(workspace, Files)
    return workspace / "reports" / "observed", run, summary


def read(path):
    return pd.read_csv(path)


def test_every_table_reads_without_being_told_how_and_says_what_it_is(written):
    folder, _, summary = written
    tables = sorted(folder.glob("*.csv"))
    assert len(tables) > 10
    for path in tables:
        found = pd.read_csv(path)
        assert list(found.columns[-2:]) == ["synthetic", "random_weights"], path.name
        assert all(name.isidentifier() for name in found), path.name
        assert found["synthetic"].all(), path.name
        assert not found["random_weights"].any(), path.name
    assert RIBBON in summary.plan.ribbons


def test_tables_are_written_and_read_back(written):
    folder, _, summary = written
    for name, frame in (("cells", summary.tables.cells), ("curves", summary.tables.curves)):
        found = read(folder / f"{name}.csv")
        assert list(found.columns[:-2]) == flat_names(frame)
        assert len(found) == len(frame)
        for column in frame.select_dtypes("number"):
            (flat,) = flat_names([column])
            np.testing.assert_array_equal(found[flat].to_numpy(float), frame[column].to_numpy(float))
    assert "auroc_raw" in read(folder / "cells.csv")
    assert "seconds" not in (folder / "leaderboard.csv").read_text(encoding="utf-8")


def test_parquet_holds_the_same_beside_every_csv(written):
    folder, _, _ = written
    for path in folder.glob("*.csv"):
        found, beside = read(path), pd.read_parquet(path.with_suffix(".parquet"))
        assert list(found.columns) == list(beside.columns)
        assert len(found) == len(beside)
        for column in beside.select_dtypes("number"):
            np.testing.assert_array_equal(found[column].to_numpy(float), beside[column].to_numpy(float))


def test_what_differs_between_equal_runs_is_in_the_ledger_only(written, tmp_path):
    folder, _, summary = written
    ledger = read(folder / "ledger.csv")
    assert ledger["seconds"].tolist() == pytest.approx(ranked_board(summary)["seconds"].tolist())
    observed(tmp_path, Files)
    for name in ("cells.csv", "curves.csv", "leaderboard.csv", "config.yaml"):
        assert (tmp_path / "reports" / "observed" / name).read_bytes() == (folder / name).read_bytes()


def test_the_configuration_that_was_run_is_written_and_can_be_read(written):
    folder, run, _ = written
    assert (
        Benchmark.model_validate(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))) == run.benchmark
    )


def test_the_picture_of_the_curves_is_a_picture(written):
    folder, _, summary = written
    with Image.open(folder / "curves.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 400
        colours = {c for _, c in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0, 114, 178), (213, 94, 0)} <= colours  # a line for each arm
    drawing = (folder / "curves.svg").read_text(encoding="utf-8")
    assert "<svg" in drawing
    assert summary.files["curves.png"] == folder / "curves.png"


def test_an_unchanged_run_draws_nothing_again(written, monkeypatch):
    folder, _, _ = written
    monkeypatch.setattr("fusionbench.report.charts.sheets.draw_curves", lambda *_: pytest.fail("drawn again"))
    times = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    observed(folder.parents[1], Files)
    after = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert {n for n in times if times[n] != after[n]} == set()


def test_without_one_complete_arm_there_is_no_picture(tmp_path):
    observed(tmp_path, Files)
    folder = tmp_path / "reports" / "observed"
    assert (folder / "curves.png").exists()
    _, summary = observed(tmp_path, Files, limit=0, training={"epochs": 3, "batch_size": 32})
    assert not (folder / "curves.png").exists()
    assert "curves.png" not in summary.files


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "reports").write_text("in the way", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="observed cannot be made: "):
        observed(tmp_path, Files)
