"""What a person sees while a run goes on: bars on a terminal, lines elsewhere, nothing when quiet."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from fusionbench import terminal
from fusionbench.progress import SilentProgress
from fusionbench.terminal import PlainProgress, RichProgress, progress_for


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
