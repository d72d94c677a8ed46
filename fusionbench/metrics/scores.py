"""Scores of predictions, batched: one call scores every model, rate and label at once.

Two families cover every metric:

* rank statistics (``auroc``, ``auprc``), see :mod:`fusionbench.metrics.ranks`;
* functions of weighted sums over rows (all others): :func:`summands` says what is summed and
  :func:`conclude` turns sums into the metric, so that a bootstrap is one matrix product.

A weight of k is the same as repeating the row k times; a weight of 0 leaves the row out, whatever is in it.
A prediction that is NaN where the weight is not 0 makes the result NaN.
Everything is computed in float64 on the device of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fusionbench.metrics.ranks import auroc, average_precision
from fusionbench.metrics.registry import CALIBRATION_BINS, METRICS, Ranking, Sums, gaps, primary
from fusionbench.targets import TargetKind

__all__ = [
    "METRICS",
    "accuracy",
    "auroc",
    "average_precision",
    "both_classes",
    "brier",
    "column_scores",
    "conclude",
    "evaluate",
    "expected_calibration_error",
    "log_loss",
    "macro_f1",
    "primary",
    "score",
    "summands",
]


def evaluate(
    probabilities: Tensor,
    target: Tensor,
    kind: TargetKind,
    weights: Tensor | None = None,
    outputs: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """Compute every metric of a kind of target.

    Args:
        probabilities: Float ``[..., rows, outputs]``, as :func:`fusionbench.targets.probabilities` gives them.
        target: Int64 ``[..., rows]``, or ``[..., rows, labels]`` for multi-label; leading axes broadcast.
        kind: What the target means.
        weights: Bool, int or float ``[..., rows]``; None: 1 for every row.
        outputs: Names of the outputs, for the entries of single labels; None: ``0``, ``1``, ...

    Returns:
        Float64 ``[...]`` by metric. With more than one output also ``<metric>.<output>`` for each label or
        (rank statistics only) class, and int64 ``labels_used``: how many labels have both classes. ``auroc``
        and ``auprc`` are means over those, NaN when there are none; other metrics are means over all labels.
    """
    names = tuple(outputs) if outputs is not None else tuple(str(i) for i in range(probabilities.shape[-1]))
    if len(names) != probabilities.shape[-1]:
        raise ValueError(f"{probabilities.shape[-1]} outputs, but {len(names)} names for them")
    used = _used(probabilities, target, kind, weights)
    results: dict[str, Tensor] = {}
    for metric in METRICS.values():
        if kind in metric.kinds:
            columns = column_scores(metric.name, probabilities, target, kind, weights)
            results[metric.name] = _mean_of_used(columns, used) if metric.ranks else columns.mean(dim=-1)
            if len(names) > 1 and columns.shape[-1] == len(names):
                results |= {f"{metric.name}.{n}": columns[..., i] for i, n in enumerate(names)}
    if len(names) > 1:
        results["labels_used"] = used.sum(dim=-1).expand(results["auroc"].shape)
    return results


def score(name: str, probabilities: Tensor, target: Tensor, kind: TargetKind, weights: Tensor | None = None) -> Tensor:
    """Compute one metric of :data:`METRICS`; arguments and result as in :func:`evaluate`."""
    columns = column_scores(primary(name, kind).name, probabilities, target, kind, weights)
    if METRICS[name].ranks:
        return _mean_of_used(columns, _used(probabilities, target, kind, weights))
    return columns.mean(dim=-1)


def column_scores(name: str, probabilities: Tensor, target: Tensor, kind: TargetKind, weights: Tensor | None) -> Tensor:
    """Compute one metric for each column that is averaged, ``[..., columns]``.

    Columns are labels (multi-label), classes against the rest (multi-class, rank statistics), or a single one.
    """
    how = METRICS[name].how
    if isinstance(how, Ranking):
        scores, labels = _columns(probabilities, target, kind)
        return how.scores(scores, labels, _per_column(weights))
    rows = summands(name, probabilities, target, kind)
    return conclude(name, rows.sum(dim=-1) if weights is None else _weighted_sum(rows, weights.unsqueeze(-2)))


def _mean_of_used(columns: Tensor, used: Tensor) -> Tensor:
    """Mean over the columns with both classes; a NaN among them stays visible. A single column is its own mean."""
    if columns.shape[-1] == 1:
        return columns.squeeze(-1)
    return torch.where(used, columns, 0).sum(dim=-1) / used.sum(dim=-1)


def _used(probabilities: Tensor, target: Tensor, kind: TargetKind, weights: Tensor | None) -> Tensor:
    """Bool ``[..., outputs]``: the label, or class against the rest, has both classes."""
    return both_classes(_columns(probabilities, target, kind)[1], _per_column(weights))


def both_classes(labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Bool ``[...]``: both 0 and 1 occur with some weight in ``labels`` ``[..., rows]``."""
    counted = torch.ones_like(labels, dtype=torch.bool) if weights is None else weights != 0
    return ((labels == 1) & counted).any(dim=-1) & ((labels == 0) & counted).any(dim=-1)


