"""From stored predictions to tables: every number against scikit-learn or plain arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import trapezoid
from sklearn import metrics as sk

from fusionbench.missingness.masks import achieved_rate
from tests.builders import make_run, run_toy, toy_dataset

GRID = {
    "missingness": {"patterns": ["random", "a"], "rates": [0, 0.4, 0.8]},
    "splits": {"folds": 2, "seeds": [0, 1]},
    "imputers": ["zero", "mean"],
}
CONDITIONS = ["complete@0", "random@0.4", "random@0.8", "a@0.4", "a@0.8"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One run with two patterns, three rates, two folds and two seeds."""
    return run_toy(tmp_path_factory.mktemp("analysis"), **GRID)


def predictions(run):
    """Every cell with its stored predictions and true labels."""
    for fit in run.plan.fits:
        result = run.store.load(fit.key)
        rows = run.folds[fit.fold].test.open("test")
        for condition, label in zip(fit.points, fit.labels, strict=False):
            yield fit, condition, rows, result.probabilities[label].astype(np.float64), run.dataset.target[rows]


def cell_of(cells, fit, condition):
    mine = (cells["strategy"] == fit.arm.title) & (cells["imputer"] == fit.arm.imputer_name)
    mine &= (cells["fold"] == fit.fold) & (cells["seed"] == fit.seed)
    mine &= (cells["pattern"] == condition.pattern) & (cells["rate"] == condition.rate)
    (index,) = cells.index[mine]
    return cells.loc[index]


# --------------------------------------------------------------------------------------------
# cells


def test_cells_of_a_binary_task_equal_scikit_learn(done):
    run, summary = done
    assert len(summary.tables.cells) == 4 * 4 * 5
    for fit, condition, rows, scores, target in predictions(run):
        cell = cell_of(summary.tables.cells, fit, condition)
        p = scores[:, 0]
        wanted = {
            "auroc": sk.roc_auc_score(target, p),
            "auprc": sk.average_precision_score(target, p),
            "brier": sk.brier_score_loss(target, p),
            "log_loss": sk.log_loss(target, p),
            "accuracy": sk.accuracy_score(target, p > 0.5),
        }
        for name, value in wanted.items():
            assert cell[name] == pytest.approx(value, abs=1e-6), name
        assert cell["test_rows"] == len(rows)
        has = run.dataset.available[rows, 1]
        assert cell["auroc.having_b"] == pytest.approx(sk.roc_auc_score(target[has], p[has]))


def test_cells_say_how_much_was_really_hidden(done):
    run, summary = done
    for fit, condition, rows, _, _ in predictions(run):
        cell = cell_of(summary.tables.cells, fit, condition)
        shares = achieved_rate(run.dataset.available[rows], run.rows.mask(condition, fit.seed)[rows])
        assert [cell[f"hidden.{n}"] for n in "abc"] == pytest.approx(shares.tolist())
    alone = summary.tables.cells.query("pattern == 'a' and rate == 0.8")
    assert (alone["hidden.b"] == 0).all()
    assert (alone["hidden.a"] > 0.5).all()


def test_strategies_meet_the_same_absences(done):
    cells = done[1].tables.cells
    masks = cells.groupby(["fold", "seed", "pattern", "rate"])["mask"].nunique()
    assert (masks == 1).all()
    assert cells.query("rate > 0").groupby(["fold", "pattern", "rate"])["mask"].nunique().eq(2).all()  # seeds differ


def test_the_masks_of_cells_are_kept_under_their_names(done):
    run, summary = done
    kept = {p.stem: np.load(p) for p in (run.store.folder / "masks").iterdir()}
    for fit, condition, _, _, _ in predictions(run):
        mask = kept[cell_of(summary.tables.cells, fit, condition)["mask"]]
        np.testing.assert_array_equal(mask, run.rows.mask(condition, fit.seed))
    assert len(kept) == 1 + 4 * 2  # complete data, and each condition for each seed


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_cells_of_other_tasks_equal_scikit_learn(tmp_path, kind):
    run, summary = run_toy(tmp_path, toy_dataset(kind=kind), imputers=["mean"])
    assert summary.failures == []
    for fit, condition, _, scores, target in predictions(run):
        cell = cell_of(summary.tables.cells, fit, condition)
        labels = target if kind == "multilabel" else np.eye(3)[target]
        for column, name in enumerate(run.dataset.outputs):
            assert cell[f"auroc.{name}"] == pytest.approx(sk.roc_auc_score(labels[:, column], scores[:, column]))
        assert cell["auroc"] == pytest.approx(sk.roc_auc_score(labels, scores, average="macro"))
        assert cell["auprc"] == pytest.approx(sk.average_precision_score(labels, scores, average="macro"))
        if kind == "multiclass":
            assert cell["accuracy"] == pytest.approx(sk.accuracy_score(target, scores.argmax(axis=1)))
            assert cell["macro_f1"] == pytest.approx(sk.f1_score(target, scores.argmax(axis=1), average="macro"))


