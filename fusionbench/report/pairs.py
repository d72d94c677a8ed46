"""Every pair of lines: would the difference hold if everything were trained again, and is it there in these models?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from fusionbench.analysis.words import NOTHING, arm_name, number, p_value, percent
from fusionbench.contract.blocks import Block, Section, Table, Text
from fusionbench.plan.lines import Line
from fusionbench.report.charts import panels
from fusionbench.report.lines import can_rank, mark_of

if TYPE_CHECKING:
    from fusionbench.records import RunSummary


def pairs(summary: RunSummary) -> Section | None:
    """The first line against each other one as a picture, and every pair as a table."""
    found = summary.tables.comparisons
    if len(found) == 0:
        return None
    design = summary.tables.design.iloc[0]
    region = float(design["equivalence"])
    leader = _line(found.iloc[0])
    to_leader = found[[_line(row) == leader for _, row in found.iterrows()]]
    words = (
        "Two questions stand side by side. *If trained again*: would the two lines come out in this order with other seeds and "
        "other training patients, as far as folds and seeds show it? This decides the leaderboard. *Of these models*: are these "
        "trained models different on such patients? p adjusted is for all pairs together (max-t). The last three columns are "
        f"the probabilities that the first is better by more than {number(region)}, that the two lie within that, and that it "
        "is worse by more; they are a reading aid and decide nothing."
    )
    if design["not_seen"]:
        words = f"{design['not_seen']} {words}"
    caption = (
        f"{arm_name(*leader)} against each line: differences of mean heights with intervals, to the left where the line is "
        f"worse. Grey: differences below {number(region)}."
    )
    others = [arm_name(*_other(row)) for _, row in to_leader.iterrows()]
    blocks: list[Block] = [Text(words.replace("*", ""))]
    if can_rank(summary):  # without repetitions nothing is known of other trainings, and a picture would look like more
        blocks.append(panels.difference_picture(others, to_leader, region, caption, mark_of(summary)))
    blocks.append(_table(to_leader, "The first line against each.", "comparisons"))
    if len(found) > len(to_leader):
        blocks.append(_table(found, "Every pair.", "pairs", folded=True))
    return Section("Pairs", blocks)


def _line(row: pd.Series) -> Line:
    return Line(row["strategy"], row["imputer"], row["trained_at"])


def _other(row: pd.Series) -> Line:
    return Line(row["other_strategy"], row["other_imputer"], row["other_trained_at"])


def _table(found: pd.DataFrame, caption: str, name: str, *, folded: bool = False) -> Table:
    rows = [
        [
            arm_name(*_line(row)),
            arm_name(*_other(row)),
            _difference(row),
            _p(row["p"]),
            _p(row["p_adjusted"]),
            _p(row["p_these_models"]),
            percent(round(row["better"], 3)),
            percent(round(row["equivalent"], 3)),
            percent(round(row["worse"], 3)),
        ]
        for _, row in found.iterrows()
    ]
    columns = ["line", "against", "difference", "p, trained again", "p adjusted", "p, these models"]
    return Table(caption, [*columns, "better", "equivalent", "worse"], rows, heads=2, name=name, folded=folded)


def _difference(row: pd.Series) -> str:
    return f"{number(row['difference'])} [{number(row['low'])}, {number(row['high'])}]"


def _p(value: float) -> str:
    return p_value(value) if value == value else NOTHING  # noqa: PLR0124 - NaN
