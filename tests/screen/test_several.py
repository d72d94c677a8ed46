"""What is shown of several panels."""

from __future__ import annotations

import io

from rich.console import Console

from fusionbench.config.sections import Benchmark
from fusionbench.records import Expected, PanelOutcome
from fusionbench.screen.several import print_expected, print_panel, print_panels

HELD = Expected("A [b] beats c", "held", ("a minus c: +.020 [+.010, +.030], p .001",))


def said(show, *what):
    file = io.StringIO()
    show(Console(file=file, width=100, color_system=None), *what)
    return file.getvalue()


def test_a_panel_begins_with_its_title_and_question():
    benchmark = Benchmark(
        name="b-one", title="One", question="Which?", task="toy", encoders={"a": "mlp"}, strategies=["sum"]
    )
    text = said(print_panel, benchmark, 2, 5)
    assert "2 of 5: One" in text
    assert "Which?" in text


def test_an_expectation_is_said_with_its_verdict_and_numbers():
    lines = said(print_expected, [HELD]).splitlines()
    assert lines == ["expected: A [b] beats c: held", "  a minus c: +.020 [+.010, +.030], p .001"]


def test_all_panels_are_listed_with_what_became_of_them(tmp_path):
    outcomes = [PanelOutcome("one", 0, "", (HELD, HELD._replace(verdict="failed"))), PanelOutcome("two", 2, "no data")]
    text = said(print_panels, outcomes, tmp_path / "report.html", 3.0)
    assert "2 panels in 3 s" in text
    assert text.count("A [b] beats c") == 2
    assert "failed" in text
    assert "no data" in text
    assert f"all panels on one page: {tmp_path / 'report.html'}" in text
