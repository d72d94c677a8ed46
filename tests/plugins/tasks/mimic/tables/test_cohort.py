"""Who is in the cohort."""

from __future__ import annotations

from tests.mimic_tree import prepare, small_tree


def test_each_rule_removes_its_stay(tmp_path):
    tree = small_tree()
    stays, patients = tree.tables["icustays"], tree.tables["patients"]
    stays[0]["last_careunit"] = "SICU"
    patients[1]["anchor_age"] = 17
    stays[2]["los"] = 1.99
    tree.tables["diagnoses_icd"] = [d for d in tree.tables["diagnoses_icd"] if d["hadm_id"] != 20000003]
    tree.tables["chartevents"] = [e for e in tree.tables["chartevents"] if e["stay_id"] != 30000004]
    tree.tables["labevents"] = [e for e in tree.tables["labevents"] if e["hadm_id"] != 20000004]
    assert [step.rows for step in prepare(tmp_path, tree).funnel] == [8, 7, 7, 7, 6, 5, 3]


def test_stays_of_one_admission_are_counted_after_the_unit_rule(tmp_path):
    tree = small_tree()
    for patient, last_unit in ((0, "SICU"), (1, "MICU")):
        again = {**tree.tables["icustays"][patient], "stay_id": 38000000 + patient, "last_careunit": last_unit}
        tree.tables["icustays"].append(again)
    # the moved stay of patient 0 does not count, the second stay of patient 1 does
    assert [step.rows for step in prepare(tmp_path, tree).funnel] == [10, 9, 9, 7, 7, 7, 7]


def test_age_is_that_at_admission(tmp_path):
    tree = small_tree()
    tree.tables["patients"][0] |= {"anchor_age": 17, "anchor_year": 2149}
    tree.tables["patients"][1] |= {"anchor_age": 18, "anchor_year": 2151}
    sound, medfuse = prepare(tmp_path, tree), prepare(tmp_path, tree, rules="medfuse")
    assert sound.target.tolist() == [0, 0, 1, 0, 1, 0, 1]
    assert medfuse.target.tolist() == [1, 0, 1, 0, 1, 0, 1]


def test_label_is_the_flag_and_disagreement_is_reported(tmp_path):
    tree = small_tree()
    tree.tables["admissions"][0]["hospital_expire_flag"] = 1  # a death without a time
    sound, medfuse = prepare(tmp_path, tree), prepare(tmp_path, tree, rules="medfuse")
    assert sound.target[0] == 1
    assert medfuse.target[0] == 0
    assert "differ for 1; " in sound.funnel[-1].note


def test_stays_of_one_patient_share_a_group(tmp_path):
    tree = small_tree()
    for name in ("admissions", "icustays", "diagnoses_icd", "chartevents", "labevents"):
        for row in tree.tables[name]:
            if row["subject_id"] == 10000007:
                row["subject_id"] = 10000000
    assert prepare(tmp_path, tree).groups.tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
