"""Curves: means over folds and seeds with intervals, and how far below the best possible prediction they lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from fusionbench.config.sections import REFERENCES
from tests.analysis.conftest import GRID
from tests.builders import run_toy, toy_dataset


def test_a_point_of_a_curve_is_the_mean_over_folds_and_seeds(done):
    tables = done[1].tables
    means = tables.cells.groupby(["strategy", "imputer", "pattern", "rate"])[["auroc", "auprc", "brier"]].mean()
    trained = tables.curves[~tables.curves["strategy"].isin(REFERENCES)]
    for _, row in trained.iterrows():
        pattern = row["pattern"] if row["rate"] else "complete"
        wanted = means.loc[row["strategy"], row["imputer"], pattern, row["rate"]]
        for name in ("auroc", "auprc", "brier"):
            assert row[name] == pytest.approx(wanted[name], abs=1e-9)
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_complete_data_are_the_first_point_of_every_pattern(done):
    curves = done[1].tables.curves
    assert len(curves) == (4 + 1) * 2 * 3  # the prevalence is a line too
    for _, arm in curves.groupby(["strategy", "imputer"]):
        assert arm["pattern"].tolist() == ["random"] * 3 + ["a"] * 3
        assert arm["rate"].tolist() == [0, 0.4, 0.8] * 2
        first = arm[arm["rate"] == 0].drop(columns="pattern")
        assert first.iloc[0].equals(first.iloc[1])


def with_ceiling(metric="auroc"):
    """The toy with a probability for each subset: the more is seen, the surer."""
    data = toy_dataset()
    seen = np.array([code.bit_count() for code in range(8)])
    sure = np.random.default_rng(0).random((len(data), 1)) * seen / 3
    return replace(data, ceiling=0.5 + 0.5 * np.where(data.target[:, None] == 1, sure, -sure) * 0.9, metric=metric)


@pytest.mark.parametrize("metric", ["auroc", "brier"])
def test_regret_is_how_much_worse_than_the_ceiling_a_model_is(tmp_path, metric):
    data = with_ceiling(metric)
    run, summary = run_toy(tmp_path, data, **GRID)
    curves = summary.tables.curves
    models, ceilings = curves[~curves["strategy"].isin(REFERENCES)], curves[curves["strategy"] == "ceiling"]
    for _, row in models.iterrows():
        difference = row["ceiling"] - row[metric]
        assert row["regret"] == pytest.approx(difference if metric == "auroc" else -difference)
        assert row["regret_low"] < row["regret"] < row["regret_high"]
    assert (ceilings["regret"] == 0).all()
    assert ceilings[metric].equals(ceilings["ceiling"].rename(metric))
    for _, row in ceilings.iterrows():
        values = []
        for fold in run.folds.values():
            for seed in (0, 1):
                rows = fold.test.open("test")
                condition = next(
                    c
                    for c in run.plan.conditions
                    if c.rate == row["rate"] and (not c.rate or c.pattern == row["pattern"])
                )
                code = run.rows.mask(condition, seed, fold.index)[rows] @ np.array([1, 2, 4])
                p = data.ceiling[rows, code]
                scored = sk.roc_auc_score if metric == "auroc" else sk.brier_score_loss
                values.append(scored(data.target[rows], p))
        assert row[metric] == pytest.approx(np.mean(values), abs=1e-6)
    board = summary.tables.leaderboard
    assert "ceiling" not in set(board["strategy"])
    assert board["area"].is_monotonic_decreasing if metric == "auroc" else board["area"].is_monotonic_increasing
    assert board["regret"].notna().all()


def test_training_on_less_is_held_against_what_complete_test_rows_allow(tmp_path):
    _, summary = run_toy(
        tmp_path,
        with_ceiling(),
        strategies=["sum"],
        missingness={"patterns": ["random"], "rates": [0, 0.5], "where": "train"},
    )
    assert summary.tables.curves["ceiling"].nunique() == 1


@pytest.mark.parametrize("metric", ["auroc", "brier"])
def test_the_constant_prediction_is_a_line_of_every_table(tmp_path, metric):
    run, summary = run_toy(tmp_path, replace(toy_dataset(), metric=metric), strategies=["sum"])
    curves = summary.tables.curves
    mine = curves[curves["strategy"] == "prevalence"]
    assert (mine["auroc"] == 0.5).all()
    assert len(mine) == len(curves) / 2
    expected = []
    for fold in run.folds.values():
        share = run.dataset.target[fold.development.train].mean()
        expected.append(np.square(run.dataset.target[fold.test.open("test")] - share).mean())
    assert mine["brier"].to_numpy() == pytest.approx(np.full(len(mine), np.mean(expected)))
    row = summary.tables.leaderboard.set_index("strategy").loc["prevalence"]
    assert row["area"] == pytest.approx(0.5 if metric == "auroc" else np.mean(expected))
    assert (row["rank"], row["group"], row["models_planned"]) == (0, 0, 0)
