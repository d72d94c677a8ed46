"""In-hospital mortality from the first 48 hours of an ICU stay: record, chest X-ray and report.

Data: MIMIC-IV (Johnson et al. 2023, Scientific Data 10:1) with MIMIC-CXR-JPG (Johnson et al. 2019, Scientific
Data 6:317), or a synthetic cohort in their file layout. Task: Harutyunyan et al. 2019, Hayat et al. 2022 (MedFuse),
Wu et al. 2025 (OmniFuse). ``docs/mimic-rules.md`` lists what differs from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fusionbench import Dataset, Task, hookimpl
from fusionbench.errors import ConfigError, DataError, did_you_mean
from fusionbench.hookspecs import Register
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic.options import Options
from fusionbench_plugins.tasks.mimic.prepare import MODALITIES, prepare
from fusionbench_plugins.tasks.mimic.store import entry

if TYPE_CHECKING:
    from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings

_MARK = "synthetic.json"
"""Lies beside a synthetic tree, written last."""


class MimicIhm(Task):
    """Did the patient die in the hospital admission? One row per ICU stay.

    Args:
        root: A MIMIC-IV tree (``hosp/`` and ``icu/``; v1.0's ``core/`` too). Empty: ``synthetic`` is used.
        cxr_root: A MIMIC-CXR-JPG tree (``files/`` or ``images.zip``) that also holds ``mimic-cxr-reports.zip``.
            Empty: only modality ``ehr``.
        rules: ``sound`` or ``medfuse``, how values become arrays.
        step_hours: Length of a step of the series.
        window_hours: What is used, from admission to the unit; a stay must last that long.
        image_size: Pictures are resized to this shorter side and cropped to a square.
        report_margin_hours: Leave out reports of pictures taken in the last so many hours of the window: the
            text has no time of its own and is written after the picture.
        cohort: ``partial``: every stay; ``paired``: stays with every modality.
        memory_limit: For the extraction, for example ``2GB``.
        threads: For the extraction and the pictures.
        synthetic: Settings of a synthetic cohort, used where ``root`` is empty.

    Raises:
        ValueError: All options that are out of range, one line each.
    """

    modality_names: ClassVar[tuple[str, ...]] = MODALITIES

    def __init__(
        self,
        root: str | None = None,
        cxr_root: str | None = None,
        rules: str = "sound",
        step_hours: float = 2,
        window_hours: float = 48,
        image_size: int = 64,
        report_margin_hours: float = 0.0,
        cohort: str = "partial",
        memory_limit: str = "2GB",
        threads: int = 2,
        synthetic: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = _folder(root)
        self.cxr_root = _folder(cxr_root)
        options = Options(
            rules, step_hours, window_hours, image_size, report_margin_hours, cohort, memory_limit, threads
        )
        problems = options.problems()
        self.settings = _collect(problems, lambda: _settings(synthetic))
        if self.root is None and self.cxr_root is not None:
            problems.append("cxr_root needs root: pictures are linked to stays of MIMIC-IV")
        if problems:
            raise ValueError("\n".join(problems))
        self.options = options.normalised()

    def prepare(self, cache: Path, progress: Progress) -> Dataset:
        """Extract the cohort, or read it from ``cache``."""
        root, cxr_root = self.root, self.cxr_root
        if root is None:
            folder = self._synthetic_cohort(cache, progress)
            root, cxr_root = folder / "mimic-iv", folder / "mimic-cxr"
        home = next((place for place in (root.parent, root) if (place / _MARK).is_file()), None)
        truth = home / "truth.parquet" if home and (home / "truth.parquet").is_file() else None
        dataset = prepare(self.options, root, cxr_root, cache, progress, truth)
        if home is None:
            return dataset
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
        lines = [f"SYNTHETIC cohort of {settings.stays:,} stays in {folder}", "best possible AUROC:"]
        lines += [f"  {name:<16} {p.auroc:.3f} (+- {p.mc_error:.3f})" for name, p in truth.planted.items()]
        lines.append(f"  {'as written':<16} {truth.natural.auroc:.3f} (+- {truth.natural.mc_error:.3f})")
        paths = f"--set task.root={folder / 'mimic-iv'} --set task.cxr_root={folder / 'mimic-cxr'}"
        return [*lines, f"use it (with MIMIC_ROOT unset): fusionbench run benchmarks/mimic_ihm.yaml {paths}"]

    def _synthetic_cohort(self, cache: Path, progress: Progress) -> Path:
        if self.settings is None:
            raise DataError(
                "task mimic_ihm: neither root nor synthetic is given. Set root to a MIMIC-IV tree (MIMIC_ROOT), or "
                "give synthetic: {} for a synthetic cohort."
            )
        from dataclasses import asdict

        from fusionbench_plugins.tasks.mimic.synthetic import GENERATOR_VERSION, write_cohort

        settings = self.settings

        def build(folder: Path) -> dict[str, Any]:
            write_cohort(folder, settings, progress)
            return {}

        return entry(cache, "synthetic", {"generator": GENERATOR_VERSION, "settings": asdict(settings)}, build).folder


def _folder(path: str | None) -> Path | None:
    # an unset variable in a benchmark file arrives as an empty text
    return Path(path).expanduser() if path else None


def _settings(synthetic: Mapping[str, Any] | None) -> SyntheticSettings | None:
    if synthetic is None:
        return None
    from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings

    return SyntheticSettings(**synthetic)


def _collect(problems: list[str], make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (TypeError, ValueError) as error:
        problems.append(f"synthetic: {error}")
        return None


@hookimpl
def register_tasks(register: Register) -> None:
    """Register ``mimic_ihm``."""
    register("mimic_ihm", MimicIhm)
