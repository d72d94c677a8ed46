"""What a person sees while a run goes on, and at its end."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from fusionbench.errors import FusionBenchError
from fusionbench.progress import Progress, SilentProgress, Stage

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.estimate import Estimate
    from fusionbench.runner import RunPlan, RunSummary

PLAIN_EVERY_SECONDS = 5.0
INTERRUPTED = 130  # exit code


class RichProgress:
    """Live bars with elapsed time and an estimate, for terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Stage]:
        """Show one bar while the block runs."""
        from rich import progress as bars

        columns = (
            bars.TextColumn("{task.description:<24}"),
            bars.BarColumn(bar_width=30),
            bars.TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}")
            if total
            else bars.TextColumn(""),
            bars.TimeElapsedColumn(),
            bars.TextColumn("left"),
            bars.TimeRemainingColumn(),
            bars.TextColumn("[dim]{task.fields[note]}"),
        )
        with bars.Progress(*columns, console=self._console, transient=False) as display:
            task = display.add_task(escape(title), total=total, unit=unit, note="")
            yield _RichStage(display, task)
            display.update(task, note="")

    def note(self, message: str) -> None:
        """Print one line."""
        self._console.print(message, highlight=False, markup=False)


class _RichStage:
    def __init__(self, display: Any, task: Any) -> None:
        self._display, self._task = display, task

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._display.update(self._task, advance=steps, note=escape(note[:70]))


class PlainProgress:
    """A line every few seconds, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Stage]:
        """Print a line when the stage begins, now and then, and when it ends."""
        stage = _PlainStage(self._console, title, total, unit)
        yield stage
        self.note(f"{title}: done in {time.monotonic() - stage.start:.1f} s")

    def note(self, message: str) -> None:
        """Print one line."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)


class _PlainStage:
    def __init__(self, console: Console, title: str, total: float | None, unit: str) -> None:
        self._console, self._title, self._total, self._unit = console, title, total, unit
        self.start = self._said = time.monotonic()
        self._done = 0.0

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._said < PLAIN_EVERY_SECONDS:
            return
        self._said = now
        share = ""
        if self._total and self._done:
            left = (now - self.start) / self._done * max(self._total - self._done, 0)
            share = f" of {self._total:.0f} {self._unit}, about {left:.0f} s left"
        self._console.print(
            f"{self._title}: {self._done:.0f}{share}  {note}", highlight=False, markup=False, soft_wrap=True
        )


def progress_for(console: Console, quiet: bool) -> Progress:
    """Return the display that fits: none, bars on a terminal, lines elsewhere."""
    if quiet:
        return SilentProgress()
    return RichProgress(console) if console.is_terminal else PlainProgress(console)


def make_console() -> Console:
    """Return a console on standard output; wide enough for tables where the output is not a terminal."""
    # this stream whatever happens to sys.stdout later: what plugins print in training is led elsewhere
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140)


# --------------------------------------------------------------------------------------------
# a whole run, for people or for programs


class Display(Protocol):
    """Where ``run`` says what goes on."""

    progress: Progress

    @property
    def observers(self) -> list[Any]:
        """Objects with ``fusionbench_*`` hooks that follow the run for the display."""

    def plan(self, plan: RunPlan) -> None:
        """Say what the data are and what will be done."""

    def estimate(self, estimate: Estimate) -> None:
        """Say how long training takes at most."""

    def summary(self, summary: RunSummary) -> None:
        """Say what was found, what failed and where everything lies."""

    def ended(self, code: int, reason: str = "") -> None:
        """Say that the command ends with an exit code; the reason, where it is not in the summary."""


class People:
    """Bars or lines, tables, and what to type next."""

    def __init__(self, quiet: bool) -> None:
        self._console = make_console()
        self.progress = progress_for(self._console, quiet)
        self.observers: list[Any] = []

    def plan(self, plan: RunPlan) -> None:
        """Print the plan."""
        print_plan(self._console, plan)

    def estimate(self, estimate: Estimate) -> None:
        """Print the estimate."""
        print_estimate(self._console, estimate)

    def summary(self, summary: RunSummary) -> None:
        """Print the leaderboard, failures and files."""
        print_summary(self._console, summary)

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
        display.ended(INTERRUPTED, "interrupted; the same command goes on where it stopped")
        raise typer.Exit(INTERRUPTED) from None


# --------------------------------------------------------------------------------------------
# plan and results


def print_plan(console: Console, plan: RunPlan) -> None:
    """Say what the data are and what will be done."""
    _ribbons(console, plan.ribbons)
    data = plan.dataset
    have = ", ".join(f"{n} {int(data.available[:, i].sum()):,}" for i, n in enumerate(data.modalities))
    console.print(f"{len(data):,} samples; with {have}", highlight=False)
    todo = sum(len(f.points) for f in plan.todo)
    train = plan.to_train
    trials = planned_trials(plan)
    again = f", {len(plan.kept):,} trained models to score again" if plan.kept else ""
    console.print(
        f"{plan.cells:,} cells ({len(plan.arms)} arms x {len(plan.folds)} folds x {len(plan.benchmark.splits.seeds)} seeds, "
        f"{len(plan.conditions)} conditions): {plan.cells_stored:,} stored, {todo:,} to do = "
        f"{len(train):,} models, {trials:,} tuning trials{again}",
        highlight=False,
    )


