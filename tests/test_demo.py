"""The demo's file says what is expected, and the page about it says what became of every expectation."""

from __future__ import annotations

import re
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


# --------------------------------------------------------------------------------------------
# what other pages say of it

DEMO = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")
PAGES = [*sorted((ROOT / "docs").glob("results-*.md")), ROOT / "docs" / "regimes.md"]
RESULTS = "".join(p.read_text(encoding="utf-8") for p in PAGES)
NUMBER = r"(?<![\w.])[+-]?\.\d+(?![\w.]*\d)"
LINES = {
    "Concat": "concat",
    "MedFuse": "medfuse",
    "G-Blend": "g_blend",
    "PMR": "pmr",
    "Sum": "sum",
    "OGM-GE": "ogm_ge",
    "SE-Gate": "se_gate",
    "Logistic regression": "logistic_regression",
}


def first_screens(text):
    """README up to where it speaks of real data, without code."""
    return re.sub(r"^```.*?^```$", "", text.partition("## Real MIMIC")[0], flags=re.MULTILINE | re.DOTALL)


def numbers(text):
    """Numbers with their sign, as set of strings; probabilities that belong to words of the rule are left out."""
    return set(re.findall(NUMBER, text)) - {".95", ".05"}


def not_found(text, *pages):
    """Numbers of a text that none of these pages has: the same digits, and a sign only where the text has one."""
    known = set().union(*map(numbers, pages))
    known |= {n.lstrip("+-") for n in known}
    return sorted(n for n in numbers(text) if n not in known)


def test_a_number_that_no_page_has_is_found_out():
    assert not_found("gains +.163, or .163", "it is +.163 here") == []
    assert not_found("gains +.164 and -.163", "it is +.163 here") == ["+.164", "-.163"]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_every_number_of_the_first_screens_stands_on_the_page_of_the_demo(page):
    said = first_screens((ROOT / page).read_text(encoding="utf-8"))
    assert len(numbers(said)) > 4
    assert not_found(said, DEMO) == []


@pytest.mark.parametrize("page", ["reading-a-result.md", "which-strategy.md"])
def test_every_number_of_the_pages_about_results_stands_on_a_page_of_results(page):
    said = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert len(numbers(said)) > 1
    assert not_found(said, DEMO, RESULTS) == []


def test_the_counts_of_expectations_in_the_readme_are_those_of_the_page():
    counted = {v: len(re.findall(rf"^\| \w+ \| .* \| {v} \| ", DEMO, re.MULTILINE)) for v in VERDICTS}
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert (
        f"{counted['held']} expectations held, {counted['failed']} failed and {counted['not shown']} were not shown"
        in readme
    )


def printed():
    """The two blocks of output that README shows."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What the demo prints")[2]
    return re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[:2]


def test_the_leaderboard_in_the_readme_has_the_scores_of_the_page():
    rows = re.findall(r"^│ +\d+ │ ([^│]+?) +│ zero +│ (\S+ \[.*?\]) │", printed()[0], re.MULTILINE)
    assert len(rows) == len(FOUND.readings["lazy"].benchmark.strategies)
    assert [(name, area) for name, area in rows if f"| {LINES.get(name, name)} | {area} |" not in DEMO] == []


def test_the_last_table_in_the_readme_has_every_expectation_with_its_result():
    said, result, found = "", "", []
    for line in [*printed()[1].splitlines()[3:-1], "│ │ end │ │ end │"]:
        _, ended, words, verdict = [cell.strip() for cell in line.strip("│").split("│")][:4]
        if verdict or ended == "end":
            found += [(said, result)] if said else []
            said, result = words, verdict
        else:
            said = f"{said} {words}"
    rows = re.findall(r"^\| (\w+) \| (.*?) \| (held|failed|not shown) \| ", DEMO, re.MULTILINE)
    assert found == [(says, verdict) for _, says, verdict in rows]


def test_the_picture_of_the_demo_is_small_and_shows_the_strategies_and_panels_of_the_file():
    picture = ROOT / "docs" / "images" / "demo.svg"
    assert picture.stat().st_size < 150_000
    tool = (ROOT / "tools" / "demo_picture.py").read_text(encoding="utf-8")
    assert [p for p in FOUND.suite.panels if f'"{p}": ' not in tool] == []
    assert [s for s in (*MISSION, "dwfuse+tla") if f'"{s}": ' not in tool] == []
