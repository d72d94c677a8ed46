"""Missing completely at random: nothing of a row decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fusionbench_plugins.missingness.mcar import CompletelyAtRandom
from tests.missingness.test_masks import context


def drawn(ctx, seed=0):
    return CompletelyAtRandom().thresholds(ctx, np.random.default_rng(seed))


def test_every_cell_has_a_uniform_threshold_of_its_own():
    found = drawn(context())
    assert found.shape == context().available.shape
    for rate in (0.1, 0.5, 0.9):
        np.testing.assert_allclose((found < rate).mean(axis=0), rate, atol=0.03)
    correlations = np.corrcoef(found.T)[~np.eye(found.shape[1], dtype=bool)]
    assert np.abs(correlations).max() < 0.05


def test_neither_labels_nor_summaries_nor_what_a_row_has_decide():
    ctx = context()
    other = replace(ctx, available=~ctx.available, target=1 - ctx.target, summaries=None)
    assert np.array_equal(drawn(ctx), drawn(other))
    assert not CompletelyAtRandom.uses_summaries


def test_the_generator_decides():
    assert np.array_equal(drawn(context(), 1), drawn(context(), 1))
    assert not np.array_equal(drawn(context(), 1), drawn(context(), 2))
