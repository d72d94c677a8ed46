"""A run in the hands of an executor plugin: the tables of one process, whatever becomes of units."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from fusionbench import Problem, UnitResult
from fusionbench.errors import ConfigError, PluginError
from fusionbench.plan.estimates import Estimate
from tests.builders import make_run
from tests.executing import TUNED, InThisProcess, OfThisMachine, placed


def same_tables(one, other):
    for name in ("cells", "curves", "comparisons", "differences", "trials"):
        pd.testing.assert_frame_equal(getattr(one.tables, name), getattr(other.tables, name))


@pytest.mark.parametrize("carried", [False, True], ids=["one folder", "no common folder"])
def test_units_elsewhere_leave_the_tables_of_one_process(tmp_path, carried):
    run, executor = make_run(tmp_path / "there", **TUNED), InThisProcess(carried, places=2)
    summary = run.execute(executor=placed(executor))
    alone = make_run(tmp_path / "alone", **TUNED).execute()
    same_tables(summary, alone)
    assert (summary.trained, summary.failures) == (alone.trained, [])
    assert len(executor.done) == 8
    assert list(run.folders.executions.iterdir()) == []  # its mark is gone
    again = make_run(tmp_path / "there", **TUNED)
    assert again.plan.todo == []


def test_a_run_goes_on_with_what_is_not_stored(tmp_path):
    first = make_run(tmp_path, **TUNED)
    first.execute(limit=5)
    run, executor = make_run(tmp_path, **TUNED), InThisProcess(places=2)
    left = {f.key for f in run.plan.todo}
    summary = run.execute(executor=placed(executor))
    assert {key for unit in executor.done for key in unit.models} == left
    assert summary.trained == len(left)
    same_tables(summary, make_run(tmp_path / "alone", **TUNED).execute())


def test_other_settings_are_worked_on_there_too(tmp_path):
    changes = {"robustness": [{"name": "sgd", "set": {"training.optimiser": "sgd"}}]}
    executor = InThisProcess()
    summary = make_run(tmp_path, **changes).execute(executor=placed(executor))
    assert len({key for unit in executor.done for key in unit.models}) == 2 * 4
    assert summary.trained == 8
    assert summary.failures == []


def test_a_unit_that_is_lost_is_tried_again(tmp_path):
    lost = []

    def before(unit):
        if unit.name not in lost:
            lost.append(unit.name)
            return Problem("killed by SIGKILL", everywhere=False)
        return None

    run = make_run(tmp_path / "there", **TUNED)
    summary = run.execute(executor=placed(InThisProcess(before=before)))
    assert len(lost) > 1
    assert sum("killed by SIGKILL; it is tried again" in note for note in run.progress.notes) == len(lost)
    same_tables(summary, make_run(tmp_path / "alone", **TUNED).execute())


def test_a_unit_that_is_done_twice_costs_nothing(tmp_path):
    results, wanted = [], set()

    class Twice(InThisProcess):
        def work(self, units, perform, watch):
            wanted.update(units[0].models)
            results.extend(perform.on("cpu")(units[0], lambda _: None) for _ in range(2))
            super().work(units, perform, watch)

    run = make_run(tmp_path)
    run.execute(executor=placed(Twice()))
    assert results[0].trained == wanted
    assert results[1].trained == frozenset()


def test_what_is_given_up_elsewhere_is_a_failure_and_is_not_done_here(tmp_path):
    run = make_run(tmp_path)
    broken = Problem("the disk is full", everywhere=False)
    summary = run.execute(executor=placed(InThisProcess(before=lambda _: broken, retries=2)))
    assert summary.trained == 0
    assert summary.exit_code == 1
    reason = "not done: lost 3 times, the last time on here: the disk is full"
    assert [r for _, r in summary.failures] == [reason] * 4
    assert summary.failures[0][0] == "concat / zero, fold 0, seed 0"
    whole = make_run(tmp_path).execute()  # the next run tries again
    assert (whole.trained, whole.failures) == (4, [])


def test_what_processes_of_this_machine_leave_is_done_here(tmp_path):
    broken = Problem("killed by SIGKILL", everywhere=False)
    summary = make_run(tmp_path).execute(executor=placed(OfThisMachine(before=lambda _: broken, retries=0)))
    assert (summary.trained, summary.failures) == (4, [])


def test_what_would_be_wrong_everywhere_ends_the_run_with_what_is_stored(tmp_path):
    count = []

    def before(unit):
        count.append(unit)
        return Problem("another version of concat", everywhere=True) if len(count) > 1 else None

    run = make_run(tmp_path, splits={"folds": 4})
    with pytest.raises(ConfigError, match="another version of concat"):
        run.execute(executor=placed(InThisProcess(before=before, places=4)))
    assert len(run.store.keys()) > 0


def test_an_executor_that_forgets_units_is_noticed(tmp_path):
    class Lazy(InThisProcess):
        def work(self, units, perform, watch):
            """Do nothing."""

    summary = make_run(tmp_path).execute(executor=placed(Lazy()))
    assert {reason for _, reason in summary.failures} == {"not done: the executor ended without it"}


def test_results_that_a_worker_says_it_stored_are_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("fusionbench.run.executors.placed.SHOWN_WITHIN_SECONDS", 0.5)
    run = make_run(tmp_path)
    claimed = UnitResult(frozenset({"f" * 64}))
    run.execute(executor=placed(InThisProcess(before=lambda _: claimed)))
    assert "waiting for the shared file system to show 1 results that workers have stored" in run.progress.notes


def test_an_interruption_keeps_what_is_stored(tmp_path):
    count = []

    def before(unit):
        count.append(unit)
        if len(count) == 3:
            raise KeyboardInterrupt

    run = make_run(tmp_path, splits={"folds": 4})
    summary = run.execute(executor=placed(InThisProcess(before=before, places=4)))
    assert summary.interrupted
    assert summary.exit_code == 130
    assert summary.failures == []
    assert 0 < summary.trained < 8


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"places": lambda self: "many"}, "places() must return a whole number of at least 1, found 'many'"),
        ({"places": lambda self: 0}, "places() must return a whole number of at least 1, found 0"),
        ({"places": lambda self: True}, "places() must return a whole number of at least 1, found True"),
        ({"units_each": 0.5}, "units_each must be a whole number of at least 1, found 0.5"),
        ({"described": lambda self: None}, "described() must return words, found None"),
        ({"work": lambda self, units, perform, watch: 1 / 0}, "ZeroDivisionError"),
    ],
)
def test_an_executor_that_breaks_its_promise_is_named(tmp_path, attributes, said):
    broken = type("Broken", (InThisProcess,), attributes)()
    with pytest.raises(PluginError, match=re.escape(said)):
        make_run(tmp_path).execute(executor=placed(broken))


def test_a_limit_holds(tmp_path):
    executor = InThisProcess()
    summary = make_run(tmp_path).execute(limit=2, executor=placed(executor))
    assert summary.trained == 2
    assert sum(len(unit.models) for unit in executor.done) == 2


def test_the_outlook_adds_up(tmp_path):
    run = make_run(tmp_path, **TUNED)
    outlook = placed(InThisProcess(places=2)).outlook(run, Estimate(360.0, {}))
    assert (outlook.units, outlook.places, outlook.where) == (8, 2, "2 at a time")
    assert outlook.seconds == 360
    assert outlook.elapsed == max(outlook.longest, 180)
    assert 0 < outlook.longest < 360
    rows = 120
    floats = sum(4 * v.shape[1] for v in run.table.values.values())
    assert outlook.memory >= rows * floats
    run.execute()
    grown = sum(p.stat().st_size for p in run.store.at.fits.glob("*.safetensors"))
    assert outlook.disk == pytest.approx(grown, rel=1)  # headers weigh much beside so few rows
