"""Damaged, incomplete and hostile MIMIC trees: one clear error each, without a row of the data in it."""

from __future__ import annotations

import zipfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from fusionbench.errors import DataError, WorkspaceError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic import store
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import Tree, prepare, small_tree, write_table

SECRET = "Mr-Somebody"


def fails(folder: Path, tree: Tree, error: type[Exception] = DataError, **options: object) -> str:
    """Prepare and return the message of the error; no content of a row may be in it."""
    with pytest.raises(error) as caught:
        prepare(folder, tree, **options)
    message = str(caught.value)
    assert SECRET not in message
    assert "1000000" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


def run(root: Path, cxr: Path | None = None) -> str:
    with pytest.raises(DataError) as caught:
        MimicIhm(str(root), str(cxr) if cxr else None).prepare(root.parent / "cache", SilentProgress())
    return str(caught.value)


def test_stays_that_occur_twice_are_counted(tmp_path):
    tree = small_tree()
    tree.tables["icustays"] += [dict(row) for row in tree.tables["icustays"][:3]]
    assert "table icu/icustays: 3 values of stay_id occur more than once" in fails(tmp_path, tree)


def test_dates_in_the_future_are_after_the_window(tmp_path):
    tree = small_tree()
    usual = prepare(tmp_path / "usual", tree)
    tree.chart(0, 24 * 365 * 700, 220045, 200)  # the year 2850: no clock of today is asked, MIMIC's own are shifted
    tree.lab(1, 24 * 365 * 700, 50931, "200", 200, stored=24 * 365 * 700)
    dataset = prepare(tmp_path / "future", tree)
    np.testing.assert_array_equal(dataset.modalities["ehr"].values, usual.modalities["ehr"].values)


def test_stays_that_end_before_they_begin_are_left_out(tmp_path):
    tree = small_tree()
    for row in tree.tables["icustays"][:2]:
        row["outtime"], row["los"] = row["intime"] - timedelta(hours=5), -5 / 24
    dataset = prepare(tmp_path, tree)
    assert [step.rows for step in dataset.funnel] == [8, 8, 8, 8, 8, 6, 6]


def test_unknown_items_are_not_read(tmp_path):
    tree = small_tree()
    usual = prepare(tmp_path / "usual", tree).digest
    for number in range(40):
        tree.chart(number % 8, number / 2, 999_000_000 + number, "anything", "1e300")
        tree.lab(number % 8, number / 2, -number, "___", "", stored=1)
    assert prepare(tmp_path / "more", tree).digest == usual


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_are_told_apart_from_text(tmp_path, newline):
    tree = small_tree()
    root, _ = tree.write(tmp_path, newline=newline)
    dataset = MimicIhm(str(root)).prepare(tmp_path / "cache", SilentProgress())
    assert dataset.digest == prepare(tmp_path / "usual", tree).digest


def test_masked_values_without_a_number_are_left_out(tmp_path):
    tree = small_tree()
    usual = prepare(tmp_path / "usual", tree).digest
    tree.lab(0, 5, 50931, "___", "", stored=6)
    assert prepare(tmp_path / "masked", tree).digest == usual


def test_report_without_any_heading_is_its_last_paragraph_or_nothing(tmp_path):
    tree = small_tree()
    first, second, *_ = sorted(tree.reports)
    tree.reports[first] = b"no heading\n\nWhat was seen.\n"
    tree.reports[second] = b"one line without a blank one"
    dataset = prepare(tmp_path, tree, chest=True)
    assert dataset.modalities["report"].values[0] == "What was seen."
    assert dataset.available[:, 2].tolist() == [True, False] + [True] * 6


def test_two_labels_for_one_admission_are_counted(tmp_path):
    tree = small_tree()
    for row in tree.tables["admissions"][:2]:
        tree.tables["admissions"].append({**row, "hospital_expire_flag": 1 - int(str(row["hospital_expire_flag"]))})
    assert "table hosp/admissions: 2 admissions have two different labels" in fails(tmp_path, tree)


@pytest.mark.parametrize("flag", ["", 2])
def test_label_that_is_neither_zero_nor_one(tmp_path, flag):
    tree = small_tree()
    tree.tables["admissions"][0]["hospital_expire_flag"] = flag
    assert "1 rows have no 0 or 1 in hospital_expire_flag" in fails(tmp_path, tree)


