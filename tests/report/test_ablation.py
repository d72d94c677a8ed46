"""The section about what a strategy carries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusionbench.analysis.ranking.comparisons import difference_between
from fusionbench.analysis.words import p_value, signed
from fusionbench.plan.lines import Line
from fusionbench.report import Table, ablation


@pytest.mark.parametrize("place", [1, 2])
def test_the_ablation_compares_with_the_plainest_line_by_the_rule_of_the_leaderboard(summary, place):
    (table,) = [b for b in ablation.ablation(summary).blocks if isinstance(b, Table)]
    assert [row[:2] for row in table.rows] == [["concat", "zero"], ["concat", "mean"], ["hiding", "zero"]]
    assert table.rows[0][-2:] == ["(base)", "-"]
    assert table.rows[2][3] == "bernoulli 0.3"
    board = summary.tables.leaderboard.set_index(["strategy", "imputer"])["area"]
    row = table.rows[place]
    found = difference_between(summary.tables.comparisons, Line(*row[:2]), Line("concat", "zero"))
    assert found.value == pytest.approx(board[row[0], row[1]] - board["concat", "zero"], abs=1e-9)
    assert row[-2].startswith(signed(found.value))
    assert row[-1] == p_value(found.p)


def test_one_line_for_each_strategy_has_nothing_to_be_compared_with(summary):
    alone = [arm for arm in summary.plan.arms if arm.imputer_name == "zero" and arm.title != "hiding"]
    assert len(alone) == 2
    assert ablation.ablation(replace(summary, plan=replace(summary.plan, arms=alone))) is None


def test_lines_of_some_modalities_are_no_ablation(summary):
    arms = [replace(arm, modalities=("a", "b")) for arm in summary.plan.arms]
    assert ablation.ablation(replace(summary, plan=replace(summary.plan, arms=arms))) is None
