"""The page of a paper: every part in order, what was run and what was not, names in drawings apart."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fusionbench import Paper, PaperPart
from fusionbench.analysis.published import read_values
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.papers import installed_papers
from fusionbench.report.papers.page import FileRun, write_paper
from tests.report.reading import Page


class Toy(Paper):
    title, citation = "Toy", "Toy 2020, <Journal> of toys"
    settings = ("Trained on 12 toys.",)
    parts = (
        PaperPart(
            "table 1", "What was run", ("toy.yaml",), ("Validation score over epochs",), "Toys.", ("Which toys?",)
        ),
        PaperPart("table 2", "What could not be run", ("broken.yaml",)),
        PaperPart("figure 1", "What no file asks"),
        PaperPart("figure 2", "What comes later", ("later.yaml",)),
    )


def test_every_part_says_what_became_of_it(summary, tmp_path):
    twice = [summary, replace(summary)]
    runs = {
        "toy.yaml": FileRun("toy.yaml", summaries=twice),
        "broken.yaml": FileRun("broken.yaml", 2, "no such file <x>\nmore"),
    }
    text = write_paper(Toy(), runs, tmp_path / "paper").read_text(encoding="utf-8")
    page = Page(text)
    assert re.findall(r'<section id="([\w-]+)"', text) == [
        "overview",
        "table-1-what-was-run",
        "table-2-what-could-not-be-run",
        "figure-1-what-no-file-asks",
        "figure-2-what-comes-later",
    ]
    for words in (
        "broken.yaml: no such file &lt;x&gt;",
        "no file asks this",
        "not run yet",
        "Which toys?",
        "Trained on 12 toys.",
    ):
        assert words in text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))  # two runs of one kind draw the same pictures
    assert text.count("Validation score over epochs") >= 2
    assert "SYNTHETIC" in text
    assert "<script" not in text


def test_quick_runs_are_marked(summary, tmp_path):
    runs = {"toy.yaml": FileRun("toy.yaml", summaries=[summary])}
    assert "QUICK" in write_paper(Toy(), runs, tmp_path, quick=True).read_text(encoding="utf-8")
    assert "QUICK" not in write_paper(Toy(), runs, tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize("title", ["OmniFuse", "MedFuse"])
def test_every_published_number_is_on_the_page_of_its_paper_before_anything_is_run(title, tmp_path):
    paper = next(p for p in installed_papers(Plugins())[0] if p.title == title)
    text = write_paper(paper, {}, tmp_path).read_text(encoding="utf-8")
    for value in read_values(paper.published):
        section = text.partition(f'-title">{value.table[:1].upper()}{value.table[1:]}: ')[2].partition("</section>")[0]
        shown = f"{value.value:.3f}".replace("0.", ".", 1)
        assert shown in section, (value.table, value.row, value.column)
    for sentence in paper.settings:
        assert sentence.replace("<", "&lt;").replace("'", "&#39;") in text
