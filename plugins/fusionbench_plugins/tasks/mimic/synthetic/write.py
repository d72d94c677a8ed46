"""Writes a whole synthetic cohort: tables, pictures, reports, and what is true about them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fusionbench.errors import WorkspaceError
from fusionbench.progress import Progress
from fusionbench.seeding import numpy_generator
from fusionbench_plugins.tasks.mimic.synthetic import cxr_tables
from fusionbench_plugins.tasks.mimic.synthetic.files import write_csv, write_zip
from fusionbench_plugins.tasks.mimic.synthetic.latents import Latents, draw_latents
from fusionbench_plugins.tasks.mimic.synthetic.pictures import canvas_for, draw_pictures, jpeg_bytes
from fusionbench_plugins.tasks.mimic.synthetic.reports import write_reports
from fusionbench_plugins.tasks.mimic.synthetic.settings import SyntheticSettings
from fusionbench_plugins.tasks.mimic.synthetic.stays import Hospital, Role, plan_hospital, plan_roles
from fusionbench_plugins.tasks.mimic.synthetic.studies import Images, Kind, Studies, list_images, plan_studies
from fusionbench_plugins.tasks.mimic.synthetic.tables import iv_tables
from fusionbench_plugins.tasks.mimic.synthetic.truth import (
    SUBSETS,
    Truth,
    ceilings,
    natural_auroc,
    planted_aurocs,
)
from fusionbench_plugins.tasks.mimic.synthetic.vitals import render_events

GENERATOR_VERSION = 1
"""Counts up with every change of what the same settings give."""

_DONE, _BEGUN = "synthetic.json", "synthetic.begun"
_OURS = (_DONE, _BEGUN, "mimic-iv", "mimic-cxr", "truth.parquet")
_BATCH = 64


def write_cohort(folder: Path, settings: SyntheticSettings, progress: Progress) -> Truth:
    """Write a cohort in MIMIC's file layout; ``synthetic.json`` comes last and marks it as complete.

    Args:
        folder: Absent, empty, or holding an earlier synthetic cohort, which is replaced.
        settings: The dials.
        progress: Where the stages report.

    Raises:
        WorkspaceError: The folder holds something else, or cannot be written.
    """
    try:
        _claim(folder)
        return _write(folder, settings, progress)
    except OSError as error:
        raise WorkspaceError(
            f"{folder}: cannot write the synthetic cohort: {error.strerror or error}; "
            "free space or choose another folder, and run the same command again"
        ) from error


def holds_cohort(folder: Path, settings: SyntheticSettings) -> bool:
    """True when ``folder`` holds the complete cohort of exactly these settings, by this generator."""
    try:
        found = json.loads((folder / _DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    expected = {"generator": GENERATOR_VERSION, "settings": asdict(settings)}
    return isinstance(found, dict) and all(found.get(key) == value for key, value in expected.items())


def _claim(folder: Path) -> None:
    """Empty the folder of an earlier synthetic cohort and mark it as begun."""
    folder.mkdir(parents=True, exist_ok=True)
    ours = (folder / _DONE).exists() or (folder / _BEGUN).exists()
    if not ours and any(folder.iterdir()):
        raise WorkspaceError(f"{folder}: holds other files; a synthetic cohort needs an empty or a new folder")
    (folder / _BEGUN).touch()
    for name in _OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        elif name != _BEGUN:
            path.unlink(missing_ok=True)


def _write(folder: Path, settings: SyntheticSettings, progress: Progress) -> Truth:
    roles = plan_roles(settings)
    latents = draw_latents(len(roles), settings)
    hospital = plan_hospital(roles, latents.died, settings)
    studies = plan_studies(latents, hospital.stays, settings)
    images = list_images(studies, settings)
    counts = _write_iv(folder / "mimic-iv", hospital, latents, settings, progress)
    counts |= _write_cxr_tables(folder / "mimic-cxr", hospital, studies, images, settings)
    _write_pictures(folder / "mimic-cxr", hospital, studies, images, settings, progress)
    counts["mimic-cxr-reports"] = _write_reports(folder / "mimic-cxr", hospital, studies, settings, progress)
    truth = _truth(hospital, latents, settings, progress)
    _write_truth(folder, truth)
    counts |= _cohort_counts(hospital, latents)
    _finish(folder, settings, truth, counts)
    return truth


def _write_iv(
    folder: Path, hospital: Hospital, latents: Latents, settings: SyntheticSettings, progress: Progress
) -> dict[str, int]:
    with progress.stage("Rendering vital signs and laboratory values"):
        events = render_events(latents, hospital.stays, settings)
        tables = iv_tables(hospital, latents, events, settings)
    counts = {}
    with progress.stage("Writing MIMIC-IV tables", total=len(tables), unit="tables") as stage:
        for name, (columns, quoted) in tables.items():
            counts[name] = write_csv(folder / f"{name}.csv.gz", columns, quoted)
            stage.advance(note=name)
    return counts


def _write_cxr_tables(
    folder: Path, hospital: Hospital, studies: Studies, images: Images, settings: SyntheticSettings
) -> dict[str, int]:
    tables = {
        "metadata": cxr_tables.metadata(hospital, studies, images, settings),
        "split": cxr_tables.split(hospital, studies, images, settings),
        "chexpert": cxr_tables.labels(hospital, studies, "chexpert", settings),
        "negbio": cxr_tables.labels(hospital, studies, "negbio", settings),
    }
    names = {name: f"mimic-cxr-2.0.0-{name}" for name in tables}
    return {names[name]: write_csv(folder / f"{names[name]}.csv.gz", table) for name, table in tables.items()}


def _study_folders(hospital: Hospital, studies: Studies) -> list[str]:
    subjects = hospital.subject_of_stay[studies.stay].tolist()
    return [f"files/p{s // 1_000_000}/p{s}/s{k}" for s, k in zip(subjects, studies.study_id.tolist(), strict=True)]


def _write_pictures(
    folder: Path,
    hospital: Hospital,
    studies: Studies,
    images: Images,
    settings: SyntheticSettings,
    progress: Progress,
) -> None:
    places = [folder / name for name in _study_folders(hospital, studies)]
    for place in places:
        place.mkdir(parents=True)
    views = np.array(images.view)
    with progress.stage("Drawing chest pictures", total=len(images), unit="pictures") as stage:
        for view in ("AP", "PA", "LATERAL"):
            rng = numpy_generator("synthetic cohort: pictures", seed=settings.seed, view=view)
            canvas = canvas_for(settings.image_size, upright=view != "AP", lateral=view == "LATERAL")
            mine = np.flatnonzero(views == view)
            for batch in np.split(mine, range(_BATCH, len(mine), _BATCH)):
                rows = images.study[batch]
                pictures = draw_pictures(studies.picture[rows], studies.cardiac[rows], canvas, rng)
                for image, row, picture in zip(batch, rows, pictures, strict=True):
                    (places[row] / f"{images.dicom_id[image]}.jpg").write_bytes(jpeg_bytes(picture))
                stage.advance(len(batch))


def _write_reports(
    folder: Path, hospital: Hospital, studies: Studies, settings: SyntheticSettings, progress: Progress
) -> int:
    with progress.stage("Writing reports"):
        rng = numpy_generator("synthetic cohort: reports", seed=settings.seed)
        texts = write_reports(studies.words, studies.cardiac, studies.kind == Kind.UPRIGHT, rng)
        names = _study_folders(hospital, studies)
        kept = {f"{names[k]}.txt": texts[k] for k in np.flatnonzero(studies.has_report)}
        write_zip(folder / "mimic-cxr-reports.zip", kept)
    return len(kept)


def _truth(hospital: Hospital, latents: Latents, settings: SyntheticSettings, progress: Progress) -> Truth:
    cohort = np.flatnonzero(hospital.stays.role == Role.COHORT)
    order = cohort[np.argsort(hospital.stays.stay_id[cohort])]
    with progress.stage("Computing the best possible AUROC"):
        planted, natural = planted_aurocs(settings), natural_auroc(settings)
    return Truth(hospital.stays.stay_id[order], ceilings(latents, settings)[order], planted, natural)


def _write_truth(folder: Path, truth: Truth) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {"stay_id": truth.stay_id}
    columns |= {f"p_{bits}": np.ascontiguousarray(truth.ceilings[:, bits]) for bits in range(SUBSETS)}
    parquet.write_table(pa.table(columns), folder / "truth.parquet")


def _cohort_counts(hospital: Hospital, latents: Latents) -> dict[str, int]:
    cohort = hospital.stays.role == Role.COHORT
    with_image, with_report = latents.available[cohort, 1:].T
    return {
        "cohort stays": int(cohort.sum()),
        "cohort deaths": int(latents.died[cohort].sum()),
        "cohort stays with image": int(with_image.sum()),
        "cohort stays with report": int(with_report.sum()),
        "excluded stays": int((~cohort).sum()),
    }


def _finish(folder: Path, settings: SyntheticSettings, truth: Truth, counts: dict[str, int]) -> None:
    content = {
        "synthetic": True,
        "generator": GENERATOR_VERSION,
        "settings": asdict(settings),
        "planted_auroc": {name: value._asdict() for name, value in truth.planted.items()},
        "natural_auroc": truth.natural._asdict(),
        "counts": counts,
    }
    (folder / _BEGUN).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / _BEGUN).replace(folder / _DONE)  # complete when named
