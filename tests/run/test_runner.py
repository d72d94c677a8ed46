"""Whole runs: what is stored is kept, what fails is named, and a run that was killed ends like one that was not."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from fusionbench import hookimpl
from fusionbench.contract.isolation import reason_of
from fusionbench.errors import PluginError, WorkspaceError
from fusionbench.progress import SilentStage
from fusionbench.records import Tables
from fusionbench.report.lines import ranked_board
from fusionbench.run import execution
from fusionbench.run.capacity import Sizes
from fusionbench.run.execution import Job, train_jobs
from fusionbench.run.runner import Run
from fusionbench.store.results import PREDICTED
from tests.builders import make_member, make_model, make_rows, make_run, outcome, run_toy, settings, stored, toy_dataset
from tests.forked import forks
from tests.front import TOY, tables, toy_benchmark, write_yaml

# --------------------------------------------------------------------------------------------
# populations that raise


def jobs(count, build=make_model, broken=()):
    table = make_rows()

    def one(i):
        def made():
            if i in broken:
                raise ValueError(f"member {i} cannot be built\nsecond line")
            return build(seed=i)

        return Job(replace(make_member(make_model, table), build=made, seed=i), "same", f"job {i}", i)

    return [one(i) for i in range(count)]


def fits_of(found):
    return {j.owner: outcome(f) for t in found for j, f in zip(t.jobs, t.fits, strict=True)}


def test_a_member_that_raises_fails_alone_and_the_others_have_the_same_numbers():
    wanted = fits_of(train_jobs(jobs(5), settings(), "auroc", SilentStage()))
    found = fits_of(train_jobs(jobs(5, broken={3}), settings(), "auroc", SilentStage()))
    assert found.pop(3)["failure"].startswith("ValueError: member 3 cannot be built (test_runner.py:")
    wanted.pop(3)
    assert found == wanted


def test_a_population_that_does_not_fit_into_memory_is_halved_until_it_does(monkeypatch):
    sizes = []
    real = execution.train

    def small_memory(members, *arguments):
        sizes.append(len(members))
        if len(members) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(members, *arguments)

    wanted = fits_of(train_jobs(jobs(5), settings(), "auroc", SilentStage()))
    monkeypatch.setattr(execution, "train", small_memory)
    assert fits_of(train_jobs(jobs(5), settings(), "auroc", SilentStage())) == wanted
    assert sizes == [5, 3, 2, 1, 2]


def test_where_memory_ran_out_later_populations_start_at_the_size_that_worked(monkeypatch):
    tried = []
    real = execution.train

    def small_memory(members, *arguments):
        tried.append(len(members))
        if len(members) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(members, *arguments)

    given = jobs(24)
    given[20:] = [replace(j, signature="other") for j in given[20:]]
    wanted = fits_of(train_jobs(given, settings(population=8), "auroc", SilentStage()))
    monkeypatch.setattr(execution, "train", small_memory)
    known = Sizes()
    found = fits_of(train_jobs(given[:16], settings(population=8), "auroc", SilentStage(), sizes=known))
    assert tried == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    tried.clear()
    found |= fits_of(train_jobs(given[16:], settings(population=8), "auroc", SilentStage(), sizes=known))
    assert tried == [2, 2, 4, 2, 2]  # another signature has limits of its own
    assert found == wanted


def test_another_failure_than_memory_says_nothing_about_sizes():
    known = Sizes()
    list(train_jobs(jobs(4, broken={1}), settings(), "auroc", SilentStage(), sizes=known))
    assert [len(p) for p in known.parts("same", range(9))] == [9]


def test_tuning_and_training_of_a_run_know_the_same_sizes(tmp_path, monkeypatch):
    tried = []
    real = execution.train

    def small_memory(members, *arguments):
        tried.append(len(members))
        if len(members) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(members, *arguments)

    changes = {
        "strategies": ["sum"],
        "tuning": {
            "trials": 4,
            "untuned": False,
            "batch": 2,
            "common": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}},
        },
    }
    _, wanted = run_toy(tmp_path / "roomy", **changes)
    monkeypatch.setattr(execution, "train", small_memory)
    _, found = run_toy(tmp_path / "small", **changes)
    assert tried == [4, 2] + [1] * 10  # two folds of four trials, then two models
    assert found.tables.cells.equals(wanted.tables.cells)


def test_what_raises_in_scoring_is_halved_too():
    def score(part, population):
        if 1 in [j.owner for j in part]:
            raise RuntimeError("cannot be scored")
        return [{"label": np.full((1, 1), j.owner, np.float32)} for j in part]

    found = list(train_jobs(jobs(4), settings(), "auroc", SilentStage(), score))
    assert [[j.owner for j in t.jobs] for t in found] == [[0], [1], [2, 3]]
    assert [float(s["label"][0, 0]) for t in found for s in t.scores if s] == [0, 2, 3]
    assert found[1].fits[0].failure.startswith("RuntimeError: cannot be scored (test_runner.py:")


def test_an_interruption_is_not_taken_for_a_failure():
    def score(part, population):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(train_jobs(jobs(2), settings(), "auroc", SilentStage(), score))


def test_populations_are_as_large_as_the_benchmark_says_and_hold_what_can_be_stacked():
    given = jobs(5)
    given[4] = replace(given[4], signature="other")
    given[2] = replace(given[2], member=replace(given[2].member, train=torch.arange(20)))
    found = [[j.owner for j in t.jobs] for t in train_jobs(given, settings(population=2), "auroc", SilentStage())]
    assert sorted(map(tuple, found)) == [(0, 1), (2,), (3,), (4,)]


def test_every_job_is_shown_once():
    class Counting(SilentStage):
        shown = 0

        def advance(self, steps=1, note=""):
            self.shown += steps

    stage = Counting()
    list(train_jobs(jobs(5, broken={0, 4}), settings(), "auroc", stage))
    assert stage.shown == 5


def raising(seed):
    raise RuntimeError("one\ntwo")


def test_a_reason_is_one_line_with_its_place():
    with pytest.raises(RuntimeError) as caught:
        jobs(1, build=raising)[0].member.build()
    assert reason_of(caught.value).startswith("RuntimeError: one (test_runner.py:")


# --------------------------------------------------------------------------------------------
# what is stored, and what is not trained again


class Listening:
    """Follows a run."""

    def __init__(self, interrupt_after=None):
        self.outcomes, self.summary, self.interrupt_after = [], None, interrupt_after

    @hookimpl
    def fusionbench_cell_finished(self, outcome):
        self.outcomes.append(outcome)
        if len(self.outcomes) == self.interrupt_after:
            raise KeyboardInterrupt

    @hookimpl
    def fusionbench_run_finished(self, summary):
        self.summary = summary


def test_a_second_run_trains_nothing_and_says_the_same(tmp_path):
    run, summary = run_toy(tmp_path)
    again, second = run_toy(tmp_path)
    assert (summary.trained, second.trained) == (4, 0)
    assert again.plan.stored == {f.key for f in run.plan.fits}
    for name in ("cells", "curves", "leaderboard"):
        assert getattr(summary.tables, name).equals(getattr(second.tables, name)), name


def test_adding_a_strategy_trains_that_one_only(tmp_path):
    run_toy(tmp_path)
    _, summary = run_toy(tmp_path, strategies=["concat", "sum", "late_average"])
    assert summary.trained == 2


def test_a_limit_leaves_the_rest_for_later_and_marks_arms_incomplete(tmp_path):
    run = make_run(tmp_path)
    summary = run.execute(limit=3)
    board = summary.tables.leaderboard.set_index("strategy")
    assert summary.trained == 3
    assert summary.exit_code == 0
    assert board.loc["sum", ["models", "models_planned"]].tolist() == [1, 2]
    assert np.isnan(board.loc["sum", "area"])
    assert board.loc["sum", "group"] == 0
    assert board.loc["concat", "area_low"] < board.loc["concat", "area"]
    whole = run_toy(tmp_path)[1]
    assert whole.trained == 1
    fresh = run_toy(tmp_path / "fresh")[1]
    assert whole.tables.cells.equals(fresh.tables.cells)
    assert whole.tables.curves.equals(fresh.tables.curves)


def test_forgetting_trains_again_and_makes_new_tables(tmp_path):
    run, first = run_toy(tmp_path)
    again = make_run(tmp_path)
    again.forget()
    assert stored(again) == {}
    assert again.execute().trained == 4
    # a table that was made of other predictions must not be found again
    result = again.store.load(again.plan.fits[0].key)
    again.store.save(replace(result, logits={k: z[::-1] for k, z in result.logits.items()}))
    changed = make_run(tmp_path).execute()
    assert not changed.tables.cells["auroc"].equals(first.tables.cells["auroc"])
    assert run.plan.fits[0].key == again.plan.fits[0].key


def test_an_interrupted_run_keeps_what_it_has_and_goes_on(tmp_path):
    run = make_run(tmp_path, training={"epochs": 2, "batch_size": 32, "population": 1})
    listening = Listening(interrupt_after=2)
    summary = run.execute([listening])
    assert summary.interrupted
    assert summary.exit_code == 130
    assert listening.summary is summary
    assert len(stored(run)) == 2
    rest = run_toy(tmp_path, training={"epochs": 2, "batch_size": 32, "population": 4})[1]
    assert rest.trained == 2
    whole = run_toy(tmp_path / "whole")[1]
    assert rest.tables.cells.drop(columns="key").equals(whole.tables.cells.drop(columns="key"))


@pytest.mark.parametrize("where", ["test", "both", "grid"])
def test_the_size_of_populations_is_not_part_of_a_result(tmp_path, where):
    # under "both" every member of a population is scored under a condition of its own
    missing = {"patterns": ["random"], "rates": [0, 0.4, 0.8], "where": where}
    one, many = (
        run_toy(
            tmp_path / str(size),
            training={"epochs": 2, "batch_size": 32, "population": size},
            imputers=["mean", "cra"] if where == "test" else ["mean"],
            missingness=missing,
        )
        for size in (1, 16)
    )
    assert stored(one[0]).keys() == stored(many[0]).keys()
    assert one[1].tables.curves.round(6).equals(many[1].tables.curves.round(6))


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"missingness": {"patterns": ["random"], "rates": [0, 0.7]}}, "models"),
        ({"missingness": {"patterns": ["random"], "rates": [0, 0.5], "mechanism": "mnar"}}, "models"),
        ({"evaluation": {"resamples": 150}}, "results"),
        ({"splits": {"folds": 2, "use": [1]}}, "results"),
        ({"training": {"epochs": 3, "batch_size": 32}}, "nothing"),
        ({"splits": {"folds": 2, "salt": "other"}}, "nothing"),
        ({"model": {"width": 5}}, "nothing"),
        ({"encoders": {"a": "mlp", "b": "identity", "c": "identity"}}, "nothing"),
    ],
)
def test_what_decides_a_result_decides_its_address(tmp_path, change, kept):
    run, _ = run_toy(tmp_path)
    other = make_run(tmp_path, **change)
    before, after = ({f.key for f in r.plan.fits} for r in (run, other))
    assert (after <= before) == (kept != "nothing")
    assert other.plan.stored == (after if kept == "results" else set())


def test_the_metric_that_selects_epochs_is_part_of_the_address(tmp_path):
    keys = [{f.key for f in make_run(tmp_path, replace(toy_dataset(), metric=m)).plan.fits} for m in ("auroc", "brier")]
    assert not keys[0] & keys[1]


# --------------------------------------------------------------------------------------------
# failures


BROKEN = '''
import torch
from torch import nn
from fusionbench import FusionStrategy, hookimpl


class Broken(FusionStrategy):
    """Fails in a way that the benchmark chooses."""

    def __init__(self, spec, how="raise"):
        super().__init__(spec)
        self.how = how
        self.heads = nn.ModuleDict({n: nn.Linear(d, spec.num_outputs) for n, d in spec.dims.items()})

    def forward(self, batch):
        logits = sum(head(batch.completed(n)) for n, head in self.heads.items())
        if self.how == "raise" and self.training:
            raise RuntimeError("it does not work")
        if self.how == "score" and len(logits) > 40 and not self.training:
            raise RuntimeError("too many rows")
        return logits

    def loss(self, output, batch, target):
        loss = super().loss(output, batch, target)
        return loss * torch.nan if self.how == "nan" else loss


@hookimpl
def register_fusion_strategies(register):
    register("broken", Broken)
'''


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", "RuntimeError: it does not work (broken.py:"),
        ("nan", "diverged: the loss was not finite in epoch 1"),
        ("score", "RuntimeError: too many rows"),
    ],
)
@pytest.mark.parametrize("trials", [0, 2])
def test_a_strategy_that_fails_is_named_and_the_others_finish(tmp_path, how, reason, trials):
    plugin = tmp_path / "broken.py"
    plugin.write_text(BROKEN, encoding="utf-8")
    changes = {"strategies": ["concat", {"name": "broken", "how": how}], "tuning": {"trials": trials, "untuned": False}}
    run = make_run(tmp_path, plugins=[str(plugin)], **changes)
    listening = Listening()
    summary = run.execute([listening])
    assert summary.trained == 2
    assert summary.exit_code == 1
    assert len(summary.failures) == 2
    assert all(reason in text for _, text in summary.failures)
    assert all("broken / zero, fold" in name for name, _ in summary.failures)
    assert len(list((run.store.folder / "failures").iterdir())) == 2
    assert {f.arm.title for f in run.plan.fits if run.store.load(f.key)} == {"concat"}
    again = make_run(tmp_path, plugins=[str(plugin)], **changes)
    assert len(again.plan.stored) == 2
    assert len(again.execute().failures) == 2  # tried again


def test_a_full_disk_ends_the_run_with_a_sentence(tmp_path, monkeypatch):
    run = make_run(tmp_path)

    def full(path, content):
        raise WorkspaceError(f"{path} cannot be written: No space left on device")

    monkeypatch.setattr("fusionbench.store.results.write_atomically", full)
    with pytest.raises(WorkspaceError, match="No space left on device"):
        run.execute()


class Raising:
    @hookimpl
    def fusionbench_run_finished(self, summary):
        raise ZeroDivisionError("in the observer")


def test_an_observer_that_raises_is_named_after_the_ones_before_it_have_finished(tmp_path):
    listening = Listening()
    with pytest.raises(
        PluginError, match="an observer failed in fusionbench_run_finished: ZeroDivisionError: in the observer"
    ):
        make_run(tmp_path).execute([listening, Raising()])
    assert listening.summary is not None
    assert len(listening.outcomes) == 4


# --------------------------------------------------------------------------------------------
# what training and scoring see


def poisoned(dataset, rows):
    """The same data with garbage in the given cells, bool ``[rows, modalities]``."""
    modalities = {}
    for column, (name, modality) in enumerate(dataset.modalities.items()):
        values = modality.values.copy()
        values[rows[:, column]] = 1e6
        modalities[name] = replace(modality, values=values)
    return replace(dataset, modalities=modalities)


@pytest.mark.parametrize("imputer", ["zero", "mean", "knn", "learned", "cra"])
@pytest.mark.parametrize("where", ["train", "both"])
def test_what_a_condition_hides_from_training_rows_influences_nothing(tmp_path, imputer, where):
    changes = {
        "missingness": {"patterns": ["random"], "rates": [0.5], "where": where},
        "strategies": ["sum"],
        "imputers": [imputer],
        "splits": {"folds": 2, "use": [0]},
    }
    clean = toy_dataset()
    run, _ = run_toy(tmp_path / "clean", clean, **changes)
    (fit,) = run.plan.fits
    hidden = clean.available & ~run.rows.mask(fit.condition, fit.seed, fit.fold)
    if where == "train":  # test rows are scored complete: their content counts
        hidden[run.folds[0].test.open("test")] = False
    assert hidden.sum() > 40
    other, _ = run_toy(tmp_path / "poisoned", poisoned(clean, hidden), **changes)
    found, wanted = stored(other)[fit.key], stored(run)[fit.key]
    for what in PREDICTED:
        said, other_said = wanted.pop(what), found.pop(what)
        for label, values in said.items():
            # validation rows are scored as test rows are, complete ones here, and to train they are not
            assert np.array_equal(other_said[label], values) or (where, what) == ("train", "validation")
    assert found == wanted


# --------------------------------------------------------------------------------------------
# kill -9

COUNTING = '''
from pathlib import Path
from fusionbench import hookimpl


class Counting:
    """Appends a line for every model that was trained and stored."""

    def __init__(self, config, workspace):
        self.path = Path(workspace) / "trained.txt"

    @hookimpl
    def fusionbench_cell_finished(self, outcome):
        if not outcome.stored_before:
            with self.path.open("a") as file:
                file.write(outcome.job.key + "\\n")


@hookimpl
def register_observers(register):
    register("counting", Counting)
'''


def test_a_run_killed_at_random_moments_ends_like_one_that_was_not(tmp_path):
    """Takes long: seven processes, and each of the killed ones reads anew what those before it left."""
    counting = tmp_path / "counting.py"
    counting.write_text(COUNTING, encoding="utf-8")
    config = write_yaml(
        tmp_path / "toy.yaml",
        toy_benchmark(
            strategies=["sum", "pmr"],
            imputers=["mean"],
            splits={"folds": 2, "seeds": [0, 1]},
            tuning={"trials": 3, "batch": 2, "common": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}},
            training={"epochs": 4, "batch_size": 16, "population": 3},
            observers=["counting", "files"],
        ),
    )

    def progress(workspace):
        """Bytes of journals, seals and results: they grow from the first trial to the last model."""
        files = [p for kind in ("studies", "fits") for p in (workspace / "results" / kind).glob("[!.]*")]
        return sum(p.stat().st_size for p in files)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with forks(tmp_path) as processes:

        def start(workspace):
            return processes.start("run", config, "-p", TOY, "-p", counting, "--workspace", workspace, "--quiet")

        assert start(whole).wait(timeout=120) == 0
        draw = random.Random(7)
        moments = sorted(draw.uniform(0.05, 0.98) * progress(whole) for _ in range(5))
        for moment in moments:
            process = start(killed)
            while process.poll() is None and progress(killed) < moment:
                time.sleep(0.001)
            assert process.poll() is None, "it ended before it could be killed"
            process.kill()
            process.wait(timeout=60)
        assert start(killed).wait(timeout=120) == 0
    assert tables(killed) == tables(whole)
    trained = Counter((killed / "trained.txt").read_text(encoding="utf-8").split())
    assert max(trained.values()) == 1
    assert set(trained) <= set((whole / "trained.txt").read_text(encoding="utf-8").split())
    assert {p.name for p in (killed / "results" / "fits").glob("[!.]*")} == {
        p.name for p in (whole / "results" / "fits").iterdir()
    }


def test_the_arms_of_a_run_are_what_its_tables_hold(tmp_path):
    run, summary = run_toy(tmp_path, imputers=["zero", "mean"])
    assert isinstance(run, Run)
    assert isinstance(summary.tables, Tables)
    assert len(ranked_board(summary)) == len(run.plan.arms) == 4
    assert run.plan.cells == len(summary.tables.cells) == 16
