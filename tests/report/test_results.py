"""The sections that hold results."""

from __future__ import annotations

from dataclasses import replace

from fusionbench.analysis.words import number
from fusionbench.report import Picture, Table, results
from tests.builders import make_run, toy_dataset


def test_the_verdict_counts_ties(summary):
    board = summary.tables.leaderboard

    def said(groups):
        tables = replace(summary.tables, leaderboard=board.assign(tie_group=groups))
        return results.verdict(replace(summary, tables=tables))

    assert said([1, 1, 1, 1]).endswith("None of the other lines was shown to differ from it.")
    assert said([1, 2, 2, 3]).endswith("Every other line was shown to differ from it.")
    assert said([1, 1, 2, 2]).endswith("1 line was not shown to differ from it, 2 lines were.")
    assert said([1, 1, 1, 2]).endswith("2 lines were not shown to differ from it, 1 line was.")


def test_with_one_missing_rate_there_is_no_curve_to_draw(tmp_path, undrawn):
    one = {"patterns": ["natural"], "rates": [0]}
    run = make_run(tmp_path, toy_dataset(), tuning={"trials": 0}, missingness=one)
    found = results.curves(run.execute())
    assert [b for b in found.every() if isinstance(b, Picture)] == []
    assert found.blocks[0].words == "There is one missing rate, 0 %, and so no curve."
    assert len([b for b in found.every() if isinstance(b, Table)]) == 2


def test_in_a_grid_every_training_condition_meets_every_test_condition(tmp_path, undrawn):
    run = make_run(tmp_path, toy_dataset(), missingness={"rates": [0, 0.5], "where": "grid"}, strategies=["concat"])
    summary = run.execute()
    (table,) = [b for b in results.grid(summary).blocks if isinstance(b, Table)]
    assert table.columns == ["trained at", "complete@0", "random@0.5"]
    assert [row[0] for row in table.rows] == ["complete@0", "random@0.5"]
    cells = summary.tables.cells
    mine = cells[(cells["trained_at"] == "random@0.5") & (cells["pattern"] == "complete")]["auroc"]
    assert table.rows[1][1] == number(mine.mean())
