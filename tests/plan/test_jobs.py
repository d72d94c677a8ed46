"""From a benchmark to studies, fits and cells, and what their keys depend on."""

from __future__ import annotations

import pytest

from fusionbench.contract.batch import InputSpec
from fusionbench.contract.registration import Registration
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.missingness.subsets import is_subset
from fusionbench.plan.arithmetic import FLOAT32
from fusionbench.plan.jobs import common_key, conditions, judged_by, make_jobs, schedule, untuned_jobs
from fusionbench.plan.parts import ModalityPart, Part
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from tests.builders import make_benchmark, make_run, shared_key
from tests.front import TOY

NAMES = ["a", "b", "c"]
RANGES = {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}


def mask(condition, seed, fold):
    """Stands for the digest of who is present."""
    return f"{condition.pattern}-{condition.rate}-{seed}-".ljust(32, "x")


def jobs(folds=(0, 1), mask=mask, inner=lambda _: 1, **changes):
    benchmark = make_benchmark(**changes)
    resolved = resolve(benchmark, Plugins([TOY]), lambda location: "toy.yaml: ")
    return make_jobs(benchmark, resolved, {"common": 1}, folds, mask, NAMES, inner)


def missing(where, rates=(0, 0.5), patterns=("random",)):
    return {"rates": list(rates), "patterns": list(patterns), "where": where}


def test_every_pattern_has_every_rate_and_complete_data_come_first_and_once():
    found = conditions(make_benchmark(missingness=missing("test", (0.5, 0, 0.2), ("a", "random"))))
    assert found == [COMPLETE, *[Condition(p, r) for p in ("a", "random") for r in (0.2, 0.5)]]
    assert conditions(make_benchmark(missingness=missing("test", [0.5]))) == [Condition("random", 0.5)]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("test", {COMPLETE: [COMPLETE, Condition("random", 0.5)]}),
        ("train", {COMPLETE: [COMPLETE], Condition("random", 0.5): [COMPLETE]}),
        ("both", {COMPLETE: [COMPLETE], Condition("random", 0.5): [Condition("random", 0.5)]}),
        ("grid", {c: [COMPLETE, Condition("random", 0.5)] for c in (COMPLETE, Condition("random", 0.5))}),
    ],
)
def test_models_are_scored_where_the_benchmark_says(where, wanted):
    found = schedule(make_benchmark(missingness=missing(where)), NAMES)
    assert {trained: [c for c in scored if not is_subset(c)] for trained, scored in found} == wanted


@pytest.mark.parametrize("where", ["test", "train", "both", "grid"])
def test_models_that_saw_everything_are_scored_on_every_subset_and_others_on_none(where):
    found = schedule(make_benchmark(missingness=missing(where)), NAMES)
    assert {t: sum(map(is_subset, scored)) for t, scored in found} == {t: 6 * (t == COMPLETE) for t, _ in found}
    without = schedule(make_benchmark(missingness=missing(where), evaluation={"subsets": False}), NAMES)
    assert not any(is_subset(c) for _, scored in without for c in scored)


def test_there_is_a_fit_for_each_arm_fold_seed_and_training_condition():
    studies, fits = jobs(missingness=missing("both"), splits={"folds": 2, "seeds": [0, 7]})
    found = [(f.arm.title, f.fold, f.seed, f.condition.rate) for f in fits]
    assert found == [(a, f, s, r) for a in ("concat", "sum") for f in (0, 1) for s in (0, 7) for r in (0.0, 0.5)]
    assert [(s.arm.title, s.fold) for s in studies] == [(a, f) for a in ("concat", "sum") for f in (0, 1)]
    assert len({f.key for f in fits}) == len(fits)
    assert {f.study for f in fits} == {s.key for s in studies}


def test_points_of_curves_are_the_conditions_without_subsets_and_labels_hold_their_masks():
    fit = jobs()[1][0]
    assert fit.points == (COMPLETE, Condition("random", 0.5))
    assert len(fit.labels) == len(fit.scored) == 2 + 6
    assert fit.labels[1].startswith("random@0.5#random-0.5-0-")


