"""The section about what a strategy carries: imputer, regularisers, hiding in training, options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from fusionbench.analysis.comparisons import repetition_areas
from fusionbench.analysis.words import NOTHING, interval, signed
from fusionbench.contract.blocks import Section, Table, Text
from fusionbench.metrics.registry import METRICS
from fusionbench.plan.lines import Line
from fusionbench.report.lines import places

if TYPE_CHECKING:
    from fusionbench.plan.parts import Arm
    from fusionbench.records import RunSummary


def ablation(summary: RunSummary) -> Section | None:
    """Arms that share a strategy and differ in imputer, regularisers, hiding or options."""
    families: dict[str, list[Arm]] = {}
    for arm in summary.plan.arms:
        if _line(arm) in places(summary) and arm.modalities is None:
            families.setdefault(arm.strategy.registration.name, []).append(arm)
    found = [
        t for name, arms in families.items() if name != "unimodal" and (t := _family(summary, name, arms)) is not None
    ]
    if not found:
        return None
    words = (
        "Lines that share a strategy, and differ in what it carries. The first is the plainest; the others are "
        "compared with it, repetition by "
        "repetition (folds x seeds). Regularisers and some imputers hide modalities in training: compare them "
        "with a line that hides and does nothing else."
    )
    return Section("Ablation", [Text(words), *found])


def _family(summary: RunSummary, name: str, arms: Sequence[Arm]) -> Table | None:
    if len(arms) < 2:
        return None
    carried = [_carried(arm) for arm in arms]
    order = sorted(range(len(arms)), key=lambda i: sum(c != NOTHING for c in carried[i]))
    board = summary.tables.leaderboard
    areas = _areas_by_repetition(summary)
    base = areas[_line(arms[order[0]])]
    rows = []
    for i in order:
        line = board[_line(arms[i]).rows_of(board)].iloc[0]
        mine = areas[_line(arms[i])]
        difference = (mine - base).dropna()
        better = difference > 0 if METRICS[summary.plan.dataset.metric].higher_is_better else difference < 0
        last = (
            ["(base)", NOTHING]
            if i == order[0]
            else [signed(difference.mean()), f"{int(better.sum())} of {len(difference)}"]
        )
        rows.append([arms[i].title, arms[i].imputer_name, *carried[i][1:], interval(line, "area"), *last])
    columns = [
        "line",
        "imputer",
        "regularisers",
        "hiding in training",
        "options",
        "area [interval]",
        "difference",
        "better in",
    ]
    return Table(
        f"What {name} carries, and what it changes.", columns, rows, heads=2, name=f"ablation-{name}", words=True
    )


def _line(arm: Arm) -> Line:
    return Line(arm.title, arm.imputer_name)


def _carried(arm: Arm) -> list[str]:
    """Imputer, regularisers, hiding, options; a dash for each that is the plainest."""
    options = ", ".join(f"{k}: {v}" for k, v in arm.strategy.options.items())
    hiding = f"{arm.corruption.policy} {arm.corruption.rate:g}".removesuffix(" 0") if arm.corruption is not None else ""
    carried = [
        arm.imputer_name if arm.imputer_name != "zero" else "",
        "+".join(r.registration.name for r in arm.regularisers),
    ]
    return [c or NOTHING for c in (*carried, hiding, options)]


def _areas_by_repetition(summary: RunSummary) -> pd.DataFrame:
    """Mean height of the curves in each repetition (rows fold and seed), by strategy, imputer and variant."""
    settings, cells = summary.plan.benchmark.missingness, summary.tables.cells
    # where training rows lack modalities, a point of a curve is what a model was trained at
    trained = cells["trained_at"].str.rpartition("@")
    own = settings.where in ("test", "grid")
    placed = cells.assign(
        variant="",
        point_pattern=cells["pattern"] if own else trained[0],
        point_rate=cells["rate"] if own else trained[2].astype(float),
    )
    return repetition_areas(placed, summary.plan.dataset.metric, settings.patterns, settings.rates)
