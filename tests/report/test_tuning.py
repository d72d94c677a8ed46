"""The section about tuning: a picture of the best so far, and what tuned lines gained."""

from __future__ import annotations

from fusionbench.contract.blocks import Picture, Table
from fusionbench.report.lines import ranked_board
from fusionbench.report.tuning import tuning
from fusionbench.tracking.curves import curves_of
from tests.builders import run_toy


def test_the_section_shows_the_course_of_the_trials_and_the_gain_and_mlflow_gets_it(tmp_path):
    _, summary = run_toy(tmp_path, tuning={"trials": 2, "common": {"learning_rate": {"low": 1e-3, "high": 1e-1}}})
    section = tuning(summary)
    (picture,) = [b for b in section.blocks if isinstance(b, Picture)]
    (table,) = [b for b in section.blocks if isinstance(b, Table)]
    assert "Best validation score so far" in picture.alt
    board = ranked_board(summary)
    assert [row[0].split(" / ")[0] for row in table.rows] == board["strategy"].tolist()
    assert [row[3] for row in table.rows] == [f"{v:.3f}".lstrip("0") for v in board["untuned"]] or all(
        float(row[3]) == round(v, 3) for row, v in zip(table.rows, board["untuned"], strict=True)
    )
    curve = next(iter(curves_of(summary)))
    assert [step for name, _, step in curve.points if name == "tuning/best_so_far"] == [0, 1]
    assert b"best_so_far" not in curve.files()["curve.csv"]


def test_without_trials_there_is_no_section(tmp_path):
    assert tuning(run_toy(tmp_path)[1]) is None
