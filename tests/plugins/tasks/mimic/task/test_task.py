"""What the tasks share: roots, the synthetic cohort, and options that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.errors import ConfigError, DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.task.task import Roots
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm


def test_synthetic_cohort_is_written_once_and_read_back_by_the_same_extraction(tmp_path):
    task = MimicIhm(synthetic={"stays": 40, "image_size": 32})
    first, second = (task.prepare(tmp_path, SilentProgress()) for _ in range(2))
    assert first.synthetic
    assert len(first) == 40
    assert list(first.modalities) == ["ehr", "cxr", "report"]
    assert first.ceiling.shape == (40, 8)
    assert np.isfinite(first.ceiling).all()
    assert second.digest == first.digest
    assert len(list(tmp_path.glob("synthetic-*"))) == 1


def test_neither_root_nor_synthetic(tmp_path):
    with pytest.raises(DataError, match="neither root nor synthetic is given"):
        MimicIhm().prepare(tmp_path, SilentProgress())


def test_unknown_setting_of_the_synthetic_cohort():
    with pytest.raises(ValueError, match=r"synthetic: .*stayz"):
        MimicIhm(synthetic={"stayz": 3})


def test_a_tree_is_synthetic_where_the_mark_lies_in_it_or_beside_it(tmp_path):
    tree = tmp_path / "mimic-iv"
    tree.mkdir()
    assert not Roots(tree, None).synthetic
    assert Roots(tree, None).truth is None
    (tmp_path / "synthetic.json").touch()
    assert Roots(tree, None).home == tmp_path
    assert Roots(tree, None).truth is None  # a cohort whose table of predictions is gone
    (tmp_path / "truth.parquet").touch()
    assert Roots(tree, None).truth == tmp_path / "truth.parquet"
    assert Roots(tmp_path, None).home == tmp_path


def test_a_folder_is_recognised_by_the_folders_of_a_tree_in_it_or_one_below(tmp_path):
    assert MimicIhm.recognises(tmp_path) is None
    (tmp_path / "mimic-iv" / "icu").mkdir(parents=True)
    assert MimicIhm.recognises(tmp_path) == {"root": str(tmp_path / "mimic-iv"), "cxr_root": None}
    (tmp_path / "hosp").mkdir()
    (tmp_path / "mimic-cxr").mkdir()
    (tmp_path / "mimic-cxr" / "mimic-cxr-2.0.0-metadata.csv.gz").touch()
    assert MimicIhm.recognises(tmp_path) == {"root": str(tmp_path), "cxr_root": str(tmp_path / "mimic-cxr")}


@pytest.mark.parametrize(
    ("dials", "said"),
    [
        ({"stayz": 3}, "no dial named 'stayz'; did you mean 'stays'?"),
        ({"stays": -1}, "stays"),
        ({"stays": 20, "prevalence": 2}, "prevalence"),
    ],
)
def test_a_dial_that_is_unknown_or_out_of_range_is_said_before_anything_is_written(tmp_path, dials, said):
    with pytest.raises(ConfigError) as caught:
        MimicIhm.synthesise(tmp_path / "made", dials, SilentProgress())
    assert said in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_an_empty_root_is_none_and_pictures_need_one():
    assert MimicIhm("", "").root is None
    with pytest.raises(ValueError, match="cxr_root needs root"):
        MimicIhm("", "somewhere")


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError, match="synthetic: ") as caught:
        MimicIhm(None, "x", step_hours=-1, synthetic={"stays": -1}, split={"test": 2})
    lines = str(caught.value).splitlines()
    for part in ("step_hours", "synthetic: ", "split: ", "cxr_root needs root"):
        assert any(part in line for line in lines), part
