from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusionbench import FittedStrategy, TargetKind
from fusionbench.config.reading import load_benchmark
from fusionbench.config.sections import SplitsSection
from fusionbench.data.splits import make_folds
from fusionbench.errors import ConfigError
from fusionbench.keys import DISTRIBUTION
from fusionbench.plugins.catalogue import Plugins
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.table import TableTask
from tests.plugins.tasks.table.folder import ROWS, frame, prepare, write
from tests.shared import shared_folder

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


# ---------------------------------------------------------------- what is refused


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
    plugins = Plugins()
    own = {entry.name for entry in plugins.catalogue("strategies") if entry.distribution == DISTRIBUTION}
    # what is fitted reads frozen encoders, and these are trained
    own = {name for name in own if not issubclass(plugins.get("strategies", name).target, FittedStrategy)}
    assert {s.name for s in benchmark.strategies} >= own
    with pytest.raises(ConfigError, match=f"environment variable {variable} is not set"):
        load_benchmark(path, environ={})
