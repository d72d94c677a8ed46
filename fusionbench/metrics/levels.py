"""Rank statistics of one model on many resamples: rows are sorted once, by the distinct scores of the smaller class.

A chunk of resamples is then a few sparse matrix products with the counts of the rows, and cumulative sums over levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

Floats = NDArray[np.float64]
Scores = NDArray[np.floating[Any]]


class Drawn(NamedTuple):
    """One chunk of resamples.

    Args:
        counts: ``[rows, resamples]``, in the narrowest unsigned type in which twice their sum over rows fits.
        total: Float64 ``[resamples]``: their sum over rows.
    """

    counts: NDArray[np.unsignedinteger[Any]]
    total: Floats

    @classmethod
    def of(cls, counts: NDArray[np.uint16]) -> Drawn:
        """Return the chunk with these counts, ``[rows, resamples]``."""
        total = counts.sum(axis=0, dtype=np.uint32)
        narrowest = np.promote_types(np.uint16, np.min_scalar_type(2 * int(total.max(initial=0))))
        return cls(counts.astype(narrowest, copy=False), total.astype(np.float64))


Resampled = Callable[[Drawn], Floats]
"""From resamples to the metric of one model on each, float64 ``[resamples]``."""

OfResamples = Callable[[Scores, NDArray[np.bool_]], Resampled]
"""From one model's scores and its positives, ``[rows]``: what depends on them only is done once."""


def ratio(numerator: Floats, denominator: NDArray[Any]) -> Floats:
    """Divide; NaN where the denominator is 0."""
    nothing = np.full(denominator.shape, np.nan)
    ratio: Floats = np.divide(numerator, denominator, out=nothing, where=denominator > 0)
    return ratio


class _Levels(NamedTuple):
    """Rows by the distinct scores of the positives, highest first: sparse matrices ``[levels, rows]`` of ones.

    Multiplied with counts they give, for each level, the positives on it, the negatives that reach it and no
    higher one, and the negatives that exceed it but no higher one (cumulative sums over levels then count
    the negatives at or above, and above, each level).
    """

    positive: sparse.csr_array
    reaching: sparse.csr_array
    exceeding: sparse.csr_array


def _levels(scores: Scores, positive: NDArray[np.bool_]) -> _Levels:
    fallen = -scores.astype(np.float64)
    levels = np.unique(fallen[positive])
    hits, others = np.flatnonzero(positive), np.flatnonzero(~positive)
    shape = (len(levels), len(scores))
    return _Levels(
        _membership(np.searchsorted(levels, fallen[hits]), hits, shape),
        _membership(np.searchsorted(levels, fallen[others]), others, shape),
        _membership(np.searchsorted(levels, fallen[others], side="right"), others, shape),
    )


def _membership(level: NDArray[np.intp], row: NDArray[np.intp], shape: tuple[int, int]) -> sparse.csr_array:
    from scipy import sparse  # whoever only trains does not wait for it

    inside = level < shape[0]  # a negative below every positive is on no level
    level, row = level[inside], row[inside]
    return sparse.csr_array((np.ones(len(row), dtype=np.uint16), (level, row)), shape=shape)


def _accumulated(by_level: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    # NumPy would widen to 64 bits: four times the memory to move
    return np.add.accumulate(by_level, axis=0, dtype=by_level.dtype)


def resampled_auroc(scores: Scores, positive: NDArray[np.bool_]) -> Resampled:
    """AUROC = 1 - sum over positives of (negatives above + negatives at or above) / (2 x pairs)."""
    if 2 * positive.sum() > len(positive):  # the same number, with fewer levels
        return resampled_auroc(-scores, ~positive)
    levels = _levels(scores, positive)
    twice = levels.reaching + levels.exceeding

    def values(drawn: Drawn) -> Floats:
        hits = levels.positive @ drawn.counts
        above = _accumulated(twice @ drawn.counts)
        lost = np.einsum("kr,kr->r", hits, above, dtype=np.float64)
        found = hits.sum(axis=0, dtype=hits.dtype).astype(np.float64)
        pairs = 2 * found * (drawn.total - found)
        return ratio(pairs - lost, pairs)

    return values


def resampled_average_precision(scores: Scores, positive: NDArray[np.bool_]) -> Resampled:
    """Mean over positives of the precision among the rows that score at least as high; 0 without positives."""
    levels = _levels(scores, positive)

    def values(drawn: Drawn) -> Floats:
        hits = levels.positive @ drawn.counts
        found = _accumulated(hits)
        alarms = found + _accumulated(levels.reaching @ drawn.counts)
        precision = np.divide(found, np.maximum(alarms, 1))
        total = hits.sum(axis=0, dtype=hits.dtype)
        result: Floats = np.einsum("kr,kr->r", hits, precision) / np.maximum(total, 1)
        return result

    return values
