"""What OGM-GE and PMR share: both watch how well each modality does alone, and act on the imbalance for a while."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from fusionbench import FusionSpec, FusionStrategy, TargetKind, TrainingClock
from fusionbench.targets import masked_mean, true_state
from fusionbench_plugins.strategies.concat import Concat
from fusionbench_plugins.strategies.sum import Sum

Fusion = Literal["concat", "sum"]
ScoreLabels = Literal["all", "positive"]

SMALLEST_SCORE = 1e-8


def additive_fusion(fusion: Fusion, spec: FusionSpec) -> FusionStrategy:
    """Return the fusion whose logits are a sum of unimodal logits, as in the code of OGM-GE and PMR."""
    return Concat(spec) if fusion == "concat" else Sum(spec, variant="logit")


def true_class_score(
    log_states: Tensor, rows: Tensor, target: Tensor, kind: TargetKind, labels: ScoreLabels
) -> tuple[Tensor, Tensor]:
    """Mean probability of the true state over the rows that count, gradient-stopped.

    Args:
        log_states: Log-probabilities on the state axis, see :mod:`fusionbench.targets`.
        rows: Bool ``[batch]``: rows that count.
        target: Labels.
        kind: What the target means.
        labels: ``positive`` leaves out labels that are 0 (multi-label only).

    Returns:
        The mean, and whether anything counted; scalars.
    """
    p = true_state(log_states, target, kind).exp().detach()
    counted = rows.unsqueeze(-1).expand_as(p)
    if labels == "positive":
        counted = counted & (target == 1)
    return masked_mean(p, counted), counted.any()


def within(clock: TrainingClock, start: Tensor, end: Tensor) -> Tensor:
    """Return 1 where the coming epoch (from 0) lies between two shares of the planned ones, both included."""
    # shares are rounded numbers: .29 * 100 is a little less than 29
    slack = 1e-6 * clock.planned
    after_start = start * clock.planned <= clock.completed + slack
    before_end = clock.completed - slack <= end * clock.planned
    return (after_start & before_end).to(start.dtype)


def check_score_labels(labels: ScoreLabels, spec: FusionSpec) -> None:
    """Raise ValueError when ``positive`` is asked for where every row has one label."""
    if labels == "positive" and spec.kind is not TargetKind.MULTILABEL:
        raise ValueError(f"score_labels='positive' is for multi-label targets; this target is {spec.kind}")
