"""What is said while a run goes on: bars on a terminal, lines elsewhere, nothing when quiet, JSON for programs."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fusionbench import jsonlines, terminal
from fusionbench.jsonlines import JsonLines
from fusionbench.progress import SilentProgress
from fusionbench.terminal import PlainProgress, RichProgress, progress_for
from tests.front import run_toy, toy_benchmark, write_yaml


def console(is_terminal):
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=200, color_system=None)


def test_the_display_fits_the_output():
    assert isinstance(progress_for(console(True), quiet=False), RichProgress)
    assert isinstance(progress_for(console(False), quiet=False), PlainProgress)
    assert isinstance(progress_for(console(True), quiet=True), SilentProgress)


@pytest.mark.parametrize("total", [4, None])
def test_bars_show_title_count_and_note_as_they_are_written(total):
    screen = console(True)
    progress = RichProgress(screen)
    with progress.stage("encoding [b]", total, "rows") as stage:
        stage.advance(4, "arm [/x] [batch, dim]")
        time.sleep(0.3)  # bars are drawn ten times a second
        progress.note("kept [/y]")
    text = screen.file.getvalue()
    assert "encoding [b]" in text
    assert "arm [/x] [batch, dim]" in text
    assert "kept [/y]\n" in text
    assert ("4/4 rows" in text) == (total is not None)


def test_lines_come_now_and_then_with_an_estimate(monkeypatch):
    clock = iter([0.0, 1.0, 10.0, 12.0, 13.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    screen = console(False)
    with PlainProgress(screen).stage("training", 10, "models") as stage:
        stage.advance(1, "too soon to say")
        stage.advance(4, "arm [/x]")
        stage.advance(5, "too soon again")
    assert screen.file.getvalue().splitlines() == [
        "training: 5 of 10 models, about 10 s left  arm [/x]",
        "training: done in 13.0 s",
    ]


def test_lines_of_unknown_length_show_the_count(monkeypatch):
    monkeypatch.setattr(terminal, "PLAIN_EVERY_SECONDS", 0.0)
    screen = console(False)
    with PlainProgress(screen).stage("reading") as stage:
        stage.advance(3, "rows")
    assert screen.file.getvalue().startswith("reading: 3  rows\n")


def test_long_lines_are_not_broken_where_the_output_is_no_terminal():
    screen = console(False)
    PlainProgress(screen).note("x" * 500)
    assert screen.file.getvalue() == "x" * 500 + "\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5, ".500"), (-0.25, "-.250"), (1.0, "1.000"), (10.5, "10.500"), (100.25, "100.250"), (float("nan"), "-"), (None, "-")],
)  # fmt: skip
def test_numbers_lose_only_a_leading_zero(value, shown):
    assert terminal._number(value) == shown


# ---------------------------------------------------------------- for programs


def events(text):
    """Parse strictly: a line that is no object, or NaN, fails."""
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def of(kind, found):
    return [e for e in found if e["event"] == kind]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A run on the toy task, the same run again, and its dry run: what each wrote."""
    folder = tmp_path_factory.mktemp("json")
    config = write_yaml(folder / "b.yaml", toy_benchmark(tuning={"trials": 2}))
    outcomes = [run_toy(config, folder / "runs", "--json", *more) for more in ([], [], ["--dry-run"])]
    assert [o.code for o in outcomes] == [0, 0, 0]
    return folder, [events(o.out) for o in outcomes]


def test_a_run_is_told_as_json_from_the_plan_to_the_exit(told):
    folder, (first, _, _) = told
    (plan,) = of("plan", first)
    assert (plan["benchmark"], plan["rows"], plan["models"], plan["cells"]) == ("toy", 120, 4, 8)
    assert plan["arms"] == ["concat / zero", "sum / zero"]
    assert (plan["stored"], plan["trials"]) == (0, 8)
    assert sorted((c["strategy"], c["fold"]) for c in of("cell", first)) == [
        (s, f) for s in ("concat", "sum") for f in (0, 1)
    ]
    assert {(c["stored_before"], c["failure"]) for c in of("cell", first)} == {(False, None)}
    begun = [e["title"] for e in of("stage", first) if e["state"] == "begun"]
    assert begun == [e["title"] for e in of("stage", first) if e["state"] == "done"]
    assert {"tuning", "training"} <= set(begun)
    (done,) = of("done", first)
    assert (done["trained"], done["interrupted"]) == (4, False)
    assert first[-1] == {"event": "exit", "code": 0, "reason": None}
    assert all(Path(e["path"]).is_file() for e in of("file", first))
    board = pd.read_csv(folder / "runs" / "reports" / "toy" / "leaderboard.csv", comment="#")
    assert [(e["strategy"], e["area"]) for e in of("leaderboard", first)] == [
        *board[["strategy", "area"]].itertuples(index=False, name=None)
    ]


