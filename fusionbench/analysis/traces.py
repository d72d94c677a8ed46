"""What models leave behind of their course: coefficients, weights and imputation errors over epochs, as one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from fusionbench.missingness.conditions import condition_label

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob
    from fusionbench.store.results import FitResult

COLUMNS = ["strategy", "imputer", "trained_at", "fold", "seed", "what", "which", "epoch", "value"]


def trace_table(results: Iterable[tuple[FitJob, FitResult]]) -> pd.DataFrame:
    """Lay out what was recorded in training.

    Args:
        results: Fits with what is stored of them.

    Returns:
        One row for each fit, name and epoch (from 1, over all stages); empty where nothing was recorded. The name
        ``beta.audio`` is ``what`` beta of ``which`` audio; ``trained_at`` is what training and validation rows lacked.
    """
    frames = [
        _frame(name, values).assign(**model_columns(job))
        for job, result in results
        for name, values in (result.traces or {}).items()
    ]
    return pd.concat(frames, ignore_index=True)[COLUMNS] if frames else pd.DataFrame(columns=COLUMNS)


def model_columns(job: FitJob) -> dict[str, str | int]:
    """Return the columns that say which model a row is about."""
    return {
        "strategy": job.arm.title,
        "imputer": job.arm.imputer_name,
        "trained_at": condition_label(job.condition),
        "fold": job.fold,
        "seed": job.seed,
    }


def _frame(name: str, values: Sequence[float]) -> pd.DataFrame:
    what, _, which = name.rpartition(".")
    return pd.DataFrame({"what": what, "which": which, "epoch": range(1, len(values) + 1), "value": list(values)})
