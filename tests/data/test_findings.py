"""What any data set tells of itself, in lines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fusionbench.contract.data import Dataset, FunnelStep, Modality
from fusionbench.data.findings import (
    FEW_ROWS,
    content_lines,
    describe,
    funnel_lines,
    label_lines,
    leak_lines,
    rows_lines,
)
from fusionbench.data.sameness import alike_lines
from fusionbench.targets import TargetKind
from tests.builders import toy_dataset

ROWS = 1200


def made(target, outputs=("y",), kind=TargetKind.BINARY, **changes):
    """Rows of an image and of notes, two of each patient; every fourth row has no note."""
    rows = len(target)
    has = np.stack([np.ones(rows, dtype=bool), np.arange(rows) % 4 > 0], axis=1)
    content = {"cxr": Modality("image", np.zeros((rows, 8, 9), dtype=np.uint8)), "note": Modality("text", [""] * rows)}
    patients = np.arange(rows) // 2
    return Dataset(content, has, np.asarray(target), kind, tuple(outputs), patients, "d", **changes)


def binary(ones, **changes):
    return made(np.arange(ROWS) < ones, **changes)


def test_rows_patients_and_modalities_are_counted():
    assert list(rows_lines(binary(300))) == [
        "1,200 rows of 600 patients",
        "modality cxr: 1,200 of 1,200 rows (100.0%)",
        "modality note: 900 of 1,200 rows (75.0%)",
    ]


def test_a_label_is_counted_and_warned_of_where_it_or_its_absence_is_rare():
    assert list(label_lines(binary(300))) == ["label y: 300 of 1,200 rows (25.0%)"]
    warning = f"warning: fewer than {FEW_ROWS} rows with or without 1 of 1 labels: y"
    assert list(label_lines(binary(FEW_ROWS)))[1:] == []
    assert list(label_lines(binary(FEW_ROWS - 1)))[1:] == [warning]
    assert list(label_lines(binary(ROWS - FEW_ROWS + 1)))[1:] == [warning]


def test_classes_are_counted_from_the_rarest_also_those_that_nobody_is_in():
    data = made(np.array([0] * 30 + [1] * 70), ("r", "g", "b"), TargetKind.MULTICLASS)
    assert list(label_lines(data)) == [
        "label b: 0 of 100 rows (0.0%)",
        "label r: 30 of 100 rows (30.0%)",
        "label g: 70 of 100 rows (70.0%)",
        "warning: fewer than 20 rows with or without 1 of 3 labels: b",
    ]


def test_of_many_labels_the_two_rarest_and_the_two_most_frequent_are_shown():
    target = (np.arange(200)[:, None] < np.arange(30, 150, 10)).astype(np.int64)
    lines = list(label_lines(made(target, [f"l{i}" for i in range(12)], TargetKind.MULTILABEL)))
    assert lines[0] == "12 labels, 1,020 of 2,400 are 1; the rarest two and the most frequent two:"
    assert [line.split(":")[0] for line in lines[1:]] == ["label l0", "label l1", "label l10", "label l11"]


def test_patients_in_several_parts_of_a_split_or_fold_are_counted_and_warned_of():
    assert list(leak_lines(binary(300))) == []
    split = np.array(["train", "train", "test", "test", "train", "test"])
    data = made([0] * 6, split=split, folds=np.array([0, 0, 1, 1, 2, 2]))
    assert list(leak_lines(data)) == [
        "warning: 1 patients are in more than one part of the split",
        "0 patients are in more than one fold",
    ]


def test_the_funnel_comes_with_notes_and_before_the_warnings():
    data = binary(300, funnel=(FunnelStep("stays", 12345), FunnelStep("adults", 9, "by age")), warnings=("careful",))
    assert list(funnel_lines(data)) == ["    12,345  stays", "         9  adults  (by age)", "warning: careful"]
    assert describe(data) == [*funnel_lines(data), *rows_lines(data), *label_lines(data), *alike_lines(data)]
    assert describe(data)[-2].startswith("problem: modality cxr: all 1,200 pictures are black")


def test_content_is_told_by_kind_shape_and_size(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "rows.bin").write_bytes(b"0" * 1_250_000)
    lines = list(content_lines(binary(300), tmp_path))
    assert lines[0] == "1,200 rows"
    assert [line.strip() for line in lines[1:3]] == [
        "cxr  image 8 x 9, 1,200 of 1,200 rows have it",
        "note  text, 900 of 1,200 rows have it",
    ]
    assert lines[3].startswith(f"kept in {tmp_path} (1.2 MB)")


def test_a_series_of_differing_length_says_how_long_at_most(tmp_path):
    toy = toy_dataset(rows=4)
    series = Modality("series", np.zeros((4, 48, 3)), lengths=np.ones(4, dtype=np.int64))
    data = replace(toy, modalities={**toy.modalities, "a": series}, description="Toys.")
    lines = list(content_lines(data, tmp_path))
    assert lines[0] == "Toys."
    assert "series at most 48 x 3" in lines[1]


def test_classes_of_few_rows_are_numbered_and_not_named_where_people_read():
    target = np.array([0] * 30 + [1] * 9 + [2] * 10)
    data = made(target, ("common", "Jane Doe", "other", "nobody"), TargetKind.MULTICLASS)
    assert data.shown_outputs == ("common", "(class 1 of fewer than 10 rows)", "other", "nobody")
    assert "Doe" not in "\n".join(describe(data))
    assert binary(3).shown_outputs == ("y",)
