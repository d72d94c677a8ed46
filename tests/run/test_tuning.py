"""Studies: the same trials for every arm, the same content however often a run is killed, and a seal that stays."""

from __future__ import annotations

import errno
import json
import math
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from optuna.storages.journal import JournalFileBackend

from fusionbench.config.sections import Benchmark
from fusionbench.errors import ConfigError, DataError, WorkspaceError
from fusionbench.keys import digest
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.plan.jobs import StudyJob
from fusionbench.progress import SilentStage
from fusionbench.run import tuning
from fusionbench.run.execution import Job, Trained
from fusionbench.run.searching import defaults
from fusionbench.store.results import Store
from fusionbench.training.loop import train
from fusionbench.training.members import Fit
from tests.builders import make_benchmark, make_run, run_toy, stored, toy_dataset

RANGES = {
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "weight_decay": {"low": 0.0, "high": 0.1},
}


class Plain:
    """A strategy without options to search."""

    @classmethod
    def search_space(cls, trial):
        return {}


class Searching:
    """A strategy that searches two options."""

    @classmethod
    def search_space(cls, trial):
        return {
            "alpha": trial.suggest_float("alpha", 0.0, 1.0),
            "mode": trial.suggest_categorical("mode", ["one", "two"]),
        }


def formula(suggested) -> Fit:
    return Fit(score=height(suggested), epochs=2, seconds=0.5)


@dataclass
class Bench:
    """A tuner whose models are a formula, so that a study takes milliseconds."""

    benchmark: Benchmark
    store: Store
    score: Any = formula
    asked: list[Any] = field(default_factory=list)
    splits: tuple[int, ...] = (0,)

    def run(self, *studies: StudyJob):
        self.asked = []
        splits = {s.key: self.splits for s in studies}

        def make_job(study, suggested, owner, split):
            self.asked.append((study.key, owner.trial.number, suggested))
            member = suggested if len(self.splits) == 1 else {**suggested, "split": split}
            return Job(member=member, signature="", label=study.arm.label, owner=owner)

        def train_jobs(jobs, settings, metric, stage, score=None, sizes=None):
            for job in reversed(jobs):  # the order in which populations finish must not matter
                stage.advance(1)
                yield Trained([job], [self.score(job.member)], [])

        stage = SilentStage()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tuning, "train_jobs", train_jobs)
            return tuning.tune(studies, self.benchmark, self.store, "auroc", make_job, stage, splits=splits)

    def content(self, study: StudyJob) -> dict[str, Any]:
        found = self.store.sealed_study(study.key)
        return {**found, "trials": [{**t, "seconds": 0} for t in found["trials"]]}


def height(suggested) -> float:
    rate, decay = suggested["common"]["learning_rate"], suggested["common"]["weight_decay"]
    return 1 - abs(rate - 0.02) - abs(decay - 0.03) + 0.1 * suggested["own"].get("alpha", 0.5)


def study(name: str = "plain", fold: int = 0, target: type = Plain, **options: Any) -> StudyJob:
    return StudyJob(
        SimpleNamespace(label=name, parts={"": part(target, options)}, fitted=False), fold, digest([name, fold])
    )


def part(target: type, options: dict[str, Any]) -> Any:
    return SimpleNamespace(registration=SimpleNamespace(target=target), options=options)


@pytest.fixture
def bench(tmp_path):
    return partial(make, tmp_path)


def make(tmp_path, trials=6, batch=2, folder="results", **more) -> Bench:
    benchmark = make_benchmark(tuning={"trials": trials, "batch": batch, "common": RANGES, **more})
    return Bench(benchmark, Store(tmp_path / folder))


# --------------------------------------------------------------------------------------------
# equal budget, equal suggestions


def test_every_arm_gets_the_same_number_of_trials_and_says_so(bench):
    given = bench(trials=5)
    arms = [study("one"), study("two", target=Searching), study("three", fold=1)]
    winners, failures = given.run(*arms)
    assert failures == {}
    assert {w.trials for w in winners.values()} == {5}
    assert {w.epochs for w in winners.values()} == {10}
    assert {w.seconds for w in winners.values()} == {2.5}
    assert all(len(given.content(a)["trials"]) == 5 for a in arms)


