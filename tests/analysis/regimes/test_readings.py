"""What is read from every subset: by the line that makes the most of it, among those that look at all of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusionbench.analysis.ranking.board import BEST
from fusionbench.analysis.ranking.scores import ScoredFold, ScoreTable
from fusionbench.analysis.regimes.readings import COLUMNS, by_fold, reading_table
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.plan.lines import Line, Model

ONE, TWO, ALONE = Line("one", "zero"), Line("two", "zero"), Line("only a", "zero")
READS = {ONE: ("a", "b"), TWO: ("a", "b"), ALONE: ("a",)}
POINTS = {"a": Condition("only a", 0.0), "b": Condition("only b", 0.0), "a+b": COMPLETE}


def table(left_out=()):
    """Two folds, two seeds: line one is better on a and b, line two on both, the line of a alone on a."""
    means = {
        (ONE, "a"): 0.7,
        (ONE, "b"): 0.65,
        (ONE, "a+b"): 0.72,
        (TWO, "a"): 0.6,
        (TWO, "b"): 0.6,
        (TWO, "a+b"): 0.8,
        (ALONE, "a"): 0.75,
        (ALONE, "b"): 0.99,  # it does not look at b: whatever stands here says nothing of it
        (ALONE, "a+b"): 0.99,
        (BEST, "a+b"): 0.9,
    }
    kept = {k: v for k, v in means.items() if k not in left_out}
    models = [Model(line, POINTS[subset]) for line, subset in kept]
    values = np.array(list(kept.values()))
    folds = [
        ScoredFold(
            np.stack([values - 0.01 + fold / 100, values + 0.01 + fold / 100]), np.zeros((2, len(models), 3)), 1, 0
        )
        for fold in range(2)
    ]
    return ScoreTable("auroc", models, folds)


def test_the_line_that_makes_the_most_of_a_subset_reads_it():
    found = reading_table(table(), READS, ["a", "b"])
    assert list(found.columns) == COLUMNS
    assert list(found["subset"]) == ["a", "a", "b", "b", "a+b", "a+b"]
    assert list(found["strategy"]) == ["only a", "only a", "one", "one", "two", "two"]
    assert by_fold(found) == pytest.approx(np.array([[0.75, 0.65, 0.8], [0.76, 0.66, 0.81]]))
    assert found["ceiling"].isna().tolist() == [True] * 4 + [False] * 2


def test_there_is_none_where_a_subset_was_not_scored_or_nobody_looks_at_everything():
    gap = table([(ONE, "b"), (TWO, "b")])
    for found in (
        reading_table(gap, READS, ["a", "b"]),
        reading_table(table(), {ALONE: ("a",)}, ["a", "b"]),
        reading_table(table(), READS, ["a"]),
        reading_table(ScoreTable("auroc", [], []), READS, ["a", "b"]),
    ):
        assert found.empty
        assert list(found.columns) == COLUMNS


def test_a_run_has_them(done):
    run, summary = done
    found = summary.tables.readings
    names = list(run.dataset.modalities)
    assert len(found) == 2 * (2 ** len(names) - 1)
    everything = found[found["subset"] == "+".join(names)]
    curves = summary.tables.curves
    complete = curves[(curves["rate"] == 0) & ~curves["strategy"].isin(["ceiling", "prevalence"])]
    assert everything["auroc"].mean() == pytest.approx(complete["auroc"].max())
    only = summary.tables.subsets
    only = only[~only["strategy"].isin(["ceiling", "prevalence"])]
    for name in names:
        best = only.loc[only["subset"] == name, "auroc"].max()
        assert found.loc[found["subset"] == name, "auroc"].mean() == pytest.approx(best)
    assert isinstance(found, pd.DataFrame)
