"""Rank statistics of one model on many resamples: equal to repeated rows, counted one by one."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.metrics.levels import Drawn, ratio, resampled_auroc, resampled_average_precision
from tests.metrics.test_statistics import EXACT, rng


def repeated(scores, positive, counts):
    """The rows of one resample as (score, positive), each as often as it was drawn."""
    rows = zip(scores.tolist(), positive.tolist(), counts.tolist(), strict=True)
    return [(s, y) for s, y, times in rows for _ in range(times)]


def pairs_in_order(rows):
    """AUROC: the share of pairs in order, a tie counting one half."""
    pairs = [(p, n) for p, y in rows if y for n, z in rows if not z]
    return sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs) if pairs else np.nan


def mean_precision(rows):
    """Average precision: of each positive, the precision among the rows that score at least as high."""
    reached = [[z for n, z in rows if n >= p] for p, y in rows if y]
    return sum(sum(found) / len(found) for found in reached) / max(len(reached), 1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("resampled", "plain"), [(resampled_auroc, pairs_in_order), (resampled_average_precision, mean_precision)]
)
def test_a_resample_counts_as_its_rows_written_out(resampled, plain, share):
    draw = rng(3)
    scores, positive = draw.normal(size=24).round(1), draw.random(24) < share
    positive[:2] = [True, False]
    counts = draw.integers(0, 4, (24, 30)).astype(np.uint16)
    wanted = [plain(repeated(scores, positive, column)) for column in counts.T]
    np.testing.assert_allclose(resampled(scores, positive)(Drawn.of(counts)), wanted, **EXACT)


def test_resamples_of_one_class_have_no_auroc_and_without_positives_no_precision():
    scores, positive = np.array([0.1, 0.6, 0.4]), np.array([False, True, False])
    drawn = Drawn.of(np.array([[1, 0, 0], [0, 2, 1], [2, 0, 1]], dtype=np.uint16))
    np.testing.assert_array_equal(resampled_auroc(scores, positive)(drawn), [np.nan, np.nan, 1])
    np.testing.assert_array_equal(resampled_average_precision(scores, positive)(drawn), [0, 1, 1])


@pytest.mark.parametrize("positive", [False, True])
def test_rows_of_one_class_alone_are_ranked_without_an_error(positive):
    scores, labels = np.array([0.1, 0.6, 0.4]), np.full(3, positive)
    drawn = Drawn.of(np.ones((3, 2), dtype=np.uint16))
    assert np.isnan(resampled_auroc(scores, labels)(drawn)).all()
    assert resampled_average_precision(scores, labels)(drawn).tolist() == [float(positive)] * 2


@pytest.mark.parametrize(("largest", "wanted"), [(32_767, np.uint16), (32_768, np.uint32)])
def test_counts_are_as_narrow_as_twice_their_sum_allows(largest, wanted):
    drawn = Drawn.of(np.array([[largest - 1, 0], [1, 5]], dtype=np.uint16))
    assert drawn.counts.dtype == wanted
    assert drawn.total.tolist() == [largest, 5]


def test_sums_beyond_the_narrowest_type_do_not_overflow():
    counts = np.array([[40_000], [30_000], [20_000]], dtype=np.uint16)
    scores, positive = np.array([0.5, 0.9, 0.1]), np.array([True, False, False])
    drawn = Drawn.of(counts)
    assert resampled_auroc(scores, positive)(drawn).tolist() == [pytest.approx(2 / 5)]
    assert resampled_average_precision(scores, positive)(drawn).tolist() == [pytest.approx(4 / 7)]


def test_a_ratio_over_nothing_is_no_number():
    np.testing.assert_array_equal(ratio(np.array([1.0, 0.0, 3.0]), np.array([2, 0, 0])), [0.5, np.nan, np.nan])
