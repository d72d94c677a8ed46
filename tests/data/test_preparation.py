"""Preparing the data of a task where a run will find them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fusionbench.data.preparation import cache_of, prepare_task
from fusionbench.errors import DataError, PluginError
from fusionbench.progress import SilentProgress


class Given:
    """A task that says what it was given."""

    def __init__(self, rows=1):
        self.rows = rows

    def prepare(self, cache, progress):
        if self.rows == 0:
            raise DataError("no row is left")
        if self.rows < 0:
            raise TypeError("expected rows")
        return self.rows, cache, progress


def part(**options):
    return SimpleNamespace(
        registration=SimpleNamespace(name="given"), where="b.yaml:2: task", build=lambda: Given(**options)
    )


def test_tasks_have_folders_of_their_own_below_the_cache(tmp_path):
    assert cache_of(tmp_path, "mimic_ihm") == tmp_path / "cache" / "tasks" / "mimic_ihm"
    assert cache_of(tmp_path, "a") != cache_of(tmp_path, "b")


def test_a_task_is_built_with_its_options_and_given_its_folder(tmp_path):
    progress = SilentProgress()
    assert prepare_task(part(rows=7), tmp_path, progress) == (7, cache_of(tmp_path, "given"), progress)


def test_nothing_is_written_before_a_task_asks(tmp_path):
    prepare_task(part(), tmp_path, SilentProgress())
    assert list(tmp_path.iterdir()) == []


def test_what_a_task_says_of_bad_data_is_passed_on(tmp_path):
    with pytest.raises(DataError, match="no row is left"):
        prepare_task(part(rows=0), tmp_path, SilentProgress())


def test_whatever_else_a_task_raises_is_its_own_failure_in_one_sentence(tmp_path):
    with pytest.raises(PluginError, match=r"b\.yaml:2: task: the data cannot be prepared: TypeError: expected rows"):
        prepare_task(part(rows=-1), tmp_path, SilentProgress())
