"""Folds by patient: who is where, how evenly, and what stays sealed."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionbench import Dataset, Modality, TargetKind
from fusionbench.config.sections import SplitsSection
from fusionbench.data.splits import Development, Fold, SealedRows, make_folds
from fusionbench.errors import DataError


def dataset(target, groups, **more) -> Dataset:
    rows = len(target)
    return Dataset(
        modalities={"a": Modality("vector", np.zeros((rows, 1), np.float32))},
        available=np.ones((rows, 1), bool),
        target=np.asarray(target, np.int64),
        kind=TargetKind.BINARY,
        outputs=("y",),
        groups=np.asarray(groups, np.int64),
        digest="given",
        **more,
    )


def parts(fold: Fold) -> dict[str, np.ndarray]:
    return {
        "train": fold.development.train,
        "validation": fold.development.validation,
        "test": fold.test.open("digest"),
    }


@st.composite
def cohorts(draw):
    """Patients with one to four stays, labels that differ between stays, in any row order."""
    patients = draw(st.integers(24, 60))
    counts = draw(st.lists(st.integers(1, 4), min_size=patients, max_size=patients))
    seed = draw(st.integers(0, 1000))
    generator = np.random.default_rng(seed)
    groups = generator.permutation(np.repeat(generator.permutation(10 * patients)[:patients], counts))
    return dataset((generator.random(len(groups)) < draw(st.floats(0.2, 0.8))).astype(int), groups)


@settings(max_examples=40, deadline=None)
@given(cohorts(), st.integers(2, 5), st.floats(0.1, 0.4))
def test_a_patient_is_in_one_part_and_every_row_is_tested_once(data, folds, share):
    made = make_folds(data, SplitsSection(folds=folds, validation=share))
    tested = np.concatenate([f.test.open("digest") for f in made])
    assert sorted(tested) == list(range(len(data)))
    for fold in made:
        rows = np.concatenate(list(parts(fold).values()))
        assert sorted(rows) == list(range(len(data)))
        patients = [set(data.groups[r]) for r in parts(fold).values()]
        assert sum(map(len, patients)) == len(set.union(*patients))


@settings(max_examples=40, deadline=None)
@given(cohorts(), st.integers(2, 5))
def test_each_stratum_is_divided_evenly_to_one_patient(data, folds):
    label = {g: data.target[data.groups == g].max() for g in set(data.groups)}
    made = make_folds(data, SplitsSection(folds=folds))
    patients = [set(data.groups[f.test.open("digest")]) for f in made]
    for stratum in (0, 1):
        counts = [sum(label[g] == stratum for g in p) for p in patients]
        assert max(counts) - min(counts) <= 1
    assert max(map(len, patients)) - min(map(len, patients)) <= 1


@settings(max_examples=25, deadline=None)
@given(cohorts(), st.floats(0.05, 0.6))
def test_the_validation_share_is_taken_from_each_stratum(data, share):
    label = {g: data.target[data.groups == g].max() for g in set(data.groups)}
    for fold in make_folds(data, SplitsSection(folds=3, validation=share)):
        held, kept = (set(data.groups[parts(fold)[p]]) for p in ("validation", "train"))
        for stratum in (0, 1):
            count = sum(label[g] == stratum for g in held)
            total = count + sum(label[g] == stratum for g in kept)
            assert count == pytest.approx(share * total, abs=1)
            assert total < 2 or 1 <= count < total


@settings(max_examples=25, deadline=None)
@given(cohorts(), st.integers(0, 99))
def test_the_order_of_rows_decides_nothing(data, seed):
    order = np.random.default_rng(seed).permutation(len(data))
    shuffled = replace(data, target=data.target[order], groups=data.groups[order])
    chosen = SplitsSection(folds=3)
    for first, second in zip(make_folds(data, chosen), make_folds(shuffled, chosen), strict=True):
        for part, rows in parts(first).items():
            assert sorted(rows) == sorted(order[parts(second)[part]])


def toy() -> Dataset:
    return dataset(np.arange(90) % 2, np.arange(90) // 2)


def test_the_salt_makes_other_folds_and_nothing_else_does():
    first, again, other = (
        [tuple(f.test.open("x")) for f in make_folds(toy(), SplitsSection(folds=3, salt=s))] for s in ("x", "x", "y")
    )
    assert first == again != other


def test_using_some_folds_leaves_them_as_they_are():
    every = make_folds(toy(), SplitsSection(folds=4))
    some = make_folds(toy(), SplitsSection(folds=4, use=(2, 0)))
    assert [f.index for f in some] == [2, 0]
    for fold in some:
        for part, rows in parts(fold).items():
            assert np.array_equal(rows, parts(every[fold.index])[part])


def test_multilabel_rows_are_stratified_by_how_many_labels_they_have():
    target = (np.arange(25)[None, :] < np.repeat([0, 9], 45)[:, None]).astype(np.int64)
    data = replace(dataset(np.zeros(90), np.arange(90)), target=target, kind=TargetKind.MULTILABEL)
    for fold in make_folds(data, SplitsSection(folds=3)):
        assert Counter(target[fold.test.open("x")].sum(axis=1)) == {0: 15, 9: 15}


def test_folds_of_the_task_are_taken_and_minus_one_is_never_tested():
    own = np.arange(90) // 2 % 4 - 1
    made = make_folds(replace(toy(), folds=own), SplitsSection(source="task", folds=3))
    for fold in made:
        assert set(own[fold.test.open("x")]) == {fold.index}
    assert not np.isin(np.flatnonzero(own == -1), np.concatenate([f.test.open("x") for f in made])).any()


def test_a_split_of_the_task_is_taken_as_it_is():
    split = np.array(["train", "validation", "test"])[np.arange(90) // 2 % 3]
    (fold,) = make_folds(replace(toy(), split=split), SplitsSection(source="task"))
    for part, rows in parts(fold).items():
        assert np.array_equal(rows, np.flatnonzero(split == part))


def test_a_split_without_validation_rows_gives_up_a_share_of_its_training_patients():
    split = np.array(["train", "test"])[(np.arange(90) // 2 % 3 == 0).astype(int)]
    data = replace(toy(), split=split)
    (fold,) = make_folds(data, SplitsSection(source="task", validation=0.2))
    found = parts(fold)
    assert set(split[np.concatenate([found["train"], found["validation"]])]) == {"train"}
    assert len(found["validation"]) == 12
    assert not set(data.groups[found["train"]]) & set(data.groups[found["validation"]])


@pytest.mark.parametrize(
    ("data", "chosen", "message"),
    [
        (toy(), SplitsSection(source="task"), "neither a split nor folds"),
        (dataset([0, 0, 0], [0, 1, 2]), SplitsSection(folds=5), "fold 3 has no patient: 3 patients"),
        (dataset([0, 1, 0], [0, 1, 2]), SplitsSection(folds=3), "fold 0 has no validation rows"),
    ],
)
def test_what_cannot_be_split_is_said(data, chosen, message):
    with pytest.raises(DataError, match=message):
        make_folds(data, chosen)


def test_test_rows_open_with_a_digest_only():
    sealed = SealedRows(np.arange(3))
    with pytest.raises(ValueError, match="only with the digest of a sealed study"):
        sealed.open("")
    assert np.array_equal(sealed.open("digest"), np.arange(3))
    assert len(sealed) == 3
    assert not [name for name in dir(sealed) if "rows" in name and not name.startswith("_SealedRows")]


def test_what_tuning_gets_has_no_way_to_the_test_rows():
    fold = make_folds(toy(), SplitsSection(folds=3))[0]
    assert [f.name for f in fields(Development)] == ["fold", "train", "validation"]
    tested = set(fold.test.open("x"))
    assert not tested & set(fold.development.train)
    assert not tested & set(fold.development.validation)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ([0, 1, 2] * 4, "fold 3 has no patient: the data come with 3 folds and splits.folds is 5; set it to 3"),
        ([1, 2, 3, 4, 5, 1] * 2, r"fold 0 has no patient: the data number their 5 folds from 1 \(1, 2, 3, 4, 5\)"),
        ([0, 1, 3, 4] * 3, "fold 2 has no patient: the data come with the folds 0, 1, 3, 4; number them 0, 1, 2, ..."),
        ([-1, 1, 2] * 4, "fold 0 has no patient: the data number their 2 folds from 1"),
    ],
)
def test_folds_of_the_data_that_do_not_fit_are_said_as_such(folds, message):
    data = dataset([0, 1] * 6, range(12), folds=np.array(folds))
    with pytest.raises(DataError, match=message):
        make_folds(data, SplitsSection(source="task", folds=5, validation=0.3))