def test_what_is_stored_is_told_as_such_and_a_dry_run_trains_nothing(told):
    _, (_, again, dry) = told
    assert [c["stored_before"] for c in of("cell", again)] == [True] * 4
    assert of("done", again)[0]["trained"] == 0
    assert of("estimate", dry) == [{"event": "estimate", "seconds": 0, "failures": []}]
    assert of("cell", dry) == []
    assert dry[-1]["code"] == 0


def test_quiet_json_leaves_out_stages_and_the_plan(tmp_path):
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark())
    found = events(run_toy(config, tmp_path / "runs", "--json", "--quiet").out)
    assert {e["event"] for e in found} == {"cell", "leaderboard", "file", "done", "exit"}


@pytest.mark.parametrize(
    "changes", [{"trainin": {}}, {"strategies": ["conct"]}, {"encoders": {"a": "identity"}}], ids=str
)
def test_an_error_is_the_last_line_and_on_standard_error(tmp_path, changes):
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark(**changes))
    outcome = run_toy(config, tmp_path / "runs", "--json")
    last = events(outcome.out)[-1]
    assert (last["event"], last["code"], outcome.code) == ("exit", 2, 2)
    assert outcome.err == f"error: {last['reason']}\n"


def test_failures_and_incomplete_lines_are_told(tmp_path):
    plugin = tmp_path / "sulky.py"
    plugin.write_text(
        "from fusionbench import FusionStrategy, hookimpl\n"
        "class Sulky(FusionStrategy):\n"
        "    def forward(self, batch):\n"
        "        print('hidden')\n"
        "        raise RuntimeError('no')\n"
        "@hookimpl\n"
        "def register_fusion_strategies(register):\n"
        "    register('sulky', Sulky)\n"
    )
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark(strategies=["sulky", "sum"]))
    outcome = run_toy(config, tmp_path / "runs", "--json", "-p", plugin)
    found = events(outcome.out)
    assert outcome.code == found[-1]["code"] == 1
    assert ["RuntimeError: no" in e["reason"] for e in of("failure", found)] == [True, True]
    failed = [c for c in of("cell", found) if c["failure"]]
    assert [c["strategy"] for c in failed] == ["sulky", "sulky"]


def test_an_interruption_is_told(tmp_path, monkeypatch):
    from fusionbench.runner import Run

    def interrupted(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "prepare", interrupted)
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark())
    outcome = run_toy(config, tmp_path / "runs", "--json")
    reason = "interrupted; the same command goes on where it stopped"
    assert events(outcome.out) == [{"event": "exit", "code": 130, "reason": reason}]
    assert (outcome.code, outcome.err) == (130, "")
    assert run_toy(config, tmp_path / "runs").out == f"{reason}\n"


def test_a_stage_under_way_says_how_far_it_is_and_what_is_left(monkeypatch):
    clock = iter([0.0, 0.5, 2.0, 2.0, 4.0])
    monkeypatch.setattr(jsonlines.time, "monotonic", lambda: next(clock))
    file = io.StringIO()
    with JsonLines(file).progress.stage("training", 10, "models") as stage:
        stage.advance(1, "too soon")
        stage.advance(4, "arm [/x]")
    begun, running, done = events(file.getvalue())
    assert begun == {"event": "stage", "state": "begun", "title": "training", "done": 0, "total": 10, "unit": "models"}
    assert (running["state"], running["done"], running["seconds"], running["seconds_left"]) == ("running", 5, 2.0, 2.0)
    assert running["note"] == "arm [/x]"
    assert (done["state"], done["seconds"]) == ("done", 4.0)


def test_numbers_that_are_none_become_null():
    file = io.StringIO()
    JsonLines(file).say("x", values=(float("nan"), np.float32("inf"), np.int64(3), None, "NaN"), more={1: True})
    assert file.getvalue() == '{"event": "x", "values": [null, null, 3, null, "NaN"], "more": {"1": true}}\n'
