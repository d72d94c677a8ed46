"""Whoever trains for a run: the run takes what it says, and does what it left undone."""

from __future__ import annotations

import pandas as pd
import pytest

from fusionbench import hookimpl
from fusionbench.records import Worked
from fusionbench.run.executors.executor import ThisProcess
from tests.builders import make_run


class Elsewhere:
    """Trains some of what it is given in a run of its own, and says that one of them failed."""

    def __init__(self, workspace, done, failing=0):
        self.other, self.done, self.failing = make_run(workspace), done, failing
        self.given = []

    def work(self, run, todo):
        self.given = [f.key for f in todo]
        before = run.store.keys()
        self.other.execute(limit=self.done)
        run.look_again()
        failures = {f.key: ("a model", "its machine burnt down") for f in todo[self.done : self.done + self.failing]}
        return Worked(trained=run.store.keys() - before, failures=failures, seconds=1000.0)


class Told:
    """Notes what observers are told of each model."""

    def __init__(self):
        self.outcomes = {}

    @hookimpl
    def fusionbench_cell_finished(self, outcome):
        self.outcomes[outcome.job.key] = (outcome.stored_before, outcome.failure)


def test_here_does_nothing_and_the_run_everything(tmp_path):
    run = make_run(tmp_path)
    assert ThisProcess().work(run, run.plan.todo) == Worked()
    assert run.execute(executor=ThisProcess()).trained == len(run.plan.fits) > 0


@pytest.mark.parametrize("done", [0, 1, 4])
def test_what_is_left_undone_is_done_here_with_the_same_results(tmp_path, done):
    run, told = make_run(tmp_path / "shared"), Told()
    elsewhere = Elsewhere(tmp_path / "shared", done)
    todo = [f.key for f in run.plan.todo]
    summary = run.execute([told], executor=elsewhere)
    assert elsewhere.given == todo
    assert (summary.trained, summary.failures) == (len(todo), [])
    assert told.outcomes == dict.fromkeys(todo, (False, None))  # of this run, whoever trained them
    assert summary.seconds > 1000
    alone = make_run(tmp_path / "alone").execute()
    pd.testing.assert_frame_equal(summary.tables.cells, alone.tables.cells)


def test_what_failed_there_is_not_tried_again_here(tmp_path):
    run, told = make_run(tmp_path), Told()
    todo = [f.key for f in run.plan.todo]
    summary = run.execute([told], executor=Elsewhere(tmp_path, 1, failing=1))
    assert summary.failures == [("a model", "its machine burnt down")]
    assert summary.trained == len(todo) - 1
    assert told.outcomes[todo[1]] == (False, "its machine burnt down")
    assert summary.exit_code == 1


def test_a_limit_is_given_to_the_executor(tmp_path):
    run, elsewhere = make_run(tmp_path), Elsewhere(tmp_path, 0)
    todo = [f.key for f in run.plan.todo]
    assert run.execute(limit=2, executor=elsewhere).trained == 2
    assert elsewhere.given == todo[:2]
