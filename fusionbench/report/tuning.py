"""The section about tuning: what it gained, and how the best score rose over the trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusionbench.analysis.tuning import course_of
from fusionbench.analysis.words import NOTHING, arm_name, number
from fusionbench.contract.blocks import Block, Legend, Section, Table, Text
from fusionbench.plan.lines import line_of
from fusionbench.report.charts import drawing, panels
from fusionbench.report.lines import mark_of, ranked_board

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.records import RunSummary

_WORDS = (
    "Every line had the same number of trials; trial 0 has the defaults. Drawn is the best validation score so far, means over "
    "the studies of a line. Where it still rises at the end, more trials would be found useful; where it never leaves the first "
    "point, tuning changed nothing. Each line is trained with the defaults too (untuned): the gain says what of that test rows "
    "confirm."
)


def tuning(summary: RunSummary) -> Section | None:
    """Best so far over trials, and what tuned lines gained over untuned ones."""
    trials, board = summary.tables.trials, ranked_board(summary)
    arms = list(dict.fromkeys((r["strategy"], r["imputer"]) for _, r in board.iterrows()))
    courses = {arm: found for arm in arms if len(found := course_of(trials, *arm))}
    if not courses:
        return None
    drawn = list(courses)[: drawing.TOGETHER]
    words = _WORDS
    if len(courses) > len(drawn):
        words += f" Drawn are the first {len(drawn)} of {len(courses)} lines; the table holds all."
    blocks: list[Block] = [
        Text(words),
        Legend([(drawing.swatch(i, f"swatch-tuning-{i}"), arm_name(*arm)) for i, arm in enumerate(drawn)]),
        panels.tuning_picture(
            {i: courses[arm] for i, arm in enumerate(drawn)}, list(map(_name, drawn)), mark_of(summary)
        ),
        _table(board, courses),
    ]
    return Section("Tuning", blocks)


def _name(arm: tuple[str, str]) -> str:
    return arm_name(*arm)


def _table(board: pd.DataFrame, courses: dict[tuple[str, str], pd.Series]) -> Table:
    rows = []
    for _, row in board.iterrows():
        course = courses.get((row["strategy"], row["imputer"]))
        ends = (NOTHING, NOTHING) if course is None else (number(course.iloc[0]), number(course.iloc[-1]))
        shown = [number(row.get(name)) for name in ("untuned", "area", "gain", "validation_minus_test")]
        rows.append([arm_name(*line_of(row)), *ends, *shown])
    caption = (
        "First and best validation score over trials, means over studies; areas on test rows untuned and tuned, and their "
        "difference; validation score of the selected epoch less the test score under the same condition."
    )
    titles = ["strategy / imputer", "trial 0", "best", "untuned", "tuned", "gain", "validation - test"]
    return Table(caption, titles, rows, name="tuning")
