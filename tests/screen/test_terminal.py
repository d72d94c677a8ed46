"""What is said while a run goes on: bars on a terminal, lines elsewhere, nothing when quiet, JSON for programs."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

from fusionbench.progress import Best, SilentProgress
from fusionbench.screen import bars, jsonlines, terminal
from fusionbench.screen.bars import PlainProgress, RichProgress, picture
from fusionbench.screen.jsonlines import JsonLines, JsonProgress
from fusionbench.screen.meter import MeteredStage, Standing
from fusionbench.screen.terminal import files_by_folder, next_commands, print_summary, progress_for
from fusionbench_plugins.observers.html import Html
from tests.builders import make_benchmark, make_run
from tests.front import TOY, fusionbench, python, run_toy, toy_benchmark, write_yaml


def console(is_terminal):
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=200, color_system=None)


def test_the_display_fits_the_output():
    assert isinstance(progress_for(console(True), quiet=False), RichProgress)
    assert isinstance(progress_for(console(False), quiet=False), PlainProgress)
    assert isinstance(progress_for(console(True), quiet=True), SilentProgress)


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self):
        return self.now


def training(clock=None, standing=None):
    """A stage of 48 models after 2:20: 16 are done and 16 half-way, at a steady pace."""
    clock = clock or Clock()
    stage = MeteredStage("training", 48, "models", standing or Standing(), lambda _: None, clock)
    clock.now += 93.6
    stage.advance(16)
    clock.now += 46.8
    stage.working(16, 0.5, "concat / mean, fold 0, seed 0 and 15 more: epoch 13 of 25 at most", BEST)
    return stage


BEST = Best("omnifuse / cra_cycle, fold 1, seed 0", "auroc", 0.8421, higher_is_better=True)
BEST_WORDS = "validation AUROC .842, omnifuse / cra_cycle, fold 1, seed 0"
FOLLOWED = {"cells": 816, "cells_stored": 272}


def screen(stage, width, ended=False, encoding="utf-8"):
    """The lines of a stage on a terminal of that width."""
    file = io.TextIOWrapper(io.BytesIO(), encoding)
    drawn = Console(file=file, force_terminal=True, width=width, color_system=None)
    drawn.print(picture(drawn, stage, ended))
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize(
    ("width", "bar"),
    [
        (80, "training             ━━━━━━──────  16 of 48 models    10/min   2:20   2:20 left"),
        (120, "training                  ━━━━━━━━━━━━━━━━━━━────────────────────  16 of 48 models            10/min   2:20   2:20 left"),
        (200, "training                  ━━━━━━━━━━━━━━━━━━━━────────────────────  16 of 48 models             10/min   2:20   2:20 left"),
    ],
)  # fmt: skip
def test_a_bar_shows_models_done_rate_time_and_what_is_left(width, bar):
    assert screen(training(), width)[0] == bar


def test_the_best_validation_score_and_the_cells_stand_below_the_bar():
    assert screen(training(standing=Standing(**FOLLOWED)), 120)[1:] == [
        f"  best so far: {BEST_WORDS}",
        "  cells stored: 272 of 816",
        "  concat / mean, fold 0, seed 0 and 15 more: epoch 13 of 25 at most",
    ]


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 81, 100, 200])
@pytest.mark.parametrize("title", ["training", "Rendering vital signs and laboratory values", "心电图 编码 " * 5])
def test_no_line_is_wrapped_or_reaches_the_last_column(width, title):
    stage = training(standing=Standing(best=replace(BEST, model="a long name " * 9), **FOLLOWED))
    stage.title, stage.note = title, "x" * 300
    lines = screen(stage, width)
    assert len(lines) == 4
    assert max(cell_len(line) for line in lines) <= width - 1
    assert lines[-1].endswith("…")


def test_a_bar_keeps_its_width_while_time_passes():
    clock = Clock()
    stage = MeteredStage("encoding cxr", 1590, "rows", Standing(), lambda _: None, clock)
    seen = set()
    for _ in range(24):
        seen.add(len(screen(stage, 80)[0].rstrip()) if stage.meter.left is None else screen(stage, 80)[0].index("of"))
        clock.now += 2.5
        stage.advance(64)
    assert len(seen) == 2  # nothing is left to say before the first rows; the same column ever after


@pytest.mark.parametrize(("done", "shown"), [(0.9, " 0 of 18 MB"), (17.5, "17 of 18 MB"), (17.6, "18 of 18 MB")])
def test_a_total_that_is_no_whole_number_is_reached_at_the_end_only(done, shown):
    stage = MeteredStage("hashing tables", 17.6, "MB", Standing(), lambda _: None, Clock())
    stage.advance(done)
    assert shown in screen(stage, 80)[0]


def test_at_its_end_a_stage_leaves_one_line_with_its_mean_rate():
    clock = Clock()
    stage = training(clock)
    clock.now += 140
    stage.advance(32)
    assert [line.rstrip() for line in screen(stage, 80, ended=True)] == [
        "training             ━━━━━━━━━━━━  48 of 48 models    10/min   4:40"
    ]


def test_without_unicode_bars_and_cuts_are_ascii():
    stage = training()
    stage.note = "x" * 300
    lines = screen(stage, 80, encoding="ascii")
    assert "######-----" in lines[0]
    assert lines[-1].endswith("x...")


def test_a_stage_of_unknown_length_shows_title_count_and_time():
    clock = Clock()
    stage = MeteredStage("Computing the best possible AUROC", None, "rows", Standing(), lambda _: None, clock)
    clock.now += 75
    stage.advance(300, "half [/x]")
    bar, note = screen(stage, 80)
    assert bar.split() == ["Computing", "the", "best", "possible", "AUROC", "300", "rows", "4.0/s", "1:15"]
    assert note == "  half [/x]"


@pytest.mark.parametrize("total", [4, None])
def test_bars_show_title_count_and_note_as_they_are_written(total):
    screen = console(True)
    progress = RichProgress(screen)
    with progress.stage("encoding [b]", total, "rows") as stage:
        stage.advance(4, "arm [/x] [batch, dim]")
        time.sleep(0.5)  # bars are drawn five times a second
        progress.note("kept [/y]")
    text = screen.file.getvalue()
    assert "encoding [b]" in text
    assert "arm [/x] [batch, dim]" in text
    assert "kept [/y]\n" in text
    assert ("4 of 4 rows" in text) == (total is not None)


def test_an_interrupted_bar_gives_the_cursor_back():
    screen = console(True)

    def work():
        with RichProgress(screen).stage("training", 4, "models") as stage:
            stage.advance(1, "under way")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    shown, hidden = "\x1b[?25h", "\x1b[?25l"
    text = screen.file.getvalue()
    assert text.count(shown) == text.count(hidden) == 1
    last = text.rsplit("\x1b[2K", 1)[-1]
    assert "1 of 4 models" in last
    assert "under way" not in last
    assert last.endswith(f"\n{shown}")


def test_lines_come_now_and_then_with_rate_time_left_best_and_cells():
    clock, log = Clock(), console(False)
    with PlainProgress(log, Standing(**FOLLOWED), clock).stage("training", 10, "models") as stage:
        clock.now += 1
        stage.advance(1, "too soon to say")
        clock.now += 4
        stage.advance(4, "arm [/x]")
        clock.now += 6
        stage.working(3, 0.5, "", BEST)
        clock.now += 1
        stage.advance(5, "too soon again")
    assert log.file.getvalue().splitlines() == [
        "training: 5 of 10 models, 1.0/s, 0:05 gone, 0:05 left; cells stored: 272 of 816; arm [/x]",
        f"training: 5 of 10 models, 34/min, 0:11 gone, 0:06 left; best so far: {BEST_WORDS}; cells stored: 272 of 816",
        "training: done in 12.0 s",
    ]


def test_lines_of_unknown_length_show_the_count(monkeypatch):
    monkeypatch.setattr(bars, "PLAIN_EVERY_SECONDS", 0.0)
    clock, log = Clock(), console(False)
    with PlainProgress(log, clock=clock).stage("reading") as stage:
        clock.now += 2
        stage.advance(3, "rows")
    assert log.file.getvalue().startswith("reading: 3, 1.5/s, 0:02 gone; rows\n")


def test_a_stage_that_fails_does_not_say_that_it_is_done():
    log = console(False)
    with pytest.raises(ValueError, match="no"), PlainProgress(log).stage("reading"):
        raise ValueError("no")
    assert log.file.getvalue() == ""


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(None, ""), (0.0, ""), (1234.6, "1,235/s"), (9.96, "10.0/s"), (1.0, "1.0/s"), (0.5, "30/min"), (0.01, "36/h"), (0.0001, "0.4/h")],
)  # fmt: skip
def test_rates_have_the_unit_that_reads_well(rate, shown):
    assert bars.pace(rate) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (725, "12:05"), (3723, "1:02:03")]
)
def test_times_have_hours_only_where_there_are_some(seconds, shown):
    assert bars.duration(seconds) == shown


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


# ---------------------------------------------------------------- the end of a run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two arms, one with a long name, and its record as the page leaves it."""
    strategies = ["sum", {"name": "concat", "label": "concat with a name of some length"}]
    run = make_run(tmp_path_factory.mktemp("end") / "runs", strategies=strategies)
    return run.execute([Html(run.benchmark, run.workspace)])


