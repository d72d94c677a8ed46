"""Gradient boosting: trees kept as tensors give what scikit-learn's trees give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from fusionbench import TargetKind
from fusionbench_plugins.strategies.gradient_boosting import GradientBoosting
from tests.plugins.strategies.fitting import batch_of, fitted, labels_of, plain_features, spec_of

OPTIONS = {"trees": 12, "shrinkage": 0.2, "leaves": 6, "leaf_rows": 5, "penalty": 0.5}


def by_hand(x, y, others):
    made = HistGradientBoostingClassifier(
        max_iter=12,
        learning_rate=0.2,
        max_leaf_nodes=6,
        min_samples_leaf=5,
        l2_regularization=0.5,
        early_stopping=False,
    )
    return made.fit(x, y).decision_function(others)


@pytest.mark.parametrize("kind", list(TargetKind))
def test_logits_are_those_of_scikit_learn(kind):
    batch, other = batch_of(), batch_of(seed=9)
    x, others, target = plain_features(batch), plain_features(other), labels_of(batch, kind)
    found = fitted(GradientBoosting, kind, batch, target, **OPTIONS)(other).numpy()
    if kind is TargetKind.MULTILABEL:
        wanted = np.stack([by_hand(x, y, others) for y in target.numpy().T], axis=1)
    else:
        wanted = by_hand(x, target.numpy(), others).reshape(len(others), -1)
    assert np.allclose(found, wanted, atol=1e-10)
    assert found.std() > 0.1


def test_two_classes_of_several_share_their_difference():
    batch = batch_of()
    target = labels_of(batch, TargetKind.BINARY) * 3
    logits = fitted(GradientBoosting, TargetKind.MULTICLASS, batch, target, **OPTIONS)(batch).numpy()
    wanted = by_hand(plain_features(batch), target.numpy(), plain_features(batch))
    assert np.allclose(logits[:, 3] - logits[:, 0], wanted, atol=1e-10)
    assert np.allclose(logits[:, [1, 2]], np.log(0.5 / (len(target) + 2)))


def test_a_label_that_never_differs_is_a_constant():
    batch = batch_of()
    part = fitted(GradientBoosting, TargetKind.BINARY, batch, torch.ones(300, dtype=torch.int64), **OPTIONS)
    assert torch.allclose(part(batch), torch.tensor(np.log(300.5 / 0.5)))


@pytest.mark.parametrize(
    ("name", "value"), [("trees", 0), ("leaves", 1), ("shrinkage", 0), ("penalty", -1), ("leaf_rows", 0)]
)
def test_options_that_make_no_trees_are_refused(name, value):
    with pytest.raises(ValueError, match="trees and leaf_rows must be 1 or more"):
        GradientBoosting(spec_of(TargetKind.BINARY), **{name: value})
