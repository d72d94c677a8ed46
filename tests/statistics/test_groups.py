"""Groups: who could be the best."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.statistics.components import components
from fusionbench.statistics.groups import groups_of
from fusionbench.statistics.pairs import pairs_of
from fusionbench.statistics.simulation import simulated_t
from tests.statistics.test_components import board


def grouped(theta, patients, level=0.05):
    """Groups of a board."""
    found = components(theta, patients)
    pairs = pairs_of(found)
    alike = pairs.square(((pairs.difference == 0) & (pairs.variance == 0)).astype(float), found.lines) != 0
    return groups_of(pairs.square(pairs.t, found.lines), alike, simulated_t(found, 4000), level)


def test_lines_far_below_are_out_and_have_groups_of_their_own():
    theta, patients = board(lines=6)
    theta[:, :, 4] -= 0.2
    theta[:, :, 5] -= 0.4
    found = grouped(theta, patients)
    assert found.group.tolist() == [1, 1, 1, 1, 2, 3]
    assert found.p_best[5] < found.p_best[0]


def test_the_best_line_is_always_in_group_one():
    for seed in range(20):
        theta, patients = board(seeds=2, seed=seed, fold=0.01)
        found = grouped(theta, patients)
        assert found.group[theta.mean(axis=(0, 1)).argmax()] == 1
        assert found.p_best.max() == 1


@pytest.mark.slow  # 150 boards of 4,000 draws
def test_equal_lines_stay_together():
    out = [grouped(*board(seeds=3, lines=8, seed=1000 + s)).group.max() > 1 for s in range(150)]
    assert np.mean(out) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)


def test_lines_that_never_differ_share_a_group():
    theta, patients = board(lines=5)
    theta[:, :, 3] = theta[:, :, 0]
    twins = patients._replace(
        same=patients.same[:, [0, 1, 2, 0, 4]][:, :, [0, 1, 2, 0, 4]],
        cross=patients.cross[:, [0, 1, 2, 0, 4]][:, :, [0, 1, 2, 0, 4]],
    )
    theta[:, :, [0, 3]] = theta.mean(axis=1, keepdims=True)[:, :, [0, 3]]  # without chance
    found = grouped(theta, twins)
    assert found.group[0] == found.group[3]
    assert found.p_best[0] == found.p_best[3]


def test_a_stricter_level_leaves_more_lines_in():
    theta, patients = board(lines=8, seeds=2)
    theta[:, :, 4:] -= 0.012
    sizes = [(grouped(theta, patients, level).group == 1).sum() for level in (0.2, 0.05, 0.001)]
    assert sizes == sorted(sizes)
