"""What the tasks on MIMIC share: where the files are, preparing them, and the synthetic cohort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fusionbench import Dataset, Findings
from fusionbench.data.patient_splits import PatientHash, PatientLists, patient_split
from fusionbench.errors import ConfigError, DataError, did_you_mean
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic.options import OnMimic, Options
from fusionbench_plugins.tasks.mimic.outcomes.outcome import Outcome
from fusionbench_plugins.tasks.mimic.store import entry
from fusionbench_plugins.tasks.mimic.task.prepare import MODALITIES, Divide, Material, gather, prepare
from fusionbench_plugins.tasks.mimic.task.published import beside_published

if TYPE_CHECKING:
    from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings

_MARK = "synthetic.json"
"""Lies beside a synthetic tree, written last."""


@dataclass(frozen=True)
class Roots:
    """Where the files are."""

    mimic_iv: Path
    mimic_cxr: Path | None

    @property
    def home(self) -> Path | None:
        """The folder of the synthetic cohort, where it is one."""
        return next((f for f in (self.mimic_iv.parent, self.mimic_iv) if (f / _MARK).is_file()), None)

    @property
    def synthetic(self) -> bool:
        """True when no real patient is in the tree."""
        return self.home is not None

    @property
    def truth(self) -> Path | None:
        """The best possible predictions of a synthetic cohort."""
        path = self.home / "truth.parquet" if self.home else None
        return path if path and path.is_file() else None


class MimicTask(OnMimic):
    """A task on ICU stays of MIMIC-IV with chest X-rays and reports of MIMIC-CXR.

    Args:
        options: What decides the inputs, as given.
        outcome: Makes what is predicted.

    Raises:
        ValueError: All options that are out of range, one line each.
    """

    modality_names: ClassVar[tuple[str, ...]] = MODALITIES
    name: ClassVar[str]
    """As registered; ``benchmarks/<name>.yaml`` is its benchmark."""

    def __init__(
        self,
        root: str | None,
        cxr_root: str | None,
        options: Options,
        synthetic: Mapping[str, Any] | None,
        outcome: Callable[[], Outcome],
        split: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = _folder(root)
        self.cxr_root = _folder(cxr_root)
        problems = options.problems()
        self.settings = _collect(problems, "synthetic: ", lambda: _settings(synthetic))
        self.outcome: Outcome = _collect(problems, "", outcome)
        self.split: PatientLists | PatientHash | None = _collect(problems, "", lambda: patient_split(split))
        if self.root is None and self.cxr_root is not None:
            problems.append("cxr_root needs root: pictures are linked to stays of MIMIC-IV")
        if problems:
            raise ValueError("\n".join(problems))
        self.options = options.normalised()

    def prepare(self, cache: Path, progress: Progress) -> Dataset:
        """Extract the cohort, or read it from ``cache``."""
        roots = self._roots(cache, progress)
        return self._dataset(self._material(roots, cache, progress), roots)

    def check(self, cache: Path, progress: Progress) -> Findings:
        """Extract the cohort, and say what is in the tree: version, funnel, units, values, what is missing, leaks."""
        from fusionbench_plugins.tasks.mimic.task.check import findings, layout_problems

        roots = self._roots(cache, progress)
        problems = layout_problems(roots.mimic_iv, roots.mimic_cxr)
        if problems:
            return Findings(problems)
        material = self._material(roots, cache, progress)
        return findings(material, self._dataset(material, roots))

    @classmethod
    def recognises(cls, folder: Path) -> Mapping[str, Any] | None:
        """Return the options for a MIMIC-IV tree, or for a folder with ``mimic-iv`` and ``mimic-cxr`` in it."""
        root = next((f for f in (folder, folder / "mimic-iv") if (f / "icu").is_dir() or (f / "hosp").is_dir()), None)
        if root is None:
            return None
        chest = next((f for f in (folder, folder / "mimic-cxr") if any(f.glob("mimic-cxr-*-metadata.csv*"))), None)
        return {"root": str(root), "cxr_root": str(chest) if chest else None}

    def _material(self, roots: Roots, cache: Path, progress: Progress) -> Material:
        return gather(self.options, self.outcome, roots.mimic_iv, roots.mimic_cxr, cache, progress)

    def _dataset(self, material: Material, roots: Roots) -> Dataset:
        truth = roots.truth if self.outcome.planted else None
        dataset = prepare(material, self.outcome, truth, by_patient(self.split))
        if not roots.synthetic:
            return beside_published(dataset, self.name, self.options.window)
        return replace(dataset, synthetic=True, description=f"SYNTHETIC. {dataset.description}")

    @classmethod
    def synthesise(cls, folder: Path, dials: Mapping[str, Any], progress: Progress) -> list[str]:
        """Write a synthetic cohort and say what is in it and what a perfect model would reach.

        Args:
            folder: Where to write.
            dials: Settings by name; see ``SyntheticSettings``.
            progress: Where steps report.

        Raises:
            ConfigError: A dial is unknown or out of range.
            WorkspaceError: The folder holds something else or cannot be written.
        """
        from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings, write_cohort

        known = [f.name for f in fields(SyntheticSettings)]
        unknown = [d for d in dials if d not in known]
        if unknown:
            hint = did_you_mean(unknown[0], known)
            raise ConfigError(f"synthetic cohort: no dial named '{unknown[0]}'{hint}\n  dials: {', '.join(known)}")
        try:
            settings = SyntheticSettings(**dials)
        except (TypeError, ValueError) as problem:
            raise ConfigError(str(problem)) from problem
        truth = write_cohort(folder, settings, progress)
        lines = [f"SYNTHETIC cohort of {settings.stays:,} stays in {folder}", "best possible AUROC of mortality:"]
        lines += [f"  {name:<16} {p.auroc:.3f} (+- {p.mc_error:.3f})" for name, p in truth.planted.items()]
        lines.append(f"  {'as written':<16} {truth.natural.auroc:.3f} (+- {truth.natural.mc_error:.3f})")
        paths = f"--set task.root={folder / 'mimic-iv'} --set task.cxr_root={folder / 'mimic-cxr'}"
        return [*lines, f"use it (with MIMIC_ROOT unset): fusionbench run benchmarks/{cls.name}.yaml {paths}"]

    def _roots(self, cache: Path, progress: Progress) -> Roots:
        """Return where the files are; a synthetic cohort is written first where it is asked for."""
        if self.root is not None:
            return Roots(self.root, self.cxr_root)
        folder = self._synthetic_cohort(cache, progress)
        return Roots(folder / "mimic-iv", folder / "mimic-cxr")

    def _synthetic_cohort(self, cache: Path, progress: Progress) -> Path:
        if self.settings is None:
            raise DataError(
                f"task {self.name}: neither root nor synthetic is given. Set root to a MIMIC-IV tree (MIMIC_ROOT), or "
                "give synthetic: {} for a synthetic cohort."
            )
        from fusionbench_plugins.tasks.mimic.synthetic import GENERATOR_VERSION, write_cohort

        settings = self.settings

        def build(folder: Path) -> dict[str, Any]:
            write_cohort(folder, settings, progress)
            return {}

        return entry(cache, "synthetic", {"generator": GENERATOR_VERSION, "settings": asdict(settings)}, build).folder


def by_patient(split: PatientLists | PatientHash | None) -> Divide | None:
    """Return how stays are placed by their patients; None where nothing is asked for."""
    return None if split is None else lambda stays: split.assign(stays["subject_id"].to_numpy())


def _folder(path: str | None) -> Path | None:
    # an unset variable in a benchmark file arrives as an empty text
    return Path(path).expanduser() if path else None


def _settings(synthetic: Mapping[str, Any] | None) -> SyntheticSettings | None:
    if synthetic is None:
        return None
    from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings

    return SyntheticSettings(**synthetic)


def _collect(problems: list[str], place: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (TypeError, ValueError) as error:
        problems.append(f"{place}{error}")
        return None
