from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusionbench import TargetKind
from fusionbench.config.reading import load_benchmark
from fusionbench.config.sections import SplitsSection
from fusionbench.data.splits import make_folds
from fusionbench.errors import ConfigError, DataError
from fusionbench.keys import DISTRIBUTION
from fusionbench.plugins.catalogue import Plugins
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.table import TableTask
from tests.shared import shared_folder

ROWS = 60


def frame(**columns):
    label = np.tile(["low", "mid", "high"], ROWS // 3)
    base = {
        "sample_id": [f"s{i}" for i in range(ROWS)],
        "split": ["train"] * 45 + ["test"] * 15,
        "label": label,
        "has_gene": 1,
        "has_scan": [1, 1, 0] * (ROWS // 3),
    }
    return pd.DataFrame({**base, **columns})


def write(folder: Path, manifest=None, **arrays):
    manifest = frame() if manifest is None else manifest
    manifest.to_csv(folder / "manifest.csv", index=False)
    draw = np.random.default_rng(0)
    scan = draw.normal(size=(ROWS, 3)).astype(np.float32)
    scan[2::3] = np.nan
    for name, array in {"gene": draw.normal(size=(ROWS, 4)), "scan": scan, **arrays}.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)
    return folder


def prepare(folder, **options):
    return TableTask(root=str(folder), **options).prepare(folder / "cache", SilentProgress())


def problems(folder, **options) -> str:
    with pytest.raises(DataError) as caught:
        prepare(folder, **options)
    return str(caught.value)


# ---------------------------------------------------------------- what is read


def test_a_folder_of_arrays_becomes_a_dataset(tmp_path):
    data = prepare(write(tmp_path))
    assert list(data.modalities) == ["gene", "scan"]
    assert data.kind is TargetKind.MULTICLASS
    assert data.metric == "accuracy"
    assert data.outputs == ("high", "low", "mid")
    assert data.target[:3].tolist() == [1, 2, 0]
    assert data.available.sum(axis=0).tolist() == [60, 40]
    scan = data.modalities["scan"]
    assert scan.kind == "vector"
    assert (scan.values[2::3] == 0).all()
    np.testing.assert_array_equal(scan.values[0], np.load(tmp_path / "scan.npy")[0])
    assert scan.standardise.all()
    assert (data.split == "test").sum() == 15
    assert len(np.unique(data.groups)) == ROWS


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_are_joined_by_sample_whatever_their_order(tmp_path, suffix):
    folder = write(tmp_path, scan=None)
    draw = np.random.default_rng(1)
    table = pd.DataFrame(draw.normal(size=(ROWS, 2)).astype(np.float32), columns=["width", "depth"])
    table.insert(0, "sample_id", frame()["sample_id"])
    wanted = table[["width", "depth"]].to_numpy()
    shuffled = table[frame()["has_scan"] == 1].sample(frac=1, random_state=0)
    if suffix == "csv":
        shuffled.to_csv(folder / "scan.csv", index=False)
    else:
        shuffled.to_parquet(folder / "scan.parquet")
    data = prepare(folder)
    scan = data.modalities["scan"]
    assert scan.columns == ("width", "depth")
    has = data.available[:, 1]
    np.testing.assert_allclose(scan.values[has], wanted[has], rtol=1e-6)
    assert (scan.values[~has] == 0).all()


def test_a_table_without_samples_is_taken_in_row_order(tmp_path):
    folder = write(tmp_path, scan=None)
    values = np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2)
    pd.DataFrame(values, columns=["a", "b"]).to_csv(folder / "scan.csv", index=False)
    np.testing.assert_array_equal(prepare(folder).modalities["scan"].values[0::3], values[0::3])


def test_presence_comes_from_empty_rows_where_the_manifest_does_not_say(tmp_path):
    folder = write(tmp_path, frame().drop(columns=["has_gene", "has_scan"]))
    assert "no column 'has_<modality>'" in problems(folder)
    assert prepare(folder, modalities=["gene", "scan"]).available.sum(axis=0).tolist() == [60, 40]


def test_what_is_marked_absent_is_not_read(tmp_path):
    folder = write(tmp_path, scan=np.ones((ROWS, 3)))
    data = prepare(folder)
    assert (data.modalities["scan"].values[~data.available[:, 1]] == 0).all()
    assert any(
        "20 rows that are marked absent" in line
        for line in TableTask(root=str(folder)).check(tmp_path, SilentProgress()).lines
    )


