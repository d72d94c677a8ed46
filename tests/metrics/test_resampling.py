"""The bootstrap: equal to a loop, in every company, for every metric."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from fusionbench import TargetKind
from fusionbench.errors import ConfigError
from fusionbench.metrics import resampling
from fusionbench.metrics.registry import METRICS
from fusionbench.metrics.scores import evaluate
from fusionbench.metrics.statistics import (
    ScoredFold,
    bootstrap,
    bootstrap_blocks,
    bootstrap_counts,
)
from tests.metrics.test_statistics import EXACT, rng


def sample(models=3, rows=120, seed=0, ties=True):
    r = rng(seed)
    target = (r.random(rows) < 0.3).astype(np.int64)
    scores = 1 / (1 + np.exp(-r.normal(size=(models, rows)) - target))
    return (scores.round(1) if ties else scores), target, r.integers(0, rows // 2, rows)


def counts_of(groups, resamples, seed=0, strata=None):
    """The counts that a bootstrap of one fold draws: from the first stream its generator spawns."""
    return bootstrap_counts(groups, resamples, rng(seed).spawn(1)[0], strata)


def sklearn_value(metric, y, s):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if metric == "auroc":
            return sk.roc_auc_score(y, s) if len(set(y.tolist())) == 2 else np.nan
        return sk.average_precision_score(y, s)


def loop(metric, scores, target, counts):
    """The obvious implementation: repeat the drawn rows and call scikit-learn."""
    drawn = [np.repeat(np.arange(len(target)), c) for c in counts]
    return np.array([[sklearn_value(metric, target[d], s[d]) for d in drawn] for s in scores])


@pytest.mark.parametrize("metric", ["auroc", "auprc"])
@pytest.mark.parametrize("prevalence", [0.1, 0.5, 0.9])
def test_the_bootstrap_equals_a_loop_of_scikit_learn(metric, prevalence):
    scores, _, groups = sample()
    scores[2] = 0.25  # a constant model
    target = (rng(5).random(120) < prevalence).astype(np.int64)
    got = bootstrap(scores, target, groups, metric, 40, rng())
    np.testing.assert_allclose(got.values, loop(metric, scores, target, counts_of(groups, 40)), **EXACT)
    np.testing.assert_allclose(got.point, [sklearn_value(metric, target, s) for s in scores], **EXACT)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_ties_and_single_class_resamples_equal_scikit_learn(data):
    rows = data.draw(st.integers(2, 12))
    elements = data.draw(st.sampled_from([st.integers(0, 2).map(float), st.floats(-1e6, 1e6)]))
    scores = data.draw(hnp.arrays(np.float64, (2, rows), elements=elements))
    target = data.draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 1)))
    groups = data.draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 5)))
    counts = counts_of(groups, 8)
    for metric in ("auroc", "auprc"):
        got = bootstrap(scores, target, groups, metric, 8, rng())
        np.testing.assert_allclose(got.values, loop(metric, scores, target, counts), **EXACT)
        drawn = [set(np.repeat(target, c).tolist()) for c in counts]
        assert got.usable.tolist() == [len(classes) == 2 for classes in drawn]


@pytest.mark.parametrize("kind", list(TargetKind))
def test_every_metric_equals_its_own_evaluation_on_weighted_rows(kind):
    r, rows = rng(1), 60
    outputs = 1 if kind == "binary" else 3
    p = r.dirichlet(np.ones(3), (2, rows)) if kind == "multiclass" else r.uniform(size=(2, rows, outputs))
    shape = (rows, 3) if kind == "multilabel" else (rows,)
    target = r.integers(0, 3 if kind == "multiclass" else 2, shape)
    if kind == "multilabel":
        target[:, 1] = np.arange(rows) < 2  # often of one class in a resample
    groups = r.integers(0, 30, rows)
    weights = torch.tensor(counts_of(groups, 25).astype(np.int64))
    expected = evaluate(torch.tensor(p).unsqueeze(1), torch.tensor(target), kind, weights)
    whole = evaluate(torch.tensor(p), torch.tensor(target), kind)
    for name in (m.name for m in METRICS.values() if kind in m.kinds):
        got = bootstrap(p, target, groups, name, 25, rng(), kind=kind)
        np.testing.assert_allclose(got.values, expected[name], err_msg=name, **EXACT)
        np.testing.assert_allclose(got.point, whole[name], err_msg=name, **EXACT)


def test_many_rows_of_one_patient_do_not_overflow_narrow_counts():
    target = np.arange(70_000) % 2
    scores = rng().normal(size=(1, 70_000)) + target
    got = bootstrap(scores, target, np.arange(70_000) % 3, "auroc", 3, rng())
    np.testing.assert_allclose(got.values, loop("auroc", scores, target, counts_of(np.arange(70_000) % 3, 3)), **EXACT)


def test_chunks_bound_the_memory_and_change_nothing(monkeypatch):
    scores, target, groups = sample()
    for stratified in (False, True):
        monkeypatch.setattr(resampling, "CHUNK_CELLS", 2**22)
        whole = bootstrap(scores, target, groups, "auroc", 50, rng(), stratified=stratified)
        monkeypatch.setattr(resampling, "CHUNK_CELLS", 7 * len(target))
        parts = bootstrap(scores, target, groups, "auroc", 50, rng(), stratified=stratified)
        np.testing.assert_array_equal(parts.values, whole.values)


def test_patients_are_drawn_whole_and_as_many_as_there_are():
    groups = np.array([7, 7, 3, 9, 3, 3])
    counts = bootstrap_counts(groups, 2000, rng()).astype(int)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 2] == counts[:, 4]).all()
    patients = counts[:, [0, 2, 3]]
    assert (patients.sum(1) == 3).all()
    np.testing.assert_allclose(patients.mean(0), 1, atol=0.06)


def test_strata_keep_their_number_of_patients():
    groups, target = np.arange(50) // 2, (np.arange(50) % 11 == 0).astype(np.int64)
    counts = bootstrap_counts(groups, 100, rng(), target).astype(int)
    positive = np.isin(groups, groups[target == 1])
    assert (counts[:, positive].sum(1) == positive.sum()).all()
    assert (counts[:, ~positive].sum(1) == (~positive).sum()).all()
    assert counts.std(0).min() > 0


def test_stratified_resamples_always_have_both_classes():
    target = (np.arange(40) < 2).astype(np.int64)
    scores = rng().normal(size=(1, 40))
    assert bootstrap(scores, target, np.arange(40), "auroc", 300, rng()).dropped > 0
    assert bootstrap(scores, target, np.arange(40), "auroc", 300, rng(), stratified=True).dropped == 0


def test_one_class_resamples_are_left_out_of_intervals_and_counted():
    target = (np.arange(30) < 1).astype(np.int64)
    scores = rng(2).normal(size=(2, 30))
    for metric in ("auroc", "auprc"):
        got = bootstrap(scores, target, np.arange(30), metric, 200, rng())
        assert 50 < got.dropped < 100  # (29 / 30) ** 30 = 0.36
        low, high = np.quantile(got.values[0, got.usable], [0.025, 0.975])
        assert got.intervals()[0] == pytest.approx((got.point[0], low, high), abs=1e-12)
        assert math.isfinite(got.difference(0, 1).p_value)
    assert bootstrap(scores, target, np.arange(30), "brier", 20, rng()).dropped == 0


def test_nothing_to_rank_gives_no_interval():
    got = bootstrap(rng().normal(size=(1, 10)), np.zeros(10, np.int64), np.arange(10), "auroc", 20, rng())
    assert got.dropped == 20
    assert np.isnan(got.intervals()[0]).all()


def test_a_diverged_model_has_no_value_and_leaves_the_others_alone():
    scores, target, groups = sample()
    whole = bootstrap(scores[:2], target, groups, "auroc", 30, rng())
    broken = scores.copy()
    broken[2, 5] = np.nan
    for metric in ("auroc", "auprc", "brier"):
        assert np.isnan(bootstrap(broken, target, groups, metric, 30, rng()).values[2]).all()
    got = bootstrap(broken, target, groups, "auroc", 30, rng())
    np.testing.assert_array_equal(got.values[:2], whole.values)
    assert math.isnan(got.difference(0, 2).p_value)
    assert got.difference(0, 1) == whole.difference(0, 1)


def test_read_only_scores_are_welcome():
    scores, target, groups = sample()
    for array in (scores, target, groups):
        array.setflags(write=False)
    for metric in ("auroc", "brier"):
        assert np.isfinite(bootstrap(scores, target, groups, metric, 5, rng()).values).all()


def test_blocks_average_folds_and_seeds_and_seeds_share_resamples():
    first, second = sample(seed=1), sample(seed=2)
    other_seed = sample(seed=3)[0]
    blocks = [ScoredFold(*first, fold=0), ScoredFold(other_seed, *first[1:], fold=0), ScoredFold(*second, fold=1)]
    got = bootstrap_blocks(blocks, "auroc", 20, rng())
    streams = rng().spawn(2)
    counts = [bootstrap_counts(b[2], 20, s) for b, s in zip((first, second), streams, strict=True)]
    single = [
        loop("auroc", *first[:2], counts[0]),
        loop("auroc", other_seed, first[1], counts[0]),
        loop("auroc", *second[:2], counts[1]),
    ]
    np.testing.assert_allclose(got.values, np.mean(single, axis=0), **EXACT)
    points = [[sk.roc_auc_score(b.target, s) for s in b.scores] for b in blocks]
    np.testing.assert_allclose(got.point, np.mean(points, axis=0), **EXACT)


def test_blocks_that_do_not_fit_together_are_refused():
    scores, target, groups = sample()
    block = ScoredFold(scores, target, groups)
    with pytest.raises(ValueError, match="no block"):
        bootstrap_blocks([], "auroc", 5, rng())
    with pytest.raises(ValueError, match="same models"):
        bootstrap_blocks([block, ScoredFold(scores[:2], target, groups, fold=1)], "auroc", 5, rng())
    with pytest.raises(ValueError, match="same rows"):
        bootstrap_blocks([block, ScoredFold(scores, target, groups + 1)], "auroc", 5, rng())
    with pytest.raises(ConfigError, match="no metric named 'aurok'"):
        bootstrap(scores, target, groups, "aurok", 5, rng())
