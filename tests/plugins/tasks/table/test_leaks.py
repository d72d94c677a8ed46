"""Features that say what a model must not know are refused; features that only look so are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusionbench import TargetKind
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.table import TableTask
from fusionbench_plugins.tasks.table.blocks import Block
from fusionbench_plugins.tasks.table.leaks import Roles, leaks, names_of_patients, suspicions
from fusionbench_plugins.tasks.table.target import Target
from tests.plugins.tasks.table.folder import ROWS, frame, prepare, problems, write

LABEL = frame()["label"].map({"low": 0, "mid": 1, "high": 2}).to_numpy()


def features(**columns):
    drawn = np.random.default_rng(5).normal(size=(ROWS, 2))
    return pd.DataFrame({"width": drawn[:, 0], "depth": drawn[:, 1], **columns})


def folder_with(tmp_path, table, manifest=None, **writing):
    folder = write(tmp_path, manifest, gene=None)
    table.to_csv(folder / "gene.csv", **{"index": False, **writing})
    return folder


def without_names(tmp_path, column):
    return write(tmp_path, gene=np.stack([np.random.default_rng(5).normal(size=ROWS), column], axis=1))


# ---------------------------------------------------------------- the manifest's columns


@pytest.mark.parametrize("name", ["label", "Label", " label "])
def test_the_label_among_the_features_is_refused_by_name(tmp_path, name):
    folder = folder_with(tmp_path, features(**{name: np.random.default_rng(1).normal(size=ROWS)}))
    assert "modality 'gene': the label is among the features" in problems(folder)


@pytest.mark.parametrize("name", ["split", "fold", "has_scan", "site", "SITE"])
def test_any_column_of_the_manifest_is_refused_by_name(tmp_path, name):
    manifest = frame(site=1, fold=0)
    folder = folder_with(tmp_path, features(**{name: np.random.default_rng(1).normal(size=ROWS)}), manifest)
    assert f"columns of the manifest are among the features: {name}; take them out" in problems(folder)


@pytest.mark.parametrize("column", ["person", "fold", "has_scan", "sample_id"])
def test_columns_that_equal_one_of_the_manifest_are_refused_under_any_name(tmp_path, column):
    draw = np.random.default_rng(2)
    manifest = frame(
        person=draw.integers(1000, 9000, ROWS),
        fold=draw.integers(0, 3, ROWS),
        sample_id=draw.permutation(ROWS) * 3 + 10**6,
    ).drop(columns="split")
    folder = folder_with(tmp_path, features(something=manifest[column]), manifest)
    assert f"columns that equal the manifest's '{column}' in every row are among the features: something" in problems(
        folder, group="person" if column == "person" else None
    )


# ---------------------------------------------------------------- row numbers, identifiers


@pytest.mark.parametrize(
    "number",
    [np.arange(ROWS), np.arange(1, ROWS + 1), np.arange(ROWS)[::-1], np.random.default_rng(3).permutation(ROWS)],
)
def test_numbers_of_rows_are_refused_under_any_name_and_without_one(tmp_path, number):
    assert "columns that number the rows are among the features: order" in problems(
        folder_with(tmp_path, features(order=number))
    )
    (tmp_path / "array").mkdir()
    assert "columns that number the rows are among the features: 1" in problems(
        without_names(tmp_path / "array", number)
    )


def test_an_index_that_was_written_is_refused(tmp_path):
    assert "1 columns have no name (the index of a table" in problems(folder_with(tmp_path, features(), index=True))
    assert "columns that number the rows are among the features: index" in problems(
        folder_with(tmp_path, features().sample(frac=0.9, random_state=0).reset_index().reindex(range(ROWS)))
    )


def test_a_named_index_of_parquet_is_a_column_and_looked_at_like_one(tmp_path):
    folder = write(tmp_path, gene=None)
    features().rename_axis("nr").to_parquet(folder / "gene.parquet")
    assert "columns that number the rows are among the features: nr" in problems(folder)


@pytest.mark.parametrize("name", ["patient_id", "Subject ID", "hadm_id", "MRN", "id", "stay-id"])
def test_identifiers_are_refused_by_name_where_they_differ_from_row_to_row(tmp_path, name):
    drawn = np.random.default_rng(4).choice(10**6, ROWS, replace=False)
    assert "columns that say which sample or patient a row is are among the features" in problems(
        folder_with(tmp_path, features(**{name: drawn}))
    )


def test_samples_as_text_under_another_name_are_offered_the_join(tmp_path):
    assert "column 'sample' holds samples of the manifest; call it 'sample_id'" in problems(
        folder_with(tmp_path, features(sample=frame()["sample_id"]))
    )


@pytest.mark.parametrize("column", ["Sample_ID", "SAMPLE_ID"])
def test_the_column_of_samples_in_other_letters_is_offered_the_join(tmp_path, column):
    manifest = frame(sample_id=np.random.default_rng(6).permutation(ROWS) + 500)
    assert "call the column 'sample_id', so that rows are joined by it" in problems(
        folder_with(tmp_path, features(**{column: manifest["sample_id"]}), manifest)
    )


# ---------------------------------------------------------------- the label in disguise


@pytest.mark.parametrize("codes", [LABEL, 2 - LABEL, LABEL * 7.5 - 3, np.array([5, 1, 9])[LABEL]])
def test_a_feature_that_is_one_to_one_with_the_label_is_refused(tmp_path, codes):
    assert "columns that say the same as the label in every row are among the features: 1; take them out" in problems(
        without_names(tmp_path, codes)
    )


def test_a_feature_that_is_one_of_several_labels_is_refused(tmp_path):
    draw = np.random.default_rng(7)
    manifest = frame(pain=draw.integers(0, 2, ROWS), fever=draw.integers(0, 2, ROWS))
    folder = folder_with(tmp_path, features(hot=1 - manifest["fever"]), manifest)
    assert "say the same as label 'fever' in every row" in problems(folder, target=["pain", "fever"])


def test_a_feature_that_says_the_label_where_it_is_present_is_refused(tmp_path):
    scan = np.random.default_rng(8).normal(size=(ROWS, 3))
    label = np.random.default_rng(9).integers(0, 2, ROWS)
    scan[:, 2] = 3 - 2 * label
    scan[2::3] = np.nan
    assert "modality 'scan': columns that say the same as the label" in problems(
        write(tmp_path, frame(label=label), scan=scan)
    )


@pytest.mark.parametrize("high", [1, -2])
def test_a_label_made_into_columns_is_refused(tmp_path, high):
    table = features(**{f"is {c}": np.where(c == LABEL, high, 0) for c in range(3)})
    assert "say the same as one class of the label in every row are among the features: is 0, is 1, is 2" in problems(
        folder_with(tmp_path, table)
    )


# ---------------------------------------------------------------- samples


@pytest.mark.parametrize("name", ["nummer", "x"])
def test_samples_in_another_order_are_refused_under_any_name(tmp_path, name):
    draw = np.random.default_rng(16)
    ids = draw.choice(10**6, ROWS, replace=False) + 100
    table = features(**{name: draw.permutation(ids)})
    assert f"say which sample or patient a row is are among the features: {name}; call one 'sample_id'" in problems(
        folder_with(tmp_path, table, frame(sample_id=ids))
    )


def test_samples_that_repeat_in_the_manifest_are_refused(tmp_path):
    manifest = frame(sample_id=["s0", *frame()["sample_id"][:-1]])
    assert "manifest: 1 rows repeat a sample_id of another row" in problems(write(tmp_path, manifest))


# ---------------------------------------------------------------- no false alarms


@pytest.mark.parametrize(
    "column",
    {
        "two values by chance": np.random.default_rng(10).integers(0, 2, ROWS),
        "steps of two": 2 * np.arange(ROWS),
        "times": np.arange(ROWS) + 0.5,
        "constant": np.ones(ROWS),
        "ages": np.random.default_rng(11).integers(18, 90, ROWS),
    }.values(),
)
def test_features_that_only_look_alike_stay(tmp_path, column):
    assert prepare(without_names(tmp_path, column)).modalities["gene"].values.shape == (ROWS, 2)


def test_ranks_are_no_row_numbers(tmp_path):
    draw = np.random.default_rng(12)
    ranks = np.stack([draw.permutation(ROWS) + 1 for _ in range(3)], axis=1)
    assert prepare(write(tmp_path, gene=ranks)).modalities["gene"].values.shape == (ROWS, 3)


@pytest.mark.parametrize("name", ["ward_id", "case", "id", "index"])
def test_few_different_numbers_are_no_identifiers(tmp_path, name):
    folder = folder_with(tmp_path, features(**{name: np.random.default_rng(13).integers(0, 4, ROWS)}))
    assert prepare(folder).modalities["gene"].columns[-1] == name


def test_of_few_rows_nothing_is_concluded():
    values = np.array([[0], [1], [1], [0]], np.float32)
    block = Block("a", values, ())
    target = Target(np.array([0, 1, 1, 0]), TargetKind.BINARY, ("y",))
    assert leaks(block, np.ones(4, bool), Roles(pd.DataFrame({"y": [0, 1, 1, 0]}), ("y",), ()), target) == []


def test_of_very_many_columns_one_may_be_like_the_label_by_chance():
    codes = np.tile([0, 1], 10)
    target = Target(codes, TargetKind.BINARY, ("y",))
    values = np.random.default_rng(0).integers(0, 2, (20, 5000)).astype(np.float32)
    values[:, 9] = codes
    roles = Roles(pd.DataFrame({"y": codes}), ("z",), ())
    assert leaks(Block("a", values, ()), np.ones(20, bool), roles, target) == []


def test_names_with_braces_are_names(tmp_path):
    text = problems(folder_with(tmp_path, features(**{"{0}": np.arange(ROWS), "{x}": LABEL})))
    assert "number the rows are among the features: {0}" in text
    assert "say the same as the label in every row are among the features: {x}" in text


def test_columns_that_part_the_classes_are_to_be_looked_at(tmp_path):
    gene = np.random.default_rng(14).normal(size=(ROWS, 2))
    gene[:, 1] = LABEL + np.random.default_rng(15).uniform(0, 0.5, ROWS)
    folder = write(tmp_path, gene=gene)
    lines = TableTask(root=str(folder)).check(tmp_path, SilentProgress()).lines
    assert (
        "warning: modality gene: 1 columns part the label without one exception (1); known before the label?" in lines
    )
    target = Target(np.arange(ROWS) % 2, TargetKind.BINARY, ("y",))
    assert list(suspicions(Block("gene", gene.astype(np.float32), ()), np.ones(ROWS, bool), target)) == []


def test_patients_are_no_classes_only_where_they_are_given():
    codes = np.repeat(np.arange(4), 5)
    target = Target(codes, TargetKind.MULTICLASS, tuple("abcd"))
    assert names_of_patients(target, codes, grouped=True)
    assert not names_of_patients(target, codes, grouped=False)
    assert not names_of_patients(target, np.arange(20), grouped=True)
