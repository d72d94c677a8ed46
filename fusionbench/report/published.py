"""Published values that stand beside ours where the task is the same.

Source: Wu et al. 2025, OmniFuse, Information Fusion 117:102890, table 3: AUROC of in-hospital mortality on MIMIC from EHR series,
chest X-ray and radiology report. The paper exchanges only the fusion method; whether imputation and TLA were active for the other
methods, it does not say. Its best single modality is the EHR.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusionbench.records import RunPlan

SOURCE = "Wu et al. 2025, OmniFuse, Information Fusion 117:102890, table 3"
TASK, METRIC, MODALITIES = "mimic_ihm", "auroc", ("ehr", "cxr", "report")

_METHODS = ("concat", "sum", "se_gate", "g_blend", "ogm_ge", "pmr", "medfuse", "dwfuse")
_VALUES: Mapping[str, tuple[float, ...]] = {
    "ehr+cxr+report": (0.811, 0.807, 0.815, 0.831, 0.836, 0.834, 0.845, 0.859),
    "ehr+cxr": (0.819, 0.815, 0.822, 0.830, 0.828, 0.830, 0.839, 0.847),
    "ehr+report": (0.817, 0.815, 0.820, 0.825, 0.829, 0.831, 0.827, 0.834),
    "cxr+report": (0.724, 0.725, 0.727, 0.738, 0.736, 0.734, 0.732, 0.748),
}


def published(strategy: str, modalities: str) -> float | None:
    """Return the published value of a strategy plugin on modalities (``ehr+cxr``); None: there is none."""
    if (strategy, modalities) == ("unimodal", "ehr"):
        return 0.828
    values = _VALUES.get(modalities)
    return values[_METHODS.index(strategy)] if values is not None and strategy in _METHODS else None


def applies(plan: RunPlan) -> bool:
    """Whether a run is of the task that the values are about, on patients and not on a synthetic cohort."""
    data = plan.dataset
    same = plan.benchmark.task.name == TASK and data.metric == METRIC and tuple(data.modalities) == MODALITIES
    return same and not data.synthetic


def why_not(plan: RunPlan) -> str | None:
    """Say why the values do not stand in a report on MIMIC; None: they do, or nobody would look for them."""
    if applies(plan) or not plan.benchmark.task.name.startswith("mimic_"):
        return None
    if plan.dataset.synthetic:
        return (
            f"Published values ({SOURCE}) are about patients. This cohort is synthetic, so they do not apply and are not "
            "shown."
        )
    return (
        f"Other data: published values ({SOURCE}) are AUROC of in-hospital mortality from {', '.join(MODALITIES)}, and are not "
        "compared with these."
    )
