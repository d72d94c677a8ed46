"""Where the predictions of a fit stand: which line, at which point of its curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fusionbench.missingness.conditions import Condition, condition_label
from fusionbench.missingness.subsets import is_subset

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob


class Model(NamedTuple):
    """One line of a bootstrap: an arm (and how it was trained, in a grid) at one point of a curve."""

    strategy: str
    imputer: str
    variant: str
    point: Condition


def model_of(job: FitJob, condition: Condition, where: str) -> Model:
    """Return where the predictions of a fit under a condition stand: which line, at which point of its curve."""
    variant = condition_label(job.condition) if where == "grid" else ""
    point = condition if where in ("test", "grid") or is_subset(condition) else job.condition
    return Model(job.arm.title, job.arm.imputer_name, variant, point)
