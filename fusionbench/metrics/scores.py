"""Scores of predictions, batched: one call scores every model, rate and label at once.

Two families cover every metric:

* rank statistics (``auroc``, ``auprc``): sort once, then weighted cumulative sums, ties as scikit-learn has them;
* functions of weighted sums over rows (all others): :func:`summands` says what is summed and
  :func:`conclude` turns sums into the metric, so that a bootstrap is one matrix product.

A weight of k is the same as repeating the row k times; a weight of 0 leaves the row out, whatever is in it.
A prediction that is NaN where the weight is not 0 makes the result NaN.
Everything is computed in float64 on the device of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fusionbench.errors import ConfigError, did_you_mean
from fusionbench.targets import TargetKind

CALIBRATION_BINS = 10


class Metric(NamedTuple):
    """What there is to know about a metric before computing it.

    Args:
        name: As benchmark files and result tables call it.
        title: How it is called in sentences and on axes.
        higher_is_better: The direction of the leaderboard.
        ranks: True where it says nothing unless both classes occur.
        kinds: The kinds of target it is defined for.
        intervals: Whether it gets intervals beside the task's own metric.
        beside: The title of its column in the leaderboard where it is not the task's own; empty: it has none.
    """

    name: str
    title: str
    higher_is_better: bool
    ranks: bool
    kinds: frozenset[TargetKind]
    intervals: bool = False
    beside: str = ""


_ALL = frozenset(TargetKind)
_ONE_ANSWER = frozenset({TargetKind.BINARY, TargetKind.MULTICLASS})

METRICS = {
    metric.name: metric
    for metric in (
        Metric("auroc", "AUROC", higher_is_better=True, ranks=True, kinds=_ALL, intervals=True),
        Metric("auprc", "AUPRC", higher_is_better=True, ranks=True, kinds=_ALL, intervals=True, beside="AUPRC"),
        Metric("brier", "Brier score", higher_is_better=False, ranks=False, kinds=_ALL, intervals=True, beside="Brier"),
        Metric("ece", "ECE", higher_is_better=False, ranks=False, kinds=_ALL),
        Metric("log_loss", "log loss", higher_is_better=False, ranks=False, kinds=_ALL),
        Metric("accuracy", "accuracy", higher_is_better=True, ranks=False, kinds=_ONE_ANSWER),
        Metric("macro_f1", "macro F1", higher_is_better=True, ranks=False, kinds=frozenset({TargetKind.MULTICLASS})),
    )
}


def primary(name: str, kind: TargetKind | None = None) -> Metric:
    """Look up the metric that ranks models.

    Args:
        name: For example ``"auroc"``.
        kind: The task's kind of target, where known.

    Raises:
        ConfigError: There is no such metric, or not for this kind of target.
    """
    known = [m.name for m in METRICS.values() if kind is None or kind in m.kinds]
    if name not in known:
        where = f" for a {kind} target" if kind is not None and name in METRICS else ""
        raise ConfigError(
            f"metric: no metric named '{name}'{where}{did_you_mean(name, known)}; choose one of {', '.join(known)}"
        )
    return METRICS[name]


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
    if METRICS[name].ranks:
        scores, labels = _columns(probabilities, target, kind)
        return _RANK_STATISTICS[name](scores, labels, _per_column(weights))
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
# rank statistics


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


_RANK_STATISTICS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "auroc": auroc,
    "auprc": average_precision,
}


def _rank(scores: Tensor, target: Tensor, weights: Tensor | None) -> _Ranked:
    scores = scores.detach()
    falling, order = torch.where(scores.isnan(), 0, -scores).double().sort(dim=-1)
    falling = falling.contiguous()
    start, end = torch.searchsorted(falling, falling), torch.searchsorted(falling, falling, right=True)
    w = torch.ones_like(target, dtype=torch.float64) if weights is None else weights.double()
    shape = torch.broadcast_shapes(scores.shape, target.shape, w.shape)  # type: ignore[no-untyped-call]
    order, start, end = order.expand(shape), start.expand(shape), end.expand(shape)
    invalid = (scores.isnan() & (w != 0)).any(dim=-1)
    w = w.expand(shape).gather(-1, order)
    positive = target.expand(shape).gather(-1, order) == 1
    return _Ranked(torch.where(positive, w, 0), torch.where(positive, 0, w), start, end, invalid)


def _cumulative(values: Tensor) -> Tensor:
    """``[..., rows + 1]``: entry k is the sum of the first k values."""
    return functional.pad(values.cumsum(dim=-1), (1, 0))


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
    rows = _countable(_gaps(*_finite(confidence, target), bins), confidence.isnan())
    return conclude("ece", rows.sum(dim=-1) if weights is None else _weighted_sum(rows, weights))


def summands(name: str, probabilities: Tensor, target: Tensor, kind: TargetKind) -> Tensor:
    """Return what a metric sums over rows: float64 ``[..., columns, terms, rows]``.

    Args:
        name: A metric that is no rank statistic.
        probabilities: Float ``[..., rows, outputs]``.
        target: As in :func:`evaluate`.
        kind: What the target means; ``columns`` is the number of labels for multi-label, else 1.
    """
    if kind is TargetKind.MULTICLASS:
        invalid = probabilities.isnan().any(dim=-1)
        rows = _CLASS_SUMMANDS[name](*_finite(probabilities, target))
        return _countable(rows, invalid).unsqueeze(-3)
    scores, labels = _columns(probabilities, target, kind)
    return _countable(_LABEL_SUMMANDS[name](*_finite(scores, labels)), scores.isnan())


def conclude(name: str, sums: Tensor) -> Tensor:
    """Turn sums ``[..., terms]`` of :func:`summands` into the metric ``[...]``; NaN without any weight."""
    terms, total, invalid = sums[..., :-2], sums[..., -2], sums[..., -1]
    value = _CONCLUSIONS.get(name, _mean)(terms, total)
    return torch.where((invalid > 0) | (total <= 0), torch.nan, value)


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


def _squares(p: Tensor, y: Tensor) -> Tensor:
    return (p.double() - y.double()).square().unsqueeze(-2)


def _class_squares(p: Tensor, y: Tensor) -> Tensor:
    return (p.double() - functional.one_hot(y, p.shape[-1])).square().sum(dim=-1).unsqueeze(-2)


def _clipped(p: Tensor) -> Tensor:
    unit = torch.finfo(p.dtype).eps
    return p.double().clamp(unit, 1 - unit)


def _surprise(p: Tensor, y: Tensor) -> Tensor:
    p = _clipped(p)
    return -torch.where(y == 1, p, 1 - p).log().unsqueeze(-2)


def _class_surprise(p: Tensor, y: Tensor) -> Tensor:
    # one-hot, not gather: leading axes of p and y broadcast
    true = (_clipped(p) * functional.one_hot(y, p.shape[-1])).sum(dim=-1)
    return -true.log().unsqueeze(-2)


def _hits(p: Tensor, y: Tensor) -> Tensor:
    return ((p > 0.5) == (y == 1)).double().unsqueeze(-2)


def _class_hits(p: Tensor, y: Tensor) -> Tensor:
    return (p.argmax(dim=-1) == y).double().unsqueeze(-2)


def _gaps(p: Tensor, y: Tensor, bins: int = CALIBRATION_BINS) -> Tensor:
    index = (p.double() * bins).long().clamp(0, bins - 1)
    members = index.unsqueeze(-2) == torch.arange(bins, device=p.device).unsqueeze(-1)
    return torch.where(members, (y.double() - p.double()).unsqueeze(-2), 0)


def _class_gaps(p: Tensor, y: Tensor) -> Tensor:
    confidence, said = p.max(dim=-1)
    return _gaps(confidence, said == y)


def _confusion(p: Tensor, y: Tensor) -> Tensor:
    """Terms by class: said and true (hits), then said plus true."""
    said = functional.one_hot(p.argmax(dim=-1), p.shape[-1])
    true = functional.one_hot(y, p.shape[-1])
    return torch.cat([said * true, said + true], dim=-1).movedim(-1, -2).double()


def _mean(terms: Tensor, total: Tensor) -> Tensor:
    return terms[..., 0] / total


def _calibration_error(terms: Tensor, total: Tensor) -> Tensor:
    return terms.abs().sum(dim=-1) / total


def _mean_f1(terms: Tensor, _total: Tensor) -> Tensor:
    hits, occurrences = terms.chunk(2, dim=-1)
    occurs = occurrences > 0
    f1 = torch.where(occurs, 2 * hits / occurrences, 0)
    return f1.sum(dim=-1) / occurs.sum(dim=-1)


_Summands = Callable[[Tensor, Tensor], Tensor]
_LABEL_SUMMANDS: dict[str, _Summands] = {"brier": _squares, "log_loss": _surprise, "accuracy": _hits, "ece": _gaps}
_CLASS_SUMMANDS: dict[str, _Summands] = {
    "brier": _class_squares,
    "log_loss": _class_surprise,
    "accuracy": _class_hits,
    "ece": _class_gaps,
    "macro_f1": _confusion,
}
_CONCLUSIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ece": _calibration_error, "macro_f1": _mean_f1}
