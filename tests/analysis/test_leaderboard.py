"""The leaderboard: areas under curves with their tie groups, and what each line cost."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import trapezoid

from fusionbench.analysis.leaderboard import areas_of
from fusionbench.config.sections import EvaluationSection
from fusionbench.metrics.intervals import Bootstrap
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.plan.lines import Line, Model
from tests.builders import run_toy


def test_the_leaderboard_is_the_mean_height_of_the_curves(done):
    tables = done[1].tables
    assert tables.leaderboard["area"].is_monotonic_decreasing
    assert tables.leaderboard["rank"].tolist() == [1, 2, 3, 4]
    for _, line in tables.leaderboard.iterrows():
        mine = tables.curves.query("strategy == @line.strategy and imputer == @line.imputer")
        heights = [trapezoid(p["auroc"], p["rate"]) / 0.8 for _, p in mine.groupby("pattern")]
        assert line["area"] == pytest.approx(np.mean(heights), abs=1e-9)
        assert line["area_low"] < line["area"] < line["area_high"]
        assert line["auroc@0"] == pytest.approx(mine[mine["rate"] == 0]["auroc"].mean())
        assert line["auroc@0.8"] == pytest.approx(mine[mine["rate"] == 0.8]["auroc"].mean())
        assert line["tie_group"] >= 1


def test_the_ledger_adds_up_what_an_arm_cost(done):
    run, summary = done
    for _, line in summary.tables.leaderboard.iterrows():
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
        curves = summary.tables.curves
        assert curves["rate"].tolist() == rates
        wanted = np.mean(curves["auroc"]) if len(rates) < 3 else np.nan
        assert summary.tables.leaderboard["area"].tolist() == pytest.approx([wanted])


POINTS = [COMPLETE, Condition("random", 0.2), Condition("random", 0.8), Condition("a", 0.2), Condition("a", 0.8)]


def areas(heights, metric="auroc", points=POINTS):
    """Areas of lines by name, from the metric at each point; resamples move all of them a little, each on its own."""
    models = [
        Model(Line(name, "zero"), p) for name, line in heights.items() for p, _ in zip(points, line, strict=False)
    ]
    point = np.array([v for line in heights.values() for v in line])
    moved = point[:, None] + np.random.default_rng(0).normal(0, 0.001, (len(point), 400))
    study = SimpleNamespace(
        metric=metric, patterns=["random", "a"], rates=[0, 0.2, 0.8], evaluation=EvaluationSection()
    )
    found = areas_of(models, Bootstrap(point, moved, np.ones(400, dtype=np.bool_)), study)
    return {line.strategy: value for line, value in found.items()}


def test_an_area_weighs_steps_by_their_width_and_patterns_alike():
    value = areas({"sum": [0.9, 0.8, 0.6, 0.7, 0.5]})["sum"][0].value
    random = (0.2 * (0.9 + 0.8) / 2 + 0.6 * (0.8 + 0.6) / 2) / 0.8
    alone = (0.2 * (0.9 + 0.7) / 2 + 0.6 * (0.7 + 0.5) / 2) / 0.8
    assert value == pytest.approx((random + alone) / 2, abs=1e-12)


def test_a_line_that_lacks_a_point_has_no_area():
    assert set(areas({"whole": [0.9, 0.8, 0.7, 0.8, 0.7], "gap": [0.9, 0.8, 0.7, 0.8]})) == {"whole"}
    assert areas({"gap": [0.9]}) == {}


def test_the_ceiling_and_the_prediction_of_nothing_are_not_ranked():
    line = [0.9, 0.8, 0.7, 0.8, 0.7]
    assert set(areas({"sum": line, "ceiling": [1.0] * 5, "": [0.5] * 5})) == {"sum"}


@pytest.mark.parametrize(("metric", "groups"), [("auroc", [1, 1, 2]), ("brier", [2, 2, 1])])
def test_tie_groups_count_from_the_better_end(metric, groups):
    found = areas({"a": [0.9] * 5, "b": [0.9] * 5, "c": [0.5] * 5}, metric)
    assert [found[name][1] for name in "abc"] == groups
