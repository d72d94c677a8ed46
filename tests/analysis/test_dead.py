"""Models that learnt nothing are named, without a row; healthy and weak lines are left alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fusionbench.analysis.dead import dead_notes
from tests.builders import run_toy, toy_dataset

DATA = toy_dataset()
ROWS = np.arange(60), np.arange(60, 120)


def notes(scores, metric="auroc", dataset=DATA, label="g_blend / zero", by_loss=False):
    arm = SimpleNamespace(label=label)
    results = [(SimpleNamespace(arm=arm, fold=i, seed=7), SimpleNamespace(score=s)) for i, s in enumerate(scores)]
    return dead_notes(results, dataset, metric, lambda job: ROWS, by_loss=by_loss)


def test_a_dead_fold_among_good_ones_is_named_with_its_score_and_that_of_the_others():
    (note,) = notes([0.93, 0.94, 0.92, 0.49, 0.93])
    assert note.startswith(
        "'g_blend / zero': 1 of 5 models does hardly better than the prevalence on validation rows ("
    )
    assert "fold 3, seed 7: .490; the others of the line: .930 in the median" in note


@pytest.mark.parametrize("score", [0.5, 0.55, 0.3])
def test_one_that_chance_explains_is_named_where_the_others_are_clearly_beyond(score):
    assert len(notes([0.93, 0.94, 0.92, score])) == 1


@pytest.mark.parametrize(
    "scores", [[0.93, 0.8, 0.85, 0.99], [0.56, 0.52, 0.58, 0.55], [0.93, 0.55], [0.9], [float("nan")] * 3, []]
)
def test_lines_that_scatter_or_are_weak_or_have_no_others_are_left_alone(scores):
    assert notes(scores) == []


def test_a_line_of_dead_models_names_a_few_and_counts_the_rest():
    (note,) = notes([0.5, 0.4, 0.45, 0.3, 0.5])
    assert "5 of 5 models do hardly better" in note
    assert "fold 2, seed 7: .450; and 2 more)" in note


def test_other_metrics_and_losses_are_compared_with_what_the_prevalence_gives():
    share = DATA.target[ROWS[0]].mean()
    target = DATA.target[ROWS[1]]
    brier = ((share - target) ** 2).mean()
    assert notes([-brier / 3] * 4, "brier") == []
    (note,) = notes([-brier / 3] * 4 + [-brier * 1.01], "brier")
    assert f"fold 4, seed 7: {f'{brier * 1.01:.3f}'[1:]}" in note
    loss = -(target * np.log(share) + (1 - target) * np.log(1 - share)).mean()
    assert notes([-loss / 3, -loss / 2, -loss / 4], by_loss=True) == []
    (note,) = notes([-loss / 3, -loss / 2, -loss * 1.001], by_loss=True)
    assert "(loss; fold 2, seed 7: " in note


def test_validation_rows_of_one_class_are_no_reason_to_fall_over():
    alike = replace(DATA, target=np.where(np.arange(len(DATA.target)) < 60, DATA.target, 0), digest="alike")
    assert notes([0.9, 0.9, 0.4], dataset=alike) == []


def test_a_run_puts_them_among_its_notes(tmp_path):
    _, summary = run_toy(tmp_path, training={"epochs": 1, "batch_size": 32, "learning_rate": 1e-9}, splits={"folds": 3})
    found = [n for n in summary.notes if "hardly better than the prevalence" in n]
    assert all("models do" in n or "models does" in n for n in found)
    _, healthy = run_toy(tmp_path / "two", training={"epochs": 30, "batch_size": 16, "learning_rate": 0.02})
    assert not any("hardly better" in n for n in healthy.notes)
