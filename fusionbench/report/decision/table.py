"""The decision table: how far each line lies from the baseline, by what goes missing and how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import pandas as pd

from fusionbench.analysis.ranking.differences import AREA, BETTER, WORSE
from fusionbench.analysis.ranking.leaderboard import controls_of
from fusionbench.analysis.words import NOTHING, arm_name, metric_name, number, signed
from fusionbench.config.sections import PREVALENCE
from fusionbench.metrics.registry import METRICS
from fusionbench.plan.lines import Line, lines_of
from fusionbench.report.decision.blocks import BASELINE, CONTROL, REFERENCE, Grid
from fusionbench.report.decision.cost import relative_costs
from fusionbench.report.lines import baseline_line, places

if TYPE_CHECKING:
    from fusionbench.records import RunSummary

MOST_COLUMNS: Final = 18
"""Points that fit beside each other on a screen; of more, some rates of each pattern stand in the table."""
STEPS: Final = (1, 2, 4, 8)
"""Differences from which a cell has its next shade, in units of ``evaluation.equivalence``."""
NO_REGION: Final = 0.005
"""The unit of shades where a file calls no difference too small."""
TIME: Final = "time"
"""The column of what a line took, which differs between machines."""
POSSIBLE, UP, DOWN = "•", "↑", "↓"


class Column(NamedTuple):
    """A point that lines are compared at; the rate of the area is NaN."""

    pattern: str
    rate: float
    achieved: float

    def rows_of(self, found: pd.DataFrame) -> pd.Series:
        """Return which rows of the table of differences are about it."""
        mine = found["pattern"] == self.pattern
        return mine & found["rate"].isna() if self.pattern == AREA else mine & (found["rate"] == self.rate)


def columns_of(found: pd.DataFrame) -> list[Column]:
    """Return the area, complete data, and the rates of every pattern, thinned out where they are many."""
    points = found[found["pattern"] != AREA]
    patterns = list(dict.fromkeys(points["pattern"]))
    rates = {p: sorted(r for r in set(points[points["pattern"] == p]["rate"]) if r > 0) for p in patterns}
    room = max(1, (MOST_COLUMNS - 2) // max(1, len(patterns)))
    whole = [Column(patterns[0], 0.0, 0.0)] if patterns and (points["rate"] == 0).any() else []
    chosen = [Column(p, r, _achieved(points, p, r)) for p in patterns for r in thinned(rates[p], room)]
    return [Column(AREA, float("nan"), float("nan")), *whole, *chosen]


def thinned(rates: Sequence[float], most: int) -> list[float]:
    """Return at most so many of the rates, spread evenly, the highest among them."""
    if len(rates) <= most:
        return list(rates)
    return [rates[round((i + 1) * len(rates) / most) - 1] for i in range(most)]


def _achieved(points: pd.DataFrame, pattern: str, rate: float) -> float:
    mine = points[(points["pattern"] == pattern) & (points["rate"] == rate)]["achieved"]
    return float(mine.iloc[0])


def decision_table(summary: RunSummary) -> Grid | None:
    """Return the table; None where nothing is held against anything."""
    base, found = baseline_line(summary), summary.tables.differences
    if base is None:
        return None
    columns, costs = columns_of(found), relative_costs(summary, base)
    order = places(summary)
    lines = [base, *sorted((li for li in lines_of(found) if li != base), key=lambda li: order.get(li, len(order)))]
    controls = set(controls_of(summary.plan.fits, summary.plan.benchmark.missingness.where))
    rows, shades, kinds, best = [], [], [], set[tuple[int, int]]()
    for line in lines:
        mine = found[line.rows_of(found)]
        at = [mine[c.rows_of(mine)] for c in columns]
        cells = [
            _cell(points, _height(summary, line, c) if line == base else "")
            for points, c in zip(at, columns, strict=True)
        ]
        rows.append([summary.plan.called(line), *cells, *costs[line]])
        shaded = [None if line == base else _shade(summary, points) for points in at]
        shades.append([None, *shaded, None, None])
        best |= {(len(rows) - 1, i) for i, cell in enumerate(cells, 1) if cell.endswith(POSSIBLE)}
        kinds.append(BASELINE if line == base else CONTROL if line in controls else "")
    constant = _constant(summary, base, columns)
    if constant:
        rows.append(constant)
        shades.append([None] * len(constant))
        kinds.append(REFERENCE)
    titles = ["strategy", *map(_title, columns), TIME, "parameters"]
    return Grid(
        _caption(summary, base),
        titles,
        rows,
        name="decision",
        best=frozenset(best),
        groups=_groups(columns),
        shades=shades,
        kinds=kinds,
    )


def _cell(points: pd.DataFrame, height: str) -> str:
    if len(points) == 0:
        return NOTHING
    point = points.iloc[0]
    shown = {BETTER: UP, WORSE: DOWN}.get(point["shown"], "")
    return f"{height or apart(point['difference'])}{shown}{POSSIBLE if point['possible_best'] else ''}"


def apart(difference: float) -> str:
    """Return a difference with its sign; none where nothing is left of it after rounding."""
    text = signed(difference)
    return text[1:] if text.strip("+-.0") == "" else text


def _height(summary: RunSummary, line: Line, column: Column) -> str:
    """The value itself, which the row of the baseline shows."""
    metric = summary.plan.dataset.metric
    if column.pattern == AREA:
        board = summary.tables.leaderboard
        return number(board[line.rows_of(board)]["area"].iloc[0])
    curves = summary.tables.curves
    mine = curves[line.rows_of(curves) & (curves["pattern"] == column.pattern) & (curves["rate"] == column.rate)]
    return number(mine[metric].iloc[0]) if len(mine) else NOTHING


def _shade(summary: RunSummary, points: pd.DataFrame) -> int | None:
    if len(points) == 0:
        return None
    plan = summary.plan
    return shade(
        float(points["difference"].iloc[0]) * (1 if METRICS[plan.dataset.metric].higher_is_better else -1),
        plan.benchmark.evaluation.equivalence,
    )


def shade(better_by: float, equivalence: float) -> int | None:
    """Return the shade of a difference, counted in steps that double; None: there is no number."""
    if better_by != better_by:  # noqa: PLR0124 - NaN
        return None
    steps = sum(abs(better_by) >= k * (equivalence or NO_REGION) for k in STEPS)
    return steps if better_by > 0 else -steps


def _constant(summary: RunSummary, base: Line, columns: Sequence[Column]) -> list[str]:
    """The row of the constant prediction, where the leaderboard has its values."""
    board, metric = summary.tables.leaderboard, summary.plan.dataset.metric
    mine = board[board["strategy"] == PREVALENCE]
    if len(mine) == 0:
        return []
    own, theirs = mine.iloc[0], board[base.rows_of(board)].iloc[0]
    cells = []
    for column in columns:
        name = AREA if column.pattern == AREA else f"{metric}@{column.rate:g}" if column.rate == 0 else ""
        known = name in board and own[name] == own[name]
        cells.append(apart(own[name] - theirs[name]) if known else NOTHING)
    return [arm_name(*Line(own["strategy"], own["imputer"])), *cells, NOTHING, NOTHING]


def _title(column: Column) -> str:
    if column.pattern == AREA:
        return "mean"
    return "complete" if column.rate == 0 else f"{100 * column.achieved:.0f} %"


def _groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for column in columns:
        if column.pattern != AREA and column.rate > 0:
            counts[column.pattern] = counts.get(column.pattern, 0) + 1
    ends = len(columns) - sum(counts.values())
    return [("", 1), ("overall", ends), *((f"missing: {p}", n) for p, n in counts.items()), ("cost", 2)]


def _caption(summary: RunSummary, base: Line) -> str:
    plan = summary.plan
    metric, unit = plan.dataset.metric, plan.benchmark.evaluation.equivalence or NO_REGION
    direction = "" if METRICS[metric].higher_is_better else f" Lower {metric_name(metric)} is better: below 0 is blue."
    several = int(summary.tables.design.iloc[0]["folds"]) * int(summary.tables.design.iloc[0]["seeds"]) > 1
    marks = (
        f"{UP} better, {DOWN} worse: it would hold if everything were trained again (p < .05, corrected for all lines and "
        f"points). {POSSIBLE} could be the best in this column."
        if several
        else "One fold and one seed: nothing is marked, because nothing is known of other trainings."
    )
    name, steps = summary.plan.called(base), ", ".join(number(k * unit) for k in STEPS)
    return (
        f"{metric_name(metric)}: difference to {name} (first row: its own values), by the share missing that was achieved. "
        f"{marks} Blue: better, orange: worse; darker from {steps} on.{direction} Mean: over all patterns and nominal rates. "
        f"Time: seconds of tuning and training relative to {name}, as this machine had them."
    )
