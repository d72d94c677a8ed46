"""Who is present: parts of a fold are drawn apart, from what they hold; blind mechanisms draw once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.missingness.masks import achieved_rate, mask_digest
from fusionbench.run.rows import ModelRows
from tests.builders import make_run, toy_dataset

CONDITION = Condition("b", 0.4)
LOOKING = ["mar", "mnar"]


def made(tmp_path, mechanism, dataset=None, **changes):
    settings = {"patterns": ["b", "random"], "rates": [0, 0.4], "mechanism": mechanism}
    return make_run(tmp_path, dataset, missingness=settings, splits={"folds": 3, "seeds": [0, 1]}, **changes)


def parts(run, fold):
    own = run.folds[fold]
    return {"train": own.development.train, "validation": own.development.validation, "test": own.test.open("digest")}


@pytest.mark.parametrize("mechanism", LOOKING)
def test_each_part_of_a_fold_reaches_its_rate_alone(tmp_path, mechanism):
    run = made(tmp_path, mechanism, replace(toy_dataset(rows=900), digest="many"))
    for fold in run.folds:
        present = run.rows.mask(CONDITION, 0, fold)
        for rows in parts(run, fold).values():
            had = run.dataset.available[rows]
            single = (had[:, 1] & (had.sum(axis=1) == 1)).sum()  # what a row has alone is never hidden
            found = achieved_rate(had, present[rows])
            assert found[1] == pytest.approx(0.4, abs=(single + 1) / had[:, 1].sum())
            assert found[0] == found[2] == 0


@pytest.mark.parametrize("mechanism", LOOKING)
def test_a_mechanism_that_looks_at_rows_draws_for_each_fold_and_one_that_does_not_once(tmp_path, mechanism):
    looking, blind = (made(tmp_path / m, m).rows for m in (mechanism, "mcar"))
    assert not np.array_equal(looking.mask(CONDITION, 0, 0), looking.mask(CONDITION, 0, 1))
    assert looking.mask_digest(CONDITION, 0, 0) != looking.mask_digest(CONDITION, 0, 1)
    assert blind.mask(CONDITION, 0, 0) is blind.mask(CONDITION, 0, 1)
    assert blind.mask_digest(CONDITION, 0, 0) == blind.mask_digest(CONDITION, 0, 1)
    for rows in (looking, blind):
        assert rows.mask(COMPLETE, 0, 0) is rows.dataset.available
        assert rows.mask_digest(CONDITION, 1, 2) == mask_digest(rows.mask(CONDITION, 1, 2))


@pytest.mark.parametrize("mechanism", LOOKING)
@pytest.mark.parametrize("corrupted", ["train", "validation", "test"])
def test_what_a_part_holds_decides_its_own_masks_only(tmp_path, mechanism, corrupted):
    run = made(tmp_path / "before", mechanism)
    fold, dataset = 1, run.dataset
    rows = parts(run, fold)
    changed = {n: m.values.copy() for n, m in dataset.modalities.items()}
    for values in changed.values():
        values[rows[corrupted]] *= -50 * values[rows[corrupted]]
    target = dataset.target.copy()
    target[rows[corrupted]] = 1 - target[rows[corrupted]]
    other = replace(
        dataset, target=target, modalities={n: replace(m, values=changed[n]) for n, m in dataset.modalities.items()}
    )
    again = made(tmp_path / "after", mechanism, other)
    # strata look at labels; what is asked here is what happens after
    again.rows = ModelRows(other, again.table, run.folds, again.blueprint, again.resolved.mechanism)
    for condition in (CONDITION, Condition("random", 0.4)):
        one, two = (r.rows.mask(condition, 0, fold) for r in (run, again))
        same = {name for name, of_part in rows.items() if np.array_equal(one[of_part], two[of_part])}
        # a summary is fitted on training rows, so theirs move everybody's
        moved = set(rows) if (mechanism, corrupted) == ("mar", "train") else {corrupted}
        assert same == set(rows) - moved


def test_given_masks_and_blind_mechanisms_are_shown_no_label(tmp_path):
    mechanism = tmp_path / "asking.py"
    mechanism.write_text(
        "import numpy as np\n"
        "from fusionbench import Missingness, hookimpl\n"
        "SEEN = []\n\n"
        "class Blind(Missingness):\n"
        "    blind = True\n\n"
        "    def thresholds(self, context, generator):\n"
        "        SEEN.append((context.available.all(), len(context.target), context.summaries, context.fold))\n"
        "        return generator.random(context.available.shape)\n\n"
        "class Given(Missingness):\n"
        "    by_fold = True\n\n"
        "    def thresholds(self, context, generator):\n"
        "        raise AssertionError\n\n"
        "    def present(self, context, pattern, rate, seed):\n"
        "        SEEN.append((context.available.all(), len(context.target), context.summaries, context.fold))\n"
        "        return context.available.copy()\n\n"
        "@hookimpl\n"
        "def register_missingness(register):\n"
        "    register('blind', Blind)\n"
        "    register('given', Given)\n",
        encoding="utf-8",
    )
    for name, wanted in (("blind", [(True, 0, None, None)]), ("given", [(False, 0, None, f) for f in range(3)])):
        run = made(tmp_path / name, name, plugins=[str(mechanism)])
        seen = run.resolved.mechanism.registration.target.thresholds.__globals__["SEEN"]
        assert set(seen) == set(wanted)


# ---------------------------------------------------------------- what is always absent when a model is used


def test_in_use_nobody_has_what_is_absent_and_training_has_it(tmp_path):
    settings = {"patterns": ["random"], "rates": [0, 0.6], "absent": ["a"]}
    run = make_run(tmp_path, missingness=settings, splits={"folds": 2})
    rows, had = run.rows, run.dataset.available
    assert np.array_equal(rows.mask(COMPLETE, 0, 0), had)
    assert np.array_equal(rows.used_mask(COMPLETE, 0, 0), had & [False, True, True])
    hidden = Condition("random", 0.6)
    used = rows.used_mask(hidden, 0, 0)
    assert not used[:, 0].any()
    assert np.array_equal(rows.used.available, had & [False, True, True])
    others = had[:, 1:].any(axis=1)
    assert used[others].any(axis=1).all()  # a row that has another one keeps one
    both = had[:, 1:].all(axis=1)
    assert 0.3 < 1 - used[both, 1:].mean() < 0.6
    assert {fit.condition for fit in run.plan.fits} == {COMPLETE}
    assert not any(label.startswith("subset") for fit in run.plan.fits for label in fit.labels)


def test_models_are_the_same_and_are_scored_again_where_nothing_else_differs(tmp_path):
    settings = {"patterns": ["random"], "rates": [0, 0.5]}
    plain = make_run(tmp_path, missingness=settings, evaluation={"subsets": False})
    without = make_run(tmp_path, missingness={**settings, "absent": ["a"]})
    assert [f.key for f in plain.plan.fits] == [f.key for f in without.plan.fits]
    assert not {la for f in plain.plan.fits for la in f.labels} & {la for f in without.plan.fits for la in f.labels}


def test_what_is_absent_is_not_looked_at_and_what_an_imputer_fills_in_is(tmp_path):
    settings = {"patterns": ["random"], "rates": [0, 0.5], "absent": ["a"]}
    given = {"strategies": [{"name": "concat", "imputers": ["zero", "mean"]}, "sum"], "missingness": settings}
    before = make_run(tmp_path / "before", **given)
    before.execute()
    run = make_run(tmp_path / "after", **given)
    test = run.folds[0].test.open("digest")
    run.table.values["a"][test] = 7  # of test rows: nobody may see it
    run.execute()
    for f in (f for f in run.plan.fits if f.fold == 0):
        one, other = before.store.load(f.key), run.store.load(f.key)
        assert all(np.array_equal(one.logits[label], other.logits[label]) for label in f.labels)
    summary = before.execute()
    curves = summary.tables.curves
    assert (curves[curves["rate"] == 0]["achieved"] == 0).all()
    assert any("No row has a when a model is used" in note for note in summary.notes)
    assert len(summary.tables.subsets) == 0
