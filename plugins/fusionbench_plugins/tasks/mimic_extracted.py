"""Mortality and phenotyping from a folder that the MIMIC-III benchmark's or MedFuse's scripts have extracted.

Layout: Harutyunyan et al. 2019 (Scientific Data 6:96), Hayat et al. 2022 (MedFuse, MLHC). The values are as those
scripts cleaned them, faults included; the arrays are those of the published discretiser. ``docs/mimic.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fusionbench import Dataset, Findings, TargetKind, hookimpl
from fusionbench.data.patient_splits import Assignment, given_parts, patient_split
from fusionbench.errors import DataError
from fusionbench.hookspecs import Register
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic.extracted.events import LABELS, extracted_entry, stays_table
from fusionbench_plugins.tasks.mimic.extracted.lists import MORTALITY, OUTCOMES, Listed, read_lists
from fusionbench_plugins.tasks.mimic.options import Cohort, OnMimic, Options
from fusionbench_plugins.tasks.mimic.outcomes.mortality import Mortality
from fusionbench_plugins.tasks.mimic.outcomes.outcome import Outcome
from fusionbench_plugins.tasks.mimic.store import Entry
from fusionbench_plugins.tasks.mimic.task.prepare import MODALITIES, furnish, prepare
from fusionbench_plugins.tasks.mimic.task.task import by_patient


class ListedMortality(Mortality):
    """The label of the list files."""

    planted: ClassVar[bool] = False

    def target(self, options: Options, root: Path, events: Entry, cache: Path) -> NDArray[np.int64]:
        """Return 0 and 1, ``[rows]``."""
        labels: NDArray[np.int64] = np.load(events.folder / LABELS)[:, 0]
        return labels


class ListedLabels(Outcome):
    """The label columns of the list files.

    Args:
        names: Their names, in order.
    """

    kind: ClassVar[TargetKind] = TargetKind.MULTILABEL

    def __init__(self, names: tuple[str, ...]) -> None:
        self.outputs = names

    def target(self, options: Options, root: Path, events: Entry, cache: Path) -> NDArray[np.int64]:
        """Return 0 and 1, ``[rows, labels]``."""
        labels: NDArray[np.int64] = np.load(events.folder / LABELS)
        return labels

    def describe(self, target: NDArray[np.int64], options: Options) -> str:
        """Say what is predicted from what."""
        return (
            f"{target.shape[1]} diagnosis groups from the {options.window} of {len(target)} ICU stays, "
            f"{options.step_hours:g} h steps, an extracted folder, {options.cohort_words} cohort"
        )

    def refusal(self, target: NDArray[np.int64]) -> str:
        """Refuse a label that all or none have: it has no score, and the mean over labels would lack it."""
        alike = [name for name, n in zip(self.outputs, target.sum(axis=0), strict=True) if n in (0, len(target))]
        if not alike:
            return ""
        return f"{len(alike)} of {len(self.outputs)} labels are alike in all {len(target)} stays: {', '.join(alike)}."

    def remarks(self, target: NDArray[np.int64]) -> tuple[str, ...]:
        """Warn of labels that few stays have."""
        few = int((np.minimum(target.sum(axis=0), len(target) - target.sum(axis=0)) < _FEW).sum())
        return (f"{few} of {len(self.outputs)} labels are 1 (or 0) in fewer than {_FEW} stays",) if few else ()


class MimicExtracted(OnMimic):
    """An extracted folder: list files, and one CSV of events per stay. One row per ICU stay.

    Args:
        root: The folder that holds ``in-hospital-mortality/`` or ``phenotyping/``, and for pictures
            ``root/all_stays.csv``.
        outcome: ``in-hospital-mortality`` or ``phenotyping``, the name of the folder.
        step_hours: Length of a step of the series: 1 in MedFuse, 2 in OmniFuse.
        window_hours: What is used, from admission to the unit. None: 48 hours for mortality, whole stays for
            phenotyping.
        split: None: the parts are those of the list files. Else as for ``mimic_ihm``: lists of patients, or shares or
            folds by a hash of their number.

    Raises:
        ValueError: All options that are out of range, one line each.
    """

    modality_names: ClassVar[tuple[str, ...]] = MODALITIES

    def __init__(
        self,
        root: str | None = None,
        outcome: Literal["in-hospital-mortality", "phenotyping"] = "in-hospital-mortality",
        cxr_root: str | None = None,
        step_hours: float = 1,
        window_hours: float | None = None,
        max_steps: int | None = 240,
        image_size: int = 64,
        report_margin_hours: float = 0.0,
        cohort: Cohort = "partial",
        memory_limit: str = "2GB",
        threads: int = 2,
        temp_folder: str | None = None,
        split: Mapping[str, Any] | None = None,
    ) -> None:
        mortality = outcome == MORTALITY
        options = Options(
            rules="medfuse",  # of the rules that are left: one-hot columns by spelling, nothing derived
            step_hours=step_hours,
            window_hours=_WINDOW if mortality and window_hours is None else window_hours,
            image_size=image_size,
            report_margin_hours=report_margin_hours,
            cohort=cohort,
            memory_limit=memory_limit,
            threads=threads,
            full_window=mortality,
            max_steps=max_steps,
            temp_folder=temp_folder,
        )
        problems = options.problems()
        if not root:
            problems.append("root must name the extracted folder")
        if mortality and not problems and window_hours is not None and window_hours > _WINDOW:
            problems.append(f"window_hours: the files of {MORTALITY} end after {_WINDOW} hours, found {window_hours!r}")
        try:
            self.split = patient_split(split)
        except ValueError as problem:
            problems.append(str(problem))
        if problems:
            raise ValueError("\n".join(problems))
        self.root = Path(str(root)).expanduser()
        self.cxr_root = Path(cxr_root).expanduser() if cxr_root else None
        self.outcome, self.options = outcome, options.normalised()

    def prepare(self, cache: Path, progress: Progress) -> Dataset:
        """Read the folder, or what an earlier call left in ``cache``.

        Raises:
            DataError: Files are missing or malformed, or pictures are asked for and cannot be linked.
            WorkspaceError: The cache cannot be written.
        """
        if self.cxr_root is not None:
            _require_links(self.root, read_lists(self.root, self.outcome))
        events = extracted_entry(self.options, self.root, self.outcome, cache, progress)
        outcome = ListedMortality() if self.outcome == MORTALITY else ListedLabels(tuple(events.facts["labels"]))
        material = furnish(self.options, outcome, self.root, events, self.cxr_root, cache, progress)
        return prepare(material, outcome, divide=by_patient(self.split) or _by_list)

    def check(self, cache: Path, progress: Progress) -> Findings:
        """Say what the list files hold; ``problem:`` stops a run, ``warning:`` should be read. Opens no stay's file."""
        try:
            listed = read_lists(self.root, self.outcome)
            if self.cxr_root is not None:
                _require_links(self.root, listed)
        except DataError as problem:
            return Findings([f"problem: {problem}"])
        patients = listed.stays["subject_id"].nunique()
        lines = [
            f"{len(listed.stays)} stays of {patients} patients: {_by_list(listed.stays).note}",
            *(f"label {name}: {int(n)} stays" for name, n in zip(listed.names, listed.labels.sum(axis=0), strict=True)),
        ]
        return Findings(lines)

    @classmethod
    def recognises(cls, folder: Path) -> Mapping[str, Any] | None:
        """Return the options for a folder that holds the folder of an outcome; of both, that of mortality."""
        found = [name for name in OUTCOMES if (folder / name / "train").is_dir() and (folder / name / "test").is_dir()]
        return {"root": str(folder), "outcome": found[0]} if found else None


_FEW = 50
_WINDOW = 48


def _by_list(stays: Any) -> Assignment:
    return given_parts(stays["part"].to_numpy(dtype=np.str_), "parts by the list files")


def _require_links(root: Path, listed: Listed) -> None:
    """Refuse pictures where it is not known when stays began."""
    if listed.has_stay_ids and stays_table(root) is not None:
        return
    lacks = "there is no root/all_stays.csv" if listed.has_stay_ids else "the list files have no column stay_id"
    raise DataError(
        f"cxr_root: pictures are linked by the time of admission to the unit, and in {root} {lacks}; MedFuse's scripts "
        "write both. Add what is missing, or leave cxr_root out. MIMIC-III cannot be linked to MIMIC-CXR."
    )


@hookimpl
def register_tasks(register: Register) -> None:
    """Register ``mimic_extracted``."""
    register("mimic_extracted", MimicExtracted)
