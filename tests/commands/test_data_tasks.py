"""Which tasks a command about data means."""

from __future__ import annotations

import re

import pytest

from fusionbench.commands.data_tasks import task_options, tasks_for, tasks_named
from fusionbench.errors import ConfigError
from fusionbench.plugins.catalogue import Plugins
from tests.front import TOY

PLUGINS = Plugins([TOY])


def names(parts):
    return [part.registration.name for part in parts]


def test_a_name_is_that_task_with_the_options_that_are_given():
    (part,) = tasks_named("toy", ["task.rows=50", "task.effects=[1, 0, 0]"], PLUGINS)
    assert (part.registration.name, part.options) == ("toy", {"rows": 50, "effects": [1, 0, 0]})


def test_a_source_is_all_tasks_that_read_it():
    assert names(tasks_named("mimic", [], PLUGINS)) == ["mimic_ihm", "mimic_phenotyping"]


def test_neither_a_file_nor_a_task_is_said_with_the_closest_name_and_all_there_are():
    with pytest.raises(ConfigError) as refused:
        tasks_named("tabel", [], PLUGINS)
    said = str(refused.value)
    assert said.startswith("'tabel' is neither a benchmark file nor a task; did you mean 'table'?\n  tasks: ")
    assert "toy" in said.partition("tasks: ")[2].split(", ")


def test_an_option_that_a_task_does_not_have_is_said_for_each_task_it_was_given_to():
    with pytest.raises(ConfigError) as refused:
        tasks_named("mimic", ["task.no_such_option=1"], PLUGINS)
    assert [p.partition(":")[0] for p in refused.value.problems] == ["task mimic_ihm", "task mimic_phenotyping"]
    assert all("no_such_option" in p for p in refused.value.problems)


@pytest.mark.parametrize("assignment", ["training.epochs=1", "task.a.b=1", "task=1"])
def test_only_options_of_the_task_can_be_set_without_a_benchmark_file(assignment):
    with pytest.raises(ConfigError, match=re.escape(f"--set {assignment}: without a benchmark file only options")):
        task_options([assignment])


def test_a_folder_is_read_by_the_task_that_recognises_its_files(tmp_path):
    (tmp_path / "icu").mkdir()
    found = tasks_for(tmp_path, None, ["task.limit=10"], PLUGINS)
    assert names(found) == ["mimic_ihm", "mimic_phenotyping"]
    assert [part.options for part in found] == [{"root": str(tmp_path), "cxr_root": None, "limit": 10}] * 2
    assert names(tasks_for(tmp_path, "mimic_ihm", [], PLUGINS)) == ["mimic_ihm"]


def test_a_folder_that_nobody_recognises_is_said(tmp_path):
    with pytest.raises(ConfigError, match=re.escape(f"no task recognises the files in {tmp_path}; name a benchmark")):
        tasks_for(tmp_path, None, [], PLUGINS)
    with pytest.raises(ConfigError, match=re.escape(f"task 'table' does not recognise the files in {tmp_path}")):
        tasks_for(tmp_path, "table", [], PLUGINS)
    with pytest.raises(ConfigError, match="no task named 'tabel'; did you mean 'table'"):
        tasks_for(tmp_path, "tabel", [], PLUGINS)
