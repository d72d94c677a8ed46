"""25 diagnosis groups of an admission from its ICU stay: record, chest X-ray and report.

Data: MIMIC-IV (Johnson et al. 2023, Scientific Data 10:1) with MIMIC-CXR-JPG (Johnson et al. 2019, Scientific
Data 6:317), or a synthetic cohort in their file layout. Task: Harutyunyan et al. 2019, Hayat et al. 2022 (MedFuse,
whole stay), Yao et al. 2024 (DrFuse, first 48 hours). ``docs/mimic-rules.md`` lists what differs from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from fusionbench import hookimpl
from fusionbench.hookspecs import Register
from fusionbench_plugins.tasks.mimic.options import Cohort, Options, Rules
from fusionbench_plugins.tasks.mimic.outcomes.phenotypes import Labels, Phenotypes
from fusionbench_plugins.tasks.mimic.task.task import MimicTask


class MimicPhenotyping(MimicTask):
    """Which of 25 groups of diagnoses does the admission have? One row per ICU stay of any length.

    Args:
        labels: ``ccs`` or ``medfuse``: which codes make a group.
        window_hours: What is used, from admission to the unit; shorter stays are used to their end. None: the
            whole stay, until discharge from the unit.

    Raises:
        ValueError: All options that are out of range, one line each.
    """

    name: ClassVar[str] = "mimic_phenotyping"
    source: ClassVar[str] = "mimic"

    def __init__(
        self,
        root: str | None = None,
        cxr_root: str | None = None,
        labels: Labels = "ccs",
        rules: Rules = "sound",
        step_hours: float = 2,
        window_hours: float | None = None,
        max_steps: int | None = 240,
        image_size: int = 64,
        report_margin_hours: float = 0.0,
        cohort: Cohort = "partial",
        memory_limit: str = "2GB",
        threads: int = 2,
        synthetic: Mapping[str, Any] | None = None,
        temp_folder: str | None = None,
        split: Mapping[str, Any] | None = None,
    ) -> None:
        options = Options(
            rules,
            step_hours,
            window_hours,
            image_size,
            report_margin_hours,
            cohort,
            memory_limit,
            threads,
            full_window=False,
            max_steps=max_steps,
            temp_folder=temp_folder,
        )
        super().__init__(root, cxr_root, options, synthetic, lambda: Phenotypes(labels), split)


@hookimpl
def register_tasks(register: Register) -> None:
    """Register ``mimic_phenotyping``."""
    register("mimic_phenotyping", MimicPhenotyping)
