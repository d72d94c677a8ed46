"""Subtype of lung cancer from a CT slice, a PET slice and the text of the report.

Task: Wu et al. 2025 (OmniFuse, Information Fusion 117:102890), whose data are not public; three classes there.
``docs/lung-subtyping.md`` describes the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fusionbench import Dataset, Findings, Modality, Task, hookimpl
from fusionbench.contract.data import shown_classes
from fusionbench.errors import DataError
from fusionbench.hookspecs import Register
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.lung_subtyping.findings import findings
from fusionbench_plugins.tasks.lung_subtyping.manifest import (
    MODALITIES,
    REPORT,
    SCANS,
    TEXT,
    Cohort,
    Rule,
    columns_of,
    read_cohort,
)
from fusionbench_plugins.tasks.lung_subtyping.slices import PICTURES, pictures_entry
from fusionbench_plugins.tasks.mimic.store import Entry, content_hash


class LungSubtyping(Task):
    """Which class of tumour? One row per examination.

    Args:
        root: The folder of the manifest; its paths begin here.
        manifest: Its file name.
        modalities: Which of ``ct``, ``pet``, ``report`` are read, in this order.
        slices: Of several slices, ``middle`` takes the middle one in the listed order, ``mean`` their mean.
        image_size: Slices are resized to this shorter side and cropped to a square.
        metric: The number by which models are ranked.
        threads: For decoding.

    Raises:
        ValueError: All options that are not valid, one line each.
    """

    modality_names: ClassVar[tuple[str, ...]] = MODALITIES

    def __init__(
        self,
        root: str | None = None,
        manifest: str = "manifest.csv",
        modalities: Sequence[str] = MODALITIES,
        slices: Rule = "middle",
        image_size: int = 224,
        metric: str = "accuracy",
        threads: int = 2,
    ) -> None:
        problems = _problems(root, manifest, modalities, {"image_size": image_size, "threads": threads})
        if problems:
            raise ValueError("\n".join(problems))
        self.root = Path(str(root)).expanduser()
        self.manifest, self.modalities = manifest, tuple(modalities)
        self.slices, self.image_size, self.metric, self.threads = slices, image_size, metric, threads

    def prepare(self, cache: Path, progress: Progress) -> Dataset:
        """Read manifest and reports, and decode the slices or take them from ``cache``.

        Raises:
            DataError: Everything that is wrong with the files, one line each.
            ConfigError: The metric is not defined for classes.
            WorkspaceError: The cache cannot be written.
        """
        from fusionbench.metrics.scores import primary

        with progress.stage("reading manifest and reports", 1) as stage:
            cohort, problems = read_cohort(self.root, self.manifest, self.modalities)
            stage.advance()
        if cohort is None:
            raise DataError(f"lung_subtyping in {self.root}:\n" + "\n".join(f"  {p}" for p in problems))
        metric = primary(self.metric, cohort.target.kind).name
        made = {
            name: pictures_entry(cohort, name, self.slices, self.image_size, self.threads, cache, progress)
            for name in cohort.slices
        }
        return Dataset(
            modalities={name: _modality(cohort, name, made) for name in cohort.names},
            available=cohort.available,
            target=cohort.target.values,
            kind=cohort.target.kind,
            outputs=cohort.target.outputs,
            groups=cohort.groups,
            digest=_digest(cohort, made, metric),
            metric=metric,
            split=cohort.split,
            folds=cohort.folds,
            funnel=cohort.funnel,
            warnings=(*cohort.notes, *_blank(made)),
            description=f"Subtype of lung cancer from {', '.join(cohort.names)}: "
            + ", ".join(shown_classes(cohort.target.outputs, cohort.target.values)),
        )

    def check(self, cache: Path, progress: Progress) -> Findings:
        """Say what the manifest holds; ``problem:`` stops a run, ``warning:`` should be read. Opens no slice."""
        cohort, problems = read_cohort(self.root, self.manifest, self.modalities)
        if cohort is None:
            return Findings([f"problem: {p}" for p in problems])
        return Findings(findings(cohort))

    @classmethod
    def recognises(cls, folder: Path) -> Mapping[str, Any] | None:
        """Return the options for a folder whose manifest has patients, labels and a column of scans."""
        for name in ("manifest.csv", "manifest.parquet"):
            columns = columns_of(folder / name)
            if {"patient", "label"} <= set(columns) and set(columns) & set(SCANS):
                there = [m for m in MODALITIES if m in columns or (m == REPORT and TEXT in columns)]
                return {"root": str(folder), "manifest": name, "modalities": there}
        return None


def _problems(root: Any, manifest: Any, modalities: Any, numbers: dict[str, Any]) -> list[str]:
    found = []
    if not isinstance(root, str | Path) or not str(root):
        found.append("root must name the folder of the manifest")
    if not isinstance(manifest, str) or not manifest.endswith((".csv", ".parquet")):
        found.append(f"manifest must be a .csv or .parquet file in root, found {manifest!r}")
    if not isinstance(modalities, Sequence) or isinstance(modalities, str) or not modalities or not _known(modalities):
        found.append(f"modalities must be a list out of {', '.join(MODALITIES)}, found {modalities!r}")
    elif len(set(modalities)) < len(modalities):
        found.append("modalities must not repeat")
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 2048:
            found.append(f"{name} must be a whole number from 1 to 2048, found {number!r}")
    return found


def _known(modalities: Sequence[Any]) -> bool:
    return all(isinstance(name, str) and name in MODALITIES for name in modalities)


def _modality(cohort: Cohort, name: str, made: dict[str, Entry]) -> Modality:
    if name == REPORT:
        return Modality("text", cohort.texts)
    return Modality("image", np.load(made[name].folder / PICTURES, mmap_mode="r"))


def _blank(made: dict[str, Entry]) -> Iterator[str]:
    """Say how many pictures are one even grey: a wrong window of grey values leaves that, and a damaged export."""
    for name, entry in made.items():
        if count := entry.facts["blank"]:
            yield f"modality {name}: {count} of {entry.facts['decoded']} pictures are one even grey: nothing can be seen in them"


def _digest(cohort: Cohort, made: dict[str, Entry], metric: str) -> str:
    """Hash the content itself, so that a copy of the folder gives the same digest anywhere."""
    rows = [cohort.available, cohort.target.values, cohort.groups, cohort.split, cohort.folds]
    return content_hash(
        {
            "rows": [None if part is None else part.tolist() for part in rows],
            "outputs": cohort.target.outputs,
            "modalities": cohort.names,
            "pictures": [entry.sha256(PICTURES) for entry in made.values()],
            "texts": cohort.texts,
            "metric": metric,
        }
    )


@hookimpl
def register_tasks(register: Register) -> None:
    """Register ``lung_subtyping``."""
    register("lung_subtyping", LungSubtyping)
