"""What lines cost beside what they are worth."""

from __future__ import annotations

import pandas as pd

from fusionbench.contract.blocks import Picture
from fusionbench.plan.lines import Line
from fusionbench.report.charts.multiples import Worth
from fusionbench.report.decision import cost
from tests.report.decision.planted import planted, without

NAN = float("nan")


def board(**seconds):
    rows = [("concat", "zero", "", 1.0, 1.0), *((n, "zero", "", s, 1.0) for n, s in seconds.items())]
    return pd.DataFrame(rows, columns=["strategy", "imputer", "variant", "seconds", "tuning_seconds"])


def test_time_counts_tuning_too_and_is_relative_to_the_baseline():
    times = cost.times_of(board(dear=9.0), Line("concat", "zero"))
    assert times == {Line("concat", "zero"): 1.0, Line("dear", "zero"): 5.0}


def test_where_the_baseline_took_no_time_nothing_is_relative_to_it():
    free = board(dear=9.0).assign(seconds=0.0, tuning_seconds=0.0)
    assert all(t != t for t in cost.times_of(free, Line("concat", "zero")).values())


def test_who_is_beaten_in_both_is_not_among_the_best():
    found = [Worth("cheap", 1, 0.0, NAN, NAN), Worth("dear", 3, 0.02, NAN, NAN), Worth("beaten", 4, 0.01, NAN, NAN)]
    assert [w.name for w in cost.frontier(found, higher_is_better=True)] == ["cheap", "dear"]
    assert [w.name for w in cost.frontier(found, higher_is_better=False)] == ["cheap"]


def test_the_picture_names_the_best_of_both_and_tells_every_line(summary):
    found = cost.quality_against_cost(planted(summary, lambda line, *_: 0.03 if line.strategy == "hiding" else -0.03))
    assert isinstance(found, Picture)
    assert "hiding" in found.caption
    for name in ("hiding", "a only"):
        assert f"{name} " in found.alt
    assert cost.quality_against_cost(without(summary)) is None
