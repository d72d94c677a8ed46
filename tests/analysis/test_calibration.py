"""Reliability bins: what was predicted beside what happened, and never few rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusionbench import TargetKind
from fusionbench.analysis.calibration import FEWEST_ROWS, Predicted, _merged, calibration_table, probabilities_of
from fusionbench.errors import DataError
from fusionbench.missingness.subsets import is_subset, subset_mask
from tests.builders import run_toy, toy_dataset

ARM = ("concat", "zero", "")


def table(probability, target, rows=None, kind=TargetKind.BINARY):
    probability, target = np.asarray(probability, dtype=float), np.asarray(target)
    rows = np.arange(len(target)) if rows is None else np.asarray(rows)
    return calibration_table([Predicted(ARM, probability.reshape(len(target), -1), target, rows)], kind)


def test_bins_hold_the_mean_prediction_and_the_share_that_happened():
    found = table([0.12] * 10 + [0.18] * 10 + [0.95] * 20, [0, 1] * 10 + [1] * 20)
    assert found["low"].tolist() == [0.1, 0.9]
    assert found["high"].tolist() == pytest.approx([0.2, 1.0])
    assert found["predictions"].tolist() == [20, 20]
    assert found["predicted"].tolist() == pytest.approx([0.15, 0.95])
    assert found["observed"].tolist() == [0.5, 1.0]


def test_a_bin_with_few_rows_joins_its_neighbour():
    found = table([0.05] * 3 + [0.25] * 12 + [0.75] * 2, [0] * 15 + [1] * 2)
    assert found[["low", "high", "rows"]].to_numpy().tolist() == [[0.0, pytest.approx(0.8), 17]]
    assert found["observed"].tolist() == pytest.approx([2 / 17])


def test_an_arm_with_too_few_rows_has_no_bin():
    assert len(table([0.1, 0.9], [0, 1])) == 0


def test_several_seeds_of_one_row_count_once():
    few = FEWEST_ROWS - 1
    rows = np.tile(np.arange(few), 4)
    assert len(table([0.5] * len(rows), [0] * len(rows), rows)) == 0


@pytest.mark.parametrize("seed", range(20))
def test_every_bin_has_enough_rows_and_nothing_is_lost(seed):
    draw = np.random.default_rng(seed)
    p = draw.beta(0.5, 3, draw.integers(10, 200))
    found = table(p, draw.random(len(p)) < p)
    assert (found["rows"] >= FEWEST_ROWS).all()
    assert found["predictions"].sum() == len(p)
    assert np.average(found["predicted"], weights=found["predictions"]) == pytest.approx(p.mean())
    assert (found["low"].iloc[1:].to_numpy() >= found["high"].iloc[:-1].to_numpy() - 1e-12).all()


def test_classes_are_judged_by_what_is_said():
    p = np.tile([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], (10, 1))
    found = table(p, np.tile([0, 2], 10), kind=TargetKind.MULTICLASS)
    assert found["low"].tolist() == [0.7, 0.8]
    assert found["observed"].tolist() == [1.0, 0.0]


def test_labels_are_taken_together():
    p = np.tile([[0.1, 0.9]], (12, 1))
    found = table(p, np.tile([[0, 1]], (12, 1)), kind=TargetKind.MULTILABEL)
    assert found["observed"].tolist() == [0.0, 1.0]
    assert found["rows"].tolist() == [12, 12]


@pytest.mark.parametrize(
    ("rows", "groups"),
    [
        ([0, 0, 0], []),
        ([10, 0, 10], [(0, 0), (2, 2)]),
        ([3, 0, 10], [(0, 2)]),
        ([10, 0, 3], [(0, 2)]),
        ([3, 3, 3], [(0, 2)]),
        ([10, 3, 3, 10, 1], [(0, 0), (1, 4)]),
    ],
)
def test_neighbours_are_merged_until_one_has_enough(rows, groups):
    assert _merged(rows) == groups


# --------------------------------------------------------------------------------------------
# stored logits as probabilities


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    arms = [{"name": "unimodal", "modality": "b"}, "concat"]
    # so that there are enough rows of each class for a slope, whatever is hidden
    data, shape = toy_dataset(rows=900, natural=0.3), {"splits": {"folds": 2, "validation": 0.5}}
    changes = {**shape, "missingness": {"patterns": ["random"], "rates": [0, 0.3]}}
    return run_toy(tmp_path_factory.mktemp("calibrated"), data, strategies=arms, **changes)[0]


def cells_of(run):
    for fit in run.plan.fits:
        for condition, label in zip(fit.scored, fit.labels, strict=True):
            yield fit, condition, label, run.store.load(fit.key)


def moved(result, by):
    """The result with other logits, in test and in validation rows alike."""
    changes = {what: {k: by(z.astype(np.float64)) for k, z in result.predicted[what].items()} for what in LOGITS}
    return replace(result, **changes)


LOGITS = ("logits", "validation")
MOVES = {
    "up": lambda z: z + 3.7,
    "down": lambda z: z - 0.02,
    "wider": lambda z: 4 * z + 7,
    "narrower": lambda z: z / 1000,
}


@pytest.mark.parametrize("move", MOVES)
def test_a_constant_or_a_scale_of_a_lines_logits_changes_no_number(run, move):
    changed = 0
    for fit, _, label, result in cells_of(run):
        fold = run.folds[fit.fold]
        found = probabilities_of(moved(result, MOVES[move]), label, run.dataset, fold)
        known = probabilities_of(result, label, run.dataset, fold)
        np.testing.assert_allclose(found.calibrated, known.calibrated, rtol=0, atol=1e-12)
        changed += np.abs(found.raw - known.raw).max() > 1e-4
    assert changed > 0  # the model itself says something else


def test_rows_that_show_nothing_are_given_one_constant_whatever_their_logits(run):
    for fit, condition, label, result in cells_of(run):
        fold = run.folds[fit.fold]
        prevalence = run.dataset.target[fold.development.train].mean()
        rows = fold.test.open(result.study)
        there = run.rows.mask(condition, fit.seed, fit.fold)[rows]
        if is_subset(condition):
            there = subset_mask(run.dataset.available, list("abc"), condition)[rows]
        empty = ~(there[:, 1] if fit.arm.title == "unimodal" else there.any(axis=1))
        for said in probabilities_of(result, label, run.dataset, fold):
            assert said.dtype == np.float64
            assert ((said[:, 0] == prevalence) == empty).all() or (is_subset(condition) and empty.all())


def test_each_condition_is_calibrated_on_the_validation_rows_that_it_shows(run):
    (fit, _, label, result), *_ = cells_of(run)
    fold = run.folds[fit.fold]
    known = probabilities_of(result, label, run.dataset, fold).calibrated
    others = {k: z for k, z in result.validation.items() if k != label}
    spoilt = replace(result, validation={label: result.validation[label], **{k: z * 0 for k, z in others.items()}})
    assert (probabilities_of(spoilt, label, run.dataset, fold).calibrated == known).all()
    turned = replace(result, validation={**result.validation, label: -result.validation[label]})
    assert (probabilities_of(turned, label, run.dataset, fold).calibrated != known).any()


@pytest.mark.parametrize("what", LOGITS)
def test_predictions_of_other_rows_are_refused(run, what):
    (fit, _, label, result), *_ = cells_of(run)
    fewer = replace(result, **{what: {label: result.predicted[what][label][1:]}})
    with pytest.raises(DataError, match="the stored predictions are of other rows"):
        probabilities_of(fewer, label, run.dataset, run.folds[fit.fold])


def test_recalibrated_predictions_and_raw_ones_have_bins_of_their_own():
    p, y, rows = np.full((20, 1), 0.9), np.tile([0, 1], 10), np.arange(20)
    both = [Predicted(ARM, p, y, rows), Predicted(ARM, 1 - p, y, rows, raw=True)]
    found = calibration_table(both, TargetKind.BINARY)
    assert found["raw"].tolist() == [False, True]
    assert found["predicted"].tolist() == pytest.approx([0.9, 0.1])


@pytest.mark.parametrize(("p", "low"), [(np.nextafter(0.9, 0), 0.8), (0.9, 0.9), (1.0, 0.9), (0.0, 0.0)])
def test_bins_begin_at_their_edges(p, low):
    assert table([p] * 12, [0, 1] * 6)["low"].tolist() == [low]
