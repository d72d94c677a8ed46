"""The section about other protocol settings."""

from __future__ import annotations

from dataclasses import replace

from fusionbench.analysis.ranking.robustness import robustness_of
from fusionbench.analysis.words import arm_name, number
from fusionbench.report import Table, Text
from fusionbench.report.lines import places
from fusionbench.report.robustness import robustness


def test_there_is_no_section_where_one_setting_was_run(summary):
    assert robustness(summary) is None


def test_each_line_stands_under_each_setting_with_words_before(summary):
    board = summary.tables.leaderboard
    other = board.assign(area=1 - board["area"])
    found = robustness_of({"main": board, "upside down": other}, {"upside down": "model.projection: mlp"})
    section = robustness(replace(summary, robustness=found))
    lines, agreement = [b for b in section.blocks if isinstance(b, Table)]
    names = [arm_name(*line) for line in places(summary)]
    assert [row[0] for row in lines.rows] == names
    assert list(lines.columns) == ["strategy / imputer", "main", "upside down", "in group 1"]
    first = board[board["strategy"] != "prevalence"].iloc[0]
    assert lines.rows[0][1] == f"{number(first['area'])} ({first['group']})"
    assert "upside down: model.projection: mlp" in lines.caption
    assert agreement.rows[0][:4] == ["main", "upside down", str(len(names)), "-1.00"]
    (words,) = [b for b in section.blocks if isinstance(b, Text)]
    assert "upside down -1.00" in words.words