# --------------------------------------------------------------------------------------------
# curves and leaderboard


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


def test_the_leaderboard_is_the_mean_height_of_the_curves(done):
    tables = done[1].tables
    assert tables.leaderboard["area"].is_monotonic_decreasing
    assert tables.leaderboard["rank"].tolist() == [1, 2, 3, 4]
    for _, line in tables.leaderboard.iterrows():
        mine = tables.curves.query("strategy == @line.strategy and imputer == @line.imputer")
        heights = [trapezoid(p["auroc"], p["rate"]) / 0.8 for _, p in mine.groupby("pattern")]
        assert line["area"] == pytest.approx(np.mean(heights), abs=1e-9)
        assert line["area_low"] < line["area"] < line["area_high"]
        assert line["auroc@0"] == pytest.approx(mine[mine["rate"] == 0]["auroc"].mean())
        assert line["auroc@0.8"] == pytest.approx(mine[mine["rate"] == 0.8]["auroc"].mean())
        assert line["tie_group"] >= 1


def test_the_ledger_adds_up_what_an_arm_cost(done):
    run, summary = done
    for _, line in summary.tables.leaderboard.iterrows():
        mine = [
            run.store.load(f.key)
            for f in run.plan.fits
            if (f.arm.title, f.arm.imputer_name) == (line["strategy"], line["imputer"])
        ]
        assert (line["models"], line["models_planned"], line["trials"]) == (4, 4, 0)
        assert line["epochs"] == sum(r.epochs for r in mine)
        assert line["parameters"] == mine[0].parameters
        assert line["seconds"] == pytest.approx(sum(r.seconds for r in mine))


def test_an_arm_with_a_gap_has_no_interval_and_says_so(done, tmp_path):
    run, _ = done
    gap = make_run(run.workspace, **GRID)
    lost = gap.plan.fits[0]
    path = run.store.folder / "fits" / f"{lost.key}.safetensors"
    aside = path.rename(tmp_path / path.name)
    try:
        summary = gap.execute(limit=0)
    finally:
        aside.rename(path)
    board = summary.tables.leaderboard.set_index(["strategy", "imputer"])
    line = board.loc[lost.arm.title, lost.arm.imputer_name]
    assert (line["models"], line["models_planned"], line["tie_group"]) == (3, 4, 0)
    assert np.isnan(line[["area", "area_low", "area_high"]].astype(float)).all()
    assert summary.tables.leaderboard.iloc[-1]["models"] == 3
    assert len(summary.tables.cells) == 75
    assert (lost.arm.title, lost.arm.imputer_name) not in set(
        zip(summary.tables.curves["strategy"], summary.tables.curves["imputer"], strict=True)
    )
    others = done[1].tables.curves.merge(summary.tables.curves, how="inner")
    assert len(others) == len(summary.tables.curves)  # the others' numbers are the same


@pytest.mark.parametrize("damage", [None, "cut", "gone"])
def test_tables_that_are_read_back_are_the_same_and_damaged_ones_are_made_again(done, damage):
    run, first = done
    folders = list((run.store.folder / "tables").iterdir())
    path = next(f for f in folders if len(pd.read_parquet(f / "cells.parquet")) == 80) / "curves.parquet"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    if damage == "gone":
        path.unlink()
    again = make_run(run.workspace, **GRID).execute().tables
    for name in ("cells", "curves", "leaderboard"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(first.tables, name), check_exact=True)
    pd.testing.assert_frame_equal(pd.read_parquet(path), first.tables.curves, check_exact=True)


# --------------------------------------------------------------------------------------------
# where data go missing


