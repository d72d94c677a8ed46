"""Measured tables come into the page between their marks, and the demo's leaderboards are compared as they are printed."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "performance"
TEXT = "before\n<!-- measured: training -->\nold\n<!-- end -->\nbetween\n<!-- measured: demo -->\nkept\n<!-- end -->\n"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import demo
    import page

    return page, demo


def test_a_table_that_was_measured_takes_the_place_of_the_old_one(scripts, tmp_path):
    page, _ = scripts
    (tmp_path / "training.csv").write_text("strategy,against naive\nconcat,7.5\n", encoding="utf-8")
    text, done = page.with_tables(TEXT, tmp_path)
    assert done == ["training"]
    assert "| concat | 7.5 |" in text
    assert "old" not in text
    assert "kept" in text
    assert page.with_tables(text, tmp_path)[0] == text


def test_the_page_has_the_marks(scripts):
    page, _ = scripts
    text = (page.DOCS / "performance.md").read_text(encoding="utf-8")
    assert "<!-- measured: training -->" in text
    assert text.count("<!-- measured:") == text.count("<!-- end -->")


def leaderboard(folder, area, seconds):
    path = folder / "reports" / "mimic_ihm"
    path.mkdir(parents=True)
    text = f"strategy,imputer,area,seconds\nconcat,zero,{area},{seconds}\n"
    (path / "leaderboard.csv").write_text(text, encoding="utf-8")
    return folder


def test_leaderboards_differ_in_what_is_printed_and_not_in_time(scripts, tmp_path):
    _, demo = scripts
    first = leaderboard(tmp_path / "a", 0.83211, 1.0)
    assert demo.differences(first, leaderboard(tmp_path / "b", 0.83249, 9.0)) == []
    found = demo.differences(first, leaderboard(tmp_path / "c", 0.8336, 1.0))
    assert found == ["concat / zero: area is 0.832 and 0.834"]
