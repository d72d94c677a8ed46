"""The report: what stands on the page, when it is written, and what guests add to it."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

from fusionbench import hookimpl
from fusionbench.errors import PluginError
from fusionbench.report import (
    Legend,
    Picture,
    Section,
    Table,
    Text,
    ablation,
    about,
    imputation,
    modalities,
    models,
    published,
    results,
)
from fusionbench.report.latex import escaped, latex
from fusionbench.report.page import PAGE, make_sections, write_report
from fusionbench.report.plain import plain_lines
from fusionbench_plugins.observers.html import Html
from tests.builders import make_run, toy_dataset
from tests.front import TOY, fusionbench, toy_benchmark, write_yaml

RIBBON = "SYNTHETIC DATA: no patient is in it"
CHANGES = {
    "name": "reported",
    "question": "Which line is <higher>?",
    "strategies": [
        {"name": "concat", "imputers": ["zero", "mean"]},
        {"name": "concat", "label": "hiding", "corruption": {"policy": "bernoulli", "rate": 0.3}},
        {"name": "unimodal", "modality": "a", "label": "a only"},
    ],
    "missingness": {"patterns": ["random", "a"], "rates": [0, 0.5]},
    "tuning": {"trials": 2, "common": {"learning_rate": {"low": 0.001, "high": 0.01, "log": True}}},
}


class Page(HTMLParser):
    """Opened tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("report")
    run = make_run(workspace, toy_dataset(rows=200), **CHANGES)
    summary = run.execute([Html(run.benchmark, workspace)])
    return workspace / "reports" / "reported", run, summary


