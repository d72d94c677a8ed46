"""The page of all panels: whole from what the panels left, honest about what is missing, and nothing of it from outside."""

from __future__ import annotations

import json
import re

import pytest

from fusionbench.config.reading import read_panels
from fusionbench.errors import DataError
from fusionbench.report.suite import _best_possible, read_suite, write_suite
from tests.front import run_toy, toy_benchmark, write_yaml

PANELS = {
    "few": {
        "title": "Few <rows>",
        "question": "Why & how?",
        "task": {"rows": 90},
        "expect": [{"says": "They are alike", "tied": ["concat", "sum"]}],
    },
    "many": {},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    document = toy_benchmark(
        title="Toys", question="Which toy?", observers=["html"], splits={"folds": 2, "seeds": [0, 1]}, panels=PANELS
    )
    config = write_yaml(folder / "suite.yaml", document)
    assert run_toy(config, folder / "runs", "--quiet").code == 0
    return config, folder / "runs"


def page_of(workspace):
    return (workspace / "reports" / "toy" / "report.html").read_text(encoding="utf-8")


def again(config, workspace, *assignments):
    found = read_panels(config, assignments, {})
    benchmarks = {name: reading.benchmark for name, reading in found.readings.items()}
    return write_suite(found.suite, benchmarks, workspace).read_text(encoding="utf-8")


def test_it_holds_title_question_expectation_answer_table_and_link(ran):
    page = page_of(ran[1])
    for part in (
        "<h1>Toys</h1>",
        "Which toy?",
        "Few &lt;rows&gt;",
        "Why &amp; how?",
        "They are alike",
        'class="name">concat</th>',
    ):
        assert part in page
    assert re.search(r"On average|on average", page)
    assert 'href="../toy-few/report.html"' in page
    assert 'href="../toy-many/report.html"' in page


def test_nothing_is_loaded_from_outside(ran):
    page = page_of(ran[1])
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_a_file_that_has_changed_since_is_said(ran):
    config, workspace = ran
    assert "has changed since" not in again(config, workspace)
    assert "has changed since" not in again(config, workspace, "training.workers=1")
    assert "The file has changed since this panel was run." in again(config, workspace, "training.epochs=3")
    again(config, workspace)


def test_the_listing_beside_it_names_the_panels(ran):
    folder = ran[1] / "reports" / "toy"
    assert read_suite(folder) == {"few": "toy-few", "many": "toy-many"}
    listing = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
    assert listing["expectations"]["few"][0]["says"] == "They are alike"


@pytest.mark.parametrize("text", ["", "[]", '{"format": 9}', '{"format": 1}', '{"format": 1, "panels": 3}'])
def test_a_damaged_listing_is_refused(tmp_path, text):
    (tmp_path / "suite.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError):
        read_suite(tmp_path)


def test_without_any_report_there_is_no_page(ran, tmp_path):
    found = read_panels(ran[0], (), {})
    assert write_suite(found.suite, {}, tmp_path) is None


def test_the_best_possible_is_said_at_the_ends_of_the_curves():
    rows = [("random", 0.0, 0.9), ("random", 0.5, 0.8), ("random", 0.8, 0.7)]
    record = {"best_possible": [{"pattern": p, "rate": r, "ceiling": c} for p, r, c in rows]}
    assert _best_possible(record) == ".900 (complete data), .700 (80 % of each modality hidden)"
    assert _best_possible({}) == ""
