"""Writes a made-up cohort: a manifest, pictures and reports, in the layout that the task reads."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fusionbench.progress import Progress
from fusionbench.seeding import numpy_generator
from fusionbench_plugins.tasks.lung_subtyping.levels import CLASSES
from fusionbench_plugins.tasks.lung_subtyping.synthetic.pictures import draw_ct, draw_pet, in_parts
from fusionbench_plugins.tasks.lung_subtyping.synthetic.reports import report_of
from fusionbench_plugins.tasks.lung_subtyping.synthetic.settings import MODALITIES, SyntheticLung, draw_examinations

GENERATOR_VERSION = 1
"""Raised when equal settings would give other files."""
TEXTS = "reports"
MARK = "synthetic.json"
"""Lies beside a made-up manifest, written last: a folder that has it is no folder of patients."""


def write_cohort(folder: Path, settings: SyntheticLung, progress: Progress) -> None:
    """Write ``manifest.csv``, ``ct/``, ``pet/``, ``reports/`` and the mark."""
    from PIL import Image

    drawn = draw_examinations(settings)
    folder.mkdir(parents=True, exist_ok=True)
    scans, texts = ("ct", "pet"), folder / TEXTS
    for name in (*scans, TEXTS):
        (folder / name).mkdir(exist_ok=True)
    rows = settings.examinations
    files = [f"{row:05d}" for row in range(rows)]
    with progress.stage("writing synthetic examinations", rows, "examinations") as stage:
        for number, part in enumerate(in_parts(rows)):
            rng = numpy_generator("synthetic lung pictures", seed=settings.seed, part=number)
            pictures = {
                "ct": draw_ct(drawn.shown[part, 0], settings.image_size, rng),
                "pet": draw_pet(drawn.shown[part, 1], settings.image_size, rng),
            }
            for name, column in (("ct", 0), ("pet", 1)):
                for row, picture in zip(range(part.start, part.stop), pictures[name], strict=True):
                    if drawn.available[row, column]:
                        Image.fromarray(picture).save(folder / name / f"{files[row]}.png")
            for row in range(part.start, part.stop):
                if drawn.available[row, 2]:
                    words = numpy_generator("synthetic lung report", seed=settings.seed, row=row)
                    text = report_of(float(drawn.shown[row, 2]), words)
                    (texts / f"{files[row]}.txt").write_text(f"{text}\n", encoding="utf-8")
                stage.advance()
    cells = {
        name: [f"{place}/{file}{ending}" if has else "" for file, has in zip(files, drawn.available[:, m], strict=True)]
        for m, (name, place, ending) in enumerate(
            zip(MODALITIES, (*scans, TEXTS), (".png", ".png", ".txt"), strict=True)
        )
    }
    manifest = pd.DataFrame(
        {"patient": [f"S{p:05d}" for p in drawn.patient], "label": [CLASSES[c] for c in drawn.label], **cells}
    )
    manifest.to_csv(folder / "manifest.csv", index=False, encoding="utf-8", lineterminator="\n")
    (folder / MARK).write_text(f'{{"generator": {GENERATOR_VERSION}}}\n', encoding="utf-8")
