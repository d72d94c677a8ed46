"""Inner folds: by patient, as stratified as their fold, other patients in each, and how many `auto` takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from fusionbench import Dataset, Modality, TargetKind
from fusionbench.config.sections import SplitsSection
from fusionbench.data.inner_folds import ENOUGH, MOST, inner_folds, number_of, rarest, usable
from fusionbench.data.splits import Development, make_folds
from fusionbench.errors import DataError

FEW = SplitsSection(folds=3, validation=0.15)


def dataset(patients=120, share=0.25, stays=2, **more) -> Dataset:
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(patients), stays)
    target = np.repeat(draw.permutation(np.arange(patients) < share * patients), stays).astype(np.int64)
    return Dataset(
        modalities={"a": Modality("vector", np.zeros((len(groups), 1), np.float32))},
        available=np.ones((len(groups), 1), bool),
        target=target,
        kind=TargetKind.BINARY,
        outputs=("y",),
        groups=groups,
        digest="given",
        **more,
    )


def splits(data, number, fold=0, settings=FEW):
    return inner_folds(data, make_folds(data, settings)[fold].development, number, settings.salt)


def test_one_inner_fold_is_the_folds_own_split_and_so_is_the_first_of_several():
    data = dataset()
    own = make_folds(data, FEW)[1].development
    assert inner_folds(data, own, 1, "salt") == [own]
    assert inner_folds(data, own, 4, "salt")[0] is own


def test_every_patient_of_the_fold_is_in_one_part_of_each_inner_fold_and_nobody_else():
    data = dataset()
    own = make_folds(data, FEW)[0].development
    every = sorted([*own.train, *own.validation])
    for part in splits(data, 5):
        assert sorted([*part.train, *part.validation]) == every
        assert not set(data.groups[part.train]) & set(data.groups[part.validation])
        assert part.fold == 0


def test_validation_parts_hold_other_patients_and_as_many_of_each_class():
    data = dataset()
    parts = [p.validation for p in splits(data, 5)]
    patients = [set(data.groups[rows]) for rows in parts]
    assert len(set.union(*patients)) == sum(map(len, patients))
    assert len({tuple(sorted(Counter(data.target[rows].tolist()).items())) for rows in parts}) == 1


def test_inner_folds_depend_on_fold_and_salt_and_on_nothing_else():
    data = dataset()
    one, again, other = splits(data, 3), splits(data, 3), splits(data, 3, settings=replace_salt("other"))
    assert all(np.array_equal(a.validation, b.validation) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[1].validation, other[1].validation)
    more = splits(data, 5)
    assert all(np.array_equal(a.validation, b.validation) for a, b in zip(one, more[:3], strict=True))


def replace_salt(salt):
    return SplitsSection(folds=3, validation=0.15, salt=salt)


def test_a_stratum_with_fewer_patients_than_inner_folds_has_some_in_every_part():
    data = dataset(patients=60, share=0.05, stays=1)
    own = make_folds(data, FEW)[0].development
    assert (data.target[np.concatenate([own.train, own.validation])]).sum() < 5
    assert all(data.target[p.validation].sum() == data.target[own.validation].sum() for p in splits(data, 5))


def test_a_split_that_the_data_come_with_keeps_its_part_as_the_first():
    data = dataset()
    data = replace(data, split=np.array(["train", "train", "train", "validation", "test"])[data.groups % 5])
    own = make_folds(data, SplitsSection(source="task"))[0].development
    first, second, _ = inner_folds(data, own, 3, "salt")
    assert set(data.groups[first.validation] % 5) == {3}
    assert not set(first.validation) & set(second.validation)
    tested = np.flatnonzero(data.split == "test")
    assert not set(second.train) & set(tested)
    assert not set(second.validation) & set(tested)


def test_more_inner_folds_than_there_are_patients_for_is_an_error_that_says_how_many_there_can_be():
    data = dataset()
    with pytest.raises(
        DataError, match=r"tuning.inner_folds: 9 validation parts .* fold 0 .*; 6 have .*: set it to 6 at most"
    ):
        splits(data, 9)
    assert len(splits(data, 6)) == 6


# --------------------------------------------------------------------------------------------
# how many


def test_auto_takes_more_the_fewer_patients_the_rarer_class_has_and_one_where_there_are_enough():
    def number(patients):
        data = dataset(patients, 0.25, stays=1)
        own = make_folds(data, FEW)[0].development
        found = number_of(data, own, "auto")
        few = rarest(data, own.validation)
        assert found == min(MOST, -(-ENOUGH // few))
        return found

    found = [number(n) for n in (60, 240, 600, 1200, 3000)]
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (MOST, 1)


def test_a_number_is_taken_as_it_is():
    data = dataset(3000)
    assert number_of(data, make_folds(data, FEW)[0].development, 4) == 4


def test_auto_leaves_a_validation_part_alone_that_the_data_come_with():
    data = dataset()
    named = np.array(["train", "train", "train", "validation", "test"])
    given = replace(data, split=named[data.groups % 5])
    cut = replace(data, split=np.where(given.split == "validation", "train", given.split))
    settings = SplitsSection(source="task", validation=0.1)
    assert number_of(given, make_folds(given, settings)[0].development, "auto") == 1
    assert number_of(cut, make_folds(cut, settings)[0].development, "auto") == MOST


def test_the_rarer_class_is_counted_in_patients_and_labels_by_their_median():
    data = dataset(patients=40, share=0.25, stays=3)
    rows = np.arange(len(data))
    assert rarest(data, rows) == 10
    assert rarest(data, rows[data.target == 0]) == 0
    classes = replace(data, kind=TargetKind.MULTICLASS, outputs=("x", "y", "z"), target=data.groups % 20 // 9)
    assert rarest(classes, rows) == 4
    labels = np.stack([data.groups < n for n in (2, 8, 39)], axis=1).astype(np.int64)
    several = replace(data, kind=TargetKind.MULTILABEL, outputs=("x", "y", "z"), target=labels)
    assert rarest(several, rows) == 2


# --------------------------------------------------------------------------------------------
# what an arm can use


def test_an_arm_uses_the_inner_folds_whose_validation_rows_hold_the_classes_of_the_first():
    data = dataset(patients=6, share=0.5, stays=1)
    cases, others = np.flatnonzero(data.target == 1), np.flatnonzero(data.target == 0)
    both, train = np.array([cases[0], others[0]]), np.array([cases[1], others[1]])
    parts = [(train, both), (train, cases), (train, both), (train[:0], both), (train, both[:0])]
    assert usable(data, parts) == [0, 2]
    assert usable(data, [(train, cases), (train, cases), (train, both)]) == [0, 1, 2]


def test_of_several_labels_any_rows_will_do_and_the_first_split_always_stays():
    data = replace(
        dataset(patients=6, stays=1), target=np.zeros((6, 2), np.int64), kind=TargetKind.MULTILABEL, outputs=("x", "y")
    )
    one, none = np.array([1]), np.array([], dtype=np.int64)
    assert usable(data, [(none, none), (one, one), (one, none)]) == [0, 1]


def test_parts_are_development_rows_and_nothing_else():
    assert all(isinstance(part, Development) for part in splits(dataset(), 3))
