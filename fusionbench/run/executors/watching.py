"""What workers say, as one stage of the run: who is at what, what is done, who was lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fusionbench.store.carried import take_in

if TYPE_CHECKING:
    from fusionbench.contract.executors import Message, Unit, UnitResult
    from fusionbench.progress import Progress, ProgressStage
    from fusionbench.records import Worked
    from fusionbench.store.results import Store


@dataclass
class Watching:
    """Hears of units; implements :class:`fusionbench.contract.executors.Watch`.

    Args:
        units: How many there are.
        worked: What comes of them is added here.
        stage: Shows steps.
        progress: Shows lines that stay.
        store: Where results of workers go that do not share the folder.
        studies: The searches that a unit's models need.
    """

    units: int
    worked: Worked
    stage: ProgressStage
    progress: Progress
    store: Store
    studies: Callable[[Unit], set[str]]
    abandoned: dict[str, str] = field(default_factory=dict)
    """By key of a model, why its unit was given up."""
    trained: set[str] = field(default_factory=set)
    """Keys of the models that workers say they have stored."""
    done: set[str] = field(default_factory=set)
    lost_units: int = 0
    _steps: dict[str, float] = field(default_factory=dict)
    _at_work: dict[str, str] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def heard(self, unit: Unit, worker: str, message: Message) -> None:
        """A worker says how far a unit is; what every worker says is shown once."""
        if message.line and message.line not in self._said:
            self._said.add(message.line)
            self.progress.note(f"{worker}: {message.line}")
        if message.line or unit.name in self.done:
            return  # said before the end, and heard after it
        self._at_work[unit.name] = worker
        self._count(unit, min(message.done, unit.steps), f"{worker}: {message.note or unit.title}")
        if message.best is not None:
            self.stage.working(0, 0.0, self._note(f"{worker}: {message.note}"), message.best)

    def finished(self, unit: Unit, worker: str, result: UnitResult) -> None:
        """A unit is done: its results are in the store, or come now."""
        if unit.name in self.done:
            return  # done twice, by a worker that was lost and was not: the same results
        if result.files:
            take_in(self.store, result.files, unit.models, self.studies(unit), self.progress.note)
        self.done.add(unit.name)
        self.trained |= result.trained
        self._at_work.pop(unit.name, None)
        self.worked.failures |= {key: (found[0], found[1]) for key, found in result.failures.items()}
        self._count(unit, unit.steps, f"{worker}: {unit.title}")

    def lost(self, unit: Unit, worker: str, reason: str) -> None:
        """The worker of a unit is gone; the unit is tried again."""
        self.lost_units += 1
        self._at_work.pop(unit.name, None)
        self.progress.note(
            f"warning: {worker} was lost with unit {unit.name} ({unit.title}): {reason}; it is tried again"
        )
        self._count(unit, 0.0, unit.title)

    def given_up(self, unit: Unit, reason: str) -> None:
        """A unit is not tried again in this run."""
        self._at_work.pop(unit.name, None)
        self.abandoned |= dict.fromkeys(unit.models, reason)
        self.progress.note(f"warning: unit {unit.name} ({unit.title}) is given up: {reason}")

    def _count(self, unit: Unit, steps: float, note: str) -> None:
        before = self._steps.get(unit.name, 0.0)
        self._steps[unit.name] = steps
        self.stage.advance(steps - before, self._note(note))

    def _note(self, note: str) -> str:
        lost = f", {self.lost_units} lost and tried again" if self.lost_units else ""
        at_work = len(self._at_work)
        return f"units: {len(self.done)} of {self.units} done, {at_work} under way{lost}; {note}"
