"""Tables of a user as data frames."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusionbench.data.files.frames import BLANK, read_frame, unnamed
from fusionbench.errors import DataError


def refused(path) -> str:
    with pytest.raises(DataError) as caught:
        read_frame(path)
    return str(caught.value)


def parquet(folder, frame, **options):
    frame.to_parquet(folder / "t.parquet", **options)
    return folder / "t.parquet"


# ---------------------------------------------------------------- CSV


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,\n",
        'a,b\r\n"1,5",NA\r\n 2 ,None\r\n',
        "a,b\n007,1e5\ntrue,-0.0\n",
        "é,b\n北京,1\n",
        'a,b\n"x\ny",""\n',
    ],
)
def test_what_pandas_read_right_is_read_as_it_did(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    before = pd.read_csv(io.StringIO(text, newline=""), dtype=str, keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(read_frame(path), before)


def test_blank_lines_are_counted(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n\n3,4\n\n", encoding="utf-8")
    found = read_frame(tmp_path / "t.csv")
    assert (len(found), found.attrs[BLANK]) == (2, 1)


def test_files_that_are_not_there_or_folders_or_without_rows_are_sentences(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n", encoding="utf-8")
    (tmp_path / "folder.csv").mkdir()
    assert "no such file; did you mean 'table.csv'?" in refused(tmp_path / "tabel.csv")
    assert "is a folder" in refused(tmp_path / "folder.csv")
    assert "has no rows" in refused(tmp_path / "table.csv")
    assert "cannot be read" in refused(tmp_path / "a\0.csv") or "no such file" in refused(tmp_path / "a\0.csv")


# ---------------------------------------------------------------- Parquet


def test_a_named_index_is_a_column(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index(["s1", "s0"], name="sample_id"))
    found = read_frame(parquet(tmp_path, frame))
    assert found["sample_id"].tolist() == ["s1", "s0"]
    assert found.index.tolist() == [0, 1]


@pytest.mark.parametrize("index", [pd.RangeIndex(7, 9, name="sample_id"), pd.RangeIndex(1, -1, -1, name="sample_id")])
def test_a_named_range_is_a_column_although_parquet_keeps_none_for_it(tmp_path, index):
    found = read_frame(parquet(tmp_path, pd.DataFrame({"a": [1, 2]}, index=index)))
    assert found["sample_id"].tolist() == list(index)


def test_every_level_of_a_named_index_is_a_column(tmp_path):
    index = pd.MultiIndex.from_tuples([("p", 1), ("q", 2)], names=["patient", "visit"])
    assert set(read_frame(parquet(tmp_path, pd.DataFrame({"a": [1, 2]}, index=index)))) == {"a", "patient", "visit"}


@pytest.mark.parametrize(
    "index", [[1, 0], [0, 2], ["s0", "s1"], pd.RangeIndex(5, 7), pd.RangeIndex(0, 4, 2), pd.RangeIndex(1, -1, -1)]
)
def test_an_index_without_a_name_that_says_something_is_refused(tmp_path, index):
    assert "index without a name that is not 0, 1, 2" in refused(
        parquet(tmp_path, pd.DataFrame({"a": [1, 2]}, index=index))
    )


def test_beside_a_column_of_samples_an_index_says_nothing(tmp_path):
    frame = pd.DataFrame({"sample_id": ["x", "y"], "a": [1, 2]}, index=[5, 3])
    assert list(read_frame(parquet(tmp_path, frame))) == ["sample_id", "a"]


@pytest.mark.parametrize("index", [[0, 1], None])
def test_a_plain_index_is_no_column(tmp_path, index):
    assert list(read_frame(parquet(tmp_path, pd.DataFrame({"a": [1, 2]}, index=index)))) == ["a"]


def test_tables_that_pandas_did_not_write_are_read(tmp_path):
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", None]}), tmp_path / "t.parquet")
    found = read_frame(tmp_path / "t.parquet")
    assert found["a"].tolist() == [1, 2]
    assert found["b"].isna().tolist() == [False, True]


def test_folders_in_a_path_are_no_columns(tmp_path):
    folder = tmp_path / "site=3"
    folder.mkdir()
    assert list(read_frame(parquet(folder, pd.DataFrame({"a": [1]})))) == ["a"]


def test_text_that_is_not_utf8_is_refused_and_not_left_to_who_looks_at_it(tmp_path):
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 3], np.int32)), pa.py_buffer(b"\xed\xa0\x80")]
    )
    pq.write_table(pa.table({"a": bad}), tmp_path / "t.parquet")
    assert "cannot be read as parquet" in refused(tmp_path / "t.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 50 + b"PAR1", b"patient s3 died"])
def test_a_damaged_file_is_refused_without_its_content(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)
    said = refused(tmp_path / "t.parquet")
    assert "cannot be read as parquet" in said
    assert "died" not in said


def test_columns_that_repeat_are_refused_in_parquet_too(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "t.parquet")
    assert "1 names of columns occur more than once: a" in refused(tmp_path / "t.parquet")


def test_columns_without_a_name_are_known(tmp_path):
    (tmp_path / "t.csv").write_text(",a\n0,1\n", encoding="utf-8")
    assert unnamed(read_frame(tmp_path / "t.csv")) == ["Unnamed: 0"]