def said(summary, width, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding)
    print_summary(Console(file=file, force_terminal=True, width=width, color_system=None), summary)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


ALWAYS = ["tie", "strategy", "imputer", "area [95 %]"]
MORE = ["at 0%", "at 50%", "AUPRC", "Brier", "trials", "epochs", "params", "seconds"]


@pytest.mark.parametrize(("width", "more"), [(60, 0), (80, 0), (100, 3), (140, 7), (200, 8)])
def test_columns_of_the_leaderboard_fall_away_from_the_right_and_never_the_area(finished, width, more):
    text = said(finished, width)
    board = finished.tables.leaderboard
    header = next(line for line in text.splitlines() if "strategy" in line)
    assert [c.strip() for c in header.strip("┃").split("┃")] == ALWAYS + MORE[:more]
    for _, row in board.iterrows():
        area = f"{row['area']:.3f} [{row['area_low']:.3f}, {row['area_high']:.3f}]".replace("0.", ".")
        assert area in text
    gone = " ".join(text.split("too narrow: ")[1].split("area:")[0].split()).split(", ") if more < len(MORE) else []
    assert gone == MORE[more:]
    assert ("too narrow" in text) == bool(gone)
    table = text[text.index("┏") : text.index("┘")]
    assert max(map(len, table.splitlines())) <= width


