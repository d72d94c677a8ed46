"""Labels of the models that are fitted, and constants for labels that never differ."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench import TargetKind
from fusionbench_plugins.strategies._labels import log_odds, log_scores, models_of


def test_a_multi_label_target_is_one_model_for_each_label():
    target = np.array([[0, 1], [1, 1], [0, 0]])
    assert [labels.tolist() for labels in models_of(target, TargetKind.MULTILABEL)] == [[0, 1, 0], [1, 1, 0]]
    for kind in (TargetKind.BINARY, TargetKind.MULTICLASS):
        assert [labels.tolist() for labels in models_of(target[:, 0], kind)] == [[0, 1, 0]]


def test_constants_are_shares_with_half_a_row_more():
    labels = np.array([1, 1, 1, 0])
    assert log_odds(labels) == pytest.approx(np.log(3.5 / 1.5))
    assert np.exp(log_scores(labels, 3)) == pytest.approx(np.array([1.5, 3.5, 0.5]) / 5.5)
    assert np.isfinite(log_odds(np.zeros(3, dtype=np.int64)))
