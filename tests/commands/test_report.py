"""The command that makes the page again from what is stored."""

from __future__ import annotations

import shlex

import pytest

from fusionbench.report.page import PAGE
from tests.front import TOY, fusionbench, toy_benchmark, write_yaml
from tests.report.reading import CHANGES, without_pictures


@pytest.fixture
def stored(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(tuning=CHANGES["tuning"]))
    assert fusionbench("run", config, "-p", TOY, "--workspace", tmp_path / "runs", "--quiet").code == 0
    return config, tmp_path / "runs"


def report(config, workspace, *more):
    return fusionbench("report", config, "-p", TOY, "--workspace", workspace, *more)


def test_the_command_makes_the_page_and_trains_nothing(stored, monkeypatch):
    config, workspace = stored
    monkeypatch.setattr("fusionbench.run.refits.train_jobs", lambda *_: pytest.fail("trained"))
    page = workspace / "reports" / "toy" / PAGE
    assert not page.exists()
    found = report(config, workspace)
    assert found.code == 0, found.err
    assert found.out.splitlines() == [f"report: {page}"]
    assert page.exists()


def test_the_command_says_what_is_missing_and_how_to_train_it(stored, undrawn):
    config, workspace = stored
    found = report(config, workspace, "--set", "strategies=[concat, lmf]")
    assert found.code == 0, found.err
    assert "missing: lmf / zero: 2 models of 2 missing" in found.out
    command = shlex.join(["fusionbench", "run", str(config), "-p", TOY, "--set", "strategies=[concat, lmf]"])
    assert f"to train what is missing: {command}" in found.out


def test_the_command_prints_the_hyper_parameters_that_won(stored, undrawn):
    config, workspace = stored
    lines = report(config, workspace, "--hparams").out.splitlines()
    rows = [line.split() for line in lines if line.startswith(("concat", "sum"))]
    assert [(r[0], r[3], r[4], r[6]) for r in rows] == [(s, f, "0", "2") for s in ("concat", "sum") for f in "01"]
    assert all("learning_rate" in r for r in rows)


@pytest.mark.parametrize("change", [[], ["--set", "training.epochs=3"]])
def test_without_anything_stored_the_command_says_what_to_do(stored, tmp_path, change):
    config, workspace = stored
    found = report(config, workspace if change else tmp_path / "empty", *change)
    assert found.code == 2
    assert "fusionbench run" in found.err
    assert not (tmp_path / "empty").exists()


@pytest.fixture
def undrawn(monkeypatch):
    """No picture is drawn."""
    without_pictures(monkeypatch)
