"""Seeds of one strategy dealt out to lines: nothing differs, and the rule must not say so."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest

from benchmarks.statistics.networks import deals, scores_of, share_of, standard_error, trained
from fusionbench.analysis.ranking.scores import ScoredFold


def drawn(run, patient, seed=0, folds=3, seeds=20, patients=60):
    """Scores of one strategy: what chance of training moves, and what patients move alike for all seeds."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(folds):
        own = draw.normal(size=(seeds, 1, patients)) * patient / patients**0.5
        common = draw.normal(size=(1, 1, patients)) * patient / patients**0.5
        values = 0.8 + run * draw.normal(size=(seeds, 1))
        found.append(ScoredFold(values, own + common, patients - 1.0, 0))
    return found


def test_seeds_are_dealt_once_each():
    for dealt in islice(deals(20, 4, np.random.default_rng(0)), 3):
        assert dealt.shape == (5, 4)
        assert sorted(dealt.ravel()) == list(range(20))


def test_chance_of_training_fools_who_counts_patients_only_and_not_the_rule():
    found = [share_of(drawn(run=0.02, patient=0.003, seed=s), lines=4, divisions=20) for s in range(10)]
    assert np.mean([f.these for f in found]) > 0.3
    assert np.mean([f.again for f in found]) <= 0.05 + 3 * standard_error(2 * len(found))
    assert {f.pairs for f in found} == {20 * 6}
    assert all(math.isnan(f.out) for f in found)


def test_groups_are_made_of_as_many_deals_as_asked():
    share = share_of(drawn(run=0.02, patient=0.003), lines=4, divisions=3, simulated=2)
    assert share.out in (0.0, 0.5, 1.0)


def test_a_standard_error_falls_with_the_root_of_pairs():
    assert standard_error(100) == pytest.approx(0.0218, abs=1e-4)
    assert standard_error(400) == pytest.approx(standard_error(100) / 2)


@pytest.mark.slow  # 96 networks are trained: whether real ones behave as drawn scores do is the question
def test_seed_groups_of_one_trained_strategy_are_seldom_called_different(tmp_path):
    small = ["task.rows=1500", "training.epochs=6", "splits.folds=3", "training.batch_size=128"]
    run = trained("planted", tmp_path, 8, [*small, "training.workers=1"])
    conditions = ("complete@0", "random@0.5")
    found = [share_of(scores_of(run, arm, c), lines=4, divisions=50) for arm in run.resolved.arms for c in conditions]
    assert len(found) == 8
    assert np.mean([f.again for f in found]) <= 0.05 + 3 * standard_error(sum(f.apart for f in found))
