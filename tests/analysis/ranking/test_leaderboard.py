"""The leaderboard: areas under curves with their tie groups, and what each line cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import trapezoid

from fusionbench.analysis.ranking.board import curve_weights
from fusionbench.report.lines import ranked_board
from fusionbench.statistics.components import PatientCovariance, components
from tests.builders import run_toy, toy_dataset


def test_the_leaderboard_is_the_mean_height_of_the_curves(done):
    tables = done[1].tables
    assert tables.leaderboard["area"].is_monotonic_decreasing
    ranks = tables.leaderboard["rank"].tolist()
    assert [r for r in ranks if r] == [1, 2, 3, 4]
    assert tables.leaderboard["strategy"].iloc[ranks.index(0)] == "prevalence"
    for _, line in ranked_board(done[1]).iterrows():
        mine = tables.curves.query("strategy == @line.strategy and imputer == @line.imputer")
        heights = [trapezoid(p["auroc"], p["rate"]) / 0.8 for _, p in mine.groupby("pattern")]
        assert line["area"] == pytest.approx(np.mean(heights), abs=1e-9)
        assert line["area_low"] < line["area"] < line["area_high"]
        assert line["auroc@0"] == pytest.approx(mine[mine["rate"] == 0]["auroc"].mean())
        assert line["auroc@0.8"] == pytest.approx(mine[mine["rate"] == 0.8]["auroc"].mean())
        assert line["group"] >= 1


def test_the_ledger_adds_up_what_an_arm_cost(done):
    run, summary = done
    for _, line in ranked_board(summary).iterrows():
        mine = [
            run.store.load(f.key)
            for f in run.plan.fits
            if (f.arm.title, f.arm.imputer_name) == (line["strategy"], line["imputer"])
        ]
        assert (line["models"], line["models_planned"], line["trials"]) == (4, 4, 0)
        assert line["epochs"] == sum(r.epochs for r in mine)
        assert line["parameters"] == mine[0].parameters
        assert line["seconds"] == pytest.approx(sum(r.seconds for r in mine))


def test_rates_without_zero_and_one_rate_alone_have_areas(tmp_path):
    for rates in ([0.3, 0.6], [0.5], [0]):
        _, summary = run_toy(tmp_path, strategies=["sum"], missingness={"patterns": ["random"], "rates": rates})
        curves = summary.tables.curves.query("strategy == 'sum'")
        assert curves["rate"].tolist() == rates
        wanted = np.mean(curves["auroc"]) if len(rates) < 3 else np.nan
        assert ranked_board(summary)["area"].tolist() == pytest.approx([wanted])


def test_groups_and_intervals_are_what_the_rule_says(done):
    summary = done[1]
    tables = summary.tables
    board = ranked_board(summary)
    theta = np.empty((2, 2, len(board)))
    cells, weights = tables.cells, curve_weights(["random", "a"], [0, 0.4, 0.8])
    for m, line in board.iterrows():
        mine = cells[(cells["strategy"] == line["strategy"]) & (cells["imputer"] == line["imputer"])]
        for (fold, seed), found in mine.groupby(["fold", "seed"]):
            values = found.set_index(["pattern", "rate"])["auroc"]
            theta[fold, seed, m] = sum(w * values.loc[p.pattern, p.rate] for p, w in weights.items())
    np.testing.assert_allclose(theta.mean(axis=(0, 1)), board["area"], atol=1e-9)
    again = components(theta, PatientCovariance.of(np.zeros((2, 2, len(board), 2, len(board))), np.inf))
    assert tables.design["run_sd"].iloc[0] == pytest.approx(np.sqrt(again.ms_run), rel=1e-6)
    assert set(board["group"]) <= {1, 2, 3, 4}
    assert board["group"].is_monotonic_increasing or board["group"].nunique() == 1
    assert (board["p_best"] <= 1).all()
    assert (board["area_low"] <= board["area_low_these_models"]).all()


def test_one_seed_and_one_fold_have_no_groups_and_say_so(tmp_path):
    _, summary = run_toy(tmp_path, splits={"folds": 2, "use": [0]})
    board = ranked_board(summary)
    assert (board["group"] == 0).all()
    assert board["p_best"].isna().all()
    assert summary.tables.design["not_seen"].iloc[0].startswith("One fold and one seed")
    assert summary.tables.comparisons["p"].isna().all()
    assert summary.tables.comparisons["p_these_models"].notna().all()


def test_a_lower_brier_score_leads(tmp_path):
    _, summary = run_toy(tmp_path, replace(toy_dataset(), metric="brier"), splits={"folds": 2, "seeds": [0, 1]})
    board = ranked_board(summary)
    assert board["area"].is_monotonic_increasing
    assert board["group"].iloc[0] == 1
    assert (board["area_low"] < board["area"]).all()
    assert (board["area"] < board["area_high"]).all()
