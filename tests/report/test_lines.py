"""The lines of a run: what tables and pictures are ordered and looked up by."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from fusionbench.plan.lines import Line
from fusionbench.report.lines import anchors, baseline_line, can_rank, mark_of, places, ranked_arms, ranked_board


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


def lines(summary, *names, **more):
    board = pd.DataFrame([(n, "zero", "", 0.8) for n in names], columns=["strategy", "imputer", "variant", "area"])
    plan = SimpleNamespace(called=lambda line: line.strategy.title())
    return SimpleNamespace(plan=plan, tables=SimpleNamespace(leaderboard=board.assign(**more)))


def test_every_line_has_a_place_of_its_own_on_the_page_under_both_its_names(summary):
    found = anchors(lines(summary, "se_gate", "se gate", "&", "prevalence"))
    assert found["se_gate / zero"] == found["Se_Gate"] == "line-se-gate-zero"
    assert found["se gate / zero"] == "line-se-gate-zero-2"
    assert found["& / zero"] == "line-zero"
    assert len(set(found.values())) == 3  # the constant has none


def test_lines_can_be_ranked_where_there_is_a_group(summary):
    assert can_rank(lines(summary, "sum", "concat", group=[1, 0]))
    assert not can_rank(lines(summary, "sum", "concat", group=[0, 0]))


def test_the_baseline_is_the_line_that_lies_nowhere_from_itself():
    rows = [
        ("sum", "zero", "", 0.0),
        ("sum", "zero", "", 0.1),
        ("concat", "zero", "", 0.0),
        ("concat", "zero", "", 0.0),
    ]
    found = pd.DataFrame(rows, columns=["strategy", "imputer", "variant", "difference"])
    assert baseline_line(SimpleNamespace(tables=SimpleNamespace(differences=found))) == Line("concat", "zero")
    assert baseline_line(SimpleNamespace(tables=SimpleNamespace(differences=found[:2]))) is None
    assert baseline_line(SimpleNamespace(tables=SimpleNamespace(differences=found[:0]))) is None
