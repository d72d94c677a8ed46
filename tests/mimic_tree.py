"""A tiny invented MIMIC tree that tests bend: eight patients, one stay each, half of them died."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from PIL import Image

from fusionbench import Dataset
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm

PATIENTS = 8
FOLDERS = {
    "patients": "hosp",
    "admissions": "hosp",
    "diagnoses_icd": "hosp",
    "labevents": "hosp",
    "icustays": "icu",
    "chartevents": "icu",
}
METADATA = "mimic-cxr-2.0.0-metadata"
REPORT = " FINAL REPORT\n CHEST, TWO VIEWS: \n \n The lungs are clear.\n \n IMPRESSION:  No change.\n"

Row = dict[str, object]


def admission(patient: int) -> datetime:
    """Return when the patient's stay in the unit began."""
    return datetime(2150, 1, 1, 8) + timedelta(days=10 * patient)  # noqa: DTZ001 - MIMIC's times have no zone


def picture(width: int = 80, height: int = 100, grey: int = 90) -> bytes:
    """Return a JPEG of one grey, with something brighter in it."""
    buffer = io.BytesIO()
    drawn = Image.new("L", (width, height), grey)
    drawn.paste(grey + 60, (width // 4, height // 4, width // 2, height // 2))
    drawn.save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


@dataclass
class Tree:
    """Tables as lists of rows, files as bytes: change them, then :meth:`write`."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    metadata: list[Row] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    reports: dict[str, bytes] = field(default_factory=dict)

    def chart(self, patient: int, hours: float, itemid: int, value: object, number: object = "") -> None:
        """Add a charted value; numeric ones repeat in valuenum."""
        number = value if isinstance(value, int | float) else number
        self.tables["chartevents"].append(
            {
                **self._ids(patient),
                "stay_id": 30000000 + patient,
                "caregiver_id": "",
                "charttime": admission(patient) + timedelta(hours=hours),
                "itemid": itemid,
                "value": value,
                "valuenum": number,
            }
        )

    def lab(self, patient: int, hours: float, itemid: int, value: object, number: object, stored: float) -> None:
        """Add a laboratory result, known ``stored`` hours after admission."""
        self.tables["labevents"].append(
            {
                "labevent_id": len(self.tables["labevents"]),
                **self._ids(patient),
                "charttime": admission(patient) + timedelta(hours=hours),
                "storetime": admission(patient) + timedelta(hours=stored),
                "itemid": itemid,
                "value": value,
                "valuenum": number,
            }
        )

    def image(self, patient: int, hours: float, name: str, view: str = "AP", study: int | None = None) -> str:
        """Add a chest X-ray with a report; returns the path of the study."""
        taken = admission(patient) + timedelta(hours=hours)
        study = 50000000 + len(self.metadata) if study is None else study
        self.metadata.append(
            {
                "dicom_id": name,
                "subject_id": 10000000 + patient,
                "study_id": study,
                "ViewPosition": view,
                "StudyDate": taken.strftime("%Y%m%d"),
                "StudyTime": f"{int(taken.strftime('%H%M%S'))}.250",
            }
        )
        path = f"files/p10/p{10000000 + patient}/s{study}"
        self.files[f"{path}/{name}.jpg"] = picture(
            grey=20 + 5 * (len(self.metadata) % 30)
        )  # no two of a small tree are alike
        self.reports[f"{path}.txt"] = REPORT.encode()
        return path

    @staticmethod
    def _ids(patient: int) -> Row:
        return {"subject_id": 10000000 + patient, "hadm_id": 20000000 + patient}

    def write(self, folder: Path, *, plain: bool = False, old: bool = False, newline: str = "\n") -> tuple[Path, Path]:
        """Write the tree: ``plain`` without gzip, ``old`` as v1.0 names things; returns both roots."""
        root, cxr = folder / "mimic-iv", folder / "mimic-cxr"
        for name, rows in self.tables.items():
            below = "core" if old and name in ("patients", "admissions") else FOLDERS[name]
            write_table(root / below / name, rows, plain=plain, newline=newline, old=old)
        write_table(cxr / METADATA, self.metadata, plain=plain, newline=newline)
        for name, content in self.files.items():
            (cxr / name).parent.mkdir(parents=True, exist_ok=True)
            (cxr / name).write_bytes(content)
        with zipfile.ZipFile(cxr / "mimic-cxr-reports.zip", "w") as archive:
            for name, content in self.reports.items():
                archive.writestr(name, content)
        return root, cxr


def write_table(path: Path, rows: list[Row], *, plain: bool = False, newline: str = "\n", old: bool = False) -> None:
    """Write one table as MIMIC does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    header = ["ethnicity" if old and column == "race" else column for column in rows[0]]
    writer = csv.writer(text, lineterminator=newline)
    writer.writerow(header)
    writer.writerows(row.values() for row in rows)
    if plain:
        path.with_name(path.name + ".csv").write_bytes(text.getvalue().encode())
    else:
        path.with_name(path.name + ".csv.gz").write_bytes(gzip.compress(text.getvalue().encode()))


def small_tree() -> Tree:
    """Return a tree with a heart rate and one X-ray for everybody."""
    tree = Tree({name: [] for name in FOLDERS})
    for patient in range(PATIENTS):
        _add_patient(tree, patient)
        tree.chart(patient, 1, 220045, 80 + patient)
        tree.lab(patient, 1, 50931, "___", 140, stored=2)
        tree.image(patient, 5, f"picture-{patient}")
    return tree


def _add_patient(tree: Tree, patient: int) -> None:
    begin, died = admission(patient), patient % 2
    ids = Tree._ids(patient)
    tree.tables["patients"].append(
        {
            "subject_id": ids["subject_id"],
            "gender": "F",
            "anchor_age": 50,
            "anchor_year": 2150,
            "dod": (begin + timedelta(hours=70)).date() if died else "",
        }
    )
    tree.tables["admissions"].append(
        {
            **ids,
            "admittime": begin - timedelta(hours=3),
            "dischtime": begin + timedelta(hours=80),
            "deathtime": begin + timedelta(hours=71) if died else "",
            "race": "OTHER, \nWITH A LINE",  # quoted in the file
            "hospital_expire_flag": died,
        }
    )
    tree.tables["icustays"].append(
        {
            **ids,
            "stay_id": 30000000 + patient,
            "first_careunit": "MICU",
            "last_careunit": "MICU",
            "intime": begin,
            "outtime": begin + timedelta(days=3),
            "los": 3.0,
        }
    )
    tree.tables["diagnoses_icd"].append({**ids, "seq_num": 1, "icd_code": "0389", "icd_version": 9})


def prepare(folder: Path, tree: Tree | None = None, *, chest: bool = False, **options: object) -> Dataset:
    """Write the tree (small_tree when None) into ``folder`` and prepare it."""
    root, cxr = (small_tree() if tree is None else tree).write(folder)
    task = MimicIhm(str(root), str(cxr) if chest else None, **options)  # type: ignore[arg-type]
    return task.prepare(folder / "cache", SilentProgress())