def test_a_model_that_saw_everything_keeps_its_key_whatever_is_hidden_from_test_rows():
    def other(condition, seed, fold):
        return mask(condition, seed, fold)[::-1]

    (_, fits), (_, again) = jobs(), jobs(mask=other)
    assert [f.key for f in fits] == [f.key for f in again]
    assert fits[0].labels != again[0].labels
    trained, anew = (jobs(mask=m, missingness=missing("both"))[1] for m in (mask, other))
    assert [f.key == g.key for f, g in zip(trained, anew, strict=True)] == [f.condition == COMPLETE for f in trained]


def test_folds_that_are_added_leave_the_keys_of_the_others():
    one, two = ({f.key for f in jobs(folds=folds)[1]} for folds in ((1,), (0, 1)))
    assert one < two


def test_the_seed_of_a_model_is_not_the_seed_of_its_study():
    (studies, fits), (again, more) = jobs(), jobs(splits={"folds": 2, "seeds": [0, 1]})
    assert [s.key for s in studies] == [s.key for s in again]
    assert {f.key for f in fits} < {f.key for f in more}


def test_each_training_condition_has_a_study_of_its_own_only_where_that_is_asked_for():
    tuning = {"trials": 2, "common": RANGES}
    shared, _ = jobs(missingness=missing("both"), tuning=tuning)
    each, fits = jobs(missingness=missing("both"), tuning={**tuning, "condition": "each"})
    assert [s.condition for s in shared] == [COMPLETE] * 4
    assert len(each) == 8
    by_key = {s.key: s for s in each}
    assert all(by_key[f.study].condition == f.condition for f in fits)


@pytest.mark.parametrize("change", [{"storage": "here"}, {"trials": 0, "batch": 2}])
def test_where_a_study_is_kept_and_what_is_not_tuned_decide_nothing(change):
    before = {"trials": change.get("trials", 2), "common": RANGES}
    assert [s.key for s in jobs(tuning=before)[0]] == [s.key for s in jobs(tuning={**before, **change})[0]]


@pytest.mark.parametrize("change", [{"trials": 3}, {"prune_after": 0.5}, {"condition": "complete"}, {"common": {}}])
def test_what_a_study_does_decides_its_key(change):
    before = {"trials": 2, "common": RANGES}
    assert not {s.key for s in jobs(tuning=before)[0]} & {s.key for s in jobs(tuning={**before, **change})[0]}


@pytest.mark.parametrize(
    "change",
    [
        {"population": 3},
        {"encoder_rows": 5},
        {"graph": True},
        {"record": False},
        {"keep_weights": False},
        {"traces": True},
    ],
)
def test_what_changes_no_result_is_in_no_key(change):
    assert shared_key(training=change) == shared_key(training={})


def test_a_shared_key_holds_what_models_are_made_of_and_not_which_folds_are_used():
    assert shared_key(splits={"folds": 3, "use": [1], "seeds": [4]}) == shared_key(splits={"folds": 3})
    for change in ({"splits": {"folds": 3, "salt": "x"}}, {"model": {"width": 9}}, {"training": {"epochs": 9}}):
        assert shared_key(**change) != shared_key()


def test_the_encoders_of_all_modalities_are_in_every_key():

    registration = Registration("encoders", "mlp", Plugins().get("encoders", "mlp").target, "tests", "1")
    found = ModalityPart(Part(registration, {"hidden": [4]}, "e"), InputSpec("vector", (4,)), 4, True, "", "none")
    key = common_key(make_benchmark(), "digest", {"a": found}, FLOAT32)
    assert key["encoders"] == {"a": found.identity}
    assert key["data"] == "digest"


def test_only_studies_that_search_more_have_another_key(tmp_path):
    def keys(name, **changes):
        plan = make_run(
            tmp_path, strategies=["sum"], imputers=["zero", "cra"], tuning={"trials": 2, "common": RANGES, **changes}
        ).plan
        return {s.arm.imputer_name: s.key for s in plan.studies if s.fold == 0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Part, "searches", False)
        before = keys("before")
    after = keys("after")
    assert before["zero"] == after["zero"]
    assert before["cra"] != after["cra"]


