"""One line: intervals hold what they promise, and stay where scores can be."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.statistics.components import PatientCovariance, components
from fusionbench.statistics.single import singles_of
from tests.statistics.test_components import board


@pytest.mark.slow  # 300 boards
def test_intervals_hold_the_truth():
    inside = []
    for seed in range(300):
        found = singles_of(components(*board(seeds=2, fold=0.005, seed=seed)), unit=True)
        inside += list((found.interval[:, 0] <= 0.8) & (found.interval[:, 1] >= 0.8))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.04)


def test_intervals_of_auroc_stay_between_0_and_1():
    theta, patients = board(folds=2, seeds=1, lines=3, patients=20)
    found = singles_of(components(np.clip(theta + 0.199, 0, 1), patients), unit=True)
    assert (found.interval[:, 1] <= 1).all()
    assert (found.interval[:, 0] < found.value).all()


def test_plain_intervals_are_symmetric():
    found = singles_of(components(*board()), unit=False)
    np.testing.assert_allclose(found.interval.mean(axis=1), found.value)


def test_training_again_is_less_certain_than_these_models():
    found = singles_of(components(*board(run=0.02, fold=0.01)), unit=True)
    assert (np.ptp(found.interval, axis=1) > np.ptp(found.interval_these_models, axis=1)).all()


def test_a_constant_has_no_interval():
    theta = np.full((3, 2, 2), 0.5)
    found = singles_of(components(theta, PatientCovariance.of(np.zeros((3, 2, 2, 2, 2)), np.inf)), unit=True)
    assert found.interval.tolist() == [[0.5, 0.5]] * 2


def test_without_degrees_of_freedom_an_interval_is_everything():
    theta, patients = board(folds=2, seeds=1, lines=3)
    found = singles_of(components(theta, patients._replace(df=0.0)), unit=True)
    np.testing.assert_allclose(found.interval_these_models, [[0, 1]] * 3, atol=1e-300)
