"""The decision table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusionbench.analysis.words import number
from fusionbench.plan.lines import Line
from fusionbench.report.decision.blocks import BASELINE, REFERENCE
from fusionbench.report.decision.table import MOST_COLUMNS, apart, columns_of, decision_table, shade, thinned
from fusionbench.report.lines import baseline_line
from tests.report.decision.planted import planted, without


def by(line, pattern, rate):
    return {"a only": -0.05, "hiding": 0.03 if pattern == "a" and rate > 0 else 0.0004}.get(line.strategy, -0.006)


def rows_of(table):
    return {row[0]: dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.rows}


def test_rows_say_by_how_much_whether_it_holds_and_who_could_be_the_best(summary):
    table = decision_table(planted(summary, by))
    assert [name for name, _ in table.groups] == ["", "overall", "missing: random", "missing: a", "cost"]
    assert [n for _, n in table.groups] == [1, 2, 1, 1, 2]
    assert table.columns == ["strategy", "mean", "complete", "45 %", "45 %", "time", "parameters"]
    cells = {row[0]: list(row[1:5]) for row in table.rows}
    called = summary.plan.called
    assert cells[called(Line("hiding", "zero"))] == [".000•", ".000•", ".000•", "+.030↑•"]
    assert cells[called(Line("a only", "zero"))] == ["-.050↓"] * 4
    assert cells[called(Line("concat", "mean"))] == ["-.006"] * 4


def test_the_baseline_comes_first_with_its_own_values_and_the_constant_last(summary):
    table = decision_table(planted(summary, by))
    board = summary.tables.leaderboard
    own = board[Line("concat", "zero").rows_of(board)].iloc[0]
    assert table.kinds == [BASELINE, "", "", "", REFERENCE]
    assert table.rows[0][1:3] == [f"{number(own['area'])}•", f"{number(own['auroc@0'])}•"]
    assert table.rows[0][-2] == "x 1.0"
    assert table.rows[-1][0] == "prevalence"
    assert table.rows[-1][1] == apart(0.5 - own["area"])
    assert table.shades[0] == table.shades[-1] == [None] * 7


def test_cells_are_shaded_by_how_much_better_they_are_whatever_the_metric_s_direction(summary):
    shades = {row[0]: s for row, s in zip(*_parts(decision_table(planted(summary, by))), strict=True)}
    name = summary.plan.called(Line("a only", "zero"))
    assert shades[name] == [None, -4, -4, -4, -4, None, None]
    brier = replace(summary, plan=replace(summary.plan, dataset=replace(summary.plan.dataset, metric="brier")))
    turned = {row[0]: s for row, s in zip(*_parts(decision_table(planted(brier, by))), strict=True)}
    assert turned[name] == [None, 4, 4, 4, 4, None, None]
    assert "Lower Brier score is better" in decision_table(planted(brier, by)).caption


def _parts(table):
    return table.rows, table.shades


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0.0, 0),
        (0.0049, 0),
        (0.0051, 1),
        (-0.0051, -1),
        (0.011, 2),
        (0.021, 3),
        (-0.041, -4),
        (0.5, 4),
        (float("nan"), None),
    ],
)
def test_shades_begin_at_what_matters_and_double(value, wanted):
    assert shade(value, 0.005) == wanted


def test_where_no_difference_is_too_small_there_are_shades_all_the_same():
    assert shade(0.02, 0.0) == shade(0.02, 0.005)


@pytest.mark.parametrize(("value", "wanted"), [(0.0004, ".000"), (-0.0004, ".000"), (0.02, "+.020"), (-0.3, "-.300")])
def test_nothing_that_is_left_after_rounding_has_a_sign(value, wanted):
    assert apart(value) == wanted


def test_of_many_rates_some_of_each_pattern_are_shown_the_highest_among_them(summary):
    rates = [round(0.05 * i, 2) for i in range(20)]
    found = planted(summary, by, patterns=("random", "a", "b"), rates=rates).tables.differences
    columns = columns_of(found)
    assert len(columns) <= MOST_COLUMNS
    assert {c.pattern: c.rate for c in columns} == {
        **dict.fromkeys(("random", "a", "b"), 0.95),
        "area": columns[0].rate,
    }
    assert thinned([0.1, 0.2], 5) == [0.1, 0.2]


def test_without_anything_to_hold_against_there_is_no_table(summary):
    assert baseline_line(without(summary)) is None
    assert decision_table(without(summary)) is None
