"""Tables are found in every published layout, and all that is missing is named at once."""

from __future__ import annotations

import csv
import io

import pytest

from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.tables import layout
from fusionbench_plugins.tasks.mimic.tables.database import Resources, database, execute
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import METADATA, prepare, small_tree
from tests.plugins.tasks.mimic.test_bad_input import fails, run
from tests.shared import shared_folder


def test_root_that_is_not_there(tmp_path):
    assert "is not a folder" in run(tmp_path / "nowhere")


def test_all_missing_tables_and_columns_are_named_at_once(tmp_path):
    tree = small_tree()
    del tree.tables["labevents"], tree.tables["patients"]
    for row in tree.tables["icustays"]:
        del row["los"]
    for row in tree.tables["admissions"]:
        del row["race"]
    message = fails(tmp_path, tree)
    for part in (
        "table hosp/labevents (.csv or .csv.gz) is missing",
        "table hosp/patients or core/patients",
        "icu/icustays has no column los",
        "hosp/admissions has no column race or ethnicity",
        "physionet.org",
    ):
        assert part in message


def test_missing_metadata_of_images(tmp_path):
    root, cxr = small_tree().write(tmp_path)
    next(cxr.glob("*.csv.gz")).unlink()
    assert "table mimic-cxr-*-metadata (.csv or .csv.gz) is missing" in run(root, cxr)


def test_file_that_is_not_gzip(tmp_path):
    root, _ = small_tree().write(tmp_path)
    (root / "icu" / "icustays.csv.gz").write_bytes(b"stay_id\n1\n")
    assert "icustays.csv.gz: is not compressed, though its name ends in .gz; rename it to icustays.csv" in run(root)


def test_first_line_without_end_is_not_read_into_memory(tmp_path):
    root, _ = small_tree().write(tmp_path, plain=True)
    (root / "icu" / "chartevents.csv").write_bytes(b"a" * 100_000)
    assert "there is no end of the first line in 65,536 bytes" in run(root)


def test_empty_table(tmp_path):
    root, _ = small_tree().write(tmp_path, plain=True)
    (root / "icu" / "icustays.csv").write_bytes(b"")
    assert "icu/icustays has no column subject_id" in run(root)


def test_header_that_is_not_utf8(tmp_path):
    root, _ = small_tree().write(tmp_path, plain=True)
    path = root / "icu" / "chartevents.csv"
    path.write_bytes(b"caf\xe9," + path.read_bytes())
    assert "the header is not UTF-8" in run(root)


def test_words_that_look_like_missing_values_are_text(tmp_path):
    tree = small_tree()
    for patient, word in enumerate(("NA", "NULL", "nan", "None", "inf")):
        tree.chart(patient, 3, 220045, word)
    assert len(prepare(tmp_path, tree)) == 8


def test_quotes_and_line_breaks_inside_fields(tmp_path):
    tree = small_tree()
    tree.chart(0, 3, 220739, 'a "quoted", text\nof two lines')
    assert len(prepare(tmp_path, tree)) == 8


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({}, "layout of v2.2 to v3.1 (hosp/, icu/; column race), 6 tables as .csv.gz"),
        ({"plain": True}, "layout of v2.2 to v3.1 (hosp/, icu/; column race), 6 tables as .csv,"),
        ({"old": True}, "layout of v1.0 (core/, hosp/, icu/; column ethnicity), 6 tables as .csv.gz"),
    ],
)
def test_layout_is_told_by_folders_and_headers(tmp_path, shape, said):
    root, _ = small_tree().write(tmp_path, **shape)
    assert layout.describe_layout(layout.find_mimic_iv(root)).startswith(said)


def test_layout_before_the_provider_columns(tmp_path):
    tree = small_tree()
    for row in tree.tables["chartevents"]:
        del row["caregiver_id"]
    root, _ = tree.write(tmp_path)
    assert layout.describe_layout(layout.find_mimic_iv(root)).startswith("layout of v2.0 or v2.1 (")


def test_root_above_the_tree_is_told_where_the_tree_is(tmp_path):
    root, _ = small_tree().write(tmp_path / "mimiciv" / "3.1")
    with pytest.raises(DataError, match=f"There is such a tree in {root}: set the root to it"):
        MimicIhm(str(tmp_path / "mimiciv")).prepare(tmp_path / "cache", SilentProgress())


@pytest.mark.parametrize(
    "shape", [{"plain": True}, {"old": True}, {"newline": "\r\n"}, {"plain": True, "old": True, "newline": "\r\n"}]
)
def test_every_published_layout_gives_the_same_data(tmp_path, shape):
    root, _ = small_tree().write(tmp_path / "shaped [1]'s", **shape)
    shaped = MimicIhm(str(root)).prepare(tmp_path / "cache [2]'s", SilentProgress())
    assert shaped.digest == prepare(tmp_path / "reference").digest


# ---------------------------------------------------------------- tables as other programs leave them


def with_index(text, first=0):
    """Return a table as pandas writes it with its index: a column without a name."""
    lines = text.splitlines()
    return "\n".join([f",{lines[0]}", *(f"{first + i},{line}" for i, line in enumerate(lines[1:]))]) + "\n"


