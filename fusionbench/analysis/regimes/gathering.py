"""From the tables of the panels of a sweep to a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fusionbench.analysis.regimes.charted import Made, Regime, RegimeMap
from fusionbench.analysis.regimes.measures import interplay
from fusionbench.analysis.regimes.readings import by_fold
from fusionbench.config.sections import CEILING
from fusionbench.metrics.statistics import subsets_of
from fusionbench.plan.lines import Line, lines_by_row, lines_of


class Panel(NamedTuple):
    """What one panel of a sweep left.

    Args:
        dials: Values of what is swept over.
        differences: Its table of differences.
        curves: Its table of curves.
        readings: Its table of readings.
    """

    dials: Sequence[Any]
    differences: pd.DataFrame
    curves: pd.DataFrame
    readings: pd.DataFrame


def gathered(
    panels: Sequence[Panel], names: Sequence[str], metric: str, called: Mapping[Line, str], made: Made
) -> RegimeMap | None:
    """Make a map of panels: of the lines, and of the rates of the first pattern, that all of them have.

    Args:
        panels: What they left.
        names: Of what is swept over.
        metric: That lines are ranked by.
        called: What readers call a line.
        made: How the sweep was made.

    Returns:
        The map; None where the panels have nothing in common, or one of them says nothing of who could be the best.
    """
    if not panels or any(panel.differences["p_best"].isna().all() for panel in panels):
        return None
    points = [panel.differences[panel.differences["rate"].notna()] for panel in panels]
    pattern = points[0]["pattern"].iloc[0] if len(points[0]) else ""
    points = [p[p["pattern"] == pattern] for p in points]
    lines = [line for line in lines_of(points[0]) if all(line in set(lines_of(p)) for p in points)]
    rates = [rate for rate in dict.fromkeys(points[0]["rate"]) if all((p["rate"] == rate).any() for p in points)]
    if not lines or not rates:
        return None
    regimes = [_regime(panel, pattern, lines, rates, metric) for panel in panels]
    titles = tuple(called.get(line, line.label) for line in lines)
    return RegimeMap(made, tuple(names), str(pattern), metric, titles, tuple(map(float, rates)), tuple(regimes))


def _regime(panel: Panel, pattern: str, lines: Sequence[Line], rates: Sequence[float], metric: str) -> Regime:
    points = panel.differences[panel.differences["pattern"] == pattern]
    possible = dict(zip(zip(points["rate"], lines_by_row(points), strict=True), points["possible_best"], strict=True))
    achieved = dict(zip(points["rate"], points["achieved"], strict=True))
    curves = panel.curves[panel.curves["pattern"] == pattern]
    value = dict(zip(zip(curves["rate"], lines_by_row(curves), strict=True), curves[metric], strict=True))
    best = curves[curves["strategy"] == CEILING].set_index("rate")[metric]
    return Regime(
        dials=tuple(panel.dials),
        place=_place(panel.readings, "auroc"),
        known=_place(panel.readings, "ceiling") if len(best) else (),
        ceiling=tuple(float(best[rate]) for rate in rates) if len(best) else (),
        achieved=tuple(float(achieved[rate]) for rate in rates),
        values=tuple(tuple(float(value[rate, line]) for line in lines) for rate in rates),
        possible=tuple(tuple(k for k, line in enumerate(lines) if possible[rate, line]) for rate in rates),
    )


def _place(readings: pd.DataFrame, column: str) -> tuple[float, ...]:
    """Dominance, redundancy and synergy; empty where they cannot be measured."""
    if readings.empty or readings[column].isna().any() or len(subsets_of(readings["subset"].iloc[-1].split("+"))) < 4:
        return ()
    place = interplay(by_fold(readings, column).mean(axis=0)).place
    return () if np.isnan(place).any() else tuple(float(one) for one in place)
