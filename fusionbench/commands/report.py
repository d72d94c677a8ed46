"""``fusionbench report``: the page from what is stored, without training anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fusionbench.errors import WorkspaceError
from fusionbench.progress import SilentProgress
from fusionbench.report import about
from fusionbench.report.page import write_report
from fusionbench.report.plain import plain_lines
from fusionbench.run.runner import Run
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    from fusionbench.config.sections import Benchmark
    from fusionbench.plan.parts import Resolved


def report_again(
    benchmark: Benchmark, resolved: Resolved, workspace: Path, hparams: bool, command: str
) -> Iterator[str]:
    """Write the report, and yield lines that say what is missing and where the page lies.

    Args:
        benchmark: The resolved configuration.
        resolved: Its plugins; observers that add sections to the report are asked for them.
        workspace: Folder of the run.
        hparams: Also yield the hyper-parameters that won.
        command: What trains what is missing.

    Raises:
        WorkspaceError: Nothing of this benchmark is stored.
    """
    if not Workspace(workspace).holds_results:  # before the data are prepared for nothing
        raise WorkspaceError(f"{workspace} holds no results; to make some: {command}")
    run = Run(benchmark, resolved, workspace, torch.device("cpu"), SilentProgress())
    run.prepare()
    if not run.plan.stored:
        raise WorkspaceError(
            f"{workspace}: no model of '{benchmark.name}' is stored for this configuration, these data and these "
            f"versions of the plugins; to train them: {command}"
        )
    built = [observer.build(benchmark, workspace) for observer in resolved.observers]
    summary = run.execute([o for o in built if hasattr(o, "fusionbench_report_sections")], limit=0)
    missing = about.missing(summary.plan, run.store)
    yield from (f"missing: {line}" for line in missing)
    if missing:
        yield f"to train what is missing: {command}"
    won = about.hyperparameters(summary.plan, run.store) if hparams else None
    if won is not None:
        yield from plain_lines(won)
    yield f"report: {write_report(summary, run.folders.report(benchmark.name))}"
