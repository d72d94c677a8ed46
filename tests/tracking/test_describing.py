"""What a run says of itself on MLflow's page."""

from __future__ import annotations

import pandas as pd
import pytest

from fusionbench.plan.lines import Line
from fusionbench.report.lines import ranked_board
from fusionbench.tracking.curves import curves_of
from fusionbench.tracking.describing import COLOUR, COLOURS, NOTE, colour_of, description_of, difference_points
from tests.builders import run_toy

FEWEST = 60
"""Metric keys of an experiment from which nobody finds anything."""


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    """A tuned run with more than ten lines, all that MLflow gets switched on."""
    strategies = [
        "concat",
        "sum",
        "se_gate",
        "late_average",
        "ogm_ge",
        {"name": "unimodal", "modality": "a", "label": "a only"},
    ]
    return run_toy(
        tmp_path_factory.mktemp("described"),
        strategies=strategies,
        imputers=["zero", "mean"],
        missingness={"patterns": ["random", "a"], "rates": [0, 0.5]},
        splits={"folds": 2, "seeds": [0, 1]},
        tuning={"trials": 2},
        tracking={"trials": True},
        robustness=[{"name": "wide", "set": {"model": {"width": 4}}}],
    )[1]


def row_of(summary, line):
    """The line's row of the leaderboard."""
    board = ranked_board(summary)
    return board[line.rows_of(board)].iloc[0]


def test_a_description_holds_what_the_line_is_and_its_three_numbers(summary):
    line = Line("sum", "mean")
    said = description_of(summary, line, "a", row_of(summary, line))
    assert said.startswith("**SYNTHETIC DATA" if summary.plan.ribbons else "**Sum / mean**, missing pattern `a`")
    assert "* AUROC on average over all patterns and rates: " in said
    assert said.count("* against Concat / zero: ") == 2
    assert "with 50 % of a hidden" in said
    assert "parameters" in said
    assert "nan" not in said


def test_the_baseline_says_that_it_is_it(summary):
    line = Line("concat", "zero")
    said = description_of(summary, line, "random", row_of(summary, line))
    assert "* the baseline: differences are taken from it" in said
    assert "against" not in said


def test_the_first_ten_lines_have_a_colour_of_their_own(summary):
    assert len(set(COLOURS)) == len(COLOURS) >= 20
    assert len({colour_of(i) for i in range(10)}) == 10
    for pattern in ("random", "a"):
        first = [c.tags[COLOUR] for c in curves_of(summary) if c.tags["pattern"] == pattern][:10]
        assert len(set(first)) == 10


def test_an_experiment_has_few_metrics_whatever_is_switched_on(summary):
    found = set()
    for curve in curves_of(summary):
        found |= {name for name, _, _ in curve.points} | set(curve.scalars)
        for trial in curve.trials:
            found |= {*trial.metrics, "trial/seconds"}
        assert curve.tags[NOTE]
    assert "differences/auroc" in found
    assert len(found) < FEWEST - 10  # two modalities here; each one more adds two


def test_differences_have_the_step_of_their_curve(summary):
    table = summary.tables.differences
    mine = table[Line("sum", "zero").rows_of(table) & (table["pattern"] == "random")]
    points = list(difference_points(mine, "auroc"))
    wanted = [(r["difference"], round(100 * r["achieved"])) for _, r in mine.iterrows()]
    assert [(v, s) for n, v, s in points if n == "differences/auroc"] == wanted
    assert {n for n, _, _ in points} == {
        "differences/auroc",
        "uncertainty/difference_low",
        "uncertainty/difference_high",
    }
    assert list(difference_points(pd.DataFrame(), "auroc")) == []
