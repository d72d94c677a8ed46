"""Calibrated before scored: against numbers computed independently, and what has to hold for any logits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import expit, logit, logsumexp

from fusionbench.metrics.recalibration import Known, fits_of, plain, recalibrated
from fusionbench.metrics.scores import score
from fusionbench.targets import TargetKind
from tests.shared import shared_folder

BINARY, CLASSES, LABELS = TargetKind.BINARY, TargetKind.MULTICLASS, TargetKind.MULTILABEL
FILES = {"binary": 2, "subsets": 1, "degenerate": 7, "classes": 4}
"""Files of numbers, and how many cases they hold."""


def parity_case(name, number):
    document = json.loads((shared_folder("parity_stats") / f"calibration_{name}.json").read_text(encoding="utf-8"))
    assert len(document["inputs"]["cases"]) == FILES[name]
    given, wanted = (document[part]["cases"][number] for part in ("inputs", "expected"))
    outputs = len(given["prevalence"]) if name == "classes" else 1
    arrays = {
        part: (
            np.array(given[f"z_{part}"], dtype=np.float64).reshape(-1, outputs),
            np.array(given[f"y_{part}"], dtype=np.int64),
            np.array(given[f"subset_{part}"], dtype=np.int64),
        )
        for part in ("val", "test")
    }
    prevalence = np.array(given["prevalence"], dtype=np.float64).reshape(outputs)
    known = Known(*arrays["val"], prevalence, CLASSES if name == "classes" else BINARY)
    return known, arrays["test"], wanted, float(document["tolerance"]["default"])


@pytest.mark.parametrize(("name", "number"), [(n, i) for n, count in FILES.items() for i in range(count)])
def test_fits_and_probabilities_are_those_computed_independently(name, number):
    known, (z, _, shown), wanted, tolerance = parity_case(name, number)
    found = recalibrated(z, shown, known)
    np.testing.assert_allclose(found, np.reshape(wanted["p"], found.shape), rtol=tolerance, atol=tolerance)
    fits = fits_of(known)
    for subset, fit in wanted["fits"].items():
        row = 0 if subset == "pooled" else int(fits.row_of(np.array([int(subset)]))[0])
        np.testing.assert_allclose(fits.intercept[row, 0], np.atleast_1d(fit["a"]), rtol=tolerance, atol=tolerance)
        assert fits.slope[row, 0] == pytest.approx(fit["b"], rel=tolerance, abs=tolerance)
    own = {str(s) for i, s in enumerate(fits.subsets) if fits.own[i + 1, 0]}
    # where all rows show the same, their own fit is the pooled one, and is not made again
    assert own == set(wanted["fits"]) - {"pooled"} or (not own and len(np.unique(known.shown[known.shown > 0])) == 1)


@pytest.mark.parametrize(("name", "number"), [(n, i) for n, count in FILES.items() for i in range(count)])
def test_scores_of_them_are_those_computed_independently(name, number):
    known, (z, y, shown), wanted, tolerance = parity_case(name, number)
    found, target = torch.as_tensor(recalibrated(z, shown, known)), torch.as_tensor(y)
    constant = torch.as_tensor(np.broadcast_to(known.prevalence, found.shape).copy())
    brier, nothing = (float(score("brier", p, target, known.kind)) for p in (found, constant))
    got = {"brier": brier, "brier_skill": 1 - brier / nothing, "ece": float(score("ece", found, target, known.kind))}
    if "auroc" in wanted:
        got["auroc"] = float(score("auroc", found, target, known.kind))
    assert got == pytest.approx({n: wanted[n] for n in got}, rel=tolerance, abs=tolerance)


# --------------------------------------------------------------------------------------------
# what has to hold for any logits


def drawn(kind, rows=400, seed=0, prevalence=0.3, spread=1.0):
    """Validation rows of 7 subsets and none, whose scales differ."""
    draw = np.random.default_rng(seed)
    shown = draw.integers(0, 8, rows)
    outputs = {BINARY: 1, CLASSES: 4, LABELS: 3}[kind]
    if kind is CLASSES:
        y = draw.integers(0, outputs, rows)
        signal = np.eye(outputs)[y]
    else:
        y = (draw.random((rows, outputs)) < prevalence).astype(np.int64)
        signal = y - 0.5
    z = spread * (draw.normal(size=(rows, outputs)) + 1.5 * signal) * (1 + shown[:, None] / 4) + shown[:, None] % 3
    y = y[:, 0] if kind is BINARY else y
    return Known(z, y, shown, np.full(outputs, 1 / outputs if kind is CLASSES else prevalence), kind)


def asked(known, rows=200, seed=1):
    draw = np.random.default_rng(seed)
    spread = known.logits.std() if len(known.logits) else 1.0
    return draw.normal(0, 2 * spread, (rows, len(known.prevalence))), draw.integers(0, 9, rows)


@pytest.mark.parametrize("kind", list(TargetKind))
@pytest.mark.parametrize(("scale", "shift"), [(1, 1000.0), (4, 7.0), (1e-6, -3.0), (1e6, 1e6), (1, -0.02)])
def test_a_constant_and_a_scale_change_no_number(kind, scale, shift):
    known, (z, shown) = drawn(kind), asked(drawn(kind))
    moved = known._replace(logits=scale * known.logits + shift)
    found, again = recalibrated(z, shown, known), recalibrated(scale * z + shift, shown, moved)
    np.testing.assert_allclose(again, found, rtol=0, atol=2e-9)  # what adding a million to a logit rounds away
    assert np.abs(plain(z, kind) - plain(scale * z + shift, kind)).max() > 1e-4 or (kind is CLASSES and scale == 1)


@pytest.mark.parametrize("rows", [0, 1, 5, 19, 60, 400])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_order_inside_a_subset_never_changes(rows, backwards):
    known = drawn(LABELS, rows)
    known = known._replace(logits=-known.logits if backwards else known.logits)
    z, shown = asked(drawn(LABELS))
    found = recalibrated(z, shown, known)
    assert np.isfinite(found).all()
    for subset in range(1, 9):
        for column in range(3):
            order = np.argsort(z[shown == subset, column])
            assert (np.diff(found[shown == subset, column][order]) > 0).all()
    assert (found[shown == 0] == known.prevalence).all()


SHAPES = {
    "apart": lambda z, y: 1e5 * (2.0 * y - 1),
    "one far away": lambda z, y: np.where(np.arange(len(z))[:, None] == 3, 1e6, z),
    "heavy tails": lambda z, y: np.sign(z) * np.abs(z) ** 9,
    "huge": lambda z, y: 1e30 * z,
    "two values": lambda z, y: np.where(z > 0, 1e4, -1e4),
    "all equal": lambda z, y: np.full_like(z, 3.0),
    "zero": lambda z, y: np.zeros_like(z),
    "single floats": lambda z, y: z.astype(np.float32),
}


@pytest.mark.parametrize("kind", list(TargetKind))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [8, 40, 400])
@pytest.mark.filterwarnings("error")
def test_any_finite_logits_give_finite_probabilities(kind, shape, rows):
    known = drawn(kind, rows)
    y = np.eye(4)[known.target] if kind is CLASSES else known.target.reshape(rows, -1)
    known = known._replace(logits=SHAPES[shape](known.logits, y))
    found = recalibrated(known.logits, known.shown, known)
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()
    if kind is CLASSES:
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("prevalence", [0.0, 0.2, 1.0])
def test_a_label_with_one_state_keeps_its_order_and_gets_the_training_prevalence(value, prevalence):
    known = drawn(BINARY)
    known = known._replace(target=np.full_like(known.target, value), prevalence=np.array([prevalence]))
    some = known.shown > 0
    found = recalibrated(known.logits, known.shown, known)
    assert found[some].mean() == pytest.approx(prevalence, abs=1e-8)
    order = np.argsort(known.logits[some, 0])
    assert (np.diff(found[some, 0][order]) > 0).all()


def test_a_class_that_never_occurs_has_no_fit_of_biases():
    known = drawn(CLASSES)
    known = known._replace(target=np.minimum(known.target, 2))
    fits = fits_of(known)
    assert (fits.intercept == 0).all()
    assert fits.slope[0, 0] != 1
    only = fits_of(known._replace(target=np.zeros_like(known.target)))
    assert only.slope.tolist() == [[1.0]]


def test_two_classes_are_the_binary_case():
    known, (z, shown) = drawn(BINARY), asked(drawn(BINARY))

    def both(logits):
        return np.concatenate([-logits / 2, logits / 2], axis=1)

    classes = known._replace(logits=both(known.logits), kind=CLASSES, prevalence=np.array([0.7, 0.3]))
    found = recalibrated(both(z), shown, classes)
    np.testing.assert_allclose(found[:, 1:], recalibrated(z, shown, known), rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-15)


def test_each_label_is_calibrated_as_if_it_were_alone():
    known, (z, shown) = drawn(LABELS, 150), asked(drawn(LABELS))
    known.target[:, 1] = np.arange(150) < 4  # one of them has few positives
    together = recalibrated(z, shown, known)
    for i in range(3):
        one = Known(known.logits[:, i : i + 1], known.target[:, i], known.shown, known.prevalence[i : i + 1], BINARY)
        np.testing.assert_allclose(together[:, i : i + 1], recalibrated(z[:, i : i + 1], shown, one), atol=1e-14)


def test_rows_that_show_nothing_are_in_no_fit():
    known, (z, shown) = drawn(BINARY), asked(drawn(BINARY))
    spoilt = known.logits.copy()
    spoilt[known.shown == 0] = 1e9
    assert (recalibrated(z, shown, known._replace(logits=spoilt)) == recalibrated(z, shown, known)).all()


def test_a_subset_that_no_validation_row_shows_takes_the_fit_of_all():
    known = drawn(BINARY)
    fits = fits_of(known)
    z = np.linspace(-2, 2, 5)[:, None]
    found = recalibrated(z, np.full(5, 99), known)
    np.testing.assert_allclose(logit(found), fits.intercept[0, 0] + fits.slope[0] * z, atol=1e-12)
    assert fits.row_of(np.array([99, 0, 3])).tolist() == [
        0,
        1 + list(fits.subsets).index(3) if 0 in fits.subsets else 0,
        3,
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_fit_is_at_the_greatest_likelihood(seed):
    known = drawn(BINARY, 300, seed)
    known = known._replace(shown=np.ones_like(known.shown))
    fits = fits_of(known)
    z, y = known.logits[:, 0], known.target
    positive = y.sum()
    target = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (300 - positive + 2))
    left = target - expit(fits.intercept[0, 0, 0] + fits.slope[0, 0] * z)
    assert abs(left.sum()) < 1e-10
    assert abs((left * z).sum()) < 1e-10


def test_a_fit_of_classes_is_at_the_greatest_likelihood():
    known = drawn(CLASSES)
    known = known._replace(shown=np.ones_like(known.shown))
    fits = fits_of(known)
    counts = np.bincount(known.target)[known.target]
    target = np.repeat(1 / (counts + 4), 4).reshape(-1, 4)
    target[np.arange(len(target)), known.target] = (counts + 1) / (counts + 4)
    u = fits.intercept[0, 0] + fits.slope[0, 0] * known.logits
    left = target - np.exp(u - logsumexp(u, axis=1, keepdims=True))
    assert np.abs(left.sum(axis=0)).max() < 1e-10
    assert abs((left * known.logits).sum()) < 1e-10
    assert fits.intercept[0, 0].sum() == pytest.approx(0, abs=1e-14)
