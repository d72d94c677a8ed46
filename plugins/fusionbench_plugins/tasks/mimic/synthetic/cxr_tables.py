"""The tables of MIMIC-CXR-JPG: metadata, split and the two sets of labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusionbench.seeding import numpy_generator
from fusionbench_plugins.tasks.mimic.synthetic.latents import Bools
from fusionbench_plugins.tasks.mimic.synthetic.pictures import canvas_for
from fusionbench_plugins.tasks.mimic.synthetic.reports import CARDIAC_FINDINGS, EVIDENCE_FINDINGS, grade
from fusionbench_plugins.tasks.mimic.synthetic.settings import SyntheticSettings
from fusionbench_plugins.tasks.mimic.synthetic.stays import DAY, Hospital, Ints
from fusionbench_plugins.tasks.mimic.synthetic.studies import Images, Studies

Columns = dict[str, Any]

_VIEWS = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral"}
_LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
_GRADED = ("Lung Opacity", "Edema", "Pleural Effusion", "Consolidation", "", "Atelectasis")  # of EVIDENCE_FINDINGS


def metadata(hospital: Hospital, studies: Studies, images: Images, settings: SyntheticSettings) -> Columns:
    """``mimic-cxr-2.0.0-metadata``: dates as integers, times as numbers without leading zeros."""
    rng = numpy_generator("synthetic cohort: table metadata", seed=settings.seed)
    moment = (hospital.stays.intime[studies.stay] + studies.seconds)[images.study]
    milliseconds = rng.integers(0, 1000, len(studies))[images.study]
    upright = [view != "AP" for view in images.view]
    procedure = ["CHEST (PA AND LAT)" if u else "CHEST (PORTABLE AP)" for u in upright]
    canvases = [canvas_for(settings.image_size, u) for u in upright]
    return {
        "dicom_id": images.dicom_id,
        "subject_id": hospital.subject_of_stay[studies.stay][images.study],
        "study_id": studies.study_id[images.study],
        "PerformedProcedureStepDescription": procedure,
        "ViewPosition": images.view,
        "Rows": [canvas.height for canvas in canvases],
        "Columns": [canvas.width for canvas in canvases],
        "StudyDate": _dates(moment),
        "StudyTime": _times(moment, milliseconds),
        "ProcedureCodeSequence_CodeMeaning": procedure,
        "ViewCodeSequence_CodeMeaning": [_VIEWS[view] for view in images.view],
        "PatientOrientationCodeSequence_CodeMeaning": ["Erect" if u else None for u in upright],
    }


def _dates(moment: Ints) -> list[int]:
    days = moment.astype("datetime64[s]").astype("datetime64[D]").astype(str)
    return [int(day.replace("-", "")) for day in days.tolist()]


def _times(moment: Ints, milliseconds: Ints) -> list[str]:
    second = moment % DAY
    clock = second // 3600 * 10_000 + second // 60 % 60 * 100 + second % 60
    return [f"{c}.{m:03d}" for c, m in zip(clock.tolist(), milliseconds.tolist(), strict=True)]


def split(hospital: Hospital, studies: Studies, images: Images, settings: SyntheticSettings) -> Columns:
    """``mimic-cxr-2.0.0-split``: by patient, nearly all in training as in the real table."""
    rng = numpy_generator("synthetic cohort: table split", seed=settings.seed)
    part = rng.choice(3, len(hospital.patients.subject_id), p=(0.97, 0.01, 0.02))
    patient = hospital.admissions.patient[hospital.stays.admission[studies.stay]][images.study]
    return {
        "dicom_id": images.dicom_id,
        "study_id": studies.study_id[images.study],
        "subject_id": hospital.patients.subject_id[patient],
        "split": [("train", "validate", "test")[p] for p in part[patient].tolist()],
    }


def labels(hospital: Hospital, studies: Studies, labeller: str, settings: SyntheticSettings) -> Columns:
    """``mimic-cxr-2.0.0-chexpert`` or ``-negbio``: what a labeller reads in each report.

    1.0 present, 0.0 absent, -1.0 uncertain, empty not mentioned (more often with another labeller).
    """
    rows = np.flatnonzero(studies.has_report)
    rng = numpy_generator("synthetic cohort: table labels", seed=settings.seed, labeller=labeller)
    read = _read(studies, rows)
    columns: Columns = {
        "subject_id": hospital.subject_of_stay[studies.stay[rows]],
        "study_id": studies.study_id[rows],
    }
    for label in _LABELS:
        overlooked = rng.random(len(rows)) < 0.03
        columns[label] = _as_text(read.get(label), overlooked)
    return columns


def _read(studies: Studies, rows: Ints) -> dict[str, Ints]:
    graded = grade(studies.words[rows, 0], EVIDENCE_FINDINGS)
    heart = grade(studies.cardiac[rows], CARDIAC_FINDINGS)[:, 0]
    by_grade = np.array([0, -1, 1, 1, 1, 1])
    found = {label: by_grade[graded[:, k]] for k, label in enumerate(_GRADED) if label}
    found["Cardiomegaly"] = np.array([0, 0, -1, 1, 1, 1])[heart]
    found["No Finding"] = np.where((graded.max(axis=1) == 0) & (heart < 2), 1, 9)
    return found


def _as_text(values: Ints | None, overlooked: Bools) -> list[str | None]:
    if values is None:
        return [None] * len(overlooked)
    known = {-1: "-1.0", 0: "0.0", 1: "1.0"}
    return [None if skip else known.get(v) for v, skip in zip(values.tolist(), overlooked.tolist(), strict=True)]