def test_the_first_trial_is_the_defaults_also_of_the_strategys_own_options(bench):
    given = bench()
    given.run(study(target=Searching))
    training = given.benchmark.training
    first = {"learning_rate": training.learning_rate, "weight_decay": training.weight_decay}
    assert given.asked[0][2] == {"common": first, "own": {}}
    assert all(set(s["own"]) == {"alpha", "mode"} for _, number, s in given.asked if number > 0)


def test_arms_start_from_the_same_suggestions_and_folds_from_others(bench):
    given = bench()
    one, two, other = study("one"), study("two", target=Searching), study("one", fold=1)
    given.run(one, two, other)
    common = {key: [s["common"] for k, _, s in given.asked if k == key] for key in (one.key, two.key, other.key)}
    assert common[one.key] == common[two.key]
    assert common[one.key][0] == common[other.key][0]
    assert common[one.key][1:] != common[other.key][1:]
    assert len({json.dumps(c) for c in common[one.key]}) == 6


def test_parameters_of_one_trial_are_drawn_independently(bench):
    given = bench(trials=6)
    given.run(study())
    for _, number, suggested in given.asked[1:]:
        rate, decay = suggested["common"]["learning_rate"], suggested["common"]["weight_decay"]
        assert math.log(rate / 1e-4) / math.log(1e3) != pytest.approx(decay / 0.1, abs=1e-6), number


def test_options_that_the_benchmark_fixes_are_not_searched(bench):
    given = bench()
    given.run(study(target=Searching, alpha=0.3))
    assert all(set(s["own"]) == {"mode"} for _, number, s in given.asked if number > 0)


def test_own_options_are_left_alone_when_the_benchmark_says_so(bench):
    given = bench(own=False)
    given.run(study(target=Searching))
    assert all(s["own"] == {} for _, _, s in given.asked)


def test_what_has_no_range_keeps_its_default(tmp_path):
    given = make(tmp_path)
    given.benchmark = make_benchmark(tuning={"trials": 3, "common": {"learning_rate": RANGES["learning_rate"]}})
    given.run(study())
    assert {s["common"]["weight_decay"] for _, _, s in given.asked} == {given.benchmark.training.weight_decay}


def test_a_default_outside_its_range_is_not_tried(tmp_path):
    given = make(tmp_path)
    given.benchmark = make_benchmark(tuning={"trials": 3, "common": {"learning_rate": {"low": 0.05, "high": 0.1}}})
    given.run(study())
    assert all(0.05 <= s["common"]["learning_rate"] <= 0.1 for _, _, s in given.asked)


def test_the_best_trial_wins_and_the_earliest_of_equals(bench):
    given = bench()
    winners, _ = given.run(study())
    content = given.content(study())
    best = max(content["trials"], key=lambda t: t["score"])
    assert content["winner"]["number"] == best["number"]
    assert winners[study().key].common == content["winner"]["common"]
    given = bench(folder="equal")
    given.score = lambda suggested: Fit(score=0.5)
    given.run(study())
    assert given.content(study())["winner"]["number"] == 0


def test_without_trials_the_defaults_win_and_open_the_test_rows(bench):
    winners, failures = bench(trials=0).run(study("one"), study("two"))
    assert failures == {}
    assert {json.dumps(w.common) for w in winners.values()} == {'{"learning_rate": 0.001, "weight_decay": 0.01}'}
    assert all(w.digest and w.own == {} and w.trials == 0 for w in winners.values())


# --------------------------------------------------------------------------------------------
# killed and resumed


class Killed(BaseException):
    """Stands for a process that ended."""


@pytest.fixture
def few_startup_trials(monkeypatch):
    """Let the sampler look at earlier trials from the third on, so that a changed history would show."""
    sampler = optuna.samplers.TPESampler
    monkeypatch.setattr(optuna.samplers, "TPESampler", partial(sampler, n_startup_trials=2))