def test_without_unicode_the_leaderboard_is_drawn_in_ascii(finished):
    assert "| tie | strategy" in said(finished, 140, encoding="ascii")


def test_no_colour_leaves_everything_readable(finished, monkeypatch):
    def printed():
        file = io.StringIO()
        print_summary(Console(file=file, force_terminal=True, width=140, color_system="standard"), finished)
        return file.getvalue()

    colour = re.compile(r"\x1b\[(\d+;)*[349][0-7](;\d+)*m")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = printed()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = printed()
    assert colour.search(coloured)
    assert not colour.search(plain)
    assert [re.sub(r"\x1b\[[\d;]*m", "", text) for text in (coloured, plain)] == [said(finished, 140)] * 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_that_an_encoding_does_not_have_do_not_end_a_run(tmp_path, encoding):
    strategies = [{"name": "sum", "label": "\u03a9"}]
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark(strategies=strategies))
    done = python(CLI, "run", str(config), "-p", TOY, "--workspace", str(tmp_path / "runs"), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "? / zero" in done.stdout or "| ? " in done.stdout
    assert "done: 2 models trained" in done.stdout


CLI = "import sys; from fusionbench.cli import main; sys.argv[0] = 'fusionbench'; main()"


def test_files_are_listed_by_folder_and_pages_with_their_path(finished):
    a, b = Path("/runs/reports/" + "a" * 80), Path("/runs")
    files = {"curves.csv": a / "curves.csv", "tracked": b / "t.jsonl", "report.html": a / "report.html"}
    assert files_by_folder(files) == {a: ["curves.csv", "report.html"], b: ["tracked (t.jsonl)"]}
    lines = [line.rstrip() for line in said(replace(finished, files=files), 80).splitlines()]
    assert lines[-6:-1] == [
        f"files in {a}:",
        "  curves.csv, report.html",
        "files in /runs:",
        "  tracked (t.jsonl)",
        f"report: {a / 'report.html'}",  # never broken, to be copied
    ]


def test_names_of_files_are_broken_between_words(finished):
    files = {f"table_{i}.csv": Path(f"/runs/table_{i}.csv") for i in range(20)}
    lines = said(replace(finished, files=files), 60).splitlines()
    shown = lines[lines.index(next(line for line in lines if line.startswith("files in"))) + 1 : -1]
    assert ", ".join(files) == " ".join(line.strip() for line in shown)
    assert {line[:8] for line in shown} == {"  table_"}


def planned(summary, **changes):
    """The summary of a run of another configuration."""
    benchmark = summary.plan.benchmark.model_copy(update=changes)
    return replace(summary, plan=replace(summary.plan, benchmark=benchmark))


def test_what_to_type_next_is_the_dashboard_where_there_is_one(finished):
    workspace = finished.plan.workspace
    followed = planned(finished, observers=make_benchmark(observers=["mlflow"]).observers)
    assert next_commands(followed) == [f"next: fusionbench dashboard --workspace {workspace}"]
    assert next_commands(replace(followed, interrupted=True)) == []
    elsewhere = finished.plan.benchmark.tracking.model_copy(update={"uri": "http://there:5000"})
    assert next_commands(planned(followed, tracking=elsewhere)) == ["next: open http://there:5000"]
    assert next_commands(finished) == []


@pytest.fixture
def beside(finished, tmp_path):
    """The same run in a workspace with a blank in its name, and a folder for another one beside it."""
    workspace = tmp_path / "my runs"
    shutil.copytree(finished.plan.workspace / "reports", workspace / "reports")
    other = workspace / "reports" / "other"
    return replace(finished, plan=replace(finished.plan, workspace=workspace)), other


def leave(folder, **changes):
    """Leave the record of another run."""
    record = json.loads((folder.parent / "toy" / "record.json").read_text())
    folder.mkdir(exist_ok=True)
    (folder / "record.json").write_text(json.dumps({**record, **changes}))


def test_an_earlier_run_of_the_task_is_offered_for_comparison(beside):
    summary, other = beside
    assert next_commands(summary) == []
    leave(other)
    (hint,) = next_commands(summary, ["my toy.py"])
    assert hint == f"next: fusionbench compare '{other}' '{other.parent / 'toy'}' -p 'my toy.py'"
    outcome = fusionbench(*shlex.split(hint)[2:-1], TOY)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(f"A: {other}\nB: {other.parent / 'toy'}\n")


@pytest.mark.parametrize(
    "changes", [{"metric": "auprc"}, {"format": 0}, {"configuration": {"task": {"name": "planted"}}}], ids=str
)
def test_a_run_that_cannot_be_compared_is_not_offered(beside, changes):
    summary, other = beside
    leave(other, **changes)
    assert next_commands(summary) == []


def test_the_latest_of_several_earlier_runs_is_offered(beside):
    summary, other = beside
    for age, name in enumerate(("newer", "older")):
        leave(other.with_name(name))
        os.utime(other.with_name(name) / "record.json", (1e9 - age, 1e9 - age))
    assert "reports/newer" in next_commands(summary)[0]


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
    from fusionbench.run.runner import Run

    def interrupted(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "prepare", interrupted)
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark())
    outcome = run_toy(config, tmp_path / "runs", "--json")
    reason = "interrupted; the same command goes on where it stopped"
    assert events(outcome.out) == [{"event": "exit", "code": 130, "reason": reason}]
    assert (outcome.code, outcome.err) == (130, "")
    assert run_toy(config, tmp_path / "runs").out == f"{reason}\n"


