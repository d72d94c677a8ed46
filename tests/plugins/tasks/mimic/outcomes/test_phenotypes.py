"""Codes to groups, and groups to labels of an admission."""

from __future__ import annotations

import csv
import gzip
from typing import get_args

import numpy as np
import pytest

from fusionbench import TargetKind
from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.outcomes import phenotype_codes
from fusionbench_plugins.tasks.mimic.outcomes.phenotypes import NAMES, PHENOTYPES, Labels, LabelSet
from tests.mimic_tree import PATIENTS
from tests.plugins.tasks.test_mimic_phenotyping import DEMO, coded_tree, prepare
from tests.shared import shared_folder

LABEL_SETS = get_args(Labels)


CCS, MEDFUSE = (LabelSet(name) for name in LABEL_SETS)


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


@pytest.mark.parametrize("code", ["", "Z", "XYZ", "0389X9", "$"])
def test_text_that_is_no_code_has_no_group(code):
    assert CCS.label(code, 10) is None


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


def test_a_label_that_nobody_has_is_refused_with_the_funnel(tmp_path):
    tree = coded_tree()
    shock = phenotype_codes.ICD10[249].split()[0]
    tree.tables["diagnoses_icd"] = [row for row in tree.tables["diagnoses_icd"] if row["icd_code"] != shock]
    with pytest.raises(DataError, match="1 of 25 labels are alike in all 8 stays: Shock"):
        prepare(tmp_path, tree)


def test_diagnoses_without_code_or_version_are_counted(tmp_path):
    tree = coded_tree()
    ids = {key: tree.tables["icustays"][0][key] for key in ("subject_id", "hadm_id")}
    for code, version in (("", 9), ("0389", "")):
        tree.tables["diagnoses_icd"].append({**ids, "seq_num": 99, "icd_code": code, "icd_version": version})
    (said,) = [w for w in prepare(tmp_path, tree).warnings if "lack icd_code or icd_version" in w]
    assert said.startswith("2 of ")


@pytest.mark.parametrize("lost", [True, False])
def test_codes_that_lost_the_zeros_at_their_beginning_are_said(tmp_path, lost):
    tree = coded_tree()
    ids = {key: tree.tables["icustays"][0][key] for key in ("subject_id", "hadm_id")}
    rows = [row for row in tree.tables["diagnoses_icd"] if not str(row["icd_code"]).startswith("0")]
    more = [{**ids, "seq_num": 99, "icd_code": str(25000 + n), "icd_version": 9} for n in range(600)]
    tree.tables["diagnoses_icd"] = [*rows, *more]
    for patient in range(0, PATIENTS, 2):
        stay = tree.tables["icustays"][patient]
        code = "A419" if lost else "0389"  # sepsis, so that every group is there
        tree.tables["diagnoses_icd"].append(
            {
                "subject_id": stay["subject_id"],
                "hadm_id": stay["hadm_id"],
                "seq_num": 98,
                "icd_code": code,
                "icd_version": 10 if lost else 9,
            }
        )
    said = [w for w in prepare(tmp_path, tree).warnings if "zeros at the beginning were lost" in w]
    assert len(said) == lost
