"""``fusionbench run`` of a file with panels: every panel, one of them, and what a panel that fails does to the others."""

from __future__ import annotations

import json

import pytest

from fusionbench.report.record import read_record
from tests.front import TOY, fusionbench, run_toy, toy_benchmark, write_yaml

EXPECT = [{"says": "They are alike", "tied": ["concat", "sum"]}]


def suite(folder, **panels):
    document = toy_benchmark(
        title="Toys", observers=["files", "html"], splits={"folds": 2, "seeds": [0, 1]}, panels=panels or PANELS
    )
    return write_yaml(folder / "suite.yaml", document)


PANELS = {"few": {"title": "Few rows", "task": {"rows": 90}, "expect": EXPECT}, "many": {"strategies": ["concat"]}}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    return folder, run_toy(suite(folder), folder / "runs", "--quiet")


def test_every_panel_is_run_and_has_its_report(ran):
    folder, outcome = ran
    assert outcome.code == 0, outcome.err
    reports = folder / "runs" / "reports"
    assert sorted(p.name for p in reports.iterdir()) == ["toy", "toy-few", "toy-many"]
    assert [e["says"] for e in read_record(reports / "toy-few")["expectations"]] == ["They are alike"]
    assert read_record(reports / "toy-many")["expectations"] == []
    assert f"all panels on one page: {reports / 'toy' / 'report.html'}" in outcome.out


def test_a_second_run_trains_nothing(ran):
    folder, _ = ran
    again = run_toy(folder / "suite.yaml", folder / "runs")
    assert again.code == 0
    assert again.out.count("done: 0 models trained") == 2


def test_one_panel_alone(ran, tmp_path):
    folder, _ = ran
    outcome = run_toy(folder / "suite.yaml", tmp_path / "runs", "--panel", "many", "--quiet")
    assert outcome.code == 0
    assert sorted(p.name for p in (tmp_path / "runs" / "reports").iterdir()) == ["toy", "toy-many"]
    page = (tmp_path / "runs" / "reports" / "toy" / "report.html").read_text(encoding="utf-8")
    assert "This panel has no report yet." in page


def test_a_panel_that_cannot_be_run_does_not_stop_the_others(tmp_path):
    bad = {"missingness": {"patterns": ["nothing_of_the_kind"]}}
    outcome = run_toy(suite(tmp_path, bad=bad, good={}), tmp_path / "runs", "--quiet")
    assert outcome.code == 2, "the worst of all"
    assert (tmp_path / "runs" / "reports" / "toy-good" / "report.html").is_file()
    assert "nothing_of_the_kind" in outcome.out


def test_a_dry_run_says_what_all_panels_come_to(ran, tmp_path):
    folder, _ = ran
    outcome = run_toy(folder / "suite.yaml", tmp_path / "runs", "--dry-run")
    assert outcome.code == 0
    assert "all 2 panels: 24 cells, 0 stored; 12 models and 0 tuning trials to do" in outcome.out
    assert not (tmp_path / "runs" / "reports").exists()


def test_a_limit_is_for_all_panels_together(ran, tmp_path):
    folder, _ = ran
    outcome = run_toy(folder / "suite.yaml", tmp_path / "runs", "--limit", "9")
    assert "done: 8 models trained" in outcome.out
    assert "done: 1 models trained" in outcome.out


def test_only_leaves_out_panels_without_the_arm(ran, tmp_path):
    folder, _ = ran
    outcome = run_toy(folder / "suite.yaml", tmp_path / "runs", "--only", "sum", "--quiet")
    assert not (tmp_path / "runs" / "reports" / "toy-many").exists()
    assert outcome.code == 0
    none = run_toy(folder / "suite.yaml", tmp_path / "runs", "--only", "lmf")
    assert none.code == 2
    assert "--only lmf: no arm of any panel has this name" in none.err


def test_json_lines_name_the_panel(ran):
    folder, _ = ran
    outcome = run_toy(folder / "suite.yaml", folder / "runs", "--json", "--quiet")
    said = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(e["benchmark"], e["number"], e["of"]) for e in said if e["event"] == "panel"] == [
        ("toy-few", 1, 2),
        ("toy-many", 2, 2),
    ]
    (expected,) = [e for e in said if e["event"] == "expectation"]
    assert expected["says"] == "They are alike"
    (ended,) = [e for e in said if e["event"] == "panels"]
    assert [(p["name"], p["code"]) for p in ended["panels"]] == [("few", 0), ("many", 0)]
    assert said[-1] == {"event": "exit", "code": 0, "reason": None}


def test_check_and_report_read_every_panel(ran):
    folder, _ = ran
    checked = fusionbench("check", folder / "suite.yaml", "-p", TOY)
    assert checked.code == 0
    assert "toy-few: no problem found in the file" in checked.out
    assert "toy-many: no problem found in the file" in checked.out
    reported = fusionbench("report", folder / "suite.yaml", "-p", TOY, "--workspace", folder / "runs")
    assert reported.code == 0
    assert "few: report:" in reported.out
    assert "all panels on one page:" in reported.out


def test_two_runs_are_compared_panel_by_panel(ran, tmp_path):
    folder, _ = ran
    assert (
        run_toy(
            folder / "suite.yaml", tmp_path / "runs", "--panel", "few", "--set", "training.epochs=3", "--quiet"
        ).code
        == 0
    )
    outcome = fusionbench("compare", folder / "runs", tmp_path / "runs", "-p", TOY)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("panel few:\n")
    assert "training.epochs: 2 -> 3" in outcome.out
    assert "panels only in A: many" in outcome.out
    alone = fusionbench(
        "compare", folder / "runs" / "reports" / "toy-few", tmp_path / "runs" / "reports" / "toy-few", "-p", TOY
    )
    assert alone.out.startswith("A: ")


def test_the_data_of_every_panel_are_prepared(ran, tmp_path):
    folder, _ = ran
    outcome = fusionbench("data", "prepare", folder / "suite.yaml", "-p", TOY, "--workspace", tmp_path, "--quiet")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("next: fusionbench run") == 1
