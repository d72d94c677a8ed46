"""What can be said of a run before it begins: how long it takes, and what those who work on it need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """How long a run will take: seconds of training if no model stops early, and by label what could not be timed and why."""

    seconds: float
    failures: Mapping[str, str]


@dataclass(frozen=True)
class Outlook:
    """What an executor is going to do, as far as it can be said before.

    Args:
        where: In words, where units are worked on.
        units: How many.
        longest: Seconds of the largest, on the machine that says so; no run is shorter.
        seconds: Of all of them, one after the other.
        places: How many are worked on at a time.
        memory: Bytes that one worker needs at least: the prepared data.
        disk: Bytes that are stored at the end.
    """

    where: str
    units: int
    longest: float
    seconds: float
    places: int
    memory: int
    disk: int

    @property
    def elapsed(self) -> float:
        """Seconds by the clock, where every place is as fast as this machine and none waits."""
        return max(self.longest, self.seconds / max(1, self.places))
