from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.integrate import trapezoid

from fusionbench.metrics.statistics import (
    area_weights,
    bootstrap,
    corrected_resampled_t,
    friedman,
    holm,
    paired_t,
    shapley_weights,
    subsets_of,
    wilcoxon,
)

EXACT = {"rtol": 0, "atol": 1e-12}


def rng(seed=0):
    return np.random.default_rng(seed)


# --- the bootstrap


@pytest.mark.slow
def test_equal_models_are_called_different_about_as_often_as_the_level_says():
    tests, rejected, covered = 400, np.zeros(2), 0
    for seed in range(tests):
        r = rng(seed)
        patients = np.repeat(np.arange(150), 2)
        target = np.repeat(r.random(150) < 0.3, 2).astype(np.int64)
        shared = np.repeat(r.normal(size=150), 2) + target
        scores = shared + r.normal(size=(2, 300))
        got = bootstrap(scores, target, patients, "auroc", 400, r).difference(0, 1)
        rejected += [got.p_value < 0.05, got.p_percentile < 0.05]
        covered += got.low <= 0 <= got.high
    assert (rejected / tests > 0.02).all()
    assert (rejected / tests < 0.085).all()
    assert 0.92 < covered / tests < 0.98


@pytest.mark.slow
def test_the_corrected_t_keeps_its_level_where_the_plain_one_does_not():
    """Random splits of one sample; two equally good, noisy rules learned from the training rows."""
    plain, corrected, samples = 0, 0, 300
    for seed in range(samples):
        r = rng(seed)
        y = r.integers(0, 2, 200)
        x = r.normal(size=(200, 2)) + 0.6 * y[:, None]  # each rule sees one of two equally good columns
        scores = np.array([_accuracies(x, y, r.permutation(200), 160) for _ in range(15)])
        plain += paired_t(*scores.T).p_value < 0.05
        corrected += corrected_resampled_t(*scores.T, 160, 40).p_value < 0.05
    assert plain / samples > 0.15
    assert corrected / samples < 0.09


def _accuracies(x, y, order, n_train):
    train, test = order[:n_train], order[n_train:]
    middle = (x[train][y[train] == 0].mean(0) + x[train][y[train] == 1].mean(0)) / 2
    return ((x[test] > middle) == y[test][:, None]).mean(0)


# --- tests over folds


def test_holm_equals_known_values_and_leaves_untested_pairs_out():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], **EXACT)
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04], **EXACT)
    assert holm([0.9, 0.8]).max() == 1
    assert holm([]).shape == (0,)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1)), st.floats(0.01, 0.2))
def test_holm_rejects_what_its_step_down_rule_rejects(p, alpha):
    rejected = np.zeros(len(p), bool)
    for step, i in enumerate(np.argsort(p, kind="stable")):
        if p[i] * (len(p) - step) >= alpha:
            break
        rejected[i] = True
    np.testing.assert_array_equal(holm(p) < alpha, rejected)


def test_the_paired_t_equals_scipy():
    a, b = rng().normal(size=(2, 12))
    np.testing.assert_allclose(paired_t(a, b), stats.ttest_rel(a, b), **EXACT)


def test_the_corrected_t_follows_its_formula():
    a, b = rng(1).normal(size=(2, 15))
    d = a - b
    expected = d.mean() / math.sqrt((1 / 15 + 1 / 9) * d.var(ddof=1))
    got = corrected_resampled_t(a, b, n_train=90, n_test=10)
    assert got.statistic == pytest.approx(expected, abs=1e-12)
    assert got.p_value == pytest.approx(2 * stats.t.sf(abs(expected), 14), abs=1e-12)
    assert got.p_value > paired_t(a, b).p_value


def test_tests_without_any_spread_say_what_is_certain():
    same = np.array([0.7, 0.8, 0.9])
    assert paired_t(same, same) == wilcoxon(same, same) == (0.0, 1.0)
    assert corrected_resampled_t(same + 0.5, same + 0.25, 8, 2)[1] < 1e-9
    assert paired_t(np.array([2.0, 3.0]), np.array([1.0, 2.0])) == (math.inf, 0.0)


@pytest.mark.parametrize("rows", [8, 40, 80])
def test_wilcoxon_equals_scipy(rows):
    a, b = rng(2).normal(size=(2, rows))
    np.testing.assert_allclose(wilcoxon(a, b), stats.wilcoxon(a, b), **EXACT)


