"""What each modality is worth: subsets, Shapley values, laziness, against plain arithmetic on stored predictions."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fusionbench.missingness.subsets import (
    is_subset,
    members,
    prevalence_of,
    shown_mask,
    subset_conditions,
    subset_mask,
)
from tests.builders import run_toy, said, toy_dataset

NAMES = ["a", "b", "c"]
ALONE = [{"name": "unimodal", "modality": "b", "label": "b alone"}, "concat", "sum"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run_toy(tmp_path_factory.mktemp("subsets"), strategies=ALONE, splits={"folds": 2, "seeds": [0, 1]})


def auroc_of(run, title, shown):
    """Mean AUROC over folds and seeds when only ``shown`` is given, rows that have none of it at the prevalence."""
    found = []
    for fit in (f for f in run.plan.fits if f.arm.title == title):
        rows = run.folds[fit.fold].test.open("test")
        label = next(
            la
            for c, la in zip(fit.scored, fit.labels, strict=True)
            if (set(members(c)) == set(shown) if is_subset(c) else len(shown) == 3)
        )
        scores = said(run, fit, label).calibrated[:, 0]
        seen = set(shown) & ({"b"} if title == "b alone" else set(NAMES))
        has = run.dataset.available[rows][:, [NAMES.index(n) for n in sorted(seen)]].any(axis=1)
        prevalence = run.dataset.target[run.folds[fit.fold].development.train].mean()
        assert ((scores == prevalence) == ~has).all()
        found.append(roc_auc_score(run.dataset.target[rows], scores))
    return np.mean(found)


def test_there_is_a_condition_for_each_proper_subset():
    assert [members(c) for c in subset_conditions(NAMES)] == [
        ("a",),
        ("b",),
        ("a", "b"),
        ("c",),
        ("a", "c"),
        ("b", "c"),
    ]
    assert subset_conditions(["a"]) == []


def test_a_row_without_anything_of_a_subset_is_shown_whole_and_counts_as_empty():
    available = np.array([[True, True, False], [False, True, True]])
    only_a = subset_conditions(NAMES)[0]
    assert subset_mask(available, NAMES, only_a).tolist() == [[True, False, False], [False, False, False]]
    assert shown_mask(available, NAMES, only_a).tolist() == [[True, False, False], [False, True, True]]


def test_subset_scores_equal_scikit_learn_with_the_prevalence_where_nothing_is_there(done):
    run, summary = done
    table = summary.tables.subsets
    assert set(table.loc[table["strategy"] == "prevalence", "auroc"]) == {0.5}
    table = table[table["strategy"] != "prevalence"]
    assert len(table) == 3 * 6
    for _, row in table.iterrows():
        assert row["auroc"] == pytest.approx(auroc_of(run, row["strategy"], row["subset"].split("+")), abs=1e-9)
        assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]


def test_shapley_values_are_the_mean_gain_over_orders_and_add_up(done):
    run, summary = done
    value = {frozenset(s): auroc_of(run, "concat", s) for k in (1, 2, 3) for s in itertools.combinations(NAMES, k)} | {
        frozenset(): 0.5
    }
    mine = summary.tables.modalities.query("strategy == 'concat'").set_index("modality")["shapley"]
    for name in NAMES:
        gains = [
            value[frozenset(order[: order.index(name) + 1])] - value[frozenset(order[: order.index(name)])]
            for order in itertools.permutations(NAMES)
        ]
        assert mine[name] == pytest.approx(np.mean(gains), abs=1e-6)
    assert mine.sum() == pytest.approx(value[frozenset(NAMES)] - 0.5, abs=1e-6)


@pytest.mark.parametrize("metric", ["auroc", "brier"])
@pytest.mark.parametrize("where", ["reads", "may see"])
def test_a_modality_that_is_never_read_is_worth_exactly_nothing(tmp_path, metric, where):
    arm = {"name": "unimodal", "modality": "b"} if where == "reads" else {"name": "concat", "modalities": ["b"]}
    data = replace(toy_dataset(natural=0.4), metric=metric)
    run, summary = run_toy(tmp_path, data, strategies=[{**arm, "label": "b only"}, "concat"], splits={"seeds": [0, 1]})
    values = summary.tables.modalities.query("strategy == 'b only'").set_index("modality")["shapley"]
    assert values[["a", "c"]].tolist() == [0, 0]
    assert values["b"] != 0
    for fit in (f for f in run.plan.fits if f.arm.title == "b only"):
        labels = {frozenset(members(c)): la for c, la in zip(fit.scored, fit.labels, strict=True) if is_subset(c)}
        labels[frozenset(NAMES)] = fit.labels[0]
        for shown, label in labels.items():
            found = said(run, fit, label).calibrated
            if "b" in shown:  # bit for bit what is said of b alone
                assert (found == said(run, fit, labels[frozenset("b")]).calibrated).all()
            else:
                assert (found == prevalence_of(run.dataset, run.folds[fit.fold].development.train)).all()


def test_laziness_is_alone_minus_the_joint_model_shown_only_that(done):
    run, summary = done
    table = summary.tables.modalities.set_index(["strategy", "modality"])
    drop = auroc_of(run, "b alone", NAMES) - auroc_of(run, "concat", ["b"])
    assert table.loc[("concat", "b"), "laziness"] == pytest.approx(drop, abs=1e-6)
    assert table.loc[("concat", "b"), "laziness_low"] < drop < table.loc[("concat", "b"), "laziness_high"]
    assert math.isnan(table.loc[("concat", "a"), "laziness"])  # nobody was trained on it alone
    assert math.isnan(table.loc[("b alone", "b"), "laziness"])  # it is the reference itself


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_other_tasks_have_values_too(tmp_path, kind):
    _, summary = run_toy(tmp_path, toy_dataset(kind=kind), strategies=["concat"])
    sums = summary.tables.modalities["shapley"].sum()
    whole = summary.tables.curves.query("rate == 0")["auroc"].iloc[0]
    assert sums == pytest.approx(whole - 0.5, abs=1e-6)


def test_the_prevalence_of_classes_and_labels_is_by_class_and_label():
    classes, labels = toy_dataset(kind="multiclass"), toy_dataset(kind="multilabel")
    rows = np.arange(60)
    assert prevalence_of(classes, rows).tolist() == pytest.approx(
        (np.bincount(classes.target[:60], minlength=3) / 60).tolist()
    )
    assert prevalence_of(labels, rows).tolist() == pytest.approx(labels.target[:60].mean(axis=0).tolist())
    assert all(prevalence_of(d, rows).dtype == np.float64 for d in (classes, labels, toy_dataset()))


def test_they_can_be_switched_off_and_do_not_enter_curves_or_cells(done, tmp_path):
    _, summary = done
    assert not any(
        is_subset_name(p) for table in (summary.tables.cells, summary.tables.curves) for p in table["pattern"]
    )
    _, without = run_toy(tmp_path, evaluation={"subsets": False, "resamples": 100})
    assert len(without.tables.subsets) == len(without.tables.modalities) == 0
    assert len(without.tables.curves) > 0


def is_subset_name(pattern):
    return pattern.startswith("only ")


@pytest.mark.parametrize("where", ["train", "both", "grid"])
def test_models_trained_on_everything_have_them_wherever_absences_are(tmp_path, where):
    _, summary = run_toy(tmp_path, strategies=["concat"], missingness={"rates": [0, 0.5], "where": where})
    assert summary.failures == []
    assert len(summary.tables.modalities) == 3
    assert len(summary.tables.subsets.query("strategy == 'concat'")) == 6
