"""Mortality in the first 48 hours: the open demo against the published extraction, and the options."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from fusionbench import Dataset, TargetKind
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks import mimic_ihm
from fusionbench_plugins.tasks.mimic.tables.rules import RULE_SETS
from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS, NAMES, VARIABLES
from fusionbench_plugins.tasks.mimic.tables.window import Window
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.plugins.tasks.mimic.tables.test_extract import DEMO, ORACLE
from tests.shared import shared_folder


@pytest.fixture(scope="module")
def demo_caches(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


def demo(cache: Path, **options: object) -> Dataset:
    task = MimicIhm(str(shared_folder(*DEMO)), **options)  # type: ignore[arg-type]
    return task.prepare(cache, SilentProgress())


def demo_stays(cache: Path, rules: str):
    import pandas as pd

    folders = [f for f in cache.glob("events-*") if (f / "stays.parquet").is_file()]
    assert folders, rules
    return pd.read_parquet(folders[0] / "stays.parquet")


@pytest.mark.parametrize("rules", RULE_SETS)
def test_demo_stays_and_labels_equal_the_peers(tmp_path, rules):
    dataset = demo(tmp_path, rules=rules)
    stays = demo_stays(tmp_path, rules)
    with shared_folder(*ORACLE, "ihm_labels.csv").open(encoding="utf-8") as file:
        expected = {int(row["stay_id"]): int(row["y_true"]) for row in csv.DictReader(file)}
    assert dict(zip(stays["stay_id"].tolist(), dataset.target.tolist(), strict=True)) == expected
    assert stays["stay_id"].is_monotonic_increasing


def test_demo_funnel_is_the_published_one(demo_caches):
    dataset = demo(demo_caches)
    assert [step.rows for step in dataset.funnel] == [74, 69, 69, 59, 59, 27, 27]
    assert dataset.funnel[-1].note.startswith("5 died; ")
    assert "differ for 0; published: 26,226, of whom 3,262 died" in dataset.funnel[-1].note
    assert "only 5 of 27 stays died: every interval is wide" in dataset.warnings


@pytest.mark.parametrize("step", [1, 2])
def test_demo_arrays_of_medfuse_equal_the_peers_cell_by_cell(demo_caches, step):
    dataset = demo(demo_caches, rules="medfuse", step_hours=step)
    with np.load(shared_folder(*ORACLE, f"ihm_{step}h.npz")) as expected:
        np.testing.assert_array_equal(dataset.modalities["ehr"].values, expected["X"])
        np.testing.assert_array_equal(dataset.target, expected["y"])


def test_demo_dataset_keeps_the_contract(demo_caches):
    dataset = demo(demo_caches)
    ehr = dataset.modalities["ehr"]
    assert tuple(dataset.modalities) == ("ehr",)
    assert ehr.values.shape == (27, 24, 76)
    assert ehr.values.dtype == np.float32
    assert np.isfinite(ehr.values).all()
    assert ehr.columns == COLUMNS
    assert ehr.standardise.sum() == 12
    assert dataset.kind is TargetKind.BINARY
    assert dataset.outputs == ("died",)
    assert not dataset.synthetic
    assert dataset.available.all()
    first = [dataset.groups.tolist().index(group) for group in range(max(dataset.groups) + 1)]
    assert first == sorted(first)
    assert "modalities cxr and report are left out" in dataset.warnings[-1]


def test_demo_sound_series_fills_height_and_derives_the_total(demo_caches):
    values = np.asarray(demo(demo_caches, step_hours=1).modalities["ehr"].values)
    height = values[:, 0, COLUMNS.index("Height")]
    assert (height != 170).sum() == 19
    assert height.min() > 120
    scores = {name: _scores(values, name) for name in ("gcs_eye", "gcs_motor", "gcs_verbal", "gcs_total")}
    np.testing.assert_array_equal(scores["gcs_total"], scores["gcs_eye"] + scores["gcs_motor"] + scores["gcs_verbal"])


def _scores(values: np.ndarray, name: str) -> np.ndarray:
    variable = VARIABLES[NAMES.index(name)]
    score = {text: c.score for c in variable.categories for text in (c.column, *c.spellings)}
    block = [COLUMNS.index(f"{variable.published}->{text}") for text in variable.columns]
    assert (values[..., block].sum(axis=-1) == 1).all()
    return values[..., block] @ np.array([score[text] for text in variable.columns])


def test_mortality_has_no_open_window():
    with pytest.raises(ValueError, match="window_hours must be a number above 0, found None"):
        MimicIhm("x", window_hours=None)  # type: ignore[arg-type]


def test_options_are_those_of_the_published_task_unless_others_are_given():
    options = MimicIhm("x").options
    assert (options.window, options.step_hours, options.rules, options.cohort) == (
        Window(48.0, full=True),
        2,
        "sound",
        "partial",
    )
    changed = MimicIhm("x", window_hours=24, step_hours=1, rules="medfuse", cohort="paired", temp_folder="y").options
    assert (changed.window, changed.step_hours, changed.rules) == (Window(24.0, full=True), 1, "medfuse")
    assert (changed.cohort, str(changed.temp_folder)) == ("paired", "y")


def test_it_is_registered_by_its_name():
    found = {}
    mimic_ihm.register_tasks(found.__setitem__)
    assert found == {MimicIhm.name: MimicIhm} == {"mimic_ihm": MimicIhm}
