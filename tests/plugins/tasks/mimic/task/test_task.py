"""What the tasks share: roots, the synthetic cohort, and options that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
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
