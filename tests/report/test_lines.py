"""The lines of a run: what tables and pictures are ordered and looked up by."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from fusionbench.report.lines import mark_of, places, ranked_arms, ranked_board


@pytest.fixture
def summary():
    """Two models of one arm, one of another, and a line with a gap between them."""
    rows = [
        ("concat", "mean", "random@0.5", 0.9),
        ("sum", "zero", "complete@0", float("nan")),
        ("sum", "mean", "complete@0", 0.8),
        ("concat", "mean", "complete@0", 0.7),
    ]
    board = pd.DataFrame(rows, columns=["strategy", "imputer", "trained_at", "area"])
    plan = SimpleNamespace(ribbons=("ONE MARK", "ANOTHER"))
    return SimpleNamespace(plan=plan, tables=SimpleNamespace(leaderboard=board))


def test_a_line_with_a_gap_has_no_rank(summary):
    board = ranked_board(summary)
    assert board["area"].tolist() == [0.9, 0.8, 0.7]
    assert board.index.tolist() == [0, 1, 2]


def test_places_are_those_of_the_leaderboard(summary):
    assert places(summary) == {
        ("concat", "mean", "random@0.5"): 0,
        ("sum", "mean", "complete@0"): 1,
        ("concat", "mean", "complete@0"): 2,
    }


def test_an_arm_with_several_lines_stands_where_its_best_does(summary):
    assert ranked_arms(summary) == [("concat", "mean"), ("sum", "mean")]


def test_every_mark_of_a_run_is_said(summary):
    assert mark_of(summary) == "ONE MARK; ANOTHER"
