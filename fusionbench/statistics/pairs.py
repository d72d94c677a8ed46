"""Differences between two lines: if they were trained again, and of these trained models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fusionbench.statistics.components import EQUAL, Components

Floats = NDArray[np.float64]
SMALLEST_DF = 1e-3
EQUIVALENCE = 0.005
"""Differences below this are of no practical use: the region of practical equivalence, unless another is asked for."""


@dataclass(frozen=True)
class Pairs:
    """Every pair of lines, as arrays ``[pairs]``.

    Args:
        first: Positions of lines.
        second: Positions of lines, each greater than its ``first``.
        difference: Value of the first minus value of the second.
        variance: Of the difference, if trained again.
        df: Degrees of freedom (Satterthwaite 1946).
        t: The difference in standard errors.
        p: Two-sided, of this pair alone.
        low: Lower end of the interval.
        high: Upper end.
        se_these_models: Standard error over patients, these trained models given.
        t_these_models: The difference in these.
        p_these_models: Two-sided.
        rope: ``[pairs, 3]``: probabilities that the first is better by more than the region of practical equivalence, that
            the two lie within it, that it is worse by more. A reading aid, no decision.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    difference: Floats
    variance: Floats
    df: Floats
    t: Floats
    p: Floats
    low: Floats
    high: Floats
    se_these_models: Floats
    t_these_models: Floats
    p_these_models: Floats
    rope: Floats

    @property
    def se(self) -> Floats:
        """Standard error if trained again."""
        root: Floats = np.sqrt(self.variance)
        return root

    def square(self, values: Floats, lines: int) -> Floats:
        """Make ``[pairs]`` a table ``[lines, lines]`` that changes its sign below the diagonal, which is 0."""
        table = np.zeros((lines, lines))
        table[self.first, self.second] = values
        table[self.second, self.first] = -values
        return table


def pairs_of(found: Components, confidence: float = 0.95, equivalence: float = EQUIVALENCE) -> Pairs:
    """Compare every two lines; with one line there are no pairs.

    Args:
        found: Their components.
        confidence: Of the intervals.
        equivalence: Half width of the region of practical equivalence, in units of the score.
    """
    first, second = np.triu_indices(found.lines, k=1)
    difference = found.value[first] - found.value[second]
    difference = np.where(np.abs(difference) <= EQUAL, 0.0, difference)
    variance = variance_of_differences(found.covariance)[first, second]
    df = _degrees(found, variance, first, second)
    se = np.sqrt(variance)
    t, p = t_and_p(difference, se, df)
    half = half_width(se, df, confidence)
    se_these = np.sqrt(variance_of_differences(found.same)[first, second])
    t_these, p_these = t_and_p(difference, se_these, np.full(len(first), found.patients.df))
    return Pairs(
        first, second, difference, variance, df, t, p, difference - half, difference + half,
        se_these, t_these, p_these, _around_equivalence(difference, se, df, equivalence),
    )  # fmt: skip


def variance_of_differences(covariance: Floats) -> Floats:
    """``[..., lines, lines]``: variance of the difference of every two, 0 where nothing but rounding is left."""
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    sums = own[..., :, None] + own[..., None, :]
    variance = sums - 2 * covariance
    cleared: Floats = np.where(variance <= EQUAL * sums, 0.0, variance)
    return cleared


def t_and_p(difference: Floats, se: Floats, df: Floats) -> tuple[Floats, Floats]:
    """Student's t and its two-sided p; without variance equal lines have t 0 and p 1, others are certainly different."""
    certain = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    t = np.divide(difference, se, out=certain, where=se > 0)
    known = np.maximum(df, SMALLEST_DF)
    p: Floats = np.where(np.isinf(t), 0.0, np.where(df > 0, 2 * stats.t.sf(np.abs(t), known), 1.0))
    return t, np.where(t == 0, 1.0, p)


def half_width(se: Floats, df: Floats, confidence: float) -> Floats:
    """How far an interval reaches to each side; without any degree of freedom everywhere."""
    quantile = np.where(df > 0, stats.t.ppf((1 + confidence) / 2, np.maximum(df, SMALLEST_DF)), np.inf)
    reach: Floats = np.multiply(quantile, se, out=np.zeros_like(se), where=se > 0)
    return reach


def _degrees(found: Components, variance: Floats, first: NDArray[np.intp], second: NDArray[np.intp]) -> Floats:
    patients = variance_of_differences(found.cross)[first, second]
    terms: list[tuple[Floats, float]] = [(found.dispersion * patients, found.patients.df)]
    pooled = np.isin(first, found.pool).astype(np.float64) + np.isin(second, found.pool)
    terms.append((pooled * found.ms_run / found.seeds, found.df_run))
    own = (((first == line) | (second == line)) * found.run[line] / found.seeds for line in found.unstable)
    terms.extend((variance_of_line, found.df_own) for variance_of_line in own)
    if found.dispersion > 1:
        terms.append((patients * found.ms_fold / found.pat_fold, found.df_fold))
        terms.append((patients * found.ms_res / (found.seeds * found.pat_fold), found.df_res))
    return satterthwaite(variance, terms)


def satterthwaite(variance: Floats, terms: list[tuple[Floats, float]]) -> Floats:
    """Degrees of freedom of a sum of variances; infinite where none of them is estimated, 0 where one of them is a guess."""
    uncertain = np.zeros_like(variance)
    for x, df in terms:
        uncertain = uncertain + np.where(x == 0, 0.0, np.square(x) / df if df > 0 else np.inf)
    infinite = np.full(variance.shape, np.inf)
    degrees: Floats = np.divide(np.square(variance), uncertain, out=infinite, where=uncertain > 0)
    return degrees


def _around_equivalence(difference: Floats, se: Floats, df: Floats, region: float) -> Floats:
    df = np.maximum(df, SMALLEST_DF)
    to_better = np.where(difference > region, -np.inf, np.inf)
    to_worse = np.where(difference < -region, -np.inf, np.inf)
    better = stats.t.sf(np.divide(region - difference, se, out=to_better, where=se > 0), df)
    worse = stats.t.sf(np.divide(region + difference, se, out=to_worse, where=se > 0), df)
    return np.stack([better, 1 - better - worse, worse], axis=-1)


def smallest_detectable(pairs: Pairs) -> float:
    """The difference that a pair of middling certainty would show in four of five repetitions; NaN where there is none."""
    there = pairs.variance > 0
    if not there.any():
        return float("nan")
    df = float(np.median(pairs.df[there]))
    return float((stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)) * np.median(pairs.se[there]))
