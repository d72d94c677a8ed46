"""What resamples tell: intervals, differences and their p-values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fusionbench.metrics.levels import Floats, Scores


class Interval(NamedTuple):
    """A number and its confidence interval; NaN where undefined."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """First minus second, resampled together.

    Args:
        value: The difference on the data as they are.
        low: Lower end of the percentile interval.
        high: Upper end.
        p_value: Two-sided, from the bootstrap standard error and the normal distribution.
        p_percentile: Two-sided, from the share of resamples on the other side of 0; never below
            2 / (resamples + 1), too coarse for Holm's correction over many pairs.
    """

    value: float
    low: float
    high: float
    p_value: float
    p_percentile: float


class ScoredFold(NamedTuple):
    """The test rows of one fold, scored by models of one seed.

    Args:
        scores: Float ``[models, rows]`` for binary targets, or probabilities ``[models, rows, outputs]``.
        target: Int64 ``[rows]`` or ``[rows, labels]``.
        groups: Int64 ``[rows]``; rows of one patient share a number.
        fold: Blocks of one fold (several seeds) hold the same rows and share their resamples.
    """

    scores: Scores
    target: NDArray[np.int64]
    groups: NDArray[np.int64]
    fold: int = 0


@dataclass(frozen=True)
class Bootstrap:
    """A metric of several models on the same resamples.

    Args:
        point: Float64 ``[models]``: the metric on the data as they are.
        values: Float64 ``[models, resamples]``.
        usable: Bool ``[resamples]``, False where a ranking metric had only one class to rank; such resamples are
            left out of intervals and p values.
    """

    point: Floats
    values: Floats
    usable: NDArray[np.bool_]

    @property
    def dropped(self) -> int:
        """How many resamples are left out."""
        return int((~self.usable).sum())

    def contrast(self, weights: Scores) -> Bootstrap:
        """Return ``weights @ values``, weights ``[combinations, models]``: differences, areas, Shapley values."""
        w = np.asarray(weights, dtype=np.float64)
        return Bootstrap(_combine(w, self.point), _combine(w, self.values), self.usable)

    def intervals(self, confidence: float = 0.95) -> list[Interval]:
        """Return the percentile interval of each model."""
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, found {confidence}")
        if not self.usable.any():
            return [Interval(float(value), math.nan, math.nan) for value in self.point]
        tails = ((1 - confidence) / 2, (1 + confidence) / 2)
        low, high = np.quantile(self.values[:, self.usable], tails, axis=1)
        return [Interval(*map(float, row)) for row in zip(self.point, low, high, strict=True)]

    def difference(self, first: int, second: int, confidence: float = 0.95) -> Difference:
        """Compare two models by their row numbers."""
        weights = np.zeros((1, len(self.point)))
        weights[0, first] += 1
        weights[0, second] -= 1
        paired = self.contrast(weights)
        value, low, high = paired.intervals(confidence)[0]
        resampled = paired.values[0, self.usable]
        return Difference(value, low, high, _normal_p(value, resampled), _percentile_p(resampled))


def _combine(weights: Floats, values: Floats) -> Floats:
    # a weight of 0 leaves a model out even when it has no value: NaN * 0 is NaN
    missing = np.isnan(values)
    combined: Floats = weights @ np.where(missing, 0, values)
    combined[((weights != 0).astype(np.float64) @ missing) > 0] = np.nan
    return combined


def _normal_p(value: float, resampled: Floats) -> float:
    if len(resampled) < 2 or math.isnan(value):
        return math.nan
    error = float(resampled.std(ddof=1))
    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stats.norm.sf(abs(value) / error))


def _percentile_p(resampled: Floats) -> float:
    if len(resampled) == 0 or np.isnan(resampled).any():
        return math.nan
    smaller_side = min((resampled <= 0).sum(), (resampled >= 0).sum())
    return float(min(1.0, 2 * (smaller_side + 1) / (len(resampled) + 1)))
