"""The manifest of a lung cohort."""

# ruff: noqa: RUF001 - reports have Chinese punctuation

from __future__ import annotations

import pytest

from fusionbench.errors import ConfigError
from fusionbench_plugins.tasks.lung_subtyping import LungSubtyping
from fusionbench_plugins.tasks.lung_subtyping.manifest import at, columns_of
from tests.plugins.tasks.lung_subtyping.folder import ROWS, SIGNS, cohort, prepare, problems, write


def test_slices_may_be_listed_and_their_order_counts(tmp_path):
    manifest = cohort(tmp_path)
    listed = "examination-1/slice10.png; examination-1/slice1.png;examination-1/slice2.png"
    manifest.loc[1, "ct"] = listed
    assert (prepare(write(tmp_path, manifest), image_size=8).modalities["ct"].values[1] == 61).all()


def test_reports_may_stand_in_the_manifest(tmp_path):
    manifest = cohort(tmp_path).drop(columns="report").assign(report_text="两肺纹理清晰，\n未见结节。")
    manifest.loc[3, "report_text"] = ""
    data = prepare(write(tmp_path, manifest), image_size=8)
    assert data.modalities["report"].values[0] == "两肺纹理清晰， 未见结节。"
    assert data.available[:, 2].tolist() == [row != 3 for row in range(ROWS)]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    write(tmp_path)
    manifest = tmp_path / "manifest.csv"
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    assert len(prepare(tmp_path, image_size=8)) == ROWS


def test_everything_wrong_with_a_manifest_is_said_at_once_without_names_of_files(tmp_path):
    manifest = cohort(tmp_path).drop(columns="patient").assign(label="one")
    manifest.loc[4, "ct"] = "examination-4/nowhere.png"
    manifest.loc[7, "report"] = "texts/examination-none.txt"
    (tmp_path / "examination-empty").mkdir()
    manifest.loc[8, "pet"] = "examination-empty"
    said = problems(write(tmp_path, manifest))
    assert "no column 'patient'" in said
    assert "has one class only" in said
    assert "column 'ct': files that are not there: manifest row 5;" in said
    assert "column 'pet': folders without a picture" in said
    assert "manifest row 9" in said
    assert "column 'report': files that are not there: manifest row 8;" in said


def test_a_missing_column_names_those_that_are_there(tmp_path):
    said = problems(write(tmp_path, cohort(tmp_path).rename(columns={"pet": "pets", "report": "rapport"})))
    assert "modalities: no column 'pet'; did you mean 'pets'?; it has patient, label, ct, pets, rapport" in said
    assert "no column 'report'" in said


def test_a_manifest_or_report_in_another_encoding_is_refused_with_its_line(tmp_path):
    write(tmp_path)
    (tmp_path / "texts" / "examination-6.txt").write_bytes(f"CT\n{SIGNS[0]}".encode("gb18030"))
    said = problems(tmp_path)
    assert "report of manifest row 7, line 2: not UTF-8 text, it may be GB18030" in said
    assert "iconv -f GB18030 -t UTF-8" in said
    cohort(tmp_path).assign(hospital=["a"] * 3 + ["北京"] * 33).to_csv(
        tmp_path / "manifest.csv", index=False, encoding="gb18030"
    )
    assert "manifest.csv, line 5: not UTF-8 text, it may be GB18030" in problems(tmp_path)


def test_reports_without_text_or_in_two_columns_are_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "texts" / "examination-2.txt").write_text(" \n", encoding="utf-8")
    assert "column 'report': files without text: manifest row 3; leave the cell empty" in problems(tmp_path)
    cohort(tmp_path).assign(report_text="a").to_csv(tmp_path / "manifest.csv", index=False)
    assert "has both 'report' (paths) and 'report_text' (texts)" in problems(tmp_path)


def test_patients_in_two_parts_are_refused(tmp_path):
    manifest = cohort(tmp_path).assign(split=["train"] * 23 + ["test"] * 13)
    assert "1 patients are in more than one part of the split" in problems(write(tmp_path, manifest))
    manifest = manifest.drop(columns="split").assign(fold=[r % 2 for r in range(ROWS)])
    assert "18 patients are in more than one fold" in problems(write(tmp_path, manifest))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([3], "manifest row 3"), ([1, 2], "manifest rows 1, 2"), (range(1, 8), "manifest rows 1, 2, 3, 4, 5 and 2 more")],
)
def test_rows_are_named_the_first_five_of_them(numbers, said):
    assert at(list(numbers)) == said


def test_a_folder_without_a_manifest_has_no_columns(tmp_path):
    assert columns_of(tmp_path / "manifest.csv") == []


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda text: text.replace(",", "\t"), "manifest.csv, line 1: cells are separated by tabs"),
        (lambda text: text.replace(",adeno", ",x,adeno"), "manifest.csv, line 2: has 6 cells and the header has 5"),
        (lambda text: text.replace("patient 0,", "", 1), "manifest.csv, line 2: has 4 cells and the header has 5"),
        (lambda text: text.replace("label", "patient", 1), "1 names of columns occur more than once: patient"),
        (
            lambda text: text.replace("patient 0", '"patient 0', 1),
            "line 2: a quoted cell that begins here does not end",
        ),
    ],
)
def test_a_manifest_is_read_as_strictly_as_tables(tmp_path, edit, why):
    path = write(tmp_path) / "manifest.csv"
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert why in problems(tmp_path)


def test_a_patient_as_the_index_of_parquet_is_a_column(tmp_path):
    cohort(tmp_path).set_index("patient").to_parquet(tmp_path / "manifest.parquet")
    assert len(set(prepare(tmp_path, manifest="manifest.parquet", image_size=8).groups)) == ROWS // 2


@pytest.mark.parametrize("modalities", [3, [["ct"]], [3], {"ct": 1}, [], "ct"])
def test_modalities_that_are_no_list_of_names_are_said(modalities):
    with pytest.raises(ValueError, match="modalities must be a list out of ct, pet, report, found"):
        LungSubtyping("somewhere", modalities=modalities)


@pytest.mark.parametrize("metric", [3, ["accuracy"], {"a": 1}])
def test_a_metric_that_is_no_text_is_a_sentence(tmp_path, metric):
    with pytest.raises(ConfigError, match="a metric is named by text, found"):
        prepare(write(tmp_path), image_size=8, metric=metric)
