"""The parts of the variance: what they are with planted scatter, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.statistics.components import PatientCovariance, centred, components, symmetric_root
from tests.statistics.sheet import agrees


def board(folds=5, seeds=3, lines=8, run=0.006, fold=0.0, patients=300, seed=0):
    """Scores and influence values drawn with known variances."""
    generator = np.random.default_rng(seed)
    theta, influence = np.full((folds, seeds, lines), 0.8), []
    for k in range(folds):
        shared = generator.normal(size=(1, 1, patients)) + 0.5 * generator.normal(size=(1, lines, patients))
        values = (shared + 0.3 * generator.normal(size=(seeds, lines, patients))) * 0.02 / np.sqrt(patients)
        influence.append(values)
        theta[k] += (
            values.sum(axis=-1) + run * generator.normal(size=(seeds, lines)) + fold * generator.normal(size=lines)
        )
    return theta, PatientCovariance.of_influence(influence, 500.0)


def test_influence_values_and_whole_matrices_give_the_same():
    generator = np.random.default_rng(1)
    influence = [generator.normal(size=(3, 4, 20)) for _ in range(2)]
    whole = np.stack([np.einsum("smp,tlp->smtl", v, v) for v in influence])
    for a, b in zip(PatientCovariance.of_influence(influence, 9.0), PatientCovariance.of(whole, 9.0), strict=True):
        agrees(a, b)


def test_run_variance_is_found():
    found = [components(*board(seed=s)).ms_run for s in range(60)]
    expected = (0.006**2 + 0.3**2 * 0.02**2) / 5
    assert np.mean(found) == pytest.approx(expected, rel=0.1)


def test_folds_in_which_lines_differ_raise_the_dispersion():
    assert np.mean([components(*board(fold=0.02, seed=s)).dispersion for s in range(20)]) > 5
    assert np.mean([components(*board(seed=s)).dispersion for s in range(20)]) < 1.5


def test_a_line_whose_seeds_scatter_leaves_the_pool():
    theta, patients = board(seeds=5)
    theta[:, :, 2] += 0.08 * np.random.default_rng(5).normal(size=(5, 5))
    found = components(theta, patients)
    assert found.unstable == (2,)
    assert 2 not in found.pool
    assert found.run[2] > 5 * found.ms_run


def test_stable_lines_are_seldom_called_unstable():
    assert sum(bool(components(*board(seeds=3, seed=s)).unstable) for s in range(100)) <= 4


def test_one_seed_knows_no_runs():
    found = components(*board(seeds=1))
    assert found.ms_run == 0
    assert np.isinf(found.df_run)
    assert not found.run.any()
    agrees(found.same, found.cross)


def test_a_line_without_chance_has_no_run_variance():
    theta, patients = board()
    theta[:, :, 0] = theta[:, :1, 0]
    found = components(theta, patients)
    assert found.fixed.tolist() == [True] + [False] * 7
    assert found.run[0] == 0
    assert 0 not in found.pool


def test_more_patients_in_each_fold_leave_run_variance_as_it_is():
    few, many = (np.mean([components(*board(patients=n, seed=s)).ms_run for s in range(30)]) for n in (100, 900))
    assert few == pytest.approx(many, rel=0.2)


@pytest.mark.parametrize("theta", [np.zeros((2, 2)), np.full((2, 2, 2), np.nan), np.zeros((2, 2, 3))])
def test_what_does_not_fit_is_refused(theta):
    with pytest.raises(ValueError, match=r"scores must be|covariance is"):
        components(theta, PatientCovariance.of(np.zeros((2, 2, 2, 2, 2)), 9.0))


def test_roots_and_centres():
    matrix = np.array([[2.0, 1.0], [1.0, 2.0]])
    agrees(symmetric_root(matrix) @ symmetric_root(matrix), matrix)
    agrees(centred(np.arange(6.0).reshape(2, 3), 0, 1), np.zeros((2, 3)))
