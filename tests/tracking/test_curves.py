"""Degradation curves as they are logged: what they are named by, and when they count as changed."""

from __future__ import annotations

import io
from dataclasses import replace

import pandas as pd
import pytest

from fusionbench.report.lines import ranked_board
from fusionbench.tracking.curves import Curve, curves_of, legal, section
from fusionbench.tracking.predictions import PREDICTIONS
from tests.builders import make_run, toy_dataset

TWO = {"patterns": ["random", "a"], "rates": [0, 0.5]}


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("curves"), toy_dataset(), missingness=TWO)
    return run.execute()


@pytest.fixture(scope="module")
def curves(summary):
    return list(curves_of(summary))


def test_curves_come_pattern_by_pattern_the_best_arm_first(summary, curves):
    order = [f"{line['strategy']} / {line['imputer']}" for _, line in ranked_board(summary).iterrows()]
    assert [c.name for c in curves] == [f"{line} / {pattern}" for pattern in ("random", "a") for line in order]


def test_points_are_those_of_the_table_by_what_was_really_hidden(summary, curves):
    table = summary.tables.curves
    for curve in curves:
        strategy, imputer, pattern = curve.name.split(" / ")
        mine = table[(table["strategy"] == strategy) & (table["imputer"] == imputer) & (table["pattern"] == pattern)]
        wanted = [("curves/auroc", r["auroc"], round(100 * r["achieved"])) for _, r in mine.iterrows()]
        assert [point for point in curve.points if point[0] == "curves/auroc"] == wanted


def test_ends_of_intervals_have_a_section_of_their_own():
    assert [section(n) for n in ("auroc", "auroc_low", "auroc_high")] == [
        "curves/auroc",
        "uncertainty/auroc_low",
        "uncertainty/auroc_high",
    ]


def test_every_curve_has_a_key_of_its_own_and_the_same_in_the_next_run(summary, curves):
    again = list(curves_of(summary))
    assert [c.key for c in again] == [c.key for c in curves]
    assert len({c.key for c in curves}) == len(curves) == 4
    assert [c.content for c in again] == [c.content for c in curves]


def test_times_are_logged_and_do_not_make_a_curve_another_one(curves):
    (curve, *_) = curves
    assert curve.scalars["totals/seconds"] > 0
    slower = replace(curve, scalars={**curve.scalars, "totals/seconds": 1e6, "totals/tuning_seconds": 1e6})
    assert slower.content == curve.content


def test_numbers_cells_and_settings_make_a_curve_another_one(curves):
    (curve, *_) = curves
    name, value, step = curve.points[0]
    others = [
        replace(curve, points=[(name, value + 1e-9, step), *curve.points[1:]]),
        replace(curve, scalars={**curve.scalars, "summary/area": 0.5}),
        replace(curve, params={**curve.params, "pattern": "b"}),
        replace(curve, cells=curve.cells.iloc[1:]),
        replace(curve, predictions=curve.cells.copy),
    ]
    assert len({curve.content, *(other.content for other in others)}) == 6


def test_the_files_hold_the_points_and_the_cells(curves):
    (curve, *_) = curves
    files = curve.files()
    assert set(files) == {"curve.csv", "cells.parquet"}
    points = pd.read_csv(io.BytesIO(files["curve.csv"]))
    of_epochs = [
        p for p in curve.points if p[0] == "epochs/validation_score"
    ]  # their step is an epoch, and no percentage
    assert [step for _, _, step in of_epochs] == list(range(1, 1 + len(of_epochs)))
    assert len(of_epochs) > 1
    assert list(points.itertuples(index=False, name=None)) == [p for p in curve.points if p not in of_epochs]
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(files["cells.parquet"])), curve.cells)


def test_predictions_are_a_file_where_they_are_asked_for():
    rows = pd.DataFrame({"p": [0.5]})
    curve = Curve("k", "n", [], {}, {}, {}, rows, predictions=lambda: rows)
    assert set(curve.files()) == {"curve.csv", "cells.parquet", PREDICTIONS}


def test_addresses_of_servers_are_no_parameters(tmp_path):
    run = make_run(tmp_path, toy_dataset(), strategies=["sum"], tracking={"uri": "http://user:secret@server"})
    found = list(curves_of(run.execute()))
    assert found
    assert not any("secret" in text for curve in found for text in curve.params.values())


@pytest.mark.parametrize(("name", "wanted"), [("a+b", "a_b"), ("x (y)", "x _y_"), ("a.b-c_d /1", "a.b-c_d /1")])
def test_names_are_made_such_that_the_tracking_server_takes_them(name, wanted):
    assert legal(name) == wanted


def test_the_skill_is_logged_recalibrated_and_raw_under_names_that_the_server_takes(summary, curves):
    board = summary.tables.leaderboard
    for curve in curves:
        row = board[board["strategy"] == curve.tags["strategy"]].iloc[0]
        for name in ("brier_skill", "brier_skill.raw", f"{summary.plan.dataset.metric}.raw"):
            assert curve.scalars[f"summary/{name} at 0"] == row[f"{name}@0"]
        assert all(legal(name) == name for name in curve.scalars)
        assert {"brier", "brier.raw", "brier_skill", "brier_skill.raw"} <= set(curve.cells)
