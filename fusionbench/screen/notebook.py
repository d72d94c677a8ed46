"""What a caller in Python sees while a run goes on: bars in a notebook, bars or lines in a terminal, and nothing at the end."""

from __future__ import annotations

import html
import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fusionbench.contract.registration import hookimpl
from fusionbench.progress import Progress, SilentProgress
from fusionbench.screen.bars import best_words, duration, pace
from fusionbench.screen.meter import Clock, MeteredStage, Standing

if TYPE_CHECKING:
    from fusionbench.config.sections import Benchmark
    from fusionbench.plan.estimates import Estimate, Outlook
    from fusionbench.progress import ProgressStage
    from fusionbench.records import PanelOutcome, RunPlan, RunSummary, Worked

SECONDS_BETWEEN = 0.2
"""A picture in a notebook is drawn again no sooner: each is a message to the browser, and is stored with the notebook."""
STAGES_SHOWN = 12


class Interrupted(KeyboardInterrupt):
    """A run was stopped by hand; what was trained is stored."""

    def __str__(self) -> str:
        return "interrupted: what was trained is stored; run the same cell or call again, and it goes on"

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: where in the training a hand pressed Ctrl-C is no news."""
        return [str(self)]


def in_notebook() -> bool:
    """Whether there is a page that pictures can be shown on."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython  # type: ignore[import-not-found,unused-ignore]

    shell = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


class NotebookProgress:
    """One bar for each stage, in one picture that is drawn again as it changes; notes are folded below it.

    Args:
        standing: Of the run, over its stages.
        clock: Seconds that only grow.
        show: Shows HTML, and returns what replaces it; None: the notebook's own.
    """

    def __init__(self, standing: Standing | None = None, clock: Clock = time.monotonic, show: Any = None) -> None:
        self._standing, self._clock, self._show = standing or Standing(), clock, show or _display
        self._stages: list[MeteredStage] = []
        self._rows: dict[int, str] = {}
        self._notes: list[str] = []
        self._replace: Any = None
        self._drawn = float("-inf")

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[ProgressStage]:
        """Show a bar while the block runs; its last state stays."""
        stage = MeteredStage(title, total, unit, self._standing, self._changed, self._clock)
        self._stages.append(stage)
        self._draw()
        try:
            yield stage
        finally:
            self._rows[id(stage)] = _row(stage, ended=True)
            self._draw()

    def note(self, message: str) -> None:
        """Keep a line below the bars."""
        self._notes.append(message)
        self._draw()

    def _changed(self, stage: MeteredStage) -> None:
        if self._clock() - self._drawn >= SECONDS_BETWEEN:
            self._draw()

    def _draw(self) -> None:
        self._drawn = self._clock()
        picture = self.picture()
        if self._replace is None:
            self._replace = self._show(picture)
        else:
            self._replace(picture)

    def picture(self) -> str:
        """Return everything as HTML."""
        shown = self._stages[-STAGES_SHOWN:]
        rows = "".join(self._rows.get(id(stage)) or _row(stage, ended=False) for stage in shown)
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self._notes)
        count = f"{len(self._notes)} note{'s' if len(self._notes) != 1 else ''}"
        folded = f"<details><summary>{count}</summary><ul>{notes}</ul></details>" if notes else ""
        return f'<table role="status">{rows}</table>{folded}'


def _row(stage: MeteredStage, *, ended: bool) -> str:
    meter = stage.meter
    done = f"{int(meter.done):,}" + (f" of {meter.total:,.0f}" if meter.total else "")
    share = 1.0 if ended else min(meter.completed / meter.total, 1.0) if meter.total else 0.0
    value = f' value="{share:.3f}"' if ended or meter.total else ""
    facts = [f"{done} {stage.unit}".strip() if meter.total or meter.done else "", "" if ended else pace(meter.rate)]
    facts += [duration(meter.elapsed), "" if ended or meter.left is None else f"{duration(meter.left)} left"]
    facts += [] if ended or stage.best is None else [f"best so far: {best_words(stage.best)}"]
    cells = (
        html.escape(stage.title),
        f'<progress max="1"{value}></progress>',
        html.escape("; ".join(filter(None, facts))),
    )
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"


def _display(content: str) -> Any:
    """Show HTML in the notebook, and return what replaces it."""
    shown: Any = importlib.import_module("IPython.display")  # a notebook has it; its functions have no types
    handle = shown.display(shown.HTML(content), display_id=True)
    return lambda changed: handle.update(shown.HTML(changed))


def progress_here(quiet: bool, standing: Standing | None = None) -> Progress:
    """Return the progress that fits where this is called: a notebook, a terminal, a log."""
    if quiet:
        return SilentProgress()
    if in_notebook():
        return NotebookProgress(standing)
    from fusionbench.screen.terminal import make_console, progress_for

    return progress_for(make_console(), quiet, standing)


class Listener:
    """Follows a run for a caller in Python: shows its progress, and keeps what it found. What is said twice is said nowhere.

    Args:
        quiet: Show no progress.
    """

    def __init__(self, quiet: bool) -> None:
        standing = Standing()
        self.progress = progress_here(quiet, standing)
        self.observers: list[Any] = [standing]
        self.found: RunSummary | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(problem, KeyboardInterrupt) and not isinstance(problem, Interrupted):
            raise Interrupted from None

    @hookimpl
    def fusionbench_run_finished(self, summary: RunSummary) -> None:
        """Keep it, also where another observer fails after this one."""
        self.found = summary

    def begin(self, benchmark: Benchmark) -> None:
        """Say nothing: every table of the result says that data are made up."""

    def panel(self, benchmark: Benchmark, number: int, of: int) -> None:
        """Say nothing: there is one."""

    def plan(self, plan: RunPlan) -> None:
        """Say how much there is to train."""
        self.progress.note(
            f"{len(plan.arms)} arms, {len(plan.conditions)} conditions: {len(plan.to_train):,} models to train"
        )

    def estimate(self, estimate: Estimate) -> None:
        """Say nothing: nobody asks here."""

    def placed(self, outlook: Outlook) -> None:
        """Say nothing: only a dry run is told what an executor is going to do."""

    def summary(self, summary: RunSummary) -> None:
        """Keep it."""
        self.found = summary

    def share(self, share: str, worked: Worked, following: str) -> None:
        """Say nothing: no shares are run here."""

    def all_planned(self, plans: Sequence[RunPlan], estimate: Estimate) -> None:
        """Say nothing: there is one panel."""

    def panels(self, outcomes: Sequence[PanelOutcome], page: Path | None, seconds: float) -> None:
        """Say nothing: there is one."""

    def ended(self, code: int, reason: str = "") -> None:
        """Say nothing: the caller gets an exception or a result."""
