"""A finished run with differences that were made up, so that what must be shown is known."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from fusionbench.analysis.ranking.differences import AREA, COLUMNS
from fusionbench.plan.lines import lines_of
from fusionbench.report.lines import ranked_board

LOW_HIGH = 0.01


def differences(lines, base, by, patterns=("random", "a"), rates=(0.0, 0.5)):
    """One row for each line and point; ``by`` says how far a line lies from the baseline at a pattern and a rate."""
    points = [(AREA, float("nan")), *((p, r) for p in patterns for r in rates)]
    rows = []
    for line in lines:
        for pattern, rate in points:
            value = 0.0 if line == base else by(line, pattern, rate)
            shown = "better" if value > 0.02 else "worse" if value < -0.02 else ""
            rows.append(
                {
                    **line._asdict(),
                    "pattern": pattern,
                    "rate": rate,
                    "achieved": 0.9 * rate,
                    "difference": value,
                    "difference_low": value - LOW_HIGH,
                    "difference_high": value + LOW_HIGH,
                    "shown": shown,
                    "possible_best": value >= 0,
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def planted(summary, by, **more):
    """The run with such differences; the baseline is ``concat / zero``."""
    lines = lines_of(ranked_board(summary))
    base = next(line for line in lines if line[:2] == ("concat", "zero"))
    return replace(summary, tables=replace(summary.tables, differences=differences(lines, base, by, **more)))


def without(summary):
    """The run where nothing is held against anything."""
    return replace(summary, tables=replace(summary.tables, differences=summary.tables.differences.iloc[:0]))
