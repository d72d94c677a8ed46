"""What a run of MLflow says of itself: a description that a person can read, and a colour that no neighbour has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pandas as pd

from fusionbench.analysis.words import counted, hidden_words, interval, metric_name, number, signed
from fusionbench.plan.lines import Line

if TYPE_CHECKING:
    from fusionbench.records import RunSummary

NOTE: Final = "mlflow.note.content"
COLOUR: Final = "mlflow.runColor"
LINK: Final = "\n\n[The report: answer, decision table, curves with bands]"
"""Begins the last line of a description, which is added when the report's place is known."""
COLOURS: Final = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4B00", "#6A3D9A", "#B2182B", "#4D4D4D",
    "#1B7837", "#C51B7D", "#8C6BB1", "#B8860B", "#2166AC", "#F46D43", "#01665E", "#BF5B17", "#666666", "#E7298A",
)  # fmt: skip
"""Colours of lines in the order of the leaderboard; the first ten are told apart best, also without red or green."""


def colour_of(place: int) -> str:
    """Return the colour of the line at a place of the leaderboard, from 0."""
    return COLOURS[place % len(COLOURS)]


def difference_points(rows: pd.DataFrame, metric: str) -> Iterator[tuple[str, float, int]]:
    """Yield how far a line lies from the baseline along one pattern, with the ends of the interval; the step as for curves."""
    names = {
        "difference": f"differences/{metric}",
        "difference_low": "uncertainty/difference_low",
        "difference_high": "uncertainty/difference_high",
    }
    for _, row in rows.iterrows():
        for column, name in names.items():
            if pd.notna(row[column]):
                yield name, float(row[column]), round(float(row["achieved"]) * 100)


def description_of(summary: RunSummary, line: Line, pattern: str, row: pd.Series) -> str:
    """Say in a few lines of Markdown what a curve is, and its three numbers.

    Args:
        summary: The run.
        line: What was trained.
        pattern: What is hidden along the curve.
        row: The line's row of the leaderboard.
    """
    plan, metric = summary.plan, metric_name(summary.plan.dataset.metric)
    found = summary.tables.differences
    mine = found[line.rows_of(found)]
    most = mine[(mine["pattern"] == pattern) & mine["rate"].notna()]
    said = [
        *(f"**{ribbon}**" for ribbon in plan.ribbons),
        f"**{plan.called(line)}**, missing pattern `{pattern}`",
        f"* {metric} on average over all patterns and rates: {interval(row, 'area')}{_group(row)}",
    ]
    area = mine[mine["rate"].isna()]
    baseline = summary.baseline
    if baseline is not None and line != baseline and len(area):
        said.append(f"* against {plan.called(baseline)}: {_difference(area.iloc[0])} on average")
        if len(most):
            last = most.sort_values("rate").iloc[-1]
            said.append(
                f"* against {plan.called(baseline)}: {_difference(last)} with {hidden_words(pattern, last['rate'])}"
            )
    elif baseline == line:
        said.append("* the baseline: differences are taken from it")
    said.append(f"* cost: {counted(int(row['epochs']), 'epoch')}, {counted(int(row['parameters']), 'parameter')}")
    return "\n".join(said).replace("**\n", "**\n\n").replace("`\n", "`\n\n")


def _group(row: pd.Series) -> str:
    return ", could be the best" if row["group"] == 1 else ""


def _difference(row: pd.Series) -> str:
    shown = f", shown to be {row['shown']}" if row["shown"] else ", not shown to differ"
    ends = f" [{number(row['difference_low'])}, {number(row['difference_high'])}]"
    return f"{signed(row['difference'])}{ends}{shown}"
