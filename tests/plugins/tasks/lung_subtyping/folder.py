"""A tiny cohort of scans and reports in files, as the task reads it."""

# ruff: noqa: RUF001 - reports have Chinese punctuation

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.lung_subtyping import LungSubtyping

CLASSES = ("adenocarcinoma", "small cell", "squamous")


SIGNS = ("右肺上叶磨玻璃结节。", "左肺门肿块，纵隔淋巴结肿大。", "右肺下叶空洞性肿块。")


ROWS = 36


def picture(path: Path, grey: int, size: tuple[int, int] = (40, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)


def cohort(folder: Path) -> pd.DataFrame:
    """Write slices and reports; return the manifest: row r is of class r mod 3, every fifth has no PET."""
    rows = []
    for row in range(ROWS):
        kind, name = row % 3, f"examination-{row}"
        for number in (1, 2, 10):  # by alphabet, 10 would come before 2
            picture(folder / name / f"slice{number}.png", 60 * kind + number)
        picture(folder / "pet" / f"{name}.png", 80 * kind)
        (folder / "texts").mkdir(parents=True, exist_ok=True)
        (folder / "texts" / f"{name}.txt").write_text(f"{SIGNS[kind]}\n  随访。\n", encoding="utf-8")
        rows.append(
            {
                "patient": f"patient {row // 2}",
                "label": CLASSES[kind],
                "ct": name,
                "pet": "" if row % 5 == 0 else f"pet/{name}.png",
                "report": f"texts/{name}.txt",
            }
        )
    return pd.DataFrame(rows)


def write(folder: Path, manifest: pd.DataFrame | None = None) -> Path:
    made = cohort(folder)
    (made if manifest is None else manifest).to_csv(folder / "manifest.csv", index=False)
    return folder


def prepare(folder: Path, **options):
    return LungSubtyping(str(folder), **options).prepare(folder / "cache", SilentProgress())


def problems(folder: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        prepare(folder, **options)
    for line in LungSubtyping(str(folder), **options).check(folder, SilentProgress()).lines:
        assert "examination" not in line
    assert "examination" not in str(caught.value)
    return str(caught.value)
