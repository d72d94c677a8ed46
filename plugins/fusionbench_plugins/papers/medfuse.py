"""MedFuse: EHR series and chest X-ray, paired and partially paired, mortality and phenotyping.

Paper: Hayat, Geras, Shamout 2022, MedFuse, MLHC, PMLR 182:479-503. The values are second hand: the paper was not at hand. Who
has it adds rows to ``medfuse.csv``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from fusionbench import Paper, PaperPart, hookimpl
from fusionbench.hookspecs import Register
from fusionbench_plugins.papers._files import benchmarks

_MIMIC: Mapping[str, Any] = {
    "task.rules": "medfuse",
    "task.step_hours": 1,
    "task.image_size": 224,
    "encoders.cxr.model": "resnet34",
    "encoders.cxr.frozen": False,
    "training.batch_size": 16,
}
_PATIENTS = "patients of MIMIC; the release and the lists of splits are not those of the paper, unless they are named in the file"
_SECOND_HAND = (
    "The values are from a published summary of the tables (second hand); what else the tables hold can be added to medfuse.csv.",
)
_OPTIMAL = (
    "The share of unpaired stays in training is searched on validation rows, as for the paper's optimal variant; stage 1 trains "
    "the image network on the task's labels, where the paper has 14 radiology labels."
)
_NONE_AT_HAND = ("No published value is at hand.",)


class MedFuse(Paper):
    """An LSTM over the modalities' embeddings, after both encoders were trained alone."""

    title: ClassVar[str] = "MedFuse"
    citation: ClassVar[str] = (
        "Hayat, Geras, Shamout 2022, MedFuse: Multi-modal fusion with clinical time-series data and chest X-ray images, MLHC, "
        "PMLR 182:479-503"
    )
    published: ClassVar[Path | None] = Path(__file__).with_suffix(".csv")
    folder: ClassVar[Path | None] = benchmarks()
    settings: ClassVar[Sequence[str]] = (
        "EHR: 17 variables, one value every hour, an LSTM; chest X-ray: 224 x 224, ResNet-34.",
        "Two stages: both encoders alone, the image network on 14 radiology labels; then the fusion, end to end.",
        "Learning rate drawn ten times between 1e-5 and 1e-3; batches of 16.",
    )
    parts: ClassVar[Sequence[PaperPart]] = (
        PaperPart(
            "mortality, paired",
            "Stays that have both modalities",
            files=("medfuse/mortality_paired.yaml",),
            shows="In-hospital mortality on a test set in which every stay has an X-ray.",
            open=(*_SECOND_HAND, _OPTIMAL),
        ),
        PaperPart(
            "mortality, partially paired",
            "Stays of which some have no X-ray",
            files=("medfuse/mortality_partial.yaml",),
            shows="In-hospital mortality on a test set in which some stays lack the X-ray.",
            open=(*_SECOND_HAND, _OPTIMAL),
        ),
        PaperPart(
            "phenotyping, paired",
            "25 diagnosis groups, stays that have both modalities",
            files=("medfuse/phenotyping_paired.yaml",),
            open=_NONE_AT_HAND,
        ),
        PaperPart(
            "phenotyping, partially paired",
            "25 diagnosis groups, stays of which some have no X-ray",
            files=("medfuse/phenotyping_partial.yaml",),
            open=_NONE_AT_HAND,
        ),
    )
    protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mimic_ihm": _MIMIC, "mimic_phenotyping": _MIMIC}
    cohorts: ClassVar[Mapping[str, str]] = {"mimic_ihm": _PATIENTS, "mimic_phenotyping": _PATIENTS}


@hookimpl
def register_papers(register: Register) -> None:
    """Register ``medfuse``."""
    register("medfuse", MedFuse)
