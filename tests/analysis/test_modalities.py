"""An arm on a subset of the modalities: the others do not exist for it, and rows without any get the prevalence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusionbench.errors import ConfigError, DataError
from fusionbench.missingness.subsets import is_subset, prevalence_of
from tests.builders import make_benchmark, make_run, run_toy, said, toy_dataset


def fits_by_title(run):
    return {(f.arm.title, f.arm.imputer_name): run.store.load(f.key) for f in run.plan.fits if f.fold == 0}


def same(one, other):
    for what, by_label in one.predicted.items():
        assert by_label.keys() == other.predicted[what].keys()
        for label, values in by_label.items():
            np.testing.assert_array_equal(values, other.predicted[what][label])


def changed(dataset, name):
    """The data set with other content in one modality, had by those who lacked it and no others."""
    modality, column = dataset.modalities[name], list(dataset.modalities).index(name)
    available = dataset.available.copy()
    available[:, column] = ~available[:, column]
    modalities = {**dataset.modalities, name: replace(modality, values=-7 * modality.values)}
    return replace(dataset, modalities=modalities, available=available)


@pytest.mark.parametrize("imputer", ["zero", "mean", "knn", "cra_cycle"])
def test_content_and_presence_of_the_other_modalities_change_nothing(tmp_path, imputer):
    dataset = toy_dataset()
    dataset = replace(dataset, available=dataset.available | [[True, False, False]])
    arms = {
        "imputers": [imputer],
        "strategies": [{"name": "concat", "modalities": ["a", "b"], "regularisers": ["tla"]}],
    }
    arms["missingness"] = {"rates": [0]}
    runs = [run_toy(tmp_path / str(i), d, **arms)[0] for i, d in enumerate([dataset, changed(dataset, "c")])]
    one, other = (next(iter(fits_by_title(r).values())) for r in runs)
    (complete,) = [n for n in one.logits if n.startswith("complete@0")]
    (again,) = [n for n in other.logits if n.startswith("complete@0")]
    for what, by_label in one.predicted.items():
        np.testing.assert_array_equal(by_label[complete], other.predicted[what][again])


def test_concat_on_one_modality_is_the_unimodal_baseline(tmp_path):
    strategies = [{"name": "unimodal", "modality": "b"}, {"name": "concat", "modalities": ["b"]}]
    run, _ = run_toy(tmp_path, toy_dataset(natural=0.0), strategies=strategies)
    found = fits_by_title(run)
    same(found["unimodal", "zero"], found["concat on b", "zero"])


def test_rows_without_any_of_them_get_the_training_prevalence_and_are_not_trained_on(tmp_path):
    run, summary = run_toy(
        tmp_path,
        toy_dataset(natural=0.5),
        imputers=["zero", "cra"],
        strategies=[{"name": "sum", "modalities": ["b", "c"]}],
    )
    assert summary.failures == []
    prevalence = prevalence_of(run.dataset, run.folds[0].development.train)
    for job in (f for f in run.plan.fits if f.fold == 0):
        found = run.store.load(job.key)
        rows = run.folds[0].test.open(found.study)
        train, validation = run.rows.development(job.arm, 0, 0, job.condition)
        assert 0 < len(train) < len(run.folds[0].development.train)
        for used in (train, validation):
            assert run.dataset.available[used.numpy(), 1:].any(axis=1).all()
        for condition, label in zip(job.scored, job.labels, strict=True):
            empty = ~run.rows.mask(condition, 0, 0)[rows][:, 1:].any(axis=1)
            for predicted in said(run, job, label):
                alike = (predicted == prevalence).all(axis=1)
                assert empty.any()
                np.testing.assert_array_equal(alike[empty], True)
                assert not alike[~empty].any() or is_subset(condition)


def test_naming_all_modalities_gives_the_numbers_of_naming_none(tmp_path):
    strategies = ["concat", {"name": "concat", "label": "all", "modalities": ["c", "b", "a"]}]
    run, _ = run_toy(tmp_path, strategies=strategies)
    found = fits_by_title(run)
    same(found["concat", "zero"], found["all", "zero"])


def test_the_key_of_an_arm_on_all_modalities_is_what_it_was(tmp_path):
    strategies = [
        "concat",
        {"name": "concat", "modalities": ["a"]},
        {"name": "concat", "label": "x", "modalities": ["a"]},
    ]
    whole, part, again = (f.arm for f in make_run(tmp_path, strategies=strategies).plan.fits if f.fold == 0)
    assert set(whole.identity) == {"strategy", "imputer", "regularisers", "corruption"}
    assert part.identity == again.identity != whole.identity
    assert whole.completion != part.completion


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        ([{"name": "concat", "modalities": ["a", "x"]}], "strategies.0.modalities: the task offers a, b, c; found x"),
        ([{"name": "unimodal", "modality": "c", "modalities": ["a", "b"]}], "modality must be one of a, b, found 'c'"),
    ],
)
def test_a_modality_that_is_not_there_is_named_before_training(tmp_path, strategies, message):
    with pytest.raises(ConfigError, match=message):
        make_run(tmp_path, strategies=strategies)


@pytest.mark.parametrize("given", [[], ["a", "a"]])
def test_modalities_are_a_list_without_repeats(given):
    with pytest.raises(ValueError, match="modalities must be a non-empty list without repeats"):
        make_benchmark(strategies=[{"name": "concat", "modalities": given}])


def test_a_subset_that_no_training_row_has_is_a_data_error(tmp_path):
    dataset = toy_dataset()
    available = dataset.available.copy()
    available[:, 2] = False
    available[:, 0] |= ~available.any(axis=1)
    run = make_run(
        tmp_path, replace(dataset, available=available), strategies=[{"name": "concat", "modalities": ["c"]}]
    )
    with pytest.raises(DataError, match=r"strategies\.0\.modalities: fold 0 has 0 training"):
        run.execute()