def _columns(probabilities: Tensor, target: Tensor, kind: TargetKind) -> tuple[Tensor, Tensor]:
    """Return scores and 0/1 labels, both ``[..., outputs, rows]``."""
    scores = probabilities.movedim(-1, -2)
    if kind is TargetKind.BINARY:
        return scores, target.unsqueeze(-2)
    if kind is TargetKind.MULTILABEL:
        return scores, target.movedim(-1, -2)
    return scores, functional.one_hot(target, probabilities.shape[-1]).movedim(-1, -2)


def _per_column(weights: Tensor | None) -> Tensor | None:
    return None if weights is None else weights.unsqueeze(-2)


# --------------------------------------------------------------------------------------------
# functions of weighted sums


def brier(probability: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of ``(p - y) ** 2``; ``probability`` and 0/1 ``target`` are ``[..., rows]``.

    For classes, :func:`score` adds the squares of all classes (0 to 2, Brier's own definition).
    """
    return score("brier", probability.unsqueeze(-1), target, TargetKind.BINARY, weights)


def log_loss(probability: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of ``-log p(true state)``, p kept one rounding unit of its type away from 0 and 1; ``[..., rows]``."""
    return score("log_loss", probability.unsqueeze(-1), target, TargetKind.BINARY, weights)


def accuracy(probability: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Share of rows on the right side of 0.5 (0.5 itself says 0); ``[..., rows]``."""
    return score("accuracy", probability.unsqueeze(-1), target, TargetKind.BINARY, weights)


def macro_f1(probabilities: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of F1 over the classes that occur or are predicted; ``[..., rows, classes]`` and ``[..., rows]``."""
    return score("macro_f1", probabilities, target, TargetKind.MULTICLASS, weights)


def expected_calibration_error(
    confidence: Tensor, target: Tensor, weights: Tensor | None = None, bins: int = CALIBRATION_BINS
) -> Tensor:
    """``sum_b |sum of (y - p) in bin b| / rows`` over bins of equal width, ``[b / bins, (b + 1) / bins)``.

    Args:
        confidence: Float ``[..., rows]`` in 0 to 1: the probability of label 1, or of the class that is said.
        target: 0/1 ``[..., rows]``: the label, or whether the class was right.
        weights: Bool, int or float ``[..., rows]``; None: 1 for every row.
        bins: How many; the last one includes 1.
    """
    rows = _countable(gaps(*_finite(confidence, target), bins), confidence.isnan())
    return conclude("ece", rows.sum(dim=-1) if weights is None else _weighted_sum(rows, weights))


def summands(name: str, probabilities: Tensor, target: Tensor, kind: TargetKind) -> Tensor:
    """Return what a metric sums over rows: float64 ``[..., columns, terms, rows]``.

    Args:
        name: A metric that is no rank statistic.
        probabilities: Float ``[..., rows, outputs]``.
        target: As in :func:`evaluate`.
        kind: What the target means; ``columns`` is the number of labels for multi-label, else 1.
    """
    how = _sums(name)
    if kind is TargetKind.MULTICLASS:
        invalid = probabilities.isnan().any(dim=-1)
        return _countable(how.classes(*_finite(probabilities, target)), invalid).unsqueeze(-3)
    assert how.labels is not None, f"{name} is for classes only"
    scores, labels = _columns(probabilities, target, kind)
    return _countable(how.labels(*_finite(scores, labels)), scores.isnan())


def conclude(name: str, sums: Tensor) -> Tensor:
    """Turn sums ``[..., terms]`` of :func:`summands` into the metric ``[...]``; NaN without any weight."""
    terms, total, invalid = sums[..., :-2], sums[..., -2], sums[..., -1]
    value = _sums(name).conclude(terms, total)
    return torch.where((invalid > 0) | (total <= 0), torch.nan, value)


def _sums(name: str) -> Sums:
    how = METRICS[name].how
    assert isinstance(how, Sums), f"{name} is no function of sums"
    return how


def _weighted_sum(rows: Tensor, weights: Tensor) -> Tensor:
    """Sum ``[..., terms, rows]`` with weights ``[..., rows]`` over rows, to ``[..., terms]``."""
    return (rows @ weights.to(rows).unsqueeze(-1)).squeeze(-1)


def _finite(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    # rows that are NaN get a stand-in here and are counted as invalid in _countable: NaN * 0 is NaN
    return torch.where(probabilities.isnan(), 0.5, probabilities.detach()), target


def _countable(rows: Tensor, invalid: Tensor) -> Tensor:
    """Append the two terms every metric needs: how many rows there are, and how many are NaN."""
    counts = torch.stack([torch.ones_like(invalid), invalid], dim=-2).to(rows)
    return torch.cat([rows, counts.expand(*rows.shape[:-2], 2, rows.shape[-1])], dim=-2)
