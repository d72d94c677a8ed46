"""The table of pairs: signs, order, and where a design cannot tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusionbench.analysis.ranking.comparisons import comparison_table, difference_between
from fusionbench.plan.lines import Line, lines_of
from fusionbench.report.lines import ranked_board
from fusionbench.statistics.verdict import verdict_of
from tests.builders import run_toy, toy_dataset
from tests.statistics.test_components import board

LINES = [Line(name, "zero") for name in "abcd"]


def test_every_pair_is_there_once_the_higher_line_first():
    theta, patients = board(lines=4)
    theta[:, :, 2] += 0.05
    found = comparison_table(LINES, verdict_of(theta, patients, draws=200), 1)
    assert len(found) == 6
    assert (found["difference"] >= 0).all()
    assert found["strategy"].iloc[0] == "c"
    order = found["strategy"].drop_duplicates().tolist()
    values = theta.mean(axis=(0, 1))
    assert order == [LINES[i].strategy for i in np.argsort(-values)][:3]
    assert ((found["low"] <= found["difference"]) & (found["difference"] <= found["high"])).all()
    np.testing.assert_allclose(found[["better", "equivalent", "worse"]].sum(axis=1), 1)
    assert (found["better"] >= found["worse"]).all()


def test_differences_of_errors_are_in_the_direction_of_the_metric():
    theta, patients = board(lines=3)
    verdict = verdict_of(theta, patients, draws=200)
    up, down = (comparison_table(LINES[:3], verdict, sign) for sign in (1, -1))
    np.testing.assert_allclose(down["difference"], -up["difference"])
    np.testing.assert_allclose(down["low"], -up["high"])
    np.testing.assert_allclose(down[["better", "p", "p_adjusted"]], up[["better", "p", "p_adjusted"]])


def test_a_pair_is_looked_up_from_either_side():
    theta, patients = board(lines=3)
    found = comparison_table(LINES[:3], verdict_of(theta, patients, draws=200), 1)
    one, other = (difference_between(found, a, b) for a, b in ((LINES[0], LINES[1]), (LINES[1], LINES[0])))
    assert one.value == -other.value
    assert (one.low, one.high) == (-other.high, -other.low)
    assert one.p == other.p
    assert difference_between(found, LINES[0], LINES[3]) is None


def test_one_run_says_nothing_of_other_trainings():
    theta, patients = board(folds=1, seeds=1, lines=3)
    found = comparison_table(LINES[:3], verdict_of(theta, patients), 1)
    assert found[["p", "p_adjusted"]].isna().all(axis=None)
    assert found["p_these_models"].notna().all()


def test_one_line_has_no_pairs():
    assert len(comparison_table(LINES[:1], None, 1)) == 0
    assert len(comparison_table(LINES[:1], verdict_of(*board(lines=1)), 1)) == 0


@pytest.mark.parametrize("metric", ["auroc", "brier"])
@pytest.mark.parametrize("where", ["test", "train", "both", "grid"])
def test_differences_are_those_of_the_leaderboard(tmp_path, where, metric):
    _, summary = run_toy(
        tmp_path,
        replace(toy_dataset(), metric=metric),
        missingness={"rates": [0, 0.5], "where": where},
        splits={"folds": 2, "seeds": [0, 1]},
    )
    areas = dict(zip(lines_of(ranked_board(summary)), ranked_board(summary)["area"], strict=True))
    found = summary.tables.comparisons
    assert len(found) == len(areas) * (len(areas) - 1) / 2
    for _, row in found.iterrows():
        first, other = Line(*row.iloc[:3]), Line(*row.iloc[3:6])
        assert row["difference"] == pytest.approx(areas[first] - areas[other], abs=1e-9)
