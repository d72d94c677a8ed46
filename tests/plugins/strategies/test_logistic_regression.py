"""Logistic regression: what scikit-learn gives by hand on the same features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression as ByHand

from fusionbench import TargetKind
from fusionbench_plugins.strategies.logistic_regression import LogisticRegression
from tests.plugins.strategies.fitting import batch_of, fitted, labels_of, plain_features, spec_of


def by_hand(x, y, others, penalty):
    return ByHand(C=penalty, max_iter=5000).fit(x, y).decision_function(others)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_logits_are_those_of_scikit_learn(penalty):
    batch, other = batch_of(), batch_of(seed=9)
    x, others = plain_features(batch), plain_features(other)
    for kind in TargetKind:
        target = labels_of(batch, kind)
        found = fitted(LogisticRegression, kind, batch, target, C=penalty)(other)
        if kind is TargetKind.MULTILABEL:
            wanted = np.stack([by_hand(x, y, others, penalty) for y in target.numpy().T], axis=1)
        else:
            wanted = by_hand(x, target.numpy(), others, penalty).reshape(len(others), -1)
        assert np.allclose(found.numpy(), wanted, atol=1e-10)


def test_of_classes_that_no_row_has_the_score_is_that_of_half_a_row():
    batch = batch_of()
    target = labels_of(batch, TargetKind.BINARY) * 2  # classes 0 and 2 of four
    logits = fitted(LogisticRegression, TargetKind.MULTICLASS, batch, target)(batch).numpy()
    wanted = by_hand(plain_features(batch), target.numpy(), plain_features(batch), 1.0)
    assert np.allclose(logits[:, 2] - logits[:, 0], wanted, atol=1e-10)
    assert np.allclose(logits[:, [1, 3]], np.log(0.5 / (len(target) + 2)))


def test_a_penalty_must_be_positive():
    with pytest.raises(ValueError, match="C must be above 0, found 0"):
        LogisticRegression(spec_of(TargetKind.BINARY), C=0)


def test_it_is_a_control_and_its_logits_have_the_type_of_its_features():
    assert LogisticRegression.control
    batch = batch_of()
    part = fitted(LogisticRegression, TargetKind.BINARY, batch, labels_of(batch, TargetKind.BINARY))
    single = type(batch)({n: f.float() for n, f in batch.features.items()}, batch.present)
    assert part(single).dtype == torch.float32
    assert torch.allclose(part(single).double(), part(batch), atol=1e-5)
