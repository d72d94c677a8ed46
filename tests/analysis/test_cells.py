"""Stored predictions as cells: every number against scikit-learn or plain arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from fusionbench.analysis.cells import with_intervals
from fusionbench.missingness.masks import achieved_rate
from fusionbench.report.lines import ranked_board
from fusionbench.targets import TargetKind
from tests.builders import run_toy, said, toy_dataset


def predictions(run):
    """Every cell with its predictions, calibrated and raw, and true labels."""
    for fit in run.plan.fits:
        rows = run.folds[fit.fold].test.open("test")
        for condition, label in zip(fit.points, fit.labels, strict=False):
            yield fit, condition, rows, said(run, fit, label), run.dataset.target[rows]


def cell_of(cells, fit, condition):
    mine = (cells["strategy"] == fit.arm.title) & (cells["imputer"] == fit.arm.imputer_name)
    mine &= (cells["fold"] == fit.fold) & (cells["seed"] == fit.seed)
    mine &= (cells["pattern"] == condition.pattern) & (cells["rate"] == condition.rate)
    (index,) = cells.index[mine]
    return cells.loc[index]


def test_cells_of_a_binary_task_equal_scikit_learn(done):
    run, summary = done
    assert len(summary.tables.cells) == 4 * 4 * 5
    for fit, condition, rows, scores, target in predictions(run):
        cell = cell_of(summary.tables.cells, fit, condition)
        prevalence = run.dataset.target[run.folds[fit.fold].development.train].mean()
        nothing = np.mean((prevalence - target) ** 2)
        for end, said_of in (("", scores.calibrated), (".raw", scores.raw)):
            p = said_of[:, 0]
            wanted = {
                "auroc": sk.roc_auc_score(target, p),
                "auprc": sk.average_precision_score(target, p),
                "brier": sk.brier_score_loss(target, p),
                "brier_skill": 1 - sk.brier_score_loss(target, p) / nothing,
                "log_loss": sk.log_loss(target, p),
                "accuracy": sk.accuracy_score(target, p > 0.5),
            }
            for name, value in wanted.items():
                assert cell[f"{name}{end}"] == pytest.approx(value, abs=1e-12), name
        p = scores.calibrated[:, 0]
        assert cell["brier"] != cell["brier.raw"]
        assert cell["test_rows"] == len(rows)
        has = run.dataset.available[rows, 1]
        assert cell["auroc.having_b"] == pytest.approx(sk.roc_auc_score(target[has], p[has]))


def test_cells_say_how_much_was_really_hidden(done):
    run, summary = done
    for fit, condition, rows, _, _ in predictions(run):
        cell = cell_of(summary.tables.cells, fit, condition)
        shares = achieved_rate(run.dataset.available[rows], run.rows.mask(condition, fit.seed, fit.fold)[rows])
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
        np.testing.assert_array_equal(mask, run.rows.mask(condition, fit.seed, fit.fold))
    assert len(kept) == 1 + 4 * 2  # complete data, and each condition for each seed


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_cells_of_other_tasks_equal_scikit_learn(tmp_path, kind):
    run, summary = run_toy(tmp_path, toy_dataset(kind=kind), imputers=["mean"])
    assert summary.failures == []
    for fit, condition, _, scores, target in predictions(run):
        cell = cell_of(summary.tables.cells, fit, condition)
        labels = target if kind == "multilabel" else np.eye(3)[target]
        for column, name in enumerate(run.dataset.outputs):
            value = sk.roc_auc_score(labels[:, column], scores.raw[:, column])
            assert cell[f"auroc.{name}.raw"] == pytest.approx(value)
            value = sk.roc_auc_score(labels[:, column], scores.calibrated[:, column])
            assert cell[f"auroc.{name}"] == pytest.approx(value)
        calibrated = scores.calibrated
        assert cell["auroc"] == pytest.approx(sk.roc_auc_score(labels, calibrated, average="macro"))
        assert cell["auprc"] == pytest.approx(sk.average_precision_score(labels, calibrated, average="macro"))
        if kind == "multiclass":
            assert cell["accuracy"] == pytest.approx(sk.accuracy_score(target, calibrated.argmax(axis=1)))
            assert cell["macro_f1"] == pytest.approx(sk.f1_score(target, calibrated.argmax(axis=1), average="macro"))


def test_the_metric_of_the_task_comes_first_and_once_among_those_with_intervals():
    assert with_intervals("brier", TargetKind.BINARY) == ["brier", "auroc", "auprc"]
    assert with_intervals("auroc", TargetKind.BINARY) == ["auroc", "auprc", "brier"]


def test_a_metric_that_usually_has_no_interval_gets_one_as_the_metric_of_the_task():
    assert with_intervals("macro_f1", TargetKind.MULTICLASS)[0] == "macro_f1"
    assert "macro_f1" not in with_intervals("auroc", TargetKind.MULTICLASS)


def test_the_leaderboard_has_the_mean_brier_skill_at_the_lowest_rate(done):
    _, summary = done
    board, cells = summary.tables.leaderboard, summary.tables.cells
    for _, row in ranked_board(summary).iterrows():
        mine = cells[(cells["strategy"] == row["strategy"]) & (cells["imputer"] == row["imputer"])]
        lowest = mine[mine["rate"] == 0]
        for name in ("brier_skill", "brier_skill.raw", "auroc.raw"):
            assert row[f"{name}@0"] == pytest.approx(lowest[name].mean(), abs=1e-12)
    assert board["brier_skill@0"].notna().all()
    constant = board.set_index("strategy").loc["prevalence"]
    assert constant[["brier_skill@0", "brier_skill.raw@0", "auroc.raw@0"]].tolist() == [0, 0, 0.5]


def test_a_label_called_raw_has_columns_of_its_own(tmp_path):
    data = replace(toy_dataset(kind="multilabel"), outputs=("raw", "y"))
    _, summary = run_toy(tmp_path, data, strategies=["sum"], imputers=["zero"])
    assert summary.failures == []
    cells = summary.tables.cells
    assert cells.columns.is_unique
    assert {"auroc.raw", "auroc.label raw", "auroc.label raw.raw", "auroc.y.raw"} <= set(cells)
