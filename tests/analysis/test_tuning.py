"""What tuning gained: lines with the defaults beside tuned ones, validation against test, best so far."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics as sk

from fusionbench.analysis.tuning import course_of
from fusionbench.report.lines import ranked_board
from tests.builders import run_toy, said, toy_dataset

TUNING = {"trials": 3, "common": {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}}
STRATEGIES = ["concat", {"name": "sum", "modalities": ["b", "c"]}]
CHANGES = {"strategies": STRATEGIES, "missingness": {"patterns": ["random", "a"], "rates": [0, 0.3, 0.6]}}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The tuned run, and one without trials in the same workspace."""
    folder = tmp_path_factory.mktemp("tuning")
    return run_toy(folder, tuning=TUNING, **CHANGES), run_toy(folder, **CHANGES)


def test_untuned_is_the_area_of_a_run_without_trials_which_then_trains_nothing(both):
    (run, tuned), (_, plain) = both
    assert (tuned.trained, plain.trained) == (len(run.plan.fits) + len(run.plan.untuned), 0)
    areas = plain.tables.leaderboard.set_index("strategy")["area"]
    for _, row in ranked_board(tuned).iterrows():
        assert row["untuned"] == pytest.approx(areas[row["strategy"]])
        assert row["gain"] == pytest.approx(row["area"] - row["untuned"])
        assert row["untuned_epochs"] == 4
    assert "untuned" not in plain.tables.leaderboard


def test_the_gain_of_a_score_that_falls_is_how_far_it_fell(tmp_path):
    dataset = replace(toy_dataset(), metric="brier", digest="brier")
    board = run_toy(tmp_path, dataset, tuning=TUNING, strategies=["concat"])[1].tables.leaderboard
    assert board["gain"].iloc[0] == pytest.approx(board["untuned"].iloc[0] - board["area"].iloc[0])


def test_validation_is_compared_with_test_rows_of_the_same_kind(both):
    (run, tuned), _ = both
    shown = run.dataset.available[:, 1:].any(axis=1)
    for _, row in ranked_board(tuned).iterrows():
        found = []
        for fit in run.plan.fits:
            if fit.arm.title == row["strategy"]:
                result, rows = run.store.load(fit.key), run.folds[fit.fold].test.open("digest")
                label = next(n for n in fit.labels if n.startswith("complete@0"))
                seen = shown[rows] if fit.arm.modalities else np.ones(len(rows), bool)
                test = sk.roc_auc_score(run.dataset.target[rows][seen], said(run, fit, label).raw[seen, 0])
                found.append(result.score - test)
        assert row["validation_minus_test"] == pytest.approx(np.mean(found), abs=1e-6)


def test_where_the_loss_selects_epochs_nothing_is_compared(tmp_path):
    _, summary = run_toy(tmp_path, training={"epochs": 1, "batch_size": 32, "selection": "loss"}, strategies=["concat"])
    assert summary.tables.leaderboard["validation_minus_test"].isna().all()


def test_every_trial_is_in_the_table_with_the_best_so_far(both):
    (run, tuned), (_, plain) = both
    trials = tuned.tables.trials
    assert len(trials) == 3 * len(run.plan.studies)
    assert len(plain.tables.trials) == 0
    for _, mine in trials.groupby(["strategy", "fold"]):
        assert mine["best_so_far"].tolist() == pytest.approx(np.maximum.accumulate(mine["score"]).tolist())
        assert json.loads(mine["options"].iloc[0]).keys() >= {"learning_rate"}
    course = course_of(trials, "concat", "zero")
    assert course.tolist() == pytest.approx(
        trials[trials["strategy"] == "concat"].groupby("trial")["best_so_far"].mean().tolist()
    )
    assert (np.diff(course) >= 0).all()


def test_the_defaults_open_their_own_test_rows_only_with_a_digest(both):
    (run, _), _ = both
    digests = {run.store.load(f.key).study for f in run.plan.untuned}
    assert len(digests) == 1
    assert digests.isdisjoint(run.store.load(f.key).study for f in run.plan.fits)


def test_untuned_can_be_switched_off(tmp_path):
    run, summary = run_toy(tmp_path, tuning={**TUNING, "untuned": False}, strategies=["concat"])
    assert run.plan.untuned == []
    assert "gain" not in summary.tables.leaderboard
