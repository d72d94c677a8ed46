"""The section about what a strategy carries: imputer, regularisers, hiding in training, options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fusionbench.analysis.ranking.comparisons import difference_between
from fusionbench.analysis.words import NOTHING, interval, p_value, signed
from fusionbench.contract.blocks import Section, Table, Text
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
        "Lines that share a strategy, and differ in what it carries. The first is the plainest; the others are compared with it "
        "by the rule that decides the leaderboard. Regularisers and some imputers hide modalities in training: compare them with "
        "a line that hides and does nothing else."
    )
    return Section("Ablation", [Text(words), *found])


def _family(summary: RunSummary, name: str, arms: Sequence[Arm]) -> Table | None:
    if len(arms) < 2:
        return None
    carried = [_carried(arm) for arm in arms]
    order = sorted(range(len(arms)), key=lambda i: sum(c != NOTHING for c in carried[i]))
    board = summary.tables.leaderboard
    base = _line(arms[order[0]])
    rows = []
    for i in order:
        line = board[_line(arms[i]).rows_of(board)].iloc[0]
        last = ["(base)", NOTHING] if i == order[0] else _against(summary, _line(arms[i]), base)
        rows.append([arms[i].title, arms[i].imputer_name, *carried[i][1:], interval(line, "area"), *last])
    columns = [
        "line",
        "imputer",
        "regularisers",
        "hiding in training",
        "options",
        "area [interval]",
        "difference",
        "p, trained again",
    ]
    return Table(
        f"What {name} carries, and what it changes.", columns, rows, heads=2, name=f"ablation-{name}", words=True
    )


def _against(summary: RunSummary, line: Line, base: Line) -> list[str]:
    """The difference of a line to another, with its interval and p."""
    found = difference_between(summary.tables.comparisons, line, base)
    if found is None:
        return [NOTHING, NOTHING]
    again = found.p if found.p == found.p else found.p_these_models
    return [f"{signed(found.value)} [{signed(found.low)}, {signed(found.high)}]", p_value(again)]


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
