"""Progress for people: live bars on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.text import Text

from fusionbench.screen.meter import Clock, MeteredStage, Standing

if TYPE_CHECKING:
    from fusionbench.progress import Best, ProgressStage

REFRESHED_PER_SECOND = 5.0
PLAIN_EVERY_SECONDS = 5.0
WIDEST_BAR, NARROWEST_BAR = 40, 5
GAP = "  "


class RichProgress:
    """One bar for each stage, with what is known of the run below it while it goes on.

    Args:
        console: A terminal.
        standing: Of the run, over its stages.
        clock: Seconds that only grow.
    """

    def __init__(self, console: Console, standing: Standing | None = None, clock: Clock = time.monotonic) -> None:
        self._console, self._standing, self._clock = console, standing or Standing(), clock

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[ProgressStage]:
        """Show a bar while the block runs; its last state stays on the screen."""
        from rich.live import Live

        stage = MeteredStage(title, total, unit, self._standing, lambda _: None, self._clock)
        shown = _Picture(self._console, stage)
        with Live(shown, console=self._console, refresh_per_second=REFRESHED_PER_SECOND):
            try:
                yield stage
            finally:
                shown.ended = True

    def note(self, message: str) -> None:
        """Print one line."""
        self._console.print(message, highlight=False, markup=False)


class _Picture:
    """Drawn anew at every refresh, at the width that the terminal has then."""

    def __init__(self, console: Console, stage: MeteredStage) -> None:
        self._console, self._stage, self.ended = console, stage, False

    def __rich__(self) -> Group:
        return picture(self._console, self._stage, self.ended)


class PlainProgress:
    """A line every few seconds, for logs and pipes.

    Args:
        console: Where lines go.
        standing: Of the run, over its stages.
        clock: Seconds that only grow.
    """

    def __init__(self, console: Console, standing: Standing | None = None, clock: Clock = time.monotonic) -> None:
        self._console, self._standing, self._clock = console, standing or Standing(), clock
        self._said = 0.0

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[ProgressStage]:
        """Print a line now and then, and when the stage ends."""
        stage = MeteredStage(title, total, unit, self._standing, self._now_and_then, self._clock)
        self._said = stage.meter.start
        yield stage
        self.note(f"{title}: done in {stage.meter.elapsed:.1f} s")

    def note(self, message: str) -> None:
        """Print one line, however long."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)

    def _now_and_then(self, stage: MeteredStage) -> None:
        now = self._clock()
        if now - self._said >= PLAIN_EVERY_SECONDS:
            self._said = now
            self.note(plain_line(stage))


# --------------------------------------------------------------------------------------------
# what is shown


def plain_line(stage: MeteredStage) -> str:
    """Return everything that is known of a stage, as one line of a log."""
    meter = stage.meter
    facts = [_count(stage).strip(), pace(meter.rate), f"{duration(meter.elapsed)} gone"]
    facts += [f"{duration(meter.left)} left"] if meter.left is not None else []
    parts = [", ".join(filter(None, facts)), *_standing(stage), stage.note]
    return f"{stage.title}: {'; '.join(filter(None, parts))}"


def picture(console: Console, stage: MeteredStage, ended: bool) -> Group:
    """Return the bar of a stage, and while it is under way the best model and the note below it."""
    width = console.width - 1  # some terminals go to the next line when the last column is written
    mark = "..." if console.options.ascii_only else "…"
    lines = [_bar_line(stage, width, mark, ended, console.options.ascii_only)]
    if not ended:
        below = filter(None, [*_standing(stage), stage.note])
        lines += [Text(fit(f"{GAP}{line}", width, mark), style="dim", no_wrap=True) for line in below]
    return Group(*lines)


def _bar_line(stage: MeteredStage, width: int, mark: str, ended: bool, ascii_only: bool) -> Text:
    meter = stage.meter
    facts = _facts(stage, ended, min(24, width // 5))
    room = width - cell_len(facts) - 2 * len(GAP)
    title = max(12, min(24, width // 4)) if meter.total else room + len(GAP)
    bar = min(room - title, WIDEST_BAR)
    if bar < NARROWEST_BAR or not meter.total:
        return Text(fit(f"{fit(stage.title, max(title, 1), mark, fill=True)}{GAP}{facts}", width, mark), no_wrap=True)
    line = Text(fit(stage.title, title, mark, fill=True) + GAP, no_wrap=True)
    line.append_text(_bar(meter.completed / meter.total, bar, ascii_only))
    return line.append(f"{GAP}{facts}")


def _bar(share: float, width: int, ascii_only: bool) -> Text:
    full = int(min(max(share, 0.0), 1.0) * width)
    done, rest = ("#", "-") if ascii_only else ("━", "─")
    return Text.assemble((done * full, "green"), (rest * (width - full), "dim"))


def _facts(stage: MeteredStage, ended: bool, counting: int) -> str:
    """Count (in at least ``counting`` columns), rate, time gone and time left; they do not move within an hour."""
    meter = stage.meter
    rate = meter.completed / meter.elapsed if ended and meter.elapsed else meter.rate
    left = "" if ended or meter.left is None else f"{duration(meter.left)} left"
    wide = 7 if max(meter.elapsed, meter.left or 0.0) >= 3600 else 5
    counted, gone = f"{_count(stage):<{counting}}", f"{duration(meter.elapsed):>{wide}}"
    return GAP.join((counted, f"{pace(rate):>8}", gone, f"{left:>{wide + 5}}"))


def _count(stage: MeteredStage) -> str:
    done, total = stage.meter.done, stage.meter.total
    if total is None:
        return f"{int(done):,} {stage.unit}".rstrip() if done else ""
    whole = f"{total:,.0f}"
    # a step that is not finished is not counted, also where the total is no whole number
    shown = whole if done >= total * (1 - 1e-9) else f"{int(done + 1e-9):,}"
    return f"{shown:>{len(whole)}} of {whole} {stage.unit}".rstrip()


def _standing(stage: MeteredStage) -> list[str]:
    """The best model so far and the cells of the run, while models are trained."""
    standing = stage.standing
    best = [f"best so far: {best_words(stage.best)}"] if stage.best is not None else []
    if standing.cells and stage.unit == "models":
        return [*best, f"cells stored: {standing.cells_stored:,} of {standing.cells:,}"]
    return best


def best_words(best: Best) -> str:
    """Return a score with what it is, and the model that has it."""
    from fusionbench.analysis.words import metric_name, number

    return f"validation {metric_name(best.measure)} {number(best.value)}, {best.model}"


def pace(rate: float | None) -> str:
    """Return a rate in steps a second, a minute or an hour, whichever reads well; empty where it is not known."""
    if not rate:
        return ""
    for unit, seconds in (("s", 1), ("min", 60)):
        if rate * seconds >= 1:
            return f"{_three_digits(rate * seconds)}/{unit}"
    return f"{_three_digits(rate * 3600)}/h"


def _three_digits(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Return ``0:42``, ``12:05`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def fit(text: str, width: int, mark: str, *, fill: bool = False) -> str:
    """Return text on one line of at most ``width`` columns; what is cut off ends with ``mark``.

    Args:
        text: Anything; line breaks become blanks.
        width: Columns of the terminal.
        mark: Says that something was cut off.
        fill: Fill it with blanks to the width.
    """
    line = " ".join(text.splitlines())
    if cell_len(line) > width:
        line = set_cell_size(line, max(width - len(mark), 0)) + mark
    return set_cell_size(line, width) if fill else line
