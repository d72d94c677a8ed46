"""The table of differences: its rows, its signs, and that it never contradicts the other tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusionbench.analysis.ranking.comparisons import difference_between
from fusionbench.analysis.ranking.differences import AREA, COLUMNS
from fusionbench.plan.lines import Line, lines_of
from fusionbench.report.lines import ranked_board
from tests.builders import run_toy, toy_dataset


def test_every_line_has_every_point_and_its_area(done):
    _, summary = done
    found, curves = summary.tables.differences, summary.tables.curves
    assert list(found.columns) == COLUMNS
    lines = lines_of(ranked_board(summary))
    assert set(lines_of(found)) == set(lines)
    points = set(zip(curves["pattern"], curves["rate"], strict=True))
    for line in lines:
        mine = found[line.rows_of(found)]
        assert set(zip(mine["pattern"], mine["rate"], strict=True)) - {(AREA, np.nan)} >= points
        assert (mine["rate"].isna().sum(), len(mine)) == (1, len(points) + 1)


@pytest.mark.parametrize("metric", ["auroc", "brier"])
@pytest.mark.parametrize("where", ["test", "both", "grid"])
def test_differences_are_those_of_curves_and_of_pairs(tmp_path, where, metric):
    _, summary = run_toy(
        tmp_path,
        replace(toy_dataset(), metric=metric),
        missingness={"rates": [0, 0.5], "where": where},
        splits={"folds": 2, "seeds": [0, 1]},
        evaluation={"baseline": "sum / zero", "resamples": 100},
    )
    found, curves, board = summary.tables.differences, summary.tables.curves, ranked_board(summary)
    base = summary.baseline
    assert base[:2] == ("sum", "zero")
    values = {
        (*line, p, r): v
        for line, p, r, v in zip(*(lines_by(curves), *(curves[c] for c in ("pattern", "rate", metric))), strict=True)
    }
    for line, (_, row) in zip(lines_by(found), found.iterrows(), strict=True):
        if row["rate"] == row["rate"]:
            key = (row["pattern"], row["rate"])
            assert row["difference"] == pytest.approx(values[*line, *key] - values[*base, *key], abs=1e-9)
            continue
        areas = dict(zip(lines_of(board), board["area"], strict=True))
        assert row["difference"] == pytest.approx(areas[line] - areas[base], abs=1e-9)
        group = dict(zip(lines_of(board), board["group"], strict=True))[line]
        assert bool(row["possible_best"]) == (group == 1)
        pair = difference_between(summary.tables.comparisons, line, base)
        if pair is not None:
            assert row["p_adjusted"] == pytest.approx(pair.p_adjusted)
            assert (row["difference_low"], row["difference_high"]) == pytest.approx((pair.low, pair.high))
    assert ((found["difference_low"] <= found["difference"]) & (found["difference"] <= found["difference_high"])).all()
    points = found[found["rate"].notna()]
    assert (points["p_adjusted"] >= points["p"]).all()


def lines_by(frame):
    """The line of each row."""
    return list(map(Line, frame["strategy"], frame["imputer"], frame["variant"]))


def test_what_is_shown_is_in_the_direction_of_the_metric(tmp_path):
    """A line that reads noise only is worse, whichever way the metric points."""
    dataset = toy_dataset()
    for metric in ("auroc", "brier"):
        _, summary = run_toy(
            tmp_path / metric,
            replace(dataset, metric=metric),
            strategies=["concat", "sum"],
            missingness={"rates": [0, 0.5]},
            splits={"folds": 3, "seeds": [0, 1]},
            evaluation={"resamples": 100},
        )
        found = summary.tables.differences
        sign = 1 if metric == "auroc" else -1
        for _, row in found.iterrows():
            if row["shown"]:
                assert (row["shown"] == "better") == (sign * row["difference"] > 0)
                assert row["p_adjusted"] < 0.05


def test_one_training_shows_nothing_and_one_line_is_its_own_baseline(tmp_path):
    _, one = run_toy(tmp_path / "a", splits={"folds": 2, "use": [0]}, missingness={"rates": [0, 0.5]})
    found = one.tables.differences
    assert (found["shown"] == "").all()
    assert not found["possible_best"].any()
    assert found["difference_low"].isna().all()
    assert found["difference_low_these_models"].notna().all()
    _, alone = run_toy(tmp_path / "b", strategies=["concat"], splits={"folds": 2, "seeds": [0]})
    assert (alone.tables.differences["difference"] == 0).all()