def test_a_table_that_pandas_wrote_with_its_index_is_read_by_the_names_of_its_columns(tmp_path):
    text = (shared_folder("faults", "16") / "icustays.csv").read_text(encoding="utf-8")
    assert text.startswith(",")
    root, _ = small_tree().write(tmp_path, plain=True)
    path = root / "icu" / "icustays.csv"
    path.write_text(text, encoding="utf-8")
    rows = layout.find_mimic_iv(root)["icustays"]
    with database(tmp_path, Resources()) as connection:
        found = execute(connection, f"SELECT stay_id, los FROM {rows.scan()}", rows.name).fetchall()
    expected = [(int(row["stay_id"]), float(row["los"])) for row in csv.DictReader(io.StringIO(text))]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("name", ["icu/icustays", "hosp/patients", "hosp/diagnoses_icd"])
@pytest.mark.parametrize("how", ["an index", "large letters", "two columns of one name"])
def test_other_ways_to_write_a_header_give_the_same_data(tmp_path, name, how):
    tree = small_tree()
    for row in tree.tables["admissions"]:
        row["race"] = "OTHER"
    root, _ = tree.write(tmp_path, plain=True)
    expected = MimicIhm(str(root)).prepare(tmp_path / "usual", SilentProgress()).digest
    path = root / f"{name}.csv"
    text = path.read_text(encoding="utf-8")
    if how == "an index":
        path.write_text(with_index(text), encoding="utf-8")
    elif how == "large letters":
        header, rest = text.split("\n", 1)
        path.write_text(f"{header.upper()}\n{rest}", encoding="utf-8")
    else:  # nobody reads them
        lines = text.splitlines()
        path.write_text("\n".join([f"{lines[0]},note,note", *(f"{line},a,b" for line in lines[1:])]), encoding="utf-8")
    assert MimicIhm(str(root)).prepare(tmp_path / "changed", SilentProgress()).digest == expected


def test_chest_tables_with_an_index_are_read_too(tmp_path):
    root, cxr = small_tree().write(tmp_path, plain=True)
    expected = MimicIhm(str(root), str(cxr)).prepare(tmp_path / "usual", SilentProgress()).digest
    path = cxr / f"{METADATA}.csv"
    path.write_text(with_index(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert MimicIhm(str(root), str(cxr)).prepare(tmp_path / "changed", SilentProgress()).digest == expected


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators_are_one_line(tmp_path, mark):
    root, _ = small_tree().write(tmp_path, plain=True)
    path = root / "icu" / "icustays.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",", mark), encoding="utf-8")
    message = run(root)
    assert "table icu/icustays has its columns separated by" in message
    assert message.count("icu/icustays") == 1


def test_two_tables_that_may_be_meant_are_refused_with_both_names(tmp_path):
    root, cxr = small_tree().write(tmp_path)
    (cxr / "mimic-cxr-2.1.0-metadata.csv.gz").write_bytes((cxr / f"{METADATA}.csv.gz").read_bytes())
    assert "mimic-cxr-2.0.0-metadata and mimic-cxr-2.1.0-metadata are both there" in run(root, cxr)
    (root / "core").mkdir()
    (root / "core" / "patients.csv").write_bytes(b"subject_id\n")
    assert "table hosp/patients or core/patients: hosp/patients and core/patients are both there" in run(root)


def test_a_table_beside_its_compressed_form_is_named(tmp_path):
    root, cxr = small_tree().write(tmp_path)
    (root / "icu" / "icustays.csv").write_bytes(b"stay_id\n")
    (cxr / f"{METADATA}.csv").write_bytes(b"dicom_id\n")
    tables = layout.find_mimic_iv(root)
    assert tables["icustays"].path.name == "icustays.csv.gz"
    assert "beside icustays.csv.gz lies icustays.csv, which is not read" in layout.describe_layout(tables)
    dataset = MimicIhm(str(root), str(cxr)).prepare(tmp_path / "cache", SilentProgress())
    assert any(f"beside {METADATA}.csv.gz lies {METADATA}.csv" in warning for warning in dataset.warnings)


@pytest.mark.parametrize(
    "near", ["icu/ICUSTAYS.CSV", "icu/icustay.csv", "icustays.csv", "icu/icustays.parquet", "hosp/icustays.csv.gz"]
)
def test_files_of_a_name_like_that_of_a_missing_table_are_named(tmp_path, near):
    root, _ = small_tree().write(tmp_path, plain=True)
    (root / "icu" / "icustays.csv").rename(root / near)
    if (root / "icu" / "icustays.csv").exists():
        pytest.skip("needs a file system that tells large letters from small ones")
    message = run(root)
    assert "table icu/icustays (.csv or .csv.gz) is missing; there is " in message
    assert near in message


def test_a_folder_of_the_name_of_a_table_is_named_with_what_is_in_it(tmp_path):
    root, _ = small_tree().write(tmp_path, plain=True)
    path = root / "icu" / "icustays.csv"
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / "icustays.csv").write_bytes(content)
    assert "there is icu/icustays.csv, a folder (with icustays.csv in it: put that in its place)" in run(root)


def test_all_that_is_wrong_with_several_tables_is_said_at_once(tmp_path):
    root, _ = small_tree().write(tmp_path)
    (root / "icu" / "icustays.csv.gz").write_bytes(b"stay_id\n1\n")
    (root / "hosp" / "patients.csv.gz").unlink()
    (root / "hosp" / "labevents.csv.gz").write_bytes(b"<html>")
    message = run(root)
    for part in (
        "rename it to icustays.csv",
        "table hosp/patients or core/patients",
        "labevents.csv.gz: is a web page",
    ):
        assert part in message
