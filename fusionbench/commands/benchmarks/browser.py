"""``fusionbench open``: the page of a run in the browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from pathlib import Path

from fusionbench.errors import DataError, did_you_mean
from fusionbench.report.page import PAGE
from fusionbench.store.workspace import Workspace


def page_of(workspace: Path, name: str | None) -> Path:
    """Return the page of a benchmark, of all panels of a file, or of a paper; without a name the one that was written last.

    Raises:
        DataError: There is none, or none of this name.
    """
    reports = Workspace(workspace).reports
    pages = {path.parent.name: path for path in reports.glob(f"*/{PAGE}")}
    if not pages:
        raise DataError(f"{reports}: no page yet; 'fusionbench run' makes one, or name another --workspace")
    if name is None:
        return max(pages.values(), key=lambda path: path.stat().st_mtime)
    if name not in pages:
        raise DataError(
            f"{reports}: no page of '{name}'{did_you_mean(name, pages)}; there are {', '.join(sorted(pages))}"
        )
    return pages[name]


def open_page(workspace: Path, name: str | None) -> Iterator[str]:
    """Open a page in the browser, and say where it lies; without a browser only that.

    Raises:
        DataError: There is none.
    """
    page = page_of(workspace, name).resolve()
    yield f"report: {page}"
    if not webbrowser.open_new_tab(page.as_uri()):
        yield "no browser could be started here: open this file in one"
