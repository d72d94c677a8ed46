"""The observers of the page on following a run, as they are printed there, run together."""

from __future__ import annotations

import csv
import json

import pytest

from fusionbench.plugins.catalogue import Plugins
from tests.front import fusionbench
from tests.test_docs import ROOT, plugin_files, write_files

PAGE = ROOT / "docs" / "following-a-run.md"


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("followed")
    files = write_files(PAGE, folder)
    plugins = [word for path in plugin_files(files) for word in ("-p", path)]
    return folder / "runs", fusionbench(
        "run", files["followed.yaml"], *plugins, "--workspace", folder / "runs", "--quiet"
    )


def test_every_example_is_an_observer_of_the_page(tmp_path):
    plugins = Plugins(plugin_files(write_files(PAGE, tmp_path)))
    assert plugins.failures == []
    own = {e.name for e in plugins.catalogue("observers") if e.distribution.startswith("file ")}
    assert own == {"lines_tracker", "f1_table", "gaps_section", "cheapest"}


def test_they_run_together(followed):
    workspace, outcome = followed
    assert outcome.code == 0, outcome
    assert f"files in {workspace}:" in outcome.out
    for name in ("tracked", "f1", "choice", "report.html"):
        assert name in outcome.out


def test_the_tracker_knows_every_model_and_who_made_it(followed):
    lines = [json.loads(line) for line in (followed[0] / "tracked.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines] == ["started", *["model"] * 6, *["line"] * 4]  # and the prevalence
    made_by = lines[1]["made_by"]["strategy"]
    assert made_by["distribution"] == "fusionbench"
    assert len(made_by["source"]) == 64


def test_the_metric_is_there_for_every_arm_and_condition(followed):
    with (followed[0] / "reports" / "followed" / "f1.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    conditions = {r["condition"] for r in rows}
    assert conditions >= {"complete@0", "random@0.5", "only noise@0"}
    assert len(rows) == 3 * len(conditions)
    assert {r["strategy"] for r in rows} == {"concat", "sum", "dwfuse"}
    assert all(0 < float(r["f1"]) <= 1 for r in rows)


def test_the_section_is_in_the_report(followed):
    page = (followed[0] / "reports" / "followed" / "report.html").read_text(encoding="utf-8")
    assert "What missing modalities cost" in page


def test_the_rule_chooses_among_the_tied(followed):
    assert (followed[0] / "reports" / "followed" / "choice.txt").read_text(encoding="utf-8").split(" / ")[0] in {
        "concat",
        "sum",
        "dwfuse",
    }
