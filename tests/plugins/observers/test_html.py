"""The observer that writes the report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from fusionbench_plugins.observers.html import Html, register_observers
from tests.builders import make_benchmark


def test_the_page_of_a_benchmark_lies_in_the_folder_of_its_name_and_is_among_the_files_of_the_run(
    tmp_path, monkeypatch
):
    asked = []

    def write(summary, folder, *, siunitx):
        asked.append((summary, folder, siunitx))
        return folder / "report.html"

    monkeypatch.setattr("fusionbench.report.page.write_report", write)
    summary = SimpleNamespace(files={"curves.csv": Path("curves.csv")})
    Html(make_benchmark(name="named"), tmp_path, siunitx=True).fusionbench_run_finished(summary)
    assert asked == [(summary, tmp_path / "reports" / "named", True)]
    assert summary.files == {
        "curves.csv": Path("curves.csv"),
        "report.html": tmp_path / "reports" / "named" / "report.html",
    }


def test_nothing_is_made_before_a_run_has_finished(tmp_path):
    Html(make_benchmark(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_is_found_by_its_name():
    found = {}
    register_observers(found.__setitem__)
    assert found == {"html": Html}
