"""Dominance, redundancy and synergy: planted dials come out again, and extreme cases are what they are called."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from fusionbench.analysis.regimes.measures import information, interplay
from fusionbench_plugins.tasks.planted import Regimes


def auroc_of(values):
    """The AUROCs that hold so much information."""
    v = np.asarray(values, dtype=float)
    return norm.cdf(np.sign(v) * np.sqrt(np.abs(v)))


def ceilings(**dials):
    drawn = Regimes(**dials).draw(40_000, np.random.default_rng(0))
    return np.array([roc_auc_score(drawn.target, p) for p in drawn.ceiling.T[1:]])


@pytest.mark.parametrize("dial", ["imbalance", "redundancy", "synergy"])
@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_a_dial_that_is_turned_alone_is_measured(dial, value):
    found = interplay(ceilings(**{dial: value}, strength=0.9))
    wanted = [value if name == dial else 0.0 for name in ("imbalance", "redundancy", "synergy")]
    assert found.place == pytest.approx(wanted, abs=0.04)
    assert found.whole == pytest.approx(2 * 0.9**2, abs=0.06)
    assert found.brought.sum() == pytest.approx(found.whole)


def test_redundancy_and_synergy_cancel_and_what_is_left_is_measured():
    found = interplay(ceilings(redundancy=0.5, synergy=0.4))  # shared: .6 x .5 = .3; together: .4
    assert found.redundancy == pytest.approx(0, abs=0.02)
    assert found.synergy == pytest.approx(0.1, abs=0.03)


def test_three_modalities():
    codes = np.arange(1, 8)
    sizes = np.array([int(c).bit_count() for c in codes])
    apart = interplay(auroc_of(0.3 * sizes))
    assert apart.place == pytest.approx([0, 0, 0], abs=1e-9)
    copies = interplay(auroc_of(np.full(7, 0.9)))
    assert copies.place == pytest.approx([0, 1, 0], abs=1e-9)
    together = interplay(auroc_of(np.where(codes == 7, 0.9, 0)))
    assert together.place == pytest.approx([0, 0, 1], abs=1e-9)
    only_the_third = interplay(auroc_of(0.9 * (codes >> 2 & 1)))
    assert only_the_third.place == pytest.approx([1, 0, 0], abs=1e-9)
    assert only_the_third.alone == pytest.approx([0, 0, 0.9])


def test_shapley_values_are_means_over_orders():
    values = np.array([0, 0.2, 0.5, 0.6, 0.1, 0.7, 0.55, 1.1])
    found = interplay(auroc_of(values[1:]))
    for m in range(3):
        steps = []
        for order in itertools.permutations(range(3)):
            before = sum(1 << n for n in order[: order.index(m)])
            steps.append(values[before | 1 << m] - values[before])
        assert found.brought[m] == pytest.approx(np.mean(steps))


def test_extremes_stay_finite_and_nothing_to_share_is_no_number():
    assert information(np.array([0.5, 1.0, 0.0])) == pytest.approx([0, 22.6, -22.6], abs=0.1)
    assert np.isnan(interplay(np.array([0.5, 0.5, 0.5])).place).all()
    assert np.isnan(interplay(np.array([0.5, 0.5, 0.4])).place).all()
    worse_than_chance = interplay(np.array([0.8, 0.45, 0.8]))
    assert worse_than_chance.dominance == pytest.approx(1)
    assert worse_than_chance.synergy > 0
    many = interplay(np.tile([0.8, 0.7, 0.85], (5, 2, 1)))
    assert many.place.shape == (5, 2, 3)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_every_subset_is_needed(count):
    with pytest.raises(ValueError, match="every subset of two or more modalities"):
        interplay(np.full(count, 0.7))
