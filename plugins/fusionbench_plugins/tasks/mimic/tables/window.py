"""Which hours of a stay are read, from admission to the unit."""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 1e-6
"""What a time may exceed an end by, in hours: ``los`` is a rounded number of days."""


@dataclass(frozen=True)
class Window:
    """The hours that are read.

    Args:
        hours: How many; None: until discharge from the unit.
        full: True = only stays that last as long are in the cohort; False = shorter ones are read to their end.
    """

    hours: float | None = 48.0
    full: bool = True

    @property
    def least_hours(self) -> float:
        """How long a stay must last."""
        return self.hours if self.full and self.hours is not None else 0.0

    def end(self, los: str) -> str:
        """Return SQL for the last hour that is read, given SQL for the length of the stay in days."""
        if self.hours is None:
            return f"{los} * 24"
        # a stay that passes for 48 hours by the tolerance is read for 48 hours
        return repr(self.hours) if self.full else f"least({los} * 24, {self.hours!r})"

    def __str__(self) -> str:
        """As it stands in a sentence: ``first 48 h`` or ``whole stay``."""
        return "whole stay" if self.hours is None else f"first {self.hours:g} h"
