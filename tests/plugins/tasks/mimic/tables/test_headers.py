"""The first line of a table: columns in any order and spelling, and what the file is instead of a table."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import pytest

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.tables.headers import match, read_header

COLUMNS = {"subject_id": "BIGINT", "race": "VARCHAR"}
TEXT = b"subject_id,race\n1,x\n"


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("patients.csv", TEXT)
    return buffer.getvalue()


OTHER_FILES = {
    "patients.csv.gz is not compressed; rename it to patients.csv": ("patients.csv.gz", TEXT),
    "is compressed, and its name does not say so; rename it to patients.csv.gz": ("patients.csv", gzip.compress(TEXT)),
    "is a zip archive": ("patients.csv.gz", zipped()),
    "is a zip archive; unpack it": ("patients.csv", zipped()),
    "is compressed with bzip2": ("patients.csv", bz2.compress(TEXT)),
    "is compressed with xz": ("patients.csv.gz", lzma.compress(TEXT)),
    "is a Git-LFS pointer": ("patients.csv.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    "Git-LFS pointer": ("patients.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    "is a web page": ("patients.csv.gz", b"<!doctype html>\n<html>"),
    "a web page": ("patients.csv.gz", gzip.compress(b"<html><body>Log in")),
    "is UTF-16 text": ("patients.csv", TEXT.decode().encode("utf-16")),
    "is a Parquet file": ("patients.csv", b"PAR1\x15\x04"),
}


@pytest.mark.parametrize("said", OTHER_FILES)
def test_what_a_file_is_instead_of_a_table_is_said(tmp_path, said):
    name, content = OTHER_FILES[said]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_header(tmp_path / name)
    message = str(caught.value)
    for part in said.removeprefix(f"{name} ").split("; "):
        assert part in message
    assert "download" not in message or "web page" in message


@pytest.mark.parametrize("length", [12, 10])
def test_a_file_that_was_cut_short_is_to_be_downloaded_again(tmp_path, length):
    (tmp_path / "patients.csv.gz").write_bytes(gzip.compress(TEXT)[:length])
    with pytest.raises(DataError, match=r"the header cannot be read .* download the file again"):
        read_header(tmp_path / "patients.csv.gz")


@pytest.mark.parametrize(
    "header",
    [["SUBJECT_ID", "RACE"], [" subject_id", "Race "], ["x", "ethnicity", "Subject_Id"], ["", "subject_id", "race"]],
)
def test_large_letters_blanks_and_further_columns_do_not_matter(header):
    found = match(header, COLUMNS)
    assert found.problems == []
    assert sorted(found.renamed.get(name, name) for name in found.types) == ["race", "subject_id"]


def test_missing_and_repeated_columns_are_all_named():
    assert match(["x"], COLUMNS).problems == ["has no column subject_id", "has no column race or ethnicity"]
    assert match(["race", "Race", "subject_id"], COLUMNS).problems == ["has column race 2 times"]


@pytest.mark.parametrize(("mark", "called"), [(";", "';'"), ("\t", "tabs"), ("|", r"'\|'")])
def test_other_separators_are_one_problem_and_not_one_for_each_column(mark, called):
    (problem,) = match([f"subject_id{mark}race"], COLUMNS).problems
    assert problem.startswith(f"has its columns separated by {called}".replace("\\", ""))
