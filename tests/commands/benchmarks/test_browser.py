"""fusionbench open."""

from __future__ import annotations

import os

import pytest

from fusionbench.commands.benchmarks.browser import open_page, page_of
from fusionbench.errors import DataError


@pytest.fixture
def workspace(tmp_path):
    for number, name in enumerate(("old", "new")):
        folder = tmp_path / "reports" / name
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("x", encoding="utf-8")
        os.utime(folder / "report.html", (1000 + number, 1000 + number))
    return tmp_path


def test_the_last_page_or_the_one_that_is_named_is_opened(workspace, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open_new_tab", lambda address: opened.append(address) or True)
    assert list(open_page(workspace, None)) == [f"report: {workspace / 'reports' / 'new' / 'report.html'}"]
    assert page_of(workspace, "old").parent.name == "old"
    assert opened == [(workspace / "reports" / "new" / "report.html").as_uri()]


def test_without_a_browser_the_file_is_named(workspace, monkeypatch):
    monkeypatch.setattr("webbrowser.open_new_tab", lambda _: False)
    assert list(open_page(workspace, "old"))[1].startswith("no browser could be started here")


def test_what_is_not_there_is_said(workspace, tmp_path_factory):
    with pytest.raises(DataError, match=r"no page of 'nwe'; did you mean 'new'\?; there are new, old"):
        page_of(workspace, "nwe")
    with pytest.raises(DataError, match="no page yet; 'fusionbench run' makes one"):
        page_of(tmp_path_factory.mktemp("empty"), None)
