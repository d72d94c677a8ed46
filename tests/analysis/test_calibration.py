"""Reliability bins: what was predicted beside what happened, and never few rows."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench import TargetKind
from fusionbench.analysis.calibration import FEWEST_ROWS, Predicted, _merged, calibration_table

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
