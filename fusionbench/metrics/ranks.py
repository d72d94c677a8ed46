"""Rank statistics, batched: sort once, then weighted cumulative sums, ties as scikit-learn has them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class _Ranked(NamedTuple):
    """Weights in order of falling score, and where each row's group of equal scores begins and ends.

    All ``[..., rows]``; ``positive`` and ``negative`` are float64, ``invalid`` is bool ``[...]``.
    """

    positive: Tensor
    negative: Tensor
    start: Tensor
    end: Tensor
    invalid: Tensor


def auroc(scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Area under the receiver operating characteristic, a tie counting one half.

    Args:
        scores: Float ``[..., rows]``, higher means more likely 1. Logits or probabilities.
        target: 0/1 ``[..., rows]``, broadcastable.
        weights: Bool, int or float ``[..., rows]``, broadcastable; None: 1 for every row.

    Returns:
        Float64 ``[...]``; NaN where only one class has weight.
    """
    ranked = _rank(scores, target, weights)
    above = _cumulative(ranked.positive)
    pairs = ranked.negative * (above.gather(-1, ranked.start) + above.gather(-1, ranked.end))
    total = ranked.positive.sum(dim=-1) * ranked.negative.sum(dim=-1)
    return torch.where(ranked.invalid, torch.nan, pairs.sum(dim=-1) / (2 * total))


def average_precision(scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Precision, averaged over the steps of recall (no interpolation): scikit-learn's definition.

    Args:
        scores: Float ``[..., rows]``, higher means more likely 1. Logits or probabilities.
        target: 0/1 ``[..., rows]``, broadcastable.
        weights: Bool, int or float ``[..., rows]``, broadcastable; None: 1 for every row.

    Returns:
        Float64 ``[...]``. As in scikit-learn 0 without any positive and 1 without any negative; macro
        averages and intervals leave such labels and resamples out.
    """
    ranked = _rank(scores, target, weights)
    hits = _cumulative(ranked.positive).gather(-1, ranked.end)
    alarms = hits + _cumulative(ranked.negative).gather(-1, ranked.end)
    # rows without weight may lie above the first alarm, where precision is 0 / 0
    terms = torch.where(ranked.positive > 0, ranked.positive * hits / alarms, 0)
    total = ranked.positive.sum(dim=-1)
    value = torch.where(total > 0, terms.sum(dim=-1) / total, 0)
    return torch.where(ranked.invalid, torch.nan, value)


def _rank(scores: Tensor, target: Tensor, weights: Tensor | None) -> _Ranked:
    scores = scores.detach()
    falling, order = torch.where(scores.isnan(), 0, -scores).double().sort(dim=-1)
    falling = falling.contiguous()
    start, end = torch.searchsorted(falling, falling), torch.searchsorted(falling, falling, right=True)
    w = torch.ones_like(target, dtype=torch.float64) if weights is None else weights.double()
    shape = np.broadcast_shapes(scores.shape, target.shape, w.shape)  # torch's own imports a computer algebra first
    order, start, end = order.expand(shape), start.expand(shape), end.expand(shape)
    invalid = (scores.isnan() & (w != 0)).any(dim=-1)
    w = w.expand(shape).gather(-1, order)
    positive = target.expand(shape).gather(-1, order) == 1
    return _Ranked(torch.where(positive, w, 0), torch.where(positive, 0, w), start, end, invalid)


def _cumulative(values: Tensor) -> Tensor:
    """``[..., rows + 1]``: entry k is the sum of the first k values."""
    return functional.pad(values.cumsum(dim=-1), (1, 0))
