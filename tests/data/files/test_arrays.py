"""Arrays that a user brings: what is no array of numbers is a sentence, before it is loaded."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest

from fusionbench.data.files.arrays import load_array
from fusionbench.errors import DataError


def header(shape: str, descr: str = "<f4") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + len(text + "\n").to_bytes(2, "little") + text.encode() + b"\n"


def archive(cut: int = 0) -> bytes:
    made = io.BytesIO()
    np.savez(made, a=np.ones((3, 2)))
    return made.getvalue()[: -cut or None]


def refused(folder, content: bytes) -> str:
    path = folder / "a.npy"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_array(path, "a.npy")
    return str(caught.value)


@pytest.mark.parametrize(
    "values",
    [np.ones((3, 2)), np.arange(4, dtype=">i2"), np.zeros((0, 3)), np.asfortranarray(np.eye(3)), np.float64(3)],
)
def test_what_numpy_saves_is_read(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(load_array(tmp_path / "a.npy", "a"), values)


@pytest.mark.parametrize("content", [archive(), archive(cut=40), b"PK\x05\x06"])
def test_archives_whole_and_cut_are_named(tmp_path, content):
    assert "is an archive (.npz, or another zip)" in refused(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        header("(1000000000000000, 4)") + b"\0" * 16,
        header("(10, 4)") + b"\0" * 100,
        header("(2, 2)") + b"\0" * 17,
        header("(-1, 4)") + b"\0" * 16,
        header("(99999999999999999999999999,)"),
    ],
)
def test_headers_that_promise_something_else_than_what_follows_are_refused_before_memory_is_taken(tmp_path, content):
    assert "its header promises" in refused(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00" + b"\0" * 40,
        header("((((", "<f4"),
        header("(2, 'a')"),
        header("(2,)", "no type"),
        header("[2]"),
        pickle.dumps([1, 2]),
        b"0.1,0.2\n0.3,0.4\n",
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
)
def test_what_is_no_array_is_refused_with_what_to_do(tmp_path, content):
    assert "save numbers with numpy.save" in refused(tmp_path, content)


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}, 1], dtype=object))
    assert "holds pickled objects" in refused(tmp_path, (tmp_path / "o.npy").read_bytes())


def test_a_missing_file_is_left_to_who_knows_what_it_was_for(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_array(tmp_path / "none.npy", "a")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(DataError, match="without pickle"):
        load_array(tmp_path / "folder.npy", "a")
