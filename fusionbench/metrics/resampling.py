"""Patient-level paired bootstrap: one set of resamples for every model, metric by metric.

A chunk of resamples is a few matrix products with the counts of the rows: dense ones for sums over rows, sparse ones for rank
statistics (:mod:`fusionbench.metrics.levels`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fusionbench.metrics.intervals import Bootstrap, ScoredFold
from fusionbench.metrics.levels import Drawn, Floats, Resampled, Scores, ratio
from fusionbench.metrics.registry import Ranking, primary
from fusionbench.metrics.scores import conclude, summands
from fusionbench.targets import TargetKind

CHUNK_CELLS = 2**22
"""Rows x resamples that are drawn at once: bounds the memory, and changes no number."""


def bootstrap(
    scores: Scores,
    target: NDArray[np.int64],
    groups: NDArray[np.int64],
    metric: str,
    resamples: int,
    generator: np.random.Generator,
    *,
    kind: str = "binary",
    stratified: bool = False,
) -> Bootstrap:
    """Resample patients and compute a metric for every model on the same resamples.

    Args:
        scores: Float ``[models, rows]`` for binary targets, or probabilities ``[models, rows, outputs]``.
        target: Int64 ``[rows]`` or ``[rows, labels]``.
        groups: Int64 ``[rows]``; rows of one patient share a number.
        metric: A name in :data:`fusionbench.metrics.registry.METRICS`.
        resamples: How many.
        generator: Where the draws come from.
        kind: A :class:`fusionbench.targets.TargetKind` or its name.
        stratified: Draw patients with and without a positive row separately.
    """
    block = ScoredFold(scores, target, groups)
    return bootstrap_blocks([block], metric, resamples, generator, kind=kind, stratified=stratified)


def bootstrap_blocks(
    blocks: Sequence[ScoredFold],
    metric: str,
    resamples: int,
    generator: np.random.Generator,
    *,
    kind: str = "binary",
    stratified: bool = False,
) -> Bootstrap:
    """Bootstrap the mean of a metric over folds and seeds, resampling patients within each fold.

    A resample is dropped, and counted in :attr:`Bootstrap.dropped`, where any block of it has nothing to rank.
    Arguments as in :func:`bootstrap`.

    Raises:
        ValueError: There is no block, blocks differ in their number of models, or blocks of one fold in their rows.
        ConfigError: The metric is unknown or does not fit the kind of target.
    """
    folds = _by_fold(blocks)
    models = len(blocks[0].scores)
    point, values, usable = np.zeros((models, 1)), np.zeros((models, resamples)), np.ones(resamples, dtype=np.bool_)
    for members, stream in zip(folds, generator.spawn(len(folds)), strict=True):
        rows = [[_prepare(metric, scores, block.target, kind) for scores in block.scores] for block in members]
        strata = _positives(members[0].target) if stratified else None
        groups = members[0].groups
        point += _fold_values(rows, Drawn.of(np.ones((len(groups), 1), dtype=np.uint16))) / len(blocks)
        for part in _chunks(resamples, len(groups)):
            drawn = Drawn.of(bootstrap_counts(groups, part.stop - part.start, stream, strata).T)
            values[:, part] += _fold_values(rows, drawn) / len(blocks)
            usable[part] &= _rankable(metric, members[0].target, drawn, kind)
    return Bootstrap(point[:, 0], values, usable)


def bootstrap_counts(
    groups: NDArray[np.int64],
    resamples: int,
    generator: np.random.Generator,
    strata: NDArray[np.int64] | None = None,
) -> NDArray[np.uint16]:
    """Draw patients with replacement, as many as there are; all rows of a drawn patient come along.

    Args:
        groups: Int64 ``[rows]``; rows of one patient share a number.
        resamples: How many.
        generator: Where the draws come from.
        strata: Int64 ``[rows]``: patients are drawn within the stratum of their largest value. None: one stratum.

    Returns:
        Uint16 ``[resamples, rows]``: how often a row occurs; its transpose is contiguous.
    """
    _, patient = np.unique(groups, return_inverse=True)
    size = int(patient.max()) + 1
    stratum = np.zeros(size, dtype=np.int64)
    if strata is not None:
        stratum[:] = np.iinfo(np.int64).min
        np.maximum.at(stratum, patient, strata)
    order = np.argsort(stratum, kind="stable")
    # slot k draws among the patients from first[k] on, share[k] of them: its stratum
    _, first, of, share = np.unique(stratum[order], return_index=True, return_inverse=True, return_counts=True)
    drawn = order[(first[of] + generator.random((resamples, size)) * share[of]).astype(np.int64)]
    drawn += np.arange(resamples)[:, None] * size
    counts = np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)
    return counts.T.astype(np.uint16, order="C")[patient].T


def _by_fold(blocks: Sequence[ScoredFold]) -> list[list[ScoredFold]]:
    folds: dict[int, list[ScoredFold]] = {}
    for block in blocks:
        folds.setdefault(block.fold, []).append(block)
    if not folds:
        raise ValueError("there is no block to resample")
    if len({len(block.scores) for block in blocks}) > 1:
        raise ValueError("blocks must score the same models")
    for members in folds.values():
        same = (
            np.array_equal(m.groups, members[0].groups) and np.array_equal(m.target, members[0].target) for m in members
        )
        if not all(same):
            raise ValueError("blocks of one fold must hold the same rows")
    return list(folds.values())


def _chunks(resamples: int, rows: int) -> list[slice]:
    width = max(1, CHUNK_CELLS // rows)
    return [slice(start, min(start + width, resamples)) for start in range(0, resamples, width)]


def _positives(target: NDArray[np.int64]) -> NDArray[np.int64]:
    return target if target.ndim == 1 else target.max(axis=1)


def _fold_values(rows: Sequence[Sequence[Resampled]], drawn: Drawn) -> Floats:
    """Float64 ``[models, resamples]``: the sum over the blocks of a fold."""
    total: Floats = np.sum([[model(drawn) for model in block] for block in rows], axis=0)
    return total


def _prepare(metric: str, scores: Scores, target: NDArray[np.int64], kind: str) -> Resampled:
    """Do what depends on one model's scores only; the result maps resamples to values."""
    if np.isnan(scores).any():  # the model has no value, also in resamples that happen to miss the row
        return lambda drawn: np.full(len(drawn.total), np.nan)
    outputs = scores[:, None] if scores.ndim == 1 else scores
    how = primary(metric, TargetKind(kind)).how
    if not isinstance(how, Ranking):
        return _sums(metric, outputs, target, TargetKind(kind))
    labels = labels_of(target, kind, outputs.shape[1])
    columns = [how.resampled(s, y) for s, y in zip(outputs.T, labels.T, strict=True)]
    if len(columns) == 1:
        return columns[0]
    return lambda drawn: _mean_of_used(np.stack([c(drawn) for c in columns]), _used(labels, drawn))


