"""Differences: symmetric, certain where nothing scatters, silent where nothing differs."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.statistics.components import PatientCovariance, components
from fusionbench.statistics.pairs import pairs_of, satterthwaite, smallest_detectable, t_and_p, variance_of_differences
from tests.statistics.sheet import agrees
from tests.statistics.test_components import board


def test_a_table_of_pairs_changes_its_sign_across_the_diagonal():
    pairs = pairs_of(components(*board(lines=4)))
    table = pairs.square(pairs.difference, 4)
    agrees(table, -table.T)
    assert table[0, 1] == pairs.difference[0]


def test_intervals_and_p_agree():
    pairs = pairs_of(components(*board()))
    outside = (pairs.low > 0) | (pairs.high < 0)
    assert ((pairs.p < 0.05) == outside).all()
    agrees(pairs.rope.sum(axis=1), np.ones(len(pairs.p)))


def test_training_again_is_less_certain_than_these_models():
    pairs = pairs_of(components(*board(run=0.02)))
    assert (pairs.se > pairs.se_these_models).all()


def test_identical_predictions_are_never_different_and_constants_always():
    theta = np.full((3, 2, 3), 0.5)
    theta[:, :, 2] = 0.6
    pairs = pairs_of(components(theta, PatientCovariance.of(np.zeros((3, 2, 3, 2, 3)), np.inf)))
    assert pairs.p.tolist() == [1, 0, 0]
    assert pairs.rope.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert np.isnan(smallest_detectable(pairs))


def test_a_wider_region_of_equivalence_holds_more():
    found = components(*board())
    narrow, wide = (pairs_of(found, equivalence=r).rope[:, 1] for r in (0.001, 0.05))
    assert (wide > narrow).all()


def test_confidence_widens_intervals():
    found = components(*board())
    a, b = (pairs_of(found, confidence=c) for c in (0.9, 0.99))
    assert (a.high < b.high).all()


def test_rounding_is_no_variance():
    agrees(variance_of_differences(np.full((2, 2), 0.3) + np.diag([1e-16, 0])), np.zeros((2, 2)))


def test_degrees_of_freedom_of_one_term_are_its_own():
    agrees(satterthwaite(np.array([0.2]), [(np.array([0.2]), 7.0)]), [7.0])
    assert np.isinf(satterthwaite(np.array([0.2]), [(np.array([0.2]), np.inf)]))
    assert 4 < satterthwaite(np.array([0.4]), [(np.array([0.2]), 3.0), (np.array([0.2]), 3.0)])[0] <= 6


def test_t_of_nothing():
    t, p = t_and_p(np.array([0.0, 0.1, -0.1]), np.zeros(3), np.full(3, 5.0))
    assert t.tolist() == [0, np.inf, -np.inf]
    assert p.tolist() == [1, 0, 0]


def test_more_seeds_detect_smaller_differences():
    few, many = (
        np.median([smallest_detectable(pairs_of(components(*board(seeds=s, seed=i)))) for i in range(10)])
        for s in (2, 8)
    )
    assert many < few
    assert few == pytest.approx(few)


def test_without_degrees_of_freedom_nothing_is_shown():
    theta, patients = board(folds=1, seeds=1, lines=3)
    pairs = pairs_of(components(theta, patients._replace(df=0.0)))
    assert pairs.p.tolist() == [1, 1, 1]
    assert np.isinf(pairs.high - pairs.low).all()
    assert np.isfinite(pairs.rope).all()
