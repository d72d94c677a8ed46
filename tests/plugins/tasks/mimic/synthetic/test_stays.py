"""Who lay where and when: roles, admissions that do not overlap, and dates of death."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings
from fusionbench_plugins.tasks.mimic.synthetic.stays import (
    EXTRA_SHARES,
    HOUR,
    Role,
    _number,
    identifiers,
    plan_hospital,
    plan_roles,
)
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


def test_children_get_the_number_of_their_parent_and_roots_count_up():
    assert _number(np.array([-1, 0, -1, -1, 2])).tolist() == [0, 0, 1, 2, 1]
    assert _number(np.array([-1])).tolist() == [0]


@pytest.mark.parametrize("stays", [10, 100, 501])
def test_every_role_has_its_share_and_comes_in_pairs_after_the_cohort(stays):
    roles = plan_roles(SyntheticSettings(stays=stays)).tolist()
    assert roles[:stays] == [Role.COHORT] * stays
    for role, share in EXTRA_SHARES.items():
        count = roles.count(role)
        assert count >= 2
        assert count % 2 == 0
        assert count == 2 or abs(count - share * stays) <= 1
    assert len(roles) == stays + sum(roles.count(role) for role in EXTRA_SHARES)


def test_each_role_is_what_its_rule_leaves_out():
    settings = SyntheticSettings(stays=200, seed=1)
    roles = plan_roles(settings)
    died = np.arange(len(roles)) % 4 == 0
    hospital = plan_hospital(roles, died, settings)
    stays, admissions, patients = hospital.stays, hospital.admissions, hospital.patients
    assert ((stays.seconds < 48 * HOUR) == (roles == Role.SHORT)).all()
    assert ((stays.first_unit != stays.last_unit) == (roles == Role.MOVED)).all()
    minors = patients.anchor_age[admissions.patient[stays.admission]] < 18
    assert (minors == (roles == Role.MINOR)).all()
    twins = stays.admission[roles == Role.TWIN].reshape(-1, 2)
    assert (twins[:, 0] == twins[:, 1]).all()
    for admission in range(len(admissions.hadm_id)):
        mine = np.flatnonzero(stays.admission == admission)
        assert (stays.intime[mine] >= admissions.admittime[admission]).all()
        assert admissions.died[admission] == died[mine[0]]
        # stays of one admission follow each other
        assert (stays.intime[mine[1:]] > stays.outtime[mine[:-1]]).all()


def test_identifiers_differ_and_have_eight_digits():
    found = identifiers(20_000_000, 5000, np.random.default_rng(0))
    assert len(set(found.tolist())) == 5000
    assert found.min() >= 20_000_000
    assert found.max() < 30_000_000
