"""What resamples tell: percentile intervals, paired differences and their p-values, by hand and in their sum."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import trapezoid

from fusionbench.metrics.intervals import Bootstrap
from fusionbench.metrics.statistics import area_weights, bootstrap
from tests.metrics.test_resampling import sample
from tests.metrics.test_statistics import EXACT, rng


def test_differences_are_paired_and_identical_models_do_not_differ():
    scores, target, groups = sample(ties=False)
    scores[1] = scores[0]
    scores[2] = scores[0] + 0.05 * rng(8).normal(size=len(target))
    got = bootstrap(scores, target, groups, "auroc", 500, rng())
    assert got.difference(0, 1) == (0.0, 0.0, 0.0, 1.0, 1.0)
    paired = got.difference(0, 2)
    assert paired.value == got.point[0] - got.point[2]
    unpaired = got.intervals()[0].high - got.intervals()[0].low
    assert paired.high - paired.low < unpaired
    assert paired.low <= paired.value <= paired.high


def test_both_p_values_agree_where_both_have_resolution():
    scores, target, groups = sample(models=6, ties=False, seed=4)
    got = bootstrap(scores, target, groups, "auroc", 4000, rng())
    for i, j in itertools.combinations(range(6), 2):
        d = got.difference(i, j)
        assert d.p_value == pytest.approx(d.p_percentile, abs=0.06)


def test_contrasts_give_areas_with_intervals():
    scores, target, groups = sample()
    got = bootstrap(scores, target, groups, "auroc", 100, rng())
    rates = [0.0, 0.3, 0.9]
    area = got.contrast(area_weights(rates)[None])
    assert area.point[0] == pytest.approx(trapezoid(got.point, rates) / 0.9, abs=1e-12)
    np.testing.assert_allclose(area.values[0], trapezoid(got.values.T, rates) / 0.9, **EXACT)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_confidence_is_a_fraction(confidence):
    got = bootstrap(*sample(), "auroc", 5, rng())
    with pytest.raises(ValueError, match="between 0 and 1"):
        got.intervals(confidence)


def by_hand(point, values, usable=None):
    """A bootstrap with these numbers."""
    values = np.array(values, dtype=np.float64)
    usable = np.ones(values.shape[1], dtype=np.bool_) if usable is None else np.array(usable)
    return Bootstrap(np.array(point, dtype=np.float64), values, usable)


def test_the_ends_of_an_interval_cut_equal_tails_off_the_usable_resamples():
    values = [[*range(101), 1e9, -1e9]]
    found = by_hand([40], values, [True] * 101 + [False] * 2)
    assert found.dropped == 2
    assert found.intervals(0.9) == [pytest.approx((40, 5, 95))]
    assert found.intervals(0.5) == [pytest.approx((40, 25, 75))]


def test_a_model_without_a_value_spoils_only_the_contrasts_it_is_in():
    found = by_hand([1, 2, np.nan], [[1, 3], [2, 5], [np.nan, 7]])
    got = found.contrast([[1, -1, 0], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(got.point, [-1, np.nan])
    np.testing.assert_array_equal(got.values, [[-1, -2], [np.nan, 6]])


def test_the_p_values_of_a_difference_follow_their_formulas():
    drawn = [0.1, 0.3, -0.1, 0.2, 0.4, 0.3, 0.2, 0.5, 0.1]
    found = by_hand([0.8, 0.6], [[0.6 + d for d in drawn], [0.6] * 9]).difference(0, 1)
    mean = sum(drawn) / 9
    error = math.sqrt(sum((d - mean) ** 2 for d in drawn) / 8)
    assert found.value == pytest.approx(0.2)
    assert found.p_value == pytest.approx(2 * stats.norm.cdf(-0.2 / error))
    assert found.p_percentile == pytest.approx(2 * (1 + 1) / (9 + 1))  # one of nine lies on the other side


def test_a_difference_that_no_resample_moves_is_certain():
    found = by_hand([0.75, 0.5], [[0.75] * 4, [0.5] * 4])
    assert found.difference(0, 1) == (0.25, 0.25, 0.25, 0.0, 2 / 5)


def test_without_a_usable_resample_the_value_stays_and_nothing_else_is_known():
    found = by_hand([0.75, 0.5], [[0.1, 0.2], [0.3, 0.4]], [False, False]).difference(0, 1)
    assert found.value == 0.25
    assert all(math.isnan(number) for number in found[1:])
