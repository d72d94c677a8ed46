"""How long work shows that it is moving.

Tasks, encoders and the runner only know :class:`Progress`; the terminal display is one
implementation, :class:`SilentProgress` another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Best:
    """The best score on validation rows among models that are trained; test scores are not shown before the end.

    Args:
        model: Arm, fold and seed.
        measure: What epochs are selected by: a metric's name, or ``loss``.
        value: Its value, as reported.
        higher_is_better: The direction of the measure.
    """

    model: str
    measure: str
    value: float
    higher_is_better: bool

    def beats(self, other: Best | None) -> bool:
        """Whether this is the better of two by one measure; better than none, and than one by another measure."""
        if other is None or other.measure != self.measure:
            return True
        return self.value > other.value if self.higher_is_better else self.value < other.value


class ProgressStage(Protocol):
    """One piece of long work that is under way."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Say that ``steps`` more are done; ``note`` is shown beside the bar."""

    def skip(self, steps: float) -> None:
        """Say that ``steps`` of the total were done before; they say nothing about the rate."""

    def working(self, steps: float, share: float, note: str = "", best: Best | None = None) -> None:
        """Say how far the steps are that will be done next; :meth:`advance` counts them when they are done.

        Args:
            steps: How many are worked on together.
            share: How much of them is done, 0 to 1, at the least.
            note: Shown beside the bar.
            best: The best model among them so far.
        """


Stage = ProgressStage
"""The name that plugins import."""


class Progress(Protocol):
    """Where long work reports to."""

    def stage(self, title: str, total: float | None = None, unit: str = "") -> AbstractContextManager[ProgressStage]:
        """Open a stage of ``total`` steps (None: not known in advance)."""

    def note(self, message: str) -> None:
        """Show one line that stays on the screen."""


class SilentStage:
    """Shows nothing."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Show nothing."""

    def skip(self, steps: float) -> None:
        """Show nothing."""

    def working(self, steps: float, share: float, note: str = "", best: Best | None = None) -> None:
        """Show nothing."""


class SilentProgress:
    """Shows nothing; remembers the notes, for tests and for callers that print them later."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[ProgressStage]:
        """Open a stage that shows nothing."""
        yield SilentStage()

    def note(self, message: str) -> None:
        """Keep the message."""
        self.notes.append(message)
