"""Run the benchmark files of a paper in the paper's order, and leave one page; what is stored is not trained again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fusionbench.commands.opening import given_words, open_file
from fusionbench.commands.running import INTERRUPTED, Asked, run_file
from fusionbench.config.extending import read_lineage
from fusionbench.contract.registration import hookimpl
from fusionbench.errors import ConfigError, FusionBenchError, did_you_mean
from fusionbench.plan.estimates import Estimate
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.papers import paper_called
from fusionbench.report.papers.page import FileRun, write_paper
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    from fusionbench.contract.papers import Paper
    from fusionbench.records import Display, RunSummary

QUICK: Final = (
    "splits.folds=2",
    "splits.seeds=[0]",
    "training.epochs=8",
    "tuning.trials=0",
    "evaluation.resamples=200",
    "robustness=[]",
    "observers=[files, html]",
)
"""What ``--quick`` changes in every file."""


@dataclass(frozen=True)
class Wanted:
    """What the user asked of ``reproduce``.

    Args:
        paper: Name of the paper's plugin.
        workspace: Folder of results and reports.
        parts: Patterns of the parts to run (``table*``); none: all.
        quick: Shorten every run.
        dry_run: Print the plans and how long they take; train nothing.
        device: As for ``run``.
        quiet: Results only.
        assignments: From ``--set``, for every file.
        plugin: Files and modules of plugins.
        no_plugin: What is left out.
    """

    paper: str
    workspace: Path
    parts: Sequence[str] = ()
    quick: bool = False
    dry_run: bool = False
    device: str = "auto"
    quiet: bool = False
    assignments: Sequence[str] = ()
    plugin: Sequence[str] = ()
    no_plugin: Sequence[str] = ()


@dataclass
class Reproduced:
    """How a reproduction ended.

    Args:
        runs: By name of a file.
        page: Of the paper; None: a dry run.
        code: Exit code: the worst of all files.
        seconds: What it took.
        estimate: Of a dry run.
    """

    runs: Mapping[str, FileRun]
    page: Path | None
    code: int
    seconds: float
    estimate: Estimate = field(default_factory=lambda: Estimate(0.0, {}))


class _Collector:
    """Keeps the summary of every run."""

    def __init__(self, run: FileRun) -> None:
        self._run = run

    @hookimpl
    def fusionbench_run_finished(self, summary: RunSummary) -> None:
        """Keep it."""
        self._run.summaries.append(summary)


def reproduce(wanted: Wanted, display: Display) -> Reproduced:
    """Run the files of a paper, one after the other, and write its page after each.

    Raises:
        ConfigError: Nobody offers the paper, it has no files, or no part has such a name.
    """
    paper = paper_called(wanted.paper, Plugins(wanted.plugin, wanted.no_plugin).require_extra())
    names, start = _files(paper, wanted), time.perf_counter()
    runs: dict[str, FileRun] = {}
    estimates: list[Estimate] = []
    page: Path | None = None
    for number, name in enumerate(names, 1):
        display.progress.note(f"{paper.title}, file {number} of {len(names)}: {name}")
        runs[name] = _run(paper, name, wanted, display, estimates)
        if not wanted.dry_run:
            page = write_paper(paper, runs, page_folder(wanted), quick=wanted.quick)
        if runs[name].code == INTERRUPTED:
            break
    total = Estimate(sum(e.seconds for e in estimates), {k: v for e in estimates for k, v in e.failures.items()})
    return Reproduced(runs, page, max(run.code for run in runs.values()), time.perf_counter() - start, total)


def page_folder(wanted: Wanted) -> Path:
    """Return where the page of a paper goes."""
    return Workspace(wanted.workspace).report(f"paper_{wanted.paper}{'_quick' if wanted.quick else ''}")


def _files(paper: Paper, wanted: Wanted) -> list[str]:
    """Names of the files to run, each once, in the paper's order."""
    asked = [p for p in paper.parts if not wanted.parts or any(fnmatchcase(p.name, w) for w in wanted.parts)]
    known = [part.name for part in paper.parts]
    if not asked and wanted.parts:
        first = wanted.parts[0]
        raise ConfigError(f"--part {first}: no such part{did_you_mean(first, known)}\n  parts: {', '.join(known)}")
    names = list(dict.fromkeys(name for part in asked for name in part.files))
    if not names or paper.folder is None:
        raise ConfigError(f"paper '{wanted.paper}' has no benchmark files: nothing can be run for it")
    return names


def _run(paper: Paper, name: str, wanted: Wanted, display: Display, estimates: list[Estimate]) -> FileRun:
    """Run one file; what is wrong with it costs this file, and no other."""
    assert paper.folder is not None
    path, run = paper.folder / name, FileRun(name)
    assignments = [*(QUICK if wanted.quick else ()), *wanted.assignments]
    try:
        if wanted.quick:
            assignments.insert(0, f"name={_name_of(path)}_quick")
        opened = open_file(path, assignments, [*wanted.plugin], [*wanted.no_plugin])
        words = ["run", str(path), *given_words(wanted.plugin, assignments, wanted.no_plugin)]
        asked = Asked(
            path,
            words,
            wanted.workspace,
            wanted.device,
            wanted.dry_run,
            plugin=wanted.plugin,
            no_plugin=wanted.no_plugin,
            no_robustness=True,
            quiet=wanted.quiet,
            observers=[_Collector(run)],
            estimates=estimates,
        )
        run.code = run_file(opened, asked, display)
        if run.code == INTERRUPTED:
            run.reason = "interrupted; the same command goes on where it stopped"
    except FusionBenchError as problem:
        run.code, run.reason = problem.exit_code, str(problem)
        display.progress.note(f"{name} could not be run: {problem}")
    return run


def _name_of(path: Path) -> str:
    return str(read_lineage(path).files[-1].document.get("name", path.stem))


def said_of(done: Reproduced, wanted: Wanted) -> list[str]:
    """Return what to print at the end."""
    if wanted.dry_run:
        hours, minutes = divmod(round(done.estimate.seconds / 60), 60)
        time_ = f"{hours} h {minutes} min" if hours else f"{max(minutes, 1)} min"
        lost = [f"could not be timed: {label}" for label in done.estimate.failures]
        return [f"all files of {wanted.paper}: about {time_} of training at most, on this device as it is now", *lost]
    failed = [f"{run.name}: {run.reason.splitlines()[0]}" for run in done.runs.values() if run.reason]
    whole = f"{len(done.runs)} files in {done.seconds / 60:.1f} min"
    return [*(f"not run: {f}" for f in failed), f"{wanted.paper}: {whole}", f"page: {done.page}"]
