from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from fusionbench.errors import ConfigError
from fusionbench.metrics.scores import (
    METRICS,
    accuracy,
    auroc,
    average_precision,
    brier,
    evaluate,
    expected_calibration_error,
    log_loss,
    macro_f1,
    primary,
    score,
)
from fusionbench.targets import TargetKind

EXACT = {"rtol": 0, "atol": 1e-12}


def test_a_diverged_member_is_nan_and_leaves_the_others_alone():
    scores, target = torch.tensor([[0.1, 0.9, 0.4], [0.1, torch.nan, 0.4]]), torch.tensor([0, 1, 1])
    for metric in (auroc, average_precision, brier, log_loss, accuracy, expected_calibration_error):
        values = metric(scores, target)
        assert values[0].isfinite(), metric
        assert values[1].isnan(), metric


def binary_sample(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(size=rows)
    return p, (rng.uniform(size=rows) < p).astype(np.int64), rng.integers(0, 4, rows)


def test_binary_metrics_equal_scikit_learn_with_weights():
    p, y, w = binary_sample()
    t = torch.tensor(p), torch.tensor(y), torch.tensor(w)
    np.testing.assert_allclose(brier(*t), sk.brier_score_loss(y, p, sample_weight=w), **EXACT)
    np.testing.assert_allclose(log_loss(*t), sk.log_loss(y, p, sample_weight=w), **EXACT)
    np.testing.assert_allclose(accuracy(*t), sk.accuracy_score(y, p > 0.5, sample_weight=w), **EXACT)


def test_log_loss_of_a_certain_error_is_finite_as_in_scikit_learn():
    for kind in (np.float32, np.float64):
        p, y = np.array([0.0, 1.0, 1.0], dtype=kind), np.array([1, 1, 0])
        np.testing.assert_allclose(log_loss(torch.tensor(p), torch.tensor(y)), sk.log_loss(y, p), rtol=1e-6)


def test_calibration_error_equals_a_plain_loop_and_puts_one_in_the_last_bin():
    p, y, w = binary_sample(seed=1)
    p[:3] = [0.0, 0.5, 1.0]
    for bins in (10, 7):
        expected = 0.0
        for b in range(bins):
            inside = [i for i in range(len(p)) if min(int(p[i] * bins), bins - 1) == b and w[i]]
            if inside:
                weight = w[inside].sum()
                gap = (w[inside] * y[inside]).sum() / weight - (w[inside] * p[inside]).sum() / weight
                expected += weight / w.sum() * abs(gap)
        value = expected_calibration_error(torch.tensor(p), torch.tensor(y), torch.tensor(w), bins)
        np.testing.assert_allclose(value, expected, **EXACT)


def test_perfectly_calibrated_groups_have_no_calibration_error():
    p, y = torch.tensor([0.25] * 4 + [0.75] * 4), torch.tensor([1, 0, 0, 0, 1, 1, 1, 0])
    assert expected_calibration_error(p, y).item() == 0


def multiclass_sample(rows=200, classes=4, seed=2):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), rows)
    return p, rng.integers(0, classes, rows), rng.integers(0, 3, rows)


def test_multiclass_metrics_equal_scikit_learn_on_repeated_rows():
    p, y, w = multiclass_sample()
    rows = np.repeat(np.arange(len(y)), w)
    got = evaluate(torch.tensor(p), torch.tensor(y), TargetKind.MULTICLASS, torch.tensor(w))
    p, y = p[rows], y[rows]
    onehot = np.eye(4)[y]
    said = p.argmax(1)
    expected = {
        "auroc": sk.roc_auc_score(y, p, multi_class="ovr", average="macro"),
        "auprc": sk.average_precision_score(onehot, p, average="macro"),
        "accuracy": sk.accuracy_score(y, said),
        "macro_f1": sk.f1_score(y, said, average="macro"),
        "log_loss": sk.log_loss(y, p),
        "brier": ((p - onehot) ** 2).sum(1).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, err_msg=name, **EXACT)
    assert got["labels_used"] == 4
    np.testing.assert_allclose(got["auroc.2"], sk.roc_auc_score(y == 2, p[:, 2]), **EXACT)
    assert "brier.2" not in got


def test_multiclass_calibration_is_that_of_the_class_that_is_said():
    p, y, _ = multiclass_sample()
    confidence, right = torch.tensor(p.max(1)), torch.tensor((p.argmax(1) == y).astype(np.int64))
    got = score("ece", torch.tensor(p), torch.tensor(y), TargetKind.MULTICLASS)
    torch.testing.assert_close(got, expected_calibration_error(confidence, right), rtol=0, atol=1e-12)


