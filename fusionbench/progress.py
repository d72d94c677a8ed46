"""How long work shows that it is moving.

Tasks, encoders and the runner only know :class:`Progress`; the terminal display is one
implementation, :class:`SilentProgress` another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Stage(Protocol):
    """One piece of long work that is under way."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Say that ``steps`` more are done; ``note`` is shown beside the bar."""


class Progress(Protocol):
    """Where long work reports to."""

    def stage(self, title: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Stage]:
        """Open a stage of ``total`` steps (None: not known in advance)."""

    def note(self, message: str) -> None:
        """Show one line that stays on the screen."""


class _SilentStage:
    def advance(self, steps: float = 1, note: str = "") -> None:
        """Show nothing."""


class SilentProgress:
    """Shows nothing; remembers the notes, for tests and for callers that print them later."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Stage]:
        """Open a stage that shows nothing."""
        yield _SilentStage()

    def note(self, message: str) -> None:
        """Keep the message."""
        self.notes.append(message)
