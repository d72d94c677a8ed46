"""What lines cost beside what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from fusionbench.analysis.ranking.differences import AREA
from fusionbench.analysis.words import NOTHING, listed, metric_name, whole
from fusionbench.contract.blocks import Picture
from fusionbench.metrics.registry import METRICS
from fusionbench.plan.lines import Line, line_of, lines_by_row, lines_of
from fusionbench.report.charts.multiples import Worth, cost_picture
from fusionbench.report.lines import baseline_line, mark_of, ranked_board

if TYPE_CHECKING:
    from fusionbench.records import RunSummary


class Cost(NamedTuple):
    """A line's cost as the decision table shows it."""

    time: str
    parameters: str


def times_of(board: pd.DataFrame, base: Line) -> dict[Line, float]:
    """Return the seconds of tuning and training as multiples of the baseline's; NaN where it took none."""
    seconds = (board["seconds"] + board["tuning_seconds"]).astype(float)
    own = float(seconds[base.rows_of(board)].iloc[0])
    return {
        line: took / own if own > 0 else float("nan") for line, took in zip(lines_by_row(board), seconds, strict=True)
    }


def relative_costs(summary: RunSummary, base: Line) -> Mapping[Line, Cost]:
    """Return what each line of the leaderboard costs."""
    board = ranked_board(summary)
    times = times_of(board, base)
    return {
        line_of(row): Cost(_times(times[line_of(row)]), _parameters(row["parameters"])) for _, row in board.iterrows()
    }


def _times(value: float) -> str:
    return NOTHING if value != value else f"x {value:.1f}" if value < 100 else f"x {value:,.0f}"  # noqa: PLR0124 - NaN


def _parameters(value: float) -> str:
    return whole(value) if value else NOTHING


def quality_against_cost(summary: RunSummary) -> Picture | None:
    """Draw the mean difference of each line over its cost, and those that nobody beats in both."""
    base, found = baseline_line(summary), summary.tables.differences
    if base is None or len(lines_of(found)) < 2:
        return None
    called = summary.plan.called
    areas = found[found["pattern"] == AREA]
    times = times_of(ranked_board(summary), base)
    worth = [
        Worth(called(line), times[line], row["difference"], row["difference_low"], row["difference_high"])
        for line, (_, row) in zip(lines_by_row(areas), areas.iterrows(), strict=True)
        if times[line] > 0
    ]
    if not worth:
        return None
    metric = summary.plan.dataset.metric
    best = frontier(worth, higher_is_better=METRICS[metric].higher_is_better)
    caption = (
        f"Mean difference to {called(base)} over the time of tuning and training, both as this run had them. The line joins "
        f"those that no other beats in both: {listed([w.name for w in best])}. Bars: intervals if trained again; where they hold "
        "0, the gain was not shown."
    )
    return cost_picture(worth, best, metric_name(metric), called(base), caption, mark_of(summary))


def frontier(worth: list[Worth], *, higher_is_better: bool) -> list[Worth]:
    """Return what no other line beats in both quality and cost, the cheapest first."""
    sign = 1 if higher_is_better else -1
    best: list[Worth] = []
    for one in sorted(worth, key=lambda w: (w.cost, -sign * w.difference, w.name)):
        if not best or sign * one.difference > sign * best[-1].difference:
            best.append(one)
    return best
