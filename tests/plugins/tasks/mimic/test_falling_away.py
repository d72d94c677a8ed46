"""Values, stays and links that fall away: nothing of a tree is lost without a word."""

from __future__ import annotations

import gzip
from datetime import timedelta

import pytest

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.studies.files import Files
from tests.mimic_tree import PATIENTS, prepare, small_tree
from tests.plugins.tasks.mimic.test_bad_input import fails, run

EYES = 220739


def warned(folder, tree, part, **options):
    """Return the only warning that has these words."""
    found = [w for w in prepare(folder, tree, **options).warnings if part in w]
    assert len(found) == 1, found
    return found[0]


def usual(folder, **options):
    return prepare(folder / "usual", small_tree(), **options).warnings


def with_scores(text, number):
    tree = small_tree()
    for patient in range(PATIENTS):
        tree.chart(patient, 2, EYES, text, number)
    return tree


# ---------------------------------------------------------------- values


def test_scores_whose_text_was_emptied_are_counted_though_numbers_stand_beside(tmp_path):
    said = warned(tmp_path, with_scores("", 4), "gcs_eye: ")
    assert "8 of 8 charted values cannot be read" in said
    assert "8 have no text in 'value', though 'valuenum' holds a number" in said


def test_a_few_emptied_texts_are_counted_too(tmp_path):
    tree = with_scores("4 Spontaneously", "")
    tree.chart(0, 3, EYES, "", 4)
    assert "1 of 9 charted values" in warned(tmp_path, tree, "gcs_eye: ")


def test_numbers_whose_text_was_emptied_are_lost_under_the_rules_that_read_texts(tmp_path):
    tree = small_tree()
    for row in tree.tables["chartevents"]:
        row["value"] = ""
    for patient in range(PATIENTS):
        tree.chart(patient, 3, 220181, 70)  # so that a value is left
    assert "8 of 8 charted values" in warned(tmp_path, tree, "heart_rate: ", rules="medfuse")
    assert not any("heart_rate" in w for w in prepare(tmp_path / "sound", tree).warnings)  # reads valuenum


@pytest.mark.parametrize(("value", "rules"), [("37,5", "sound"), ("98,6", "medfuse"), (" -7,40 ", "sound")])
def test_decimal_commas_are_named_wherever_numbers_are_read_from_texts(tmp_path, value, rules):
    tree = small_tree()
    tree.chart(0, 2, 223762, value, "")
    said = warned(tmp_path, tree, "temperature: ", rules=rules)
    assert "1 of 1 charted values" in said
    assert "1 are decimal commas" in said


def test_a_decimal_comma_in_a_column_of_numbers_is_refused_by_name(tmp_path):
    tree = small_tree()
    tree.tables["chartevents"][0]["valuenum"] = "37,5"
    assert "column valuenum holds something that is not DOUBLE (a decimal comma" in fails(tmp_path, tree)


def test_unknown_and_impossible_values_are_counted_by_variable(tmp_path):
    tree = with_scores("wide awake", "")
    for patient in range(PATIENTS):
        tree.chart(patient, 2, 220277, 4000)
    assert "8 are texts that are not known" in warned(tmp_path, tree, "gcs_eye: ")
    assert "8 are impossible" in warned(tmp_path / "again", tree, "spo2: ")


def test_a_tree_that_is_as_it_should_be_is_not_warned_of(tmp_path):
    assert not any("cannot be read" in w or "leaves" in w or "los" in w for w in usual(tmp_path, chest=True))


def test_a_table_of_events_that_belongs_to_other_stays_is_named(tmp_path):
    tree = small_tree()
    for row in tree.tables["labevents"]:
        row["hadm_id"] = int(str(row["hadm_id"])) + 5_000_000
    assert "none of the 8 rows of hosp/labevents" in warned(tmp_path, tree, "labevents")


# ---------------------------------------------------------------- stays


def with_lengths(change, rows=PATIENTS):
    tree = small_tree()
    for row in tree.tables["icustays"][:rows]:
        row["los"] = change(float(str(row["los"])))
    return tree


@pytest.mark.parametrize(("times", "unit"), [(24, "hours"), (1440, "minutes"), (86400, "seconds")])
def test_lengths_in_another_unit_are_refused(tmp_path, times, unit):
    message = fails(tmp_path, with_lengths(lambda days: days * times))
    assert f"table icu/icustays: los, the length of a stay in days, is {times:,} times outtime - intime" in message
    assert f"for 8 of 8 stays: it is in {unit}" in message


