"""Which rows a model sees, and what of them: masks, development rows, tables completed beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fusionbench import Imputer
from fusionbench.data.completion import complete_table, fit_imputer
from fusionbench.errors import DataError
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.missingness.masks import mask_digest
from fusionbench.missingness.subsets import subset_condition
from tests.builders import make_run, run_toy, toy_dataset

RATES = {"patterns": ["random"], "rates": [0, 0.3, 0.6]}
EARLY, LATE = Condition("random", 0.3), Condition("random", 0.6)
SOME = {"strategies": ["concat", {"name": "sum", "modalities": ["b", "c"]}]}


def test_complete_data_are_what_the_record_has_and_masks_are_nested_below_it(tmp_path):
    rows = make_run(tmp_path, missingness=RATES).rows
    whole, early, late = (rows.mask(c, 0, 0) for c in (COMPLETE, EARLY, LATE))
    assert whole is rows.dataset.available
    assert not (early & ~whole).any()
    assert not (late & ~early).any()
    assert whole.sum() > early.sum() > late.sum()


def test_masks_are_drawn_once_and_again_for_another_seed(tmp_path):
    rows = make_run(tmp_path, missingness=RATES).rows
    assert rows.mask(EARLY, 0, 0) is rows.mask(EARLY, 0, 0)
    assert not np.array_equal(rows.mask(EARLY, 0, 0), rows.mask(EARLY, 1, 0))
    again = make_run(tmp_path, missingness=RATES, strategies=["sum"]).rows
    assert np.array_equal(rows.mask(EARLY, 1, 0), again.mask(EARLY, 1, 0))
    assert rows.mask_digest(EARLY, 1, 0) == mask_digest(again.mask(EARLY, 1, 0)) != rows.mask_digest(EARLY, 0, 0)


def test_of_a_subset_rows_show_what_they_have_of_it_or_everything(tmp_path):
    rows = make_run(tmp_path).rows
    found = rows.mask(subset_condition(frozenset("ac"), ["a", "b", "c"]), 0, 0)
    for had, shown in zip(rows.dataset.available, found, strict=True):
        wanted = had & [True, False, True]
        assert shown.tolist() == (wanted if wanted.any() else had).tolist()


def test_an_arm_is_shown_nothing_but_its_modalities(tmp_path):
    run = make_run(tmp_path, **SOME)
    everything, some = run.resolved.arms
    mask = run.rows.mask(Condition("random", 0.5), 0, 0)
    assert np.array_equal(run.rows.shown(Condition("random", 0.5), 0, 0, everything).numpy(), mask)
    assert np.array_equal(run.rows.shown(Condition("random", 0.5), 0, 0, some).numpy(), mask & [False, True, True])


def test_rows_that_show_an_arm_nothing_are_not_trained_on(tmp_path):
    run = make_run(tmp_path, replace(toy_dataset(natural=0.5), digest="sparse"), **SOME)
    everything, some = run.resolved.arms
    own, has = run.folds[0].development, run.dataset.available
    train, validation = run.rows.development(some, 0, 0, COMPLETE)
    assert train.tolist() == [i for i in own.train.tolist() if has[i, 1] or has[i, 2]]
    assert validation.tolist() == [i for i in own.validation.tolist() if has[i, 1] or has[i, 2]]
    assert 0 < len(train) < len(own.train)
    assert run.rows.development(everything, 0, 0, COMPLETE)[0].tolist() == own.train.tolist()


def test_an_arm_that_is_shown_no_row_is_an_error_with_what_to_do(tmp_path):
    dataset = toy_dataset()
    dataset.available[:, 1:] = False
    dataset.available[:, 0] = True
    run = make_run(tmp_path, replace(dataset, digest="only a"), **SOME)
    with pytest.raises(
        DataError, match=r"modalities: fold 0 has 0 training and 0 validation rows with any of b, c at co"
    ):
        run.rows.development(run.resolved.arms[1], 0, 0, COMPLETE)


def test_without_an_imputer_of_inputs_every_arm_is_given_the_one_table(tmp_path):
    run = make_run(tmp_path)
    for arm in run.resolved.arms:
        table, present = run.rows.given(arm, 0, 0, COMPLETE, Condition("random", 0.5))
        assert table is run.table
        assert np.array_equal(present.numpy(), run.rows.mask(Condition("random", 0.5), 0, 0))


def test_a_model_to_train_has_the_rows_of_its_fold_and_no_test_row(tmp_path):
    run = make_run(tmp_path)
    arm = run.resolved.arms[0]
    job = run.rows.job(arm, 1, 4, COMPLETE, {"learning_rate": 0.5, "weight_decay": 0.25}, {}, "mine")
    assert (job.owner, job.label) == ("mine", "concat / zero, fold 1, seed 4")
    member = job.member
    assert (member.fold, member.seed, member.learning_rate, member.weight_decay) == (1, 4, 0.5, 0.25)
    used = {*member.train.tolist(), *member.validation.tolist()}
    assert not used & set(run.folds[1].test.open("digest").tolist())
    assert len(used) == len(member.train) + len(member.validation)
    one, two = (member.build().state_dict() for _ in range(2))
    assert all(torch.equal(one[n], two[n]) for n in one)


def initial(job):
    return job.member.build().state_dict()


def test_fold_and_seed_key_the_first_weights_whatever_else_is_built(tmp_path):
    rates = {"learning_rate": 0.5, "weight_decay": 0.25}
    run, alone = make_run(tmp_path / "two"), make_run(tmp_path / "one", strategies=["sum"])
    arm, (same_arm,) = run.resolved.arms[1], alone.resolved.arms
    jobs = {(f, s): run.rows.job(arm, f, s, COMPLETE, rates, {}, None) for f in (0, 1) for s in (0, 1)}
    weights = {key: initial(job)["project.a.weight"] for key, job in jobs.items()}
    assert len({tuple(w.flatten().tolist()) for w in weights.values()}) == len(weights)
    for (fold, seed), job in jobs.items():
        other = initial(alone.rows.job(same_arm, fold, seed, COMPLETE, rates, {}, None))
        assert all(torch.equal(t, other[n]) for n, t in initial(job).items())


class Drawing(Imputer):
    """Fills inputs with numbers that it draws from torch's global state when it is made, and when it is fitted."""

    level = "input"

    def __init__(self, spec):
        super().__init__(spec)
        self.made = float(torch.rand(()))

    def fit(self, batch):
        self.fitted = float(torch.rand(()))

    def forward(self, batch):
        return batch.filled({n: torch.full((v.shape[-1],), self.made + self.fitted) for n, v in batch.features.items()})


