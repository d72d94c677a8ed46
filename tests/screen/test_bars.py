"""Bars on a terminal, lines elsewhere, and nothing wider than the screen."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from rich.cells import cell_len

from fusionbench.progress import Best, SilentProgress
from fusionbench.screen import bars
from fusionbench.screen.bars import PlainProgress, RichProgress
from fusionbench.screen.meter import MeteredStage, Standing
from fusionbench.screen.terminal import progress_for
from tests.screen.test_terminal import console, screen


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
