"""The demo's file says what is expected, and the page about it says what became of every expectation."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusionbench.config.reading import read_panels
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve

ROOT = Path(__file__).resolve().parents[1]
FOUND = read_panels(ROOT / "benchmarks" / "demo.yaml", (), {})
MISSION = ("concat", "sum", "se_gate", "g_blend", "ogm_ge", "pmr", "medfuse", "logistic_regression")
VERDICTS = ("held", "failed", "not shown")


def test_the_file_has_no_problem():
    assert FOUND.problems == []
    for reading in FOUND.readings.values():
        resolve(reading.benchmark, Plugins(), reading.places.at)


@pytest.mark.parametrize("name", FOUND.suite.panels)
def test_every_panel_has_the_strategies_of_the_mission_two_seeds_and_an_expectation(name):
    benchmark = FOUND.readings[name].benchmark
    assert {s.name for s in benchmark.strategies} >= {*MISSION, "dwfuse"}
    assert any(s.name == "dwfuse" and [r.name for r in s.regularisers] == ["tla"] for s in benchmark.strategies)
    assert len(benchmark.splits.seeds) >= 2
    assert benchmark.expect
    assert benchmark.title
    assert benchmark.question


def test_make_demo_runs_it():
    assert "fusionbench run benchmarks/demo.yaml" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FOUND.suite.panels)
def test_the_page_says_what_became_of_every_expectation(name):
    page = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")
    rows = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in page.splitlines()
        if line.startswith("| ")
    }
    said = {(row[0], row[1]): row[2] for row in rows if len(row) >= 4}
    for expectation in FOUND.readings[name].benchmark.expect:
        assert said.get((name, expectation.says)) in VERDICTS, expectation.says
