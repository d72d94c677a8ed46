"""What tuning and training tell the display: every step once, how far populations are, and the best validation score."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest

from fusionbench.contract.stages import Stage
from fusionbench.progress import SilentProgress, SilentStage
from fusionbench.run.execution import Job, train_jobs
from fusionbench.training.loop import train
from tests.builders import make_member, make_model, make_rows, make_run, settings
from tests.training.stages.staged import member as staged


class Told(SilentStage):
    """Keeps what it is told; ``until`` steps are done before it is interrupted."""

    def __init__(self, until=10_000):
        self.done, self.skipped, self.heard, self.until = 0, 0, [], until

    def advance(self, steps=1, note=""):
        self.done += steps
        if self.done >= self.until:
            raise KeyboardInterrupt

    def skip(self, steps):
        self.skipped += steps

    def working(self, steps, share, note="", best=None):
        self.heard.append((steps, share, note, best))


def jobs(count, broken=()):
    def build(seed):
        if seed in broken:
            raise ValueError("cannot be built")
        return make_model(seed=seed)

    member = make_member(make_model, make_rows())
    return [
        Job(replace(member, build=lambda i=i: build(i), seed=i), "same", f"arm {i}, fold 0, seed 0", i)
        for i in range(count)
    ]


def test_after_each_epoch_a_population_says_how_far_it_is():
    stage = Told()
    list(train_jobs(jobs(3), settings(epochs=4), "auroc", stage))
    assert [(steps, share) for steps, share, _, _ in stage.heard] == [(3, 0.2), (3, 0.4), (3, 0.6), (3, 0.8)]
    assert stage.heard[1][2] == "arm 0, fold 0, seed 0 and 2 more: epoch 2 of 4 at most"
    assert stage.done == 3


def test_a_single_model_is_not_said_to_be_several():
    stage = Told()
    list(train_jobs(jobs(1), settings(epochs=1), "auroc", stage))
    assert [note for _, _, note, _ in stage.heard] == ["arm 0, fold 0, seed 0: epoch 1 of 1 at most"]


@pytest.mark.parametrize(
    ("metric", "selection", "measure", "higher"),
    [
        ("auroc", "metric", "auroc", True),
        ("brier", "metric", "brier", False),
        ("auroc", "loss", "loss", False),
    ],
)
def test_the_best_is_the_member_that_wins_by_what_selects_epochs_with_the_sign_of_the_measure(
    metric, selection, measure, higher
):
    stage = Told()
    (trained,) = train_jobs(jobs(4), settings(selection=selection), metric, stage)
    winner = max(range(4), key=lambda i: trained.fits[i].score)
    best = stage.heard[-1][3]
    assert best.model == trained.jobs[winner].label
    assert (best.measure, best.higher_is_better) == (measure, higher)
    score = trained.fits[winner].score
    assert best.value == (score if higher else -score)
    assert 0 < best.value < 2


def test_a_score_that_is_undefined_is_no_best():
    table = make_rows()
    one_class = table.target.flatten().argsort()[:4]
    given = [replace(j, member=replace(j.member, validation=one_class)) for j in jobs(1)]
    stage = Told()
    (trained,) = train_jobs(given, settings(), "auroc", stage)
    assert trained.fits[0].failure is not None
    assert stage.heard
    assert {best for *_, best in stage.heard} == {None}


def test_stages_of_a_method_are_told_as_parts_of_one_whole():
    heard = []
    plan = [Stage("one", epochs=2), Stage("two", epochs=3)]
    train([staged(plan)], settings(epochs=9), "auroc", heard.append)
    assert [(c.epochs, c.planned) for c in heard] == [(e, 5) for e in (1, 2, 3, 4, 5)]


class Recorder(SilentProgress):
    """Hands out stages that keep what they are told, by title."""

    def __init__(self, until=10_000):
        super().__init__()
        self.stages, self.totals, self.until = {}, {}, until

    @contextmanager
    def stage(self, title, total=None, unit=""):
        self.totals[title], self.stages[title] = total, Told(self.until if title == "tuning" else 10_000)
        yield self.stages[title]


def executed(workspace, until=10_000, **options):
    changes = {"splits": {"folds": 2, "seeds": [0, 1]}, "training": {"epochs": 1, "population": 1}}
    run = make_run(workspace, tuning={"trials": 4, "batch": 2}, **changes)
    run.progress = Recorder(until)
    run.execute(**options)
    return run.progress


def test_trials_of_sealed_studies_are_skipped_not_done(tmp_path):
    executed(tmp_path, limit=1)  # the other seed of this model's study is left
    again = executed(tmp_path)
    assert again.totals["tuning"] == 16
    assert (again.stages["tuning"].skipped, again.stages["tuning"].done) == (4, 12)


def test_trials_of_an_interrupted_study_are_skipped_too(tmp_path):
    first = executed(tmp_path, until=5)
    told = first.stages["tuning"].done - 1  # the last one was trained, and interrupted before it was told
    again = executed(tmp_path)
    assert 0 < again.stages["tuning"].skipped <= told
    assert again.stages["tuning"].skipped + again.stages["tuning"].done == again.totals["tuning"] == 16


def test_every_metric_with_intervals_is_told_or_skipped_where_it_is_stored(tmp_path):
    first, again = executed(tmp_path), executed(tmp_path)
    assert first.totals["intervals"] == again.totals["intervals"] == 4  # three metrics, and the differences
    assert (first.stages["intervals"].done, first.stages["intervals"].skipped) == (4, 0)
    assert (again.stages["intervals"].done, again.stages["intervals"].skipped) == (0, 4)
