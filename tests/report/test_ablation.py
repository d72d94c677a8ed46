"""The section about what a strategy carries."""

from __future__ import annotations

from dataclasses import replace

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


@pytest.mark.parametrize(("metric", "sign"), [("auroc", 1), ("brier", -1)])
def test_repetitions_are_counted_on_the_side_that_is_better(summary, metric, sign):
    plan = replace(summary.plan, dataset=replace(summary.plan.dataset, metric=metric))
    (table,) = [b for b in ablation.ablation(replace(summary, plan=plan)).blocks if isinstance(b, Table)]
    index = ["strategy", "imputer", "pattern", "rate", "fold"]
    cells = summary.tables.cells.set_index(index)[metric].sort_index()

    def areas(strategy, imputer):
        """Two curves of two points: half is the point that they share."""
        ends = [cells.loc[strategy, imputer, pattern, 0.5] for pattern in ("random", "a")]
        return cells.loc[strategy, imputer, "complete", 0.0] / 2 + sum(ends) / 4

    for row in table.rows[1:]:
        difference = areas(*row[:2]) - areas("concat", "zero")
        assert row[-1] == f"{(sign * difference > 0).sum()} of 2"
        assert float(row[-2]) == pytest.approx(difference.mean(), abs=0.00051)


def test_one_line_for_each_strategy_has_nothing_to_be_compared_with(summary):
    alone = [arm for arm in summary.plan.arms if arm.imputer_name == "zero" and arm.title != "hiding"]
    assert len(alone) == 2
    assert ablation.ablation(replace(summary, plan=replace(summary.plan, arms=alone))) is None


def test_lines_of_some_modalities_are_no_ablation(summary):
    arms = [replace(arm, modalities=("a", "b")) for arm in summary.plan.arms]
    assert ablation.ablation(replace(summary, plan=replace(summary.plan, arms=arms))) is None
