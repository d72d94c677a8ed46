"""The columns of the leaderboard: one entry each, found in every output."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fusionbench.analysis import columns
from fusionbench.analysis.columns import Column
from fusionbench.analysis.ranking import leaderboard
from fusionbench.report.lines import ranked_board
from fusionbench.report.record import record
from fusionbench.report.results import _ledger, _ranking_table
from fusionbench.screen.jsonlines import JsonLines
from fusionbench.screen.terminal import print_summary
from fusionbench.tracking.curves import curves_of
from fusionbench_plugins.observers.files import Files
from tests.builders import make_run, run_toy

LEDGER = ["models", "models_planned", "trials", "tuning_epochs", "epochs", "epochs_allowed", "rows", "parameters"]
TIMED = ["seconds", "tuning_seconds", "memory_mb"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_toy(tmp_path_factory.mktemp("columns"))[1]


def on_screen(summary):
    file = io.StringIO()
    print_summary(Console(file=file, width=400, color_system=None), summary)
    return file.getvalue()


def outputs(workspace):
    """Return, for each output, the names or titles of the columns in it."""
    run = make_run(workspace)
    summary = run.execute([Files(run.benchmark, workspace)])
    folder, told = workspace / "reports" / "toy", io.StringIO()
    JsonLines(told, quiet=True).summary(summary)
    events = [json.loads(line) for line in told.getvalue().splitlines()]
    return {
        "table": set(summary.tables.leaderboard),
        "screen": set(
            next(w for w in on_screen(summary).splitlines() if "strategy" in w and "┃" in w)
            .replace("┃", "  ")
            .split("  ")
        ),
        "page": {*_ranking_table(summary).columns, *_ledger(summary).columns},
        "below": {*_ranking_table(summary).caption.split(". "), *_ledger(summary).caption.split(". ")},
        "leaderboard.csv": set(pd.read_csv(folder / "leaderboard.csv")),
        "ledger.csv": set(pd.read_csv(folder / "ledger.csv")),
        "MLflow": set(next(curves_of(summary)).scalars),
        "timed in MLflow": columns.timings(),
        "record.json": set(record(summary)["leaderboard"][0]),
        "json lines": set(next(e for e in events if e["event"] == "leaderboard")),
    }


def computed(monkeypatch, **values):
    """Compute more columns, where the others are computed."""
    ledger = leaderboard._ledger
    monkeypatch.setattr(leaderboard, "_ledger", lambda *args: {**ledger(*args), **values})


def test_a_column_that_is_computed_and_declared_is_in_every_output(tmp_path, monkeypatch):
    computed(monkeypatch, profit=0.125)
    monkeypatch.setattr(columns, "BOARD", (*columns.BOARD, Column("profit", "profit", "what is won")))
    found = outputs(tmp_path)
    places = ("table", "screen", "page", "leaderboard.csv", "record.json", "json lines")
    assert {place: "profit" in {name.strip() for name in found[place]} for place in places} == dict.fromkeys(
        places, True
    )
    assert "summary/profit" in found["MLflow"]
    assert "Profit: what is won" in found["below"]


def test_a_cost_that_differs_between_equal_runs_is_in_every_output_but_those_that_are_compared(tmp_path, monkeypatch):
    computed(monkeypatch, joules=7.0)
    column = Column("joules", "energy", "of the device", cell=columns._whole, differs=True)
    monkeypatch.setattr(columns, "LEDGER", (*columns.LEDGER, column))
    found = outputs(tmp_path)
    assert "joules" in found["ledger.csv"] & found["table"] & found["json lines"] & found["record.json"]
    assert "joules" not in found["leaderboard.csv"]
    assert "totals/joules" in found["MLflow"] & found["timed in MLflow"]
    assert "energy" in {name.strip() for name in found["screen"]} & found["page"]
    assert {line.rstrip(".") for line in found["below"]} >= {"Energy: of the device"}


def test_tables_from_before_a_column_was_there_are_made_again(tmp_path, monkeypatch):
    run_toy(tmp_path)
    computed(monkeypatch, profit=0.125)
    assert "profit" not in run_toy(tmp_path)[1].tables.leaderboard, "nobody declared it: what is stored is read"
    monkeypatch.setattr(columns, "BOARD", (*columns.BOARD, Column("profit", "profit")))
    assert set(ranked_board(run_toy(tmp_path)[1])["profit"]) == {0.125}


def test_every_column_of_the_leaderboard_is_declared(finished):
    declared = {c.name for c in columns._of(columns._declared(), finished.plan)}
    others = {"auroc@0"}  # other metrics than the task's are beside it where they ask for it
    assert set(finished.tables.leaderboard) - others <= declared
    assert columns.always_there() <= set(finished.tables.leaderboard)


def test_promised_orders(finished):
    board = finished.tables.leaderboard
    assert list(columns.ledger_of(board)) == ["strategy", "imputer", *LEDGER, *TIMED]
    assert [c for c in board if c not in set(columns.compared(board))] == TIMED
    assert list(columns.recorded(finished.plan, board)) == [
        *("strategy", "imputer", "trained_at", "group", "area", "area_low", "area_high"),
        *("area_low_these_models", "area_high_these_models", "p_best", "unstable"),
        *("below_prevalence", "beats_control"),
        *("brier_skill@0", "brier_skill.raw@0", "auroc.raw@0", "validation_minus_test", "models", "models_planned"),
    ]
    assert columns.timings() == {f"totals/{name}" for name in [*TIMED, "untuned_seconds"]}


def test_a_column_that_is_asked_for_twice_is_on_the_page_once(finished):
    plan = replace(finished.plan, dataset=replace(finished.plan.dataset, metric="auprc"))
    board = finished.tables.leaderboard
    shown = [c.title for c in columns.board_on_page(plan, board.assign(**{"auprc@0.5": 0.5}))]
    assert shown == [
        *("group", "strategy / imputer", "area [95 %]", "at 0 %", "at 50 %", "Brier skill"),
        *("validation - test", "Brier score"),
    ]
    assert [c.short for c in columns.on_screen(plan, board)][:8] == [
        *("group", "strategy", "imputer", "area [95 %]", "at 0%", "at 50%", "skill", "AUPRC")
    ]


def test_regret_is_left_out_where_nobody_can_know_it_and_is_explained_where_somebody_can(finished):
    plan, board = finished.plan, finished.tables.leaderboard
    assert "regret" not in {c.name for c in columns.on_screen(plan, board)}
    assert "Regret: distance to the best possible prediction" in columns.board_notes(plan, board.assign(regret=0.1))


def test_what_a_reader_sees_of_odd_rows():
    row = {
        "strategy": "sum",
        "imputer": "zero",
        "trained_at": "a@0.5",
        "models": 3,
        "models_planned": 4,
        "area": np.nan,
        "group": 2,
        "unstable": True,
        "below_prevalence": True,
    }
    seen = {c.name: c for c in (*columns.BOARD, *columns.LEDGER)}
    assert seen["strategy"].shown(row) == "sum / zero (trained at a@0.5)"
    assert seen["strategy"].shown_on_screen(row) == "sum (trained at a@0.5)"
    assert seen["area"].shown(row) == "incomplete: 3 of 4 models"
    assert seen["group"].shown(row) == "2*!"
    assert seen["memory_mb"].shown({"memory_mb": 0.0}) == "-"
    assert seen["regret"].shown({}) == "-"
    assert (seen["seconds"].shown({"seconds": 123.4}), seen["seconds"].shown_on_screen({"seconds": 123.4})) == (
        "123",
        "123.4",
    )
