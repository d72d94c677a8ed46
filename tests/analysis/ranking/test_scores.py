"""Scores with what patients contribute, for every metric and kind of target."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionbench.analysis.ranking.scores import PredictedFold, ScoreTable, scored_fold
from fusionbench.metrics.registry import METRICS
from fusionbench.metrics.scores import score
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.plan.lines import Line, Model
from fusionbench.targets import TargetKind

KINDS = {TargetKind.BINARY: 1, TargetKind.MULTILABEL: 3, TargetKind.MULTICLASS: 3}


def a_fold(kind, rows=90, seed=0):
    """Two seeds and three models of one fold, two rows of a patient."""
    draw = np.random.default_rng(seed)
    outputs = KINDS[kind]
    p = draw.random((2, 3, rows, outputs))
    if kind is TargetKind.MULTICLASS:
        p /= p.sum(axis=-1, keepdims=True)
        target = draw.integers(0, outputs, rows)
    else:
        target = (draw.random((rows, outputs)) < 0.4).astype(np.int64)
        target = target[:, 0] if kind is TargetKind.BINARY else target
    return p, PredictedFold(lambda s, m: p[s, m], target, np.arange(rows) // 2)


def scored(fold, metric, kind):
    return scored_fold(fold, 3, 2, metric, kind, 1000, np.random.default_rng(1))


@pytest.mark.parametrize(("metric", "kind"), [(m.name, k) for m in METRICS.values() for k in KINDS if k in m.kinds])
def test_values_are_the_metric_and_better_is_higher(metric, kind):
    p, fold = a_fold(kind)
    found = scored(fold, metric, kind)
    sign = 1 if METRICS[metric].higher_is_better else -1
    expected = score(metric, torch.tensor(p), torch.tensor(fold.target), kind).numpy()
    np.testing.assert_allclose(sign * found.values, expected, atol=1e-12)
    assert found.influence.shape[:2] == (2, 3)
    assert found.df > 0
    assert found.dropped == 0


@pytest.mark.parametrize("kind", KINDS)
def test_influence_values_and_resamples_agree(kind, monkeypatch):
    _, fold = a_fold(kind, 400)
    by_influence = scored(fold, "auroc", kind).influence
    how = METRICS["auroc"].how
    resampled = scored(fold, "auprc", kind)  # the way of metrics without influence values
    assert resampled.influence.shape[-1] == 1000
    spread = np.square(by_influence).sum(axis=-1)
    assert spread.min() > 0
    monkeypatch.setitem(
        METRICS, "auprc", METRICS["auprc"].__class__("auprc", "AUPRC", True, METRICS["auprc"].kinds, how)
    )
    again = np.square(scored(fold, "auprc", kind).influence).sum(axis=-1)
    np.testing.assert_allclose(again, spread, rtol=0.2)


def test_a_label_with_one_class_is_left_out():
    p, fold = a_fold(TargetKind.MULTILABEL)
    fold.target[:, 1] = 0
    found = scored(fold, "auroc", TargetKind.MULTILABEL)
    expected = score("auroc", torch.tensor(p[..., [0, 2]]), torch.tensor(fold.target[:, [0, 2]]), TargetKind.MULTILABEL)
    np.testing.assert_allclose(found.values, expected.numpy())


def test_sums_of_scores_have_sums_of_influence_values():
    _, fold = a_fold(TargetKind.BINARY)
    models = [Model(Line(name, "zero"), COMPLETE) for name in "abc"]
    table = ScoreTable("auroc", models, [scored(fold, "auroc", TargetKind.BINARY)])
    theta, patients = table.scores_of([{0: 1.0}, {0: 0.5, 2: 0.5}])
    values = table.folds[0].values
    np.testing.assert_allclose(theta[0, :, 1], (values[:, 0] + values[:, 2]) / 2)
    by_hand = table.folds[0].influence[:, [0, 2]].mean(axis=(0, 1))
    np.testing.assert_allclose(patients.same[0, 1, 1], by_hand @ by_hand)
    assert table.defined({0: 1.0})
    table.folds[0].values[0, 1] = np.nan
    assert not table.defined({0: 1.0, 1: -1.0})
