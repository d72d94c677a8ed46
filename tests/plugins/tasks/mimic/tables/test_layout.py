"""Tables are found in every published layout, and all that is missing is named at once."""

from __future__ import annotations

import pytest

from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.tables import layout
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import prepare, small_tree
from tests.plugins.tasks.mimic.test_bad_input import fails, run


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
