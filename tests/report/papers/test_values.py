"""Published values in the paper's layout; the paper's own test beside ours."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from fusionbench.analysis.published import Value
from fusionbench.report.papers.values import Found, compared_by_both, count_words, value_tables


def value(row, column, number, strategy="concat", **changes):
    given = {
        "paper": "P",
        "table": "table 1",
        "row": row,
        "column": column,
        "task": "t",
        "modalities": "a+b",
        "label": "",
    }
    given |= {"strategy": strategy, "regularisers": "", "imputer": "zero", "pattern": "", "rate": 0, "measure": "score"}
    return Value(**{**given, "metric": "auroc", "value": number, "obtained": "printed", "hand": "first", **changes})


VALUES = [value("x", "A", 0.8), value("x", "B", 0.9, "sum"), value("y", "A", 0.7, hand="second")]


def found(row, column, ours, strategy, *, synthetic, protocol=""):
    series = {"strategy": strategy, "imputer": "zero", "ours": ours, "ours_low": ours - 0.1, "ours_high": ours + 0.1}
    series |= {
        "difference": ours - 0.8,
        "measure": "score",
        "metric": "auroc",
        "protocol": protocol,
        "cohort": "others",
    }
    return {("table 1", row, column, "score"): Found(pd.Series(series), synthetic, strategy.title())}


def test_on_comparable_data_both_stand_in_one_cell():
    ours = found("x", "A", 0.75, "concat", synthetic=False, protocol="splits.folds: 3, the paper 5")
    both, agreement = value_tables(VALUES, ours, "table 1")
    assert list(both.columns) == ["row", "A", "B"]
    assert both.rows == [["x", ".800 | .750 [.650, .850] | -.050", ".900"], ["y", ".700", "-"]]
    assert not both.folded
    assert agreement.rows == [["x", "A", "Concat", "same", "others", "splits.folds: 3, the paper 5", "printed"]]


def test_on_made_up_data_published_values_are_folded_and_all_there():
    ours, published, sources = value_tables(VALUES, found("x", "A", 0.75, "concat", synthetic=True), "table 1")
    assert ours.rows == [["x", ".750 [.650, .850]", "-"], ["y", "-", "-"]]
    assert (published.folded, published.rows) == (True, [["x", ".800", ".900"], ["y", ".700", "-"]])
    assert "published on other data" in published.caption
    assert [row[-1] for row in sources.rows] == ["printed", "printed", "printed (second hand)"]


def test_without_a_run_published_values_stand_alone():
    published, _ = value_tables(VALUES, {}, "table 1")
    assert not published.folded
    assert list(value_tables([], {}, "table 1")) == []
    assert count_words(VALUES, {}) == "0 of 3 published values have ours beside them."


def summary_of(folds, p):
    cells = [
        (s, "zero", "complete@0", "complete", 0, fold, score)
        for s, scores in folds.items()
        for fold, score in enumerate(scores)
    ]
    names = ["strategy", "imputer", "trained_at", "pattern", "rate", "fold", "auroc"]
    pair = [("concat", "zero", "", "sum", "zero", "", -0.15, -0.2, -0.1, p, p, p)]
    columns = ["strategy", "imputer", "trained_at", "other_strategy", "other_imputer", "other_trained_at"]
    columns += ["difference", "low", "high", "p", "p_adjusted", "p_these_models"]
    comparisons = pd.DataFrame(pair, columns=columns)
    return SimpleNamespace(tables=SimpleNamespace(cells=pd.DataFrame(cells, columns=names), comparisons=comparisons))


@pytest.mark.parametrize(("p", "said"), [(0.2, "not shown"), (0.01, "better *")])
def test_the_papers_test_and_ours_stand_side_by_side(p, said):
    ours = found("x", "A", 0.75, "concat", synthetic=True) | found("x", "B", 0.9, "sum", synthetic=True)
    folds = {"concat": [0.74, 0.75, 0.76], "sum": [0.89, 0.90, 0.915]}
    table = compared_by_both("sum", VALUES, ours, summary_of(folds, p))
    assert table.rows == [["x", "Sum and Concat", "+.150", "< .001", "better *", f"{p:.3f}".lstrip("0"), said]]
    assert compared_by_both("dwfuse", VALUES, ours, summary_of(folds, p)) is None
