"""What a person sees while a run goes on, and at its end."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from fusionbench.config.sections import SYNTHETIC
from fusionbench.errors import DataError, FusionBenchError, without_secrets
from fusionbench.progress import Progress, SilentProgress
from fusionbench.screen.bars import PlainProgress, RichProgress
from fusionbench.screen.meter import Standing
from fusionbench.screen.several import print_all_planned, print_expected, print_panel, print_panels, print_placed
from fusionbench.screen.words import duration, tuning_words

if TYPE_CHECKING:
    from fusionbench.analysis.columns import Column
    from fusionbench.config.sections import Benchmark
    from fusionbench.plan.estimates import Estimate, Outlook
    from fusionbench.records import Display, PanelOutcome, RunPlan, RunSummary, Worked

INTERRUPTED = 130  # exit code
ENDED = "ended before it was done"
INTERRUPTION = "interrupted; the same command goes on where it stopped"
COLUMNS_KEPT = 4  # of the leaderboard, at any width: tie, strategy, imputer, area with its interval


def progress_for(console: Console, quiet: bool, standing: Standing | None = None) -> Progress:
    """Return the display that fits: none, bars on a terminal, lines elsewhere."""
    if quiet:
        return SilentProgress()
    # a dumb terminal cannot draw over what it has written
    live = console.is_terminal and not console.is_dumb_terminal
    return RichProgress(console, standing) if live else PlainProgress(console, standing)


def make_console() -> Console:
    """Return a console on standard output; wide enough for tables where the output is not a terminal."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the encoding does not have must not end a run
    # this stream whatever happens to sys.stdout later: what plugins print in training is led elsewhere
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140)


# --------------------------------------------------------------------------------------------
# a whole run, for people or for programs


class People:
    """Bars or lines, tables, and what to type next.

    Args:
        quiet: Show the results only.
        plugins: The plugin files and modules that were named, for the command that comes next.
    """

    def __init__(self, quiet: bool, plugins: Sequence[str] = ()) -> None:
        self._console, self._plugins = make_console(), plugins
        standing = Standing()
        self.progress = progress_for(self._console, quiet, standing)
        self.observers: list[Any] = [standing]
        self._of_several = False
        self._last: RunSummary | None = None

    def panel(self, benchmark: Benchmark, number: int, of: int) -> None:
        """Print the name of a panel that begins."""
        self._of_several = True
        print_panel(self._console, benchmark, number, of)

    def begin(self, benchmark: Benchmark) -> None:
        """Print that a demo shows no patients, before anything is read."""
        if benchmark.is_demo:
            _ribbons(self._console, (SYNTHETIC,))

    def plan(self, plan: RunPlan) -> None:
        """Print the plan."""
        print_plan(self._console, plan)

    def estimate(self, estimate: Estimate) -> None:
        """Print the estimate."""
        print_estimate(self._console, estimate)

    def placed(self, outlook: Outlook) -> None:
        """Print what an executor is going to do."""
        print_placed(self._console, outlook)

    def summary(self, summary: RunSummary) -> None:
        """Print the leaderboard, failures and files."""
        self._last = summary
        print_summary(self._console, summary, self._plugins, following=not self._of_several)

    def all_planned(self, plans: Sequence[RunPlan], estimate: Estimate) -> None:
        """Print what all panels come to."""
        print_all_planned(self._console, plans, estimate)

    def panels(self, outcomes: Sequence[PanelOutcome], page: Path | None, seconds: float) -> None:
        """Print how all panels ended."""
        print_panels(self._console, outcomes, page, seconds)
        if self._last is not None and (following := dashboard_command(self._last)):
            self._console.print(f"next: {following}", highlight=False, markup=False, soft_wrap=True)

    def share(self, share: str, worked: Worked, following: str) -> None:
        """Print what one share of a run did."""
        if worked.failures:
            self._console.print(_failures([*worked.failures.values()]))
        state = INTERRUPTION if worked.interrupted else "done"
        line = f"share {share} {state}: {len(worked.trained)} models trained; `{following}` makes the tables when all shares are"
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def ended(self, code: int, reason: str = "") -> None:
        """Print the reason of an interruption; errors are printed for every command alike."""
        if code == INTERRUPTED:
            self._console.print(reason)


@contextmanager
def said_when_stopped(display: Display) -> Iterator[None]:
    """Tell the display of an error or an interruption that ends the block, and pass it on."""
    try:
        yield
    except FusionBenchError as problem:
        display.ended(problem.exit_code, str(problem))
        raise
    except KeyboardInterrupt:
        display.ended(INTERRUPTED, INTERRUPTION)
        raise typer.Exit(INTERRUPTED) from None
    except SystemExit:
        display.ended(1, ENDED)
        raise


