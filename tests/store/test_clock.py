"""The time of a folder is that of its file system."""

from __future__ import annotations

import time

import pytest

from fusionbench.store.clock import clock_of


def test_it_is_the_file_systems_and_leaves_nothing(tmp_path, monkeypatch):
    before = time.time()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    found = clock_of(tmp_path)
    assert abs(found - before) < 60
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_has_none(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        clock_of(tmp_path / "nowhere")