def run_where(tmp_path, where):
    _, summary = run_toy(
        tmp_path, strategies=["sum"], missingness={"patterns": ["random", "a"], "rates": [0, 0.4, 0.8], "where": where}
    )
    assert summary.failures == []
    cells = summary.tables.cells
    scored = cells["pattern"] + "@" + cells["rate"].map("{:g}".format)
    return summary, list(zip(cells["trained_at"], scored, cells["fold"], strict=True))


def test_missing_at_test_only_trains_once_and_scores_everywhere(tmp_path):
    summary, cells = run_where(tmp_path, "test")
    assert summary.trained == 2
    assert sorted(cells) == sorted(("complete@0", c, f) for c in CONDITIONS for f in (0, 1))
    assert summary.tables.curves["rate"].tolist() == [0, 0.4, 0.8] * 2


def test_missing_in_training_only_scores_complete_rows_along_the_training_rate(tmp_path):
    summary, cells = run_where(tmp_path, "train")
    assert summary.trained == 10
    assert sorted(cells) == sorted((c, "complete@0", f) for c in CONDITIONS for f in (0, 1))
    curves = summary.tables.curves
    assert curves["rate"].tolist() == [0, 0.4, 0.8] * 2
    means = summary.tables.cells.groupby("trained_at")["auroc"].mean()
    assert curves["auroc"].tolist() == pytest.approx(
        means[["complete@0", "random@0.4", "random@0.8", "complete@0", "a@0.4", "a@0.8"]].tolist()
    )


def test_missing_in_both_scores_each_model_where_it_was_trained(tmp_path):
    summary, cells = run_where(tmp_path, "both")
    assert summary.trained == 10
    assert sorted(cells) == sorted((c, c, f) for c in CONDITIONS for f in (0, 1))
    assert summary.tables.curves["rate"].tolist() == [0, 0.4, 0.8] * 2
    assert len(summary.tables.leaderboard) == 1


def test_the_grid_scores_every_model_everywhere_and_has_a_line_for_each(tmp_path):
    summary, cells = run_where(tmp_path, "grid")
    assert summary.trained == 10
    assert sorted(cells) == sorted((t, c, f) for t in CONDITIONS for c in CONDITIONS for f in (0, 1))
    assert set(summary.tables.leaderboard["trained_at"]) == set(CONDITIONS)
    curves = summary.tables.curves
    assert len(curves) == 5 * 6
    means = summary.tables.cells.groupby(["trained_at", "pattern", "rate"])["auroc"].mean()
    for _, row in curves.iterrows():
        assert row["auroc"] == pytest.approx(
            means[row["variant"], row["pattern"] if row["rate"] else "complete", row["rate"]]
        )


def test_the_diagonal_of_the_grid_is_missing_in_both(tmp_path):
    grid, both = run_where(tmp_path, "grid")[0], run_where(tmp_path, "both")[0]
    assert both.trained == 0  # the same models, and the same masks
    cells = grid.tables.cells
    diagonal = cells[cells["trained_at"] == cells["pattern"] + "@" + cells["rate"].map("{:g}".format)]
    pd.testing.assert_frame_equal(diagonal.reset_index(drop=True), both.tables.cells)


def test_rates_without_zero_and_one_rate_alone_have_areas(tmp_path):
    for rates in ([0.3, 0.6], [0.5], [0]):
        _, summary = run_toy(tmp_path, strategies=["sum"], missingness={"patterns": ["random"], "rates": rates})
        curves = summary.tables.curves
        assert curves["rate"].tolist() == rates
        wanted = np.mean(curves["auroc"]) if len(rates) < 3 else np.nan
        assert summary.tables.leaderboard["area"].tolist() == pytest.approx([wanted])


# --------------------------------------------------------------------------------------------
# the ceiling


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
                code = run.rows.mask(condition, seed)[rows] @ np.array([1, 2, 4])
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


# --------------------------------------------------------------------------------------------
# one number for each row


def test_summaries_are_only_made_for_mechanisms_that_look_at_them(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("fusionbench.run.rows.first_component", lambda v, a: calls.append(len(v)) or np.zeros(len(v)))
    make_run(tmp_path, missingness={"patterns": ["random"], "rates": [0, 0.5], "mechanism": "mcar"})
    assert calls == []
    make_run(
        tmp_path,
        missingness={"patterns": ["random"], "rates": [0, 0.5], "mechanism": "mar"},
        splits={"folds": 2, "seeds": [0, 1]},
    )
    assert calls == [120] * 3  # once for each modality, not for each seed