# --------------------------------------------------------------------------------------------
# plan and results


def print_plan(console: Console, plan: RunPlan) -> None:
    """Say what the data are and what will be done."""
    _ribbons(console, plan.ribbons)
    data = plan.dataset
    have = ", ".join(f"{n} {int(data.available[:, i].sum()):,}" for i, n in enumerate(data.modalities))
    console.print(f"{len(data):,} samples; with {have}", highlight=False)
    todo = sum(len(f.points) for f in plan.todo if not f.untuned)
    train = plan.to_train
    again = f", {len(plan.kept):,} trained models to score again" if plan.kept else ""
    console.print(
        f"{plan.cells:,} cells ({len(plan.arms)} arms x {len(plan.folds)} folds x {len(plan.benchmark.splits.seeds)} seeds, "
        f"{len(plan.conditions)} conditions): {plan.cells_stored:,} stored, {todo:,} to do = "
        f"{len(train):,} models, {tuning_words(plan)}{again}",
        highlight=False,
    )
    for name, other in plan.robustness.items():
        console.print(
            f"robustness '{name}': {other.cells:,} cells: {other.cells_stored:,} stored; {len(other.to_train):,} models, "
            f"{tuning_words(other)} (--no-robustness leaves it out)",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    for note in (*plan.arithmetic.notes, *plan.protocol):
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def print_estimate(console: Console, estimate: Estimate) -> None:
    """Say how long training takes at most; nothing where there is nothing to train."""
    if estimate.failures:
        console.print(_failures([*estimate.failures.items()], "could not be timed"))
    if estimate.seconds > 0:
        console.print(
            f"training takes at most about {duration(estimate.seconds)} on this device as it is now (two epochs of each "
            "arm were timed); models that stop early make it less, scoring is not in it",
            highlight=False,
            soft_wrap=True,
        )


def print_summary(
    console: Console, summary: RunSummary, plugins: Sequence[str] = (), *, following: bool = True
) -> None:
    """Print the leaderboard, what failed, where everything lies, and what to type next."""
    _ribbons(console, summary.plan.ribbons)
    _print_answer(console, summary)
    if len(summary.tables.leaderboard):
        _print_leaderboard(console, summary)
        _legend(console, summary)
    print_expected(console, summary.expectations)
    if summary.failures:
        console.print(_failures(summary.failures))
    for folder, names in files_by_folder(summary.files).items():
        console.print(f"files in {folder}:", highlight=False, markup=False, soft_wrap=True)
        console.print(Padding(Text(", ".join(names)), (0, 0, 0, 2)))
    for page in (path for path in summary.files.values() if path.suffix == ".html"):
        console.print(f"report: {page}", highlight=False, markup=False, soft_wrap=True)
    state = INTERRUPTION if summary.interrupted else "done"
    took = f"{duration(summary.seconds)} ({duration(summary.processor)} of processors)"
    console.print(f"{state}: {summary.trained} models trained in {took}", highlight=False)
    for line in next_commands(summary, plugins) if following else ():
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_answer(console: Console, summary: RunSummary) -> None:
    """The question and three sentences, before any number."""
    if summary.answer is None:
        return
    console.print(summary.answer.question, style="bold", highlight=False, markup=False)
    for sentence in summary.answer.sentences:
        console.print(Padding(Text(f"* {sentence}"), (0, 0, 0, 2)))
    console.print()


def files_by_folder(files: Mapping[str, Path]) -> dict[Path, list[str]]:
    """Return the names of what was written, by folder; what a file is called where that is another name."""
    folders: dict[Path, list[str]] = {}
    for name, path in files.items():
        folders.setdefault(path.parent, []).append(path.name if path.name == name else f"{name} ({path.name})")
    return folders


def next_commands(summary: RunSummary, plugins: Sequence[str] = ()) -> list[str]:
    """Return what can be done now, one command a line; nothing after an interruption."""
    plan, found = summary.plan, []
    if summary.interrupted:
        return []
    if following := dashboard_command(summary):
        found.append(following)
    folder = plan.folders.report(plan.benchmark.name)
    before = earlier_run(folder)
    if before is not None:
        given = [word for plugin in plugins for word in ("-p", plugin)]
        found.append(shlex.join(["fusionbench", "compare", str(before), str(folder), *given]))
    return [f"{'next' if i == 0 else '  or'}: {command}" for i, command in enumerate(found)]


def dashboard_command(summary: RunSummary) -> str:
    """Return how to look at the tracked curves; empty: nothing is tracked, or the run was interrupted."""
    plan = summary.plan
    if summary.interrupted or not any(o.name == "mlflow" for o in plan.benchmark.observers):
        return ""
    uri = plan.benchmark.tracking.uri
    dashboard = shlex.join(["fusionbench", "dashboard", "--workspace", str(plan.workspace)])
    return dashboard if uri is None else f"open {without_secrets(uri)}"


def earlier_run(folder: Path) -> Path | None:
    """Return the latest report folder beside one that can be compared with it: same task, same metric; None: there is none."""
    from fusionbench.report.record import NAME

    records = sorted(folder.parent.glob(f"*/{NAME}"), key=lambda path: path.stat().st_mtime, reverse=True)
    ranked = {path.parent: _ranked(path.parent) for path in records}
    own = ranked.pop(folder, None)
    return next((other for other, what in ranked.items() if what is not None and what == own), None)


def _ranked(folder: Path) -> tuple[str, str] | None:
    """The task and the metric of a recorded run; None where this version cannot read the record."""
    from fusionbench.report.record import read_record

    try:
        record = read_record(folder)
        return record["configuration"]["task"]["name"], record["metric"]
    except (DataError, KeyError, TypeError):
        return None


def _ribbons(console: Console, ribbons: tuple[str, ...]) -> None:
    for ribbon in ribbons:
        console.print(f" {ribbon} ", style="bold black on yellow", highlight=False, markup=False)


def _print_leaderboard(console: Console, summary: RunSummary) -> None:
    """Print as many columns as fit; the others fall away from the right, never the area and its interval."""
    from fusionbench.analysis.columns import on_screen

    columns, gone = on_screen(summary.plan, summary.tables.leaderboard), list[str]()
    table = _leaderboard(summary, columns)
    while _width(console, table) > console.width and len(columns) > COLUMNS_KEPT:
        gone.insert(0, columns.pop().short)
        table = _leaderboard(summary, columns)
    console.print(table)
    if gone:
        console.print(f"not shown, the screen is too narrow: {', '.join(gone)}", style="dim", highlight=False)


def _width(console: Console, table: RichTable) -> int:
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum


def _leaderboard(summary: RunSummary, columns: Sequence[Column]) -> RichTable:
    plan = summary.plan
    repeats = f"{len(plan.folds)} folds x {len(plan.benchmark.splits.seeds)} seeds"
    title = f"{plan.benchmark.name}: {plan.dataset.metric.upper()}, {repeats}"
    table = RichTable(title=f"SYNTHETIC  {title}" if plan.dataset.synthetic else title, title_justify="left")
    for column in columns:  # words may go on in a second line
        justify: Any = "left" if column.words else "right"
        table.add_column(column.short, justify=justify, no_wrap=not column.words, overflow="fold")
    from fusionbench.analysis.columns import with_names

    for group, rows in with_names(plan, summary.tables.leaderboard).groupby("group", sort=False):
        for _, row in rows.iterrows():
            table.add_row(*(escape(column.shown_on_screen(row)) for column in columns), style=None if group else "dim")
        table.add_section()
    return table


def _legend(console: Console, summary: RunSummary) -> None:
    from fusionbench.analysis.ranking.design import design_words

    area = "area: mean height of the degradation curves over all patterns, of probabilities recalibrated on validation rows"
    groups = "group 1: could be the best if trained again (*: unstable over seeds; !: no better than the prevalence)"
    for words in (f"{area}; {groups}", *design_words(summary.tables.design)):
        console.print(words, style="dim", highlight=False, markup=False)
    curves = summary.tables.curves
    if "ceiling" in curves and len(curves):
        from fusionbench.analysis.words import number

        best = curves[curves["strategy"] == "ceiling"].groupby("pattern", sort=False)["ceiling"].agg(["max", "min"])
        shown = "; ".join(f"{p}: {number(r['max'])} to {number(r['min'])}" for p, r in best.iterrows())
        console.print(
            f"ceiling (best possible on these rows), from complete to the highest rate: {shown}",
            style="dim",
            highlight=False,
            markup=False,
        )
    from fusionbench.analysis.ranking.robustness import robustness_line

    if line := robustness_line(summary.robustness):
        console.print(line, style="dim", highlight=False, markup=False)
    for note in summary.notes:
        console.print(f"note: {note}", style="dim", highlight=False, markup=False)


def _failures(failures: list[tuple[str, str]], title: str = "failed; the next run tries them again") -> RichTable:
    table = RichTable(title=f"{len(failures)} {title}", title_justify="left")
    table.add_column("cell")
    table.add_column("reason", overflow="fold")
    for name, reason in failures:
        table.add_row(escape(name), escape(reason))
    return table