def _sums(metric: str, outputs: Scores, target: NDArray[np.int64], kind: TargetKind) -> Resampled:
    # torch.tensor copies: sharing memory with read-only arrays makes torch warn
    rows = summands(metric, torch.tensor(outputs), torch.tensor(target), kind)

    def values(drawn: Drawn) -> Floats:
        sums = rows @ torch.from_numpy(drawn.counts.astype(np.float64))
        result: Floats = conclude(metric, sums.permute(2, 0, 1)).mean(dim=-1).numpy()
        return result

    return values


def resampled_values(
    metric: str,
    scores: Sequence[Scores],
    target: NDArray[np.int64],
    counts: NDArray[np.uint16],
    kind: TargetKind,
) -> Floats:
    """Compute a metric of every model on given resamples.

    Args:
        metric: A name in :data:`fusionbench.metrics.registry.METRICS`.
        scores: Probabilities ``[rows, outputs]`` of each model.
        target: Int64 ``[rows]`` or ``[rows, labels]``.
        counts: ``[rows, resamples]``: how often each row was drawn.
        kind: Of the target.

    Returns:
        Float64 ``[models, resamples]``; NaN where a resample has nothing to rank.
    """
    prepared = [_prepare(metric, s, target, kind) for s in scores]
    values = np.empty((len(scores), counts.shape[1]))
    for part in _chunks(counts.shape[1], len(target)):
        drawn = Drawn.of(np.ascontiguousarray(counts[:, part]))
        values[:, part] = np.stack([model(drawn) for model in prepared])
        values[:, part][:, ~_rankable(metric, target, drawn, kind)] = np.nan
    return values


def labels_of(target: NDArray[np.int64], kind: str, outputs: int) -> NDArray[np.bool_]:
    """Bool ``[rows, outputs]``: the label, or whether the row is of the class."""
    compared = np.arange(outputs) if kind == "multiclass" else 1
    labels: NDArray[np.bool_] = (target[:, None] if target.ndim == 1 else target) == compared
    return labels


def _used(labels: NDArray[np.bool_], drawn: Drawn) -> NDArray[np.bool_]:
    """Bool ``[outputs, resamples]``: both classes occur."""
    occurs = (drawn.counts > 0).astype(np.float32)
    ones, zeros = labels.T.astype(np.float32) @ occurs, (~labels).T.astype(np.float32) @ occurs
    used: NDArray[np.bool_] = (ones > 0) & (zeros > 0)
    return used


def _mean_of_used(values: Floats, used: NDArray[np.bool_]) -> Floats:
    """Mean over axis 0 where ``used``; NaN where nothing is."""
    count = used.sum(axis=0)
    return ratio(np.where(used, values, 0).sum(axis=0), count)


def _rankable(metric: str, target: NDArray[np.int64], drawn: Drawn, kind: str) -> NDArray[np.bool_]:
    """Bool ``[resamples]``: the metric has something to rank."""
    if not primary(metric, TargetKind(kind)).ranks:
        return np.ones(len(drawn.total), dtype=np.bool_)
    used = _used(labels_of(target, kind, int(target.max()) + 1), drawn)
    return np.asarray(used.any(axis=0))
