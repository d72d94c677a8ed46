"""Tables of MIMIC-IV: their columns, and rows that agree across tables."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.synthetic import (
    write_cohort,
)
from fusionbench_plugins.tasks.mimic.synthetic.items import OTHER_CODES, PHENOTYPES
from fusionbench_plugins.tasks.mimic.synthetic.latents import (
    FACTORS,
)
from fusionbench_plugins.tasks.mimic.synthetic.stays import NEVER
from fusionbench_plugins.tasks.mimic.synthetic.tables import _codes_of, _pick, _some, _times, draw_phenotypes
from tests.plugins.tasks.mimic.synthetic.small import TINY
from tests.shared import shared_folder

# as in MIMIC-IV v2.2 and MIMIC-CXR-JPG v2.0.0
LABELS = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
    "No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)


HEADERS = {
    "mimic-iv/hosp/patients": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
    "mimic-iv/hosp/admissions": "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,admission_location,discharge_location,insurance,language,marital_status,race,edregtime,edouttime,hospital_expire_flag",
    "mimic-iv/hosp/transfers": "subject_id,hadm_id,transfer_id,eventtype,careunit,intime,outtime",
    "mimic-iv/hosp/diagnoses_icd": "subject_id,hadm_id,seq_num,icd_code,icd_version",
    "mimic-iv/hosp/d_icd_diagnoses": "icd_code,icd_version,long_title",
    "mimic-iv/hosp/d_labitems": "itemid,label,fluid,category",
    "mimic-iv/hosp/labevents": "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,value,valuenum,valueuom,ref_range_lower,ref_range_upper,flag,priority,comments",
    "mimic-iv/icu/icustays": "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los",
    "mimic-iv/icu/d_items": "itemid,label,abbreviation,linksto,category,unitname,param_type,lownormalvalue,highnormalvalue",
    "mimic-iv/icu/chartevents": "subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valuenum,valueuom,warning",
    "mimic-iv/icu/outputevents": "subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valueuom",
    "mimic-cxr/mimic-cxr-2.0.0-metadata": "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning",
    "mimic-cxr/mimic-cxr-2.0.0-split": "dicom_id,study_id,subject_id,split",
    "mimic-cxr/mimic-cxr-2.0.0-chexpert": f"subject_id,study_id,{LABELS}",
    "mimic-cxr/mimic-cxr-2.0.0-negbio": f"subject_id,study_id,{LABELS}",
}


def test_headers_are_those_of_the_real_tables(written):
    found = {str(p.relative_to(written[0])).removesuffix(".csv.gz"): p for p in written[0].rglob("*.csv.gz")}
    assert set(found) == set(HEADERS)
    for name, path in found.items():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            assert file.readline().strip() == HEADERS[name]


@pytest.mark.parametrize("name", [n for n in HEADERS if n.startswith("mimic-iv")])
def test_headers_equal_those_of_the_open_demo(name):
    path = shared_folder("data", "mimic-iv-demo", *name.split("/")[1:-1], name.split("/")[-1] + ".csv.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        assert file.readline().strip() == HEADERS[name]


def test_laboratory_values_are_masked_and_copied_to_the_chart(table):
    labs, chart = table("mimic-iv/hosp/labevents"), table("mimic-iv/icu/chartevents")
    glucose = labs[labs.itemid == 50931]
    assert (glucose.value == "___").all()
    assert glucose.valuenum.between(40, 600).all()
    assert sorted(glucose.valuenum) == sorted(chart[chart.itemid == 220621].valuenum)
    acidity = labs[labs.itemid == 50820]
    assert 0.02 < (acidity.value == "___").mean() < 0.4
    assert 0 < labs.hadm_id.isna().mean() < 0.05
    assert (labs.storetime > labs.charttime).all()


def test_release_3_1_has_codes_that_older_tables_do_not_know(tmp_path):
    recent = {code for p in PHENOTYPES for code in p.recent}
    for version in ("2.2", "3.1"):
        write_cohort(tmp_path / version, replace(TINY, version=version), SilentProgress())
        path = tmp_path / version / "mimic-iv" / "hosp" / "diagnoses_icd.csv.gz"
        codes = pd.read_csv(path, dtype=str)
        assert bool(recent & set(codes.icd_code)) == (version == "3.1")


def test_every_admission_has_a_diagnosis_that_the_code_table_explains(table):
    codes, titles = table("mimic-iv/hosp/diagnoses_icd"), table("mimic-iv/hosp/d_icd_diagnoses")
    assert set(codes.hadm_id) == set(table("mimic-iv/hosp/admissions").hadm_id)
    assert set(zip(codes.icd_code, codes.icd_version, strict=True)) <= set(
        zip(titles.icd_code, titles.icd_version, strict=True)
    )


def test_phenotypes_have_their_shares_and_follow_their_factors():
    rng = np.random.default_rng(0)
    drivers = rng.standard_normal((40_000, 1 + len(FACTORS)))
    has = draw_phenotypes(drivers, rng)
    np.testing.assert_allclose(has.mean(axis=0), [p.share for p in PHENOTYPES], atol=0.01)
    shock = [p.name for p in PHENOTYPES].index("Shock")
    assert drivers[has[:, shock], 0].mean() > 1


def test_never_is_no_time_and_moments_become_dates_where_asked():
    seconds = np.array([0, 86_399, NEVER])
    assert _times(seconds).astype(str).tolist() == ["1970-01-01T00:00:00", "1970-01-01T23:59:59", "NaT"]
    assert _times(seconds, "D").astype(str).tolist() == ["1970-01-01", "1970-01-01", "NaT"]


def test_words_are_picked_by_code_and_null_where_empty():
    picked = _pick(["a", None, "c"], np.array([2, 0, 1, 2]), np.array([False, True, False, False]))
    assert picked.to_pylist() == ["c", None, None, "c"]
    assert _some(np.array([1, 2]), np.array([True, False])).to_pylist() == [None, 2]


@pytest.mark.parametrize(("release", "recent"), [("2.2", False), ("3.1", True)])
def test_codes_of_an_admission_are_one_of_no_group_and_one_of_each_group_that_it_has(release, recent):
    has = np.zeros(len(PHENOTYPES), dtype=bool)
    (place,) = [k for k, p in enumerate(PHENOTYPES) if p.name == "Cardiac dysrhythmias"]
    has[place] = True
    last = np.full(len(PHENOTYPES), 0.999)  # the last of the codes it may have
    settings = replace(TINY, version=release)
    phenotype = PHENOTYPES[place]
    assert _codes_of(has, 9, last, 4, settings) == [OTHER_CODES[9][1], phenotype.icd9[-1]]
    expected = phenotype.recent[-1] if recent else phenotype.icd10[-1]
    assert _codes_of(has, 10, last, 3, settings) == [OTHER_CODES[10][0], expected]


def test_transfers_of_an_admission_follow_each_other_and_end_with_its_discharge(table):
    transfers = table("mimic-iv/hosp/transfers")
    assert transfers.transfer_id.is_unique
    for _, mine in transfers.groupby("hadm_id", sort=False):
        assert mine.intime.is_monotonic_increasing
        events = mine.eventtype.tolist()
        assert events[-1] == "discharge"
        assert events.count("discharge") == events.count("admit") == 1
        assert mine.careunit.isna().tolist() == [False] * (len(mine) - 1) + [True]