def planned_trials(plan: RunPlan) -> int:
    """Return how many trials of tuning the models to train need, finished ones among them."""
    return plan.benchmark.tuning.trials * len({f.study for f in plan.to_train})


def print_estimate(console: Console, estimate: Estimate) -> None:
    """Say how long training takes at most; nothing where there is nothing to train."""
    if estimate.failures:
        console.print(_failures([*estimate.failures.items()], "could not be timed"))
    if estimate.seconds > 0:
        console.print(
            f"training takes at most about {_duration(estimate.seconds)} on this device as it is now (two epochs of each "
            "arm were timed); models that stop early make it less, scoring is not in it",
            highlight=False,
            soft_wrap=True,
        )


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def print_summary(console: Console, summary: RunSummary) -> None:
    """Print the leaderboard, what failed, where everything lies, and what to type next."""
    _ribbons(console, summary.plan.ribbons)
    if len(summary.tables.leaderboard):
        console.print(_leaderboard(summary))
        _legend(console, summary)
    if summary.failures:
        console.print(_failures(summary.failures))
    for name, path in summary.files.items():
        console.print(f"  {name}: {path}", highlight=False, markup=False, soft_wrap=True)
    state = "interrupted; the same command goes on where it stopped" if summary.interrupted else "done"
    console.print(f"{state}: {summary.trained} models trained in {summary.seconds:.1f} s", highlight=False)
    if not summary.interrupted and any(o.name == "mlflow" for o in summary.plan.benchmark.observers):
        uri = summary.plan.benchmark.tracking.uri
        following = f"fusionbench dashboard --workspace {summary.plan.workspace}" if uri is None else f"open {uri}"
        console.print(f"next: {following}", highlight=False, markup=False, soft_wrap=True)


def _ribbons(console: Console, ribbons: tuple[str, ...]) -> None:
    for ribbon in ribbons:
        console.print(f" {ribbon} ", style="bold black on yellow", highlight=False, markup=False)


def _leaderboard(summary: RunSummary) -> RichTable:
    plan, board = summary.plan, summary.tables.leaderboard
    metric = plan.dataset.metric
    rates = plan.benchmark.missingness.rates
    low, high = f"{metric}@{rates[0]:g}", f"{metric}@{rates[-1]:g}"
    title = (
        f"{plan.benchmark.name}: {metric.upper()}, {len(plan.folds)} folds x {len(plan.benchmark.splits.seeds)} seeds"
    )
    if plan.dataset.synthetic:
        title = f"SYNTHETIC  {title}"
    table = RichTable(title=title, title_justify="left")
    columns = [
        "tie",
        "strategy",
        "imputer",
        "area [95 %]".replace("95", f"{plan.benchmark.evaluation.confidence * 100:g}"),
    ]
    columns += [f"at {rates[0]:.0%}", f"at {rates[-1]:.0%}"] + (["regret"] if "regret" in board else [])
    columns += ["AUPRC", "Brier", "trials", "epochs", "params", "seconds"]
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i in (1, 2) else "right", no_wrap=True)
    for _, row in board.iterrows():
        table.add_row(*map(escape, _cells(row, low, high, rates[0], "regret" in board)))
    return table


def _cells(row: pd.Series, low: str, high: str, first: float, regret: bool) -> list[str]:
    if row["models"] < row["models_planned"]:
        area = f"incomplete: {row['models']} of {row['models_planned']} models"
    else:
        area = f"{_number(row['area'])} [{_number(row['area_low'])}, {_number(row['area_high'])}]"
    name = row["strategy"] + (f" (trained at {row['trained_at']})" if row["trained_at"] else "")
    cells = [str(row["tie_group"]) if row["tie_group"] else "-", name, row["imputer"], area]
    cells += [_number(row.get(low)), _number(row.get(high))] + ([_number(row["regret"])] if regret else [])
    cells += [_number(row.get(f"auprc@{first:g}")), _number(row.get(f"brier@{first:g}"))]
    return [*cells, f"{row['trials']}", f"{row['epochs']:,}", f"{row['parameters']:,}", f"{row['seconds']:.1f}"]


def _number(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return "-"
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.3f}")


def _legend(console: Console, summary: RunSummary) -> None:
    area = (
        "area: mean height of the degradation curves over all patterns; tie: not shown to differ from the group's best"
    )
    console.print(f"{area} (paired bootstrap over patients, Holm)", style="dim", highlight=False)
    curves = summary.tables.curves
    if "ceiling" in curves and len(curves):
        best = curves[curves["strategy"] == "ceiling"].groupby("pattern", sort=False)["ceiling"].agg(["max", "min"])
        shown = "; ".join(f"{p}: {_number(r['max'])} to {_number(r['min'])}" for p, r in best.iterrows())
        console.print(
            f"ceiling (best possible on these rows), from complete to the highest rate: {shown}",
            style="dim",
            markup=False,
        )
    for note in summary.notes:
        console.print(f"note: {note}", style="dim", highlight=False, markup=False)


def _failures(failures: list[tuple[str, str]], title: str = "failed; the next run tries them again") -> RichTable:
    table = RichTable(title=f"{len(failures)} {title}", title_justify="left")
    table.add_column("cell")
    table.add_column("reason", overflow="fold")
    for name, reason in failures:
        table.add_row(escape(name), escape(reason))
    return table