def test_studies_of_complete_data_are_shared_whatever_trials_elsewhere_are_compared_by(tmp_path):
    missing = {"rates": [0, 0.5], "where": "both"}
    plans = {c: make_run(tmp_path, tuning={"trials": 2, "condition": c}, missingness=missing).plan for c in
             ("complete", "mean", "each")}  # fmt: skip
    keys = {c: {s.key for s in p.studies} for c, p in plans.items()}
    assert keys["complete"] < keys["each"]
    assert not keys["complete"] & keys["mean"]
    untuned = {c: make_run(tmp_path, tuning={"condition": c}, missingness=missing).plan for c in plans}
    assert len({tuple(f.key for f in p.fits) for p in untuned.values()}) == 1


def test_without_pruning_studies_keep_their_keys_and_their_trials(tmp_path):
    plain = make_run(tmp_path, tuning={"trials": 2}).plan
    pruned = make_run(tmp_path, tuning={"trials": 2, "prune_after": 0.5}).plan
    assert {s.key for s in plain.studies} == {s.key for s in make_run(tmp_path, tuning={"trials": 2}).plan.studies}
    assert not {s.key for s in plain.studies} & {s.key for s in pruned.studies}


def test_trials_are_compared_by_what_lines_are_ranked_by_unless_the_file_says_otherwise():
    assert judged_by(make_benchmark()) == "mean"
    assert judged_by(make_benchmark(missingness=missing("test", [0]))) == "complete"
    assert judged_by(make_benchmark(tuning={"condition": "complete"})) == "complete"
    several, named = (jobs(tuning={"trials": 2, "condition": c})[0] for c in ("ranked", "mean"))
    assert [s.key for s in several] == [s.key for s in named]


def test_untuned_models_are_those_of_a_benchmark_without_trials():
    tuned, plain = (jobs(missingness=missing("both"), tuning={"trials": n})[1] for n in (2, 0))
    found = untuned_jobs(make_benchmark(tuning={"trials": 2}), {"common": 1}, tuned, mask)
    assert [(f.study, f.key) for f in found] == [(f.study, f.key) for f in plain]
    assert not {f.key for f in found} & {f.key for f in tuned}
    assert all(
        f.untuned and f.scored == f.points and set(f.labels) < {*p.labels, ""}
        for f, p in zip(found, plain, strict=True)
    )
    for off in ({"trials": 0}, {"trials": 2, "untuned": False}):
        assert untuned_jobs(make_benchmark(tuning=off), {"common": 1}, tuned, mask) == []


# --------------------------------------------------------------------------------------------
# inner folds


def all_keys(found):
    return [job.key for part in found for job in part]


def test_keys_do_not_know_how_one_inner_fold_was_asked_for():
    tuned = {"trials": 2, "common": RANGES}
    plain = jobs(tuning=tuned)
    assert all_keys(jobs(tuning={**tuned, "inner_folds": "auto"})) == all_keys(plain)
    assert all_keys(jobs(tuning={**tuned, "inner_folds": 1})) == all_keys(plain)
    assert {s.inner for s in plain[0]} == {1}


def test_several_inner_folds_are_in_the_keys_of_their_folds_only():
    tuned = {"trials": 2, "common": RANGES}
    plain, some = jobs(tuning=tuned), jobs(tuning=tuned, inner=lambda fold: 1 + 2 * fold)
    for before, after in zip(plain, some, strict=True):
        assert [(a.key == b.key) for a, b in zip(before, after, strict=True)] == [b.fold == 0 for b in before]
    assert {(s.fold, s.inner) for s in some[0]} == {(0, 1), (1, 3)}
    other = jobs(tuning=tuned, inner=lambda fold: 1 + 3 * fold)
    assert not {s.key for s in some[0] if s.fold} & {s.key for s in other[0]}


def test_where_nothing_is_tuned_inner_folds_mean_nothing():
    plain, some = jobs(), jobs(inner=lambda _: 3)
    assert all_keys(plain) == all_keys(some)
    assert {s.inner for s in some[0]} == {1}


def test_models_with_the_defaults_are_the_same_whatever_trials_are_compared_on(tmp_path):
    tuned = {"trials": 2, "common": RANGES}
    plain, some = (make_run(tmp_path, tuning={**tuned, "inner_folds": k}).plan for k in (1, 3))
    assert [f.key for f in plain.untuned] == [f.key for f in some.untuned]
    assert not {f.key for f in plain.fits} & {f.key for f in some.fits}
