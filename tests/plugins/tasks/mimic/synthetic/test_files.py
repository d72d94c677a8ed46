"""Tables and archives: the same content, the same bytes."""

from __future__ import annotations

import gzip
import zipfile

import pandas as pd

from fusionbench_plugins.tasks.mimic.synthetic.files import write_csv, write_zip

COLUMNS = {"a": [1, 2], "b": ["x", None]}


def test_a_table_is_read_back_and_its_folder_is_made(tmp_path):
    path = tmp_path / "hosp" / "t.csv.gz"
    assert write_csv(path, COLUMNS) == 2
    assert gzip.decompress(path.read_bytes()).decode() == "a,b\n1,x\n2,\n"


def test_texts_with_commas_are_put_in_quotation_marks(tmp_path):
    texts = ["one, two", 'a "b"', "plain"]
    write_csv(tmp_path / "t.csv.gz", {"text": texts}, quoted=True)
    assert pd.read_csv(tmp_path / "t.csv.gz")["text"].tolist() == texts


def test_neither_name_nor_time_enters_the_bytes(tmp_path):
    one, other = tmp_path / "one.csv.gz", tmp_path / "other.csv.gz"
    write_csv(one, COLUMNS)
    write_csv(other, COLUMNS)
    assert one.read_bytes() == other.read_bytes()
    for name in ("one.zip", "other.zip"):
        write_zip(tmp_path / name, {"b.txt": "second", "a.txt": "first"})
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()


def test_an_archive_keeps_the_given_order(tmp_path):
    write_zip(tmp_path / "z.zip", {"b.txt": "second", "a.txt": "Erster: ä"})
    with zipfile.ZipFile(tmp_path / "z.zip") as archive:
        assert archive.namelist() == ["b.txt", "a.txt"]
        assert archive.read("a.txt").decode() == "Erster: ä"
