"""The map of regimes: written and read, tabulated, and the one in the package."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusionbench.analysis.regimes.charted import Made, Regime, RegimeMap, read_map
from fusionbench.keys import PROTOCOL_VERSION


def small_map(**made):
    """Two regimes, two rates, three lines."""
    how = Made("a command", "0.1", PROTOCOL_VERSION, "2 data sets", "1 fold")._replace(**made)
    first = Regime(
        dials=(0, 0),
        place=(0.1, 0.0, 0.0),
        known=(0.0, 0.0, 0.0),
        ceiling=(0.92, 0.88),
        achieved=(0, 0.3),
        values=((0.9, 0.8, 0.9), (0.8, 0.7, 0.85)),
        possible=((0, 2), (2,)),
    )
    second = replace(first, dials=(1, 0), place=(0.9, 0.0, 0.0), possible=((0, 1, 2), (1,)))
    return RegimeMap(
        how, ("imbalance", "synergy"), "random", "auroc", ("concat", "sum", "pmr"), (0.0, 0.6), (first, second)
    )


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(small_map().text(), encoding="utf-8")
    again = read_map(path)
    assert again.made == small_map().made
    np.testing.assert_array_equal(again.possible, small_map().possible)
    np.testing.assert_array_equal(again.values, small_map().values)
    assert again.table().equals(small_map().table())
    assert len(path.read_text(encoding="utf-8").splitlines()) == 5  # one regime a line: changes can be read


def test_the_table_has_a_row_for_each_regime_rate_and_line():
    found = small_map().table()
    assert len(found) == 2 * 2 * 3
    row = found[(found["imbalance"] == 0) & (found["rate"] == 0.6) & (found["strategy"] == "sum")].iloc[0]
    assert row["regret"] == pytest.approx(0.18)
    assert row["behind_the_best_line"] == pytest.approx(0.15)
    assert not row["possible_best"]
    assert small_map().regret[0, 1, 1] == pytest.approx(0.18)
    assert found["possible_best"].sum() == 2 + 1 + 3 + 1
    assert small_map().reach == pytest.approx(0.5**0.5)


def test_a_map_of_another_protocol_is_known_to_be_one():
    assert not small_map().older
    assert small_map(protocol=PROTOCOL_VERSION - 1).older


def test_a_map_of_another_format_is_refused(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(small_map().text().replace('"format": 1', '"format": 2'), encoding="utf-8")
    with pytest.raises(ValueError, match="format 2; this version reads 1"):
        read_map(path)


def test_without_a_ceiling_lines_are_held_against_the_best_of_them():
    blind = replace(small_map(), regimes=[replace(r, ceiling=(), known=()) for r in small_map().regimes])
    assert not blind.planted
    np.testing.assert_allclose(blind.regret[0], [[0, 0.1, 0], [0.05, 0.15, 0]])
    assert blind.table()["regret"].isna().all()
    lower = replace(blind, metric="brier")
    np.testing.assert_allclose(lower.regret[0], [[0.1, 0, 0.1], [0.1, 0, 0.15]])
