"""The report: one HTML page that opens without a network, with LaTeX tables and pictures beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fusionbench import hookimpl
from fusionbench.config.sections import Benchmark
from fusionbench.hookspecs import Register
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    from fusionbench.records import RunSummary


class Html:
    """Writes ``reports/<benchmark>/report.html`` in the workspace when a run ends.

    Args:
        config: The resolved configuration.
        workspace: Folder of the run.
        siunitx: Align columns of numbers in the LaTeX tables by the package siunitx.
    """

    def __init__(self, config: Benchmark, workspace: Path, siunitx: bool = False) -> None:
        self.siunitx = siunitx
        self.folder = Workspace(workspace).report(config.name)

    @hookimpl
    def fusionbench_run_finished(self, summary: RunSummary) -> None:
        """Write the page, unless it is there and nothing has changed."""
        from fusionbench.report.page import write_report

        summary.files["report.html"] = write_report(summary, self.folder, siunitx=self.siunitx)


@hookimpl
def register_observers(register: Register) -> None:
    """Register ``html``."""
    register("html", Html)
