"""What is read is what was written, or it is said: one flipped bit, a cut, a swap, in every kind of file of a workspace."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from fusionbench.store.integrity import (
    HASHES,
    KEY,
    SEAL,
    Damaged,
    changed_files,
    compare_file,
    compared_tensors,
    forget,
    hash_of_file,
    hashes_of,
    sealed,
    unsealed,
    with_hash,
)

CONTENT = {"a": [1, 2.5, None], "key": "x", "b": {"c": "text"}}


def test_sealed_content_comes_back():
    assert unsealed("k", json.loads(json.dumps(sealed("k", CONTENT)))) == CONTENT


def test_what_an_earlier_version_wrote_is_taken_as_it_is():
    assert unsealed("k", CONTENT) == CONTENT


@pytest.mark.parametrize("content", [[], None, 3, "text"])
def test_what_is_no_mapping_is_damaged(content):
    with pytest.raises(Damaged):
        unsealed("k", content)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(a=[1, 2.5, 0]),
        lambda c: c.update(more=1),
        lambda c: c.pop("b"),
        lambda c: c.pop(SEAL),
        lambda c: c.update({KEY: "other"}),
        lambda c: c.pop(KEY),
    ],
)
def test_a_change_of_sealed_content_is_found(change):
    content = sealed("k", CONTENT)
    change(content)
    with pytest.raises(Damaged):
        unsealed("k", content)


def test_every_flipped_bit_of_a_sealed_text_is_found_or_changes_nothing():
    text = json.dumps(sealed("k", CONTENT)).encode()
    for i in range(len(text)):
        for bit in range(8):
            flipped = bytearray(text)
            flipped[i] ^= 1 << bit
            try:
                found = unsealed("k", json.loads(bytes(flipped)))
            except (ValueError, Damaged):
                continue
            assert found == CONTENT


def tensors(key: str = "k") -> bytes:
    held = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.ones(2, np.float32)}
    return with_hash(key, save(held, metadata={"record": "{}"}))


def test_every_flipped_bit_of_a_file_of_tensors_is_found_or_changes_nothing():
    whole = tensors()
    assert compared_tensors("k", whole)["record"] == "{}"
    for i in range(len(whole)):
        flipped = bytearray(whole)
        flipped[i] ^= 1 << i % 8
        try:
            compared_tensors("k", bytes(flipped))
            found = load(bytes(flipped))
        except Exception:  # noqa: BLE001 - which of the two finds it does not matter here
            continue
        assert all((found[n] == v).all() for n, v in load(whole).items())


def test_equal_tensors_give_equal_bytes_that_the_library_reads():
    assert len({tensors() for _ in range(20)}) == 1
    assert load(tensors())["x"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_cut_file_a_swapped_one_and_one_without_its_hash_are_found():
    said = {KEY: "k"}
    for content in (tensors()[:-1], tensors("other"), save({"x": np.zeros(1)}, metadata=said), b"", b"\xff" * 9):
        with pytest.raises(Damaged):
            compared_tensors("k", content)


def test_tensors_of_an_earlier_version_have_no_hash_and_are_taken():
    assert compared_tensors("k", save({"x": np.zeros(1)}, metadata={"record": "{}"})) == {"record": "{}"}
    assert compared_tensors("k", save({"x": np.zeros(1)})) == {}


def test_a_large_file_is_hashed_once_for_a_process_and_again_when_it_was_written(tmp_path, monkeypatch):
    path, hashed = tmp_path / "large", []
    path.write_bytes(b"content")
    right = hash_of_file(path)
    monkeypatch.setattr(
        "fusionbench.store.integrity.hash_of_file", lambda p: hashed.append(p.name) or right[: len(hashed) * 64]
    )
    compare_file(path, right)
    compare_file(path, right)
    assert len(hashed) == 1
    forget()
    compare_file(path, right)
    assert len(hashed) == 2
    path.write_bytes(b"other content")
    monkeypatch.undo()
    with pytest.raises(Damaged, match="large: its content is not what was written"):
        compare_file(path, right)


def test_a_folder_knows_which_of_its_files_changed(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    assert changed_files(tmp_path) == []
    (tmp_path / HASHES).write_bytes(hashes_of(tmp_path, ["a", "b", "c"]))
    assert changed_files(tmp_path) == []
    (tmp_path / "b").write_bytes(b"B")
    (tmp_path / "c").unlink()
    assert changed_files(tmp_path) == ["b", "c"]
    (tmp_path / HASHES).write_bytes(b"[]")
    assert changed_files(tmp_path) == [HASHES]
