"""A folder with a small table of two modalities, as the table task reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.table import TableTask

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