def test_macro_f1_leaves_out_classes_that_neither_occur_nor_are_said():
    p = torch.tensor([[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.7, 0.3, 0.0]])
    y = torch.tensor([0, 1, 1])
    assert macro_f1(p, y).item() == pytest.approx(sk.f1_score([0, 1, 1], [0, 1, 0], average="macro"), abs=1e-12)


def test_macro_over_labels_skips_a_label_of_one_class_and_says_so():
    rng = np.random.default_rng(3)
    p, y = rng.uniform(size=(100, 3)), rng.integers(0, 2, (100, 3))
    y[:, 1] = 0
    got = evaluate(torch.tensor(p), torch.tensor(y), TargetKind.MULTILABEL, outputs=("a", "b", "c"))
    for name, theirs in (("auroc", sk.roc_auc_score), ("auprc", sk.average_precision_score)):
        single = [theirs(y[:, i], p[:, i]) for i in (0, 2)]
        np.testing.assert_allclose(got[name], np.mean(single), **EXACT)
        np.testing.assert_allclose([got[f"{name}.a"], got[f"{name}.c"]], single, **EXACT)
    assert got["labels_used"] == 2
    assert got["auroc.b"].isnan()
    np.testing.assert_allclose(got["brier"], ((p - y) ** 2).mean(), **EXACT)
    np.testing.assert_allclose(got["brier.b"], (p[:, 1] ** 2).mean(), **EXACT)


def test_a_nan_prediction_of_one_label_is_not_skipped():
    p, y = torch.rand(20, 2), torch.arange(20).remainder(2).unsqueeze(1).expand(20, 2)
    p[3, 1] = torch.nan
    got = evaluate(p, y, TargetKind.MULTILABEL)
    assert got["auroc"].isnan()
    assert got["auprc"].isnan()
    assert got["brier"].isnan()
    assert got["auroc.0"].isfinite()


@pytest.mark.parametrize("kind", list(TargetKind))
def test_batched_evaluation_equals_one_call_for_each_member(kind):
    generator = torch.Generator().manual_seed(4)
    outputs = 1 if kind is TargetKind.BINARY else 3
    p = torch.rand(2, 3, 50, outputs, generator=generator)
    if kind is TargetKind.MULTICLASS:
        p = p / p.sum(-1, keepdim=True)
    shape = (50, outputs) if kind is TargetKind.MULTILABEL else (50,)
    y = torch.randint(0, 3 if kind is TargetKind.MULTICLASS else 2, shape, generator=generator)
    w = torch.randint(0, 2, (2, 3, 50), generator=generator)
    together = evaluate(p, y, kind, w)
    assert set(METRICS).intersection(together) == {m.name for m in METRICS.values() if kind in m.kinds}
    for i, j in ((0, 0), (1, 2)):
        for name, value in evaluate(p[i, j], y, kind, w[i, j]).items():
            torch.testing.assert_close(together[name][i, j], value, rtol=0, atol=1e-12, msg=name)
            if name in METRICS:
                torch.testing.assert_close(score(name, p[i, j], y, kind, w[i, j]), value, rtol=0, atol=0)


def test_inputs_are_left_alone_and_no_gradient_is_kept():
    p = torch.rand(10, 1, requires_grad=True)
    before = p.detach().clone()
    got = evaluate(p, torch.arange(10) % 2, TargetKind.BINARY)
    assert torch.equal(p.detach(), before)
    assert not any(value.requires_grad for value in got.values())


def test_an_unknown_metric_names_the_nearest():
    assert primary("auroc").higher_is_better
    assert not primary("brier").higher_is_better
    with pytest.raises(ConfigError, match="did you mean 'auroc'"):
        primary("aurok")
    with pytest.raises(ConfigError, match="for a binary target"):
        primary("macro_f1", TargetKind.BINARY)


def test_names_must_match_outputs():
    with pytest.raises(ValueError, match="1 outputs, but 2 names"):
        evaluate(torch.rand(4, 1), torch.tensor([0, 1, 0, 1]), TargetKind.BINARY, outputs=("a", "b"))


def test_bins_of_the_calibration_error_begin_at_their_edges():
    below = np.nextafter(0.9, 0)
    assert below * 10 == 9  # rounded
    p = torch.tensor([0.85, below, 0.9, 0.95, 1.0], dtype=torch.float64)
    y = torch.tensor([1, 1, 0, 0, 1])
    assert expected_calibration_error(p, y).item() == pytest.approx((0.15 + 1 - below + 0.9 + 0.95) / 5, abs=1e-15)
    mixed = expected_calibration_error(p[[1, 2]], y[[1, 2]]).item()
    assert mixed == pytest.approx((1 - below + 0.9) / 2, abs=1e-15)  # in one bin they would cancel
