"""The map as pictures: a cell for every regime, a dot where a line could be the best, this data set among the regimes."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from fusionbench.analysis.regimes.placing import measured
from fusionbench.report.regimes.picture import _Layout, place_picture, sweep_picture
from tests.analysis.regimes.test_charted import small_map
from tests.analysis.regimes.test_placing import folds_of


def cube(*levels):
    """A map with so many values of each dial."""
    first = small_map().regimes[0]
    points = itertools.product(*(range(n) for n in levels))
    dials = ("imbalance", "redundancy", "synergy")[: len(levels)]
    return replace(small_map(), dials=dials, regimes=[replace(first, dials=point) for point in points])


@pytest.mark.parametrize("levels", [(3,), (2, 3), (2, 3, 4)])
def test_every_regime_has_a_cell_of_its_own(levels):
    charted = cube(*levels)
    layout = _Layout(charted)
    cells = [layout.at(i) for i in range(len(charted.regimes))]
    assert len(set(cells)) == len(cells)
    spread = layout.spread(np.arange(len(cells), dtype=float))
    assert spread.shape == layout.shape
    assert sorted(spread[~np.isnan(spread)]) == list(range(len(cells)))
    if len(levels) == 3:  # a gap between blocks
        assert np.isnan(spread).sum() == 2 * 3
    up, right = layout.at(charted.regimes.index(next(r for r in charted.regimes if r.dials[0] == 1)))
    assert (up, right) == (1, 0)


def test_the_picture_names_lines_rates_and_dials_and_counts():
    drawn = sweep_picture(cube(2, 2, 2), "map-test", "a caption", "SYNTHETIC DATA")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", drawn.svg)
    for said in (
        "concat",
        "sum",
        "pmr",
        "synergy",
        "redundancy",
        "imbalance 0",
        "0 % missing",
        "30 % missing",
        "SYNTHETIC DATA",
    ):
        assert said in words, said
    assert words.count("2") == 8  # of three lines two could be the best on complete data
    assert words.count("1") == 8 + 2 + 2  # one where some is missing; the other ends of the dials
    assert "concat in 50 %" in drawn.alt
    assert drawn.pdf.startswith(b"%PDF")


def test_equal_maps_give_equal_pictures():
    one, two = (sweep_picture(cube(2, 2), "map-test", "", "").svg for _ in range(2))
    assert one == two


def test_one_data_set_stands_among_the_regimes():
    found = measured(folds_of([1.4, 0.1, 1.5], 0.02), 0.95)
    drawn = place_picture(small_map(), found, [1], "place", "")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", drawn.svg)
    assert {"swept regimes", "nearest", "these data"} <= set(words)
    assert "dominance 0.87" in drawn.alt
    alone = place_picture(small_map(), measured(folds_of([1.4, 0.1, 1.5], 0.02)[:1], 0.95), [1], "place", "")
    bars = [len(re.findall(r"stroke: #d55e00; stroke-width: 1.2", one.svg)) for one in (drawn, alone)]
    assert bars == [2, 0]  # no interval with one fold
