"""How much of the verdict survives other protocol settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from fusionbench.analysis.ranking.robustness import LINE, robustness_words
from fusionbench.analysis.words import NOTHING, arm_name, metric_name, number
from fusionbench.contract.blocks import Section, Table, Text
from fusionbench.plan.lines import line_of, lines_of

if TYPE_CHECKING:
    from fusionbench.records import RunSummary


def robustness(summary: RunSummary) -> Section | None:
    """Each line under each setting, and the rank correlations between settings."""
    found = summary.robustness
    if found.lines.empty:
        return None
    words = (
        "A verdict that hangs on a choice which nobody compares is none about strategies. So the same lines were run again on "
        "the same folds, seeds, masks and trials, with one choice of the protocol changed at a time."
    )
    text = " ".join([words, *robustness_words(found)])
    return Section("Robustness of the verdict", [Text(text), _lines(summary), _agreement(found.agreement)])


def _lines(summary: RunSummary) -> Table:
    found = summary.robustness.lines
    settings = list(dict.fromkeys(found["setting"]))
    by_line = {key: rows.set_index("setting") for key, rows in found.groupby(LINE, sort=False)}
    rows = []
    for line in lines_of(found):
        mine = by_line[tuple(line)]
        first = mine.iloc[0]
        cells = [_cell(mine.loc[s]) if s in mine.index else NOTHING for s in settings]
        rows.append([arm_name(*line_of(first)), *cells, f"{first['times_first']} of {len(settings)}"])
    changes = found.drop_duplicates("setting")
    what = "; ".join(f"{row['setting']}: {row['changes']}" for _, row in changes.iterrows() if row["changes"])
    metric = metric_name(summary.plan.dataset.metric)
    caption = f"Mean {metric} over all curves (group) under each setting; main: as the rest of this page. {what}."
    return Table(caption, ["strategy / imputer", *settings, "in group 1"], rows, name="robustness")


def _cell(row: pd.Series) -> str:
    group = f" ({row['group']})" if row["group"] else ""
    return f"{number(row['area'])}{group}"


def _agreement(found: pd.DataFrame) -> Table:
    rows = [
        [
            row["setting"],
            row["other"],
            str(row["lines"]),
            number(row["kendall_tau_b"], 2),
            number(row["spearman"], 2),
            f"{row['first_in_both']} of {row['first_in_either']}",
            "yes" if row["same_leader"] else "no",
        ]
        for _, row in found.iterrows()
    ]
    columns = ["setting", "against", "lines", "Kendall's tau-b", "Spearman", "group 1 in both", "same highest line"]
    caption = (
        "How alike two settings rank. Group 1 in both: lines that could be the best under both, of those under either."
    )
    return Table(caption, columns, rows, heads=2, name="robustness-agreement")
