"""Subtype of lung cancer from a CT slice, a PET slice and the text of the report.

Task: Wu et al. 2025 (OmniFuse, Information Fusion 117:102890), whose data are not public: six classes in three levels of risk
there. ``docs/lung-subtyping.md`` describes the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fusionbench import Dataset, Findings, Modality, Task, hookimpl
from fusionbench.contract.data import shown_classes
from fusionbench.errors import ConfigError, DataError, WorkspaceError, did_you_mean
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
from fusionbench_plugins.tasks.lung_subtyping.synthetic import GENERATOR_VERSION, SyntheticLung, write_cohort
from fusionbench_plugins.tasks.lung_subtyping.synthetic.write import MARK
from fusionbench_plugins.tasks.mimic.store import Entry, content_hash
from fusionbench_plugins.tasks.mimic.store import entry as cached


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
        risk_levels: True groups the six pathological classes (AAH, AIS, MIA, IA grade 1 to 3) into OmniFuse's three levels of
            risk; labels must be these classes then. False takes the classes as they are.
        synthetic: Dials of a made-up cohort (``SyntheticLung``), which is written and read where no root is given.

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
        risk_levels: bool = False,
        synthetic: Mapping[str, Any] | None = None,
    ) -> None:
        dials, problems = _dials(synthetic)
        numbers = {"image_size": image_size, "threads": threads}
        problems += _problems(root, manifest, modalities, numbers, made_up=synthetic is not None)
        if risk_levels not in (True, False):
            problems.append(f"risk_levels must be true or false, found {risk_levels!r}")
        if problems:
            raise ValueError("\n".join(problems))
        self._given = Path(str(root)).expanduser() if root else None
        self.risk_levels, self.dials = risk_levels, dials
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

        root = self._root(cache, progress)
        with progress.stage("reading manifest and reports", 1) as stage:
            cohort, problems = read_cohort(root, self.manifest, self.modalities, risk_levels=self.risk_levels)
            stage.advance()
        if cohort is None:
            raise DataError(f"lung_subtyping in {root}:\n" + "\n".join(f"  {p}" for p in problems))
        made_up = (root / MARK).is_file()
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
            synthetic=made_up,
            description=f"{'SYNTHETIC. ' if made_up else ''}Subtype of lung cancer from {', '.join(cohort.names)}: "
            + ", ".join(shown_classes(cohort.target.outputs, cohort.target.values)),
        )

    def check(self, cache: Path, progress: Progress) -> Findings:
        """Say what the manifest holds; ``problem:`` stops a run, ``warning:`` should be read. Opens no slice."""
        root = self._root(cache, progress)
        cohort, problems = read_cohort(root, self.manifest, self.modalities, risk_levels=self.risk_levels)
        if cohort is None:
            return Findings([f"problem: {p}" for p in problems])
        return Findings(findings(cohort))

    def _root(self, cache: Path, progress: Progress) -> Path:
        """The folder of the manifest; a made-up cohort is written first where no folder is given."""
        if self._given is not None:
            return self._given
        assert self.dials is not None
        dials = self.dials

        def build(folder: Path) -> dict[str, Any]:
            write_cohort(folder, dials, progress)
            return {}

        return cached(cache, "synthetic", {"generator": GENERATOR_VERSION, "settings": asdict(dials)}, build).folder

    @classmethod
    def synthesise(cls, folder: Path, dials: Mapping[str, Any], progress: Progress) -> list[str]:
        """Write a made-up cohort into an empty folder, and say how to use it.

        Raises:
            ConfigError: A dial is unknown or out of range.
            WorkspaceError: The folder holds something else.
        """
        found, problems = _dials(dials)
        if found is None or problems:
            raise ConfigError("\n".join(problems))
        if folder.exists() and any(folder.iterdir()):
            raise WorkspaceError(f"{folder} is not empty; name a new folder")
        write_cohort(folder, found, progress)
        words = f"LUNG_ROOT={folder} fusionbench run benchmarks/lung_subtyping.yaml"
        return [f"SYNTHETIC cohort of {found.examinations:,} examinations in {folder}", f"use it: {words}"]

    @classmethod
    def recognises(cls, folder: Path) -> Mapping[str, Any] | None:
        """Return the options for a folder whose manifest has patients, labels and a column of scans."""
        for name in ("manifest.csv", "manifest.parquet"):
            columns = columns_of(folder / name)
            if {"patient", "label"} <= set(columns) and set(columns) & set(SCANS):
                there = [m for m in MODALITIES if m in columns or (m == REPORT and TEXT in columns)]
                return {"root": str(folder), "manifest": name, "modalities": there}
        return None


def _dials(given: Any) -> tuple[SyntheticLung | None, list[str]]:
    """The dials of a made-up cohort, and what is wrong with them."""
    if given is None:
        return None, []
    known = [field.name for field in fields(SyntheticLung)]
    if not isinstance(given, Mapping):
        return None, [f"synthetic must be a mapping of dials ({', '.join(known)}), found {given!r:.60}"]
    unknown = [
        f"synthetic: no dial named '{d}'{did_you_mean(str(d), known)}; dials: {', '.join(known)}"
        for d in given
        if d not in known
    ]
    if unknown:
        return None, unknown
    try:
        return SyntheticLung(**given), []
    except ValueError as problem:
        return None, str(problem).splitlines()


def _problems(root: Any, manifest: Any, modalities: Any, numbers: dict[str, Any], *, made_up: bool) -> list[str]:
    found = []
    if not (made_up and not root) and (not isinstance(root, str | Path) or not str(root)):
        found.append(
            "root must name the folder of the manifest; for a made-up cohort leave it out, and give synthetic: {}"
        )
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
