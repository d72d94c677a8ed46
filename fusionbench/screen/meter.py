"""How far a stage is, how fast it goes and how long it will take: the facts that every display shows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusionbench.contract.registration import hookimpl
from fusionbench.progress import Best

if TYPE_CHECKING:
    from fusionbench.records import CellOutcome, RunPlan

Clock = Callable[[], float]

SMOOTHED_SECONDS = 60.0  # what happened longer ago counts less and less for the rate
SMOOTHED_SHARE = 0.5  # or half of the time that the stage has run, where that is longer


@dataclass(eq=False)
class Standing:
    """What is known of a whole run, over all its stages; an observer of the run, which counts its cells."""

    best: Best | None = None
    cells: int = 0
    cells_stored: int = 0

    @hookimpl
    def fusionbench_run_started(self, plan: RunPlan) -> None:
        """Note how many cells there are; another run, of another panel, begins anew."""
        self.cells, self.cells_stored, self.best = plan.cells, 0, None

    @hookimpl
    def fusionbench_cell_finished(self, outcome: CellOutcome) -> None:
        """Count the cells of a model that is stored."""
        self.cells_stored += 0 if outcome.failure else len(outcome.job.points)

    def see(self, found: Best | None) -> None:
        """Keep the better of the best so far and another one."""
        if found is not None and found.beats(self.best):
            self.best = found


class Meter:
    """Counts steps and estimates the rest.

    The rate is an average over time that forgets: a constant rate is found exactly, and a change of pace comes in over
    a minute or more. Between two reports the time that is left runs down with the clock.

    Args:
        total: Steps of the stage; None: not known in advance.
        clock: Seconds that only grow.
    """

    def __init__(self, total: float | None, clock: Clock = time.monotonic) -> None:
        self.total, self._clock = total or None, clock
        self.start = self._seen = clock()
        self.done = 0.0
        self._ahead = 0.0  # of steps that are worked on
        self._share = 0.0  # of the steps that are worked on, as it was said
        self._steps, self._seconds = 0.0, 0.0  # both forget
        self._ended, self._shares = 0.0, 0.0  # steps that were worked on, and the share at which they ended

    def advance(self, steps: float) -> None:
        """Count steps that are done."""
        if self._share:
            self._ended += steps
            self._shares += steps * self._share
        self._progress(steps - self._ahead)
        self.done, self._ahead, self._share = self.done + steps, 0.0, 0.0

    def skip(self, steps: float) -> None:
        """Count steps that were done before the stage began."""
        self.done += steps

    def working(self, steps: float, share: float) -> None:
        """Note how much is done of steps that are not counted yet.

        Models that stop early end before their share is 1; that they usually do is learned from those that ended.
        """
        usual = self._shares / self._ended if self._ended else 1.0
        ahead = steps * min(share / usual, 1.0)
        self._progress(ahead - self._ahead)
        self._ahead, self._share = ahead, share

    def _progress(self, steps: float) -> None:
        now = self._clock()
        passed, self._seen = now - self._seen, now
        kept = math.exp(-passed / max(SMOOTHED_SECONDS, SMOOTHED_SHARE * (now - self.start)))
        # as much as was done in the time that passed, evenly
        self._seconds = self._seconds * kept + passed
        self._steps = self._steps * kept + steps

    @property
    def elapsed(self) -> float:
        """Seconds since the stage began."""
        return self._clock() - self.start

    @property
    def completed(self) -> float:
        """Steps done, and what is done of those that are worked on."""
        return self.done + self._ahead

    @property
    def rate(self) -> float | None:
        """Steps a second; None as long as it is not known."""
        return self._steps / self._seconds if self._seconds > 0 and self._steps > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds until the total is reached; None as long as that is not known.

        What is late is expected to be as late again.
        """
        if self.total is None or self.rate is None:
            return None
        remaining = max(self.total - self.completed, 0.0) / self.rate
        return abs(remaining - (self._clock() - self._seen)) if remaining else 0.0


class MeteredStage:
    """A stage that measures itself and says when something has changed.

    Args:
        title: What is done.
        total: Steps; None: not known in advance.
        unit: What a step is, plural.
        standing: Of the run; the best model is written into it.
        changed: Called after each report.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        title: str,
        total: float | None,
        unit: str,
        standing: Standing,
        changed: Callable[[MeteredStage], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self.title, self.unit, self.standing = title, unit, standing
        self.meter = Meter(total, clock)
        self.note = ""
        self._trains = False
        self._changed = changed

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Count steps that are done."""
        self.meter.advance(steps)
        self._say(note)

    def skip(self, steps: float) -> None:
        """Count steps that were done before."""
        self.meter.skip(steps)
        self._changed(self)

    def working(self, steps: float, share: float, note: str = "", best: Best | None = None) -> None:
        """Note how far steps are that are not done yet."""
        self.meter.working(steps, share)
        self.standing.see(best)
        self._trains = self._trains or best is not None
        self._say(note)

    def _say(self, note: str) -> None:
        self.note = note
        self._changed(self)

    @property
    def best(self) -> Best | None:
        """The best model of the run so far, while models are trained."""
        return self.standing.best if self._trains else None