def test_wilcoxon_leaves_equal_pairs_out():
    a, b = rng(3).normal(size=(2, 10))
    np.testing.assert_allclose(wilcoxon(np.append(a, [1, 2]), np.append(b, [1, 2])), wilcoxon(a, b), **EXACT)


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_equals_scipy(ties):
    values = rng(4).normal(size=(10, 4))
    values = values.round(0) if ties else values
    got = friedman(values)
    np.testing.assert_allclose(got[:2], stats.friedmanchisquare(*values.T), **EXACT)
    assert got.mean_ranks.sum() == pytest.approx(10)


def test_friedman_ranks_the_best_first_in_either_direction():
    values = np.array([[0.9, 0.5, 0.7]] * 6)
    assert friedman(values).mean_ranks.tolist() == [1, 3, 2]
    assert friedman(values, higher_is_better=False).mean_ranks.tolist() == [3, 1, 2]
    assert friedman(np.ones((4, 3)))[:2] == (0.0, 1.0)


def test_critical_differences_are_those_of_demsar():
    # q at 0.05 and 0.10 for 2, 5 and 10 models in table 5a of Demsar 2006
    for alpha, models, q in ((0.05, 2, 1.960), (0.05, 5, 2.728), (0.05, 10, 3.164), (0.1, 5, 2.459)):
        got = friedman(rng().normal(size=(20, models)), alpha=alpha).critical_difference
        assert got == pytest.approx(q * math.sqrt(models * (models + 1) / (6 * 20)), abs=2e-3)


def test_tests_refuse_what_they_cannot_compare():
    with pytest.raises(ValueError, match="equally long"):
        paired_t(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="at least two"):
        wilcoxon(np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="must be positive"):
        corrected_resampled_t(np.ones(3), np.ones(3), 0, 1)
    with pytest.raises(ValueError, match="without NaN"):
        friedman(np.array([[1.0, np.nan], [1.0, 2.0]]))


# --- summary numbers


def mean_height(rates, values):
    return np.asarray(values) @ area_weights(rates)


def test_the_area_is_the_mean_height():
    assert mean_height([0.0, 0.4, 0.9], [0.8, 0.8, 0.8]) == pytest.approx(0.8)
    assert mean_height([0.0, 1.0], [1.0, 0.5]) == pytest.approx(0.75)
    rates, values = np.array([0, 0.1, 0.5, 0.9]), rng().random((3, 4))
    np.testing.assert_allclose(mean_height(rates, values), trapezoid(values, rates) / 0.9, **EXACT)
    assert np.isnan(mean_height([0, 1], [np.nan, 1.0]))


@pytest.mark.parametrize("rates", [[0.1], [0.5, 0.1], [0.1, 0.1]])
def test_areas_need_rising_rates(rates):
    with pytest.raises(ValueError, match="rising"):
        area_weights(rates)


def loop_shapley(values, names):
    """The definition: the mean gain over all orders in which modalities may arrive."""
    gains = dict.fromkeys(names, 0.0)
    orders = list(itertools.permutations(names))
    for order in orders:
        for i, name in enumerate(order):
            gains[name] += (values[frozenset(order[: i + 1])] - values[frozenset(order[:i])]) / len(orders)
    return gains


def shapley(values, names):
    ordered = np.array([values[subset] for subset in subsets_of(names)])
    return dict(zip(names, shapley_weights(len(names)) @ ordered, strict=True))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1000))
def test_shapley_values_equal_all_orders_and_add_up(modalities, seed):
    names = tuple("abcd"[:modalities])
    values = dict(zip(subsets_of(names), rng(seed).random(2**modalities), strict=True))
    got = shapley(values, names)
    assert got == pytest.approx(loop_shapley(values, names), abs=1e-12)
    assert sum(got.values()) == pytest.approx(values[frozenset(names)] - values[frozenset()], abs=1e-12)


def test_modalities_that_do_the_same_share_and_a_useless_one_gets_nothing():
    values = {s: 0.9 if {"a", "b"} & s else 0.5 for s in subsets_of(("a", "b", "c"))}
    assert shapley(values, ("a", "b", "c")) == pytest.approx({"a": 0.2, "b": 0.2, "c": 0.0}, abs=1e-12)


def test_subsets_have_the_order_of_the_ceiling():
    assert subsets_of(("a", "b")) == [frozenset(), {"a"}, {"b"}, {"a", "b"}]
    np.testing.assert_allclose(shapley_weights(3).sum(axis=1), 0, atol=1e-15)
