"""The name under which observers import the folds."""

from __future__ import annotations

import numpy as np

from fusionbench import splits
from fusionbench.config.sections import SplitsSection
from fusionbench.data.splits import make_folds
from tests.builders import toy_dataset


def test_the_folds_that_observers_import_are_those_that_runs_train_on():
    assert splits.make_folds is make_folds
    assert splits.__all__ == ["make_folds"]


def test_an_observer_makes_the_folds_of_a_benchmark_again():
    dataset = toy_dataset()
    tested = [f.test.open("digest") for f in splits.make_folds(dataset, SplitsSection(folds=3))]
    assert sorted(np.concatenate(tested).tolist()) == list(range(len(dataset)))
