"""Folders that failed in the field, and their relatives: refused with a clear word, or read right."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.table import TableTask
from tests.plugins.tasks.table.folder import ROWS, frame, prepare, problems, write
from tests.shared import shared_folder

# ---------------------------------------------------------------- inputs of the field


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("03", "a.csv, line 2: has 5 cells and the header has 4 (and 119 other lines"),
        ("04", "a.csv, line 1: cells are separated by ';' and numbers have decimal commas"),
        ("05", "a.csv: 1 columns have no name (the index of a table"),
        ("06", "modality 'a': the label is among the features: label"),
        ("08", "a.parquet: columns with dates or times: when"),
        ("09", "a.npy: is an archive (.npz, or another zip)"),
        ("12", "column 'label' has one class only"),
        ("13", "modality 'mri.t1': this name cannot be used; accepted are letters"),
        ("15", "column 'label' holds 120 different numbers: regression is not offered"),
    ],
)
def test_inputs_that_failed_are_refused_with_a_clear_word(name, why, tmp_path):
    folder = shared_folder("faults", name)
    modalities = ["mri.t1", "b"] if name == "13" else ["a", "b"]
    task = TableTask(root=str(folder), modalities=modalities)
    with pytest.raises(DataError) as caught:
        task.prepare(tmp_path, SilentProgress())
    assert why in str(caught.value)
    (line,) = task.check(tmp_path, SilentProgress()).lines
    assert line.startswith("problem: ")
    assert why in line


def test_samples_that_parquet_keeps_as_its_index_are_joined(tmp_path):
    folder = shared_folder("faults", "01")
    data = TableTask(root=str(folder), modalities=["a", "b"]).prepare(tmp_path, SilentProgress())
    wanted = pd.read_parquet(folder / "a.parquet").reindex(pd.read_csv(folder / "manifest.csv")["sample_id"])
    np.testing.assert_array_equal(data.modalities["a"].values, wanted.to_numpy(np.float32))
    assert "sample_id" not in data.modalities["a"].columns


# ---------------------------------------------------------------- relatives: rows and columns


def scan(rows: int = ROWS) -> pd.DataFrame:
    drawn = np.random.default_rng(1).normal(size=(rows, 3)).round(4)
    drawn[2::3] = np.nan
    return pd.DataFrame(drawn, columns=["x", "y", "z"])


def with_text(folder, text: str, name: str = "scan.csv"):
    write(folder, scan=None)
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


def lines(**options) -> list[str]:
    return scan().to_csv(index=False, **options).splitlines()


def test_the_manifest_is_read_as_strictly(tmp_path):
    folder = write(tmp_path)
    path = folder / "manifest.csv"
    whole = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([whole[0], *(f"{line},x" for line in whole[1:])]), encoding="utf-8")
    assert "manifest.csv, line 2: has 6 cells and the header has 5" in problems(folder)
    path.write_text("\n".join([*whole[:-1], whole[-1].rpartition(",")[0]]), encoding="utf-8")
    assert "manifest.csv, line 61: has 4 cells and the header has 5" in problems(folder)
    path.write_text("\n".join(line.replace(",", ";") for line in whole), encoding="utf-8")
    assert "manifest.csv, line 1: cells are separated by ';'" in problems(folder)


def test_blank_lines_that_stand_for_absent_rows_are_told_from_lines_of_empty_cells(tmp_path):
    text = "\n".join("" if line == ",," else line for line in lines())
    assert "has 40 rows and 19 blank lines, and the manifest 60 rows; a blank line is no row" in problems(
        with_text(tmp_path, text)
    )
    data = prepare(with_text(tmp_path, "\n".join(lines())))
    assert data.available[:, 1].sum() == 40


def test_blank_lines_that_stand_for_nothing_are_stepped_over(tmp_path):
    data = prepare(with_text(tmp_path, "\n\n".join(lines())))
    np.testing.assert_array_equal(data.modalities["scan"].values, scan().fillna(0).to_numpy(np.float32))


def test_features_in_rows_are_asked_about(tmp_path):
    folder = write(tmp_path, scan=np.ones((3, ROWS)))
    assert "is it transposed? Rows are samples" in problems(folder)
    (folder / "scan.npy").unlink()
    scan().T.to_csv(folder / "scan.csv")
    assert "has 3 rows and 61 columns, and the manifest 60 rows; is it transposed?" in problems(folder)
    (folder / "scan.csv").unlink()
    scan().T.reset_index(drop=True).rename(columns=str).to_parquet(folder / "scan.parquet")
    assert "transposed?" in problems(folder)


def test_a_missing_header_is_asked_about(tmp_path):
    folder = with_text(tmp_path, scan().fillna(0).to_csv(index=False, header=False))
    assert "is the header line missing?" in problems(folder)


@pytest.mark.parametrize("index", [[f"s{i}" for i in range(ROWS)][::-1], range(ROWS)[::-1], range(1, ROWS + 1)])
def test_an_index_without_a_name_is_refused_in_features_and_manifest(tmp_path, index):
    folder = write(tmp_path, scan=None)
    scan().set_axis(list(index)).to_parquet(folder / "scan.parquet")
    assert "scan.parquet: the rows have an index without a name" in problems(folder)
    frame().drop(columns="sample_id").set_axis(list(index)).to_parquet(folder / "manifest.parquet")
    assert "manifest.parquet: the rows have an index without a name" in problems(folder, manifest="manifest.parquet")


def test_numbers_that_parquet_made_floats_of_are_the_samples_they_were(tmp_path):
    folder = write(tmp_path, frame(sample_id=np.arange(ROWS) * 2 + 100), scan=None)
    table = scan().assign(sample_id=(np.arange(ROWS) * 2 + 100).astype(float)).sample(frac=1, random_state=0)
    table.to_parquet(folder / "scan.parquet", index=False)
    np.testing.assert_array_equal(prepare(folder).modalities["scan"].values, scan().fillna(0).to_numpy(np.float32))


def test_samples_that_are_empty_join_nothing(tmp_path):
    table = scan().assign(sample_id=[None, *frame()["sample_id"][1:]])
    folder = write(tmp_path, scan=None)
    table.to_csv(folder / "scan.csv", index=False)
    assert "'sample_id' is empty in 1 of its rows and in 0 of the manifest" in problems(folder)
    write(tmp_path, frame(sample_id=[None, *frame()["sample_id"][1:]]), scan=None)
    assert "'sample_id' is empty in 1 of its rows and in 1 of the manifest" in problems(folder)


# ---------------------------------------------------------------- relatives: names beside an array


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"\xef\xbb\xbfa\nb\nc\n", ("a", "b", "c")),
        (b"a\r\nb\r\nc\r\n", ("a", "b", "c")),
        ("ä\nb\nc".encode(), ("ä", "b", "c")),
    ],
)
def test_names_beside_an_array_are_text_of_any_editor(tmp_path, content, wanted):
    folder = write(tmp_path)
    (folder / "scan_features.txt").write_bytes(content)
    assert prepare(folder).modalities["scan"].columns == wanted


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("ä\nb\nc".encode("latin-1"), "scan_features.txt, line 1: not UTF-8 text"),
        ("a\nb\nc".encode("utf-16"), "may be UTF-16"),
        (b"a\na\nc\n", "names that are empty or occur more than once: a"),
        (b"a\n\nc\n", "names that are empty or occur more than once"),
    ],
)
def test_names_that_are_none_are_refused(tmp_path, content, why):
    folder = write(tmp_path)
    (folder / "scan_features.txt").write_bytes(content)
    assert why in problems(folder)


def test_the_label_by_a_name_beside_an_array_is_refused(tmp_path):
    folder = write(tmp_path)
    (folder / "scan_features.txt").write_text("a\nlabel\nc", encoding="utf-8")
    assert "the label is among the features: label" in problems(folder)


# ---------------------------------------------------------------- relatives: arrays, numbers, names


def test_an_archive_and_a_header_that_promises_too_much_are_sentences(tmp_path):
    folder = write(tmp_path)
    saved = io.BytesIO()
    np.savez_compressed(saved, scan=np.ones((ROWS, 3)))
    (folder / "scan.npy").write_bytes(saved.getvalue()[:-30])
    assert "scan.npy: is an archive" in problems(folder)
    np.save(folder / "scan.npy", np.ones((ROWS, 3)))
    whole = (folder / "scan.npy").read_bytes()
    (folder / "scan.npy").write_bytes(whole.replace(b"(60, 3), }           ", b"(10000000000000, 3), }")[: len(whole)])
    assert "scan.npy: " in problems(folder)


@pytest.mark.parametrize("name", ["a.b", "a+b", "$a$", "../scan", "scan/../scan", "values", "\ud800"])
def test_names_of_modalities_are_refused_before_a_file_is_looked_for(tmp_path, name):
    said = problems(write(tmp_path), modalities=["gene", name])
    assert "Rename it" in said
    assert "needs one file" not in said


def test_a_name_in_the_manifest_is_refused_like_one_in_the_options(tmp_path):
    assert "modality 'mri.t1': this name cannot be used" in problems(write(tmp_path, frame(**{"has_mri.t1": 1})))


def test_large_offsets_and_small_units(tmp_path):
    times = 1.6e9 + np.arange(3 * ROWS).reshape(ROWS, 3) ** 1.1
    assert "differences that single precision would round away beside their size" in problems(
        write(tmp_path, gene=times)
    )
    small = np.random.default_rng(0).normal(size=(ROWS, 3)) * 1e-12
    said = TableTask(root=str(write(tmp_path, gene=small))).check(tmp_path, SilentProgress()).lines
    assert not any("constant" in line for line in said)


@pytest.mark.parametrize("option", ["group", "split", "folds", "metric", "description"])
@pytest.mark.parametrize("value", [3, True, ["a"], {"a": 1}, 1.5])
def test_options_that_are_no_text_are_said_when_the_task_is_built(option, value):
    with pytest.raises(ValueError, match=f"{option} must be .*found"):
        TableTask(root="here", **{option: value})


def test_targets_and_folders_that_are_no_names_are_said_too():
    for options in (
        {"target": 3},
        {"target": None},
        {"root": "a\0b"},
        {"positive": ["x"]},
        {"positive": "x", "kind": "multilabel"},
    ):
        with pytest.raises(ValueError, match="must"):
            TableTask(**{"root": "here", **options}) if "kind" not in options else TableTask(root="", **options)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Train", "Test"), "write 'train' for 'Train' (45 rows), 'test' for 'Test' (15 rows)"),
        (("train", "valid"), "write 'validation' for 'valid' (15 rows)"),
        (("training", "holdout"), "write 'train' for 'training' (45 rows), 'test' for 'holdout' (15 rows)"),
        (("train ", "VAL"), "write 'train' for 'train ' (45 rows), 'validation' for 'VAL' (15 rows)"),
    ],
)
def test_other_words_for_the_parts_are_suggested_the_right_ones(tmp_path, words, said):
    assert said in problems(write(tmp_path, frame(split=[words[0]] * 45 + [words[1]] * 15)))


@pytest.mark.parametrize("fold", ["inf", "1e300", "-2", "0.5", "nan"])
def test_folds_that_are_no_small_whole_numbers_are_refused(tmp_path, fold):
    assert "must hold whole numbers from -1 to 10000; 1 rows do not" in problems(
        write(tmp_path, frame(fold=[fold, *["0"] * 59])), split=None
    )


@pytest.mark.parametrize("column", ["label", "person"])
def test_values_that_differ_in_spaces_alone_are_not_two(tmp_path, column):
    cells = np.tile(["x", "y", "z", "u"], ROWS // 4)
    manifest = frame(label=np.tile(["low", "mid", "high"], ROWS // 3), person=cells).drop(columns="split")
    manifest.loc[7, column] += " "
    assert f"column '{column}' has 1 values that differ from another in spaces alone" in problems(
        write(tmp_path, manifest), group="person"
    )


def test_a_cell_of_spaces_is_empty(tmp_path):
    manifest = frame()
    manifest.loc[7, "label"] = "  "
    assert "column 'label' is empty in 1 of 60 rows" in problems(write(tmp_path, manifest))


def test_a_modality_that_no_row_has_is_refused(tmp_path):
    assert "modality 'scan': no row has it" in problems(write(tmp_path, frame(has_scan=0)))
    folder = write(tmp_path, frame().drop(columns=["has_scan", "has_gene"]), scan=np.full((ROWS, 3), np.nan))
    assert "modality 'scan': no row has it" in problems(folder, modalities=["gene", "scan"])


def test_of_a_manifest_without_header_no_cell_is_shown(tmp_path):
    folder = write(tmp_path)
    path = folder / "manifest.csv"
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[1:]), encoding="utf-8")
    said = problems(folder, modalities=["gene", "scan"])
    assert "1 numbers occur more than once in the header: is the header line missing?" in said
    write(tmp_path, frame(has_gene="1.0"))
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[1:]), encoding="utf-8")
    said = problems(folder, modalities=["gene", "scan"])
    assert "no column 'label', and the header holds numbers: is the header line missing?" in said
    assert "s0" not in said


@pytest.mark.parametrize("name", ["patient", "Subject_ID", "mrn", "participant id"])
def test_patients_that_repeat_and_are_not_named_are_pointed_at(tmp_path, name):
    folder = write(tmp_path, frame(**{name: np.arange(ROWS) // 2}).drop(columns="split"))
    assert any(f"column '{name}' of the manifest repeats" in warning for warning in prepare(folder).warnings)
    assert prepare(folder, group=name).warnings == ()
    assert prepare(write(tmp_path, frame(**{name: np.arange(ROWS)}))).warnings == ()


@pytest.mark.parametrize("option", ["group", "split", "folds"])
def test_the_label_is_nothing_else(option):
    with pytest.raises(ValueError, match=f"{option} must not be a column of the target, found 'pain'"):
        TableTask(root="here", target=["pain", "fever"], **{option: "pain"})


@pytest.mark.parametrize(
    ("folds", "warned"), [([1, 2, 3], True), ([0, 2, 3], True), ([0, 1, 2], False), ([-1, 0, 1], False)]
)
def test_folds_that_no_run_would_find_are_warned_of(tmp_path, folds, warned):
    folder = write(tmp_path, frame(fold=np.repeat(folds, ROWS // 3)).drop(columns="split"))
    said = TableTask(root=str(folder)).check(tmp_path, SilentProgress()).lines
    assert any("folds are not numbered 0, 1, 2, ..." in line for line in said) == warned
