"""Lines against a baseline at many points: the pair's own numbers at each, and one correction for all."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.statistics.components import PatientCovariance
from fusionbench.statistics.contrasts import contrast_of, contrasts_of
from fusionbench.statistics.verdict import verdict_of

FEW = 1000


def profiles(folds=5, seeds=2, points=4, lines=5, patients=300, seed=0, run=0.006):
    """Scores and influence values of curves on which nothing differs."""
    generator = np.random.default_rng(seed)
    theta, influence = np.full((folds, seeds, points, lines), 0.8), []
    for k in range(folds):

        def drawn(*shape):
            return generator.normal(size=shape)

        values = drawn(1, 1, 1, patients) + 0.4 * drawn(1, points, 1, patients) + 0.4 * drawn(1, 1, lines, patients)
        values = (values + 0.3 * drawn(seeds, points, lines, patients)) * 0.02 / np.sqrt(patients)
        influence.append(values)
        theta[k] += values.sum(axis=-1)
        theta[k] += run * (0.8 * drawn(seeds, 1, lines) + 0.6 * drawn(seeds, points, lines))
    return theta, influence


def test_each_point_has_the_numbers_of_its_pairs():
    theta, influence = profiles()
    found = contrasts_of(theta, influence, 400.0, 2, draws=FEW)
    for p in range(4):
        patients = PatientCovariance.of_influence([v[:, p] for v in influence], 400.0)
        verdict = verdict_of(theta[:, :, p], patients, draws=FEW)
        np.testing.assert_allclose(
            found.difference[p], theta[:, :, p].mean((0, 1)) - theta[:, :, p, 2].mean(), atol=1e-12
        )
        for i, (first, second) in enumerate(zip(verdict.pairs.first, verdict.pairs.second, strict=True)):
            if 2 in (first, second):
                other, sign = (second, -1) if first == 2 else (first, 1)
                assert found.p[p, other] == verdict.pairs.p[i]
                ends = sorted((sign * verdict.pairs.low[i], sign * verdict.pairs.high[i]))
                np.testing.assert_allclose((found.low[p, other], found.high[p, other]), ends)
        np.testing.assert_array_equal(found.p_best[p], verdict.groups.p_best)


def test_the_baseline_does_not_differ_from_itself():
    found = contrasts_of(*profiles(), 400.0, 1, draws=FEW)
    for name in ("difference", "low", "high", "low_these_models", "high_these_models"):
        assert (getattr(found, name)[:, 1] == 0).all()
    assert (found.p[:, 1] == 1).all()
    assert (found.p_adjusted[:, 1] == 1).all()


def test_one_line_at_one_point_needs_no_correction():
    theta, influence = profiles(points=1, lines=2, seed=3)
    found = contrasts_of(theta, influence, 400.0, 0, draws=20_000)
    assert found.p_adjusted[0, 1] == pytest.approx(found.p[0, 1], abs=0.03)


def test_many_comparisons_cost_something_and_copies_of_a_point_nothing():
    theta, influence = profiles(points=2, lines=2, seed=4)
    one = contrasts_of(theta[:, :, :1], [v[:, :1] for v in influence], 400.0, 0, draws=5000)
    two = contrasts_of(theta, influence, 400.0, 0, draws=5000)
    same = contrasts_of(
        np.repeat(theta[:, :, :1], 6, axis=2), [np.repeat(v[:, :1], 6, axis=1) for v in influence], 400.0, 0, draws=5000
    )
    assert two.p_adjusted[0, 1] > one.p_adjusted[0, 1]
    # six times the same point: far from the six times that a correction blind to it would take
    assert same.p_adjusted[0, 1] < 2.5 * one.p_adjusted[0, 1]
    np.testing.assert_allclose(same.difference, one.difference[0, 1] * np.array([[0, 1]] * 6))


def test_a_planted_difference_is_shown_where_it_is():
    theta, influence = profiles(points=3, lines=6)
    theta[:, :, 2, 4] += 0.06
    found = contrasts_of(theta, influence, 400.0, 0, draws=FEW)
    shown = found.p_adjusted < 0.05
    assert shown[:, 4].tolist() == [False, False, True]
    assert found.p_best[2, 4] == 1
    assert found.p_best[2, 0] < 0.05


@pytest.mark.parametrize(("folds", "seeds"), [(5, 1), (4, 2)])
def test_it_seldom_shows_what_is_not_there(folds, seeds):
    """100 studies at .05: 11 or more false ones have a chance of 1 in 100 where the promise holds."""
    studies = (profiles(folds, seeds, points=4, lines=5, seed=100 + s, patients=120) for s in range(100))
    wrong = [bool((contrasts_of(*study, 100.0, 0, draws=500).p_adjusted < 0.05).any()) for study in studies]
    assert sum(wrong) <= 11


def test_one_run_speaks_of_these_models_only():
    theta, influence = profiles(folds=1, seeds=1)
    found = contrasts_of(theta, influence, 400.0, 0)
    for name in ("low", "high", "p", "p_adjusted", "p_best"):
        assert np.isnan(getattr(found, name)).all()
    assert (found.low_these_models <= found.difference).all()
    assert (found.p_these_models <= 1).all()


def test_the_same_from_the_verdict_of_one_point():
    theta, influence = profiles(points=1)
    whole = contrasts_of(theta, influence, 400.0, 3, draws=FEW)
    patients = PatientCovariance.of_influence([v[:, 0] for v in influence], 400.0)
    one = contrast_of(verdict_of(theta[:, :, 0], patients, draws=FEW), 3)
    for name, values in one.items():
        if name != "t":
            np.testing.assert_array_equal(getattr(whole, name)[0], values)
