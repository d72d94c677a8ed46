"""Line by line: where the name of a line leads to. What it is, what won, its curves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fusionbench.analysis.ranking.differences import AREA
from fusionbench.analysis.words import arm_name, interval, metric_name, signed, whole
from fusionbench.contract.blocks import Block, Section, Text
from fusionbench.plan.lines import Line
from fusionbench.report.decision.curves import MOST_PICTURES, raw_pictures, raw_words
from fusionbench.report.lines import baseline_line, places, ranked_board

if TYPE_CHECKING:
    from fusionbench.plan.parts import Arm, Part
    from fusionbench.records import RunPlan, RunSummary


def profiles(summary: RunSummary) -> Section | None:
    """One short part for each complete line."""
    lines = list(places(summary))
    if not lines:
        return None
    patterns = summary.tables.curves["pattern"].nunique()
    drawn = lines[: max(8, MOST_PICTURES // max(1, patterns))]
    words = raw_words(summary)
    if len(drawn) < len(lines):
        words += f" Curves are drawn of the first {len(drawn)} of {len(lines)} lines; curves.csv holds all."
    pictures: dict[str, list[Block]] = {}
    for picture in raw_pictures(summary, drawn, "raw"):
        pictures.setdefault(picture.line, []).append(picture)
    called = summary.plan.called
    parts = [Section(called(line), [*_told(summary, line), *pictures.get(called(line), [])]) for line in lines]
    return Section("Line by line", [Text(words)], parts)


def _told(summary: RunSummary, line: Line) -> Iterator[Block]:
    arm = next((a for a in summary.plan.arms if (a.title, a.imputer_name) == line[:2]), None)
    points = [_result(summary, line)]
    if arm is not None:
        points += [_option_words(summary.plan, arm), *(_plugin(part) for part in _parts(arm))]
    yield Text("", [p for p in points if p])


def _result(summary: RunSummary, line: Line) -> str:
    board, found = ranked_board(summary), summary.tables.differences
    row = board[line.rows_of(board)].iloc[0]
    metric = metric_name(summary.plan.dataset.metric)
    said = f"In tables {arm_name(*line)}. Mean {metric} over all curves {interval(row, 'area')}"
    base = baseline_line(summary)
    if base is not None and line != base:
        mine = found[line.rows_of(found) & (found["pattern"] == AREA)]
        if len(mine):
            said += f", {signed(mine['difference'].iloc[0])} to {summary.plan.called(base)}"
    return f"{said}; {whole(row['parameters'])} parameters, {whole(row['epochs'])} epochs."


def _parts(arm: Arm) -> list[Part]:
    return [arm.strategy, arm.imputer, *arm.regularisers]


def _option_words(plan: RunPlan, arm: Arm) -> str:
    """What tuning chose, from the lowest to the highest over folds and seeds."""
    won: dict[str, list[Any]] = {}
    for fit in plan.fits:
        if fit.arm.label == arm.label:
            result = plan.store.load(fit.key)
            for name, value in (result.options if result is not None else {}).items():
                won.setdefault(name, []).append(value)
    if not won:
        return ""
    return f"Winning options: {'; '.join(f'{name} {_span(values)}' for name, values in sorted(won.items()))}."


def _span(values: list[Any]) -> str:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        return ", ".join(dict.fromkeys(map(str, values)))
    low, high = f"{min(numbers):.3g}", f"{max(numbers):.3g}"
    return low if low == high else f"{low} to {high}"


def _plugin(part: Part) -> str:
    """Which plugin it is, what it does in a sentence, and where it comes from."""
    found = part.registration
    kind = {"strategies": "Strategy", "imputers": "Imputer", "regularisers": "Regulariser"}[found.kind]
    sentence = " ".join((inspect.getdoc(found.target) or "").partition("\n\n")[0].split())
    source = getattr(found.target, "provenance", None)
    name = f"{kind} {found.name} ({f'{found.distribution} {found.version}'.strip()})"
    said = [f"{name}: {sentence.replace('``', '')}".rstrip(".") if sentence else name]
    if source is not None:
        said.append(f"From: {source.paper}{f', {source.link}' if source.link else ''}".rstrip("."))
    return f"{'. '.join(said)}. All of it: fusionbench show {found.name}"
