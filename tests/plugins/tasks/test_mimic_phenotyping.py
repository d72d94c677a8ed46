"""Phenotyping: series of whole stays, and the published extraction cell by cell."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from fusionbench import Dataset
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.outcomes import phenotype_codes
from fusionbench_plugins.tasks.mimic.outcomes.phenotypes import NAMES, PHENOTYPES
from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from fusionbench_plugins.tasks.mimic_phenotyping import MimicPhenotyping
from tests.mimic_tree import PATIENTS, Tree, small_tree
from tests.shared import shared_folder

DEMO = ("data", "mimic-iv-demo")
CXR = ("data", "mimic-cxr-made-up")
ORACLE = ("data", "mimic-iv-demo-oracle")


@pytest.fixture(scope="module")
def caches(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


def demo(cache: Path, **options: object) -> Dataset:
    task = MimicPhenotyping(str(shared_folder(*DEMO)), **{"max_steps": None, **options})  # type: ignore[arg-type]
    return task.prepare(cache, SilentProgress())


def stays_of(cache: Path):
    import pandas as pd

    # tests that share a cache may have extracted other hours of the same stays
    first, *others = [pd.read_parquet(path) for path in sorted(cache.glob("events-*/stays.parquet"))]
    assert all(first["stay_id"].equals(other["stay_id"]) for other in others)
    return first


# ---------------------------------------------------------------- the open demo


@pytest.mark.parametrize("step", [1, 2])
def test_demo_arrays_of_medfuse_equal_the_peers_cell_by_cell(tmp_path, step):
    dataset = demo(tmp_path, rules="medfuse", labels="medfuse", step_hours=step)
    ehr = dataset.modalities["ehr"]
    with np.load(shared_folder(*ORACLE, f"pheno_{step}h.npz")) as expected:
        np.testing.assert_array_equal(ehr.lengths, expected["length"])
        rows = [ehr.values[row, :length] for row, length in enumerate(ehr.lengths)]
        np.testing.assert_array_equal(np.concatenate(rows), expected["X"])
        np.testing.assert_array_equal(dataset.target, expected["Y"])
        np.testing.assert_array_equal(stays_of(tmp_path)["stay_id"], expected["stay_id"])
        assert list(expected["labels"]) == list(dataset.outputs)


@pytest.mark.parametrize("rules", ["sound", "medfuse"])
def test_demo_cohort_and_labels_equal_the_peers(tmp_path, rules):
    dataset = demo(tmp_path, rules=rules, labels="medfuse")
    with shared_folder(*ORACLE, "pheno_labels.csv").open(encoding="utf-8") as file:
        expected = {int(row["stay_id"]): [int(row[name]) for name in NAMES] for row in csv.DictReader(file)}
    assert dict(zip(stays_of(tmp_path)["stay_id"].tolist(), dataset.target.tolist(), strict=True)) == expected
    assert dataset.target.sum() == 280
    assert [step.rows for step in dataset.funnel] == [74, 69, 69, 59, 59, 59]


def test_demo_images_are_those_of_the_peer(caches):
    dataset = MimicPhenotyping(str(shared_folder(*DEMO)), str(shared_folder(*CXR))).prepare(caches, SilentProgress())
    import pandas as pd

    (links,) = caches.glob("links-*/links.parquet")
    found = pd.read_parquet(links).merge(stays_of(caches)[["row", "stay_id"]]).set_index("stay_id")
    expected = pd.read_csv(shared_folder("data", "mimic-cxr-made-up-oracle", "links_pheno.csv")).set_index("stay_id")
    assert set(found.index) == set(expected.index)
    single = expected[expected.ap_images_at_same_time == 1].index
    assert len(single) == 27
    assert found.loc[single, "dicom_id"].tolist() == expected.loc[single, "dicom_id"].tolist()
    assert dataset.available.sum(axis=0)[:2].tolist() == [59, 30]


def test_ccs_finds_what_medfuse_misses_in_icd10_only(caches):
    ccs, medfuse = demo(caches, labels="ccs").target, demo(caches, labels="medfuse").target
    assert (ccs >= medfuse).all()
    assert ccs.sum() > medfuse.sum()
    with gzip.open(shared_folder(*DEMO, "hosp", "diagnoses_icd.csv.gz"), "rt", encoding="utf-8") as file:
        tenth = {int(row["hadm_id"]) for row in csv.DictReader(file) if row["icd_version"] == "10"}
    differing = stays_of(caches)["hadm_id"][(ccs != medfuse).any(axis=1)]
    assert set(differing) <= tenth


def test_first_48_hours_are_those_of_the_whole_stay(caches):
    whole, first = (demo(caches, window_hours=hours, step_hours=1).modalities["ehr"] for hours in (None, 48))
    assert first.lengths.tolist() == np.minimum(whole.lengths, 48).tolist()
    full = whole.lengths > 48
    # a laboratory result that was stored after 48 h is not read in the window
    differing = (first.values[full] != whole.values[full, :48]).any(axis=-1)
    assert differing.mean() < 0.01


# ---------------------------------------------------------------- invented stays


def coded_tree() -> Tree:
    """Every label has a patient with it and one without."""
    tree = small_tree()
    tree.tables["diagnoses_icd"] = []
    for patient in range(PATIENTS):
        ids = {"subject_id": 10000000 + patient, "hadm_id": 20000000 + patient}
        mine = [p.ccs for k, p in enumerate(PHENOTYPES) if k % PATIENTS == patient]
        codes = ["Z9999", *(phenotype_codes.ICD10[ccs].split()[0] for ccs in mine)]
        tree.tables["diagnoses_icd"] += [
            {**ids, "seq_num": n, "icd_code": code, "icd_version": 10} for n, code in enumerate(codes, 1)
        ]
    return tree


def prepare(folder: Path, tree: Tree | None = None, *, chest: bool = False, **options: object) -> Dataset:
    root, cxr = (coded_tree() if tree is None else tree).write(folder)
    task = MimicPhenotyping(str(root), str(cxr) if chest else None, **options)  # type: ignore[arg-type]
    return task.prepare(folder / "cache", SilentProgress())


def test_stays_of_any_length_are_in_the_cohort_and_have_their_own_length(tmp_path):
    tree = coded_tree()
    for stay, days in zip(tree.tables["icustays"], (0.2, 1.0, 2.5), strict=False):
        stay["los"] = days
    ehr = prepare(tmp_path, tree).modalities["ehr"]
    assert ehr.lengths.tolist() == [3, 12, 30, *[36] * (PATIENTS - 3)]
    assert ehr.values.shape == (PATIENTS, 36, 76)
    assert (ehr.values[0, 3:] == 0).all()
    assert ehr.values[0, :3, COLUMNS.index("Heart Rate")].tolist() == [80, 80, 80]


def test_events_and_pictures_after_discharge_from_the_unit_are_left_out(tmp_path):
    tree = coded_tree()
    tree.tables["icustays"][0]["los"] = 1.0
    tree.chart(0, 24.01, 220045, 199)
    tree.image(0, 24.01, "late")
    tree.image(0, 23.9, "last")
    dataset = prepare(tmp_path, tree, chest=True)
    ehr = dataset.modalities["ehr"]
    assert ehr.values[0, :, COLUMNS.index("Heart Rate")].max() < 100
    import pandas as pd

    (links,) = (tmp_path / "cache").glob("links-*/links.parquet")
    assert pd.read_parquet(links).set_index("row").loc[0, "dicom_id"] == "last"


def test_both_tasks_share_nothing_but_the_code(tmp_path):
    root, _ = coded_tree().write(tmp_path)
    for task in (MimicIhm(str(root)), MimicPhenotyping(str(root))):
        task.prepare(tmp_path / "cache", SilentProgress())
    kinds = sorted(path.name.split("-")[0] for path in (tmp_path / "cache").iterdir() if path.name[0] != ".")
    assert kinds == ["events", "events", "phenotypes", "series", "series"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"labels": "css"}, "did you mean 'ccs'"),
        ({"max_steps": 0}, "max_steps must be a whole number"),
        ({"window_hours": -1}, "window_hours must be a number above 0"),
        ({"window_hours": 48, "step_hours": 5}, "must divide"),
        ({"report_margin_hours": -1}, "report_margin_hours"),
    ],
)
def test_bad_options_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        MimicPhenotyping(**{"root": "x", **option})


def test_synthetic_cohort_has_every_label(tmp_path):
    task = MimicPhenotyping(synthetic={"stays": 120, "image_size": 32}, image_size=16)
    dataset = task.prepare(tmp_path, SilentProgress())
    assert dataset.synthetic
    assert len(dataset) > 120  # the stays that the mortality task leaves out are here
    assert dataset.target.sum(axis=0).min() > 0
    assert list(dataset.modalities) == ["ehr", "cxr", "report"]
