"""Published values beside ours: on patients in the open, on made-up data folded, and nowhere for another task."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest

from fusionbench import Paper
from fusionbench.analysis.published import values_beside
from fusionbench.contract.blocks import Table, Text
from fusionbench.report.published import ON_OTHER_DATA, TITLE, published

HEADER = "paper,table,row,column,task,modalities,strategy,regularisers,imputer,label,pattern,rate,measure,metric,value,obtained,hand"


@pytest.fixture
def with_paper(finished, tmp_path):
    """The finished run as one that a paper is about: synthetic or not."""
    run, summary = finished
    rows = [
        "Toy paper,table 1,all,Concat,TASK,a+b+c,concat,,mean,,,0,score,auroc,.811,printed,first",
        "Toy paper,table 1,all,TMC,TASK,a+b+c,tmc,,zero,,,0,score,auroc,.700,printed,first",
        "Toy paper,table 2,half,Concat,TASK,a+b+c,concat,,mean,,random,.5,score,auroc,.6,read from the text: about,second",
        "Toy paper,table 3,all,Concat,other,a+b+c,concat,,mean,,,0,score,auroc,.5,printed,first",
    ]
    path = tmp_path / "values.csv"
    path.write_text("\n".join([HEADER, *rows]).replace("TASK", run.benchmark.task.name) + "\n", encoding="utf-8")

    class ToyPaper(Paper):
        title, citation, published = "Toy paper", "Toy 2020, Journal of toys", path
        protocol: ClassVar = {
            run.benchmark.task.name: {"splits.folds": 7, "training.epochs": run.benchmark.training.epochs}
        }
        cohorts: ClassVar = {run.benchmark.task.name: "other toys"}

    def made(*, synthetic):
        plan = replace(summary.plan, papers=(ToyPaper(),), dataset=replace(summary.plan.dataset, synthetic=synthetic))
        found, problems = values_beside(plan, summary.tables)
        assert problems == []
        return replace(summary, plan=plan, published=found)

    return made


def test_on_patients_they_stand_in_the_open(with_paper):
    summary = with_paper(synthetic=False)
    section = published(summary)
    one, two = [b for b in section.blocks if isinstance(b, Table)]  # nothing of table 3, which is another task's
    assert section.title == TITLE
    assert [(row[1], row[3], row[7], row[8]) for row in one.rows] == [
        ("Concat", ".811", "other toys", "other"),
        ("TMC", ".700", "other toys", "other"),
    ]
    curves = summary.tables.curves
    line = curves[(curves["strategy"] == "concat") & (curves["imputer"] == "mean") & (curves["pattern"] == "random")]
    complete, half = (line[line["rate"] == rate].iloc[0]["auroc"] for rate in (0, 0.5))
    assert one.rows[0][4].startswith(f"{complete:.3f}".lstrip("0") + " [")
    assert two.rows[0][4].startswith(f"{half:.3f}".lstrip("0") + " [")
    assert one.rows[1][4:6] == ["-", "-"]  # the run has no such line
    assert two.rows[0][9] == "read from the text: about (second hand)"
    assert not one.folded
    words = [p for b in section.blocks if isinstance(b, Text) for p in (b.words, *b.points)]
    assert any("Toy 2020, Journal of toys" in w for w in words)
    assert "splits.folds: 2, the paper 7" in words
    assert not any("training.epochs" in w for w in words)


def test_on_made_up_data_they_are_folded_and_said_to_be_of_others(with_paper):
    section = published(with_paper(synthetic=True))
    tables = [b for b in section.blocks if isinstance(b, Table)]
    assert all(t.folded for t in tables)
    assert all("published on other data" in t.caption for t in tables)
    assert {row[7] for t in tables for row in t.rows} == {"made up"}
    assert ON_OTHER_DATA in [b.words for b in section.blocks if isinstance(b, Text)]


def test_a_run_that_no_paper_asks_about_has_no_section(finished):
    assert published(finished[1]) is None
