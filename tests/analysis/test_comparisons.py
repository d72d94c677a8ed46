"""Tests over folds and seeds: the areas they compare, and the table beside scipy and by-hand values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fusionbench.analysis.comparisons import comparison_table, repetition_areas
from fusionbench.metrics.statistics import corrected_resampled_t, friedman
from tests.builders import run_toy

ARMS = [("best", "zero", ""), ("middle", "zero", ""), ("worst", "mean", "")]


def drawn_areas(repetitions=8):
    draw = np.random.default_rng(0)
    base = draw.normal(0.8, 0.02, repetitions)
    values = np.stack([base, base - 0.01 + draw.normal(0, 0.01, repetitions), base - 0.1], axis=1)
    index = pd.MultiIndex.from_tuples([(f, s) for f in range(repetitions // 2) for s in (0, 1)], names=["fold", "seed"])
    return pd.DataFrame(dict(zip(ARMS, values.T, strict=True)), index=index)


def test_each_test_is_the_one_it_is_named_after():
    areas = drawn_areas()
    table = comparison_table(areas, ARMS, 80, 20, higher_is_better=True).set_index("strategy")
    leader, middle = areas[ARMS[0]].to_numpy(), areas[ARMS[1]].to_numpy()
    assert table.loc["middle", "p_paired_t"] == pytest.approx(stats.ttest_rel(leader, middle).pvalue)
    assert table.loc["middle", "p_wilcoxon"] == pytest.approx(stats.wilcoxon(leader - middle).pvalue)
    assert table.loc["middle", "p_corrected_t"] == pytest.approx(corrected_resampled_t(leader, middle, 80, 20).p_value)
    assert table.loc["middle", "difference"] == pytest.approx((leader - middle).mean())
    assert table["friedman_p"].nunique() == 1
    assert table["friedman_p"].iloc[0] == pytest.approx(friedman(areas[ARMS].to_numpy()).p_value)
    assert table["mean_rank"].sum() == pytest.approx(1 + 2 + 3)


def test_holm_corrects_over_the_table_and_the_leader_is_not_compared_with_itself():
    table = comparison_table(drawn_areas(), ARMS, 80, 20, higher_is_better=True).set_index("strategy")
    assert table.loc["best", ["p_paired_t", "holm_paired_t"]].isna().all()
    raw = table["p_paired_t"].dropna().sort_values()
    assert table.loc[raw.index[0], "holm_paired_t"] == pytest.approx(2 * raw.iloc[0])


def test_an_arm_with_a_gap_is_left_out_and_one_repetition_compares_nothing():
    areas = drawn_areas()
    areas.loc[areas.index[0], [ARMS[1]]] = np.nan
    assert comparison_table(areas, ARMS, 80, 20, higher_is_better=True)["strategy"].tolist() == ["best", "worst"]
    assert len(comparison_table(areas.iloc[:1], ARMS, 80, 20, higher_is_better=True)) == 0


def test_the_areas_of_repetitions_have_the_mean_that_the_leaderboard_shows(tmp_path):
    _, summary = run_toy(
        tmp_path,
        missingness={"patterns": ["random", "a"], "rates": [0, 0.3, 0.8]},
        splits={"folds": 2, "seeds": [0, 1]},
    )
    table = summary.tables.comparisons.set_index("strategy")
    board = summary.tables.leaderboard.set_index("strategy")
    assert table.index.tolist() == board.index.tolist()
    assert table["difference"].to_numpy() == pytest.approx((board["area"].iloc[0] - board["area"]).to_numpy(), abs=1e-9)


@pytest.mark.parametrize("where", ["train", "both", "grid"])
def test_areas_lie_on_the_curves_wherever_absences_are(tmp_path, where):
    _, summary = run_toy(
        tmp_path, missingness={"rates": [0, 0.5], "where": where}, splits={"folds": 2, "seeds": [0, 1]}
    )
    board = summary.tables.leaderboard
    table = summary.tables.comparisons
    assert table["difference"].to_numpy() == pytest.approx((board["area"].iloc[0] - board["area"]).to_numpy(), abs=1e-9)


def test_a_point_of_two_patterns_at_rate_zero_is_counted_for_both():
    cells = pd.DataFrame(
        {
            "strategy": "s",
            "imputer": "zero",
            "variant": "",
            "fold": 0,
            "seed": 0,
            "point_pattern": ["complete", "random", "a"],
            "point_rate": [0.0, 0.5, 0.5],
            "auroc": [0.9, 0.7, 0.5],
        }
    )
    areas = repetition_areas(cells, "auroc", ["random", "a"], [0.0, 0.5])
    assert areas.to_numpy().tolist() == [[pytest.approx(0.5 * 0.8 + 0.5 * 0.7)]]
