"""Pictures and reports by their published path."""

from __future__ import annotations

import zipfile

import pytest

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.studies.files import Files, study_path

NAME = "files/p10/p10000032/s50414267.txt"


def folder(path, content=b"of the folder", name=NAME):
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(content)
    return path


def archive(path, content=b"of the archive", name=NAME):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, content)
    return path


def test_a_study_has_its_published_path():
    assert f"{study_path(10000032, 50414267)}.txt" == NAME


def test_folders_come_before_the_archive_in_their_order(tmp_path):
    packed = archive(tmp_path / "reports.zip")
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two", b"second")
    with Files([one, two], packed) as files:
        assert files.read(NAME) == b"of the folder"
    with Files([two, one], packed) as files:
        assert files.read(NAME) == b"second"
    with Files([tmp_path / "nowhere"], packed) as files:
        assert files.read(NAME) == b"of the archive"
        assert files.read("files/p10/p10000032/s1.txt") is None


def test_whether_there_is_any_place_to_look(tmp_path):
    (tmp_path / "empty").mkdir()
    with (
        Files([tmp_path / "empty"], tmp_path / "none.zip") as nothing,
        Files([folder(tmp_path)], tmp_path / "x") as some,
    ):
        assert not nothing
        assert some


def test_a_damaged_archive_is_refused(tmp_path):
    (tmp_path / "reports.zip").write_bytes(archive(tmp_path / "whole.zip").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"reports\.zip: not a complete zip archive; download it again"):
        Files([], tmp_path / "reports.zip")


def test_a_damaged_member_is_an_error_of_reading_and_holds_nothing_of_it(tmp_path):
    packed = archive(tmp_path / "reports.zip", b"secret of a patient")
    packed.write_bytes(packed.read_bytes().replace(b"secret of", b"SECRET of", 1))
    with Files([], packed) as files, pytest.raises(OSError, match="damaged archive member: BadZipFile") as refused:
        files.read(NAME)
    assert "patient" not in str(refused.value)


def test_the_signature_follows_the_files_that_are_asked_for(tmp_path):
    root = folder(folder(tmp_path), name="files/other.txt")
    with Files([root], tmp_path / "none.zip") as files:
        before = files.signature([NAME])
        folder(root, b"changed and longer", "files/other.txt")
        assert files.signature([NAME]) == before
        folder(root, b"changed and longer")
        assert files.signature([NAME]) != before
