"""Tests over folds and seeds as the field reports them, and numbers that sum a curve up.

Leaderboards are decided by :mod:`fusionbench.statistics`; these stand beside it.

Formulas and sources are in ``docs/statistics.md``. The bootstrap is in :mod:`fusionbench.metrics.resampling` and offered here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from fusionbench.metrics.intervals import Bootstrap, Difference, Interval, ScoredFold
from fusionbench.metrics.levels import Floats
from fusionbench.metrics.resampling import bootstrap, bootstrap_blocks, bootstrap_counts

__all__ = [
    "Bootstrap",
    "Difference",
    "Friedman",
    "Interval",
    "ScoredFold",
    "Significance",
    "area_weights",
    "bootstrap",
    "bootstrap_blocks",
    "bootstrap_counts",
    "corrected_resampled_t",
    "friedman",
    "holm",
    "paired_t",
    "shapley_weights",
    "subsets_of",
    "wilcoxon",
]

# --------------------------------------------------------------------------------------------
# tests over folds, seeds and tasks


class Significance(NamedTuple):
    """A statistic and its two-sided p value."""

    statistic: float
    p_value: float


def paired_t(first: Floats, second: Floats) -> Significance:
    """Student's paired t over repetitions, as OmniFuse reports it.

    Folds share training rows, so its p values are too small; :func:`corrected_resampled_t` mends that.

    Args:
        first: Float ``[repetitions]``, at least two.
        second: Float ``[repetitions]``, in the same order.
    """
    return _t_test(first, second, 0.0)


def corrected_resampled_t(first: Floats, second: Floats, n_train: float, n_test: float) -> Significance:
    """Nadeau and Bengio's t: the variance of the mean is ``(1 / n + n_test / n_train) s ** 2``.

    Args:
        first: Float ``[repetitions]`` (folds x seeds), at least two.
        second: Float ``[repetitions]``, in the same order.
        n_train: Training rows of a repetition.
        n_test: Test rows of a repetition.
    """
    if n_train <= 0 or n_test <= 0:
        raise ValueError(f"n_train and n_test must be positive, found {n_train} and {n_test}")
    return _t_test(first, second, n_test / n_train)


def _t_test(first: Floats, second: Floats, overlap: float) -> Significance:
    differences = _differences(first, second)
    mean, n = float(differences.mean()), len(differences)
    error = math.sqrt((1 / n + overlap) * float(differences.var(ddof=1)))
    if error == 0:
        return Significance(0.0, 1.0) if mean == 0 else Significance(math.copysign(math.inf, mean), 0.0)
    return Significance(mean / error, float(2 * stats.t.sf(abs(mean) / error, n - 1)))


def _differences(first: Floats, second: Floats) -> Floats:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(f"need two equally long lists of at least two values, found shapes {a.shape} and {b.shape}")
    difference: Floats = a - b
    return difference


def wilcoxon(first: Floats, second: Floats) -> Significance:
    """Wilcoxon's signed-rank test, two-sided; pairs without a difference are left out, and none left gives p = 1."""
    differences = _differences(first, second)
    differences = differences[differences != 0]
    if len(differences) == 0:
        return Significance(0.0, 1.0)
    result = stats.wilcoxon(differences)
    return Significance(float(result.statistic), float(result.pvalue))


class Friedman(NamedTuple):
    """Do several models rank alike over repetitions?

    Args:
        statistic: Chi-squared with models - 1 degrees of freedom, corrected for ties.
        p_value: Its upper tail.
        mean_ranks: Float ``[models]``, 1 = best.
        critical_difference: Nemenyi's: mean ranks further apart than this differ.
    """

    statistic: float
    p_value: float
    mean_ranks: Floats
    critical_difference: float


def friedman(values: Floats, *, higher_is_better: bool = True, alpha: float = 0.05) -> Friedman:
    """Friedman's test with Nemenyi's critical difference (Demsar 2006).

    Args:
        values: Float ``[repetitions, models]``, at least two of each, no NaN.
        higher_is_better: Which end gets rank 1.
        alpha: Level of the critical difference.
    """
    n, k = values.shape
    if n < 2 or k < 2 or np.isnan(values).any():
        raise ValueError(f"need at least two repetitions and two models without NaN, found shape {values.shape}")
    ranks = stats.rankdata(-values if higher_is_better else values, axis=1)
    # the variance of the ranks that occurred, which ties make smaller
    spread = float(np.square(ranks - (k + 1) / 2).sum()) / (n * (k - 1))
    mean_ranks: Floats = ranks.mean(axis=0)
    statistic = n * float(np.square(mean_ranks - (k + 1) / 2).sum()) / spread if spread > 0 else 0.0
    studentised = float(stats.studentized_range.ppf(1 - alpha, k, np.inf))
    difference = studentised / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    return Friedman(statistic, float(stats.chi2.sf(statistic, k - 1)), mean_ranks, difference)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Adjust p values of one family by Holm's step-down method; NaN is no test and stays NaN."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


# --------------------------------------------------------------------------------------------
# summary numbers


def area_weights(rates: Sequence[float] | Floats) -> Floats:
    """Return the weights ``[rates]`` of the trapezoid rule, which add up to 1: for :meth:`Bootstrap.contrast`."""
    x = np.asarray(rates, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or not (np.diff(x) > 0).all():
        raise ValueError(f"rates must be at least two rising numbers, found {x.tolist()}")
    steps = np.diff(x)
    weights: Floats = (np.append(steps, 0) + np.insert(steps, 0, 0)) / (2 * (x[-1] - x[0]))
    return weights


def subsets_of(names: Sequence[str]) -> list[frozenset[str]]:
    """Return all subsets in the order of ``Dataset.ceiling``: bit m of the position is modality m."""
    return [frozenset(n for m, n in enumerate(names) if code >> m & 1) for code in range(2 ** len(names))]


def shapley_weights(modalities: int) -> Floats:
    """Return ``[modalities, 2 ** modalities]``, to multiply with the values of :func:`subsets_of`.

    A subset of size s counts ``(s - 1)! (M - s)! / M!`` for its members and ``-s! (M - s - 1)! / M!`` for the others.
    """
    weights = np.empty((modalities, 2**modalities))
    for m, code in itertools.product(range(modalities), range(2**modalities)):
        others = (code & ~(1 << m)).bit_count()
        share = 1 / (modalities * math.comb(modalities - 1, others))
        weights[m, code] = share if code >> m & 1 else -share
    return weights
