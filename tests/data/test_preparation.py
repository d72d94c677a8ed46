"""Preparing the data of a task where a run will find them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fusionbench.data.preparation import cache_of, prepare_task
from fusionbench.errors import DataError, PluginError
from fusionbench.progress import SilentProgress


class Given:
    """A task that says what it was given."""

    def __init__(self, rows=1, target=(0, 1)):
        self.rows, self.target = rows, np.array(target)

    def prepare(self, cache, progress):
        if self.rows == 0:
            raise DataError("no row is left")
        if self.rows < 0:
            raise TypeError("expected rows")
        return SimpleNamespace(target=self.target, outputs=("y",), given=(cache, progress), synthetic=True)


def part(**options):
    return SimpleNamespace(
        registration=SimpleNamespace(name="given"), where="b.yaml:2: task", build=lambda: Given(**options)
    )


def test_tasks_have_folders_of_their_own_below_the_cache(tmp_path):
    assert cache_of(tmp_path, "mimic_ihm") == tmp_path / "cache" / "tasks" / "mimic_ihm"
    assert cache_of(tmp_path, "a") != cache_of(tmp_path, "b")


def test_a_task_is_built_with_its_options_and_given_its_folder(tmp_path):
    progress = SilentProgress()
    found = prepare_task(part(target=[0, 1, 1]), tmp_path, progress)
    assert found.target.tolist() == [0, 1, 1]
    assert found.given == (cache_of(tmp_path, "given"), progress)


def test_nothing_is_written_before_a_task_asks(tmp_path):
    prepare_task(part(), tmp_path, SilentProgress())
    assert list(tmp_path.iterdir()) == []


def test_what_a_task_says_of_bad_data_is_passed_on(tmp_path):
    with pytest.raises(DataError, match="no row is left"):
        prepare_task(part(rows=0), tmp_path, SilentProgress())


def test_whatever_else_a_task_raises_is_its_own_failure_in_one_sentence(tmp_path):
    with pytest.raises(PluginError, match=r"Given failed: TypeError: expected rows \(test_preparation.py:\d+\)"):
        prepare_task(part(rows=-1), tmp_path, SilentProgress())


@pytest.mark.parametrize("target", [[0, 0], [1, 1, 1], [2]])
def test_a_label_with_one_value_stops_the_run_before_every_model_fails(tmp_path, target):
    with pytest.raises(DataError, match=f"b.yaml:2: task: the label has one value in all {len(target)} rows"):
        prepare_task(part(target=target), tmp_path, SilentProgress())


def test_labels_of_which_one_is_alike_are_left_to_their_metrics(tmp_path):
    assert len(prepare_task(part(target=[[0, 1], [1, 1]]), tmp_path, SilentProgress()).target) == 2
