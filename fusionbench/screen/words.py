"""Counts and times as a screen shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusionbench.records import RunPlan


def planned_trials(plan: RunPlan) -> int:
    """Return how many trials of tuning the models to train need, finished ones among them."""
    return plan.benchmark.tuning.trials * len(plan.to_tune)


def duration(seconds: float) -> str:
    """``3 s``, ``2.5 min``, ``12 h``."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
