"""Phenotyping: which codes make a group, series of whole stays, and the published extraction cell by cell."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from fusionbench import Dataset, TargetKind
from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.outcomes import phenotype_codes
from fusionbench_plugins.tasks.mimic.outcomes.phenotypes import NAMES, PHENOTYPES, Labels, LabelSet
from fusionbench_plugins.tasks.mimic.tables.arrays import step_counts
from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from fusionbench_plugins.tasks.mimic_phenotyping import MimicPhenotyping
from tests.mimic_tree import PATIENTS, Tree, small_tree
from tests.shared import shared_folder

DEMO = ("data", "mimic-iv-demo")
CXR = ("data", "mimic-cxr-made-up")
ORACLE = ("data", "mimic-iv-demo-oracle")
LABEL_SETS = get_args(Labels)
CCS, MEDFUSE = (LabelSet(name) for name in LABEL_SETS)


@pytest.fixture(scope="module")
def caches(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


def demo(cache: Path, **options: object) -> Dataset:
    task = MimicPhenotyping(str(shared_folder(*DEMO)), **{"max_steps": None, **options})  # type: ignore[arg-type]
    return task.prepare(cache, SilentProgress())


def stays_of(cache: Path):
    import pandas as pd

    (folder,) = {f for f in cache.glob("events-*") if (f / "stays.parquet").is_file()}
    return pd.read_parquet(folder / "stays.parquet")


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


# ---------------------------------------------------------------- codes


def reference_codes() -> list[dict[str, str]]:
    with shared_folder("data", "phenotype_codes.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def named(labels: LabelSet, code: str, version: int) -> str | None:
    found = labels.label(code, version)
    return None if found is None else NAMES[found]


def test_groups_are_those_of_the_reference_table():
    with shared_folder("data", "phenotypes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(p.ccs, p.name, p.course) for p in PHENOTYPES] == [
        (int(row["ccs_id"]), row["phenotype"], row["type"]) for row in rows
    ]
    assert list(NAMES) == sorted(NAMES)


@pytest.mark.parametrize("labels", [CCS, MEDFUSE], ids=LABEL_SETS)
def test_every_code_of_the_reference_table_has_its_group(labels):
    flag = f"in_{labels.name}"
    for row in reference_codes():
        if row[flag] == "1":
            assert named(labels, row["icd_code"], int(row["icd_version"])) == row["phenotype"], row


def test_no_other_code_that_mimic_iv_knows_has_a_group():
    """The code table of the release: 109,775 codes of both versions; those outside the reference table have no group."""
    rows = reference_codes()
    ccs = {(row["icd_version"], row["icd_code"]) for row in rows if row["in_ccs"] == "1"}
    medfuse = {row["icd_code"] for row in rows if row["in_medfuse"] == "1"}
    with gzip.open(shared_folder(*DEMO, "hosp", "d_icd_diagnoses.csv.gz"), "rt", encoding="utf-8") as file:
        known = [(row["icd_version"], row["icd_code"].strip()) for row in csv.DictReader(file)]
    assert len(known) == 109_775
    by_medfuse = {code for version, code in known if MEDFUSE.label(code, int(version)) is not None}
    assert by_medfuse == medfuse & {code for _, code in known}
    by_ccs = {(version, code) for version, code in known if CCS.label(code, int(version)) is not None}
    assert ccs & set(known) <= by_ccs
    # the others are headings above codes that all belong to one group: no diagnosis is coded so
    headings = {(version, code[:end]) for version, code in ccs for end in range(1, len(code))}
    younger = {("10", code) for code in ("I4811", "I4819", "I4820", "I4821", "N9985")}
    assert by_ccs - ccs - headings == younger


RECENT = {
    "I4811": "Cardiac dysrhythmias",
    "I4819": "Cardiac dysrhythmias",
    "I4820": "Cardiac dysrhythmias",
    "I4721": "Cardiac dysrhythmias",
    "N1830": "Chronic kidney disease",
    "N1832": "Chronic kidney disease",
    "J1282": "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
    "K7682": "Other liver diseases",
    "R051": "Other lower respiratory disease",
    "E8720": "Fluid and electrolyte disorders",
}


@pytest.mark.parametrize("code", RECENT)
def test_code_younger_than_the_classification_takes_the_group_of_its_relatives(code):
    assert named(CCS, code, 10) == RECENT[code]


def test_versions_are_told_apart_by_ccs_and_not_by_medfuse():  # V450: a pacemaker in ICD-9, a heading in ICD-10
    assert named(CCS, "V450", 9) == "Conduction disorders"
    assert CCS.label("V450", 10) is None
    assert named(MEDFUSE, "V450", 10) == "Conduction disorders"


@pytest.mark.parametrize("table", [phenotype_codes.ICD9, phenotype_codes.ICD10])
def test_no_prefix_begins_another(table):
    prefixes = [prefix for codes in table.values() for prefix in codes.split()]
    assert len(set(prefixes)) == len(prefixes)
    assert not {p for p in prefixes if any(p[:end] in set(prefixes) for end in range(1, len(p)))}


@pytest.mark.parametrize("code", ["", "Z", "XYZ", "0389X9", "$"])
def test_text_that_is_no_code_has_no_group(code):
    assert CCS.label(code, 10) is None


def test_the_script_finds_prefixes_that_decide_as_the_published_files_do(tmp_path):
    spec = importlib.util.spec_from_file_location("tool", Path(__file__).parents[3] / "tools" / "phenotype_codes.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    # two groups that share a beginning, a code that begins a code of another group, and a group outside the 25
    (tmp_path / "nine").write_text(
        "Title\n\n249  Shock\n     78551 78552 5696\n\n1    Other\n     7850 56962 0010\n", encoding="utf-8"
    )
    nine = tool.read_ccs9(tmp_path / "nine")
    assert nine == {"78551": 249, "78552": 249, "5696": 249, "7850": 1, "56962": 1, "0010": 1}
    assert tool.prefixes(nine) == {1: ["0", "56962", "7850"], 249: ["5696$", "7855"]}
    (tmp_path / "ten").write_text(
        "'ICD-10-CM CODE','CCS CATEGORY'\n'R570   ','249 ',\"x\"\n'A00    ','1   ',\"y\"\n", encoding="utf-8"
    )
    assert tool.read_ccs10(tmp_path / "ten") == {"R570": 249, "A00": 1}
    (tmp_path / "gem").write_text(
        "78551 R570 10000\n78552 R6521 10000\n78552 A419 10000\n0010  NoDx 11000\nV999 A00 00000\n",
        encoding="utf-8",
    )
    assert tool.read_gem(tmp_path / "gem", nine) == {"R570": 249, "A419": 249}


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


def test_labels_are_the_groups_of_the_admissions_codes(tmp_path):
    dataset = prepare(tmp_path)
    assert dataset.kind is TargetKind.MULTILABEL
    assert dataset.outputs == NAMES
    expected = np.arange(25)[None, :] % PATIENTS == np.arange(PATIENTS)[:, None]
    np.testing.assert_array_equal(dataset.target, expected.astype(np.int64))
    assert dataset.ceiling is None


@pytest.mark.parametrize("text", ["i48.0 ", "I480", "I48.0"])
def test_spelling_of_a_code_does_not_matter(tmp_path, text):
    tree = coded_tree()
    ids = {"subject_id": 10000000, "hadm_id": 20000000}
    tree.tables["diagnoses_icd"].append({**ids, "seq_num": 9, "icd_code": text, "icd_version": 10})
    assert prepare(tmp_path, tree).target[0, NAMES.index("Cardiac dysrhythmias")] == 1


def test_stays_of_any_length_are_in_the_cohort_and_have_their_own_length(tmp_path):
    tree = coded_tree()
    for stay, days in zip(tree.tables["icustays"], (0.2, 1.0, 2.5), strict=False):
        stay["los"] = days
    ehr = prepare(tmp_path, tree).modalities["ehr"]
    assert ehr.lengths.tolist() == [3, 12, 30, *[36] * (PATIENTS - 3)]
    assert ehr.values.shape == (PATIENTS, 36, 76)
    assert (ehr.values[0, 3:] == 0).all()
    assert ehr.values[0, :3, COLUMNS.index("Heart Rate")].tolist() == [80, 80, 80]


def test_long_series_are_cut_and_counted(tmp_path):
    tree = coded_tree()
    tree.tables["icustays"][0]["los"] = 1.0
    tree.chart(1, 30, 220045, 150)
    dataset = prepare(tmp_path, tree, max_steps=15)
    ehr = dataset.modalities["ehr"]
    assert ehr.lengths.tolist() == [12, *[15] * (PATIENTS - 1)]
    assert ehr.values[1, -1, COLUMNS.index("Heart Rate")] == 150
    assert (
        f"7 of 8 series are cut after 15 steps: {7 * 21} later steps are left out (max_steps; the longest stay has 36)"
        in dataset.warnings
    )
    everything = prepare(tmp_path, tree, max_steps=None)
    np.testing.assert_array_equal(everything.modalities["ehr"].values[:, :15], ehr.values)
    assert everything.digest != dataset.digest


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


def test_report_margin_counts_from_the_end_of_each_stay(tmp_path):
    tree = coded_tree()
    tree.tables["icustays"][0]["los"] = 0.4  # the picture of hour 5 is in its last six hours
    dataset = prepare(tmp_path, tree, chest=True, report_margin_hours=6)
    assert dataset.available[:2, 2].tolist() == [False, True]
    assert dataset.available[:2, 1].tolist() == [True, True]


def test_a_label_that_nobody_has_is_refused_with_the_funnel(tmp_path):
    tree = coded_tree()
    shock = phenotype_codes.ICD10[249].split()[0]
    tree.tables["diagnoses_icd"] = [row for row in tree.tables["diagnoses_icd"] if row["icd_code"] != shock]
    with pytest.raises(DataError, match="1 of 25 labels are alike in all 8 stays: Shock"):
        prepare(tmp_path, tree)


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


def test_mortality_has_no_open_window():
    with pytest.raises(ValueError, match="window_hours must be a number above 0, found None"):
        MimicIhm("x", window_hours=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hours", "step", "count"), [(48, 2, 24), (48.5, 2, 25), (0.1, 1, 1), (0, 1, 1), (47.99, 1, 48)]
)
def test_steps_cover_the_stay(hours, step, count):
    assert step_counts(np.array([float(hours)]), step).tolist() == [count]


def test_synthetic_cohort_has_every_label(tmp_path):
    task = MimicPhenotyping(synthetic={"stays": 120, "image_size": 32}, image_size=16)
    dataset = task.prepare(tmp_path, SilentProgress())
    assert dataset.synthetic
    assert len(dataset) > 120  # the stays that the mortality task leaves out are here
    assert dataset.target.sum(axis=0).min() > 0
    assert list(dataset.modalities) == ["ehr", "cxr", "report"]
