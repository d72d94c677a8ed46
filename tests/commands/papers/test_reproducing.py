"""``fusionbench reproduce``: every file of a paper once, one page; a file that cannot be run costs nobody else's."""

from __future__ import annotations

import time

import pytest

from fusionbench.commands.papers import reproducing
from tests.front import TOY, fusionbench, started, toy_benchmark, write_yaml

PAPER = """
from pathlib import Path
from fusionbench import Paper, PaperPart, hookimpl

class Toy(Paper):
    title, citation = "Toy", "Toy 2020"
    folder = Path(__file__).parent
    parts = (
        PaperPart("table 1", "One", ("one.yaml",)),
        PaperPart("table 2", "Broken", ("broken.yaml",)),
        PaperPart("figure 1", "One again, and two", ("one.yaml", "two.yaml")),
    )

@hookimpl
def register_papers(register):
    register("toy", Toy)
"""


@pytest.fixture
def paper(tmp_path):
    (tmp_path / "toy_paper.py").write_text(PAPER, encoding="utf-8")
    write_yaml(tmp_path / "one.yaml", toy_benchmark(name="one"))
    write_yaml(tmp_path / "two.yaml", {"extends": "one.yaml", "name": "two", "strategies": ["sum"]})
    write_yaml(tmp_path / "broken.yaml", {"extends": "one.yaml", "name": "broken", "strategies": ["nobody"]})
    return tmp_path


def again(folder, *words):
    given = ("-p", TOY, "-p", folder / "toy_paper.py", "--workspace", folder / "runs", "--quiet")
    return fusionbench("reproduce", "toy", *given, *words)


def test_files_are_run_once_in_order_and_the_broken_one_is_named(paper):
    outcome = again(paper)
    assert outcome.code == 2
    assert "not run: broken.yaml: " in outcome.out
    assert "toy: 3 files in " in outcome.out
    page = (paper / "runs" / "reports" / "paper_toy" / "report.html").read_text(encoding="utf-8")
    assert "nobody" in page
    assert '<a href="../one/report.html">' not in page  # its observers write no page
    reports = {p.name for p in (paper / "runs" / "reports").iterdir()}
    assert reports == {"one", "two", "paper_toy"}
    second = again(paper)
    assert second.out.count("0 models trained") == outcome.out.count("models trained") == 2


def test_parts_quick_and_dry_runs(paper):
    outcome = again(paper, "--part", "figure*", "--quick", "--set", "observers=[files]")
    assert outcome.code == 0
    assert {p.name for p in (paper / "runs" / "reports").iterdir()} == {"one_quick", "two_quick", "paper_toy_quick"}
    dry = again(paper, "--part", "figure 1", "--dry-run", "--workspace", paper / "dry")
    assert "all files of toy: about 1 min of training at most" in dry.out
    assert not (paper / "dry" / "reports").exists()


def test_what_is_not_there_is_refused(paper):
    assert (
        "no paper named 'tyo'; did you mean 'toy'?" in fusionbench("reproduce", "tyo", "-p", paper / "toy_paper.py").err
    )
    outcome = again(paper, "--part", "table 9")
    assert (outcome.code, "parts: table 1, table 2, figure 1" in outcome.err) == (2, True)


def test_other_processes_are_told_of_the_plugins(paper, monkeypatch):
    asked = []
    monkeypatch.setattr(reproducing, "run_file", lambda opened, given, display: asked.append(given.words) or 0)
    monkeypatch.setattr(reproducing, "write_paper", lambda *_, **__: paper / "page")
    again(paper, "--part", "table 1", "--no-plugin", "papers.medfuse")
    (words,) = asked
    assert words[:2] == ["run", str(paper / "one.yaml")]
    assert words[2:] == ["-p", TOY, "-p", str(paper / "toy_paper.py"), "--no-plugin", "papers.medfuse"]


@pytest.mark.slow
def test_a_paper_that_is_killed_in_the_middle_goes_on_and_leaves_the_same_tables(tmp_path):
    words = ("reproduce", "omnifuse", "--quick", "--part", "figure 6", "--part", "table 2", "--quiet")
    process = started(*words, "--workspace", tmp_path / "killed")
    fits = tmp_path / "killed" / "results" / "fits"
    deadline = time.monotonic() + 200
    while len(list(fits.glob("[!.]*.safetensors")) if fits.is_dir() else []) < 4:
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.1)
    process.kill()
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in fits.glob("[!.]*.safetensors")}
    for workspace in ("killed", "whole"):
        found = started(*words, "--workspace", tmp_path / workspace)
        found.communicate(timeout=400)
        assert found.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before  # what was stored is not trained again
    names = [p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole" / "reports").glob("*/*.csv")]
    compared = [name for name in names if name.name != "ledger.csv"]  # which says how long things took
    assert len(compared) > 20
    assert [
        n for n in compared if (tmp_path / "whole" / n).read_bytes() != (tmp_path / "killed" / n).read_bytes()
    ] == []
