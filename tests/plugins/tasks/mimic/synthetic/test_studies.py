"""Chest X-ray studies: which are in the window, which are decoys, and how their images are named."""

from __future__ import annotations

import json

import pandas as pd

from tests.plugins.tasks.mimic.synthetic.small import TINY


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
