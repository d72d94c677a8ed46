"""Which part of a report is read."""

from __future__ import annotations

import csv
import zipfile

import pytest

from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.studies import reports
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import PATIENTS, small_tree
from tests.mimic_tree import prepare as prepare_tree
from tests.plugins.tasks.mimic.studies.test_images import available
from tests.shared import shared_folder


def test_sections_of_all_made_up_reports_equal_those_of_the_maintainers_parser():
    with shared_folder("data", "mimic-cxr-made-up-oracle", "report_sections.csv").open(
        newline="", encoding="utf-8"
    ) as file:
        rows = list(csv.DictReader(file))
    names = ("findings", "impression", "last_paragraph", "comparison")
    with zipfile.ZipFile(shared_folder("data", "mimic-cxr-made-up", "mimic-cxr-reports.zip")) as archive:
        for row in rows:
            patient = row["subject_id"]
            text = archive.read(f"files/p{patient[:2]}/p{patient}/s{row['study_id']}.txt").decode()
            found = reports.sections(text)
            assert {name: found.get(name, "") for name in names} == {name: row[name].strip() for name in names}
    assert len(rows) == 170


FINDINGS = " FINAL REPORT\n {}:  What was seen\n goes on here.\n \n IMPRESSION:  In short.\n"


@pytest.mark.parametrize(
    "title", ["FINDINGS", "FINDING", "FINDNGS", "CHEST, TWO VIEWS", "PORTABLE AP", "PA AND LATERAL"]
)
def test_headings_that_mean_findings(title):
    assert reports.study_text(FINDINGS.format(title)) == ("What was seen goes on here.", "findings")


@pytest.mark.parametrize(
    "title", ["EXAMINATION", "COMPARISON CHEST RADIOGRAPH", "INDICATION", "HISTORY", "NOTIFICATION"]
)
def test_other_headings_do_not(title):
    assert reports.study_text(FINDINGS.format(title)) == ("In short.", "impression")


@pytest.mark.parametrize("title", ["CONCLUSION", "FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION", "IMPRESSIONS"])
def test_headings_that_mean_impression(title):
    assert reports.study_text(f" REPORT\n {title}:  In short.\n") == ("In short.", "impression")


def test_without_findings_and_impression_the_last_paragraph_stands():
    text = " REPORT\n INDICATION:  Cough.\n \n First.\n \n Second.\n"
    assert reports.study_text(text) == ("First. Second.", "last_paragraph")


def test_empty_findings_fall_back_and_the_last_of_a_name_counts():
    text = " R\n FINDINGS: \n \n IMPRESSION:  Old.\n \n IMPRESSION:  New.\n"
    assert reports.study_text(text) == ("New.", "impression")


@pytest.mark.parametrize(
    "text", ["", " \n", " FINAL REPORT\n", " R\n INDICATION:  Cough.\n", " R\n FINDINGS:\n IMPRESSION:\n"]
)
def test_report_without_content_gives_nothing(text):
    assert reports.study_text(text) == ("", "")


def test_line_ends_of_windows_change_nothing():
    text = FINDINGS.format("FINDINGS")
    assert reports.sections(text.replace("\n", "\r\n")) == reports.sections(text)


def test_heading_inside_a_line_is_not_a_heading():
    text = " R\n FINDINGS:  See the IMPRESSION: below.\nFLUSH LEFT:  no.\n Lower case:  no.\n"
    assert reports.sections(text) == {"findings": "See the IMPRESSION: below.\nFLUSH LEFT:  no.\n Lower case:  no."}


def test_empty_missing_and_broken_reports_are_counted(tmp_path):
    tree = small_tree()
    names = sorted(tree.reports)
    tree.reports[names[0]] = b""
    tree.reports[names[1]] = b" R\n FINDINGS:  Caf\xe9.\n"
    tree.reports[names[3]] = b" R\n IMPRESSION:  In short.\n"
    del tree.reports[names[2]]
    dataset = prepare_tree(tmp_path, tree, chest=True)
    assert available(dataset, "report") == [False, True, False] + [True] * 5
    assert available(dataset, "cxr") == [True] * PATIENTS
    assert dataset.modalities["report"].values[:4] == ("", "Caf\ufffd.", "", "In short.")
    text = "\n".join(dataset.warnings)
    for count in (
        "1 linked reports are missing",
        "1 linked reports hold no findings",
        "1 linked reports are not UTF-8",
    ):
        assert count in text
    assert "1 are represented by their impression" in text


def test_margin_leaves_out_reports_of_late_images(tmp_path):
    tree = small_tree()
    tree.image(0, 43, "late")
    tree.image(1, 42, "earlier")
    dataset = prepare_tree(tmp_path, tree, chest=True, report_margin_hours=6)
    assert available(dataset, "report")[:3] == [False, True, True]
    assert dataset.modalities["report"].values[0] == ""
    assert available(dataset, "cxr") == [True] * PATIENTS
    assert prepare_tree(tmp_path, tree, chest=True).available.all()


def test_tree_without_reports_leaves_the_modality_out_and_says_so(tmp_path):
    tree = small_tree()
    root, cxr = tree.write(tmp_path)
    (cxr / "mimic-cxr-reports.zip").unlink()
    (cxr / "files").rename(cxr / "unpacked")
    with zipfile.ZipFile(cxr / "images.zip", "w") as archive:
        for name, content in tree.files.items():
            archive.writestr(name, content)
    dataset = MimicIhm(str(root), str(cxr)).prepare(tmp_path / "cache", SilentProgress())
    assert list(dataset.modalities) == ["ehr", "cxr"]
    assert any("modality report is left out" in warning for warning in dataset.warnings)