@pytest.fixture(scope="module")
def page(made):
    return (made[0] / PAGE).read_text(encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures cost most of the time; here they are not looked at."""
    monkeypatch.setattr(
        "fusionbench.report.charts.draw", lambda name, *_, **__: Picture("<svg/>", "", "", name, 1, b"x")
    )


def section(page, anchor):
    return page.partition(f'<section id="{anchor}"')[2].partition("</section>")[0]


# --------------------------------------------------------------------------------------------
# the page


def test_the_page_has_a_section_for_everything_that_the_run_has_data_for(page):
    anchors = re.findall(r'<section id="([\w-]+)"', page)
    assert anchors == [
        "question-and-protocol",
        "leaderboard",
        "degradation-curves",
        "modality-subsets",
        "ablation",
        "what-each-modality-is-worth",
        "calibration",
        "over-repetitions",
        "cohort",
        "provenance",
        "what-failed",
    ]
    assert re.findall(r'<a href="#([\w-]+)">', page) == anchors


def test_headings_tables_and_pictures_say_what_they_are(page):
    found = Page(page)
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert found.all("html") == [{"lang": "en"}]
    assert all(th.get("scope") in ("col", "row") for th in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table")) > 8
    pictures = [d for d in found.all("div") if d.get("role") == "img"]
    assert len(pictures) == len(found.all("figure")) > 6
    assert all(len(p["aria-label"]) > 30 for p in pictures)
    ids = [a["id"] for _, a in found.tags if "id" in a]
    assert len(ids) > 100
    assert len(set(ids)) == len(ids)


def test_the_page_asks_nothing_of_a_network_and_runs_no_script(page):
    found = Page(page)
    assert found.all("script") == found.all("img") == found.all("link") == []
    named = [v for _, attributes in found.tags for k, v in attributes.items() if k in ("src", "href", "xlink:href")]
    assert named
    assert [v for v in named if not v.startswith("#")] == []
    assert re.findall(r"url\((?!#)", page) == []
    assert "default-src 'none'" in page


def test_text_is_escaped_and_the_ribbon_is_on_page_tables_and_pictures(made, page):
    folder, _, _ = made
    assert "Which line is &lt;higher&gt;?" in page
    assert page.count(RIBBON) > 8
    assert RIBBON in (folder / "tables" / "leaderboard.tex").read_text(encoding="utf-8")
    assert all(RIBBON in p.read_text(encoding="utf-8") for p in (folder / "pictures").glob("*.svg"))


def test_the_leaderboard_of_the_page_is_that_of_the_run(made, page):
    _, _, summary = made
    rows = re.findall(r"<tr>(.*?)</tr>", section(page, "leaderboard").partition("Budget ledger")[0])[1:]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    board = summary.tables.leaderboard
    assert [c[1] for c in cells] == [arm_name(s, i) for s, i in zip(board["strategy"], board["imputer"], strict=True)]
    assert [c[2] for c in cells] == [interval(line, "area") for _, line in board.iterrows()]
    assert [c[0] for c in cells] == [str(t) for t in board["tie_group"]]


def test_every_line_is_drawn_once_for_each_pattern(page):
    curves = section(page, "degradation-curves")
    for pattern in ("1", "2"):
        assert re.findall(rf'id="curves-{pattern}-1-arm(\d)"', curves) == ["0", "1", "2", "3"]


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
    timed = {"ledger.tex", "report.html"}  # seconds are among them
    for path in (p for p in folder.rglob("*") if p.is_file() and p.name not in timed):
        other = tmp_path / "reports" / "reported" / path.relative_to(folder)
        assert other.read_bytes() == path.read_bytes(), path.name


def test_a_run_without_a_complete_line_has_a_page_that_says_what_is_missing(tmp_path, undrawn):
    run = make_run(tmp_path, toy_dataset(), name="gaps", tuning={"trials": 0})
    run.execute([Html(run.benchmark, tmp_path)], limit=1)
    text = (tmp_path / "reports" / "gaps" / PAGE).read_text(encoding="utf-8")
    assert 'id="leaderboard"' not in text
    assert "concat / zero: 1 model of 2 missing" in section(text, "what-failed")
    run.execute([Html(run.benchmark, tmp_path)])
    text = (tmp_path / "reports" / "gaps" / PAGE).read_text(encoding="utf-8")
    assert "Nothing: every model of the plan was trained and scored." in section(text, "what-failed")
    assert 'id="leaderboard"' in text


def test_what_failed_is_listed_with_its_reason_and_an_interruption_is_said(made):
    _, _, summary = made
    found = about.failures(replace(summary, failures=[("lmf / zero, fold 0", "diverged")], interrupted=True))
    (table,) = [b for b in found.blocks if isinstance(b, Table)]
    assert table.rows == [["lmf / zero, fold 0", "diverged"]]
    assert [b.words for b in found.blocks if isinstance(b, Text)] == [
        "The run was interrupted; the same command goes on where it stopped."
    ]


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


def test_folders_and_servers_of_this_machine_are_not_on_the_page(tmp_path):
    run = make_run(
        tmp_path,
        toy_dataset(),
        tracking={"uri": "http://user:secret@server"},
        encoders={"a": "identity", "b": "identity", "c": "identity"},
    )
    plan = replace(run.plan, benchmark=run.benchmark.model_copy(update={"task": run.benchmark.task.model_copy()}))
    plan.benchmark.task.__pydantic_extra__["root"] = "/data/of/somebody/mimic-iv"
    text = about.configuration(plan)
    assert "root: '.../mimic-iv'" in text
    assert "secret" not in text
    assert "somebody" not in text


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
    assert about.WHERE[where] in sections["question-and-protocol"].blocks[-1].points[2]


def test_in_a_grid_every_training_condition_meets_every_test_condition(tmp_path, undrawn):
    run = make_run(tmp_path, toy_dataset(), missingness={"rates": [0, 0.5], "where": "grid"}, strategies=["concat"])
    summary = run.execute()
    (table,) = [b for b in results.grid(summary).blocks if isinstance(b, Table)]
    assert table.columns == ["trained at", "complete@0", "random@0.5"]
    assert [row[0] for row in table.rows] == ["complete@0", "random@0.5"]
    cells = summary.tables.cells
    mine = cells[(cells["trained_at"] == "random@0.5") & (cells["pattern"] == "complete")]["auroc"]
    assert table.rows[1][1] == number(mine.mean())


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
    assert anchors[-3:] == ["of-a-guest", "provenance", "what-failed"]
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


# --------------------------------------------------------------------------------------------
# parts


def test_published_values_stand_beside_ours_on_patients_only(made):
    _, run, summary = made
    data = summary.plan.dataset
    named = dict(zip(published.MODALITIES, data.modalities.values(), strict=True))
    task = run.benchmark.task.model_copy(update={"name": "mimic_ihm"})
    plan = replace(
        summary.plan,
        dataset=replace(data, modalities=named, synthetic=False),
        benchmark=run.benchmark.model_copy(update={"task": task}),
    )
    real = replace(summary, plan=plan)
    (table,) = [b for b in [modalities._published(real)] if b is not None]
    assert [(row[0], row[1], row[3]) for row in table.rows] == [
        (name, "ehr+cxr+report", ".811") for name in ("concat / zero", "concat / mean")
    ]
    assert published.SOURCE in table.caption
    synthetic = replace(summary, plan=replace(plan, dataset=replace(plan.dataset, synthetic=True)))
    assert modalities._published(synthetic) is None


def test_why_published_values_do_not_stand_on_the_page_is_said_where_somebody_would_look_for_them(made):
    _, run, summary = made

    def said(task, **data):
        benchmark = run.benchmark.model_copy(update={"task": run.benchmark.task.model_copy(update={"name": task})})
        dataset = replace(summary.plan.dataset, **data)
        return published.why_not(replace(summary.plan, benchmark=benchmark, dataset=dataset))

    names = dict(zip(("ehr", "cxr", "report"), summary.plan.dataset.modalities.values(), strict=True))
    assert said("mimic_ihm", modalities=names, synthetic=False) is None  # they do stand there
    assert said("toy", synthetic=False) is None
    assert "This cohort is synthetic" in said("mimic_ihm", modalities=names, synthetic=True)
    other = said("mimic_phenotyping", modalities=names, synthetic=False, metric="auprc")
    assert other.startswith("Other data: ")
    assert not re.search(r"\.8\d\d", other)


def test_models_trained_on_some_modalities_stand_by_strategy_and_set(tmp_path, undrawn):
    pairs = [{"name": n, "modalities": m} for m in (["a", "b"], ["a", "c"]) for n in ("concat", "sum")]
    alone = {"name": "unimodal", "modality": "a", "label": "a only"}
    hiding = {"name": "concat", "label": "hiding", "corruption": {"policy": "bernoulli", "rate": 0.3}}
    run = make_run(
        tmp_path,
        toy_dataset(),
        strategies=[alone, *pairs, "concat", hiding],
        tuning={"trials": 0},
        missingness={"patterns": ["natural"], "rates": [0]},
    )
    summary = run.execute()
    trained, shown = [b for b in modalities.subsets(summary).blocks if isinstance(b, Table)]
    assert list(trained.columns) == ["strategy / imputer", "a", "a+b", "a+c", "a+b+c"]
    dashes = [[cell == "-" for cell in row[1:]] for row in trained.rows]
    assert [row[0] for row in trained.rows] == ["unimodal / zero", "concat / zero", "sum / zero"]
    assert dashes == [[False, True, True, True], [True, False, False, False], [True, False, False, True]]
    board = summary.tables.leaderboard.set_index("strategy")
    assert trained.rows[1][3] == interval(board.loc["concat on a+c"], "area")
    blind = {row[0]: row[1:] for row in shown.rows}["a only / zero"]
    columns = list(shown.columns)[1:]
    assert [c for c, cell in zip(columns, blind, strict=True) if cell == "-"] == ["b", "c", "b+c"]


def test_with_one_missing_rate_there_is_no_curve_to_draw(tmp_path, undrawn):
    one = {"patterns": ["natural"], "rates": [0]}
    run = make_run(tmp_path, toy_dataset(), tuning={"trials": 0}, missingness=one)
    found = results.curves(run.execute())
    assert [b for b in found.every() if isinstance(b, Picture)] == []
    assert found.blocks[0].words == "There is one missing rate, 0 %, and so no curve."
    assert len([b for b in found.every() if isinstance(b, Table)]) == 2


def test_too_few_repetitions_for_ranks_are_said(made):
    _, _, summary = made
    words = models.repetitions(summary).blocks[0].words
    found = summary.tables.comparisons
    beyond = replace(summary.tables, comparisons=found.assign(critical_difference=len(found)))
    within = replace(summary.tables, comparisons=found.assign(critical_difference=len(found) - 1))
    said = [models.repetitions(replace(summary, tables=t)).blocks[0].words for t in (beyond, within)]
    assert "are too few for ranks" in said[0]
    assert "are too few for ranks" not in said[1]
    assert re.search(r"rank alike: p (= \.\d{3}|= 1\.000|< \.001)\.", words)


def test_published_values_are_those_of_the_table():
    assert published.published("dwfuse", "ehr+cxr+report") == 0.859
    assert published.published("g_blend", "cxr+report") == 0.738
    assert published.published("unimodal", "ehr") == 0.828
    assert published.published("unimodal", "cxr") is None
    assert published.published("tmc", "ehr+cxr") is None
    assert published.published("concat", "cxr") is None


def test_the_ablation_compares_with_the_plainest_line_by_repetition(made):
    _, _, summary = made
    (table,) = [b for b in ablation.ablation(summary).blocks if isinstance(b, Table)]
    assert [row[:2] for row in table.rows] == [["concat", "zero"], ["concat", "mean"], ["hiding", "zero"]]
    assert table.rows[0][-2:] == ["(base)", "-"]
    assert table.rows[2][3] == "bernoulli 0.3"
    board = summary.tables.leaderboard.set_index(["strategy", "imputer"])["area"]
    difference = board["concat", "mean"] - board["concat", "zero"]
    # means over repetitions: the areas of the leaderboard, up to their rounding
    assert float(table.rows[1][-2]) == pytest.approx(difference, abs=0.0011)


def test_the_verdict_counts_ties(made):
    _, _, summary = made
    board = summary.tables.leaderboard

    def said(groups):
        tables = replace(summary.tables, leaderboard=board.assign(tie_group=groups))
        return results.verdict(replace(summary, tables=tables))

    assert said([1, 1, 1, 1]).endswith("None of the other lines was shown to differ from it.")
    assert said([1, 2, 2, 3]).endswith("Every other line was shown to differ from it.")
    assert said([1, 1, 2, 2]).endswith("1 line was not shown to differ from it, 2 lines were.")
    assert said([1, 1, 1, 2]).endswith("2 lines were not shown to differ from it, 1 line was.")


def test_latex_is_escaped_and_begins_no_row_with_a_bracket():
    table = Table("50 % & more", ["a_b", "c"], [["[1, 2]", "$3"], ["<x>", "#"]], name="t")
    text = latex(table, ["MARK"])
    assert r"\caption{MARK. 50 \% \& more}" in text
    assert r"a\_b & c \\" in text
    assert r"{[1, 2]} & \$3 \\" in text
    assert r"\begin{tabular}{lr}" in text
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert escaped("\\{}") == r"\textbackslash{}\{\}"


def test_plain_tables_have_columns_of_equal_width():
    assert list(plain_lines(Table("C", ["name", "n"], [["a", "10"], ["long name", "1"]]))) == [
        "C",
        "name        n",
        "a          10",
        "long name   1",
    ]


def test_numbers_are_short_and_nothing_is_a_dash():
    assert [number(v) for v in (0.8434, 1.0, -0.02, float("nan"), None)] == [".843", "1.000", "-.020", "-", "-"]
    assert [signed(v) for v in (0.02, -0.004, 0.0)] == ["+.020", "-.004", "+.000"]
    assert [p_value(v) for v in (0.0001, 0.04)] == ["< .001", ".040"]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert interval({"area": 0.5, "area_low": 0.4, "area_high": 0.6}, "area") == ".500 [.400, .600]"


def test_traces_are_drawn_where_a_strategy_recorded_them(made):
    _, _, summary = made
    assert models.traces(summary) is None
    rows = [("concat", "zero", "", 0, 0, "beta", w, e, e / 10) for w in ("a", "z") for e in (1, 2, 3)]
    columns = ["strategy", "imputer", "trained_at", "fold", "seed", "what", "which", "epoch", "value"]
    found = models.traces(replace(summary, traces=pd.DataFrame(rows, columns=columns)))
    (picture,) = [b for b in found.blocks if isinstance(b, Picture)]
    assert re.findall(r'id="trace-1-arm(\d)"', picture.svg) == ["0", "1"]
    assert "beta over 3 epochs" in picture.alt


def test_a_regulariser_is_named_in_what_it_recorded(tmp_path, undrawn):
    lines = [{"name": "concat", "label": "lazy", "regularisers": ["tla"]}]
    training = {"epochs": 2, "batch_size": 32, "traces": True}
    run = make_run(tmp_path, toy_dataset(), strategies=lines, training=training, tuning={"trials": 0})
    summary = run.execute()
    assert set(summary.traces["what"]) == {"regulariser.0.lazy"}
    assert models._what(summary, ("lazy", "zero"), "regulariser.0.lazy") == "tla lazy"


# --------------------------------------------------------------------------------------------
# imputation

IMPUTERS = ["zero", "mean", "knn", "cra"]


@pytest.fixture(scope="module")
def imputed(tmp_path_factory):
    """A run of every kind of imputer, with traces."""
    run = make_run(
        tmp_path_factory.mktemp("imputed"),
        toy_dataset(rows=300),
        strategies=[{"name": "concat", "imputers": IMPUTERS}, {"name": "unimodal", "modality": "a"}],
        training={"epochs": 3, "batch_size": 32, "traces": True},
        tuning={"trials": 0},
    )
    return run.execute()


def blocks_of(found, kind):
    return [b for b in found.blocks if isinstance(b, kind)]


def test_imputation_over_training_has_a_picture_for_each_modality_and_a_line_for_each_imputer(imputed):
    found = imputation.imputation(imputed)
    pictures = blocks_of(found, Picture)
    assert [p.name for p in pictures] == ["imputation-1-1", "imputation-2-1", "imputation-3-1"]
    for picture in pictures:
        assert len(re.findall(r'id="imputation-\d-1-arm(\d)"', picture.svg)) == 2
        assert 'mean-embedding"' in picture.svg
        assert RIBBON in picture.svg
        assert re.search(r"concat / mean from \d\.\d\d to \d", picture.alt)
    (legend,) = blocks_of(found, Legend)
    assert {label for _, label in legend.entries} == {"concat / mean", "concat / cra"}


def test_the_numbers_of_imputation_are_means_over_models(imputed):
    (table,) = blocks_of(imputation.imputation(imputed), Table)
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    assert len(rows) == 6
    traced = imputed.traces[(imputed.traces["imputer"] == "cra") & (imputed.traces["which"] == "b")]
    means = traced.groupby("epoch")["value"].mean()
    assert traced["what"].unique().tolist() == ["imputer.relative error"]
    assert rows["concat / cra", "b"] == [number(means[1]), number(means[3]), number(means.min()), str(means.idxmin())]


def test_imputers_without_a_line_are_named_with_the_reason(imputed):
    said = [b.words for b in blocks_of(imputation.imputation(imputed), Text)][1:]
    assert len(said) == 2
    assert said[0].startswith("No line has knn, which completes inputs before training")
    assert said[1] == "No line has zero: no embedding is filled in that could be compared."


def test_what_imputers_are_measured_by_is_not_drawn_a_second_time(imputed):
    assert models.traces(imputed) is None


def test_embeddings_that_are_alike_are_in_the_table_and_not_drawn(imputed):
    found = imputation.embedding_maps(imputed)
    pictures = blocks_of(found, Picture)
    assert {p.caption for p in pictures} == {f"concat / {i}, {m}." for i in ("knn", "cra") for m in "abc"}
    assert "Not drawn, because every row gets the same embedding, a single cell: concat / mean." in [
        b.words for b in blocks_of(found, Text)
    ]
    (table,) = blocks_of(found, Table)
    assert {row[0] for row in table.rows} == {"concat / mean", "concat / knn", "concat / cra"}
    assert len(table.rows) == 9
    numbers = imputed.maps.numbers.set_index(["imputer", "modality"])
    for row in table.rows:
        line = numbers.loc[row[0].removeprefix("concat / "), row[1]]
        assert row[2:6] == [str(line["rows"]), *(number(line[n]) for n in ("error", "distance", "spread"))]


def test_a_map_draws_exactly_the_cells_that_may_be_shown(imputed):
    for picture in blocks_of(imputation.embedding_maps(imputed), Picture):
        imputer, modality = re.fullmatch(r"concat / (\w+), (\w)\.", picture.caption).groups()
        cells = imputed.maps.cells
        mine = cells[(cells["imputer"] == imputer) & (cells["modality"] == modality)]
        assert picture.svg.count("stroke: #ffffff") == len(mine) > 5
        assert RIBBON in picture.svg


def test_many_lines_are_drawn_in_part_and_the_tables_hold_all(imputed, undrawn):
    names = [f"line {i}" for i in range(30)]

    def many(frame):
        mine = frame[frame["imputer"] == "cra"]
        return pd.concat([mine.assign(strategy=n) for n in names], ignore_index=True)

    board = many(imputed.tables.leaderboard)
    summary = replace(
        imputed,
        tables=replace(imputed.tables, leaderboard=board),
        traces=many(imputed.traces),
        maps=imputed.maps._replace(numbers=many(imputed.maps.numbers), cells=many(imputed.maps.cells)),
    )
    over, maps = imputation.imputation(summary), imputation.embedding_maps(summary)
    assert len(blocks_of(over, Picture)) == 3 * 3  # three groups of eight lines
    assert len(blocks_of(over, Table)[0].rows) == 3 * 30
    assert len(blocks_of(maps, Picture)) == 3 * 8
    assert "Drawn are the first 8 of 30 lines; the table holds all." in [b.words for b in blocks_of(maps, Text)]
    assert "Drawn are the first 24 of 30 lines; the table holds all." in [b.words for b in blocks_of(over, Text)]
    assert len(blocks_of(maps, Table)[0].rows) == 3 * 30


def test_the_sections_of_imputation_stand_on_the_page_and_a_new_map_writes_it_again(imputed, undrawn, tmp_path):
    page = write_report(imputed, tmp_path)
    before = page.read_text(encoding="utf-8")
    assert {"imputation-over-training", "original-and-imputed-embeddings"} <= set(
        re.findall(r'<section id="([\w-]+)"', before)
    )
    assert (tmp_path / "tables" / "embedding-maps.tex").exists()
    assert (tmp_path / "pictures" / "map-1-1.pdf").exists()
    numbers = imputed.maps.numbers.assign(error=0.5)
    write_report(replace(imputed, maps=imputed.maps._replace(numbers=numbers)), tmp_path)
    assert page.read_text(encoding="utf-8") != before


# --------------------------------------------------------------------------------------------
# the command


@pytest.fixture
def stored(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(tuning=CHANGES["tuning"]))
    assert fusionbench("run", config, "-p", TOY, "--workspace", tmp_path / "runs", "--quiet").code == 0
    return config, tmp_path / "runs"


def report(config, workspace, *more):
    return fusionbench("report", config, "-p", TOY, "--workspace", workspace, *more)


def test_the_command_makes_the_page_and_trains_nothing(stored, monkeypatch):
    config, workspace = stored
    monkeypatch.setattr("fusionbench.run.refits.train_jobs", lambda *_: pytest.fail("trained"))
    page = workspace / "reports" / "toy" / PAGE
    assert not page.exists()
    found = report(config, workspace)
    assert found.code == 0, found.err
    assert found.out.splitlines() == [f"report: {page}"]
    assert page.exists()


def test_the_command_says_what_is_missing_and_how_to_train_it(stored, undrawn):
    config, workspace = stored
    found = report(config, workspace, "--set", "strategies=[concat, lmf]")
    assert found.code == 0, found.err
    assert "missing: lmf / zero: 2 models of 2 missing" in found.out
    command = shlex.join(["fusionbench", "run", str(config), "-p", TOY, "--set", "strategies=[concat, lmf]"])
    assert f"to train what is missing: {command}" in found.out


def test_the_command_prints_the_hyper_parameters_that_won(stored, undrawn):
    config, workspace = stored
    lines = report(config, workspace, "--hparams").out.splitlines()
    rows = [line.split() for line in lines if line.startswith(("concat", "sum"))]
    assert [(r[0], r[3], r[4], r[6]) for r in rows] == [(s, f, "0", "2") for s in ("concat", "sum") for f in "01"]
    assert all("learning_rate" in r for r in rows)


@pytest.mark.parametrize("change", [[], ["--set", "training.epochs=3"]])
def test_without_anything_stored_the_command_says_what_to_do(stored, tmp_path, change):
    config, workspace = stored
    found = report(config, workspace if change else tmp_path / "empty", *change)
    assert found.code == 2
    assert "fusionbench run" in found.err
    assert not (tmp_path / "empty").exists()


def test_the_folder_of_a_report_can_be_anywhere(made, undrawn, tmp_path):
    _, _, summary = made
    assert write_report(summary, tmp_path / "elsewhere") == tmp_path / "elsewhere" / PAGE
    assert (tmp_path / "elsewhere" / "record.json").exists()
