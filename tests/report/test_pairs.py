"""The section about pairs of lines."""

from __future__ import annotations

from dataclasses import replace

from fusionbench.analysis.words import arm_name, p_value
from fusionbench.report import Picture, Table
from fusionbench.report.lines import places
from fusionbench.report.pairs import pairs


def test_the_first_line_stands_against_each_and_every_pair_below(summary, undrawn):
    found = pairs(summary)
    first, every = [b for b in found.blocks if isinstance(b, Table)]
    names = [arm_name(*line) for line in places(summary)]
    assert [row[:2] for row in first.rows] == [[names[0], other] for other in names[1:]]
    assert len(every.rows) == len(names) * (len(names) - 1) / 2
    assert len([b for b in found.blocks if isinstance(b, Picture)]) == 1
    assert every.folded
    row = summary.tables.comparisons.iloc[0]
    assert first.rows[0][3:6] == [p_value(row[c]) for c in ("p", "p_adjusted", "p_these_models")]


def test_what_a_design_does_not_see_stands_first(summary, undrawn):
    assert pairs(summary).blocks[0].words.startswith("One seed: the chance of training is seen only through the folds")


def test_one_run_has_no_p_of_other_trainings(summary, undrawn):
    found = summary.tables.comparisons.assign(p=float("nan"), p_adjusted=float("nan"))
    table = pairs(replace(summary, tables=replace(summary.tables, comparisons=found))).blocks[2]
    assert table.rows[0][3:5] == ["-", "-"]


def test_one_line_has_nobody_to_stand_against(summary):
    tables = replace(summary.tables, comparisons=summary.tables.comparisons.iloc[:0])
    assert pairs(replace(summary, tables=tables)) is None
