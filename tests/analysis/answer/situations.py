"""Planted tables: what a run could have found, without running it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fusionbench.analysis.answer import Situation
from fusionbench.analysis.ranking.differences import COLUMNS
from fusionbench.plan.lines import Line

NAMES = {"concat": "Concat", "sum": "Sum", "medfuse": "MedFuse", "dwfuse": "DWFuse", "ehr only": "ehr only"}
CONTROL = "logistic_regression"


def line(name: str) -> Line:
    """The line of a strategy."""
    return Line(name, "zero")


def situation(
    areas: dict[str, tuple[float, int]],
    shown: dict[tuple[str, str, float], tuple[float, str]] | None = None,
    *,
    baseline: str | None = "concat",
    rates: tuple[float, ...] = (0, 0.4, 0.8),
    best: dict[tuple[str, float], list[str]] | None = None,
    shown_areas: dict[str, str] | None = None,
    seconds: dict[str, float] | None = None,
    detectable: float = 0.02,
    beats: dict[str, str] | None = None,
    **changes: Any,
) -> Situation:
    """Return a situation.

    Args:
        areas: By strategy, its area and group; the best first.
        shown: By strategy, pattern and rate, a difference and whether it was shown; elsewhere it is .001.
        baseline: A strategy.
        rates: Of the pattern ``random``.
        best: By pattern and rate, who could be the best there; elsewhere everybody.
        shown_areas: By strategy, whether the difference of its area was shown.
        seconds: By strategy, what it took; elsewhere 10.
        detectable: The smallest detectable difference.
        beats: By strategy, ``beats_control``.
        changes: Other fields.
    """
    shown, best, shown_areas = shown or {}, best or {}, shown_areas or {}
    rows: list[dict[str, Any]] = []
    for name, (area, group) in areas.items():
        difference = area - areas[baseline][0] if baseline else np.nan
        rows.append(_row(name, "area", np.nan, difference, shown_areas.get(name, ""), group == 1))
        for rate in rates:
            d, how = shown.get((name, "random", rate), (0.0 if name == baseline else 0.001, ""))
            could = name in best.get(("random", rate), list(areas))
            rows.append(_row(name, "random", rate, d, how, could))
    board = pd.DataFrame(
        [
            {
                "strategy": name,
                "imputer": "zero",
                "trained_at": "",
                "area": area,
                "area_low": area - 0.02,
                "area_high": area + 0.02,
                "group": group,
                "seconds": (seconds or {}).get(name, 10.0),
                "tuning_seconds": 0.0,
                "beats_control": (beats or {}).get(name, ""),
            }
            for name, (area, group) in areas.items()
        ]
    )
    given: dict[str, Any] = {
        "question": "",
        "metric": "AUROC",
        "leaderboard": board,
        "differences": pd.DataFrame(rows, columns=COLUMNS) if baseline else pd.DataFrame(columns=COLUMNS),
        "design": pd.DataFrame([{"smallest_detectable": detectable}]),
        "baseline": line(baseline) if baseline else None,
        "controls": [line(CONTROL)] if CONTROL in areas else [],
        "whole": [line(n) for n in areas if not n.endswith(" only")],
        "called": lambda found: NAMES.get(found.strategy, found.strategy),
    }
    return Situation(**{**given, **changes})


def _row(name: str, pattern: str, rate: float, difference: float, shown: str, could: bool) -> dict[str, Any]:
    return {
        **dict(zip(("strategy", "imputer", "variant"), line(name), strict=True)),
        "pattern": pattern,
        "rate": rate,
        "achieved": rate * 0.6,
        "difference": difference,
        "difference_low": difference - 0.01,
        "difference_high": difference + 0.01,
        "shown": shown,
        "possible_best": could,
    }
