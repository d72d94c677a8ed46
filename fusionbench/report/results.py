"""The sections that hold results: leaderboard, curves, training against test conditions; and all others in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fusionbench.analysis.columns import board_notes, board_on_page, ledger_notes, ledger_on_page
from fusionbench.analysis.words import (
    NOTHING,
    arm_name,
    counted,
    interval,
    metric_name,
    number,
    percent,
)
from fusionbench.config.sections import CEILING
from fusionbench.contract.blocks import Block, Legend, Picture, Section, Table, Text
from fusionbench.metrics.registry import METRICS
from fusionbench.plan.lines import Line, line_of, lines_of
from fusionbench.report.ablation import ablation
from fusionbench.report.charts import drawing, panels
from fusionbench.report.imputation import embedding_maps, imputation
from fusionbench.report.lines import mark_of, places, ranked_board
from fusionbench.report.modalities import modalities, subsets
from fusionbench.report.models import calibration, repetitions, traces
from fusionbench.report.tuning import tuning

if TYPE_CHECKING:
    from fusionbench.records import RunSummary

MOST_GROUPS = 4
"""Groups of lines that get pictures of their own; the numbers of all stand in the tables."""


def result_sections(summary: RunSummary) -> Iterator[Section]:
    """Yield the sections that this run has data for."""
    if summary.tables.leaderboard["area"].isna().all():
        return
    makers = (
        leaderboard,
        curves,
        grid,
        subsets,
        ablation,
        modalities,
        calibration,
        repetitions,
        tuning,
        traces,
        imputation,
        embedding_maps,
    )
    yield from (section for make in makers if (section := make(summary)) is not None)


# --------------------------------------------------------------------------------------------
# leaderboard


def leaderboard(summary: RunSummary) -> Section:
    """Ranking with intervals, tie groups and what each line cost."""
    return Section(
        "Leaderboard",
        [Text(verdict(summary)), _ranking_table(summary), _ranking_picture(summary)],
        [Section("Budget ledger", [Text(_BUDGET), _ledger(summary)])],
    )


_BUDGET = (
    "Every line had the same number of trials and the same limit of epochs. What it made of them, and what it "
    "took, stands here: epochs "
    "and seconds differ because models stop early and differ in size."
)


def verdict(summary: RunSummary) -> str:
    """Answer the question in one or two sentences."""
    ranked = ranked_board(summary)
    metric = metric_name(summary.plan.dataset.metric)
    best = ranked.iloc[0]
    tied = ranked[ranked["tie_group"] == best["tie_group"]]
    name = arm_name(*line_of(best))
    first = f"The highest line is {name}: mean {metric} over all curves {interval(best, 'area')}."
    if not METRICS[summary.plan.dataset.metric].higher_is_better:
        first = first.replace("highest", "lowest", 1)
    if len(ranked) == 1:
        return first
    if len(tied) == len(ranked):
        return f"{first} None of the other lines was shown to differ from it."
    if len(tied) == 1:
        return f"{first} Every other line was shown to differ from it."
    worse = len(ranked) - len(tied)
    return (
        f"{first} {counted(len(tied) - 1, 'line')} {'was' if len(tied) == 2 else 'were'} not shown to differ from "
        "it, "
        f"{counted(worse, 'line')} {'was' if worse == 1 else 'were'}."
    )


def _ranking_table(summary: RunSummary) -> Table:
    plan, board = summary.plan, summary.tables.leaderboard
    columns = board_on_page(plan, board)
    rows = [[column.shown(row) for column in columns] for _, row in board.iterrows()]
    heads = sum(column.head for column in columns)
    return Table(board_notes(plan, board), [c.title for c in columns], rows, heads=heads, name="leaderboard")


def _ranking_picture(summary: RunSummary) -> Picture:
    ranked = ranked_board(summary)
    caption = "Mean height of the curves with intervals. Marker and colour tell the tie group."
    groups = [int(g) for g in ranked["tie_group"]]
    names = [arm_name(*line) for line in lines_of(ranked)]
    return panels.forest_picture(names, ranked, groups, summary.plan.dataset.metric, caption, mark_of(summary))


def _ledger(summary: RunSummary) -> Table:
    columns = ledger_on_page(summary.plan)
    rows = [[column.shown(row) for column in columns] for _, row in summary.tables.leaderboard.iterrows()]
    return Table(ledger_notes(summary.plan), [c.title for c in columns], rows, name="ledger")


# --------------------------------------------------------------------------------------------
# curves


def curves(summary: RunSummary) -> Section:
    """Degradation curves, pattern by pattern, at most eight lines in colour at a time."""
    found, metric = summary.tables.curves, summary.plan.dataset.metric
    lines = [line for line in lines_of(ranked_board(summary)) if line in set(lines_of(found))]
    size = drawing.TOGETHER
    groups = [lines[i : i + size] for i in range(0, len(lines), size)]
    patterns = list(dict.fromkeys(found["pattern"]))
    tables = [_curve_table(summary, pattern) for pattern in patterns]
    numbers = Section("Numbers of the curves", [*tables, _achieved(summary)])
    if found["rate"].nunique() == 1:
        only = percent(found["rate"].iloc[0])
        return Section("Degradation curves", [Text(f"There is one missing rate, {only}, and so no curve.")], [numbers])
    words = (
        f"{metric_name(metric)} as more is missing. Bars are "
        f"{summary.plan.benchmark.evaluation.confidence * 100:g} % intervals; they belong to "
        "each line alone, while differences between lines are paired and far more certain than overlapping bars "
        "suggest."
    )
    if len(groups) > 1:
        words += " Lines in grey are in colour in another picture; they may leave this one."
    blocks: list[Block] = [Text(words)]
    if len(groups) > MOST_GROUPS:
        blocks.append(Text(f"Drawn are the first {MOST_GROUPS * size} of {len(lines)} lines; the tables hold all."))
    for g, group in enumerate(groups[:MOST_GROUPS]):
        blocks += _curve_group(summary, g, group, patterns, several=len(groups) > 1)
    return Section("Degradation curves", blocks, [numbers])


def _curve_group(
    summary: RunSummary, g: int, group: Sequence[Line], patterns: Sequence[str], *, several: bool
) -> list[Block]:
    found, metric = summary.tables.curves, summary.plan.dataset.metric
    entries = [(drawing.swatch(i, f"swatch-{g}-{i}"), arm_name(*line)) for i, line in enumerate(group)]
    if "ceiling" in found:
        entries.append((drawing.swatch(None, f"swatch-{g}-ceiling"), "ceiling: the best possible prediction"))
    first = g * drawing.TOGETHER + 1
    about = f", ranks {first} to {first + len(group) - 1} in colour" if several else ""
    pictures = [
        panels.curve_picture(
            found, pattern, group, metric, f"curves-{i + 1}-{g + 1}", f"Missing: {pattern}{about}.", mark_of(summary)
        )
        for i, pattern in enumerate(patterns)
    ]
    return [Legend(entries), *pictures]


def _curve_table(summary: RunSummary, pattern: str) -> Table:
    found, metric = summary.tables.curves, summary.plan.dataset.metric
    mine = found[found["pattern"] == pattern]
    rates = sorted(set(mine["rate"]))
    order = places(summary)
    ranked = sorted(lines_of(mine), key=lambda line: order.get(line, len(order)))
    rows = []
    for line in ranked:
        points = mine[line.rows_of(mine)].set_index("rate")
        cells = [interval(points.loc[r], metric) if r in points.index else NOTHING for r in rates]
        rows.append(["ceiling" if line.strategy == CEILING else arm_name(*line), *cells])
    caption = f"{metric_name(metric)} [interval] by nominal missing rate; missing: {pattern}."
    return Table(caption, ["strategy / imputer", *map(percent, rates)], rows, folded=True)


def _achieved(summary: RunSummary) -> Table:
    cells = summary.tables.cells
    names = list(summary.plan.dataset.modalities)
    hidden = [*(f"hidden.{n}" for n in names), "achieved", "rows_touched"]
    shares = cells.groupby(["pattern", "rate"], sort=False)[hidden].mean().reset_index()
    rows = [[r["pattern"], percent(r["rate"]), *(percent(r[h]) for h in hidden)] for _, r in shares.iterrows()]
    caption = (
        "What was really hidden, of what the record has, on test rows. The last modality of a row is never hidden, "
        "so that achieved rates may stay below nominal ones."
    )
    return Table(caption, ["pattern", "nominal", *names, "all cells", "rows that lose any"], rows, heads=2, folded=True)


def grid(summary: RunSummary) -> Section | None:
    """Every training condition against every test condition, one table for each strategy and imputer."""
    if summary.plan.benchmark.missingness.where != "grid":
        return None
    metric, cells = summary.plan.dataset.metric, summary.tables.cells
    cells = cells.assign(tested_at=[f"{p}@{r:g}" for p, r in zip(cells["pattern"], cells["rate"], strict=True)])
    words = (
        f"{metric_name(metric)}, means over folds and seeds. A row is what training and validation rows lacked, a column "
        "what test rows lack; on the diagonal they are alike."
    )
    tables = []
    for strategy, imputer in dict.fromkeys(line[:2] for line in lines_of(ranked_board(summary))):
        mine = cells[Line(strategy, imputer).rows_of(cells)]
        tested = list(dict.fromkeys(mine["tested_at"]))
        means = mine.groupby(["trained_at", "tested_at"])[metric].mean().unstack().reindex(columns=tested)
        means = means.reindex([t for t in tested if t in means.index])
        rows = [[str(trained), *map(number, line)] for trained, line in zip(means.index, means.to_numpy(), strict=True)]
        tables.append(Table(f"{arm_name(strategy, imputer)}.", ["trained at", *tested], rows, folded=True))
    return Section("Trained against tested", [Text(words), *tables])
