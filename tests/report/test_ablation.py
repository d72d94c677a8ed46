"""The section about what a strategy carries."""

from __future__ import annotations

import pytest

from fusionbench.report import Table, ablation


def test_the_ablation_compares_with_the_plainest_line_by_repetition(summary):
    (table,) = [b for b in ablation.ablation(summary).blocks if isinstance(b, Table)]
    assert [row[:2] for row in table.rows] == [["concat", "zero"], ["concat", "mean"], ["hiding", "zero"]]
    assert table.rows[0][-2:] == ["(base)", "-"]
    assert table.rows[2][3] == "bernoulli 0.3"
    board = summary.tables.leaderboard.set_index(["strategy", "imputer"])["area"]
    difference = board["concat", "mean"] - board["concat", "zero"]
    # means over repetitions: the areas of the leaderboard, up to their rounding
    assert float(table.rows[1][-2]) == pytest.approx(difference, abs=0.0011)
