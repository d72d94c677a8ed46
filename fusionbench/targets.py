"""Three kinds of target through one primitive: the log-probability of each state.

Binary and multi-label problems have a two-state axis (label 0, label 1), multi-class problems have
one state per class. Every loss and score in the benchmark is written on that axis.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor
from torch.nn import functional


class TargetKind(StrEnum):
    """What is predicted.

    * ``binary``: one logit; target int64 ``[batch]`` of 0 and 1.
    * ``multiclass``: one logit per class; target int64 ``[batch]``.
    * ``multilabel``: one logit per label; target int64 ``[batch, labels]`` of 0 and 1.
    """

    BINARY = "binary"
    MULTICLASS = "multiclass"
    MULTILABEL = "multilabel"


def state_log_probabilities(logits: Tensor, kind: TargetKind) -> Tensor:
    """Return log-probabilities over states.

    Args:
        logits: Float ``[batch, outputs]``.
        kind: What the outputs mean.

    Returns:
        ``[batch, classes]`` for multi-class, else ``[batch, outputs, 2]`` (label 0, label 1).
    """
    if kind is TargetKind.MULTICLASS:
        return torch.log_softmax(logits, dim=-1)
    return torch.stack([functional.logsigmoid(-logits), functional.logsigmoid(logits)], dim=-1)


def true_state(states: Tensor, target: Tensor, kind: TargetKind) -> Tensor:
    """Pick each row's true state.

    Args:
        states: As :func:`state_log_probabilities` returns it (or any tensor of that shape).
        target: Int64 ``[batch]`` or, for multi-label, ``[batch, labels]``.
        kind: What the target means.

    Returns:
        ``[batch, 1]`` for binary and multi-class, ``[batch, labels]`` for multi-label.
    """
    if kind is TargetKind.MULTICLASS:
        return states.gather(-1, target.unsqueeze(-1))
    columns = target if kind is TargetKind.MULTILABEL else target.unsqueeze(-1)
    return states.gather(-1, columns.unsqueeze(-1)).squeeze(-1)


def row_losses(logits: Tensor, target: Tensor, kind: TargetKind) -> Tensor:
    """Return the task loss of each row, ``[batch]``: cross-entropy, averaged over labels."""
    return -true_state(state_log_probabilities(logits, kind), target, kind).mean(dim=-1)


def probabilities(logits: Tensor, kind: TargetKind) -> Tensor:
    """Return ``[batch, outputs]``: softmax over classes, or the probability of label 1."""
    if kind is TargetKind.MULTICLASS:
        return torch.softmax(logits, dim=-1)
    return torch.sigmoid(logits)


def prevalence_logits(target: Tensor, kind: TargetKind, outputs: int) -> Tensor:
    """Return the logits ``[outputs]`` of how often each state occurs, float64.

    Every state counts one row more than there are, so that they are finite.

    Args:
        target: Int64 ``[rows]`` or, for multi-label, ``[rows, labels]``.
        kind: What the target means.
        outputs: Classes or labels.
    """
    if kind is TargetKind.MULTICLASS:
        counts = (target.unsqueeze(-1) == torch.arange(outputs, device=target.device)).sum(dim=0).double() + 1
        return (counts / counts.sum()).log()
    positive = target.reshape(len(target), -1).sum(dim=0).double()
    return ((positive + 1) / (len(target) - positive + 1)).log()


def masked_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of ``values`` over rows where ``weights`` is 1; zero when there is none.

    Args:
        values: Float ``[batch]``.
        weights: Bool or 0/1 ``[batch]``.
    """
    w = weights.to(values.dtype)
    # where, not multiply: inf * 0 is NaN
    return torch.where(weights.bool(), values, 0).sum() / w.sum().clamp_min(1)
