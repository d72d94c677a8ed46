"""The report: what stands on the page, when it is written, and what guests add to it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import pairwise
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

import pytest

from fusionbench import hookimpl
from fusionbench.analysis.words import arm_name, interval
from fusionbench.errors import PluginError
from fusionbench.plan.lines import lines_of
from fusionbench.report import (
    Section,
    Table,
    Text,
    about,
    results,
)
from fusionbench.report.lines import anchors, ranked_board
from fusionbench.report.page import PAGE, make_sections, write_report
from fusionbench_plugins.observers.html import Html
from tests.builders import make_run, toy_dataset
from tests.report.reading import CHANGES, RIBBON, Page, section


@pytest.fixture(scope="module")
def page(made):
    return (made[0] / PAGE).read_text(encoding="utf-8")


# --------------------------------------------------------------------------------------------
# the page


def test_the_page_has_a_section_for_everything_that_the_run_has_data_for(page):
    anchors = re.findall(r'<section id="([\w-]+)"', page)
    assert anchors == [
        "answer",
        "differences-as-more-is-missing",
        "quality-against-cost",
        "leaderboard",
        "degradation-curves",
        "modality-subsets",
        "ablation",
        "what-each-modality-is-worth",
        "where-these-data-lie-on-the-map-of-regimes",
        "calibration",
        "pairs",
        "tuning",
        "validation-score-over-epochs",
        "line-by-line",
        "cohort",
        "protocol",
        "provenance",
        "what-failed",
    ]
    contents = page.partition("<nav")[2].partition("</nav>")[0]
    assert re.findall(r'<a href="#([\w-]+)">', contents) == anchors


def test_headings_tables_and_pictures_say_what_they_are(page):
    found = Page(page)
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert found.all("html") == [{"lang": "en"}]
    assert all(th.get("scope") in ("col", "colgroup", "row") for th in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table")) > 8
    pictures = [d for d in found.all("div") if d.get("role") == "img"]
    assert len(pictures) == len(found.all("figure")) > 6
    assert all(len(p["aria-label"]) > 30 for p in pictures)
    ids = [a["id"] for _, a in found.tags if "id" in a]
    assert len(ids) > 100
    assert len(set(ids)) == len(ids)


def test_the_page_asks_nothing_of_a_network_and_runs_no_script_but_its_own(page):
    found = Page(page)
    assert found.all("img") == found.all("link") == []
    assert found.all("script") == [{}]
    named = [v for _, attributes in found.tags for k, v in attributes.items() if k in ("src", "href", "xlink:href")]
    assert named
    assert [v for v in named if not v.startswith("#")] == []
    assert re.findall(r"url\((?!#)", page) == []
    script = page.partition("<script>")[2].partition("</script>")[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{allowed}';" in page
    assert "unsafe-inline'; img-src data:; base-uri 'none'" in page.partition("style-src '")[2]


def test_every_link_leads_to_a_place_of_the_page_and_a_line_to_its_own_part(made, page):
    _, _, summary = made
    found = Page(page)
    ids = {a["id"] for _, a in found.tags if "id" in a}
    assert {a["href"][1:] for a in found.all("a")} <= ids
    for line in lines_of(ranked_board(summary)):
        assert anchors(summary)[arm_name(*line)] == anchors(summary)[summary.plan.called(line)]
        assert f'<div class="part" id="{anchors(summary)[arm_name(*line)]}"' in page


def test_the_first_screen_has_title_question_answer_and_notes_above_the_decision_table(made, page):
    _, _, summary = made
    places = [
        page.index(said)
        for said in (
            f"<h1>Which fusion when a, b and c go missing <small>{summary.plan.benchmark.name}</small></h1>",
            '<p class="question">Which line is &lt;higher&gt;?</p>',
            "<ol><li>",
            "To be known before reading the numbers",
            '<table class="grid few">',
            '<section id="differences-as-more-is-missing"',
            '<section id="protocol"',
        )
    ]
    assert places == sorted(places)


def test_text_is_escaped_and_the_ribbon_is_on_page_tables_and_pictures(made, page):
    folder, _, _ = made
    assert "Which line is &lt;higher&gt;?" in page
    assert page.count(RIBBON) > 8
    assert RIBBON in (folder / "tables" / "leaderboard.tex").read_text(encoding="utf-8")
    assert all(RIBBON in p.read_text(encoding="utf-8") for p in (folder / "pictures").glob("*.svg"))


def test_the_leaderboard_of_the_page_is_that_of_the_run(made, page):
    _, _, summary = made
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", section(page, "leaderboard").partition("Budget ledger")[0])[1:]
    cells = [re.findall(r"<t[hd][^>]*>(?:<a [^>]*>)?(.*?)(?:</a>)?</t[hd]>", row) for row in rows]
    board = summary.tables.leaderboard
    assert [c[1] for c in cells] == [arm_name(s, i) for s, i in zip(board["strategy"], board["imputer"], strict=True)]
    assert [c[2] for c in cells] == [interval(line, "area") for _, line in board.iterrows()]
    marks = [str(g or "-") + "!" * bool(b) for g, b in zip(board["group"], board["below_prevalence"], strict=True)]
    assert [c[0] for c in cells] == marks


def test_every_line_but_the_baseline_is_drawn_once_for_each_pattern(page):
    differences = section(page, "differences-as-more-is-missing")
    assert len(re.findall(r'<figure class="small" data-line="line-[\w-]+"', differences)) == 2 * 3
    assert len(re.findall(r'<figure class="small" data-line="line-[\w-]+"', section(page, "line-by-line"))) == 2 * 4
    for pattern in ("1", "2"):
        assert len(re.findall(rf'id="curves-{pattern}-arm(\d)"', section(page, "degradation-curves"))) <= 2


def test_calibration_is_about_bins_and_never_about_few_rows(made, page):
    _, _, summary = made
    assert (summary.tables.calibration["rows"] >= 10).all()
    assert page.count('id="calibration-') > 4


def test_the_page_is_written_again_only_when_something_has_changed(made, monkeypatch):
    folder, run, _ = made
    workspace = folder.parents[1]
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with monkeypatch.context() as patch:
        patch.setattr("fusionbench.report.page.make_sections", lambda *_: pytest.fail("made again"))
        again = make_run(workspace, toy_dataset(rows=200), **CHANGES)
        again.execute([Html(run.benchmark, workspace)])
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_equal_runs_give_equal_files(made, tmp_path):
    folder, run, _ = made
    again = make_run(tmp_path, toy_dataset(rows=200), **CHANGES)
    again.execute([Html(run.benchmark, tmp_path)])
    timed = {"ledger.tex", "decision.tex", "cost.svg", "cost.pdf", "report.html"}  # seconds are among them
    for path in (p for p in folder.rglob("*") if p.is_file() and p.name not in timed):
        other = tmp_path / "reports" / "reported" / path.relative_to(folder)
        one, two = path.read_bytes(), other.read_bytes()
        if path.name == "record.json":  # one sentence of its answer is about seconds
            one, two = ({k: v for k, v in json.loads(text).items() if k != "answer"} for text in (one, two))
        assert one == two, path.name


def test_the_same_run_gives_the_same_bytes(made, tmp_path):
    """Takes seconds because every picture is drawn again: they are what may differ."""
    folder, _, summary = made
    again = write_report(summary, tmp_path / folder.name).parent
    for path in (p for p in again.rglob("*") if p.is_file()):
        assert path.read_bytes() == (folder / path.relative_to(again)).read_bytes(), path.name


def test_a_run_without_a_complete_line_has_a_page_that_says_what_is_missing(tmp_path, undrawn):
    run = make_run(tmp_path, toy_dataset(), name="gaps", tuning={"trials": 0})
    run.execute([Html(run.benchmark, tmp_path)], limit=1)
    text = (tmp_path / "reports" / "gaps" / PAGE).read_text(encoding="utf-8")
    assert "Not compared: " in section(text, "leaderboard")
    assert "concat / zero: 1 model of 2 missing" in section(text, "what-failed")
    run.execute([Html(run.benchmark, tmp_path)])
    text = (tmp_path / "reports" / "gaps" / PAGE).read_text(encoding="utf-8")
    assert "Nothing: every model of the plan was trained and scored." in section(text, "what-failed")
    assert 'id="leaderboard"' in text


def test_what_an_earlier_run_left_beside_the_page_goes_away(tmp_path, undrawn):
    run = make_run(tmp_path, toy_dataset(), name="less", tuning={"trials": 0})
    run.execute([Html(run.benchmark, tmp_path)])
    assert (tmp_path / "reports" / "less" / "pictures" / "shapley.pdf").exists()
    run = make_run(
        tmp_path, toy_dataset(), name="less", tuning={"trials": 0}, evaluation={"resamples": 100, "subsets": False}
    )
    run.execute([Html(run.benchmark, tmp_path)])
    assert not (tmp_path / "reports" / "less" / "pictures" / "shapley.pdf").exists()
    assert (tmp_path / "reports" / "less" / "pictures" / "ranking.pdf").exists()


@pytest.mark.parametrize("where", ["train", "both", "grid"])
def test_runs_that_train_with_missing_modalities_have_a_page(tmp_path, undrawn, where):
    run = make_run(
        tmp_path,
        toy_dataset(),
        **{**CHANGES, "tuning": {"trials": 0}, "missingness": {"rates": [0, 0.5], "where": where}},
    )
    summary = run.execute()
    sections = {s.anchor: s for s in make_sections(summary)}
    assert results.verdict(summary) in [b.words for b in sections["leaderboard"].blocks if isinstance(b, Text)]
    assert ("ablation" in sections) == (where != "grid")
    assert ("trained-against-tested" in sections) == (where == "grid")
    assert about.WHERE[where] in sections["protocol"].blocks[-1].points[2]


def test_names_of_any_kind_are_shown_as_they_are(tmp_path):
    label = "_<b>&\"'$x_1$ ünï"
    strategies = [{"name": "concat", "label": label}, "sum"]
    run = make_run(tmp_path, toy_dataset(), strategies=strategies)
    write_report(run.execute(), tmp_path / "page")
    found = Page((tmp_path / "page" / PAGE).read_text(encoding="utf-8"))
    assert f"{label} / zero" in found.words
    assert found.all("b") == []
    for path in (tmp_path / "page" / "pictures").glob("*.svg"):
        ET.parse(path)
    drawn = ET.parse(tmp_path / "page" / "pictures" / "ranking.svg").getroot()
    assert label in "".join(drawn.itertext())


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_runs_with_other_targets_have_a_page(tmp_path, undrawn, kind):
    run = make_run(tmp_path, toy_dataset(kind=kind, rows=200), tuning={"trials": 0})
    anchors = [s.anchor for s in make_sections(run.execute())]
    assert {"leaderboard", "calibration", "cohort"} <= set(anchors)


# --------------------------------------------------------------------------------------------
# guests


class Guest:
    """Adds a section."""

    added: ClassVar[Any] = [
        Section("Of a guest", [Text("Heights & widths"), Table("A table.", ["a", "b"], [["x", "1"]])])
    ]

    @hookimpl
    def fusionbench_report_sections(self, summary):
        return self.added


class Silent:
    """Adds nothing."""

    @hookimpl
    def fusionbench_report_sections(self, summary):
        return None


def test_a_section_of_a_guest_stands_after_the_results_and_is_escaped(tmp_path, undrawn):
    run = make_run(tmp_path, toy_dataset(), name="guests", tuning={"trials": 0})
    run.execute([Html(run.benchmark, tmp_path), Silent(), Guest()])
    text = (tmp_path / "reports" / "guests" / PAGE).read_text(encoding="utf-8")
    anchors = re.findall(r'<section id="([\w-]+)"', text)
    assert anchors[-4:] == ["of-a-guest", "protocol", "provenance", "what-failed"]
    assert "Heights &amp; widths" in section(text, "of-a-guest")


def test_the_page_is_written_again_when_a_guest_adds_something_else(tmp_path, undrawn, monkeypatch):
    run = make_run(tmp_path, toy_dataset(), name="guests", tuning={"trials": 0})
    run.execute([Html(run.benchmark, tmp_path), Guest()])
    monkeypatch.setattr(Guest, "added", [Section("Of a guest", [Text("Depths")])])
    run.execute([Html(run.benchmark, tmp_path), Guest()], limit=0)
    assert "Depths" in (tmp_path / "reports" / "guests" / PAGE).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ([Section("Leaderboard", [])], "the report has a section called Leaderboard"),
        ([Section("A b", []), Section("A  B", [])], "A  B, A b: titles must differ"),
        ("text", "an observer returned str; accepted: a list of fusionbench.report.Section"),
        ([Text("no section")], "accepted: a list of fusionbench.report.Section"),
    ],
)  # fmt: skip
def test_what_a_guest_adds_wrongly_is_said(tmp_path, undrawn, monkeypatch, added, said):
    run = make_run(tmp_path, toy_dataset(), tuning={"trials": 0})
    monkeypatch.setattr(Guest, "added", added)
    with pytest.raises(PluginError, match=re.escape(said)):
        run.execute([Html(run.benchmark, tmp_path), Guest()])


def test_the_folder_of_a_report_can_be_anywhere(made, undrawn, tmp_path):
    _, _, summary = made
    assert write_report(summary, tmp_path / "elsewhere") == tmp_path / "elsewhere" / PAGE
    assert (tmp_path / "elsewhere" / "record.json").exists()