def test_what_an_imputer_of_inputs_draws_is_keyed_by_fold_and_seed_and_leaves_the_global_state_alone(tmp_path):
    run = make_run(tmp_path, imputers=["knn"], strategies=["sum"])
    (arm,) = run.resolved.arms
    registration = replace(arm.imputer.registration, target=Drawing)
    arm = replace(arm, imputer=replace(arm.imputer, registration=registration, options={}))
    before = torch.get_rng_state()
    found = {(f, s): run.rows.fitted(arm, f, s, COMPLETE) for f in (0, 1) for s in (0, 1)}
    assert torch.equal(torch.get_rng_state(), before)
    assert len({i.made for i in found.values()}) == len({i.fitted for i in found.values()}) == len(found)
    torch.rand(7)  # whatever else is drawn
    again = run.rows.fitted(arm, 1, 0, COMPLETE)
    assert (again.made, again.fitted) == (found[1, 0].made, found[1, 0].fitted)


def test_neighbours_come_from_training_rows_as_training_sees_them(tmp_path):
    run = make_run(tmp_path, imputers=["knn"], strategies=["sum"])
    (arm,) = run.resolved.arms
    condition = run.plan.conditions[1]
    rows, present = run.rows.given(arm, 0, 0, COMPLETE, condition)
    train_rows = torch.as_tensor(run.folds[0].development.train)
    shown = torch.as_tensor(run.rows.mask(condition, 0, 0))
    fitted = fit_imputer(run.table, run.blueprint.input_imputer(arm), train_rows, run.table.available)
    wanted, usable = complete_table(run.table, fitted, shown)
    for name, values in wanted.values.items():
        assert torch.equal(rows.values[name], values)
    assert torch.equal(present, usable)
    # had it been fitted on what the test condition hides, most neighbours would be gone
    poorer = fit_imputer(run.table, run.blueprint.input_imputer(arm), train_rows, shown)
    assert not torch.equal(complete_table(run.table, poorer, shown)[0].values["a"], wanted.values["a"])