def test_modalities_are_chosen_and_ordered_and_rows_left_with_none_are_dropped(tmp_path):
    folder = write(tmp_path)
    assert list(prepare(folder, modalities=["scan", "gene"]).modalities) == ["scan", "gene"]
    alone = prepare(folder, modalities=["scan"])
    assert len(alone) == 40
    assert [s.rows for s in alone.funnel] == [60, 40]
    assert alone.warnings == ("20 rows have none of the modalities and are left out",)


@pytest.mark.parametrize(
    ("labels", "kind", "outputs", "first"),
    [
        (np.tile([0, 1, 1], ROWS // 3), "binary", ("label",), [0, 1, 1]),
        (np.tile(["True", "False", "true"], ROWS // 3), "binary", ("label",), [1, 0, 1]),
        (np.tile([10, 9, 100], ROWS // 3), "multiclass", ("9", "10", "100"), [1, 0, 2]),
        (np.tile(["None", "NA", "x"], ROWS // 3), "multiclass", ("NA", "None", "x"), [1, 0, 2]),
    ],
)
def test_the_kind_of_target_follows_from_the_column(tmp_path, labels, kind, outputs, first):
    data = prepare(write(tmp_path, frame(label=labels)))
    assert (data.kind, data.outputs, data.target[:3].tolist()) == (kind, outputs, first)
    assert data.metric == ("accuracy" if kind == "multiclass" else "auroc")


def test_zero_and_one_can_be_two_classes(tmp_path):
    data = prepare(write(tmp_path, frame(label=np.tile([0, 1], ROWS // 2))), kind="multiclass", metric="auroc")
    assert (data.kind, data.outputs, data.metric) == (TargetKind.MULTICLASS, ("0", "1"), "auroc")


def test_several_columns_are_several_labels(tmp_path):
    folder = write(tmp_path, frame(pain=np.tile([0, 1], ROWS // 2), fever=np.tile([1, 1, 0], ROWS // 3)))
    data = prepare(folder, target=["pain", "fever"])
    assert data.kind is TargetKind.MULTILABEL
    assert data.target[:3].tolist() == [[0, 1], [1, 1], [0, 0]]
    assert data.outputs == ("pain", "fever")


def test_classes_take_their_names_from_the_manifest(tmp_path):
    codes = np.tile([0, 1, 2], ROWS // 3)
    names = np.array(["Basal", "Her2", "LumA"])[codes]
    assert prepare(write(tmp_path, frame(label=codes, label_name=names))).outputs == ("Basal", "Her2", "LumA")
    names[0] = "Her2"
    assert "does not name each class" in problems(write(tmp_path, frame(label=codes, label_name=names)))


def test_patients_keep_together_under_running_numbers(tmp_path):
    folder = write(tmp_path, frame(patient=np.repeat([f"p{i}" for i in range(20)], 3)))
    assert prepare(folder, group="patient").groups[:7].tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_the_digest_follows_the_content_and_not_the_place(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    data = prepare(write(one))
    shutil.copytree(one, other)
    assert prepare(other).digest == data.digest
    values = np.load(other / "scan.npy")
    values[0, 0] += 1
    np.save(other / "scan.npy", values)
    assert prepare(other).digest != data.digest
    assert prepare(one, metric="auroc").digest != data.digest


def test_names_of_columns_lie_beside_an_array(tmp_path):
    folder = write(tmp_path)
    (folder / "scan_features.txt").write_text("a\nb\nc\n", encoding="utf-8")
    assert prepare(folder).modalities["scan"].columns == ("a", "b", "c")
    (folder / "scan_features.txt").write_text("a\nb\n", encoding="utf-8")
    assert "has 2 lines and scan.npy 3 columns" in problems(folder)


# ---------------------------------------------------------------- what is refused


def test_everything_wrong_is_said_at_once_and_nothing_of_a_row(tmp_path):
    gene = np.ones((ROWS, 4))
    gene[[3, 4], 1] = np.inf
    bad = frame(
        label=[None, *np.tile(["x", "secret"], 30)[1:]], split=["train"] * 59 + ["tset"], has_gene=["maybe"] + [1] * 59
    )
    text = problems(write(tmp_path, bad, gene=gene, scan=np.ones((ROWS - 1, 3))))
    for part in (
        "column 'label' is empty in 1 of 60 rows",
        "column 'split' must hold train, validation, test; 1 rows",
        "column 'has_gene' must hold 0 and 1; 1 of 60 rows",
        "modality 'gene': 2 present rows hold NaN or infinity, in 1 of 4 columns (1)",
        "scan.npy: has 59 rows and the manifest 60",
    ):
        assert part in text
    for private in ("secret", "maybe", "tset", "s3"):
        assert private not in text


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"manifest": "manifset.csv"}, "no such file; did you mean 'manifest.csv'"),
        ({}, {"target": "labl"}, "no column 'labl'; did you mean 'label'"),
        ({}, {"split": "part"}, "split: no column 'part'"),
        ({}, {"folds": "cv"}, "folds: no column 'cv'"),
        ({}, {"group": "patient"}, "group: no column 'patient'"),
        ({}, {"kind": "binary"}, "column 'label' must hold 0 and 1"),
        ({}, {"modalities": ["gen"]}, "modality 'gen': needs one file gen.npy, gen.csv, gen.parquet"),
        ({"label": "same"}, {}, "one class only"),
        ({"split": "train"}, {}, "has no test rows"),
        ({"fold": "x"}, {"split": None}, "whole numbers from -1"),
        ({"has_scan": 1}, {}, "20 rows are marked present and hold no value"),
        ({"patient": ["p"] * ROWS}, {"group": "patient"}, "1 patients (column of 'group') are in more than one part"),
    ],
)
def test_a_bad_manifest_is_a_sentence(tmp_path, change, options, message):
    assert message in problems(write(tmp_path, frame(**change)), **options)


def test_patients_in_two_folds_are_refused_where_folds_are_used(tmp_path):
    folder = write(tmp_path, frame(patient=np.repeat(np.arange(30), 2), fold=np.tile([0, 1], 30)))
    assert "30 patients (column of 'group') are in more than one fold" in problems(folder, group="patient", split=None)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(ROWS), r"must hold numbers \[rows, columns\]"),
        (np.ones((ROWS, 2, 2)), "series and images are not for this task"),
        (np.full((ROWS, 2), "x"), "must hold numbers"),
    ],
)
def test_an_array_of_another_shape_is_refused(tmp_path, array, message):
    with pytest.raises(DataError, match=message):
        prepare(write(tmp_path, scan=array))


def test_pickled_and_broken_arrays_are_refused(tmp_path):
    folder = write(tmp_path, scan=np.array([{}] * ROWS, dtype=object))
    assert "without pickle" in problems(folder)
    (folder / "scan.npy").write_bytes(b"\x93NUMPY")
    assert "without pickle" in problems(folder)


def test_two_files_of_one_modality_are_refused(tmp_path):
    folder = write(tmp_path)
    pd.DataFrame({"a": np.ones(ROWS)}).to_csv(folder / "scan.csv", index=False)
    assert "there are scan.npy, scan.csv; leave one" in problems(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": "text"}, "columns with text where a number should be: a"),
        ({"sample_id": "s0"}, "59 rows repeat a sample_id, and 0 have one that the manifest lacks"),
        ({"sample_id": [f"t{i}" for i in range(ROWS)]}, "0 rows repeat a sample_id, and 60 have one"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, change, message):
    folder = write(tmp_path, scan=None)
    table = pd.DataFrame({"sample_id": frame()["sample_id"], "a": np.ones(ROWS)}).assign(**change)
    table.to_csv(folder / "scan.csv", index=False)
    assert message in problems(folder)


def test_a_file_that_is_no_parquet_is_refused_without_its_content(tmp_path):
    folder = write(tmp_path, scan=None)
    (folder / "scan.parquet").write_text("patient s3 died", encoding="utf-8")
    text = problems(folder)
    assert "cannot be read as parquet" in text
    assert "died" not in text


def test_wrong_options_are_said_at_once():
    with pytest.raises(ValueError, match="root must name") as caught:
        TableTask(root="", modalities="gene", manifest="m.xlsx", target=[])
    assert len(str(caught.value).splitlines()) == 4
    with pytest.raises(ValueError, match="kind must be 'binary', 'multiclass', 'multilabel' or null, found 'ordinal'"):
        TableTask(root="", kind="ordinal")


def test_a_metric_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no metric named 'macro_f1' for a binary target"):
        prepare(write(tmp_path, frame(label=np.tile([0, 1], ROWS // 2))), metric="macro_f1")


# ---------------------------------------------------------------- splits


def test_a_split_without_validation_gives_a_stratified_share_of_its_training_rows(tmp_path):
    data = prepare(write(tmp_path))
    (fold,) = make_folds(data, SplitsSection(source="task", validation=0.2))
    development = fold.development
    assert np.bincount(data.target[development.validation]).tolist() == [3, 3, 3]
    both = np.concatenate([development.train, development.validation])
    assert sorted(both) == list(range(45))
    assert sorted(fold.test.open("sealed")) == list(range(45, 60))
    (again,) = make_folds(data, SplitsSection(source="task", validation=0.2, seeds=(7,)))
    np.testing.assert_array_equal(again.development.validation, development.validation)
    (other,) = make_folds(data, SplitsSection(source="task", validation=0.2, salt="another"))
    assert other.development.validation.tolist() != development.validation.tolist()


def test_a_split_with_validation_is_taken_as_it_is(tmp_path):
    data = prepare(write(tmp_path, frame(split=["train"] * 40 + ["validation"] * 5 + ["test"] * 15)))
    (fold,) = make_folds(data, SplitsSection(source="task", validation=0.2))
    assert fold.development.validation.tolist() == [40, 41, 42, 43, 44]


def test_folds_of_the_source_are_used_without_the_split_and_rows_outside_are_left_out(tmp_path):
    data = prepare(write(tmp_path, frame(fold=[*np.arange(45) % 3, *[-1] * 15])), split=None)
    assert len(data) == 45
    assert data.warnings == ("15 rows are in no fold (-1) and are left out",)
    folds = make_folds(data, SplitsSection(source="task", folds=3))
    assert sorted(np.concatenate([f.test.open("sealed") for f in folds])) == list(range(45))


# ---------------------------------------------------------------- check


def test_the_check_counts_what_a_person_should_know(tmp_path):
    gene = np.random.default_rng(0).normal(size=(ROWS, 4)) * [1, 1, 1, 1e4]
    gene[:, 1] = 5
    scan = np.full((ROWS, 3), np.nan)
    scan[:45][frame()["has_scan"][:45] == 1] = 1.0
    manifest = frame(patient=np.arange(ROWS), has_scan=[*frame()["has_scan"][:45], *[0] * 15])
    gene[50] = gene[0]
    gene[2], gene[5] = gene[50], gene[53]
    lines = (
        TableTask(root=str(write(tmp_path, manifest, gene=gene, scan=scan)), group="patient")
        .check(tmp_path, SilentProgress())
        .lines
    )
    text = "\n".join(lines)
    for part in (
        "60 rows of 60 patients: 45 train, 15 test",
        "no validation part",
        "modality gene: 4 columns; present in 45 of 45 train, 15 of 15 test",
        "warning: modality scan is absent from every row of test",
        "class mid: 15 train, 5 test",
        "warning: mid has fewer than 20 rows in train and test",
        "warning: modality gene: 1 constant columns in training rows (1)",
        "warning: modality gene: column spreads differ",
        "2 rows repeat another row in every value; 2 such sets lie in more than one part",
    ):
        assert part in text


def test_the_check_of_a_broken_folder_lists_the_problems(tmp_path):
    lines = (
        TableTask(root=str(write(tmp_path, frame(split="train"), gene=np.ones((3, 2)))))
        .check(tmp_path, SilentProgress())
        .lines
    )
    assert len(lines) == 2
    assert all(line.startswith("problem: ") for line in lines)


@pytest.mark.parametrize(
    ("name", "rows", "available", "classes"),
    [("breast_tcga", 220, [220, 220, 150], 3), ("spoken_digits_hard", 1797, [1797, 1797], 10)],
)
def test_the_real_tables_are_as_their_readme_says(name, rows, available, classes):
    folder = shared_folder("data", name)
    data = TableTask(root=str(folder)).prepare(folder, SilentProgress())
    assert len(data) == rows
    assert data.available.sum(axis=0).tolist() == available
    assert len(data.outputs) == classes
    found = TableTask(root=str(folder)).check(folder, SilentProgress()).lines
    assert not [line for line in found if line.startswith("problem")]
    for i, modality in enumerate(data.modalities.values()):
        assert np.isfinite(modality.values).all()
        assert np.abs(modality.values[~data.available[:, i]]).sum() == 0


@pytest.mark.parametrize(
    ("file", "variable"), [("breast_tcga", "BREAST_TCGA_ROOT"), ("spoken_digits", "SPOKEN_DIGITS_ROOT")]
)
def test_the_benchmarks_take_the_folder_as_a_setting_and_compare_every_strategy(file, variable):
    path = Path(__file__).resolve().parents[4] / "benchmarks" / f"{file}.yaml"
    benchmark = load_benchmark(path, environ={variable: "/data/tables"})
    assert benchmark.task.options["root"] == "/data/tables"
    assert benchmark.missingness.mechanism.options["files"].startswith("/data/tables/masks/")
    own = {entry.name for entry in Plugins().catalogue("strategies") if entry.distribution == DISTRIBUTION}
    assert {s.name for s in benchmark.strategies} >= own
    with pytest.raises(ConfigError, match=f"environment variable {variable} is not set"):
        load_benchmark(path, environ={})
