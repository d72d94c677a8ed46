"""Curves: means over folds and seeds with intervals, and how far below the best possible prediction they lie."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics as sk

from fusionbench.analysis.curves import complete_models
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.plan.lines import Line, Model, model_of
from tests.analysis.conftest import GRID
from tests.builders import run_toy, toy_dataset


def test_a_point_of_a_curve_is_the_mean_over_folds_and_seeds(done):
    tables = done[1].tables
    means = tables.cells.groupby(["strategy", "imputer", "pattern", "rate"])[["auroc", "auprc", "brier"]].mean()
    for _, row in tables.curves.iterrows():
        pattern = row["pattern"] if row["rate"] else "complete"
        wanted = means.loc[row["strategy"], row["imputer"], pattern, row["rate"]]
        for name in ("auroc", "auprc", "brier"):
            assert row[name] == pytest.approx(wanted[name], abs=1e-9)
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_complete_data_are_the_first_point_of_every_pattern(done):
    curves = done[1].tables.curves
    assert len(curves) == 4 * 2 * 3
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
    models, ceilings = curves[curves["strategy"] != "ceiling"], curves[curves["strategy"] == "ceiling"]
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


def planned_fits(strategy, places):
    """What the plan says of one arm that is scored on complete data and at one rate."""
    arm = SimpleNamespace(title=strategy, imputer_name="zero")
    scored = (COMPLETE, Condition("random", 0.5))
    return [SimpleNamespace(arm=arm, fold=f, seed=s, condition=COMPLETE, scored=scored) for f, s in places]


def scored_of(jobs):
    """The cells of these fits."""
    return [SimpleNamespace(job=j, model=model_of(j, c, "test")) for j in jobs for c in j.scored]


def test_models_with_every_fold_and_seed_are_complete_in_the_order_of_the_plan():
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    first, second, third = (planned_fits(name, places) for name in ("z", "gap", "a"))
    scored = scored_of([*third, *second[:3], *first])
    points = (COMPLETE, Condition("random", 0.5))
    wanted = [Model(Line(name, "zero"), point) for name in ("z", "a") for point in points]
    assert complete_models(scored, [*first, *second, *third], "test") == wanted


def test_a_model_that_lacks_one_cell_keeps_its_other_points():
    jobs = planned_fits("sum", [(0, 0), (1, 0)])
    lacking = scored_of(jobs)[:-1]
    assert complete_models(lacking, jobs, "test") == [Model(Line("sum", "zero"), COMPLETE)]
    assert complete_models([], jobs, "test") == []
