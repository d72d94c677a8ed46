"""The synthetic cohort: its model, its best possible scores, and the files it writes."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fusionbench.errors import WorkspaceError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings, holds_cohort, write, write_cohort
from fusionbench_plugins.tasks.mimic.synthetic.items import LAB_ITEMS, OTHER_CODES, PHENOTYPES
from fusionbench_plugins.tasks.mimic.synthetic.latents import draw_latents
from fusionbench_plugins.tasks.mimic.synthetic.reports import EVIDENCE_FINDINGS
from fusionbench_plugins.tasks.mimic.synthetic.truth import ceilings
from tests.shared import shared_folder

TINY = SyntheticSettings(stays=60, seed=3, image_size=48)

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


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    return folder, write_cohort(folder, TINY, SilentProgress())


@pytest.fixture(scope="module")
def table(written):
    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(
            written[0] / f"{name}.csv.gz",
            keep_default_na=False,
            na_values=[""],
            dtype={"StudyTime": str, "icd_code": str},
        )

    return read


@pytest.fixture(scope="module")
def cohort(table):
    """The stays that the published rules keep, one row each, with admission and patient."""
    stays = table("mimic-iv/icu/icustays")
    stays = stays[stays.first_careunit == stays.last_careunit]
    stays = stays.merge(table("mimic-iv/hosp/admissions")).merge(table("mimic-iv/hosp/patients"))
    stays = stays[stays.groupby("hadm_id").stay_id.transform("size") == 1]
    stays = stays[(stays.anchor_age >= 18) & (stays.los * 24 >= 48 - 1e-6)]
    for name in ("intime", "outtime", "admittime", "dischtime", "deathtime", "dod"):
        stays[name] = pd.to_datetime(stays[name])
    return stays.sort_values("stay_id").reset_index(drop=True)


@pytest.fixture(scope="module")
def links(table, cohort):
    """The last AP image from admission to 48 hours of each stay that has one."""
    images = table("mimic-cxr/mimic-cxr-2.0.0-metadata").merge(cohort[["subject_id", "stay_id", "intime"]])
    clock = images.StudyTime.str.split(".").str[0].str.zfill(6)
    moment = pd.to_datetime(images.StudyDate.astype(str) + clock, format="%Y%m%d%H%M%S")
    hours = (moment - images.intime).dt.total_seconds() / 3600
    kept = images[(hours >= 0) & (hours <= 48) & (images.ViewPosition == "AP")].assign(moment=moment)
    return kept.sort_values(["stay_id", "moment"]).groupby("stay_id").tail(1)


DICTIONARIES = ("hosp/d_icd_diagnoses", "hosp/d_labitems", "icu/d_items")  # do not depend on the seed


def digest_of(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# --------------------------------------------------------------------------------------------
# the model and its best possible scores


def test_absent_modalities_do_not_count_in_any_subset():
    latents = draw_latents(500, SyntheticSettings())
    table = ceilings(latents, SyntheticSettings())
    without_report = ~latents.available[:, 2]
    np.testing.assert_array_equal(table[without_report, 7], table[without_report, 3])


# --------------------------------------------------------------------------------------------
# the files


def test_same_seed_same_bytes_and_another_seed_other_bytes(written, tmp_path):
    write_cohort(tmp_path / "again", TINY, SilentProgress())
    write_cohort(tmp_path / "other", replace(TINY, seed=4), SilentProgress())
    first, again, other = digest_of(written[0]), digest_of(tmp_path / "again"), digest_of(tmp_path / "other")
    assert first == again
    assert not set(first.values()) & (set(other.values()) - {first[f"mimic-iv/{n}.csv.gz"] for n in DICTIONARIES})


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


def test_codes_and_items_are_those_of_the_reference_tables():
    codes = pd.read_csv(shared_folder("data", "phenotype_codes.csv"), dtype=str).query("in_ccs == '1'")
    known = set(zip(codes.icd_version, codes.icd_code, codes.phenotype, strict=True))
    for p in PHENOTYPES:
        assert {("9", c, p.name) for c in p.icd9} | {("10", c, p.name) for c in p.icd10} <= known
    assert not {c for group in OTHER_CODES.values() for c in group} & set(codes.icd_code)
    labs = pd.read_csv(shared_folder("data", "mimic-iv-demo", "hosp", "d_labitems.csv.gz")).set_index("itemid")
    assert all(tuple(labs.loc[i.itemid, ["label", "fluid", "category"]]) == i[1:4] for i in LAB_ITEMS)


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


def test_truth_file_holds_what_the_call_returned(written):
    folder, truth = written
    stored = pd.read_parquet(folder / "truth.parquet")
    assert stored.columns.tolist() == ["stay_id", *(f"p_{k}" for k in range(8))]
    assert stored.stay_id.dtype == np.int64
    np.testing.assert_array_equal(stored.stay_id, truth.stay_id)
    np.testing.assert_array_equal(stored.iloc[:, 1:].to_numpy(), truth.ceilings)
    np.testing.assert_allclose(truth.ceilings[:, 0], TINY.prevalence)
    summary = json.loads((folder / "synthetic.json").read_text(encoding="utf-8"))
    assert summary["synthetic"] is True
    assert summary["planted_auroc"]["ehr"]["auroc"] == truth.planted["ehr"].auroc
    assert holds_cohort(folder, TINY)
    assert not holds_cohort(folder, replace(TINY, seed=99))


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


PLAUSIBLE = {  # itemid: low, high, unit, events per stay and day in the first two days
    220045: (35, 190, "bpm", (18, 25)),
    220210: (6, 50, "insp/min", (18, 25)),
    220277: (70, 100, "%", (17, 25)),
    223761: (89, 107, "°F", (3, 7)),
    225664: (40, 600, None, (1, 5)),
    220621: (40, 600, "mg/dL", (1, 4)),
    223830: (6.9, 7.65, "units", (1, 4)),
    226730: (140, 205, "cm", (0, 1)),
    226512: (38, 180, "kg", (0, 1)),
}


@pytest.mark.parametrize("itemid", PLAUSIBLE)
def test_values_have_plausible_ranges_units_and_rates(table, cohort, itemid):
    low, high, unit, (least, most) = PLAUSIBLE[itemid]
    events = table("mimic-iv/icu/chartevents").query("itemid == @itemid").merge(cohort[["stay_id", "intime"]])
    assert events.valuenum.between(low, high).mean() > 0.998  # but for a few typing errors
    assert events.valueuom.isna().all() if unit is None else (events.valueuom == unit).all()
    hours = (pd.to_datetime(events.charttime) - events.intime).dt.total_seconds() / 3600
    early = events[hours <= 48]
    per_day = early.groupby("stay_id").size().mean() / 2
    assert least < per_day < most
    if itemid in (226730, 226512):
        assert hours.between(-2, 0).all()
    else:
        assert (hours >= 0).all()


def test_blood_pressures_are_coherent(table):
    events = table("mimic-iv/icu/chartevents")
    for systolic, diastolic, mean in ((220050, 220051, 220052), (220179, 220180, 220181)):
        wide = events[events.itemid.isin([systolic, diastolic, mean])].pivot_table(
            index=["stay_id", "charttime"], columns="itemid", values="valuenum"
        )
        assert (wide[systolic] > wide[diastolic]).all()
        expected = wide[diastolic] + (wide[systolic] - wide[diastolic]) / 3
        assert ((wide[mean] - expected).abs() <= 1.5).mean() > 0.995


def test_coma_scores_and_capillary_refill_are_texts(table):
    events = table("mimic-iv/icu/chartevents")
    eyes = events[events.itemid == 220739]
    assert {"None", "To Pain", "To Speech", "Spontaneously"} == set(eyes.value)
    assert set(zip(eyes.value, eyes.valuenum, strict=True)) >= {("None", 1), ("Spontaneously", 4)}
    verbal = events[events.itemid == 223900]
    assert {"No Response-ETT", "Oriented", "Confused"} <= set(verbal.value)
    refill = events[events.itemid.isin([223951, 224308])]
    assert set(refill.value) == {"Normal <3 Seconds", "Abnormal >3 Seconds"}
    assert refill.valuenum.isna().all()


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


def agreement(scores: pd.Series, truth: pd.DataFrame, column: str) -> float:
    return scores.corr(truth.set_index("stay_id")[column].loc[scores.index], method="spearman")


def test_vital_signs_follow_the_planted_evidence(table, written):
    truth = pd.read_parquet(written[0] / "truth.parquet")
    signs = pd.Series({220045: 1, 220210: 1, 220277: -1, 220739: -1})
    events = table("mimic-iv/icu/chartevents").merge(truth[["stay_id"]])
    means = events[events.itemid.isin(signs.index)].pivot_table(index="stay_id", columns="itemid", values="valuenum")
    severity = (means - means.mean()) / means.std() @ signs
    assert agreement(severity, truth, "p_1") > 0.9


def test_chosen_pictures_follow_the_planted_evidence(written, links):
    truth, opacity = pd.read_parquet(written[0] / "truth.parquet"), {}
    for row in links.itertuples():
        subject = str(row.subject_id)
        path = written[0] / f"mimic-cxr/files/p{subject[:2]}/p{subject}/s{row.study_id}/{row.dicom_id}.jpg"
        with Image.open(path) as picture:
            grey = np.asarray(picture, float)
        lower, width = grey[round(0.48 * len(grey)) : round(0.7 * len(grey))], grey.shape[1]
        opacity[row.stay_id] = lower[:, round(0.22 * width) : round(0.36 * width)].mean()
    assert agreement(pd.Series(opacity), truth, "p_2") > 0.9


def test_words_of_reports_follow_the_planted_evidence(written, links):
    truth, amount = pd.read_parquet(written[0] / "truth.parquet"), {}
    grades = {word: k for k, word in enumerate(EVIDENCE_FINDINGS[0].grades)}
    with zipfile.ZipFile(written[0] / "mimic-cxr" / "mimic-cxr-reports.zip") as archive:
        texts = {int(re.search(r"/s(\d+)", name)[1]): archive.read(name).decode() for name in archive.namelist()}
    for row in links.itertuples():
        if row.study_id in texts:
            amount[row.stay_id] = sum(grades.get(word, 0) for word in re.findall(r"[a-z]+", texts[row.study_id]))
    assert agreement(pd.Series(amount), truth, "p_4") > 0.97


def test_images_in_the_window_are_those_of_stays_that_hold_one(written, links):
    counts = json.loads((written[0] / "synthetic.json").read_text(encoding="utf-8"))["counts"]
    assert len(links) == counts["cohort stays with image"]
    assert 0 < len(links) < TINY.stays


def test_decoys_lie_beside_the_chosen_images(table, cohort):
    images = table("mimic-cxr/mimic-cxr-2.0.0-metadata").merge(cohort[["subject_id", "intime"]])
    assert {"AP", "PA", "LATERAL"} == set(images.ViewPosition)
    late = pd.to_datetime(images.StudyDate.astype(str)) - images.intime
    assert (late > pd.Timedelta(hours=48)).any()
    assert images.dicom_id.str.fullmatch(r"ffffffff(-[0-9a-f]{8}){4}").all()


def test_every_listed_image_is_a_grey_jpeg_of_the_listed_size(written, table):
    images = table("mimic-cxr/mimic-cxr-2.0.0-metadata")
    assert len(list((written[0] / "mimic-cxr" / "files").rglob("*.jpg"))) == len(images)
    for row in images.itertuples():
        subject = str(row.subject_id)
        path = written[0] / f"mimic-cxr/files/p{subject[:2]}/p{subject}/s{row.study_id}/{row.dicom_id}.jpg"
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (row.Columns, row.Rows))


def test_reports_have_headings_and_a_length_that_encoders_take(written, links):
    with zipfile.ZipFile(written[0] / "mimic-cxr" / "mimic-cxr-reports.zip") as archive:
        texts = {int(re.search(r"/s(\d+)\.txt$", n)[1]): archive.read(n).decode() for n in archive.namelist()}
    counts = json.loads((written[0] / "synthetic.json").read_text(encoding="utf-8"))["counts"]
    assert links.study_id.isin(texts.keys()).sum() == counts["cohort stays with report"]
    headings = {study: re.findall(r"^ ([A-Z ()/,-]+):\s", text, re.MULTILINE) for study, text in texts.items()}
    assert all({"FINDINGS", "IMPRESSION"} & set(h) or h[0].startswith("CHEST") for h in headings.values())
    assert np.mean(["FINDINGS" in h for h in headings.values()]) > 0.8
    assert all(10 <= len(text.split()) <= 150 for text in texts.values())


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


# --------------------------------------------------------------------------------------------
# folders


def test_interrupted_writing_leaves_no_summary_and_can_be_repeated(tmp_path, monkeypatch):
    small = replace(TINY, stays=10)
    write_cohort(tmp_path, small, SilentProgress())
    complete = digest_of(tmp_path)

    def interrupt(path, texts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write, "write_zip", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_cohort(tmp_path, small, SilentProgress())
    assert not (tmp_path / "synthetic.json").exists()
    assert not holds_cohort(tmp_path, small)
    write_cohort(tmp_path, small, SilentProgress())
    assert digest_of(tmp_path) == complete


def test_a_smaller_cohort_replaces_a_larger_one_without_leftovers(tmp_path):
    write_cohort(tmp_path / "a", replace(TINY, stays=20), SilentProgress())
    write_cohort(tmp_path / "a", replace(TINY, stays=10), SilentProgress())
    write_cohort(tmp_path / "b", replace(TINY, stays=10), SilentProgress())
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b")


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mimic-iv").mkdir()
    (tmp_path / "mimic-iv" / "precious.csv").write_text("x", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="holds other files"):
        write_cohort(tmp_path, TINY, SilentProgress())
    assert [p.name for p in tmp_path.rglob("*")] == ["mimic-iv", "precious.csv"]


def test_a_full_disk_is_reported_in_one_sentence(tmp_path, monkeypatch):
    def fail(path, texts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_zip", fail)
    with pytest.raises(WorkspaceError, match="No space left on device"):
        write_cohort(tmp_path, replace(TINY, stays=10), SilentProgress())
