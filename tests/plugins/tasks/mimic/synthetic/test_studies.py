"""Chest X-ray studies: which are in the window, which are decoys, and how their images are named."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings
from fusionbench_plugins.tasks.mimic.synthetic.latents import draw_latents
from fusionbench_plugins.tasks.mimic.synthetic.stays import plan_hospital, plan_roles
from fusionbench_plugins.tasks.mimic.synthetic.studies import WINDOW, Kind, list_images, plan_studies
from tests.plugins.tasks.mimic.synthetic.small import TINY

SETTINGS = SyntheticSettings(stays=400, seed=2)


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


@pytest.fixture(scope="module")
def planned():
    """Latents, stays and studies, without any file."""
    roles = plan_roles(SETTINGS)
    latents = draw_latents(len(roles), SETTINGS)
    stays = plan_hospital(roles, latents.died, SETTINGS).stays
    return latents, stays, plan_studies(latents, stays, SETTINGS)


def test_a_stay_has_one_chosen_study_where_it_has_an_image_and_it_is_the_last_of_the_window(planned):
    latents, stays, studies = planned
    for stay in range(len(stays.stay_id)):
        mine = studies.stay == stay
        chosen = studies.seconds[mine & (studies.kind == Kind.CHOSEN)]
        assert len(chosen) == latents.available[stay, 1]
        bedside = mine & np.isin(studies.kind, (Kind.CHOSEN, Kind.EARLIER)) & (studies.seconds <= WINDOW)
        if len(chosen):
            assert studies.seconds[bedside].max() == chosen[0]
    late = studies.seconds[studies.kind == Kind.LATE]
    assert len(late)
    assert late.min() > WINDOW
    assert (studies.seconds >= 0).all()
    assert (studies.seconds <= stays.seconds[studies.stay]).all()


def test_studies_are_by_stay_and_time_and_chosen_ones_depict_the_stay_exactly(planned):
    latents, _, studies = planned
    order = list(zip(studies.stay.tolist(), studies.seconds.tolist(), strict=True))
    assert order == sorted(order)
    assert np.unique(studies.study_id).tolist() == studies.study_id.tolist()
    chosen = studies.kind == Kind.CHOSEN
    standard = latents.standard_evidence(SETTINGS)
    np.testing.assert_array_equal(studies.picture[chosen, 0], standard[studies.stay[chosen], 1])
    np.testing.assert_array_equal(studies.words[chosen, 1], latents.interplay[studies.stay[chosen], 2])
    np.testing.assert_array_equal(studies.has_report[chosen], latents.available[studies.stay[chosen], 2])
    assert studies.has_report[~chosen].all()


def test_a_late_study_gives_the_outcome_away_and_an_upright_one_says_nothing(planned):
    latents, _, studies = planned
    died = latents.died[studies.stay]
    late, upright = (studies.kind == kind for kind in (Kind.LATE, Kind.UPRIGHT))
    assert studies.picture[late & died, 0].min() > studies.picture[late & ~died, 0].max()
    evidence = latents.standard_evidence(SETTINGS)[studies.stay, 1]
    assert abs(np.corrcoef(studies.picture[upright, 0], evidence[upright])[0, 1]) < 4 / np.sqrt(upright.sum())


def test_an_upright_study_has_two_images_and_a_bedside_study_one(planned):
    _, _, studies = planned
    images = list_images(studies, SETTINGS)
    views = {study: [] for study in range(len(studies))}
    for study, view in zip(images.study.tolist(), images.view, strict=True):
        views[study].append(view)
    wanted = [["PA", "LATERAL"] if kind == Kind.UPRIGHT else ["AP"] for kind in studies.kind.tolist()]
    assert list(views.values()) == wanted
    assert len(set(images.dicom_id)) == len(images)
