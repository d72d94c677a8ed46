"""The synthetic cohort: its model, its best possible scores, and the files it writes."""

from __future__ import annotations

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
from fusionbench_plugins.tasks.mimic.synthetic.latents import draw_latents
from fusionbench_plugins.tasks.mimic.synthetic.reports import EVIDENCE_FINDINGS
from fusionbench_plugins.tasks.mimic.synthetic.truth import ceilings
from tests.plugins.tasks.mimic.synthetic.small import TINY, agreement

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
