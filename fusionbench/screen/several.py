"""What a person sees of several panels: where one begins, what was expected, how all of them ended; and of several workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.markup import escape
from rich.table import Table as RichTable

from fusionbench.screen.words import duration, planned_models_of_trials, planned_trials, size

if TYPE_CHECKING:
    from rich.console import Console

    from fusionbench.config.sections import Benchmark
    from fusionbench.plan.estimates import Estimate, Outlook
    from fusionbench.records import Expected, PanelOutcome, RunPlan

STYLES: Final = {"held": "green", "failed": "bold red", "not shown": "yellow"}
ENDS: Final = {0: "done", 1: "some models failed", 2: "could not be run", 130: "interrupted"}


def print_panel(console: Console, benchmark: Benchmark, number: int, of: int) -> None:
    """Say that a panel begins."""
    console.print()
    console.rule(f"{number} of {of}: {escape(benchmark.title or benchmark.name)}", align="left")
    if benchmark.question:
        console.print(benchmark.question, highlight=False, markup=False)


def print_expected(console: Console, expectations: Sequence[Expected]) -> None:
    """Print what became of each expectation, and the numbers."""
    for expected in expectations:
        verdict = f"[{STYLES[expected.verdict]}]{expected.verdict}[/]"
        console.print(f"expected: {escape(expected.says)}: {verdict}", highlight=False, soft_wrap=True)
        for line in expected.numbers:
            console.print(f"  {line}", style="dim", highlight=False, markup=False, soft_wrap=True)


def print_placed(console: Console, outlook: Outlook) -> None:
    """Say what an executor is going to do."""
    if not outlook.units:
        console.print("nothing is left to be done elsewhere", highlight=False)
        return
    hours = outlook.seconds / 3600
    console.print(
        f"{outlook.where}: {outlook.units:,} units, {outlook.places} at a time; at most about {hours:.2g} hours of one such "
        f"device as this machine has, {duration(outlook.elapsed)} by the clock where each place is as fast (the largest "
        f"unit alone: {duration(outlook.longest)})\n"
        f"each worker needs {size(outlook.memory)} of memory for the prepared data, beside what torch and training take; "
        f"the workspace grows by about {size(outlook.disk)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def print_all_planned(console: Console, plans: Sequence[RunPlan], estimate: Estimate) -> None:
    """Say what all panels come to."""
    models, cells = sum(len(p.to_train) for p in plans), sum(p.cells for p in plans)
    trials, stored = sum(map(planned_trials, plans)), sum(p.cells_stored for p in plans)
    trained = sum(map(planned_models_of_trials, plans))
    several = f" (with inner folds {trained:,} models)" if trained > trials else ""
    console.print()
    console.print(
        f"all {len(plans)} panels: {cells:,} cells, {stored:,} stored; {models:,} models and "
        f"{trials:,} tuning trials{several} to do, at most about {duration(estimate.seconds)}",
        highlight=False,
        soft_wrap=True,
    )


def print_panels(console: Console, outcomes: Sequence[PanelOutcome], page: Path | None, seconds: float) -> None:
    """Print how all panels ended, and where the page of all lies."""
    from fusionbench.analysis.words import counted  # numpy and torch stand behind it

    table = RichTable(title=f"{counted(len(outcomes), 'panel')} in {duration(seconds)}", title_justify="left")
    for column in ("panel", "ended", "expected", "result"):
        table.add_column(column, overflow="fold")
    for outcome in outcomes:
        first = (escape(outcome.name), escape(outcome.reason or ENDS.get(outcome.code, f"code {outcome.code}")))
        rows = [(escape(e.says), f"[{STYLES[e.verdict]}]{e.verdict}[/]") for e in outcome.expectations] or [("-", "-")]
        for i, row in enumerate(rows):
            table.add_row(*(first if i == 0 else ("", "")), *row)
    console.print()
    console.print(table)
    if page is not None:
        console.print(f"all panels on one page: {page}", highlight=False, markup=False, soft_wrap=True)