def test_completed_rows_are_standardised_by_what_was_observed(tmp_path):
    run = make_run(tmp_path, imputers=["knn"], strategies=["sum"])
    (arm,) = run.resolved.arms
    rows, present = run.rows.given(arm, 0, 0, COMPLETE, COMPLETE)
    train_rows = torch.as_tensor(run.folds[0].development.train)
    for name in run.table.names:
        found = rows.scaling(name, train_rows, present)
        wanted = run.table.scaling(name, train_rows, run.table.available)
        assert torch.equal(found.mean, wanted.mean)
        assert torch.equal(found.scale, wanted.scale)


def test_tables_of_completed_rows_are_not_kept_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("fusionbench.run.rows.COMPLETED_TABLES", 2)
    run, summary = run_toy(
        tmp_path,
        imputers=["knn", "zero"],
        splits={"folds": 2, "seeds": [0, 1]},
        missingness={"rates": [0, 0.2, 0.4, 0.6]},
    )
    assert summary.failures == []
    assert len(run.rows._completed) == 2
    roomy = run_toy(
        tmp_path / "roomy",
        imputers=["knn", "zero"],
        splits={"folds": 2, "seeds": [0, 1]},
        missingness={"rates": [0, 0.2, 0.4, 0.6]},
    )[1]
    assert roomy.tables.curves.equals(summary.tables.curves)


# --------------------------------------------------------------------------------------------
# inner folds

INNER = {"tuning": {"trials": 1, "inner_folds": 3}}
RATES_OF_ALL = {"learning_rate": 0.5, "weight_decay": 0.25}


def test_a_model_of_an_inner_fold_has_its_rows_and_chances_of_its_own_and_no_test_row(tmp_path):
    run = make_run(tmp_path, **INNER)
    arm = run.resolved.arms[0]
    jobs = [run.rows.job(arm, 1, 4, COMPLETE, RATES_OF_ALL, {}, None, k) for k in range(3)]
    own, tests = run.folds[1].development, set(run.folds[1].test.open("digest").tolist())
    assert jobs[0].label == "concat / zero, fold 1, seed 4"
    assert jobs[2].label == "concat / zero, fold 1, seed 4, inner fold 2"
    for split, job in enumerate(jobs):
        member, part = job.member, run.rows.inner(1)[split]
        assert member.train.tolist() == part.train.tolist()
        assert member.validation.tolist() == part.validation.tolist()
        assert {*member.train.tolist(), *member.validation.tolist()} == {*own.train.tolist(), *own.validation.tolist()}
        assert not {*member.train.tolist(), *member.validation.tolist()} & tests
    assert len({j.member.seed for j in jobs}) == 3
    assert jobs[0].member.seed == 4
    weights = {tuple(initial(j)["project.a.weight"].flatten().tolist()) for j in jobs}
    assert len(weights) == 3


def test_every_arm_and_trial_has_the_same_inner_folds_and_chances(tmp_path):
    run = make_run(tmp_path, **INNER)
    one, other = (run.rows.job(a, 0, 0, COMPLETE, RATES_OF_ALL, {}, None, 1).member for a in run.resolved.arms)
    assert one.train.tolist() == other.train.tolist()
    assert one.seed == other.seed
    assert one.seed != run.rows.job(run.resolved.arms[0], 1, 0, COMPLETE, RATES_OF_ALL, {}, None, 1).member.seed


def test_an_imputer_of_inputs_is_fitted_on_the_training_rows_of_the_inner_fold(tmp_path):
    run = make_run(tmp_path, imputers=["knn"], strategies=["sum"], **INNER)
    (arm,) = run.resolved.arms
    tables = [run.rows.given(arm, 0, 0, COMPLETE, COMPLETE, k)[0] for k in range(3)]
    shown = run.rows.shown(COMPLETE, 0, 0, arm)
    for split, table in enumerate(tables):
        train = torch.as_tensor(run.rows.inner(0)[split].train)
        assert train.tolist() == run.rows.trained_on(0, split).tolist()
        wanted, _ = complete_table(
            run.table, fit_imputer(run.table, run.rows.blueprint.input_imputer(arm), train, shown), shown
        )
        assert all(torch.equal(table.values[n], wanted.values[n]) for n in table.values)
    assert any(not torch.equal(tables[0].values[n], tables[1].values[n]) for n in "abc")


