"""The manifest: labels, patients and parts as numbers, and everything that is wrong with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusionbench import TargetKind
from fusionbench.data.files.frames import read_frame
from fusionbench_plugins.tasks.table.manifest import (
    column,
    flags,
    groups_across,
    read_folds,
    read_groups,
)
from fusionbench_plugins.tasks.table.target import read_target
from tests.plugins.tasks.table.folder import ROWS, frame, prepare, problems, write


@pytest.mark.parametrize(
    ("labels", "kind", "outputs", "first"),
    [
        (np.tile([0, 1, 1], ROWS // 3), "binary", ("label",), [0, 1, 1]),
        (np.tile(["True", "False", "true"], ROWS // 3), "binary", ("label",), [1, 0, 1]),
        (np.tile([10, 9, 100], ROWS // 3), "multiclass", ("9", "10", "100"), [1, 0, 2]),
        (np.tile(["None", "NA", "x"], ROWS // 3), "multiclass", ("NA", "None", "x"), [1, 0, 2]),
    ],
)
def test_the_kind_of_target_follows_from_the_column(tmp_path, labels, kind, outputs, first):
    data = prepare(write(tmp_path, frame(label=labels)))
    assert (data.kind, data.outputs, data.target[:3].tolist()) == (kind, outputs, first)
    assert data.metric == ("accuracy" if kind == "multiclass" else "auroc")


def test_zero_and_one_can_be_two_classes(tmp_path):
    data = prepare(write(tmp_path, frame(label=np.tile([0, 1], ROWS // 2))), kind="multiclass", metric="auroc")
    assert (data.kind, data.outputs, data.metric) == (TargetKind.MULTICLASS, ("0", "1"), "auroc")


def test_several_columns_are_several_labels(tmp_path):
    folder = write(tmp_path, frame(pain=np.tile([0, 1], ROWS // 2), fever=np.tile([1, 1, 0], ROWS // 3)))
    data = prepare(folder, target=["pain", "fever"])
    assert data.kind is TargetKind.MULTILABEL
    assert data.target[:3].tolist() == [[0, 1], [1, 1], [0, 0]]
    assert data.outputs == ("pain", "fever")


def test_classes_take_their_names_from_the_manifest(tmp_path):
    codes = np.tile([0, 1, 2], ROWS // 3)
    names = np.array(["Basal", "Her2", "LumA"])[codes]
    assert prepare(write(tmp_path, frame(label=codes, label_name=names))).outputs == ("Basal", "Her2", "LumA")
    names[0] = "Her2"
    assert "does not name each class" in problems(write(tmp_path, frame(label=codes, label_name=names)))


def test_patients_keep_together_under_running_numbers(tmp_path):
    folder = write(tmp_path, frame(patient=np.repeat([f"p{i}" for i in range(20)], 3)))
    assert prepare(folder, group="patient").groups[:7].tolist() == [0, 0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"manifest": "manifset.csv"}, "no such file; did you mean 'manifest.csv'"),
        ({}, {"target": "labl"}, "no column 'labl'; did you mean 'label'"),
        ({}, {"split": "part"}, "split: no column 'part'"),
        ({}, {"folds": "cv"}, "folds: no column 'cv'"),
        ({}, {"group": "patient"}, "group: no column 'patient'"),
        ({}, {"kind": "binary"}, "column 'label' must hold 0 and 1"),
        ({}, {"modalities": ["gen"]}, "modality 'gen': needs one file gen.npy, gen.csv, gen.parquet"),
        ({"label": "same"}, {}, "one class only"),
        ({"split": "train"}, {}, "has no test rows"),
        ({"fold": "x"}, {"split": None}, "whole numbers from -1"),
        ({"has_scan": 1}, {}, "20 rows are marked present and hold no value"),
        ({"patient": ["p"] * ROWS}, {"group": "patient"}, "1 patients (column of 'group') are in more than one part"),
    ],
)
def test_a_bad_manifest_is_a_sentence(tmp_path, change, options, message):
    assert message in problems(write(tmp_path, frame(**change)), **options)


def test_patients_in_two_folds_are_refused_where_folds_are_used(tmp_path):
    folder = write(tmp_path, frame(patient=np.repeat(np.arange(30), 2), fold=np.tile([0, 1], 30)))
    assert "30 patients (column of 'group') are in more than one fold" in problems(folder, group="patient", split=None)


def made(**columns):
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


def test_classes_that_are_numbers_are_in_their_order_and_not_in_that_of_letters():
    said = []
    found = read_target(made(grade=["10", "9", "9", "100"]), ["grade"], None, said)
    assert (found.outputs, found.values.tolist()) == (("9", "10", "100"), [1, 0, 0, 2])
    assert (found.kind, said) == (TargetKind.MULTICLASS, [])


def test_names_that_do_not_tell_classes_apart_are_a_problem():
    said = []
    read_target(made(g=["1", "2", "2"], g_name=["low", "low", "low"]), ["g"], TargetKind.MULTICLASS, said)
    assert said == ["manifest: column 'g_name' does not name each class of 'g' by one name of its own"]


@pytest.mark.parametrize("cells", [["1", "0"], ["true", "False"], ["1.0", "0.0"]])
def test_flags_are_read_however_they_are_written(cells):
    said = []
    assert flags(made(a=cells), "a", "target", said).tolist() == [True, False]
    assert said == []


def test_every_problem_is_noted_and_none_holds_a_value():
    said = []
    table = made(a=["yes", "0"], b=["1", None])
    assert flags(table, "a", "target", said) is None
    assert column(table, "b", "group", said) is None
    assert column(table, "c", "split", said) is None
    assert said == [
        "manifest: target: column 'a' must hold 0 and 1; 1 of 2 rows do not",
        "manifest: group: column 'b' is empty in 1 of 2 rows; fill or drop them",
        "manifest: split: no column 'c'; it has a, b",
    ]


def test_patients_have_running_numbers_and_without_a_column_every_row_is_one():
    table = made(p=["x", "y", "x"])
    assert read_groups(table, "p", []).tolist() == [0, 1, 0]
    assert read_groups(table, None, []).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("cells", "wanted"), [(["0", "-1", "2"], [0, -1, 2]), (["0", "0.5", "1"], None), (["0", "-2", "1"], None)]
)
def test_folds_are_whole_numbers_and_minus_one_is_outside(cells, wanted):
    said = []
    found = read_folds(made(f=cells), "f", said)
    assert (found is None) == (wanted is None) == bool(said)
    assert wanted is None or found.tolist() == wanted


def test_patients_in_more_than_one_part_are_counted():
    parts = np.array(["train", "test", "train", "train", "test"])
    assert groups_across(np.array([0, 0, 1, 1, 2]), parts) == 1


def test_text_is_left_as_it_is_and_only_empty_cells_are_missing(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("id,b\n007,NA\n1,\n", encoding="utf-8")
    found = read_frame(path)
    assert found["id"].tolist() == ["007", "1"]
    assert found["b"].isna().tolist() == [False, True]
