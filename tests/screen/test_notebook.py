"""Bars in a notebook, and what a caller in Python hears."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from fusionbench.progress import SilentProgress
from fusionbench.screen.notebook import Interrupted, Listener, NotebookProgress, in_notebook, progress_here


class Page:
    """Keeps what is shown."""

    def __init__(self):
        self.shown, self.now = [], 0.0

    def show(self, content):
        self.shown.append(content)
        return self.shown.append

    def clock(self):
        return self.now


@pytest.fixture
def page():
    return Page()


def test_a_stage_has_a_bar_that_moves_and_its_last_state_stays(page):
    progress = NotebookProgress(clock=page.clock, show=page.show)
    with progress.stage("training <b>", 4, "models") as stage:
        for _ in range(4):
            page.now += 1
            stage.advance()
    values = [re.findall(r'value="([\d.]+)"', content) for content in page.shown]
    assert values == [["0.000"], ["0.250"], ["0.500"], ["0.750"], ["1.000"], ["1.000"]]
    assert "training &lt;b&gt;" in page.shown[-1]
    assert "4 of 4 models; 0:04" in page.shown[-1]
    page.now += 60
    progress.note("later")
    assert "4 of 4 models; 0:04" in page.shown[-1], "a stage that has ended does not grow"


def test_it_is_drawn_seldom_however_often_it_is_told(page):
    progress = NotebookProgress(clock=page.clock, show=page.show)
    with progress.stage("encoding", 1000, "rows") as stage:
        for _ in range(1000):
            page.now += 0.001
            stage.advance()
    assert 3 <= len(page.shown) <= 9


def test_notes_are_folded_and_are_text(page):
    progress = NotebookProgress(clock=page.clock, show=page.show)
    progress.note("a <i>")
    progress.note("b")
    assert "<summary>2 notes</summary>" in page.shown[-1]
    assert "<li>a &lt;i&gt;</li><li>b</li>" in page.shown[-1]


def test_a_stage_that_fails_is_shown_as_it_was(page):
    progress = NotebookProgress(clock=page.clock, show=page.show)
    with pytest.raises(ValueError, match="x"), progress.stage("reading"):
        raise ValueError("x")
    assert "reading" in page.shown[-1]


def test_without_a_notebook_there_are_lines_and_quiet_is_silent(capsys):
    assert not in_notebook()
    assert isinstance(progress_here(quiet=True), SilentProgress)
    progress_here(quiet=False).note("said")
    assert capsys.readouterr().out == "said\n"


def test_ctrl_c_leaves_one_line_and_other_errors_are_left_alone():
    with pytest.raises(Interrupted, match="and it goes on"), Listener(quiet=True):
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="x"), Listener(quiet=True):
        raise ValueError("x")


def test_the_summary_is_kept():
    listener, summary = Listener(quiet=True), SimpleNamespace()
    listener.fusionbench_run_finished(summary)
    assert listener.found is summary
