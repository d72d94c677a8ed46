"""One modality's file: what is read, how it is joined, and when it does not fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.table.blocks import Block
from tests.plugins.tasks.table.folder import ROWS, frame, prepare, problems, write


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_are_joined_by_sample_whatever_their_order(tmp_path, suffix):
    folder = write(tmp_path, scan=None)
    draw = np.random.default_rng(1)
    table = pd.DataFrame(draw.normal(size=(ROWS, 2)).astype(np.float32), columns=["width", "depth"])
    table.insert(0, "sample_id", frame()["sample_id"])
    wanted = table[["width", "depth"]].to_numpy()
    shuffled = table[frame()["has_scan"] == 1].sample(frac=1, random_state=0)
    if suffix == "csv":
        shuffled.to_csv(folder / "scan.csv", index=False)
    else:
        shuffled.to_parquet(folder / "scan.parquet")
    data = prepare(folder)
    scan = data.modalities["scan"]
    assert scan.columns == ("width", "depth")
    has = data.available[:, 1]
    np.testing.assert_allclose(scan.values[has], wanted[has], rtol=1e-6)
    assert (scan.values[~has] == 0).all()


def test_a_table_without_samples_is_taken_in_row_order(tmp_path):
    folder = write(tmp_path, scan=None)
    values = np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2)
    pd.DataFrame(values, columns=["a", "b"]).to_csv(folder / "scan.csv", index=False)
    np.testing.assert_array_equal(prepare(folder).modalities["scan"].values[0::3], values[0::3])


def test_names_of_columns_lie_beside_an_array(tmp_path):
    folder = write(tmp_path)
    (folder / "scan_features.txt").write_text("a\nb\nc\n", encoding="utf-8")
    assert prepare(folder).modalities["scan"].columns == ("a", "b", "c")
    (folder / "scan_features.txt").write_text("a\nb\n", encoding="utf-8")
    assert "has 2 lines and scan.npy 3 columns" in problems(folder)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(ROWS), r"must hold numbers \[rows, columns\]"),
        (np.ones((ROWS, 2, 2)), "series and images are not for this task"),
        (np.full((ROWS, 2), "x"), "must hold numbers"),
    ],
)
def test_an_array_of_another_shape_is_refused(tmp_path, array, message):
    with pytest.raises(DataError, match=message):
        prepare(write(tmp_path, scan=array))


def test_pickled_and_broken_arrays_are_refused(tmp_path):
    folder = write(tmp_path, scan=np.array([{}] * ROWS, dtype=object))
    assert "without pickle" in problems(folder)
    (folder / "scan.npy").write_bytes(b"\x93NUMPY")
    assert "without pickle" in problems(folder)


def test_two_files_of_one_modality_are_refused(tmp_path):
    folder = write(tmp_path)
    pd.DataFrame({"a": np.ones(ROWS)}).to_csv(folder / "scan.csv", index=False)
    assert "there are scan.npy, scan.csv; leave one" in problems(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": "text"}, "columns with text where a number should be: a"),
        ({"sample_id": "s0"}, "59 rows repeat a sample_id, and 0 have one that the manifest lacks"),
        ({"sample_id": [f"t{i}" for i in range(ROWS)]}, "0 rows repeat a sample_id, and 60 have one"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, change, message):
    folder = write(tmp_path, scan=None)
    table = pd.DataFrame({"sample_id": frame()["sample_id"], "a": np.ones(ROWS)}).assign(**change)
    table.to_csv(folder / "scan.csv", index=False)
    assert message in problems(folder)


def test_a_file_that_is_no_parquet_is_refused_without_its_content(tmp_path):
    folder = write(tmp_path, scan=None)
    (folder / "scan.parquet").write_text("patient s3 died", encoding="utf-8")
    text = problems(folder)
    assert "cannot be read as parquet" in text
    assert "died" not in text


def test_a_row_that_says_nothing_is_silent_and_one_that_says_half_is_broken():
    nan, inf = float("nan"), float("inf")
    block = Block("scan", np.array([[1, 2], [nan, nan], [nan, 3], [inf, 4]], np.float32), ())
    assert block.silent.tolist() == [False, True, False, False]
    assert block.broken.tolist() == [[False, False], [False, False], [True, False], [True, False]]


@pytest.mark.parametrize(("count", "said"), [(2, "a, b"), (5, "a, b, c, d, e"), (7, "a, b, c, d, e and 2 more")])
def test_columns_are_named_the_first_five_of_them(count, said):
    assert Block("scan", np.zeros((1, 7), np.float32), tuple("abcdefg")).called(np.arange(count)) == said


def test_columns_without_names_are_numbered():
    assert Block("scan", np.zeros((1, 3), np.float32), ()).called(np.array([0, 2])) == "0, 2"
