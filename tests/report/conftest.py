"""A run that is reported once for all tests of the report."""

from __future__ import annotations

import pytest

from fusionbench_plugins.observers.html import Html
from tests.builders import make_run, toy_dataset
from tests.report.reading import CHANGES, without_pictures


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run and its summary. Nobody changes them."""
    run = make_run(tmp_path_factory.mktemp("report"), toy_dataset(rows=200), **CHANGES)
    return run, run.execute()


@pytest.fixture(scope="session")
def summary(finished):
    return finished[1]


@pytest.fixture(scope="session")
def made(finished):
    """The same run with its report: the folder, the run, the summary."""
    run, _ = finished
    summary = run.execute([Html(run.benchmark, run.workspace)])
    return run.workspace / "reports" / "reported", run, summary


@pytest.fixture
def undrawn(monkeypatch):
    """No picture is drawn."""
    without_pictures(monkeypatch)
