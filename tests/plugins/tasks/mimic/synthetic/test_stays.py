"""Who lay where and when: roles, admissions that do not overlap, and dates of death."""

from __future__ import annotations

import pandas as pd

from tests.plugins.tasks.mimic.synthetic.small import TINY


def test_cohort_rules_keep_exactly_the_stays_asked_for(written, table, cohort):
    truth = pd.read_parquet(written[0] / "truth.parquet")
    assert len(cohort) == TINY.stays
    assert truth.stay_id.tolist() == cohort.stay_id.tolist()
    assert cohort.subject_id.nunique() < TINY.stays  # some patients come twice
    stays = table("mimic-iv/icu/icustays").merge(table("mimic-iv/hosp/patients"))
    assert (stays.first_careunit != stays.last_careunit).any()
    assert (stays.groupby("hadm_id").stay_id.transform("size") == 2).any()
    assert (stays.los * 24 < 48).any()
    assert (stays.anchor_age < 18).any()


def test_death_flag_times_and_dates_are_consistent(cohort):
    died = cohort.hospital_expire_flag == 1
    assert 0 < died.sum() < len(cohort)
    by_dod = cohort.dod.between(cohort.admittime, cohort.dischtime)
    by_time = cohort.deathtime.between(cohort.admittime, cohort.dischtime)
    assert (died == (by_dod | by_time)).all()
    assert cohort.deathtime.notna().eq(died).all()
    assert (cohort.dod[died] == cohort.deathtime[died].dt.normalize()).all()
    assert (cohort.admittime <= cohort.intime).all()
    assert (cohort.outtime[~died] < cohort.dischtime[~died]).all()
    assert (cohort.discharge_location == "DIED").eq(died).all()


def test_admissions_of_one_patient_do_not_overlap(table):
    admissions = table("mimic-iv/hosp/admissions").sort_values(["subject_id", "admittime"])
    before = admissions.groupby("subject_id").dischtime.shift()
    assert before.notna().any()
    assert (admissions.admittime[before.notna()] > before.dropna()).all()
    returned = admissions.duplicated("subject_id", keep="last")
    assert not admissions.hospital_expire_flag[returned].any()
