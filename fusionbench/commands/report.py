"""``fusionbench report``: the page from what is stored, without training anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fusionbench.commands.opening import Opened, command
from fusionbench.errors import FusionBenchError, WorkspaceError
from fusionbench.plugins.resolving import resolve
from fusionbench.progress import SilentProgress
from fusionbench.report import about
from fusionbench.report.page import write_report
from fusionbench.report.plain import plain_lines
from fusionbench.report.suite import write_suite
from fusionbench.run.runner import Run
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    from fusionbench.config.sections import Benchmark
    from fusionbench.plan.parts import Resolved


def report_file(opened: Opened, workspace: Path, hparams: bool, words: Sequence[str]) -> Iterator[str]:
    """Write the report of a benchmark file, of every panel of it, and the page of all; see :func:`report_again`.

    Args:
        opened: The file.
        workspace: Folder of the run.
        hparams: Also yield the hyper-parameters that won.
        words: The command that trains what is missing.

    Raises:
        WorkspaceError: Nothing of this file is stored.
    """
    suite, made, refused = opened.suite, 0, list[str]()
    for name, (benchmark, places) in opened.panels.items():
        again = command([*words, *(["--panel", name] if name else [])])
        lines = report_again(benchmark, resolve(benchmark, opened.plugins, places.at), workspace, hparams, again)
        try:
            yield from (f"{name}: {line}" if name else line for line in lines)
            made += 1
        except FusionBenchError as problem:
            if not name:
                raise
            refused.append(f"{name}: {problem}")
    if refused and not made:
        raise WorkspaceError("\n".join(refused))
    yield from refused
    if suite.panels and (page := write_suite(suite, {n: b for n, (b, _) in opened.panels.items()}, workspace)):
        yield f"all panels on one page: {page}"


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
    siunitx = any(choice.options.get("siunitx") is True for choice in benchmark.observers)
    folder = run.folders.report(benchmark.name)
    yield f"report: {write_report(summary, folder, siunitx=siunitx)}"