def test_a_stage_under_way_says_how_far_it_is_its_rate_what_is_left_and_the_best():
    file, clock = io.StringIO(), Clock()
    with JsonProgress(JsonLines(file), clock).stage("training", 10, "models") as stage:
        clock.now += 0.5
        stage.advance(1, "too soon")
        clock.now += 2.0
        stage.advance(4, "arm [/x]")
        clock.now += 1.5
        stage.working(3, 1.0, "epochs", BEST)
    begun, running, working, done = events(file.getvalue())
    assert begun == {"event": "stage", "state": "begun", "title": "training", "done": 0, "total": 10, "unit": "models"}
    assert running == {
        **begun,
        "state": "running",
        "done": 5,
        "seconds": 2.5,
        "rate": pytest.approx(2.0, rel=0.01),
        "seconds_left": pytest.approx(2.5, rel=0.01),
        "best": None,
        "note": "arm [/x]",
    }
    assert (working["done"], working["best"], working["note"]) == (5, asdict(BEST), "epochs")
    assert (done["state"], done["seconds"], done["best"]) == ("done", 4.0, asdict(BEST))


def test_a_run_tells_its_best_validation_score(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonlines, "JSON_EVERY_SECONDS", 0.0)
    config = write_yaml(
        tmp_path / "b.yaml", toy_benchmark(training={"epochs": 2, "batch_size": 32, "selection": "loss"})
    )
    found = of("stage", events(run_toy(config, tmp_path / "runs", "--json").out))
    told = [e["best"] for e in found if e["title"] == "training" and e.get("best")]
    assert {b["measure"] for b in told} == {"loss"}
    assert [b["value"] for b in told] == sorted((b["value"] for b in told), reverse=True)
    assert {b["higher_is_better"] for b in told} == {False}
    assert 0 < told[-1]["value"] < 2  # nats, not their negative
    assert told[-1]["model"].split(",")[0] in ("concat / zero", "sum / zero")


def test_numbers_that_are_none_become_null():
    file = io.StringIO()
    JsonLines(file).say("x", values=(float("nan"), np.float32("inf"), np.int64(3), None, "NaN"), more={1: True})
    assert file.getvalue() == '{"event": "x", "values": [null, null, 3, null, "NaN"], "more": {"1": true}}\n'