def test_no_patient_left_shows_the_funnel(tmp_path):
    tree = small_tree()
    for row in tree.tables["patients"]:
        row["anchor_age"] = 5
    message = fails(tmp_path, tree)
    assert "no stay is left" in message
    assert "8  only such stay of its admission" in message
    assert "0  18 years or older" in message


def test_no_event_left_shows_the_funnel(tmp_path):
    tree = small_tree()
    for row in (*tree.tables["chartevents"], *tree.tables["labevents"]):
        row["itemid"] = 1
    assert "0  a diagnosis code, and an event in the first 48 h" in fails(tmp_path, tree)


def test_outcome_that_is_the_same_for_all(tmp_path):
    tree = small_tree()
    for row in tree.tables["admissions"]:
        row["hospital_expire_flag"] = 0
    assert "0 of 8 stays died: there is nothing to tell apart" in fails(tmp_path, tree)


def test_all_images_unusable(tmp_path):
    tree = small_tree()
    names = sorted(tree.files)
    tree.files = dict.fromkeys(names[1:], b"x")
    message = fails(tmp_path, tree, chest=True)
    assert "none of the 8 linked chest X-rays can be used: 1 are missing, 7 are damaged" in message


def test_damaged_archive_of_reports(tmp_path):
    root, cxr = small_tree().write(tmp_path)
    path = cxr / "mimic-cxr-reports.zip"
    path.write_bytes(path.read_bytes()[:200])
    assert "mimic-cxr-reports.zip: not a complete zip archive" in run(root, cxr)


def test_member_of_an_archive_with_a_wrong_checksum_is_a_damaged_picture(tmp_path):
    tree = small_tree()
    pictures, tree.files = tree.files, {}
    root, cxr = tree.write(tmp_path)
    with zipfile.ZipFile(cxr / "images.zip", "w") as archive:
        for name, content in pictures.items():
            archive.writestr(name, content)
    content = (cxr / "images.zip").read_bytes()
    where = content.index(next(iter(pictures.values()))) + 400
    (cxr / "images.zip").write_bytes(content[:where] + b"\x00\x01" + content[where + 2 :])
    dataset = MimicIhm(str(root), str(cxr)).prepare(tmp_path / "cache", SilentProgress())
    assert dataset.available[:, 1].tolist() == [False] + [True] * 7


def test_cache_that_is_a_file(tmp_path):
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    assert "cannot be written" in fails(tmp_path, small_tree(), WorkspaceError)


def test_entry_whose_manifest_is_damaged_is_built_anew(tmp_path):
    def build(folder: Path) -> dict[str, int]:
        (folder / "x.txt").write_text("x", encoding="utf-8")
        return {}

    made = store.entry(tmp_path, "thing", {"a": 1}, build)
    (made.folder / store.MANIFEST).write_text("{", encoding="utf-8")
    again = store.entry(tmp_path, "thing", {"a": 1}, build)
    assert again.sha256("x.txt") == made.sha256("x.txt")


def test_interrupt_leaves_no_entry(tmp_path):
    class Impatient(SilentProgress):
        def stage(self, title: str, total: float | None = None, unit: str = ""):
            raise KeyboardInterrupt

    root, _ = small_tree().write(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        MimicIhm(str(root)).prepare(tmp_path / "cache", Impatient())
    assert not list((tmp_path / "cache").glob("[!.]*"))
    assert not list((tmp_path / "cache").glob(".*.partial"))


def test_extraction_reads_columns_by_name_in_any_order(tmp_path):
    tree = small_tree()
    expected = prepare(tmp_path / "usual", tree).digest
    for name, rows in tree.tables.items():
        tree.tables[name] = [dict(reversed({**row, "a new column": 'with "quotes"'}.items())) for row in rows]
    assert prepare(tmp_path / "turned", tree).digest == expected


def test_table_with_a_header_only(tmp_path):
    tree = small_tree()
    root, _ = tree.write(tmp_path, plain=True)
    path = root / "icu" / "chartevents.csv"
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    write_table(root / "hosp" / "labevents", tree.tables["labevents"][:2], plain=True)
    assert len(MimicIhm(str(root)).prepare(tmp_path / "cache", SilentProgress())) == 2
