"""The plan of a run: its jobs are made once, what is stored is looked at each time, and of a share only."""

from __future__ import annotations

from dataclasses import replace

from fusionbench.run import planning
from fusionbench.store.results import Store
from tests.builders import make_run
from tests.executing import TUNED


def test_the_plan_is_that_of_the_run_and_its_jobs_are_made_once(tmp_path, monkeypatch):
    run = make_run(tmp_path, **TUNED)
    made = []
    real = planning.make_jobs
    monkeypatch.setattr(planning, "make_jobs", lambda *a: made.append(a) or real(*a))
    before = run.planning.plan()
    run.execute(limit=5)
    after = run.planning.plan()
    assert made == []
    assert [f.key for f in before.fits] == [f.key for f in after.fits] == [f.key for f in run.plan.fits]
    assert (len(before.stored), len(after.stored)) == (0, 5)
    assert run.planning.keys == {f.key for f in (*before.fits, *before.untuned)}


def test_a_share_looks_at_its_own_models_only(tmp_path, monkeypatch):
    run = make_run(tmp_path, **TUNED)
    run.execute()
    mine, looked = {f.key for f in run.plan.fits[:3]}, []
    real = Store.scored
    monkeypatch.setattr(Store, "scored", lambda self, key: looked.append(key) or real(self, key))
    plan = run.planning.plan(mine)
    assert set(looked) == mine == plan.stored
    assert plan.share == mine
    assert plan.todo == []
    assert {f.key for f in plan.mine} == mine


def test_a_share_that_is_empty_reads_nothing(tmp_path, monkeypatch):
    run = make_run(tmp_path)
    run.execute()
    monkeypatch.setattr(Store, "scored", lambda self, key: 1 / 0)
    plan = run.planning.plan(())
    assert plan.mine == []
    assert plan.stored == frozenset()


def test_a_run_opened_for_some_models_trains_these(tmp_path):
    run = make_run(tmp_path)
    keys = [f.key for f in run.plan.fits[1:3]]
    worked = run.work_on(keys)
    assert worked.trained == set(keys) == run.store.keys()
    assert run.work_on(keys).trained == set()
    assert run.work_on([run.plan.fits[0].key]).trained == {run.plan.fits[0].key}
    assert replace(run.planning).plan().stored == {*keys, run.plan.fits[0].key}
