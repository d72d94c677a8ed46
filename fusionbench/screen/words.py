"""Counts and times as a screen shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusionbench.records import RunPlan


def planned_trials(plan: RunPlan) -> int:
    """Return how many trials of tuning the models to train need, finished ones among them."""
    return plan.benchmark.tuning.trials * len(plan.to_tune)


def tuning_words(plan: RunPlan) -> str:
    """``20 tuning trials``; where each is trained on several inner folds, how many models that is at most."""
    trials, models = planned_trials(plan), planned_models_of_trials(plan)
    several = f" (each on {plan.inner_folds} inner folds: {models:,} models)" if models > trials else ""
    return f"{trials:,} tuning trials{several}"


def planned_models_of_trials(plan: RunPlan) -> int:
    """Return how many models those trials are: one for each inner fold."""
    return sum(plan.tuned_models[study] for study in plan.to_tune)


def duration(seconds: float) -> str:
    """``3 s``, ``2.5 min``, ``12 h``."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def size(number: int) -> str:
    """``12 kB``, ``3.4 MB``, ``1.2 GB``: in powers of ten."""
    for unit, length in (("GB", 1e9), ("MB", 1e6)):
        if number >= length:
            return f"{number / length:.1f} {unit}" if number < 10 * length else f"{number / length:,.0f} {unit}"
    return f"{max(number / 1e3, 1):.0f} kB"