def test_an_arm_leaves_out_inner_folds_without_rows_that_show_it_anything(tmp_path):
    run = make_run(tmp_path, **SOME, **INNER)
    dataset = replace(run.dataset, available=run.dataset.available.copy(), digest="rare")
    dataset.available[run.rows.inner(0)[2].validation, 1:] = False
    dataset.available[:, 0] = True
    rare = make_run(tmp_path / "rare", dataset, **SOME, **INNER)
    everything, some = [next(s for s in rare.plan.studies if s.fold == 0 and s.arm is a) for a in rare.resolved.arms]
    assert rare.rows.splits(everything, 0) == [0, 1, 2]
    assert rare.rows.splits(some, 0) == [0, 1]


def test_without_inner_folds_there_is_the_folds_own_split_alone(tmp_path):
    run = make_run(tmp_path)
    assert all(run.rows.splits(s, 0) == [0] for s in run.plan.studies)
    assert [len(run.rows.inner(f)) for f in run.folds] == [1, 1]


UNPAIRED = {
    "tuning": {"trials": 3, "common": {"unpaired_share": {"low": 0, "high": 1}}, "own": False},
    "strategies": ["concat", {"name": "sum", "modalities": ["b", "c"]}, {"name": "unimodal", "modality": "a"}],
}


def trained_on(run, arm, share):
    common = {"learning_rate": 0.01, "weight_decay": 0.0, "unpaired_share": share}
    return set(run.rows.job(run.plan.arms[arm], 0, 0, COMPLETE, common, {}, None).member.train.tolist())


@pytest.mark.parametrize(("arm", "reads"), [(0, [0, 1, 2]), (1, [1, 2]), (2, [0])], ids=["all", "two", "one"])
def test_a_share_of_the_rows_that_lack_something_is_trained_on(tmp_path, arm, reads):
    run = make_run(tmp_path, **UNPAIRED)
    every, none = trained_on(run, arm, 1.0), trained_on(run, arm, 0.0)
    assert every == set(run.rows.development(run.plan.arms[arm], 0, 0, COMPLETE)[0].tolist())
    whole = run.dataset.available[:, reads].all(axis=1)
    assert none == {row for row in every if whole[row]}
    some, more = trained_on(run, arm, 0.4), trained_on(run, arm, 0.7)
    assert none <= some <= more <= every
    assert len(some - none) == round(0.4 * len(every - none))


def test_which_rows_they_are_is_the_same_for_every_strategy_and_another_for_another_seed(tmp_path):
    run = make_run(tmp_path, **{**UNPAIRED, "strategies": ["concat", "sum"]})
    assert trained_on(run, 0, 0.5) == trained_on(run, 1, 0.5)
    common = {"learning_rate": 0.01, "weight_decay": 0.0, "unpaired_share": 0.5}
    other = run.rows.job(run.plan.arms[0], 0, 1, COMPLETE, common, {}, None).member.train
    assert trained_on(run, 0, 0.5) != set(other.tolist())


def test_the_share_is_searched_and_the_winner_is_trained_with_it(tmp_path):
    run, summary = run_toy(tmp_path, **UNPAIRED)
    assert summary.failures == []
    for study in run.plan.studies:
        trials = run.store.sealed_study(study.key)["trials"]
        shares = [t["params"]["unpaired_share"] for t in trials]
        assert shares[0] == 1.0  # as it is without a search
        assert len(set(shares)) == 3
        assert all(0 <= share <= 1 for share in shares)
    options = [run.store.load(f.key).options for f in run.plan.fits]
    assert all("unpaired_share" in str(o) for o in options)


def test_without_a_search_every_row_is_trained_on(tmp_path):
    run = make_run(tmp_path)
    train = run.rows.job(
        run.plan.arms[0], 0, 0, COMPLETE, {"learning_rate": 0.01, "weight_decay": 0.0}, {}, None
    ).member.train
    assert torch.equal(train, run.rows.development(run.plan.arms[0], 0, 0, COMPLETE)[0])
