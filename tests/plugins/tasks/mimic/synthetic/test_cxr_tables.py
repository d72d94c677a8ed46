"""Tables of MIMIC-CXR-JPG: dates and times as that database writes them, parts by patient, and what labellers read."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings, cxr_tables
from fusionbench_plugins.tasks.mimic.synthetic.latents import draw_latents
from fusionbench_plugins.tasks.mimic.synthetic.stays import plan_hospital, plan_roles
from fusionbench_plugins.tasks.mimic.synthetic.studies import list_images, plan_studies

SETTINGS = SyntheticSettings(stays=80, seed=5, image_size=48)


@pytest.fixture(scope="module")
def planned():
    """The hospital, its studies and their images."""
    roles = plan_roles(SETTINGS)
    latents = draw_latents(len(roles), SETTINGS)
    hospital = plan_hospital(roles, latents.died, SETTINGS)
    studies = plan_studies(latents, hospital.stays, SETTINGS)
    return hospital, studies, list_images(studies, SETTINGS)


def seconds(*moment: int) -> np.ndarray:
    """Seconds since 1970 of a moment of MIMIC's calendar."""
    passed = datetime(*moment) - datetime(1970, 1, 1)  # noqa: DTZ001 - MIMIC's times have no zone
    return np.array([int(passed.total_seconds())])


@pytest.mark.parametrize(
    ("moment", "date", "time"),
    [
        ((2150, 3, 9, 0, 0, 5), 21500309, "5.007"),  # no leading zeros: five seconds past midnight
        ((2150, 12, 31, 7, 4, 59), 21501231, "70459.007"),
        ((2151, 1, 1, 23, 59, 0), 21510101, "235900.007"),
    ],
)
def test_dates_are_numbers_and_times_have_no_leading_zeros(moment, date, time):
    assert cxr_tables._dates(seconds(*moment)) == [date]
    assert cxr_tables._times(seconds(*moment), np.array([7])) == [time]


def test_metadata_have_a_row_for_each_image_with_the_moment_of_its_study(planned):
    hospital, studies, images = planned
    table = cxr_tables.metadata(hospital, studies, images, SETTINGS)
    assert {len(column) for column in table.values()} == {len(images)}
    for row in range(0, len(images), 7):
        study = images.study[row]
        moment = int(hospital.stays.intime[studies.stay[study]] + studies.seconds[study])
        when = np.datetime64(moment, "s").astype(datetime)
        assert table["StudyDate"][row] == int(when.strftime("%Y%m%d"))
        assert int(table["StudyTime"][row].split(".")[0]) == int(when.strftime("%H%M%S"))
        assert table["subject_id"][row] == hospital.subject_of_stay[studies.stay[study]]
    # who has two views stands
    by_view = {view: table["PatientOrientationCodeSequence_CodeMeaning"][i] for i, view in enumerate(images.view)}
    assert by_view == {"AP": None, "PA": "Erect", "LATERAL": "Erect"}


def test_all_images_of_a_patient_are_in_one_part(planned):
    hospital, studies, images = planned
    table = cxr_tables.split(hospital, studies, images, SETTINGS)
    parts: dict[int, set[str]] = {}
    for subject, part in zip(table["subject_id"].tolist(), table["split"], strict=True):
        parts.setdefault(subject, set()).add(part)
    assert len(parts) < len(images)  # some have several
    assert all(len(found) == 1 for found in parts.values())
    assert {part for found in parts.values() for part in found} <= {"train", "validate", "test"}
    assert table["dicom_id"] == images.dicom_id


def test_labels_are_of_studies_with_a_report_and_follow_the_words_in_it(planned):
    hospital, studies, _ = planned
    half = np.arange(len(studies)) % 2 == 0
    low, high = np.full((len(studies), 2), -9.0), np.full((len(studies), 2), 9.0)
    # every other report says the least of everything, the others the most
    told = replace(studies, words=np.where(half[:, None], low, high), cardiac=np.where(half, -9.0, 9.0))
    table = cxr_tables.labels(hospital, told, "chexpert", SETTINGS)
    assert not studies.has_report.all()
    assert table["study_id"].tolist() == studies.study_id[studies.has_report].tolist()
    for name in ("Lung Opacity", "Edema", "Pleural Effusion", "Consolidation", "Atelectasis", "Cardiomegaly"):
        clear, full = (
            {table[name][row] for row in np.flatnonzero(h)} for h in (half[told.has_report], ~half[told.has_report])
        )
        assert clear - {None} == {"0.0"}, name
        assert full - {None} == {"1.0"}, name
    assert {table["No Finding"][row] for row in np.flatnonzero(half[told.has_report])} - {None} == {"1.0"}
    assert {table["No Finding"][row] for row in np.flatnonzero(~half[told.has_report])} == {None}
    assert set(table["Fracture"]) == {None}  # nobody writes of it


def test_a_labeller_overlooks_a_few_labels_and_another_one_others(planned):
    hospital, studies, _ = planned
    one, again, other = (cxr_tables.labels(hospital, studies, name, SETTINGS) for name in ("a", "a", "b"))
    assert one["Edema"] == again["Edema"]
    differing = [(x, y) for x, y in zip(one["Edema"], other["Edema"], strict=True) if x != y]
    assert 0 < len(differing) < 0.2 * len(one["Edema"])
    assert all(None in pair for pair in differing)  # what both read they read alike
