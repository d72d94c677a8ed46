"""The sections about trained models beyond their score."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd

from fusionbench.analysis.words import number
from fusionbench.report import Picture, models
from fusionbench.report.charts import drawing
from fusionbench.report.lines import places
from tests.builders import make_run, toy_dataset


def test_traces_are_drawn_where_a_strategy_recorded_them(summary):
    assert models.traces(summary) is None
    rows = [("concat", "zero", "", 0, 0, "beta", w, e, e / 10) for w in ("a", "z") for e in (1, 2, 3)]
    columns = ["strategy", "imputer", "trained_at", "fold", "seed", "what", "which", "epoch", "value"]
    found = models.traces(replace(summary, traces=pd.DataFrame(rows, columns=columns)))
    (picture,) = [b for b in found.blocks if isinstance(b, Picture)]
    assert re.findall(r'id="trace-1-arm(\d)"', picture.svg) == ["0", "1"]
    assert "beta over 3 epochs" in picture.alt


def test_a_regulariser_is_named_in_what_it_recorded(tmp_path, undrawn):
    lines = [{"name": "concat", "label": "lazy", "regularisers": ["tla"]}]
    training = {"epochs": 2, "batch_size": 32, "traces": True}
    run = make_run(tmp_path, toy_dataset(), strategies=lines, training=training, tuning={"trials": 0})
    summary = run.execute()
    assert set(summary.traces["what"]) == {"regulariser.0.lazy"}
    assert models._what(summary, ("lazy", "zero"), "regulariser.0.lazy") == "tla lazy"


def test_calibration_errors_are_means_over_the_cells_with_complete_data(summary, undrawn):
    table = models.calibration(summary).blocks[-1]
    cells = summary.tables.cells
    mine = cells[(cells["strategy"] == "hiding") & (cells["pattern"] == "complete")]
    row = next(row for row in table.rows if row[0] == "hiding / zero")
    titles = [f"{name}{end}" for name in ("ECE", "Brier score", "log loss") for end in ("", ", raw")]
    assert table.columns == ["strategy / imputer", *titles]
    names = [f"{name}{end}" for name in ("ece", "brier", "log_loss") for end in ("", ".raw")]
    assert row[1:] == [number(mine[name].mean()) for name in names]


def test_the_best_lines_have_a_diagram_in_the_order_of_the_leaderboard(summary, undrawn, monkeypatch):
    monkeypatch.setattr(drawing, "TOGETHER", 2)
    found = models.calibration(summary)
    pictures = [b for b in found.blocks if isinstance(b, Picture)]
    assert [p.name for p in pictures] == ["calibration-1", "calibration-2"]
    assert found.blocks[-1].caption.endswith("Drawn above: the first 2 lines.")
    assert [row[0] for row in found.blocks[-1].rows] == [f"{s} / {i}" for s, i, _ in places(summary)]


def test_without_predictions_on_complete_data_there_is_no_calibration(summary):
    tables = replace(summary.tables, calibration=summary.tables.calibration.iloc[:0])
    assert models.calibration(replace(summary, tables=tables)) is None
