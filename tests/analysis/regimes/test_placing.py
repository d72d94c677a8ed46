"""Where a data set lies on the map: near what it is like, less certain where folds differ, off the map where nothing is like it."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.analysis.regimes.placing import measured, placed
from tests.analysis.regimes.test_charted import small_map
from tests.analysis.regimes.test_measures import auroc_of


def folds_of(values, spread, folds=5):
    draws = np.random.default_rng(0).normal(size=(folds, len(values)))
    return auroc_of(np.asarray(values) + spread * (draws - draws.mean(axis=0)))


def test_a_place_is_found_and_is_less_certain_where_folds_differ():
    values = [1.4, 0.1, 1.5]  # dominance 1.3 / 1.5
    sharp, blurred = (measured(folds_of(values, s), 0.95) for s in (0.01, 0.2))
    assert sharp.found.dominance == pytest.approx(1.3 / 1.5, abs=0.01)
    for found in (sharp, blurred):
        assert found.low[0] < found.found.dominance < found.high[0]
    assert sharp.high[0] - sharp.low[0] < 0.1 < blurred.high[0] - blurred.low[0]
    assert sharp.says_enough
    assert not measured(auroc_of([[0.02, 0.01, 0.03]]), 0.95).says_enough


def test_one_fold_has_a_place_and_no_interval():
    found = measured(auroc_of([[1.4, 0.1, 1.5]]), 0.95)
    assert np.isnan(found.low).all()
    assert placed(found, small_map()).share == [1.0]


def test_what_all_folds_share_cancels():
    """Hard and easy folds move every subset alike, and no share of the information."""
    whole = np.array([0.8, 0.9, 1.0, 1.1, 1.2])[:, None]
    found = measured(auroc_of(whole * [0.7, 0.3, 1.0]), 0.95)
    assert found.high - found.low == pytest.approx([0, 0, 0], abs=0.02)


def test_the_nearest_regime_and_what_could_be_the_best_there():
    found = placed(measured(folds_of([1.4, 0.1, 1.5], 0.01), 0.95), small_map())
    assert found.nearest == [1]
    assert found.share == pytest.approx([1.0])
    assert found.inside
    assert found.possible == pytest.approx(small_map().possible[1].astype(float))
    between = placed(measured(folds_of([1.125, 0.375, 1.5], 0.1), 0.95), small_map())
    assert set(between.nearest) == {0, 1}
    assert sum(between.share) == pytest.approx(1.0)
    assert ((between.possible > 0) & (between.possible < 1)).any()


def test_a_data_set_unlike_all_regimes_lies_off_the_map():
    found = placed(measured(folds_of([0.0, 0.0, 1.5], 0.01), 0.95), small_map())
    assert found.distance > small_map().reach
    assert not found.inside
