"""The sections that hold results: leaderboard, curves, training against test conditions; and all others in their order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from fusionbench.analysis.columns import board_notes, board_on_page, ledger_notes, ledger_on_page
from fusionbench.analysis.ranking.design import design_words
from fusionbench.analysis.words import (
    NOTHING,
    arm_name,
    counted,
    interval,
    listed,
    metric_name,
    number,
    percent,
)
from fusionbench.contract.blocks import Picture, Section, Table, Text
from fusionbench.metrics.registry import METRICS
from fusionbench.plan.lines import Line, line_of, lines_of
from fusionbench.report.ablation import ablation
from fusionbench.report.charts import panels
from fusionbench.report.decision.curves import difference_curves, range_pictures
from fusionbench.report.decision.opening import cost
from fusionbench.report.decision.profiles import profiles
from fusionbench.report.epochs.scores import scores_by_epoch
from fusionbench.report.imputation import embedding_maps, imputation
from fusionbench.report.lines import can_rank, mark_of, places, ranked_board
from fusionbench.report.modalities import modalities, subsets
from fusionbench.report.models import calibration, traces
from fusionbench.report.pairs import pairs
from fusionbench.report.published import published
from fusionbench.report.regimes.section import place_on_map
from fusionbench.report.robustness import robustness
from fusionbench.report.tuning import tuning

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.records import RunSummary


def result_sections(summary: RunSummary, titles: Collection[str] | None = None) -> Iterator[Section]:
    """Yield the sections that this run has data for; ``titles``: these only, and nothing is drawn for the others."""
    if summary.tables.leaderboard["area"].isna().all():
        return
    makers: dict[str, Callable[[RunSummary], Section | None]] = {
        "Differences as more is missing": difference_curves,
        "Quality against cost": cost,
        "Leaderboard": leaderboard,
        "Degradation curves": curves,
        "Trained against tested": grid,
        "Published values": published,
        "Modality subsets": subsets,
        "Ablation": ablation,
        "What each modality is worth": modalities,
        "Where these data lie on the map of regimes": place_on_map,
        "Calibration": calibration,
        "Pairs": pairs,
        "Robustness of the verdict": robustness,
        "Tuning": tuning,
        "Validation score over epochs": scores_by_epoch,
        "Over the epochs": traces,
        "Imputation over training": imputation,
        "Original and imputed embeddings": embedding_maps,
        "Line by line": profiles,
    }
    wanted = [make for title, make in makers.items() if titles is None or title in titles]
    yield from (section for make in wanted if (section := make(summary)) is not None)


# --------------------------------------------------------------------------------------------
# leaderboard


def leaderboard(summary: RunSummary) -> Section:
    """Ranking with intervals, groups and what each line cost."""
    return Section(
        "Leaderboard",
        [Text(verdict(summary)), _ranking_table(summary), *([_ranking_picture(summary)] if can_rank(summary) else [])],
        [Section("Budget ledger", [Text(budget(summary.tables.leaderboard)), _ledger(summary)])],
    )


def budget(board: pd.DataFrame) -> str:
    """Say what every line was allowed, from the numbers of the ledger."""
    done = board[board["models"] > 0]
    trials = sorted(set(done["trials"].astype(int)))
    limits: dict[int, list[str]] = {}
    for _, row in done.iterrows():
        limits.setdefault(round(row["epochs_allowed"] / row["models"]), []).append(arm_name(*line_of(row)))
    same = "Every line had the same number of trials" if len(trials) < 2 else "Lines had different numbers of trials"
    usual = max(limits, key=lambda n: len(limits[n]), default=0)
    others = [f"{n:,} for {listed(names)}" for n, names in sorted(limits.items()) if n != usual]
    epochs = (
        f"and the same limit of epochs, {usual:,} for a model"
        if not others
        else f"and a limit of epochs for a model of {usual:,}, but {'; '.join(others)}, whose stages before the last come on top"
    )
    return (
        f"{same} {epochs}. What it made of them, and what it took, stands here: epochs and seconds differ because models stop "
        "early and differ in size."
    )


def verdict(summary: RunSummary) -> str:
    """Answer the question in a few sentences, and say what the run could not see."""
    ranked = ranked_board(summary)
    metric = metric_name(summary.plan.dataset.metric)
    best = ranked.iloc[0]
    name = arm_name(*line_of(best))
    said = [f"The highest line is {name}: mean {metric} over all curves {interval(best, 'area')}."]
    if not METRICS[summary.plan.dataset.metric].higher_is_better:
        said[0] = said[0].replace("highest", "lowest", 1)
    said += [*_could_be_best(ranked), *design_words(summary.tables.design)]
    return " ".join(said)


def _could_be_best(ranked: pd.DataFrame) -> list[str]:
    """Say how many lines could be the best if everything were trained again."""
    if len(ranked) == 1 or (ranked["group"] == 0).all():
        return []
    first = int((ranked["group"] == 1).sum())
    if first == len(ranked):
        return [
            "No line was shown to be worse than the best: each of them could be it if everything were trained again."
        ]
    others = len(ranked) - first
    worse = f"{counted(others, 'line')} {'was' if others == 1 else 'were'} shown to be worse"
    if first == 1:
        return [f"It is the only line that could be the best if everything were trained again; {worse}."]
    return [f"{counted(first, 'line')} could be the best if everything were trained again (group 1); {worse}."]


def _ranking_table(summary: RunSummary) -> Table:
    plan, board = summary.plan, summary.tables.leaderboard
    columns = board_on_page(plan, board)
    rows = [[column.shown(row) for column in columns] for _, row in board.iterrows()]
    heads = sum(column.head for column in columns)
    area = [c.name for c in columns].index("area")
    best = frozenset((i, area) for i, group in enumerate(board["group"]) if group == 1)
    return Table(board_notes(plan, board), [c.title for c in columns], rows, heads=heads, name="leaderboard", best=best)


def _ranking_picture(summary: RunSummary) -> Picture:
    ranked = ranked_board(summary)
    caption = "Mean height of the curves with intervals. Marker and colour tell the group."
    groups = [int(g) for g in ranked["group"]]
    names = [arm_name(*line) for line in lines_of(ranked)]
    return panels.forest_picture(names, ranked, groups, summary.plan.dataset.metric, caption, mark_of(summary))


def _ledger(summary: RunSummary) -> Table:
    columns = ledger_on_page(summary.plan)
    rows = [[column.shown(row) for column in columns] for _, row in summary.tables.leaderboard.iterrows()]
    return Table(ledger_notes(summary.plan), [c.title for c in columns], rows, name="ledger")


# --------------------------------------------------------------------------------------------
# curves


def curves(summary: RunSummary) -> Section:
    """Raw degradation curves: two lines in the range of all; the others' stand line by line, the numbers in tables."""
    found, metric = summary.tables.curves, summary.plan.dataset.metric
    tables = [_curve_table(summary, pattern) for pattern in dict.fromkeys(found["pattern"])]
    numbers = Section("Numbers of the curves", [*tables, _achieved(summary)])
    if found["rate"].nunique() == 1:
        only = percent(found["rate"].iloc[0])
        return Section("Degradation curves", [Text(f"There is one missing rate, {only}, and so no curve.")], [numbers])
    level = f"{summary.plan.benchmark.evaluation.confidence * 100:g} %"
    words = (
        f"{metric_name(metric)} as more is missing: the baseline and the first line of the leaderboard with {level} intervals of "
        "their own, in grey the range of all lines, which may leave the picture. The curve of every line stands line by line "
        "below. Differences between lines are paired, and far more certain than overlapping intervals suggest."
    )
    return Section("Degradation curves", [Text(words), *range_pictures(summary)], [numbers])


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
        rows.append([arm_name(*line), *cells])
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
