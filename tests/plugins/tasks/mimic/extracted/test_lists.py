"""List files: which layouts are read, and what is wrong with them, counted by list."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.mimic_tree import PATIENTS
from tests.plugins.tasks.test_mimic_extracted import (
    IHM,
    LISTS,
    PARTS,
    PHENO,
    change,
    file_name,
    prepare,
    problem,
    write,
)


def test_the_lists_of_the_mimic_iii_benchmark_need_no_stay_ids_and_no_validation_list(tmp_path):
    folder = write(tmp_path) / IHM
    for part, (name, below) in LISTS.items():
        frame = pd.read_csv(folder / name)[["stay", "y_true"]]
        (folder / name).unlink()
        target = folder / below / "listfile.csv"
        frame.to_csv(target, index=False, mode="a" if part == "val" else "w", header=part != "val")
    data = prepare(tmp_path)
    assert data.split is not None
    assert data.split.tolist() == ["train"] * 6 + ["test"] * 2
    assert "the list files have no column stay_id" in problem(tmp_path, cxr_root=str(tmp_path))


def test_a_missing_folder_or_list_file_is_named(tmp_path):
    write(tmp_path)
    assert "has no folder 'phenotyping'" in problem(tmp_path, outcome=PHENO)
    (tmp_path / IHM / "val_listfile.csv").unlink()
    said = problem(tmp_path)
    assert "val_listfile.csv is missing; needed are train_listfile.csv, val_listfile.csv, test_listfile.csv" in said
    assert "or else train/listfile.csv and test/listfile.csv alone" in said


def test_missing_files_of_stays_are_counted_by_list(tmp_path):
    write(tmp_path)
    for patient in (0, 1, 7):
        (tmp_path / IHM / LISTS[PARTS[patient]][1] / file_name(patient)).unlink()
    said = problem(tmp_path)
    assert "train_listfile.csv: 2 of 4 stays have no file in train/" in said
    assert "test_listfile.csv: 1 of 2 stays have no file in test/" in said


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("stay,period_length", "stays,period_length", "test_listfile.csv: has no column 'stay'"),
        ("y_true", "y_true,other", "line 2: has 4 cells and the header has 5"),
        ("y_true", "label", "must have one label column, y_true; found label"),
        (",30000006,0", ",30000006,2", "label column 'y_true' must hold 0 and 1; 1 of 2 rows do not"),
        (",30000006,", ",none,", "column 'stay_id' holds no number in 1 of 2 rows"),
        ("_episode1_", "_", "1 entries of column 'stay' are not like <subject>_episode<n>_timeseries.csv"),
        (",30000006,", ",30000007,", "1 stays are listed more than once"),
    ],
)
def test_a_malformed_list_file_is_refused(tmp_path, old, new, why):
    write(tmp_path)
    change(tmp_path / IHM / "test_listfile.csv", old, new)
    assert why in problem(tmp_path)


def test_an_empty_list_file_is_refused(tmp_path):
    (write(tmp_path) / IHM / "test_listfile.csv").write_text("", encoding="utf-8")
    assert "test_listfile.csv: is empty" in problem(tmp_path)


def test_a_patient_in_two_list_files_is_refused(tmp_path):
    folder = write(tmp_path) / IHM
    second = file_name(0).replace("episode1", "episode2")
    (folder / "test" / second).write_bytes((folder / "train" / file_name(0)).read_bytes())
    with (folder / "test_listfile.csv").open("a", encoding="utf-8") as file:
        file.write(f"{second},0,30000099,0\n")
    assert "1 patients are in more than one list file" in problem(tmp_path)


def test_phenotyping_lists_need_lengths_and_labels(tmp_path):
    folder = write(tmp_path, PHENO) / PHENO
    change(folder / "train_listfile.csv", "72.000000", "0")
    assert "train_listfile.csv: 1 stays have a period_length that is not above 0 hours" in problem(
        tmp_path, outcome=PHENO
    )
    change(folder / "test_listfile.csv", "period_length", "hours")
    assert "test_listfile.csv: has no column 'period_length' (hours)" in problem(tmp_path, outcome=PHENO)


def test_pictures_need_the_table_of_stays(tmp_path):
    write(tmp_path)
    table = tmp_path / "root" / "all_stays.csv"
    change(table, "10000003,", "10000004,")
    assert "0 are not in it with a time and 1 have another patient" in problem(tmp_path)
    change(table, "2150-01-11", "yesterday")
    assert "1 are not in it with a time and 1 have another patient" in problem(tmp_path)
    change(table, "intime", "begin")
    assert "has no column intime" in problem(tmp_path)
    table.unlink()
    assert "there is no root/all_stays.csv" in problem(tmp_path, cxr_root=str(tmp_path))
    assert len(prepare(tmp_path)) == PATIENTS


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("2150-01-11", "11.01.2150", "are not in it with a time"),
        ("2150-01-11", "01/11/2150", "are not in it with a time"),
    ],
)
def test_times_whose_day_and_month_would_be_guessed_are_no_times(tmp_path, old, new, why):
    write(tmp_path)
    change(tmp_path / "root" / "all_stays.csv", old, new)
    assert why in problem(tmp_path)


def test_a_stay_with_two_times_is_refused_and_a_copy_of_its_row_is_not(tmp_path):
    write(tmp_path)
    table = tmp_path / "root" / "all_stays.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([*lines, lines[1]]), encoding="utf-8")
    assert len(prepare(tmp_path)) == PATIENTS
    table.write_text("\n".join([*lines, lines[1].replace("2150-01", "2151-01")]), encoding="utf-8")
    assert "1 rows repeat a stay with another time or patient" in problem(tmp_path)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda text: text.replace(",", ";"), "test_listfile.csv, line 1: cells are separated by ';'"),
        (lambda text: text.replace(",", "\t"), "test_listfile.csv, line 1: cells are separated by tabs"),
        (lambda text: text.replace("\n", ",\n").replace(",\n", "\n", 1), "line 2: has 5 cells and the header has 4"),
        (
            lambda text: "\n".join(f"{'' if i == 0 else i - 1},{line}" for i, line in enumerate(text.split("\n")[:-1])),
            "1 columns have no name",
        ),
        (lambda text: text.replace("stay,", "stay,stay,"), "occur more than once: stay"),
    ],
)
def test_lists_are_read_as_strictly_as_tables(tmp_path, edit, why):
    path = write(tmp_path) / IHM / "test_listfile.csv"
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert why in problem(tmp_path)


def test_a_byte_order_mark_is_no_part_of_a_list(tmp_path):
    path = write(tmp_path) / IHM / "test_listfile.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(prepare(tmp_path)) == PATIENTS
