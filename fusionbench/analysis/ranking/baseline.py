"""Which line every other is held against, point by point."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from fusionbench.missingness.conditions import COMPLETE, condition_label
from fusionbench.plan.lines import Line, model_of

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob


def baseline_of(
    wanted: str | None,
    planned: Sequence[FitJob],
    ranked: Collection[Line],
    where: str,
    reads: Mapping[tuple[str, str], tuple[str, ...]],
    names: Sequence[str],
) -> Line | None:
    """Return the baseline of a run; None where it has none that is compared.

    Args:
        wanted: The title of a strategy, or ``title / imputer``, as ``evaluation.baseline`` has it; None: the plainest line.
        planned: Everything that was to be trained.
        ranked: Lines that are compared.
        where: Which rows lack modalities; in a ``grid`` the baseline is the line that was trained with everything.
        reads: By arm, the modalities that its models look at.
        names: All modalities.

    Returns:
        The line that was asked for. Else the first whose strategy says that it is plain; else the first trained one that
        reads every modality; else the first.
    """
    targets: dict[Line, type] = {}
    for job in planned:
        line = model_of(job, job.scored[0], where).line
        if line in ranked:
            targets.setdefault(line, job.arm.strategy.registration.target)
    lines = _trained_with_everything(list(targets))
    if wanted is not None:
        return next((line for line in lines if wanted in (line.strategy, f"{line.strategy} / {line.imputer}")), None)
    whole = [line for line in lines if set(reads.get(line[:2], names)) >= set(names)]
    plain = [line for line in whole if vars(targets[line]).get("plain", False)]
    trained = [line for line in whole if not getattr(targets[line], "control", False)]
    return next(iter([*plain, *trained, *whole, *lines]), None)


def _trained_with_everything(lines: list[Line]) -> list[Line]:
    """Of a grid the lines that were trained with everything, where there are any."""
    complete = [line for line in lines if line.variant in ("", condition_label(COMPLETE))]
    return complete or lines