def kill_before_write(monkeypatch, number: int) -> list[int]:
    """End the process before its n-th write to a journal."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # a hundred journals
    writes = [0]
    append = JournalFileBackend.append_logs

    def counted(self, logs):
        writes[0] += 1
        if writes[0] == number:
            raise Killed
        append(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", counted)
    return writes


def test_a_study_killed_before_any_of_its_writes_ends_with_the_same_content(bench, monkeypatch, few_startup_trials):
    arms = study("one"), study("two", target=Searching)
    whole = bench(trials=4, folder="whole")
    with monkeypatch.context() as patch:
        writes = kill_before_write(patch, 0)
        whole.run(*arms)
    wanted = [whole.content(a) for a in arms]
    assert writes[0] >= 4
    for number in range(1, writes[0] + 1):
        given = bench(trials=4, folder=f"killed-{number}")
        with monkeypatch.context() as patch:
            kill_before_write(patch, number)
            with pytest.raises(Killed):
                given.run(*arms)
        given.run(*arms)
        assert [given.content(a) for a in arms] == wanted, f"killed before write {number}"


def test_a_study_whose_journal_was_written_in_part_ends_with_the_same_content(bench, few_startup_trials):
    arm = study(target=Searching)
    whole = bench(trials=4, batch=2, folder="whole")
    whole.store.seal_study = lambda key, content: None  # type: ignore[method-assign]
    whole.run(arm)
    lines = (whole.store.folder / "studies" / f"{arm.key}.journal").read_bytes().splitlines(keepends=True)
    finished = bench(trials=4, batch=2, folder="finished")
    finished.run(arm)
    assert len(lines) > 20
    for number in range(len(lines) + 1):
        given = bench(trials=4, batch=2, folder=f"part-{number}")
        path = given.store.journal(arm.key)
        path.write_bytes(b"".join(lines[:number]) + b"".join(lines[number : number + 1])[:7])  # torn in the middle
        given.run(arm)
        assert given.content(arm) == finished.content(arm), f"{number} of {len(lines)} lines"


def test_a_study_killed_again_and_again_ends_with_the_same_content(bench, monkeypatch, few_startup_trials):
    whole = bench(trials=6, folder="whole")
    whole.run(study(target=Searching))
    given = bench(trials=6)
    kills = 0
    while given.store.sealed_study(study().key) is None:
        with monkeypatch.context() as patch:
            kill_before_write(patch, 1 + kills % 2)  # now before the first of a process, now before its second
            with suppress(Killed):
                given.run(study(target=Searching))
            kills += 1
    assert kills > 2
    assert given.content(study()) == whole.content(study())


def test_the_history_does_change_what_is_suggested(bench, few_startup_trials):
    # otherwise the tests above could not see a resumed study that looks at another history
    given, other = bench(trials=6), bench(trials=6, folder="other")
    other.score = lambda suggested: Fit(score=-height(suggested))
    given.run(study())
    other.run(study())
    assert [s for *_, s in given.asked][:2] == [s for *_, s in other.asked][:2]
    assert [s for *_, s in given.asked] != [s for *_, s in other.asked]


def test_a_trial_left_over_waits_for_its_own_round(bench, monkeypatch):
    given = bench(trials=6, batch=2)
    real, calls, rounds = optuna.Study.ask, [], []

    def killed_at_fourth(self):
        calls.append(self)
        if len(calls) == 4:
            raise Killed
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "ask", killed_at_fourth)
        with pytest.raises(Killed):
            given.run(study())
    monkeypatch.setattr(
        tuning, "_round", lambda asked, *more: rounds.append([t.number for _, t in asked]) or known(asked, *more)
    )
    given.run(study())
    assert rounds == [[], [2, 3], [4, 5]]


known = tuning._round


def test_only_trials_that_were_not_told_are_trained_again(bench, monkeypatch):
    given = bench(trials=4, batch=2)
    told = []
    tell = tuning._Study.tell

    def kill_at_third(self, trial, fit):
        if len(told) == 3:
            raise Killed
        told.append(trial.number)
        tell(self, trial, fit)

    with monkeypatch.context() as patch:
        patch.setattr(tuning._Study, "tell", kill_at_third)
        with pytest.raises(Killed):
            given.run(study())
    given.run(study())
    assert [number for _, number, _ in given.asked] == [2, 3]  # a round is written when all of it is told


def test_a_study_is_told_as_soon_as_its_own_trials_of_the_round_are_trained(bench, monkeypatch):
    given = bench(trials=2, batch=2)
    train_jobs = iter(range(100))

    def killed_in_the_third_training(member):
        if next(train_jobs) == 2:
            raise Killed
        return formula(member)

    monkeypatch.setattr(given, "score", killed_in_the_third_training)
    with pytest.raises(Killed):
        given.run(study("one"), study("two"))
    monkeypatch.setattr(given, "score", formula)
    given.run(study("one"), study("two"))
    assert {key for key, _, _ in given.asked} == {study("one").key}  # trained from the last to the first
    whole = bench(trials=2, batch=2, folder="whole")
    whole.run(study("one"), study("two"))
    assert [given.content(study(n)) for n in ("one", "two")] == [whole.content(study(n)) for n in ("one", "two")]


def test_a_journal_with_a_broken_line_is_tuned_again_from_its_beginning(bench):
    given, whole = bench(trials=3), bench(trials=3, folder="whole")
    whole.run(study())
    journal = given.store.journal(study().key)
    journal.write_bytes(whole.store.journal(study().key).read_bytes()[:200] + b"noise\n{}\n")
    given.run(study())
    assert given.content(study()) == whole.content(study())


# --------------------------------------------------------------------------------------------
# sealed


def test_a_sealed_study_is_read_and_not_touched(bench):
    given = bench()
    first, _ = given.run(study())
    files = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (given.store.folder / "studies").glob("[!.]*")}
    again, failures = given.run(study())
    assert (again, failures) == (first, {})
    assert given.asked == []
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files} == files


def test_a_seal_that_was_lost_is_made_again_from_the_journal(bench):
    given = bench()
    given.run(study())
    wanted = given.content(study())
    (given.store.folder / "studies" / f"{study().key}.json").unlink()
    given.run(study())
    assert given.asked == []
    assert given.content(study()) == wanted


def test_the_digest_follows_parameters_scores_and_the_winner_but_not_the_clock(bench):
    digests = {}
    for name, score in {
        "base": lambda s: Fit(score=height(s), seconds=1.0),
        "slower": lambda s: Fit(score=height(s), seconds=9.0),
        "other": lambda s: Fit(score=height(s) + 1e-6 * (s["common"]["learning_rate"] < 0.01)),
    }.items():
        given = bench(folder=name)
        given.score = score
        given.run(study())
        digests[name] = given.content(study())["digest"]
    assert digests["base"] == digests["slower"] != digests["other"]


# --------------------------------------------------------------------------------------------
# failures


def test_trials_that_fail_are_recorded_and_cannot_win(bench):
    given = bench()

    def score(suggested):
        failing = suggested["common"]["learning_rate"] > 0.005
        return Fit(failure="diverged: too fast") if failing else Fit(score=height(suggested))

    given.score = score
    winners, failures = given.run(study())
    content = given.content(study())
    failed = [t for t in content["trials"] if t["failure"]]
    assert 0 < len(failed) < 6
    assert failures == {}
    assert all(t["score"] is None for t in failed)
    assert winners[study().key].common["learning_rate"] <= 0.005
    assert winners[study().key].trials == 6


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_is_a_failure(bench, score):
    given = bench()
    given.score = lambda suggested: Fit(score=score)
    winners, failures = given.run(study())
    assert winners == {}
    assert failures == {study().key: "no trial succeeded; the first said: the score is not finite"}


# --------------------------------------------------------------------------------------------
# imputers and regularisers are searched like strategies


def carrying(name: str, **parts: Any) -> StudyJob:
    """A study of an arm whose imputer or regularisers have something to search, too."""
    every = {"": part(Searching, {}), **parts}
    return StudyJob(SimpleNamespace(label=name, parts=every, fitted=False), 0, digest([name, 0]))


def test_parameters_of_an_imputer_and_of_regularisers_are_searched_under_their_own_names(bench):
    given = bench()
    carried = {"imputer": part(Searching, {"mode": "one"}), "regulariser.0": part(Searching, {})}
    given.run(carrying("bare"), carrying("full", **carried))
    bare, full = ([s["own"] for key, _, s in given.asked if key == digest([n, 0])] for n in ("bare", "full"))
    assert full[0] == {}  # the defaults come first, of every part
    added = {"imputer.alpha", "regulariser.0.alpha", "regulariser.0.mode"}
    assert all(set(own) == {"alpha", "mode"} | added for own in full[1:])
    # what the strategy itself is suggested does not depend on what it carries, until scores tell them apart
    assert [{k: own[k] for k in ("alpha", "mode")} for own in full[1:2]] == bare[1:2]
    assert len({own["alpha"] for own in full[1:]} | {own["imputer.alpha"] for own in full[1:]}) == 2 * len(full[1:])
    winner = given.content(carrying("full"))["winner"]
    assert winner["own"] in full


def test_what_imputers_and_regularisers_were_suggested_decides_the_models(tmp_path):
    changes = {
        "tuning": {"trials": 3, "common": RANGES},
        "imputers": ["zero", "knn", "cra"],
        "strategies": ["sum", {"name": "sum", "regularisers": ["tla"]}],
        "training": {"epochs": 2},
    }
    run, _ = run_toy(tmp_path, **changes)
    found: dict[str, set[str]] = {}
    for study in run.plan.studies:
        for trial in run.store.sealed_study(study.key)["trials"]:
            assert trial["failure"] is None
            found.setdefault(study.arm.label, set()).update(trial["own"])
    assert found == {
        "sum / zero": set(),
        "sum / knn": {"imputer.k"},
        "sum / cra": {"imputer.lambda_2"},
        "sum+tla / zero": {"regulariser.0.weight"},
        "sum+tla / knn": {"imputer.k", "regulariser.0.weight"},
        "sum+tla / cra": {"imputer.lambda_2", "regulariser.0.weight"},
    }
    arm = next(a for a in run.resolved.arms if a.label == "sum+tla / cra")
    model = run.blueprint.build(arm, 0, {"imputer.lambda_2": 3.5, "regulariser.0.weight": 0.25})
    assert (float(model.imputer.lambda_2), float(model.regularisers[0].weight)) == (3.5, 0.25)
    near = next(a for a in run.resolved.arms if a.label == "sum / knn")
    assert run.blueprint.input_imputer(near.tuned({"imputer.k": 1})).k == 1
    tables = [run.rows.given(near.tuned({"imputer.k": k}), 0, 0, COMPLETE, COMPLETE)[0] for k in (1, 25)]
    assert any(not torch.equal(a, b) for a, b in zip(tables[0].values.values(), tables[1].values.values(), strict=True))


def test_a_study_without_a_winner_is_tried_again_and_others_are_not_held_up(bench):
    given = bench()
    given.score = lambda suggested: Fit(failure="out of memory")
    bad, good = study("bad"), study("good", fold=1)
    assert given.run(bad)[1] == {bad.key: "no trial succeeded; the first said: out of memory"}
    given.score = formula
    winners, failures = given.run(bad, good)
    assert set(winners) == {bad.key, good.key}
    assert failures == {}
    assert len(given.asked) == 12


class Unbuildable:
    """Suggests what cannot be used."""

    @classmethod
    def search_space(cls, trial):
        if trial.suggest_categorical("broken", [True, False]):
            raise ConfigError("alpha must be positive")
        return {}


def test_a_suggestion_that_cannot_be_used_fails_its_trial_only(bench):
    given = bench(trials=8)
    winners, failures = given.run(study(target=Unbuildable), study("other"))
    assert failures == {}
    assert len(winners) == 2
    reasons = {t["failure"] for t in given.content(study())["trials"]}
    assert None in reasons
    assert any("alpha must be positive" in r for r in reasons if r)


def test_data_that_an_imputer_cannot_read_stop_the_run_with_their_own_message(bench):
    given = bench()
    given.score = None

    class Reading(Plain):
        @classmethod
        def search_space(cls, trial):
            raise DataError("imputer 'knn': modality 'note' holds codes")

    with pytest.raises(DataError, match="holds codes"):
        given.run(study(target=Reading))


def test_a_full_disk_is_said_and_the_study_goes_on_later(bench, monkeypatch):
    whole, given = bench(folder="whole"), bench()
    whole.run(study())
    append, writes = JournalFileBackend.append_logs, []

    def full(self, logs):
        writes.append(logs)
        if len(writes) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", full)
        with pytest.raises(WorkspaceError, match="cannot be written: No space left on device"):
            given.run(study())
    given.run(study())
    assert given.content(study()) == whole.content(study())


# --------------------------------------------------------------------------------------------
# through a run, with test rows that must not matter


def test_test_rows_decide_nothing_before_the_study_is_sealed(tmp_path, monkeypatch):
    from fusionbench.run.scoring import Scoring

    states = []
    score = Scoring.logits

    def spied(scoring, owners, population, winners):
        states.append(([o.key for o in owners], population.snapshot()))
        return score(scoring, owners, population, winners)

    monkeypatch.setattr(Scoring, "logits", spied)
    clean = replace(toy_dataset(), folds=toy_dataset().groups % 3)
    tested = clean.folds == 0
    poisoned = replace(
        clean,
        target=clean.target ^ tested,
        modalities={n: replace(m, values=m.values.copy()) for n, m in clean.modalities.items()},
    )
    for modality in poisoned.modalities.values():
        modality.values[tested] = 1e6
    changes = {
        "splits": {"source": "task", "folds": 3, "use": [0]},
        "tuning": {"trials": 2, "common": RANGES},
        "imputers": ["mean", "knn", "cra"],
        "strategies": ["sum", "pmr"],
    }
    runs = [run_toy(tmp_path / name, data, **changes)[0] for name, data in (("clean", clean), ("poisoned", poisoned))]
    sealed = [[{**r.store.sealed_study(s.key), "trials": 0} for s in r.plan.studies] for r in runs]
    assert sealed[0] == sealed[1]
    first, second = (
        {tuple(k): s for k, s in part} for part in (states[: len(states) // 2], states[len(states) // 2 :])
    )
    assert set(first) == set(second)
    for keys, state in first.items():
        for name, value in state.items():
            assert (value == second[keys][name]).all(), name
    found, wanted = (stored(r) for r in runs)
    assert {k: v["score"] for k, v in found.items()} == {k: v["score"] for k, v in wanted.items()}
    assert any((found[k]["logits"][c] != p).any() for k, v in wanted.items() for c, p in v["logits"].items())


def test_tuning_never_opens_the_test_rows(tmp_path, monkeypatch):
    from fusionbench.data.splits import SealedRows

    run = make_run(tmp_path, tuning={"trials": 2, "common": RANGES, "untuned": False})
    digests = {}
    opened = SealedRows.open

    def spied(self, study_digest):
        sealed = [run.store.sealed_study(s.key) for s in run.plan.studies]
        assert all(sealed), "test rows were opened while a study was open"
        digests[study_digest] = [s["digest"] for s in sealed]
        return opened(self, study_digest)

    monkeypatch.setattr(SealedRows, "open", spied)
    run.execute()
    assert digests
    assert all(d in known for d, known in digests.items())


# --------------------------------------------------------------------------------------------
# what trials are compared by


@pytest.mark.parametrize("condition", ["complete", "ranked"])
def test_where_the_loss_selects_epochs_it_selects_trials_too(tmp_path, condition):
    settings = {"epochs": 2, "batch_size": 32, "selection": "loss"}
    run, _ = run_toy(tmp_path, training=settings, tuning={"trials": 2, "common": RANGES, "condition": condition})
    scores = [t["score"] for s in run.plan.studies for t in run.store.sealed_study(s.key)["trials"]]
    assert scores
    assert all(score < 0 for score in scores)  # minus the loss


def tuned(folder, condition, **changes):
    return run_toy(folder, tuning={"trials": 2, "common": RANGES, "condition": condition}, **changes)


def test_each_training_condition_has_a_study_of_its_own(tmp_path):
    missing = {"rates": [0, 0.5], "where": "both"}
    run, summary = tuned(tmp_path, "each", missingness=missing)
    assert summary.failures == []
    assert len(run.plan.studies) == 2 * 2 * 2  # arms, folds, conditions
    assert {s.condition.rate for s in run.plan.studies} == {0.0, 0.5}
    by_key = {s.key: s for s in run.plan.studies}
    assert all(by_key[f.study].condition == f.condition for f in run.plan.fits)


PRUNING = {
    "trials": 6,
    "batch": 2,
    "prune_after": 0.25,
    "common": {"learning_rate": {"low": 1e-5, "high": 1, "log": True}},
}
LONG = {"epochs": 8, "batch_size": 32, "patience": 8, "least_steps": 0}


def test_trials_below_the_median_of_earlier_rounds_stop_and_others_do_not(tmp_path):
    run, summary = run_toy(tmp_path, tuning=PRUNING, training=LONG)
    assert summary.failures == []
    trials = [t for s in run.plan.studies for t in run.store.sealed_study(s.key)["trials"]]
    first = [t for t in trials if t["number"] < 2]
    assert not any(t["pruned"] for t in first)
    assert all(t["epochs"] == 8 for t in first)
    stopped = [t for t in trials if t["pruned"]]
    assert stopped
    assert all(2 < t["epochs"] < 8 for t in stopped)  # a quarter of eight epochs is for everybody
    assert all(t["score"] is not None for t in stopped)
    for content in (run.store.sealed_study(s.key) for s in run.plan.studies):
        assert not content["trials"][content["winner"]["number"]]["pruned"]


def test_the_floor_is_the_median_of_running_bests_and_does_not_look_at_its_own_round(bench, monkeypatch):
    given = bench_with_histories(bench, monkeypatch)
    given.run(study())
    floors = dict(given.floors)
    assert floors[0] == floors[1] == ()
    # epochs 1 to 4, everybody runs the first; trials 0 and 1 reached .1 .3 .3 .3 (stopped early) and .2 .2 .5 .5
    assert floors[2] == floors[3] == (-math.inf, 0.25, 0.4, 0.4)


def bench_with_histories(bench, monkeypatch):
    settings = {"trials": 4, "batch": 2, "prune_after": 0.25, "common": RANGES}
    given = replace(bench(), benchmark=make_benchmark(tuning=settings, training={"epochs": 4}))
    histories = [[0.1, 0.3, math.nan], [0.2, 0.1, 0.5, 0.4], [0.1], [0.1]]
    given.floors = []

    def with_floor(job, floor):
        given.floors.append((job.owner.trial.number, floor))
        return job

    monkeypatch.setattr(tuning, "_with_floor", with_floor)
    remaining = iter([[1, 0], [3, 2]])
    order = [n for part in remaining for n in part]
    given.score = lambda suggested: Fit(score=0.5, epochs=4, history=histories[order.pop(0)])
    return given


# --------------------------------------------------------------------------------------------
# inner folds


def of_split(suggested) -> Fit:
    """The better the later the inner fold: .1 more for each."""
    return Fit(score=height(suggested) + 0.1 * suggested["split"], loss=0.5, epochs=2, seconds=0.5)


def test_a_trial_is_the_mean_over_its_inner_folds_and_costs_their_sum(bench):
    given = replace(bench(trials=3, batch=2), score=of_split, splits=(0, 1, 2))
    winners, failures = given.run(study("one"), study("two", target=Searching))
    assert failures == {}
    assert {(w.trials, w.epochs, w.seconds) for w in winners.values()} == {(3, 3 * 3 * 2, 3 * 3 * 0.5)}
    asked = [(key, number) for key, number, _ in given.asked]
    assert all(asked.count(one) == 3 for one in asked)
    for trial in given.content(study("one"))["trials"]:
        assert trial["score"] == pytest.approx(sum(trial["inner"]) / 3)
        assert trial["inner"][2] - trial["inner"][0] == pytest.approx(0.2)


def test_several_inner_folds_can_choose_another_winner(bench):
    def by_chance(suggested):
        """On the first split the defaults look best, on the others the trials after them."""
        first = suggested["common"]["learning_rate"] == 1e-3
        return Fit(score=0.9 if first == (suggested.get("split", 0) == 0) else 0.5, epochs=1)

    one = replace(bench(trials=2, folder="one"), score=by_chance)
    three = replace(bench(trials=2, folder="three"), score=by_chance, splits=(0, 1, 2))
    assert one.benchmark.training.learning_rate == 1e-3
    one.run(study())
    three.run(study())
    assert one.content(study())["winner"]["number"] == 0
    assert three.content(study())["winner"]["number"] == 1


def test_on_one_split_a_study_is_sealed_as_it_always_was(bench):
    given = bench()
    given.run(study())
    assert all("inner" not in trial for trial in given.content(study())["trials"])


def test_a_trial_that_fails_on_one_inner_fold_cannot_win(bench):
    def some(suggested):
        if suggested["split"] == 1 and suggested["common"]["learning_rate"] == 1e-3:
            return Fit(failure="it diverged", epochs=1)
        return of_split(suggested)

    given = replace(bench(trials=2), score=some, splits=(0, 1))
    given.run(study())
    first = given.content(study())["trials"][0]
    assert first["score"] is None
    assert first["failure"] == "1 of 2 inner folds failed; the first said: it diverged"
    assert given.content(study())["winner"]["number"] == 1


def test_a_killed_study_on_inner_folds_resumes_to_the_same_content(bench):
    whole = replace(bench(folder="whole"), score=of_split, splits=(0, 1))
    whole.run(study(target=Searching))
    calls = iter(range(100))

    def killed(suggested):
        if next(calls) == 7:
            raise KeyboardInterrupt
        return of_split(suggested)

    again = replace(bench(folder="again"), score=killed, splits=(0, 1))
    with pytest.raises(KeyboardInterrupt):
        again.run(study(target=Searching))
    resumed = replace(again, score=of_split)
    resumed.run(study(target=Searching))
    assert resumed.content(study(target=Searching)) == whole.content(study(target=Searching))


def test_each_inner_fold_has_a_floor_of_its_own(bench, monkeypatch):
    settings = {"trials": 4, "batch": 2, "prune_after": 0.5, "common": RANGES}
    given = replace(bench(), benchmark=make_benchmark(tuning=settings, training={"epochs": 2}), splits=(0, 1))
    given.score = lambda suggested: Fit(score=0.5, epochs=2, history=[[0.1, 0.3], [0.6, 0.8]][suggested["split"]])
    floors = {}

    def with_floor(job, floor):
        floors[job.owner.trial.number, job.owner.asked.split] = floor
        return job

    monkeypatch.setattr(tuning, "_with_floor", with_floor)
    given.run(study())
    assert floors[0, 0] == floors[1, 1] == ()
    assert (floors[2, 0], floors[2, 1]) == ((-math.inf, 0.3), (-math.inf, 0.8))


@pytest.mark.parametrize("condition", ["complete", "mean"])
def test_trained_trials_on_inner_folds_are_those_of_their_rows(tmp_path, condition):
    """Every model of a trial is the one that its inner fold's rows give, however models were grouped."""
    settings = {"trials": 2, "batch": 2, "common": RANGES, "condition": condition, "inner_folds": 3, "untuned": False}
    run, summary = run_toy(tmp_path, strategies=["sum"], tuning=settings, splits={"folds": 2, "use": [0]})
    assert summary.failures == []
    (job,) = run.plan.studies
    trials = run.store.sealed_study(job.key)["trials"]
    assert [len(t["inner"]) for t in trials] == [3, 3]
    if condition == "complete":
        common = {**defaults(run.benchmark), **trials[1]["params"]}
        for split in range(3):
            member = run.rows.job(job.arm, 0, 0, COMPLETE, common, {}, None, split).member
            _, (fit,) = train([member], run.benchmark.training, run.metric)
            assert trials[1]["inner"][split] == pytest.approx(fit.score, abs=1e-12)
    spent = run.store.cost_of_study(job.key)
    assert spent == (sum(t["epochs"] for t in trials), pytest.approx(sum(t["seconds"] for t in trials)))
    assert spent[0] > 2 * 3
    board = summary.tables.leaderboard
    assert board.loc[board["strategy"] == "sum", "tuning_epochs"].item() == spent[0]
