"""Cells that are missing take as little with them as possible, by a rule that does not look at scores."""

from __future__ import annotations

import numpy as np

from fusionbench.statistics.selection import compared_cells
from tests.statistics.sheet import sheet


def test_cells_that_are_compared():
    given = sheet("incomplete_cells")
    for present, expected in zip(given["inputs"]["present"], given["expected"]["cases"], strict=True):
        found = compared_cells(np.array(present, dtype=bool))
        assert {k: list(getattr(found, k)) for k in ("folds", "seeds", "lines")} == {
            k: list(expected[k]) for k in ("folds", "seeds", "lines")
        }


def test_everything_stays_where_nothing_is_missing():
    found = compared_cells(np.ones((3, 2, 4), dtype=bool))
    assert found == ((0, 1, 2), (0, 1), (0, 1, 2, 3), (), (), ())


def test_a_fold_without_any_value_leaves_and_is_named():
    present = np.ones((3, 2, 2), dtype=bool)
    present[1] = False
    found = compared_cells(present)
    assert found.folds == (0, 2)
    assert found.empty_folds == (1,)


def test_one_seed_with_a_gap_leaves_and_the_line_stays():
    present = np.ones((2, 3, 2), dtype=bool)
    present[0, 2, 1] = False
    found = compared_cells(present)
    assert (found.seeds, found.lines, found.gaps) == ((0, 1), (0, 1), ())


def test_a_line_with_gaps_in_most_seeds_leaves_and_is_named():
    present = np.ones((2, 3, 3), dtype=bool)
    present[0, :2, 1] = False
    found = compared_cells(present)
    assert (found.seeds, found.lines, found.gaps) == ((0, 1, 2), (0, 2), (1,))


def test_nothing_is_left_of_nothing():
    found = compared_cells(np.zeros((2, 2, 2), dtype=bool))
    assert (found.folds, found.seeds, found.lines) == ((), (), ())
    assert found.empty_folds == (0, 1)
