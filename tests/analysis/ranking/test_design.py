"""What a comparison of this size sees, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.analysis.ranking.design import COLUMNS, design_words, not_seen


@pytest.mark.parametrize(
    ("folds", "seeds", "begins"),
    [(1, 1, "One fold and one seed"), (5, 1, "One seed"), (1, 3, "One fold: training runs"), (5, 3, "")],
)
def test_each_design_says_what_it_does_not_see(folds, seeds, begins):
    said = not_seen(folds, seeds)
    assert said.startswith(begins)
    assert bool(said) == bool(begins)


def test_a_run_tells_its_design(done):
    design = done[1].tables.design
    assert design.columns.tolist() == COLUMNS
    row = design.iloc[0]
    assert (row["folds"], row["seeds"], row["lines"], row["left_out"], row["not_seen"]) == (2, 2, 4, "", "")
    assert 0 < row["smallest_detectable"] < 1
    assert row["run_sd"] > 0
    assert row["dispersion"] >= 1
    dataset, smaller = done[0].dataset, []
    for fold in done[0].folds.values():
        rows = fold.test.open("test")
        having = [len(np.unique(dataset.groups[rows][dataset.target[rows] == c])) for c in (0, 1)]
        smaller.append(min(having) - 1)
    assert row["patients_df"] == sum(smaller)


def test_every_board_says_what_it_can_show(done):
    design = done[1].tables.design
    (said,) = design_words(design)
    assert said.startswith("A run of this size shows a difference of ")
    more = design.assign(not_seen="One seed.", unstable_lines="lmf / zero", left_out="sum / zero: no model is there")
    assert len(design_words(more)) == 4
    assert design_words(design.assign(smallest_detectable=float("nan"))) == []
