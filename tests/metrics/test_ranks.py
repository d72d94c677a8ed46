"""Rank statistics, batched and weighted: equal to scikit-learn and to pairs counted one by one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from fusionbench.metrics.ranks import auroc, average_precision

EXACT = {"rtol": 0, "atol": 1e-12}


def sklearn_auroc(y, s, w=None):
    if w is not None:
        y, s, w = y[w > 0], s[w > 0], w[w > 0]
    return sk.roc_auc_score(y, s, sample_weight=w) if len(set(y.tolist())) == 2 else np.nan


def sklearn_average_precision(y, s, w=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no positive class: 0
        return sk.average_precision_score(y, s, sample_weight=w)


@st.composite
def ranked_rows(draw):
    rows = draw(st.integers(2, 60))
    few = st.integers(-3, 3).map(float)  # many ties
    many = st.floats(-1e6, 1e6, allow_nan=False)
    scores = draw(hnp.arrays(np.float64, rows, elements=draw(st.sampled_from([few, many]))))
    target = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 1)))
    weights = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 4)))
    return scores, target, weights


@settings(max_examples=100, deadline=None)
@given(ranked_rows())
def test_rank_statistics_equal_scikit_learn_with_ties_and_single_classes(rows):
    s, y, _ = rows
    t_s, t_y = torch.tensor(s), torch.tensor(y)
    np.testing.assert_allclose(auroc(t_s, t_y), sklearn_auroc(y, s), **EXACT)
    np.testing.assert_allclose(average_precision(t_s, t_y), sklearn_average_precision(y, s), **EXACT)


@settings(max_examples=100, deadline=None)
@given(ranked_rows())
def test_integer_weights_equal_repeated_rows_and_scikit_learn_weights(rows):
    s, y, w = rows
    if w.sum() == 0:
        w[0] = 1
    repeated = np.repeat(np.arange(len(y)), w)
    tensors = torch.tensor(s), torch.tensor(y), torch.tensor(w)
    for ours, theirs in ((auroc, sklearn_auroc), (average_precision, sklearn_average_precision)):
        value = ours(*tensors)
        np.testing.assert_allclose(value, theirs(y[repeated], s[repeated]), **EXACT)
        np.testing.assert_allclose(value, theirs(y, s, w.astype(float)), **EXACT)


def test_fractional_weights_of_very_different_size_equal_scikit_learn():
    rng = np.random.default_rng(0)
    s, y = rng.normal(size=400).round(1), rng.integers(0, 2, 400)
    w = 10.0 ** rng.uniform(-6, 6, 400)
    tensors = torch.tensor(s), torch.tensor(y), torch.tensor(w)
    np.testing.assert_allclose(auroc(*tensors), sklearn_auroc(y, s, w), **EXACT)
    np.testing.assert_allclose(average_precision(*tensors), sklearn_average_precision(y, s, w), **EXACT)


def test_constant_scores_give_one_half_and_the_prevalence():
    target = torch.tensor([0, 1, 1, 0, 0])
    assert auroc(torch.zeros(5), target).item() == 0.5
    assert average_precision(torch.zeros(5), target).item() == pytest.approx(0.4, abs=1e-15)


def test_one_class_has_no_auroc():
    assert auroc(torch.rand(4), torch.ones(4, dtype=torch.int64)).isnan()
    assert auroc(torch.rand(4), torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 0])).isnan()
    assert auroc(torch.rand(4), torch.tensor([0, 0, 1, 1]), torch.zeros(4)).isnan()


def test_stacked_members_with_own_targets_and_padding_equal_single_calls():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 40, generator=generator)
    target = torch.randint(0, 2, (5, 40), generator=generator)
    shown = torch.arange(40) < torch.tensor([40, 30, 20, 10, 5])[:, None]
    padded = torch.where(shown, scores, torch.nan)  # what padding holds must not matter
    for metric in (auroc, average_precision):
        alone = [metric(scores[i][shown[i]], target[i][shown[i]]) for i in range(5)]
        torch.testing.assert_close(metric(padded, target, shown), torch.stack(alone), rtol=0, atol=1e-12)


def test_axes_broadcast_models_against_resamples():
    generator = torch.Generator().manual_seed(1)
    scores, target = torch.randn(3, 1, 30, generator=generator), torch.arange(30) % 2
    weights = torch.randint(0, 3, (4, 30), generator=generator)
    values = auroc(scores, target, weights)
    assert values.shape == (3, 4)
    torch.testing.assert_close(values[2, 1], auroc(scores[2, 0], target, weights[1]), rtol=0, atol=1e-12)


def test_half_precision_scores_keep_their_ties():
    scores = torch.tensor([0.1, 0.1001, 0.5, 0.7]).bfloat16()
    target = torch.tensor([0, 1, 0, 1])
    assert auroc(scores, target).item() == sklearn_auroc(target.numpy(), scores.double().numpy())


def test_auroc_is_the_share_of_pairs_in_order_with_half_of_the_ties():
    scores, target = [0.1, 0.4, 0.4, 0.8, 0.8, 0.9], [0, 1, 0, 1, 0, 0]
    pairs = [
        (p, n) for p, y in zip(scores, target, strict=True) if y for n, z in zip(scores, target, strict=True) if not z
    ]
    share = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)
    assert auroc(torch.tensor(scores), torch.tensor(target)).item() == pytest.approx(share, abs=1e-12)


def test_average_precision_without_positives_is_0_and_without_negatives_1():
    scores = torch.tensor([0.2, 0.7, 0.4])
    assert average_precision(scores, torch.tensor([0, 0, 0])).item() == 0
    assert average_precision(scores, torch.tensor([1, 1, 1])).item() == 1
    assert average_precision(scores, torch.tensor([1, 0, 1]), torch.tensor([0, 1, 0])).item() == 0


def test_a_score_that_is_no_number_counts_only_where_its_row_has_weight():
    scores, target = torch.tensor([0.1, torch.nan, 0.9]), torch.tensor([0, 0, 1])
    for metric in (auroc, average_precision):
        assert metric(scores, target).isnan()
        assert metric(scores, target, torch.tensor([1.0, 0.0, 1.0])).item() == 1