def test_lengths_that_are_empty_are_refused_or_counted(tmp_path):
    assert "is empty for 8 of 8 stays" in fails(tmp_path, with_lengths(lambda _: ""))
    said = warned(tmp_path / "some", with_lengths(lambda _: "", rows=2), "have no los")
    assert said.startswith("2 of 8 ICU stays have no los")


def test_a_few_lengths_that_differ_are_counted(tmp_path):
    said = warned(tmp_path, with_lengths(lambda days: days + 1, rows=3), "outtime - intime")
    assert "for 3 of 8 ICU stays" in said
    exact = small_tree()
    for row in exact.tables["icustays"]:
        row["outtime"] = row["intime"] + timedelta(days=3, minutes=20)  # rounded lengths are no difference
    assert not any("los" in w for w in prepare(tmp_path / "exact", exact).warnings)


@pytest.mark.parametrize(
    ("table", "column", "value", "rule"),
    [
        ("icustays", "last_careunit", "", "same first and last care unit"),
        ("icustays", "first_careunit", "SICU", "same first and last care unit"),
        ("admissions", "subject_id", 999, "admission and patient known"),
        ("patients", "anchor_age", 7, "18 years or older"),
        ("diagnoses_icd", "hadm_id", 999, "a diagnosis code, and an event in the first 48 h"),
    ],
)
def test_a_rule_that_costs_most_stays_is_named(tmp_path, table, column, value, rule):
    tree = small_tree()
    for row in tree.tables[table][2:]:
        row[column] = value
        if column == "subject_id":
            row["hospital_expire_flag"] = 0
    assert "leaves 2 of 8 stays" in warned(tmp_path, tree, f"rule '{rule}'")


# ---------------------------------------------------------------- links


def test_pictures_of_other_patients_are_named(tmp_path):
    tree = small_tree()
    for row in tree.metadata:
        row["subject_id"] = int(str(row["subject_id"])) + 5_000_000
    said = warned(tmp_path, tree, "linked to a stay", chest=True)
    assert said.startswith("none of the 8 chest X-rays is linked to a stay: 0 are of patients of the cohort")


@pytest.mark.parametrize(("column", "value"), [("ViewPosition", ""), ("ViewPosition", "ap"), ("StudyDate", 20990101)])
def test_pictures_that_no_stay_gets_are_named_with_where_they_are_lost(tmp_path, column, value):
    tree = small_tree()
    for row in tree.metadata:
        row[column] = value
    front = 8 if column == "StudyDate" else 0
    said = warned(tmp_path, tree, "linked to a stay", chest=True)
    assert f"8 are of patients of the cohort, {front} of these have ViewPosition AP" in said


def test_pictures_of_one_even_grey_are_counted_and_others_refused_with_the_reason(tmp_path):
    from PIL import Image

    from tests.plugins.tasks.test_pictures import DEEP, encoded

    tree = small_tree()
    first, second, third, *_ = sorted(tree.files)
    tree.files[first] = encoded(Image.new("L", (80, 100)), "JPEG")
    tree.files[second] = DEEP["colour PNG"]
    tree.files[third] = b"version https://git-lfs.github.com/spec/v1\n"
    found = prepare(tmp_path, tree, chest=True)
    assert any(w.startswith("1 of 6 linked chest X-rays are one even grey") for w in found.warnings)
    (damaged,) = [w for w in found.warnings if "are damaged" in w]
    assert "1 more than 8 bits" in damaged
    assert "1 a Git-LFS pointer" in damaged
    assert found.available[:, 1].sum() == 6


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git-LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
        (gzip.compress(b"x", mtime=0), "compressed with gzip"),  # the time is no part of a test's name
        (b"a few words", "another kind of file"),
        (b"PK\x03\x04 cut", "download it again"),
    ],
)
def test_what_is_no_archive_is_named_for_what_it_is(tmp_path, content, said):
    root, cxr = small_tree().write(tmp_path)
    (cxr / "mimic-cxr-reports.zip").write_bytes(content)
    assert said in run(root, cxr)
    with pytest.raises(DataError, match="not a complete zip archive"):
        Files([], cxr / "mimic-cxr-reports.zip")
