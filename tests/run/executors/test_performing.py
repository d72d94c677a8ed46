"""What a worker does in its own process: it opens a run once, refuses what would be other numbers, and says how far it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusionbench import Message
from fusionbench.errors import ConfigError, WorkspaceError
from fusionbench.run.executors import performing as module
from tests.builders import make_run
from tests.executing import InThisProcess, placed


@pytest.fixture
def given(tmp_path):
    """What an executor was given for a run, and its run; the mark in the folder is there."""
    found = []

    class Kept(InThisProcess):
        def work(self, units, perform, watch):
            found.append((units, perform))

    run = make_run(tmp_path / "runs")
    placed(Kept()).work(run, run.plan.todo)
    ((units, perform),) = found
    with perform.marked():
        yield run, units, perform.on("cpu")
    module.close()


def test_the_first_unit_opens_the_run_and_the_next_go_on_with_it(given, monkeypatch):
    run, (unit, *_), perform = given
    opened = []
    real = module._run_of
    monkeypatch.setattr(module, "_run_of", lambda *a: opened.append(a) or real(*a))
    said = []
    result = perform(unit, said.append)
    assert result.trained == set(unit.models) <= run.store.keys()
    assert result.files == {}
    assert perform(unit, said.append).trained == frozenset()
    assert len(opened) == 1
    assert said[0] == Message()
    assert all(m.done <= unit.steps for m in said)


def test_who_does_not_share_the_folder_brings_results_back(given, tmp_path):
    run, (unit, *_), perform = given
    elsewhere = replace(perform.carrying(), workspace=tmp_path / "not there")
    assert not elsewhere.shares_folder()
    result = elsewhere(unit, lambda _: None)
    assert {f"fits/{key}.safetensors" for key in unit.models} <= result.files.keys()
    assert run.store.keys() == set()
    assert not (tmp_path / "not there").exists()


def test_a_folder_that_only_has_its_name_is_not_shared(given):
    _, _, perform = given
    assert perform.shares_folder()
    assert not replace(perform, token="another").shares_folder()


def test_without_data_a_unit_says_where_they_should_be(given):
    _, (unit, *_), perform = given
    lost = replace(perform, order=replace(perform.order, prepared="0" * 64, key="other"))
    with pytest.raises(WorkspaceError, match="are not there or not whole; start the run again where it was started"):
        lost(unit, lambda _: None)


def test_a_place_with_another_version_refuses(given):
    run, (unit, *_), perform = given
    order = replace(perform.order, alike={**perform.order.alike, "torch": "1.0"}, key="other")
    with pytest.raises(ConfigError, match=r"torch: 1\.0 where the run was started, .* on the worker on"):
        replace(perform, order=order)(unit, lambda _: None)
    assert run.store.keys() == set()


def test_a_device_that_computes_otherwise_refuses(given):
    _, (unit, *_), perform = given
    order = replace(perform.order, precision=("bfloat16", "bfloat16", "float32"), key="other")
    with pytest.raises(ConfigError, match=r"would compute in float32 and the run computes in bfloat16"):
        replace(perform, order=order)(unit, lambda _: None)


def test_a_plugin_file_that_is_not_there_is_named(given):
    _, (unit, *_), perform = given
    order = replace(perform.order, plugins=(*perform.order.plugins, "/nowhere/mine.py"), key="other")
    with pytest.raises(ConfigError, match=r"-p /nowhere/mine\.py of file mine\.py did not load"):
        replace(perform, order=order)(unit, lambda _: None)


def test_progress_is_said_now_and_then(monkeypatch):
    said, telling = [], module._Telling()
    clock = iter([0.5, 1.2, 1.3, 2.4])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    telling.begin(said.append)
    with telling.stage("training", 4, "models") as stage:
        stage.advance(1, "one")
        stage.advance(1, "two")
        stage.working(2, 0.5, "half")
        stage.skip(1)
    telling.note("a line")
    assert said == [Message(), Message(2, "two"), Message(3, "training"), Message(3, line="a line")]
