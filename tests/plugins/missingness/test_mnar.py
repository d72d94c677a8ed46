"""Missing not at random: the label decides, as strongly as the dial says."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench import MissingnessContext
from fusionbench.errors import ConfigError
from fusionbench_plugins.missingness.mnar import NotAtRandom
from tests.missingness.test_masks import context


def correlation(name_or_mechanism, driver, column=1):
    drawn = name_or_mechanism.thresholds(context(), np.random.default_rng(1))
    return np.corrcoef(driver, drawn[:, column])[0, 1]


def test_not_at_random_follows_the_label_and_the_dial():
    target = context().target
    assert correlation(NotAtRandom(0.9), target) < -0.4
    assert correlation(NotAtRandom(-0.9), target) > 0.4
    assert abs(correlation(NotAtRandom(0.0), target)) < 0.05


def test_not_at_random_reads_labels_and_classes():
    rng = np.random.default_rng(0)
    available = np.ones((2000, 2), bool)
    labels, classes = rng.integers(0, 2, (2000, 3)), rng.integers(0, 4, 2000)
    for mechanism, target, driver in (
        (NotAtRandom(0.9), labels, labels.mean(1)),
        (NotAtRandom(0.9, label=2), labels, labels[:, 2]),
        (NotAtRandom(0.9, label=3), classes, classes == 3),
    ):
        drawn = mechanism.thresholds(MissingnessContext(available, ("a", "b"), target), rng)
        assert np.corrcoef(driver, drawn[:, 0])[0, 1] < -0.4
    with pytest.raises(ConfigError, match="column from 0 to 2"):
        NotAtRandom(label=3).thresholds(MissingnessContext(available, ("a", "b"), labels), rng)
