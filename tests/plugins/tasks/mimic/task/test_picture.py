"""The picture of a tree: the same for the same counts, and one panel for each question."""

from __future__ import annotations

from tests.mimic_tree import small_tree
from tests.plugins.tasks.mimic.task.test_check import check


def test_equal_data_give_an_equal_picture(tmp_path):
    found = check(tmp_path, small_tree())
    assert found.draw is not None
    for name in ("a.svg", "b.svg"):
        found.draw([tmp_path / name])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
